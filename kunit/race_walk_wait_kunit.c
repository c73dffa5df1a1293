// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_walk: what waits for whom, and what does not.
 */

#include <linux/cpumask.h>
#include <linux/gfp.h>
#include <linux/kthread.h>
#include <linux/memmap_walk.h>
#include <linux/memory.h>
#include <linux/mm.h>

/* Needs the above. */
#include <linux/compaction.h>

#include "race_walk.h"

struct waiter {
	u64 start;			/* memory that is not there */
	struct completion started;
	struct completion done;
	struct task_struct *task;
};

static int waiter_main(void *arg)
{
	struct waiter *waiter = arg;

	mem_hotplug_begin();
	complete(&waiter->started);
	memmap_walk_synchronize(PHYS_PFN(waiter->start), NR_GOES);
	mem_hotplug_done();
	kthread_complete_and_exit(&waiter->done, 0);
}

static void start_waiter(struct kunit *test, struct waiter *waiter)
{
	waiter->start = mhp_spare_start(test);
	init_completion(&waiter->started);
	init_completion(&waiter->done);
	waiter->task = kthread_run(waiter_main, waiter, "mhp_waiter");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, waiter->task);
	wait_for_completion(&waiter->started);
}

static bool waits(struct waiter *waiter)
{
	return !wait_for_completion_timeout(&waiter->done, msecs_to_jiffies(HELD_MS));
}

static bool is_done(struct waiter *waiter)
{
	return wait_for_completion_timeout(&waiter->done, msecs_to_jiffies(PATIENCE_MS / 3));
}

/*
 * I10: who removes waits for sections that began before, however they nest, and not for
 * any that begin later.
 */
void mhp_walk_nesting(struct kunit *test)
{
	struct waiter waiter;
	int outer, inner, later;
	bool done;

	outer = memmap_walk_begin();
	inner = memmap_walk_begin();
	memmap_walk_end(inner);
	start_waiter(test, &waiter);
	KUNIT_EXPECT_TRUE_MSG(test, waits(&waiter), "the end of what is within ends all");
	later = memmap_walk_begin();
	memmap_walk_end(outer);
	done = is_done(&waiter);
	KUNIT_EXPECT_TRUE_MSG(test, done, "waits for who came later");
	memmap_walk_end(later);
	if (!done)
		wait_for_completion(&waiter.done);

	/* The other way round: what is outside ends first, as locks may. */
	outer = memmap_walk_begin();
	inner = memmap_walk_begin();
	memmap_walk_end(outer);
	start_waiter(test, &waiter);
	KUNIT_EXPECT_TRUE(test, waits(&waiter));
	memmap_walk_end(inner);
	KUNIT_EXPECT_TRUE(test, is_done(&waiter));
}

/* I10: a section may sleep, and go on at another CPU. */
void mhp_walk_other_cpu(struct kunit *test)
{
	struct waiter waiter;
	unsigned int first;
	int section;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
	first = cpumask_first(cpu_online_mask);
	KUNIT_ASSERT_EQ(test, set_cpus_allowed_ptr(current, cpumask_of(first)), 0);
	section = memmap_walk_begin();
	start_waiter(test, &waiter);
	KUNIT_EXPECT_EQ(test, set_cpus_allowed_ptr(current, cpumask_of(walk_walker_cpu())), 0);
	msleep(20);
	KUNIT_EXPECT_TRUE(test, waits(&waiter));
	memmap_walk_end(section);
	KUNIT_EXPECT_TRUE(test, is_done(&waiter));
	set_cpus_allowed_ptr(current, cpu_possible_mask);
	start_waiter(test, &waiter);
	KUNIT_EXPECT_TRUE_MSG(test, is_done(&waiter), "waits for nobody");
}

/* What a notifier does while memory goes */
static void (*notifier_does)(struct walk *walk);

static int doing_notified(struct notifier_block *nb, unsigned long action, void *arg)
{
	struct walk *walk = walk_now;
	unsigned long before;

	if (!walk || current != walk->remover ||
	    (action != MEM_GOING_OFFLINE && action != MEM_OFFLINE))
		return NOTIFY_OK;
	before = walk->asked;
	notifier_does(walk);
	if (action == MEM_GOING_OFFLINE)
		walk->asked_within += walk->asked - before;
	return NOTIFY_OK;
}

static struct notifier_block doing_nb = { .notifier_call = doing_notified, .priority = INT_MIN };

/* Keep every other page of a node's memory that was free, so that no larger one is. */
static void fragment(struct kunit *test, struct walk *walk, u64 start, u64 size)
{
	struct page *page, *next;
	LIST_HEAD(taken);
	unsigned long nr = 0;

	/* Zone Movable comes first, and the memory is all that it has. */
	for (;;) {
		page = alloc_pages_node(1, GFP_HIGHUSER_MOVABLE | __GFP_THISNODE | __GFP_NOWARN, 0);
		if (!page)
			break;
		if (PFN_PHYS(page_to_pfn(page)) - start >= size) {
			__free_page(page);
			break;
		}
		list_add(&page->lru, &taken);
		nr++;
	}
	list_for_each_entry_safe(page, next, &taken, lru) {
		list_del(&page->lru);
		if (page_to_pfn(page) % 2)
			list_add(&page->lru, &walk->held);
		else
			__free_page(page);
	}
	KUNIT_ASSERT_GE(test, nr, PHYS_PFN(size) / 2);
}

/* All zones, as by way of sysfs, whose locks a notifier must not take */
static void compact_node(struct walk *walk)
{
	struct page *page = NULL;

	walk->ret = walk_compact(-1, COMPACT_PRIO_SYNC_FULL, &page);
}

/*
 * Take all that there is of a node, in one piece as long as there are any: each order ends
 * with reclaim and compaction, as who wants it would rather fail than have the OOM killer.
 */
static void take_all(struct walk *walk)
{
	LIST_HEAD(taken);
	struct page *page, *next;
	int order;

	for (order = MAX_PAGE_ORDER; order >= 3; order--) {
		for (;;) {
			page = alloc_pages_node(1, GFP_HIGHUSER_MOVABLE | __GFP_THISNODE |
						__GFP_RETRY_MAYFAIL | __GFP_NOWARN, order);
			if (!page)
				break;
			set_page_private(page, order);
			list_add(&page->lru, &taken);
			walk->ret++;
		}
	}
	list_for_each_entry_safe(page, next, &taken, lru) {
		list_del(&page->lru);
		order = page_private(page);
		set_page_private(page, 0);
		__free_pages(page, order);
	}
}

static void stop_doing(void *unused)
{
	unregister_memory_notifier(&doing_nb);
}

static const struct {
	const char *name;
	void (*does)(struct walk *walk);
} burdens[] = {
	{ "compaction", compact_node },
	{ "memory_pressure", take_all },
};

MHP_ARRAY_PARAM_DESC(burden, burdens, name);

/*
 * I10 I11: who removes walks itself, by compaction that a notifier asks for, or has to do
 * as there is no memory. It does not wait for itself.
 */
void mhp_walk_remover_walks(struct kunit *test)
{
	static const struct walker walker = { "remover", .place = LAST };
	const typeof(burdens[0]) *burden = test->param_value;
	struct walk *walk;
	u64 stays;

	if (burden->does == take_all && !node_online(1))
		kunit_skip(test, "needs two nodes");
	walk = walk_begin(test, &walker);
	walk->parks = NEVER;
	stays = walk->goes + GOES_SIZE;
	if (burden->does == take_all) {
		/* All of the zone of another node, so that nothing else is there to be had */
		mhp_must_remove(test, walk->goes, GOES_SIZE);
		mhp_must_add(test, 1, stays, STAYS_SIZE, MHP_NONE);
		KUNIT_ASSERT_EQ(test, mhp_online(stays, STAYS_SIZE, MMOP_ONLINE_MOVABLE), 0);
		fragment(test, walk, stays, STAYS_SIZE);
		mhp_must_add(test, 1, walk->goes, GOES_SIZE, MHP_NONE);
		KUNIT_ASSERT_EQ(test, mhp_online(walk->goes, GOES_SIZE, MMOP_ONLINE_MOVABLE), 0);
	}
	notifier_does = burden->does;
	KUNIT_ASSERT_EQ(test, register_memory_notifier(&doing_nb), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, stop_doing, NULL), 0);
	walk->task = walk_make_thread(test, walk_remover_main, walk, false, "mhp_remover");
	walk->remover = walk->task;
	complete_all(&walk->walked);
	wake_up_process(walk->task);
	walk->sprung = true;
	walk_finish(test, walk);
	KUNIT_EXPECT_GT_MSG(test, walk->asked_within, 0UL, "the remover did not walk");
	KUNIT_EXPECT_GT(test, walk->ret, 0);
}
