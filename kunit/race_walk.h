/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of mhp_walk share: a walker of physical memory, and somebody who removes
 * what it walks over.
 */
#ifndef _MHP_KUNIT_RACE_WALK_H
#define _MHP_KUNIT_RACE_WALK_H

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/timekeeping.h>

#include "fixture.h"
#include "sysfs.h"

/* What goes lies before or behind what stays. Without granules, these are blocks. */
#ifdef CONFIG_MHP_SUBSECTION
#define GOES_SIZE	SZ_4M
#define STAYS_SIZE	SZ_8M
#else
#define GOES_SIZE	SZ_128M
#define STAYS_SIZE	SZ_128M
#endif

/* How long the remover must not get on once it waits, or at all if it gets nowhere */
#define HELD_MS		200
#define STUCK_MS	4000
/* How long anything may take that comes to an end */
#define PATIENCE_MS	60000

#define NR_GOES		PHYS_PFN(GOES_SIZE)

#define USER_BYTES	SZ_16K
#define FILLER_PAGES	1000
/* How often DAMON samples when nothing goes */
#define SAMPLES		20

/* Where what goes lies: before what stays, behind that, which is in use, or within it */
enum place { FIRST, LAST, MIDDLE };

/* Where the walker is when it asks */
enum where { ANYWHERE, IRQS_OFF, IRQS_ON, SAME_AGAIN };

struct walk;

/**
 * struct walker - somebody who goes from a pfn to a struct page
 * @name: of the case
 * @missing: the option that it needs and that is not set, or NULL
 * @run: walks over what goes, in a thread of its own; an error if it does not get there
 * @check: what must have come of it, when the memory has gone
 * @prepare: what must be so before
 * @comm: of the thread that walks, if it is not the one of @run
 * @where: which of its questions is answered late
 * @place: where what goes lies
 * @filled: what goes is in use
 * @locks: it holds a lock all the while that removal takes first
 * @last_block: only of the last pageblock the answer is late
 * @early: it is late before what goes has been cleared
 */
struct walker {
	const char *name;
	const char *missing;
	ssize_t (*run)(struct walk *walk);
	void (*check)(struct kunit *test, struct walk *walk);
	void (*prepare)(struct kunit *test, struct walk *walk);
	const char *comm;
	enum where where;
	enum place place;
	bool filled;
	bool locks;
	bool last_block;
	bool early;
};

/* Where the remover waits unless it is at some notification */
#define NEVER		(~0UL)
#ifdef MODULE
#define BEFORE_OFFLINE	MEM_GOING_OFFLINE
#else
#define BEFORE_OFFLINE	(~0UL - 1)
#endif

/* Where a walker sleeps, and must have let go of the memmap */
enum sleep { NOWHERE, MIGRATING, ALLOCATING, DRAINING };

struct walk {
	const struct walker *walker;
	u64 goes;			/* physical address of what goes */
	u64 size;			/* of that, in bytes */
	u64 stays;			/* and of what stays */
	unsigned long start;		/* pfn of what goes */
	unsigned long end;
	unsigned long first;		/* pfn from which on answers are late */
	struct file *filler;
	struct mm_struct *mm;
	char __user *user;
	char *buf;			/* of USER_BYTES */
	struct page *got;		/* what the walker has allocated */
	struct list_head held;		/* pages that are in use */
	u64 poisoned;			/* HardwareCorrupted before */
	struct task_struct *remover;
	struct task_struct *task;	/* that walks */
	struct completion removed;
	struct completion walked;
	int remove_ret;
	ssize_t ret;			/* of the walker */
	enum sleep sleep;		/* where the walker is to sleep while memory goes */
	bool late;			/* an answer is to be late */
	unsigned long parks;		/* the notification at which the remover waits, or so */
	bool locks;			/* lockdep worked when it began */

	bool parked;			/* the remover is about to mark memory as offline */
	bool armed;			/* the next answer is late */
	bool inside;			/* the walker is in our code */
	bool sprung;			/* the walker has asked */
	bool go;			/* the remover may go on */
	bool gone;			/* memory has been removed */
	bool lost;			/* it has, before the walker read */
	bool late_now;			/* the walker has asked, and waits for the answer */
	bool told;			/* it was told meanwhile that memory is offline */
	bool slept;			/* the walker has slept, and memory went or did not */
	bool must_sleep;		/* it does so where it could not */
	u64 waits_since;		/* when the remover began to wait for walkers, in ns */
	unsigned long last;		/* pfn that was asked for before */
	unsigned long asked;		/* how often the walker has asked */
	unsigned long asked_after;	/* the same, since memory was gone */
	unsigned long asked_within;	/* the same, within a notifier */
	unsigned long strays;		/* pages of offline memory that were free */
};

#define wait_until(cond, ms)						\
({									\
	u64 until = ktime_get_mono_fast_ns() + (u64)(ms) * NSEC_PER_MSEC; \
	bool holds;							\
									\
	do {								\
		holds = cond;						\
		if (!holds)						\
			usleep_range(1000, 2000);			\
	} while (!holds && ktime_get_mono_fast_ns() < until);		\
	holds;								\
})

/* The name of an option, if it is not set */
#define MISSING(option)	(IS_ENABLED(CONFIG_##option) ? NULL : "CONFIG_" #option)

static inline struct zone *walk_zone(void)
{
	return &NODE_DATA(0)->node_zones[ZONE_MOVABLE];
}

/* The walk that is to be ended with its case */
extern struct walk *walk_now;

extern struct kprobe walk_questions, walk_waiting, walk_marking;

/* race_walk_probes.c */
bool walk_is_current(const struct walk *walk);
int walk_add_probe(struct kprobe *kp);
void walk_park(struct walk *walk);
void walk_make_sleep(struct kunit *test, struct walk *walk, enum sleep where);

/* race_walk.c */
int walk_remover_main(void *arg);
unsigned int walk_walker_cpu(void);
struct task_struct *walk_make_thread(struct kunit *test, int (*main)(void *), void *arg,
				     bool walker, const char *name);
void walk_start_remover(struct kunit *test, struct walk *walk);
void walk_start_walker(struct kunit *test, struct walk *walk);
ssize_t walk_read_user(struct walk *walk, enum mhp_fs fs, const char *name, size_t size,
		       loff_t *pos);
ssize_t walk_write_user(struct walk *walk, enum mhp_fs fs, const char *name,
			const char *text);
void walk_fill(struct kunit *test, struct walk *walk, u64 start, u64 size, unsigned long nr);
struct walk *walk_begin(struct kunit *test, const struct walker *walker);
void walk_finish(struct kunit *test, struct walk *walk);
void walk_exit(struct kunit *test);

/* race_walk_kunit.c */
ssize_t walk_run_rcu(struct walk *walk);
void walk_check_own(struct kunit *test, struct walk *walk);
ssize_t walk_run_page_owner(struct walk *walk);
void walk_prepare_owner(struct kunit *test, struct walk *walk);
void walk_check_file(struct kunit *test, struct walk *walk);
ssize_t walk_run_compaction(struct walk *walk);
ssize_t walk_run_contig_range(struct walk *walk);
ssize_t walk_run_contig_part(struct walk *walk);
void walk_check_contig_range(struct kunit *test, struct walk *walk);

/* race_walk_sleep_kunit.c */
int walk_compact(unsigned int order, int prio, struct page **captured);

MHP_DECLARE_PARAMS(burden);

void mhp_walk_compaction_sleeps(struct kunit *test);
void mhp_walk_page_owner_sleeps(struct kunit *test);
void mhp_walk_stale_pfns(struct kunit *test);
void mhp_walk_contig_isolated(struct kunit *test);
void mhp_walk_contig_hole(struct kunit *test);
void mhp_walk_failure_elsewhere(struct kunit *test);
void mhp_walk_self_hosted(struct kunit *test);
void mhp_walk_nesting(struct kunit *test);
void mhp_walk_other_cpu(struct kunit *test);
void mhp_walk_remover_walks(struct kunit *test);

#endif /* _MHP_KUNIT_RACE_WALK_H */
