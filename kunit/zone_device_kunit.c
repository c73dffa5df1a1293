// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_zone_device: ZONE_DEVICE between extents of System RAM.
 */

#include <linux/kthread.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/sizes.h>

#include "fixture.h"

#define NR_PARTS	3
#define DEVICE		1

/* What the device of a case is like */
struct shape {
	const char *name;
	u64 start;		/* offset of the first part */
	u64 size;		/* of the device */
	unsigned long reserve;	/* pages of its altmap */
	unsigned long free;
};

/*
 * Only full sections have their memmap from the altmap of a device, parts of them do
 * not. 128 MiB have 512 pages of it, in a huge page if it begins with one.
 */
static const struct shape shapes[] = {
	{ "small", SZ_2M, SZ_4M, 0, 0 },
	{ "with_altmap", SZ_128M - SZ_8M, SZ_128M + SZ_8M, 512, 512 },
};

/* System RAM, a device, System RAM: neighbours in one section, or in two */
static u64 part_size(const struct shape *shape, int part)
{
	return part == DEVICE ? shape->size : SZ_4M;
}

static u64 part_start(struct kunit *test, const struct shape *shape, int part)
{
	u64 at = mhp_spare_start(test) + shape->start;
	int i;

	for (i = 0; i < part; i++)
		at += part_size(shape, i);
	return at;
}

static void make_part(struct kunit *test, const struct shape *shape, int part)
{
	u64 start = part_start(test, shape, part), size = part_size(shape, part);

	if (part == DEVICE && shape->free) {
		mhp_must_add_device_altmap(test, start, size, shape->reserve, shape->free);
	} else if (part == DEVICE) {
		mhp_must_add_device(test, start, size);
	} else {
		mhp_must_add(test, 0, start, size, MHP_NONE);
		KUNIT_ASSERT_EQ(test, mhp_online(start, size, MMOP_ONLINE_MOVABLE), 0);
	}
}

static void unmake_part(struct kunit *test, const struct shape *shape, int part)
{
	if (part == DEVICE)
		mhp_must_remove_device(test, part_start(test, shape, part));
	else
		mhp_must_remove(test, part_start(test, shape, part), part_size(shape, part));
}

/* Pages of memmap of a range that lie in [low, high), each of them once */
static unsigned long count_hosted(struct kunit *test, u64 start, u64 size, u64 low, u64 high)
{
	struct mhp_backing backing;

	mhp_find_backing(test, start, size, low, high, &backing);
	KUNIT_EXPECT_EQ(test, backing.unmapped, 0UL);
	KUNIT_EXPECT_EQ(test, backing.twice, 0UL);
	return backing.within;
}

static void expect_device(struct kunit *test, const struct shape *shape,
			  struct dev_pagemap *pgmap)
{
	u64 start = part_start(test, shape, DEVICE), end = start + shape->size;
	u64 first = ALIGN(start, SZ_128M), last = ALIGN_DOWN(end, SZ_128M);
	u64 low = start + PFN_PHYS(shape->reserve), high = low + PFN_PHYS(shape->free);
	unsigned long hosted, pfn, wrong = 0;

	mhp_expect_offline(test, start, shape->size);
	/* The struct pages of what hosts memmap are nobody's business. */
	for (pfn = PHYS_PFN(high); pfn < PHYS_PFN(end); pfn++)
		wrong += !is_zone_device_page(pfn_to_page(pfn));
	KUNIT_EXPECT_EQ(test, wrong, 0UL);
	if (!shape->free)
		return;
	hosted = first < last ? PHYS_PFN(PHYS_PFN(last - first) * sizeof(struct page)) : 0;
	KUNIT_EXPECT_EQ(test, count_hosted(test, start, shape->size, low, high), hosted);
	KUNIT_EXPECT_EQ(test, pgmap->altmap.alloc, hosted);
	KUNIT_EXPECT_EQ(test, pgmap->altmap.align, 0UL);
	KUNIT_EXPECT_EQ(test, pgmap->altmap.reserve, shape->reserve);
	KUNIT_EXPECT_EQ(test, pgmap->altmap.free, shape->free);
}

static void expect_part(struct kunit *test, const struct shape *shape, int part, bool there)
{
	u64 start = part_start(test, shape, part);
	struct dev_pagemap *pgmap = mhp_get_dev_pagemap(PHYS_PFN(start));

	KUNIT_EXPECT_EQ(test, !!pgmap, there && part == DEVICE);
	if (!there)
		mhp_expect_hole(test, start, part_size(shape, part));
	else if (pgmap)
		expect_device(test, shape, pgmap);
	else
		mhp_expect_online(test, start, part_size(shape, part), 0, ZONE_MOVABLE);
	if (pgmap)
		put_dev_pagemap(pgmap);
}

/* All orders in which three can come or go */
static const int orders[][NR_PARTS] = {
	{ 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
};

struct lives_param {
	const struct shape *shape;
	const int *come;
	const int *go;
};

/* Each shape, with each order of coming and each of going */
static const void *MHP_GENERATOR(lives_gen_params)
{
	static struct lives_param param;
	static unsigned int i;

	i = prev ? i + 1 : 0;
	if (i == ARRAY_SIZE(shapes) * ARRAY_SIZE(orders) * ARRAY_SIZE(orders))
		return NULL;
	param.shape = &shapes[i / ARRAY_SIZE(orders) / ARRAY_SIZE(orders)];
	param.come = orders[i / ARRAY_SIZE(orders) % ARRAY_SIZE(orders)];
	param.go = orders[i % ARRAY_SIZE(orders)];
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s_comes_%d%d%d_goes_%d%d%d",
		 param.shape->name, param.come[0], param.come[1], param.come[2],
		 param.go[0], param.go[1], param.go[2]);
	return &param;
}

/* Elsewhere, what is no full section has its memmap from the altmap as well. */
static void need_altmap(struct kunit *test, const struct shape *shape)
{
	if (!shape->free)
		return;
	if (!IS_ENABLED(CONFIG_X86_64))
		kunit_skip(test, "the altmap is laid out for x86-64");
	if (sizeof(struct page) != 64)
		kunit_skip(test, "struct page has not 64 bytes");
}

/* I4: none of the three changes with the coming and going of another. */
static void mhp_zone_device_lives(struct kunit *test)
{
	const struct lives_param *param = test->param_value;
	bool there[NR_PARTS] = { };
	int i, part;

	need_altmap(test, param->shape);
	for (i = 0; i < NR_PARTS; i++) {
		make_part(test, param->shape, param->come[i]);
		there[param->come[i]] = true;
		for (part = 0; part < NR_PARTS; part++)
			expect_part(test, param->shape, part, there[part]);
	}
	for (i = 0; i < NR_PARTS; i++) {
		unmake_part(test, param->shape, param->go[i]);
		there[param->go[i]] = false;
		for (part = 0; part < NR_PARTS; part++)
			expect_part(test, param->shape, part, there[part]);
	}
}

/**
 * struct lookups - a thread that looks a device up, and what it saw
 * @pfn: first of the device
 * @hits: it was there
 * @misses: it was not
 * @online: it was online, which a device never is
 */
struct lookups {
	unsigned long pfn;
	atomic_t hits;
	atomic_t misses;
	atomic_t online;
};

static int lookup_thread(void *arg)
{
	struct lookups *lookups = arg;
	struct dev_pagemap *pgmap;

	while (!kthread_should_stop()) {
		pgmap = mhp_get_dev_pagemap(lookups->pfn);
		atomic_inc(pgmap ? &lookups->hits : &lookups->misses);
		atomic_add(!!pfn_to_online_page(lookups->pfn), &lookups->online);
		/* The device waits for who has it. */
		if (pgmap)
			put_dev_pagemap(pgmap);
		cond_resched();
	}
	return 0;
}

static void stop_thread(void *thread)
{
	kthread_stop(thread);
}

#define ROUNDS		20
#define MAX_ROUNDS	2000

KUNIT_ARRAY_PARAM_DESC(shape, shapes, name);

/* I2 I4: a device comes and goes while others look it up, and its neighbours stay. */
static void mhp_zone_device_lookups(struct kunit *test)
{
	const struct shape *shape = test->param_value;
	struct task_struct *threads[2];
	struct lookups *lookups;
	int i;

	need_altmap(test, shape);
	lookups = kunit_kzalloc(test, sizeof(*lookups), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, lookups);
	lookups->pfn = PHYS_PFN(part_start(test, shape, DEVICE));
	make_part(test, shape, 0);
	make_part(test, shape, 2);
	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		threads[i] = kthread_run(lookup_thread, lookups, "mhp_kunit/%d", i);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, threads[i]);
		KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, stop_thread, threads[i]), 0);
	}
	for (i = 0; i < MAX_ROUNDS; i++) {
		if (i >= ROUNDS && atomic_read(&lookups->hits) && atomic_read(&lookups->misses))
			break;
		make_part(test, shape, DEVICE);
		unmake_part(test, shape, DEVICE);
	}
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		kunit_release_action(test, stop_thread, threads[i]);
	KUNIT_EXPECT_GT(test, atomic_read(&lookups->hits), 0);
	KUNIT_EXPECT_GT(test, atomic_read(&lookups->misses), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&lookups->online), 0);
	expect_part(test, shape, 0, true);
	expect_part(test, shape, DEVICE, false);
	expect_part(test, shape, 2, true);
}

/* I6: a device and System RAM cannot have the same memory. */
static void mhp_zone_device_excludes(struct kunit *test)
{
	u64 start = part_start(test, shapes, DEVICE), size = part_size(shapes, DEVICE);
	struct mhp_snapshot before;

	make_part(test, shapes, DEVICE);
	mhp_take_snapshot(test, &before);
	KUNIT_EXPECT_EQ(test, add_memory(0, start, size, MHP_NONE), -EEXIST);
	KUNIT_EXPECT_EQ(test, add_memory(0, start - SZ_2M, size, MHP_NONE), -EEXIST);
	mhp_expect_snapshot(test, &before, "after the refusals");
	expect_part(test, shapes, DEVICE, true);
}

/* Where a device is that nothing tells of, from the start of the spare memory */
static const struct hidden_param {
	const char *name;
	u64 hidden;
	u64 start;
	u64 size;
} hidden[] = {
	{ "same_section", SZ_32M, SZ_16M, SZ_32M },
	{ "start_of_range", SZ_32M, SZ_32M, SZ_32M },
	{ "second_section", SZ_128M + SZ_32M, SZ_64M, SZ_128M },
	{ "last_part", SZ_256M + SZ_2M, SZ_64M, SZ_256M },
	{ "middle_section", SZ_128M + SZ_32M, SZ_64M, SZ_256M },
	{ "first_part", SZ_64M, SZ_32M, SZ_256M },
};

KUNIT_ARRAY_PARAM_DESC(hidden, hidden, name);

static void try_hidden(struct kunit *test, mhp_t flags)
{
	const struct hidden_param *param = test->param_value;
	u64 spare = mhp_spare_start(test), device = spare + param->hidden;
	u64 start = spare + param->start, addr;
	struct mhp_snapshot before;
	unsigned long mapped = 0;
	struct dev_pagemap *pgmap;

	mhp_must_hide_device(test, device, SZ_4M);
	mhp_take_snapshot(test, &before);
	KUNIT_EXPECT_EQ(test, add_memory(0, start, param->size, flags), -EEXIST);
	mhp_expect_snapshot(test, &before, "after the failure");

	/* The device is as it was, and all else is gone. */
	mhp_expect_offline(test, device, SZ_4M);
	pgmap = mhp_get_dev_pagemap(PHYS_PFN(device));
	KUNIT_EXPECT_NOT_NULL(test, pgmap);
	if (pgmap)
		put_dev_pagemap(pgmap);
	for (addr = start; addr < start + param->size; addr += SZ_2M) {
		if (addr >= device && addr < device + SZ_4M) {
			KUNIT_EXPECT_TRUE_MSG(test, mhp_is_mapped(addr), "%#llx", addr);
			KUNIT_EXPECT_TRUE(test, is_zone_device_page(pfn_to_page(PHYS_PFN(addr))));
			continue;
		}
		mapped += mhp_is_mapped(addr);
		mhp_expect_hole(test, addr, SZ_2M);
	}
	KUNIT_EXPECT_EQ(test, mapped, 0UL);

	/* Nothing is in the way once the device has gone. */
	mhp_must_remove_device(test, device);
	mhp_must_add(test, 0, start, param->size, flags);
	mhp_must_remove(test, start, param->size);
}

/* I6: adding memory that fails half way leaves nothing, and takes nothing along. */
static void mhp_zone_device_hidden(struct kunit *test)
{
	try_hidden(test, MHP_NONE);
}

/* I6 I8: the same for memory that hosts its memmap. */
static void mhp_zone_device_hidden_self_hosted(struct kunit *test)
{
	if (!mhp_supports_memmap_on_memory())
		kunit_skip(test, "memory_hotplug.memmap_on_memory is off");
	try_hidden(test, MHP_MEMMAP_ON_MEMORY);
}

/* I4 I8: a device next to memory that hosts its memmap */
static void mhp_zone_device_self_hosted(struct kunit *test)
{
	u64 start = mhp_spare_start(test) + SZ_4M;
	unsigned long memmap = PHYS_PFN(PHYS_PFN(SZ_4M) * sizeof(struct page));

	if (!mhp_supports_memmap_on_memory())
		kunit_skip(test, "memory_hotplug.memmap_on_memory is off");
	mhp_must_add(test, 0, start, SZ_4M, MHP_MEMMAP_ON_MEMORY);
	KUNIT_ASSERT_EQ(test, mhp_online(start, SZ_4M, MMOP_ONLINE_MOVABLE), 0);
	mhp_must_add_device(test, start + SZ_4M, SZ_4M);
	mhp_must_add(test, 0, start + SZ_8M, SZ_4M, MHP_MEMMAP_ON_MEMORY);
	KUNIT_EXPECT_EQ(test, count_hosted(test, start, SZ_4M, start, start + SZ_4M), memmap);
	KUNIT_EXPECT_EQ(test, count_hosted(test, start + SZ_4M, SZ_4M, start, start + SZ_16M), 0UL);
	KUNIT_EXPECT_EQ(test, count_hosted(test, start + SZ_8M, SZ_4M, start + SZ_8M,
					   start + SZ_8M + SZ_4M), memmap);
	mhp_must_remove(test, start, SZ_4M);
	mhp_expect_offline(test, start + SZ_4M, SZ_4M);
	mhp_must_remove_device(test, start + SZ_4M);
	mhp_expect_offline(test, start + SZ_8M, SZ_4M);
	KUNIT_EXPECT_EQ(test, count_hosted(test, start + SZ_8M, SZ_4M, start + SZ_8M,
					   start + SZ_8M + SZ_4M), memmap);
}

static struct kunit_case mhp_zone_device_cases[] = {
	KUNIT_CASE_PARAM_ATTR(mhp_zone_device_lives, lives_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE_PARAM_ATTR(mhp_zone_device_lookups, shape_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE(mhp_zone_device_excludes),
	KUNIT_CASE_PARAM(mhp_zone_device_hidden, hidden_gen_params),
	KUNIT_CASE_PARAM(mhp_zone_device_hidden_self_hosted, hidden_gen_params),
	KUNIT_CASE(mhp_zone_device_self_hosted),
	{}
};

static struct kunit_suite mhp_zone_device_suite = {
	.name = "mhp_zone_device",
	.init = mhp_fixture_init_literal,
	.exit = mhp_fixture_exit,
	.test_cases = mhp_zone_device_cases,
};

kunit_test_suite(mhp_zone_device_suite);
