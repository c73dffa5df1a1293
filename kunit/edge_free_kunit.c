// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_edge: pages that are freed, isolated, or taken off the free lists as they are
 * poisoned, next to an edge.
 */

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "edge.h"

static void free_beside(struct kunit *test, struct beside *beside)
{
	char when[64];
	int order, how;

	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		for (how = 0; how < NR_HOW; how++) {
			snprintf(when, sizeof(when), "order %d, %s", order, edge_how_names[how]);
			edge_take_pages(test, beside->pfn, beside->end);
			edge_free_pieces(test, beside->pfn, beside->end, order, how);
			edge_expect_beside(test, beside, when);
			if (beside->what != 'B')
				continue;
			/* All of them, as if they had been one */
			edge_take_pages(test, beside->below, beside->above);
			edge_free_pieces(test, beside->below, beside->pfn, order, how);
			edge_free_pieces(test, beside->end, beside->above, order, how);
			edge_free_pieces(test, beside->pfn, beside->end, order, how);
			edge_expect_beside(test, beside, when);
		}
	}
}

/* I1: pages of any order, freed in any order, merge up to the edge and not beyond. */
void mhp_edge_free(struct kunit *test)
{
	edge_at_each_place(test, free_beside);
}

static void isolate_beside(struct kunit *test, struct beside *beside)
{
	const unsigned long pfn = beside->pfn, end = beside->end;
	char when[64];
	int order, how;
	u32 sum;

	/* What is free */
	KUNIT_EXPECT_EQ(test, edge_isolate(pfn, end), 0);
	edge_expect_apart(test, pfn, end, "isolated");
	edge_expect_counts(test, "isolated");
	edge_undo_isolate(pfn, end);
	edge_expect_beside(test, beside, "isolated no more");
	/* What is freed meanwhile */
	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		for (how = 0; how < NR_HOW; how++) {
			snprintf(when, sizeof(when), "order %d, %s", order, edge_how_names[how]);
			edge_take_pages(test, pfn, end);
			KUNIT_EXPECT_EQ(test, edge_isolate(pfn, end), 0);
			edge_free_pieces(test, pfn, end, order, how);
			edge_expect_beside(test, beside, when);
			edge_undo_isolate(pfn, end);
			edge_expect_beside(test, beside, when);
		}
	}
	/* What is in use next to the edges, while the neighbour looks like one with it */
	edge_make_bait(beside, true);
	sum = edge_sum_bait(beside);
	edge_take_pages(test, pfn, pfn + 1);
	edge_take_pages(test, end - 1, end);
	KUNIT_EXPECT_EQ(test, edge_isolate(pfn, end), 0);
	edge_expect_counts(test, "isolated with pages in use");
	edge_undo_isolate(pfn, end);
	free_contig_range(pfn, 1);
	free_contig_range(end - 1, 1);
	KUNIT_EXPECT_EQ(test, edge_sum_bait(beside), sum);
	edge_make_bait(beside, false);
	edge_expect_beside(test, beside, "isolated with pages in use");
}

/* I1: what is isolated is that extent and no other, and becomes what it was. */
void mhp_edge_isolate(struct kunit *test)
{
	edge_at_each_place(test, isolate_beside);
}

static void isolate_neighbours(struct kunit *test, struct beside *beside)
{
	const unsigned long below = beside->below, pfn = beside->pfn, end = beside->end;
	const unsigned long above = beside->above;
	int order;

	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		/* Each for itself: any of them may be about to go offline. */
		edge_take_pages(test, below, above);
		KUNIT_EXPECT_EQ(test, edge_isolate(below, pfn), 0);
		KUNIT_EXPECT_EQ(test, edge_isolate(pfn, end), 0);
		KUNIT_EXPECT_EQ(test, edge_isolate(end, above), 0);
		edge_free_pieces(test, below, pfn, order, SHUFFLED);
		edge_free_pieces(test, end, above, order, SHUFFLED);
		edge_free_pieces(test, pfn, end, order, SHUFFLED);
		edge_expect_beside(test, beside, "all isolated");
		edge_undo_isolate(pfn, end);
		edge_expect_beside(test, beside, "neighbours isolated");
		edge_undo_isolate(end, above);
		edge_undo_isolate(below, pfn);
		edge_expect_beside(test, beside, "none isolated");
	}
}

/* I1: extents that are isolated at a time stay apart. */
void mhp_edge_isolate_neighbours(struct kunit *test)
{
	struct beside beside;

	edge_need_areas(test);
	edge_seed_random(test);
	edge_make_beside(test, 'B', edge_area_granules() / 2, &beside);
	isolate_neighbours(test, &beside);
	edge_remove_beside(test, &beside);
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
		edge_expect_counts(test, "taken off");
		set_page_count(page, 1);
		/* It was poisoned meanwhile, and is no more. */
		KUNIT_EXPECT_TRUE(test, put_page_back_buddy(page));
		edge_expect_beside(test, beside, "put back");
	}
	/* What is not free is looked for in pages of all orders, as long as nobody has it. */
	edge_make_bait(beside, true);
	sum = edge_sum_bait(beside);
	for (i = 0; i < ARRAY_SIZE(pfns); i++) {
		struct page *page = pfn_to_page(pfns[i]);

		edge_take_pages(test, pfns[i], pfns[i] + 1);
		set_page_count(page, 0);
		KUNIT_EXPECT_FALSE(test, is_free_buddy_page(page));
		KUNIT_EXPECT_FALSE(test, take_page_off_buddy(page));
		set_page_count(page, 1);
		free_contig_range(pfns[i], 1);
	}
	KUNIT_EXPECT_EQ(test, edge_sum_bait(beside), sum);
	edge_make_bait(beside, false);
	edge_expect_beside(test, beside, "used");
}

/* I1: a page that is next to an edge is looked for in no page beyond it. */
void mhp_edge_take_off(struct kunit *test)
{
	edge_at_each_place(test, take_off_beside);
}
#endif /* CONFIG_MEMORY_FAILURE */
