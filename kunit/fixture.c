// SPDX-License-Identifier: GPL-2.0
/*
 * Spare memory, snapshots, vetoes: see fixture.h.
 */

#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/ioport.h>
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/panic.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "fixture.h"
#include "probe.h"
#include "vmemmap.h"

static unsigned long long spare_start;
module_param(spare_start, ullong, 0444);
MODULE_PARM_DESC(spare_start, "physical address of memory to plug; 0: behind the last that the kernel knows of");

static unsigned long long spare_size = SZ_1G;
module_param(spare_size, ullong, 0444);
MODULE_PARM_DESC(spare_size, "bytes of it, a multiple of the memory block size");

/* Where memory begins that is behind boot memory, in the block before spare_start */
static u64 edge_start;

#define AUTO_ONLINE	"devices/system/memory/auto_online_blocks"

/* What the kernel had reported before the case, and its policy */
static unsigned long reports_before;
static char policy_before[32];

/* Memory groups that cases have registered */
#define MAX_GROUPS	8
static int groups[MAX_GROUPS];
static unsigned int nr_groups;

/* For each action, which notification is answered with an error */
static struct {
	unsigned int nth;
	unsigned int seen;
	int err;
} vetoes[MHP_NR_NOTIFICATIONS];

static unsigned long last_veto;

/* The first notifications since mhp_forget_calls(), and how many of each action */
static struct mhp_call calls[MHP_KUNIT_CALLS];
static unsigned int nr_calls, nr_actions[MHP_NR_NOTIFICATIONS];

static int note_callback(struct notifier_block *nb, unsigned long action,
			 void *arg)
{
	if (nr_calls < ARRAY_SIZE(calls)) {
		calls[nr_calls].action = action;
		calls[nr_calls].arg = *(struct memory_notify *)arg;
	}
	nr_calls++;
	if (action < ARRAY_SIZE(nr_actions))
		nr_actions[action]++;
	return NOTIFY_OK;
}

static int veto_callback(struct notifier_block *nb, unsigned long action,
			 void *arg)
{
	if (action >= ARRAY_SIZE(vetoes) || ++vetoes[action].seen != vetoes[action].nth)
		return NOTIFY_OK;
	return notifier_from_errno(vetoes[action].err);
}

/* The first notes what others may refuse; the last refuses what others have begun. */
static struct notifier_block note_nb = { .notifier_call = note_callback,
					 .priority = INT_MAX };
static struct notifier_block veto_nb = { .notifier_call = veto_callback,
					 .priority = INT_MIN };

/**
 * mhp_veto() - have a memory notifier refuse
 * @test: the case
 * @action: MEM_PREPARE_ONLINE, MEM_GOING_ONLINE or MEM_GOING_OFFLINE; what is said of
 *	others stays
 * @nth: which of the notifications from now on, 1 being the next; 0 for none of any
 *	action
 * @err: -errno
 */
void mhp_veto(struct kunit *test, unsigned long action, unsigned int nth, int err)
{
	if (!nth)
		memset(vetoes, 0, sizeof(vetoes));
	vetoes[action].nth = nth;
	vetoes[action].seen = 0;
	vetoes[action].err = err;
	last_veto = action;
}

/**
 * mhp_veto_calls() - how many notifications the last mhp_veto() has counted
 *
 * Return: notifications of its action
 */
unsigned int mhp_veto_calls(void)
{
	return vetoes[last_veto].seen;
}

static bool withholding;

/* Like a balloon: the pages are not free, and nobody holds them. */
static void withhold_page(struct page *page, unsigned int order)
{
	unsigned int i;

	for (i = 0; i < 1U << order; i++)
		set_page_count(page + i, 0);
}

/**
 * mhp_withhold() - have memory go online without its pages becoming free
 * @test: the case; at its end, all is as it was
 *
 * So memory can go to a kernel zone and offline again: the kernel allocates nothing
 * there.
 */
void mhp_withhold(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, set_online_page_callback(withhold_page), 0);
	withholding = true;
}

/**
 * mhp_unwithhold() - undo mhp_withhold() for what goes online from now on
 */
void mhp_unwithhold(void)
{
	if (withholding)
		restore_online_page_callback(withhold_page);
	withholding = false;
}

/**
 * mhp_forget_calls() - count and keep notifications from now on
 */
void mhp_forget_calls(void)
{
	nr_calls = 0;
	memset(nr_actions, 0, sizeof(nr_actions));
}

/**
 * mhp_get_call() - a notification since mhp_forget_calls()
 * @i: 0 for the first
 *
 * Return: the notification, or NULL if there was none, or it was not kept
 */
const struct mhp_call *mhp_get_call(unsigned int i)
{
	return i < min_t(unsigned int, nr_calls, ARRAY_SIZE(calls)) ? &calls[i] : NULL;
}

/**
 * mhp_count_calls() - notifications since mhp_forget_calls()
 * @action: MEM_ONLINE and its like
 *
 * Return: their number
 */
unsigned int mhp_count_calls(unsigned long action)
{
	return nr_actions[action];
}

/* A file of sysfs, whether or not somebody has mounted that */
static struct file *open_sysfs(const char *path, int flags)
{
	struct vfsmount *mnt = NULL;
	struct file *file;
	int pins = 0, ret;

	ret = simple_pin_fs(get_fs_type("sysfs"), &mnt, &pins);
	if (ret)
		return ERR_PTR(ret);
	file = file_open_root_mnt(mnt, path, flags, 0);
	simple_release_fs(&mnt, &pins);
	return file;
}

/**
 * mhp_sysfs_read() - read a file of sysfs
 * @path: relative to its root
 * @buf: the text, ended by 0
 * @size: of @buf, in bytes
 *
 * Return: length of the text, or -errno
 */
ssize_t mhp_sysfs_read(const char *path, char *buf, size_t size)
{
	struct file *file = open_sysfs(path, O_RDONLY);
	loff_t pos = 0;
	ssize_t len;

	if (IS_ERR(file))
		return PTR_ERR(file);
	do {
		len = kernel_read(file, buf + pos, size - 1 - pos, &pos);
	} while (len > 0);
	buf[pos] = 0;
	__fput_sync(file);
	return len ?: pos;
}

/**
 * mhp_read_sysfs() - what is in a file of sysfs
 * @test: the case, which ends here and fails if the file cannot be read
 * @path: relative to its root
 *
 * Return: text of less than four pages, which is freed with the case
 */
char *mhp_read_sysfs(struct kunit *test, const char *path)
{
	const size_t size = 4 * PAGE_SIZE;
	char *text = kunit_kzalloc(test, size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, text);
	KUNIT_ASSERT_GE_MSG(test, mhp_sysfs_read(path, text, size), 0, "%s", path);
	return text;
}

/**
 * mhp_sysfs_write() - write a file of sysfs
 * @path: relative to its root
 * @text: what to write
 *
 * Return: 0 or -errno
 */
ssize_t mhp_sysfs_write(const char *path, const char *text)
{
	struct file *file = open_sysfs(path, O_WRONLY);
	loff_t pos = 0;
	ssize_t len;

	if (IS_ERR(file))
		return PTR_ERR(file);
	len = kernel_write(file, text, strlen(text), &pos);
	__fput_sync(file);
	return min_t(ssize_t, len, 0);
}

/**
 * mhp_sysfs_exists() - whether sysfs has a file or folder
 * @path: relative to its root
 *
 * Return: true if it has
 */
bool mhp_sysfs_exists(const char *path)
{
	struct file *file = open_sysfs(path, O_RDONLY);

	if (IS_ERR(file))
		return false;
	__fput_sync(file);
	return true;
}

struct entries {
	struct dir_context ctx;
	int nr;
};

static bool count_entry(struct dir_context *ctx, const char *name, int len, loff_t pos,
			u64 ino, unsigned int type)
{
	container_of(ctx, struct entries, ctx)->nr += name[0] != '.';
	return true;
}

/**
 * mhp_sysfs_count() - how many entries a folder of sysfs has
 * @path: relative to its root
 *
 * Return: their number, or -errno
 */
int mhp_sysfs_count(const char *path)
{
	struct entries entries = { .ctx.actor = count_entry };
	struct file *file = open_sysfs(path, O_RDONLY | O_DIRECTORY);
	int ret;

	if (IS_ERR(file))
		return PTR_ERR(file);
	ret = iterate_dir(file, &entries.ctx);
	__fput_sync(file);
	return ret ?: entries.nr;
}

/**
 * mhp_must_set_policy() - choose what becomes of memory that is added, or end the case
 * @test: the case; at its end, the policy is what it was
 * @policy: for auto_online_blocks
 */
void mhp_must_set_policy(struct kunit *test, const char *policy)
{
	KUNIT_ASSERT_EQ_MSG(test, mhp_sysfs_write(AUTO_ONLINE, policy), 0, "%s", policy);
}

/**
 * mhp_must_register_group() - have a static memory group on node 0, or end the case
 * @test: the case; the group goes at its end, when its memory has gone
 * @max_pages: that it may have
 *
 * Return: the number of the group
 */
int mhp_must_register_group(struct kunit *test, unsigned long max_pages)
{
	int group;

	KUNIT_ASSERT_LT(test, nr_groups, MAX_GROUPS);
	group = memory_group_register_static(0, max_pages);
	KUNIT_ASSERT_GE(test, group, 0);
	groups[nr_groups++] = group;
	return group;
}

/**
 * mhp_must_unregister_group() - undo mhp_must_register_group(), or end the case
 * @test: the case
 * @group: its number
 */
void mhp_must_unregister_group(struct kunit *test, int group)
{
	unsigned int i;

	KUNIT_ASSERT_EQ(test, memory_group_unregister(group), 0);
	for (i = 0; i < nr_groups; i++) {
		if (groups[i] == group)
			groups[i] = groups[--nr_groups];
	}
}

/**
 * mhp_spare_start() - where the memory begins that cases may plug
 * @test: the case
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

/**
 * mhp_least_size() - the least that can be added
 *
 * Return: bytes; what is added must be aligned to it
 */
u64 mhp_least_size(void)
{
#ifdef CONFIG_MHP_SUBSECTION
	return mhp_granule_bytes();
#else
	return memory_block_size_bytes();
#endif
}

/**
 * mhp_kernel_zone() - the zone that a range goes online in for the kernel
 * @nid: the node
 * @start: physical address in bytes
 * @size: bytes
 *
 * Return: the lowest one whose span has a part of the range, or ZONE_NORMAL. On
 * arm64, ZONE_DMA may span spare memory, as it reaches to where firmware has some.
 */
int mhp_kernel_zone(int nid, u64 start, u64 size)
{
	int zid;

	for (zid = 0; zid < ZONE_NORMAL; zid++) {
		if (zone_intersects(&NODE_DATA(nid)->node_zones[zid], PHYS_PFN(start),
				    PHYS_PFN(size)))
			break;
	}
	return zid;
}

/**
 * mhp_edge_start() - where the memory begins that shares a block with boot memory
 * @test: the case, which ends here and fails if there is none
 *
 * It lies behind boot memory, and ends where the spare memory begins.
 *
 * Return: physical address in bytes, aligned to the granule
 */
u64 mhp_edge_start(struct kunit *test)
{
	if (edge_start == spare_start)
		KUNIT_FAIL_AND_ABORT(test,
				     "no spare memory behind boot memory, before %#llx: reserve some with memmap=",
				     spare_start);
	return edge_start;
}

/**
 * mhp_edge_size() - how much memory shares a block with boot memory
 * @test: the case, which ends here and fails if there is none
 *
 * Return: bytes, a multiple of the granule
 */
u64 mhp_edge_size(struct kunit *test)
{
	return spare_start - mhp_edge_start(test);
}

static int last_ram(struct resource *res, void *arg)
{
	*(unsigned long long *)arg = res->end;
	return 0;
}

static bool is_spare(u64 addr, u64 size)
{
	return region_intersects(addr, size, IORESOURCE_BUSY, IORES_DESC_NONE) ==
	       REGION_DISJOINT && mhp_memory_answers(addr);
}

/* What is spare of the block before, if boot memory is the rest of it */
static void find_edge(void)
{
	u64 block = spare_start - memory_block_size_bytes();

	edge_start = spare_start;
	while (edge_start > block && is_spare(edge_start - SZ_2M, SZ_2M))
		edge_start -= SZ_2M;
	if (!pfn_to_online_page(PHYS_PFN(edge_start) - 1))
		edge_start = spare_start;
}

static int find_spare(struct kunit *test)
{
	u64 addr;

	if (!spare_start) {
		walk_iomem_res_desc(IORES_DESC_NONE, IORESOURCE_SYSTEM_RAM |
				    IORESOURCE_BUSY, 0, -1, &spare_start, last_ram);
		spare_start = ALIGN(spare_start, memory_block_size_bytes());
	}
	if (!spare_size || !IS_ALIGNED(spare_start | spare_size, memory_block_size_bytes())) {
		kunit_err(test, "spare_start and spare_size must be multiples of %#lx",
			  memory_block_size_bytes());
		return -EINVAL;
	}
	for (addr = spare_start; addr < spare_start + spare_size; addr += SZ_32M) {
		if (is_spare(addr, SZ_32M))
			continue;
		kunit_err(test,
			  "no spare memory at %#llx: reserve some with memmap=, or set spare_start",
			  addr);
		return -ENODEV;
	}
	if (!edge_start)
		find_edge();
	if (spare_start + spare_size - edge_start > (u64)MHP_KUNIT_SUBSECTIONS * SZ_2M ||
	    spare_size > MHP_KUNIT_BLOCKS * memory_block_size_bytes()) {
		kunit_err(test, "more spare memory than snapshots have room for");
		return -EINVAL;
	}
	return 0;
}

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

static void count_extents(struct mhp_snapshot *snap)
{
	struct memory_extent *ext;
	unsigned long pfn;

	lock_device_hotplug();
	for_each_memory_extent(ext, pfn, 0, PHYS_PFN(spare_start + spare_size)) {
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

static void count_extents(struct mhp_snapshot *snap)
{
}

#endif /* CONFIG_MHP_SUBSECTION */

static bool is_mapped(const void *addr)
{
	unsigned long page_size;

	return mhp_virt_to_backing((unsigned long)addr, &page_size);
}

/**
 * mhp_is_mapped() - whether an address is in the direct map, as the CPU sees it
 * @addr: physical address in bytes
 *
 * Return: true if it can be read
 */
bool mhp_is_mapped(u64 addr)
{
	u32 word;

	return !copy_from_kernel_nofault(&word, __va(addr), sizeof(word));
}

#ifdef CONFIG_MHP_SUBSECTION

/**
 * mhp_find_backing() - where the memmap of a range is, by the page tables
 * @test: the case
 * @start: physical address of the range in bytes
 * @size: bytes
 * @low: physical address in bytes where that begins in which the memmap may be
 * @high: physical address in bytes where that ends
 * @backing: filled
 */
void mhp_find_backing(struct kunit *test, u64 start, u64 size, u64 low, u64 high,
		      struct mhp_backing *backing)
{
	unsigned long addr = (unsigned long)pfn_to_page(PHYS_PFN(start));
	unsigned long end = (unsigned long)pfn_to_page(PHYS_PFN(start + size));
	unsigned long page_size, *seen;
	phys_addr_t phys;

	seen = kunit_kzalloc(test, BITS_TO_BYTES(PHYS_PFN(high - low)) + sizeof(*seen), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, seen);
	memset(backing, 0, sizeof(*backing));
	get_online_mems();
	for (; addr < end; addr += PAGE_SIZE) {
		phys = mhp_virt_to_backing(addr, &page_size);
		if (!phys) {
			backing->unmapped++;
		} else if (phys < low || phys >= high) {
			backing->outside++;
		} else {
			backing->within++;
			backing->twice += __test_and_set_bit(PHYS_PFN(phys - low), seen);
		}
	}
	put_online_mems();
	kunit_kfree(test, seen);
}

#endif /* CONFIG_MHP_SUBSECTION */

/* Whether sysfs has a memory block, or, with a node, a link from that to it */
static bool block_exists(u64 addr, int nid)
{
	u64 id = addr / memory_block_size_bytes();
	char path[64];

	if (nid < 0)
		snprintf(path, sizeof(path), "devices/system/memory/memory%llu", id);
	else
		snprintf(path, sizeof(path), "devices/system/node/node%d/memory%llu", nid, id);
	return mhp_sysfs_exists(path);
}

/**
 * mhp_take_snapshot() - note what memory hotplug must leave as it found it
 * @test: the case
 * @snap: filled
 */
void mhp_take_snapshot(struct kunit *test, struct mhp_snapshot *snap)
{
	unsigned long start = PHYS_PFN(spare_start), pfn;
	unsigned long end = PHYS_PFN(spare_start + spare_size);
	u64 block;
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

	count_extents(snap);
	for (pfn = start; pfn < end; pfn += PAGES_PER_SECTION)
		snap->sections += present_section(__pfn_to_section(pfn));
	for (pfn = PHYS_PFN(edge_start), i = 0; pfn < end; pfn += PAGES_PER_SUBSECTION, i++) {
		__assign_bit(i, snap->valid, pfn_valid(pfn));
		__assign_bit(i, snap->in_use, !!pfn_to_online_page(pfn));
		__assign_bit(i, snap->edges, is_edge(pfn));
		/* With DEBUG_PAGEALLOC, free pages are not mapped. */
		if (!debug_pagealloc_enabled())
			__assign_bit(i, snap->mapped, is_mapped(pfn_to_kaddr(pfn)));
		__assign_bit(i, snap->memmap, is_mapped(pfn_to_page(pfn)));
	}
	for (i = 0; i < spare_size / memory_block_size_bytes(); i++) {
		block = spare_start + i * memory_block_size_bytes();
		__assign_bit(i, snap->blocks, block_exists(block, -1));
		for (nid = 0; nid < MHP_KUNIT_NODES; nid++)
			__assign_bit(i, snap->links[nid], block_exists(block, nid));
	}
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

#ifdef CONFIG_MHP_SUBSECTION

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
	ret = online_memory_range(start, size, type);
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
	struct range range = { .start = start, .end = start + size - 1 };
	int ret;

	lock_device_hotplug();
	ret = offline_memory_ranges(&range, 1, true);
	unlock_device_hotplug();
	return ret;
}

#elif !defined(MODULE)

/* The same for blocks, by what is not exported */

static int online_block(struct memory_block *mem, void *type)
{
	mem->online_type = *(enum mmop *)type;
	return min(device_online(&mem->dev), 0);
}

int mhp_online(u64 start, u64 size, enum mmop type)
{
	int ret;

	lock_device_hotplug();
	ret = walk_memory_blocks(start, size, &type, online_block);
	unlock_device_hotplug();
	return ret;
}

static int offline_block(struct memory_block *mem, void *unused)
{
	return min(device_offline(&mem->dev), 0);
}

int mhp_offline(u64 start, u64 size)
{
	int ret;

	lock_device_hotplug();
	ret = walk_memory_blocks(start, size, NULL, offline_block);
	unlock_device_hotplug();
	return ret;
}

#endif /* CONFIG_MHP_SUBSECTION */

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

/* Nobody has said that there is memory elsewhere. */
static void must_be_spare(struct kunit *test, u64 start, u64 size)
{
	KUNIT_ASSERT_TRUE_MSG(test, start >= edge_start && start < spare_start + spare_size &&
			      size <= spare_start + spare_size - start,
			      "%#llx-%#llx is not spare: the case needs more spare memory",
			      start, start + size - 1);
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
	must_be_spare(test, start, size);
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
	bool claimed;
	struct dev_pagemap pgmap;
};

static LIST_HEAD(device_ranges);

static void free_device(struct device_range *range)
{
	memunmap_pages(&range->pgmap);
	if (range->claimed)
		release_mem_region(range->start, range->size);
	list_del(&range->next);
	kfree(range);
}

static int add_device(u64 start, u64 size, bool claim, const struct vmem_altmap *altmap)
{
	struct device_range *range = kzalloc(sizeof(*range), GFP_KERNEL);
	void *addr = ERR_PTR(-EBUSY);

	if (!range)
		return -ENOMEM;
	range->start = start;
	range->size = size;
	range->pgmap.type = MEMORY_DEVICE_GENERIC;
	range->pgmap.nr_range = 1;
	range->pgmap.range.start = start;
	range->pgmap.range.end = start + size - 1;
	if (altmap) {
		memcpy(&range->pgmap.altmap, altmap, sizeof(*altmap));
		range->pgmap.flags = PGMAP_ALTMAP_VALID;
	}
	range->claimed = claim && request_mem_region(start, size, "mhp_kunit");
	if (range->claimed == claim)
		addr = memremap_pages(&range->pgmap, 0);
	if (IS_ERR(addr)) {
		if (range->claimed)
			release_mem_region(start, size);
		kfree(range);
		return PTR_ERR(addr);
	}
	list_add(&range->next, &device_ranges);
	return 0;
}

static void must_add_device(struct kunit *test, u64 start, u64 size, bool claim,
			    const struct vmem_altmap *altmap)
{
	must_be_spare(test, start, size);
	KUNIT_ASSERT_EQ_MSG(test, add_device(start, size, claim, altmap), 0,
			    "no device at %#llx", start);
}

/**
 * mhp_must_add_device() - have ZONE_DEVICE somewhere, or end the case
 * @test: the case; the device goes at its end
 * @start: physical address in bytes
 * @size: bytes
 */
void mhp_must_add_device(struct kunit *test, u64 start, u64 size)
{
	must_add_device(test, start, size, true, NULL);
}

/**
 * mhp_must_add_device_altmap() - have ZONE_DEVICE that hosts its memmap, or end the case
 * @test: the case; the device goes at its end
 * @start: physical address in bytes
 * @size: bytes
 * @reserve: pages at the start that the memmap must not use
 * @free: pages behind these that it may use
 */
void mhp_must_add_device_altmap(struct kunit *test, u64 start, u64 size,
				unsigned long reserve, unsigned long free)
{
	struct vmem_altmap altmap = {
		.base_pfn = PHYS_PFN(start),
		.end_pfn = PHYS_PFN(start + size - 1),
		.reserve = reserve,
		.free = free,
	};

	must_add_device(test, start, size, true, &altmap);
}

/**
 * mhp_must_hide_device() - have ZONE_DEVICE that no resource tells of, or end the case
 * @test: the case; the device goes at its end
 * @start: physical address in bytes
 * @size: bytes
 *
 * Who adds memory there finds out half way.
 */
void mhp_must_hide_device(struct kunit *test, u64 start, u64 size)
{
	must_add_device(test, start, size, false, NULL);
}

/**
 * mhp_hide_device() - the same for who wants to see it fail
 * @start: physical address in bytes, of spare memory
 * @size: bytes
 *
 * Return: 0 or -errno
 */
int mhp_hide_device(u64 start, u64 size)
{
	return add_device(start, size, false, NULL);
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

/**
 * mhp_must_take_pages() - take pages out of the page allocator, or end the case
 * @test: the case
 * @pfn: the first
 * @end: the first behind them
 * @gfp: for alloc_contig_range()
 *
 * Some may be in somebody's hands for a moment.
 */
void mhp_must_take_pages(struct kunit *test, unsigned long pfn, unsigned long end, gfp_t gfp)
{
	int ret, try;

	for (try = 0; try < 50; try++) {
		ret = mhp_alloc_contig_range(pfn, end, gfp);
		if (ret != -EBUSY)
			break;
		msleep(20);
	}
	KUNIT_ASSERT_EQ_MSG(test, ret, 0, "pages %#lx to %#lx", pfn, end - 1);
}

struct leftover {
	u64 start;
	u64 size;
};

#ifdef CONFIG_MHP_SUBSECTION

static bool find_leftover(u64 start, u64 end, struct leftover *left)
{
	unsigned long pfn = PHYS_PFN(start);
	struct memory_extent *ext;

	lock_device_hotplug();
	ext = memory_extent_find(&pfn, PHYS_PFN(end));
	if (ext) {
		left->start = PFN_PHYS((u64)ext->start_pfn);
		left->size = PFN_PHYS((u64)ext->nr_pages);
	}
	unlock_device_hotplug();
	return ext;
}

#else

static bool find_leftover(u64 start, u64 end, struct leftover *left)
{
	/* Without the series, nothing can be added beside boot memory in its block. */
	left->size = memory_block_size_bytes();
	for (left->start = ALIGN(start, left->size); left->start < end; left->start += left->size)
		if (present_section(__pfn_to_section(PHYS_PFN(left->start))))
			return true;
	return false;
}

#endif /* CONFIG_MHP_SUBSECTION */

/*
 * Warnings, bad pages and objects. What lockdep finds is not among them: on stock, too, it
 * finds fault with a block that is removed while somebody reads its state.
 */
static unsigned long count_reports(void)
{
	unsigned long warnings = 0;
	char text[32];

	if (mhp_sysfs_read("kernel/warn_count", text, sizeof(text)) > 0 &&
	    kstrtoul(strim(text), 0, &warnings))
		warnings = 0;
	return warnings + test_taint(TAINT_WARN) + test_taint(TAINT_BAD_PAGE);
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
	if (mhp_sysfs_read(AUTO_ONLINE, policy_before, sizeof(policy_before)) < 0 ||
	    mhp_sysfs_write(AUTO_ONLINE, "offline"))
		return -EIO;
	ret = register_memory_notifier(&note_nb);
	if (ret)
		return ret;
	ret = register_memory_notifier(&veto_nb);
	if (ret) {
		unregister_memory_notifier(&note_nb);
		return ret;
	}
	mhp_take_snapshot(test, snap);
	reports_before = count_reports();
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
	u64 at = edge_start, end = spare_start + spare_size;
	int ret;

	if (!test->priv)
		return;
	unregister_memory_notifier(&veto_nb);
	unregister_memory_notifier(&note_nb);
	mhp_unwithhold();
	list_for_each_entry_safe(range, tmp, &device_ranges, next)
		free_device(range);
	while (at < end && find_leftover(at, end, &left)) {
		ret = offline_and_remove_memory(left.start, left.size);
		KUNIT_EXPECT_EQ_MSG(test, ret, 0, "cannot remove what is left at %#llx",
				    left.start);
		if (ret)
			at = left.start + left.size;
	}
	while (nr_groups)
		KUNIT_EXPECT_EQ(test, memory_group_unregister(groups[--nr_groups]), 0);
	KUNIT_EXPECT_EQ(test, mhp_sysfs_write(AUTO_ONLINE, strim(policy_before)), 0);
	mhp_expect_snapshot(test, test->priv, "after the case");
	KUNIT_EXPECT_EQ_MSG(test, count_reports(), reports_before,
			    "the kernel has reported something, see its log");
}

kunit_test_suites(&mhp_stock_suite);

#ifdef CONFIG_MHP_SUBSECTION
kunit_test_suites(&mhp_subsection_suite, &mhp_edge_suite, &mhp_range_suite,
		  &mhp_extent_suite, &mhp_online_suite, &mhp_zone_device_suite, &mhp_unwind_suite,
		  &mhp_race_suite);
MHP_IMPORT_NS(MHP_DEBUG);
MHP_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
#endif

MODULE_DESCRIPTION("KUnit tests for memory hotplug by sub-sections");
MODULE_LICENSE("GPL");
