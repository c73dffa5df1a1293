// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_extent, the cases that need sysfs: the state of a block that several extents share,
 * links to nodes, events, the policy, and who goes online or comes back with whom.
 */

#include <linux/kstrtox.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "extent.h"
#include "sysfs.h"

static void expect_state(struct kunit *test, const char *state)
{
	const char *path = mhp_block_file(test, mhp_spare_start(test), "state");

	KUNIT_EXPECT_STREQ(test, mhp_read_sysfs(test, path), state);
}

static int write_state(struct kunit *test, const char *state)
{
	return mhp_sysfs_write(mhp_block_file(test, mhp_spare_start(test), "state"), state);
}

/* R2 R3: the state of a block is online if any extent is; writing it changes all. */
void mhp_extent_block_state(struct kunit *test)
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
void mhp_extent_block_state_rolls_back(struct kunit *test)
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
void mhp_extent_zones_come_back(struct kunit *test)
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
void mhp_extent_node_links(struct kunit *test)
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
void mhp_extent_uevents(struct kunit *test)
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
void mhp_extent_policy(struct kunit *test)
{
	mhp_must_add(test, 0, extent_start(test, 0), EXTENT_SIZE, MHP_NONE);
	mhp_must_set_policy(test, MMOP_ONLINE_MOVABLE);
	mhp_must_add(test, 0, extent_start(test, 1), EXTENT_SIZE, MHP_NONE);
	mhp_must_set_policy(test, MMOP_OFFLINE);
	mhp_must_add(test, 0, extent_start(test, 2), EXTENT_SIZE, MHP_NONE);
	expect_state(test, "online\n");
	expect_extents(test, 0x2);
	mhp_must_set_policy(test, MMOP_ONLINE_MOVABLE);
	mhp_must_remove(test, extent_start(test, 0), EXTENT_SIZE);
	mhp_must_add(test, 0, extent_start(test, 0), EXTENT_SIZE, MHP_NONE);
	expect_extents(test, 0x3);
}

/* R5: extents that user space cannot find go online with another block of their group. */
void mhp_extent_group_follows(struct kunit *test)
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
	KUNIT_EXPECT_EQ(test, mhp_sysfs_write(mhp_block_file(test, spare + block, "state"),
					      "online_movable"), 0);
	mhp_expect_online(test, spare + block - SZ_8M, SZ_8M + block, 0, ZONE_MOVABLE);
	mhp_expect_offline(test, spare + block - SZ_16M, SZ_8M);
	mhp_must_remove(test, spare + block - SZ_8M, SZ_8M + block);
	mhp_must_remove(test, spare + block - SZ_16M, SZ_8M);
}

/* R5: that does not depend on which of them was added first. */
void mhp_extent_group_follows_later(struct kunit *test)
{
	u64 spare = mhp_spare_start(test), block = memory_block_size_bytes();
	int group = mhp_must_register_group(test, PHYS_PFN(block + SZ_32M));

	mhp_must_add(test, 0, spare, SZ_8M, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(spare, SZ_8M, MMOP_ONLINE_MOVABLE), 0);
	mhp_must_add(test, group, spare + block, block, MHP_NID_IS_MGID);
	KUNIT_EXPECT_EQ(test, mhp_sysfs_write(mhp_block_file(test, spare + block, "state"),
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
void mhp_extent_group_follows_own(struct kunit *test)
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
	KUNIT_EXPECT_EQ(test, write_state(test, "online_movable"), 0);
	mhp_expect_online(test, spare, 2 * SZ_8M, 0, ZONE_MOVABLE);
	mhp_expect_offline(test, spare + block + SZ_8M, SZ_8M);
	mhp_expect_online(test, spare + block + 2 * SZ_8M, SZ_8M, 0, ZONE_MOVABLE);
}

/* R9: what went offline with a device comes back without it, but for the device's own. */
void mhp_extent_returns(struct kunit *test)
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

/* R1 R10: what sysfs tells of a block that is populated in part */
void mhp_extent_sysfs(struct kunit *test)
{
	const char *zones = mhp_block_file(test, mhp_spare_start(test), "valid_zones");
	const char *bytes = mhp_block_file(test, mhp_spare_start(test), "populated_bytes");
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
void mhp_extent_poison_last(struct kunit *test)
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

/* I4: a page with bad memory keeps its own extent from going online, and no other. */
void mhp_extent_poison(struct kunit *test)
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
void mhp_extent_rollback_refused(struct kunit *test)
{
	char *state = mhp_block_file(test, mhp_spare_start(test), "state");

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
