// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_extent_range: what a driver learns of an address: which extent it is in, and how
 * much of that hosts its memmap. It is exported to virtio-mem alone, so that the suite is
 * there only when it is built in.
 */

#include <linux/mm.h>
#include <linux/range.h>
#include <linux/sizes.h>

#include "fixture.h"

#ifndef MODULE

static void expect_none(struct kunit *test, u64 addr)
{
	struct range range;

	KUNIT_EXPECT_EQ_MSG(test, memory_extent_range(addr, &range), -ENOENT, "%#llx", addr);
}

static void expect_at(struct kunit *test, u64 addr, u64 start, u64 size, u64 hosted)
{
	struct range range = { };

	KUNIT_EXPECT_EQ_MSG(test, memory_extent_range(addr, &range), (long)hosted, "%#llx", addr);
	KUNIT_EXPECT_EQ_MSG(test, range.start, start, "%#llx", addr);
	KUNIT_EXPECT_EQ_MSG(test, range.end, start + size - 1, "%#llx", addr);
}

/* Whichever byte of an extent is asked for: it is that extent. */
static void expect_extent(struct kunit *test, u64 start, u64 size, u64 hosted)
{
	const u64 offsets[] = {
		0, 1, PAGE_SIZE - 1, PAGE_SIZE, size / 2 - 1, size / 2, size - PAGE_SIZE, size - 1,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++)
		expect_at(test, start + offsets[i], start, size, hosted);
}

/* R1: an extent ends where the next one begins, and a hole belongs to none. */
static void mhp_extent_range_bytes(struct kunit *test)
{
	const u64 first = mhp_spare_start(test) + SZ_8M, second = first + SZ_4M;
	const u64 third = first + SZ_64M;

	expect_none(test, first);
	mhp_must_add(test, 0, first, SZ_4M, MHP_NONE);
	mhp_must_add(test, 0, second, SZ_8M, MHP_NONE);
	mhp_must_add(test, 0, third, SZ_2M, MHP_NONE);
	/* Before, in, between and behind them */
	expect_none(test, mhp_spare_start(test));
	expect_none(test, first - 1);
	expect_extent(test, first, SZ_4M, 0);
	expect_extent(test, second, SZ_8M, 0);
	expect_none(test, second + SZ_8M);
	expect_none(test, third - 1);
	expect_extent(test, third, SZ_2M, 0);
	expect_none(test, third + SZ_2M);
	expect_none(test, mhp_spare_start(test) + memory_block_size_bytes());
	/* It is the same while it goes online and offline, and until it goes. */
	KUNIT_ASSERT_EQ(test, mhp_online(second, SZ_8M, MMOP_ONLINE_MOVABLE), 0);
	expect_extent(test, second, SZ_8M, 0);
	expect_extent(test, first, SZ_4M, 0);
	mhp_must_remove(test, first, SZ_4M);
	expect_none(test, first);
	expect_none(test, second - 1);
	expect_extent(test, second, SZ_8M, 0);
	KUNIT_ASSERT_EQ(test, mhp_offline(second, SZ_8M), 0);
	expect_extent(test, second, SZ_8M, 0);
	mhp_must_remove(test, second, SZ_8M);
	expect_none(test, second);
	expect_none(test, second + SZ_8M - 1);
	expect_extent(test, third, SZ_2M, 0);
}

/* R1: memory that is added across blocks is an extent in each of them. */
static void mhp_extent_range_across_blocks(struct kunit *test)
{
	const u64 block = memory_block_size_bytes(), first = mhp_spare_start(test) + block;

	mhp_must_add(test, 0, first - SZ_4M, SZ_4M + block + SZ_2M, MHP_NONE);
	expect_none(test, first - SZ_4M - 1);
	expect_extent(test, first - SZ_4M, SZ_4M, 0);
	expect_extent(test, first, block, 0);
	expect_extent(test, first + block, SZ_2M, 0);
	expect_none(test, first + block + SZ_2M);
}

static u64 memmap_of(u64 size)
{
	return PFN_PHYS((u64)PFN_UP(PHYS_PFN(size) * sizeof(struct page)));
}

/* I8: what of an extent hosts its memmap are whole pages at its start, in each block. */
static void mhp_extent_range_self_hosted(struct kunit *test)
{
	const u64 block = memory_block_size_bytes(), first = mhp_spare_start(test) + block;

	if (!mhp_supports_memmap_on_memory())
		kunit_skip(test, "memory_hotplug.memmap_on_memory is off");
	mhp_must_add(test, 0, first - SZ_8M, SZ_2M, MHP_MEMMAP_ON_MEMORY);
	mhp_must_add(test, 0, first - SZ_4M, SZ_4M + block + SZ_2M, MHP_MEMMAP_ON_MEMORY);
	mhp_must_add(test, 0, first + block + SZ_2M, SZ_2M, MHP_NONE);
	expect_extent(test, first - SZ_8M, SZ_2M, memmap_of(SZ_2M));
	expect_none(test, first - SZ_4M - 1);
	expect_extent(test, first - SZ_4M, SZ_4M, memmap_of(SZ_4M));
	expect_extent(test, first, block, memmap_of(block));
	expect_extent(test, first + block, SZ_2M, memmap_of(SZ_2M));
	expect_extent(test, first + block + SZ_2M, SZ_2M, 0);
	/* Online, too, when that memmap is in a zone */
	KUNIT_ASSERT_EQ(test, mhp_online(first, block, MMOP_ONLINE_MOVABLE), 0);
	expect_extent(test, first, block, memmap_of(block));
	mhp_must_remove(test, first - SZ_4M, SZ_4M + block + SZ_2M);
	expect_none(test, first);
	expect_extent(test, first - SZ_8M, SZ_2M, memmap_of(SZ_2M));
}

/* R1: boot memory is of extents, too, and hosts no memmap. */
static void mhp_extent_range_boot_memory(struct kunit *test)
{
	const u64 end = mhp_edge_start(test);
	struct range range = { };

	KUNIT_ASSERT_EQ(test, memory_extent_range(end - 1, &range), 0L);
	KUNIT_EXPECT_EQ(test, range.end, end - 1);
	KUNIT_EXPECT_GE(test, range.start, ALIGN_DOWN(end - 1, memory_block_size_bytes()));
	KUNIT_ASSERT_LT(test, range.start, range.end);
	expect_extent(test, range.start, end - range.start, 0);
	expect_none(test, end);
	/* What comes behind it is another one. */
	mhp_must_add(test, 0, end, SZ_2M, MHP_NONE);
	expect_extent(test, range.start, end - range.start, 0);
	expect_extent(test, end, SZ_2M, 0);
	expect_none(test, end + SZ_2M);
}

/* I4: ZONE_DEVICE has a memmap, but is no extent, nor part of the one beside it. */
static void mhp_extent_range_device(struct kunit *test)
{
	const u64 start = mhp_spare_start(test) + SZ_32M;

	mhp_must_add(test, 0, start, SZ_2M, MHP_NONE);
	mhp_must_add_device(test, start - SZ_2M, SZ_2M);
	mhp_must_add_device(test, start + SZ_2M, SZ_4M);
	KUNIT_EXPECT_TRUE(test, pfn_valid(PHYS_PFN(start + SZ_2M)));
	expect_none(test, start - SZ_2M);
	expect_none(test, start - 1);
	expect_extent(test, start, SZ_2M, 0);
	expect_none(test, start + SZ_2M);
	expect_none(test, start + SZ_4M);
	mhp_must_remove(test, start, SZ_2M);
	expect_none(test, start);
	mhp_must_remove_device(test, start + SZ_2M);
	expect_none(test, start + SZ_2M);
}

static struct kunit_case mhp_extent_range_cases[] = {
	KUNIT_CASE(mhp_extent_range_bytes),
	KUNIT_CASE(mhp_extent_range_across_blocks),
	KUNIT_CASE(mhp_extent_range_self_hosted),
	KUNIT_CASE(mhp_extent_range_boot_memory),
	KUNIT_CASE(mhp_extent_range_device),
	{}
};

static struct kunit_suite mhp_extent_range_suite = {
	.name = "mhp_extent_range",
	.init = mhp_fixture_init_literal,
	.exit = mhp_fixture_exit,
	.test_cases = mhp_extent_range_cases,
};

kunit_test_suite(mhp_extent_range_suite);

#endif /* !MODULE */
