// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_race: who adds, onlines, offlines and removes parts.
 */

#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/sizes.h>

#include "race.h"

static int write_state(const struct slot *slot, const char *text)
{
	char name[64];

	snprintf(name, sizeof(name), "devices/system/memory/memory%lu/state",
		 race_block_id(slot->start));
	return mhp_sysfs_write(name, text);
}

static void plug_device(struct thread *thread, struct slot *slot)
{
	int ret;

	if (slot->state == HOLE) {
		ret = mhp_add_device(slot->start, slot->size);
		if (ret) {
			race_fail(thread, "%#llx: no device: %d", slot->start, ret);
			return;
		}
		slot->state = MAPPED;
		race_done(thread, MAPS);
		race_check_slot(thread, slot, "mapping it");
	} else if (!race_random_below(thread, 4)) {
		ret = add_memory(0, slot->start, slot->size, MHP_NONE);
		if (ret != -EEXIST)
			race_fail(thread, "%#llx: RAM instead of a device: %d", slot->start, ret);
		race_done(thread, REFUSED);
		race_check_slot(thread, slot, "refusing RAM");
	} else {
		ret = mhp_remove_device(slot->start);
		if (ret)
			race_fail(thread, "%#llx: the device is lost: %d", slot->start, ret);
		slot->state = HOLE;
		race_check_slot(thread, slot, "unmapping it");
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
			return write_state(slot, "online_movable");
		return mhp_online(slot->start, slot->size, MMOP_ONLINE_MOVABLE);
	case TAKE_OFFLINE:
		if (state_file)
			return write_state(slot, "offline");
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
	enum op op = race_random_below(thread, NR_OPS);
	int want, ret;

	/* Rather something that leads on */
	if (race_random_below(thread, 4))
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
		race_done(thread, BUSY);
	} else if (ret == -ERESTARTNOINTR && slot->kind == STATE) {
		race_done(thread, BUSY);
	} else if (ret != want) {
		race_fail(thread, "%s %#llx, which is %s: %d, not %d", ops[op].name, slot->start,
			  race_state_names[before], ret, want);
	} else if (ret) {
		race_done(thread, REFUSED);
	} else if (before != HOLE || op == ADD) {
		slot->state = ops[op].state;
		if (before == OFFLINE && slot->state == HOLE)
			come_back(thread->race, slot);
		if (before != OFFLINE || slot->state == HOLE)
			slot->went_with = 0;
		if (slot->state != before)
			race_done(thread, op_counts[op]);
		if (slot->kind == STATE && op == BRING_ONLINE)
			race_done(thread, FILE_ONLINES);
		if (slot->kind == STATE && op == TAKE_OFFLINE)
			race_done(thread, FILE_OFFLINES);
		if (slot->state == HOLE)
			slot->nr_poisoned = 0;
	}
	race_check_slot(thread, slot, ops[op].name);
}

static void plugger_step(struct thread *thread)
{
	const unsigned long kinds = BIT(PLUGGED) | BIT(STATE) | BIT(DEVICE);
	struct slot *slot = race_random_slot_of(thread, kinds, true);
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

const struct role race_plugger = {
	"plugger", plugger_step, BIT(ADDED) | BIT(ONLINED) | BIT(OFFLINED) | BIT(REMOVED) |
				 BIT(REFUSED),
};

/* With a state file */
const struct role race_block_plugger = {
	"plugger", plugger_step, BIT(ADDED) | BIT(ONLINED) | BIT(OFFLINED) | BIT(REMOVED) |
				 BIT(REFUSED) | BIT(FILE_ONLINES) | BIT(FILE_OFFLINES),
};

/* With ZONE_DEVICE among its parts */
const struct role race_device_plugger = {
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
	bool online = race_random_below(thread, 2);
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
	ret = write_state(race->slots, online ? "online_movable" : "offline");
	if (ret != want)
		race_fail(thread, "the block, with %u of %u parts to change to %s: %d, not %d",
			  change, there, race_state_names[to], ret, want);
	for (i = 0; i < race->nr_slots; i++) {
		slot = &race->slots[i];
		if (!ret && slot->state == from) {
			slot->state = to;
			if (!online)
				slot->went_with = writes;
			race_done(thread, online ? BLOCK_ONLINES : BLOCK_OFFLINES);
		}
		race_check_slot(thread, slot, "writing the state of its block");
	}
	up_write(&race->parts);
}

const struct role race_block_writer = {
	"block_writer", block_writer_step, BIT(BLOCK_ONLINES) | BIT(BLOCK_OFFLINES),
};
