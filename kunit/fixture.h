/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the suites share. It needs nothing but KUnit, and spare memory that somebody gives
 * explicitly: without that, cases are skipped.
 *
 * A case may add what it likes within the spare memory: mhp_fixture_exit() removes it.
 *
 * Suites that need more than that are named so, as race_kunit.c, or sysfs_stock_kunit.c:
 * sysfs and other files, for which there is sysfs.h; threads and timing; a driver and its
 * device. In a kernel tree they are in a folder of their own, and have an option of their
 * own. MHP_KUNIT_SYSTEM tells whether they are there.
 *
 * Without the series there is no CONFIG_MHP_SUBSECTION, and mhp_stock is the only suite;
 * with its first postings, which can be told by <linux/memmap_walk.h>, there is mhp_walk, too.
 */
#ifndef _MHP_KUNIT_FIXTURE_H
#define _MHP_KUNIT_FIXTURE_H

#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/gfp_types.h>
#include <linux/memory.h>
#ifdef CONFIG_MHP_SUBSECTION
#include <linux/memory_extent.h>
#endif
#include <linux/memory_hotplug.h>
#include <linux/mmzone.h>
#include <linux/types.h>

#include "compat.h"

#define MHP_KUNIT_NODES		2
/* Enough for 1 GiB of spare memory and 128 MiB before it; snapshots lie on the stack. */
#define MHP_KUNIT_SUBSECTIONS	576
#define MHP_KUNIT_BLOCKS	16
#define MHP_KUNIT_CALLS		32

/**
 * struct mhp_zone_snapshot - what a zone must get back to
 * @start_pfn: zone_start_pfn, or 0 if it spans nothing
 * @spanned: pages
 * @present: pages
 * @early: pages present since boot
 * @managed: pages
 */
struct mhp_zone_snapshot {
	unsigned long start_pfn;
	unsigned long spanned;
	unsigned long present;
	unsigned long early;
	unsigned long managed;
};

/**
 * struct mhp_snapshot - what memory hotplug must leave as it found it
 * @zones: of each node
 * @isolated: of each zone, pageblocks that the page allocator must not use
 * @node_present: pages of each node
 * @totalram: pages
 * @memmap_pages: pages that memmaps take, as /proc/vmstat says
 * @ram_bytes: System RAM in the resource tree
 * @extents: memory extents
 * @online: of these, online
 * @sections: present sections of the spare memory
 * @valid: sub-sections of it and of its edge that have a memmap
 * @in_use: of these, online
 * @edges: of these, which begin something else than the one before them holds
 * @mapped: of these, in the direct map
 * @memmap: of these, those whose struct pages are mapped, valid or not
 * @blocks: its memory blocks that sysfs shows
 * @links: of each node, those that sysfs shows below it
 */
struct mhp_snapshot {
	struct mhp_zone_snapshot zones[MHP_KUNIT_NODES][MAX_NR_ZONES];
	unsigned int isolated[MHP_KUNIT_NODES][MAX_NR_ZONES];
	unsigned long node_present[MHP_KUNIT_NODES];
	unsigned long totalram;
	unsigned long memmap_pages;
	u64 ram_bytes;
	unsigned long extents;
	unsigned long online;
	unsigned long sections;
	DECLARE_BITMAP(valid, MHP_KUNIT_SUBSECTIONS);
	DECLARE_BITMAP(in_use, MHP_KUNIT_SUBSECTIONS);
	DECLARE_BITMAP(edges, MHP_KUNIT_SUBSECTIONS);
	DECLARE_BITMAP(mapped, MHP_KUNIT_SUBSECTIONS);
	DECLARE_BITMAP(memmap, MHP_KUNIT_SUBSECTIONS);
	DECLARE_BITMAP(blocks, MHP_KUNIT_BLOCKS);
	DECLARE_BITMAP(links[MHP_KUNIT_NODES], MHP_KUNIT_BLOCKS);
};

/**
 * struct mhp_backing - where a memmap is
 * @within: its pages that lie in some range
 * @outside: those that lie elsewhere
 * @unmapped: those that lie nowhere
 * @twice: of those within the range, which another page of memmap has as well
 */
struct mhp_backing {
	unsigned long within;
	unsigned long outside;
	unsigned long unmapped;
	unsigned long twice;
};

/**
 * struct mhp_call - a memory notification
 * @action: MEM_ONLINE and its like
 * @arg: what it tells
 */
struct mhp_call {
	unsigned long action;
	struct memory_notify arg;
};

/* spare.c */
int mhp_find_spare(struct kunit *test);
u64 mhp_spare_first(void);
u64 mhp_spare_start(struct kunit *test);
u64 mhp_spare_size(void);
u64 mhp_least_size(void);
u64 mhp_edge_start(struct kunit *test);
u64 mhp_edge_size(struct kunit *test);
int mhp_kernel_zone(int nid, u64 start, u64 size);
void mhp_must_be_spare(struct kunit *test, u64 start, u64 size);
void mhp_must_add(struct kunit *test, int nid, u64 start, u64 size, mhp_t flags);
void mhp_must_remove(struct kunit *test, u64 start, u64 size);
int mhp_online(u64 start, u64 size, enum mmop type);
int mhp_offline(u64 start, u64 size);
void mhp_must_take_pages(struct kunit *test, unsigned long pfn, unsigned long end, gfp_t gfp);
bool mhp_is_leftover(u64 *addr);
void mhp_remove_leftovers(struct kunit *test);

/* expect.c */
bool mhp_is_mapped(u64 addr);
void mhp_find_backing(struct kunit *test, u64 start, u64 size, u64 low, u64 high,
		      struct mhp_backing *backing);
void mhp_expect_online(struct kunit *test, u64 start, u64 size, int nid,
		       enum zone_type zone);
void mhp_expect_offline(struct kunit *test, u64 start, u64 size);
void mhp_expect_hole(struct kunit *test, u64 start, u64 size);

/* snapshot.c */
void mhp_take_snapshot(struct kunit *test, struct mhp_snapshot *snap);
void mhp_expect_snapshot(struct kunit *test, const struct mhp_snapshot *snap,
			 const char *when);
bool mhp_same_snapshot(struct kunit *test, const struct mhp_snapshot *snap);

/* notify.c */
int mhp_watch_notifications(void);
void mhp_unwatch_notifications(void);
void mhp_veto(struct kunit *test, unsigned long action, unsigned int nth, int err);
unsigned int mhp_veto_calls(void);
void mhp_forget_calls(void);
const struct mhp_call *mhp_get_call(unsigned int i);
unsigned int mhp_count_calls(unsigned long action);
void mhp_withhold(struct kunit *test);
void mhp_unwithhold(void);

/* zone_device.c */
int mhp_add_device(u64 start, u64 size);
int mhp_hide_device(u64 start, u64 size);
int mhp_remove_device(u64 start);
void mhp_remove_devices(void);
void mhp_must_add_device(struct kunit *test, u64 start, u64 size);
void mhp_must_add_device_altmap(struct kunit *test, u64 start, u64 size,
				unsigned long reserve, unsigned long free);
void mhp_must_hide_device(struct kunit *test, u64 start, u64 size);
void mhp_must_remove_device(struct kunit *test, u64 start);

/* reports.c */
void mhp_begin_reports(void);
const char *mhp_next_report(void);

/* fixture.c */
int mhp_fixture_init(struct kunit *test);
int mhp_fixture_init_literal(struct kunit *test);
void mhp_fixture_exit(struct kunit *test);
void mhp_must_set_policy(struct kunit *test, enum mmop policy);
int mhp_must_register_group(struct kunit *test, unsigned long max_pages);
void mhp_must_unregister_group(struct kunit *test, int group);

#ifdef MHP_KUNIT_SYSTEM
/* sysfs.c */
void mhp_snapshot_files(struct kunit *test, struct mhp_snapshot *snap);
#else
static inline void mhp_snapshot_files(struct kunit *test, struct mhp_snapshot *snap)
{
}
#endif

/* KUNIT_ARRAY_PARAM_DESC() for cases that are in another file than their suite */
#define MHP_DECLARE_PARAMS(name)						\
	const void *MHP_GENERATOR(mhp_##name##_gen_params)

#define MHP_ARRAY_PARAM_DESC(name, array, desc_member)				\
	KUNIT_ARRAY_PARAM_DESC(name, array, desc_member)			\
	const void *MHP_GENERATOR(mhp_##name##_gen_params)			\
	{									\
		return mhp_next_param(name##_gen_params, prev, desc);		\
	}

#endif /* _MHP_KUNIT_FIXTURE_H */
