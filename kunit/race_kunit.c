// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_race: memory comes and goes while others look at what lies next to it, use it,
 * move it and read of it.
 *
 * A case lays out some memory blocks in parts. Each part that changes belongs to one
 * thread, which therefore knows what each call must return, and what the part must be
 * after it, whatever the other threads do next to it. Threads note what is wrong, and
 * the case reports it: expectations are for the thread of the case.
 *
 * With the same seed, each thread takes the same decisions. What runs at the same
 * time is another matter.
 */

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/ioport.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/rwsem.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "fixture.h"

static ulong race_seed;
module_param(race_seed, ulong, 0644);
MODULE_PARM_DESC(race_seed, "what the threads of mhp_race decide; 0: another each time");

static uint race_ms = 3000;
module_param(race_ms, uint, 0644);
MODULE_PARM_DESC(race_ms, "how long each case of mhp_race goes on, in ms");

/* A case that is slow waits longer for each kind of thread to get something done. */
#define PATIENCE_MS	40000

/*
 * What a part is for. PLUGGED and STATE are RAM that comes and goes, the latter by the
 * state file of the block that it fills. ANCHOR is online all the time, IDLE is added
 * and never online, GAP is not there. DEVICE is ZONE_DEVICE that comes and goes.
 */
enum kind { PLUGGED, STATE, ANCHOR, IDLE, GAP, DEVICE };

/* What a part is now */
enum state { HOLE, OFFLINE, ONLINE, MAPPED };

static const char * const state_names[] = { "a hole", "offline", "online", "ZONE_DEVICE" };

/* Parts lie one behind the other, from the start of the spare memory. */
struct part {
	u64 size;
	enum kind kind;
	bool self;
	bool node1;
};

#define MAX_POISON	4

/**
 * struct slot - a part, and what it is now
 * @lock: who changes the part holds it, and who must know what it is
 * @start: physical address in bytes
 * @size: bytes
 * @kind: what it is for
 * @flags: for add_memory()
 * @nid: node
 * @state: what it is; changed with @lock held
 * @poisoned: pfns that were taken out of use, since the memory was added
 * @nr_poisoned: number of them
 * @went_with: which write to the state of its block took it offline last, or 0; set with
 *	all parts held still
 * @pgmap: of ZONE_DEVICE
 */
struct slot {
	struct mutex lock;	/* see above */
	u64 start;
	u64 size;
	enum kind kind;
	mhp_t flags;
	int nid;
	enum state state;
	unsigned long poisoned[MAX_POISON];
	unsigned int nr_poisoned;
	unsigned int went_with;
	struct dev_pagemap pgmap;
};

#define MAX_SLOTS	16
#define MAX_THREADS	12

/* What threads get done; each thread of a kind needs some of it. */
enum count {
	ADDED, ONLINED, OFFLINED, REMOVED, REFUSED, BUSY, MAPS, WALKS, INSPECTIONS,
	CHURNS, WRITES, MOVES, COMPACTIONS, POISONS, UNPOISONS, READS, FILE_ONLINES,
	FILE_OFFLINES, BLOCK_ONLINES, BLOCK_OFFLINES, NR_COUNTS,
};

static const char * const count_names[] = {
	"added", "onlined", "offlined", "removed", "refused", "busy", "mapped", "walks",
	"inspections", "churned", "written", "moved", "compactions", "poisoned",
	"unpoisoned", "read", "onlined by a file", "offlined by a file",
	"onlined with its block", "offlined with its block",
};

struct thread;

/* A kind of thread: what it does again and again, and what must come of that */
struct role {
	const char *name;
	void (*step)(struct thread *thread);
	unsigned long needs;
};

#define FILE_PAGES	1024

struct thread {
	struct race *race;
	const struct role *role;
	struct task_struct *task;
	struct completion finished;
	struct rnd_state rnd;
	unsigned int nth;		/* of its role */
	unsigned int nr;		/* how many of its role there are */
	struct file *file;		/* of a filler */
	u32 *written;			/* per page of the file: 0, or its pattern */
	unsigned long *pfns;		/* per page of the file: where it was */
	char *buf;			/* a page */
};

struct race {
	u64 start;
	u64 end;
	struct slot slots[MAX_SLOTS];
	unsigned int nr_slots;
	struct thread threads[MAX_THREADS];
	unsigned int nr_threads;
	struct vfsmount *sysfs;
	struct vfsmount *proc;
	atomic_t counts[NR_COUNTS];
	unsigned long needs;
	bool stop;
	bool filled;			/* there are fillers */
	struct rw_semaphore compacting;	/* held for writing while memory is removed */
	struct rw_semaphore parts;	/* held for reading by who changes a part */
	char proactiveness[16];		/* of compaction, to be restored */
	atomic_t errors;
	char error[200];		/* the first of them */
};

/* The race that is to be ended with its case */
static struct race *running;

static __printf(2, 3) void fail(struct thread *thread, const char *fmt, ...)
{
	struct race *race = thread->race;
	va_list args;

	if (atomic_fetch_inc(&race->errors))
		return;
	va_start(args, fmt);
	vsnprintf(race->error, sizeof(race->error), fmt, args);
	va_end(args);
}

static void done(struct thread *thread, enum count what)
{
	atomic_inc(&thread->race->counts[what]);
}

static u32 random_below(struct thread *thread, u32 bound)
{
	return prandom_u32_state(&thread->rnd) % bound;
}

static struct slot *random_slot(struct thread *thread)
{
	return &thread->race->slots[random_below(thread, thread->race->nr_slots)];
}

static bool slot_changes(const struct slot *slot)
{
	return slot->kind == PLUGGED || slot->kind == STATE || slot->kind == DEVICE;
}

/* Parts that change are shared out to the pluggers one by one. */
static bool is_mine(const struct thread *thread, const struct slot *slot)
{
	return (slot - thread->race->slots) % thread->nr == thread->nth;
}

/* A part of one of some kinds, or NULL if there is none */
static struct slot *random_slot_of(struct thread *thread, unsigned long kinds, bool mine)
{
	struct race *race = thread->race;
	unsigned int first = random_below(thread, race->nr_slots), i;

	for (i = 0; i < race->nr_slots; i++) {
		struct slot *slot = &race->slots[(first + i) % race->nr_slots];

		if (kinds & BIT(slot->kind) && (!mine || is_mine(thread, slot)))
			return slot;
	}
	return NULL;
}

/* --- What pfns and extents must be ---------------------------------------------- */

static bool pfn_is(unsigned long pfn, const struct slot *slot, enum state state)
{
	const bool online = state == ONLINE, valid = state != HOLE;
	struct page *page = pfn_to_online_page(pfn);

	if (!!page != online || pfn_valid(pfn) != valid)
		return false;
	if (state == ONLINE)
		return page_zonenum(page) == ZONE_MOVABLE && page_to_nid(page) == slot->nid;
	if (state == MAPPED)
		return page_zonenum(pfn_to_page(pfn)) == ZONE_DEVICE;
	return true;
}

/* The first pfn that is not as it should be, or 0. Not each one of large parts. */
static unsigned long wrong_pfn_in(const struct slot *slot, enum state state,
				  unsigned long pfn, unsigned long end)
{
	unsigned long step = slot->size > SZ_8M ? 61 : 1;

	for (; pfn < end; pfn += step) {
		if (!pfn_is(pfn, slot, state))
			return pfn;
	}
	return pfn_is(end - 1, slot, state) ? 0 : end - 1;
}

static unsigned long wrong_pfn(const struct slot *slot, enum state state)
{
	return wrong_pfn_in(slot, state, PHYS_PFN(slot->start),
			    PHYS_PFN(slot->start + slot->size));
}

struct seen {
	unsigned long pages;
	unsigned long online;
	unsigned long cut;
	unsigned long poisoned;
	const struct slot *slot;
};

static void see_extent(const struct memory_extent *ext, struct seen *seen)
{
	u64 start = PFN_PHYS((u64)ext->start_pfn), end = start + PFN_PHYS((u64)ext->nr_pages);

	seen->pages += ext->nr_pages;
	seen->online += ext->online ? ext->nr_pages : 0;
	seen->cut += start < seen->slot->start || end > seen->slot->start + seen->slot->size ||
		     ext->nid != seen->slot->nid ||
		     (ext->zone ? zone_idx(ext->zone) : ZONE_MOVABLE) != ZONE_MOVABLE;
#ifdef CONFIG_MEMORY_FAILURE
	seen->poisoned += atomic_long_read(&ext->nr_hwpoison);
#endif
}

/* What is wrong about the extents of a part that nobody changes meanwhile, or NULL */
static const char *wrong_extents(const struct slot *slot)
{
	struct seen seen = { .slot = slot };
	unsigned long pages = 0, pfn;
	struct memory_extent *ext;

	lock_device_hotplug();
	for_each_memory_extent(ext, pfn, PHYS_PFN(slot->start),
			       PHYS_PFN(slot->start + slot->size))
		see_extent(ext, &seen);
	unlock_device_hotplug();
	if (slot->state == OFFLINE || slot->state == ONLINE)
		pages = PHYS_PFN(slot->size);
	if (seen.pages != pages || seen.cut)
		return "extents";
	if (seen.online != (slot->state == ONLINE ? pages : 0))
		return "online extents";
	return seen.poisoned == slot->nr_poisoned ? NULL : "poisoned pages";
}

static void check_slot(struct thread *thread, const struct slot *slot, const char *when)
{
	unsigned long pfn = wrong_pfn(slot, slot->state);
	const char *wrong;

	if (pfn) {
		fail(thread, "%#llx should be %s after %s, pfn %#lx is not", slot->start,
		     state_names[slot->state], when, pfn);
		return;
	}
	wrong = wrong_extents(slot);
	if (wrong)
		fail(thread, "%#llx should be %s after %s, its %s are not", slot->start,
		     state_names[slot->state], when, wrong);
}

/* --- Files ------------------------------------------------------------------------ */

static struct file *open_file(struct vfsmount *mnt, const char *name, int flags)
{
	struct path root = { .mnt = mnt, .dentry = mnt->mnt_root };

	return file_open_root(&root, name, flags, 0);
}

static ssize_t read_file(struct vfsmount *mnt, const char *name, char *buf, loff_t pos)
{
	struct file *file = open_file(mnt, name, O_RDONLY);
	ssize_t ret;

	if (IS_ERR(file))
		return PTR_ERR(file);
	ret = kernel_read(file, buf, PAGE_SIZE - 1, &pos);
	filp_close(file, NULL);
	if (ret >= 0)
		buf[ret] = 0;
	return ret;
}

static int write_file(struct vfsmount *mnt, const char *name, const char *text)
{
	struct file *file = open_file(mnt, name, O_WRONLY);
	loff_t pos = 0;
	ssize_t ret;
	int try;

	if (IS_ERR(file))
		return PTR_ERR(file);
	for (try = 0; try < 200; try++) {
		ret = kernel_write(file, text, strlen(text), &pos);
		/* Somebody else had the hotplug lock. A system call would start again. */
		if (ret != -ERESTARTNOINTR)
			break;
		flush_signals(current);
	}
	filp_close(file, NULL);
	return ret < 0 ? ret : 0;
}

static unsigned long block_id(u64 addr)
{
	return addr / memory_block_size_bytes();
}

static int write_state(struct thread *thread, const struct slot *slot, const char *text)
{
	char name[64];

	snprintf(name, sizeof(name), "devices/system/memory/memory%lu/state",
		 block_id(slot->start));
	return write_file(thread->race->sysfs, name, text);
}

/* --- Pluggers ---------------------------------------------------------------------- */

static int map_device(struct slot *slot)
{
	void *addr;

	if (!request_mem_region(slot->start, slot->size, "mhp_kunit"))
		return -EBUSY;
	memset(&slot->pgmap, 0, sizeof(slot->pgmap));
	slot->pgmap.type = MEMORY_DEVICE_GENERIC;
	slot->pgmap.nr_range = 1;
	slot->pgmap.range.start = slot->start;
	slot->pgmap.range.end = slot->start + slot->size - 1;
	addr = memremap_pages(&slot->pgmap, 0);
	if (!IS_ERR(addr))
		return 0;
	release_mem_region(slot->start, slot->size);
	return PTR_ERR(addr);
}

static void unmap_device(struct slot *slot)
{
	memunmap_pages(&slot->pgmap);
	release_mem_region(slot->start, slot->size);
}

static void plug_device(struct thread *thread, struct slot *slot)
{
	int ret;

	if (slot->state == HOLE) {
		ret = map_device(slot);
		if (ret) {
			fail(thread, "%#llx: no device: %d", slot->start, ret);
			return;
		}
		slot->state = MAPPED;
		done(thread, MAPS);
		check_slot(thread, slot, "mapping it");
	} else if (!random_below(thread, 4)) {
		ret = add_memory(0, slot->start, slot->size, MHP_NONE);
		if (ret != -EEXIST)
			fail(thread, "%#llx: RAM instead of a device: %d", slot->start, ret);
		done(thread, REFUSED);
		check_slot(thread, slot, "refusing RAM");
	} else {
		unmap_device(slot);
		slot->state = HOLE;
		check_slot(thread, slot, "unmapping it");
	}
}

/*
 * What can be done to RAM. For each state, what it must return, with the state that it
 * has after it if that is 0. What takes online memory offline may find it in use.
 */
enum op { ADD, BRING_ONLINE, TAKE_OFFLINE, REMOVE, EJECT, CUT, NR_OPS };

static const struct {
	const char *name;
	int ret[3];
	enum state state;
	bool may_be_busy;
} ops[NR_OPS] = {
	[ADD] = { "adding", { 0, -EEXIST, -EEXIST }, OFFLINE },
	[BRING_ONLINE] = { "onlining", { 0, 0, 0 }, ONLINE },
	[TAKE_OFFLINE] = { "offlining", { -ENOENT, 0, 0 }, OFFLINE, true },
	[REMOVE] = { "removing", { -ENOENT, 0, -EBUSY }, HOLE },
	[EJECT] = { "ejecting", { -ENOENT, 0, 0 }, HOLE, true },
	[CUT] = { "cutting", { -ENOENT, -EINVAL, -EINVAL }, HOLE },
};

static int do_op(struct thread *thread, struct slot *slot, enum op op)
{
	bool state_file = slot->kind == STATE && slot->state != HOLE;
	int ret;

	switch (op) {
	case ADD:
		return add_memory(slot->nid, slot->start, slot->size, slot->flags);
	case BRING_ONLINE:
		if (state_file)
			return write_state(thread, slot, "online_movable");
		return mhp_online(slot->start, slot->size, MMOP_ONLINE_MOVABLE);
	case TAKE_OFFLINE:
		if (state_file)
			return write_state(thread, slot, "offline");
		return mhp_offline(slot->start, slot->size);
	case REMOVE:
	case EJECT:
		/*
		 * Compaction does not ask again whether the pages are online that it found
		 * online a while ago. Their memmap must stay, which nothing sees to on stock,
		 * either.
		 */
		down_write(&thread->race->compacting);
		if (op == REMOVE)
			ret = remove_memory(slot->start, slot->size);
		else
			ret = offline_and_remove_memory(slot->start, slot->size);
		up_write(&thread->race->compacting);
		return ret;
	default:
		return remove_memory(slot->start, SZ_2M);
	}
}

/* R9: what went offline only because its block did comes back when one of these goes. */
static void come_back(struct race *race, struct slot *gone)
{
	unsigned int i;

	for (i = 0; gone->went_with && i < race->nr_slots; i++) {
		struct slot *slot = &race->slots[i];

		if (slot != gone && slot->went_with == gone->went_with && slot->state == OFFLINE)
			slot->state = ONLINE;
	}
}

static const enum count op_counts[] = { ADDED, ONLINED, OFFLINED, REMOVED, REMOVED };

static int expected(const struct slot *slot, enum op op)
{
	if (op == BRING_ONLINE && slot->state == OFFLINE && slot->nr_poisoned)
		return -EHWPOISON;
	/* The state file, as on stock: what is so already is refused. */
	if (slot->kind == STATE && ((op == BRING_ONLINE && slot->state == ONLINE) ||
				    (op == TAKE_OFFLINE && slot->state == OFFLINE)))
		return -EINVAL;
	return ops[op].ret[slot->state];
}

static void plug_ram(struct thread *thread, struct slot *slot)
{
	enum state before = slot->state;
	enum op op = random_below(thread, NR_OPS);
	int want, ret;

	/* Rather something that leads on */
	if (random_below(thread, 4))
		op = before == HOLE ? ADD :
		     before == ONLINE ? (op & 1 ? EJECT : TAKE_OFFLINE) :
		     op & 1 || slot->nr_poisoned ? REMOVE : BRING_ONLINE;
	/* What is in another block is another extent. */
	if (op == CUT && (slot->size == SZ_2M ||
			  IS_ALIGNED(slot->start + SZ_2M, memory_block_size_bytes())))
		return;

	want = expected(slot, op);
	ret = do_op(thread, slot, op);
	if (ret == -EBUSY && before == ONLINE && ops[op].may_be_busy) {
		done(thread, BUSY);
	} else if (ret == -ERESTARTNOINTR && slot->kind == STATE) {
		done(thread, BUSY);
	} else if (ret != want) {
		fail(thread, "%s %#llx, which is %s: %d, not %d", ops[op].name, slot->start,
		     state_names[before], ret, want);
	} else if (ret) {
		done(thread, REFUSED);
	} else if (before != HOLE || op == ADD) {
		slot->state = ops[op].state;
		if (before == OFFLINE && slot->state == HOLE)
			come_back(thread->race, slot);
		if (before != OFFLINE || slot->state == HOLE)
			slot->went_with = 0;
		if (slot->state != before)
			done(thread, op_counts[op]);
		if (slot->kind == STATE && op == BRING_ONLINE)
			done(thread, FILE_ONLINES);
		if (slot->kind == STATE && op == TAKE_OFFLINE)
			done(thread, FILE_OFFLINES);
		if (slot->state == HOLE)
			slot->nr_poisoned = 0;
	}
	check_slot(thread, slot, ops[op].name);
}

static void plugger_step(struct thread *thread)
{
	struct slot *slot = random_slot_of(thread, BIT(PLUGGED) | BIT(STATE) | BIT(DEVICE), true);
	struct race *race = thread->race;
	bool alone;

	if (!slot)
		return;
	/* What it does may change other parts as well. */
	alone = READ_ONCE(slot->went_with);
	if (alone)
		down_write(&race->parts);
	else
		down_read(&race->parts);
	mutex_lock(&slot->lock);
	if (slot->kind == DEVICE)
		plug_device(thread, slot);
	else if (alone || !slot->went_with)
		plug_ram(thread, slot);
	mutex_unlock(&slot->lock);
	if (alone)
		up_write(&race->parts);
	else
		up_read(&race->parts);
}

static const struct role plugger = {
	"plugger", plugger_step, BIT(ADDED) | BIT(ONLINED) | BIT(OFFLINED) | BIT(REMOVED) |
				 BIT(REFUSED),
};

/* With a state file */
static const struct role block_plugger = {
	"plugger", plugger_step, BIT(ADDED) | BIT(ONLINED) | BIT(OFFLINED) | BIT(REMOVED) |
				 BIT(REFUSED) | BIT(FILE_ONLINES) | BIT(FILE_OFFLINES),
};

/* With ZONE_DEVICE among its parts */
static const struct role device_plugger = {
	"plugger", plugger_step, BIT(ADDED) | BIT(ONLINED) | BIT(OFFLINED) | BIT(REMOVED) |
				 BIT(REFUSED) | BIT(MAPS),
};

/*
 * Write the state of a block that consists of parts which come and go: they all follow,
 * or the block refuses, as nothing of it would change.
 */
static void block_writer_step(struct thread *thread)
{
	struct race *race = thread->race;
	bool online = random_below(thread, 2);
	static unsigned int writes;
	enum state from = online ? OFFLINE : ONLINE, to = online ? ONLINE : OFFLINE;
	unsigned int i, there = 0, change = 0;
	struct slot *slot;
	int ret, want;

	down_write(&race->parts);
	for (i = 0; i < race->nr_slots; i++) {
		there += race->slots[i].state != HOLE;
		change += race->slots[i].state == from;
	}
	want = change ? 0 : there ? -EINVAL : -ENOENT;
	writes++;
	ret = write_state(thread, race->slots, online ? "online_movable" : "offline");
	if (ret != want)
		fail(thread, "the block, with %u of %u parts to change to %s: %d, not %d", change,
		     there, state_names[to], ret, want);
	for (i = 0; i < race->nr_slots; i++) {
		slot = &race->slots[i];
		if (!ret && slot->state == from) {
			slot->state = to;
			if (!online)
				slot->went_with = writes;
			done(thread, online ? BLOCK_ONLINES : BLOCK_OFFLINES);
		}
		check_slot(thread, slot, "writing the state of its block");
	}
	up_write(&race->parts);
}

static const struct role block_writer = {
	"block_writer", block_writer_step, BIT(BLOCK_ONLINES) | BIT(BLOCK_OFFLINES),
};

/* --- Walkers ----------------------------------------------------------------------- */

static const enum state steady_states[] = {
	[ANCHOR] = ONLINE, [IDLE] = OFFLINE, [GAP] = HOLE,
};

/* Parts that do not change are what they are at any time, without any lock. */
static void walk_steady(struct thread *thread, const struct slot *slot)
{
	unsigned long pfn = wrong_pfn(slot, steady_states[slot->kind]);

	if (pfn)
		fail(thread, "%#llx is always %s, and pfn %#lx was not", slot->start,
		     state_names[steady_states[slot->kind]], pfn);
}

/* While memory is held still, what a part has in a block is in one state. */
static void walk_changing(struct thread *thread, const struct slot *slot)
{
	unsigned long start = PHYS_PFN(slot->start), end = PHYS_PFN(slot->start + slot->size);
	unsigned long edge = ALIGN_DOWN(end - 1, PHYS_PFN(memory_block_size_bytes()));
	unsigned long pfn = random_below(thread, 2) ? max(start, edge) : start, wrong;
	enum state state = HOLE;

	if (pfn < edge)
		end = ALIGN(pfn + 1, PHYS_PFN(memory_block_size_bytes()));
	get_online_mems();
	if (pfn_to_online_page(pfn))
		state = ONLINE;
	else if (pfn_valid(pfn))
		state = slot->kind == DEVICE ? MAPPED : OFFLINE;
	if (state == MAPPED) {
		/* Its struct pages may be being initialised. */
		for (wrong = 0; pfn < end; pfn++) {
			if (pfn_to_online_page(pfn) || !pfn_valid(pfn))
				wrong = pfn;
		}
	} else {
		wrong = wrong_pfn_in(slot, state, pfn, end);
	}
	put_online_mems();
	if (wrong)
		fail(thread, "%#llx begins as %s, and pfn %#lx is not", slot->start,
		     state_names[state], wrong);
}

static void walker_step(struct thread *thread)
{
	struct slot *slot = random_slot(thread);

	if (slot_changes(slot))
		walk_changing(thread, slot);
	else
		walk_steady(thread, slot);
	done(thread, WALKS);
}

static const struct role walker = { "walker", walker_step, BIT(WALKS) };

/* Whether a free page, however large, lies in online memory of one zone */
static bool free_page_fits(struct page *page, struct zone *zone)
{
	unsigned long pfn = page_to_pfn(page), end = pfn + (1UL << page_private(page));

	for (; pfn < end; pfn = SUBSECTION_ALIGN_UP(pfn + 1)) {
		page = pfn_to_online_page(pfn);
		if (!page || page_zone(page) != zone)
			return false;
	}
	return true;
}

static void inspect_extent(const struct memory_extent *ext, struct thread *thread)
{
	unsigned long pfn = ext->start_pfn, end = pfn + ext->nr_pages, flags;
	struct page *page;

	if (ext->online && !ext->zone)
		fail(thread, "extent at pfn %#lx: online in no zone", pfn);
	for (; pfn < end; pfn = SUBSECTION_ALIGN_UP(pfn + 1)) {
		page = pfn_to_online_page(pfn);
		if (!!page != ext->online || (page && page_zone(page) != ext->zone))
			fail(thread, "pfn %#lx is not what its extent at pfn %#lx is", pfn,
			     ext->start_pfn);
	}
	if (!ext->online || atomic_read(&thread->race->errors))
		return;

	for (pfn = ext->start_pfn; pfn < end;) {
		/* By sub-sections: others want to allocate. */
		unsigned long stop = min(SUBSECTION_ALIGN_UP(pfn + 1), end);

		spin_lock_irqsave(&ext->zone->lock, flags);
		for (; pfn < stop; pfn++) {
			page = pfn_to_page(pfn);
			if (!PageBuddy(page))
				continue;
			if (!free_page_fits(page, ext->zone))
				fail(thread, "free page at pfn %#lx, order %lu, ends elsewhere",
				     pfn, page_private(page));
			pfn += (1UL << page_private(page)) - 1;
		}
		spin_unlock_irqrestore(&ext->zone->lock, flags);
	}
}

/* Extents, online bits, zones and free pages tell the same. */
static void inspector_step(struct thread *thread)
{
	struct race *race = thread->race;
	struct memory_extent *ext;
	unsigned long pfn;

	lock_device_hotplug();
	for_each_memory_extent(ext, pfn, PHYS_PFN(race->start), PHYS_PFN(race->end))
		inspect_extent(ext, thread);
	unlock_device_hotplug();
	done(thread, INSPECTIONS);
}

static const struct role inspector = { "inspector", inspector_step, BIT(INSPECTIONS) };

/* --- Users of memory ----------------------------------------------------------------- */

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
	struct slot *slot = random_slot_of(thread, BIT(ANCHOR), false);
	unsigned long pfn, end, i;
	u32 pattern;
	int ret;

	if (!slot)
		return;
	pfn = PHYS_PFN(slot->start) +
	      random_below(thread, slot->size / SZ_2M) * PAGES_PER_SUBSECTION;
	end = pfn + PAGES_PER_SUBSECTION;
	/* What hosts the memmap is not to be had. */
	if (slot->flags & MHP_MEMMAP_ON_MEMORY && pfn == PHYS_PFN(slot->start))
		return;
	ret = mhp_alloc_contig_range(pfn, end, GFP_KERNEL);
	if (ret == -EBUSY) {
		done(thread, BUSY);
		return;
	}
	if (ret) {
		fail(thread, "cannot take pfn %#lx from an anchor: %d", pfn, ret);
		return;
	}
	pattern = prandom_u32_state(&thread->rnd);
	for (i = pfn; i < end; i += 37)
		fill_page(pfn_to_page(i), pattern);
	cond_resched();
	for (i = pfn; i < end; i += 37) {
		if (!page_has(pfn_to_page(i), pattern))
			fail(thread, "pfn %#lx of an anchor was written to", i);
	}
	free_contig_range(pfn, end - pfn);
	done(thread, CHURNS);
}

static const struct role churner = { "churner", churner_step, BIT(CHURNS) };

/* Look at a page of the file: is the content right, and has it moved? */
static void check_file_page(struct thread *thread, unsigned long index)
{
	struct page *page;

	if (!thread->written[index])
		return;
	page = shmem_read_mapping_page(thread->file->f_mapping, index);
	if (IS_ERR(page)) {
		fail(thread, "page %lu of a file is lost: %pe", index, page);
		return;
	}
	if (!page_has(page, thread->written[index]))
		fail(thread, "page %lu of a file has other content, at pfn %#lx", index,
		     page_to_pfn(page));
	if (thread->pfns[index] && thread->pfns[index] != page_to_pfn(page))
		done(thread, MOVES);
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
		fail(thread, "cannot write to a file: %zd", ret);
		return;
	}
	if (!thread->written[index])
		thread->pfns[index] = 0;
	thread->written[index] = pattern;
	done(thread, WRITES);
}

/*
 * Pages of all orders for a moment: what takes memory offline has to wait for them. Not
 * to be had by compaction, see do_op().
 */
static void use_pages(struct thread *thread)
{
	unsigned int order = random_below(thread, 10), i;
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
			fail(thread, "pfn %#lx was written to", page_to_pfn(page + i));
	}
	__free_pages(page, order);
}

static void filler_step(struct thread *thread)
{
	unsigned long index = random_below(thread, FILE_PAGES - 64), i;

	switch (random_below(thread, 8)) {
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

static const struct role filler = { "filler", filler_step, BIT(WRITES) | BIT(MOVES) };

static void compactor_step(struct thread *thread)
{
	int ret;

	down_read(&thread->race->compacting);
	ret = write_file(thread->race->sysfs, "devices/system/node/node0/compact", "1");
	up_read(&thread->race->compacting);
	if (ret)
		fail(thread, "cannot compact: %d", ret);
	done(thread, COMPACTIONS);
	msleep(50);
}

static const struct role compactor = { "compactor", compactor_step, BIT(COMPACTIONS) };

/* --- Soft-offlining ------------------------------------------------------------------- */

static int soft_offline(struct thread *thread, unsigned long pfn)
{
	char text[32];

	snprintf(text, sizeof(text), "%#llx", PFN_PHYS((u64)pfn));
	return write_file(thread->race->sysfs, "devices/system/memory/soft_offline_page", text);
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
	ret = soft_offline(thread, pfn);
	/* Somebody may be using the page, or just have taken it. */
	if (slot->state == ONLINE && (ret == -EBUSY || (ret == -EIO && thread->race->filled)))
		return;
	if (ret != want[slot->state]) {
		fail(thread, "soft-offlining pfn %#lx, which is %s: %d", pfn,
		     state_names[slot->state], ret);
	} else if (!ret) {
		slot->poisoned[slot->nr_poisoned++] = pfn;
		done(thread, POISONS);
	}
}

static void unpoison(struct thread *thread, struct slot *slot)
{
	unsigned int i = random_below(thread, slot->nr_poisoned);
	int ret = -EOPNOTSUPP;

	if (IS_ENABLED(CONFIG_MEMORY_FAILURE))
		ret = unpoison_memory(slot->poisoned[i]);
	if (ret == -EBUSY && slot->state == ONLINE)
		return;
	if (ret != (slot->state == ONLINE ? 0 : -EIO)) {
		fail(thread, "unpoisoning pfn %#lx, which is %s: %d", slot->poisoned[i],
		     state_names[slot->state], ret);
	} else if (!ret) {
		slot->poisoned[i] = slot->poisoned[--slot->nr_poisoned];
		done(thread, UNPOISONS);
	}
}

/*
 * The part stays as it is meanwhile: nothing keeps a memmap from going away under
 * soft_offline_page(), which is so on stock, too. All others come and go.
 */
static void poisoner_step(struct thread *thread)
{
	struct slot *slot = random_slot_of(thread, BIT(PLUGGED), false);
	unsigned long half;

	if (!slot)
		return;
	half = PHYS_PFN(slot->size) / 2;
	down_read(&thread->race->parts);
	mutex_lock(&slot->lock);
	if (slot->nr_poisoned && thread->role->needs & BIT(UNPOISONS) &&
	    (slot->nr_poisoned == MAX_POISON || random_below(thread, 2)))
		unpoison(thread, slot);
	else if (slot->nr_poisoned < MAX_POISON)
		poison(thread, slot, PHYS_PFN(slot->start) + half + random_below(thread, half));
	check_slot(thread, slot, "soft-offlining");
	mutex_unlock(&slot->lock);
	up_read(&thread->race->parts);
}

static const struct role poisoner = {
	"poisoner", poisoner_step, BIT(POISONS) | BIT(UNPOISONS),
};

/*
 * Pages stay poisoned until they are removed: page_owner counts a page that was in use, and
 * that is unpoisoned, as freed twice, on stock, too, until stackdepot warns.
 */
static const struct role lasting_poisoner = {
	"poisoner", poisoner_step, BIT(POISONS),
};

/* --- Readers of files ------------------------------------------------------------------- */

/* Whether an anchor is in the block, so that it is there and online all the time */
static bool block_has_anchor(struct race *race, unsigned long id)
{
	unsigned int i;

	for (i = 0; i < race->nr_slots; i++) {
		if (race->slots[i].kind == ANCHOR && block_id(race->slots[i].start) == id)
			return true;
	}
	return false;
}

/* What is populated consists of the parts that come and go, and of those that do not. */
static bool populated_fits(struct race *race, unsigned long id, const char *text)
{
	u64 start = id * memory_block_size_bytes(), end = start + memory_block_size_bytes();
	u64 size, most = 0, least = 0;
	unsigned int i;

	for (i = 0; i < race->nr_slots; i++) {
		const struct slot *slot = &race->slots[i];
		u64 from = max(slot->start, start), to = min(slot->start + slot->size, end);

		if (from >= to || slot->kind == GAP || slot->kind == DEVICE)
			continue;
		most += to - from;
		least += slot->kind == ANCHOR ? to - from : 0;
	}
	return !kstrtoull(text, 16, &size) && IS_ALIGNED(size, mhp_granule_bytes()) &&
	       size >= least && size <= most;
}

static void reader_step(struct thread *thread)
{
	static const char * const names[] = {
		"state", "populated_bytes", "valid_zones", "removable", "phys_index",
	};
	struct race *race = thread->race;
	unsigned long id = block_id(race->start) +
		random_below(thread, block_id(race->end) - block_id(race->start));
	unsigned int what = random_below(thread, ARRAY_SIZE(names));
	char *text = thread->buf;
	char name[64];
	ssize_t ret;

	snprintf(name, sizeof(name), "devices/system/memory/memory%lu/%s", id, names[what]);
	ret = read_file(race->sysfs, name, text, 0);
	if (ret == -ENOENT || ret == -ENODEV) {
		/* The block went away, unless there is something that does not. */
		if (block_has_anchor(race, id))
			fail(thread, "%s: %zd", name, ret);
		return;
	}
	if (ret <= 0) {
		fail(thread, "%s: %zd", name, ret);
	} else if (!strcmp(names[what], "populated_bytes")) {
		if (!populated_fits(race, id, text))
			fail(thread, "%s: %s", name, text);
	} else if (!strcmp(names[what], "state")) {
		/* Some of it may be going offline. */
		if (strcmp(text, "online\n") && strcmp(text, "going-offline\n") &&
		    (strcmp(text, "offline\n") || block_has_anchor(race, id)))
			fail(thread, "%s: %s", name, text);
	} else if (!strcmp(names[what], "valid_zones")) {
		if (strcmp(text, "Movable\n") && block_has_anchor(race, id))
			fail(thread, "%s: %s", name, text);
	}
	done(thread, READS);
}

static const struct role reader = { "reader", reader_step, BIT(READS) };

/* --- The race -------------------------------------------------------------------------- */

static int thread_main(void *arg)
{
	struct thread *thread = arg;
	struct race *race = thread->race;

	while (!READ_ONCE(race->stop) && !kthread_should_stop()) {
		/* After an error, leave all as it is. */
		if (!atomic_read(&race->errors))
			thread->role->step(thread);
		if (random_below(thread, 4))
			cond_resched();
		else
			usleep_range(200, 2000);
	}
	complete(&thread->finished);
	while (!kthread_should_stop())
		msleep(20);
	return 0;
}

/*
 * kthread_stop() interrupts what takes memory offline, which then returns -EINTR. That
 * is for those that would go on for ever.
 */
static void stop_threads(struct race *race)
{
	unsigned int i;

	WRITE_ONCE(race->stop, true);
	for (i = 0; i < race->nr_threads; i++) {
		struct thread *thread = &race->threads[i];

		if (!thread->task)
			continue;
		if (!wait_for_completion_timeout(&thread->finished, msecs_to_jiffies(PATIENCE_MS)))
			fail(thread, "%s %u does not come to an end", thread->role->name,
			     thread->nth);
		kthread_stop(thread->task);
		thread->task = NULL;
	}
}

#define PROACTIVENESS	"sys/vm/compaction_proactiveness"

/* Also if the case was cut short: what the fixture does not know of */
static void end_race(void *arg)
{
	struct race *race = arg;
	unsigned int i;

	stop_threads(race);
	for (i = 0; i < race->nr_threads; i++) {
		struct thread *thread = &race->threads[i];

		if (thread->file)
			filp_close(thread->file, NULL);
		thread->file = NULL;
		kvfree(thread->written);
		kvfree(thread->pfns);
		kfree(thread->buf);
	}
	for (i = 0; i < race->nr_slots; i++) {
		if (race->slots[i].state == MAPPED)
			unmap_device(&race->slots[i]);
	}
	if (race->proactiveness[0])
		write_file(race->proc, PROACTIVENESS, race->proactiveness);
	if (race->sysfs)
		kern_unmount(race->sysfs);
	if (race->proc)
		kern_unmount(race->proc);
	running = NULL;
	kfree(race);
}

/* The fixture removes all memory: no thread must be left by then. */
static void race_exit(struct kunit *test)
{
	if (running)
		kunit_release_action(test, end_race, running);
	mhp_fixture_exit(test);
}

static struct vfsmount *mount_fs(struct kunit *test, const char *name)
{
	struct file_system_type *type = get_fs_type(name);
	struct vfsmount *mnt;

	KUNIT_ASSERT_NOT_NULL_MSG(test, type, "there is no %s", name);
	mnt = kern_mount(type);
	module_put(type->owner);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mnt);
	return mnt;
}

static struct race *begin_race(struct kunit *test, const struct part *parts, unsigned int nr)
{
	struct race *race = kzalloc(sizeof(*race), GFP_KERNEL);
	u64 at = mhp_spare_start(test);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, race);
	init_rwsem(&race->compacting);
	init_rwsem(&race->parts);
	running = race;
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, end_race, race), 0);
	KUNIT_ASSERT_LE(test, nr, MAX_SLOTS);
	race->start = at;
	for (i = 0; i < nr; i++) {
		struct slot *slot = &race->slots[i];

		mutex_init(&slot->lock);
		slot->start = at;
		slot->size = parts[i].size;
		slot->kind = parts[i].kind;
		slot->flags = parts[i].self ? MHP_MEMMAP_ON_MEMORY : MHP_NONE;
		slot->nid = parts[i].node1 && node_online(1);
		at += slot->size;
		race->nr_slots++;
		if (slot->kind != ANCHOR && slot->kind != IDLE)
			continue;
		mhp_must_add(test, slot->nid, slot->start, slot->size, slot->flags);
		slot->state = OFFLINE;
		if (slot->kind == IDLE)
			continue;
		KUNIT_ASSERT_EQ(test, mhp_online(slot->start, slot->size, MMOP_ONLINE_MOVABLE), 0);
		slot->state = ONLINE;
	}
	race->end = ALIGN(at, memory_block_size_bytes());
	KUNIT_ASSERT_LE(test, race->end - race->start, mhp_spare_size());
	race->sysfs = mount_fs(test, "sysfs");
	race->proc = mount_fs(test, "proc");
	return race;
}

/* Nobody compacts but who asks others to wait for that, see do_op(). */
static void stop_compaction(struct kunit *test, struct race *race)
{
	char *text = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, text);
	KUNIT_ASSERT_GT(test, read_file(race->proc, PROACTIVENESS, text, 0), 0);
	KUNIT_ASSERT_EQ(test, write_file(race->proc, PROACTIVENESS, "0"), 0);
	strscpy(race->proactiveness, text, sizeof(race->proactiveness));
}

static void prepare_filler(struct kunit *test, struct thread *thread)
{
	struct file *file = mhp_file_setup("mhp_kunit", FILE_PAGES * PAGE_SIZE);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, file);
	thread->race->filled = true;
	thread->file = file;
	thread->written = kvcalloc(FILE_PAGES, sizeof(*thread->written), GFP_KERNEL);
	thread->pfns = kvcalloc(FILE_PAGES, sizeof(*thread->pfns), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, thread->written);
	KUNIT_ASSERT_NOT_NULL(test, thread->pfns);
}

static void prepare(struct kunit *test, struct race *race, const struct role *role,
		    unsigned int nr)
{
	struct thread *thread;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		KUNIT_ASSERT_LT(test, race->nr_threads, MAX_THREADS);
		thread = &race->threads[race->nr_threads++];
		thread->race = race;
		thread->role = role;
		thread->nth = i;
		thread->nr = nr;
		init_completion(&thread->finished);
		thread->buf = kzalloc(PAGE_SIZE, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, thread->buf);
		if (role == &filler)
			prepare_filler(test, thread);
	}
	race->needs |= role->needs;
}

static bool all_done(struct race *race)
{
	unsigned long what;

	for_each_set_bit(what, &race->needs, NR_COUNTS) {
		if (!atomic_read(&race->counts[what]))
			return false;
	}
	return true;
}

static void start_threads(struct kunit *test, struct race *race)
{
	u64 seed = race_seed ?: get_random_u32() ?: 1;
	unsigned int i;

	kunit_info(test, "mhp_kunit.race_seed=%llu\n", seed);
	for (i = 0; i < race->nr_threads; i++) {
		struct thread *thread = &race->threads[i];
		struct task_struct *task;

		prandom_seed_state(&thread->rnd, seed * MAX_THREADS + i);
		task = kthread_run(thread_main, thread, "mhp_%s/%u", thread->role->name,
				   thread->nth);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
		thread->task = task;
	}
}

/* Each part is what its thread left, and goes. Then nothing is left. */
static void check_end(struct kunit *test, struct race *race)
{
	unsigned int i;

	for (i = 0; i < race->nr_slots; i++) {
		struct slot *slot = &race->slots[i];
		const char *wrong = wrong_extents(slot);

		KUNIT_EXPECT_EQ_MSG(test, wrong_pfn(slot, slot->state), 0UL,
				    "%#llx should be %s", slot->start,
				    state_names[slot->state]);
		KUNIT_EXPECT_TRUE_MSG(test, !wrong, "%#llx should be %s, its %s are not",
				      slot->start, state_names[slot->state], wrong);
	}
	for (i = 0; i < race->nr_slots; i++) {
		struct slot *slot = &race->slots[i];

		if (slot->state == MAPPED)
			unmap_device(slot);
		else if (slot->state != HOLE)
			KUNIT_EXPECT_EQ(test, offline_and_remove_memory(slot->start, slot->size),
					0);
		slot->state = HOLE;
	}
	mhp_expect_hole(test, race->start, race->end - race->start);
}

static void run_race(struct kunit *test, struct race *race)
{
	unsigned long start = jiffies, what;

	start_threads(test, race);
	do {
		msleep(20);
		if (atomic_read(&race->errors))
			break;
	} while (time_before(jiffies, start + msecs_to_jiffies(race_ms)) ||
		 (!all_done(race) &&
		  time_before(jiffies, start + msecs_to_jiffies(PATIENCE_MS))));
	stop_threads(race);

	KUNIT_EXPECT_EQ_MSG(test, atomic_read(&race->errors), 0, "%s", race->error);
	for (what = 0; what < NR_COUNTS; what++) {
		int nr = atomic_read(&race->counts[what]);

		if (nr)
			kunit_info(test, "%s: %d\n", count_names[what], nr);
		if (!atomic_read(&race->errors) && race->needs & BIT(what))
			KUNIT_EXPECT_GT_MSG(test, nr, 0, "nothing was %s", count_names[what]);
	}
	check_end(test, race);
}

/* --- Cases ----------------------------------------------------------------------------- */

/*
 * What comes first comes and goes, and the start of its zone moves with it: who frees a
 * page meanwhile must not find it outside of its zone.
 */

/* In one section, neighbours of all kinds; a part is known by its place. */
static const struct part neighbours[] = {
	{ SZ_2M, PLUGGED },
	{ SZ_2M, ANCHOR },
	{ SZ_2M, PLUGGED },
	{ SZ_4M, ANCHOR },
	{ SZ_4M, PLUGGED },
	{ SZ_2M, IDLE },
	{ SZ_2M, PLUGGED },
	{ SZ_4M, GAP },
	{ SZ_2M, PLUGGED },
	{ SZ_2M, ANCHOR },
	{ SZ_4M + SZ_2M, PLUGGED },
	{ SZ_64M, GAP },
	{ SZ_32M, PLUGGED },
	{ SZ_2M, GAP },
};

static const struct part self_hosted[] = {
	{ SZ_2M, PLUGGED, true },
	{ SZ_2M, ANCHOR, true },
	{ SZ_2M, PLUGGED },
	{ SZ_4M, ANCHOR, true },
	{ SZ_4M, PLUGGED, true },
	{ SZ_2M, IDLE, true },
	{ SZ_2M, PLUGGED, true },
	{ SZ_4M, GAP },
	{ SZ_2M, PLUGGED },
	{ SZ_4M, ANCHOR },
	{ SZ_4M + SZ_2M, PLUGGED, true },
	{ SZ_64M, GAP },
	{ SZ_16M, PLUGGED, true },
};

static const struct part two_nodes[] = {
	{ SZ_2M, PLUGGED },
	{ SZ_2M, PLUGGED, false, true },
	{ SZ_2M, ANCHOR },
	{ SZ_2M, ANCHOR, true, true },
	{ SZ_4M, ANCHOR, false, true },
	{ SZ_4M, PLUGGED, true },
	{ SZ_2M, IDLE, false, true },
	{ SZ_2M, PLUGGED, true, true },
	{ SZ_4M, GAP },
	{ SZ_2M, PLUGGED, false, true },
	{ SZ_2M, ANCHOR },
	{ SZ_4M + SZ_2M, PLUGGED },
	{ SZ_64M, GAP },
	{ SZ_32M, PLUGGED, true, true },
	{ SZ_2M, GAP },
};

static const struct layout_param {
	const char *name;
	const struct part *parts;
	unsigned int nr;
} layouts[] = {
	{ "regular", neighbours, ARRAY_SIZE(neighbours) },
	{ "self_hosted", self_hosted, ARRAY_SIZE(self_hosted) },
	{ "two_nodes", two_nodes, ARRAY_SIZE(two_nodes) },
};

KUNIT_ARRAY_PARAM_DESC(layout, layouts, name);

/* I1 I2 I4: extents of a section come and go, and what is between them does not notice. */
static void mhp_race_extents(struct kunit *test)
{
	const struct layout_param *layout = test->param_value;
	struct race *race = begin_race(test, layout->parts, layout->nr);

	prepare(test, race, &plugger, 2);
	prepare(test, race, &walker, 1);
	prepare(test, race, &inspector, 1);
	prepare(test, race, &churner, 1);
	run_race(test, race);
}

/* Full blocks next to parts of blocks, an extent in two blocks, and a state file */
static const struct part blocks[] = {
	{ SZ_128M - SZ_8M, GAP },
	{ SZ_4M, ANCHOR },
	{ SZ_4M, PLUGGED },
	{ SZ_128M, PLUGGED },
	{ SZ_2M, PLUGGED, true },
	{ SZ_128M - SZ_4M, GAP },
	{ SZ_4M, PLUGGED },
	{ SZ_2M, ANCHOR, true },
	{ SZ_128M - SZ_4M, GAP },
	{ SZ_128M, STATE, true },
	{ SZ_2M, PLUGGED },
	{ SZ_64M, GAP },
};

/* I4 R3: blocks that are full go their ways, and so do those that are not. */
static void mhp_race_blocks(struct kunit *test)
{
	struct race *race;

	if (memory_block_size_bytes() != SZ_128M)
		kunit_skip(test, "the layout is for memory blocks of 128 MiB");
	race = begin_race(test, blocks, ARRAY_SIZE(blocks));
	prepare(test, race, &block_plugger, 3);
	prepare(test, race, &walker, 1);
	prepare(test, race, &inspector, 1);
	prepare(test, race, &churner, 1);
	run_race(test, race);
}

static const struct part devices[] = {
	{ SZ_2M, ANCHOR, true },
	{ SZ_2M, DEVICE },
	{ SZ_2M, PLUGGED },
	{ SZ_4M, DEVICE },
	{ SZ_2M, ANCHOR },
	{ SZ_2M, DEVICE },
	{ SZ_4M, PLUGGED, true },
	{ SZ_4M, GAP },
	{ SZ_2M, DEVICE },
	{ SZ_2M, IDLE },
	{ SZ_2M, PLUGGED },
	{ SZ_2M, PLUGGED, true },
	{ SZ_2M, DEVICE },
	{ SZ_64M, GAP },
	{ SZ_32M, DEVICE },
	{ SZ_2M, PLUGGED },
};

/* I2 I4: ZONE_DEVICE comes and goes among extents that do so. */
static void mhp_race_devices(struct kunit *test)
{
	struct race *race = begin_race(test, devices, ARRAY_SIZE(devices));

	prepare(test, race, &device_plugger, 3);
	prepare(test, race, &walker, 1);
	prepare(test, race, &inspector, 1);
	prepare(test, race, &churner, 1);
	run_race(test, race);
}

/* Little that stays, so that content has to go to what goes offline next */
static const struct part small_parts[] = {
	{ SZ_2M, ANCHOR },
	{ SZ_4M, PLUGGED },
	{ SZ_4M, PLUGGED, true },
	{ SZ_2M, ANCHOR },
	{ SZ_4M, PLUGGED },
	{ SZ_2M, GAP },
	{ SZ_8M, PLUGGED },
	{ SZ_4M, PLUGGED, true },
	{ SZ_4M, ANCHOR, true },
	{ SZ_2M, PLUGGED },
	{ SZ_2M, IDLE },
	{ SZ_4M, PLUGGED },
};

/* I1 I4: content survives that what it lies in goes offline, and compaction. */
static void mhp_race_migration(struct kunit *test)
{
	struct race *race;

	if (!IS_ENABLED(CONFIG_COMPACTION))
		kunit_skip(test, "CONFIG_COMPACTION is not set");
	if (!IS_ENABLED(CONFIG_NUMA))
		kunit_skip(test, "CONFIG_NUMA is not set");
	race = begin_race(test, small_parts, ARRAY_SIZE(small_parts));
	stop_compaction(test, race);
	prepare(test, race, &plugger, 2);
	prepare(test, race, &filler, 2);
	prepare(test, race, &compactor, 1);
	prepare(test, race, &inspector, 1);
	run_race(test, race);
}

static u64 hardware_corrupted(struct kunit *test, struct race *race)
{
	char *text = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL), *line;
	u64 kib = 0;

	KUNIT_ASSERT_NOT_NULL(test, text);
	KUNIT_ASSERT_GT(test, read_file(race->proc, "meminfo", text, 0), 0);
	line = strstr(text, "HardwareCorrupted:");
	KUNIT_ASSERT_NOT_NULL(test, line);
	if (sscanf(line, "HardwareCorrupted: %llu", &kib) != 1)
		KUNIT_FAIL(test, "HardwareCorrupted has no number");
	return kib;
}

/* I4 I5: each extent counts its own poisoned pages, and they are forgotten with it. */
static void mhp_race_soft_offline(struct kunit *test)
{
	struct race *race;
	u64 before;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "CONFIG_MEMORY_FAILURE is not set");
	race = begin_race(test, small_parts, ARRAY_SIZE(small_parts));
	before = hardware_corrupted(test, race);
	prepare(test, race, &plugger, 2);
	prepare(test, race, &poisoner, 2);
	prepare(test, race, &inspector, 1);
	prepare(test, race, &walker, 1);
	run_race(test, race);
	KUNIT_EXPECT_EQ(test, hardware_corrupted(test, race), before);
}

/* Blocks that are always there, and one that is not */
static const struct part shown[] = {
	{ SZ_2M, ANCHOR, true },
	{ SZ_2M, PLUGGED },
	{ SZ_2M, PLUGGED, true },
	{ SZ_2M, ANCHOR, false, true },
	{ SZ_2M, PLUGGED, false, true },
	{ SZ_64M, GAP },
	{ SZ_32M, PLUGGED },
	{ SZ_16M, IDLE, true },
	{ SZ_4M, GAP },
	{ SZ_4M, PLUGGED },
	{ SZ_4M, PLUGGED, true },
};

/* R2 R8 I2: files tell the truth, as of one moment, also while blocks come and go. */
static void mhp_race_readers(struct kunit *test)
{
	struct race *race = begin_race(test, shown, ARRAY_SIZE(shown));

	prepare(test, race, &plugger, 2);
	prepare(test, race, &reader, 3);
	run_race(test, race);
}

/* One block, all of whose parts may go online and offline with it */
static const struct part written[] = {
	{ SZ_2M, PLUGGED },
	{ SZ_4M, PLUGGED, true },
	{ SZ_2M, GAP },
	{ SZ_4M, PLUGGED, false, true },
	{ SZ_2M, PLUGGED },
	{ SZ_32M, GAP },
	{ SZ_4M, PLUGGED, true },
	{ SZ_2M, PLUGGED },
};

/* R2 R3: the state of a block is written while its extents come and go one by one. */
static void mhp_race_block_state(struct kunit *test)
{
	struct race *race = begin_race(test, written, ARRAY_SIZE(written));

	prepare(test, race, &plugger, 2);
	prepare(test, race, &block_writer, 2);
	prepare(test, race, &reader, 1);
	prepare(test, race, &walker, 1);
	prepare(test, race, &inspector, 1);
	run_race(test, race);
}

/* I1 I2 I4 I5: all of it at the same time */
static void mhp_race_everything(struct kunit *test)
{
	struct race *race;
	u64 before;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE) || !IS_ENABLED(CONFIG_COMPACTION) ||
	    !IS_ENABLED(CONFIG_NUMA))
		kunit_skip(test, "needs CONFIG_MEMORY_FAILURE, CONFIG_COMPACTION, CONFIG_NUMA");
	race = begin_race(test, small_parts, ARRAY_SIZE(small_parts));
	stop_compaction(test, race);
	before = hardware_corrupted(test, race);
	prepare(test, race, &plugger, 2);
	prepare(test, race, &filler, 2);
	prepare(test, race, &compactor, 1);
	prepare(test, race, &lasting_poisoner, 1);
	prepare(test, race, &reader, 2);
	prepare(test, race, &walker, 1);
	prepare(test, race, &inspector, 1);
	run_race(test, race);
	KUNIT_EXPECT_EQ(test, hardware_corrupted(test, race), before);
}

static struct kunit_case mhp_race_cases[] = {
	KUNIT_CASE_PARAM_ATTR(mhp_race_extents, layout_gen_params, { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE_SLOW(mhp_race_blocks),
	KUNIT_CASE_SLOW(mhp_race_devices),
	KUNIT_CASE_SLOW(mhp_race_migration),
	KUNIT_CASE_SLOW(mhp_race_soft_offline),
	KUNIT_CASE_SLOW(mhp_race_readers),
	KUNIT_CASE_SLOW(mhp_race_block_state),
	KUNIT_CASE_SLOW(mhp_race_everything),
	{}
};

struct kunit_suite mhp_race_suite = {
	.name = "mhp_race",
	.init = mhp_fixture_init,
	.exit = race_exit,
	.test_cases = mhp_race_cases,
};
