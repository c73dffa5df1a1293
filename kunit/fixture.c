// SPDX-License-Identifier: GPL-2.0
/*
 * Spare memory, snapshots, vetoes: see fixture.h.
 */

#include <linux/ioport.h>
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/panic.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "fixture.h"
#include "probe.h"

static unsigned long long spare_start;
module_param(spare_start, ullong, 0444);
MODULE_PARM_DESC(spare_start, "physical address of memory to plug; 0: behind the last that the kernel knows of");

static unsigned long long spare_size = SZ_1G;
module_param(spare_size, ullong, 0444);
MODULE_PARM_DESC(spare_size, "bytes of it, a multiple of the memory block size");

/* Whether the kernel had warned of something before the case */
static bool warned_before;

/* The n-th notification of this action is answered with an error. */
static unsigned long veto_action;
static unsigned int veto_nth, veto_seen;
static int veto_errno;

static int veto_callback(struct notifier_block *nb, unsigned long action,
			 void *arg)
{
	if (action != veto_action)
		return NOTIFY_OK;
	return ++veto_seen == veto_nth ? notifier_from_errno(veto_errno) :
					 NOTIFY_OK;
}

static struct notifier_block veto_nb = { .notifier_call = veto_callback };

/**
 * mhp_veto() - have a memory notifier refuse
 * @test: the case
 * @action: MEM_GOING_ONLINE or MEM_GOING_OFFLINE
 * @nth: which of the notifications from now on, 1 being the next; 0 for none
 * @err: -errno
 */
void mhp_veto(struct kunit *test, unsigned long action, unsigned int nth, int err)
{
	veto_action = action;
	veto_nth = nth;
	veto_seen = 0;
	veto_errno = err;
}

/**
 * mhp_veto_calls() - how many notifications mhp_veto() has counted
 *
 * Return: notifications of its action
 */
unsigned int mhp_veto_calls(void)
{
	return veto_seen;
}

/**
 * mhp_spare_start() - where the memory begins that cases may plug
 * @test: the case, which fails if there is none
 *
 * Return: physical address in bytes, aligned to a memory block
 */
u64 mhp_spare_start(struct kunit *test)
{
	return spare_start;
}

/**
 * mhp_spare_size() - how much memory cases may plug
 *
 * Return: bytes, a multiple of the memory block size
 */
u64 mhp_spare_size(void)
{
	return spare_size;
}

static int last_ram(struct resource *res, void *arg)
{
	*(unsigned long long *)arg = res->end;
	return 0;
}

static int find_spare(struct kunit *test)
{
	u64 addr;

	if (!spare_start) {
		walk_iomem_res_desc(IORES_DESC_NONE, IORESOURCE_SYSTEM_RAM |
				    IORESOURCE_BUSY, 0, -1, &spare_start, last_ram);
		spare_start = ALIGN(spare_start, memory_block_size_bytes());
	}
	for (addr = spare_start; addr < spare_start + spare_size; addr += SZ_32M) {
		if (region_intersects(addr, SZ_32M, IORESOURCE_BUSY,
				      IORES_DESC_NONE) == REGION_DISJOINT &&
		    mhp_memory_answers(addr))
			continue;
		kunit_err(test,
			  "no spare memory at %#llx: reserve some with memmap=, or set spare_start",
			  addr);
		return -ENODEV;
	}
	return 0;
}

static int count_ram(struct resource *res, void *arg)
{
	*(u64 *)arg += resource_size(res);
	return 0;
}

static int count_extent(struct memory_extent *ext, void *arg)
{
	struct mhp_snapshot *snap = arg;

	snap->extents++;
	snap->online += ext->online;
	return 0;
}

/**
 * mhp_take_snapshot() - note what memory hotplug must leave as it found it
 * @test: the case
 * @snap: filled
 */
void mhp_take_snapshot(struct kunit *test, struct mhp_snapshot *snap)
{
	unsigned long pfn = PHYS_PFN(spare_start);
	unsigned long end = PHYS_PFN(spare_start + spare_size);
	int nid, i;

	memset(snap, 0, sizeof(*snap));
	for (nid = 0; nid < min_t(int, nr_node_ids, MHP_KUNIT_NODES); nid++) {
		if (!node_online(nid))
			continue;
		snap->node_present[nid] = NODE_DATA(nid)->node_present_pages;
		for (i = 0; i < MAX_NR_ZONES; i++) {
			struct zone *zone = NODE_DATA(nid)->node_zones + i;

			snap->zones[nid][i] = (struct mhp_zone_snapshot) {
				.start_pfn = zone->spanned_pages ?
					     zone->zone_start_pfn : 0,
				.spanned = zone->spanned_pages,
				.present = zone->present_pages,
				.early = zone->present_early_pages,
				.managed = zone_managed_pages(zone),
			};
		}
	}
	snap->totalram = totalram_pages();
	walk_iomem_res_desc(IORES_DESC_NONE, IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY,
			    0, -1, &snap->ram_bytes, count_ram);

	lock_device_hotplug();
	walk_memory_extents(0, spare_start + spare_size, snap, count_extent);
	unlock_device_hotplug();
	for (; pfn < end; pfn += PAGES_PER_SECTION)
		snap->sections += present_section(__pfn_to_section(pfn));
}

/**
 * mhp_expect_snapshot() - expect that everything is as it was
 * @test: the case
 * @snap: how it was
 * @when: for the message
 */
void mhp_expect_snapshot(struct kunit *test, const struct mhp_snapshot *snap,
			 const char *when)
{
	struct mhp_snapshot now;
	int nid, i;

	mhp_take_snapshot(test, &now);
	for (nid = 0; nid < MHP_KUNIT_NODES; nid++) {
		KUNIT_EXPECT_EQ_MSG(test, now.node_present[nid], snap->node_present[nid],
				    "%s: node %d", when, nid);
		for (i = 0; i < MAX_NR_ZONES; i++) {
			const struct mhp_zone_snapshot *a = &now.zones[nid][i];
			const struct mhp_zone_snapshot *b = &snap->zones[nid][i];

			/* What ZONE_DEVICE spans once, it spans for good, as on stock. */
			if (i != ZONE_DEVICE) {
				KUNIT_EXPECT_EQ_MSG(test, a->start_pfn, b->start_pfn,
						    "%s: node %d zone %d", when, nid, i);
				KUNIT_EXPECT_EQ_MSG(test, a->spanned, b->spanned,
						    "%s: node %d zone %d", when, nid, i);
			}
			KUNIT_EXPECT_EQ_MSG(test, a->present, b->present,
					    "%s: node %d zone %d", when, nid, i);
			KUNIT_EXPECT_EQ_MSG(test, a->early, b->early,
					    "%s: node %d zone %d", when, nid, i);
			KUNIT_EXPECT_EQ_MSG(test, a->managed, b->managed,
					    "%s: node %d zone %d", when, nid, i);
		}
	}
	KUNIT_EXPECT_EQ_MSG(test, now.totalram, snap->totalram, "%s", when);
	KUNIT_EXPECT_EQ_MSG(test, now.ram_bytes, snap->ram_bytes, "%s", when);
	KUNIT_EXPECT_EQ_MSG(test, now.extents, snap->extents, "%s", when);
	KUNIT_EXPECT_EQ_MSG(test, now.online, snap->online, "%s", when);
	KUNIT_EXPECT_EQ_MSG(test, now.sections, snap->sections, "%s", when);
}

/**
 * mhp_online() - online the extents of a range
 * @start: physical address in bytes
 * @size: bytes
 * @type: how to choose the zone
 *
 * Return: 0 or -errno
 */
int mhp_online(u64 start, u64 size, enum mmop type)
{
	int ret;

	lock_device_hotplug();
	ret = online_memory_extents(start, size, type);
	unlock_device_hotplug();
	return ret;
}

/**
 * mhp_offline() - take the extents of a range offline
 * @start: physical address in bytes
 * @size: bytes
 *
 * Return: 0 or -errno
 */
int mhp_offline(u64 start, u64 size)
{
	int ret;

	lock_device_hotplug();
	ret = offline_memory_extents(start, size);
	unlock_device_hotplug();
	return ret;
}

static unsigned long count_pages(u64 start, u64 size, bool online, int nid,
				 enum zone_type zone)
{
	unsigned long pfn = PHYS_PFN(start), end = PHYS_PFN(start + size), nr = 0;
	struct page *page;

	for (; pfn < end; pfn++) {
		page = pfn_to_online_page(pfn);
		if (!online)
			nr += !page;
		else if (page)
			nr += page_to_nid(page) == nid && page_zonenum(page) == zone;
	}
	return nr;
}

/**
 * mhp_expect_online() - expect that each page of a range is online
 * @test: the case
 * @start: physical address in bytes
 * @size: bytes
 * @nid: node that the pages must be of
 * @zone: zone that they must be in
 */
void mhp_expect_online(struct kunit *test, u64 start, u64 size, int nid,
		       enum zone_type zone)
{
	KUNIT_EXPECT_EQ_MSG(test, count_pages(start, size, true, nid, zone),
			    PHYS_PFN(size), "%#llx-%#llx: pages online in zone %d of node %d",
			    start, start + size - 1, zone, nid);
}

static unsigned long count_valid(u64 start, u64 size)
{
	unsigned long pfn = PHYS_PFN(start), end = PHYS_PFN(start + size), nr = 0;

	for (; pfn < end; pfn++)
		nr += pfn_valid(pfn);
	return nr;
}

/**
 * mhp_expect_offline() - expect that a range was added, and no page is online
 * @test: the case
 * @start: physical address in bytes
 * @size: bytes
 */
void mhp_expect_offline(struct kunit *test, u64 start, u64 size)
{
	KUNIT_EXPECT_EQ_MSG(test, count_pages(start, size, false, 0, 0),
			    PHYS_PFN(size), "%#llx-%#llx: pages not online",
			    start, start + size - 1);
	KUNIT_EXPECT_EQ_MSG(test, count_valid(start, size), PHYS_PFN(size),
			    "%#llx-%#llx: pages with memmap", start, start + size - 1);
}

/**
 * mhp_expect_hole() - expect that there is no memory, and no memmap
 * @test: the case
 * @start: physical address in bytes
 * @size: bytes
 */
void mhp_expect_hole(struct kunit *test, u64 start, u64 size)
{
	KUNIT_EXPECT_EQ_MSG(test, count_pages(start, size, false, 0, 0),
			    PHYS_PFN(size), "%#llx-%#llx: pages not online",
			    start, start + size - 1);
	KUNIT_EXPECT_EQ_MSG(test, count_valid(start, size), 0UL,
			    "%#llx-%#llx: pages with memmap", start, start + size - 1);
}

/**
 * mhp_must_add() - add memory, or end the case
 * @test: the case; what it added is removed at its end
 * @nid: node
 * @start: physical address in bytes
 * @size: bytes
 * @flags: for add_memory()
 */
void mhp_must_add(struct kunit *test, int nid, u64 start, u64 size, mhp_t flags)
{
	KUNIT_ASSERT_EQ_MSG(test, add_memory(nid, start, size, flags), 0,
			    "add %#llx-%#llx", start, start + size - 1);
}

/**
 * mhp_must_remove() - take memory offline and remove it, or end the case
 * @test: the case
 * @start: physical address in bytes
 * @size: bytes
 */
void mhp_must_remove(struct kunit *test, u64 start, u64 size)
{
	KUNIT_ASSERT_EQ_MSG(test, offline_and_remove_memory(start, size), 0,
			    "remove %#llx-%#llx", start, start + size - 1);
}

/* A range of ZONE_DEVICE that a case has made */
struct device_range {
	struct list_head next;
	u64 start;
	u64 size;
	struct dev_pagemap pgmap;
};

static LIST_HEAD(device_ranges);

static void free_device(struct device_range *range)
{
	memunmap_pages(&range->pgmap);
	release_mem_region(range->start, range->size);
	list_del(&range->next);
	kfree(range);
}

/**
 * mhp_must_add_device() - have ZONE_DEVICE somewhere, or end the case
 * @test: the case; the device goes at its end
 * @start: physical address in bytes
 * @size: bytes
 */
void mhp_must_add_device(struct kunit *test, u64 start, u64 size)
{
	struct device_range *range = kzalloc(sizeof(*range), GFP_KERNEL);
	struct resource *res;
	void *addr;

	KUNIT_ASSERT_NOT_NULL(test, range);
	range->start = start;
	range->size = size;
	range->pgmap.type = MEMORY_DEVICE_GENERIC;
	range->pgmap.nr_range = 1;
	range->pgmap.range.start = start;
	range->pgmap.range.end = start + size - 1;
	res = request_mem_region(start, size, "mhp_kunit");
	addr = res ? memremap_pages(&range->pgmap, 0) : ERR_PTR(-EBUSY);
	if (IS_ERR(addr)) {
		if (res)
			release_mem_region(start, size);
		kfree(range);
		KUNIT_FAIL_AND_ABORT(test, "no device at %#llx: %pe", start, addr);
	}
	list_add(&range->next, &device_ranges);
}

/**
 * mhp_must_remove_device() - undo mhp_must_add_device()
 * @test: the case
 * @start: physical address in bytes
 */
void mhp_must_remove_device(struct kunit *test, u64 start)
{
	struct device_range *range;

	list_for_each_entry(range, &device_ranges, next) {
		if (range->start == start) {
			free_device(range);
			return;
		}
	}
	KUNIT_FAIL_AND_ABORT(test, "no device at %#llx", start);
}

struct leftover {
	u64 start;
	u64 size;
};

static int first_extent(struct memory_extent *ext, void *arg)
{
	struct leftover *left = arg;

	left->start = PFN_PHYS((u64)ext->start_pfn);
	left->size = PFN_PHYS((u64)ext->nr_pages);
	return 1;
}

/**
 * mhp_fixture_init() - what each case begins with
 * @test: the case
 *
 * Return: 0; -ENODEV if there is no spare memory; -ENOMEM
 */
int mhp_fixture_init(struct kunit *test)
{
	struct mhp_snapshot *snap;
	int ret = find_spare(test);

	if (ret)
		return ret;
	snap = kunit_kzalloc(test, sizeof(*snap), GFP_KERNEL);
	if (!snap)
		return -ENOMEM;
	mhp_veto(test, 0, 0, 0);
	ret = register_memory_notifier(&veto_nb);
	if (ret)
		return ret;
	mhp_take_snapshot(test, snap);
	warned_before = test_taint(TAINT_WARN);
	test->priv = snap;
	return 0;
}

/**
 * mhp_fixture_exit() - what each case ends with, also one that was cut short
 * @test: the case
 *
 * Removes what is left of what the case has added, and expects that everything is
 * as it was before the case, and that the kernel has warned of nothing meanwhile.
 */
void mhp_fixture_exit(struct kunit *test)
{
	struct device_range *range, *tmp;
	struct leftover left;
	u64 at = spare_start;
	int found, ret;

	if (!test->priv)
		return;
	unregister_memory_notifier(&veto_nb);
	list_for_each_entry_safe(range, tmp, &device_ranges, next)
		free_device(range);
	do {
		lock_device_hotplug();
		found = walk_memory_extents(at, spare_start + spare_size - at, &left,
					    first_extent);
		unlock_device_hotplug();
		if (!found)
			break;
		ret = offline_and_remove_memory(left.start, left.size);
		KUNIT_EXPECT_EQ_MSG(test, ret, 0, "cannot remove what is left at %#llx",
				    left.start);
		at = left.start + left.size;
	} while (at < spare_start + spare_size);
	mhp_expect_snapshot(test, test->priv, "after the case");
	KUNIT_EXPECT_TRUE_MSG(test, warned_before || !test_taint(TAINT_WARN),
			      "the kernel has warned of something, see its log");
}

kunit_test_suites(&mhp_subsection_suite, &mhp_range_suite, &mhp_extent_suite,
		  &mhp_online_suite, &mhp_memmap_suite, &mhp_zone_device_suite);

MODULE_IMPORT_NS(MHP_DEBUG);
MODULE_DESCRIPTION("KUnit tests for memory hotplug by sub-sections");
MODULE_LICENSE("GPL");
