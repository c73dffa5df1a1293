// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_zone_device: ZONE_DEVICE between extents of System RAM.
 */

#include <linux/kthread.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/sizes.h>

#include "fixture.h"

#define NR_PARTS	3
#define PART_SIZE	SZ_4M

/* System RAM, a device, System RAM: neighbours in one section */
static u64 part_start(struct kunit *test, int part)
{
	return mhp_spare_start(test) + SZ_2M + part * PART_SIZE;
}

static void make_part(struct kunit *test, int part)
{
	u64 start = part_start(test, part);

	if (part == 1) {
		mhp_must_add_device(test, start, PART_SIZE);
		return;
	}
	mhp_must_add(test, 0, start, PART_SIZE, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(start, PART_SIZE, MMOP_ONLINE_MOVABLE), 0);
}

static void unmake_part(struct kunit *test, int part)
{
	if (part == 1)
		mhp_must_remove_device(test, part_start(test, part));
	else
		mhp_must_remove(test, part_start(test, part), PART_SIZE);
}

static void expect_part(struct kunit *test, int part, bool there)
{
	u64 start = part_start(test, part);
	struct dev_pagemap *pgmap = get_dev_pagemap(PHYS_PFN(start), NULL);

	KUNIT_EXPECT_EQ(test, !!pgmap, there && part == 1);
	if (pgmap)
		put_dev_pagemap(pgmap);
	if (!there)
		mhp_expect_hole(test, start, PART_SIZE);
	else if (part == 1)
		mhp_expect_offline(test, start, PART_SIZE);
	else
		mhp_expect_online(test, start, PART_SIZE, 0, ZONE_MOVABLE);
}

static const struct lives_param {
	const char *name;
	int come[NR_PARTS];
	int go[NR_PARTS];
} lives[] = {
	{ "ram_device_ram_fifo", { 0, 1, 2 }, { 0, 1, 2 } },
	{ "ram_device_ram_lifo", { 0, 1, 2 }, { 2, 1, 0 } },
	{ "ram_device_ram_device_first", { 0, 1, 2 }, { 1, 0, 2 } },
	{ "ram_device_ram_device_last", { 0, 1, 2 }, { 0, 2, 1 } },
	{ "device_first_goes_first", { 1, 0, 2 }, { 1, 2, 0 } },
	{ "device_first_goes_last", { 1, 0, 2 }, { 2, 0, 1 } },
	{ "device_last_goes_first", { 0, 2, 1 }, { 1, 0, 2 } },
	{ "device_last_goes_last", { 2, 0, 1 }, { 0, 2, 1 } },
};

KUNIT_ARRAY_PARAM_DESC(lives, lives, name);

/* I4: none of the three changes with the coming and going of another. */
static void mhp_zone_device_lives(struct kunit *test)
{
	const struct lives_param *param = test->param_value;
	bool there[NR_PARTS] = { };
	int i, part;

	for (i = 0; i < NR_PARTS; i++) {
		make_part(test, param->come[i]);
		there[param->come[i]] = true;
		for (part = 0; part < NR_PARTS; part++)
			expect_part(test, part, there[part]);
	}
	for (i = 0; i < NR_PARTS; i++) {
		unmake_part(test, param->go[i]);
		there[param->go[i]] = false;
		for (part = 0; part < NR_PARTS; part++)
			expect_part(test, part, there[part]);
	}
}

static int lookup_thread(void *arg)
{
	unsigned long pfn = (unsigned long)arg;
	struct dev_pagemap *pgmap;

	while (!kthread_should_stop()) {
		pgmap = get_dev_pagemap(pfn, NULL);
		if (pgmap)
			put_dev_pagemap(pgmap);
		/* A device is never online, whatever else goes on. */
		WARN_ON_ONCE(pfn_to_online_page(pfn));
		cond_resched();
	}
	return 0;
}

static void stop_thread(void *thread)
{
	kthread_stop(thread);
}

/* I2 I4: a device comes and goes while others look it up, and its neighbour stays. */
static void mhp_zone_device_lookups(struct kunit *test)
{
	struct task_struct *thread;
	int i;

	make_part(test, 0);
	thread = kthread_run(lookup_thread, (void *)PHYS_PFN(part_start(test, 1)),
			     "mhp_kunit");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, thread);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, stop_thread, thread), 0);
	for (i = 0; i < 20; i++) {
		make_part(test, 1);
		unmake_part(test, 1);
	}
	expect_part(test, 0, true);
}

/* I6: a device and System RAM cannot have the same memory. */
static void mhp_zone_device_excludes(struct kunit *test)
{
	struct mhp_snapshot before;

	make_part(test, 1);
	mhp_take_snapshot(test, &before);
	KUNIT_EXPECT_EQ(test, add_memory(0, part_start(test, 1), PART_SIZE, MHP_NONE),
			-EEXIST);
	KUNIT_EXPECT_EQ(test, add_memory(0, part_start(test, 0), 2 * PART_SIZE, MHP_NONE),
			-EEXIST);
	mhp_expect_snapshot(test, &before, "after the refusals");
	expect_part(test, 1, true);
}

static struct kunit_case mhp_zone_device_cases[] = {
	KUNIT_CASE_PARAM(mhp_zone_device_lives, lives_gen_params),
	KUNIT_CASE_SLOW(mhp_zone_device_lookups),
	KUNIT_CASE(mhp_zone_device_excludes),
	{}
};

struct kunit_suite mhp_zone_device_suite = {
	.name = "mhp_zone_device",
	.init = mhp_fixture_init,
	.exit = mhp_fixture_exit,
	.test_cases = mhp_zone_device_cases,
};
