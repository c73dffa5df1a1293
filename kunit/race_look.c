// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_race: who looks at parts, at free pages and at files meanwhile.
 */

#include <linux/kstrtox.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "race.h"

static const enum state steady_states[] = {
	[ANCHOR] = ONLINE, [IDLE] = OFFLINE, [GAP] = HOLE,
};

/* Parts that do not change are what they are at any time, without any lock. */
static void walk_steady(struct thread *thread, const struct slot *slot)
{
	unsigned long pfn = race_wrong_pfn(slot, steady_states[slot->kind]);

	if (pfn)
		race_fail(thread, "%#llx is always %s, and pfn %#lx was not", slot->start,
			  race_state_names[steady_states[slot->kind]], pfn);
}

/* While memory is held still, what a part has in a block is in one state. */
static void walk_changing(struct thread *thread, const struct slot *slot)
{
	unsigned long start = PHYS_PFN(slot->start), end = PHYS_PFN(slot->start + slot->size);
	unsigned long edge = ALIGN_DOWN(end - 1, PHYS_PFN(memory_block_size_bytes()));
	unsigned long pfn = race_random_below(thread, 2) ? max(start, edge) : start, wrong;
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
		wrong = race_wrong_pfn_in(slot, state, pfn, end);
	}
	put_online_mems();
	if (wrong)
		race_fail(thread, "%#llx begins as %s, and pfn %#lx is not", slot->start,
			  race_state_names[state], wrong);
}

static void walker_step(struct thread *thread)
{
	struct slot *slot = race_random_slot(thread);

	if (race_slot_changes(slot))
		walk_changing(thread, slot);
	else
		walk_steady(thread, slot);
	race_done(thread, WALKS);
}

const struct role race_walker = { "walker", walker_step, BIT(WALKS) };

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
		race_fail(thread, "extent at pfn %#lx: online in no zone", pfn);
	for (; pfn < end; pfn = SUBSECTION_ALIGN_UP(pfn + 1)) {
		page = pfn_to_online_page(pfn);
		if (!!page != ext->online || (page && page_zone(page) != ext->zone))
			race_fail(thread, "pfn %#lx is not what its extent at pfn %#lx is", pfn,
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
				race_fail(thread, "free page at pfn %#lx, order %lu, ends outside",
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
	race_done(thread, INSPECTIONS);
}

const struct role race_inspector = { "inspector", inspector_step, BIT(INSPECTIONS) };

/* Whether an anchor is in the block, so that it is there and online all the time */
static bool block_has_anchor(struct race *race, unsigned long id)
{
	unsigned int i;

	for (i = 0; i < race->nr_slots; i++) {
		if (race->slots[i].kind == ANCHOR && race_block_id(race->slots[i].start) == id)
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
	unsigned long id = race_block_id(race->start) +
		race_random_below(thread, race_block_id(race->end) - race_block_id(race->start));
	unsigned int what = race_random_below(thread, ARRAY_SIZE(names));
	char *text = thread->buf;
	char name[64];
	ssize_t ret;

	snprintf(name, sizeof(name), "devices/system/memory/memory%lu/%s", id, names[what]);
	ret = mhp_sysfs_read(name, text, PAGE_SIZE);
	if (ret == -ENOENT || ret == -ENODEV) {
		/* The block went away, unless there is something that does not. */
		if (block_has_anchor(race, id))
			race_fail(thread, "%s: %zd", name, ret);
		return;
	}
	if (ret <= 0) {
		race_fail(thread, "%s: %zd", name, ret);
	} else if (!strcmp(names[what], "populated_bytes")) {
		if (!populated_fits(race, id, text))
			race_fail(thread, "%s: %s", name, text);
	} else if (!strcmp(names[what], "state")) {
		/* Some of it may be going offline. */
		if (strcmp(text, "online\n") && strcmp(text, "going-offline\n") &&
		    (strcmp(text, "offline\n") || block_has_anchor(race, id)))
			race_fail(thread, "%s: %s", name, text);
	} else if (!strcmp(names[what], "valid_zones")) {
		if (strcmp(text, "Movable\n") && block_has_anchor(race, id))
			race_fail(thread, "%s: %s", name, text);
	}
	race_done(thread, READS);
}

const struct role race_reader = { "reader", reader_step, BIT(READS) };
