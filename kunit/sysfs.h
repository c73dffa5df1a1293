/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Files of sysfs, proc and debugfs, whether or not somebody has mounted these; and the
 * cases that need them of suites that have others as well.
 */
#ifndef _MHP_KUNIT_SYSFS_H
#define _MHP_KUNIT_SYSFS_H

#include <kunit/test.h>
#include <linux/fs.h>
#include <linux/types.h>

#include "compat.h"

#define MHP_AUTO_ONLINE	"devices/system/memory/auto_online_blocks"

/**
 * enum mhp_fs - where a file is
 * @MHP_SYSFS: its path is relative to /sys
 * @MHP_PROC: relative to /proc
 * @MHP_DEBUGFS: relative to /sys/kernel/debug
 * @MHP_NR_FS: how many there are
 */
enum mhp_fs { MHP_SYSFS, MHP_PROC, MHP_DEBUGFS, MHP_NR_FS };

void mhp_must_mount(struct kunit *test, enum mhp_fs fs);
struct file *mhp_open(enum mhp_fs fs, const char *path, int flags);
ssize_t mhp_read(enum mhp_fs fs, const char *path, void *buf, size_t size, loff_t pos);
ssize_t mhp_write(enum mhp_fs fs, const char *path, const void *buf, size_t size, loff_t pos);
ssize_t mhp_read_text(enum mhp_fs fs, const char *path, char *buf, size_t size);
int mhp_write_text(enum mhp_fs fs, const char *path, const char *text);
u64 mhp_hardware_corrupted(void);

ssize_t mhp_sysfs_read(const char *path, char *buf, size_t size);
char *mhp_read_sysfs(struct kunit *test, const char *path);
int mhp_sysfs_write(const char *path, const char *text);
bool mhp_sysfs_exists(const char *path);
int mhp_sysfs_count(const char *path);
char *mhp_block_file(struct kunit *test, u64 addr, const char *name);

/* Cases of suites that have others as well */
void mhp_range_probe(struct kunit *test);

void mhp_extent_block_state(struct kunit *test);
void mhp_extent_block_state_rolls_back(struct kunit *test);
void mhp_extent_zones_come_back(struct kunit *test);
void mhp_extent_node_links(struct kunit *test);
void mhp_extent_uevents(struct kunit *test);
void mhp_extent_policy(struct kunit *test);
void mhp_extent_group_follows(struct kunit *test);
void mhp_extent_group_follows_later(struct kunit *test);
void mhp_extent_group_follows_own(struct kunit *test);
void mhp_extent_returns(struct kunit *test);
void mhp_extent_sysfs(struct kunit *test);
void mhp_extent_poison_last(struct kunit *test);
void mhp_extent_poison(struct kunit *test);
void mhp_extent_rollback_refused(struct kunit *test);

void mhp_online_content_migrates(struct kunit *test);
void mhp_online_page_owner(struct kunit *test);

#endif /* _MHP_KUNIT_SYSFS_H */
