// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_walk: memory that goes while a walker sleeps, and what a walker remembers of memory
 * that is gone.
 */

#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>

/* Needs the above. */
#include <linux/compaction.h>

#include "race_walk.h"
#include "internal.h"
#if __has_include("page_alloc.h")
#include "page_alloc.h"
#endif

/* I10: memory goes while a walker sleeps. */
static void sleep_and_go(struct kunit *test, const struct walker *walker, enum sleep where)
{
	struct walk *walk;

	if (walker->missing)
		kunit_skip(test, "%s is not set", walker->missing);
	walk = walk_begin(test, walker);
	if (walker->prepare)
		walker->prepare(test, walk);
	walk->parks = NEVER;
	walk_make_sleep(test, walk, where);
	walk_start_walker(test, walk);
	wait_until(READ_ONCE(walk->sprung) || completion_done(&walk->walked), PATIENCE_MS);
	walk_start_remover(test, walk);
	wait_until(READ_ONCE(walk->slept) || completion_done(&walk->walked), PATIENCE_MS);
	KUNIT_EXPECT_TRUE_MSG(test, walk->slept && walk->gone,
			      "memory waits for %s, which sleeps", walker->name);
	walk_finish(test, walk);
	KUNIT_EXPECT_FALSE(test, walk->must_sleep);
}

void mhp_walk_compaction_sleeps(struct kunit *test)
{
	static const struct walker walker = {
		"compaction", MISSING(COMPACTION), walk_run_compaction, walk_check_file,
		.filled = true,
	};

	sleep_and_go(test, &walker, MIGRATING);
}

/* It tells of another page, if of any. */
static void check_page_owner_slept(struct kunit *test, struct walk *walk)
{
	KUNIT_EXPECT_GE(test, walk->ret, 0);
	KUNIT_EXPECT_FALSE(test, walk->ret >= walk->start && walk->ret < walk->end);
	KUNIT_EXPECT_GE_MSG(test, walk->asked_after, 1UL, "it does not ask again");
}

void mhp_walk_page_owner_sleeps(struct kunit *test)
{
	static const struct walker walker = {
		"page_owner", MISSING(PAGE_OWNER), walk_run_page_owner, check_page_owner_slept,
		walk_prepare_owner, .filled = true,
	};

	sleep_and_go(test, &walker, ALLOCATING);
}

/* As direct compaction. The page that it has captured, if any, is not prepared. */
int walk_compact(unsigned int order, int prio, struct page **captured)
{
	const struct alloc_context ac = {
		.zonelist = node_zonelist(0, GFP_HIGHUSER_MOVABLE),
		.highest_zoneidx = ZONE_MOVABLE,
		.migratetype = MIGRATE_MOVABLE,
	};
#ifdef MHP_HAS_CAPTURE_CONTROL
	struct capture_control capc = { .order = order, .migratetype = ac.migratetype };
	int ret;

	WRITE_ONCE(current->capture_control, &capc);
	ret = try_to_compact_pages(GFP_HIGHUSER_MOVABLE, order, ALLOC_WMARK_MIN, &ac, prio, &capc);
	WRITE_ONCE(current->capture_control, NULL);
	*captured = READ_ONCE(capc.page);
	return ret;
#else
	return try_to_compact_pages(GFP_HIGHUSER_MOVABLE, order, ALLOC_WMARK_MIN, &ac, prio,
				    captured);
#endif
}

/* Both scanners begin at pfns that they remember, and that are gone. */
static ssize_t run_stale(struct walk *walk)
{
	struct zone *zone = walk_zone();
	struct page *page = NULL;

	zone->compact_cached_migrate_pfn[0] = walk->start + 5;
	zone->compact_cached_migrate_pfn[1] = walk->start + 5;
	zone->compact_cached_free_pfn = pageblock_start_pfn(zone_end_pfn(zone) - 1);
	/* As much as can be: for a certain order, it begins where free lists say. */
	walk_compact(-1, COMPACT_PRIO_SYNC_LIGHT, &page);
	walk->asked_after = walk->asked;

	zone->compact_cached_migrate_pfn[0] = zone->zone_start_pfn;
	zone->compact_cached_migrate_pfn[1] = zone->zone_start_pfn;
	zone->compact_cached_free_pfn = walk->end - 3;
	compaction_defer_reset(zone, pageblock_order, true);
	walk_compact(pageblock_order, COMPACT_PRIO_SYNC_LIGHT, &page);
	return !page;
}

#define PIN_EVERY	128

/* I10: compaction asks of what it remembers, and of what its short cuts find. */
void mhp_walk_stale_pfns(struct kunit *test)
{
	static const struct walker walker = { "stale", NULL, run_stale, .place = MIDDLE };
	const unsigned long nr = PHYS_PFN(STAYS_SIZE + GOES_SIZE) - 64;
	struct walk *walk = walk_begin(test, &walker);
	struct address_space *mapping;
	struct page **pins;
	bool walked;
	loff_t pos;
	int i;

	pins = kunit_kcalloc(test, nr / PIN_EVERY, sizeof(*pins), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pins);
	KUNIT_ASSERT_EQ(test, mhp_offline(walk->goes, GOES_SIZE), 0);
	walk_fill(test, walk, walk->stays, STAYS_SIZE + 2 * GOES_SIZE, nr);
	/* No pageblock can be freed as a whole, and none is full. */
	mapping = walk->filler->f_mapping;
	for (pos = PAGE_SIZE; pos < nr * PAGE_SIZE; pos += 2 * PAGE_SIZE)
		shmem_truncate_range(mapping->host, pos, pos + PAGE_SIZE - 1);
	for (i = 0; i < nr / PIN_EVERY; i++)
		pins[i] = shmem_read_mapping_page(mapping, i * PIN_EVERY);
	walk_start_walker(test, walk);
	walked = wait_for_completion_timeout(&walk->walked, msecs_to_jiffies(PATIENCE_MS));
	for (i = 0; i < nr / PIN_EVERY; i++) {
		if (!IS_ERR_OR_NULL(pins[i]))
			put_page(pins[i]);
	}
	KUNIT_ASSERT_TRUE(test, walked);
	complete_all(&walk->walked);
	KUNIT_EXPECT_EQ(test, walk->ret, 1);
	KUNIT_EXPECT_GE(test, walk->asked_after, 1UL);
}

/*
 * I4: what is isolated to go offline stays so, whoever else wants it. Otherwise it is
 * never free for long enough.
 */
void mhp_walk_contig_isolated(struct kunit *test)
{
	static const struct walker walker = {
		"contig", MISSING(CONTIG_ALLOC), walk_run_contig_range, walk_check_contig_range,
	};
	struct zone *zone = walk_zone();
	struct walk *walk;
	unsigned long before;

	if (walker.missing)
		kunit_skip(test, "%s is not set", walker.missing);
	walk = walk_begin(test, &walker);
	walk_start_remover(test, walk);
	KUNIT_ASSERT_TRUE(test, wait_until(READ_ONCE(walk->parked), PATIENCE_MS));
	before = zone->nr_isolate_pageblock;
	walk_start_walker(test, walk);
	wait_until(completion_done(&walk->walked), PATIENCE_MS);
	KUNIT_EXPECT_EQ_MSG(test, zone->nr_isolate_pageblock, before,
			    "what others have isolated is not isolated any more");
	walk->sprung = true;
	walk_finish(test, walk);
}

#ifdef CONFIG_MEMORY_FAILURE
/* How often somebody has made room for a failure, wherever that is */
static atomic_t yields;

static int on_yield(struct kprobe *kp, struct pt_regs *regs)
{
	if (regs_get_kernel_argument(regs, 1) == ~0UL)
		atomic_inc(&yields);
	return 0;
}

static struct kprobe yielding = {
	.symbol_name = "memory_failure_wait",
	.pre_handler = on_yield,
};

static ssize_t run_failure_elsewhere(struct walk *walk)
{
	return memory_failure(page_to_pfn(walk->got), MF_SW_SIMULATED);
}

/* I7: a failure that takes long costs nothing where pages move, or are free. */
void mhp_walk_failure_elsewhere(struct kunit *test)
{
	static const struct walker walker = { "failure", NULL, run_failure_elsewhere,
					      .place = LAST };
	struct walk *walk = walk_begin(test, &walker);
	bool busy, walked;
	unsigned long pfn;
	int ret;

	walk->got = shmem_read_mapping_page(walk->filler->f_mapping, 0);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, walk->got);
	pfn = page_to_pfn(walk->got);
	atomic_set(&yields, 0);
	KUNIT_ASSERT_EQ(test, walk_add_probe(&yielding), 0);
	lock_page(walk->got);
	walk_start_walker(test, walk);
	busy = wait_until(memory_failure_busy(pfn, pfn + 1) && PageHWPoison(walk->got),
			  PATIENCE_MS);
	ret = mhp_offline(walk->goes, GOES_SIZE);
	unlock_page(walk->got);
	put_page(walk->got);
	walked = wait_for_completion_timeout(&walk->walked, msecs_to_jiffies(PATIENCE_MS));
	unregister_kprobe(&yielding);
	KUNIT_ASSERT_TRUE(test, walked);
	complete_all(&walk->walked);
	KUNIT_EXPECT_TRUE(test, busy);
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&yields), 0);
}
#endif /* CONFIG_MEMORY_FAILURE */

/* I10: what has gone is no hole that a contiguous range may have. */
void mhp_walk_contig_hole(struct kunit *test)
{
	static const struct walker walker = {
		"hole", MISSING(CONTIG_ALLOC), walk_run_contig_part, walk_check_contig_range,
		.place = MIDDLE,
	};
	struct walk *walk;

	if (walker.missing)
		kunit_skip(test, "%s is not set", walker.missing);
	walk = walk_begin(test, &walker);
	mhp_must_remove(test, walk->goes, GOES_SIZE);
	KUNIT_EXPECT_EQ(test, walk_run_contig_part(walk), -EBUSY);
	KUNIT_EXPECT_EQ(test, walk_zone()->nr_isolate_pageblock, 0UL);
}

/* I10 I8: so does what hosts its memmap, which goes last. */
void mhp_walk_self_hosted(struct kunit *test)
{
	static const struct walker walker = { "rcu", NULL, walk_run_rcu, walk_check_own };
	const u64 block = memory_block_size_bytes();
	struct walk *walk;

	if (!mhp_supports_memmap_on_memory())
		kunit_skip(test, "no self-hosted memmap");
	walk = walk_begin(test, &walker);
	walk->goes = mhp_spare_start(test) + block;
	walk->size = block;
	walk->start = PHYS_PFN(walk->goes);
	walk->first = walk->start;
	walk->end = walk->start + PHYS_PFN(block) * sizeof(struct page) / PAGE_SIZE;
	if (!IS_ALIGNED(walk->end, PAGES_PER_SUBSECTION))
		kunit_skip(test, "the memmap of a block ends within a sub-section");
	mhp_must_add(test, 0, walk->goes, block, MHP_MEMMAP_ON_MEMORY);
	KUNIT_ASSERT_EQ(test, mhp_online(walk->goes, block, MMOP_ONLINE_MOVABLE), 0);
	/* All but that is offline by then. */
	walk->parks = MEM_OFFLINE;
	walk->late = true;
	walk_start_remover(test, walk);
	KUNIT_ASSERT_TRUE(test, wait_until(READ_ONCE(walk->parked), PATIENCE_MS));
	KUNIT_EXPECT_NOT_NULL(test, pfn_to_online_page(walk->start));
	KUNIT_EXPECT_NULL(test, pfn_to_online_page(walk->end));
	walk_start_walker(test, walk);
	walk_finish(test, walk);
	KUNIT_EXPECT_FALSE(test, walk->lost);
}
