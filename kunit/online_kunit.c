// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_online: which pages are online, and that nothing but these is used.
 */

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/jhash.h>
#include <linux/mm.h>
#include <linux/shmem_fs.h>
#include <linux/sizes.h>

#include "fixture.h"

enum kind { HOLE, OFFLINE, ONLINE, DEVICE };

/* One section, from its start to its end */
static const struct {
	u64 size;
	enum kind kind;
} layout[] = {
	{ SZ_2M, ONLINE },
	{ SZ_2M, OFFLINE },
	{ SZ_4M, HOLE },
	{ SZ_4M, DEVICE },
	{ SZ_4M, ONLINE },
	{ SZ_2M, DEVICE },
	{ SZ_2M, OFFLINE },
	{ SZ_4M, ONLINE },
	{ SZ_64M, HOLE },
	{ SZ_32M, ONLINE },
	{ SZ_8M, HOLE },
};

static void make_layout(struct kunit *test)
{
	u64 at = mhp_spare_start(test);
	int i;

	for (i = 0; i < ARRAY_SIZE(layout); at += layout[i++].size) {
		if (layout[i].kind == DEVICE)
			mhp_must_add_device(test, at, layout[i].size);
		if (layout[i].kind != ONLINE && layout[i].kind != OFFLINE)
			continue;
		mhp_must_add(test, 0, at, layout[i].size, MHP_NONE);
		if (layout[i].kind == ONLINE)
			KUNIT_ASSERT_EQ(test, mhp_online(at, layout[i].size,
							 MMOP_ONLINE_MOVABLE), 0);
	}
}

/* I2 I3: each pfn of a mixed section is what the layout says. */
static void mhp_online_every_pfn(struct kunit *test)
{
	u64 at = mhp_spare_start(test);
	unsigned long pfn, end, wrong;
	struct page *page;
	int i;

	make_layout(test);
	for (i = 0; i < ARRAY_SIZE(layout); at += layout[i++].size) {
		wrong = 0;
		end = PHYS_PFN(at + layout[i].size);
		for (pfn = PHYS_PFN(at); pfn < end; pfn++) {
			page = pfn_to_online_page(pfn);
			wrong += !!page != (layout[i].kind == ONLINE);
			wrong += pfn_valid(pfn) != (layout[i].kind != HOLE);
			if (page)
				wrong += page_zonenum(page) != ZONE_MOVABLE;
			else if (layout[i].kind == DEVICE)
				wrong += page_zonenum(pfn_to_page(pfn)) != ZONE_DEVICE;
		}
		KUNIT_EXPECT_EQ_MSG(test, wrong, 0UL, "part %d, kind %d, at %#llx",
				    i, layout[i].kind, at);
	}
}

/* Which side of the online pages the bait is */
static const struct bait_param {
	const char *name;
	u64 bait;
	u64 online;
} baits[] = {
	{ "below", 0, SZ_2M },
	{ "above", SZ_2M, 0 },
};

KUNIT_ARRAY_PARAM_DESC(bait, baits, name);

/* Have uninitialised struct pages look like one free page of a granule. */
static void make_bait(unsigned long pfn, struct page *ref)
{
	unsigned long i;

	for (i = 0; i < PAGES_PER_SUBSECTION; i++) {
		struct page *page = pfn_to_page(pfn + i);

		memset(page, 0, sizeof(*page));
		/* Node, zone and section of the other page, and no flags */
		page->flags = ref->flags & ~((1UL << NR_PAGEFLAGS) - 1);
		page->page_type = PGTY_buddy << 24;
		INIT_LIST_HEAD(&page->buddy_list);
		page->private = ilog2(PAGES_PER_SUBSECTION);
	}
}

static u32 sum_memmap(unsigned long pfn)
{
	return jhash(pfn_to_page(pfn), PAGES_PER_SUBSECTION * sizeof(struct page), 0);
}

/*
 * I1: free pages do not merge with what was added and never onlined, even if its
 * memmap looks like a free page of the same zone.
 */
static void mhp_online_no_merge(struct kunit *test)
{
	const struct bait_param *param = test->param_value;
	u64 bait = mhp_spare_start(test) + param->bait;
	u64 online = mhp_spare_start(test) + param->online;
	unsigned long pfn = PHYS_PFN(online), end = PHYS_PFN(online + SZ_2M);
	int i, ret;
	u32 sum;

	if (pageblock_nr_pages != PAGES_PER_SUBSECTION)
		kunit_skip(test, "a pageblock is not a sub-section here");
	mhp_must_add(test, 0, bait, SZ_2M, MHP_NONE);
	mhp_must_add(test, 0, online, SZ_2M, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(online, SZ_2M, MMOP_ONLINE_MOVABLE), 0);
	make_bait(PHYS_PFN(bait), pfn_to_page(pfn));
	sum = sum_memmap(PHYS_PFN(bait));
	for (i = 0; i < 3; i++) {
		ret = alloc_contig_range(pfn, end, MIGRATE_MOVABLE, GFP_KERNEL);
		KUNIT_ASSERT_EQ(test, ret, 0);
		/*
		 * The last one makes it a free page of a granule: at the latest
		 * when all CPUs are asked for theirs, in the next round.
		 */
		free_contig_range(pfn, end - pfn);
		KUNIT_EXPECT_EQ(test, sum_memmap(PHYS_PFN(bait)), sum);
	}
	mhp_must_remove(test, online, SZ_2M);
	KUNIT_EXPECT_EQ(test, sum_memmap(PHYS_PFN(bait)), sum);
}

#define CONTENT	SZ_16M

static u64 content_word(loff_t pos)
{
	return (pos + 1) * 0x9e3779b97f4a7c15ULL;
}

static void close_file(void *file)
{
	filp_close(file, NULL);
}

/* I1: what was written before memory goes offline is found after, elsewhere. */
static void mhp_online_content_migrates(struct kunit *test)
{
	u64 start = mhp_spare_start(test) + SZ_2M;
	struct zone *movable = &NODE_DATA(0)->node_zones[ZONE_MOVABLE];
	unsigned long before, i, wrong = 0;
	struct file *file;
	loff_t pos = 0;
	u64 *words;

	words = kunit_kmalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, words);
	mhp_must_add(test, 0, start, SZ_32M, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(start, SZ_32M, MMOP_ONLINE_MOVABLE), 0);
	before = zone_page_state(movable, NR_FREE_PAGES);
	file = shmem_kernel_file_setup("mhp_kunit", CONTENT, VM_NORESERVE);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, close_file, file), 0);

	while (pos < CONTENT) {
		for (i = 0; i < PAGE_SIZE / sizeof(*words); i++)
			words[i] = content_word(pos + i * sizeof(*words));
		KUNIT_ASSERT_EQ(test, kernel_write(file, words, PAGE_SIZE, &pos),
				(ssize_t)PAGE_SIZE);
	}
	/* It went where the kernel puts what can be moved, to the only such zone. */
	KUNIT_EXPECT_GE(test, before - zone_page_state(movable, NR_FREE_PAGES),
			PHYS_PFN(CONTENT) / 2);
	KUNIT_ASSERT_EQ(test, mhp_offline(start, SZ_32M), 0);
	mhp_expect_offline(test, start, SZ_32M);

	for (pos = 0; pos < CONTENT;) {
		loff_t at = pos;

		KUNIT_ASSERT_EQ(test, kernel_read(file, words, PAGE_SIZE, &pos),
				(ssize_t)PAGE_SIZE);
		for (i = 0; i < PAGE_SIZE / sizeof(*words); i++)
			wrong += words[i] != content_word(at + i * sizeof(*words));
	}
	KUNIT_EXPECT_EQ(test, wrong, 0UL);
}

static struct kunit_case mhp_online_cases[] = {
	KUNIT_CASE(mhp_online_every_pfn),
	KUNIT_CASE_PARAM(mhp_online_no_merge, bait_gen_params),
	KUNIT_CASE(mhp_online_content_migrates),
	{}
};

struct kunit_suite mhp_online_suite = {
	.name = "mhp_online",
	.init = mhp_fixture_init,
	.exit = mhp_fixture_exit,
	.test_cases = mhp_online_cases,
};
