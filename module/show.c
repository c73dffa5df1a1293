// SPDX-License-Identifier: GPL-2.0
/*
 * The files that show state: one record a line, "key=value"; "map" is a picture.
 *
 * Readers of sections, blocks and map take mhp_lock() for as many lines as fit into
 * the buffer, which seq_file makes as large as the longest record. The place where
 * a reader goes on is the number of a section or block: what comes or goes between
 * two reads moves nobody.
 */

#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "mhp_debug.h"
#include "vmemmap.h"

/**
 * mhp_granularity_show() - the smallest range that can be added, and other units
 * @m: where to
 * @v: not used
 *
 * Context: Process context.
 * Return: 0
 */
int mhp_granularity_show(struct seq_file *m, void *v)
{
	seq_printf(m, "granularity_bytes=%llu subsection_bytes=%lu pageblock_bytes=%lu section_bytes=%lu block_bytes=%lu\n",
		   mhp_granularity(), SUBSECTION_SIZE,
		   pageblock_nr_pages << PAGE_SHIFT,
		   PAGES_PER_SECTION << PAGE_SHIFT, memory_block_size_bytes());
	return 0;
}

/* --- sections --- */

static void *section_start(struct seq_file *m, loff_t *pos)
{
	struct mhp_iter *iter = m->private;
	int ret = mhp_lock();

	if (ret)
		return ERR_PTR(ret);
	if (!*pos) {
		iter->end = 0;
		return SEQ_START_TOKEN;
	}
	/* *pos is one more than the number of the section */
	iter->next = mhp_next_section(*pos - 1);
	if (iter->next >= NR_MEM_SECTIONS)
		return NULL;
	*pos = iter->next + 1;
	return iter;
}

static void *section_next(struct seq_file *m, void *v, loff_t *pos)
{
	struct mhp_iter *iter = m->private;

	iter->next = mhp_next_section(v == SEQ_START_TOKEN ? 0 : iter->next + 1);
	*pos = iter->next + 1;
	return iter->next < NR_MEM_SECTIONS && !fatal_signal_pending(current) ?
		iter : NULL;
}

/* Also called if the start has failed */
static void section_stop(struct seq_file *m, void *v)
{
	if (!IS_ERR(v))
		mhp_unlock();
}

/* A bitmap as one hexadecimal number; the lowest bit is the lowest address. */
static void show_bitmap(struct seq_file *m, const char *key,
			const unsigned long *map)
{
	int nibble = DIV_ROUND_UP(SUBSECTIONS_PER_SECTION, 4);

	seq_printf(m, " %s=0x", key);
	while (nibble--)
		seq_printf(m, "%lx", map[nibble * 4 / BITS_PER_LONG] >>
			   (nibble * 4 % BITS_PER_LONG) & 0xf);
}

/* Every place that has memmap of the section, joined by '+' */
static void show_memmap_kinds(struct seq_file *m, const struct mhp_section *sec)
{
	unsigned long kinds = 0;
	const char *sep = "";
	unsigned int i;

	for_each_set_bit(i, sec->present, SUBSECTIONS_PER_SECTION)
		__set_bit(mhp_memmap_kind(sec, i), &kinds);
	seq_puts(m, " memmap=");
	for_each_set_bit(i, &kinds, NR_MHP_MEMMAP) {
		seq_printf(m, "%s%s", sep, mhp_memmap_name(i));
		sep = "+";
	}
	if (!kinds)
		seq_puts(m, "none");
}

static int sections_show(struct seq_file *m, void *v)
{
	struct mhp_iter *iter = m->private;
	struct mhp_section *sec = &iter->sec;
	u64 start;

	if (v == SEQ_START_TOKEN)
		return 0;
	mhp_read_section(iter->next, sec);
	start = PFN_PHYS((u64)section_nr_to_pfn(sec->nr));
	seq_printf(m, "section=%lu start=%#llx end=%#llx kind=%s", sec->nr, start,
		   start + PFN_PHYS((u64)PAGES_PER_SECTION) - 1,
		   sec->early ? "early" : "hot-added");
	show_bitmap(m, "present", sec->present);
	show_bitmap(m, "online", sec->online_map);
	show_bitmap(m, "zone_device", sec->device);
	show_memmap_kinds(m, sec);
	seq_putc(m, '\n');
	return 0;
}

const struct seq_operations mhp_sections_ops = {
	.start = section_start,
	.next = section_next,
	.stop = section_stop,
	.show = sections_show,
};

/* --- blocks --- */

static unsigned long block_sections(void)
{
	return PFN_DOWN(memory_block_size_bytes()) / PAGES_PER_SECTION;
}

struct block {
	unsigned long nr_extents;
	bool online;
};

static int count_extent(const struct mhp_extent *ext, void *arg)
{
	struct block *block = arg;

	block->nr_extents++;
	block->online |= ext->online;
	return 0;
}

static void read_block(unsigned long id, struct block *block)
{
	const u64 size = memory_block_size_bytes();

	memset(block, 0, sizeof(*block));
	mhp_walk_extents(id * size, size, count_extent, block);
}

/* The next memory block from @id on; what is ZONE_DEVICE only is none. */
static void *find_block(struct mhp_iter *iter, unsigned long id, loff_t *pos)
{
	struct block block;
	unsigned long nr;

	for (;; id++) {
		nr = mhp_next_section(id * block_sections());
		if (nr >= NR_MEM_SECTIONS || fatal_signal_pending(current)) {
			*pos = NR_MEM_SECTIONS;
			return NULL;
		}
		id = nr / block_sections();
		read_block(id, &block);
		if (block.nr_extents)
			break;
		cond_resched();
	}
	iter->next = id;
	*pos = id;
	return iter;
}

static void *block_start(struct seq_file *m, loff_t *pos)
{
	int ret = mhp_lock();

	return ret ? ERR_PTR(ret) : find_block(m->private, *pos, pos);
}

static void *block_next(struct seq_file *m, void *v, loff_t *pos)
{
	struct mhp_iter *iter = m->private;

	return find_block(iter, iter->next + 1, pos);
}

/* A number that may not be known, or not be there */
static void show_number(struct seq_file *m, const char *key, long value)
{
	if (value == MHP_NA)
		seq_printf(m, " %s=n/a", key);
	else if (value == MHP_NOTHING)
		seq_printf(m, " %s=none", key);
	else
		seq_printf(m, " %s=%ld", key, value);
}

struct show_extent {
	struct seq_file *m;
	unsigned long block;
	unsigned int nr;
};

static int show_extent(const struct mhp_extent *ext, void *arg)
{
	struct show_extent *show = arg;
	struct seq_file *m = show->m;
	long free = MHP_NOTHING, alloc = MHP_NOTHING;

	if (ext->memmap == MHP_MEMMAP_SELF) {
		alloc = ext->hosted_alloc;
		free = alloc == MHP_NA ? MHP_NA : ext->hosted;
	} else if (ext->memmap == MHP_MEMMAP_NA) {
		free = MHP_NA;
		alloc = MHP_NA;
	}
	seq_printf(m, "extent=%lu.%u block=%lu start=%#llx end=%#llx early=%d state=%s",
		   show->block, show->nr++, show->block, ext->start,
		   ext->start + ext->size - 1, ext->early,
		   ext->online ? "online" : "offline");
	show_number(m, "node", ext->nid);
	seq_printf(m, " zone=%s", ext->zone);
	show_number(m, "group", ext->mgid);
	seq_printf(m, " memmap=%s memmap_bytes=%llu", mhp_memmap_name(ext->memmap),
		   ext->described * (u64)sizeof(struct page));
	if (ext->memmap == MHP_MEMMAP_NA)
		seq_puts(m, " hosted_bytes=n/a");
	else
		seq_printf(m, " hosted_bytes=%llu", PFN_PHYS((u64)ext->hosted));
	show_number(m, "altmap_free", free);
	show_number(m, "altmap_alloc", alloc);
	seq_putc(m, '\n');
	return 0;
}

static int blocks_show(struct seq_file *m, void *v)
{
	const u64 size = memory_block_size_bytes();
	struct mhp_iter *iter = m->private;
	struct show_extent show = { .m = m, .block = iter->next };
	u64 start = iter->next * size;
	struct block block;

	read_block(iter->next, &block);
	seq_printf(m, "block=%lu start=%#llx end=%#llx state=%s", iter->next, start,
		   start + size - 1, block.online ? "online" : "offline");
#ifdef MHP_SUBSECTION
	seq_printf(m, " extents=%lu\n", block.nr_extents);
#else
	seq_puts(m, " extents=n/a\n");
#endif
	mhp_walk_extents(start, size, show_extent, &show);
	return 0;
}

const struct seq_operations mhp_blocks_ops = {
	.start = block_start,
	.next = block_next,
	.stop = section_stop,
	.show = blocks_show,
};

/* --- memmap --- */

/**
 * struct totals - bytes of struct pages
 * @ext: the extent that a backing page was found in last
 * @bytes: by kind and node; the last node stands for one that is not known
 * @described: bytes of memory that have struct pages
 * @hosted: bytes that extents gave for their memmap
 * @next_block: the first memory block whose extents were not asked for @hosted
 * @unknown: some could not be found out
 */
struct totals {
	struct mhp_extent ext;
	u64 (*bytes)[NR_MHP_MEMMAP];
	u64 described;
	u64 hosted;
	unsigned long next_block;
	bool unknown;
};

/* The node of a page that memmap is stored in */
static unsigned int backing_node(struct totals *t, phys_addr_t phys)
{
	struct page *page = mhp_online_page(PHYS_PFN(phys));

	if (page)
		return page_to_nid(page);
	if ((phys - t->ext.start < t->ext.size || mhp_find_extent(phys, 1, &t->ext)) &&
	    t->ext.nid >= 0)
		return t->ext.nid;
	/* On a device, the struct pages of which may never be initialised */
	return nr_node_ids;
}

static void count_subsection(struct totals *t, const struct mhp_section *sec,
			     unsigned int idx)
{
	const unsigned long pfn = section_nr_to_pfn(sec->nr) +
				  idx * PAGES_PER_SUBSECTION;
	enum mhp_memmap kind = mhp_memmap_kind(sec, idx);
	unsigned long addr = (unsigned long)pfn_to_page(pfn);
	unsigned long end = (unsigned long)pfn_to_page(pfn + PAGES_PER_SUBSECTION);
	unsigned long page_size, next;
	phys_addr_t phys, last = 0;

	if (!sec->early && !test_bit(idx, sec->present))
		return;
	t->described += SUBSECTION_SIZE;
	if (kind == MHP_MEMMAP_NA || !mhp_memmap_is_stable(pfn)) {
		t->unknown |= kind == MHP_MEMMAP_NA;
		t->bytes[nr_node_ids][kind] += end - addr;
		return;
	}
	for (; addr < end; addr = next) {
		page_size = PAGE_SIZE;
		phys = mhp_virt_to_backing(addr, &page_size);
		next = min(ALIGN(addr + 1, page_size), end);
		/* One page may stand for many, for a huge page or a device. */
		if (phys && phys != last)
			t->bytes[backing_node(t, phys)][kind] += next - addr;
		last = phys;
	}
}

static int count_hosted(const struct mhp_extent *ext, void *arg)
{
	struct totals *t = arg;

	t->hosted += PFN_PHYS((u64)ext->hosted);
	return 0;
}

static int count_all(struct totals *t, struct mhp_section *sec)
{
	const u64 block_size = memory_block_size_bytes();
	unsigned long nr, block;
	unsigned int i;

	for (nr = mhp_next_section(0); nr < NR_MEM_SECTIONS;
	     nr = mhp_next_section(nr + 1)) {
		mhp_read_section(nr, sec);
		for (i = 0; i < SUBSECTIONS_PER_SECTION; i++)
			count_subsection(t, sec, i);
		block = nr / block_sections();
		if (block >= t->next_block) {
			mhp_walk_extents(block * block_size, block_size,
					 count_hosted, t);
			t->next_block = block + 1;
		}
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

static void show_totals(struct seq_file *m, const struct totals *t)
{
	unsigned int nid, kind;
	u64 bytes = 0, self = 0, percent;

	for (kind = 0; kind < NR_MHP_MEMMAP; kind++) {
		for (nid = 0; nid <= nr_node_ids; nid++) {
			if (!t->bytes[nid][kind])
				continue;
			bytes += t->bytes[nid][kind];
			if (kind == MHP_MEMMAP_SELF)
				self += t->bytes[nid][kind];
			seq_printf(m, "kind=%s", mhp_memmap_name(kind));
			show_number(m, "node", nid == nr_node_ids ? MHP_NA : (long)nid);
			seq_printf(m, " bytes=%llu\n", t->bytes[nid][kind]);
		}
	}
	percent = t->described ? div64_u64(bytes * 10000, t->described) : 0;
	seq_printf(m, "total bytes=%llu described_bytes=%llu overhead_percent=%llu.%02llu",
		   bytes, t->described, percent / 100, percent % 100);
	/* Pages that were given for memmap and hold none */
	if (t->unknown)
		seq_puts(m, " waste_bytes=n/a\n");
	else
		seq_printf(m, " waste_bytes=%llu\n", t->hosted - self);
}

/**
 * mhp_memmap_show() - how much memory is taken by struct pages, and where
 * @m: where to
 * @v: not used
 *
 * Context: Process context.
 * Return: 0, -ENOMEM, or -EINTR if the reader is killed
 */
int mhp_memmap_show(struct seq_file *m, void *v)
{
	struct mhp_section *sec;
	struct totals t = { };
	int ret = -ENOMEM;

	sec = kmalloc(sizeof(*sec), GFP_KERNEL);
	t.bytes = kvcalloc(nr_node_ids + 1, sizeof(*t.bytes), GFP_KERNEL);
	if (sec && t.bytes)
		ret = mhp_lock();
	if (!ret) {
		ret = count_all(&t, sec);
		mhp_unlock();
	}
	if (!ret)
		show_totals(m, &t);
	kvfree(t.bytes);
	kfree(sec);
	return ret;
}

/* --- map --- */

/* Address, space, and so many sub-sections fill 80 columns. */
#define ROW_SUBSECTIONS	min_t(unsigned int, SUBSECTIONS_PER_SECTION, 64)

static char map_char(const struct mhp_section *sec, unsigned int idx)
{
	bool online = test_bit(idx, sec->online_map);

	if (test_bit(idx, sec->hosts_all))
		return 'M';
	if (test_bit(idx, sec->hosts))
		return 'm';
	if (test_bit(idx, sec->device))
		return 'D';
	if (test_bit(idx, sec->boot))
		return online ? 'B' : 'b';
	if (test_bit(idx, sec->ram))
		return online ? 'O' : 'o';
	return '.';
}

static bool same_row(const struct mhp_section *a, const struct mhp_section *b)
{
	unsigned int i;

	for (i = 0; i < SUBSECTIONS_PER_SECTION; i++) {
		if (map_char(a, i) != map_char(b, i))
			return false;
	}
	return true;
}

static void map_show_row(struct seq_file *m, const struct mhp_section *sec)
{
	const u64 start = PFN_PHYS((u64)section_nr_to_pfn(sec->nr));
	unsigned int i;

	for (i = 0; i < SUBSECTIONS_PER_SECTION; i++) {
		if (!(i % ROW_SUBSECTIONS))
			seq_printf(m, "%s0x%013llx ", i ? "\n" : "",
				   start + i * SUBSECTION_SIZE);
		seq_putc(m, map_char(sec, i));
	}
	seq_putc(m, '\n');
}

static u64 section_mib(unsigned long nr)
{
	return (PFN_PHYS((u64)PAGES_PER_SECTION) >> 20) * nr;
}

/* Sections that look like the one before, and follow it, share one line. */
static int map_show(struct seq_file *m, void *v)
{
	struct mhp_iter *iter = m->private;
	unsigned long nr, same = 0;

	if (v == SEQ_START_TOKEN) {
		seq_printf(m, "# a character is %lu MiB, a row %llu MiB\n",
			   SUBSECTION_SIZE >> 20,
			   (u64)ROW_SUBSECTIONS * SUBSECTION_SIZE >> 20);
		seq_puts(m, "# B boot RAM  O online  M memmap only  m memmap in part\n");
		seq_puts(m, "# b boot RAM, offline  o offline  D ZONE_DEVICE  . hole\n");
		return 0;
	}

	if (iter->end && iter->next > iter->end)
		seq_printf(m, "- nothing for %llu MiB\n",
			   section_mib(iter->next - iter->end));
	mhp_read_section(iter->next, &iter->sec);
	map_show_row(m, &iter->sec);
	for (nr = iter->next + 1; mhp_next_section(nr) == nr; nr++) {
		mhp_read_section(nr, &iter->other);
		if (!same_row(&iter->sec, &iter->other))
			break;
		same++;
		cond_resched();
	}
	if (same)
		seq_printf(m, "* %lu more like this, %llu MiB\n", same,
			   section_mib(same));
	/* Shown again, with a larger buffer, if it did not fit */
	if (!seq_has_overflowed(m)) {
		iter->next += same;
		iter->end = iter->next + 1;
	}
	return 0;
}

const struct seq_operations mhp_map_ops = {
	.start = section_start,
	.next = section_next,
	.stop = section_stop,
	.show = map_show,
};
