// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_online: which pages are online, and that nothing but these is used. What needs sysfs
 * and other files is in sysfs_online_kunit.c.
 */

#include <linux/gfp.h>
#include <linux/jhash.h>
#include <linux/mm.h>
#include <linux/page-isolation.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "online.h"
#ifdef MHP_KUNIT_SYSTEM
#include "sysfs.h"
#endif

enum kind { BOOT, HOLE, OFFLINE, ONLINE, DEVICE };

struct part {
	u64 size;
	enum kind kind;
};

/* A section of spare memory, from its start to its end */
static const struct part spare_layout[] = {
	{ SZ_2M, ONLINE },
	{ SZ_2M, OFFLINE },
	{ SZ_4M, HOLE },
	{ SZ_4M, DEVICE },
	{ SZ_4M, ONLINE },
	{ SZ_2M, DEVICE },
	{ SZ_2M, OFFLINE },
	{ SZ_4M, ONLINE },
	{ SZ_64M, HOLE },
	{ SZ_32M, ONLINE },
	{ SZ_8M, HOLE },
};

/* A section from the end of its boot memory on; what is not told of is a hole. */
static const struct part edge_layout[] = {
	{ SZ_2M, ONLINE },
	{ SZ_2M, HOLE },
	{ SZ_4M, DEVICE },
	{ SZ_4M, ONLINE },
	{ SZ_2M, OFFLINE },
	{ SZ_2M, DEVICE },
	{ SZ_4M, OFFLINE },
	{ SZ_2M, ONLINE },
};

static const struct layout_param {
	const char *name;
	const struct part *parts;
	unsigned int nr;
	bool edge;
} layouts[] = {
	{ "spare_memory", spare_layout, ARRAY_SIZE(spare_layout), false },
	{ "behind_boot_memory", edge_layout, ARRAY_SIZE(edge_layout), true },
};

KUNIT_ARRAY_PARAM_DESC(layout, layouts, name);

static u64 layout_start(struct kunit *test, const struct layout_param *layout)
{
	return layout->edge ? mhp_edge_start(test) : mhp_spare_start(test);
}

static void make_layout(struct kunit *test, const struct layout_param *layout)
{
	u64 at = layout_start(test, layout);
	const struct part *part = layout->parts;

	for (; part < layout->parts + layout->nr; at += part++->size) {
		if (part->kind == DEVICE)
			mhp_must_add_device(test, at, part->size);
		if (part->kind != ONLINE && part->kind != OFFLINE)
			continue;
		mhp_must_add(test, 0, at, part->size, MHP_NONE);
		if (part->kind == ONLINE)
			KUNIT_ASSERT_EQ(test, mhp_online(at, part->size, MMOP_ONLINE_MOVABLE), 0);
	}
}

/* What the layout says of an address of its section */
static enum kind kind_of(struct kunit *test, const struct layout_param *layout, u64 addr)
{
	u64 at = layout_start(test, layout);
	unsigned int i;

	if (addr < at)
		return BOOT;
	for (i = 0; i < layout->nr; at += layout->parts[i++].size) {
		if (addr < at + layout->parts[i].size)
			return layout->parts[i].kind;
	}
	return HOLE;
}

/*
 * What the pages of a section are linked to that is there since boot, or NULL for one that
 * is not: node and zone of each page, whether or not it is memory
 */
static u16 *copy_links(struct kunit *test, const struct layout_param *layout)
{
	unsigned long start = SECTION_ALIGN_DOWN(PHYS_PFN(layout_start(test, layout))), i;
	u16 *links;

	if (!layout->edge)
		return NULL;
	links = kunit_kmalloc_array(test, PAGES_PER_SECTION, sizeof(*links), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, links);
	for (i = 0; i < PAGES_PER_SECTION; i++)
		links[i] = page_to_nid(pfn_to_page(start + i)) * MAX_NR_ZONES +
			   page_zonenum(pfn_to_page(start + i));
	return links;
}

/* Expect what the layout says, pfn by pfn, from the start of the section to its end. */
static void expect_layout(struct kunit *test, const struct layout_param *layout,
			  struct zone *boot_zone, const u16 *links, const char *when)
{
	unsigned long start = SECTION_ALIGN_DOWN(PHYS_PFN(layout_start(test, layout)));
	struct zone *movable = &NODE_DATA(0)->node_zones[ZONE_MOVABLE];
	struct zone *device = &NODE_DATA(0)->node_zones[ZONE_DEVICE];
	unsigned long pfn, offline = 0, valid = 0, zones = 0, holes = 0;

	for (pfn = start; pfn < start + PAGES_PER_SECTION; pfn++) {
		enum kind kind = kind_of(test, layout, PFN_PHYS((u64)pfn));
		struct page *page = pfn_to_online_page(pfn);

		offline += !!page != (kind == BOOT || kind == ONLINE);
		/* The memmap of a section that is there since boot covers its holes. */
		valid += pfn_valid(pfn) != (kind != HOLE || layout->edge);
		if (!pfn_valid(pfn))
			continue;
		page = pfn_to_page(pfn);
		if (kind == BOOT)
			zones += page_zone(page) != boot_zone;
		else if (kind == ONLINE)
			zones += page_zone(page) != movable;
		else if (kind == DEVICE)
			zones += page_zone(page) != device;
		else if (kind == HOLE)
			holes += PagePoisoned(page) || !PageReserved(page) ||
				 page_to_nid(page) * MAX_NR_ZONES + page_zonenum(page) !=
				 links[pfn - start];
	}
	KUNIT_EXPECT_EQ_MSG(test, offline, 0UL, "%s: wrong answers of pfn_to_online_page()", when);
	KUNIT_EXPECT_EQ_MSG(test, valid, 0UL, "%s: wrong answers of pfn_valid()", when);
	KUNIT_EXPECT_EQ_MSG(test, zones, 0UL, "%s: pages of a wrong zone", when);
	KUNIT_EXPECT_EQ_MSG(test, holes, 0UL, "%s: pages of holes that boot has left otherwise",
			    when);
}

static struct zone *boot_zone_of(struct kunit *test, const struct layout_param *layout)
{
	struct page *page;

	if (!layout->edge)
		return NULL;
	page = pfn_to_online_page(PHYS_PFN(mhp_edge_start(test)) - 1);
	return page ? page_zone(page) : NULL;
}

/* I2 I3: each pfn of a mixed section is what the layout says. */
static void mhp_online_every_pfn(struct kunit *test)
{
	const struct layout_param *layout = test->param_value;
	struct zone *boot_zone = boot_zone_of(test, layout);
	const u16 *links = copy_links(test, layout);

	make_layout(test, layout);
	expect_layout(test, layout, boot_zone, links, "with all parts");
}

/* I4: parts of a mixed section go one by one, and those that stay do not change. */
static void mhp_online_every_pfn_going(struct kunit *test)
{
	const struct layout_param *layout = test->param_value;
	struct zone *boot_zone = boot_zone_of(test, layout);
	const u16 *links = copy_links(test, layout);
	struct layout_param left = *layout;
	struct part *parts;
	unsigned int i, j, odd;
	char when[32];
	u64 at;

	parts = kunit_kzalloc(test, layout->nr * sizeof(*parts), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, parts);
	memcpy(parts, layout->parts, layout->nr * sizeof(*parts));
	left.parts = parts;
	make_layout(test, layout);
	for (odd = 0; odd < 2; odd++) {
		for (i = odd; i < layout->nr; i += 2) {
			if (parts[i].kind == HOLE)
				continue;
			at = layout_start(test, layout);
			for (j = 0; j < i; j++)
				at += parts[j].size;
			if (parts[i].kind == DEVICE)
				mhp_must_remove_device(test, at);
			else
				mhp_must_remove(test, at, parts[i].size);
			parts[i].kind = HOLE;
			snprintf(when, sizeof(when), "part %u gone", i);
			expect_layout(test, &left, boot_zone, links, when);
		}
	}
}

/* I5: memory behind boot memory comes and goes, also together with what is behind. */
static void mhp_online_edge_round_trip(struct kunit *test)
{
	const struct layout_param all_hole = { .edge = true };
	struct zone *boot_zone = boot_zone_of(test, &all_hole);
	const u16 *links = copy_links(test, &all_hole);
	u64 start = mhp_edge_start(test), size = mhp_edge_size(test) + SZ_4M;
	const struct zone *movable = &NODE_DATA(0)->node_zones[ZONE_MOVABLE];
	struct mhp_snapshot before, added;

	mhp_take_snapshot(test, &before);
	mhp_must_add(test, 0, start, size, MHP_NONE);
	mhp_expect_offline(test, start, size);
	mhp_take_snapshot(test, &added);
	KUNIT_EXPECT_EQ(test, added.extents, before.extents + 2);
	KUNIT_ASSERT_EQ(test, mhp_online(start, size, MMOP_ONLINE_MOVABLE), 0);
	mhp_expect_online(test, start, size, 0, ZONE_MOVABLE);
	KUNIT_EXPECT_PTR_EQ(test, boot_zone_of(test, &all_hole), boot_zone);
	KUNIT_EXPECT_EQ(test, movable->present_pages,
			before.zones[0][ZONE_MOVABLE].present + PHYS_PFN(size));
	/* The section is there since boot; the memory is not. */
	KUNIT_EXPECT_EQ(test, movable->present_early_pages,
			before.zones[0][ZONE_MOVABLE].early);
	KUNIT_ASSERT_EQ(test, mhp_offline(start, size), 0);
	mhp_expect_snapshot(test, &added, "offline again");
	KUNIT_ASSERT_EQ(test, remove_memory(start, size), 0);
	mhp_expect_snapshot(test, &before, "removed");
	expect_layout(test, &all_hole, boot_zone, links, "removed");
}

/*
 * I5: a hole gets back what it was linked to, and not what is online next to it, if anything
 * is: boot memory of the section does not look online meanwhile.
 */
static void mhp_online_edge_nothing_online(struct kunit *test)
{
	const struct layout_param all_hole = { .edge = true };
	struct zone *boot_zone = boot_zone_of(test, &all_hole);
	const u16 *links = copy_links(test, &all_hole);
	u64 start = mhp_edge_start(test);
	DECLARE_BITMAP(online, SUBSECTIONS_PER_SECTION);
	unsigned long *map;
	int ret;

	mhp_must_add(test, 0, start, SZ_4M, MHP_NONE);
	map = __pfn_to_section(PHYS_PFN(start))->usage->online_map;
	bitmap_copy(online, map, SUBSECTIONS_PER_SECTION);
	bitmap_zero(map, SUBSECTIONS_PER_SECTION);
	ret = remove_memory(start, SZ_4M);
	bitmap_copy(map, online, SUBSECTIONS_PER_SECTION);
	KUNIT_EXPECT_EQ(test, ret, 0);
	expect_layout(test, &all_hole, boot_zone, links, "removed");
}

/* I4 R6: boot memory of a block does not go offline with what was added to it. */
static void mhp_online_edge_boot_stays(struct kunit *test)
{
	u64 start = mhp_edge_start(test), block = ALIGN_DOWN(start, memory_block_size_bytes());
	struct mhp_snapshot before;

	mhp_must_add(test, 0, start, SZ_4M, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(start, SZ_4M, MMOP_ONLINE_MOVABLE), 0);
	mhp_take_snapshot(test, &before);
	KUNIT_EXPECT_EQ(test, mhp_offline(block, start + SZ_4M - block), -EINVAL);
	KUNIT_EXPECT_EQ(test, offline_and_remove_memory(block, start + SZ_4M - block), -EINVAL);
	KUNIT_EXPECT_EQ(test, remove_memory(block, start + SZ_4M - block), -EBUSY);
	mhp_expect_snapshot(test, &before, "after the refusals");
	mhp_expect_online(test, start, SZ_4M, 0, ZONE_MOVABLE);
	mhp_must_remove(test, start, SZ_4M);
}

/* What is online, at the start of a section or behind boot memory, and its neighbours */
static const struct bait_param {
	const char *name;
	u64 offset;
	u64 size;
	enum beside below;
	enum beside above;
} baits[] = {
	{ "hole_below", SZ_2M, SZ_2M, NOTHING, NOTHING },
	{ "hole_above", SZ_4M, SZ_2M, NOTHING, NOTHING },
	{ "holes_around_more", SZ_2M, SZ_4M, NOTHING, NOTHING },
	{ "bait_below", SZ_2M, SZ_2M, BAIT, NOTHING },
	{ "bait_above", SZ_4M, SZ_2M, NOTHING, BAIT },
	{ "baits_around_more", SZ_2M, SZ_4M, BAIT, BAIT },
	{ "baits_around_largest", SZ_4M, SZ_4M, BAIT, BAIT },
	{ "baits_around_many", SZ_2M, SZ_8M + SZ_4M, BAIT, BAIT },
	{ "other_node_below", SZ_2M, SZ_2M, OTHER_NODE, NOTHING },
	{ "other_node_above", SZ_4M, SZ_2M, NOTHING, OTHER_NODE },
	{ "device_below", SZ_2M, SZ_2M, A_DEVICE, NOTHING },
	{ "device_above", SZ_4M, SZ_2M, NOTHING, A_DEVICE },
	{ "boot_memory_below", 0, SZ_2M, BOOT_MEMORY, BAIT },
	{ "boot_memory_below_more", 0, SZ_4M + SZ_2M, BOOT_MEMORY, NOTHING },
};

KUNIT_ARRAY_PARAM_DESC(bait, baits, name);

static void make_neighbour(struct kunit *test, u64 start, enum beside what)
{
	if (what == BAIT)
		mhp_must_add(test, 0, start, SZ_2M, MHP_NONE);
	if (what == A_DEVICE)
		mhp_must_add_device(test, start, SZ_2M);
	if (what == OTHER_NODE) {
		if (!node_possible(1))
			kunit_skip(test, "there is no node 1: boot with two");
		mhp_must_add(test, 1, start, SZ_2M, MHP_NONE);
		KUNIT_ASSERT_EQ(test, mhp_online(start, SZ_2M, MMOP_ONLINE_MOVABLE), 0);
	}
}

static u32 sum_memmap(u64 start, enum beside what)
{
	return what == BAIT ? jhash(pfn_to_page(PHYS_PFN(start)),
				    PAGES_PER_SUBSECTION * sizeof(struct page), 0) : 0;
}

/* Free pages that reach from one side of a pfn to the other */
static unsigned long count_straddlers(unsigned long pfn)
{
	unsigned long nr = 0, head;
	struct page *page;
	int order;

	for (order = 1; order < NR_PAGE_ORDERS; order++) {
		head = ALIGN_DOWN(pfn, 1UL << order);
		page = pfn_to_online_page(head);
		if (head < pfn && page && PageBuddy(page))
			nr += head + (1UL << page_private(page)) > pfn;
	}
	return nr;
}

/* Free pages of a range that was allocated page by page, as pages of one order. */
static void free_as_order(unsigned long pfn, unsigned long end, int order)
{
	unsigned long i;

	for (; pfn < end; pfn += 1UL << order) {
		/* The largest that fits: a range need not be a multiple of it */
		while (!IS_ALIGNED(pfn, 1UL << order) || pfn + (1UL << order) > end)
			order--;
		for (i = 1; i < 1UL << order; i++)
			set_page_count(pfn_to_page(pfn + i), 0);
		__free_pages(pfn_to_page(pfn), order);
	}
}

/*
 * I1: free pages of any order do not merge with a neighbour that is not online in the
 * same zone, even if its memmap looks like a free page of the zone.
 */
static void mhp_online_no_merge(struct kunit *test)
{
	const struct bait_param *param = test->param_value;
	u64 base = param->below == BOOT_MEMORY ? mhp_edge_start(test) : mhp_spare_start(test);
	u64 online = base + param->offset, above = online + param->size;
	u64 below = online - SZ_2M;
	unsigned long pfn = PHYS_PFN(online), end = PHYS_PFN(above);
	u32 sum_below, sum_above;
	int order;

	if (pageblock_nr_pages != PAGES_PER_SUBSECTION)
		kunit_skip(test, "a pageblock is not a sub-section here");
	make_neighbour(test, below, param->below);
	make_neighbour(test, above, param->above);
	mhp_must_add(test, 0, online, param->size, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(online, param->size, MMOP_ONLINE_MOVABLE), 0);
	make_bait(below, param->below, pfn_to_page(pfn));
	make_bait(above, param->above, pfn_to_page(pfn));
	sum_below = sum_memmap(below, param->below);
	sum_above = sum_memmap(above, param->above);
	for (order = 0; order < NR_PAGE_ORDERS; order++) {
		/* Only a part, such that what is isolated merges with what is not */
		take_pages(test, pfn, pfn + PAGES_PER_SUBSECTION / 2);
		free_as_order(pfn, pfn + PAGES_PER_SUBSECTION / 2, order);
		take_pages(test, pfn, end);
		/*
		 * Pages of few orders are kept for a CPU: they become free at
		 * the latest when all CPUs are asked for theirs, in the next round.
		 */
		free_as_order(pfn, end, order);
		KUNIT_EXPECT_EQ_MSG(test, count_straddlers(pfn), 0UL, "order %d", order);
		KUNIT_EXPECT_EQ_MSG(test, count_straddlers(end), 0UL, "order %d", order);
		KUNIT_EXPECT_EQ_MSG(test, sum_memmap(below, param->below), sum_below,
				    "order %d", order);
		KUNIT_EXPECT_EQ_MSG(test, sum_memmap(above, param->above), sum_above,
				    "order %d", order);
	}
	mhp_must_remove(test, online, param->size);
	KUNIT_EXPECT_EQ(test, sum_memmap(below, param->below), sum_below);
	KUNIT_EXPECT_EQ(test, sum_memmap(above, param->above), sum_above);
}

/* I1: of an extent whose length is no power of two, just its pages become free. */
static void mhp_online_frees_own_pages(struct kunit *test)
{
	u64 start = mhp_spare_start(test) + SZ_4M, bait = start + SZ_2M;
	struct zone *movable = &NODE_DATA(0)->node_zones[ZONE_MOVABLE];
	unsigned long before = zone_managed_pages(movable);
	u32 sum;

	mhp_must_add(test, 0, bait, SZ_2M, MHP_NONE);
	mhp_must_add(test, 0, start, SZ_2M, MHP_NONE);
	sum = sum_memmap(bait, BAIT);
	KUNIT_ASSERT_EQ(test, mhp_online(start, SZ_2M, MMOP_ONLINE_MOVABLE), 0);
	KUNIT_EXPECT_EQ(test, sum_memmap(bait, BAIT), sum);
	KUNIT_EXPECT_EQ(test, zone_managed_pages(movable), before + PHYS_PFN(SZ_2M));
	mhp_expect_offline(test, bait, SZ_2M);
	mhp_must_remove(test, start, SZ_2M);
	KUNIT_EXPECT_EQ(test, sum_memmap(bait, BAIT), sum);
}

/* I1: memory that is isolated goes to where it came from, and no further. */
static void mhp_online_isolated_neighbours(struct kunit *test)
{
	/* Two extents that make a page of the largest order together */
	u64 start = mhp_spare_start(test) + SZ_4M;
	struct mhp_snapshot before;
	int i;

	for (i = 0; i < 2; i++) {
		mhp_must_add(test, 0, start + i * SZ_2M, SZ_2M, MHP_NONE);
		KUNIT_ASSERT_EQ(test, mhp_online(start + i * SZ_2M, SZ_2M,
						 MMOP_ONLINE_MOVABLE), 0);
	}
	mhp_take_snapshot(test, &before);
	for (i = 0; i < 2; i++) {
		KUNIT_ASSERT_EQ(test, mhp_offline(start + i * SZ_2M, SZ_2M), 0);
		mhp_expect_offline(test, start + i * SZ_2M, SZ_2M);
		mhp_expect_online(test, start + !i * SZ_2M, SZ_2M, 0, ZONE_MOVABLE);
		KUNIT_EXPECT_EQ(test, count_straddlers(PHYS_PFN(start + SZ_2M)), 0UL);
		KUNIT_ASSERT_EQ(test, mhp_online(start + i * SZ_2M, SZ_2M,
						 MMOP_ONLINE_MOVABLE), 0);
		mhp_expect_snapshot(test, &before, "online again");
	}
}

/*
 * I1: a page in use that two extents share cannot be had in part, and neither extent goes
 * offline, nor stays isolated, before the page is free.
 */
static void mhp_online_shared_page(struct kunit *test)
{
	u64 start = mhp_spare_start(test) + SZ_4M;
	const unsigned int order = ilog2(2 * PAGES_PER_SUBSECTION);
	unsigned long pfn = PHYS_PFN(start), half = PAGES_PER_SUBSECTION;
	struct mhp_snapshot before;
	struct page *page;
	int i;

	if (order > MAX_PAGE_ORDER)
		kunit_skip(test, "there are no pages of two granules");
	for (i = 0; i < 2; i++) {
		mhp_must_add(test, 0, start + i * SZ_2M, SZ_2M, MHP_NONE);
		KUNIT_ASSERT_EQ(test, mhp_online(start + i * SZ_2M, SZ_2M,
						 MMOP_ONLINE_MOVABLE), 0);
	}
	mhp_must_take_pages(test, pfn, pfn + 2 * half, GFP_KERNEL | __GFP_COMP);
	page = pfn_to_page(pfn);
	KUNIT_EXPECT_EQ(test, compound_order(page), order);
	mhp_take_snapshot(test, &before);
	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, mhp_alloc_contig_range(pfn + i * half, pfn + (i + 1) * half,
							     GFP_KERNEL), -EBUSY);
		KUNIT_EXPECT_EQ(test, mhp_offline(start + i * SZ_2M, SZ_2M), -EBUSY);
		mhp_expect_snapshot(test, &before, "after the refusals");
	}
	KUNIT_EXPECT_EQ(test, compound_order(page), order);
	KUNIT_EXPECT_EQ(test, page_count(page), 1);
	__free_pages(page, order);
	for (i = 0; i < 2; i++) {
		take_pages(test, pfn + i * half, pfn + (i + 1) * half);
		free_contig_range(pfn + i * half, half);
	}
}

#ifndef MODULE
static int isolate(u64 start, u64 size)
{
	return mhp_start_isolate_page_range(PHYS_PFN(start), PHYS_PFN(start + size));
}

static void undo_isolate(u64 start, u64 size)
{
	mhp_undo_isolate_page_range(PHYS_PFN(start), PHYS_PFN(start + size));
}

/*
 * I1: what two have isolated, each for itself, stays apart: one of them may be about to go
 * offline.
 */
static void mhp_online_isolated_apart(struct kunit *test)
{
	u64 start = mhp_spare_start(test) + SZ_4M;
	unsigned long pfn = PHYS_PFN(start), mid = pfn + PAGES_PER_SUBSECTION;
	int i;

	for (i = 0; i < 2; i++) {
		mhp_must_add(test, 0, start + i * SZ_2M, SZ_2M, MHP_NONE);
		KUNIT_ASSERT_EQ(test, mhp_online(start + i * SZ_2M, SZ_2M,
						 MMOP_ONLINE_MOVABLE), 0);
	}
	take_pages(test, pfn, mid);
	KUNIT_EXPECT_EQ(test, isolate(start, SZ_2M), 0);
	KUNIT_EXPECT_EQ(test, isolate(start + SZ_2M, SZ_2M), 0);
	free_contig_range(pfn, PAGES_PER_SUBSECTION);
	KUNIT_EXPECT_EQ(test, count_straddlers(mid), 0UL);
	KUNIT_EXPECT_TRUE(test, PageBuddy(pfn_to_page(pfn)));
	KUNIT_EXPECT_TRUE(test, PageBuddy(pfn_to_page(mid)));
	undo_isolate(start, SZ_2M);
	undo_isolate(start + SZ_2M, SZ_2M);
	/* Nobody has them isolated, and they are two still. */
	KUNIT_EXPECT_EQ(test, count_straddlers(mid), 0UL);
}

/* I1: a range with a hole is not isolated, nor any part of it. */
static void mhp_online_hole_not_isolated(struct kunit *test)
{
	u64 start = mhp_spare_start(test) + SZ_4M;
	struct mhp_snapshot before;
	int i;

	for (i = 0; i < 3; i += 2) {
		mhp_must_add(test, 0, start + i * SZ_2M, SZ_2M, MHP_NONE);
		KUNIT_ASSERT_EQ(test, mhp_online(start + i * SZ_2M, SZ_2M,
						 MMOP_ONLINE_MOVABLE), 0);
	}
	mhp_take_snapshot(test, &before);
	KUNIT_EXPECT_EQ(test, isolate(start, 3 * SZ_2M), -EBUSY);
	mhp_expect_snapshot(test, &before, "after the refusal");
}
#endif /* !MODULE */

#ifdef CONFIG_MEMORY_FAILURE
/* I1: whether a page is free is not asked of what lies behind the edge of its extent. */
static void mhp_online_poison_at_hole(struct kunit *test)
{
	u64 start = mhp_spare_start(test) + SZ_4M + SZ_2M;
	unsigned long pfn = PHYS_PFN(start) + 3;

	mhp_must_add(test, 0, start, SZ_2M, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(start, SZ_2M, MMOP_ONLINE_MOVABLE), 0);
	take_pages(test, pfn, pfn + 1);
	/* If nobody holds it, and it is not free, it is looked for in pages of all orders. */
	set_page_count(pfn_to_page(pfn), 0);
	KUNIT_EXPECT_NE(test, memory_failure(pfn, MF_SW_SIMULATED), 0);
	set_page_count(pfn_to_page(pfn), 1);
	KUNIT_EXPECT_TRUE(test, PageHWPoison(pfn_to_page(pfn)));
	free_contig_range(pfn, 1);
	mhp_must_remove(test, start, SZ_2M);
	mhp_expect_hole(test, start, SZ_2M);
}
#endif

static struct kunit_case mhp_online_cases[] = {
	KUNIT_CASE_PARAM(mhp_online_every_pfn, layout_gen_params),
	KUNIT_CASE_PARAM(mhp_online_every_pfn_going, layout_gen_params),
	KUNIT_CASE(mhp_online_edge_round_trip),
	KUNIT_CASE(mhp_online_edge_nothing_online),
	KUNIT_CASE(mhp_online_edge_boot_stays),
	KUNIT_CASE_PARAM(mhp_online_no_merge, bait_gen_params),
	KUNIT_CASE(mhp_online_frees_own_pages),
	KUNIT_CASE(mhp_online_isolated_neighbours),
	KUNIT_CASE(mhp_online_shared_page),
#ifndef MODULE
	KUNIT_CASE(mhp_online_isolated_apart),
	KUNIT_CASE(mhp_online_hole_not_isolated),
#endif
#ifdef MHP_KUNIT_SYSTEM
	KUNIT_CASE_SLOW(mhp_online_content_migrates),
#if defined(CONFIG_PAGE_OWNER) && !defined(MODULE)
	KUNIT_CASE(mhp_online_page_owner),
#endif
#endif
#ifdef CONFIG_MEMORY_FAILURE
	KUNIT_CASE(mhp_online_poison_at_hole),
#endif
	{}
};

static struct kunit_suite mhp_online_suite = {
	.name = "mhp_online",
	.init = mhp_fixture_init_literal,
	.exit = mhp_fixture_exit,
	.test_cases = mhp_online_cases,
};

kunit_test_suite(mhp_online_suite);
