// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_edge: extents with neighbours of all kinds, and whether what is free is counted, and
 * merged as far as can be and no further.
 */

#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/jhash.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/page-isolation.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/vmstat.h>

#include "edge.h"

const char * const edge_how_names[NR_HOW] = { "head first", "tail first", "shuffled" };

static ulong edge_seed;
module_param(edge_seed, ulong, 0644);
MODULE_PARM_DESC(edge_seed, "in which order mhp_edge frees pages; 0: another each time");

static struct rnd_state rnd;

void edge_seed_random(struct kunit *test)
{
	unsigned long seed = edge_seed ?: get_random_u32();

	prandom_seed_state(&rnd, seed);
	kunit_info(test, "mhp_kunit.edge_seed=%lu\n", seed);
}

unsigned int edge_area_granules(void)
{
	return MAX_ORDER_NR_PAGES / granule_pages();
}

void edge_need_areas(struct kunit *test)
{
	if (MHP_GRANULE_ORDER == MAX_PAGE_ORDER)
		kunit_skip(test, "a granule is as large as the largest page");
}

/* Where granule 0 is, if a case does not ask for boot memory */
u64 edge_base_of(struct kunit *test)
{
	return mhp_spare_start(test) +
	       ALIGN(16 * mhp_granule_bytes(), (u64)MAX_ORDER_NR_PAGES << PAGE_SHIFT);
}

/* Nobody else has memory there. */
struct zone *edge_own_zone(void)
{
	return &NODE_DATA(0)->node_zones[ZONE_MOVABLE];
}

u64 edge_add_part(struct kunit *test, char what, u64 start, unsigned int nr)
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
void edge_make_parts(struct kunit *test, u64 base, const char *parts)
{
	unsigned int nr;

	for (; *parts; parts += nr) {
		for (nr = 1; parts[nr] == parts[0];)
			nr++;
		base = edge_add_part(test, parts[0], base, nr);
	}
}

/* The largest page that begins at a pfn, and ends at another or before */
unsigned int edge_order_between(unsigned long pfn, unsigned long end, unsigned int max)
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
		unsigned int order = edge_order_between(pfn, end, MAX_PAGE_ORDER);

		if (!page || !PageBuddy(page) || buddy_order(page) != order)
			break;
		pfn += 1UL << order;
	}
	return pfn;
}

/* I1: all of an extent is free, in pages as large as can be that do not span its edges. */
void edge_expect_merged(struct kunit *test, unsigned long pfn, unsigned long end,
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
		   (int)page_private(pfn_to_page(at)), edge_order_between(at, end, MAX_PAGE_ORDER));
}

/* I1: the same for pages that need not have merged. */
void edge_expect_apart(struct kunit *test, unsigned long pfn, unsigned long end,
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
void edge_expect_counts(struct kunit *test, const char *when)
{
	struct free_counts counts;
	int try;

	for (try = 0; try < 10; try++) {
		count_free(edge_own_zone(), &counts);
		if (counts.areas == counts.lists &&
		    counts.vmstat == counts.lists - counts.isolated)
			return;
		msleep(20);
	}
	KUNIT_EXPECT_EQ_MSG(test, counts.areas, counts.lists, "%s", when);
	KUNIT_EXPECT_EQ_MSG(test, counts.vmstat, counts.lists - counts.isolated,
			    "%s: %ld isolated", when, counts.isolated);
}

void edge_take_pages(struct kunit *test, unsigned long pfn, unsigned long end)
{
	mhp_must_take_pages(test, pfn, end, GFP_KERNEL);
}

/* As if it had been allocated as one page, and not as a compound one */
void edge_make_one_page(unsigned long pfn, unsigned int order)
{
	unsigned long i;

	for (i = 1; i < 1UL << order; i++)
		set_page_count(pfn_to_page(pfn + i), 0);
}

/* Free what was taken page by page, as pages of an order, or smaller where none fits. */
void edge_free_pieces(struct kunit *test, unsigned long start, unsigned long end,
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
		piece->order = edge_order_between(pfn, end, max);
	}
	for (i = 0; i < nr; i++) {
		unsigned long left = nr - i, other;

		piece = &pieces[how == HEAD_FIRST ? i : left - 1];
		if (how == SHUFFLED) {
			other = prandom_u32_state(&rnd) % left;
			swap(*piece, pieces[other]);
		}
		edge_make_one_page(piece->pfn, piece->order);
		__free_pages(pfn_to_page(piece->pfn), piece->order);
	}
	kvfree(pieces);
}

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

MHP_ARRAY_PARAM_DESC(beside, besides, name);

/* Have offline memory look as if it were free, and went on to the end of its area. */
void edge_make_bait(const struct beside *beside, bool one)
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
				MAX_PAGE_ORDER : edge_order_between(pfn, ends[i], MAX_PAGE_ORDER);
		}
	}
}

/* Of the memmap of neighbours that are offline, a checksum; nobody may write there. */
u32 edge_sum_bait(const struct beside *beside)
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
void edge_make_beside(struct kunit *test, char what, unsigned int at, struct beside *beside)
{
	u64 base = edge_base_of(test);
	unsigned int nr = 3 * edge_area_granules();

	beside->what = what;
	if (what == 'b') {
		unsigned long pfn = PHYS_PFN(mhp_edge_start(test));

		beside->below = pfn;
		beside->pfn = pfn;
		beside->end = ALIGN(pfn, MAX_ORDER_NR_PAGES) + MAX_ORDER_NR_PAGES +
			      at * granule_pages();
		beside->above = beside->end;
		edge_add_part(test, 'A', PFN_PHYS((u64)pfn),
			      (beside->end - pfn) / granule_pages());
		return;
	}
	beside->below = PHYS_PFN(base);
	beside->pfn = beside->below + at * granule_pages();
	beside->above = beside->below + nr * granule_pages();
	beside->end = beside->above - at * granule_pages();
	base = edge_add_part(test, what, base, at);
	base = edge_add_part(test, 'A', base, nr - 2 * at);
	edge_add_part(test, what == 'B' ? 'C' : what, base, at);
	edge_make_bait(beside, false);
}

void edge_remove_part(struct kunit *test, char what, u64 pfn, u64 end)
{
	if (pfn == end || what == '.')
		return;
	if (what == 'd')
		mhp_must_remove_device(test, PFN_PHYS(pfn));
	else
		mhp_must_remove(test, PFN_PHYS(pfn), PFN_PHYS(end - pfn));
}

void edge_remove_beside(struct kunit *test, const struct beside *beside)
{
	edge_remove_part(test, beside->what, beside->below, beside->pfn);
	edge_remove_part(test, 'A', beside->pfn, beside->end);
	edge_remove_part(test, beside->what, beside->end, beside->above);
}

void edge_expect_beside(struct kunit *test, const struct beside *beside, const char *when)
{
	edge_expect_merged(test, beside->pfn, beside->end, when);
	if (beside->what == 'B') {
		edge_expect_merged(test, beside->below, beside->pfn, when);
		edge_expect_merged(test, beside->end, beside->above, when);
	}
	edge_expect_counts(test, when);
}

/* Call for each place that an edge can be at which makes a difference. */
void edge_at_each_place(struct kunit *test,
			void (*func)(struct kunit *test, struct beside *beside))
{
	const struct beside_param *param = test->param_value;
	unsigned int places[] = { 1, edge_area_granules() / 2, edge_area_granules() - 1 };
	struct beside beside;
	unsigned int i;
	u32 sum;

	edge_need_areas(test);
	edge_seed_random(test);
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		if (i && places[i] == places[i - 1])
			continue;
		edge_make_beside(test, param->what, places[i], &beside);
		edge_expect_beside(test, &beside, "online");
		sum = edge_sum_bait(&beside);
		func(test, &beside);
		KUNIT_EXPECT_EQ_MSG(test, edge_sum_bait(&beside), sum, "place %u", places[i]);
		edge_remove_beside(test, &beside);
	}
}

/*
 * Granules for which there is no buddy, in a block behind all else, so that the allocator
 * need not keep anything of that back
 */
#define NR_RESERVE	4

static u64 reserve_start(u64 end, unsigned int i)
{
	return ALIGN(end, memory_block_size_bytes()) + 2 * i * mhp_granule_bytes();
}

void edge_add_reserve(struct kunit *test, u64 end)
{
	unsigned int i;

	for (i = 0; i < NR_RESERVE; i++)
		edge_add_part(test, 'C', reserve_start(end, i), 1);
}

void edge_remove_reserve(struct kunit *test, u64 end)
{
	unsigned int i;

	for (i = 0; i < NR_RESERVE; i++)
		mhp_must_remove(test, reserve_start(end, i), mhp_granule_bytes());
}

void edge_make_pair(struct kunit *test, struct pair *pair)
{
	u64 base = edge_base_of(test);
	unsigned int half = edge_area_granules() / 2;

	edge_need_areas(test);
	KUNIT_ASSERT_EQ(test, edge_own_zone()->spanned_pages, 0UL);
	pair->pfn = PHYS_PFN(base);
	pair->mid = pair->pfn + 3 * half * granule_pages();
	pair->end = pair->mid + 3 * half * granule_pages();
	base = edge_add_part(test, 'A', base, 3 * half);
	base = edge_add_part(test, 'B', base, 3 * half);
	edge_add_reserve(test, base);
}

void edge_expect_pair(struct kunit *test, const struct pair *pair, const char *when)
{
	edge_expect_merged(test, pair->pfn, pair->mid, when);
	edge_expect_merged(test, pair->mid, pair->end, when);
	edge_expect_counts(test, when);
}

/* All pages of an order that can be had of the zone that has nothing but the extents */
unsigned int edge_take_all(struct list_head *list, unsigned int order, gfp_t gfp)
{
	struct page *page;
	unsigned int nr = 0;

	gfp |= GFP_HIGHUSER_MOVABLE | __GFP_THISNODE | __GFP_NORETRY | __GFP_NOWARN;
	while ((page = alloc_pages_node(0, gfp, order))) {
		if (page_zone(page) != edge_own_zone()) {
			__free_pages(page, order);
			break;
		}
		list_add_tail(&page->lru, list);
		nr++;
	}
	return nr;
}

void edge_free_all(struct list_head *list, unsigned int order)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, list, lru) {
		list_del(&page->lru);
		__free_pages(page, order);
	}
}

int edge_offline(unsigned long pfn, unsigned long end)
{
	return mhp_offline(PFN_PHYS((u64)pfn), PFN_PHYS((u64)(end - pfn)));
}

int edge_isolate(unsigned long pfn, unsigned long end)
{
	return mhp_start_isolate_page_range(pfn, end);
}

void edge_undo_isolate(unsigned long pfn, unsigned long end)
{
	mhp_undo_isolate_page_range(pfn, end);
}
