// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_range: which ranges can be added and removed, and what refuses the others.
 */

#include <linux/sizes.h>

#include "fixture.h"

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

	KUNIT_EXPECT_EQ(test, add_memory(MAX_NUMNODES, start, SZ_2M, MHP_NONE), -EINVAL);
	KUNIT_EXPECT_EQ(test, add_memory(-1, start, SZ_2M, MHP_NONE), -EINVAL);
	mhp_expect_hole(test, start, SZ_2M);
}

static struct kunit_case mhp_range_cases[] = {
	KUNIT_CASE_PARAM(mhp_range_round_trip, range_gen_params),
	KUNIT_CASE_PARAM(mhp_range_round_trip_self_hosted, range_gen_params),
	KUNIT_CASE_PARAM(mhp_range_bad_add, bad_add_gen_params),
	KUNIT_CASE_PARAM(mhp_range_bad_remove, bad_remove_gen_params),
	KUNIT_CASE(mhp_range_online_stays),
	KUNIT_CASE(mhp_range_bad_node),
	{}
};

struct kunit_suite mhp_range_suite = {
	.name = "mhp_range",
	.init = mhp_fixture_init,
	.exit = mhp_fixture_exit,
	.test_cases = mhp_range_cases,
};
