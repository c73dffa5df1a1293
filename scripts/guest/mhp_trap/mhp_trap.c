// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_trap - make a kernel, stock or not, do what rarely happens by itself
 *
 * For x86-64. Write one command to /sys/module/mhp_trap/parameters/cmd, which fails
 * if the command does; read what became of it from .../result. START and SIZE are in
 * bytes, and hexadecimal with 0x:
 *
 *   add NID START SIZE       add_memory()
 *   remove START SIZE        remove_memory()
 *   unmap START              map a page of the direct map as not present, as
 *                            DEBUG_PAGEALLOC does with a page that is free
 *   failure                  handle a failure of a page in use that is on no LRU list,
 *                            with a reference: calls=N references after that, of 2;
 *                            then the page is unpoisoned and freed
 *   group NID SIZE           what is added from now on goes to a dynamic memory group
 *                            of its own, with units of SIZE
 *   go                       who waits in a trap until told so goes on
 *
 * One trap is set at a time; to set one removes what was set before, and its counts.
 * Who must not sleep, and who is within RCU, waits for a second at the most in those
 * that wait until told to go on:
 *
 *   fail FUNCTION NTH VALUE  the NTH call that "add" makes of FUNCTION does nothing
 *                            but return VALUE: calls=N made by "add"
 *   slow FUNCTION MS         who calls FUNCTION first waits, without sleeping: calls=N
 *   sleep FUNCTION MS        who calls FUNCTION, of up to six words, first sleeps:
 *                            calls=N
 *   owned FUNCTION MUTEX     calls=N, and owned=N that were made with MUTEX held by
 *                            the caller
 *   late FUNCTION NAME       the first thread of that name that calls FUNCTION waits
 *                            behind it, before it gets the answer, until told to go
 *                            on: calls=N
 *   between FUNCTION OTHER   who calls FUNCTION first waits until somebody else is
 *                            about to call OTHER, and behind it until that is done;
 *                            OTHER waits for FUNCTION; none for more than three
 *                            seconds: calls=N of FUNCTION, owned=N of OTHER
 *   refer FUNCTION START MS  when FUNCTION is called first, take a reference to the
 *                            page at START, and drop it after that time: calls=1 if
 *                            there was one to be had
 *   replace START NTH        a thread calls replace_free_hugepage_folios() for the page
 *                            at START, and waits, until told to go on, right behind the
 *                            NTH time that it reads where the head of the page is:
 *                            calls=N times that it was read, owned=1 when it is done
 *   contig START NTH         the same of alloc_contig_range() for the pageblock there
 *   slab START               the page at START, which is free, looks as one of slab
 *   allocate                 a thread allocates a page that is not movable, and waits,
 *                            until told to go on, as soon as it has looked for its
 *                            zone: calls=1 when it waits, owned=1 when it has a page,
 *                            or 2 if that is of ZONE_MOVABLE
 *   reclaim                  a thread allocates pages of ZONE_DMA, until it has to
 *                            reclaim some, and waits there until told to go on:
 *                            calls=1 when it waits, owned=1 when it has a page after
 *                            that, or 2 if that is not of ZONE_DMA
 *   report                   have free pages reported, and isolate the second pageblock
 *                            of the first one of the largest size, while it is: calls=1
 *                            when it is isolated, owned=1 when it is free for itself
 *                            after that, or 2 if it is still part of the page; then it
 *                            is not isolated any more
 *   span NID MS              who changes start or size of zone Movable waits behind
 *                            each of the two stores, without sleeping: calls=<stores>
 *   none                     set no trap
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/hw_breakpoint.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/objtool.h>
#include <linux/page_ref.h>
#include <linux/page_reporting.h>
#include <linux/perf_event.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/scatterlist.h>
#include <linux/sched.h>
#include <linux/shrinker.h>
#include <linux/string.h>
#include <linux/swap.h>
#include <linux/workqueue.h>

#include "compat.h"

#define SPIN_MS		1000
#define BETWEEN_MS	3000
#define LATE_MS		60000

typedef unsigned long (*function_t)(unsigned long a, unsigned long b, unsigned long c,
				    unsigned long d, unsigned long e, unsigned long f);

static char function[64], other[64];
static struct kprobe probes[2];
static struct perf_event * __percpu *watches[2];

static struct task_struct *adder;
static atomic_t calls, owned;
static unsigned int nth, wait_ms;
static long value;
static struct mutex *mutex;
static int mgid = -1;

/* What is called in place of a function, and who calls the function itself then */
static function_t called[2];
static struct task_struct *passes[2];
static bool entered[2], left[2];

static bool go;
static char name[TASK_COMM_LEN];
static struct page *page;
static struct page __maybe_unused *slab;
static struct task_struct *thread;
static LIST_HEAD(hoard);
static struct shrinker *shrinker;

/* The value of a symbol, exported or not: a kprobe finds the function that does. */
static unsigned long lookup(const char *name)
{
	struct kprobe finder = { .symbol_name = "kallsyms_lookup_name" };
	unsigned long (*find)(const char *name);

	if (register_kprobe(&finder))
		return 0;
	find = (void *)finder.addr;
	unregister_kprobe(&finder);
	return find(name);
}

/* --- traps --- */

static int fail_call(struct kprobe *p, struct pt_regs *regs)
{
	if (current != adder || atomic_inc_return(&calls) != nth)
		return 0;

	/* Return to the caller at once. */
	regs_set_return_value(regs, value);
	instruction_pointer_set(regs, regs_get_kernel_stack_nth(regs, 0));
	regs->sp += sizeof(long);
	return 1;
}

static int slow_call(struct kprobe *p, struct pt_regs *regs)
{
	atomic_inc(&calls);
	mdelay(wait_ms);
	return 0;
}

/* Whether it is one of the functions below that calls what it stands for */
static bool passed(int i)
{
	if (READ_ONCE(passes[i]) != current)
		return false;
	WRITE_ONCE(passes[i], NULL);
	return true;
}

/* Call the function that one of those below stands for, which goes past its trap. */
static unsigned long pass(int i, unsigned long a, unsigned long b, unsigned long c,
			  unsigned long d, unsigned long e, unsigned long f)
{
	WRITE_ONCE(passes[i], current);
	return called[i](a, b, c, d, e, f);
}

/* In place of a function, for who calls it: sleep, then call it. */
static unsigned long sleeper(unsigned long a, unsigned long b, unsigned long c,
			     unsigned long d, unsigned long e, unsigned long f)
{
	msleep(wait_ms);
	return pass(0, a, b, c, d, e, f);
}

static int sleep_call(struct kprobe *p, struct pt_regs *regs)
{
	/* If another one has woken up since: sleep once more. */
	if (passed(0))
		return 0;
	atomic_inc(&calls);
	instruction_pointer_set(regs, (unsigned long)sleeper);
	return 1;
}

static void wait_for_go(bool sleeps)
{
	int ms;

	for (ms = 0; ms < (sleeps ? LATE_MS : SPIN_MS) && !READ_ONCE(go); ms += 20) {
		if (sleeps)
			msleep(20);
		else
			mdelay(20);
	}
}

/* Where nothing counts how often preemption is disabled, nobody does. */
static bool may_sleep(void)
{
	return preemptible() && !rcu_preempt_depth();
}

static unsigned long late(unsigned long a, unsigned long b, unsigned long c,
			  unsigned long d, unsigned long e, unsigned long f)
{
	unsigned long ret;

	ret = pass(0, a, b, c, d, e, f);
	wait_for_go(may_sleep());
	return ret;
}

static int late_call(struct kprobe *p, struct pt_regs *regs)
{
	if (passed(0) || strcmp(current->comm, name) || atomic_inc_return(&calls) != 1)
		return 0;
	instruction_pointer_set(regs, (unsigned long)late);
	return 1;
}

static void wait_between(const bool *flag)
{
	int ms;

	for (ms = 0; ms < BETWEEN_MS && !READ_ONCE(*flag); ms += 20)
		msleep(20);
}

static unsigned long within(unsigned long a, unsigned long b, unsigned long c,
			    unsigned long d, unsigned long e, unsigned long f)
{
	unsigned long ret;

	wait_between(&entered[1]);
	ret = pass(0, a, b, c, d, e, f);
	WRITE_ONCE(left[0], true);
	wait_between(&left[1]);
	return ret;
}

static unsigned long around(unsigned long a, unsigned long b, unsigned long c,
			    unsigned long d, unsigned long e, unsigned long f)
{
	unsigned long ret;

	wait_between(&left[0]);
	ret = pass(1, a, b, c, d, e, f);
	WRITE_ONCE(left[1], true);
	return ret;
}

static int between_call(struct kprobe *p, struct pt_regs *regs)
{
	int i = p - probes;

	if (passed(i) || atomic_inc_return(i ? &owned : &calls) != 1)
		return 0;
	WRITE_ONCE(entered[i], true);
	instruction_pointer_set(regs, (unsigned long)(i ? around : within));
	return 1;
}

static void drop(struct work_struct *work)
{
	put_page(page);
}

static DECLARE_DELAYED_WORK(drop_work, drop);

static unsigned long refers(unsigned long a, unsigned long b, unsigned long c,
			    unsigned long d, unsigned long e, unsigned long f)
{
	if (!atomic_read(&calls) && get_page_unless_zero(page)) {
		atomic_inc(&calls);
		schedule_delayed_work(&drop_work, msecs_to_jiffies(wait_ms));
	}
	return pass(0, a, b, c, d, e, f);
}

static int refer_call(struct kprobe *p, struct pt_regs *regs)
{
	if (passed(0))
		return 0;
	instruction_pointer_set(regs, (unsigned long)refers);
	return 1;
}

static int owned_call(struct kprobe *p, struct pt_regs *regs)
{
	unsigned long owner = atomic_long_read(&mutex->owner);

	atomic_inc(&calls);
	/* The lowest bits are flags. */
	if ((owner & ~7UL) == (unsigned long)current)
		atomic_inc(&owned);
	return 0;
}

/* As there is one, the probe is not optimised, and may change the return address. */
static void after_call(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}

static void span_changes(struct perf_event *event, struct perf_sample_data *data,
			 struct pt_regs *regs)
{
	atomic_inc(&calls);
	mdelay(wait_ms);
}

/* Called in the middle of something: that must find all registers as they were. */
void mhp_trap_paused(void);
void mhp_trap_paused(void)
{
	wait_for_go(may_sleep());
}

void mhp_trap_pause(void);
asm(".pushsection .text\n"
	".type mhp_trap_pause, @function\n"
	"mhp_trap_pause:\n"
	"	pushfq\n"
	"	push %rax\n"
	"	push %rcx\n"
	"	push %rdx\n"
	"	push %rsi\n"
	"	push %rdi\n"
	"	push %r8\n"
	"	push %r9\n"
	"	push %r10\n"
	"	push %r11\n"
	"	call mhp_trap_paused\n"
	"	pop %r11\n"
	"	pop %r10\n"
	"	pop %r9\n"
	"	pop %r8\n"
	"	pop %rdi\n"
	"	pop %rsi\n"
	"	pop %rdx\n"
	"	pop %rcx\n"
	"	pop %rax\n"
	"	popfq\n"
	"	" ASM_RET
	".size mhp_trap_pause, .-mhp_trap_pause\n"
	".popsection\n");
STACK_FRAME_NON_STANDARD(mhp_trap_pause);

/* Have the thread that read return by way of the above. */
static void head_is_read(struct perf_event *event, struct perf_sample_data *data,
			 struct pt_regs *regs)
{
	if (current != thread || atomic_inc_return(&calls) != nth)
		return;
	regs->sp -= sizeof(long);
	*(unsigned long *)regs->sp = regs->ip;
	regs->ip = (unsigned long)mhp_trap_pause;
}

static int until_stopped(void)
{
	while (!kthread_should_stop())
		msleep(20);
	return 0;
}

static int contig(void *unused)
{
	unsigned long pfn = page_to_pfn(page);

	if (!mhp_alloc_contig_range(pfn, pfn + pageblock_nr_pages, GFP_KERNEL))
		free_contig_range(pfn, pageblock_nr_pages);
	atomic_inc(&owned);
	return until_stopped();
}

static int replace(void *unused)
{
	int (*replace_free)(unsigned long start_pfn, unsigned long end_pfn) = (void *)called[0];
	unsigned long pfn = page_to_pfn(page);

	replace_free(pfn, pfn + 1);
	atomic_inc(&owned);
	return until_stopped();
}

static void free_hoard(unsigned int nr)
{
	struct page *next;

	while (nr-- && (next = list_first_entry_or_null(&hoard, struct page, lru))) {
		list_del(&next->lru);
		__free_page(next);
	}
}

static unsigned long hoard_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	return current == thread && !atomic_read(&calls) ? SWAP_CLUSTER_MAX : 0;
}

static unsigned long hoard_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	atomic_inc(&calls);
	wait_for_go(true);
	free_hoard(SWAP_CLUSTER_MAX);
	mm_account_reclaimed_pages(SWAP_CLUSTER_MAX);
	return SWAP_CLUSTER_MAX;
}

static unsigned long early(unsigned long a, unsigned long b, unsigned long c,
			   unsigned long d, unsigned long e, unsigned long f)
{
	wait_for_go(true);
	return pass(0, a, b, c, d, e, f);
}

static int early_call(struct kprobe *p, struct pt_regs *regs)
{
	if (passed(0) || current != thread || atomic_inc_return(&calls) != 1)
		return 0;
	instruction_pointer_set(regs, (unsigned long)early);
	return 1;
}

static int allocate(void *unused)
{
	struct page *unmovable = alloc_page(GFP_HIGHUSER);

	if (unmovable) {
		atomic_set(&owned, page_zonenum(unmovable) == ZONE_MOVABLE ? 2 : 1);
		__free_page(unmovable);
	}
	return until_stopped();
}

static int reclaim(void *unused)
{
	struct page *last;

	do {
		last = alloc_page(GFP_KERNEL | GFP_DMA | __GFP_NORETRY | __GFP_NOWARN);
		if (last)
			list_add_tail(&last->lru, &hoard);
	} while (last && !atomic_read(&calls));
	if (last)
		atomic_set(&owned, page_zonenum(last) == ZONE_DMA ? 1 : 2);
	return until_stopped();
}

static void look_at_block(struct work_struct *work)
{
	unsigned long pfn = page_to_pfn(page);

	atomic_set(&owned, PageBuddy(page) ? 1 : 2);
	called[1](pfn, pfn + pageblock_nr_pages, MIGRATE_MOVABLE, 0, 0, 0);
}

static DECLARE_DELAYED_WORK(look_work, look_at_block);

/* Between this and putting them back, nothing else happens. */
static int report(struct page_reporting_dev_info *unused, struct scatterlist *sgl,
		  unsigned int nents)
{
	struct scatterlist *sg;
	unsigned long pfn;
	int i;

	for_each_sg(sgl, sg, nents, i) {
		pfn = page_to_pfn(sg_page(sg)) + pageblock_nr_pages;
		if (sg->length != PAGE_SIZE << MAX_PAGE_ORDER || atomic_read(&calls))
			continue;
		/* For whatever, as kernels do not agree on how to say for what */
		if (called[0](pfn, pfn + pageblock_nr_pages, MIGRATE_MOVABLE, 0, GFP_KERNEL, 0))
			continue;
		page = pfn_to_page(pfn);
		atomic_inc(&calls);
		schedule_delayed_work(&look_work, HZ);
	}
	return 0;
}

static struct page_reporting_dev_info reporting = { .report = report };
static bool reports;

#ifdef alloc_contig_frozen_range
static int set_slab(void)
{
	unsigned long pfn = page_to_pfn(page);

	if (mhp_alloc_contig_range(pfn, pfn + 1, GFP_KERNEL))
		return -EBUSY;
	set_page_count(page, 0);
	__SetPageSlab(page);
	slab = page;
	return 0;
}

static void clear_slab(void)
{
	if (!slab)
		return;
	__ClearPageSlab(slab);
	set_page_count(slab, 1);
	__free_page(slab);
	slab = NULL;
}
#else
/* Pages of slab have a reference. */
static int set_slab(void)
{
	return -EOPNOTSUPP;
}

static void clear_slab(void)
{
}
#endif

static void clear_trap(void)
{
	unsigned int i;

	WRITE_ONCE(go, true);
	if (thread)
		kthread_stop(thread);
	thread = NULL;
	if (shrinker)
		shrinker_free(shrinker);
	shrinker = NULL;
	free_hoard(UINT_MAX);
	if (reports)
		page_reporting_unregister(&reporting);
	reports = false;
	clear_slab();
	flush_delayed_work(&look_work);
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		if (probes[i].symbol_name)
			unregister_kprobe(&probes[i]);
		memset(&probes[i], 0, sizeof(probes[i]));
		entered[i] = false;
		left[i] = false;
	}
	for (i = 0; i < ARRAY_SIZE(watches); i++) {
		if (watches[i])
			unregister_wide_hw_breakpoint(watches[i]);
		watches[i] = NULL;
	}
	flush_delayed_work(&drop_work);
	atomic_set(&calls, 0);
	atomic_set(&owned, 0);
	go = false;
}

static int set_probe(int i, const char *symbol, kprobe_pre_handler_t handler)
{
	int ret;

	probes[i].symbol_name = symbol;
	probes[i].pre_handler = handler;
	probes[i].post_handler = after_call;
	ret = register_kprobe(&probes[i]);
	if (ret)
		probes[i].symbol_name = NULL;
	return ret;
}

/* One that puts something in place of the function */
static int set_detour(int i, const char *symbol, kprobe_pre_handler_t handler)
{
	called[i] = (void *)lookup(symbol);
	return called[i] ? set_probe(i, symbol, handler) : -ENOENT;
}

static int set_watch(int i, void *addr, int type, perf_overflow_handler_t handler)
{
	struct perf_event_attr attr;
	int ret = 0;

	hw_breakpoint_init(&attr);
	attr.bp_addr = (unsigned long)addr;
	attr.bp_len = HW_BREAKPOINT_LEN_8;
	attr.bp_type = type;
	watches[i] = register_wide_hw_breakpoint(&attr, handler, NULL);
	if (IS_ERR((void __force *)watches[i])) {
		ret = PTR_ERR((void __force *)watches[i]);
		watches[i] = NULL;
	}
	return ret;
}

static int set_watches(int nid)
{
	struct zone *zone;

	if (nid < 0 || nid >= MAX_NUMNODES || !node_online(nid))
		return -EINVAL;
	zone = &NODE_DATA(nid)->node_zones[ZONE_MOVABLE];
	return set_watch(0, &zone->zone_start_pfn, HW_BREAKPOINT_W, span_changes) ?:
	       set_watch(1, &zone->spanned_pages, HW_BREAKPOINT_W, span_changes);
}

static int run_thread(int (*function)(void *unused))
{
	struct task_struct *task = kthread_create(function, NULL, KBUILD_MODNAME);

	if (IS_ERR(task))
		return PTR_ERR(task);
	thread = task;
	wake_up_process(task);
	return 0;
}

static int set_reclaim(void)
{
	shrinker = shrinker_alloc(0, KBUILD_MODNAME);
	if (!shrinker)
		return -ENOMEM;
	shrinker->count_objects = hoard_count;
	shrinker->scan_objects = hoard_scan;
	shrinker->seeks = 0;
	shrinker_register(shrinker);
	return run_thread(reclaim);
}

static int set_report(void)
{
	int ret;

	called[0] = (function_t)lookup("start_isolate_page_range");
	called[1] = (function_t)lookup("undo_isolate_page_range");
	if (!called[0] || !called[1])
		return -ENOENT;
	ret = page_reporting_register(&reporting);
	reports = !ret;
	return ret;
}

static int set_reader(int (*run)(void *unused))
{
	int ret;

	/* The second word of a struct page says whether it is a tail, and of what. */
	ret = set_watch(0, (unsigned long *)page + 1, HW_BREAKPOINT_RW, head_is_read);
	return ret ?: run_thread(run);
}

static int set_replace(void)
{
	called[0] = (void *)lookup("replace_free_hugepage_folios");
	return called[0] ? set_reader(replace) : -ENOENT;
}

/* --- commands --- */

static int add(int nid, u64 start, u64 size)
{
	int ret;

	adder = current;
	if (mgid >= 0)
		ret = add_memory(mgid, start, size, MHP_NID_IS_MGID);
	else
		ret = add_memory(nid, start, size, MHP_NONE);
	adder = NULL;
	return ret;
}

static int unmap(u64 start)
{
	int (*invalid)(struct page *page);

	invalid = (void *)lookup("set_direct_map_invalid_noflush");
	if (!invalid)
		return -EOPNOTSUPP;
	if (!pfn_valid(PHYS_PFN(start)))
		return -EINVAL;
	return invalid(pfn_to_page(PHYS_PFN(start)));
}

static int failure(void)
{
	struct page *fails = alloc_page(GFP_HIGHUSER_MOVABLE);
	unsigned long pfn;

	if (!fails)
		return -ENOMEM;
	pfn = page_to_pfn(fails);
	get_page(fails);
	memory_failure(pfn, MF_COUNT_INCREASED | MF_SW_SIMULATED);
	atomic_set(&calls, page_count(fails));
	put_page(fails);
	return unpoison_memory(pfn);
}

static int set_group(int nid, u64 unit)
{
	if (mgid >= 0)
		return -EBUSY;
	mgid = memory_group_register_dynamic(nid, PHYS_PFN(unit));
	return min(mgid, 0);
}

static int find_page(u64 start)
{
	page = pfn_to_online_page(PHYS_PFN(start));
	return page ? 0 : -ENXIO;
}

static int set_trap(const char *val)
{
	u64 start;
	int nid;

	clear_trap();
	if (sysfs_streq(val, "none"))
		return 0;
	if (sscanf(val, "fail %63s %u %li", function, &nth, &value) == 3)
		return set_probe(0, function, fail_call);
	if (sscanf(val, "slow %63s %u", function, &wait_ms) == 2)
		return set_probe(0, function, slow_call);
	if (sscanf(val, "sleep %63s %u", function, &wait_ms) == 2)
		return set_detour(0, function, sleep_call);
	if (sscanf(val, "late %63s %15s", function, name) == 2)
		return set_detour(0, function, late_call);
	if (sscanf(val, "between %63s %63s", function, other) == 2)
		return set_detour(0, function, between_call) ?:
		       set_detour(1, other, between_call);
	if (sscanf(val, "refer %63s %lli %u", function, &start, &wait_ms) == 3)
		return find_page(start) ?: set_detour(0, function, refer_call);
	if (sscanf(val, "replace %lli %u", &start, &nth) == 2)
		return find_page(start) ?: set_replace();
	if (sscanf(val, "contig %lli %u", &start, &nth) == 2)
		return find_page(start) ?: set_reader(contig);
	if (sscanf(val, "slab %lli", &start) == 1)
		return find_page(start) ?: set_slab();
	if (sysfs_streq(val, "allocate"))
		return set_detour(0, "get_page_from_freelist", early_call) ?: run_thread(allocate);
	if (sysfs_streq(val, "reclaim"))
		return set_reclaim();
	if (sysfs_streq(val, "report"))
		return set_report();
	if (sscanf(val, "owned %63s %63s", function, other) == 2) {
		mutex = (struct mutex *)lookup(other);
		return mutex ? set_probe(0, function, owned_call) : -ENOENT;
	}
	if (sscanf(val, "span %d %u", &nid, &wait_ms) == 2)
		return set_watches(nid);
	return -EOPNOTSUPP;
}

/* The caller sees to it that there is one at a time. */
static int cmd_set(const char *val, const struct kernel_param *kp)
{
	u64 start, size;
	int nid;

	if (sscanf(val, "add %d %lli %lli", &nid, &start, &size) == 3)
		return add(nid, start, size);
	if (sscanf(val, "remove %lli %lli", &start, &size) == 2)
		return remove_memory(start, size);
	if (sscanf(val, "unmap %lli", &start) == 1)
		return unmap(start);
	if (sscanf(val, "group %d %lli", &nid, &size) == 2)
		return set_group(nid, size);
	if (sysfs_streq(val, "failure"))
		return failure();
	if (sysfs_streq(val, "go")) {
		WRITE_ONCE(go, true);
		return 0;
	}
	return set_trap(val);
}

static const struct kernel_param_ops cmd_ops = { .set = cmd_set };
module_param_cb(cmd, &cmd_ops, NULL, 0200);
MODULE_PARM_DESC(cmd, "What to do, or which trap to set");

static int result_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "calls=%d owned=%d\n", atomic_read(&calls),
			  atomic_read(&owned));
}

static const struct kernel_param_ops result_ops = { .get = result_get };
module_param_cb(result, &result_ops, NULL, 0400);
MODULE_PARM_DESC(result, "What went into the trap");

static int __init mhp_trap_init(void)
{
	return 0;
}
module_init(mhp_trap_init);

static void __exit mhp_trap_exit(void)
{
	clear_trap();
	/* One that has memory stays. */
	memory_group_unregister(mgid);
}
module_exit(mhp_trap_exit);

MODULE_DESCRIPTION("Make rare events of memory hotplug happen");
MODULE_LICENSE("GPL");
