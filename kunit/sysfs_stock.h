/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What mhp_stock asks of memory blocks: their files, and what was told of them.
 */
#ifndef _MHP_KUNIT_SYSFS_STOCK_H
#define _MHP_KUNIT_SYSFS_STOCK_H

#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "fixture.h"
#include "sysfs.h"

static inline u64 block_size(void)
{
	return memory_block_size_bytes();
}

/* The i-th block of the spare memory */
static inline u64 block(struct kunit *test, int i)
{
	return mhp_spare_start(test) + i * block_size();
}

static inline unsigned long block_pages(void)
{
	return PHYS_PFN(block_size());
}

static inline void block_path(char *path, size_t size, u64 start, const char *file)
{
	snprintf(path, size, "devices/system/memory/memory%llu/%s", start / block_size(), file);
}

static inline void expect_file(struct kunit *test, u64 start, const char *file, const char *text)
{
	char path[64], buf[128];

	block_path(path, sizeof(path), start, file);
	KUNIT_ASSERT_GT_MSG(test, mhp_sysfs_read(path, buf, sizeof(buf)), 0, "%s", path);
	KUNIT_EXPECT_STREQ_MSG(test, strim(buf), text, "%s", path);
}

static inline int write_file(u64 start, const char *file, const char *text)
{
	char path[64];

	block_path(path, sizeof(path), start, file);
	return mhp_sysfs_write(path, text);
}

static inline int write_state(u64 start, const char *text)
{
	return write_file(start, "state", text);
}

static inline bool has_file(u64 start, const char *file)
{
	char path[64];

	block_path(path, sizeof(path), start, file);
	return mhp_sysfs_exists(path);
}

static inline bool node_has_block(int nid, u64 start)
{
	char path[64];

	snprintf(path, sizeof(path), "devices/system/node/node%d/memory%llu", nid,
		 start / block_size());
	return mhp_sysfs_exists(path);
}

static inline void expect_block_online(struct kunit *test, u64 start)
{
	expect_file(test, start, "state", "online");
	expect_file(test, start, "valid_zones", "Movable");
	mhp_expect_online(test, start, block_size(), 0, ZONE_MOVABLE);
}

static inline void expect_block_offline(struct kunit *test, u64 start)
{
	expect_file(test, start, "state", "offline");
	mhp_expect_offline(test, start, block_size());
}

/* What went on must have been exactly this, of these pages. */
static inline void expect_calls(struct kunit *test, const unsigned long *actions, unsigned int nr,
				u64 start, u64 size)
{
	const struct mhp_call *call;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		call = mhp_get_call(i);
		KUNIT_ASSERT_NOT_NULL_MSG(test, call, "notification %u", i);
		KUNIT_EXPECT_EQ_MSG(test, call->action, actions[i], "notification %u", i);
		KUNIT_EXPECT_EQ_MSG(test, call->arg.start_pfn, PHYS_PFN(start),
				    "notification %u", i);
		KUNIT_EXPECT_EQ_MSG(test, call->arg.nr_pages, PHYS_PFN(size),
				    "notification %u", i);
	}
	KUNIT_EXPECT_NULL(test, mhp_get_call(nr));
}

#endif /* _MHP_KUNIT_SYSFS_STOCK_H */
