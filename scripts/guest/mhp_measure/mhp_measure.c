// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_measure - count the instructions that memory management takes
 *
 * For a guest under QEMU's "-icount shift=0" with one virtual CPU: there the TSC
 * advances by one for each instruction that the CPU retires, and for nothing
 * else but time spent idle.
 *
 * Write one command to /sys/module/mhp_measure/parameters/cmd; read "key=value"
 * lines from .../result, where a value is a list of counts. START and SIZE are
 * in bytes, and hexadecimal with 0x:
 *
 *   block START SIZE    add_memory() of a memory block at START, write "online"
 *                       and "offline" to its state, remove_memory():
 *                       add= online= offline= remove=
 *   extents START SIZE NR
 *                       add_memory() of NR ranges of SIZE, one behind the other;
 *                       then offline_and_remove_memory() of each, in an order
 *                       that jumps: add= remove=
 *   pfn PFN             pfn_to_online_page(), per call: online=0|1 count=
 *   pages ORDER NR      alloc_pages() and __free_pages() of ORDER, per call and in
 *                       hundredths, NR order-0 pages in all: pair= one page that
 *                       is freed at once; alloc= all of them one after the other.
 *                       Of order 0 only: single= freeing every second page of
 *                       full MAX_ORDER areas; merge= freeing the others
 *   compact NR          write to /proc/sys/vm/compact_memory: moving= with NR
 *                       movable pages in use, and a free one behind each of them;
 *                       moving_pages= how many were moved
 *   kthreads            CPU time of all kernel threads so far, for work that the
 *                       host asks for: kthreads= in ns, at one instruction each
 *
 * Policy and limits, such as auto_online_blocks, are up to user space.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/falloc.h>
#include <linux/gfp.h>
#include <linux/irqflags.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/seq_buf.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>
#include <asm/msr.h>

#include "compat.h"

/* Calls per measurement of something that takes some ten instructions */
#define NR_CALLS	1000
#define MAX_RANGES	256
/* Between ranges that are removed one after the other; a prime */
#define STRIDE		37

static DEFINE_MUTEX(measure_lock);
static DECLARE_SEQ_BUF(result, PAGE_SIZE);

static int write_file(const char *path, const char *text)
{
	struct file *file;
	ssize_t ret;
	loff_t pos = 0;

	file = filp_open(path, O_WRONLY, 0);
	if (IS_ERR(file))
		return PTR_ERR(file);
	ret = kernel_write(file, text, strlen(text), &pos);
	filp_close(file, NULL);
	return ret < 0 ? ret : 0;
}

static int write_state(u64 start, const char *state)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%llu/state",
		 div64_ul(start, memory_block_size_bytes()));
	return write_file(path, state);
}

static int measure_block(u64 start, u64 size)
{
	u64 begin, added, onlined, offlined, removed;
	int ret;

	begin = rdtsc_ordered();
	ret = add_memory(0, start, size, MHP_MEMMAP_ON_MEMORY);
	added = rdtsc_ordered();
	if (ret)
		return ret;

	ret = write_state(start, "online");
	onlined = rdtsc_ordered();
	if (!ret)
		ret = write_state(start, "offline");
	offlined = rdtsc_ordered();
	if (ret) {
		offline_and_remove_memory(start, size);
		return ret;
	}

	ret = remove_memory(start, size);
	removed = rdtsc_ordered();
	if (ret)
		return ret;

	seq_buf_printf(&result, "add=%llu\nonline=%llu\noffline=%llu\nremove=%llu\n",
		       added - begin, onlined - added, offlined - onlined,
		       removed - offlined);
	return 0;
}

static void print_counts(const char *key, const u64 *counts, unsigned int nr)
{
	unsigned int i;

	seq_buf_printf(&result, "%s=", key);
	for (i = 0; i < nr; i++)
		seq_buf_printf(&result, "%s%llu", i ? " " : "", counts[i]);
	seq_buf_putc(&result, '\n');
}

static int measure_extents(u64 start, u64 size, unsigned int nr)
{
	unsigned int added, removed;
	u64 *counts, begin;
	int ret = 0;

	if (!nr || nr > MAX_RANGES || nr % STRIDE == 0)
		return -EINVAL;
	counts = kcalloc(nr, sizeof(*counts), GFP_KERNEL);
	if (!counts)
		return -ENOMEM;

	for (added = 0; !ret && added < nr; added++) {
		begin = rdtsc_ordered();
		ret = add_memory(0, start + added * size, size,
				 MHP_MEMMAP_ON_MEMORY);
		counts[added] = rdtsc_ordered() - begin;
	}
	if (ret)
		added--;
	else
		print_counts("add", counts, nr);

	for (removed = 0; removed < added; removed++) {
		const u64 i = (removed + 1) * STRIDE % added;
		int err;

		begin = rdtsc_ordered();
		err = offline_and_remove_memory(start + i * size, size);
		counts[removed] = rdtsc_ordered() - begin;
		ret = ret ?: err;
	}
	if (!ret)
		print_counts("remove", counts, nr);

	kfree(counts);
	return ret;
}

static noinline struct page *no_page(unsigned long pfn)
{
	/* As much of a call as the compiler leaves of one that it cannot see */
	asm volatile("" : : "r" (pfn));
	return NULL;
}

static u64 count_calls(struct page *(*func)(unsigned long pfn), unsigned long pfn)
{
	unsigned long flags;
	u64 begin, end;
	int i;

	local_irq_save(flags);
	begin = rdtsc_ordered();
	for (i = 0; i < NR_CALLS; i++)
		func(pfn);
	end = rdtsc_ordered();
	local_irq_restore(flags);

	return end - begin;
}

static int measure_pfn(unsigned long pfn)
{
	u64 nothing = count_calls(no_page, pfn);
	u64 count = count_calls(pfn_to_online_page, pfn);

	/* What no_page() executes itself is part of the call. */
	seq_buf_printf(&result, "online=%d\ncount=%llu\n",
		       !!pfn_to_online_page(pfn),
		       DIV_ROUND_CLOSEST_ULL(count - nothing, NR_CALLS));
	return 0;
}

/* Free every second page; return instructions in hundredths per page. */
static u64 count_frees(struct page **pages, unsigned int first, unsigned int nr,
		       unsigned int order)
{
	unsigned long flags;
	u64 begin, end;
	unsigned int i;

	local_irq_save(flags);
	begin = rdtsc_ordered();
	for (i = first; i < nr; i += 2)
		__free_pages(pages[i], order);
	end = rdtsc_ordered();
	local_irq_restore(flags);

	return DIV_ROUND_CLOSEST_ULL((end - begin) * 100, nr / 2);
}

/*
 * Free pages that fill MAX_ORDER areas: whatever state the page allocator is in,
 * it finds no buddy for every second one, and the same ones for the rest.
 */
static int measure_frees(struct page **pages, unsigned int order, unsigned int nr)
{
	const unsigned int step = 1U << (MAX_PAGE_ORDER - order);
	unsigned int i, j;

	if (order)
		return 0;

	for (i = 0; i < nr; i += step) {
		pages[i] = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER);
		if (!pages[i])
			goto free;
		split_page(pages[i], MAX_PAGE_ORDER);
		for (j = 1; j < step; j++)
			pages[i + j] = pages[i] + j;
	}

	seq_buf_printf(&result, "single=%llu\n", count_frees(pages, 0, nr, order));
	seq_buf_printf(&result, "merge=%llu\n", count_frees(pages, 1, nr, order));
	return 0;
free:
	while (i--)
		__free_page(pages[i]);
	return -ENOMEM;
}

static int measure_pages(unsigned int order, unsigned int nr)
{
	u64 begin, end, pair, alloc;
	unsigned int got = 0, i;
	struct page **pages;
	unsigned long flags;
	int ret = 0;

	if (order > MAX_PAGE_ORDER || !nr || nr % MAX_ORDER_NR_PAGES)
		return -EINVAL;
	nr >>= order;
	pages = vcalloc(nr, sizeof(*pages));
	if (!pages)
		return -ENOMEM;

	local_irq_save(flags);
	/* The first one may have to fetch pages for the others. */
	__free_pages(alloc_pages(GFP_ATOMIC, order), order);
	begin = rdtsc_ordered();
	for (i = 0; i < NR_CALLS; i++)
		__free_pages(alloc_pages(GFP_ATOMIC, order), order);
	end = rdtsc_ordered();
	pair = DIV_ROUND_CLOSEST_ULL((end - begin) * 100, NR_CALLS);

	begin = rdtsc_ordered();
	for (got = 0; got < nr; got++) {
		pages[got] = alloc_pages(GFP_ATOMIC, order);
		if (!pages[got])
			break;
	}
	end = rdtsc_ordered();
	alloc = DIV_ROUND_CLOSEST_ULL((end - begin) * 100, nr);
	local_irq_restore(flags);

	for (i = 0; i < got; i++)
		__free_pages(pages[i], order);
	if (got < nr)
		ret = -ENOMEM;

	seq_buf_printf(&result, "pair=%llu\nalloc=%llu\n", pair, alloc);
	if (!ret)
		ret = measure_frees(pages, order, nr);
	vfree(pages);
	return ret;
}

static unsigned long pages_moved(void)
{
	static unsigned long events[NR_VM_EVENT_ITEMS];

	all_vm_events(events);
	return events[PGMIGRATE_SUCCESS];
}

static int count_compaction(void)
{
	unsigned long moved = pages_moved();
	u64 begin = rdtsc_ordered(), end;
	int ret;

	ret = write_file("/proc/sys/vm/compact_memory", "1");
	end = rdtsc_ordered();
	seq_buf_printf(&result, "moving=%llu\nmoving_pages=%lu\n", end - begin,
		       pages_moved() - moved);
	return ret;
}

static int measure_compaction(unsigned int nr)
{
	struct file *file;
	struct page *page;
	pgoff_t i;
	int ret = 0;

	file = mhp_file_setup("mhp_measure", (loff_t)nr << (PAGE_SHIFT + 1));
	if (IS_ERR(file))
		return PTR_ERR(file);

	for (i = 0; !ret && i < 2 * nr; i++) {
		page = shmem_read_mapping_page(file->f_mapping, i);
		if (IS_ERR(page))
			ret = PTR_ERR(page);
		else
			put_page(page);
	}
	for (i = 1; !ret && i < 2 * nr; i += 2)
		ret = vfs_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				    (loff_t)i << PAGE_SHIFT, PAGE_SIZE);

	if (!ret)
		ret = count_compaction();
	fput(file);
	return ret;
}

static int measure_kthreads(void)
{
	struct task_struct *p;
	u64 sum = 0;

	rcu_read_lock();
	for_each_process(p)
		if (p->flags & PF_KTHREAD)
			sum += p->se.sum_exec_runtime;
	rcu_read_unlock();

	seq_buf_printf(&result, "kthreads=%llu\n", sum);
	return 0;
}

static int cmd_set(const char *val, const struct kernel_param *kp)
{
	u64 start, size;
	unsigned int order, nr;
	unsigned long pfn;
	int ret;

	mutex_lock(&measure_lock);
	seq_buf_clear(&result);
	if (sscanf(val, "block %lli %lli", &start, &size) == 2)
		ret = measure_block(start, size);
	else if (sscanf(val, "extents %lli %lli %u", &start, &size, &nr) == 3)
		ret = measure_extents(start, size, nr);
	else if (sscanf(val, "pfn %li", &pfn) == 1)
		ret = measure_pfn(pfn);
	else if (sscanf(val, "pages %u %u", &order, &nr) == 2)
		ret = measure_pages(order, nr);
	else if (sscanf(val, "compact %u", &nr) == 1)
		ret = measure_compaction(nr);
	else if (sysfs_streq(val, "kthreads"))
		ret = measure_kthreads();
	else
		ret = -EINVAL;
	if (!ret && seq_buf_has_overflowed(&result))
		ret = -E2BIG;
	mutex_unlock(&measure_lock);
	return ret;
}

static const struct kernel_param_ops cmd_ops = { .set = cmd_set };
module_param_cb(cmd, &cmd_ops, NULL, 0200);
MODULE_PARM_DESC(cmd, "What to measure");

static int result_get(char *buffer, const struct kernel_param *kp)
{
	int len;

	mutex_lock(&measure_lock);
	len = strscpy(buffer, seq_buf_str(&result), PAGE_SIZE);
	mutex_unlock(&measure_lock);
	return len;
}

static const struct kernel_param_ops result_ops = { .get = result_get };
module_param_cb(result, &result_ops, NULL, 0400);
MODULE_PARM_DESC(result, "What the last command measured");

static int __init measure_init(void)
{
	return 0;
}
module_init(measure_init);

static void __exit measure_exit(void)
{
}
module_exit(measure_exit);

MODULE_DESCRIPTION("Count the instructions of memory hotplug and page allocation");
MODULE_LICENSE("GPL");
