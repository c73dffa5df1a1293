// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_extent: several extents in a memory block, each with its own life. What needs sysfs
 * is in sysfs_extent_kunit.c.
 */

#include <linux/bits.h>
#include <linux/mm.h>
#include <linux/range.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "extent.h"
#include "orders.h"
#ifdef MHP_KUNIT_SYSTEM
#include "sysfs.h"
#endif

struct found {
	struct memory_extent copies[8];
	unsigned int nr;
};

/* Copies of the extents of the first block: to read numbers from, no more */
static struct found *find_extents(struct kunit *test)
{
	struct found *found = kunit_kzalloc(test, sizeof(*found), GFP_KERNEL);
	unsigned long start = PHYS_PFN(mhp_spare_start(test)), pfn;
	struct memory_extent *ext;

	KUNIT_ASSERT_NOT_NULL(test, found);
	lock_device_hotplug();
	for_each_memory_extent(ext, pfn, start, start + PHYS_PFN(memory_block_size_bytes())) {
		if (found->nr < ARRAY_SIZE(found->copies))
			found->copies[found->nr] = *ext;
		found->nr++;
	}
	unlock_device_hotplug();
	return found;
}

/* R1: one add call makes one extent, neighbours stay apart, and they come in order. */
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

/* R1: each extent has its own memory group, whose pages are counted. */
static void mhp_extent_groups(struct kunit *test)
{
	struct found *found;
	int groups[2], i;

	for (i = 0; i < 2; i++) {
		groups[i] = mhp_must_register_group(test, PHYS_PFN(EXTENT_SIZE));
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
		mhp_must_unregister_group(test, groups[i]);
	}
}

static const struct veto_param vetoes[] = {
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

/* Rolling back across memory blocks: where the extents of a range are */
#define ACROSS_SIZE	(2 * EXTENT_SIZE + SZ_128M)

/* I6: if the last of three memory blocks refuses, the extents of all stay online. */
static void mhp_extent_blocks_roll_back(struct kunit *test)
{
	const struct veto_param *veto = test->param_value;
	u64 start = mhp_spare_start(test) + SZ_128M - EXTENT_SIZE;
	struct mhp_snapshot before;

	mhp_must_add(test, 0, start, ACROSS_SIZE, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(start, ACROSS_SIZE, MMOP_ONLINE_MOVABLE), 0);
	mhp_take_snapshot(test, &before);
	mhp_veto(test, MEM_GOING_OFFLINE, veto->nth, -EBUSY);
	KUNIT_EXPECT_EQ(test, mhp_offline(start, ACROSS_SIZE), -EBUSY);
	KUNIT_EXPECT_EQ(test, mhp_veto_calls(), veto->nth);
	mhp_expect_snapshot(test, &before, "after a veto");
	mhp_veto(test, MEM_GOING_OFFLINE, veto->nth, -EBUSY);
	KUNIT_EXPECT_EQ(test, offline_and_remove_memory(start, ACROSS_SIZE), -EBUSY);
	KUNIT_EXPECT_EQ(test, mhp_veto_calls(), veto->nth);
	mhp_expect_snapshot(test, &before, "after another veto");
	mhp_expect_online(test, start, ACROSS_SIZE, 0, ZONE_MOVABLE);
}

/* R7: what goes offline are extents, as a whole and without gaps. */
static void mhp_extent_offline_whole(struct kunit *test)
{
	u64 start = extent_start(test, 0);
	struct mhp_snapshot before;

	add_extents(test);
	KUNIT_ASSERT_EQ(test, mhp_online(start, 2 * EXTENT_SIZE, MMOP_ONLINE_MOVABLE), 0);
	mhp_take_snapshot(test, &before);
	KUNIT_EXPECT_EQ(test, mhp_offline(start, SZ_4M), -EINVAL);
	KUNIT_EXPECT_EQ(test, mhp_offline(start + SZ_4M, EXTENT_SIZE), -EINVAL);
	KUNIT_EXPECT_EQ(test, mhp_offline(start, 2 * EXTENT_SIZE + SZ_2M), -ENOENT);
	KUNIT_EXPECT_EQ(test, mhp_offline(start - SZ_2M, 2 * EXTENT_SIZE + SZ_2M), -ENOENT);
	mhp_expect_snapshot(test, &before, "after the refusals");
	KUNIT_EXPECT_EQ(test, mhp_offline(start, 2 * EXTENT_SIZE), 0);
	mhp_expect_offline(test, start, 2 * EXTENT_SIZE);
}

#ifdef MHP_HAS_OFFLINE_RANGES
/* I6 R7: several ranges go offline and are removed as one: all of them, or none. */
static void mhp_extent_ranges(struct kunit *test)
{
	u64 start = extent_start(test, 0), far = mhp_spare_start(test) + 2 * SZ_128M - SZ_4M;
	struct range ranges[] = {
		{ far, far + SZ_8M - 1 },
		{ start, start + EXTENT_SIZE - 1 },
		{ extent_start(test, 2), extent_start(test, 2) + EXTENT_SIZE - 1 },
	};
	const unsigned int nr = ARRAY_SIZE(ranges);
	struct mhp_snapshot before;
	unsigned int i;

	add_extents(test);
	mhp_must_add(test, 0, far, SZ_8M, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(far, SZ_8M, MMOP_ONLINE_MOVABLE), 0);
	KUNIT_ASSERT_EQ(test, mhp_online(start, 2 * EXTENT_SIZE, MMOP_ONLINE_MOVABLE), 0);
	KUNIT_ASSERT_EQ(test, mhp_online(extent_start(test, 2), EXTENT_SIZE,
					 MMOP_ONLINE_MOVABLE), 0);
	mhp_take_snapshot(test, &before);
	KUNIT_EXPECT_EQ(test, offline_and_remove_memory_ranges(NULL, nr), -EINVAL);
	KUNIT_EXPECT_EQ(test, offline_and_remove_memory_ranges(ranges, 0), -EINVAL);
	/* The first range is of two blocks, so that there are four steps. */
	for (i = 1; i <= nr + 1; i++) {
		mhp_veto(test, MEM_GOING_OFFLINE, i, -EBUSY);
		KUNIT_EXPECT_EQ_MSG(test, offline_and_remove_memory_ranges(ranges, nr), -EBUSY,
				    "veto of the part %u", i);
		KUNIT_EXPECT_EQ(test, mhp_veto_calls(), i);
		mhp_expect_snapshot(test, &before, "after a veto");
	}
	/* One that is no range of extents, wherever it stands */
	for (i = 0; i < nr; i++) {
		ranges[i].end -= SZ_2M;
		KUNIT_EXPECT_EQ_MSG(test, offline_and_remove_memory_ranges(ranges, nr), -EINVAL,
				    "range %u cuts an extent", i);
		ranges[i].end += SZ_2M + SZ_1M;
		KUNIT_EXPECT_EQ_MSG(test, offline_and_remove_memory_ranges(ranges, nr), -EINVAL,
				    "range %u is misaligned", i);
		ranges[i].end -= SZ_1M;
		mhp_expect_snapshot(test, &before, "after the refusals");
	}
	mhp_expect_online(test, far, SZ_8M, 0, ZONE_MOVABLE);
	KUNIT_EXPECT_EQ(test, offline_and_remove_memory_ranges(ranges, nr), 0);
	mhp_expect_hole(test, far, SZ_8M);
	mhp_expect_hole(test, start, EXTENT_SIZE);
	mhp_expect_hole(test, extent_start(test, 2), EXTENT_SIZE);
	/* What is between them */
	mhp_expect_online(test, extent_start(test, 1), EXTENT_SIZE, 0, ZONE_MOVABLE);
}

#define RANGES_CASE	KUNIT_CASE(mhp_extent_ranges),
#else
#define RANGES_CASE
#endif

/* R1: a group knows what of it is in a kernel zone, and what can be moved. */
static void mhp_extent_group_zones(struct kunit *test)
{
	int group = mhp_must_register_group(test, PHYS_PFN(2 * EXTENT_SIZE)), i;
	struct found *found;

	mhp_withhold(test);
	for (i = 0; i < 2; i++) {
		mhp_must_add(test, group, extent_start(test, i), EXTENT_SIZE, MHP_NID_IS_MGID);
		KUNIT_ASSERT_EQ(test, mhp_online(extent_start(test, i), EXTENT_SIZE,
						 i ? MMOP_ONLINE_MOVABLE :
						     MMOP_ONLINE_KERNEL), 0);
	}
	found = find_extents(test);
	KUNIT_ASSERT_EQ(test, found->nr, 2);
	KUNIT_EXPECT_EQ(test, found->copies[0].group->present_kernel_pages, PHYS_PFN(EXTENT_SIZE));
	KUNIT_EXPECT_EQ(test, found->copies[0].group->present_movable_pages,
			PHYS_PFN(EXTENT_SIZE));
	mhp_must_remove(test, extent_start(test, 0), EXTENT_SIZE);
	KUNIT_EXPECT_EQ(test, found->copies[1].group->present_kernel_pages, 0UL);
	KUNIT_EXPECT_EQ(test, found->copies[1].group->present_movable_pages,
			PHYS_PFN(EXTENT_SIZE));
	mhp_must_remove(test, extent_start(test, 1), EXTENT_SIZE);
}

#ifdef MHP_HAS_KEEPS_PAGES
/* What a driver is asked, says and gets that may keep pages */
static struct {
	unsigned long asked_pfn;
	unsigned long asked_pages;
	bool keeps;
	unsigned long pages;
	unsigned long not_offline;
} keeper;

static bool keeper_keeps_pages(unsigned long start_pfn, unsigned long nr_pages)
{
	keeper.asked_pfn = start_pfn;
	keeper.asked_pages = nr_pages;
	return keeper.keeps;
}

static void keeper_online_page(struct page *page, unsigned int order)
{
	unsigned int i;

	for (i = 0; i < 1U << order; i++) {
		if (!PageOffline(page + i) || page_count(page + i) != 1)
			keeper.not_offline++;
	}
	keeper.pages += i;
	generic_online_page(page, order);
}

static void keeper_leaves(void *unused)
{
	restore_online_page_callback(keeper_online_page);
}

/* A driver is given what it may keep, as it was on stock, and nothing else. */
static void mhp_extent_driver_keeps_pages(struct kunit *test)
{
	const u64 start = extent_start(test, 0);

	mhp_must_add(test, 0, start, EXTENT_SIZE, MHP_NONE);
	KUNIT_ASSERT_EQ(test, set_online_page_callback(keeper_online_page, keeper_keeps_pages), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, keeper_leaves, NULL), 0);
	for (int keeps = 0; keeps < 2; keeps++) {
		memset(&keeper, 0, sizeof(keeper));
		keeper.keeps = keeps;
		KUNIT_ASSERT_EQ(test, mhp_online(start, EXTENT_SIZE, MMOP_ONLINE_MOVABLE), 0);
		KUNIT_EXPECT_EQ(test, keeper.asked_pfn, PHYS_PFN(start));
		KUNIT_EXPECT_EQ(test, keeper.asked_pages, PHYS_PFN(EXTENT_SIZE));
		KUNIT_EXPECT_EQ(test, keeper.pages, keeps ? PHYS_PFN(EXTENT_SIZE) : 0);
		KUNIT_EXPECT_EQ(test, keeper.not_offline, 0UL);
		mhp_expect_online(test, start, EXTENT_SIZE, 0, ZONE_MOVABLE);
		KUNIT_ASSERT_EQ(test, mhp_offline(start, EXTENT_SIZE), 0);
	}
}

#define KEEPS_CASE	KUNIT_CASE(mhp_extent_driver_keeps_pages),
#else
#define KEEPS_CASE
#endif

#ifdef CONFIG_MEMORY_FAILURE
/* R3: so does the block that it is in. */
static void mhp_extent_poison_last_of_blocks(struct kunit *test)
{
	u64 start = mhp_spare_start(test) + SZ_128M - EXTENT_SIZE;

	mhp_must_add(test, 0, start, ACROSS_SIZE, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(start, ACROSS_SIZE, MMOP_ONLINE_MOVABLE), 0);
	KUNIT_ASSERT_EQ(test, memory_failure(PHYS_PFN(start) + 5, MF_SW_SIMULATED), 0);
	mhp_veto(test, MEM_GOING_OFFLINE, 3, -EBUSY);
	KUNIT_EXPECT_EQ(test, mhp_offline(start, ACROSS_SIZE), -EBUSY);
	mhp_expect_online(test, start, ACROSS_SIZE, 0, ZONE_MOVABLE);
	mhp_veto(test, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, mhp_offline(start, ACROSS_SIZE), 0);
	mhp_expect_offline(test, start, ACROSS_SIZE);
}
#endif

/* I1: a zone's start and size change as a whole, for who looks at them meanwhile. */
static void mhp_extent_zone_span(struct kunit *test)
{
	struct zone *zone = &NODE_DATA(0)->node_zones[ZONE_MOVABLE];
	unsigned int i, seq;

	add_extents(test);
	for (i = NR_EXTENTS; i--;) {
		seq = zone_span_seqbegin(zone);
		KUNIT_ASSERT_EQ(test, mhp_online(extent_start(test, i), EXTENT_SIZE,
						 MMOP_ONLINE_MOVABLE), 0);
		KUNIT_EXPECT_TRUE(test, zone_span_seqretry(zone, seq));
	}
	for (i = 0; i < NR_EXTENTS; i++) {
		seq = zone_span_seqbegin(zone);
		KUNIT_ASSERT_EQ(test, mhp_offline(extent_start(test, i), EXTENT_SIZE), 0);
		KUNIT_EXPECT_TRUE(test, zone_span_seqretry(zone, seq));
	}
}

static struct kunit_case mhp_extent_cases[] = {
	KUNIT_CASE(mhp_extent_zone_span),
	KUNIT_CASE(mhp_extent_adjacent),
	KUNIT_CASE_PARAM(mhp_extent_removal_order, order_gen_params),
	KUNIT_CASE(mhp_extent_states),
	KUNIT_CASE(mhp_extent_nodes),
	KUNIT_CASE(mhp_extent_groups),
	KUNIT_CASE_PARAM(mhp_extent_online_rolls_back, veto_gen_params),
	KUNIT_CASE_PARAM(mhp_extent_offline_rolls_back, veto_gen_params),
	KUNIT_CASE_PARAM_ATTR(mhp_extent_blocks_roll_back, veto_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE(mhp_extent_offline_whole),
	RANGES_CASE
	KEEPS_CASE
#ifdef MHP_KUNIT_SYSTEM
	KUNIT_CASE(mhp_extent_rollback_refused),
	KUNIT_CASE(mhp_extent_block_state),
	KUNIT_CASE_PARAM(mhp_extent_block_state_rolls_back, veto_gen_params),
	KUNIT_CASE(mhp_extent_zones_come_back),
	KUNIT_CASE(mhp_extent_node_links),
	KUNIT_CASE(mhp_extent_uevents),
	KUNIT_CASE(mhp_extent_policy),
	KUNIT_CASE_SLOW(mhp_extent_group_follows),
	KUNIT_CASE(mhp_extent_group_follows_later),
	KUNIT_CASE(mhp_extent_group_follows_own),
	KUNIT_CASE(mhp_extent_returns),
	KUNIT_CASE(mhp_extent_sysfs),
#ifdef CONFIG_MEMORY_FAILURE
	KUNIT_CASE(mhp_extent_poison_last),
	KUNIT_CASE(mhp_extent_poison),
#endif
#endif
	KUNIT_CASE(mhp_extent_group_zones),
#ifdef CONFIG_MEMORY_FAILURE
	KUNIT_CASE(mhp_extent_poison_last_of_blocks),
#endif
	{}
};

static struct kunit_suite mhp_extent_suite = {
	.name = "mhp_extent",
	.init = mhp_fixture_init_literal,
	.exit = mhp_fixture_exit,
	.test_cases = mhp_extent_cases,
};

kunit_test_suite(mhp_extent_suite);
