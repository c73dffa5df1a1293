// SPDX-License-Identifier: GPL-2.0
/*
 * "selfcheck": compare what section bitmaps, memory blocks, zones, the page tables
 * of memmaps and the resource tree say of the same memory.
 */

#include <linux/ioport.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "mhp_debug.h"
#include "vmemmap.h"

/**
 * struct check - a self check that runs
 * @req: takes the violations
 * @sec: the section that is looked at
 * @again: the same section, read a second time
 * @next_start: where the extents of the section before ended
 * @present: pages of online extents that came after boot, by node and zone
 */
struct check {
	struct mhp_request *req;
	struct mhp_section sec;
	struct mhp_section again;
	u64 next_start;
	unsigned long (*present)[MAX_NR_ZONES];
};

__printf(2, 3)
static void check_err(struct check *check, const char *fmt, ...)
{
	struct mhp_request *req = check->req;
	size_t room = MHP_VIOLATIONS_SIZE - req->violations_len;
	char *at = req->violations + req->violations_len;
	va_list args;
	int len;

	req->nr_violations++;
	va_start(args, fmt);
	len = vsnprintf(at, room, fmt, args);
	va_end(args);
	/* Count what has no room, and show nothing of it. */
	if (len + 1 >= room) {
		*at = '\0';
		return;
	}
	at[len] = '\n';
	at[len + 1] = '\0';
	req->violations_len += len + 1;
}

/* --- sections --- */

static u64 subsection_addr(const struct mhp_section *sec, unsigned int idx)
{
	return PFN_PHYS((u64)section_nr_to_pfn(sec->nr)) + idx * SUBSECTION_SIZE;
}

static void check_subsection(struct check *check, unsigned int idx)
{
	const struct mhp_section *sec = &check->sec;
	const unsigned long pfn = section_nr_to_pfn(sec->nr) +
				  idx * PAGES_PER_SUBSECTION;
	const unsigned long last = pfn + PAGES_PER_SUBSECTION - 1;
	const u64 addr = subsection_addr(sec, idx);
	bool present = test_bit(idx, sec->present);
	bool online = test_bit(idx, sec->online_map);
	bool ram = test_bit(idx, sec->ram);
	struct dev_pagemap *pgmap = mhp_get_dev_pagemap(pfn);

	if (pgmap)
		put_dev_pagemap(pgmap);
	if (online && !present)
		check_err(check, "section=%lu addr=%#llx: online, but not present",
			  sec->nr, addr);
	/* Firmware may keep boot memory that has a memmap. */
	if (online && !ram && !sec->early)
		check_err(check, "section=%lu addr=%#llx: online, but in no extent",
			  sec->nr, addr);
	if (ram && !present)
		check_err(check, "section=%lu addr=%#llx: System RAM, but not present",
			  sec->nr, addr);
	if (ram && pgmap)
		check_err(check, "section=%lu addr=%#llx: System RAM and ZONE_DEVICE at once",
			  sec->nr, addr);
	if (!!pfn_to_online_page(pfn) != online ||
	    !!pfn_to_online_page(last) != online)
		check_err(check, "section=%lu addr=%#llx: pfn_to_online_page() does not follow the online map",
			  sec->nr, addr);
	if (pfn_valid(pfn) != (sec->early || present))
		check_err(check, "section=%lu addr=%#llx: pfn_valid() does not follow the present map",
			  sec->nr, addr);
}

/* Each page of memmap must be mapped, and lie where its kind says. */
static void check_memmap(struct check *check, unsigned int idx)
{
	const struct mhp_section *sec = &check->sec;
	const unsigned long pfn = section_nr_to_pfn(sec->nr) +
				  idx * PAGES_PER_SUBSECTION;
	unsigned long addr = (unsigned long)pfn_to_page(pfn);
	unsigned long end = (unsigned long)pfn_to_page(pfn + PAGES_PER_SUBSECTION);
	enum mhp_memmap kind = mhp_memmap_kind(sec, idx);
	struct mhp_extent host, ext;
	unsigned long page_size;
	phys_addr_t phys;
	bool inside;

	if (!pfn_valid(pfn) || !mhp_memmap_is_stable(pfn))
		return;
	for (; addr < end; addr = ALIGN(addr + 1, page_size)) {
		phys = mhp_virt_to_backing(addr, &page_size);
		if (!phys) {
			check_err(check, "section=%lu addr=%#llx: memmap is not mapped",
				  sec->nr, subsection_addr(sec, idx));
			return;
		}
		/* A device may host its memmap; whoever else does is an extent. */
		if (kind != MHP_MEMMAP_SELF && kind != MHP_MEMMAP_REGULAR)
			continue;
		inside = mhp_find_extent(phys, 1, &host) &&
			 PHYS_PFN(phys) - host.hosted_pfn < host.hosted;
		if (kind == MHP_MEMMAP_REGULAR && inside)
			check_err(check, "section=%lu addr=%#llx: regular memmap at %pap, where the extent at %#llx hosts its own",
				  sec->nr, subsection_addr(sec, idx), &phys, host.start);
		if (kind == MHP_MEMMAP_SELF &&
		    (!inside || !mhp_find_extent(subsection_addr(sec, idx), 1, &ext) ||
		     ext.start != host.start))
			check_err(check, "section=%lu addr=%#llx: self-hosted memmap at %pap, not in its extent",
				  sec->nr, subsection_addr(sec, idx), &phys);
	}
}

static void check_section_once(struct check *check)
{
	const struct mhp_section *sec = &check->sec;
	unsigned int i;

	if (sec->online != !bitmap_empty(sec->online_map, SUBSECTIONS_PER_SECTION))
		check_err(check, "section=%lu: marked as %s, but its online map says otherwise",
			  sec->nr, sec->online ? "online" : "offline");
	if (bitmap_empty(sec->present, SUBSECTIONS_PER_SECTION))
		check_err(check, "section=%lu: present, but nothing of it is",
			  sec->nr);
	for (i = 0; i < SUBSECTIONS_PER_SECTION; i++) {
		check_subsection(check, i);
		check_memmap(check, i);
	}
}

/*
 * What was found of a section that changed meanwhile does not count: without the
 * series, nothing keeps it as it is.
 */
static void check_section(struct check *check, unsigned long nr)
{
	struct mhp_request *req = check->req;
	const unsigned long nr_before = req->nr_violations;
	const size_t len_before = req->violations_len;
	int tries = 10;

	for (;;) {
		mhp_read_section(nr, &check->sec);
		check_section_once(check);
		if (req->nr_violations == nr_before)
			break;
		mhp_read_section(nr, &check->again);
		if (!memcmp(&check->sec, &check->again, sizeof(check->sec)) || !--tries)
			break;
		req->nr_violations = nr_before;
		req->violations_len = len_before;
		req->violations[len_before] = '\0';
	}
}

/* --- extents --- */

#ifdef MHP_SUBSECTION

static void check_extent_shape(struct check *check, const struct mhp_extent *ext)
{
	const u64 block = memory_block_size_bytes();

	if (ext->start < check->next_start)
		check_err(check, "extent=%#llx: overlaps with another, or out of order",
			  ext->start);
	check->next_start = ext->start + ext->size;
	if (!ext->size || ext->start / block != (ext->start + ext->size - 1) / block)
		check_err(check, "extent=%#llx: empty, or in more than one memory block",
			  ext->start);
	if (!ext->early && !IS_ALIGNED(ext->start | ext->size, mhp_granularity()))
		check_err(check, "extent=%#llx: not aligned to the granularity",
			  ext->start);
}

/* All of it is System RAM in the resource tree. */
static void check_extent_resource(struct check *check, const struct mhp_extent *ext)
{
	if (ext->early)
		return;		/* Firmware tables may cut boot memory. */
	if (region_intersects(ext->start, ext->size, IORESOURCE_SYSTEM_RAM |
			      IORESOURCE_BUSY, IORES_DESC_NONE) != REGION_INTERSECTS)
		check_err(check, "extent=%#llx: not System RAM in /proc/iomem",
			  ext->start);
}

/* The pages of an online extent: all of one node and zone, which spans them. */
static void check_extent_pages(struct check *check, const struct mhp_extent *ext)
{
	unsigned long start = PHYS_PFN(ext->start);
	unsigned long end = PHYS_PFN(ext->start + ext->size), pfn;
	struct zone *zone = NULL;
	struct page *page;

	/* Boot memory has one extent in a block then, with the holes. */
	if (ext->early && mhp_granularity() >= memory_block_size_bytes())
		return;

	for (pfn = start; pfn < end; pfn++) {
		bool hosts = pfn - ext->hosted_pfn < ext->hosted;

		if (!(pfn % PAGES_PER_SECTION))
			cond_resched();
		page = mhp_online_page(pfn);
		if (!!page != ext->online) {
			check_err(check, "extent=%#llx: is %s, but page %#lx is not",
				  ext->start, ext->online ? "online" : "offline", pfn);
			return;
		}
		if (!page)
			continue;
		if (!zone)
			zone = page_zone(page);
		if (!ext->early)
			check->present[page_to_nid(page)][page_zonenum(page)]++;
		/* Boot memory of one extent may be of several zones. */
		if (ext->early && !strcmp(ext->zone, "none"))
			continue;
		if (page_zone(page) != zone || page_to_nid(page) != ext->nid ||
		    strcmp(page_zone(page)->name, ext->zone)) {
			check_err(check, "extent=%#llx: node %d zone %s, but page %#lx has node %d zone %s",
				  ext->start, ext->nid, ext->zone, pfn,
				  page_to_nid(page), page_zone(page)->name);
			return;
		}
		if (!zone_spans_pfn(zone, pfn)) {
			check_err(check, "extent=%#llx: zone %s does not span page %#lx",
				  ext->start, zone->name, pfn);
			return;
		}
		/* Others use the same flag for their pages. */
		if (hosts && !PageVmemmapSelfHosted(page)) {
			check_err(check, "extent=%#llx: page %#lx is not marked as hosting memmap",
				  ext->start, pfn);
			return;
		}
	}
}

static int check_extent(const struct mhp_extent *ext, void *arg)
{
	struct check *check = arg;

	/* Extents may be larger than sections. */
	if (pfn_to_section_nr(PHYS_PFN(ext->start)) != check->sec.nr)
		return 0;
	check_extent_shape(check, ext);
	check_extent_resource(check, ext);
	check_extent_pages(check, ext);
	/* A memmap that leaves none of the pages given to it unused */
	if (ext->memmap == MHP_MEMMAP_SELF && ext->hosted_alloc != ext->hosted)
		check_err(check, "extent=%#llx: memmap takes %ld of %lu pages given for it",
			  ext->start, ext->hosted_alloc, ext->hosted);
	return fatal_signal_pending(current) ? -EINTR : 0;
}

static bool is_all_present(u64 start, u64 size)
{
	unsigned long pfn;

	for (pfn = PHYS_PFN(start); pfn < PHYS_PFN(start + size);
	     pfn += PAGES_PER_SUBSECTION) {
		if (!pfn_valid(pfn))
			return false;
	}
	return true;
}

/* System RAM that was added must have extents; what firmware keeps of boot need not. */
static int check_ram_resource(struct resource *res, void *arg)
{
	struct check *check = arg;
	u64 start = res->start, end = res->end + 1;
	struct mhp_extent ext;

	for (; start < end; start = ext.start + ext.size) {
		if (early_section(__pfn_to_section(PHYS_PFN(start)))) {
			ext.start = start;
			ext.size = PFN_PHYS((u64)SECTION_ALIGN_UP(PHYS_PFN(start) + 1)) - start;
			continue;
		}
		if (!mhp_find_extent(start, 1, &ext)) {
			check_err(check, "addr=%#llx: System RAM in /proc/iomem, but no extent",
				  start);
			break;
		}
		if (!is_all_present(ext.start, ext.size))
			check_err(check, "extent=%#llx: a page has no memmap",
				  ext.start);
	}
	return 0;
}

static void check_zones(struct check *check)
{
	struct zone *zone;
	int nid, i;

	for_each_online_node(nid) {
		unsigned long sum = 0;

		for (i = 0; i < MAX_NR_ZONES; i++) {
			zone = NODE_DATA(nid)->node_zones + i;
			/* What firmware keeps of boot memory counts as present, too. */
			if (zone->present_pages - zone->present_early_pages !=
			    check->present[nid][i])
				check_err(check, "node=%d zone=%s: %lu pages came after boot, but extents have %lu",
					  nid, zone->name, zone->present_pages -
					  zone->present_early_pages,
					  check->present[nid][i]);
			if (zone_managed_pages(zone) > zone->present_pages ||
			    zone->present_pages > zone->spanned_pages)
				check_err(check, "node=%d zone=%s: managed %lu, present %lu and spanned %lu do not fit",
					  nid, zone->name, zone_managed_pages(zone),
					  zone->present_pages, zone->spanned_pages);
			sum += zone->present_pages;
		}
		if (sum != NODE_DATA(nid)->node_present_pages)
			check_err(check, "node=%d: %lu pages present, but its zones have %lu",
				  nid, NODE_DATA(nid)->node_present_pages, sum);
	}
}

#else

/* Without the series, zones change while one looks at them. */
static int check_extent(const struct mhp_extent *ext, void *arg)
{
	return 0;
}

static int check_ram_resource(struct resource *res, void *arg)
{
	return 0;
}

static void check_zones(struct check *check)
{
}

#endif /* MHP_SUBSECTION */

static int check_all(struct check *check)
{
	unsigned long nr;
	int ret = 0;

	for (nr = mhp_next_section(0); !ret && nr < NR_MEM_SECTIONS;
	     nr = mhp_next_section(nr + 1)) {
		check_section(check, nr);
		ret = mhp_walk_extents(PFN_PHYS((u64)section_nr_to_pfn(nr)),
				       PFN_PHYS((u64)PAGES_PER_SECTION),
				       check_extent, check);
		cond_resched();
	}
	if (ret)
		return ret;
	check_zones(check);
	walk_iomem_res_desc(IORES_DESC_NONE, IORESOURCE_SYSTEM_RAM |
			    IORESOURCE_BUSY, 0, -1, check, check_ram_resource);
	return 0;
}

/**
 * mhp_selfcheck() - verify what can be verified while the system runs
 * @req: takes the violations
 *
 * Context: Process context. Holds mhp_lock() while it looks at every page of
 * System RAM.
 * Return: 0; -EUCLEAN if something is wrong, with what it is in @req; -ENOMEM; or
 * -EINTR if the caller is killed
 */
int mhp_selfcheck(struct mhp_request *req)
{
	struct check *check;
	int ret = -ENOMEM;

	req->violations = kvzalloc(MHP_VIOLATIONS_SIZE, GFP_KERNEL);
	check = kvzalloc(sizeof(*check), GFP_KERNEL);
	if (!req->violations || !check)
		goto free;
	check->req = req;
	check->present = kvcalloc(nr_node_ids, sizeof(*check->present), GFP_KERNEL);
	if (!check->present)
		goto free;

	ret = mhp_lock();
	if (ret)
		goto free;
	ret = check_all(check);
	mhp_unlock();
	if (!ret && req->nr_violations)
		ret = request_err(req, -EUCLEAN, "%lu violations", req->nr_violations);
free:
	if (check)
		kvfree(check->present);
	kvfree(check);
	if (ret != -EUCLEAN) {
		kvfree(req->violations);
		req->violations = NULL;
	}
	return ret;
}
