// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_race: what a part is, and whether the kernel says so.
 */

#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/stdarg.h>
#include <linux/string.h>

#include "race.h"

const char * const race_state_names[] = { "a hole", "offline", "online", "ZONE_DEVICE" };

__printf(2, 3) void race_fail(struct thread *thread, const char *fmt, ...)
{
	struct race *race = thread->race;
	va_list args;

	if (atomic_fetch_inc(&race->errors))
		return;
	va_start(args, fmt);
	vsnprintf(race->error, sizeof(race->error), fmt, args);
	va_end(args);
}

void race_done(struct thread *thread, enum count what)
{
	atomic_inc(&thread->race->counts[what]);
}

u32 race_random_below(struct thread *thread, u32 bound)
{
	return prandom_u32_state(&thread->rnd) % bound;
}

struct slot *race_random_slot(struct thread *thread)
{
	return &thread->race->slots[race_random_below(thread, thread->race->nr_slots)];
}

bool race_slot_changes(const struct slot *slot)
{
	return slot->kind == PLUGGED || slot->kind == STATE || slot->kind == DEVICE;
}

/* Parts that change are shared out to the pluggers one by one. */
static bool is_mine(const struct thread *thread, const struct slot *slot)
{
	return (slot - thread->race->slots) % thread->nr == thread->nth;
}

/* A part of one of some kinds, or NULL if there is none */
struct slot *race_random_slot_of(struct thread *thread, unsigned long kinds, bool mine)
{
	struct race *race = thread->race;
	unsigned int first = race_random_below(thread, race->nr_slots), i;

	for (i = 0; i < race->nr_slots; i++) {
		struct slot *slot = &race->slots[(first + i) % race->nr_slots];

		if (kinds & BIT(slot->kind) && (!mine || is_mine(thread, slot)))
			return slot;
	}
	return NULL;
}

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
unsigned long race_wrong_pfn_in(const struct slot *slot, enum state state,
				unsigned long pfn, unsigned long end)
{
	unsigned long step = slot->size > SZ_8M ? 61 : 1;

	for (; pfn < end; pfn += step) {
		if (!pfn_is(pfn, slot, state))
			return pfn;
	}
	return pfn_is(end - 1, slot, state) ? 0 : end - 1;
}

unsigned long race_wrong_pfn(const struct slot *slot, enum state state)
{
	return race_wrong_pfn_in(slot, state, PHYS_PFN(slot->start),
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
const char *race_wrong_extents(const struct slot *slot)
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

void race_check_slot(struct thread *thread, const struct slot *slot, const char *when)
{
	unsigned long pfn = race_wrong_pfn(slot, slot->state);
	const char *wrong;

	if (pfn) {
		race_fail(thread, "%#llx should be %s after %s, pfn %#lx is not", slot->start,
			  race_state_names[slot->state], when, pfn);
		return;
	}
	wrong = race_wrong_extents(slot);
	if (wrong)
		race_fail(thread, "%#llx should be %s after %s, its %s are not", slot->start,
			  race_state_names[slot->state], when, wrong);
}
