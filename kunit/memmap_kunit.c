// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_memmap: where memmaps are.
 */

#include <linux/mm.h>
#include <linux/sizes.h>

#include "fixture.h"
#include "vmemmap.h"

struct place_param {
	const char *name;
	u64 offset;
	u64 size;
};

static const struct place_param places[] = {
	{ "one_granule", 0, SZ_2M },
	{ "one_granule_inside", SZ_64M, SZ_2M },
	{ "part_of_a_section", SZ_2M, SZ_32M + SZ_4M },
	{ "one_section", 0, SZ_128M },
	{ "section_and_granule", 0, SZ_128M + SZ_2M },
	{ "granule_and_section", SZ_128M - SZ_2M, SZ_128M + SZ_2M },
	{ "both_ends_unaligned", SZ_128M - SZ_4M, SZ_256M + SZ_8M },
};

KUNIT_ARRAY_PARAM_DESC(place, places, name);

static int copy_extent(struct memory_extent *ext, void *arg)
{
	*(struct memory_extent *)arg = *ext;
	return 1;
}

static bool get_extent(u64 addr, struct memory_extent *ext,
		       struct vmem_altmap *altmap)
{
	int found;

	lock_device_hotplug();
	found = walk_memory_extents(addr, PAGE_SIZE, ext, copy_extent);
	if (found && ext->altmap)
		memcpy(altmap, ext->altmap, sizeof(*altmap));
	unlock_device_hotplug();
	return found;
}

/* Pages of memmap of a range that lie outside of [low, high), or nowhere */
static unsigned long count_strays(u64 start, u64 size, u64 low, u64 high)
{
	unsigned long addr = (unsigned long)pfn_to_page(PHYS_PFN(start));
	unsigned long end = (unsigned long)pfn_to_page(PHYS_PFN(start + size));
	unsigned long page_size, strays = 0;
	phys_addr_t phys;

	get_online_mems();
	for (; addr < end; addr += PAGE_SIZE) {
		phys = mhp_virt_to_backing(addr, &page_size);
		strays += !phys || phys < low || phys >= high;
	}
	put_online_mems();
	return strays;
}

static void need_memmap_on_memory(struct kunit *test)
{
	if (!mhp_supports_memmap_on_memory())
		kunit_skip(test, "memory_hotplug.memmap_on_memory is off");
	if (sizeof(struct page) != 64)
		kunit_skip(test, "struct page has not 64 bytes");
}

/* I8: each page of memmap lies at the start of its own extent, and no byte is lost. */
static void mhp_memmap_self_hosted(struct kunit *test)
{
	const struct place_param *place = test->param_value;
	u64 start = mhp_spare_start(test) + place->offset, at;
	struct vmem_altmap altmap = { };
	struct memory_extent ext;
	u64 size, memmap;

	need_memmap_on_memory(test);
	mhp_must_add(test, 0, start, place->size, MHP_MEMMAP_ON_MEMORY);
	for (at = start; at < start + place->size; at += size) {
		KUNIT_ASSERT_TRUE(test, get_extent(at, &ext, &altmap));
		size = PFN_PHYS((u64)ext.nr_pages);
		memmap = ext.nr_pages * sizeof(struct page);
		KUNIT_ASSERT_NOT_NULL(test, ext.altmap);
		KUNIT_EXPECT_EQ(test, PFN_PHYS((u64)altmap.base_pfn), at);
		KUNIT_EXPECT_EQ(test, altmap.free, PFN_UP(memmap));
		KUNIT_EXPECT_EQ(test, altmap.alloc, PFN_UP(memmap));
		KUNIT_EXPECT_EQ(test, altmap.align, 0UL);
		KUNIT_EXPECT_EQ(test, count_strays(at, size, at, at + memmap), 0UL);
	}
}

/* Without the flag, no page of memmap lies on the memory itself. */
static void mhp_memmap_regular(struct kunit *test)
{
	const struct place_param *place = test->param_value;
	u64 start = mhp_spare_start(test) + place->offset;

	mhp_must_add(test, 0, start, place->size, MHP_NONE);
	KUNIT_EXPECT_EQ(test, count_strays(start, place->size, start, start + place->size),
			(unsigned long)PFN_UP(PHYS_PFN(place->size) * sizeof(struct page)));
}

/* I8: what hosts memmap counts as present, and not as managed. */
static void mhp_memmap_counters(struct kunit *test)
{
	const struct place_param *place = test->param_value;
	u64 start = mhp_spare_start(test) + place->offset;
	unsigned long pages = PHYS_PFN(place->size);
	unsigned long hosted = PFN_UP(pages * sizeof(struct page));
	const struct mhp_zone_snapshot *a, *b;
	struct mhp_snapshot before, now;

	need_memmap_on_memory(test);
	mhp_take_snapshot(test, &before);
	mhp_must_add(test, 0, start, place->size, MHP_MEMMAP_ON_MEMORY);
	KUNIT_ASSERT_EQ(test, mhp_online(start, place->size, MMOP_ONLINE_MOVABLE), 0);
	mhp_take_snapshot(test, &now);
	a = &before.zones[0][ZONE_MOVABLE];
	b = &now.zones[0][ZONE_MOVABLE];
	KUNIT_EXPECT_EQ(test, b->present, a->present + pages);
	KUNIT_EXPECT_EQ(test, b->managed, a->managed + pages - hosted);
	KUNIT_EXPECT_EQ(test, now.totalram, before.totalram + pages - hosted);
	mhp_must_remove(test, start, place->size);
}

/* I4 I8: neighbours with their own memmaps go and come in any order. */
static void mhp_memmap_neighbours(struct kunit *test)
{
	const u64 size = SZ_4M, memmap = PHYS_PFN(size) * sizeof(struct page);
	u64 first = mhp_spare_start(test) + SZ_8M;
	int i, gone;

	need_memmap_on_memory(test);
	for (i = 0; i < 3; i++) {
		mhp_must_add(test, 0, first + i * size, size, MHP_MEMMAP_ON_MEMORY);
		KUNIT_ASSERT_EQ(test, mhp_online(first + i * size, size,
						 MMOP_ONLINE_MOVABLE), 0);
	}
	for (gone = 0; gone < 3; gone++) {
		mhp_must_remove(test, first + gone * size, size);
		mhp_expect_hole(test, first + gone * size, size);
		for (i = 0; i < 3; i++) {
			u64 at = first + i * size;

			if (i == gone)
				continue;
			mhp_expect_online(test, at, size, 0, ZONE_MOVABLE);
			KUNIT_EXPECT_EQ(test, count_strays(at, size, at, at + memmap), 0UL);
		}
		mhp_must_add(test, 0, first + gone * size, size, MHP_MEMMAP_ON_MEMORY);
		KUNIT_ASSERT_EQ(test, mhp_online(first + gone * size, size,
						 MMOP_ONLINE_MOVABLE), 0);
	}
}

static struct kunit_case mhp_memmap_cases[] = {
	KUNIT_CASE_PARAM(mhp_memmap_self_hosted, place_gen_params),
	KUNIT_CASE_PARAM(mhp_memmap_regular, place_gen_params),
	KUNIT_CASE_PARAM(mhp_memmap_counters, place_gen_params),
	KUNIT_CASE(mhp_memmap_neighbours),
	{}
};

struct kunit_suite mhp_memmap_suite = {
	.name = "mhp_memmap",
	.init = mhp_fixture_init,
	.exit = mhp_fixture_exit,
	.test_cases = mhp_memmap_cases,
};
