// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_race: who uses memory meanwhile, moves it and poisons pages.
 */

#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/shmem_fs.h>
#include <linux/sizes.h>

#include "race.h"

static void fill_page(struct page *page, u32 pattern)
{
	u32 *words = kmap_local_page(page);

	memset32(words, pattern, PAGE_SIZE / sizeof(*words));
	kunmap_local(words);
}

static bool page_has(struct page *page, u32 pattern)
{
	u32 *words = kmap_local_page(page);
	bool same = words[0] == pattern && !memcmp(words, words + 1, PAGE_SIZE - sizeof(*words));

	kunmap_local(words);
	return same;
}

/*
 * Take a granule of an anchor out of the page allocator and give it back, so that it
 * looks for buddies where parts come and go.
 */
static void churner_step(struct thread *thread)
{
	struct slot *slot = race_random_slot_of(thread, BIT(ANCHOR), false);
	unsigned long pfn, end, i;
	u32 pattern;
	int ret;

	if (!slot)
		return;
	pfn = PHYS_PFN(slot->start) +
	      race_random_below(thread, slot->size / SZ_2M) * PAGES_PER_SUBSECTION;
	end = pfn + PAGES_PER_SUBSECTION;
	/* What hosts the memmap is not to be had. */
	if (slot->flags & MHP_MEMMAP_ON_MEMORY && pfn == PHYS_PFN(slot->start))
		return;
	ret = mhp_alloc_contig_range(pfn, end, GFP_KERNEL);
	if (ret == -EBUSY) {
		race_done(thread, BUSY);
		return;
	}
	if (ret) {
		race_fail(thread, "cannot take pfn %#lx from an anchor: %d", pfn, ret);
		return;
	}
	pattern = prandom_u32_state(&thread->rnd);
	for (i = pfn; i < end; i += 37)
		fill_page(pfn_to_page(i), pattern);
	cond_resched();
	for (i = pfn; i < end; i += 37) {
		if (!page_has(pfn_to_page(i), pattern))
			race_fail(thread, "pfn %#lx of an anchor was written to", i);
	}
	free_contig_range(pfn, end - pfn);
	race_done(thread, CHURNS);
}

const struct role race_churner = { "churner", churner_step, BIT(CHURNS) };

/* Look at a page of the file: is the content right, and has it moved? */
static void check_file_page(struct thread *thread, unsigned long index)
{
	struct page *page;

	if (!thread->written[index])
		return;
	page = shmem_read_mapping_page(thread->file->f_mapping, index);
	if (IS_ERR(page)) {
		race_fail(thread, "page %lu of a file is lost: %pe", index, page);
		return;
	}
	if (!page_has(page, thread->written[index]))
		race_fail(thread, "page %lu of a file has other content, at pfn %#lx", index,
			  page_to_pfn(page));
	if (thread->pfns[index] && thread->pfns[index] != page_to_pfn(page))
		race_done(thread, MOVES);
	thread->pfns[index] = page_to_pfn(page);
	put_page(page);
}

static void write_file_page(struct thread *thread, unsigned long index)
{
	loff_t pos = index * PAGE_SIZE;
	u32 pattern = prandom_u32_state(&thread->rnd) | 1;
	ssize_t ret;

	memset32((u32 *)thread->buf, pattern, PAGE_SIZE / sizeof(pattern));
	ret = kernel_write(thread->file, thread->buf, PAGE_SIZE, &pos);
	if (ret != PAGE_SIZE) {
		race_fail(thread, "cannot write to a file: %zd", ret);
		return;
	}
	if (!thread->written[index])
		thread->pfns[index] = 0;
	thread->written[index] = pattern;
	race_done(thread, WRITES);
}

/*
 * Pages of all orders for a moment: what takes memory offline has to wait for them. Not
 * to be had by compaction, see do_op().
 */
static void use_pages(struct thread *thread)
{
	unsigned int order = race_random_below(thread, 10), i;
	u32 pattern = prandom_u32_state(&thread->rnd);
	struct page *page;

	page = alloc_pages((GFP_HIGHUSER_MOVABLE & ~__GFP_RECLAIM) | __GFP_NOWARN, order);
	if (!page)
		return;
	for (i = 0; i < 1U << order; i += 5)
		fill_page(page + i, pattern);
	cond_resched();
	for (i = 0; i < 1U << order; i += 5) {
		if (!page_has(page + i, pattern))
			race_fail(thread, "pfn %#lx was written to", page_to_pfn(page + i));
	}
	__free_pages(page, order);
}

static void filler_step(struct thread *thread)
{
	unsigned long index = race_random_below(thread, FILE_PAGES - 64), i;

	switch (race_random_below(thread, 8)) {
	case 0:
		inode_lock(file_inode(thread->file));
		shmem_truncate_range(file_inode(thread->file), index * PAGE_SIZE,
				     (index + 64) * PAGE_SIZE - 1);
		inode_unlock(file_inode(thread->file));
		memset(thread->written + index, 0, 64 * sizeof(*thread->written));
		break;
	case 1:
		use_pages(thread);
		break;
	case 2:
	case 3:
		for (i = index; i < index + 64; i++)
			write_file_page(thread, i);
		break;
	default:
		for (i = index; i < index + 64; i++)
			check_file_page(thread, i);
	}
}

const struct role race_filler = { "filler", filler_step, BIT(WRITES) | BIT(MOVES) };

static void compactor_step(struct thread *thread)
{
	int ret;

	down_read(&thread->race->compacting);
	ret = mhp_sysfs_write("devices/system/node/node0/compact", "1");
	up_read(&thread->race->compacting);
	if (ret)
		race_fail(thread, "cannot compact: %d", ret);
	race_done(thread, COMPACTIONS);
	msleep(50);
}

const struct role race_compactor = { "compactor", compactor_step, BIT(COMPACTIONS) };

static int soft_offline(unsigned long pfn)
{
	char text[32];

	snprintf(text, sizeof(text), "%#llx", PFN_PHYS((u64)pfn));
	return mhp_sysfs_write("devices/system/memory/soft_offline_page", text);
}

static void poison(struct thread *thread, struct slot *slot, unsigned long pfn)
{
	static const int want[] = { -ENXIO, -EIO, 0 };
	unsigned int i;
	int ret;

	for (i = 0; i < slot->nr_poisoned; i++) {
		if (slot->poisoned[i] == pfn)
			return;
	}
	ret = soft_offline(pfn);
	/* Somebody may be using the page, or just have taken it. */
	if (slot->state == ONLINE && (ret == -EBUSY || (ret == -EIO && thread->race->filled)))
		return;
	if (ret != want[slot->state]) {
		race_fail(thread, "soft-offlining pfn %#lx, which is %s: %d", pfn,
			  race_state_names[slot->state], ret);
	} else if (!ret) {
		slot->poisoned[slot->nr_poisoned++] = pfn;
		race_done(thread, POISONS);
	}
}

static void unpoison(struct thread *thread, struct slot *slot)
{
	unsigned int i = race_random_below(thread, slot->nr_poisoned);
	int ret = -EOPNOTSUPP;

	if (IS_ENABLED(CONFIG_MEMORY_FAILURE))
		ret = unpoison_memory(slot->poisoned[i]);
	if (ret == -EBUSY && slot->state == ONLINE)
		return;
	if (ret != (slot->state == ONLINE ? 0 : -EIO)) {
		race_fail(thread, "unpoisoning pfn %#lx, which is %s: %d", slot->poisoned[i],
			  race_state_names[slot->state], ret);
	} else if (!ret) {
		slot->poisoned[i] = slot->poisoned[--slot->nr_poisoned];
		race_done(thread, UNPOISONS);
	}
}

/*
 * The part stays as it is meanwhile: nothing keeps a memmap from going away under
 * soft_offline_page(), which is so on stock, too. All others come and go.
 */
static void poisoner_step(struct thread *thread)
{
	struct slot *slot = race_random_slot_of(thread, BIT(PLUGGED), false);
	unsigned long half;

	if (!slot)
		return;
	half = PHYS_PFN(slot->size) / 2;
	down_read(&thread->race->parts);
	mutex_lock(&slot->lock);
	if (slot->nr_poisoned && thread->role->needs & BIT(UNPOISONS) &&
	    (slot->nr_poisoned == MAX_POISON || race_random_below(thread, 2)))
		unpoison(thread, slot);
	else if (slot->nr_poisoned < MAX_POISON)
		poison(thread, slot,
		       PHYS_PFN(slot->start) + half + race_random_below(thread, half));
	race_check_slot(thread, slot, "soft-offlining");
	mutex_unlock(&slot->lock);
	up_read(&thread->race->parts);
}

const struct role race_poisoner = {
	"poisoner", poisoner_step, BIT(POISONS) | BIT(UNPOISONS),
};

/*
 * Pages stay poisoned until they are removed: page_owner counts a page that was in use, and
 * that is unpoisoned, as freed twice, on stock, too, until stackdepot warns.
 */
const struct role race_lasting_poisoner = {
	"poisoner", poisoner_step, BIT(POISONS),
};
