// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_online, the cases that need files: content that lies in memory which is compacted
 * and goes offline, and what page_owner tells of.
 */

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/shmem_fs.h>
#include <linux/sizes.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmstat.h>

#include "online.h"
#include "sysfs.h"

#define CONTENT	SZ_16M

static u64 content_word(loff_t pos)
{
	return (pos + 1) * 0x9e3779b97f4a7c15ULL;
}

static void close_file(void *file)
{
	filp_close(file, NULL);
}

static struct file *write_content(struct kunit *test, u64 *words)
{
	struct file *file = mhp_file_setup("mhp_kunit", CONTENT);
	unsigned long i;
	loff_t pos = 0;

	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, close_file, file), 0);
	while (pos < CONTENT) {
		for (i = 0; i < PAGE_SIZE / sizeof(*words); i++)
			words[i] = content_word(pos + i * sizeof(*words));
		KUNIT_ASSERT_EQ(test, kernel_write(file, words, PAGE_SIZE, &pos),
				(ssize_t)PAGE_SIZE);
	}
	return file;
}

static void expect_content(struct kunit *test, struct file *file, u64 *words,
			   const char *when)
{
	unsigned long i, wrong = 0;
	loff_t pos = 0, at;

	while (pos < CONTENT) {
		at = pos;
		KUNIT_ASSERT_EQ(test, kernel_read(file, words, PAGE_SIZE, &pos),
				(ssize_t)PAGE_SIZE);
		for (i = 0; i < PAGE_SIZE / sizeof(*words); i++)
			wrong += words[i] != content_word(at + i * sizeof(*words));
	}
	KUNIT_EXPECT_EQ_MSG(test, wrong, 0UL, "%s", when);
}

/* Pages that compaction has taken to move them, as long as the kernel runs */
static unsigned long nr_compacted(void)
{
#if defined(CONFIG_VM_EVENT_COUNTERS) && defined(CONFIG_COMPACTION)
	unsigned long events[NR_VM_EVENT_ITEMS];

	all_vm_events(events);
	return events[COMPACTISOLATED];
#else
	return 0;
#endif
}

/*
 * I1: what was written is found again: after memory with holes in it was compacted, after
 * part of it had to go elsewhere, and after all of it went offline.
 */
void mhp_online_content_migrates(struct kunit *test)
{
	/* With a hole and an extent that stays offline between them */
	static const u64 offsets[] = { SZ_2M, SZ_32M + SZ_4M };
	struct zone *movable = &NODE_DATA(0)->node_zones[ZONE_MOVABLE];
	u64 start = mhp_spare_start(test), at;
	unsigned long before, pfn, moved;
	struct file *file;
	int i, ret, holes = 0;
	u64 *words;

	words = kunit_kmalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, words);
	mhp_must_add(test, 0, start + SZ_32M, SZ_2M, MHP_NONE);
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		mhp_must_add(test, 0, start + offsets[i], SZ_16M, MHP_NONE);
		KUNIT_ASSERT_EQ(test, mhp_online(start + offsets[i], SZ_16M,
						 MMOP_ONLINE_MOVABLE), 0);
	}
	before = zone_page_state(movable, NR_FREE_PAGES);
	file = write_content(test, words);
	/* It went where the kernel puts what can be moved, to the only such zone. */
	KUNIT_EXPECT_GE(test, before, zone_page_state(movable, NR_FREE_PAGES) +
			PHYS_PFN(CONTENT) / 2);

	/* Tear holes into what is free, for compaction to have something to do. */
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		at = start + offsets[i];
		for (pfn = PHYS_PFN(at); pfn < PHYS_PFN(at + SZ_16M); pfn += 64) {
			ret = mhp_alloc_contig_range(pfn, pfn + 32, GFP_KERNEL);
			if (ret)
				continue;
			free_contig_range(pfn, 32);
			holes++;
		}
	}
	KUNIT_EXPECT_GT(test, holes, 0);
	expect_content(test, file, words, "after parts of pageblocks were taken");
	moved = nr_compacted();
	KUNIT_ASSERT_EQ(test, mhp_sysfs_write("devices/system/node/node0/compact", "1"), 0);
	if (IS_ENABLED(CONFIG_VM_EVENT_COUNTERS))
		KUNIT_EXPECT_GT(test, nr_compacted(), moved);
	expect_content(test, file, words, "after compaction");
	mhp_expect_offline(test, start + SZ_32M, SZ_2M);

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		KUNIT_ASSERT_EQ(test, mhp_offline(start + offsets[i], SZ_16M), 0);
		mhp_expect_offline(test, start + offsets[i], SZ_16M);
		expect_content(test, file, words, "after going offline");
	}
}

#if defined(CONFIG_PAGE_OWNER) && !defined(MODULE)
static void put_file(void *file)
{
	__fput_sync(file);
}

static struct file *open_page_owner(struct kunit *test)
{
	struct file *file = mhp_open(MHP_DEBUGFS, "page_owner", O_RDONLY);

	if (IS_ERR(file))
		kunit_skip(test, "boot with page_owner=on");
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, put_file, file), 0);
	return file;
}

#define OWNER_BYTES	(4 * PAGE_SIZE)

/* Of how many of @nr pages from @pfn on page_owner tells, when read from another pfn on */
static unsigned long count_owned(struct kunit *test, struct file *file, char __user *user,
				 unsigned long from, unsigned long pfn, unsigned long nr)
{
	unsigned long seen = 0, at;
	loff_t pos = from;
	char text[64];
	ssize_t ret;

	do {
		ret = file->f_op->read(file, user, OWNER_BYTES, &pos);
		if (ret <= 0)
			break;
		at = pos - 1;
		seen += at >= pfn && at < pfn + nr;
		/* It is not online, or free, and so has no owner. */
		KUNIT_EXPECT_TRUE(test, pfn_to_online_page(at) && !PageBuddy(pfn_to_page(at)));
		if (copy_from_user(text, user, sizeof(text)) || !strnstr(text, "order", 64))
			break;
	} while (pos < pfn + nr);
	KUNIT_EXPECT_GE(test, ret, (ssize_t)0);
	return seen;
}

/* I2: page_owner tells of all that is online, and steps over all that is not. */
void mhp_online_page_owner(struct kunit *test)
{
	u64 start = mhp_spare_start(test), bait = start + SZ_8M, last = bait + SZ_2M;
	unsigned long pfn = PHYS_PFN(last), i;
	struct file *file = open_page_owner(test);
	char __user *user;

	user = (char __user *)kunit_vm_mmap(test, NULL, 0, OWNER_BYTES, PROT_READ | PROT_WRITE,
					    MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NOT_NULL(test, (void __force *)user);
	/* What is free, a hole, a bait that looks as if it reached over the last one */
	mhp_must_add(test, 0, start, SZ_2M, MHP_NONE);
	mhp_must_add(test, 0, bait, SZ_2M, MHP_NONE);
	mhp_must_add(test, 0, last, SZ_2M, MHP_NONE);
	KUNIT_ASSERT_EQ(test, mhp_online(start, SZ_2M, MMOP_ONLINE_MOVABLE), 0);
	KUNIT_ASSERT_EQ(test, mhp_online(last, SZ_2M, MMOP_ONLINE_MOVABLE), 0);
	make_bait(bait, BAIT, pfn_to_page(pfn));
	for (i = 0; i < PAGES_PER_SUBSECTION; i++)
		pfn_to_page(PHYS_PFN(bait) + i)->private = ilog2(PAGES_PER_SUBSECTION) + 1;
	take_pages(test, pfn, pfn + 64);
	KUNIT_EXPECT_EQ(test, count_owned(test, file, user, PHYS_PFN(start), pfn, 64), 64UL);
	KUNIT_EXPECT_EQ(test, count_owned(test, file, user, PHYS_PFN(bait) + 5, pfn, 64), 64UL);
	free_contig_range(pfn, 64);
}
#endif /* CONFIG_PAGE_OWNER && !MODULE */
