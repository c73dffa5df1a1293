/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of mhp_edge share.
 *
 * Places are told in granules from the start of a MAX_ORDER area, so that they mean the
 * same whatever the size of a granule and of the largest page: where edges are, and how
 * far pages merge between them, is written down here, and not asked of the kernel.
 */
#ifndef _MHP_KUNIT_EDGE_H
#define _MHP_KUNIT_EDGE_H

#include <linux/mm.h>

#include "fixture.h"
#ifndef MODULE
#include "internal.h"
#if __has_include("page_alloc.h")
#include "page_alloc.h"
#endif
#include "granule.h"
#endif

static inline unsigned long granule_pages(void)
{
	return PHYS_PFN(mhp_granule_bytes());
}

/* A bit of the map of edges, by what the kernel must have written there */
static inline bool is_edge(unsigned long pfn)
{
	return test_bit(subsection_map_index(pfn), __pfn_to_section(pfn)->usage->edge_map);
}

#ifndef MODULE
enum how { HEAD_FIRST, TAIL_FIRST, SHUFFLED, NR_HOW };

extern const char * const edge_how_names[NR_HOW];

/**
 * struct beside - an extent between two neighbours of the same kind
 * @what: they are, see edge_make_parts(); 'b' is boot memory below, and a hole above
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

/*
 * Two extents, each one and a half of the largest pages, with the edge in the middle of an
 * area; and what the allocator keeps back
 */
struct pair {
	unsigned long pfn;
	unsigned long mid;
	unsigned long end;
};

void edge_seed_random(struct kunit *test);
unsigned int edge_area_granules(void);
void edge_need_areas(struct kunit *test);
u64 edge_base_of(struct kunit *test);
struct zone *edge_own_zone(void);
u64 edge_add_part(struct kunit *test, char what, u64 start, unsigned int nr);
void edge_make_parts(struct kunit *test, u64 base, const char *parts);
unsigned int edge_order_between(unsigned long pfn, unsigned long end, unsigned int max);
void edge_expect_merged(struct kunit *test, unsigned long pfn, unsigned long end,
			const char *when);
void edge_expect_apart(struct kunit *test, unsigned long pfn, unsigned long end,
		       const char *when);
void edge_expect_counts(struct kunit *test, const char *when);
void edge_take_pages(struct kunit *test, unsigned long pfn, unsigned long end);
void edge_make_one_page(unsigned long pfn, unsigned int order);
void edge_free_pieces(struct kunit *test, unsigned long start, unsigned long end,
		      unsigned int max, enum how how);
void edge_make_bait(const struct beside *beside, bool one);
u32 edge_sum_bait(const struct beside *beside);
void edge_make_beside(struct kunit *test, char what, unsigned int at, struct beside *beside);
void edge_remove_part(struct kunit *test, char what, u64 pfn, u64 end);
void edge_remove_beside(struct kunit *test, const struct beside *beside);
void edge_expect_beside(struct kunit *test, const struct beside *beside, const char *when);
void edge_at_each_place(struct kunit *test,
			void (*func)(struct kunit *test, struct beside *beside));
void edge_add_reserve(struct kunit *test, u64 end);
void edge_remove_reserve(struct kunit *test, u64 end);
void edge_make_pair(struct kunit *test, struct pair *pair);
void edge_expect_pair(struct kunit *test, const struct pair *pair, const char *when);
unsigned int edge_take_all(struct list_head *list, unsigned int order, gfp_t gfp);
void edge_free_all(struct list_head *list, unsigned int order);
int edge_offline(unsigned long pfn, unsigned long end);
int edge_isolate(unsigned long pfn, unsigned long end);
void edge_undo_isolate(unsigned long pfn, unsigned long end);

MHP_DECLARE_PARAMS(beside);

void mhp_edge_free(struct kunit *test);
void mhp_edge_isolate(struct kunit *test);
void mhp_edge_isolate_neighbours(struct kunit *test);
void mhp_edge_take_off(struct kunit *test);
void mhp_edge_handed_out(struct kunit *test);
void mhp_edge_allocated(struct kunit *test);
void mhp_edge_split(struct kunit *test);
void mhp_edge_contig(struct kunit *test);
void mhp_edge_kept_page(struct kunit *test);
void mhp_edge_reported(struct kunit *test);
#endif /* !MODULE */

#endif /* _MHP_KUNIT_EDGE_H */
