// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_extent: several extents in a memory block, each with its own life.
 */

#include <linux/bits.h>
#include <linux/mm.h>
#include <linux/range.h>
#include <linux/sizes.h>
#include <linux/string.h>

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

/* The path of a file of the block that an address is in */
static char *block_file(struct kunit *test, u64 addr, const char *name)
{
	char *path = kunit_kzalloc(test, 80, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, path);
	snprintf(path, 80, "devices/system/memory/memory%llu/%s",
		 addr / memory_block_size_bytes(), name);
	return path;
}

static void expect_state(struct kunit *test, const char *state)
{
	KUNIT_EXPECT_STREQ(test, mhp_read_sysfs(test, block_file(test, mhp_spare_start(test),
								 "state")), state);
}

static int write_state(struct kunit *test, const char *state)
{
	return mhp_sysfs_write(block_file(test, mhp_spare_start(test), "state"), state);
}

static void expect_extents(struct kunit *test, unsigned long online)
{
	int i;

	for (i = 0; i < NR_EXTENTS; i++) {
		if (test_bit(i, &online))
			mhp_expect_online(test, extent_start(test, i), EXTENT_SIZE, 0,
					  ZONE_MOVABLE);
		else
			mhp_expect_offline(test, extent_start(test, i), EXTENT_SIZE);
	}
}

/* R2 R3: the state of a block is online if any extent is; writing it changes all. */
static void mhp_extent_block_state(struct kunit *test)
{
	int i;

	add_extents(test);
	expect_state(test, "offline\n");
	for (i = 0; i < NR_EXTENTS; i++) {
		KUNIT_ASSERT_EQ(test, mhp_online(extent_start(test, i), EXTENT_SIZE,
						 MMOP_ONLINE_MOVABLE), 0);
		expect_state(test, "online\n");
		/* The others follow, though the block is online. */
		KUNIT_EXPECT_EQ(test, write_state(test, "online_movable"), 0);
		expect_extents(test, 0x7);
		KUNIT_EXPECT_EQ(test, write_state(test, "online_movable"), -EINVAL);
		KUNIT_ASSERT_EQ(test, mhp_offline(extent_start(test, i), EXTENT_SIZE), 0);
		expect_state(test, "online\n");
		expect_extents(test, 0x7 & ~BIT(i));
		KUNIT_EXPECT_EQ(test, write_state(test, "offline"), 0);
		expect_state(test, "offline\n");
		expect_extents(test, 0);
		KUNIT_EXPECT_EQ(test, write_state(test, "offline"), -EINVAL);
	}
}

/* R3 I6: if the k-th extent refuses what is written to the block, none has changed. */
static void mhp_extent_block_state_rolls_back(struct kunit *test)
{
	const struct veto_param *veto = test->param_value;
	struct mhp_snapshot before;

	add_extents(test);
	mhp_take_snapshot(test, &before);
	mhp_veto(test, MEM_GOING_ONLINE, veto->nth, -ENOMEM);
	KUNIT_EXPECT_EQ(test, write_state(test, "online_movable"), -ENOMEM);
	KUNIT_EXPECT_EQ(test, mhp_veto_calls(), veto->nth);
	mhp_expect_snapshot(test, &before, "after a veto");
	expect_state(test, "offline\n");
	expect_extents(test, 0);

	/* With one that was online before */
	KUNIT_ASSERT_EQ(test, mhp_online(extent_start(test, 1), EXTENT_SIZE,
					 MMOP_ONLINE_MOVABLE), 0);
	mhp_take_snapshot(test, &before);
	if (veto->nth < NR_EXTENTS) {
		mhp_veto(test, MEM_GOING_ONLINE, veto->nth, -ENOMEM);
		KUNIT_EXPECT_EQ(test, write_state(test, "online_movable"), -ENOMEM);
		mhp_expect_snapshot(test, &before, "after a veto, one being online");
		expect_state(test, "online\n");
		expect_extents(test, 0x2);
	}
	mhp_veto(test, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, write_state(test, "online_movable"), 0);

	mhp_take_snapshot(test, &before);
	mhp_veto(test, MEM_GOING_OFFLINE, veto->nth, -EBUSY);
	KUNIT_EXPECT_EQ(test, write_state(test, "offline"), -EBUSY);
	KUNIT_EXPECT_EQ(test, mhp_veto_calls(), veto->nth);
	mhp_expect_snapshot(test, &before, "after a veto of going offline");
	expect_state(test, "online\n");
	expect_extents(test, 0x7);
}

/* I6 R8: extents that come back after a veto do so in the zones that they were in. */
static void mhp_extent_zones_come_back(struct kunit *test)
{
	int nid;

	if (!node_possible(1))
		kunit_skip(test, "there is no node 1: boot with two");
	for (nid = 0; nid < 2; nid++) {
		mhp_must_add(test, nid, extent_start(test, nid), EXTENT_SIZE, MHP_NONE);
		mhp_withhold(test);
		KUNIT_ASSERT_EQ(test, mhp_online(extent_start(test, nid), EXTENT_SIZE,
						 nid ? MMOP_ONLINE_KERNEL :
						       MMOP_ONLINE_MOVABLE), 0);
		mhp_unwithhold();
	}
	mhp_must_add(test, 0, extent_start(test, 2), EXTENT_SIZE, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(extent_start(test, 2), EXTENT_SIZE,
					 MMOP_ONLINE_MOVABLE), 0);
	mhp_withhold(test);
	mhp_veto(test, MEM_GOING_OFFLINE, 3, -EBUSY);
	KUNIT_EXPECT_EQ(test, write_state(test, "offline"), -EBUSY);
	mhp_expect_online(test, extent_start(test, 0), EXTENT_SIZE, 0, ZONE_MOVABLE);
	mhp_expect_online(test, extent_start(test, 1), EXTENT_SIZE, 1, ZONE_NORMAL);
	mhp_expect_online(test, extent_start(test, 2), EXTENT_SIZE, 0, ZONE_MOVABLE);
}

/* Writing what is no state: -EINVAL where there is a link to the block, or -ENOENT */
static int try_node_link(struct kunit *test, int nid)
{
	char path[80];

	snprintf(path, sizeof(path), "devices/system/node/node%d/memory%llu/state", nid,
		 mhp_spare_start(test) / memory_block_size_bytes());
	return mhp_sysfs_write(path, "nonsense");
}

/* R8: a block is linked to the nodes of its extents, as long as it has some of them. */
static void mhp_extent_node_links(struct kunit *test)
{
	if (!node_possible(1))
		kunit_skip(test, "there is no node 1: boot with two");
	mhp_must_add(test, 0, extent_start(test, 0), EXTENT_SIZE, MHP_NONE);
	KUNIT_EXPECT_EQ(test, try_node_link(test, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, try_node_link(test, 1), -ENOENT);
	mhp_must_add(test, 1, extent_start(test, 1), EXTENT_SIZE, MHP_NONE);
	mhp_must_add(test, 1, extent_start(test, 2), EXTENT_SIZE, MHP_NONE);
	KUNIT_EXPECT_EQ(test, try_node_link(test, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, try_node_link(test, 1), -EINVAL);
	mhp_must_remove(test, extent_start(test, 1), EXTENT_SIZE);
	KUNIT_EXPECT_EQ(test, try_node_link(test, 1), -EINVAL);
	mhp_must_remove(test, extent_start(test, 0), EXTENT_SIZE);
	KUNIT_EXPECT_EQ(test, try_node_link(test, 0), -ENOENT);
	KUNIT_EXPECT_EQ(test, try_node_link(test, 1), -EINVAL);
	mhp_must_remove(test, extent_start(test, 2), EXTENT_SIZE);
	KUNIT_EXPECT_EQ(test, try_node_link(test, 1), -ENOENT);
}

static unsigned long long nr_uevents(struct kunit *test)
{
	unsigned long long nr;

	KUNIT_ASSERT_EQ(test, kstrtoull(strim(mhp_read_sysfs(test, "kernel/uevent_seqnum")),
					10, &nr), 0);
	return nr;
}

/* R4: one event for the block with each extent that comes or goes */
static void mhp_extent_uevents(struct kunit *test)
{
	unsigned long long nr = nr_uevents(test);
	int i;

	for (i = 0; i < NR_EXTENTS; i++) {
		mhp_must_add(test, 0, extent_start(test, i), EXTENT_SIZE, MHP_NONE);
		KUNIT_EXPECT_EQ(test, nr_uevents(test), ++nr);
	}
	for (i = 0; i < NR_EXTENTS; i++) {
		KUNIT_ASSERT_EQ(test, mhp_online(extent_start(test, i), EXTENT_SIZE,
						 MMOP_ONLINE_MOVABLE), 0);
		KUNIT_EXPECT_EQ(test, nr_uevents(test), ++nr);
	}
	for (i = 0; i < NR_EXTENTS; i++) {
		KUNIT_ASSERT_EQ(test, mhp_offline(extent_start(test, i), EXTENT_SIZE), 0);
		KUNIT_EXPECT_EQ(test, nr_uevents(test), ++nr);
	}
	for (i = 0; i < NR_EXTENTS; i++) {
		KUNIT_ASSERT_EQ(test, remove_memory(extent_start(test, i), EXTENT_SIZE), 0);
		KUNIT_EXPECT_EQ(test, nr_uevents(test), ++nr);
	}
}

/* R4: a new extent obeys the policy, whatever the others of its block are. */
static void mhp_extent_policy(struct kunit *test)
{
	mhp_must_add(test, 0, extent_start(test, 0), EXTENT_SIZE, MHP_NONE);
	mhp_must_set_policy(test, "online_movable");
	mhp_must_add(test, 0, extent_start(test, 1), EXTENT_SIZE, MHP_NONE);
	mhp_must_set_policy(test, "offline");
	mhp_must_add(test, 0, extent_start(test, 2), EXTENT_SIZE, MHP_NONE);
	expect_state(test, "online\n");
	expect_extents(test, 0x2);
	mhp_must_set_policy(test, "online_movable");
	mhp_must_remove(test, extent_start(test, 0), EXTENT_SIZE);
	mhp_must_add(test, 0, extent_start(test, 0), EXTENT_SIZE, MHP_NONE);
	expect_extents(test, 0x3);
}

/* R5: extents that user space cannot find go online with another block of their group. */
static void mhp_extent_group_follows(struct kunit *test)
{
	u64 spare = mhp_spare_start(test), block = memory_block_size_bytes();
	int groups[2], i;

	for (i = 0; i < 2; i++)
		groups[i] = mhp_must_register_group(test, PHYS_PFN(block + SZ_8M));
	/* One of no group, which makes its block online; two of groups; and a full block */
	mhp_must_add(test, 0, spare, SZ_8M, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(spare, SZ_8M, MMOP_ONLINE_MOVABLE), 0);
	mhp_must_add(test, groups[1], spare + block - SZ_16M, SZ_8M, MHP_NID_IS_MGID);
	mhp_must_add(test, groups[0], spare + block - SZ_8M, SZ_8M + block, MHP_NID_IS_MGID);
	mhp_expect_offline(test, spare + block - SZ_8M, SZ_8M + block);
	KUNIT_EXPECT_EQ(test, mhp_sysfs_write(block_file(test, spare + block, "state"),
					      "online_movable"), 0);
	mhp_expect_online(test, spare + block - SZ_8M, SZ_8M + block, 0, ZONE_MOVABLE);
	mhp_expect_offline(test, spare + block - SZ_16M, SZ_8M);
	mhp_must_remove(test, spare + block - SZ_8M, SZ_8M + block);
	mhp_must_remove(test, spare + block - SZ_16M, SZ_8M);
}

/* R5: that does not depend on which of them was added first. */
static void mhp_extent_group_follows_later(struct kunit *test)
{
	u64 spare = mhp_spare_start(test), block = memory_block_size_bytes();
	int group = mhp_must_register_group(test, PHYS_PFN(block + SZ_32M));

	mhp_must_add(test, 0, spare, SZ_8M, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(spare, SZ_8M, MMOP_ONLINE_MOVABLE), 0);
	mhp_must_add(test, group, spare + block, block, MHP_NID_IS_MGID);
	KUNIT_EXPECT_EQ(test, mhp_sysfs_write(block_file(test, spare + block, "state"),
					      "online_movable"), 0);
	mhp_must_add(test, group, spare + SZ_16M, SZ_8M, MHP_NID_IS_MGID);
	mhp_expect_online(test, spare + SZ_16M, SZ_8M, 0, ZONE_MOVABLE);
	/* Not what user space can find, nor what somebody took offline */
	mhp_must_add(test, group, spare + 2 * block, SZ_8M, MHP_NID_IS_MGID);
	mhp_expect_offline(test, spare + 2 * block, SZ_8M);
	KUNIT_ASSERT_EQ(test, mhp_offline(spare + SZ_16M, SZ_8M), 0);
	mhp_must_add(test, group, spare + SZ_32M, SZ_8M, MHP_NID_IS_MGID);
	mhp_expect_online(test, spare + SZ_32M, SZ_8M, 0, ZONE_MOVABLE);
	mhp_expect_offline(test, spare + SZ_16M, SZ_8M);
}

/* R5: what goes online takes its own group with it, and no group that was online. */
static void mhp_extent_group_follows_own(struct kunit *test)
{
	u64 spare = mhp_spare_start(test), block = memory_block_size_bytes();
	int groups[2], i;

	for (i = 0; i < 2; i++)
		groups[i] = mhp_must_register_group(test, PHYS_PFN(2 * SZ_8M));
	mhp_must_add(test, groups[0], spare, SZ_8M, MHP_NID_IS_MGID);
	KUNIT_ASSERT_EQ(test, mhp_online(spare, SZ_8M, MMOP_ONLINE_MOVABLE), 0);
	/* In a block that is online already: a part of either */
	mhp_must_add(test, 0, spare + block, SZ_8M, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(spare + block, SZ_8M, MMOP_ONLINE_MOVABLE), 0);
	for (i = 0; i < 2; i++)
		mhp_must_add(test, groups[i], spare + block + (i + 1) * SZ_8M, SZ_8M,
			     MHP_NID_IS_MGID);
	mhp_must_add(test, groups[1], spare + SZ_8M, SZ_8M, MHP_NID_IS_MGID);
	KUNIT_EXPECT_EQ(test, mhp_sysfs_write(block_file(test, spare, "state"), "online_movable"),
			0);
	mhp_expect_online(test, spare, 2 * SZ_8M, 0, ZONE_MOVABLE);
	mhp_expect_offline(test, spare + block + SZ_8M, SZ_8M);
	mhp_expect_online(test, spare + block + 2 * SZ_8M, SZ_8M, 0, ZONE_MOVABLE);
}

/* R9: what went offline with a device comes back without it, but for the device's own. */
static void mhp_extent_returns(struct kunit *test)
{
	int group = mhp_must_register_group(test, PHYS_PFN(2 * EXTENT_SIZE)), i;

	for (i = 0; i < 2; i++)
		mhp_must_add(test, group, extent_start(test, i), EXTENT_SIZE, MHP_NID_IS_MGID);
	mhp_must_add(test, 0, extent_start(test, 2), EXTENT_SIZE, MHP_NONE);
	KUNIT_ASSERT_EQ(test, write_state(test, "online_movable"), 0);
	KUNIT_ASSERT_EQ(test, write_state(test, "offline"), 0);
	/* The device has not left the block yet. */
	mhp_must_remove(test, extent_start(test, 0), EXTENT_SIZE);
	mhp_expect_offline(test, extent_start(test, 1), EXTENT_SIZE);
	mhp_expect_offline(test, extent_start(test, 2), EXTENT_SIZE);
	mhp_must_remove(test, extent_start(test, 1), EXTENT_SIZE);
	mhp_expect_online(test, extent_start(test, 2), EXTENT_SIZE, 0, ZONE_MOVABLE);
	/* By range, and then the block: one request each */
	mhp_must_add(test, group, extent_start(test, 0), EXTENT_SIZE, MHP_NID_IS_MGID);
	mhp_expect_offline(test, extent_start(test, 0), EXTENT_SIZE);
	KUNIT_ASSERT_EQ(test, mhp_offline(extent_start(test, 2), EXTENT_SIZE), 0);
	KUNIT_ASSERT_EQ(test, mhp_online(extent_start(test, 0), EXTENT_SIZE,
					 MMOP_ONLINE_MOVABLE), 0);
	KUNIT_ASSERT_EQ(test, write_state(test, "offline"), 0);
	mhp_must_remove(test, extent_start(test, 0), EXTENT_SIZE);
	mhp_expect_offline(test, extent_start(test, 2), EXTENT_SIZE);
}

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

/* R1 R10: what sysfs tells of a block that is populated in part */
static void mhp_extent_sysfs(struct kunit *test)
{
	const char *zones = block_file(test, mhp_spare_start(test), "valid_zones");
	const char *bytes = block_file(test, mhp_spare_start(test), "populated_bytes");
	int zone = mhp_kernel_zone(0, mhp_spare_start(test), SZ_2M);
	const char *kernel = NODE_DATA(0)->node_zones[zone].name;
	char only[16], both[24];

	snprintf(only, sizeof(only), "%s\n", kernel);
	snprintf(both, sizeof(both), "%s Movable\n", kernel);
	KUNIT_EXPECT_STREQ(test, mhp_read_sysfs(test, "devices/system/memory/granularity_bytes"),
			   "200000\n");
	/* The kernel must not use what is in its zone. */
	mhp_withhold(test);
	add_extents(test);
	KUNIT_EXPECT_STREQ(test, mhp_read_sysfs(test, bytes), "1800000\n");
	KUNIT_EXPECT_STREQ(test, mhp_read_sysfs(test, zones), both);
	KUNIT_ASSERT_EQ(test, mhp_online(extent_start(test, 1), EXTENT_SIZE,
					 MMOP_ONLINE_MOVABLE), 0);
	KUNIT_EXPECT_STREQ(test, mhp_read_sysfs(test, bytes), "1800000\n");
	KUNIT_EXPECT_STREQ(test, mhp_read_sysfs(test, zones), "Movable\n");
	KUNIT_ASSERT_EQ(test, mhp_online(extent_start(test, 0), EXTENT_SIZE,
					 MMOP_ONLINE_KERNEL), 0);
	KUNIT_EXPECT_STREQ(test, mhp_read_sysfs(test, zones), both);
	KUNIT_ASSERT_EQ(test, mhp_offline(extent_start(test, 1), EXTENT_SIZE), 0);
	KUNIT_EXPECT_STREQ(test, mhp_read_sysfs(test, zones), only);
	mhp_must_remove(test, extent_start(test, 1), EXTENT_SIZE);
	KUNIT_EXPECT_STREQ(test, mhp_read_sysfs(test, bytes), "1000000\n");
}

#ifdef CONFIG_MEMORY_FAILURE
/* R3: what could not be brought back goes offline last. */
static void mhp_extent_poison_last(struct kunit *test)
{
	add_extents(test);
	KUNIT_ASSERT_EQ(test, write_state(test, "online_movable"), 0);
	KUNIT_ASSERT_EQ(test, memory_failure(PHYS_PFN(extent_start(test, 0)) + 5,
					     MF_SW_SIMULATED), 0);
	mhp_veto(test, MEM_GOING_OFFLINE, 2, -EBUSY);
	KUNIT_EXPECT_EQ(test, write_state(test, "offline"), -EBUSY);
	expect_extents(test, 0x7);
	mhp_veto(test, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, write_state(test, "offline"), 0);
	expect_extents(test, 0);
}

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

/* I4: a page with bad memory keeps its own extent from going online, and no other. */
static void mhp_extent_poison(struct kunit *test)
{
	add_extents(test);
	KUNIT_ASSERT_EQ(test, write_state(test, "online_movable"), 0);
	KUNIT_ASSERT_EQ(test, memory_failure(PHYS_PFN(extent_start(test, 1)) + 5,
					     MF_SW_SIMULATED), 0);
	KUNIT_EXPECT_EQ(test, write_state(test, "offline"), 0);
	expect_extents(test, 0);
	KUNIT_EXPECT_EQ(test, mhp_online(extent_start(test, 1), EXTENT_SIZE,
					 MMOP_ONLINE_MOVABLE), -EHWPOISON);
	KUNIT_EXPECT_EQ(test, write_state(test, "online_movable"), 0);
	expect_extents(test, 0x5);
	/* It goes with the extent: what comes to the same place is new. */
	mhp_must_remove(test, extent_start(test, 1), EXTENT_SIZE);
	mhp_must_add(test, 0, extent_start(test, 1), EXTENT_SIZE, MHP_NONE);
	KUNIT_EXPECT_EQ(test, mhp_online(extent_start(test, 1), EXTENT_SIZE,
					 MMOP_ONLINE_MOVABLE), 0);
	expect_extents(test, 0x7);
}
#endif

/* R2 I6: if a roll-back is refused, too, what stays online is known to be online. */
static void mhp_extent_rollback_refused(struct kunit *test)
{
	char *state = block_file(test, mhp_spare_start(test), "state");

	add_extents(test);
	mhp_veto(test, MEM_GOING_ONLINE, 2, -ENOMEM);
	mhp_veto(test, MEM_GOING_OFFLINE, 1, -EBUSY);
	KUNIT_EXPECT_EQ(test, mhp_sysfs_write(state, "online_movable"), -ENOMEM);
	mhp_veto(test, 0, 0, 0);
	mhp_expect_online(test, extent_start(test, 0), EXTENT_SIZE, 0, ZONE_MOVABLE);
	mhp_expect_offline(test, extent_start(test, 1), EXTENT_SIZE);
	KUNIT_EXPECT_STREQ(test, mhp_read_sysfs(test, state), "online\n");

	/* So it can go offline, by either way. */
	KUNIT_EXPECT_EQ(test, mhp_sysfs_write(state, "offline"), 0);
	mhp_expect_offline(test, extent_start(test, 0), EXTENT_SIZE);
	mhp_veto(test, MEM_GOING_ONLINE, 2, -ENOMEM);
	mhp_veto(test, MEM_GOING_OFFLINE, 1, -EBUSY);
	KUNIT_EXPECT_EQ(test, mhp_sysfs_write(state, "online_movable"), -ENOMEM);
	mhp_veto(test, 0, 0, 0);
	mhp_must_remove(test, extent_start(test, 0), EXTENT_SIZE);
}

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
	KUNIT_CASE(mhp_extent_rollback_refused),
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
	KUNIT_CASE(mhp_extent_group_zones),
	KUNIT_CASE(mhp_extent_sysfs),
#ifdef CONFIG_MEMORY_FAILURE
	KUNIT_CASE(mhp_extent_poison_last),
	KUNIT_CASE(mhp_extent_poison_last_of_blocks),
	KUNIT_CASE(mhp_extent_poison),
#endif
	{}
};

struct kunit_suite mhp_extent_suite = {
	.name = "mhp_extent",
	.init = mhp_fixture_init,
	.exit = mhp_fixture_exit,
	.test_cases = mhp_extent_cases,
};
