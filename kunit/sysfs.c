// SPDX-License-Identifier: GPL-2.0
/*
 * Files of sysfs, proc and debugfs: see sysfs.h.
 */

#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/memory.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "fixture.h"
#include "sysfs.h"

static const char * const names[MHP_NR_FS] = { "sysfs", "proc", "debugfs" };

/* Mounted when they are needed first; for good, if the suites are built in */
static struct vfsmount *mounts[MHP_NR_FS];
static DEFINE_MUTEX(mount_lock);

static struct vfsmount *get_mount(enum mhp_fs fs)
{
	struct file_system_type *type;
	struct vfsmount *mnt;

	mutex_lock(&mount_lock);
	mnt = mounts[fs];
	if (!mnt) {
		type = get_fs_type(names[fs]);
		mnt = type ? kern_mount(type) : ERR_PTR(-ENODEV);
		if (type)
			module_put(type->owner);
		if (!IS_ERR(mnt))
			mounts[fs] = mnt;
	}
	mutex_unlock(&mount_lock);
	return mnt;
}

#ifdef MODULE
static void __exit unmount_all(void)
{
	int fs;

	for (fs = 0; fs < MHP_NR_FS; fs++) {
		if (mounts[fs])
			kern_unmount(mounts[fs]);
	}
}
module_exit(unmount_all);
#endif

/**
 * mhp_must_mount() - have files at hand without further ado, or end the case
 * @test: the case
 * @fs: where they are
 */
void mhp_must_mount(struct kunit *test, enum mhp_fs fs)
{
	KUNIT_ASSERT_FALSE_MSG(test, IS_ERR(get_mount(fs)), "there is no %s", names[fs]);
}

/**
 * mhp_open() - open a file
 * @fs: where it is
 * @path: relative to that
 * @flags: O_RDONLY and its like
 *
 * Return: the file, for __fput_sync(), or an error pointer
 */
struct file *mhp_open(enum mhp_fs fs, const char *path, int flags)
{
	struct vfsmount *mnt = get_mount(fs);

	if (IS_ERR(mnt))
		return ERR_CAST(mnt);
	return file_open_root_mnt(mnt, path, flags | O_LARGEFILE, 0);
}

/**
 * mhp_read() - read a file once
 * @fs: where it is
 * @path: relative to that
 * @buf: where to read to
 * @size: of @buf, in bytes
 * @pos: from where to read, in bytes
 *
 * Return: bytes, or -errno
 */
ssize_t mhp_read(enum mhp_fs fs, const char *path, void *buf, size_t size, loff_t pos)
{
	struct file *file = mhp_open(fs, path, O_RDONLY);
	ssize_t ret;

	if (IS_ERR(file))
		return PTR_ERR(file);
	ret = kernel_read(file, buf, size, &pos);
	__fput_sync(file);
	return ret;
}

/**
 * mhp_write() - write to a file once
 * @fs: where it is
 * @path: relative to that
 * @buf: what to write
 * @size: bytes of it
 * @pos: where to write, in bytes
 *
 * Return: bytes, or -errno
 */
ssize_t mhp_write(enum mhp_fs fs, const char *path, const void *buf, size_t size, loff_t pos)
{
	struct file *file = mhp_open(fs, path, O_WRONLY);
	ssize_t ret;
	int try;

	if (IS_ERR(file))
		return PTR_ERR(file);
	for (try = 0; try < 200; try++) {
		ret = kernel_write(file, buf, size, &pos);
		/* Somebody else had the hotplug lock. A system call would start again. */
		if (ret != -ERESTARTNOINTR)
			break;
		flush_signals(current);
	}
	__fput_sync(file);
	return ret;
}

/**
 * mhp_read_text() - read a file to its end
 * @fs: where it is
 * @path: relative to that
 * @buf: the text, ended by 0
 * @size: of @buf, in bytes; what is more is left out
 *
 * Return: length of the text, or -errno
 */
ssize_t mhp_read_text(enum mhp_fs fs, const char *path, char *buf, size_t size)
{
	struct file *file = mhp_open(fs, path, O_RDONLY);
	loff_t pos = 0;
	ssize_t len;

	if (IS_ERR(file))
		return PTR_ERR(file);
	do {
		len = kernel_read(file, buf + pos, size - 1 - pos, &pos);
	} while (len > 0);
	buf[pos] = 0;
	__fput_sync(file);
	return len ?: pos;
}

/**
 * mhp_write_text() - write a text to a file
 * @fs: where it is
 * @path: relative to that
 * @text: what to write
 *
 * Return: 0 or -errno
 */
int mhp_write_text(enum mhp_fs fs, const char *path, const char *text)
{
	return min_t(ssize_t, mhp_write(fs, path, text, strlen(text), 0), 0);
}

/* The number behind a word at the start of a line, or 0 */
static u64 number_of(enum mhp_fs fs, const char *path, char *buf, size_t size, const char *word)
{
	u64 number = 0;
	char *line;

	if (mhp_read_text(fs, path, buf, size) <= 0)
		return 0;
	line = strstr(buf, word);
	if (!line || sscanf(line + strlen(word), "%llu", &number) != 1)
		return 0;
	return number;
}

/**
 * mhp_hardware_corrupted() - memory that is poisoned
 *
 * Return: KiB, as /proc/meminfo says
 */
u64 mhp_hardware_corrupted(void)
{
	char *text = kmalloc(SZ_16K, GFP_KERNEL);
	u64 kib;

	if (!text)
		return 0;
	kib = number_of(MHP_PROC, "meminfo", text, SZ_16K, "HardwareCorrupted:");
	kfree(text);
	return kib;
}

/**
 * mhp_sysfs_read() - read a file of sysfs
 * @path: relative to its root
 * @buf: the text, ended by 0
 * @size: of @buf, in bytes
 *
 * Return: length of the text, or -errno
 */
ssize_t mhp_sysfs_read(const char *path, char *buf, size_t size)
{
	return mhp_read_text(MHP_SYSFS, path, buf, size);
}

/**
 * mhp_read_sysfs() - what is in a file of sysfs
 * @test: the case, which ends here and fails if the file cannot be read
 * @path: relative to its root
 *
 * Return: text of less than four pages, which is freed with the case
 */
char *mhp_read_sysfs(struct kunit *test, const char *path)
{
	const size_t size = 4 * PAGE_SIZE;
	char *text = kunit_kzalloc(test, size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, text);
	KUNIT_ASSERT_GE_MSG(test, mhp_sysfs_read(path, text, size), 0, "%s", path);
	return text;
}

/**
 * mhp_sysfs_write() - write a text to a file of sysfs
 * @path: relative to its root
 * @text: what to write
 *
 * Return: 0 or -errno
 */
int mhp_sysfs_write(const char *path, const char *text)
{
	return mhp_write_text(MHP_SYSFS, path, text);
}

/**
 * mhp_sysfs_exists() - whether sysfs has a file or folder
 * @path: relative to its root
 *
 * Return: true if it has
 */
bool mhp_sysfs_exists(const char *path)
{
	struct file *file = mhp_open(MHP_SYSFS, path, O_RDONLY);

	if (IS_ERR(file))
		return false;
	__fput_sync(file);
	return true;
}

struct entries {
	struct dir_context ctx;
	int nr;
};

static bool count_entry(struct dir_context *ctx, const char *name, int len, loff_t pos,
			u64 ino, unsigned int type)
{
	container_of(ctx, struct entries, ctx)->nr += name[0] != '.';
	return true;
}

/**
 * mhp_sysfs_count() - how many entries a folder of sysfs has
 * @path: relative to its root
 *
 * Return: their number, or -errno
 */
int mhp_sysfs_count(const char *path)
{
	struct entries entries = { .ctx.actor = count_entry };
	struct file *file = mhp_open(MHP_SYSFS, path, O_RDONLY | O_DIRECTORY);
	int ret;

	if (IS_ERR(file))
		return PTR_ERR(file);
	ret = iterate_dir(file, &entries.ctx);
	__fput_sync(file);
	return ret ?: entries.nr;
}

/**
 * mhp_block_file() - the path of a file of the memory block that an address is in
 * @test: the case, which the path is freed with
 * @addr: physical address in bytes
 * @name: of the file
 *
 * Return: the path, relative to the root of sysfs
 */
char *mhp_block_file(struct kunit *test, u64 addr, const char *name)
{
	char *path = kunit_kzalloc(test, 80, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, path);
	snprintf(path, 80, "devices/system/memory/memory%llu/%s",
		 addr / memory_block_size_bytes(), name);
	return path;
}

/* Whether sysfs has a memory block, or, with a node, a link from that to it */
static bool block_exists(u64 addr, int nid)
{
	u64 id = addr / memory_block_size_bytes();
	char path[64];

	if (nid < 0)
		snprintf(path, sizeof(path), "devices/system/memory/memory%llu", id);
	else
		snprintf(path, sizeof(path), "devices/system/node/node%d/memory%llu", nid, id);
	return mhp_sysfs_exists(path);
}

/**
 * mhp_snapshot_files() - note what files tell, for mhp_take_snapshot()
 * @test: the case
 * @snap: @memmap_pages, @blocks and @links are filled
 */
void mhp_snapshot_files(struct kunit *test, struct mhp_snapshot *snap)
{
	const u64 block = memory_block_size_bytes();
	static char vmstat[SZ_16K];
	int nid, i;

	snap->memmap_pages = number_of(MHP_PROC, "vmstat", vmstat, sizeof(vmstat),
				       "nr_memmap_pages ");
	for (i = 0; i < mhp_spare_size() / block; i++) {
		u64 addr = mhp_spare_start(test) + i * block;

		__assign_bit(i, snap->blocks, block_exists(addr, -1));
		for (nid = 0; nid < MHP_KUNIT_NODES; nid++)
			__assign_bit(i, snap->links[nid], block_exists(addr, nid));
	}
}
