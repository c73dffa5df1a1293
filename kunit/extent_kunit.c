// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_extent: several extents in a memory block, each with its own life.
 */

#include <linux/sizes.h>

#include "fixture.h"

#define NR_EXTENTS	3

/* Three extents of one block; the first two are neighbours. */
static const u64 offsets[NR_EXTENTS] = { SZ_8M, SZ_16M, SZ_64M };
#define EXTENT_SIZE	SZ_8M

static u64 extent_start(struct kunit *test, int i)
{
	return mhp_spare_start(test) + offsets[i];
}

static void add_extents(struct kunit *test)
{
	int i;

	for (i = 0; i < NR_EXTENTS; i++)
		mhp_must_add(test, 0, extent_start(test, i), EXTENT_SIZE, MHP_NONE);
}

struct found {
	struct memory_extent copies[8];
	unsigned int nr;
};

static int find_extent(struct memory_extent *ext, void *arg)
{
	struct found *found = arg;

	if (found->nr < ARRAY_SIZE(found->copies))
		found->copies[found->nr] = *ext;
	found->nr++;
	return 0;
}

/* Copies of the extents of the first block: to read numbers from, no more */
static struct found *find_extents(struct kunit *test)
{
	struct found *found = kunit_kzalloc(test, sizeof(*found), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, found);
	lock_device_hotplug();
	walk_memory_extents(mhp_spare_start(test), memory_block_size_bytes(), found,
			    find_extent);
	unlock_device_hotplug();
	return found;
}

/* One add call makes one extent, neighbours stay apart, and they come in order. */
static void mhp_extent_adjacent(struct kunit *test)
{
	struct found *found;
	int i;

	/* Added from the highest to the lowest */
	for (i = NR_EXTENTS - 1; i >= 0; i--)
		mhp_must_add(test, 0, extent_start(test, i), EXTENT_SIZE, MHP_NONE);
	found = find_extents(test);
	KUNIT_ASSERT_EQ(test, found->nr, NR_EXTENTS);
	for (i = 0; i < NR_EXTENTS; i++) {
		KUNIT_EXPECT_EQ(test, PFN_PHYS((u64)found->copies[i].start_pfn),
				extent_start(test, i));
		KUNIT_EXPECT_EQ(test, PFN_PHYS((u64)found->copies[i].nr_pages),
				(u64)EXTENT_SIZE);
		KUNIT_EXPECT_FALSE(test, found->copies[i].online);
		KUNIT_EXPECT_FALSE(test, found->copies[i].early);
	}
}

static const struct order_param {
	const char *name;
	int order[NR_EXTENTS];
} orders[] = {
	{ "first_second_third", { 0, 1, 2 } },
	{ "first_third_second", { 0, 2, 1 } },
	{ "second_first_third", { 1, 0, 2 } },
	{ "second_third_first", { 1, 2, 0 } },
	{ "third_first_second", { 2, 0, 1 } },
	{ "third_second_first", { 2, 1, 0 } },
};

KUNIT_ARRAY_PARAM_DESC(order, orders, name);

/* I4: extents go in any order; those that stay remain online. */
static void mhp_extent_removal_order(struct kunit *test)
{
	const struct order_param *param = test->param_value;
	int i, j;

	add_extents(test);
	for (i = 0; i < NR_EXTENTS; i++)
		KUNIT_ASSERT_EQ(test, mhp_online(extent_start(test, i), EXTENT_SIZE,
						 MMOP_ONLINE_MOVABLE), 0);
	for (i = 0; i < NR_EXTENTS; i++) {
		mhp_must_remove(test, extent_start(test, param->order[i]), EXTENT_SIZE);
		mhp_expect_hole(test, extent_start(test, param->order[i]), EXTENT_SIZE);
		for (j = i + 1; j < NR_EXTENTS; j++)
			mhp_expect_online(test, extent_start(test, param->order[j]),
					  EXTENT_SIZE, 0, ZONE_MOVABLE);
	}
}

/*
 * R1: extents of a block have their own states. (In a kernel zone, the kernel would
 * keep what it allocates there, and nothing could take the extent away again.)
 */
static void mhp_extent_states(struct kunit *test)
{
	struct found *found;

	add_extents(test);
	KUNIT_ASSERT_EQ(test, mhp_online(extent_start(test, 0), EXTENT_SIZE,
					 MMOP_ONLINE_MOVABLE), 0);
	KUNIT_ASSERT_EQ(test, mhp_online(extent_start(test, 2), EXTENT_SIZE,
					 MMOP_ONLINE_MOVABLE), 0);
	mhp_expect_online(test, extent_start(test, 0), EXTENT_SIZE, 0, ZONE_MOVABLE);
	mhp_expect_offline(test, extent_start(test, 1), EXTENT_SIZE);
	mhp_expect_online(test, extent_start(test, 2), EXTENT_SIZE, 0, ZONE_MOVABLE);
	found = find_extents(test);
	KUNIT_ASSERT_EQ(test, found->nr, NR_EXTENTS);
	KUNIT_EXPECT_TRUE(test, found->copies[0].online);
	KUNIT_EXPECT_FALSE(test, found->copies[1].online);
	KUNIT_EXPECT_TRUE(test, found->copies[2].online);
	KUNIT_EXPECT_STREQ(test, found->copies[0].zone->name, "Movable");
	KUNIT_EXPECT_PTR_EQ(test, found->copies[1].zone, NULL);
}

/* R8: an extent may be on another node than its neighbours. */
static void mhp_extent_nodes(struct kunit *test)
{
	if (!node_possible(1))
		kunit_skip(test, "there is no node 1: boot with two");
	mhp_must_add(test, 0, extent_start(test, 0), EXTENT_SIZE, MHP_NONE);
	mhp_must_add(test, 1, extent_start(test, 1), EXTENT_SIZE, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(mhp_spare_start(test), memory_block_size_bytes(),
					 MMOP_ONLINE_MOVABLE), 0);
	mhp_expect_online(test, extent_start(test, 0), EXTENT_SIZE, 0, ZONE_MOVABLE);
	mhp_expect_online(test, extent_start(test, 1), EXTENT_SIZE, 1, ZONE_MOVABLE);
	mhp_must_remove(test, extent_start(test, 0), EXTENT_SIZE);
	mhp_expect_online(test, extent_start(test, 1), EXTENT_SIZE, 1, ZONE_MOVABLE);
}

static void unregister_group(void *group)
{
	memory_group_unregister((long)group);
}

/* R1: each extent has its own memory group, whose pages are counted. */
static void mhp_extent_groups(struct kunit *test)
{
	struct found *found;
	int groups[2], i;

	for (i = 0; i < 2; i++) {
		groups[i] = memory_group_register_static(0, PHYS_PFN(EXTENT_SIZE));
		KUNIT_ASSERT_GE(test, groups[i], 0);
		mhp_must_add(test, groups[i], extent_start(test, i), EXTENT_SIZE,
			     MHP_NID_IS_MGID);
	}
	KUNIT_ASSERT_EQ(test, mhp_online(extent_start(test, 1), EXTENT_SIZE,
					 MMOP_ONLINE_MOVABLE), 0);
	found = find_extents(test);
	KUNIT_ASSERT_EQ(test, found->nr, 2);
	for (i = 0; i < 2; i++) {
		KUNIT_ASSERT_NOT_NULL(test, found->copies[i].group);
		KUNIT_EXPECT_EQ(test, found->copies[i].group->mgid, groups[i]);
		KUNIT_EXPECT_EQ(test, found->copies[i].group->present_movable_pages,
				i ? PHYS_PFN(EXTENT_SIZE) : 0UL);
		/* A group that has memory stays. */
		KUNIT_EXPECT_EQ(test, memory_group_unregister(groups[i]), -EBUSY);
	}
	for (i = 0; i < 2; i++) {
		mhp_must_remove(test, extent_start(test, i), EXTENT_SIZE);
		unregister_group((void *)(long)groups[i]);
	}
}

static const struct veto_param {
	const char *name;
	unsigned int nth;
} vetoes[] = {
	{ "first", 1 }, { "second", 2 }, { "third", 3 },
};

KUNIT_ARRAY_PARAM_DESC(veto, vetoes, name);

/* R3 I6: if the k-th extent of a block refuses to go online, none is. */
static void mhp_extent_online_rolls_back(struct kunit *test)
{
	const struct veto_param *veto = test->param_value;
	u64 block = mhp_spare_start(test);
	struct mhp_snapshot before;
	int i;

	add_extents(test);
	mhp_take_snapshot(test, &before);
	mhp_veto(test, MEM_GOING_ONLINE, veto->nth, -ENOMEM);
	KUNIT_EXPECT_EQ(test, mhp_online(block, memory_block_size_bytes(),
					 MMOP_ONLINE_MOVABLE), -ENOMEM);
	KUNIT_EXPECT_EQ(test, mhp_veto_calls(), veto->nth);
	mhp_expect_snapshot(test, &before, "after a veto");
	for (i = 0; i < NR_EXTENTS; i++)
		mhp_expect_offline(test, extent_start(test, i), EXTENT_SIZE);
	/* Nothing is in the way of a second try. */
	mhp_veto(test, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, mhp_online(block, memory_block_size_bytes(),
					 MMOP_ONLINE_MOVABLE), 0);
	for (i = 0; i < NR_EXTENTS; i++)
		mhp_expect_online(test, extent_start(test, i), EXTENT_SIZE, 0, ZONE_MOVABLE);
}

/* R3 I6: if the k-th extent refuses to go offline, all stay online. */
static void mhp_extent_offline_rolls_back(struct kunit *test)
{
	const struct veto_param *veto = test->param_value;
	struct mhp_snapshot before;
	u64 start = extent_start(test, 0);
	int i;

	/* Without a hole between them, as the range is to be filled */
	for (i = 0; i < NR_EXTENTS; i++)
		mhp_must_add(test, 0, start + i * EXTENT_SIZE, EXTENT_SIZE, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(start, NR_EXTENTS * EXTENT_SIZE,
					 MMOP_ONLINE_MOVABLE), 0);
	mhp_take_snapshot(test, &before);
	mhp_veto(test, MEM_GOING_OFFLINE, veto->nth, -EBUSY);
	KUNIT_EXPECT_EQ(test, offline_and_remove_memory(start, NR_EXTENTS * EXTENT_SIZE),
			-EBUSY);
	KUNIT_EXPECT_EQ(test, mhp_veto_calls(), veto->nth);
	mhp_expect_snapshot(test, &before, "after a veto");
	mhp_expect_online(test, start, NR_EXTENTS * EXTENT_SIZE, 0, ZONE_MOVABLE);
	mhp_veto(test, 0, 0, 0);
	mhp_must_remove(test, start, NR_EXTENTS * EXTENT_SIZE);
}

static struct kunit_case mhp_extent_cases[] = {
	KUNIT_CASE(mhp_extent_adjacent),
	KUNIT_CASE_PARAM(mhp_extent_removal_order, order_gen_params),
	KUNIT_CASE(mhp_extent_states),
	KUNIT_CASE(mhp_extent_nodes),
	KUNIT_CASE(mhp_extent_groups),
	KUNIT_CASE_PARAM(mhp_extent_online_rolls_back, veto_gen_params),
	KUNIT_CASE_PARAM(mhp_extent_offline_rolls_back, veto_gen_params),
	{}
};

struct kunit_suite mhp_extent_suite = {
	.name = "mhp_extent",
	.init = mhp_fixture_init,
	.exit = mhp_fixture_exit,
	.test_cases = mhp_extent_cases,
};
