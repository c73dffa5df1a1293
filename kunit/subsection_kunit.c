// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_subsection: bitmaps of sub-sections, and the granule.
 */

#include <linux/mm.h>
#include <linux/page_ext.h>
#include <linux/sizes.h>

#include "fixture.h"

/* I2: the pfns just before and at each border between sub-sections */
static void mhp_subsection_index(struct kunit *test)
{
	const unsigned long base = 5 * PAGES_PER_SECTION;
	unsigned long i;

	for (i = 0; i < SUBSECTIONS_PER_SECTION; i++) {
		unsigned long pfn = base + i * PAGES_PER_SUBSECTION;

		KUNIT_EXPECT_EQ(test, subsection_map_index(pfn), i);
		KUNIT_EXPECT_EQ(test, subsection_map_index(pfn + 1), i);
		KUNIT_EXPECT_EQ(test, subsection_map_index(pfn + PAGES_PER_SUBSECTION - 1), i);
		KUNIT_EXPECT_EQ(test, subsection_map_index(pfn - 1),
				i ? i - 1 : SUBSECTIONS_PER_SECTION - 1);
	}
}

struct mask_param {
	const char *name;
	unsigned int first;	/* sub-sections, first to last */
	unsigned int last;
};

static const struct mask_param masks[] = {
	{ "first", 0, 0 },
	{ "second", 1, 1 },
	{ "last", SUBSECTIONS_PER_SECTION - 1, SUBSECTIONS_PER_SECTION - 1 },
	{ "all", 0, SUBSECTIONS_PER_SECTION - 1 },
	{ "all_but_first", 1, SUBSECTIONS_PER_SECTION - 1 },
	{ "all_but_last", 0, SUBSECTIONS_PER_SECTION - 2 },
	{ "middle", 7, 11 },
};

KUNIT_ARRAY_PARAM_DESC(mask, masks, name);

/* A section that exists in this case only */
static struct mem_section *fake_section(struct kunit *test)
{
	struct mem_section *ms = kunit_kzalloc(test, sizeof(*ms), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ms);
	ms->usage = kunit_kzalloc(test, sizeof(*ms->usage), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ms->usage);
	return ms;
}

/* I2: pfn_section_online() reads the bit of its sub-section, and no other map. */
static void mhp_subsection_online_map(struct kunit *test)
{
	const struct mask_param *mask = test->param_value;
	struct mem_section *ms = fake_section(test);
	unsigned long i;

	bitmap_set(ms->usage->online_map, mask->first, mask->last - mask->first + 1);
	for (i = 0; i < SUBSECTIONS_PER_SECTION; i++) {
		unsigned long pfn = i * PAGES_PER_SUBSECTION;
		bool in = i >= mask->first && i <= mask->last;

		KUNIT_EXPECT_EQ(test, !!pfn_section_online(ms, pfn), in);
		KUNIT_EXPECT_EQ(test, !!pfn_section_online(ms, pfn + PAGES_PER_SUBSECTION - 1), in);
		KUNIT_EXPECT_FALSE(test, pfn_section_valid(ms, pfn));
	}
}

/* I3: pfn_section_valid() reads the bit of its sub-section, and no other map. */
static void mhp_subsection_present_map(struct kunit *test)
{
	const struct mask_param *mask = test->param_value;
	struct mem_section *ms = fake_section(test);
	unsigned long i;

	bitmap_set(ms->usage->subsection_map, mask->first, mask->last - mask->first + 1);
	for (i = 0; i < SUBSECTIONS_PER_SECTION; i++) {
		unsigned long pfn = i * PAGES_PER_SUBSECTION;
		bool in = i >= mask->first && i <= mask->last;

		KUNIT_EXPECT_EQ(test, !!pfn_section_valid(ms, pfn), in);
		KUNIT_EXPECT_EQ(test, !!pfn_section_valid(ms, pfn + PAGES_PER_SUBSECTION - 1), in);
		KUNIT_EXPECT_FALSE(test, pfn_section_online(ms, pfn));
	}
}

/* I2: a section that goes away loses its usage first: nothing is online there. */
static void mhp_subsection_no_usage(struct kunit *test)
{
	struct mem_section *ms = kunit_kzalloc(test, sizeof(*ms), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ms);
	KUNIT_EXPECT_FALSE(test, pfn_section_online(ms, 0));
	KUNIT_EXPECT_FALSE(test, pfn_section_online(ms, PAGES_PER_SECTION - 1));
}

/* I1: memory comes by granules, which are no less than what maps and the allocator know. */
static void mhp_subsection_granule(struct kunit *test)
{
	const u64 start = mhp_spare_start(test), granule = mhp_granule_bytes();

	if (PAGE_SHIFT == 12 && pageblock_order <= 9)
		KUNIT_EXPECT_EQ(test, granule, (u64)SZ_2M);
	KUNIT_EXPECT_TRUE(test, IS_ALIGNED(PHYS_PFN(granule), PAGES_PER_SUBSECTION));
	KUNIT_EXPECT_TRUE(test, IS_ALIGNED(PHYS_PFN(granule), pageblock_nr_pages));
	KUNIT_EXPECT_EQ(test, memory_block_size_bytes() % granule, 0ULL);
	KUNIT_EXPECT_EQ(test, add_memory(0, start, granule / 2, MHP_NONE), -EINVAL);
	KUNIT_EXPECT_EQ(test, add_memory(0, start + granule / 2, granule, MHP_NONE), -EINVAL);
	mhp_expect_hole(test, start, 2 * granule);
	mhp_must_add(test, 0, start + granule, granule, MHP_NONE);
	mhp_expect_hole(test, start, granule);
	mhp_expect_offline(test, start + granule, granule);
}

/* Literal: what is added, and the online maps of the two sections it is in */
struct span_param {
	const char *name;
	u64 offset;
	u64 size;
	u64 maps[2];
};

static const struct span_param spans[] = {
	{ "first", 0, SZ_2M, { 0x1, 0 } },
	{ "second", SZ_2M, SZ_2M, { 0x2, 0 } },
	{ "last", SZ_128M - SZ_2M, SZ_2M, { 0x8000000000000000, 0 } },
	{ "all", 0, SZ_128M, { 0xffffffffffffffff, 0 } },
	{ "all_of_two", 0, SZ_256M, { 0xffffffffffffffff, 0xffffffffffffffff } },
	{ "all_but_first", SZ_2M, SZ_128M - SZ_2M, { 0xfffffffffffffffe, 0 } },
	{ "straddling", SZ_128M - SZ_2M, SZ_4M, { 0x8000000000000000, 0x1 } },
	{ "halves", SZ_64M, SZ_128M, { 0xffffffff00000000, 0xffffffff } },
	{ "second_section", SZ_128M, SZ_4M, { 0, 0x3 } },
};

KUNIT_ARRAY_PARAM_DESC(span, spans, name);

static u64 map_of(const unsigned long *map)
{
	u64 bits;

	bitmap_to_arr64(&bits, map, 64);
	return bits;
}

/* I2: both maps follow the memory: present with adding, online with onlining. */
static void mhp_subsection_span(struct kunit *test)
{
	const struct span_param *span = test->param_value;
	u64 start = mhp_spare_start(test) + span->offset;
	int step, i;

	if (SUBSECTIONS_PER_SECTION != 64)
		kunit_skip(test, "the literal maps are for sections of 64 sub-sections");
	mhp_must_add(test, 0, start, span->size, MHP_NONE);
	for (step = 0; step < 3; step++) {
		if (step == 1)
			KUNIT_ASSERT_EQ(test, mhp_online(start, span->size,
							 MMOP_ONLINE_MOVABLE), 0);
		if (step == 2)
			KUNIT_ASSERT_EQ(test, mhp_offline(start, span->size), 0);
		for (i = 0; i < 2; i++) {
			struct mem_section *ms =
				__pfn_to_section(PHYS_PFN(mhp_spare_start(test)) +
						 i * PAGES_PER_SECTION);

			if (!span->maps[i]) {
				KUNIT_EXPECT_FALSE(test, present_section(ms));
				continue;
			}
			KUNIT_ASSERT_TRUE(test, present_section(ms));
			KUNIT_EXPECT_EQ(test, map_of(ms->usage->subsection_map),
					span->maps[i]);
			KUNIT_EXPECT_EQ(test, map_of(ms->usage->online_map),
					step == 1 ? span->maps[i] : 0);
			KUNIT_EXPECT_EQ(test, !!online_section(ms), step == 1);
		}
	}
	mhp_must_remove(test, start, span->size);
	mhp_expect_hole(test, start, span->size);
}

#ifdef CONFIG_PAGE_EXTENSION
static bool has_page_ext(struct kunit *test)
{
	return __pfn_to_section(PHYS_PFN(mhp_spare_start(test)))->page_ext;
}

/*
 * I4: a section has a page_ext table from its first online extent to its last, be the
 * pages that host their memmap the last or not.
 */
static void mhp_subsection_page_ext(struct kunit *test)
{
	static const mhp_t flags[] = { MHP_NONE, MHP_MEMMAP_ON_MEMORY };
	const u64 section = PFN_PHYS(PAGES_PER_SECTION);
	u64 start = mhp_spare_start(test) + SZ_4M;
	void *table;
	int i;

	if (!__pfn_to_section(PHYS_PFN(mhp_edge_start(test)))->page_ext)
		kunit_skip(test, "nobody needs a page_ext: boot with page_owner=on");
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		mhp_must_add(test, 0, start, SZ_2M, flags[i]);
		mhp_must_add(test, 0, start + SZ_2M, SZ_2M, flags[i]);
		KUNIT_EXPECT_FALSE(test, has_page_ext(test));

		/* Onlining is cancelled: the table goes again. */
		mhp_veto(test, MEM_GOING_ONLINE, 1, -ENOMEM);
		KUNIT_EXPECT_EQ(test, mhp_online(start, SZ_2M, MMOP_ONLINE_MOVABLE), -ENOMEM);
		KUNIT_EXPECT_FALSE(test, has_page_ext(test));

		KUNIT_ASSERT_EQ(test, mhp_online(start, SZ_2M, MMOP_ONLINE_MOVABLE), 0);
		KUNIT_EXPECT_TRUE(test, has_page_ext(test));
		table = __pfn_to_section(PHYS_PFN(start))->page_ext;

		/* It stays for who is online, whatever becomes of others. */
		mhp_veto(test, MEM_GOING_ONLINE, 1, -ENOMEM);
		KUNIT_EXPECT_EQ(test, mhp_online(start + SZ_2M, SZ_2M, MMOP_ONLINE_MOVABLE),
				-ENOMEM);
		KUNIT_EXPECT_PTR_EQ(test, (void *)__pfn_to_section(PHYS_PFN(start))->page_ext,
				    table);
		KUNIT_ASSERT_EQ(test, mhp_online(start + SZ_2M, SZ_2M, MMOP_ONLINE_MOVABLE), 0);
		KUNIT_ASSERT_EQ(test, mhp_offline(start, SZ_2M), 0);
		KUNIT_EXPECT_PTR_EQ(test, (void *)__pfn_to_section(PHYS_PFN(start))->page_ext,
				    table);
		KUNIT_ASSERT_EQ(test, mhp_offline(start + SZ_2M, SZ_2M), 0);
		KUNIT_EXPECT_FALSE(test, has_page_ext(test));
		mhp_must_remove(test, start, SZ_4M);
	}

	/* The memmap of a section may fill a sub-section, which goes offline last. */
	start = mhp_spare_start(test);
	mhp_must_add(test, 0, start, section, MHP_MEMMAP_ON_MEMORY);
	mhp_veto(test, MEM_GOING_ONLINE, 1, -ENOMEM);
	KUNIT_EXPECT_EQ(test, mhp_online(start, section, MMOP_ONLINE_MOVABLE), -ENOMEM);
	KUNIT_EXPECT_FALSE(test, has_page_ext(test));
	KUNIT_ASSERT_EQ(test, mhp_online(start, section, MMOP_ONLINE_MOVABLE), 0);
	KUNIT_EXPECT_TRUE(test, has_page_ext(test));
	KUNIT_ASSERT_EQ(test, mhp_offline(start, section), 0);
	KUNIT_EXPECT_FALSE(test, has_page_ext(test));
	mhp_must_remove(test, start, section);
}

#ifndef MODULE
/* I4: an extent that goes online finds nothing of who was there before in the table. */
static void mhp_subsection_page_ext_clean(struct kunit *test)
{
	u64 start = mhp_spare_start(test) + SZ_4M;
	struct page_ext *page_ext;
	unsigned long flags = 0;

	if (!__pfn_to_section(PHYS_PFN(mhp_edge_start(test)))->page_ext)
		kunit_skip(test, "nobody needs a page_ext: boot with page_owner=on");
	mhp_must_add(test, 0, start, SZ_2M, MHP_NONE);
	mhp_must_add(test, 0, start + SZ_2M, SZ_2M, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(start, SZ_4M, MMOP_ONLINE_MOVABLE), 0);
	page_ext = page_ext_get(pfn_to_page(PHYS_PFN(start) + 7));
	KUNIT_ASSERT_NOT_NULL(test, page_ext);
	set_bit(BITS_PER_LONG - 1, &page_ext->flags);
	page_ext_put(page_ext);
	KUNIT_ASSERT_EQ(test, mhp_offline(start, SZ_2M), 0);
	KUNIT_ASSERT_EQ(test, mhp_online(start, SZ_2M, MMOP_ONLINE_MOVABLE), 0);
	page_ext = page_ext_get(pfn_to_page(PHYS_PFN(start) + 7));
	KUNIT_ASSERT_NOT_NULL(test, page_ext);
	flags = page_ext->flags;
	page_ext_put(page_ext);
	KUNIT_EXPECT_FALSE(test, test_bit(BITS_PER_LONG - 1, &flags));
}
#endif
#endif

static struct kunit_case mhp_subsection_cases[] = {
	KUNIT_CASE(mhp_subsection_index),
	KUNIT_CASE_PARAM(mhp_subsection_online_map, mask_gen_params),
	KUNIT_CASE_PARAM(mhp_subsection_present_map, mask_gen_params),
	KUNIT_CASE(mhp_subsection_no_usage),
	KUNIT_CASE(mhp_subsection_granule),
	KUNIT_CASE_PARAM_ATTR(mhp_subsection_span, span_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
#ifdef CONFIG_PAGE_EXTENSION
	KUNIT_CASE(mhp_subsection_page_ext),
#ifndef MODULE
	KUNIT_CASE(mhp_subsection_page_ext_clean),
#endif
#endif
	{}
};

static struct kunit_suite mhp_subsection_suite = {
	.name = "mhp_subsection",
	.init = mhp_fixture_init_literal,
	.exit = mhp_fixture_exit,
	.test_cases = mhp_subsection_cases,
};

kunit_test_suite(mhp_subsection_suite);
