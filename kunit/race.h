/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of mhp_race share: parts of memory, and threads that do something to them.
 */
#ifndef _MHP_KUNIT_RACE_H
#define _MHP_KUNIT_RACE_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/prandom.h>
#include <linux/rwsem.h>
#include <linux/sched.h>

#include "fixture.h"
#include "sysfs.h"

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

extern const char * const race_state_names[];

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
};

#define MAX_SLOTS	32
#define MAX_THREADS	12

/* What threads get done; each thread of a kind needs some of it. */
enum count {
	ADDED, ONLINED, OFFLINED, REMOVED, REFUSED, BUSY, MAPS, WALKS, INSPECTIONS,
	CHURNS, WRITES, MOVES, COMPACTIONS, POISONS, UNPOISONS, READS, FILE_ONLINES,
	FILE_OFFLINES, BLOCK_ONLINES, BLOCK_OFFLINES, NR_COUNTS,
};

extern const char * const race_count_names[NR_COUNTS];

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

/**
 * struct recipe - what a layout is made of, in an order that the seed decides
 * @kinds: a letter for each part: 'P' is PLUGGED, 'A' ANCHOR, 'I' IDLE, 'D' DEVICE, '.' a
 *	GAP, 'F' PLUGGED that fills a block, 'S' STATE, 'X' PLUGGED that lies in two blocks.
 *	The first comes first.
 * @self: parts may host their memmap
 * @node1: they may be of node 1
 * @wide: a part is large, and so is a gap, so that there are several blocks
 */
struct recipe {
	const char *kinds;
	bool self;
	bool node1;
	bool wide;
};

struct race {
	u64 seed;
	u64 start;
	u64 end;
	struct slot slots[MAX_SLOTS];
	unsigned int nr_slots;
	struct thread threads[MAX_THREADS];
	unsigned int nr_threads;
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

static inline unsigned long race_block_id(u64 addr)
{
	return addr / memory_block_size_bytes();
}

/* race_layout.c */
void race_lay_out(struct kunit *test, struct race *race, const struct recipe *recipe);

/* race_parts.c */
void race_done(struct thread *thread, enum count what);
u32 race_random_below(struct thread *thread, u32 bound);
struct slot *race_random_slot(struct thread *thread);
bool race_slot_changes(const struct slot *slot);
struct slot *race_random_slot_of(struct thread *thread, unsigned long kinds, bool mine);
unsigned long race_wrong_pfn(const struct slot *slot, enum state state);
void race_check_slot(struct thread *thread, const struct slot *slot, const char *when);
__printf(2, 3) void race_fail(struct thread *thread, const char *fmt, ...);
const char *race_wrong_extents(const struct slot *slot);
unsigned long race_wrong_pfn_in(const struct slot *slot, enum state state,
				unsigned long pfn, unsigned long end);

/* race_plug.c */
extern const struct role race_plugger;
extern const struct role race_block_plugger;
extern const struct role race_device_plugger;
extern const struct role race_block_writer;

/* race_look.c */
extern const struct role race_walker;
extern const struct role race_inspector;
extern const struct role race_reader;

/* race_use.c */
extern const struct role race_churner;
extern const struct role race_filler;
extern const struct role race_compactor;
extern const struct role race_poisoner;
extern const struct role race_lasting_poisoner;

/* race.c */
struct race *race_begin(struct kunit *test, const struct recipe *recipe);
void race_exit(struct kunit *test);
void race_prepare(struct kunit *test, struct race *race, const struct role *role,
		  unsigned int nr);
void race_run(struct kunit *test, struct race *race);
void race_stop_compaction(struct kunit *test, struct race *race);

#endif /* _MHP_KUNIT_RACE_H */
