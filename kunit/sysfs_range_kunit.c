// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_range, the case that needs sysfs: the file that memory is probed by.
 */

#include <linux/kernel.h>
#include <linux/memory.h>
#include <linux/sizes.h>

#include "fixture.h"
#include "sysfs.h"

#ifdef CONFIG_ARCH_MEMORY_PROBE

#define PROBE	"devices/system/memory/probe"

/* I6: the probe file adds a block, or a range by its size, and nothing else. */
void mhp_range_probe(struct kunit *test)
{
	static const char * const nonsense[] = {
		"x", "%#llx x", "%#llx 0", "%#llx 0x1000", "%#llx 0x200000 0", "-%#llx 0x200000",
	};
	u64 start = mhp_spare_start(test), block = memory_block_size_bytes();
	struct mhp_snapshot before;
	char text[64];
	int i;

	mhp_take_snapshot(test, &before);
	for (i = 0; i < ARRAY_SIZE(nonsense); i++) {
		snprintf(text, sizeof(text), nonsense[i], start);
		KUNIT_EXPECT_EQ_MSG(test, mhp_sysfs_write(PROBE, text), -EINVAL, "%s", text);
	}
	snprintf(text, sizeof(text), "%#llx", start + SZ_4K);
	KUNIT_EXPECT_EQ(test, mhp_sysfs_write(PROBE, text), -EINVAL);
	mhp_expect_snapshot(test, &before, "after nonsense");

	snprintf(text, sizeof(text), "%#llx 0x200000", start + block + SZ_8M);
	KUNIT_ASSERT_EQ(test, mhp_sysfs_write(PROBE, text), 0);
	mhp_expect_offline(test, start + block + SZ_8M, SZ_2M);
	mhp_expect_hole(test, start + block + SZ_8M + SZ_2M, SZ_2M);
	KUNIT_EXPECT_EQ(test, mhp_sysfs_write(PROBE, text), -EEXIST);
	snprintf(text, sizeof(text), "%#llx", start);
	KUNIT_ASSERT_EQ(test, mhp_sysfs_write(PROBE, text), 0);
	mhp_expect_offline(test, start, block);
	mhp_must_remove(test, start + block + SZ_8M, SZ_2M);
	mhp_must_remove(test, start, block);
	mhp_expect_snapshot(test, &before, "removed");
}

#endif /* CONFIG_ARCH_MEMORY_PROBE */
