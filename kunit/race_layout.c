// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_race: where parts lie, in which order, how large they are, and what they are like. All
 * of this comes from the seed.
 */

#include <linux/kernel.h>
#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "race.h"

/* The size of a part that need not be large */
#define MAX_GRANULES	4

static struct rnd_state rnd;

static u32 below(u32 bound)
{
	return prandom_u32_state(&rnd) % bound;
}

static enum kind kind_of(char letter)
{
	switch (letter) {
	case 'A':
		return ANCHOR;
	case 'I':
		return IDLE;
	case 'D':
		return DEVICE;
	case 'S':
		return STATE;
	case '.':
		return GAP;
	default:
		return PLUGGED;
	}
}

static struct slot *add_slot(struct kunit *test, struct race *race, char letter, u64 size)
{
	struct slot *slot = &race->slots[race->nr_slots];

	KUNIT_ASSERT_LT(test, race->nr_slots, MAX_SLOTS);
	race->nr_slots++;
	mutex_init(&slot->lock);
	slot->start = race->end;
	slot->size = size;
	slot->kind = kind_of(letter);
	race->end += size;
	return slot;
}

/* A gap up to @before bytes before the next block */
static void pad(struct kunit *test, struct race *race, u64 before)
{
	const u64 end = ALIGN(race->end + before, memory_block_size_bytes()) - before;

	if (end > race->end)
		add_slot(test, race, '.', end - race->end);
}

/* A part that fills a block, or is in two, is where it must be. */
static u64 place(struct kunit *test, struct race *race, char letter, bool large)
{
	const u64 granule = mhp_granule_bytes();
	u64 size = (1 + below(MAX_GRANULES)) * granule;

	switch (letter) {
	case 'F':
	case 'S':
		pad(test, race, 0);
		return memory_block_size_bytes();
	case 'X':
		pad(test, race, size);
		return size + (1 + below(MAX_GRANULES)) * granule;
	case '.':
		return large ? SZ_64M : size;
	default:
		return large ? SZ_32M : size;
	}
}

/* Print it as it is written by hand: a letter and the size in granules. */
static void tell(struct kunit *test, const struct race *race)
{
	static const char letters[] = {
		[PLUGGED] = 'P', [STATE] = 'S', [ANCHOR] = 'A', [IDLE] = 'I', [GAP] = '.',
		[DEVICE] = 'D',
	};
	char text[MAX_SLOTS * 8] = "";
	unsigned int i, len = 0;

	for (i = 0; i < race->nr_slots; i++) {
		const struct slot *slot = &race->slots[i];

		len += scnprintf(text + len, sizeof(text) - len, " %c%llu%s%s",
				 letters[slot->kind], slot->size / mhp_granule_bytes(),
				 slot->flags ? "s" : "", slot->nid ? "n" : "");
	}
	kunit_info(test, "layout:%s\n", text);
}

/**
 * race_lay_out() - make the parts of a race, by its seed
 * @test: the case
 * @race: its parts are filled; none is there yet
 * @recipe: what they are made of
 */
void race_lay_out(struct kunit *test, struct race *race, const struct recipe *recipe)
{
	char kinds[MAX_SLOTS] = "";
	unsigned int nr = strscpy(kinds, recipe->kinds, sizeof(kinds)), i;
	bool wide_part = recipe->wide, wide_gap = recipe->wide;

	prandom_seed_state(&rnd, race->seed);
	/* The first stays where it is. */
	for (i = nr - 1; i > 1; i--) {
		unsigned int other = 1 + below(i);

		swap(kinds[i], kinds[other]);
	}
	race->start = mhp_spare_start(test);
	race->end = race->start;
	for (i = 0; i < nr; i++) {
		bool *wide = kinds[i] == '.' ? &wide_gap : &wide_part;
		bool large = *wide && i && strchr(".PD", kinds[i]);
		u64 size = place(test, race, kinds[i], large);
		struct slot *slot = add_slot(test, race, kinds[i], size);

		if (large)
			*wide = false;
		if (slot->kind == GAP || slot->kind == DEVICE)
			continue;
		if (recipe->self && below(2))
			slot->flags = MHP_MEMMAP_ON_MEMORY;
		if (recipe->node1)
			slot->nid = below(2) && node_online(1);
	}
	race->end = ALIGN(race->end, memory_block_size_bytes());
	KUNIT_ASSERT_LE(test, race->end - race->start, mhp_spare_size());
	tell(test, race);
}
