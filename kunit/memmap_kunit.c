// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_memmap: where memmaps are.
 */

#include <linux/io.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "fixture.h"
#include "orders.h"

/* Where an extent is, and pages of its memmap: 64 bytes for each 4 KiB are 8 for 2 MiB. */
struct place_param {
	const char *name;
	u64 offset;
	u64 size;
	unsigned long memmap;
};

static const struct place_param places[] = {
	{ "one_granule", 0, SZ_2M, 8 },
	{ "one_granule_inside", SZ_64M, SZ_2M, 8 },
	{ "part_of_a_section", SZ_2M, SZ_32M + SZ_4M, 144 },
	{ "one_section", 0, SZ_128M, 512 },
	{ "section_and_granule", 0, SZ_128M + SZ_2M, 520 },
	{ "granule_and_section", SZ_128M - SZ_2M, SZ_128M + SZ_2M, 520 },
	{ "both_ends_unaligned", SZ_128M - SZ_4M, SZ_256M + SZ_8M, 1056 },
};

KUNIT_ARRAY_PARAM_DESC(place, places, name);

static bool get_extent(u64 addr, struct memory_extent *ext,
		       struct vmem_altmap *altmap)
{
	unsigned long pfn = PHYS_PFN(addr);
	struct memory_extent *found;

	lock_device_hotplug();
	found = memory_extent_find(&pfn, pfn + 1);
	if (found)
		*ext = *found;
	if (found && ext->altmap)
		memcpy(altmap, ext->altmap, sizeof(*altmap));
	unlock_device_hotplug();
	return found;
}

/* Pages of memmap of a range that lie outside of [low, high); each lies somewhere, once */
static unsigned long count_strays(struct kunit *test, u64 start, u64 size, u64 low, u64 high)
{
	struct mhp_backing backing;

	mhp_find_backing(test, start, size, low, high, &backing);
	KUNIT_EXPECT_EQ(test, backing.unmapped, 0UL);
	KUNIT_EXPECT_EQ(test, backing.twice, 0UL);
	KUNIT_EXPECT_EQ(test, backing.within + backing.outside,
			(unsigned long)PFN_UP(PHYS_PFN(size) * sizeof(struct page)));
	return backing.outside;
}

/* I8: the altmap has just what the memmap of its extent needs, and that is used up. */
static void expect_altmap(struct kunit *test, struct vmem_altmap *altmap, u64 start, u64 size)
{
	unsigned long memmap = PFN_UP(PHYS_PFN(size) * sizeof(struct page));

	KUNIT_EXPECT_EQ(test, altmap->base_pfn, PHYS_PFN(start));
	KUNIT_EXPECT_EQ(test, altmap->end_pfn, PHYS_PFN(start + size - 1));
	KUNIT_EXPECT_EQ(test, altmap->reserve, 0UL);
	KUNIT_EXPECT_EQ(test, altmap->free, memmap);
	KUNIT_EXPECT_EQ(test, altmap->alloc, memmap);
	KUNIT_EXPECT_EQ(test, altmap->align, 0UL);
	KUNIT_EXPECT_EQ(test, vmem_altmap_offset(altmap), memmap);
}

static void need_memmap_on_memory(struct kunit *test)
{
	if (!mhp_supports_memmap_on_memory())
		kunit_skip(test, "memory_hotplug.memmap_on_memory is off");
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
		expect_altmap(test, &altmap, at, size);
		KUNIT_EXPECT_EQ(test, count_strays(test, at, size, at, at + memmap), 0UL);
	}
}

/* I8: without the flag, no page of memmap lies on the memory itself. */
static void mhp_memmap_regular(struct kunit *test)
{
	const struct place_param *place = test->param_value;
	u64 start = mhp_spare_start(test) + place->offset;

	mhp_must_add(test, 0, start, place->size, MHP_NONE);
	KUNIT_EXPECT_EQ(test, count_strays(test, start, place->size, start, start + place->size),
			place->memmap);
}

/* I8: what hosts memmap counts as present, and not as managed. */
static void mhp_memmap_counters(struct kunit *test)
{
	const struct place_param *place = test->param_value;
	u64 start = mhp_spare_start(test) + place->offset;
	unsigned long pages = PHYS_PFN(place->size);
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
	KUNIT_EXPECT_EQ(test, b->managed, a->managed + pages - place->memmap);
	KUNIT_EXPECT_EQ(test, now.totalram, before.totalram + pages - place->memmap);
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
			KUNIT_EXPECT_EQ(test, count_strays(test, at, size, at, at + memmap), 0UL);
		}
		mhp_must_add(test, 0, first + gone * size, size, MHP_MEMMAP_ON_MEMORY);
		KUNIT_ASSERT_EQ(test, mhp_online(first + gone * size, size,
						 MMOP_ONLINE_MOVABLE), 0);
	}
}

/* An altmap, and what its numbers say of pages by their distance from its base */
static const struct altmap_param {
	const char *name;
	unsigned long reserve;
	unsigned long free;
	unsigned long offset;	/* where other pages begin */
	unsigned long first;	/* that it owns */
	unsigned long behind;	/* the last that it owns */
} altmaps[] = {
	{ "packed", 0, 8, 8, 0, 8 },
	{ "reserve", 4, 8, 12, 4, 12 },
	{ "reserve_only", 4, 0, 4, 4, 4 },
	{ "huge", 512, 512, 1024, 512, 1024 },
};

KUNIT_ARRAY_PARAM_DESC(altmap, altmaps, name);

/* I8: an altmap owns what it may give, not what is reserved, nor what is behind. */
static void mhp_memmap_altmap_numbers(struct kunit *test)
{
	const struct altmap_param *param = test->param_value;
	struct vmem_altmap altmap = {
		.base_pfn = 0x40000, .end_pfn = 0x47fff,
		.reserve = param->reserve, .free = param->free, .alloc = param->free,
	};
	unsigned long i;

	KUNIT_EXPECT_EQ(test, vmem_altmap_offset(&altmap), param->offset);
	for (i = 0; i < 2048; i++)
		KUNIT_EXPECT_EQ_MSG(test, vmem_altmap_owns(&altmap, 0x40000 + i),
				    i >= param->first && i < param->behind, "page %lu", i);
	KUNIT_EXPECT_FALSE(test, vmem_altmap_owns(&altmap, 0x3ffff));
	KUNIT_EXPECT_FALSE(test, vmem_altmap_owns(NULL, 0x40000));
	for (i = param->free; i--;) {
		vmem_altmap_free(&altmap, 1);
		KUNIT_EXPECT_EQ(test, altmap.alloc, i);
	}
	/* What it gave and got back is still set aside. */
	KUNIT_EXPECT_EQ(test, vmem_altmap_offset(&altmap), param->offset);
}

/* I8: the altmap stays as it is while its extent goes online and offline. */
static void mhp_memmap_altmap_lives(struct kunit *test)
{
	u64 start = mhp_spare_start(test) + SZ_8M, size = SZ_4M + SZ_2M;
	struct vmem_altmap altmap = { };
	struct memory_extent ext;
	int step;

	need_memmap_on_memory(test);
	KUNIT_EXPECT_FALSE(test, get_extent(start, &ext, &altmap));
	mhp_must_add(test, 0, start, size, MHP_MEMMAP_ON_MEMORY);
	for (step = 0; step < 5; step++) {
		KUNIT_ASSERT_TRUE(test, get_extent(start, &ext, &altmap));
		KUNIT_ASSERT_NOT_NULL(test, ext.altmap);
		expect_altmap(test, &altmap, start, size);
		if (step % 2)
			KUNIT_ASSERT_EQ(test, mhp_offline(start, size), 0);
		else
			KUNIT_ASSERT_EQ(test, mhp_online(start, size, MMOP_ONLINE_MOVABLE), 0);
	}
	/* If a page had not come back to the altmap, the kernel would warn of it. */
	mhp_must_remove(test, start, size);
	KUNIT_EXPECT_FALSE(test, get_extent(start, &ext, &altmap));
	mhp_expect_hole(test, start, size);
}

/* I5 I8: memory comes back to where it was, with its memmap elsewhere than before. */
static void mhp_memmap_comes_back(struct kunit *test)
{
	static const mhp_t turns[] = {
		MHP_NONE, MHP_MEMMAP_ON_MEMORY, MHP_MEMMAP_ON_MEMORY, MHP_NONE, MHP_NONE,
	};
	const struct place_param *place = test->param_value;
	u64 start = mhp_spare_start(test) + place->offset;
	struct mhp_snapshot before;
	int i;

	need_memmap_on_memory(test);
	mhp_take_snapshot(test, &before);
	for (i = 0; i < ARRAY_SIZE(turns); i++) {
		mhp_must_add(test, 0, start, place->size, turns[i]);
		KUNIT_EXPECT_EQ(test, count_strays(test, start, place->size, start,
						   start + place->size),
				turns[i] == MHP_NONE ? place->memmap : 0UL);
		KUNIT_ASSERT_EQ(test, mhp_online(start, place->size, MMOP_ONLINE_MOVABLE), 0);
		mhp_must_remove(test, start, place->size);
		mhp_expect_hole(test, start, place->size);
		mhp_expect_snapshot(test, &before, turns[i] ? "hosted" : "regular");
	}
}

/*
 * I4 I8: memory that hosts its memmap, that does not, and that does again, side by side.
 * Each page of memmap goes back to where it came from: the kernel warns of nothing.
 */
static void mhp_memmap_mixed(struct kunit *test)
{
	static const mhp_t flags[] = { MHP_MEMMAP_ON_MEMORY, MHP_NONE, MHP_MEMMAP_ON_MEMORY };
	const struct order_param *param = test->param_value;
	const u64 size = SZ_2M;
	u64 first = mhp_spare_start(test) + SZ_16M;
	int i, j;

	need_memmap_on_memory(test);
	for (i = 0; i < 3; i++) {
		mhp_must_add(test, 0, first + i * size, size, flags[i]);
		KUNIT_ASSERT_EQ(test, mhp_online(first + i * size, size,
						 MMOP_ONLINE_MOVABLE), 0);
	}
	for (i = 0; i < 3; i++) {
		mhp_must_remove(test, first + param->order[i] * size, size);
		mhp_expect_hole(test, first + param->order[i] * size, size);
		for (j = i + 1; j < 3; j++) {
			u64 at = first + param->order[j] * size;

			mhp_expect_online(test, at, size, 0, ZONE_MOVABLE);
			KUNIT_EXPECT_EQ(test, count_strays(test, at, size, at, at + size),
					flags[param->order[j]] ? 0UL : 8UL);
		}
	}
}

/* I8: what lies in a section that is there since boot has its memmap, and hosts none. */
static void mhp_memmap_boot_section(struct kunit *test)
{
	u64 start = mhp_edge_start(test), size = mhp_edge_size(test) + SZ_4M;
	u64 spare = mhp_spare_start(test);
	unsigned long memmap = PHYS_PFN(PHYS_PFN(SZ_4M) * sizeof(struct page));
	struct vmem_altmap altmap = { };
	struct mhp_snapshot before, now;
	struct memory_extent ext;

	need_memmap_on_memory(test);
	mhp_take_snapshot(test, &before);
	/* From there to the next section, which is new */
	mhp_must_add(test, 0, start, size, MHP_MEMMAP_ON_MEMORY);
	KUNIT_ASSERT_TRUE(test, get_extent(start, &ext, &altmap));
	KUNIT_EXPECT_NULL(test, ext.altmap);
	KUNIT_EXPECT_EQ(test, count_strays(test, start, spare - start, start, start + size),
			(unsigned long)PHYS_PFN(PHYS_PFN(spare - start) * sizeof(struct page)));
	KUNIT_ASSERT_TRUE(test, get_extent(spare, &ext, &altmap));
	KUNIT_ASSERT_NOT_NULL(test, ext.altmap);
	expect_altmap(test, &altmap, spare, SZ_4M);
	KUNIT_EXPECT_EQ(test, count_strays(test, spare, SZ_4M, spare, spare + SZ_4M), 0UL);

	KUNIT_ASSERT_EQ(test, mhp_online(start, size, MMOP_ONLINE_MOVABLE), 0);
	mhp_take_snapshot(test, &now);
	KUNIT_EXPECT_EQ(test, now.totalram, before.totalram + PHYS_PFN(size) - memmap);
	mhp_expect_online(test, start, size, 0, ZONE_MOVABLE);
	mhp_must_remove(test, start, size);
}

/* What memory holds before it is added, and whether it still does */
#define PATTERN	0x5a

static void write_pattern(struct kunit *test, u64 addr)
{
	void __iomem *io = ioremap(addr, PAGE_SIZE);

	KUNIT_ASSERT_NOT_NULL(test, (void __force *)io);
	memset_io(io, PATTERN, PAGE_SIZE);
	mb();	/* written before the memory is added */
	iounmap(io);
}

#ifdef MHP_OFFLINE_INACCESSIBLE
/* I8: memmap on memory that cannot be written yet is not written before it goes online. */
static void mhp_memmap_inaccessible(struct kunit *test)
{
	u64 start = mhp_spare_start(test) + SZ_4M;
	struct vmem_altmap altmap = { };
	struct memory_extent ext;

	need_memmap_on_memory(test);
	write_pattern(test, start);
	mhp_must_add(test, 0, start, SZ_4M, MHP_MEMMAP_ON_MEMORY | MHP_OFFLINE_INACCESSIBLE);
	KUNIT_ASSERT_TRUE(test, get_extent(start, &ext, &altmap));
	KUNIT_ASSERT_NOT_NULL(test, ext.altmap);
	KUNIT_EXPECT_TRUE(test, altmap.inaccessible);
	KUNIT_EXPECT_NULL(test, memchr_inv(pfn_to_page(PHYS_PFN(start)), PATTERN, PAGE_SIZE));
	KUNIT_ASSERT_EQ(test, mhp_online(start, SZ_4M, MMOP_ONLINE_MOVABLE), 0);
	mhp_expect_online(test, start, SZ_4M, 0, ZONE_MOVABLE);
	KUNIT_ASSERT_EQ(test, mhp_offline(start, SZ_4M), 0);
	mhp_must_remove(test, start, SZ_4M);
}
#endif

/* I8: the memmap of memory that is not online yet is poisoned, for who uses it too early. */
static void mhp_memmap_poisoned(struct kunit *test)
{
	u64 start = mhp_spare_start(test) + SZ_4M;

	need_memmap_on_memory(test);
	write_pattern(test, start);
	mhp_must_add(test, 0, start, SZ_4M, MHP_MEMMAP_ON_MEMORY);
	if (IS_ENABLED(CONFIG_DEBUG_VM))
		KUNIT_EXPECT_TRUE(test, PagePoisoned(pfn_to_page(PHYS_PFN(start))));
}

/*
 * I5 I8: memory that hosts its memmap goes offline from a kernel zone, too: what cannot
 * be moved there is the memmap, and that stays.
 */
static void mhp_memmap_kernel_zone(struct kunit *test)
{
	const struct place_param *place = test->param_value;
	u64 start = mhp_spare_start(test) + place->offset, size;
	const int zone = mhp_kernel_zone(0, start, place->size);
	struct mhp_snapshot added, now;
	struct memory_extent ext;
	struct vmem_altmap altmap;
	unsigned long pfn, i, hosting = 0;
	struct page *page;
	u64 at;

	need_memmap_on_memory(test);
	mhp_must_add(test, 0, start, place->size, MHP_MEMMAP_ON_MEMORY);
	mhp_take_snapshot(test, &added);
	mhp_withhold(test);
	KUNIT_ASSERT_EQ(test, mhp_online(start, place->size, MMOP_ONLINE_KERNEL), 0);
	mhp_expect_online(test, start, place->size, 0, zone);
	mhp_take_snapshot(test, &now);
	KUNIT_EXPECT_EQ(test, now.zones[0][zone].present,
			added.zones[0][zone].present + PHYS_PFN(place->size));
	KUNIT_EXPECT_EQ(test, now.isolated[0][zone],
			added.isolated[0][zone]);
	for (at = start; at < start + place->size; at += size) {
		KUNIT_ASSERT_TRUE(test, get_extent(at, &ext, &altmap));
		size = PFN_PHYS((u64)ext.nr_pages);
		pfn = PHYS_PFN(at);
		for (i = 0; i < vmem_altmap_offset(&altmap); i++) {
			page = pfn_to_page(pfn + i);
			hosting += PageVmemmapSelfHosted(page) && page_count(page) == 1;
		}
	}
	KUNIT_EXPECT_EQ(test, hosting, place->memmap);
	KUNIT_ASSERT_EQ(test, mhp_offline(start, place->size), 0);
	mhp_expect_snapshot(test, &added, "offline again");
}

static struct kunit_case mhp_memmap_cases[] = {
	KUNIT_CASE_PARAM(mhp_memmap_self_hosted, place_gen_params),
	KUNIT_CASE_PARAM(mhp_memmap_regular, place_gen_params),
	KUNIT_CASE_PARAM_ATTR(mhp_memmap_counters, place_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE(mhp_memmap_neighbours),
	KUNIT_CASE_PARAM(mhp_memmap_altmap_numbers, altmap_gen_params),
	KUNIT_CASE(mhp_memmap_altmap_lives),
	KUNIT_CASE_PARAM_ATTR(mhp_memmap_comes_back, place_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE_PARAM_ATTR(mhp_memmap_mixed, order_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE(mhp_memmap_boot_section),
#ifdef MHP_OFFLINE_INACCESSIBLE
	KUNIT_CASE(mhp_memmap_inaccessible),
#endif
	KUNIT_CASE(mhp_memmap_poisoned),
	KUNIT_CASE_PARAM_ATTR(mhp_memmap_kernel_zone, place_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	{}
};

static int memmap_init(struct kunit *test)
{
	if (sizeof(struct page) != 64 || PAGE_SIZE != SZ_4K)
		kunit_skip(test, "pages are not of 4 KiB, or struct page not of 64 bytes");
	return mhp_fixture_init_literal(test);
}

static struct kunit_suite mhp_memmap_suite = {
	.name = "mhp_memmap",
	.init = memmap_init,
	.exit = mhp_fixture_exit,
	.test_cases = mhp_memmap_cases,
};

kunit_test_suite(mhp_memmap_suite);
