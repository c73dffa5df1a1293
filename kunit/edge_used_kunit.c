// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_edge: pages that are in use next to an edge: allocated, split, kept, reported.
 */

#include <linux/gfp.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "edge.h"

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
void mhp_edge_handed_out(struct kunit *test)
{
	static const gfp_t gfps[] = { 0, __GFP_COMP };
	unsigned int order, nr, spanning, i;
	LIST_HEAD(list);
	struct pair pair;

	edge_make_pair(test, &pair);
	edge_expect_pair(test, &pair, "online");
	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		for (i = 0; i < ARRAY_SIZE(gfps); i++) {
			nr = edge_take_all(&list, order, gfps[i]);
			spanning = count_spanning(&list, order, pair.mid);
			edge_free_all(&list, order);
			KUNIT_EXPECT_GT_MSG(test, nr, 0, "order %u", order);
			KUNIT_EXPECT_EQ_MSG(test, spanning, 0, "order %u", order);
			/* One of each extent; the third is that of both. */
			if (order == MAX_PAGE_ORDER)
				KUNIT_EXPECT_EQ(test, nr, 2);
			edge_expect_pair(test, &pair, "freed again");
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
		nr = edge_take_all(&list, order, gfps[i]);
		strays = count_strays(&list, order, beside);
		edge_free_all(&list, order);
		KUNIT_EXPECT_GT_MSG(test, nr, 0, "order %u", order);
		KUNIT_EXPECT_EQ_MSG(test, strays, 0, "order %u", order);
		/* The extent has one area, and parts of two others. */
		if (order == MAX_PAGE_ORDER)
			KUNIT_EXPECT_EQ(test, nr, 1);
		edge_expect_beside(test, beside, "freed again");
	}
}

/* A page that somebody has who does not give it back, and that nobody tries to move */
static void hold_page(struct kunit *test, unsigned long pfn, unsigned int order)
{
	edge_take_pages(test, pfn, pfn + (1UL << order));
	edge_make_one_page(pfn, order);
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
		edge_remove_part(test, what, starts[i], ends[i]);
		if (what != 'o') {
			edge_add_part(test, 'o', PFN_PHYS((u64)starts[i]), nr);
			edge_remove_part(test, 'o', starts[i], ends[i]);
		}
		edge_add_part(test, what, PFN_PHYS((u64)starts[i]), nr);
	}
	edge_make_bait(beside, false);
}

/* Have a page of that order next to either edge, or as large a one as can be there. */
static void hold_beside(struct kunit *test, struct beside *beside, unsigned int order)
{
	const unsigned long pfn = beside->pfn, end = beside->end;
	unsigned int low = edge_order_between(pfn, end, order), high = order;
	struct mhp_snapshot *before;

	while (!IS_ALIGNED(end, 1UL << high))
		high--;
	if (low < order && high < order)
		return;
	before = kunit_kzalloc(test, sizeof(*before), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, before);
	hold_page(test, pfn, low);
	hold_page(test, end - (1UL << high), high);
	edge_expect_counts(test, "held");
	mhp_take_snapshot(test, before);
	KUNIT_EXPECT_EQ(test, edge_offline(pfn, end), -EBUSY);
	mhp_expect_snapshot(test, before, "after the refusal");
	replace_neighbours(test, beside);
	mhp_expect_snapshot(test, before, "with the neighbours back");
	kunit_kfree(test, before);
	give_page_back(test, pfn, low);
	give_page_back(test, end - (1UL << high), high);
	edge_expect_beside(test, beside, "given back");
}

static void allocate_beside(struct kunit *test, struct beside *beside)
{
	unsigned int order;
	u64 end = PFN_PHYS((u64)beside->above);

	edge_add_reserve(test, end);
	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		hand_out_beside(test, beside, order);
		hold_beside(test, beside, order);
	}
	edge_remove_reserve(test, end);
}

/*
 * I1 I4: pages of any order that are in use lie within their extent, keep that alone online,
 * and merge up to the edge when they are given back, whatever has become of the neighbours.
 */
void mhp_edge_allocated(struct kunit *test)
{
	edge_at_each_place(test, allocate_beside);
}

/* I1: pages that are split, and freed in halves, merge up to the edge. */
void mhp_edge_split(struct kunit *test)
{
	struct page *page, *next;
	unsigned int order, i;
	LIST_HEAD(list);
	struct pair pair;

	edge_make_pair(test, &pair);
	for (order = 1; order <= MAX_PAGE_ORDER; order++) {
		const unsigned long half = 1UL << (order - 1);

		KUNIT_EXPECT_GT(test, edge_take_all(&list, order, 0), 0);
		i = 0;
		list_for_each_entry_safe(page, next, &list, lru) {
			unsigned long pfn = page_to_pfn(page);
			unsigned long first = i++ & 1 ? pfn + half : pfn;
			unsigned long second = i & 1 ? pfn + half : pfn;

			list_del(&page->lru);
			split_page(page, order);
			edge_make_one_page(pfn, order - 1);
			edge_make_one_page(pfn + half, order - 1);
			__free_pages(pfn_to_page(first), order - 1);
			__free_pages(pfn_to_page(second), order - 1);
		}
		edge_expect_pair(test, &pair, "split and freed");
	}
}

/* I1: what alloc_contig_range() makes of two extents is two again when it is freed. */
void mhp_edge_contig(struct kunit *test)
{
	const unsigned long granule = granule_pages(), half = MAX_ORDER_NR_PAGES / 2;
	struct pair pair;
	unsigned long mid;
	int i;

	edge_make_pair(test, &pair);
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
			edge_take_pages(test, ranges[i][0], ranges[i][1]);
			edge_expect_counts(test, "taken");
			free_contig_range(ranges[i][0], ranges[i][1] - ranges[i][0]);
			edge_expect_pair(test, &pair, "freed again");
		}
	}
	/* One page over the edge: that it may be, as long as it is compound. */
	mhp_must_take_pages(test, mid - half, mid + half, GFP_KERNEL | __GFP_COMP);
	KUNIT_EXPECT_EQ(test, compound_order(pfn_to_page(mid - half)), MAX_PAGE_ORDER);
	edge_expect_counts(test, "compound page taken");
	__free_pages(pfn_to_page(mid - half), MAX_PAGE_ORDER);
	edge_expect_pair(test, &pair, "compound page freed again");
}

static void expect_goes(struct kunit *test, unsigned long pfn, unsigned long end)
{
	KUNIT_EXPECT_EQ(test, edge_offline(pfn, end), 0);
	mhp_expect_offline(test, PFN_PHYS((u64)pfn), PFN_PHYS((u64)(end - pfn)));
	KUNIT_ASSERT_EQ(test, mhp_online(PFN_PHYS((u64)pfn), PFN_PHYS((u64)(end - pfn)),
					 MMOP_ONLINE_MOVABLE), 0);
}

/*
 * I4 I11: a page in use that is next to an edge, and that nobody can move, keeps its own
 * extent online, and not the other one.
 */
void mhp_edge_kept_page(struct kunit *test)
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
	edge_make_pair(test, &pair);
	nr = edge_take_all(&list, MAX_PAGE_ORDER, 0);
	spanning = count_spanning(&list, MAX_PAGE_ORDER, pair.mid);
	KUNIT_EXPECT_EQ(test, nr, 2);
	KUNIT_EXPECT_EQ(test, spanning, 0);
	if (spanning) {
		/* Neither would ever go, or both would while it is in use. */
		edge_free_all(&list, MAX_PAGE_ORDER);
		return;
	}
	starts[0] = pair.pfn;
	ends[0] = pair.mid;
	starts[1] = pair.mid;
	ends[1] = pair.end;
	kept[0] = pair.mid - (1UL << order);
	kept[1] = pair.mid;
	for (i = 0; i < 2; i++) {
		edge_take_pages(test, kept[i], kept[i] + (1UL << order));
		edge_make_one_page(kept[i], order);
	}
	edge_free_all(&list, MAX_PAGE_ORDER);
	mhp_take_snapshot(test, before);
	for (i = 0; i < 2; i++) {
		__free_pages(pfn_to_page(kept[!i]), order);
		expect_goes(test, starts[!i], ends[!i]);
		until = jiffies + 60 * HZ;
		KUNIT_EXPECT_EQ(test, edge_offline(starts[i], ends[i]), -EBUSY);
		KUNIT_EXPECT_TRUE(test, time_before(jiffies, until));
		mhp_expect_snapshot(test, before, "after the refusal");
		edge_take_pages(test, kept[!i], kept[!i] + (1UL << order));
		edge_make_one_page(kept[!i], order);
	}
	for (i = 0; i < 2; i++)
		__free_pages(pfn_to_page(kept[i]), order);
	for (i = 0; i < 2; i++)
		expect_goes(test, starts[i], ends[i]);
	edge_expect_pair(test, &pair, "at the end");
}

/* What page reporting has at a time */
#define MAX_REPORTED	64

/*
 * I1 I5: free pages leave the free lists for a moment, as for page reporting, and come
 * back when one of the extents is isolated, or one pageblock of it, or no more. They are
 * counted to the page, and nothing is isolated with what is not.
 */
void mhp_edge_reported(struct kunit *test)
{
	struct zone *zone = edge_own_zone();
	unsigned int i, nr, round;
	struct {
		struct page *page;
		unsigned int order;
	} taken[MAX_REPORTED];
	unsigned long flags, pfn;
	struct pair pair;

	edge_make_pair(test, &pair);
	edge_expect_pair(test, &pair, "online");
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
			KUNIT_EXPECT_EQ(test, edge_isolate(start, end), 0);
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
			edge_undo_isolate(start, end);
		else
			KUNIT_EXPECT_EQ(test, edge_isolate(start, end), 0);
		for (i = 0; i < nr; i++) {
			spin_lock_irqsave(&zone->lock, flags);
			__putback_isolated_page(taken[i].page, taken[i].order);
			spin_unlock_irqrestore(&zone->lock, flags);
		}
		edge_expect_counts(test, "put back");
		if (!(round & 2)) {
			KUNIT_EXPECT_TRUE(test, PageBuddy(pfn_to_page(start)));
			KUNIT_EXPECT_TRUE(test, end == pair.end || PageBuddy(pfn_to_page(end)));
			edge_undo_isolate(start, end);
		}
		edge_expect_pair(test, &pair, "in the end");
	}
}
