/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of mhp_online share: memmap of memory that is not online, and looks as if
 * it were free.
 */
#ifndef _MHP_KUNIT_ONLINE_H
#define _MHP_KUNIT_ONLINE_H

#include <linux/gfp.h>
#include <linux/mm.h>

#include "fixture.h"

enum beside { NOTHING, BAIT, OTHER_NODE, A_DEVICE, BOOT_MEMORY };

/* Have uninitialised struct pages look like free pages of a granule. */
static inline void make_bait(u64 start, enum beside what, struct page *ref)
{
	unsigned long i, pfn = PHYS_PFN(start);

	for (i = 0; what == BAIT && i < PAGES_PER_SUBSECTION; i++) {
		struct page *page = pfn_to_page(pfn + i);

		memset(page, 0, sizeof(*page));
		/* Node, zone and section of the other page, and no flags */
		*mhp_page_flags(page) = *mhp_page_flags(ref) & ~((1UL << NR_PAGEFLAGS) - 1);
		page->page_type = PGTY_buddy << 24;
		INIT_LIST_HEAD(&page->buddy_list);
		page->private = ilog2(PAGES_PER_SUBSECTION);
	}
}

static inline void take_pages(struct kunit *test, unsigned long pfn, unsigned long end)
{
	mhp_must_take_pages(test, pfn, end, GFP_KERNEL);
}

#endif /* _MHP_KUNIT_ONLINE_H */
