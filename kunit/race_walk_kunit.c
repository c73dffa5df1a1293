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

#include <linux/cpumask.h>
#include <linux/elf.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/hw_breakpoint.h>
#include <linux/kernel-page-flags.h>
#include <linux/memmap_walk.h>
#include <linux/mm.h>
#include <linux/perf_event.h>
#include <linux/pid.h>
#include <linux/rcupdate.h>
#include <linux/sched/task.h>
#include <linux/string.h>

/* Needs the above. */
#include <linux/compaction.h>

#include "race_walk.h"
#ifndef MODULE
#include "internal.h"
#endif

/* What everybody can do who must not sleep */
ssize_t walk_run_rcu(struct walk *walk)
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

void walk_check_own(struct kunit *test, struct walk *walk)
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

	return walk_read_user(walk, MHP_PROC, kpage_file(walk), NR_GOES * sizeof(u64), &pos);
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
	return mhp_read(MHP_SYSFS, PAGE_IDLE, walk->buf, NR_GOES / BITS_PER_BYTE,
			 walk->start / BITS_PER_BYTE);
}

static ssize_t run_idle_write(struct walk *walk)
{
	memset(walk->buf, 0xff, NR_GOES / BITS_PER_BYTE);
	return mhp_write(MHP_SYSFS, PAGE_IDLE, walk->buf, NR_GOES / BITS_PER_BYTE,
			  walk->start / BITS_PER_BYTE);
}

static void check_idle(struct kunit *test, struct walk *walk)
{
	KUNIT_EXPECT_EQ(test, walk->ret, (ssize_t)(NR_GOES / BITS_PER_BYTE));
	KUNIT_EXPECT_EQ(test, run_idle_read(walk), (ssize_t)(NR_GOES / BITS_PER_BYTE));
	KUNIT_EXPECT_NULL(test, memchr_inv(walk->buf, 0, NR_GOES / BITS_PER_BYTE));
}

/* Returns the pfn whose owner was told, if any */
ssize_t walk_run_page_owner(struct walk *walk)
{
	loff_t pos = walk->start;
	ssize_t ret = walk_read_user(walk, MHP_DEBUGFS, "page_owner", PAGE_SIZE, &pos);

	return ret > 0 ? pos - 1 : ret;
}

static void check_page_owner(struct kunit *test, struct walk *walk)
{
	KUNIT_EXPECT_GE(test, walk->ret, 0);
	walk->ret = walk_run_page_owner(walk);
	KUNIT_EXPECT_GE(test, walk->ret, 0);
	KUNIT_EXPECT_FALSE(test, walk->ret >= walk->start && walk->ret < walk->end);
}

void walk_prepare_owner(struct kunit *test, struct walk *walk)
{
	struct file *file = mhp_open(MHP_DEBUGFS, "page_owner", O_RDONLY);

	if (IS_ERR(file))
		kunit_skip(test, "boot with page_owner=on");
	__fput_sync(file);
}

static ssize_t run_pagetypeinfo(struct walk *walk)
{
	return mhp_read(MHP_PROC, "pagetypeinfo", walk->buf, USER_BYTES, 0);
}

void walk_check_file(struct kunit *test, struct walk *walk)
{
	KUNIT_EXPECT_GT(test, walk->ret, 0);
}

static ssize_t run_kcore(struct walk *walk)
{
	unsigned long addr = (unsigned long)__va(walk->goes);
	struct file *file = mhp_open(MHP_PROC, "kcore", O_RDONLY);
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

	ret = mhp_read(MHP_SYSFS, KDAMONDS "0/pid", walk->buf, 16, 0);
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
	ret = set_cpus_allowed_ptr(task, cpumask_of(walk_walker_cpu()));
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
		ret = mhp_write_text(MHP_SYSFS, texts[i][0], texts[i][1] ?: number);
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
	mhp_write_text(MHP_SYSFS, KDAMONDS "0/state", "off");
out:
	mhp_write_text(MHP_SYSFS, KDAMONDS "nr_kdamonds", "0");
	return ret;
}

static ssize_t run_split(struct walk *walk)
{
	return walk_write_user(walk, MHP_DEBUGFS, "split_huge_pages", "1");
}

ssize_t walk_run_compaction(struct walk *walk)
{
	return mhp_write(MHP_SYSFS, "devices/system/node/node0/compact", "1", 1, 0);
}

#ifndef MODULE
static ssize_t run_reset_isolation(struct walk *walk)
{
	walk_zone()->compact_blockskip_flush = true;
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
#define run_kmem_cache	walk_run_rcu
#endif

static ssize_t run_kmemleak(struct walk *walk)
{
	return walk_write_user(walk, MHP_DEBUGFS, "kmemleak", "scan");
}

/* A page that is free: neither the first of what goes, nor the last */
static unsigned long victim(const struct walk *walk)
{
	return walk->start + NR_GOES / 2 + 3;
}

/* What is gone does not count. */
static void check_corrupted(struct kunit *test, struct walk *walk)
{
	KUNIT_EXPECT_EQ_MSG(test, mhp_hardware_corrupted(), walk->poisoned,
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
#define run_memory_failure	walk_run_rcu
#define run_unpoison		walk_run_rcu
#define prepare_poison		NULL
#define check_unpoison		check_corrupted
#endif /* CONFIG_MEMORY_FAILURE */

static ssize_t run_soft_offline(struct walk *walk)
{
	char text[24];

	snprintf(text, sizeof(text), "%#llx", PFN_PHYS((u64)victim(walk)));
	return mhp_write_text(MHP_SYSFS, "devices/system/memory/soft_offline_page", text);
}

static ssize_t run_inject(struct walk *walk)
{
	char text[24];

	snprintf(text, sizeof(text), "%#lx", victim(walk));
	return walk_write_user(walk, MHP_DEBUGFS, "hwpoison/corrupt-pfn", text);
}

static ssize_t run_inject_filter(struct walk *walk)
{
	ssize_t ret = walk_write_user(walk, MHP_DEBUGFS, "hwpoison/corrupt-filter-enable", "1");

	if (ret < 0)
		return ret;
	ret = run_inject(walk);
	walk_write_user(walk, MHP_DEBUGFS, "hwpoison/corrupt-filter-enable", "0");
	return ret;
}

ssize_t walk_run_contig_range(struct walk *walk)
{
	ssize_t ret = mhp_alloc_contig_range(walk->start, walk->end, GFP_KERNEL);

	if (!ret)
		walk->got = pfn_to_page(walk->start);
	return ret;
}

/* What goes is in the middle of it. */
ssize_t walk_run_contig_part(struct walk *walk)
{
	ssize_t ret = mhp_alloc_contig_range(walk->start - NR_GOES, walk->end + NR_GOES,
					     GFP_KERNEL);

	if (!ret)
		walk->got = pfn_to_page(walk->start);
	return ret;
}

void walk_check_contig_range(struct kunit *test, struct walk *walk)
{
	KUNIT_EXPECT_EQ(test, walk->ret, -EBUSY);
}

#ifndef MODULE
/* Once it believes that all is its own, all has time to go. */
static void prepare_drain(struct kunit *test, struct walk *walk)
{
	walk_make_sleep(test, walk, DRAINING);
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

static const struct walker walkers[] = {
	{ "rcu", NULL, walk_run_rcu, walk_check_own },
	{ "irqs_off", NULL, run_irqs_off, walk_check_own },
	{ "section", NULL, run_section, walk_check_own },
	{ "kpagecount", MISSING(PROC_PAGE_MONITOR), run_kpage, check_kpage },
	{ "kpageflags", MISSING(PROC_PAGE_MONITOR), run_kpage, check_kpage },
	{ "kpagecgroup", MISSING(MEMCG), run_kpage, check_kpage },
	{ "page_idle_read", MISSING(IDLE_PAGE_TRACKING), run_idle_read, check_idle },
	{ "page_idle_write", MISSING(IDLE_PAGE_TRACKING), run_idle_write, check_idle },
	{ "page_owner", MISSING(PAGE_OWNER), walk_run_page_owner, check_page_owner,
	  walk_prepare_owner },
	{ "page_owner_again", MISSING(PAGE_OWNER), walk_run_page_owner, check_page_owner,
	  walk_prepare_owner, .where = SAME_AGAIN, .filled = true, .early = true },
	{ "pagetypeinfo", MISSING(PROC_PAGE_MONITOR), run_pagetypeinfo, walk_check_file,
	  .where = IRQS_OFF },
	{ "pagetypeinfo_mixed", MISSING(PAGE_OWNER), run_pagetypeinfo, walk_check_file,
	  walk_prepare_owner, .where = IRQS_ON },
	{ "kcore", MISSING(PROC_KCORE), run_kcore, check_kcore },
	{ "damon", MISSING(DAMON_SYSFS), run_damon, walk_check_own, .comm = "kdamond" },
	{ "split_huge_pages", MISSING(TRANSPARENT_HUGEPAGE), run_split, walk_check_file },
	{ "compaction_migrate", MISSING(COMPACTION), walk_run_compaction, walk_check_file },
	{ "compaction_free", MISSING(COMPACTION), walk_run_compaction, walk_check_file,
	  .place = LAST },
	{ "memory_failure", MISSING(MEMORY_FAILURE), run_memory_failure, check_corrupted },
	{ "soft_offline", MISSING(MEMORY_FAILURE), run_soft_offline, check_corrupted },
	{ "unpoison", MISSING(MEMORY_FAILURE), run_unpoison, check_corrupted,
	  .locks = true },
	{ "unpoison_poisoned", MISSING(MEMORY_FAILURE), run_unpoison, check_unpoison,
	  prepare_poison, .locks = true },
	{ "hwpoison_inject", MISSING(HWPOISON_INJECT), run_inject, check_corrupted },
	{ "hwpoison_filter", MISSING(HWPOISON_INJECT), run_inject_filter, check_corrupted },
	{ "contig_range", MISSING(CONTIG_ALLOC), walk_run_contig_range, walk_check_contig_range },
	{ "contig_part_first", MISSING(CONTIG_ALLOC), walk_run_contig_part, walk_check_contig_range,
	  .place = MIDDLE },
#ifndef MODULE
	{ "contig_part", MISSING(CONTIG_ALLOC), walk_run_contig_part, walk_check_contig_range,
	  prepare_drain, .place = MIDDLE, .last_block = true },
	{ "contig_pages_locked", MISSING(CONTIG_ALLOC), run_contig_pages,
	  check_contig_pages, .where = IRQS_OFF },
	{ "contig_pages", MISSING(CONTIG_ALLOC), run_contig_pages, check_contig_pages,
	  .where = IRQS_ON },
	{ "reset_isolation", MISSING(COMPACTION), run_reset_isolation, walk_check_file },
#ifdef MHP_HAS_BPF_KMEM_CACHE
	{ "bpf_get_kmem_cache", MISSING(BPF_SYSCALL), run_kmem_cache, walk_check_own },
#endif
#endif
	{ "kmemleak", MISSING(DEBUG_KMEMLEAK), run_kmemleak, walk_check_file, .locks = true },
};

KUNIT_ARRAY_PARAM_DESC(walker, walkers, name);

/* I10: memory does not go between what a walker asks and what it reads. */
static void mhp_walk_held(struct kunit *test)
{
	const struct walker *walker = test->param_value;
	struct walk *walk;

	if (walker->missing)
		kunit_skip(test, "%s is not set", walker->missing);
	walk = walk_begin(test, walker);
	walk->late = true;
	if (walker->prepare)
		walker->prepare(test, walk);
	if (!walker->locks) {
		walk_start_remover(test, walk);
		KUNIT_ASSERT_TRUE(test, wait_until(READ_ONCE(walk->parked) ||
						   completion_done(&walk->removed), PATIENCE_MS));
		KUNIT_ASSERT_TRUE_MSG(test, walk->parked, "cannot be removed: %d",
				      walk->remove_ret);
	}
	walk_start_walker(test, walk);
	wait_until(READ_ONCE(walk->sprung) || completion_done(&walk->walked), PATIENCE_MS);
	if (walker->locks)
		walk_start_remover(test, walk);
	walk_finish(test, walk);
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
	{ "compaction", MISSING(COMPACTION), walk_run_compaction },
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
	walk = walk_begin(test, walker);
	walk->size = PAGE_SIZE;
	walk->end = walk->start + 1;
	KUNIT_ASSERT_EQ(test, walk_run_contig_range(walk), (ssize_t)0);
	page = walk->got;
	list_add(&page->lru, &walk->held);

	hw_breakpoint_init(&attr);
	attr.bp_addr = (unsigned long)&page->_refcount;
	attr.bp_len = HW_BREAKPOINT_LEN_4;
	attr.bp_type = HW_BREAKPOINT_W;
	watch = register_wide_hw_breakpoint(&attr, on_change, NULL);
	KUNIT_ASSERT_FALSE(test, IS_ERR_PCPU(watch));
	atomic_set(&changes, 0);
	walk_start_walker(test, walk);
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

static struct kunit_case mhp_walk_cases[] = {
	KUNIT_CASE_PARAM_ATTR(mhp_walk_held, walker_gen_params, { .speed = KUNIT_SPEED_SLOW }),
#ifdef CONFIG_X86
	KUNIT_CASE_PARAM(mhp_walk_takes_no_reference, reader_gen_params),
#endif
#ifndef MODULE
	KUNIT_CASE(mhp_walk_compaction_sleeps),
	KUNIT_CASE(mhp_walk_page_owner_sleeps),
	KUNIT_CASE(mhp_walk_stale_pfns),
	KUNIT_CASE(mhp_walk_contig_isolated),
	KUNIT_CASE(mhp_walk_contig_hole),
#ifdef CONFIG_MEMORY_FAILURE
	KUNIT_CASE(mhp_walk_failure_elsewhere),
#endif
	KUNIT_CASE(mhp_walk_self_hosted),
	KUNIT_CASE(mhp_walk_nesting),
	KUNIT_CASE(mhp_walk_other_cpu),
	KUNIT_CASE_PARAM(mhp_walk_remover_walks, mhp_burden_gen_params),
#endif
	{}
};

static struct kunit_suite mhp_walk_suite = {
	.name = "mhp_walk",
	.init = mhp_fixture_init,
	.exit = walk_exit,
	.test_cases = mhp_walk_cases,
};

kunit_test_suite(mhp_walk_suite);
