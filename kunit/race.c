// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_race: the threads, from their start to their end.
 */

#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>

#include "race.h"

static ulong race_seed;
module_param(race_seed, ulong, 0644);
MODULE_PARM_DESC(race_seed, "where the parts of mhp_race lie, and what its threads decide; 0: another each time");

static uint race_ms = 3000;
module_param(race_ms, uint, 0644);
MODULE_PARM_DESC(race_ms, "how long each case of mhp_race goes on, in ms");

const char * const race_count_names[NR_COUNTS] = {
	"added", "onlined", "offlined", "removed", "refused", "busy", "mapped", "walks",
	"inspections", "churned", "written", "moved", "compactions", "poisoned",
	"unpoisoned", "read", "onlined by a file", "offlined by a file",
	"onlined with its block", "offlined with its block",
};

/* The race that is to be ended with its case */
static struct race *running;

static int thread_main(void *arg)
{
	struct thread *thread = arg;
	struct race *race = thread->race;

	while (!READ_ONCE(race->stop) && !kthread_should_stop()) {
		/* After an error, leave all as it is. */
		if (!atomic_read(&race->errors))
			thread->role->step(thread);
		if (race_random_below(thread, 4))
			cond_resched();
		else
			usleep_range(200, 2000);
	}
	complete(&thread->finished);
	while (!kthread_should_stop())
		msleep(20);
	return 0;
}

/*
 * kthread_stop() interrupts what takes memory offline, which then returns -EINTR. That
 * is for those that would go on for ever.
 */
static void stop_threads(struct race *race)
{
	unsigned int i;

	WRITE_ONCE(race->stop, true);
	for (i = 0; i < race->nr_threads; i++) {
		struct thread *thread = &race->threads[i];

		if (!thread->task)
			continue;
		if (!wait_for_completion_timeout(&thread->finished, msecs_to_jiffies(PATIENCE_MS)))
			race_fail(thread, "%s %u does not come to an end", thread->role->name,
				  thread->nth);
		kthread_stop(thread->task);
		thread->task = NULL;
	}
}

#define PROACTIVENESS	"sys/vm/compaction_proactiveness"

/* Also if the case was cut short: what the fixture does not know of */
static void end_race(void *arg)
{
	struct race *race = arg;
	unsigned int i;

	stop_threads(race);
	for (i = 0; i < race->nr_threads; i++) {
		struct thread *thread = &race->threads[i];

		if (thread->file)
			filp_close(thread->file, NULL);
		thread->file = NULL;
		kvfree(thread->written);
		kvfree(thread->pfns);
		kfree(thread->buf);
	}
	if (race->proactiveness[0])
		mhp_write_text(MHP_PROC, PROACTIVENESS, race->proactiveness);
	running = NULL;
	kfree(race);
}

/* The fixture removes all memory: no thread must be left by then. */
void race_exit(struct kunit *test)
{
	if (running)
		kunit_release_action(test, end_race, running);
	mhp_fixture_exit(test);
}

struct race *race_begin(struct kunit *test, const struct recipe *recipe)
{
	struct race *race = kzalloc(sizeof(*race), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, race);
	init_rwsem(&race->compacting);
	init_rwsem(&race->parts);
	race->seed = race_seed ?: get_random_u32() ?: 1;
	running = race;
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, end_race, race), 0);
	kunit_info(test, "mhp_kunit.race_seed=%llu\n", race->seed);
	race_lay_out(test, race, recipe);
	for (i = 0; i < race->nr_slots; i++) {
		struct slot *slot = &race->slots[i];

		if (slot->kind != ANCHOR && slot->kind != IDLE)
			continue;
		mhp_must_add(test, slot->nid, slot->start, slot->size, slot->flags);
		slot->state = OFFLINE;
		if (slot->kind == IDLE)
			continue;
		KUNIT_ASSERT_EQ(test, mhp_online(slot->start, slot->size, MMOP_ONLINE_MOVABLE), 0);
		slot->state = ONLINE;
	}
	mhp_must_mount(test, MHP_SYSFS);
	mhp_must_mount(test, MHP_PROC);
	return race;
}

/* Nobody compacts but who asks others to wait for that, see do_op(). */
void race_stop_compaction(struct kunit *test, struct race *race)
{
	char text[sizeof(race->proactiveness)];

	KUNIT_ASSERT_GT(test, mhp_read_text(MHP_PROC, PROACTIVENESS, text, sizeof(text)), 0);
	KUNIT_ASSERT_EQ(test, mhp_write_text(MHP_PROC, PROACTIVENESS, "0"), 0);
	strscpy(race->proactiveness, text, sizeof(race->proactiveness));
}

static void prepare_filler(struct kunit *test, struct thread *thread)
{
	struct file *file = mhp_file_setup("mhp_kunit", FILE_PAGES * PAGE_SIZE);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	thread->race->filled = true;
	thread->file = file;
	thread->written = kvcalloc(FILE_PAGES, sizeof(*thread->written), GFP_KERNEL);
	thread->pfns = kvcalloc(FILE_PAGES, sizeof(*thread->pfns), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, thread->written);
	KUNIT_ASSERT_NOT_NULL(test, thread->pfns);
}

void race_prepare(struct kunit *test, struct race *race, const struct role *role,
		  unsigned int nr)
{
	struct thread *thread;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		KUNIT_ASSERT_LT(test, race->nr_threads, MAX_THREADS);
		thread = &race->threads[race->nr_threads++];
		thread->race = race;
		thread->role = role;
		thread->nth = i;
		thread->nr = nr;
		init_completion(&thread->finished);
		thread->buf = kzalloc(PAGE_SIZE, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, thread->buf);
		if (role == &race_filler)
			prepare_filler(test, thread);
	}
	race->needs |= role->needs;
}

static bool all_done(struct race *race)
{
	unsigned long what;

	for_each_set_bit(what, &race->needs, NR_COUNTS) {
		if (!atomic_read(&race->counts[what]))
			return false;
	}
	return true;
}

static void start_threads(struct kunit *test, struct race *race)
{
	unsigned int i;

	for (i = 0; i < race->nr_threads; i++) {
		struct thread *thread = &race->threads[i];
		struct task_struct *task;

		prandom_seed_state(&thread->rnd, race->seed * MAX_THREADS + i);
		task = kthread_run(thread_main, thread, "mhp_%s/%u", thread->role->name,
				   thread->nth);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
		thread->task = task;
	}
}

/* Each part is what its thread left, and goes. Then nothing is left. */
static void check_end(struct kunit *test, struct race *race)
{
	unsigned int i;

	for (i = 0; i < race->nr_slots; i++) {
		struct slot *slot = &race->slots[i];
		const char *wrong = race_wrong_extents(slot);

		KUNIT_EXPECT_EQ_MSG(test, race_wrong_pfn(slot, slot->state), 0UL,
				    "%#llx should be %s", slot->start,
				    race_state_names[slot->state]);
		KUNIT_EXPECT_TRUE_MSG(test, !wrong, "%#llx should be %s, its %s are not",
				      slot->start, race_state_names[slot->state], wrong);
	}
	for (i = 0; i < race->nr_slots; i++) {
		struct slot *slot = &race->slots[i];

		if (slot->state == MAPPED)
			KUNIT_EXPECT_EQ(test, mhp_remove_device(slot->start), 0);
		else if (slot->state != HOLE)
			KUNIT_EXPECT_EQ(test, offline_and_remove_memory(slot->start, slot->size),
					0);
		slot->state = HOLE;
	}
	mhp_expect_hole(test, race->start, race->end - race->start);
}

void race_run(struct kunit *test, struct race *race)
{
	unsigned long start = jiffies, what;

	start_threads(test, race);
	do {
		msleep(20);
		if (atomic_read(&race->errors))
			break;
	} while (time_before(jiffies, start + msecs_to_jiffies(race_ms)) ||
		 (!all_done(race) &&
		  time_before(jiffies, start + msecs_to_jiffies(PATIENCE_MS))));
	stop_threads(race);

	KUNIT_EXPECT_EQ_MSG(test, atomic_read(&race->errors), 0, "%s", race->error);
	for (what = 0; what < NR_COUNTS; what++) {
		int nr = atomic_read(&race->counts[what]);

		if (nr)
			kunit_info(test, "%s: %d\n", race_count_names[what], nr);
		if (!atomic_read(&race->errors) && race->needs & BIT(what))
			KUNIT_EXPECT_GT_MSG(test, nr, 0, "nothing was %s", race_count_names[what]);
	}
	check_end(test, race);
}
