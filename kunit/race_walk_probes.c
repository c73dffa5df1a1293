// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_walk: the probes. What a walker asks is answered late, whoever marks memory as
 * offline waits before that, and a walker that sleeps does so while memory goes.
 */

#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/kprobes.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "race_walk.h"
#ifndef MODULE
#include "internal.h"
#if __has_include("page_alloc.h")
#include "page_alloc.h"
#endif
#endif

/* The walk that is to be ended with its case */
struct walk *walk_now;

bool walk_is_current(const struct walk *walk)
{
	if (walk->walker->comm)
		return !strncmp(current->comm, walk->walker->comm, strlen(walk->walker->comm));
	return current == walk->task;
}

static bool may_sleep(void)
{
	return preemptible() && !rcu_preempt_depth();
}

static void pause_for_a_while(bool sleep)
{
	if (sleep)
		usleep_range(1000, 2000);
	else
		udelay(5);
}

/* Let the memory go now, unless the walker keeps it. Wakes nobody: locks may be held. */
static void answer_late(struct walk *walk)
{
	u64 start = ktime_get_mono_fast_ns(), now, since;
	bool sleep = may_sleep();

	WRITE_ONCE(walk->late_now, true);
	WRITE_ONCE(walk->sprung, true);
	WRITE_ONCE(walk->go, true);
	while (!READ_ONCE(walk->gone)) {
		pause_for_a_while(sleep);
		now = ktime_get_mono_fast_ns();
		since = READ_ONCE(walk->waits_since);
		if ((since && now - since > HELD_MS * NSEC_PER_MSEC) ||
		    now - start > STUCK_MS * NSEC_PER_MSEC)
			break;
	}
	WRITE_ONCE(walk->late_now, false);
	walk->lost = READ_ONCE(walk->gone);
}

static bool is_there(const struct walk *walk, unsigned long pfn)
{
	switch (walk->walker->where) {
	case IRQS_OFF:
		return irqs_disabled();
	case IRQS_ON:
		return !irqs_disabled();
	case SAME_AGAIN:
		return pfn == walk->last;
	default:
		return true;
	}
}

/* In the walker, in place of pfn_to_online_page() */
static struct page *asks(unsigned long pfn)
{
	struct walk *walk = walk_now;
	struct page *page;

	walk->inside = true;
	page = pfn_to_online_page(pfn);
	/* Not what interrupts the walker */
	if (!in_task())
		goto out;
	walk->asked++;
	walk->asked_after += READ_ONCE(walk->gone);
	if (page && READ_ONCE(walk->armed) && pfn >= walk->first && is_there(walk, pfn)) {
		walk->armed = false;
		answer_late(walk);
		/* What it would read is not there any more. */
		if (walk->lost)
			page = NULL;
	}
	walk->last = pfn;
out:
	walk->inside = false;
	return page;
}

static int on_question(struct kprobe *kp, struct pt_regs *regs)
{
	struct walk *walk = READ_ONCE(walk_now);
	unsigned long pfn = regs_get_kernel_argument(regs, 0);

	if (!walk || pfn < walk->start || pfn >= walk->end || !walk_is_current(walk) ||
	    walk->inside)
		return 0;
	instruction_pointer_set(regs, (unsigned long)asks);
	return 1;
}

static int on_waiting(struct kprobe *kp, struct pt_regs *regs)
{
	struct walk *walk = READ_ONCE(walk_now);

	if (walk && current == walk->remover && walk->go && !walk->waits_since)
		WRITE_ONCE(walk->waits_since, ktime_get_mono_fast_ns());
	return 0;
}

/* That there is one keeps the probe from becoming a jump, which would not return. */
static void after_probe(struct kprobe *kp, struct pt_regs *regs, unsigned long flags)
{
}

struct kprobe walk_questions = {
	.symbol_name = "pfn_to_online_page",
	.pre_handler = on_question,
	.post_handler = after_probe,
};

int walk_add_probe(struct kprobe *kp)
{
	/* What was there before is of the last time. */
	kp->addr = NULL;
	kp->flags = 0;
	return register_kprobe(kp);
}

struct kprobe walk_waiting = {
	.symbol_name = "memmap_walk_synchronize",
	.pre_handler = on_waiting,
};

void walk_park(struct walk *walk)
{
	WRITE_ONCE(walk->parked, true);
	while (!READ_ONCE(walk->go))
		usleep_range(500, 1000);
}

#ifndef MODULE
/* In the remover, in place of what marks memory as offline */
static unsigned long marks(unsigned long start_pfn, unsigned long end_pfn)
{
	walk_park(walk_now);
	return __offline_isolated_pages(start_pfn, end_pfn);
}

static int on_marking(struct kprobe *kp, struct pt_regs *regs)
{
	struct walk *walk = READ_ONCE(walk_now);

	if (!walk || current != walk->remover || walk->parks != BEFORE_OFFLINE || walk->parked)
		return 0;
	instruction_pointer_set(regs, (unsigned long)marks);
	return 1;
}

struct kprobe walk_marking = {
	.symbol_name = "__offline_isolated_pages",
	.pre_handler = on_marking,
	.post_handler = after_probe,
};

/* Let the memory go while the walker sleeps. */
static void sleep_meanwhile(struct walk *walk)
{
	walk->sleep = NOWHERE;
	if (!may_sleep()) {
		walk->must_sleep = true;
		return;
	}
	WRITE_ONCE(walk->sprung, true);
	WRITE_ONCE(walk->go, true);
	wait_until(READ_ONCE(walk->gone), PATIENCE_MS / 3);
	WRITE_ONCE(walk->slept, true);
}

static int migrates(struct list_head *from, new_folio_t get_new_folio, free_folio_t put_new_folio,
		    unsigned long private, enum migrate_mode mode, int reason,
		    unsigned int *ret_succeeded)
{
	int ret;

	walk_now->inside = true;
	ret = migrate_pages(from, get_new_folio, put_new_folio, private, mode, reason,
			    ret_succeeded);
	sleep_meanwhile(walk_now);
	walk_now->inside = false;
	return ret;
}

static void *allocates(size_t size, gfp_t flags)
{
	void *ret;

	walk_now->inside = true;
	sleep_meanwhile(walk_now);
	ret = __kmalloc_noprof(size, flags);
	walk_now->inside = false;
	return ret;
}

static void drains(struct zone *zone)
{
	walk_now->inside = true;
	sleep_meanwhile(walk_now);
	drain_all_pages(zone);
	walk_now->inside = false;
}

static const struct {
	const char *name;
	void *stub;
} sleeps[] = {
	[MIGRATING] = { "migrate_pages", migrates },
	[ALLOCATING] = { "__kmalloc_noprof", allocates },
	[DRAINING] = { "drain_all_pages", drains },
};

static struct kprobe sleeping;

static int on_sleep(struct kprobe *kp, struct pt_regs *regs)
{
	struct walk *walk = READ_ONCE(walk_now);

	if (!walk || walk->sleep == NOWHERE || !walk->asked || !walk_is_current(walk) ||
	    walk->inside)
		return 0;
	instruction_pointer_set(regs, (unsigned long)sleeps[walk->sleep].stub);
	return 1;
}

static void remove_sleep(void *unused)
{
	unregister_kprobe(&sleeping);
}

/* The walker is to sleep there after it has asked, and the memory to go meanwhile. */
void walk_make_sleep(struct kunit *test, struct walk *walk, enum sleep where)
{
	memset(&sleeping, 0, sizeof(sleeping));
	sleeping.symbol_name = sleeps[where].name;
	sleeping.pre_handler = on_sleep;
	sleeping.post_handler = after_probe;
	KUNIT_ASSERT_EQ_MSG(test, walk_add_probe(&sleeping), 0, "%s", sleeps[where].name);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, remove_sleep, NULL), 0);
	walk->sleep = where;
}
#endif /* !MODULE */
