// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_race: memory comes and goes while others look at what lies next to it, use it,
 * move it and read of it.
 *
 * A case lays out some memory blocks in parts, as the seed says, see race_layout.c. Each
 * part that changes belongs to one thread, which therefore knows what each call must
 * return, and what the part must be after it, whatever the other threads do next to it.
 * Threads note what is wrong, and the case reports it: expectations are for the thread of
 * the case.
 *
 * With the same seed, parts are the same, and each thread takes the same decisions. What
 * runs at the same time is another matter.
 */

#include <linux/mm.h>

#include "race.h"

/*
 * What comes first comes and goes, and the start of its zone moves with it: who frees a
 * page meanwhile must not find it outside of its zone.
 */
static const struct layout_param {
	const char *name;
	struct recipe recipe;
} layouts[] = {
	{ "regular", { "PPPPPPPAAAI...", .wide = true } },
	{ "self_hosted", { "PPPPPPPAAAI...", .self = true, .wide = true } },
	{ "two_nodes", { "PPPPPPPAAAI...", .self = true, .node1 = true, .wide = true } },
};

KUNIT_ARRAY_PARAM_DESC(layout, layouts, name);

/* With those who look at memory, and who use it, meanwhile */
static void race_run_watched(struct kunit *test, struct race *race)
{
	race_prepare(test, race, &race_walker, 1);
	race_prepare(test, race, &race_inspector, 1);
	race_prepare(test, race, &race_churner, 1);
	race_run(test, race);
}

/* I1 I2 I4: extents of a section come and go, and what is between them does not notice. */
static void mhp_race_extents(struct kunit *test)
{
	const struct layout_param *layout = test->param_value;
	struct race *race = race_begin(test, &layout->recipe);

	race_prepare(test, race, &race_plugger, 2);
	race_run_watched(test, race);
}

/* Full blocks next to parts of blocks, an extent in two blocks, and a state file */
static const struct recipe blocks = { "PPPPAAFXS.", .self = true };

/* I4 R3: blocks that are full go their ways, and so do those that are not. */
static void mhp_race_blocks(struct kunit *test)
{
	struct race *race;

	race = race_begin(test, &blocks);
	race_prepare(test, race, &race_block_plugger, 3);
	race_run_watched(test, race);
}

static const struct recipe devices = { "PPPPPDDDDDAAI..", .self = true, .wide = true };

/* I2 I4: ZONE_DEVICE comes and goes among extents that do so. */
static void mhp_race_devices(struct kunit *test)
{
	struct race *race = race_begin(test, &devices);

	race_prepare(test, race, &race_device_plugger, 3);
	race_run_watched(test, race);
}

/* Little that stays, so that content has to go to what goes offline next */
static const struct recipe small_parts = { "PPPPPPPAAAI.", .self = true };

/* I1 I4: content survives that what it lies in goes offline, and compaction. */
static void mhp_race_migration(struct kunit *test)
{
	struct race *race;

	if (!IS_ENABLED(CONFIG_NUMA))
		kunit_skip(test, "CONFIG_NUMA is not set");
	race = race_begin(test, &small_parts);
	race_stop_compaction(test, race);
	race_prepare(test, race, &race_plugger, 2);
	race_prepare(test, race, &race_filler, 2);
	race_prepare(test, race, &race_compactor, 1);
	race_prepare(test, race, &race_inspector, 1);
	race_run(test, race);
}

/* I4 I5: each extent counts its own poisoned pages, and they are forgotten with it. */
static void mhp_race_soft_offline(struct kunit *test)
{
	struct race *race;
	u64 before;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "CONFIG_MEMORY_FAILURE is not set");
	race = race_begin(test, &small_parts);
	before = mhp_hardware_corrupted();
	race_prepare(test, race, &race_plugger, 2);
	race_prepare(test, race, &race_poisoner, 2);
	race_prepare(test, race, &race_inspector, 1);
	race_prepare(test, race, &race_walker, 1);
	race_run(test, race);
	KUNIT_EXPECT_EQ(test, mhp_hardware_corrupted(), before);
}

/* Blocks that are always there, and such as are not */
static const struct recipe shown = { "PPPPPPAAI..", .self = true, .node1 = true, .wide = true };

/* R2 R8 I2: files tell the truth, as of one moment, also while blocks come and go. */
static void mhp_race_readers(struct kunit *test)
{
	struct race *race = race_begin(test, &shown);

	race_prepare(test, race, &race_plugger, 2);
	race_prepare(test, race, &race_reader, 3);
	race_run(test, race);
}

/* One block, all of whose parts may go online and offline with it */
static const struct recipe written = { "PPPPPP..", .self = true, .node1 = true };

/* R2 R3: the state of a block is written while its extents come and go one by one. */
static void mhp_race_block_state(struct kunit *test)
{
	struct race *race = race_begin(test, &written);

	race_prepare(test, race, &race_plugger, 2);
	race_prepare(test, race, &race_block_writer, 2);
	race_prepare(test, race, &race_reader, 1);
	race_prepare(test, race, &race_walker, 1);
	race_prepare(test, race, &race_inspector, 1);
	race_run(test, race);
}

/* I1 I2 I4 I5: all of it at the same time */
static void mhp_race_everything(struct kunit *test)
{
	struct race *race;
	u64 before;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE) || !IS_ENABLED(CONFIG_NUMA))
		kunit_skip(test, "needs CONFIG_MEMORY_FAILURE and CONFIG_NUMA");
	race = race_begin(test, &small_parts);
	race_stop_compaction(test, race);
	before = mhp_hardware_corrupted();
	race_prepare(test, race, &race_plugger, 2);
	race_prepare(test, race, &race_filler, 2);
	race_prepare(test, race, &race_compactor, 1);
	race_prepare(test, race, &race_lasting_poisoner, 1);
	race_prepare(test, race, &race_reader, 2);
	race_prepare(test, race, &race_walker, 1);
	race_prepare(test, race, &race_inspector, 1);
	race_run(test, race);
	KUNIT_EXPECT_EQ(test, mhp_hardware_corrupted(), before);
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

static struct kunit_suite mhp_race_suite = {
	.name = "mhp_race",
	.init = mhp_fixture_init_literal,
	.exit = race_exit,
	.test_cases = mhp_race_cases,
};

kunit_test_suite(mhp_race_suite);
