// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_unwind: what is done, and how it is taken back.
 */

#include <linux/memory.h>
#include <linux/sizes.h>

#include "sysfs_unwind.h"

#define FIRST_SIZE	SZ_4M
#define SECOND_SIZE	SZ_2M

/* Two places in the first block, and one that reaches into the second */
static u64 first(struct kunit *test)
{
	return mhp_spare_start(test) + SZ_8M;
}

static u64 second(struct kunit *test)
{
	return mhp_spare_start(test) + SZ_8M + FIRST_SIZE;
}

static u64 across(struct kunit *test)
{
	return mhp_spare_start(test) + memory_block_size_bytes() - SZ_2M;
}

static u64 block_size(void)
{
	return memory_block_size_bytes();
}

static void add_first(struct kunit *test)
{
	mhp_must_add(test, 0, first(test), FIRST_SIZE, MHP_NONE);
}

static void add_both(struct kunit *test)
{
	mhp_must_add(test, 0, first(test), FIRST_SIZE, MHP_NONE);
	mhp_must_add(test, 0, second(test), SECOND_SIZE, MHP_NONE);
}

static void add_both_self(struct kunit *test)
{
	mhp_must_add(test, 0, first(test), FIRST_SIZE, MHP_MEMMAP_ON_MEMORY);
	mhp_must_add(test, 0, second(test), SECOND_SIZE, MHP_MEMMAP_ON_MEMORY);
}

static int online_block(struct kunit *test)
{
	return mhp_online(mhp_spare_start(test), block_size(), MMOP_ONLINE_MOVABLE);
}

static int offline_both(struct kunit *test)
{
	return mhp_offline(first(test), FIRST_SIZE + SECOND_SIZE);
}

static void must_online(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, online_block(test), 0);
}

static void must_offline(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, offline_both(test), 0);
}

static void prepare_online(struct kunit *test)
{
	add_both(test);
	must_online(test);
}

static void prepare_online_self(struct kunit *test)
{
	add_both_self(test);
	must_online(test);
}

static int add_granule(struct kunit *test)
{
	return add_memory(0, second(test), SECOND_SIZE, MHP_NONE);
}

static int add_granule_self(struct kunit *test)
{
	return add_memory(0, second(test), SECOND_SIZE, MHP_MEMMAP_ON_MEMORY);
}

static void remove_second(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, remove_memory(second(test), SECOND_SIZE), 0);
}

static int add_across(struct kunit *test)
{
	return add_memory(0, across(test), SZ_4M, MHP_NONE);
}

static int add_across_self(struct kunit *test)
{
	return add_memory(0, across(test), SZ_4M, MHP_MEMMAP_ON_MEMORY);
}

static void prepare_across(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, add_across(test), 0);
}

static int call_remove_across(struct kunit *test)
{
	return remove_memory(across(test), SZ_4M);
}

static void remove_across(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, call_remove_across(test), 0);
}

static int add_block(struct kunit *test)
{
	return add_memory(0, mhp_spare_start(test), block_size(), MHP_NONE);
}

static int add_block_self(struct kunit *test)
{
	return add_memory(0, mhp_spare_start(test), block_size(), MHP_MEMMAP_ON_MEMORY);
}

static void remove_block(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, remove_memory(mhp_spare_start(test), block_size()), 0);
}

/* A resource of its own name, as drivers want it */
static int add_driver_managed(struct kunit *test)
{
	return add_memory_driver_managed(0, second(test), SECOND_SIZE,
					 "System RAM (mhp_kunit)", MHP_NONE);
}

static int group_id;

static void prepare_group(struct kunit *test)
{
	group_id = mhp_must_register_group(test, PHYS_PFN(SZ_64M));
	add_first(test);
}

static int add_to_group(struct kunit *test)
{
	return add_memory(group_id, second(test), SECOND_SIZE, MHP_NID_IS_MGID);
}

static void prepare_policy(struct kunit *test)
{
	mhp_must_set_policy(test, MMOP_ONLINE_MOVABLE);
}

static void offline_and_remove_across(struct kunit *test)
{
	mhp_must_remove(test, across(test), SZ_4M);
}

static int call_remove_second(struct kunit *test)
{
	return remove_memory(second(test), SECOND_SIZE);
}

static void add_second_again(struct kunit *test)
{
	mhp_must_add(test, 0, second(test), SECOND_SIZE, MHP_NONE);
}

static int call_offline_and_remove(struct kunit *test)
{
	return offline_and_remove_memory(first(test), FIRST_SIZE + SECOND_SIZE);
}

/* All of the spare memory, which large pages map, so that these must be split */
static void prepare_much(struct kunit *test)
{
	mhp_must_add(test, 0, mhp_spare_start(test), mhp_spare_size(), MHP_NONE);
}

static int remove_one_of_many(struct kunit *test)
{
	return remove_memory(mhp_spare_start(test) + block_size(), block_size());
}

/* Large pages come back only if all of it goes before. */
static void add_much_again(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, remove_memory(mhp_spare_start(test), block_size()), 0);
	KUNIT_ASSERT_EQ(test, remove_memory(mhp_spare_start(test) + 2 * block_size(),
					    mhp_spare_size() - 2 * block_size()), 0);
	prepare_much(test);
}

static int add_device(struct kunit *test)
{
	return mhp_hide_device(second(test) + SECOND_SIZE, SECOND_SIZE);
}

static void remove_device(struct kunit *test)
{
	mhp_must_remove_device(test, second(test) + SECOND_SIZE);
}

static const struct op ops[] = {
	{ "add_a_granule", NULL, add_granule, remove_second, .claims = true },
	{ "add_a_granule_self_hosted", NULL, add_granule_self, remove_second, .claims = true },
	{ "add_beside_another", add_first, add_granule, remove_second, .claims = true },
	{ "add_self_hosted_beside_another", add_first, add_granule_self, remove_second,
	  .claims = true, .mapped = true },
	{ "add_across_blocks", NULL, add_across, remove_across, .claims = true },
	{ "add_across_blocks_self_hosted", NULL, add_across_self, remove_across,
	  .claims = true },
	{ "add_a_block", NULL, add_block, remove_block, .claims = true },
	{ "add_a_block_self_hosted", NULL, add_block_self, remove_block, .claims = true },
	{ "add_driver_managed", add_first, add_driver_managed, remove_second, .claims = true },
	{ "add_to_a_group", prepare_group, add_to_group, remove_second, .claims = true },
	{ "add_and_online", prepare_policy, add_across, offline_and_remove_across,
	  .claims = true, .half = true, .vetoable = 2 * MHP_ONLINE_VETOES },
	{ "online_a_block", add_both, online_block, must_offline,
	  .vetoable = 2 * MHP_ONLINE_VETOES },
	{ "online_a_block_self_hosted", add_both_self, online_block, must_offline,
	  .vetoable = 2 * MHP_ONLINE_VETOES },
	{ "offline", prepare_online, offline_both, must_online, .vetoable = 2 },
	{ "offline_self_hosted", prepare_online_self, offline_both, must_online,
	  .vetoable = 2 },
	{ "remove_beside_another", add_both, call_remove_second, add_second_again },
	{ "remove_across_blocks", prepare_across, call_remove_across, prepare_across },
	{ "remove_one_block_of_many", prepare_much, remove_one_of_many, add_much_again },
	{ "offline_and_remove", prepare_online, call_offline_and_remove, prepare_online,
	  .vetoable = 2 },
	{ "offline_and_remove_self_hosted", prepare_online_self, call_offline_and_remove,
	  prepare_online_self, .vetoable = 2 },
	{ "add_a_device", prepare_online, add_device, remove_device },
};

MHP_ARRAY_PARAM_DESC(unwind_op, ops, name);
