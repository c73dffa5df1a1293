// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_walk: who removes memory, who walks over it, and the memory.
 */

#include <linux/cpumask.h>
#include <linux/fs.h>
#include <linux/file.h>
#include <linux/gfp.h>
#include <linux/kthread.h>
#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "race_walk.h"

/* Pages on free lists that are not online; they are taken off, so that we get on. */
static unsigned long free_strays(struct zone *zone, unsigned long start, unsigned long end)
{
	unsigned long nr = 0, flags, pfn;
	struct page *page, *next;
	unsigned int order, mt;

	spin_lock_irqsave(&zone->lock, flags);
	for (order = 0; order < NR_PAGE_ORDERS; order++) {
		struct free_area *area = &zone->free_area[order];

		for (mt = 0; mt < MIGRATE_TYPES; mt++) {
			list_for_each_entry_safe(page, next, &area->free_list[mt], buddy_list) {
				pfn = page_to_pfn(page);
				if (pfn < start || pfn >= end)
					continue;
				list_del(&page->buddy_list);
				__ClearPageBuddy(page);
				set_page_private(page, 0);
				area->nr_free--;
				nr++;
			}
		}
	}
	spin_unlock_irqrestore(&zone->lock, flags);
	return nr;
}

/* Called last of all. When memory is offline, its memmap is still there. */
static int remover_notified(struct notifier_block *nb, unsigned long action, void *arg)
{
	struct memory_notify *mn = arg;
	struct walk *walk = walk_now;

	if (!walk || current != walk->remover)
		return NOTIFY_OK;
	if (action == walk->parks)
		walk_park(walk);
	/* What was to be told before has waited, or freed its page_ext and the like. */
	if (action == MEM_OFFLINE && walk->parks != MEM_OFFLINE)
		walk->told = READ_ONCE(walk->late_now);
	if (action == MEM_OFFLINE)
		walk->strays += free_strays(page_zone(pfn_to_page(mn->start_pfn)), walk->start,
					    walk->end);
	return NOTIFY_OK;
}

static struct notifier_block remover_nb = { .notifier_call = remover_notified,
					    .priority = INT_MIN };

int walk_remover_main(void *arg)
{
	struct walk *walk = arg;

	walk->remove_ret = offline_and_remove_memory(walk->goes, walk->size);
	WRITE_ONCE(walk->gone, !walk->remove_ret);
	kthread_complete_and_exit(&walk->removed, 0);
}

static int walker_main(void *arg)
{
	struct walk *walk = arg;

	if (walk->mm)
		kthread_use_mm(walk->mm);
	/* Who walks in another thread arms the probe when that is where it should be. */
	if (walk->late && !walk->walker->comm)
		WRITE_ONCE(walk->armed, true);
	walk->ret = walk->walker->run(walk);
	if (walk->mm)
		kthread_unuse_mm(walk->mm);
	kthread_complete_and_exit(&walk->walked, 0);
}

/* The walker may spin for seconds: nobody else should wait for its CPU. */
unsigned int walk_walker_cpu(void)
{
	return cpumask_last(cpu_online_mask);
}

struct task_struct *walk_make_thread(struct kunit *test, int (*main)(void *), void *arg,
				     bool walker, const char *name)
{
	struct task_struct *task = kthread_create(main, arg, "%s", name);
	cpumask_var_t mask;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	if (alloc_cpumask_var(&mask, GFP_KERNEL)) {
		cpumask_copy(mask, cpu_online_mask);
		if (walker)
			cpumask_copy(mask, cpumask_of(walk_walker_cpu()));
		else
			cpumask_clear_cpu(walk_walker_cpu(), mask);
		set_cpus_allowed_ptr(task, mask);
		free_cpumask_var(mask);
	}
	/* Until end_walk() */
	get_task_struct(task);
	return task;
}

void walk_start_remover(struct kunit *test, struct walk *walk)
{
	walk->remover = walk_make_thread(test, walk_remover_main, walk, false, "mhp_remover");
	wake_up_process(walk->remover);
}

void walk_start_walker(struct kunit *test, struct walk *walk)
{
	walk->task = walk_make_thread(test, walker_main, walk, true, "mhp_walker");
	wake_up_process(walk->task);
}

/* Files that know user space only. Where it has stopped is told as well. */
ssize_t walk_read_user(struct walk *walk, enum mhp_fs fs, const char *name, size_t size,
		       loff_t *pos)
{
	struct file *file = mhp_open(fs, name, O_RDONLY);
	ssize_t ret;

	if (IS_ERR(file))
		return PTR_ERR(file);
	ret = file->f_op->read(file, walk->user, size, pos);
	if (ret > 0 && copy_from_user(walk->buf, walk->user, ret))
		ret = -EFAULT;
	__fput_sync(file);
	return ret;
}

ssize_t walk_write_user(struct walk *walk, enum mhp_fs fs, const char *name,
			const char *text)
{
	struct file *file = mhp_open(fs, name, O_WRONLY);
	size_t size = strlen(text);
	ssize_t ret = -EFAULT;
	loff_t pos = 0;

	if (IS_ERR(file))
		return PTR_ERR(file);
	if (!copy_to_user(walk->user, text, size + 1))
		ret = file->f_op->write(file, walk->user, size, &pos);
	__fput_sync(file);
	return ret;
}

/* Also if the case was cut short: what the fixture does not know of */
static void end_walk(void *arg)
{
	struct walk *walk = arg;
	struct page *page, *next;

	WRITE_ONCE(walk->armed, false);
	WRITE_ONCE(walk->go, true);
	if (walk->task && walk->task != walk->remover) {
		wait_for_completion_timeout(&walk->walked, msecs_to_jiffies(PATIENCE_MS));
		put_task_struct(walk->task);
	}
	if (walk->remover) {
		/* As a signal does, for who would go on for ever */
		if (!wait_for_completion_timeout(&walk->removed, msecs_to_jiffies(PATIENCE_MS))) {
			set_tsk_thread_flag(walk->remover, TIF_NOTIFY_SIGNAL);
			wake_up_process(walk->remover);
			wait_for_completion_timeout(&walk->removed, msecs_to_jiffies(PATIENCE_MS));
		}
		put_task_struct(walk->remover);
	}
	unregister_kprobe(&walk_questions);
	unregister_kprobe(&walk_waiting);
#ifndef MODULE
	unregister_kprobe(&walk_marking);
#endif
	unregister_memory_notifier(&remover_nb);
	WRITE_ONCE(walk_now, NULL);
	if (walk->filler)
		__fput_sync(walk->filler);
	if (walk->mm)
		mmput(walk->mm);
	list_for_each_entry_safe(page, next, &walk->held, lru) {
		list_del(&page->lru);
		__free_page(page);
	}
	kfree(walk->buf);
	kfree(walk);
}

/* The fixture removes all memory: nobody must use any by then. */
void walk_exit(struct kunit *test)
{
	if (walk_now)
		kunit_release_action(test, end_walk, walk_now);
	mhp_fixture_exit(test);
}

static void must_online(struct kunit *test, u64 start, u64 size)
{
	mhp_must_add(test, 0, start, size, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(start, size, MMOP_ONLINE_MOVABLE), 0);
}

/* Content, which is in what is online of the zone, as nobody else wants it */
void walk_fill(struct kunit *test, struct walk *walk, u64 start, u64 size, unsigned long nr)
{
	unsigned long i, within = 0;
	struct page *page;
	loff_t pos = 0;

	walk->filler = mhp_file_setup("mhp_kunit", nr * PAGE_SIZE);
	if (IS_ERR(walk->filler))
		walk->filler = NULL;
	KUNIT_ASSERT_NOT_NULL(test, walk->filler);
	while (pos < nr * PAGE_SIZE)
		KUNIT_ASSERT_GT(test, kernel_write(walk->filler, walk->buf, PAGE_SIZE, &pos), 0);
	for (i = 0; i < nr; i++) {
		page = shmem_read_mapping_page(walk->filler->f_mapping, i);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, page);
		within += page_to_pfn(page) >= PHYS_PFN(start) &&
			  page_to_pfn(page) < PHYS_PFN(start + size);
		put_page(page);
	}
	KUNIT_ASSERT_GE(test, within, nr / 2);
}

struct walk *walk_begin(struct kunit *test, const struct walker *walker)
{
	u64 spare = mhp_spare_start(test);
	struct walk *walk;
	int ret;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs: a walker spins, a remover removes");
	if (!IS_ALIGNED(GOES_SIZE | STAYS_SIZE, mhp_least_size()))
		kunit_skip(test, "needs memory blocks of no more than 128 MiB");
	walk = kzalloc(sizeof(*walk), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, walk);
	walk->walker = walker;
	walk->parks = walker->early ? MEM_GOING_OFFLINE : BEFORE_OFFLINE;
	walk->buf = kzalloc(USER_BYTES, GFP_KERNEL);
	INIT_LIST_HEAD(&walk->held);
	init_completion(&walk->removed);
	init_completion(&walk->walked);
#ifdef CONFIG_LOCKDEP
	walk->locks = debug_locks;
#endif
	ret = register_memory_notifier(&remover_nb) ?: walk_add_probe(&walk_waiting) ?:
	      walk_add_probe(&walk_questions);
#ifndef MODULE
	ret = ret ?: walk_add_probe(&walk_marking);
#endif
	walk_now = walk;
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, end_walk, walk), 0);
	KUNIT_ASSERT_EQ_MSG(test, ret, 0, "no probes");
	KUNIT_ASSERT_NOT_NULL(test, walk->buf);

	mhp_must_mount(test, MHP_SYSFS);
	mhp_must_mount(test, MHP_PROC);
	mhp_must_mount(test, MHP_DEBUGFS);
	walk->user = (char __user *)kunit_vm_mmap(test, NULL, 0, USER_BYTES,
						  PROT_READ | PROT_WRITE,
						  MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NOT_NULL(test, (void __force *)walk->user);
	walk->mm = current->mm;
	mmget(walk->mm);

	walk->goes = walker->place == FIRST ? spare : spare + STAYS_SIZE;
	walk->size = GOES_SIZE;
	walk->stays = walker->place == FIRST ? spare + GOES_SIZE : spare;
	walk->start = PHYS_PFN(walk->goes);
	walk->end = walk->start + NR_GOES;
	walk->first = walker->last_block ? walk->end - pageblock_nr_pages : walk->start;
	if (walker->filled)
		must_online(test, walk->goes, GOES_SIZE);
	else
		must_online(test, walk->stays, STAYS_SIZE);
	if (walker->filled)
		walk_fill(test, walk, walk->goes, GOES_SIZE, FILLER_PAGES);
	else if (walker->place == LAST)
		walk_fill(test, walk, walk->stays, STAYS_SIZE, FILLER_PAGES);
	if (walker->filled)
		must_online(test, walk->stays, STAYS_SIZE);
	else
		must_online(test, walk->goes, GOES_SIZE);
	if (walker->place == MIDDLE)
		must_online(test, walk->goes + GOES_SIZE, GOES_SIZE);
	walk->poisoned = mhp_hardware_corrupted();
	return walk;
}

/* Both come to an end, and nothing is left of the memory. */
void walk_finish(struct kunit *test, struct walk *walk)
{
	bool walked, removed = true;

	walked = wait_for_completion_timeout(&walk->walked, msecs_to_jiffies(PATIENCE_MS));
	KUNIT_EXPECT_TRUE_MSG(test, walked, "the walker does not come to an end");
	KUNIT_EXPECT_TRUE_MSG(test, walk->sprung, "the walker did not get there: %zd", walk->ret);
	WRITE_ONCE(walk->armed, false);
	WRITE_ONCE(walk->go, true);
	removed = wait_for_completion_timeout(&walk->removed, msecs_to_jiffies(PATIENCE_MS));
	KUNIT_ASSERT_TRUE_MSG(test, removed, "removal does not come to an end");
	KUNIT_ASSERT_TRUE(test, walked);
	/* Others need not wait for them any more. */
	complete_all(&walk->walked);
	complete_all(&walk->removed);
	KUNIT_EXPECT_EQ(test, walk->remove_ret, 0);
	KUNIT_EXPECT_EQ_MSG(test, walk->strays, 0UL, "offline pages on free lists");
	if (!walk->remove_ret)
		mhp_expect_hole(test, walk->goes, walk->size);
	if (walk->walker->check)
		walk->walker->check(test, walk);
#ifdef CONFIG_LOCKDEP
	KUNIT_EXPECT_EQ_MSG(test, debug_locks, walk->locks, "lockdep has found something");
#endif
}
