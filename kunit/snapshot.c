// SPDX-License-Identifier: GPL-2.0
/*
 * Snapshots of what memory hotplug must leave as it found it.
 */

#include <linux/bitmap.h>
#include <linux/ioport.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "fixture.h"
#include "vmemmap.h"

static int count_ram(struct resource *res, void *arg)
{
	*(u64 *)arg += resource_size(res);
	return 0;
}

#ifdef CONFIG_MHP_SUBSECTION

static bool is_edge(unsigned long pfn)
{
	struct mem_section *ms = __pfn_to_section(pfn);

	return ms && ms->usage && test_bit(subsection_map_index(pfn), ms->usage->edge_map);
}

static void count_extents(struct mhp_snapshot *snap, unsigned long end)
{
	struct memory_extent *ext;
	unsigned long pfn;

	lock_device_hotplug();
	for_each_memory_extent(ext, pfn, 0, end) {
		snap->extents++;
		snap->online += ext->online;
	}
	unlock_device_hotplug();
}

#else

static bool is_edge(unsigned long pfn)
{
	return false;
}

static void count_extents(struct mhp_snapshot *snap, unsigned long end)
{
}

#endif /* CONFIG_MHP_SUBSECTION */

static bool is_mapped(const void *addr)
{
	unsigned long page_size;

	return mhp_virt_to_backing((unsigned long)addr, &page_size);
}

/**
 * mhp_take_snapshot() - note what memory hotplug must leave as it found it
 * @test: the case
 * @snap: filled
 */
void mhp_take_snapshot(struct kunit *test, struct mhp_snapshot *snap)
{
	unsigned long start = PHYS_PFN(mhp_spare_start(test)), pfn;
	unsigned long end = start + PHYS_PFN(mhp_spare_size());
	int nid, i;

	memset(snap, 0, sizeof(*snap));
	for (nid = 0; nid < min_t(int, nr_node_ids, MHP_KUNIT_NODES); nid++) {
		if (!node_online(nid))
			continue;
		snap->node_present[nid] = NODE_DATA(nid)->node_present_pages;
		for (i = 0; i < MAX_NR_ZONES; i++) {
			struct zone *zone = NODE_DATA(nid)->node_zones + i;
			struct mhp_zone_snapshot *z = &snap->zones[nid][i];

			z->present = zone->present_pages;
			z->early = zone->present_early_pages;
			z->managed = zone_managed_pages(zone);
			snap->isolated[nid][i] = zone->nr_isolate_pageblock;
			/* What ZONE_DEVICE spans once, it spans for good, as on stock. */
			if (zone->spanned_pages && i != ZONE_DEVICE) {
				z->start_pfn = zone->zone_start_pfn;
				z->spanned = zone->spanned_pages;
			}
		}
	}
	snap->totalram = totalram_pages();
	walk_iomem_res_desc(IORES_DESC_NONE, IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY,
			    0, -1, &snap->ram_bytes, count_ram);

	count_extents(snap, end);
	for (pfn = start; pfn < end; pfn += PAGES_PER_SECTION)
		snap->sections += present_section(__pfn_to_section(pfn));
	pfn = PHYS_PFN(mhp_spare_first());
	for (i = 0; pfn < end; pfn += PAGES_PER_SUBSECTION, i++) {
		__assign_bit(i, snap->valid, pfn_valid(pfn));
		__assign_bit(i, snap->in_use, !!pfn_to_online_page(pfn));
		__assign_bit(i, snap->edges, is_edge(pfn));
		/* With DEBUG_PAGEALLOC, free pages are not mapped. */
		if (!debug_pagealloc_enabled())
			__assign_bit(i, snap->mapped, is_mapped(pfn_to_kaddr(pfn)));
		__assign_bit(i, snap->memmap, is_mapped(pfn_to_page(pfn)));
	}
	mhp_snapshot_files(test, snap);
}

static void expect_bitmap(struct kunit *test, const unsigned long *now,
			  const unsigned long *was, const char *what, const char *when)
{
	KUNIT_EXPECT_TRUE_MSG(test, bitmap_equal(now, was, MHP_KUNIT_SUBSECTIONS),
			      "%s: %s: %*pbl, were %*pbl", when, what,
			      MHP_KUNIT_SUBSECTIONS, now, MHP_KUNIT_SUBSECTIONS, was);
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

			KUNIT_EXPECT_EQ_MSG(test, a->start_pfn, b->start_pfn,
					    "%s: node %d zone %d", when, nid, i);
			KUNIT_EXPECT_EQ_MSG(test, a->spanned, b->spanned,
					    "%s: node %d zone %d", when, nid, i);
			KUNIT_EXPECT_EQ_MSG(test, a->present, b->present,
					    "%s: node %d zone %d", when, nid, i);
			KUNIT_EXPECT_EQ_MSG(test, a->early, b->early,
					    "%s: node %d zone %d", when, nid, i);
			KUNIT_EXPECT_EQ_MSG(test, a->managed, b->managed,
					    "%s: node %d zone %d", when, nid, i);
			KUNIT_EXPECT_EQ_MSG(test, now.isolated[nid][i],
					    snap->isolated[nid][i],
					    "%s: node %d zone %d", when, nid, i);
		}
		KUNIT_EXPECT_TRUE_MSG(test, bitmap_equal(now.links[nid], snap->links[nid],
							 MHP_KUNIT_BLOCKS),
				      "%s: blocks linked to node %d: %*pbl, were %*pbl", when, nid,
				      MHP_KUNIT_BLOCKS, now.links[nid],
				      MHP_KUNIT_BLOCKS, snap->links[nid]);
	}
	KUNIT_EXPECT_EQ_MSG(test, now.totalram, snap->totalram, "%s", when);
	KUNIT_EXPECT_EQ_MSG(test, now.memmap_pages, snap->memmap_pages, "%s", when);
	KUNIT_EXPECT_EQ_MSG(test, now.ram_bytes, snap->ram_bytes, "%s", when);
	KUNIT_EXPECT_EQ_MSG(test, now.extents, snap->extents, "%s", when);
	KUNIT_EXPECT_EQ_MSG(test, now.online, snap->online, "%s", when);
	KUNIT_EXPECT_EQ_MSG(test, now.sections, snap->sections, "%s", when);
	expect_bitmap(test, now.valid, snap->valid, "sub-sections with a memmap", when);
	expect_bitmap(test, now.in_use, snap->in_use, "sub-sections online", when);
	expect_bitmap(test, now.edges, snap->edges, "edges", when);
	expect_bitmap(test, now.mapped, snap->mapped, "sub-sections in the direct map", when);
	expect_bitmap(test, now.memmap, snap->memmap, "memmap that is mapped", when);
	KUNIT_EXPECT_TRUE_MSG(test, bitmap_equal(now.blocks, snap->blocks, MHP_KUNIT_BLOCKS),
			      "%s: blocks in sysfs: %*pbl, were %*pbl", when,
			      MHP_KUNIT_BLOCKS, now.blocks, MHP_KUNIT_BLOCKS, snap->blocks);
}

/**
 * mhp_same_snapshot() - whether everything is as it was
 * @test: the case
 * @snap: how it was
 *
 * Return: true if it is
 */
bool mhp_same_snapshot(struct kunit *test, const struct mhp_snapshot *snap)
{
	struct mhp_snapshot now;

	mhp_take_snapshot(test, &now);
	return !memcmp(&now, snap, sizeof(now));
}
