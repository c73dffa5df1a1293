// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_edge: no page that the page allocator has or hands out spans an edge.
 *
 * Places are told in granules from the start of a MAX_ORDER area, so that they mean the
 * same whatever the size of a granule and of the largest page: where edges are, and how
 * far pages merge between them, is written down here, and not asked of the kernel.
 */

#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/jhash.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/page-isolation.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>
#include <linux/vmstat.h>

#include "fixture.h"
#ifndef MODULE
#include "../internal.h"
#if __has_include("../page_alloc.h")
#include "../page_alloc.h"
#endif
#include "../granule.h"
#endif

static unsigned long granule_pages(void)
{
	return PHYS_PFN(mhp_granule_bytes());
}

/* A bit of the map of edges, by what the kernel must have written there */
static bool is_edge(unsigned long pfn)
{
	return test_bit(subsection_map_index(pfn), __pfn_to_section(pfn)->usage->edge_map);
}

/* --- The map of edges ---------------------------------------------------------------- */

enum op { ADD, REMOVE, ADD_DEVICE, REMOVE_DEVICE, ONLINE, OFFLINE };

/*
 * What is done to @nr granules, the first being @at, and the edges afterwards, a bit for
 * each granule; @nr 0 is up to the end of the section
 */
struct step {
	enum op op;
	unsigned int at;
	unsigned int nr;
	u64 edges;
};

/* A section of spare memory */
static const struct step spare_steps[] = {
	{ ADD, 2, 3, 0x24 },
	{ ADD, 5, 1, 0x64 },
	{ ADD, 0, 2, 0x64 },
	{ ADD_DEVICE, 6, 2, 0x164 },
	{ ADD, 62, 2, 0x4000000000000164 },
	{ ONLINE, 2, 3, 0x4000000000000164 },
	{ ONLINE, 5, 1, 0x4000000000000164 },
	{ OFFLINE, 2, 3, 0x4000000000000164 },
	/* Memory remains on both sides, on one side, on none. */
	{ REMOVE, 2, 3, 0x4000000000000164 },
	{ REMOVE, 0, 2, 0x4000000000000160 },
	{ REMOVE_DEVICE, 6, 2, 0x4000000000000060 },
	{ REMOVE, 62, 2, 0x60 },
	{ ADD, 6, 0, 0x60 },
	{ OFFLINE, 5, 1, 0x60 },
	{ REMOVE, 5, 1, 0x40 },
	{ ADD, 5, 1, 0x60 },
	{ REMOVE, 6, 0, 0x60 },
	{ ADD, 0, 1, 0x62 },
	{ REMOVE, 5, 1, 0x2 },
};

/* What follows boot memory in its section, from the end of that on */
static const struct step boot_steps[] = {
	{ ADD, 0, 1, 0x3 },
	{ ADD, 2, 2, 0x17 },
	{ ADD_DEVICE, 1, 1, 0x17 },
	{ ONLINE, 0, 1, 0x17 },
	{ OFFLINE, 0, 1, 0x17 },
	{ REMOVE, 0, 1, 0x17 },
	{ REMOVE_DEVICE, 1, 1, 0x15 },
	{ REMOVE, 2, 2, 0x1 },
	{ ADD, 0, 0, 0x1 },
	{ REMOVE, 0, 0, 0x1 },
	{ ADD_DEVICE, 0, 4, 0x11 },
	{ REMOVE_DEVICE, 0, 4, 0x1 },
};

static const struct steps_param {
	const char *name;
	const struct step *steps;
	unsigned int nr;
	bool boot;
} steps[] = {
	{ "spare_memory", spare_steps, ARRAY_SIZE(spare_steps), false },
	{ "behind_boot_memory", boot_steps, ARRAY_SIZE(boot_steps), true },
};

KUNIT_ARRAY_PARAM_DESC(steps, steps, name);

static void do_step(struct kunit *test, enum op op, u64 start, u64 size)
{
	switch (op) {
	case ADD:
		mhp_must_add(test, 0, start, size, MHP_NONE);
		break;
	case REMOVE:
		KUNIT_ASSERT_EQ(test, remove_memory(start, size), 0);
		break;
	case ADD_DEVICE:
		mhp_must_add_device(test, start, size);
		break;
	case REMOVE_DEVICE:
		mhp_must_remove_device(test, start);
		break;
	case ONLINE:
		KUNIT_ASSERT_EQ(test, mhp_online(start, size, MMOP_ONLINE_MOVABLE), 0);
		break;
	case OFFLINE:
		KUNIT_ASSERT_EQ(test, mhp_offline(start, size), 0);
		break;
	}
}

/* The edges from an address to the end of its section, the first bit being that address */
static u64 edges_from(u64 start)
{
	unsigned long pfn = PHYS_PFN(start), end = SECTION_ALIGN_UP(pfn + 1);
	u64 edges = 0, bit = 1;

	for (; pfn < end; pfn += PAGES_PER_SUBSECTION, bit <<= 1) {
		if (is_edge(pfn))
			edges |= bit;
	}
	return edges;
}

/* I1 I4: edges are where something begins or ends, as long as any side of it is there. */
static void mhp_edge_steps(struct kunit *test)
{
	const struct steps_param *param = test->param_value;
	u64 base = param->boot ? mhp_edge_start(test) : mhp_spare_start(test);
	u64 end = PFN_PHYS((u64)SECTION_ALIGN_UP(PHYS_PFN(base) + 1));
	u64 granule = mhp_granule_bytes();
	const struct step *step;
	unsigned int i;

	if (granule != SUBSECTION_SIZE || SUBSECTIONS_PER_SECTION != 64)
		kunit_skip(test, "a section has not 64 granules of a sub-section");
	if (param->boot && IS_ALIGNED(PHYS_PFN(base), PAGES_PER_SECTION))
		kunit_skip(test, "boot memory ends with a section");
	if (param->boot)
		KUNIT_EXPECT_EQ(test, edges_from(base), 0x1ULL);
	for (i = 0; i < param->nr; i++) {
		u64 at, size;

		step = &param->steps[i];
		at = base + step->at * granule;
		size = step->nr ? step->nr * granule : end - at;
		do_step(test, step->op, at, size);
		KUNIT_EXPECT_EQ_MSG(test, edges_from(base), step->edges, "step %u", i);
	}
}

/* I1: boot memory has edges where it begins or ends within a section, and no others. */
static void mhp_edge_boot_memory(struct kunit *test)
{
	unsigned long nr, pfn, last = pfn_to_section_nr(PHYS_PFN(mhp_spare_start(test)) - 1);
	unsigned long first = PHYS_PFN(mhp_edge_start(test)), edges = 0;
	unsigned int i;

	for (nr = 0; nr <= last; nr++) {
		struct mem_section *ms = __nr_to_section(nr);

		if (!present_section(ms) || !early_section(ms))
			continue;
		pfn = section_nr_to_pfn(nr);
		KUNIT_EXPECT_FALSE(test, is_edge(pfn));
		for (i = 1; i < SUBSECTIONS_PER_SECTION; i++) {
			bool begins, there;

			pfn += PAGES_PER_SUBSECTION;
			there = pfn_to_online_page(pfn);
			begins = there != !!pfn_to_online_page(pfn - 1);
			KUNIT_EXPECT_EQ_MSG(test, is_edge(pfn), begins, "pfn %#lx", pfn);
			edges += begins;
		}
	}
	if (!IS_ALIGNED(first, PAGES_PER_SECTION))
		KUNIT_EXPECT_GT(test, edges, 0UL);
}

/* --- The memmap of what is added ----------------------------------------------------- */

/**
 * struct valid_poll - who asks whether there is a memmap, and believes it
 * @pfn: first of a granule
 * @adds: how often it has begun to be added
 * @reads: struct pages that could be read
 * @lies: those that could not, although pfn_valid() was true before and after
 */
struct valid_poll {
	unsigned long pfn;
	unsigned long adds;
	unsigned long reads;
	unsigned long lies;
};

static int poll_valid(void *arg)
{
	struct valid_poll *poll = arg;
	unsigned long pfns[] = { poll->pfn, poll->pfn + granule_pages() - 1 };
	unsigned long adds, flags;
	int i = 0;

	while (!kthread_should_stop()) {
		i = !i;
		cond_resched();
		/* Read before anything of the memory: see the release below. */
		adds = smp_load_acquire(&poll->adds);
		if (!pfn_valid(pfns[i]))
			continue;
		smp_rmb();	/* pairs with the barrier before pfn_valid() turns true */
		if (!copy_from_kernel_nofault(&flags, mhp_page_flags(pfn_to_page(pfns[i])),
					      sizeof(flags))) {
			poll->reads++;
			continue;
		}
		/* It may have gone meanwhile. If it is there, and was not added again: */
		smp_rmb();	/* ask after the read */
		if (pfn_valid(pfns[i])) {
			smp_rmb();	/* ask before the count is read again */
			poll->lies += READ_ONCE(poll->adds) == adds;
		}
	}
	return 0;
}

/* I3: a memmap can be read from when pfn_valid() says so until it says no more. */
static void mhp_edge_valid_is_readable(struct kunit *test)
{
	u64 granule = mhp_granule_bytes(), start = mhp_spare_start(test) + 3 * granule;
	struct valid_poll poll = { .pfn = PHYS_PFN(start) };
	unsigned long until, rounds = 0;
	struct task_struct *task;
	int ret = 0;

	if (granule >= PFN_PHYS((u64)PAGES_PER_SECTION))
		kunit_skip(test, "a granule is a section");
	/* The section stays, so that nothing but the bit of the granule tells. */
	mhp_must_add(test, 0, mhp_spare_start(test), granule, MHP_NONE);
	task = kthread_run(poll_valid, &poll, "mhp_kunit");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	until = jiffies + 3 * HZ;
	while (!ret && time_before(jiffies, until)) {
		/* Who sees memory again after it had gone must see another count. */
		smp_store_release(&poll.adds, poll.adds + 1);
		ret = add_memory(0, start, granule, MHP_NONE);
		/* Who reads may not have got a CPU yet. */
		if (!ret && !READ_ONCE(poll.reads))
			usleep_range(1000, 2000);
		ret = ret ?: remove_memory(start, granule);
		rounds++;
	}
	kthread_stop(task);
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_GT(test, rounds, 10UL);
	KUNIT_EXPECT_GT(test, poll.reads, 0UL);
	KUNIT_EXPECT_EQ_MSG(test, poll.lies, 0UL, "of %lu, in %lu rounds",
			    poll.lies + poll.reads, rounds);
}

#ifndef MODULE
/* --- Layouts ------------------------------------------------------------------------- */

static ulong edge_seed;
module_param(edge_seed, ulong, 0644);
MODULE_PARM_DESC(edge_seed, "in which order mhp_edge frees pages; 0: another each time");

static struct rnd_state rnd;

static void seed_random(struct kunit *test)
{
	unsigned long seed = edge_seed ?: get_random_u32();

	prandom_seed_state(&rnd, seed);
	kunit_info(test, "edge_seed=%lu", seed);
}

static unsigned int area_granules(void)
{
	return MAX_ORDER_NR_PAGES / granule_pages();
}

static void need_areas(struct kunit *test)
{
	if (MHP_GRANULE_ORDER == MAX_PAGE_ORDER)
		kunit_skip(test, "a granule is as large as the largest page");
}

/* Where granule 0 is, if a case does not ask for boot memory */
static u64 base_of(struct kunit *test)
{
	return mhp_spare_start(test) +
	       ALIGN(16 * mhp_granule_bytes(), (u64)MAX_ORDER_NR_PAGES << PAGE_SHIFT);
}

/* Nobody else has memory there. */
static struct zone *own_zone(void)
{
	return &NODE_DATA(0)->node_zones[ZONE_MOVABLE];
}

static u64 add_part(struct kunit *test, char what, u64 start, unsigned int nr)
{
	u64 size = nr * mhp_granule_bytes();

	if (what == 'n' && !node_possible(1))
		kunit_skip(test, "there is no node 1: boot with two");
	if (what == 'd')
		mhp_must_add_device(test, start, size);
	else if (what != '.')
		mhp_must_add(test, what == 'n', start, size, MHP_NONE);
	if (what == 'k') {
		mhp_withhold(test);
		KUNIT_ASSERT_EQ(test, mhp_online(start, size, MMOP_ONLINE_KERNEL), 0);
		mhp_unwithhold();
	} else if (what == 'n' || (what >= 'A' && what <= 'Z')) {
		KUNIT_ASSERT_EQ(test, mhp_online(start, size, MMOP_ONLINE_MOVABLE), 0);
	}
	return start + size;
}

/*
 * Granules from @base on, one a letter: '.' a hole, 'o' offline, 'd' ZONE_DEVICE, 'n'
 * node 1, 'k' a kernel zone; the same capital: an extent that is online.
 */
static void make_parts(struct kunit *test, u64 base, const char *parts)
{
	unsigned int nr;

	for (; *parts; parts += nr) {
		for (nr = 1; parts[nr] == parts[0];)
			nr++;
		base = add_part(test, parts[0], base, nr);
	}
}

/*
 * From the start of a MAX_ORDER area: what is there, where edges are, and how far pages
 * merge if there are pages so large, in powers of two granules
 */
static const struct layout_param {
	const char *name;
	const char *parts;
	const char *edges;
	const char *orders;
} layouts[] = {
	{ "one", "A...............",
		 "||...............",
		 "0..............." },
	{ "two", "AB..............",
		 "|||..............",
		 "00.............." },
	{ "all", "AAAAAAAAAAAAAAAA",
		 "|...............|",
		 "4444444444444444" },
	{ "halves", "AAAAAAAABBBBBBBB",
		    "|.......|.......|",
		    "3333333333333333" },
	{ "odd", ".AAAAAAAAAAAAAA.",
		 ".|.............|.",
		 ".01122222222110." },
	{ "thirds", "AAAAABBBBBCCCCCC",
		    "|....|....|.....|",
		    "2222001111112222" },
	{ "mixed", "AAnnBBBBd.oCCCCk",
		   "|.|.|...||||...||",
		   "11112222...01100" },
	{ "devices", "dAddBBBddddCCddd",
		     "|||.|..|...|.|..|",
		     ".0..110....00..." },
};

KUNIT_ARRAY_PARAM_DESC(layout, layouts, name);

/* I1: max_buddy_order() by the letter */
static void mhp_edge_max_order(struct kunit *test)
{
	const struct layout_param *layout = test->param_value;
	u64 base = base_of(test);
	unsigned long pfn = PHYS_PFN(base), nr = granule_pages();
	unsigned int i, order;

	need_areas(test);
	kunit_info(test, "areas of %u granules", area_granules());
	make_parts(test, base, layout->parts);
	for (i = 0; layout->edges[i]; i++, pfn += nr) {
		/* Sections begin and end without. */
		KUNIT_EXPECT_EQ_MSG(test, is_edge(pfn), layout->edges[i] == '|' &&
				    !IS_ALIGNED(pfn, PAGES_PER_SECTION), "granule %u", i);
		if (!layout->orders[i] || layout->orders[i] == '.')
			continue;
		order = MHP_GRANULE_ORDER + layout->orders[i] - '0';
		order = min_t(unsigned int, order, MAX_PAGE_ORDER);
		KUNIT_EXPECT_EQ_MSG(test, max_buddy_order(pfn), order, "granule %u", i);
		KUNIT_EXPECT_EQ_MSG(test, max_buddy_order(pfn + 1), order, "granule %u", i);
		KUNIT_EXPECT_EQ_MSG(test, max_buddy_order(pfn + nr - 1), order, "granule %u", i);
	}
}

/* --- Free pages ---------------------------------------------------------------------- */

/* The largest page that begins at a pfn, and ends at another or before */
static unsigned int order_between(unsigned long pfn, unsigned long end, unsigned int max)
{
	unsigned int order = max;

	while (!IS_ALIGNED(pfn, 1UL << order) || pfn + (1UL << order) > end)
		order--;
	return order;
}

/* The first pfn of a range that is not in the free page that it must be in, or @end */
static unsigned long first_unmerged(unsigned long pfn, unsigned long end)
{
	while (pfn < end) {
		struct page *page = pfn_to_online_page(pfn);
		unsigned int order = order_between(pfn, end, MAX_PAGE_ORDER);

		if (!page || !PageBuddy(page) || buddy_order(page) != order)
			break;
		pfn += 1UL << order;
	}
	return pfn;
}

/* I1: all of an extent is free, in pages as large as can be that do not span its edges. */
static void expect_merged(struct kunit *test, unsigned long pfn, unsigned long end,
			  const char *when)
{
	unsigned long at;
	int try;

	for (try = 0; try < 50; try++) {
		/* A CPU may keep pages, or somebody may have some for a moment. */
		drain_all_pages(NULL);
		at = first_unmerged(pfn, end);
		if (at == end)
			return;
		msleep(20);
	}
	KUNIT_FAIL(test, "%s: %#lx to %#lx: at %#lx is %s of order %d, and not of %u", when, pfn,
		   end - 1, at, PageBuddy(pfn_to_page(at)) ? "a free page" : "none",
		   (int)page_private(pfn_to_page(at)), order_between(at, end, MAX_PAGE_ORDER));
}

/* I1: the same for pages that need not have merged. */
static void expect_apart(struct kunit *test, unsigned long pfn, unsigned long end,
			 const char *when)
{
	while (pfn < end && PageBuddy(pfn_to_page(pfn)))
		pfn += 1UL << buddy_order(pfn_to_page(pfn));
	KUNIT_EXPECT_EQ_MSG(test, pfn, end, "%s", when);
}

struct free_counts {
	long vmstat;
	long areas;
	long lists;
	long isolated;
};

static void count_free(struct zone *zone, struct free_counts *counts)
{
	struct page *page;
	unsigned int order, mt;
	unsigned long flags;

	memset(counts, 0, sizeof(*counts));
	spin_lock_irqsave(&zone->lock, flags);
	for (order = 0; order < NR_PAGE_ORDERS; order++) {
		counts->areas += zone->free_area[order].nr_free << order;
		for (mt = 0; mt < MIGRATE_TYPES; mt++) {
			long nr = 0;

			list_for_each_entry(page, &zone->free_area[order].free_list[mt],
					    buddy_list)
				nr += 1L << order;
			counts->lists += nr;
			if (is_migrate_isolate(mt))
				counts->isolated += nr;
		}
	}
	/* The lock keeps it from changing, and not from moving between CPU and zone. */
	counts->vmstat = zone_page_state_snapshot(zone, NR_FREE_PAGES);
	spin_unlock_irqrestore(&zone->lock, flags);
}

/* I5: what is free is counted to the page: by lists, by orders, and as MemFree. */
static void expect_counts(struct kunit *test, const char *when)
{
	struct free_counts counts;
	int try;

	for (try = 0; try < 10; try++) {
		count_free(own_zone(), &counts);
		if (counts.areas == counts.lists &&
		    counts.vmstat == counts.lists - counts.isolated)
			return;
		msleep(20);
	}
	KUNIT_EXPECT_EQ_MSG(test, counts.areas, counts.lists, "%s", when);
	KUNIT_EXPECT_EQ_MSG(test, counts.vmstat, counts.lists - counts.isolated,
			    "%s: %ld isolated", when, counts.isolated);
}

static void take_pages(struct kunit *test, unsigned long pfn, unsigned long end)
{
	mhp_must_take_pages(test, pfn, end, GFP_KERNEL);
}

/* As if it had been allocated as one page, and not as a compound one */
static void make_one_page(unsigned long pfn, unsigned int order)
{
	unsigned long i;

	for (i = 1; i < 1UL << order; i++)
		set_page_count(pfn_to_page(pfn + i), 0);
}

enum how { HEAD_FIRST, TAIL_FIRST, SHUFFLED, NR_HOW };

static const char * const how_names[] = { "head first", "tail first", "shuffled" };

/* Free what was taken page by page, as pages of an order, or smaller where none fits. */
static void free_pieces(struct kunit *test, unsigned long start, unsigned long end,
			unsigned int max, enum how how)
{
	unsigned long pfn, nr = 0, i;
	struct piece {
		unsigned long pfn;
		unsigned int order;
	} *pieces, *piece;

	pieces = kvmalloc_array(end - start, sizeof(*pieces), GFP_KERNEL | __GFP_NOFAIL);
	for (pfn = start; pfn < end; pfn += 1UL << piece->order) {
		piece = &pieces[nr++];
		piece->pfn = pfn;
		piece->order = order_between(pfn, end, max);
	}
	for (i = 0; i < nr; i++) {
		unsigned long left = nr - i, other;

		piece = &pieces[how == HEAD_FIRST ? i : left - 1];
		if (how == SHUFFLED) {
			other = prandom_u32_state(&rnd) % left;
			swap(*piece, pieces[other]);
		}
		make_one_page(piece->pfn, piece->order);
		__free_pages(pfn_to_page(piece->pfn), piece->order);
	}
	kvfree(pieces);
}

/* --- Neighbours ---------------------------------------------------------------------- */

static const struct beside_param {
	const char *name;
	char what;
} besides[] = {
	{ "online", 'B' },
	{ "other_node", 'n' },
	{ "other_zone", 'k' },
	{ "offline", 'o' },
	{ "hole", '.' },
	{ "device", 'd' },
	{ "boot_memory", 'b' },
};

KUNIT_ARRAY_PARAM_DESC(beside, besides, name);

/**
 * struct beside - an extent between two neighbours of the same kind
 * @what: they are, see make_parts(); 'b' is boot memory below, and a hole above
 * @below: first pfn of the one
 * @pfn: first pfn of the extent
 * @end: first pfn behind it
 * @above: first pfn behind the other
 */
struct beside {
	char what;
	unsigned long below;
	unsigned long pfn;
	unsigned long end;
	unsigned long above;
};

/* Have offline memory look as if it were free, and went on to the end of its area. */
static void make_bait(const struct beside *beside, bool one)
{
	struct page *ref = pfn_to_page(beside->pfn);
	unsigned long starts[] = { beside->below, beside->end };
	unsigned long ends[] = { beside->pfn, beside->above };
	unsigned long pfn, i;

	if (beside->what != 'o')
		return;
	for (i = 0; i < ARRAY_SIZE(starts); i++) {
		for (pfn = starts[i]; pfn < ends[i]; pfn++) {
			struct page *page = pfn_to_page(pfn);

			memset(page, 0, sizeof(*page));
			/* Node, zone and section of the other page, and no flags */
			*mhp_page_flags(page) = *mhp_page_flags(ref) &
						~((1UL << NR_PAGEFLAGS) - 1);
			page->page_type = PGTY_buddy << 24;
			INIT_LIST_HEAD(&page->buddy_list);
			page->private = one && IS_ALIGNED(pfn, MAX_ORDER_NR_PAGES) ?
				MAX_PAGE_ORDER : order_between(pfn, ends[i], MAX_PAGE_ORDER);
		}
	}
}

/* Of the memmap of neighbours that are offline, a checksum; nobody may write there. */
static u32 sum_bait(const struct beside *beside)
{
	u32 sum;

	if (beside->what != 'o')
		return 0;
	sum = jhash(pfn_to_page(beside->below),
		    (beside->pfn - beside->below) * sizeof(struct page), 0);
	return jhash(pfn_to_page(beside->end),
		     (beside->above - beside->end) * sizeof(struct page), sum);
}

/*
 * Have the extent begin @at granules behind the start of an area, and end as many before
 * the end of the second next. What lies before and behind it in these is the neighbours.
 */
static void make_beside(struct kunit *test, char what, unsigned int at, struct beside *beside)
{
	u64 base = base_of(test);
	unsigned int nr = 3 * area_granules();

	beside->what = what;
	if (what == 'b') {
		unsigned long pfn = PHYS_PFN(mhp_edge_start(test));

		beside->below = pfn;
		beside->pfn = pfn;
		beside->end = ALIGN(pfn, MAX_ORDER_NR_PAGES) + MAX_ORDER_NR_PAGES +
			      at * granule_pages();
		beside->above = beside->end;
		add_part(test, 'A', PFN_PHYS((u64)pfn),
			 (beside->end - pfn) / granule_pages());
		return;
	}
	beside->below = PHYS_PFN(base);
	beside->pfn = beside->below + at * granule_pages();
	beside->above = beside->below + nr * granule_pages();
	beside->end = beside->above - at * granule_pages();
	base = add_part(test, what, base, at);
	base = add_part(test, 'A', base, nr - 2 * at);
	add_part(test, what == 'B' ? 'C' : what, base, at);
	make_bait(beside, false);
}

static void remove_part(struct kunit *test, char what, u64 pfn, u64 end)
{
	if (pfn == end || what == '.')
		return;
	if (what == 'd')
		mhp_must_remove_device(test, PFN_PHYS(pfn));
	else
		mhp_must_remove(test, PFN_PHYS(pfn), PFN_PHYS(end - pfn));
}

static void remove_beside(struct kunit *test, const struct beside *beside)
{
	remove_part(test, beside->what, beside->below, beside->pfn);
	remove_part(test, 'A', beside->pfn, beside->end);
	remove_part(test, beside->what, beside->end, beside->above);
}

static void expect_beside(struct kunit *test, const struct beside *beside, const char *when)
{
	expect_merged(test, beside->pfn, beside->end, when);
	if (beside->what == 'B') {
		expect_merged(test, beside->below, beside->pfn, when);
		expect_merged(test, beside->end, beside->above, when);
	}
	expect_counts(test, when);
}

/* Call for each place that an edge can be at which makes a difference. */
static void at_each_place(struct kunit *test,
			  void (*func)(struct kunit *test, struct beside *beside))
{
	const struct beside_param *param = test->param_value;
	unsigned int places[] = { 1, area_granules() / 2, area_granules() - 1 };
	struct beside beside;
	unsigned int i;
	u32 sum;

	need_areas(test);
	seed_random(test);
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		if (i && places[i] == places[i - 1])
			continue;
		make_beside(test, param->what, places[i], &beside);
		expect_beside(test, &beside, "online");
		sum = sum_bait(&beside);
		func(test, &beside);
		KUNIT_EXPECT_EQ_MSG(test, sum_bait(&beside), sum, "place %u", places[i]);
		remove_beside(test, &beside);
	}
}

static void free_beside(struct kunit *test, struct beside *beside)
{
	char when[64];
	int order, how;

	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		for (how = 0; how < NR_HOW; how++) {
			snprintf(when, sizeof(when), "order %d, %s", order, how_names[how]);
			take_pages(test, beside->pfn, beside->end);
			free_pieces(test, beside->pfn, beside->end, order, how);
			expect_beside(test, beside, when);
			if (beside->what != 'B')
				continue;
			/* All of them, as if they had been one */
			take_pages(test, beside->below, beside->above);
			free_pieces(test, beside->below, beside->pfn, order, how);
			free_pieces(test, beside->end, beside->above, order, how);
			free_pieces(test, beside->pfn, beside->end, order, how);
			expect_beside(test, beside, when);
		}
	}
}

/* I1: pages of any order, freed in any order, merge up to the edge and not beyond. */
static void mhp_edge_free(struct kunit *test)
{
	at_each_place(test, free_beside);
}

static int offline(unsigned long pfn, unsigned long end)
{
	return mhp_offline(PFN_PHYS((u64)pfn), PFN_PHYS((u64)(end - pfn)));
}

static int isolate(unsigned long pfn, unsigned long end)
{
	return mhp_start_isolate_page_range(pfn, end);
}

static void undo_isolate(unsigned long pfn, unsigned long end)
{
	mhp_undo_isolate_page_range(pfn, end);
}

static void isolate_beside(struct kunit *test, struct beside *beside)
{
	const unsigned long pfn = beside->pfn, end = beside->end;
	char when[64];
	int order, how;
	u32 sum;

	/* What is free */
	KUNIT_EXPECT_EQ(test, isolate(pfn, end), 0);
	expect_apart(test, pfn, end, "isolated");
	expect_counts(test, "isolated");
	undo_isolate(pfn, end);
	expect_beside(test, beside, "isolated no more");
	/* What is freed meanwhile */
	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		for (how = 0; how < NR_HOW; how++) {
			snprintf(when, sizeof(when), "order %d, %s", order, how_names[how]);
			take_pages(test, pfn, end);
			KUNIT_EXPECT_EQ(test, isolate(pfn, end), 0);
			free_pieces(test, pfn, end, order, how);
			expect_beside(test, beside, when);
			undo_isolate(pfn, end);
			expect_beside(test, beside, when);
		}
	}
	/* What is in use next to the edges, while the neighbour looks like one with it */
	make_bait(beside, true);
	sum = sum_bait(beside);
	take_pages(test, pfn, pfn + 1);
	take_pages(test, end - 1, end);
	KUNIT_EXPECT_EQ(test, isolate(pfn, end), 0);
	expect_counts(test, "isolated with pages in use");
	undo_isolate(pfn, end);
	free_contig_range(pfn, 1);
	free_contig_range(end - 1, 1);
	KUNIT_EXPECT_EQ(test, sum_bait(beside), sum);
	make_bait(beside, false);
	expect_beside(test, beside, "isolated with pages in use");
}

/* I1: what is isolated is that extent and no other, and becomes what it was. */
static void mhp_edge_isolate(struct kunit *test)
{
	at_each_place(test, isolate_beside);
}

static void isolate_neighbours(struct kunit *test, struct beside *beside)
{
	const unsigned long below = beside->below, pfn = beside->pfn, end = beside->end;
	const unsigned long above = beside->above;
	int order;

	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		/* Each for itself: any of them may be about to go offline. */
		take_pages(test, below, above);
		KUNIT_EXPECT_EQ(test, isolate(below, pfn), 0);
		KUNIT_EXPECT_EQ(test, isolate(pfn, end), 0);
		KUNIT_EXPECT_EQ(test, isolate(end, above), 0);
		free_pieces(test, below, pfn, order, SHUFFLED);
		free_pieces(test, end, above, order, SHUFFLED);
		free_pieces(test, pfn, end, order, SHUFFLED);
		expect_beside(test, beside, "all isolated");
		undo_isolate(pfn, end);
		expect_beside(test, beside, "neighbours isolated");
		undo_isolate(end, above);
		undo_isolate(below, pfn);
		expect_beside(test, beside, "none isolated");
	}
}

/* I1: extents that are isolated at a time stay apart. */
static void mhp_edge_isolate_neighbours(struct kunit *test)
{
	struct beside beside;

	need_areas(test);
	seed_random(test);
	make_beside(test, 'B', area_granules() / 2, &beside);
	isolate_neighbours(test, &beside);
	remove_beside(test, &beside);
}

#ifdef CONFIG_MEMORY_FAILURE
static void take_off_beside(struct kunit *test, struct beside *beside)
{
	unsigned long pfns[] = { beside->pfn, beside->pfn + 1, beside->end - 2, beside->end - 1 };
	u32 sum;
	int i;

	for (i = 0; i < ARRAY_SIZE(pfns); i++) {
		struct page *page = pfn_to_page(pfns[i]);

		KUNIT_EXPECT_TRUE(test, is_free_buddy_page(page));
		KUNIT_EXPECT_TRUE(test, take_page_off_buddy(page));
		KUNIT_EXPECT_FALSE(test, is_free_buddy_page(page));
		expect_counts(test, "taken off");
		set_page_count(page, 1);
		/* It was poisoned meanwhile, and is no more. */
		KUNIT_EXPECT_TRUE(test, put_page_back_buddy(page));
		expect_beside(test, beside, "put back");
	}
	/* What is not free is looked for in pages of all orders, as long as nobody has it. */
	make_bait(beside, true);
	sum = sum_bait(beside);
	for (i = 0; i < ARRAY_SIZE(pfns); i++) {
		struct page *page = pfn_to_page(pfns[i]);

		take_pages(test, pfns[i], pfns[i] + 1);
		set_page_count(page, 0);
		KUNIT_EXPECT_FALSE(test, is_free_buddy_page(page));
		KUNIT_EXPECT_FALSE(test, take_page_off_buddy(page));
		set_page_count(page, 1);
		free_contig_range(pfns[i], 1);
	}
	KUNIT_EXPECT_EQ(test, sum_bait(beside), sum);
	make_bait(beside, false);
	expect_beside(test, beside, "used");
}

/* I1: a page that is next to an edge is looked for in no page beyond it. */
static void mhp_edge_take_off(struct kunit *test)
{
	at_each_place(test, take_off_beside);
}
#endif /* CONFIG_MEMORY_FAILURE */

/* --- Pages in use -------------------------------------------------------------------- */

/*
 * Granules for which there is no buddy, in a block behind all else, so that the allocator
 * need not keep anything of that back
 */
#define NR_RESERVE	4

static u64 reserve_start(u64 end, unsigned int i)
{
	return ALIGN(end, memory_block_size_bytes()) + 2 * i * mhp_granule_bytes();
}

static void add_reserve(struct kunit *test, u64 end)
{
	unsigned int i;

	for (i = 0; i < NR_RESERVE; i++)
		add_part(test, 'C', reserve_start(end, i), 1);
}

static void remove_reserve(struct kunit *test, u64 end)
{
	unsigned int i;

	for (i = 0; i < NR_RESERVE; i++)
		mhp_must_remove(test, reserve_start(end, i), mhp_granule_bytes());
}

/*
 * Two extents, each one and a half of the largest pages, with the edge in the middle of an
 * area; and what the allocator keeps back
 */
struct pair {
	unsigned long pfn;
	unsigned long mid;
	unsigned long end;
};

static void make_pair(struct kunit *test, struct pair *pair)
{
	u64 base = base_of(test);
	unsigned int half = area_granules() / 2;

	need_areas(test);
	KUNIT_ASSERT_EQ(test, own_zone()->spanned_pages, 0UL);
	pair->pfn = PHYS_PFN(base);
	pair->mid = pair->pfn + 3 * half * granule_pages();
	pair->end = pair->mid + 3 * half * granule_pages();
	base = add_part(test, 'A', base, 3 * half);
	base = add_part(test, 'B', base, 3 * half);
	add_reserve(test, base);
}

static void expect_pair(struct kunit *test, const struct pair *pair, const char *when)
{
	expect_merged(test, pair->pfn, pair->mid, when);
	expect_merged(test, pair->mid, pair->end, when);
	expect_counts(test, when);
}

/* All pages of an order that can be had of the zone that has nothing but the extents */
static unsigned int take_all(struct list_head *list, unsigned int order, gfp_t gfp)
{
	struct page *page;
	unsigned int nr = 0;

	gfp |= GFP_HIGHUSER_MOVABLE | __GFP_THISNODE | __GFP_NORETRY | __GFP_NOWARN;
	while ((page = alloc_pages_node(0, gfp, order))) {
		if (page_zone(page) != own_zone()) {
			__free_pages(page, order);
			break;
		}
		list_add_tail(&page->lru, list);
		nr++;
	}
	return nr;
}

static void free_all(struct list_head *list, unsigned int order)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, list, lru) {
		list_del(&page->lru);
		__free_pages(page, order);
	}
}

/* Pages that have the one pfn, and the one before it */
static unsigned int count_spanning(struct list_head *list, unsigned int order, unsigned long mid)
{
	struct page *page;
	unsigned int nr = 0;

	list_for_each_entry(page, list, lru)
		nr += page_to_pfn(page) < mid && page_to_pfn(page) + (1UL << order) > mid;
	return nr;
}

/* I1: no page that is handed out spans an edge, whatever its order. */
static void mhp_edge_handed_out(struct kunit *test)
{
	static const gfp_t gfps[] = { 0, __GFP_COMP };
	unsigned int order, nr, spanning, i;
	LIST_HEAD(list);
	struct pair pair;

	make_pair(test, &pair);
	expect_pair(test, &pair, "online");
	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		for (i = 0; i < ARRAY_SIZE(gfps); i++) {
			nr = take_all(&list, order, gfps[i]);
			spanning = count_spanning(&list, order, pair.mid);
			free_all(&list, order);
			KUNIT_EXPECT_GT_MSG(test, nr, 0, "order %u", order);
			KUNIT_EXPECT_EQ_MSG(test, spanning, 0, "order %u", order);
			/* One of each extent; the third is that of both. */
			if (order == MAX_PAGE_ORDER)
				KUNIT_EXPECT_EQ(test, nr, 2);
			expect_pair(test, &pair, "freed again");
		}
	}
}

/* Pages that lie in none of the extents of a zone, or not in one alone */
static unsigned int count_strays(struct list_head *list, unsigned int order,
				 const struct beside *beside)
{
	struct page *page;
	unsigned int nr = 0;

	list_for_each_entry(page, list, lru) {
		unsigned long pfn = page_to_pfn(page), end = pfn + (1UL << order);

		nr += !pfn_to_online_page(pfn) || !pfn_to_online_page(end - 1) ||
		      (beside->what != 'B' && pfn < beside->pfn) ||
		      (beside->what != 'B' && end > beside->end && pfn < beside->above);
	}
	return nr + count_spanning(list, order, beside->pfn) +
	       count_spanning(list, order, beside->end);
}

static void hand_out_beside(struct kunit *test, struct beside *beside, unsigned int order)
{
	static const gfp_t gfps[] = { 0, __GFP_COMP };
	unsigned int i, nr, strays;
	LIST_HEAD(list);

	for (i = 0; i < ARRAY_SIZE(gfps); i++) {
		nr = take_all(&list, order, gfps[i]);
		strays = count_strays(&list, order, beside);
		free_all(&list, order);
		KUNIT_EXPECT_GT_MSG(test, nr, 0, "order %u", order);
		KUNIT_EXPECT_EQ_MSG(test, strays, 0, "order %u", order);
		/* The extent has one area, and parts of two others. */
		if (order == MAX_PAGE_ORDER)
			KUNIT_EXPECT_EQ(test, nr, 1);
		expect_beside(test, beside, "freed again");
	}
}

/* A page that somebody has who does not give it back, and that nobody tries to move */
static void hold_page(struct kunit *test, unsigned long pfn, unsigned int order)
{
	take_pages(test, pfn, pfn + (1UL << order));
	make_one_page(pfn, order);
	__SetPageOffline(pfn_to_page(pfn));
}

static void give_page_back(struct kunit *test, unsigned long pfn, unsigned int order)
{
	KUNIT_EXPECT_TRUE(test, PageOffline(pfn_to_page(pfn)));
	KUNIT_EXPECT_EQ(test, page_count(pfn_to_page(pfn)), 1);
	__ClearPageOffline(pfn_to_page(pfn));
	__free_pages(pfn_to_page(pfn), order);
}

/* What lies beside it goes and comes, and something else is there meanwhile, or nothing. */
static void replace_neighbours(struct kunit *test, struct beside *beside)
{
	/* Boot memory stays, and a hole is behind what comes after that. */
	const bool boot = beside->what == 'b';
	unsigned long above = boot ? beside->end + granule_pages() : beside->above;
	unsigned long starts[] = { beside->below, beside->end }, ends[] = { beside->pfn, above };
	char what = boot ? '.' : beside->what;
	unsigned int i, nr;

	for (i = boot; i < ARRAY_SIZE(starts); i++) {
		nr = (ends[i] - starts[i]) / granule_pages();
		remove_part(test, what, starts[i], ends[i]);
		if (what != 'o') {
			add_part(test, 'o', PFN_PHYS((u64)starts[i]), nr);
			remove_part(test, 'o', starts[i], ends[i]);
		}
		add_part(test, what, PFN_PHYS((u64)starts[i]), nr);
	}
	make_bait(beside, false);
}

/* Have a page of that order next to either edge, or as large a one as can be there. */
static void hold_beside(struct kunit *test, struct beside *beside, unsigned int order)
{
	const unsigned long pfn = beside->pfn, end = beside->end;
	unsigned int low = order_between(pfn, end, order), high = order;
	struct mhp_snapshot *before;

	while (!IS_ALIGNED(end, 1UL << high))
		high--;
	if (low < order && high < order)
		return;
	before = kunit_kzalloc(test, sizeof(*before), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, before);
	hold_page(test, pfn, low);
	hold_page(test, end - (1UL << high), high);
	expect_counts(test, "held");
	mhp_take_snapshot(test, before);
	KUNIT_EXPECT_EQ(test, offline(pfn, end), -EBUSY);
	mhp_expect_snapshot(test, before, "after the refusal");
	replace_neighbours(test, beside);
	mhp_expect_snapshot(test, before, "with the neighbours back");
	kunit_kfree(test, before);
	give_page_back(test, pfn, low);
	give_page_back(test, end - (1UL << high), high);
	expect_beside(test, beside, "given back");
}

static void allocate_beside(struct kunit *test, struct beside *beside)
{
	unsigned int order;
	u64 end = PFN_PHYS((u64)beside->above);

	add_reserve(test, end);
	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		hand_out_beside(test, beside, order);
		hold_beside(test, beside, order);
	}
	remove_reserve(test, end);
}

/*
 * I1 I4: pages of any order that are in use lie within their extent, keep that alone online,
 * and merge up to the edge when they are given back, whatever has become of the neighbours.
 */
static void mhp_edge_allocated(struct kunit *test)
{
	at_each_place(test, allocate_beside);
}

/* I1: pages that are split, and freed in halves, merge up to the edge. */
static void mhp_edge_split(struct kunit *test)
{
	struct page *page, *next;
	unsigned int order, i;
	LIST_HEAD(list);
	struct pair pair;

	make_pair(test, &pair);
	for (order = 1; order <= MAX_PAGE_ORDER; order++) {
		const unsigned long half = 1UL << (order - 1);

		KUNIT_EXPECT_GT(test, take_all(&list, order, 0), 0);
		i = 0;
		list_for_each_entry_safe(page, next, &list, lru) {
			unsigned long pfn = page_to_pfn(page);
			unsigned long first = i++ & 1 ? pfn + half : pfn;
			unsigned long second = i & 1 ? pfn + half : pfn;

			list_del(&page->lru);
			split_page(page, order);
			make_one_page(pfn, order - 1);
			make_one_page(pfn + half, order - 1);
			__free_pages(pfn_to_page(first), order - 1);
			__free_pages(pfn_to_page(second), order - 1);
		}
		expect_pair(test, &pair, "split and freed");
	}
}

/* I1: what alloc_contig_range() makes of two extents is two again when it is freed. */
static void mhp_edge_contig(struct kunit *test)
{
	const unsigned long granule = granule_pages(), half = MAX_ORDER_NR_PAGES / 2;
	struct pair pair;
	unsigned long mid;
	int i;

	make_pair(test, &pair);
	mid = pair.mid;
	{
		const unsigned long ranges[][2] = {
			{ mid - 1, mid + 1 },
			{ mid - 64, mid + 8 },
			{ mid - 3, mid + granule },
			{ mid - granule, mid + granule },
			{ mid - half, mid + half },
			{ pair.pfn, pair.end },
			{ pair.pfn + 5, pair.end - 7 },
		};

		for (i = 0; i < ARRAY_SIZE(ranges); i++) {
			take_pages(test, ranges[i][0], ranges[i][1]);
			expect_counts(test, "taken");
			free_contig_range(ranges[i][0], ranges[i][1] - ranges[i][0]);
			expect_pair(test, &pair, "freed again");
		}
	}
	/* One page over the edge: that it may be, as long as it is compound. */
	mhp_must_take_pages(test, mid - half, mid + half, GFP_KERNEL | __GFP_COMP);
	KUNIT_EXPECT_EQ(test, compound_order(pfn_to_page(mid - half)), MAX_PAGE_ORDER);
	expect_counts(test, "compound page taken");
	__free_pages(pfn_to_page(mid - half), MAX_PAGE_ORDER);
	expect_pair(test, &pair, "compound page freed again");
}

static void expect_goes(struct kunit *test, unsigned long pfn, unsigned long end)
{
	KUNIT_EXPECT_EQ(test, offline(pfn, end), 0);
	mhp_expect_offline(test, PFN_PHYS((u64)pfn), PFN_PHYS((u64)(end - pfn)));
	KUNIT_ASSERT_EQ(test, mhp_online(PFN_PHYS((u64)pfn), PFN_PHYS((u64)(end - pfn)),
					 MMOP_ONLINE_MOVABLE), 0);
}

/*
 * I4 I11: a page in use that is next to an edge, and that nobody can move, keeps its own
 * extent online, and not the other one.
 */
static void mhp_edge_kept_page(struct kunit *test)
{
	const unsigned int order = MAX_PAGE_ORDER - 1;
	struct mhp_snapshot *before;
	unsigned int nr, spanning;
	unsigned long starts[2], ends[2], kept[2], until;
	LIST_HEAD(list);
	struct pair pair;
	int i;

	before = kunit_kzalloc(test, sizeof(*before), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, before);
	make_pair(test, &pair);
	nr = take_all(&list, MAX_PAGE_ORDER, 0);
	spanning = count_spanning(&list, MAX_PAGE_ORDER, pair.mid);
	KUNIT_EXPECT_EQ(test, nr, 2);
	KUNIT_EXPECT_EQ(test, spanning, 0);
	if (spanning) {
		/* Neither would ever go, or both would while it is in use. */
		free_all(&list, MAX_PAGE_ORDER);
		return;
	}
	starts[0] = pair.pfn;
	ends[0] = pair.mid;
	starts[1] = pair.mid;
	ends[1] = pair.end;
	kept[0] = pair.mid - (1UL << order);
	kept[1] = pair.mid;
	for (i = 0; i < 2; i++) {
		take_pages(test, kept[i], kept[i] + (1UL << order));
		make_one_page(kept[i], order);
	}
	free_all(&list, MAX_PAGE_ORDER);
	mhp_take_snapshot(test, before);
	for (i = 0; i < 2; i++) {
		__free_pages(pfn_to_page(kept[!i]), order);
		expect_goes(test, starts[!i], ends[!i]);
		until = jiffies + 60 * HZ;
		KUNIT_EXPECT_EQ(test, offline(starts[i], ends[i]), -EBUSY);
		KUNIT_EXPECT_TRUE(test, time_before(jiffies, until));
		mhp_expect_snapshot(test, before, "after the refusal");
		take_pages(test, kept[!i], kept[!i] + (1UL << order));
		make_one_page(kept[!i], order);
	}
	for (i = 0; i < 2; i++)
		__free_pages(pfn_to_page(kept[i]), order);
	for (i = 0; i < 2; i++)
		expect_goes(test, starts[i], ends[i]);
	expect_pair(test, &pair, "at the end");
}

/* What page reporting has at a time */
#define MAX_REPORTED	64

/*
 * I1 I5: free pages leave the free lists for a moment, as for page reporting, and come
 * back when one of the extents is isolated, or one pageblock of it, or no more. They are
 * counted to the page, and nothing is isolated with what is not.
 */
static void mhp_edge_reported(struct kunit *test)
{
	struct zone *zone = own_zone();
	unsigned int i, nr, round;
	struct {
		struct page *page;
		unsigned int order;
	} taken[MAX_REPORTED];
	unsigned long flags, pfn;
	struct pair pair;

	make_pair(test, &pair);
	expect_pair(test, &pair, "online");
	for (round = 0; round < 8; round++) {
		unsigned long start = round & 1 ? pair.mid : pair.pfn;
		unsigned long end = round & 1 ? pair.end : pair.mid;

		/* The first pageblock, or the second */
		if (round & 4) {
			start += round & 1 ? 0 : pageblock_nr_pages;
			end = start + pageblock_nr_pages;
		}
		/* Its isolation begins while they are away, or ends. */
		if (round & 2)
			KUNIT_EXPECT_EQ(test, isolate(start, end), 0);
		nr = 0;
		spin_lock_irqsave(&zone->lock, flags);
		for (pfn = pair.pfn; pfn < pair.end && nr < MAX_REPORTED;) {
			struct page *page = pfn_to_page(pfn);
			unsigned int order = PageBuddy(page) ? buddy_order(page) : 0;

			if (order >= pageblock_order && __isolate_free_page(page, order)) {
				taken[nr].page = page;
				taken[nr++].order = order;
			}
			pfn += 1UL << order;
		}
		spin_unlock_irqrestore(&zone->lock, flags);
		/* Two of each extent, or what has not merged as it was isolated */
		if (round & 2)
			KUNIT_EXPECT_GE(test, nr, 4);
		else
			KUNIT_EXPECT_EQ(test, nr, 4);
		if (round & 2)
			undo_isolate(start, end);
		else
			KUNIT_EXPECT_EQ(test, isolate(start, end), 0);
		for (i = 0; i < nr; i++) {
			spin_lock_irqsave(&zone->lock, flags);
			__putback_isolated_page(taken[i].page, taken[i].order);
			spin_unlock_irqrestore(&zone->lock, flags);
		}
		expect_counts(test, "put back");
		if (!(round & 2)) {
			KUNIT_EXPECT_TRUE(test, PageBuddy(pfn_to_page(start)));
			KUNIT_EXPECT_TRUE(test, end == pair.end || PageBuddy(pfn_to_page(end)));
			undo_isolate(start, end);
		}
		expect_pair(test, &pair, "in the end");
	}
}

/* --- Going online -------------------------------------------------------------------- */

static const struct order_param {
	const char *name;
	const char *parts;
	int order[3];
} orders[] = {
	{ "two_up", "AB", { 0, 1, -1 } },
	{ "two_down", "AB", { 1, 0, -1 } },
	{ "two_behind_a_hole", ".AAB", { 0, 1, -1 } },
	{ "two_behind_a_hole_down", ".AAB", { 1, 0, -1 } },
	{ "first_second_third", "ABBC", { 0, 1, 2 } },
	{ "first_third_second", "ABBC", { 0, 2, 1 } },
	{ "second_first_third", "ABBC", { 1, 0, 2 } },
	{ "second_third_first", "ABBC", { 1, 2, 0 } },
	{ "third_first_second", "ABBC", { 2, 0, 1 } },
	{ "third_second_first", "ABBC", { 2, 1, 0 } },
};

KUNIT_ARRAY_PARAM_DESC(order, orders, name);

/* I1 I4: extents of one area go online and offline in any order, each for itself. */
static void mhp_edge_online_in_any_order(struct kunit *test)
{
	const struct order_param *param = test->param_value;
	unsigned long starts[3], ends[3], pfn = PHYS_PFN(base_of(test));
	bool online[3] = { };
	int i, j, round, nr = 0;
	const char *at;

	need_areas(test);
	for (at = param->parts; *at; at++, pfn += granule_pages()) {
		if (*at == '.')
			continue;
		if (at == param->parts || at[-1] != at[0])
			starts[nr++] = pfn;
		ends[nr - 1] = pfn + granule_pages();
	}
	for (i = 0; i < nr; i++)
		mhp_must_add(test, 0, PFN_PHYS((u64)starts[i]),
			     PFN_PHYS((u64)(ends[i] - starts[i])), MHP_NONE);
	for (round = 0; round < 2 * nr; round++) {
		i = param->order[round % nr];
		do_step(test, round < nr ? ONLINE : OFFLINE, PFN_PHYS((u64)starts[i]),
			PFN_PHYS((u64)(ends[i] - starts[i])));
		online[i] = round < nr;
		for (j = 0; j < nr; j++) {
			if (online[j])
				expect_merged(test, starts[j], ends[j], "online");
			else
				mhp_expect_offline(test, PFN_PHYS((u64)starts[j]),
						   PFN_PHYS((u64)(ends[j] - starts[j])));
		}
		expect_counts(test, "all of them");
	}
}
#endif /* !MODULE */

static struct kunit_case mhp_edge_cases[] = {
	KUNIT_CASE_PARAM(mhp_edge_steps, steps_gen_params),
	KUNIT_CASE(mhp_edge_boot_memory),
	KUNIT_CASE_SLOW(mhp_edge_valid_is_readable),
#ifndef MODULE
	KUNIT_CASE_PARAM(mhp_edge_max_order, layout_gen_params),
	KUNIT_CASE_PARAM_ATTR(mhp_edge_free, beside_gen_params, { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE_PARAM_ATTR(mhp_edge_isolate, beside_gen_params, { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE(mhp_edge_isolate_neighbours),
#ifdef CONFIG_MEMORY_FAILURE
	KUNIT_CASE_PARAM(mhp_edge_take_off, beside_gen_params),
#endif
	KUNIT_CASE(mhp_edge_handed_out),
	KUNIT_CASE_PARAM_ATTR(mhp_edge_allocated, beside_gen_params, { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE(mhp_edge_split),
	KUNIT_CASE(mhp_edge_contig),
	KUNIT_CASE_SLOW(mhp_edge_kept_page),
	KUNIT_CASE(mhp_edge_reported),
	KUNIT_CASE_PARAM(mhp_edge_online_in_any_order, order_gen_params),
#endif
	{}
};

struct kunit_suite mhp_edge_suite = {
	.name = "mhp_edge",
	.init = mhp_fixture_init,
	.exit = mhp_fixture_exit,
	.test_cases = mhp_edge_cases,
};
