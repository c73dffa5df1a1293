// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_test - do to memory hotplug what user space cannot
 *
 * Write one command, "verb args", to <debugfs>/mhp_test/cmd; then read
 * <debugfs>/mhp_test/result. Its first line is "ret=<0 or -errno>", what the
 * function in question returned; more "key=value" lines follow where the verb
 * says so. The write itself fails only for a command that cannot be parsed
 * (EINVAL) or a verb that does not exist (EOPNOTSUPP), and changes nothing then.
 *
 * Numbers are decimal, or hexadecimal with 0x; START and SIZE are in bytes, and
 * any value is passed on as it is. START is a physical address.
 *
 * Memory hotplug:
 *   add NID START SIZE [FLAGS]    add_memory(); FLAGS are the bits of mhp_t
 *   add_managed NID START SIZE NAME [FLAGS]
 *                                 add_memory_driver_managed() as
 *                                 "System RAM (NAME)"
 *   remove START SIZE             remove_memory()
 *   offremove START SIZE          offline_and_remove_memory() from a kernel thread
 *   granule                       mhp_granule_bytes(): granule=0x...
 *   group NID MAX_PAGES           memory_group_register_static(): group=ID
 *   group_dynamic NID UNIT_PAGES  memory_group_register_dynamic(): group=ID
 *   ungroup ID                    memory_group_unregister()
 *
 * Looking at memory:
 *   pfns START SIZE               a line for each run of pages that look alike:
 *                                 run=0x<first>-0x<last byte> online=0|1
 *                                 valid=0|1 zone=NAME|- node=N|-
 *                                 (zone and node of online pages only)
 *   section START                 section=<nr> present= early= online= usage=
 *                                 memmap= subsections=<bitmap> onlinemap=<bitmap>
 *   backing START SIZE            where the memmap of a range is stored, by the page
 *                                 tables: for each contiguous run
 *                                 memmap=0x<first>-0x<last byte> of=0x<first>-
 *                                 0x<last byte> level=pte|pmd
 *   hosting START SIZE            pages that host a memmap: hosting=N reserved=N
 *                                 buddy=N count=<sum of their reference counts>
 *   node NID                      node_start= node_present= node_spanned= and for
 *                                 each populated or spanned zone: zone=NAME start=
 *                                 spanned= present= early= managed=
 *
 * Using memory:
 *   fill START SIZE buddy REF ORDER
 *                                 make the memmap of pages that are valid but not
 *                                 online look like free pages of ORDER, of the
 *                                 zone of the online page at address REF: filled=N
 *   fill START SIZE byte VALUE    the same with one byte value: filled=N
 *   sum START SIZE                a checksum of the memmap of pages that are valid
 *                                 but not online: summed=N sum=0x...
 *   churn NID SIZE ORDER [START SIZE]
 *                                 allocate SIZE in movable pages of ORDER, check
 *                                 that each of them is online, write to them,
 *                                 check, and free them in another order:
 *                                 got=<pages of ORDER> bad=N inside=<of START SIZE>
 *   take START SIZE               allocate exactly these pages and keep them: they
 *                                 can neither be migrated nor go offline
 *   give START SIZE               free what one take has taken
 *   hoard NID START SIZE          allocate all free pages of the largest order and of
 *                                 those below it, to that of a granule, none of
 *                                 them compound, and keep those that have a page
 *                                 in the range: for each page=0x... order=N
 *   unhoard                       free what is kept
 *   pin START SIZE                take a reference to the first page of the range
 *                                 that is on an LRU list: it looks as if it could
 *                                 be moved, and cannot: page=0x...
 *   lock START SIZE               the same, and lock its folio: page=0x...
 *   unpin                         unlock it, and drop all these references
 *   device START SIZE [RESERVE FREE]
 *                                 memremap_pages() as MEMORY_DEVICE_GENERIC, with
 *                                 an altmap of FREE pages behind RESERVE others
 *   undevice START                memunmap_pages()
 *   report START SIZE MS          have free pages reported, and do nothing but take
 *                                 so many ms for a report with a page of the range
 *   reporting                     asleep=1 while one takes its time, reports=N that
 *                                 did
 *   unreport                      end that
 *   free NID                      what is free, in pages, for each populated zone:
 *                                 zone=NAME counted=<by the counter> lists=<by the
 *                                 length of free lists> isolated=<of these, not
 *                                 counted> walked=<by all struct pages>
 *                                 reported=<of these, reported>
 *
 * Failure:
 *   corrupt WHAT START            turn around a bit of what belongs to the page;
 *                                 the same again puts it back. WHAT: online or
 *                                 present (the map of its section), hosting (its
 *                                 mark), zone (of the page), count (the zone's
 *                                 present pages), memmap (where the page table
 *                                 says that its memmap is)
 *   veto START ERRNO [PIN SIZE]   refuse, as a memory notifier, that memory that
 *                                 includes START goes online or offline; 0 ends it.
 *                                 Before that, pin a page of another range, as
 *                                 soon as there is one
 *   signals                       online=<how often memory was to go online with a
 *                                 signal pending>
 *   kwrite FILE TEXT              write to a file from a kernel thread, which no
 *                                 signal reaches
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/capability.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/ioport.h>
#include <linux/jhash.h>
#include <linux/list.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/page_reporting.h>
#include <linux/pagemap.h>
#include <linux/scatterlist.h>
#include <linux/sched/signal.h>
#include <linux/seq_buf.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "vmemmap.h"

#define MAX_WORDS	8
#define CMD_SIZE	256
#define RESULT_SIZE	(512 * 1024)

/* Words of the command that is being run, and what it has to say. */
struct mhp_test_cmd {
	int nr_words;
	char *words[MAX_WORDS];
	u64 args[MAX_WORDS];		/* the words as numbers; 0 if they are none */
	bool is_number[MAX_WORDS];
	struct seq_buf out;
};

/* Pages taken with "take", or a range mapped with "device". */
struct mhp_test_range {
	struct list_head next;
	u64 start;
	u64 size;
	struct resource *res;
	struct dev_pagemap pgmap;
};

/* Protects all below: one command at a time, and no read meanwhile. */
static DEFINE_MUTEX(mhp_test_lock);
static LIST_HEAD(taken_ranges);
static LIST_HEAD(device_ranges);
static LIST_HEAD(hoarded_pages);
static char *result_buf;
static size_t result_len;
static struct dentry *mhp_test_dir;

/* What do_veto() was told; read by the notifier without the lock. */
static unsigned long veto_pfn;
static int veto_errno;
static u64 veto_pin, veto_pin_size;
static atomic_t nr_online_with_signal;

/* Pages that "pin" and the notifier hold, 0 for none. Written with cmpxchg(). */
static unsigned long pinned_pfns[8];
static unsigned long locked_pfn;

/* What do_report() was told; reports come without the lock. */
static u64 report_start, report_size;
static unsigned int report_ms;
static bool report_registered, report_asleep;
static unsigned long nr_reports;

static struct mhp_test_range *find_range(struct list_head *list, u64 start)
{
	struct mhp_test_range *range;

	list_for_each_entry(range, list, next) {
		if (range->start == start)
			return range;
	}
	return NULL;
}

/* Whether [start, start + size) is not empty and does not wrap. */
static bool range_is_sane(u64 start, u64 size)
{
	return size && start + size > start;
}

static int do_add(struct mhp_test_cmd *cmd)
{
	return add_memory((int)(s64)cmd->args[1], cmd->args[2], cmd->args[3],
			  (__force mhp_t)cmd->args[4]);
}

static int do_add_managed(struct mhp_test_cmd *cmd)
{
	char *name;
	int ret;

	/* The name has to live as long as the memory: it goes to the resource. */
	name = kasprintf(GFP_KERNEL, "System RAM (%s)", cmd->words[4]);
	if (!name)
		return -ENOMEM;
	ret = add_memory_driver_managed((int)(s64)cmd->args[1], cmd->args[2],
					cmd->args[3], name,
					(__force mhp_t)cmd->args[5]);
	if (ret)
		kfree(name);
	return ret;
}

static int do_remove(struct mhp_test_cmd *cmd)
{
	return remove_memory(cmd->args[1], cmd->args[2]);
}

struct job {
	struct work_struct work;
	int (*func)(void *arg);
	void *arg;
	int ret;
};

static void run_job(struct work_struct *work)
{
	struct job *job = container_of(work, struct job, work);

	job->ret = job->func(job->arg);
}

/* What virtio-mem and ACPI do is done where no signal arrives. */
static int in_kernel_thread(int (*func)(void *arg), void *arg)
{
	struct workqueue_struct *wq = alloc_workqueue("mhp_test", WQ_UNBOUND, 1);
	struct job job = { .func = func, .arg = arg };

	if (!wq)
		return -ENOMEM;
	INIT_WORK_ONSTACK(&job.work, run_job);
	queue_work(wq, &job.work);
	flush_work(&job.work);
	destroy_work_on_stack(&job.work);
	destroy_workqueue(wq);
	return job.ret;
}

static int offremove(void *arg)
{
	struct mhp_test_cmd *cmd = arg;

	return offline_and_remove_memory(cmd->args[1], cmd->args[2]);
}

static int do_offremove(struct mhp_test_cmd *cmd)
{
	return in_kernel_thread(offremove, cmd);
}

static int do_granule(struct mhp_test_cmd *cmd)
{
	seq_buf_printf(&cmd->out, "granule=%#llx\n", mhp_granule_bytes());
	return 0;
}

static int report_group(struct mhp_test_cmd *cmd, int ret)
{
	if (ret < 0)
		return ret;
	seq_buf_printf(&cmd->out, "group=%d\n", ret);
	return 0;
}

static int do_group(struct mhp_test_cmd *cmd)
{
	return report_group(cmd, memory_group_register_static(cmd->args[1],
							      cmd->args[2]));
}

static int do_group_dynamic(struct mhp_test_cmd *cmd)
{
	return report_group(cmd, memory_group_register_dynamic(cmd->args[1],
							       cmd->args[2]));
}

static int do_ungroup(struct mhp_test_cmd *cmd)
{
	return memory_group_unregister(cmd->args[1]);
}

/* What is to be told about a page; compared bit by bit. */
struct page_view {
	bool online;
	bool valid;
	int nid;
	int zone;
};

static void view_page(unsigned long pfn, struct page_view *view)
{
	struct page *page = pfn_to_online_page(pfn);

	memset(view, 0, sizeof(*view));
	view->valid = pfn_valid(pfn);
	view->online = page;
	if (page) {
		view->nid = page_to_nid(page);
		view->zone = page_zonenum(page);
	}
}

static void print_run(struct seq_buf *s, unsigned long start_pfn,
		      unsigned long end_pfn, const struct page_view *view)
{
	seq_buf_printf(s, "run=%#llx-%#llx online=%d valid=%d",
		       PFN_PHYS(start_pfn), PFN_PHYS(end_pfn) - 1,
		       view->online, view->valid);
	if (view->online)
		seq_buf_printf(s, " zone=%s node=%d\n",
			       NODE_DATA(view->nid)->node_zones[view->zone].name,
			       view->nid);
	else
		seq_buf_puts(s, " zone=- node=-\n");
}

static int do_pfns(struct mhp_test_cmd *cmd)
{
	unsigned long pfn = PFN_DOWN(cmd->args[1]), run = pfn;
	unsigned long end = PFN_UP(cmd->args[1] + cmd->args[2]);
	struct page_view now, last;

	if (!range_is_sane(cmd->args[1], cmd->args[2]))
		return -EINVAL;

	view_page(pfn, &last);
	while (++pfn < end) {
		view_page(pfn, &now);
		if (memcmp(&now, &last, sizeof(now))) {
			print_run(&cmd->out, run, pfn, &last);
			last = now;
			run = pfn;
		}
		if (!(pfn % PAGES_PER_SECTION))
			cond_resched();
	}
	print_run(&cmd->out, run, pfn, &last);
	return 0;
}

static int do_section(struct mhp_test_cmd *cmd)
{
	unsigned long nr = pfn_to_section_nr(PFN_DOWN(cmd->args[1]));
	struct mem_section *ms;
	struct mem_section_usage *usage;

	if (nr >= NR_MEM_SECTIONS)
		return -EINVAL;

	ms = __nr_to_section(nr);
	usage = ms ? READ_ONCE(ms->usage) : NULL;
	seq_buf_printf(&cmd->out,
		       "section=%lu present=%d early=%d online=%d usage=%d memmap=%d\n",
		       nr, present_section(ms), early_section(ms),
		       online_section(ms), !!usage, valid_section(ms));
	if (usage)
		seq_buf_printf(&cmd->out, "subsections=%*pb\nonlinemap=%*pb\n",
			       (int)SUBSECTIONS_PER_SECTION, usage->subsection_map,
			       (int)SUBSECTIONS_PER_SECTION, usage->online_map);
	return 0;
}

static int do_backing(struct mhp_test_cmd *cmd)
{
	unsigned long addr, end, run_addr, level = 0, run_level = 0;
	phys_addr_t phys, run_phys = 0, next_phys = 0;
	u64 of;

	if (!range_is_sane(cmd->args[1], cmd->args[2]))
		return -EINVAL;
	addr = (unsigned long)pfn_to_page(PFN_DOWN(cmd->args[1]));
	end = (unsigned long)pfn_to_page(PFN_DOWN(cmd->args[1] + cmd->args[2]));
	if (!PAGE_ALIGNED(addr | end))
		return -EINVAL;

	run_addr = addr;
	of = cmd->args[1];
	for (; addr <= end; addr += PAGE_SIZE) {
		phys = addr < end ? mhp_virt_to_backing(addr, &level) : 0;
		if (addr < end && !phys)
			return -ENXIO;
		if (addr > run_addr && (addr == end || phys != next_phys || level != run_level)) {
			u64 size = (addr - run_addr) / sizeof(struct page) * PAGE_SIZE;

			seq_buf_printf(&cmd->out,
				       "memmap=%#llx-%#llx of=%#llx-%#llx level=%s\n",
				       (u64)run_phys, (u64)next_phys - 1,
				       of, of + size - 1,
				       run_level == PAGE_SIZE ? "pte" : "pmd");
			of += size;
			run_addr = addr;
		}
		if (addr == run_addr) {
			run_phys = phys;
			run_level = level;
		}
		next_phys = phys + PAGE_SIZE;
	}
	return 0;
}

static int do_hosting(struct mhp_test_cmd *cmd)
{
	unsigned long pfn = PFN_DOWN(cmd->args[1]);
	unsigned long end = PFN_DOWN(cmd->args[1] + cmd->args[2]);
	unsigned long hosting = 0, reserved = 0, buddy = 0, count = 0;

	if (!range_is_sane(cmd->args[1], cmd->args[2]))
		return -EINVAL;

	for (; pfn < end; pfn++) {
		struct page *page = pfn_to_online_page(pfn);

		if (!page || !PageVmemmapSelfHosted(page))
			continue;
		hosting++;
		reserved += PageReserved(page);
		buddy += PageBuddy(page);
		count += page_count(page);
	}
	seq_buf_printf(&cmd->out, "hosting=%lu reserved=%lu buddy=%lu count=%lu\n",
		       hosting, reserved, buddy, count);
	return 0;
}

static int do_node(struct mhp_test_cmd *cmd)
{
	pg_data_t *pgdat;
	struct zone *zone;

	if (cmd->args[1] >= MAX_NUMNODES || !NODE_DATA(cmd->args[1]))
		return -EINVAL;

	pgdat = NODE_DATA(cmd->args[1]);
	seq_buf_printf(&cmd->out,
		       "node_start=%lu node_present=%lu node_spanned=%lu\n",
		       pgdat->node_start_pfn, pgdat->node_present_pages,
		       pgdat->node_spanned_pages);
	for (zone = pgdat->node_zones;
	     zone < pgdat->node_zones + MAX_NR_ZONES; zone++) {
		if (!zone->spanned_pages && !zone->present_pages)
			continue;
		seq_buf_printf(&cmd->out,
			       "zone=%s start=%lu spanned=%lu present=%lu early=%lu managed=%lu\n",
			       zone->name, zone->zone_start_pfn,
			       zone->spanned_pages, zone->present_pages,
			       zone->present_early_pages,
			       zone_managed_pages(zone));
	}
	return 0;
}

/*
 * The struct pages are written as raw memory: nothing that checks them may look
 * at what is not a page yet.
 */
static int fill_memmap(struct mhp_test_cmd *cmd, struct page *ref,
		       unsigned int order, int byte)
{
	unsigned long pfn = PFN_DOWN(cmd->args[1]);
	unsigned long end = PFN_DOWN(cmd->args[1] + cmd->args[2]);
	unsigned long filled = 0;
	struct page *page;

	for (; pfn < end; pfn++) {
		if (!pfn_valid(pfn) || pfn_to_online_page(pfn))
			continue;

		page = pfn_to_page(pfn);
		memset(page, byte, sizeof(*page));
		filled++;
		if (!ref)
			continue;

		/* Zone, node and section links; no other flag */
		*mhp_page_flags(page) = *mhp_page_flags(ref) & ~((1UL << NR_PAGEFLAGS) - 1);
		page->page_type = PGTY_buddy << 24;
		INIT_LIST_HEAD(&page->buddy_list);
		page->private = order;
	}
	seq_buf_printf(&cmd->out, "filled=%lu\n", filled);
	return 0;
}

static int do_fill(struct mhp_test_cmd *cmd)
{
	struct page *ref;

	if (!range_is_sane(cmd->args[1], cmd->args[2]))
		return -EINVAL;

	if (!strcmp(cmd->words[3], "byte"))
		return fill_memmap(cmd, NULL, 0, cmd->args[4] & 0xff);
	if (strcmp(cmd->words[3], "buddy") || cmd->nr_words != 6 ||
	    cmd->args[5] > MAX_PAGE_ORDER)
		return -EINVAL;

	ref = pfn_to_online_page(PFN_DOWN(cmd->args[4]));
	return ref ? fill_memmap(cmd, ref, cmd->args[5], 0) : -ENXIO;
}

static int do_sum(struct mhp_test_cmd *cmd)
{
	unsigned long pfn = PFN_DOWN(cmd->args[1]);
	unsigned long end = PFN_DOWN(cmd->args[1] + cmd->args[2]);
	unsigned long summed = 0;
	u32 sum = ~0;

	if (!range_is_sane(cmd->args[1], cmd->args[2]))
		return -EINVAL;

	for (; pfn < end; pfn++) {
		if (!pfn_valid(pfn) || pfn_to_online_page(pfn))
			continue;
		sum = jhash(pfn_to_page(pfn), sizeof(struct page), sum);
		summed++;
	}
	seq_buf_printf(&cmd->out, "summed=%lu sum=%#x\n", summed, sum);
	return 0;
}

/* Free pages at these steps of the list first, for merges in every direction. */
static const unsigned int churn_steps[] = { 3, 2, 1 };

static int do_churn(struct mhp_test_cmd *cmd)
{
	const gfp_t gfp = GFP_HIGHUSER_MOVABLE | __GFP_THISNODE | __GFP_NOWARN |
			  __GFP_NORETRY | __GFP_COMP;
	unsigned int order = cmd->args[3];
	unsigned long max, nr, i, first, last, bad = 0, inside = 0;
	unsigned int step;
	struct page **pages;

	if (order > MAX_PAGE_ORDER || cmd->args[1] >= MAX_NUMNODES ||
	    !node_online(cmd->args[1]) || !cmd->args[2] || cmd->args[2] > SZ_1T)
		return -EINVAL;

	first = PFN_DOWN(cmd->args[4]);
	last = PFN_DOWN(cmd->args[4] + cmd->args[5]);
	max = cmd->args[2] >> (PAGE_SHIFT + order);
	pages = kvcalloc(max, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;

	for (nr = 0; nr < max; nr++) {
		pages[nr] = alloc_pages_node(cmd->args[1], gfp, order);
		if (!pages[nr])
			break;
		for (i = 0; i < 1UL << order; i++) {
			unsigned long pfn = page_to_pfn(pages[nr]) + i;

			if (pfn_to_online_page(pfn) != pages[nr] + i)
				bad++;
			*(unsigned long *)page_address(pages[nr] + i) = pfn;
		}
		i = page_to_pfn(pages[nr]);
		inside += i >= first && i < last;
		cond_resched();
	}

	for (step = 0; step < ARRAY_SIZE(churn_steps); step++) {
		for (i = 0; i < nr; i += churn_steps[step]) {
			struct page *page = pages[i];
			unsigned long j;

			if (!page)
				continue;
			for (j = 0; j < 1UL << order; j++) {
				if (*(unsigned long *)page_address(page + j) !=
				    page_to_pfn(page) + j)
					bad++;
			}
			__free_pages(page, order);
			pages[i] = NULL;
			cond_resched();
		}
	}
	kvfree(pages);
	seq_buf_printf(&cmd->out, "got=%lu bad=%lu inside=%lu\n", nr, bad, inside);
	return 0;
}

static int do_take(struct mhp_test_cmd *cmd)
{
	struct mhp_test_range *range;
	unsigned long pfn, end;
	int ret, tries = 20;

	if (!range_is_sane(cmd->args[1], cmd->args[2]) ||
	    !PAGE_ALIGNED(cmd->args[1] | cmd->args[2]))
		return -EINVAL;

	end = PFN_DOWN(cmd->args[1] + cmd->args[2]);
	for (pfn = PFN_DOWN(cmd->args[1]); pfn < end; pfn++) {
		if (!pfn_to_online_page(pfn))
			return -ENXIO;
	}

	range = kzalloc(sizeof(*range), GFP_KERNEL);
	if (!range)
		return -ENOMEM;
	range->start = cmd->args[1];
	range->size = cmd->args[2];
	/* The page may be in somebody's hands for a moment: -EBUSY is no verdict. */
	do {
		ret = mhp_alloc_contig_range(PFN_DOWN(range->start), end, GFP_KERNEL);
		if (ret == -EBUSY)
			msleep(50);
	} while (ret == -EBUSY && --tries);
	if (ret) {
		kfree(range);
		return ret;
	}
	list_add(&range->next, &taken_ranges);
	return 0;
}

static void give_range(struct mhp_test_range *range)
{
	free_contig_range(PFN_DOWN(range->start), PFN_DOWN(range->size));
	list_del(&range->next);
	kfree(range);
}

static int do_give(struct mhp_test_cmd *cmd)
{
	struct mhp_test_range *range = find_range(&taken_ranges, cmd->args[1]);

	if (!range || range->size != cmd->args[2])
		return -ENOENT;
	give_range(range);
	return 0;
}

/*
 * All that there is, without reclaim, and without making it unmovable. The list begins
 * with the page that came last: freed in that order, free lists are as before.
 */
static void take_all(int nid, unsigned int order, struct list_head *pages)
{
	const gfp_t gfp = __GFP_THISNODE | __GFP_MEMALLOC | __GFP_MOVABLE |
			  __GFP_NOWARN;
	struct page *page;

	while ((page = alloc_pages_node(nid, gfp, order))) {
		set_page_private(page, order);
		list_add(&page->lru, pages);
		cond_resched();
	}
}

static void free_page_of(struct page *page)
{
	unsigned int order = page_private(page);

	list_del(&page->lru);
	set_page_private(page, 0);
	__free_pages(page, order);
}

static int do_hoard(struct mhp_test_cmd *cmd)
{
	const u64 start = cmd->args[2], end = start + cmd->args[3];
	int order, least = ilog2(PHYS_PFN(mhp_granule_bytes()));
	struct page *page, *tmp;
	LIST_HEAD(pages);

	if (cmd->args[1] >= MAX_NUMNODES || !node_online(cmd->args[1]) ||
	    !range_is_sane(start, cmd->args[3]))
		return -EINVAL;

	for (order = MAX_PAGE_ORDER; order >= least; order--)
		take_all(cmd->args[1], order, &pages);
	list_for_each_entry_safe(page, tmp, &pages, lru) {
		u64 phys = page_to_phys(page);

		if (phys < end && phys + (PAGE_SIZE << page_private(page)) > start) {
			seq_buf_printf(&cmd->out, "page=%#llx order=%lu\n", phys,
				       page_private(page));
			list_move(&page->lru, &hoarded_pages);
		} else {
			free_page_of(page);
		}
	}
	return 0;
}

static int do_unhoard(struct mhp_test_cmd *cmd)
{
	struct page *page, *tmp;

	list_for_each_entry_safe(page, tmp, &hoarded_pages, lru)
		free_page_of(page);
	return 0;
}

static bool can_be_pinned(struct page *page)
{
	return !PageTail(page) && (PageLRU(page) || PageHuge(page));
}

/* The pfn of the page that is pinned now, or 0 */
static unsigned long pin_first(u64 start, u64 size)
{
	unsigned long pfn = PFN_DOWN(start), end = PFN_DOWN(start + size);
	struct page *page;
	int i;

	for (; pfn < end; pfn++) {
		page = pfn_to_online_page(pfn);
		if (!page || !can_be_pinned(page) || !get_page_unless_zero(page))
			continue;
		for (i = 0; can_be_pinned(page) && i < ARRAY_SIZE(pinned_pfns); i++) {
			if (!cmpxchg(&pinned_pfns[i], 0, pfn))
				return pfn;
		}
		put_page(page);
	}
	return 0;
}

static int do_pin(struct mhp_test_cmd *cmd)
{
	unsigned long pfn;

	if (!range_is_sane(cmd->args[1], cmd->args[2]))
		return -EINVAL;
	pfn = pin_first(cmd->args[1], cmd->args[2]);
	if (!pfn)
		return -ENOENT;
	seq_buf_printf(&cmd->out, "page=%#llx\n", PFN_PHYS(pfn));
	return 0;
}

static int do_lock(struct mhp_test_cmd *cmd)
{
	if (locked_pfn)
		return -EBUSY;
	if (!range_is_sane(cmd->args[1], cmd->args[2]))
		return -EINVAL;
	locked_pfn = pin_first(cmd->args[1], cmd->args[2]);
	if (!locked_pfn)
		return -ENOENT;
	folio_lock(page_folio(pfn_to_page(locked_pfn)));
	seq_buf_printf(&cmd->out, "page=%#llx\n", PFN_PHYS(locked_pfn));
	return 0;
}

static int do_unpin(struct mhp_test_cmd *cmd)
{
	unsigned long pfn;
	int i;

	if (locked_pfn)
		folio_unlock(page_folio(pfn_to_page(locked_pfn)));
	locked_pfn = 0;

	for (i = 0; i < ARRAY_SIZE(pinned_pfns); i++) {
		pfn = xchg(&pinned_pfns[i], 0);
		/* One that was poisoned meanwhile may have gone with its memory. */
		if (pfn && pfn_to_online_page(pfn))
			put_page(pfn_to_page(pfn));
	}
	return 0;
}

static int take_report(struct page_reporting_dev_info *prdev,
		       struct scatterlist *sgl, unsigned int nents)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(sgl, sg, nents, i) {
		if (sg_phys(sg) < report_start + report_size &&
		    sg_phys(sg) + sg->length > report_start) {
			WRITE_ONCE(report_asleep, true);
			msleep(report_ms);
			WRITE_ONCE(report_asleep, false);
			nr_reports++;
			break;
		}
	}
	return 0;
}

static struct page_reporting_dev_info reporter = { .report = take_report };

static int do_report(struct mhp_test_cmd *cmd)
{
	int ret;

	if (report_registered)
		return -EBUSY;
	if (!range_is_sane(cmd->args[1], cmd->args[2]))
		return -EINVAL;

	report_start = cmd->args[1];
	report_size = cmd->args[2];
	report_ms = cmd->args[3];
	nr_reports = 0;
	ret = page_reporting_register(&reporter);
	report_registered = !ret;
	return ret;
}

static int do_reporting(struct mhp_test_cmd *cmd)
{
	seq_buf_printf(&cmd->out, "asleep=%d reports=%lu\n",
		       READ_ONCE(report_asleep), READ_ONCE(nr_reports));
	return 0;
}

static int do_unreport(struct mhp_test_cmd *cmd)
{
	if (report_registered)
		page_reporting_unregister(&reporter);
	report_registered = false;
	return 0;
}

/* At one moment: nothing is freed or allocated under the lock. */
static void count_free(struct mhp_test_cmd *cmd, struct zone *zone)
{
	unsigned long lists = 0, isolated = 0, walked = 0, reported = 0;
	unsigned long flags, counted, pfn, nr;
	struct list_head *at;
	struct page *page;
	int order;

	spin_lock_irqsave(&zone->lock, flags);
	counted = zone_page_state_snapshot(zone, NR_FREE_PAGES);
	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		lists += zone->free_area[order].nr_free << order;
		list_for_each(at, &zone->free_area[order].free_list[MIGRATE_ISOLATE])
			isolated += 1UL << order;
	}
	for (pfn = zone->zone_start_pfn; pfn < zone_end_pfn(zone); pfn += nr) {
		nr = 1;
		page = pfn_to_online_page(pfn);
		if (!page || page_zone(page) != zone || !PageBuddy(page))
			continue;
		nr = 1UL << page_private(page);
		walked += nr;
		reported += PageReported(page) ? nr : 0;
	}
	spin_unlock_irqrestore(&zone->lock, flags);
	seq_buf_printf(&cmd->out,
		       "zone=%s counted=%lu lists=%lu isolated=%lu walked=%lu reported=%lu\n",
		       zone->name, counted, lists, isolated, walked, reported);
}

static int do_free(struct mhp_test_cmd *cmd)
{
	struct zone *zone;
	int i;

	if (cmd->args[1] >= MAX_NUMNODES || !node_online(cmd->args[1]))
		return -EINVAL;
	for (i = 0; i < MAX_NR_ZONES; i++) {
		zone = NODE_DATA(cmd->args[1])->node_zones + i;
		if (zone->present_pages)
			count_free(cmd, zone);
	}
	return 0;
}

static int do_device(struct mhp_test_cmd *cmd)
{
	struct mhp_test_range *range;
	int ret = -EBUSY;
	void *addr;

	if (!range_is_sane(cmd->args[1], cmd->args[2]))
		return -EINVAL;
	range = kzalloc(sizeof(*range), GFP_KERNEL);
	if (!range)
		return -ENOMEM;
	range->start = cmd->args[1];
	range->size = cmd->args[2];
	range->res = request_mem_region(range->start, range->size, KBUILD_MODNAME);
	if (!range->res)
		goto free;

	range->pgmap.type = MEMORY_DEVICE_GENERIC;
	range->pgmap.nr_range = 1;
	range->pgmap.range.start = range->start;
	range->pgmap.range.end = range->start + range->size - 1;
	if (cmd->nr_words > 3) {
		struct vmem_altmap altmap = {
			.base_pfn = PFN_DOWN(range->start),
			.end_pfn = PFN_DOWN(range->start + range->size - 1),
			.reserve = cmd->args[3],
			.free = cmd->args[4],
		};

		memcpy(&range->pgmap.altmap, &altmap, sizeof(altmap));
		range->pgmap.flags |= PGMAP_ALTMAP_VALID;
	}
	addr = memremap_pages(&range->pgmap, NUMA_NO_NODE);
	if (!IS_ERR(addr)) {
		list_add(&range->next, &device_ranges);
		return 0;
	}

	ret = PTR_ERR(addr);
	release_mem_region(range->start, range->size);
free:
	kfree(range);
	return ret;
}

static void undo_device(struct mhp_test_range *range)
{
	memunmap_pages(&range->pgmap);
	release_mem_region(range->start, range->size);
	list_del(&range->next);
	kfree(range);
}

static int do_undevice(struct mhp_test_cmd *cmd)
{
	struct mhp_test_range *range = find_range(&device_ranges, cmd->args[1]);

	if (!range)
		return -ENOENT;
	undo_device(range);
	return 0;
}

static int veto_callback(struct notifier_block *nb, unsigned long action,
			 void *arg)
{
	struct memory_notify *mn = arg;
	int err = READ_ONCE(veto_errno), tries;

	if (action != MEM_GOING_ONLINE && action != MEM_GOING_OFFLINE)
		return NOTIFY_OK;
	if (action == MEM_GOING_ONLINE && signal_pending(current))
		atomic_inc(&nr_online_with_signal);
	if (READ_ONCE(veto_pfn) - mn->start_pfn >= mn->nr_pages)
		return NOTIFY_OK;
	if (veto_pin_size && err) {
		for (tries = 100; tries; tries--) {
			if (pin_first(veto_pin, veto_pin_size))
				break;
			msleep(100);
		}
	}
	return notifier_from_errno(-err);
}

static struct notifier_block veto_nb = { .notifier_call = veto_callback };

static int do_veto(struct mhp_test_cmd *cmd)
{
	if (cmd->args[2] > MAX_ERRNO)
		return -EINVAL;
	veto_pin = cmd->args[3];
	veto_pin_size = cmd->args[4];
	WRITE_ONCE(veto_pfn, PFN_DOWN(cmd->args[1]));
	WRITE_ONCE(veto_errno, cmd->args[2]);
	return 0;
}

static int do_signals(struct mhp_test_cmd *cmd)
{
	seq_buf_printf(&cmd->out, "online=%d\n", atomic_read(&nr_online_with_signal));
	return 0;
}

/* Have the memmap of offline memory 128 MiB from where it is. */
static int move_memmap(struct page *page)
{
	unsigned long addr = (unsigned long)page;
	pmd_t *pmd = pmd_offset(pud_offset(p4d_offset(mhp_kernel_pgd(addr), addr),
					   addr), addr);
	pte_t *pte;

	if (pmd_none(*pmd) || pmd_leaf(*pmd))
		return -ENXIO;
	pte = pte_offset_kernel(pmd, addr);
	set_pte(pte, __pte(pte_val(*pte) ^ SZ_128M));
	return 0;
}

/* What nobody would do: for a test of what finds it. */
static int do_corrupt(struct mhp_test_cmd *cmd)
{
	unsigned long pfn = PFN_DOWN(cmd->args[2]);
	struct mem_section *ms = __pfn_to_section(pfn);
	unsigned long bit = subsection_map_index(pfn);
	const char *what = cmd->words[1];
	struct page *page;

	if (!present_section(ms))
		return -ENXIO;
	page = pfn_to_online_page(pfn);
	if (!strcmp(what, "online"))
		change_bit(bit, ms->usage->online_map);
	else if (!strcmp(what, "present"))
		change_bit(bit, ms->usage->subsection_map);
	else if (!strcmp(what, "memmap"))
		return page ? -EBUSY : move_memmap(pfn_to_page(pfn));
	else if (!page)
		return -ENXIO;
	else if (!strcmp(what, "hosting"))
		change_bit(PG_vmemmap_self_hosted, mhp_page_flags(page));
	else if (!strcmp(what, "zone"))
		*mhp_page_flags(page) ^= 1UL << ZONES_PGSHIFT;
	else if (!strcmp(what, "count"))
		page_zone(page)->present_pages ^= 1;
	else
		return -EINVAL;
	return 0;
}

struct kwrite {
	struct file *file;
	const char *text;
};

static int kwrite(void *arg)
{
	struct kwrite *kw = arg;
	ssize_t written = kernel_write(kw->file, kw->text, strlen(kw->text), NULL);

	return min_t(ssize_t, written, 0);
}

static int do_kwrite(struct mhp_test_cmd *cmd)
{
	struct kwrite kw = { .text = cmd->words[2] };
	int ret;

	/* Kernel threads need not see the files of user space. */
	kw.file = filp_open(cmd->words[1], O_WRONLY, 0);
	if (IS_ERR(kw.file))
		return PTR_ERR(kw.file);
	ret = in_kernel_thread(kwrite, &kw);
	filp_close(kw.file, NULL);
	return ret;
}

/*
 * min and max count the arguments; those in the text mask need not be numbers.
 */
static const struct mhp_test_verb {
	const char *name;
	int min;
	int max;
	unsigned int text;
	int (*run)(struct mhp_test_cmd *cmd);
} verbs[] = {
	{ "add", 3, 4, 0, do_add },
	{ "add_managed", 4, 5, BIT(4), do_add_managed },
	{ "remove", 2, 2, 0, do_remove },
	{ "offremove", 2, 2, 0, do_offremove },
	{ "granule", 0, 0, 0, do_granule },
	{ "group", 2, 2, 0, do_group },
	{ "group_dynamic", 2, 2, 0, do_group_dynamic },
	{ "ungroup", 1, 1, 0, do_ungroup },
	{ "pfns", 2, 2, 0, do_pfns },
	{ "section", 1, 1, 0, do_section },
	{ "backing", 2, 2, 0, do_backing },
	{ "hosting", 2, 2, 0, do_hosting },
	{ "node", 1, 1, 0, do_node },
	{ "fill", 4, 5, BIT(3), do_fill },
	{ "sum", 2, 2, 0, do_sum },
	{ "churn", 3, 5, 0, do_churn },
	{ "take", 2, 2, 0, do_take },
	{ "give", 2, 2, 0, do_give },
	{ "hoard", 3, 3, 0, do_hoard },
	{ "unhoard", 0, 0, 0, do_unhoard },
	{ "pin", 2, 2, 0, do_pin },
	{ "lock", 2, 2, 0, do_lock },
	{ "unpin", 0, 0, 0, do_unpin },
	{ "report", 3, 3, 0, do_report },
	{ "reporting", 0, 0, 0, do_reporting },
	{ "unreport", 0, 0, 0, do_unreport },
	{ "free", 1, 1, 0, do_free },
	{ "device", 2, 4, 0, do_device },
	{ "undevice", 1, 1, 0, do_undevice },
	{ "veto", 2, 4, 0, do_veto },
	{ "corrupt", 2, 2, BIT(1), do_corrupt },
	{ "signals", 0, 0, 0, do_signals },
	{ "kwrite", 2, 2, BIT(1) | BIT(2), do_kwrite },
};

/* Unsigned, or negative such as a node of -1 */
static bool parse_number(const char *word, u64 *value)
{
	s64 negative;

	if (word[0] != '-')
		return !kstrtoull(word, 0, value);
	if (kstrtoll(word, 0, &negative))
		return false;
	*value = negative;
	return true;
}

static const struct mhp_test_verb *parse_cmd(struct mhp_test_cmd *cmd, char *text)
{
	const struct mhp_test_verb *verb;
	char *word;
	int i;

	while ((word = strsep(&text, " \t\n"))) {
		if (!*word)
			continue;
		if (cmd->nr_words == MAX_WORDS)
			return ERR_PTR(-EINVAL);
		i = cmd->nr_words++;
		cmd->words[i] = word;
		cmd->is_number[i] = parse_number(word, &cmd->args[i]);
	}
	if (!cmd->nr_words)
		return ERR_PTR(-EINVAL);

	for (verb = verbs; verb < verbs + ARRAY_SIZE(verbs); verb++) {
		if (!strcmp(verb->name, cmd->words[0]))
			break;
	}
	if (verb == verbs + ARRAY_SIZE(verbs))
		return ERR_PTR(-EOPNOTSUPP);

	if (cmd->nr_words - 1 < verb->min || cmd->nr_words - 1 > verb->max)
		return ERR_PTR(-EINVAL);
	for (i = 1; i < cmd->nr_words; i++) {
		if (!cmd->is_number[i] && !(verb->text & BIT(i)))
			return ERR_PTR(-EINVAL);
	}
	return verb;
}

static ssize_t cmd_write(struct file *file, const char __user *ubuf,
			 size_t count, loff_t *ppos)
{
	const struct mhp_test_verb *verb;
	struct mhp_test_cmd *cmd;
	ssize_t ret = count;
	char *text, *details;
	int rc;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (count >= CMD_SIZE)
		return -EINVAL;
	text = memdup_user_nul(ubuf, count);
	if (IS_ERR(text))
		return PTR_ERR(text);

	cmd = kzalloc(sizeof(*cmd), GFP_KERNEL);
	if (!cmd) {
		ret = -ENOMEM;
		goto free_text;
	}
	verb = parse_cmd(cmd, text);
	if (IS_ERR(verb)) {
		ret = PTR_ERR(verb);
		goto free_cmd;
	}

	mutex_lock(&mhp_test_lock);
	/* Room for the line that is known last */
	details = result_buf + sizeof("ret=-2147483648");
	seq_buf_init(&cmd->out, details, RESULT_SIZE - (details - result_buf));
	rc = verb->run(cmd);
	if (seq_buf_has_overflowed(&cmd->out))
		rc = -EOVERFLOW;
	result_len = sprintf(result_buf, "ret=%d\n", rc);
	memmove(result_buf + result_len, details, seq_buf_used(&cmd->out));
	result_len += seq_buf_used(&cmd->out);
	mutex_unlock(&mhp_test_lock);

free_cmd:
	kfree(cmd);
free_text:
	kfree(text);
	return ret;
}

static const struct file_operations cmd_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = cmd_write,
	.llseek = noop_llseek,
};

static ssize_t result_read(struct file *file, char __user *ubuf, size_t count,
			   loff_t *ppos)
{
	ssize_t ret;

	mutex_lock(&mhp_test_lock);
	ret = simple_read_from_buffer(ubuf, count, ppos, result_buf, result_len);
	mutex_unlock(&mhp_test_lock);
	return ret;
}

static const struct file_operations result_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = result_read,
	.llseek = default_llseek,
};

static int __init mhp_test_init(void)
{
	int ret;

	result_buf = vmalloc(RESULT_SIZE);
	if (!result_buf)
		return -ENOMEM;
	ret = register_memory_notifier(&veto_nb);
	if (ret) {
		vfree(result_buf);
		return ret;
	}

	mhp_test_dir = debugfs_create_dir("mhp_test", NULL);
	debugfs_create_file("cmd", 0200, mhp_test_dir, NULL, &cmd_fops);
	debugfs_create_file("result", 0400, mhp_test_dir, NULL, &result_fops);
	return 0;
}

static void __exit mhp_test_exit(void)
{
	struct mhp_test_range *range, *tmp;

	debugfs_remove_recursive(mhp_test_dir);
	unregister_memory_notifier(&veto_nb);
	do_unreport(NULL);
	do_unhoard(NULL);
	do_unpin(NULL);
	list_for_each_entry_safe(range, tmp, &taken_ranges, next)
		give_range(range);
	list_for_each_entry_safe(range, tmp, &device_ranges, next)
		undo_device(range);
	vfree(result_buf);
}

module_init(mhp_test_init);
module_exit(mhp_test_exit);
MODULE_DESCRIPTION("Test memory hotplug with what user space cannot do");
MODULE_LICENSE("GPL");
