/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What kernels from 6.12 on call differently. compat.mk finds out what there is.
 * Shared by mhp_debug, the KUnit suites and the tests' own modules.
 */
#ifndef _MHP_COMPAT_H
#define _MHP_COMPAT_H

#include <linux/gfp.h>
#include <linux/memory.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/page-isolation.h>
#include <linux/page_ref.h>
#include <linux/shmem_fs.h>

/* The name of a namespace became a string. */
#define MHP_IMPORT_NS(ns)	MODULE_INFO(import_ns, #ns)

/* The flags became a struct with nothing else in it. */
static inline unsigned long *mhp_page_flags(struct page *page)
{
	return (unsigned long *)&page->flags;
}

static inline struct dev_pagemap *mhp_get_dev_pagemap(unsigned long pfn)
{
#ifdef MHP_HAS_PAGEMAP_BY_PFN
	return get_dev_pagemap(pfn);
#else
	return get_dev_pagemap(pfn, NULL);
#endif
}

#ifdef CONFIG_CONTIG_ALLOC
/* The migratetype to get became flags, of which none is set. */
#ifndef ACR_FLAGS_NONE
#define ACR_FLAGS_NONE	MIGRATE_MOVABLE
#endif

static inline int mhp_alloc_contig_range(unsigned long start, unsigned long end, gfp_t gfp)
{
/* A compound page is to be had only without a reference. */
#ifdef alloc_contig_frozen_range
	if (gfp & __GFP_COMP) {
		int ret = alloc_contig_frozen_range(start, end, ACR_FLAGS_NONE, gfp);

		if (!ret)
			set_page_count(pfn_to_page(start), 1);
		return ret;
	}
#endif
	return alloc_contig_range(start, end, ACR_FLAGS_NONE, gfp);
}
#endif

/* With the series, who takes over pages that go online may tell of which it keeps none. */
#ifdef MHP_HAS_KEEPS_PAGES
#define mhp_set_online_page_callback(callback) \
	set_online_page_callback(callback, NULL)
#else
#define mhp_set_online_page_callback(callback) \
	set_online_page_callback(callback)
#endif

/* Pageblocks became isolated by a bit, so that their migratetype is kept. */
#ifdef MHP_HAS_ISOLATE_MODE
#define mhp_start_isolate_page_range(start, end) \
	start_isolate_page_range(start, end, PB_ISOLATE_MODE_OTHER)
#define mhp_undo_isolate_page_range(start, end) \
	undo_isolate_page_range(start, end)
#else
#define mhp_start_isolate_page_range(start, end) \
	start_isolate_page_range(start, end, MIGRATE_MOVABLE, 0, GFP_KERNEL)
#define mhp_undo_isolate_page_range(start, end) \
	undo_isolate_page_range(start, end, MIGRATE_MOVABLE)
#endif

#ifdef MHP_HAS_VMA_FLAGS
#define mhp_file_setup(name, size) \
	shmem_kernel_file_setup(name, size, mk_vma_flags(VMA_NORESERVE_BIT))
#else
#define mhp_file_setup(name, size) \
	shmem_kernel_file_setup(name, size, VM_NORESERVE)
#endif

/* Notifications before and after all others went, with what they tell of the memmap. */
#ifdef MHP_HAS_FINISH_OFFLINE
#define MHP_NR_NOTIFICATIONS	(MEM_FINISH_OFFLINE + 1)
#define MHP_PREPARE_ONLINE	MEM_PREPARE_ONLINE,
#define MHP_FINISH_OFFLINE	MEM_FINISH_OFFLINE,
/* Of those that may refuse, how many are told when memory goes online */
#define MHP_ONLINE_VETOES	2
#else
#define MHP_NR_NOTIFICATIONS	(MEM_CANCEL_OFFLINE + 1)
#define MHP_PREPARE_ONLINE
#define MHP_FINISH_OFFLINE
#define MHP_ONLINE_VETOES	1
#endif

/* Generators of parameters are told of the case. */
#ifdef MHP_HAS_GENERATOR_TEST
#define MHP_GENERATOR(name)	name(struct kunit *test, const void *prev, char *desc)
#define mhp_next_param(name, prev, desc)	name(test, prev, desc)
#else
#define MHP_GENERATOR(name)	name(const void *prev, char *desc)
#define mhp_next_param(name, prev, desc)	name(prev, desc)
#endif

#endif /* _MHP_COMPAT_H */
