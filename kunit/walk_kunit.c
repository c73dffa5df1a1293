// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_walk: walkers of physical memory, and memory that goes while they read its memmap
 * (I10).
 *
 * A walker asks pfn_to_online_page() and then reads. A probe lets what it asks return
 * late: that is when the memory goes. Where nothing keeps the memmap, it is gone before
 * the walker reads, which the case notices, and the walker is told that there is no page.
 * Where something keeps it, the remover waits, and goes on when the walker is done.
 *
 * The remover is kept waiting right before it marks the memory as offline until the walker
 * has asked. So what it does before that, such as to drain lists on the CPU of the walker,
 * keeps nothing. A walker that must not sleep spins meanwhile, any other sleeps: on
 * kernels that do not preempt, a task that spins would pass for one within RCU.
 */

#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/elf.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/hw_breakpoint.h>
#include <linux/kernel-page-flags.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/memmap_walk.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/mutex.h>
#include <linux/perf_event.h>
#include <linux/pid.h>
#include <linux/preempt.h>
#include <linux/ptrace.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/shmem_fs.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>

/* Needs the above. */
#include <linux/compaction.h>

#include "fixture.h"

#ifndef MODULE
#include "../internal.h"
#if __has_include("../page_alloc.h")
#include "../page_alloc.h"
#endif
#endif

#if defined(CONFIG_KPROBES) && defined(CONFIG_PREEMPT_COUNT)

/* What goes lies before or behind what stays. Without granules, these are blocks. */
#ifdef CONFIG_MHP_SUBSECTION
#define GOES_SIZE	SZ_4M
#define STAYS_SIZE	SZ_8M
#else
#define GOES_SIZE	SZ_128M
#define STAYS_SIZE	SZ_128M
#endif

/* How long the remover must not get on once it waits, or at all if it gets nowhere */
#define HELD_MS		200
#define STUCK_MS	4000
/* How long anything may take that comes to an end */
#define PATIENCE_MS	60000

#define USER_BYTES	SZ_16K
#define FILLER_PAGES	1000
/* How often DAMON samples when nothing goes */
#define SAMPLES		20

/* Where what goes lies: before what stays, behind that, which is in use, or within it */
enum place { FIRST, LAST, MIDDLE };

/* Where the walker is when it asks */
enum where { ANYWHERE, IRQS_OFF, IRQS_ON, SAME_AGAIN };

struct walk;

/**
 * struct walker - somebody who goes from a pfn to a struct page
 * @name: of the case
 * @missing: the option that it needs and that is not set, or NULL
 * @run: walks over what goes, in a thread of its own; an error if it does not get there
 * @check: what must have come of it, when the memory has gone
 * @prepare: what must be so before
 * @comm: of the thread that walks, if it is not the one of @run
 * @where: which of its questions is answered late
 * @place: where what goes lies
 * @filled: what goes is in use
 * @locks: it holds a lock all the while that removal takes first
 * @last_block: only of the last pageblock the answer is late
 * @early: it is late before what goes has been cleared
 */
struct walker {
	const char *name;
	const char *missing;
	ssize_t (*run)(struct walk *walk);
	void (*check)(struct kunit *test, struct walk *walk);
	void (*prepare)(struct kunit *test, struct walk *walk);
	const char *comm;
	enum where where;
	enum place place;
	bool filled;
	bool locks;
	bool last_block;
	bool early;
};

/* Where the remover waits unless it is at some notification */
#define NEVER		(~0UL)
#ifdef MODULE
#define BEFORE_OFFLINE	MEM_GOING_OFFLINE
#else
#define BEFORE_OFFLINE	(~0UL - 1)
#endif

/* Where a walker sleeps, and must have let go of the memmap */
enum sleep { NOWHERE, MIGRATING, ALLOCATING, DRAINING };

struct walk {
	const struct walker *walker;
	u64 goes;			/* physical address of what goes */
	u64 size;			/* of that, in bytes */
	u64 stays;			/* and of what stays */
	unsigned long start;		/* pfn of what goes */
	unsigned long end;
	unsigned long first;		/* pfn from which on answers are late */
	struct vfsmount *sysfs;
	struct vfsmount *proc;
	struct vfsmount *debugfs;
	struct file *filler;
	struct mm_struct *mm;
	char __user *user;
	char *buf;			/* of USER_BYTES */
	struct page *got;		/* what the walker has allocated */
	struct list_head held;		/* pages that are in use */
	u64 poisoned;			/* HardwareCorrupted before */
	struct task_struct *remover;
	struct task_struct *task;	/* that walks */
	struct completion removed;
	struct completion walked;
	int remove_ret;
	ssize_t ret;			/* of the walker */
	enum sleep sleep;		/* where the walker is to sleep while memory goes */
	bool late;			/* an answer is to be late */
	unsigned long parks;		/* the notification at which the remover waits, or so */
	bool locks;			/* lockdep worked when it began */

	bool parked;			/* the remover is about to mark memory as offline */
	bool armed;			/* the next answer is late */
	bool inside;			/* the walker is in our code */
	bool sprung;			/* the walker has asked */
	bool go;			/* the remover may go on */
	bool gone;			/* memory has been removed */
	bool lost;			/* it has, before the walker read */
	bool late_now;			/* the walker has asked, and waits for the answer */
	bool told;			/* it was told meanwhile that memory is offline */
	bool slept;			/* the walker has slept, and memory went or did not */
	bool must_sleep;		/* it does so where it could not */
	u64 waits_since;		/* when the remover began to wait for walkers, in ns */
	unsigned long last;		/* pfn that was asked for before */
	unsigned long asked;		/* how often the walker has asked */
	unsigned long asked_after;	/* the same, since memory was gone */
	unsigned long asked_within;	/* the same, within a notifier */
	unsigned long strays;		/* pages of offline memory that were free */
};

/* The walk that is to be ended with its case */
static struct walk *walking;

#define wait_until(cond, ms)						\
({									\
	u64 until = ktime_get_mono_fast_ns() + (u64)(ms) * NSEC_PER_MSEC; \
	bool holds;							\
									\
	do {								\
		holds = cond;						\
		if (!holds)						\
			usleep_range(1000, 2000);			\
	} while (!holds && ktime_get_mono_fast_ns() < until);		\
	holds;								\
})

/* --- Probes -------------------------------------------------------------------------- */

static bool walks(const struct walk *walk)
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
	struct walk *walk = walking;
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
	struct walk *walk = READ_ONCE(walking);
	unsigned long pfn = regs_get_kernel_argument(regs, 0);

	if (!walk || pfn < walk->start || pfn >= walk->end || !walks(walk) || walk->inside)
		return 0;
	instruction_pointer_set(regs, (unsigned long)asks);
	return 1;
}

static int on_waiting(struct kprobe *kp, struct pt_regs *regs)
{
	struct walk *walk = READ_ONCE(walking);

	if (walk && current == walk->remover && walk->go && !walk->waits_since)
		WRITE_ONCE(walk->waits_since, ktime_get_mono_fast_ns());
	return 0;
}

/* That there is one keeps the probe from becoming a jump, which would not return. */
static void after_probe(struct kprobe *kp, struct pt_regs *regs, unsigned long flags)
{
}

static struct kprobe questions = {
	.symbol_name = "pfn_to_online_page",
	.pre_handler = on_question,
	.post_handler = after_probe,
};

static int add_probe(struct kprobe *kp)
{
	/* What was there before is of the last time. */
	kp->addr = NULL;
	kp->flags = 0;
	return register_kprobe(kp);
}

static struct kprobe waiting = {
	.symbol_name = "memmap_walk_synchronize",
	.pre_handler = on_waiting,
};

static void park(struct walk *walk)
{
	WRITE_ONCE(walk->parked, true);
	while (!READ_ONCE(walk->go))
		usleep_range(500, 1000);
}

#ifndef MODULE
/* In the remover, in place of what marks memory as offline */
static unsigned long marks(unsigned long start_pfn, unsigned long end_pfn)
{
	park(walking);
	return __offline_isolated_pages(start_pfn, end_pfn);
}

static int on_marking(struct kprobe *kp, struct pt_regs *regs)
{
	struct walk *walk = READ_ONCE(walking);

	if (!walk || current != walk->remover || walk->parks != BEFORE_OFFLINE || walk->parked)
		return 0;
	instruction_pointer_set(regs, (unsigned long)marks);
	return 1;
}

static struct kprobe marking = {
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

	walking->inside = true;
	ret = migrate_pages(from, get_new_folio, put_new_folio, private, mode, reason,
			    ret_succeeded);
	sleep_meanwhile(walking);
	walking->inside = false;
	return ret;
}

static void *allocates(size_t size, gfp_t flags)
{
	void *ret;

	walking->inside = true;
	sleep_meanwhile(walking);
	ret = __kmalloc_noprof(size, flags);
	walking->inside = false;
	return ret;
}

static void drains(struct zone *zone)
{
	walking->inside = true;
	sleep_meanwhile(walking);
	drain_all_pages(zone);
	walking->inside = false;
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
	struct walk *walk = READ_ONCE(walking);

	if (!walk || walk->sleep == NOWHERE || !walk->asked || !walks(walk) || walk->inside)
		return 0;
	instruction_pointer_set(regs, (unsigned long)sleeps[walk->sleep].stub);
	return 1;
}

static void remove_sleep(void *unused)
{
	unregister_kprobe(&sleeping);
}

/* The walker is to sleep there after it has asked, and the memory to go meanwhile. */
static void make_sleep(struct kunit *test, struct walk *walk, enum sleep where)
{
	memset(&sleeping, 0, sizeof(sleeping));
	sleeping.symbol_name = sleeps[where].name;
	sleeping.pre_handler = on_sleep;
	sleeping.post_handler = after_probe;
	KUNIT_ASSERT_EQ_MSG(test, add_probe(&sleeping), 0, "%s", sleeps[where].name);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, remove_sleep, NULL), 0);
	walk->sleep = where;
}
#endif /* !MODULE */

/* --- The remover --------------------------------------------------------------------- */

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
	struct walk *walk = walking;

	if (!walk || current != walk->remover)
		return NOTIFY_OK;
	if (action == walk->parks)
		park(walk);
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

static int remover_main(void *arg)
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
static unsigned int walker_cpu(void)
{
	return cpumask_last(cpu_online_mask);
}

static struct task_struct *make_thread(struct kunit *test, int (*main)(void *), void *arg,
				       bool walker, const char *name)
{
	struct task_struct *task = kthread_create(main, arg, "%s", name);
	cpumask_var_t mask;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	if (alloc_cpumask_var(&mask, GFP_KERNEL)) {
		cpumask_copy(mask, cpu_online_mask);
		if (walker)
			cpumask_copy(mask, cpumask_of(walker_cpu()));
		else
			cpumask_clear_cpu(walker_cpu(), mask);
		set_cpus_allowed_ptr(task, mask);
		free_cpumask_var(mask);
	}
	/* Until end_walk() */
	get_task_struct(task);
	return task;
}

static void start_remover(struct kunit *test, struct walk *walk)
{
	walk->remover = make_thread(test, remover_main, walk, false, "mhp_remover");
	wake_up_process(walk->remover);
}

static void start_walker(struct kunit *test, struct walk *walk)
{
	walk->task = make_thread(test, walker_main, walk, true, "mhp_walker");
	wake_up_process(walk->task);
}

/* --- Files --------------------------------------------------------------------------- */

static struct file *open_file(struct vfsmount *mnt, const char *name, int flags)
{
	struct path root = { .mnt = mnt, .dentry = mnt->mnt_root };

	return file_open_root(&root, name, flags | O_LARGEFILE, 0);
}

static ssize_t read_file(struct vfsmount *mnt, const char *name, void *buf, size_t size, loff_t pos)
{
	struct file *file = open_file(mnt, name, O_RDONLY);
	ssize_t ret;

	if (IS_ERR(file))
		return PTR_ERR(file);
	ret = kernel_read(file, buf, size, &pos);
	__fput_sync(file);
	return ret;
}

static ssize_t write_file(struct vfsmount *mnt, const char *name, const void *buf, size_t size,
			  loff_t pos)
{
	struct file *file = open_file(mnt, name, O_WRONLY);
	ssize_t ret;

	if (IS_ERR(file))
		return PTR_ERR(file);
	ret = kernel_write(file, buf, size, &pos);
	__fput_sync(file);
	return ret;
}

static ssize_t write_text(struct vfsmount *mnt, const char *name, const char *text)
{
	return write_file(mnt, name, text, strlen(text), 0);
}

/* Files that know user space only. Where it has stopped is told as well. */
static ssize_t read_user(struct walk *walk, struct vfsmount *mnt, const char *name, size_t size,
			 loff_t *pos)
{
	struct file *file = open_file(mnt, name, O_RDONLY);
	ssize_t ret;

	if (IS_ERR(file))
		return PTR_ERR(file);
	ret = file->f_op->read(file, walk->user, size, pos);
	if (ret > 0 && copy_from_user(walk->buf, walk->user, ret))
		ret = -EFAULT;
	__fput_sync(file);
	return ret;
}

static ssize_t write_user(struct walk *walk, struct vfsmount *mnt, const char *name,
			  const char *text)
{
	struct file *file = open_file(mnt, name, O_WRONLY);
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

static u64 hardware_corrupted(struct walk *walk)
{
	ssize_t len = read_file(walk->proc, "meminfo", walk->buf, USER_BYTES - 1, 0);
	char *line;
	u64 kib = 0;

	walk->buf[max_t(ssize_t, len, 0)] = 0;
	line = strstr(walk->buf, "HardwareCorrupted:");
	if (!line || sscanf(line, "HardwareCorrupted: %llu", &kib) != 1)
		return 0;
	return kib;
}

/* --- Walkers ------------------------------------------------------------------------- */

#define NR_GOES		PHYS_PFN(GOES_SIZE)

/* What everybody can do who must not sleep */
static ssize_t run_rcu(struct walk *walk)
{
	struct page *page;
	ssize_t ret = 0;

	rcu_read_lock();
	page = pfn_to_online_page(walk->start);
	if (page)
		ret = PagePoisoned(page) ? -EFAULT : page_to_nid(page);
	rcu_read_unlock();
	return ret;
}

static ssize_t run_irqs_off(struct walk *walk)
{
	unsigned long flags;
	struct page *page;
	ssize_t ret = 0;

	local_irq_save(flags);
	page = pfn_to_online_page(walk->start);
	if (page)
		ret = PagePoisoned(page) ? -EFAULT : page_to_nid(page);
	local_irq_restore(flags);
	return ret;
}

/* And everybody who may. That the answer is late sleeps already. */
static ssize_t run_section(struct walk *walk)
{
	int section = memmap_walk_begin();
	struct page *page = pfn_to_online_page(walk->start);
	ssize_t ret = 0;

	if (page)
		ret = PagePoisoned(page) ? -EFAULT : page_to_nid(page);
	memmap_walk_end(section);
	return ret;
}

static void check_own(struct kunit *test, struct walk *walk)
{
	KUNIT_EXPECT_EQ(test, walk->ret, 0);
}

static const char *kpage_file(const struct walk *walk)
{
	return walk->walker->name;
}

static ssize_t run_kpage(struct walk *walk)
{
	loff_t pos = (u64)walk->start * sizeof(u64);

	return read_user(walk, walk->proc, kpage_file(walk), NR_GOES * sizeof(u64), &pos);
}

#ifdef MHP_HAS_NO_NOPAGE
#define NO_PAGE	0
#else
#define NO_PAGE	BIT_ULL(KPF_NOPAGE)
#endif

static void check_kpage(struct kunit *test, struct walk *walk)
{
	u64 want = strcmp(kpage_file(walk), "kpageflags") ? 0 : NO_PAGE;
	u64 *words = (u64 *)walk->buf;
	unsigned long i, wrong = 0;

	KUNIT_EXPECT_EQ(test, walk->ret, (ssize_t)(NR_GOES * sizeof(u64)));
	/* It is told of no page behind the one that was just being read. */
	for (i = 1; i < NR_GOES; i++)
		wrong += words[i] != want;
	KUNIT_EXPECT_EQ(test, wrong, 0UL);
	KUNIT_EXPECT_EQ(test, run_kpage(walk), (ssize_t)(NR_GOES * sizeof(u64)));
	KUNIT_EXPECT_EQ(test, words[0], want);
}

#define PAGE_IDLE	"kernel/mm/page_idle/bitmap"

static ssize_t run_idle_read(struct walk *walk)
{
	return read_file(walk->sysfs, PAGE_IDLE, walk->buf, NR_GOES / BITS_PER_BYTE,
			 walk->start / BITS_PER_BYTE);
}

static ssize_t run_idle_write(struct walk *walk)
{
	memset(walk->buf, 0xff, NR_GOES / BITS_PER_BYTE);
	return write_file(walk->sysfs, PAGE_IDLE, walk->buf, NR_GOES / BITS_PER_BYTE,
			  walk->start / BITS_PER_BYTE);
}

static void check_idle(struct kunit *test, struct walk *walk)
{
	KUNIT_EXPECT_EQ(test, walk->ret, (ssize_t)(NR_GOES / BITS_PER_BYTE));
	KUNIT_EXPECT_EQ(test, run_idle_read(walk), (ssize_t)(NR_GOES / BITS_PER_BYTE));
	KUNIT_EXPECT_NULL(test, memchr_inv(walk->buf, 0, NR_GOES / BITS_PER_BYTE));
}

/* Returns the pfn whose owner was told, if any */
static ssize_t run_page_owner(struct walk *walk)
{
	loff_t pos = walk->start;
	ssize_t ret = read_user(walk, walk->debugfs, "page_owner", PAGE_SIZE, &pos);

	return ret > 0 ? pos - 1 : ret;
}

static void check_page_owner(struct kunit *test, struct walk *walk)
{
	KUNIT_EXPECT_GE(test, walk->ret, 0);
	walk->ret = run_page_owner(walk);
	KUNIT_EXPECT_GE(test, walk->ret, 0);
	KUNIT_EXPECT_FALSE(test, walk->ret >= walk->start && walk->ret < walk->end);
}

static void prepare_owner(struct kunit *test, struct walk *walk)
{
	struct file *file = open_file(walk->debugfs, "page_owner", O_RDONLY);

	if (IS_ERR(file))
		kunit_skip(test, "boot with page_owner=on");
	__fput_sync(file);
}

static ssize_t run_pagetypeinfo(struct walk *walk)
{
	return read_file(walk->proc, "pagetypeinfo", walk->buf, USER_BYTES, 0);
}

static void check_file(struct kunit *test, struct walk *walk)
{
	KUNIT_EXPECT_GT(test, walk->ret, 0);
}

static ssize_t run_kcore(struct walk *walk)
{
	unsigned long addr = (unsigned long)__va(walk->goes);
	struct file *file = open_file(walk->proc, "kcore", O_RDONLY);
	struct elfhdr *ehdr = (struct elfhdr *)walk->buf;
	struct elf_phdr *phdr;
	unsigned int i;
	ssize_t ret;
	loff_t pos = 0;

	if (IS_ERR(file))
		return PTR_ERR(file);
	ret = kernel_read(file, walk->buf, USER_BYTES, &pos);
	if (ret < (ssize_t)sizeof(*ehdr))
		goto out;
	phdr = (struct elf_phdr *)(walk->buf + ehdr->e_phoff);
	ret = -ENXIO;
	for (i = 0; i < ehdr->e_phnum && (char *)(phdr + i + 1) <= walk->buf + USER_BYTES; i++) {
		if (phdr[i].p_type != PT_LOAD || addr < phdr[i].p_vaddr ||
		    addr - phdr[i].p_vaddr >= phdr[i].p_memsz)
			continue;
		pos = phdr[i].p_offset + (addr - phdr[i].p_vaddr);
		ret = kernel_read(file, walk->buf, PAGE_SIZE, &pos);
		break;
	}
out:
	__fput_sync(file);
	return ret;
}

static void check_kcore(struct kunit *test, struct walk *walk)
{
	KUNIT_EXPECT_EQ(test, walk->ret, (ssize_t)PAGE_SIZE);
}

#define KDAMONDS	"kernel/mm/damon/admin/kdamonds/"
#define CONTEXT		KDAMONDS "0/contexts/0/"

static int pin_kdamond(struct walk *walk)
{
	struct task_struct *task;
	ssize_t ret;
	int pid;

	ret = read_file(walk->sysfs, KDAMONDS "0/pid", walk->buf, 16, 0);
	walk->buf[max_t(ssize_t, ret, 0)] = 0;
	if (ret < 0 || kstrtoint(strim(walk->buf), 0, &pid) || pid <= 0)
		return -ESRCH;
	rcu_read_lock();
	task = pid_task(find_vpid(pid), PIDTYPE_PID);
	if (task)
		get_task_struct(task);
	rcu_read_unlock();
	if (!task)
		return -ESRCH;
	ret = set_cpus_allowed_ptr(task, cpumask_of(walker_cpu()));
	put_task_struct(task);
	return ret;
}

/* It samples addresses of what goes all the time, in a thread of its own. */
static ssize_t run_damon(struct walk *walk)
{
	static const char * const texts[][2] = {
		{ KDAMONDS "nr_kdamonds", "1" },
		{ KDAMONDS "0/contexts/nr_contexts", "1" },
		{ CONTEXT "operations", "paddr" },
		{ CONTEXT "monitoring_attrs/intervals/sample_us", "2000" },
		{ CONTEXT "monitoring_attrs/intervals/aggr_us", "20000" },
		{ CONTEXT "targets/nr_targets", "1" },
		{ CONTEXT "targets/0/regions/nr_regions", "1" },
		{ CONTEXT "targets/0/regions/0/start", NULL },
		{ CONTEXT "targets/0/regions/0/end", NULL },
		{ KDAMONDS "0/state", "on" },
	};
	u64 addr = walk->goes;
	char number[24];
	ssize_t ret;
	int i;

	for (i = 0; i < ARRAY_SIZE(texts); i++) {
		snprintf(number, sizeof(number), "%llu", addr);
		if (!texts[i][1])
			addr += walk->size;
		ret = write_text(walk->sysfs, texts[i][0], texts[i][1] ?: number);
		if (ret < 0)
			goto out;
	}
	ret = pin_kdamond(walk);
	if (!ret) {
		WRITE_ONCE(walk->armed, walk->late);
		if (!wait_until(walk->late ? READ_ONCE(walk->sprung) && !READ_ONCE(walk->inside) :
					     READ_ONCE(walk->asked) >= SAMPLES, PATIENCE_MS))
			ret = -ETIME;
	}
	write_text(walk->sysfs, KDAMONDS "0/state", "off");
out:
	write_text(walk->sysfs, KDAMONDS "nr_kdamonds", "0");
	return ret;
}

static ssize_t run_split(struct walk *walk)
{
	return write_user(walk, walk->debugfs, "split_huge_pages", "1");
}

static ssize_t run_compaction(struct walk *walk)
{
	return write_text(walk->sysfs, "devices/system/node/node0/compact", "1");
}

#ifndef MODULE
static struct zone *zone_that_shrinks(void)
{
	return &NODE_DATA(0)->node_zones[ZONE_MOVABLE];
}

static ssize_t run_reset_isolation(struct walk *walk)
{
	zone_that_shrinks()->compact_blockskip_flush = true;
	reset_isolation_suitable(NODE_DATA(0));
	return 1;
}
#endif

#if defined(MHP_HAS_BPF_KMEM_CACHE) && defined(CONFIG_BPF_SYSCALL) && !defined(MODULE)
struct kmem_cache *bpf_get_kmem_cache(u64 addr);

/* As a BPF program, with any address */
static ssize_t run_kmem_cache(struct walk *walk)
{
	return bpf_get_kmem_cache((unsigned long)pfn_to_kaddr(walk->start)) ? -EFAULT : 0;
}
#else
#define run_kmem_cache	run_rcu
#endif

static ssize_t run_kmemleak(struct walk *walk)
{
	return write_user(walk, walk->debugfs, "kmemleak", "scan");
}

/* A page that is free: neither the first of what goes, nor the last */
static unsigned long victim(const struct walk *walk)
{
	return walk->start + NR_GOES / 2 + 3;
}

/* What is gone does not count. */
static void check_corrupted(struct kunit *test, struct walk *walk)
{
	KUNIT_EXPECT_EQ_MSG(test, hardware_corrupted(walk), walk->poisoned,
			    "HardwareCorrupted counts what is gone");
}

#ifdef CONFIG_MEMORY_FAILURE
static ssize_t run_memory_failure(struct walk *walk)
{
	return memory_failure(victim(walk), MF_SW_SIMULATED);
}

static ssize_t run_unpoison(struct walk *walk)
{
	return unpoison_memory(victim(walk));
}

/* It was unpoisoned first, and then went with its memory. */
static void check_unpoison(struct kunit *test, struct walk *walk)
{
	KUNIT_EXPECT_EQ(test, walk->ret, 0);
	check_corrupted(test, walk);
}

static void prepare_poison(struct kunit *test, struct walk *walk)
{
	KUNIT_ASSERT_EQ(test, memory_failure(victim(walk), MF_SW_SIMULATED), 0);
}
#else
#define run_memory_failure	run_rcu
#define run_unpoison		run_rcu
#define prepare_poison		NULL
#define check_unpoison		check_corrupted
#endif /* CONFIG_MEMORY_FAILURE */

static ssize_t run_soft_offline(struct walk *walk)
{
	char text[24];

	snprintf(text, sizeof(text), "%#llx", PFN_PHYS((u64)victim(walk)));
	return write_text(walk->sysfs, "devices/system/memory/soft_offline_page", text);
}

static ssize_t run_inject(struct walk *walk)
{
	char text[24];

	snprintf(text, sizeof(text), "%#lx", victim(walk));
	return write_user(walk, walk->debugfs, "hwpoison/corrupt-pfn", text);
}

static ssize_t run_inject_filter(struct walk *walk)
{
	ssize_t ret = write_user(walk, walk->debugfs, "hwpoison/corrupt-filter-enable", "1");

	if (ret < 0)
		return ret;
	ret = run_inject(walk);
	write_user(walk, walk->debugfs, "hwpoison/corrupt-filter-enable", "0");
	return ret;
}

static ssize_t run_contig_range(struct walk *walk)
{
	ssize_t ret = mhp_alloc_contig_range(walk->start, walk->end, GFP_KERNEL);

	if (!ret)
		walk->got = pfn_to_page(walk->start);
	return ret;
}

/* What goes is in the middle of it. */
static ssize_t run_contig_part(struct walk *walk)
{
	ssize_t ret = mhp_alloc_contig_range(walk->start - NR_GOES, walk->end + NR_GOES,
					     GFP_KERNEL);

	if (!ret)
		walk->got = pfn_to_page(walk->start);
	return ret;
}

static void check_contig_range(struct kunit *test, struct walk *walk)
{
	KUNIT_EXPECT_EQ(test, walk->ret, -EBUSY);
}

#ifndef MODULE
/* Once it believes that all is its own, all has time to go. */
static void prepare_drain(struct kunit *test, struct walk *walk)
{
	make_sleep(test, walk, DRAINING);
}

static ssize_t run_contig_pages(struct walk *walk)
{
	walk->got = alloc_contig_pages(NR_GOES, GFP_HIGHUSER_MOVABLE | __GFP_NOWARN, 0, NULL);
	return walk->got ? 0 : -ENOMEM;
}

static void check_contig_pages(struct kunit *test, struct walk *walk)
{
	unsigned long pfn;

	KUNIT_EXPECT_EQ(test, walk->ret, 0);
	if (!walk->got)
		return;
	pfn = page_to_pfn(walk->got);
	KUNIT_EXPECT_GE(test, pfn, walk->end);
	if (pfn >= walk->end)
		free_contig_range(pfn, NR_GOES);
}
#endif /* !MODULE */

#define MISSING(option)	(IS_ENABLED(CONFIG_##option) ? NULL : "CONFIG_" #option)

static const struct walker walkers[] = {
	{ "rcu", NULL, run_rcu, check_own },
	{ "irqs_off", NULL, run_irqs_off, check_own },
	{ "section", NULL, run_section, check_own },
	{ "kpagecount", MISSING(PROC_PAGE_MONITOR), run_kpage, check_kpage },
	{ "kpageflags", MISSING(PROC_PAGE_MONITOR), run_kpage, check_kpage },
	{ "kpagecgroup", MISSING(MEMCG), run_kpage, check_kpage },
	{ "page_idle_read", MISSING(IDLE_PAGE_TRACKING), run_idle_read, check_idle },
	{ "page_idle_write", MISSING(IDLE_PAGE_TRACKING), run_idle_write, check_idle },
	{ "page_owner", MISSING(PAGE_OWNER), run_page_owner, check_page_owner,
	  prepare_owner },
	{ "page_owner_again", MISSING(PAGE_OWNER), run_page_owner, check_page_owner,
	  prepare_owner, .where = SAME_AGAIN, .filled = true, .early = true },
	{ "pagetypeinfo", MISSING(PROC_PAGE_MONITOR), run_pagetypeinfo, check_file,
	  .where = IRQS_OFF },
	{ "pagetypeinfo_mixed", MISSING(PAGE_OWNER), run_pagetypeinfo, check_file,
	  prepare_owner, .where = IRQS_ON },
	{ "kcore", MISSING(PROC_KCORE), run_kcore, check_kcore },
	{ "damon", MISSING(DAMON_SYSFS), run_damon, check_own, .comm = "kdamond" },
	{ "split_huge_pages", MISSING(TRANSPARENT_HUGEPAGE), run_split, check_file },
	{ "compaction_migrate", MISSING(COMPACTION), run_compaction, check_file },
	{ "compaction_free", MISSING(COMPACTION), run_compaction, check_file,
	  .place = LAST },
	{ "memory_failure", MISSING(MEMORY_FAILURE), run_memory_failure, check_corrupted },
	{ "soft_offline", MISSING(MEMORY_FAILURE), run_soft_offline, check_corrupted },
	{ "unpoison", MISSING(MEMORY_FAILURE), run_unpoison, check_corrupted,
	  .locks = true },
	{ "unpoison_poisoned", MISSING(MEMORY_FAILURE), run_unpoison, check_unpoison,
	  prepare_poison, .locks = true },
	{ "hwpoison_inject", MISSING(HWPOISON_INJECT), run_inject, check_corrupted },
	{ "hwpoison_filter", MISSING(HWPOISON_INJECT), run_inject_filter, check_corrupted },
	{ "contig_range", MISSING(CONTIG_ALLOC), run_contig_range, check_contig_range },
	{ "contig_part_first", MISSING(CONTIG_ALLOC), run_contig_part, check_contig_range,
	  .place = MIDDLE },
#ifndef MODULE
	{ "contig_part", MISSING(CONTIG_ALLOC), run_contig_part, check_contig_range,
	  prepare_drain, .place = MIDDLE, .last_block = true },
	{ "contig_pages_locked", MISSING(CONTIG_ALLOC), run_contig_pages,
	  check_contig_pages, .where = IRQS_OFF },
	{ "contig_pages", MISSING(CONTIG_ALLOC), run_contig_pages, check_contig_pages,
	  .where = IRQS_ON },
	{ "reset_isolation", MISSING(COMPACTION), run_reset_isolation, check_file },
#ifdef MHP_HAS_BPF_KMEM_CACHE
	{ "bpf_get_kmem_cache", MISSING(BPF_SYSCALL), run_kmem_cache, check_own },
#endif
#endif
	{ "kmemleak", MISSING(DEBUG_KMEMLEAK), run_kmemleak, check_file, .locks = true },
};

KUNIT_ARRAY_PARAM_DESC(walker, walkers, name);

/* --- The walk ------------------------------------------------------------------------ */

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
	unregister_kprobe(&questions);
	unregister_kprobe(&waiting);
#ifndef MODULE
	unregister_kprobe(&marking);
#endif
	unregister_memory_notifier(&remover_nb);
	WRITE_ONCE(walking, NULL);
	if (walk->filler)
		__fput_sync(walk->filler);
	if (walk->mm)
		mmput(walk->mm);
	if (walk->sysfs)
		kern_unmount(walk->sysfs);
	if (walk->proc)
		kern_unmount(walk->proc);
	if (walk->debugfs)
		kern_unmount(walk->debugfs);
	list_for_each_entry_safe(page, next, &walk->held, lru) {
		list_del(&page->lru);
		__free_page(page);
	}
	kfree(walk->buf);
	kfree(walk);
}

/* The fixture removes all memory: nobody must use any by then. */
static void walk_exit(struct kunit *test)
{
	if (walking)
		kunit_release_action(test, end_walk, walking);
	mhp_fixture_exit(test);
}

static struct vfsmount *mount_fs(struct kunit *test, const char *name)
{
	struct file_system_type *type = get_fs_type(name);
	struct vfsmount *mnt;

	KUNIT_ASSERT_NOT_NULL_MSG(test, type, "there is no %s", name);
	mnt = kern_mount(type);
	module_put(type->owner);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mnt);
	return mnt;
}

static const struct walker nobody __maybe_unused = { "nobody" };

static void must_online(struct kunit *test, u64 start, u64 size)
{
	mhp_must_add(test, 0, start, size, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(start, size, MMOP_ONLINE_MOVABLE), 0);
}

/* Content, which is in what is online of the zone, as nobody else wants it */
static void fill(struct kunit *test, struct walk *walk, u64 start, u64 size, unsigned long nr)
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

static struct walk *begin_walk(struct kunit *test, const struct walker *walker)
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
	ret = register_memory_notifier(&remover_nb) ?: add_probe(&waiting) ?:
	      add_probe(&questions);
#ifndef MODULE
	ret = ret ?: add_probe(&marking);
#endif
	walking = walk;
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, end_walk, walk), 0);
	KUNIT_ASSERT_EQ_MSG(test, ret, 0, "no probes");
	KUNIT_ASSERT_NOT_NULL(test, walk->buf);

	walk->sysfs = mount_fs(test, "sysfs");
	walk->proc = mount_fs(test, "proc");
	walk->debugfs = mount_fs(test, "debugfs");
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
		fill(test, walk, walk->goes, GOES_SIZE, FILLER_PAGES);
	else if (walker->place == LAST)
		fill(test, walk, walk->stays, STAYS_SIZE, FILLER_PAGES);
	if (walker->filled)
		must_online(test, walk->stays, STAYS_SIZE);
	else
		must_online(test, walk->goes, GOES_SIZE);
	if (walker->place == MIDDLE)
		must_online(test, walk->goes + GOES_SIZE, GOES_SIZE);
	walk->poisoned = hardware_corrupted(walk);
	return walk;
}

/* Both come to an end, and nothing is left of the memory. */
static void finish_walk(struct kunit *test, struct walk *walk)
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

/* I10: memory does not go between what a walker asks and what it reads. */
static void mhp_walk_held(struct kunit *test)
{
	const struct walker *walker = test->param_value;
	struct walk *walk;

	if (walker->missing)
		kunit_skip(test, "%s is not set", walker->missing);
	walk = begin_walk(test, walker);
	walk->late = true;
	if (walker->prepare)
		walker->prepare(test, walk);
	if (!walker->locks) {
		start_remover(test, walk);
		KUNIT_ASSERT_TRUE(test, wait_until(READ_ONCE(walk->parked) ||
						   completion_done(&walk->removed), PATIENCE_MS));
		KUNIT_ASSERT_TRUE_MSG(test, walk->parked, "cannot be removed: %d",
				      walk->remove_ret);
	}
	start_walker(test, walk);
	wait_until(READ_ONCE(walk->sprung) || completion_done(&walk->walked), PATIENCE_MS);
	if (walker->locks)
		start_remover(test, walk);
	finish_walk(test, walk);
	KUNIT_EXPECT_FALSE_MSG(test, walk->lost, "memory went while %s was about to read",
			       walker->name);
	KUNIT_EXPECT_FALSE_MSG(test, walk->told,
			       "notifiers were called while %s was about to read", walker->name);
}

#ifdef CONFIG_X86
static const struct walker readers[] = {
	{ "kpagecount", MISSING(PROC_PAGE_MONITOR), run_kpage },
	{ "kpageflags", MISSING(PROC_PAGE_MONITOR), run_kpage },
	{ "page_idle_read", MISSING(IDLE_PAGE_TRACKING), run_idle_read },
	{ "page_idle_write", MISSING(IDLE_PAGE_TRACKING), run_idle_write },
	{ "kcore", MISSING(PROC_KCORE), run_kcore },
	{ "damon", MISSING(DAMON_SYSFS), run_damon, .comm = "kdamond" },
	{ "split_huge_pages", MISSING(TRANSPARENT_HUGEPAGE), run_split },
	{ "compaction", MISSING(COMPACTION), run_compaction },
	{ "kmemleak", MISSING(DEBUG_KMEMLEAK), run_kmemleak },
};

KUNIT_ARRAY_PARAM_DESC(reader, readers, name);

/* How often the references to a page have changed */
static atomic_t changes;

static void on_change(struct perf_event *event, struct perf_sample_data *data,
		      struct pt_regs *regs)
{
	atomic_inc(&changes);
}

/*
 * Who owns a page that is on no LRU list may count the references: free_contig_range()
 * does, and virtio-mem. On arm64, a watchpoint with a handler would fire for ever.
 */
static void mhp_walk_takes_no_reference(struct kunit *test)
{
	const struct walker *walker = test->param_value;
	struct perf_event * __percpu *watch;
	int while_walking, in_all;
	struct perf_event_attr attr;
	struct walk *walk;
	struct page *page;
	bool walked;

	if (walker->missing)
		kunit_skip(test, "%s is not set", walker->missing);
	walk = begin_walk(test, walker);
	walk->size = PAGE_SIZE;
	walk->end = walk->start + 1;
	KUNIT_ASSERT_EQ(test, run_contig_range(walk), (ssize_t)0);
	page = walk->got;
	list_add(&page->lru, &walk->held);

	hw_breakpoint_init(&attr);
	attr.bp_addr = (unsigned long)&page->_refcount;
	attr.bp_len = HW_BREAKPOINT_LEN_4;
	attr.bp_type = HW_BREAKPOINT_W;
	watch = register_wide_hw_breakpoint(&attr, on_change, NULL);
	KUNIT_ASSERT_FALSE(test, IS_ERR_PCPU(watch));
	atomic_set(&changes, 0);
	start_walker(test, walk);
	walked = wait_for_completion_timeout(&walk->walked, msecs_to_jiffies(PATIENCE_MS));
	while_walking = atomic_read(&changes);
	get_page(page);
	put_page(page);
	in_all = atomic_read(&changes);
	unregister_wide_hw_breakpoint(watch);

	KUNIT_ASSERT_TRUE(test, walked);
	complete_all(&walk->walked);
	KUNIT_EXPECT_GE(test, walk->ret, (ssize_t)0);
	KUNIT_EXPECT_GE_MSG(test, walk->asked, 1UL, "%s does not come to the page", walker->name);
	KUNIT_EXPECT_EQ_MSG(test, while_walking, 0, "%s takes references to a page of others",
			    walker->name);
	KUNIT_EXPECT_EQ_MSG(test, in_all - while_walking, 2, "the watchpoint does not work");
}
#endif /* CONFIG_X86 */

#ifndef MODULE

/* I10: memory goes while a walker sleeps. */
static void sleep_and_go(struct kunit *test, const struct walker *walker, enum sleep where)
{
	struct walk *walk;

	if (walker->missing)
		kunit_skip(test, "%s is not set", walker->missing);
	walk = begin_walk(test, walker);
	if (walker->prepare)
		walker->prepare(test, walk);
	walk->parks = NEVER;
	make_sleep(test, walk, where);
	start_walker(test, walk);
	wait_until(READ_ONCE(walk->sprung) || completion_done(&walk->walked), PATIENCE_MS);
	start_remover(test, walk);
	wait_until(READ_ONCE(walk->slept) || completion_done(&walk->walked), PATIENCE_MS);
	KUNIT_EXPECT_TRUE_MSG(test, walk->slept && walk->gone,
			      "memory waits for %s, which sleeps", walker->name);
	finish_walk(test, walk);
	KUNIT_EXPECT_FALSE(test, walk->must_sleep);
}

static void mhp_walk_compaction_sleeps(struct kunit *test)
{
	static const struct walker walker = {
		"compaction", MISSING(COMPACTION), run_compaction, check_file,
		.filled = true,
	};

	sleep_and_go(test, &walker, MIGRATING);
}

/* It tells of another page, if of any. */
static void check_page_owner_slept(struct kunit *test, struct walk *walk)
{
	KUNIT_EXPECT_GE(test, walk->ret, 0);
	KUNIT_EXPECT_FALSE(test, walk->ret >= walk->start && walk->ret < walk->end);
	KUNIT_EXPECT_GE_MSG(test, walk->asked_after, 1UL, "it does not ask again");
}

static void mhp_walk_page_owner_sleeps(struct kunit *test)
{
	static const struct walker walker = {
		"page_owner", MISSING(PAGE_OWNER), run_page_owner, check_page_owner_slept,
		prepare_owner, .filled = true,
	};

	sleep_and_go(test, &walker, ALLOCATING);
}

#ifdef CONFIG_COMPACTION
/* As direct compaction. The page that it has captured, if any, is not prepared. */
static enum compact_result compact(unsigned int order, enum compact_priority prio,
				   struct page **captured)
{
	const struct alloc_context ac = {
		.zonelist = node_zonelist(0, GFP_HIGHUSER_MOVABLE),
		.highest_zoneidx = ZONE_MOVABLE,
		.migratetype = MIGRATE_MOVABLE,
	};
#ifdef MHP_HAS_CAPTURE_CONTROL
	struct capture_control capc = { .order = order, .migratetype = ac.migratetype };
	enum compact_result ret;

	WRITE_ONCE(current->capture_control, &capc);
	ret = try_to_compact_pages(GFP_HIGHUSER_MOVABLE, order, ALLOC_WMARK_MIN, &ac, prio, &capc);
	WRITE_ONCE(current->capture_control, NULL);
	*captured = READ_ONCE(capc.page);
	return ret;
#else
	return try_to_compact_pages(GFP_HIGHUSER_MOVABLE, order, ALLOC_WMARK_MIN, &ac, prio,
				    captured);
#endif
}

/* Both scanners begin at pfns that they remember, and that are gone. */
static ssize_t run_stale(struct walk *walk)
{
	struct zone *zone = zone_that_shrinks();
	struct page *page = NULL;

	zone->compact_cached_migrate_pfn[0] = walk->start + 5;
	zone->compact_cached_migrate_pfn[1] = walk->start + 5;
	zone->compact_cached_free_pfn = pageblock_start_pfn(zone_end_pfn(zone) - 1);
	/* As much as can be: for a certain order, it begins where free lists say. */
	compact(-1, COMPACT_PRIO_SYNC_LIGHT, &page);
	walk->asked_after = walk->asked;

	zone->compact_cached_migrate_pfn[0] = zone->zone_start_pfn;
	zone->compact_cached_migrate_pfn[1] = zone->zone_start_pfn;
	zone->compact_cached_free_pfn = walk->end - 3;
	compaction_defer_reset(zone, pageblock_order, true);
	compact(pageblock_order, COMPACT_PRIO_SYNC_LIGHT, &page);
	return !page;
}

#define PIN_EVERY	128

/* I10: compaction asks of what it remembers, and of what its short cuts find. */
static void mhp_walk_stale_pfns(struct kunit *test)
{
	static const struct walker walker = { "stale", NULL, run_stale, .place = MIDDLE };
	const unsigned long nr = PHYS_PFN(STAYS_SIZE + GOES_SIZE) - 64;
	struct walk *walk = begin_walk(test, &walker);
	struct address_space *mapping;
	struct page **pins;
	bool walked;
	loff_t pos;
	int i;

	pins = kunit_kcalloc(test, nr / PIN_EVERY, sizeof(*pins), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pins);
	KUNIT_ASSERT_EQ(test, mhp_offline(walk->goes, GOES_SIZE), 0);
	fill(test, walk, walk->stays, STAYS_SIZE + 2 * GOES_SIZE, nr);
	/* No pageblock can be freed as a whole, and none is full. */
	mapping = walk->filler->f_mapping;
	for (pos = PAGE_SIZE; pos < nr * PAGE_SIZE; pos += 2 * PAGE_SIZE)
		shmem_truncate_range(mapping->host, pos, pos + PAGE_SIZE - 1);
	for (i = 0; i < nr / PIN_EVERY; i++)
		pins[i] = shmem_read_mapping_page(mapping, i * PIN_EVERY);
	start_walker(test, walk);
	walked = wait_for_completion_timeout(&walk->walked, msecs_to_jiffies(PATIENCE_MS));
	for (i = 0; i < nr / PIN_EVERY; i++) {
		if (!IS_ERR_OR_NULL(pins[i]))
			put_page(pins[i]);
	}
	KUNIT_ASSERT_TRUE(test, walked);
	complete_all(&walk->walked);
	KUNIT_EXPECT_EQ(test, walk->ret, 1);
	KUNIT_EXPECT_GE(test, walk->asked_after, 1UL);
}
#endif /* CONFIG_COMPACTION */

/*
 * I4: what is isolated to go offline stays so, whoever else wants it. Otherwise it is
 * never free for long enough.
 */
static void mhp_walk_contig_isolated(struct kunit *test)
{
	static const struct walker walker = {
		"contig", MISSING(CONTIG_ALLOC), run_contig_range, check_contig_range,
	};
	struct zone *zone = zone_that_shrinks();
	struct walk *walk;
	unsigned long before;

	if (walker.missing)
		kunit_skip(test, "%s is not set", walker.missing);
	walk = begin_walk(test, &walker);
	start_remover(test, walk);
	KUNIT_ASSERT_TRUE(test, wait_until(READ_ONCE(walk->parked), PATIENCE_MS));
	before = zone->nr_isolate_pageblock;
	start_walker(test, walk);
	wait_until(completion_done(&walk->walked), PATIENCE_MS);
	KUNIT_EXPECT_EQ_MSG(test, zone->nr_isolate_pageblock, before,
			    "what others have isolated is not isolated any more");
	walk->sprung = true;
	finish_walk(test, walk);
}

#ifdef CONFIG_MEMORY_FAILURE
/* How often somebody has made room for a failure, wherever that is */
static atomic_t yields;

static int on_yield(struct kprobe *kp, struct pt_regs *regs)
{
	if (regs_get_kernel_argument(regs, 1) == ~0UL)
		atomic_inc(&yields);
	return 0;
}

static struct kprobe yielding = {
	.symbol_name = "memory_failure_wait",
	.pre_handler = on_yield,
};

static ssize_t run_failure_elsewhere(struct walk *walk)
{
	return memory_failure(page_to_pfn(walk->got), MF_SW_SIMULATED);
}

/* I7: a failure that takes long costs nothing where pages move, or are free. */
static void mhp_walk_failure_elsewhere(struct kunit *test)
{
	static const struct walker walker = { "failure", NULL, run_failure_elsewhere,
					      .place = LAST };
	struct walk *walk = begin_walk(test, &walker);
	bool busy, walked;
	unsigned long pfn;
	int ret;

	walk->got = shmem_read_mapping_page(walk->filler->f_mapping, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, walk->got);
	pfn = page_to_pfn(walk->got);
	atomic_set(&yields, 0);
	KUNIT_ASSERT_EQ(test, add_probe(&yielding), 0);
	lock_page(walk->got);
	start_walker(test, walk);
	busy = wait_until(memory_failure_busy(pfn, pfn + 1) && PageHWPoison(walk->got),
			  PATIENCE_MS);
	ret = mhp_offline(walk->goes, GOES_SIZE);
	unlock_page(walk->got);
	put_page(walk->got);
	walked = wait_for_completion_timeout(&walk->walked, msecs_to_jiffies(PATIENCE_MS));
	unregister_kprobe(&yielding);
	KUNIT_ASSERT_TRUE(test, walked);
	complete_all(&walk->walked);
	KUNIT_EXPECT_TRUE(test, busy);
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&yields), 0);
}
#endif /* CONFIG_MEMORY_FAILURE */

/* I10: what has gone is no hole that a contiguous range may have. */
static void mhp_walk_contig_hole(struct kunit *test)
{
	static const struct walker walker = {
		"hole", MISSING(CONTIG_ALLOC), run_contig_part, check_contig_range,
		.place = MIDDLE,
	};
	struct walk *walk;

	if (walker.missing)
		kunit_skip(test, "%s is not set", walker.missing);
	walk = begin_walk(test, &walker);
	mhp_must_remove(test, walk->goes, GOES_SIZE);
	KUNIT_EXPECT_EQ(test, run_contig_part(walk), -EBUSY);
	KUNIT_EXPECT_EQ(test, zone_that_shrinks()->nr_isolate_pageblock, 0UL);
}

/* I10 I8: so does what hosts its memmap, which goes last. */
static void mhp_walk_self_hosted(struct kunit *test)
{
	static const struct walker walker = { "rcu", NULL, run_rcu, check_own };
	const u64 block = memory_block_size_bytes();
	struct walk *walk;

	if (!mhp_supports_memmap_on_memory())
		kunit_skip(test, "no self-hosted memmap");
	walk = begin_walk(test, &walker);
	walk->goes = mhp_spare_start(test) + block;
	walk->size = block;
	walk->start = PHYS_PFN(walk->goes);
	walk->first = walk->start;
	walk->end = walk->start + PHYS_PFN(block) * sizeof(struct page) / PAGE_SIZE;
	if (!IS_ALIGNED(walk->end, PAGES_PER_SUBSECTION))
		kunit_skip(test, "the memmap of a block ends within a sub-section");
	mhp_must_add(test, 0, walk->goes, block, MHP_MEMMAP_ON_MEMORY);
	KUNIT_ASSERT_EQ(test, mhp_online(walk->goes, block, MMOP_ONLINE_MOVABLE), 0);
	/* All but that is offline by then. */
	walk->parks = MEM_OFFLINE;
	walk->late = true;
	start_remover(test, walk);
	KUNIT_ASSERT_TRUE(test, wait_until(READ_ONCE(walk->parked), PATIENCE_MS));
	KUNIT_EXPECT_NOT_NULL(test, pfn_to_online_page(walk->start));
	KUNIT_EXPECT_NULL(test, pfn_to_online_page(walk->end));
	start_walker(test, walk);
	finish_walk(test, walk);
	KUNIT_EXPECT_FALSE(test, walk->lost);
}

/* --- What waits for whom ------------------------------------------------------------- */

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
static void mhp_walk_nesting(struct kunit *test)
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
static void mhp_walk_other_cpu(struct kunit *test)
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
	KUNIT_EXPECT_EQ(test, set_cpus_allowed_ptr(current, cpumask_of(walker_cpu())), 0);
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
	struct walk *walk = walking;
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

	walk->ret = compact(-1, COMPACT_PRIO_SYNC_FULL, &page);
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

KUNIT_ARRAY_PARAM_DESC(burden, burdens, name);

/*
 * I10 I11: who removes walks itself, by compaction that a notifier asks for, or has to do
 * as there is no memory. It does not wait for itself.
 */
static void mhp_walk_remover_walks(struct kunit *test)
{
	static const struct walker walker = { "remover", .place = LAST };
	const typeof(burdens[0]) *burden = test->param_value;
	struct walk *walk;
	u64 stays;

	if (!IS_ENABLED(CONFIG_COMPACTION))
		kunit_skip(test, "CONFIG_COMPACTION is not set");
	if (burden->does == take_all && !node_online(1))
		kunit_skip(test, "needs two nodes");
	walk = begin_walk(test, &walker);
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
	walk->task = make_thread(test, remover_main, walk, false, "mhp_remover");
	walk->remover = walk->task;
	complete_all(&walk->walked);
	wake_up_process(walk->task);
	walk->sprung = true;
	finish_walk(test, walk);
	KUNIT_EXPECT_GT_MSG(test, walk->asked_within, 0UL, "the remover did not walk");
	KUNIT_EXPECT_GT(test, walk->ret, 0);
}

#endif /* !MODULE */

static struct kunit_case mhp_walk_cases[] = {
	KUNIT_CASE_PARAM_ATTR(mhp_walk_held, walker_gen_params, { .speed = KUNIT_SPEED_SLOW }),
#ifdef CONFIG_X86
	KUNIT_CASE_PARAM(mhp_walk_takes_no_reference, reader_gen_params),
#endif
#ifndef MODULE
	KUNIT_CASE(mhp_walk_compaction_sleeps),
	KUNIT_CASE(mhp_walk_page_owner_sleeps),
#ifdef CONFIG_COMPACTION
	KUNIT_CASE(mhp_walk_stale_pfns),
#endif
	KUNIT_CASE(mhp_walk_contig_isolated),
	KUNIT_CASE(mhp_walk_contig_hole),
#ifdef CONFIG_MEMORY_FAILURE
	KUNIT_CASE(mhp_walk_failure_elsewhere),
#endif
	KUNIT_CASE(mhp_walk_self_hosted),
	KUNIT_CASE(mhp_walk_nesting),
	KUNIT_CASE(mhp_walk_other_cpu),
	KUNIT_CASE_PARAM(mhp_walk_remover_walks, burden_gen_params),
#endif
	{}
};

static struct kunit_suite mhp_walk_suite = {
	.name = "mhp_walk",
	.init = mhp_fixture_init,
	.exit = walk_exit,
	.test_cases = mhp_walk_cases,
};

/* Not with the others: it is there only where it can run. */
kunit_test_suite(mhp_walk_suite);

#endif /* CONFIG_KPROBES && CONFIG_PREEMPT_COUNT */
