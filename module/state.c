// SPDX-License-Identifier: GPL-2.0
/*
 * What sections, extents and resources there are, at one moment.
 */

#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/namei.h>
#include <linux/rcupdate.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "mhp_debug.h"
#include "vmemmap.h"

#ifdef MHP_SUBSECTION

int mhp_state_init(void)
{
	return 0;
}

void mhp_state_exit(void)
{
}

/**
 * mhp_lock() - hold memory still, to look at it
 *
 * With the series, nothing comes, goes, or changes its state until mhp_unlock().
 * Without it, no lock for this is exported: memory that is online stays so, or is
 * known to go offline, so that its memmap and the page tables of that can be
 * read; see mhp_memmap_is_stable(). Sections are read under RCU.
 *
 * Who takes memory offline that is in use has the lock for as long as that takes.
 *
 * Context: Process context. May sleep.
 * Return: 0, or -EINTR if the task was killed while it waited
 */
int mhp_lock(void)
{
	int ret = lock_device_hotplug_killable();

	/* Only those who have the first lock have the second one for long. */
	if (!ret)
		get_online_mems();
	return ret;
}

/**
 * mhp_unlock() - end what mhp_lock() began
 *
 * Context: Process context, by whom mhp_lock() has returned 0 to.
 */
void mhp_unlock(void)
{
	put_online_mems();
	unlock_device_hotplug();
}

u64 mhp_granularity(void)
{
	return mhp_granule_bytes();
}

bool mhp_memmap_is_stable(unsigned long pfn)
{
	return pfn_valid(pfn);
}

#else

/*
 * Who looks at memmaps holds it for reading. Memory that begins to go offline waits
 * for them, and is not looked at any more.
 */
static DECLARE_RWSEM(mhp_memmap_sem);

/* What goes offline now; one range at a time. Protected by mhp_memmap_sem. */
static unsigned long going_pfn, going_pages;

static int memory_callback(struct notifier_block *nb, unsigned long action,
			   void *arg)
{
	struct memory_notify *mn = arg;

	switch (action) {
	case MEM_GOING_OFFLINE:
		down_write(&mhp_memmap_sem);
		going_pfn = mn->start_pfn;
		going_pages = mn->nr_pages;
		up_write(&mhp_memmap_sem);
		break;
	case MEM_OFFLINE:
	case MEM_CANCEL_OFFLINE:
		/* Also for an action that another callback refused before us */
		down_write(&mhp_memmap_sem);
		going_pages = 0;
		up_write(&mhp_memmap_sem);
		break;
	}
	return NOTIFY_OK;
}

static struct notifier_block memory_nb = { .notifier_call = memory_callback };

/*
 * Memory that was on its way offline before this is the one case that is not
 * covered: pfn_to_online_page() alone has to do then, as it has elsewhere.
 */
int mhp_state_init(void)
{
	return register_memory_notifier(&memory_nb);
}

void mhp_state_exit(void)
{
	unregister_memory_notifier(&memory_nb);
}

int mhp_lock(void)
{
	return down_read_killable(&mhp_memmap_sem);
}

void mhp_unlock(void)
{
	up_read(&mhp_memmap_sem);
}

/**
 * mhp_granularity() - the smallest range that can be added as System RAM
 *
 * Context: Any.
 * Return: bytes
 */
u64 mhp_granularity(void)
{
	return memory_block_size_bytes();
}

/**
 * mhp_memmap_is_stable() - whether the page tables of a memmap can be read
 * @pfn: page frame number
 *
 * Context: Under mhp_lock().
 * Return: true if they can be read until mhp_unlock()
 */
bool mhp_memmap_is_stable(unsigned long pfn)
{
	return mhp_online_page(pfn);
}

#endif /* MHP_SUBSECTION */

/**
 * mhp_online_page() - the struct page of a page that is online
 * @pfn: page frame number
 *
 * Context: Under mhp_lock().
 * Return: the page, which can be read until mhp_unlock(), or NULL
 */
struct page *mhp_online_page(unsigned long pfn)
{
#ifndef MHP_SUBSECTION
	lockdep_assert_held(&mhp_memmap_sem);
	if (pfn - going_pfn < going_pages)
		return NULL;
#endif
	return pfn_to_online_page(pfn);
}

/**
 * mhp_next_section() - the next section that is present
 * @nr: number to begin with
 *
 * Context: Process context.
 * Return: the lowest number >= @nr of a present section, or NR_MEM_SECTIONS
 */
unsigned long mhp_next_section(unsigned long nr)
{
	struct mem_section *ms;

	for (; nr < NR_MEM_SECTIONS; nr++) {
		ms = __nr_to_section(nr);
		if (present_section(ms))
			return nr;
		if (!ms)
			nr = ALIGN(nr + 1, SECTIONS_PER_ROOT) - 1;
		if (!(nr & 0xfff))
			cond_resched();
	}
	return NR_MEM_SECTIONS;
}

/* Set the bits of sub-sections that intersect a range, or lie in it. */
static void set_subsections(unsigned long *map, unsigned long nr, u64 start,
			    u64 size, bool inside)
{
	const u64 base = PFN_PHYS(section_nr_to_pfn(nr));
	const u64 section_size = PFN_PHYS(PAGES_PER_SECTION);
	u64 from, to;

	if (start + size <= base || start >= base + section_size)
		return;
	from = max(start, base) - base;
	to = min(start + size, base + section_size) - base;
	if (inside) {
		from = ALIGN(from, SUBSECTION_SIZE);
		to = ALIGN_DOWN(to, SUBSECTION_SIZE);
	} else {
		to = ALIGN(to, SUBSECTION_SIZE);
	}
	from /= SUBSECTION_SIZE;
	to /= SUBSECTION_SIZE;
	if (from < to)
		bitmap_set(map, from, to - from);
}

static int note_extent(const struct mhp_extent *ext, void *arg)
{
	struct mhp_section *sec = arg;
	u64 hosted_start = PFN_PHYS((u64)ext->hosted_pfn);
	u64 hosted = PFN_PHYS((u64)ext->hosted);

	set_subsections(ext->early ? sec->boot : sec->ram, sec->nr, ext->start,
			ext->size, false);
	if (ext->memmap == MHP_MEMMAP_NA)
		set_subsections(sec->unknown, sec->nr, ext->start, ext->size, false);
	if (ext->memmap != MHP_MEMMAP_SELF)
		return 0;
	/* What lies in a section that is there since boot has its memmap there. */
	if (!sec->early)
		set_subsections(sec->self, sec->nr, ext->start, ext->size, false);
	set_subsections(sec->hosts, sec->nr, hosted_start, hosted, false);
	set_subsections(sec->hosts_all, sec->nr, hosted_start, hosted, true);
	return 0;
}

/* Whether the kernel has marked the section as having ZONE_DEVICE in it. */
static bool section_is_tainted(struct mem_section *ms)
{
#if !defined(MHP_SUBSECTION) && defined(CONFIG_ZONE_DEVICE)
	return ms->section_mem_map & SECTION_TAINT_ZONE_DEVICE;
#else
	return false;
#endif
}

/**
 * mhp_read_section() - find out what is in a section
 * @nr: the section number
 * @sec: filled; all maps are empty if the section is not present
 *
 * Context: Under mhp_lock().
 */
void mhp_read_section(unsigned long nr, struct mhp_section *sec)
{
	const unsigned long pfn = section_nr_to_pfn(nr);
	struct mem_section_usage *usage;
	struct dev_pagemap *pgmap;
	struct mem_section *ms;
	bool tainted = false;
	unsigned long i;

	memset(sec, 0, sizeof(*sec));
	sec->nr = nr;

	rcu_read_lock_sched();
	ms = __nr_to_section(nr);
	if (present_section(ms)) {
		sec->early = early_section(ms);
		sec->online = online_section(ms);
		tainted = section_is_tainted(ms);
		usage = READ_ONCE(ms->usage);
		if (usage) {
			bitmap_copy(sec->present, usage->subsection_map,
				    SUBSECTIONS_PER_SECTION);
#ifdef MHP_SUBSECTION
			bitmap_copy(sec->online_map, usage->online_map,
				    SUBSECTIONS_PER_SECTION);
#endif
		}
	}
	rcu_read_unlock_sched();

	for_each_set_bit(i, sec->present, SUBSECTIONS_PER_SECTION) {
		const unsigned long first = pfn + i * PAGES_PER_SUBSECTION;

#ifndef MHP_SUBSECTION
		if (pfn_to_online_page(first))
			__set_bit(i, sec->online_map);
#endif
		if (test_bit(i, sec->online_map))
			continue;
		pgmap = mhp_get_dev_pagemap(first);
		if (pgmap) {
			__set_bit(i, sec->device);
			put_dev_pagemap(pgmap);
		} else if (tainted && !sec->early) {
			/* On its way out */
			__set_bit(i, sec->device);
		}
	}

	mhp_walk_extents(PFN_PHYS(pfn), PFN_PHYS(PAGES_PER_SECTION), note_extent,
			 sec);
	/*
	 * Where memory comes by memory blocks, that of boot has one extent in each,
	 * with the holes; without the series, so has all memory.
	 */
	bitmap_and(sec->boot, sec->boot, sec->present, SUBSECTIONS_PER_SECTION);
	bitmap_andnot(sec->boot, sec->boot, sec->device, SUBSECTIONS_PER_SECTION);
#ifndef MHP_SUBSECTION
	bitmap_and(sec->ram, sec->ram, sec->present, SUBSECTIONS_PER_SECTION);
	bitmap_andnot(sec->ram, sec->ram, sec->device, SUBSECTIONS_PER_SECTION);
	bitmap_and(sec->unknown, sec->unknown, sec->ram, SUBSECTIONS_PER_SECTION);
#endif
	bitmap_or(sec->ram, sec->ram, sec->boot, SUBSECTIONS_PER_SECTION);
#ifdef MHP_SUBSECTION
	/* What is on its way out is found neither in extents nor by its device. */
	if (!sec->early)
		bitmap_andnot(sec->device, sec->present, sec->ram,
			      SUBSECTIONS_PER_SECTION);
#endif
}

/**
 * mhp_memmap_kind() - where the memmap of a sub-section is
 * @sec: the section
 * @idx: index of the sub-section
 *
 * Context: Any.
 * Return: the kind; MHP_MEMMAP_NA also where there is no memmap
 */
enum mhp_memmap mhp_memmap_kind(const struct mhp_section *sec, unsigned int idx)
{
	/* The memmap of a section that is there since boot covers its holes. */
	if (sec->early)
		return MHP_MEMMAP_BOOT;
	if (!test_bit(idx, sec->present) || test_bit(idx, sec->unknown))
		return MHP_MEMMAP_NA;
	if (test_bit(idx, sec->device))
		return MHP_MEMMAP_DEVICE;
	return test_bit(idx, sec->self) ? MHP_MEMMAP_SELF : MHP_MEMMAP_REGULAR;
}

/**
 * mhp_memmap_name() - the name of a place for memmap
 * @memmap: the place
 *
 * Context: Any.
 * Return: the name
 */
const char *mhp_memmap_name(enum mhp_memmap memmap)
{
	static const char * const names[] = {
		[MHP_MEMMAP_NA] = "n/a",
		[MHP_MEMMAP_BOOT] = "boot",
		[MHP_MEMMAP_REGULAR] = "regular",
		[MHP_MEMMAP_SELF] = "self",
		[MHP_MEMMAP_DEVICE] = "zone_device",
	};

	return names[memmap];
}

/* --- extents --- */

#ifdef MHP_SUBSECTION

static enum mhp_memmap extent_memmap(const struct memory_extent *mext)
{
	unsigned long end = mext->start_pfn + mext->nr_pages;
	unsigned long pfn;

	if (mext->altmap)
		return MHP_MEMMAP_SELF;
	for (pfn = mext->start_pfn; pfn < end; pfn = SECTION_ALIGN_UP(pfn + 1)) {
		if (!early_section(__pfn_to_section(pfn)))
			return MHP_MEMMAP_REGULAR;
	}
	return MHP_MEMMAP_BOOT;
}

static int show_extent(const struct memory_extent *mext, mhp_extent_fn func, void *arg)
{
	struct mhp_extent ext = {
		.start = PFN_PHYS(mext->start_pfn),
		.size = PFN_PHYS(mext->nr_pages),
		.early = mext->early,
		.online = mext->online,
		.nid = mext->nid,
		.described = mext->nr_pages,
		.mgid = mext->group ? mext->group->mgid : MHP_NOTHING,
		.zone = mext->online && mext->zone ? mext->zone->name : "none",
		.memmap = extent_memmap(mext),
	};

	if (mext->altmap) {
		ext.hosted_pfn = mext->altmap->base_pfn + mext->altmap->reserve;
		ext.hosted = mext->altmap->free;
		ext.hosted_alloc = mext->altmap->alloc;
	}
	return func(&ext, arg);
}

/**
 * mhp_walk_extents() - call a function for each extent of a range
 * @start: physical address in bytes
 * @size: bytes
 * @func: called for each extent that intersects the range, in ascending order; the
 *	walk ends when it does not return 0
 * @arg: for @func
 *
 * Context: Under mhp_lock(), or with the series under lock_device_hotplug().
 * Return: 0, or what @func returned last
 */
int mhp_walk_extents(u64 start, u64 size, mhp_extent_fn func, void *arg)
{
	struct memory_extent *mext;
	unsigned long pfn;
	int ret;

	for_each_memory_extent(mext, pfn, PHYS_PFN(start), PHYS_PFN(start + size)) {
		ret = show_extent(mext, func, arg);
		if (ret)
			return ret;
	}
	return 0;
}

#else

/*
 * Pages of a block that host its memmap, from its first page on, or 0. Their mark is
 * a page flag that others use as well: what counts is where the memmap is.
 */
static unsigned long count_hosting(unsigned long start_pfn, unsigned long end_pfn)
{
	unsigned long size, nr, max;
	phys_addr_t phys;

	if (!mhp_online_page(start_pfn))
		return 0;
	phys = mhp_virt_to_backing((unsigned long)pfn_to_page(start_pfn), &size);
	if (PHYS_PFN(phys) < start_pfn || PHYS_PFN(phys) >= end_pfn)
		return 0;
	max = PFN_UP((end_pfn - start_pfn) * sizeof(struct page));
	max = ALIGN(max, pageblock_nr_pages);
	for (nr = 0; nr < max; nr++) {
		struct page *page = mhp_online_page(start_pfn + nr);

		if (!page || !PageVmemmapSelfHosted(page))
			break;
	}
	return nr;
}

/*
 * Memory blocks are not exported. Each has System RAM, and nothing else does: a
 * section is part of one if it is there since boot, or is online. Whether one that
 * is offline is System RAM or ZONE_DEVICE, sysfs knows.
 */
static bool read_block(u64 start, u64 size, struct mhp_extent *ext)
{
	unsigned long pfn = PFN_DOWN(start), end = PFN_DOWN(start + size);
	struct page *page;

	*ext = (struct mhp_extent) {
		.start = start,
		.size = size,
		.nid = MHP_NA,
		.mgid = MHP_NA,
		.zone = "n/a",
		.hosted_alloc = MHP_NA,
	};
	for (; pfn < end; pfn += PAGES_PER_SECTION) {
		struct mem_section *ms = __pfn_to_section(pfn);

		if (!present_section(ms) ||
		    (!early_section(ms) && section_is_tainted(ms)))
			continue;
		ext->described += PAGES_PER_SECTION;
		ext->early |= early_section(ms);
		ext->online |= online_section(ms);
	}
	if (!ext->described ||
	    (!ext->early && !ext->online && !mhp_block_has(div64_u64(start, size), "state")))
		return false;

	if (ext->early)
		ext->memmap = MHP_MEMMAP_BOOT;
	if (!ext->online)
		ext->zone = "none";
	for (pfn = PFN_DOWN(start); pfn < end; pfn += PAGES_PER_SUBSECTION) {
		page = mhp_online_page(pfn);
		if (!page)
			continue;
		if (!strcmp(ext->zone, "n/a")) {
			ext->nid = page_to_nid(page);
			ext->zone = page_zone(page)->name;
			continue;
		}
		/* More than one is shown as none, as in valid_zones. */
		if (ext->nid != page_to_nid(page))
			ext->nid = MHP_NA;
		if (ext->nid == MHP_NA || strcmp(ext->zone, page_zone(page)->name))
			ext->zone = "none";
	}
	if (!ext->early && mhp_online_page(PFN_DOWN(start))) {
		ext->hosted_pfn = PFN_DOWN(start);
		ext->hosted = count_hosting(PFN_DOWN(start), end);
		ext->memmap = ext->hosted ? MHP_MEMMAP_SELF : MHP_MEMMAP_REGULAR;
	}
	return true;
}

int mhp_walk_extents(u64 start, u64 size, mhp_extent_fn func, void *arg)
{
	const u64 block_size = memory_block_size_bytes();
	u64 block = ALIGN_DOWN(start, block_size);
	struct mhp_extent ext;
	int ret = 0;

	for (; !ret && block < start + size; block += block_size) {
		if (read_block(block, block_size, &ext))
			ret = func(&ext, arg);
	}
	return ret;
}

#endif /* MHP_SUBSECTION */

static int copy_extent(const struct mhp_extent *ext, void *arg)
{
	*(struct mhp_extent *)arg = *ext;
	return 1;
}

/**
 * mhp_find_extent() - the first extent in a range
 * @start: physical address in bytes
 * @size: bytes
 * @ext: filled if there is one
 *
 * Context: As for mhp_walk_extents().
 * Return: whether there is one
 */
bool mhp_find_extent(u64 start, u64 size, struct mhp_extent *ext)
{
	const u64 page = ALIGN_DOWN(start, PAGE_SIZE);

	return mhp_walk_extents(page, PAGE_ALIGN(start + size) - page,
				copy_extent, ext);
}

/* --- resources --- */

/* A line of /proc/iomem: "  <start>-<end> : <name>" */
static int parse_resource(char *line, mhp_iomem_fn func, void *arg)
{
	char *name = strstr(line, " : ");
	u64 start, end;

	if (!name)
		return -EIO;
	*name = '\0';
	if (sscanf(line, " %llx-%llx", &start, &end) != 2)
		return -EIO;
	return func(start, end, name + 3, arg);
}

/* Not what somebody has mounted there */
static bool is_proc_iomem(struct file *file)
{
	struct dentry *dentry = file->f_path.dentry;

	return dentry->d_sb->s_magic == PROC_SUPER_MAGIC &&
	       IS_ROOT(dentry->d_parent) && !strcmp(dentry->d_name.name, "iomem");
}

/**
 * mhp_block_has() - whether sysfs has a memory block, and something of it
 * @block: number of the block
 * @name: name of a file or link of it
 *
 * Context: Process context. May sleep.
 * Return: true if there is such a file
 */
bool mhp_block_has(unsigned long block, const char *name)
{
	char text[80];
	struct path path;

	snprintf(text, sizeof(text), "/sys/devices/system/memory/memory%lu/%s",
		 block, name);
	if (kern_path(text, 0, &path))
		return false;
	path_put(&path);
	return true;
}

/**
 * mhp_walk_iomem() - call a function for each resource of /proc/iomem
 * @func: called with the first and the last byte, and the name, of each resource,
 *	parents before their children; the walk ends when it does not return 0
 * @arg: for @func
 *
 * Names of resources cannot be had otherwise: the tree is not exported with its
 * lock, and walk_iomem_res_desc() does not pass them on. The file is read in parts:
 * where resources come and go meanwhile, one may be missed, or seen twice.
 *
 * Context: Process context, by a task with CAP_SYS_ADMIN, to whom /proc/iomem
 * tells addresses. May sleep.
 * Return: 0, what @func returned last, or the error of reading the file.
 */
int mhp_walk_iomem(mhp_iomem_fn func, void *arg)
{
	char *buf, *line, *end;
	struct file *file;
	size_t used = 0;
	loff_t pos = 0;
	ssize_t len;
	int ret = 0;

	file = filp_open("/proc/iomem", O_RDONLY, 0);
	if (IS_ERR(file))
		return PTR_ERR(file);
	if (!is_proc_iomem(file)) {
		filp_close(file, NULL);
		return -ENOENT;
	}

	buf = kmalloc(PAGE_SIZE, GFP_KERNEL);
	if (!buf) {
		filp_close(file, NULL);
		return -ENOMEM;
	}
	do {
		len = kernel_read(file, buf + used, PAGE_SIZE - 1 - used, &pos);
		if (len < 0) {
			ret = len;
			break;
		}
		used += len;
		buf[used] = '\0';
		line = buf;
		while (!ret && (end = strchr(line, '\n'))) {
			*end = '\0';
			ret = parse_resource(line, func, arg);
			line = end + 1;
		}
		used -= line - buf;
		memmove(buf, line, used);
		/* A line that fills the buffer is none of a resource. */
		if (used == PAGE_SIZE - 1)
			ret = -EIO;
	} while (!ret && len);

	kfree(buf);
	filp_close(file, NULL);
	return ret;
}
