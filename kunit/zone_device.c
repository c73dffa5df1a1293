// SPDX-License-Identifier: GPL-2.0
/*
 * ZONE_DEVICE, by memremap_pages(): there is no device behind it.
 */

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/ioport.h>
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/mutex.h>
#include <linux/slab.h>

#include "fixture.h"

/* A range of ZONE_DEVICE that a case has made */
struct device_range {
	struct list_head next;
	u64 start;
	u64 size;
	bool claimed;
	struct dev_pagemap pgmap;
};

static LIST_HEAD(device_ranges);

/* Several threads may have their own. */
static DEFINE_MUTEX(ranges_lock);

static void free_device(struct device_range *range)
{
	memunmap_pages(&range->pgmap);
	if (range->claimed)
		release_mem_region(range->start, range->size);
	kfree(range);
}

static int add_device(u64 start, u64 size, bool claim, const struct vmem_altmap *altmap)
{
	struct device_range *range = kzalloc(sizeof(*range), GFP_KERNEL);
	void *addr = ERR_PTR(-EBUSY);

	if (!range)
		return -ENOMEM;
	range->start = start;
	range->size = size;
	range->pgmap.type = MEMORY_DEVICE_GENERIC;
	range->pgmap.nr_range = 1;
	range->pgmap.range.start = start;
	range->pgmap.range.end = start + size - 1;
	if (altmap) {
		memcpy(&range->pgmap.altmap, altmap, sizeof(*altmap));
		range->pgmap.flags = PGMAP_ALTMAP_VALID;
	}
	range->claimed = claim && request_mem_region(start, size, "mhp_kunit");
	if (range->claimed == claim)
		addr = memremap_pages(&range->pgmap, 0);
	if (IS_ERR(addr)) {
		if (range->claimed)
			release_mem_region(start, size);
		kfree(range);
		return PTR_ERR(addr);
	}
	scoped_guard(mutex, &ranges_lock)
		list_add(&range->next, &device_ranges);
	return 0;
}

/**
 * mhp_add_device() - have ZONE_DEVICE somewhere
 * @start: physical address in bytes, of spare memory
 * @size: bytes
 *
 * It goes at the end of the case.
 *
 * Return: 0 or -errno
 */
int mhp_add_device(u64 start, u64 size)
{
	return add_device(start, size, true, NULL);
}

/**
 * mhp_remove_device() - undo mhp_add_device()
 * @start: physical address in bytes
 *
 * Return: 0, or -ENOENT if there is none
 */
int mhp_remove_device(u64 start)
{
	struct device_range *range, *found = NULL;

	scoped_guard(mutex, &ranges_lock) {
		list_for_each_entry(range, &device_ranges, next) {
			if (range->start == start)
				found = range;
		}
		if (found)
			list_del(&found->next);
	}
	if (!found)
		return -ENOENT;
	free_device(found);
	return 0;
}

/**
 * mhp_remove_devices() - undo mhp_add_device() and its like for all that there are
 */
void mhp_remove_devices(void)
{
	struct device_range *range, *next;

	list_for_each_entry_safe(range, next, &device_ranges, next) {
		list_del(&range->next);
		free_device(range);
	}
}

static void must_add_device(struct kunit *test, u64 start, u64 size, bool claim,
			    const struct vmem_altmap *altmap)
{
	mhp_must_be_spare(test, start, size);
	KUNIT_ASSERT_EQ_MSG(test, add_device(start, size, claim, altmap), 0,
			    "no device at %#llx", start);
}

/**
 * mhp_must_add_device() - have ZONE_DEVICE somewhere, or end the case
 * @test: the case; the device goes at its end
 * @start: physical address in bytes
 * @size: bytes
 */
void mhp_must_add_device(struct kunit *test, u64 start, u64 size)
{
	must_add_device(test, start, size, true, NULL);
}

/**
 * mhp_must_add_device_altmap() - have ZONE_DEVICE that hosts its memmap, or end the case
 * @test: the case; the device goes at its end
 * @start: physical address in bytes
 * @size: bytes
 * @reserve: pages at the start that the memmap must not use
 * @free: pages behind these that it may use
 */
void mhp_must_add_device_altmap(struct kunit *test, u64 start, u64 size,
				unsigned long reserve, unsigned long free)
{
	struct vmem_altmap altmap = {
		.base_pfn = PHYS_PFN(start),
		.end_pfn = PHYS_PFN(start + size - 1),
		.reserve = reserve,
		.free = free,
	};

	must_add_device(test, start, size, true, &altmap);
}

/**
 * mhp_must_hide_device() - have ZONE_DEVICE that no resource tells of, or end the case
 * @test: the case; the device goes at its end
 * @start: physical address in bytes
 * @size: bytes
 *
 * Who adds memory there finds out half way.
 */
void mhp_must_hide_device(struct kunit *test, u64 start, u64 size)
{
	must_add_device(test, start, size, false, NULL);
}

/**
 * mhp_hide_device() - the same for who wants to see it fail
 * @start: physical address in bytes, of spare memory
 * @size: bytes
 *
 * Return: 0 or -errno
 */
int mhp_hide_device(u64 start, u64 size)
{
	return add_device(start, size, false, NULL);
}

/**
 * mhp_must_remove_device() - undo mhp_must_add_device(), or end the case
 * @test: the case
 * @start: physical address in bytes
 */
void mhp_must_remove_device(struct kunit *test, u64 start)
{
	KUNIT_ASSERT_EQ_MSG(test, mhp_remove_device(start), 0, "no device at %#llx", start);
}
