// SPDX-License-Identifier: GPL-2.0
/*
 * "pfn": everything that is known of one page.
 */

#include <linux/memremap.h>
#include <linux/mm.h>

#include "mhp_debug.h"
#include "vmemmap.h"

/* What to tell of. No valid pfn is that large. */
static unsigned long shown_pfn = ULONG_MAX;

/**
 * mhp_pfn_set() - choose the page that mhp_pfn_show() tells of
 * @req: the request, with a pfn
 *
 * Context: Any.
 * Return: 0
 */
int mhp_pfn_set(struct mhp_request *req)
{
	WRITE_ONCE(shown_pfn, req->pfn);
	return 0;
}

/*
 * Only a page that is online has flags to speak of. Struct pages of a device may not
 * be initialised yet, or never.
 */
static void show_page(struct seq_file *m, unsigned long pfn)
{
	struct page *page = mhp_online_page(pfn);
	struct dev_pagemap *pgmap = mhp_get_dev_pagemap(pfn);
	struct mhp_extent ext;
	bool hosts;

	hosts = mhp_find_extent(PFN_PHYS((u64)pfn), 1, &ext) &&
		pfn - ext.hosted_pfn < ext.hosted;
	seq_printf(m, "online=%d\nzone_device=%d\nhosts_memmap=%d\n", !!page,
		   !!pgmap, hosts);
	if (page)
		seq_printf(m, "zone=%s\nnode=%d\nflags=%#lx\nflag_names=%pGp\nrefcount=%d\n",
			   page_zone(page)->name, page_to_nid(page), *mhp_page_flags(page),
			   mhp_page_flags(page), page_count(page));
	else
		seq_puts(m, "zone=n/a\nnode=n/a\nflags=n/a\nflag_names=n/a\nrefcount=n/a\n");
	if (pgmap)
		put_dev_pagemap(pgmap);
}

static void show_extent(struct seq_file *m, const char *key, u64 addr)
{
	struct mhp_extent ext;

	if (mhp_find_extent(addr, 1, &ext))
		seq_printf(m, "%s=%#llx-%#llx\n", key, ext.start,
			   ext.start + ext.size - 1);
	else
		seq_printf(m, "%s=none\n", key);
}

static void show_memmap(struct seq_file *m, unsigned long pfn)
{
	unsigned long addr = (unsigned long)pfn_to_page(pfn), page_size;
	phys_addr_t phys = 0;

	if (mhp_memmap_is_stable(pfn))
		phys = mhp_virt_to_backing(addr, &page_size);
	if (!phys) {
		/* Without the series, that of memory which is not online is unsafe. */
		seq_printf(m, "memmap=%s\nmemmap_in=%s\n",
			   pfn_valid(pfn) ? "n/a" : "none",
			   pfn_valid(pfn) ? "n/a" : "none");
		return;
	}
	seq_printf(m, "memmap=%pap\n", &phys);
	show_extent(m, "memmap_in", phys);
}

/**
 * mhp_pfn_show() - tell of the page that was asked for last
 * @m: where to
 * @v: not used
 *
 * Context: Process context.
 * Return: 0, -ENODATA if no page was asked for, -ENOMEM, or -EINTR if the reader is
 * killed
 */
int mhp_pfn_show(struct seq_file *m, void *v)
{
	const unsigned long pfn = READ_ONCE(shown_pfn);
	const unsigned long nr = pfn_to_section_nr(pfn);
	struct mhp_section *sec;
	unsigned int idx;
	int ret;

	if (pfn == ULONG_MAX)
		return -ENODATA;
	sec = kmalloc(sizeof(*sec), GFP_KERNEL);
	if (!sec)
		return -ENOMEM;

	ret = mhp_lock();
	if (ret)
		goto free;
	mhp_read_section(nr, sec);
	idx = subsection_map_index(pfn);
	seq_printf(m, "pfn=%#lx\nphys=%#llx\nsection=%lu\nsubsection=%u\npresent=%d\nvalid=%d\n",
		   pfn, PFN_PHYS((u64)pfn), nr, idx,
		   test_bit(idx, sec->present), pfn_valid(pfn));
	show_page(m, pfn);
	show_extent(m, "extent", PFN_PHYS((u64)pfn));
	seq_printf(m, "memmap_kind=%s\n", pfn_valid(pfn) ?
		   mhp_memmap_name(mhp_memmap_kind(sec, idx)) : "none");
	show_memmap(m, pfn);
	mhp_unlock();
free:
	kfree(sec);
	return ret;
}
