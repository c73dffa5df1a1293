/* SPDX-License-Identifier: GPL-2.0 */
/*
 * mhp_debug - what memory hotplug did, down to the sub-section, and knobs to
 * exercise it
 *
 * Terms, as in the kernel's Documentation/admin-guide/mm/memory-hotplug.rst:
 * a memory block consists of sections, a section of sub-sections. An extent is a
 * range of System RAM in one memory block that came in one call, or with boot. A
 * kernel without the series has no extents: there, each memory block is shown as
 * one extent, and what the kernel does not tell is MHP_NA, shown as "n/a".
 *
 * MHP_SUBSECTION is defined for kernels with the series.
 */
#ifndef _MHP_DEBUG_H
#define _MHP_DEBUG_H

#include <linux/bitmap.h>
#include <linux/memory.h>
#ifdef CONFIG_MHP_SUBSECTION
#include <linux/memory_extent.h>
#endif
#include <linux/memory_hotplug.h>
#include <linux/mmzone.h>
#include <linux/seq_file.h>
#include <linux/types.h>

#include "compat.h"

#if !defined(CONFIG_SPARSEMEM_VMEMMAP) || !defined(CONFIG_MEMORY_HOTPLUG)
#error "mhp_debug needs CONFIG_MEMORY_HOTPLUG and CONFIG_SPARSEMEM_VMEMMAP"
#endif

/* The name that memory added by a knob has in /proc/iomem */
#define MHP_RESOURCE_NAME	"System RAM (mhp_debug)"

/* Numbers that the kernel does not tell, or that do not apply */
#define MHP_NA			(-2)
#define MHP_NOTHING		(-1)

/**
 * enum mhp_memmap - where the memmap of memory is
 * @MHP_MEMMAP_NA: not known
 * @MHP_MEMMAP_BOOT: there since boot
 * @MHP_MEMMAP_REGULAR: allocated from other memory
 * @MHP_MEMMAP_SELF: on the extent that it describes
 * @MHP_MEMMAP_DEVICE: of ZONE_DEVICE, on the device or not
 * @NR_MHP_MEMMAP: how many there are
 */
enum mhp_memmap {
	MHP_MEMMAP_NA,
	MHP_MEMMAP_BOOT,
	MHP_MEMMAP_REGULAR,
	MHP_MEMMAP_SELF,
	MHP_MEMMAP_DEVICE,
	NR_MHP_MEMMAP
};

/**
 * struct mhp_extent - what is known of an extent
 * @start: physical address in bytes
 * @size: bytes
 * @early: boot memory
 * @online: online
 * @nid: node, or MHP_NA, also if there is more than one
 * @described: pages that have a struct page; fewer than in @size where a memory
 *	block that stands for an extent has holes
 * @mgid: memory group, MHP_NOTHING if none, or MHP_NA
 * @zone: name of the zone, "none" if there is not one, or "n/a"
 * @memmap: where the memmap is
 * @hosted_pfn: first page of @hosted
 * @hosted: pages of the extent that were given for its memmap
 * @hosted_alloc: how many of these the memmap took, or MHP_NA
 */
struct mhp_extent {
	u64 start;
	u64 size;
	unsigned long described;
	bool early;
	bool online;
	int nid;
	int mgid;
	const char *zone;
	enum mhp_memmap memmap;
	unsigned long hosted_pfn;
	unsigned long hosted;
	long hosted_alloc;
};

/**
 * struct mhp_section - what is known of a present section
 * @nr: the section number
 * @early: there since boot
 * @online: SECTION_IS_ONLINE
 * @present: sub-sections whose memmap is in use
 * @online_map: online System RAM
 * @device: ZONE_DEVICE
 * @ram: System RAM
 * @boot: boot memory, part of @ram
 * @self: memory that hosts its memmap, part of @ram
 * @hosts: sub-sections with pages of such a memmap
 * @hosts_all: sub-sections with nothing else
 * @unknown: System RAM of which the kernel does not tell where its memmap is
 *
 * Bit 0 of the maps is the sub-section with the lowest address.
 */
struct mhp_section {
	unsigned long nr;
	bool early;
	bool online;
	DECLARE_BITMAP(present, SUBSECTIONS_PER_SECTION);
	DECLARE_BITMAP(online_map, SUBSECTIONS_PER_SECTION);
	DECLARE_BITMAP(device, SUBSECTIONS_PER_SECTION);
	DECLARE_BITMAP(ram, SUBSECTIONS_PER_SECTION);
	DECLARE_BITMAP(boot, SUBSECTIONS_PER_SECTION);
	DECLARE_BITMAP(self, SUBSECTIONS_PER_SECTION);
	DECLARE_BITMAP(hosts, SUBSECTIONS_PER_SECTION);
	DECLARE_BITMAP(hosts_all, SUBSECTIONS_PER_SECTION);
	DECLARE_BITMAP(unknown, SUBSECTIONS_PER_SECTION);
};

/* Keys that requests may have */
#define MHP_KEY_START		BIT(0)
#define MHP_KEY_SIZE		BIT(1)
#define MHP_KEY_NODE		BIT(2)
#define MHP_KEY_MEMMAP		BIT(3)
#define MHP_KEY_ONLINE		BIT(4)
#define MHP_KEY_PFN		BIT(5)
#define MHP_KEY_PHYS		BIT(6)

#define MHP_REASON_SIZE		256
#define MHP_VIOLATIONS_SIZE	SZ_32K

/**
 * struct mhp_request - a write to a knob
 * @knob: name of the knob
 * @keys: MHP_KEY_* that were given
 * @start: physical address in bytes
 * @size: bytes
 * @nid: node
 * @memmap: MHP_MEMMAP_SELF or MHP_MEMMAP_REGULAR
 * @online_type: what to do with memory that was added
 * @pfn: page frame number
 * @began: ktime_get_mono_fast_ns() when it was about to run
 * @reason: why the request failed, in words
 * @violations: lines that the self check has found, or NULL
 * @violations_len: bytes of these
 * @nr_violations: how many there were, also if not all of them had room
 */
struct mhp_request {
	const char *knob;
	unsigned int keys;
	u64 start;
	u64 size;
	int nid;
	enum mhp_memmap memmap;
	enum mmop online_type;
	unsigned long pfn;
	u64 began;
	char reason[MHP_REASON_SIZE];
	char *violations;
	size_t violations_len;
	unsigned long nr_violations;
};

/**
 * struct mhp_knob - a file that can be written
 * @name: file name
 * @required: keys that a request must have
 * @allowed: keys that it may have
 * @concurrent: needs not wait for other requests
 * @run: do what was requested; returns 0 or -errno, with the reason in the request
 */
struct mhp_knob {
	const char *name;
	unsigned int required;
	unsigned int allowed;
	bool concurrent;
	int (*run)(struct mhp_request *req);
};

/* request.c */
__printf(3, 4)
int request_err(struct mhp_request *req, int err, const char *fmt, ...);
int mhp_parse(struct mhp_request *req, const struct mhp_knob *knob, char *text);

/* state.c */
int mhp_state_init(void);
void mhp_state_exit(void);
int __must_check mhp_lock(void);
void mhp_unlock(void);
u64 mhp_granularity(void);
struct page *mhp_online_page(unsigned long pfn);
bool mhp_memmap_is_stable(unsigned long pfn);
unsigned long mhp_next_section(unsigned long nr);
void mhp_read_section(unsigned long nr, struct mhp_section *sec);
enum mhp_memmap mhp_memmap_kind(const struct mhp_section *sec, unsigned int idx);
const char *mhp_memmap_name(enum mhp_memmap memmap);
typedef int (*mhp_extent_fn)(const struct mhp_extent *ext, void *arg);
int mhp_walk_extents(u64 start, u64 size, mhp_extent_fn func, void *arg);
bool mhp_find_extent(u64 start, u64 size, struct mhp_extent *ext);
typedef int (*mhp_iomem_fn)(u64 start, u64 end, const char *name, void *arg);
int mhp_walk_iomem(mhp_iomem_fn func, void *arg);
bool mhp_block_has(unsigned long block, const char *name);

/* show.c */
extern const struct seq_operations mhp_sections_ops;
extern const struct seq_operations mhp_blocks_ops;
extern const struct seq_operations mhp_map_ops;
int mhp_granularity_show(struct seq_file *m, void *v);
int mhp_memmap_show(struct seq_file *m, void *v);

/**
 * struct mhp_iter - what a reader of sections or blocks is at
 * @sec: the section, as show() has found it
 * @other: another one to compare with
 * @next: number of the section or block to go on with
 * @end: where the last line ended, for what lies between
 */
struct mhp_iter {
	struct mhp_section sec;
	struct mhp_section other;
	unsigned long next;
	unsigned long end;
};

/* pfn.c */
int mhp_pfn_set(struct mhp_request *req);
int mhp_pfn_show(struct seq_file *m, void *v);

/* knobs.c */
int mhp_add(struct mhp_request *req);
int mhp_remove(struct mhp_request *req);
int mhp_online(struct mhp_request *req);
int mhp_offline(struct mhp_request *req);
int mhp_offline_and_remove(struct mhp_request *req);

/* stats.c */
void mhp_stats_init(void);
void mhp_stats_exit(void);
int mhp_stats_show(struct seq_file *m, void *v);
bool mhp_blocked_by(u64 since, u64 start, u64 size, char *buf, size_t len);

/* selfcheck.c */
int mhp_selfcheck(struct mhp_request *req);

#endif /* _MHP_DEBUG_H */
