// SPDX-License-Identifier: GPL-2.0
/*
 * What each case begins and ends with, and the suites.
 */

#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "fixture.h"
#ifdef MODULE
#include "sysfs.h"
#endif

/* Memory groups that cases have registered */
#define MAX_GROUPS	8
static int groups[MAX_GROUPS];
static unsigned int nr_groups;

/* What becomes of memory that is added */
static enum mmop policy_before;

#ifdef MODULE

/* What tells and sets it is not exported. */
static const char * const policies[] = {
	[MMOP_OFFLINE] = "offline",
	[MMOP_ONLINE] = "online",
	[MMOP_ONLINE_KERNEL] = "online_kernel",
	[MMOP_ONLINE_MOVABLE] = "online_movable",
};

static enum mmop get_policy(void)
{
	char text[32];
	int type = -ENOENT;

	if (mhp_sysfs_read(MHP_AUTO_ONLINE, text, sizeof(text)) > 0)
		type = match_string(policies, ARRAY_SIZE(policies), strim(text));
	return type < 0 ? MMOP_OFFLINE : type;
}

static int set_policy(enum mmop policy)
{
	return mhp_sysfs_write(MHP_AUTO_ONLINE, policies[policy]);
}

#else

static enum mmop get_policy(void)
{
	return mhp_get_default_online_type();
}

static int set_policy(enum mmop policy)
{
	mhp_set_default_online_type(policy);
	return 0;
}

#endif /* MODULE */

/**
 * mhp_must_set_policy() - choose what becomes of memory that is added, or end the case
 * @test: the case; at its end, the policy is what it was
 * @policy: how it goes online, if at all
 */
void mhp_must_set_policy(struct kunit *test, enum mmop policy)
{
	KUNIT_ASSERT_EQ(test, set_policy(policy), 0);
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
 * mhp_fixture_init() - what each case begins with
 * @test: the case, which is skipped if there is no spare memory, or if an earlier case has
 *	left some that cannot be removed, and has failed therefore
 *
 * Return: 0; -EINVAL if the spare memory is none; -ENOMEM
 */
int mhp_fixture_init(struct kunit *test)
{
	struct mhp_snapshot *snap;
	int ret = mhp_find_spare(test);
	u64 left;

	if (ret)
		return ret;
	if (mhp_is_leftover(&left))
		kunit_skip(test, "memory at %#llx is left from a case that has failed", left);
	snap = kunit_kzalloc(test, sizeof(*snap), GFP_KERNEL);
	if (!snap)
		return -ENOMEM;
	ret = mhp_watch_notifications();
	if (ret)
		return ret;
	policy_before = get_policy();
	ret = set_policy(MMOP_OFFLINE);
	if (ret) {
		mhp_unwatch_notifications();
		return ret;
	}
	mhp_take_snapshot(test, snap);
	mhp_begin_reports();
	test->priv = snap;
	return 0;
}

/**
 * mhp_fixture_init_literal() - the same for suites whose layouts are told in bytes
 * @test: the case, which is skipped where granules and memory blocks have other sizes
 *
 * Return: as mhp_fixture_init()
 */
int mhp_fixture_init_literal(struct kunit *test)
{
	if (mhp_least_size() != SZ_2M || memory_block_size_bytes() != SZ_128M)
		kunit_skip(test, "granules are not of 2 MiB, or memory blocks not of 128 MiB");
	return mhp_fixture_init(test);
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
	const char *report;

	if (!test->priv)
		return;
	mhp_unwatch_notifications();
	mhp_unwithhold();
	mhp_remove_devices();
	mhp_remove_leftovers(test);
	while (nr_groups)
		KUNIT_EXPECT_EQ(test, memory_group_unregister(groups[--nr_groups]), 0);
	KUNIT_EXPECT_EQ(test, set_policy(policy_before), 0);
	mhp_expect_snapshot(test, test->priv, "after the case");
	while ((report = mhp_next_report()))
		KUNIT_FAIL(test, "the kernel has reported: %s", report);
}

#ifdef CONFIG_MHP_SUBSECTION
MHP_IMPORT_NS(MHP_DEBUG);
MHP_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
#endif

MODULE_DESCRIPTION("KUnit tests for memory hotplug by sub-sections");
MODULE_LICENSE("GPL");
