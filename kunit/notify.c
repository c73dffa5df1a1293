// SPDX-License-Identifier: GPL-2.0
/*
 * Memory notifications: notes of them, vetoes, and memory that goes online without its
 * pages becoming free.
 */

#include <linux/kernel.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/notifier.h>
#include <linux/string.h>

#include "fixture.h"

/* For each action, which notification is answered with an error */
static struct {
	unsigned int nth;
	unsigned int seen;
	int err;
} vetoes[MHP_NR_NOTIFICATIONS];

static unsigned long last_veto;

/* The first notifications since mhp_forget_calls(), and how many of each action */
static struct mhp_call calls[MHP_KUNIT_CALLS];
static unsigned int nr_calls, nr_actions[MHP_NR_NOTIFICATIONS];

static int note_callback(struct notifier_block *nb, unsigned long action,
			 void *arg)
{
	if (nr_calls < ARRAY_SIZE(calls)) {
		calls[nr_calls].action = action;
		calls[nr_calls].arg = *(struct memory_notify *)arg;
	}
	nr_calls++;
	if (action < ARRAY_SIZE(nr_actions))
		nr_actions[action]++;
	return NOTIFY_OK;
}

static int veto_callback(struct notifier_block *nb, unsigned long action,
			 void *arg)
{
	if (action >= ARRAY_SIZE(vetoes) || ++vetoes[action].seen != vetoes[action].nth)
		return NOTIFY_OK;
	return notifier_from_errno(vetoes[action].err);
}

/* The first notes what others may refuse; the last refuses what others have begun. */
static struct notifier_block note_nb = { .notifier_call = note_callback,
					 .priority = INT_MAX };
static struct notifier_block veto_nb = { .notifier_call = veto_callback,
					 .priority = INT_MIN };

/**
 * mhp_watch_notifications() - note notifications from now on, and refuse none
 *
 * Return: 0 or -errno
 */
int mhp_watch_notifications(void)
{
	int ret;

	memset(vetoes, 0, sizeof(vetoes));
	ret = register_memory_notifier(&note_nb);
	if (ret)
		return ret;
	ret = register_memory_notifier(&veto_nb);
	if (ret)
		unregister_memory_notifier(&note_nb);
	return ret;
}

/**
 * mhp_unwatch_notifications() - undo mhp_watch_notifications()
 */
void mhp_unwatch_notifications(void)
{
	unregister_memory_notifier(&veto_nb);
	unregister_memory_notifier(&note_nb);
}

/**
 * mhp_veto() - have a memory notifier refuse
 * @test: the case
 * @action: MEM_PREPARE_ONLINE, MEM_GOING_ONLINE or MEM_GOING_OFFLINE; what is said of
 *	others stays
 * @nth: which of the notifications from now on, 1 being the next; 0 for none of any
 *	action
 * @err: -errno
 */
void mhp_veto(struct kunit *test, unsigned long action, unsigned int nth, int err)
{
	if (!nth)
		memset(vetoes, 0, sizeof(vetoes));
	vetoes[action].nth = nth;
	vetoes[action].seen = 0;
	vetoes[action].err = err;
	last_veto = action;
}

/**
 * mhp_veto_calls() - how many notifications the last mhp_veto() has counted
 *
 * Return: notifications of its action
 */
unsigned int mhp_veto_calls(void)
{
	return vetoes[last_veto].seen;
}

static bool withholding;

/* Like a balloon: the pages are not free, and nobody holds them. */
static void withhold_page(struct page *page, unsigned int order)
{
	unsigned int i;

	for (i = 0; i < 1U << order; i++)
		set_page_count(page + i, 0);
}

/**
 * mhp_withhold() - have memory go online without its pages becoming free
 * @test: the case; at its end, all is as it was
 *
 * So memory can go to a kernel zone and offline again: the kernel allocates nothing
 * there.
 */
void mhp_withhold(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, mhp_set_online_page_callback(withhold_page), 0);
	withholding = true;
}

/**
 * mhp_unwithhold() - undo mhp_withhold() for what goes online from now on
 */
void mhp_unwithhold(void)
{
	if (withholding)
		restore_online_page_callback(withhold_page);
	withholding = false;
}

/**
 * mhp_forget_calls() - count and keep notifications from now on
 */
void mhp_forget_calls(void)
{
	nr_calls = 0;
	memset(nr_actions, 0, sizeof(nr_actions));
}

/**
 * mhp_get_call() - a notification since mhp_forget_calls()
 * @i: 0 for the first
 *
 * Return: the notification, or NULL if there was none, or it was not kept
 */
const struct mhp_call *mhp_get_call(unsigned int i)
{
	return i < min_t(unsigned int, nr_calls, ARRAY_SIZE(calls)) ? &calls[i] : NULL;
}

/**
 * mhp_count_calls() - notifications since mhp_forget_calls()
 * @action: MEM_ONLINE and its like
 *
 * Return: their number
 */
unsigned int mhp_count_calls(unsigned long action)
{
	return nr_actions[action];
}
