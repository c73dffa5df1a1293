// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_range: which ranges can be added and removed, and what refuses the others.
 */

#include <linux/bits.h>
#include <linux/mm.h>
#include <linux/set_memory.h>
#include <linux/sizes.h>

#include "fixture.h"
#ifdef MHP_KUNIT_SYSTEM
#include "sysfs.h"
#endif

/* Offsets are from the start of the spare memory, which begins with a memory block. */
struct range_param {
	const char *name;
	u64 offset;
	u64 size;
};

static const struct range_param ranges[] = {
	{ "one_granule", 0, SZ_2M },
	{ "one_granule_inside", SZ_32M, SZ_2M },
	{ "last_granule", SZ_128M - SZ_2M, SZ_2M },
	{ "two_granules_across_blocks", SZ_128M - SZ_2M, SZ_4M },
	{ "one_block", 0, SZ_128M },
	{ "block_and_granule", 0, SZ_128M + SZ_2M },
	{ "granule_and_block", SZ_128M - SZ_2M, SZ_128M + SZ_2M },
	{ "unaligned_at_both_ends", SZ_2M + SZ_4M, SZ_256M },
	{ "many_blocks", 0, SZ_512M },
	{ "many_blocks_unaligned", SZ_128M - SZ_2M, SZ_512M + SZ_4M },
};

KUNIT_ARRAY_PARAM_DESC(range, ranges, name);

static void expect_neighbours_are_holes(struct kunit *test, u64 start, u64 size)
{
	if (start > mhp_spare_start(test))
		mhp_expect_hole(test, start - SZ_2M, SZ_2M);
	mhp_expect_hole(test, start + size, SZ_2M);
}

static void round_trip(struct kunit *test, mhp_t flags)
{
	const struct range_param *range = test->param_value;
	u64 start = mhp_spare_start(test) + range->offset;
	struct mhp_snapshot before, added;

	mhp_take_snapshot(test, &before);
	mhp_must_add(test, 0, start, range->size, flags);
	mhp_expect_offline(test, start, range->size);
	expect_neighbours_are_holes(test, start, range->size);
	mhp_take_snapshot(test, &added);
	KUNIT_EXPECT_EQ(test, added.totalram, before.totalram);
	KUNIT_EXPECT_EQ(test, added.ram_bytes, before.ram_bytes + range->size);

	KUNIT_ASSERT_EQ(test, mhp_online(start, range->size, MMOP_ONLINE_MOVABLE), 0);
	mhp_expect_online(test, start, range->size, 0, ZONE_MOVABLE);
	expect_neighbours_are_holes(test, start, range->size);
	KUNIT_ASSERT_EQ(test, mhp_offline(start, range->size), 0);
	mhp_expect_snapshot(test, &added, "offline again");
	KUNIT_ASSERT_EQ(test, remove_memory(start, range->size), 0);
	mhp_expect_hole(test, start, range->size);
	mhp_expect_snapshot(test, &before, "removed");

	/* Once more, for what the first time has left behind */
	mhp_must_add(test, 0, start, range->size, flags);
	KUNIT_ASSERT_EQ(test, mhp_online(start, range->size, MMOP_ONLINE_MOVABLE), 0);
	mhp_must_remove(test, start, range->size);
	mhp_expect_snapshot(test, &before, "removed again");
}

/* I5: add, online, offline and remove leave every counter as it was. */
static void mhp_range_round_trip(struct kunit *test)
{
	round_trip(test, MHP_NONE);
}

/* I5 I8: the same for memory that hosts its memmap. */
static void mhp_range_round_trip_self_hosted(struct kunit *test)
{
	if (!mhp_supports_memmap_on_memory())
		kunit_skip(test, "memory_hotplug.memmap_on_memory is off");
	round_trip(test, MHP_MEMMAP_ON_MEMORY);
}

/* Bad ranges; @absolute: offset is an address */
struct bad_param {
	const char *name;
	u64 offset;
	u64 size;
	int err;
	bool absolute;
};

/* Memory is at 64 MiB to 72 MiB, in two extents of 4 MiB; nothing of it is online. */
#define THERE		SZ_64M
#define THERE_SIZE	SZ_8M

static const struct bad_param bad_adds[] = {
	{ "empty", 0, 0, -EINVAL },
	{ "unaligned_start", SZ_4K, SZ_2M, -EINVAL },
	{ "unaligned_size", 0, SZ_2M + SZ_4K, -EINVAL },
	{ "half_a_granule", 0, SZ_1M, -EINVAL },
	{ "one_page", 0, SZ_4K, -EINVAL },
	{ "same_extent", THERE, SZ_4M, -EEXIST },
	{ "part_of_an_extent", THERE, SZ_2M, -EEXIST },
	{ "around_all", THERE - SZ_2M, THERE_SIZE + SZ_4M, -EEXIST },
	{ "end_overlaps", THERE - SZ_2M, SZ_4M, -EEXIST },
	{ "start_overlaps", THERE + THERE_SIZE - SZ_2M, SZ_4M, -EEXIST },
	{ "boot_memory", SZ_256M, SZ_2M, -EEXIST, true },
	{ "beyond_addresses", 1ULL << 62, SZ_2M, -E2BIG, true },
	{ "wraps", -(u64)SZ_2M, SZ_4M, -E2BIG, true },
};

KUNIT_ARRAY_PARAM_DESC(bad_add, bad_adds, name);

static const struct bad_param bad_removes[] = {
	{ "empty", 0, 0, -EINVAL },
	{ "unaligned_start", THERE + SZ_4K, SZ_4M, -EINVAL },
	{ "unaligned_size", THERE, SZ_4M + SZ_4K, -EINVAL },
	{ "nothing_there", 0, SZ_2M, -ENOENT },
	{ "cuts_the_first", THERE, SZ_2M, -EINVAL },
	{ "cuts_the_second", THERE, SZ_4M + SZ_2M, -EINVAL },
	{ "hole_before", THERE - SZ_2M, SZ_2M + THERE_SIZE, -ENOENT },
	{ "hole_behind", THERE, THERE_SIZE + SZ_2M, -ENOENT },
};

KUNIT_ARRAY_PARAM_DESC(bad_remove, bad_removes, name);

static u64 bad_start(struct kunit *test, const struct bad_param *bad)
{
	u64 start = mhp_spare_start(test);

	mhp_must_add(test, 0, start + THERE, SZ_4M, MHP_NONE);
	mhp_must_add(test, 0, start + THERE + SZ_4M, SZ_4M, MHP_NONE);
	return bad->absolute ? bad->offset : start + bad->offset;
}

/* I6: what cannot be added is refused, with the right error, and changes nothing. */
static void mhp_range_bad_add(struct kunit *test)
{
	const struct bad_param *bad = test->param_value;
	u64 start = bad_start(test, bad);
	struct mhp_snapshot before;

	mhp_take_snapshot(test, &before);
	KUNIT_EXPECT_EQ(test, add_memory(0, start, bad->size, MHP_NONE), bad->err);
	mhp_expect_snapshot(test, &before, "after the refusal");
}

/* I6 R7: what cannot be removed is refused by both functions, and stays. */
static void mhp_range_bad_remove(struct kunit *test)
{
	const struct bad_param *bad = test->param_value;
	u64 start = bad_start(test, bad);
	struct mhp_snapshot before;

	mhp_take_snapshot(test, &before);
	KUNIT_EXPECT_EQ(test, remove_memory(start, bad->size), bad->err);
	KUNIT_EXPECT_EQ(test, offline_and_remove_memory(start, bad->size), bad->err);
	mhp_expect_snapshot(test, &before, "after the refusals");
}

/* I6: memory that is online is not removed, and stays online. */
static void mhp_range_online_stays(struct kunit *test)
{
	u64 start = mhp_spare_start(test) + THERE;
	struct mhp_snapshot before;

	mhp_must_add(test, 0, start, SZ_4M, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(start, SZ_4M, MMOP_ONLINE_MOVABLE), 0);
	mhp_take_snapshot(test, &before);
	KUNIT_EXPECT_EQ(test, remove_memory(start, SZ_4M), -EBUSY);
	mhp_expect_snapshot(test, &before, "after the refusal");
	mhp_expect_online(test, start, SZ_4M, 0, ZONE_MOVABLE);
}

/* I6: the node must be possible. */
static void mhp_range_bad_node(struct kunit *test)
{
	u64 start = mhp_spare_start(test);
	struct mhp_snapshot before;

	mhp_take_snapshot(test, &before);
	KUNIT_EXPECT_EQ(test, add_memory(MAX_NUMNODES, start, SZ_2M, MHP_NONE), -EINVAL);
	KUNIT_EXPECT_EQ(test, add_memory(-1, start, SZ_2M, MHP_NONE), -EINVAL);
	mhp_expect_snapshot(test, &before, "after the refusals");
	mhp_expect_hole(test, start, SZ_2M);
}

/* Extents in a zone that has nothing else, and which of them goes when */
#define NR_SPAN		4

static const struct {
	u64 offset;
	u64 size;
} span_extents[NR_SPAN] = {
	{ SZ_2M, SZ_2M },
	{ SZ_8M, SZ_4M },
	{ SZ_32M, SZ_2M },
	{ SZ_128M + SZ_2M, SZ_4M },
};

static const struct span_param {
	const char *name;
	int go[NR_SPAN];
} spans[] = {
	{ "from_the_start", { 0, 1, 2, 3 } },
	{ "from_the_end", { 3, 2, 1, 0 } },
	{ "from_both", { 0, 3, 1, 2 } },
	{ "middle_first", { 1, 2, 0, 3 } },
	{ "middle_first_then_end", { 2, 1, 3, 0 } },
};

KUNIT_ARRAY_PARAM_DESC(span, spans, name);

/* What a zone spans that has some of the extents and nothing else, and what its node does */
static void expect_span(struct kunit *test, struct zone *zone, unsigned long there,
			unsigned long before)
{
	u64 spare = mhp_spare_start(test);
	unsigned long start = 0, end = 0;
	int i;

	for (i = 0; i < NR_SPAN; i++) {
		if (!test_bit(i, &there))
			continue;
		if (!start)
			start = PHYS_PFN(spare + span_extents[i].offset);
		end = PHYS_PFN(spare + span_extents[i].offset + span_extents[i].size);
	}
	KUNIT_EXPECT_EQ_MSG(test, zone->zone_start_pfn, start, "extents %#lx", there);
	KUNIT_EXPECT_EQ_MSG(test, zone->spanned_pages, end - start, "extents %#lx", there);
	/* What ZONE_DEVICE spans once, it spans for good, and its node, too. */
	if (!NODE_DATA(0)->node_zones[ZONE_DEVICE].spanned_pages)
		KUNIT_EXPECT_EQ_MSG(test, pgdat_end_pfn(NODE_DATA(0)), max(end, before),
				    "extents %#lx", there);
}

static void shrink_zone(struct kunit *test, enum zone_type type, enum mmop how)
{
	const struct span_param *param = test->param_value;
	struct zone *zone = &NODE_DATA(0)->node_zones[type];
	unsigned long there = 0, before = pgdat_end_pfn(NODE_DATA(0));
	u64 spare = mhp_spare_start(test);
	int i;

	for (i = 0; i < NR_SPAN; i++) {
		mhp_must_add(test, 0, spare + span_extents[i].offset, span_extents[i].size,
			     MHP_NONE);
		KUNIT_ASSERT_EQ(test, mhp_online(spare + span_extents[i].offset,
						 span_extents[i].size, how), 0);
		there |= BIT(i);
		expect_span(test, zone, there, before);
	}
	for (i = 0; i < NR_SPAN; i++) {
		KUNIT_ASSERT_EQ(test, mhp_offline(spare + span_extents[param->go[i]].offset,
						  span_extents[param->go[i]].size), 0);
		there &= ~BIT(param->go[i]);
		expect_span(test, zone, there, before);
	}
}

/* I5: a zone shrinks to where its memory ends, to the granule. */
static void mhp_range_zone_span(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, NODE_DATA(0)->node_zones[ZONE_MOVABLE].spanned_pages, 0UL);
	shrink_zone(test, ZONE_MOVABLE, MMOP_ONLINE_MOVABLE);
}

/* I4 I5: a zone does not shrink to where another node or zone has memory. */
static void mhp_range_zone_span_mixed(struct kunit *test)
{
	u64 spare = mhp_spare_start(test);
	struct zone *movable = &NODE_DATA(0)->node_zones[ZONE_MOVABLE];

	if (!node_possible(1))
		kunit_skip(test, "there is no node 1: boot with two");
	KUNIT_ASSERT_EQ(test, movable->spanned_pages, 0UL);
	/* Node 0, node 1, node 0, a kernel zone, node 0 */
	mhp_must_add(test, 0, spare, SZ_2M, MHP_NONE);
	mhp_must_add(test, 1, spare + SZ_2M, SZ_2M, MHP_NONE);
	mhp_must_add(test, 0, spare + SZ_8M, SZ_2M, MHP_NONE);
	mhp_must_add(test, 0, spare + SZ_16M, SZ_2M, MHP_NONE);
	mhp_must_add(test, 0, spare + SZ_32M, SZ_2M, MHP_NONE);
	mhp_withhold(test);
	KUNIT_ASSERT_EQ(test, mhp_online(spare + SZ_16M, SZ_2M, MMOP_ONLINE_KERNEL), 0);
	mhp_unwithhold();
	KUNIT_ASSERT_EQ(test, mhp_online(spare, SZ_64M, MMOP_ONLINE_MOVABLE), 0);
	KUNIT_EXPECT_EQ(test, movable->zone_start_pfn, PHYS_PFN(spare));
	KUNIT_EXPECT_EQ(test, movable->spanned_pages, PHYS_PFN(SZ_32M + SZ_2M));
	mhp_must_remove(test, spare, SZ_2M);
	KUNIT_EXPECT_EQ(test, movable->zone_start_pfn, PHYS_PFN(spare + SZ_8M));
	KUNIT_EXPECT_EQ(test, movable->spanned_pages, PHYS_PFN(SZ_32M + SZ_2M - SZ_8M));
	mhp_must_remove(test, spare + SZ_32M, SZ_2M);
	KUNIT_EXPECT_EQ(test, movable->zone_start_pfn, PHYS_PFN(spare + SZ_8M));
	KUNIT_EXPECT_EQ(test, movable->spanned_pages, PHYS_PFN(SZ_2M));
	mhp_expect_online(test, spare + SZ_2M, SZ_2M, 1, ZONE_MOVABLE);
	mhp_expect_online(test, spare + SZ_16M, SZ_2M, 0,
			  mhp_kernel_zone(0, spare + SZ_16M, SZ_2M));
}

/*
 * Memory that is offline, by the direct map: KASAN has no shadow of it, so that who
 * writes there must not be instrumented.
 */
static __no_sanitize_address unsigned long write_offline(u64 start, u64 end)
{
	unsigned long wrong = 0;
	u64 addr;

	for (addr = start; addr < end; addr += SZ_2M)
		*(u64 *)__va(addr) = addr;
	for (addr = start; addr < end; addr += SZ_2M)
		wrong += *(u64 *)__va(addr) != addr;
	return wrong;
}

/* I4 I5: of memory that one huge page maps, a part goes, and the rest stays. */
static void mhp_range_large_leaf(struct kunit *test)
{
	u64 start = mhp_spare_start(test), size = mhp_spare_size(), block, addr;
	unsigned long wrong = 0;

	KUNIT_ASSERT_TRUE_MSG(test, IS_ALIGNED(start, SZ_1G) && size >= SZ_1G,
			      "the spare memory has no GiB that is aligned");
	block = memory_block_size_bytes();
	mhp_must_add(test, 0, start, SZ_1G, MHP_NONE);
	/* One in the middle goes, and the first, and some of that comes again. */
	mhp_must_remove(test, start + 2 * block, block);
	mhp_must_remove(test, start, block);
	mhp_must_add(test, 0, start + SZ_2M, SZ_4M, MHP_NONE);
	for (addr = start; addr < start + SZ_1G; addr += SZ_2M) {
		u64 at = addr - start;
		bool there = (at >= SZ_2M && at < SZ_2M + SZ_4M) ||
			     (at >= block && at < 2 * block) ||
			     at >= 3 * block;

		wrong += mhp_is_mapped(addr) != there;
		wrong += pfn_valid(PHYS_PFN(addr)) != there;
	}
	KUNIT_ASSERT_EQ(test, wrong, 0UL);
	/* It is memory, and each page is its own. */
	KUNIT_EXPECT_EQ(test, write_offline(start + 3 * block, start + SZ_1G), 0UL);
}

/* I5: the direct map has what is added, as long as it is there, and nothing else. */
static void mhp_range_direct_map(struct kunit *test)
{
	const struct range_param *range = test->param_value;
	u64 start = mhp_spare_start(test) + range->offset, addr;
	unsigned long mapped = 0, granules = range->size / SZ_2M;

	mhp_must_add(test, 0, start, range->size, MHP_NONE);
	for (addr = start; addr < start + range->size; addr += SZ_2M)
		mapped += mhp_is_mapped(addr) && mhp_is_mapped(addr + SZ_2M - PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, mapped, granules);
	KUNIT_EXPECT_FALSE(test, mhp_is_mapped(start + range->size));
	mhp_must_remove(test, start, range->size);
	for (addr = start, mapped = 0; addr < start + range->size; addr += SZ_2M)
		mapped += mhp_is_mapped(addr) || mhp_is_mapped(addr + SZ_2M - PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, mapped, 0UL);
}

#if defined(CONFIG_X86_64) && !defined(MODULE)
/*
 * I5: page tables of the direct map go with the memory that they map, also if some of their
 * entries do not say "present", as those of secret memory and of free pages may not.
 */
static void mhp_range_unmapped_page(struct kunit *test)
{
	u64 start = mhp_spare_start(test) + SZ_32M;
	unsigned long addr = (unsigned long)__va(start);
	struct page *page = pfn_to_page(PHYS_PFN(start));
	unsigned int level;
	pte_t *entry;
	int i;

	for (i = 0; i < 2; i++) {
		mhp_must_add(test, 0, start, SZ_2M, MHP_NONE);
		KUNIT_ASSERT_NOT_NULL(test, lookup_address(addr, &level));
		/* The struct page of what is offline is not asked, just where it is. */
		KUNIT_ASSERT_EQ(test, set_direct_map_invalid_noflush(page + 3), 0);
		entry = lookup_address(addr + 3 * PAGE_SIZE, &level);
		KUNIT_ASSERT_NOT_NULL(test, entry);
		KUNIT_ASSERT_EQ(test, (int)level, (int)PG_LEVEL_4K);
		KUNIT_EXPECT_FALSE(test, pte_present(*entry));
		KUNIT_EXPECT_TRUE(test, mhp_is_mapped(start));
		KUNIT_EXPECT_FALSE(test, mhp_is_mapped(start + 3 * PAGE_SIZE));
		mhp_must_remove(test, start, SZ_2M);
		entry = lookup_address(addr, &level);
		KUNIT_EXPECT_TRUE_MSG(test, !entry || level != PG_LEVEL_4K,
				      "the page table is still there");
	}
}
#endif

/* I5: what a kernel zone gets, and loses again, without any page of it becoming free */
static void mhp_range_kernel_zone(struct kunit *test)
{
	const struct range_param *range = test->param_value;
	u64 start = mhp_spare_start(test) + range->offset;
	const int zone = mhp_kernel_zone(0, start, range->size);
	struct mhp_snapshot added, now;

	mhp_must_add(test, 0, start, range->size, MHP_NONE);
	mhp_take_snapshot(test, &added);
	mhp_withhold(test);
	KUNIT_ASSERT_EQ(test, mhp_online(start, range->size, MMOP_ONLINE_KERNEL), 0);
	mhp_expect_online(test, start, range->size, 0, zone);
	mhp_take_snapshot(test, &now);
	KUNIT_EXPECT_EQ(test, now.zones[0][zone].present,
			added.zones[0][zone].present + PHYS_PFN(range->size));
	KUNIT_EXPECT_EQ(test, now.zones[0][zone].managed,
			added.zones[0][zone].managed);
	KUNIT_EXPECT_EQ(test, now.totalram, added.totalram);
	KUNIT_ASSERT_EQ(test, mhp_offline(start, range->size), 0);
	mhp_expect_snapshot(test, &added, "offline again");
}

static struct kunit_case mhp_range_cases[] = {
#if defined(MHP_KUNIT_SYSTEM) && defined(CONFIG_ARCH_MEMORY_PROBE)
	KUNIT_CASE(mhp_range_probe),
#endif
	KUNIT_CASE_PARAM_ATTR(mhp_range_round_trip, range_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE_PARAM_ATTR(mhp_range_round_trip_self_hosted, range_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE_PARAM(mhp_range_bad_add, bad_add_gen_params),
	KUNIT_CASE_PARAM(mhp_range_bad_remove, bad_remove_gen_params),
	KUNIT_CASE(mhp_range_online_stays),
	KUNIT_CASE(mhp_range_bad_node),
	KUNIT_CASE_PARAM(mhp_range_zone_span, span_gen_params),
	KUNIT_CASE(mhp_range_zone_span_mixed),
	KUNIT_CASE_SLOW(mhp_range_large_leaf),
	KUNIT_CASE_PARAM(mhp_range_direct_map, range_gen_params),
#if defined(CONFIG_X86_64) && !defined(MODULE)
	KUNIT_CASE(mhp_range_unmapped_page),
#endif
	KUNIT_CASE_PARAM_ATTR(mhp_range_kernel_zone, range_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	{}
};

static struct kunit_suite mhp_range_suite = {
	.name = "mhp_range",
	.init = mhp_fixture_init_literal,
	.exit = mhp_fixture_exit,
	.test_cases = mhp_range_cases,
};

kunit_test_suite(mhp_range_suite);
