// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_stock: what a kernel without the series guarantees for whole memory blocks.
 *
 * The same cases pass there. So they use nothing but what both export, and sysfs.
 */

#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "orders.h"
#include "sysfs_stock.h"
#include "vmemmap.h"

/* I7: a new block is offline, and sysfs shows it, with its node, until it goes. */
static void mhp_stock_add_block(struct kunit *test)
{
	u64 start = block(test, 1);
	char text[32];

	mhp_must_add(test, 0, start, block_size(), MHP_NONE);
	expect_block_offline(test, start);
	snprintf(text, sizeof(text), "%08llx", start / block_size());
	expect_file(test, start, "phys_index", text);
	expect_file(test, start, "phys_device", "0");
	KUNIT_EXPECT_TRUE(test, has_file(start, "node0"));
	KUNIT_EXPECT_TRUE(test, node_has_block(0, start));
	mhp_expect_hole(test, block(test, 0), block_size());
	mhp_expect_hole(test, block(test, 2), block_size());

	KUNIT_ASSERT_EQ(test, remove_memory(start, block_size()), 0);
	KUNIT_EXPECT_FALSE(test, has_file(start, ""));
	KUNIT_EXPECT_FALSE(test, node_has_block(0, start));
	mhp_expect_hole(test, start, block_size());
}

/* I7: sysfs tells the size of a block. */
static void mhp_stock_block_size(struct kunit *test)
{
	char buf[32], text[32];

	KUNIT_ASSERT_GT(test, mhp_sysfs_read("devices/system/memory/block_size_bytes", buf,
					     sizeof(buf)), 0);
	snprintf(text, sizeof(text), "%llx", block_size());
	KUNIT_EXPECT_STREQ(test, strim(buf), text);
}

#define NR_BLOCKS	3

/* I7: the blocks of one add call go on- and offline and away one by one, in any order. */
static void mhp_stock_many_blocks(struct kunit *test)
{
	const struct order_param *param = test->param_value;
	int i, j;

	mhp_must_add(test, 0, block(test, 0), NR_BLOCKS * block_size(), MHP_NONE);
	for (i = 0; i < NR_BLOCKS; i++) {
		expect_block_offline(test, block(test, i));
		KUNIT_ASSERT_EQ(test, write_state(block(test, i), "online_movable"), 0);
		expect_block_online(test, block(test, i));
	}
	for (i = 0; i < NR_BLOCKS; i++) {
		u64 start = block(test, param->order[i]);

		KUNIT_ASSERT_EQ(test, write_state(start, "offline"), 0);
		expect_block_offline(test, start);
		KUNIT_ASSERT_EQ(test, remove_memory(start, block_size()), 0);
		KUNIT_EXPECT_FALSE(test, has_file(start, ""));
		for (j = i + 1; j < NR_BLOCKS; j++)
			expect_block_online(test, block(test, param->order[j]));
	}
}

static const struct bad_param {
	const char *name;
	u64 offset;
	u64 size;
	int err;
} bad_adds[] = {
	{ "one_page", 0, SZ_4K, -EINVAL },
	{ "unaligned_start", SZ_4K, SZ_128M, -EINVAL },
	{ "unaligned_size", 0, SZ_128M + SZ_4K, -EINVAL },
	{ "same_block", SZ_256M, SZ_128M, -EEXIST },
	{ "begins_with_it", SZ_256M, SZ_256M, -EEXIST },
	{ "ends_with_it", SZ_128M, SZ_256M, -EEXIST },
	{ "beyond_addresses", 1ULL << 62, SZ_128M, -E2BIG },
};

KUNIT_ARRAY_PARAM_DESC(bad, bad_adds, name);

/*
 * I7: what cannot be added is refused as ever. (Without the series, a node that is out
 * of range is a BUG, and one that is not possible or a size of 0 are no -EINVAL.)
 */
static void mhp_stock_bad_add(struct kunit *test)
{
	const struct bad_param *bad = test->param_value;
	struct mhp_snapshot before;

	if (block_size() != SZ_128M)
		kunit_skip(test, "blocks are not of 128 MiB");
	mhp_must_add(test, 0, block(test, 2), block_size(), MHP_NONE);
	mhp_take_snapshot(test, &before);
	KUNIT_EXPECT_EQ(test, add_memory(0, mhp_spare_start(test) + bad->offset, bad->size,
					 MHP_NONE), bad->err);
	mhp_expect_snapshot(test, &before, "after the refusal");
}

static void refuses_nonsense(struct kunit *test, u64 start)
{
	static const char * const nonsense[] = { "on", "Online", "online all", "1" };
	int i;

	for (i = 0; i < ARRAY_SIZE(nonsense); i++)
		KUNIT_EXPECT_EQ_MSG(test, write_state(start, nonsense[i]), -EINVAL, "%s",
				    nonsense[i]);
}

/* I7: the state file takes its words, and what is so already is -EINVAL. */
static void mhp_stock_state_file(struct kunit *test)
{
	u64 start = block(test, 0);

	mhp_must_add(test, 0, start, block_size(), MHP_NONE);
	KUNIT_EXPECT_EQ(test, write_state(start, "offline"), -EINVAL);
	refuses_nonsense(test, start);
	expect_block_offline(test, start);
	KUNIT_ASSERT_EQ(test, write_state(start, "online_movable\n"), 0);
	expect_block_online(test, start);
	KUNIT_EXPECT_EQ(test, write_state(start, "online"), -EINVAL);
	KUNIT_EXPECT_EQ(test, write_state(start, "online_kernel"), -EINVAL);
	refuses_nonsense(test, start);
	expect_block_online(test, start);
	KUNIT_ASSERT_EQ(test, write_state(start, "offline\n"), 0);
	expect_block_offline(test, start);
	KUNIT_EXPECT_EQ(test, write_state(start, "offline"), -EINVAL);
}

static int write_online(u64 start, const char *text)
{
	return write_file(start, "online", text);
}

/* I7: memory goes to a kernel zone if that is asked for, and if nothing is. */
static void mhp_stock_kernel_zone(struct kunit *test)
{
	u64 start = block(test, 0);
	const int zone = mhp_kernel_zone(0, start, block_size());
	int turn;

	mhp_withhold(test);
	mhp_must_add(test, 0, start, block_size(), MHP_NONE);
	expect_file(test, start, "removable", "1");
	for (turn = 0; turn < 3; turn++) {
		expect_file(test, start, "online", "0");
		if (turn == 0)
			KUNIT_ASSERT_EQ(test, write_state(start, "online_kernel"), 0);
		else if (turn == 1)
			KUNIT_ASSERT_EQ(test, write_state(start, "online"), 0);
		else
			KUNIT_ASSERT_EQ(test, write_online(start, "1"), 0);
		expect_file(test, start, "online", "1");
		expect_file(test, start, "state", "online");
		expect_file(test, start, "valid_zones", NODE_DATA(0)->node_zones[zone].name);
		mhp_expect_online(test, start, block_size(), 0, zone);
		/* What is so already is no error for this file. */
		KUNIT_EXPECT_EQ(test, write_online(start, "1"), 0);
		KUNIT_EXPECT_EQ(test, write_online(start, "maybe"), -EINVAL);
		mhp_expect_online(test, start, block_size(), 0, zone);
		KUNIT_ASSERT_EQ(test, turn ? write_online(start, "0") :
				      write_state(start, "offline"), 0);
		expect_block_offline(test, start);
	}
}

static const unsigned long online_actions[] = {
	MHP_PREPARE_ONLINE MEM_GOING_ONLINE, MEM_ONLINE,
};

static const unsigned long offline_actions[] = {
	MEM_GOING_OFFLINE, MEM_OFFLINE, MHP_FINISH_OFFLINE
};

/* I7: notifiers are told the same, in the same order. */
static void mhp_stock_notifications(struct kunit *test)
{
	u64 start = block(test, 0);

	mhp_forget_calls();
	mhp_must_add(test, 0, start, block_size(), MHP_NONE);
	KUNIT_EXPECT_NULL(test, mhp_get_call(0));
	KUNIT_ASSERT_EQ(test, write_state(start, "online_movable"), 0);
	expect_calls(test, online_actions, ARRAY_SIZE(online_actions), start, block_size());
#ifdef MHP_HAS_FINISH_OFFLINE
	KUNIT_EXPECT_EQ(test, mhp_get_call(0)->arg.altmap_nr_pages, 0UL);
#endif
	mhp_forget_calls();
	KUNIT_ASSERT_EQ(test, write_state(start, "offline"), 0);
	expect_calls(test, offline_actions, ARRAY_SIZE(offline_actions), start, block_size());
	mhp_forget_calls();
	KUNIT_ASSERT_EQ(test, remove_memory(start, block_size()), 0);
	KUNIT_EXPECT_NULL(test, mhp_get_call(0));
}

/* I7: a veto of any kind ends with what stock calls, and the block is as it was. */
static void mhp_stock_vetoes(struct kunit *test)
{
	static const unsigned long no_online[] = {
		MHP_PREPARE_ONLINE MEM_GOING_ONLINE, MEM_CANCEL_ONLINE, MHP_FINISH_OFFLINE
	};
	static const unsigned long no_offline[] = { MEM_GOING_OFFLINE, MEM_CANCEL_OFFLINE };
	u64 start = block(test, 0);
	struct mhp_snapshot before;

	mhp_must_add(test, 0, start, block_size(), MHP_NONE);
	mhp_take_snapshot(test, &before);
#ifdef MHP_HAS_FINISH_OFFLINE
	mhp_veto(test, MEM_PREPARE_ONLINE, 1, -ENOSPC);
	mhp_forget_calls();
	KUNIT_EXPECT_EQ(test, write_state(start, "online_movable"), -ENOSPC);
	expect_calls(test, no_online, 1, start, block_size());
#endif
	mhp_veto(test, MEM_GOING_ONLINE, 1, -ENOSPC);
	mhp_forget_calls();
	KUNIT_EXPECT_EQ(test, write_state(start, "online_movable"), -ENOSPC);
	expect_calls(test, no_online, ARRAY_SIZE(no_online), start, block_size());
	expect_block_offline(test, start);
	mhp_expect_snapshot(test, &before, "not online");

	mhp_veto(test, 0, 0, 0);
	KUNIT_ASSERT_EQ(test, write_state(start, "online_movable"), 0);
	mhp_take_snapshot(test, &before);
	mhp_veto(test, MEM_GOING_OFFLINE, 1, -ENOSPC);
	mhp_forget_calls();
	KUNIT_EXPECT_EQ(test, write_state(start, "offline"), -ENOSPC);
	expect_calls(test, no_offline, ARRAY_SIZE(no_offline), start, block_size());
	expect_block_online(test, start);
	mhp_expect_snapshot(test, &before, "not offline");
}

/* I7: pages are present from going online to going offline, and managed. */
static void mhp_stock_counters(struct kunit *test)
{
	const struct mhp_zone_snapshot *a, *b;
	struct mhp_snapshot before, now;
	u64 start = block(test, 0);

	mhp_take_snapshot(test, &before);
	mhp_must_add(test, 0, start, block_size(), MHP_NONE);
	mhp_take_snapshot(test, &now);
	KUNIT_EXPECT_EQ(test, now.ram_bytes, before.ram_bytes + block_size());
	KUNIT_EXPECT_EQ(test, now.totalram, before.totalram);
	KUNIT_ASSERT_EQ(test, write_state(start, "online_movable"), 0);
	mhp_take_snapshot(test, &now);
	a = &before.zones[0][ZONE_MOVABLE];
	b = &now.zones[0][ZONE_MOVABLE];
	KUNIT_EXPECT_EQ(test, b->present, a->present + block_pages());
	KUNIT_EXPECT_EQ(test, b->managed, a->managed + block_pages());
	KUNIT_EXPECT_EQ(test, b->early, a->early);
	if (!a->spanned) {
		KUNIT_EXPECT_EQ(test, b->start_pfn, PHYS_PFN(start));
		KUNIT_EXPECT_EQ(test, b->spanned, block_pages());
	}
	KUNIT_EXPECT_EQ(test, now.node_present[0], before.node_present[0] + block_pages());
	KUNIT_EXPECT_EQ(test, now.totalram, before.totalram + block_pages());
}

/* I7: memory that is online is -EBUSY for remove_memory(), and stays. */
static void mhp_stock_online_stays(struct kunit *test)
{
	u64 start = block(test, 0);

	mhp_must_add(test, 0, start, 2 * block_size(), MHP_NONE);
	KUNIT_ASSERT_EQ(test, write_state(block(test, 1), "online_movable"), 0);
	KUNIT_EXPECT_EQ(test, remove_memory(start, 2 * block_size()), -EBUSY);
	KUNIT_EXPECT_EQ(test, remove_memory(block(test, 1), block_size()), -EBUSY);
	expect_block_offline(test, start);
	expect_block_online(test, block(test, 1));
}

/* Pages of [start, start + size) that are free, and how many of them do not look so */
static unsigned long look_at_free_pages(u64 start, u64 size, unsigned long *bad)
{
	unsigned long pfn = PHYS_PFN(start), end = PHYS_PFN(start + size), nr = 0, i, flags;
	struct zone *zone = page_zone(pfn_to_page(pfn));

	*bad = 0;
	spin_lock_irqsave(&zone->lock, flags);
	for (; pfn < end; pfn++) {
		struct page *page = pfn_to_page(pfn);

		if (!PageBuddy(page))
			continue;
		nr += 1UL << page_private(page);
		for (i = 0; i < 1UL << page_private(page); i++) {
			struct page *p = page + i;

			*bad += page_count(p) || p->mapping || page_zone(p) != zone ||
				page_to_pfn(p) != pfn + i || PageOffline(p) ||
				(i && (atomic_read(&p->_mapcount) != -1 || page_private(p) ||
				       *mhp_page_flags(p) & PAGE_FLAGS_CHECK_AT_PREP));
#ifdef CONFIG_MEMCG
			*bad += !!p->memcg_data;
#endif
		}
		pfn += i - 1;
	}
	spin_unlock_irqrestore(&zone->lock, flags);
	return nr;
}

/* I7: each struct page of memory that went online, also again, is that of a free page. */
static void mhp_stock_free_pages(struct kunit *test)
{
	u64 start = block(test, 0);
	unsigned long bad;
	int i;

	mhp_must_add(test, 0, start, block_size(), MHP_NONE);
	for (i = 0; i < 2; i++) {
		KUNIT_ASSERT_EQ(test, write_state(start, "online_movable"), 0);
		/* Somebody else may have some of it. */
		KUNIT_EXPECT_GT(test, look_at_free_pages(start, block_size(), &bad),
				block_pages() / 2);
		KUNIT_EXPECT_EQ(test, bad, 0);
		KUNIT_ASSERT_EQ(test, write_state(start, "offline"), 0);
	}
}

/* I7: offline_and_remove_memory() takes what is on- and offline, and nothing unaligned. */
static void mhp_stock_offline_and_remove(struct kunit *test)
{
	u64 start = block(test, 0);

	mhp_must_add(test, 0, start, 2 * block_size(), MHP_NONE);
	KUNIT_ASSERT_EQ(test, write_state(block(test, 1), "online_movable"), 0);
	KUNIT_EXPECT_EQ(test, offline_and_remove_memory(start, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, offline_and_remove_memory(start + PAGE_SIZE, block_size()),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, offline_and_remove_memory(start, block_size() + PAGE_SIZE),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, offline_and_remove_memory(start, 2 * block_size()), 0);
	mhp_expect_hole(test, start, 2 * block_size());
}

/* I7: if the last block cannot go offline, the others come back in their zone. */
static void mhp_stock_offline_rolls_back(struct kunit *test)
{
	struct mhp_snapshot before;
	int i;

	mhp_must_add(test, 0, block(test, 0), NR_BLOCKS * block_size(), MHP_NONE);
	/* The first stays offline, also when the others come back. */
	for (i = 1; i < NR_BLOCKS; i++)
		KUNIT_ASSERT_EQ(test, write_state(block(test, i), "online_movable"), 0);
	mhp_take_snapshot(test, &before);
	mhp_veto(test, MEM_GOING_OFFLINE, NR_BLOCKS - 1, -EBUSY);
	KUNIT_EXPECT_EQ(test, offline_and_remove_memory(block(test, 0),
							NR_BLOCKS * block_size()), -EBUSY);
	mhp_expect_snapshot(test, &before, "after a veto");
	expect_block_offline(test, block(test, 0));
	for (i = 1; i < NR_BLOCKS; i++)
		expect_block_online(test, block(test, i));
}

struct ram {
	unsigned int nr;
	u64 bytes;
	unsigned int managed;
};

static int count_ram(struct resource *res, void *arg)
{
	struct ram *ram = arg;

	ram->nr++;
	ram->bytes += resource_size(res);
	ram->managed += !!(res->flags & IORESOURCE_SYSRAM_DRIVER_MANAGED);
	return 0;
}

/* System RAM of the resource tree within the spare memory */
static struct ram spare_ram(struct kunit *test)
{
	struct ram ram = { };

	walk_iomem_res_desc(IORES_DESC_NONE, IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY,
			    mhp_spare_start(test), mhp_spare_start(test) + mhp_spare_size() - 1,
			    &ram, count_ram);
	return ram;
}

/* I7: adjoining resources become one if both ask for it, and are cut on removal. */
static void mhp_stock_merged_resources(struct kunit *test)
{
	struct ram ram;

	mhp_must_add(test, 0, block(test, 0), block_size(), MHP_MERGE_RESOURCE);
	mhp_must_add(test, 0, block(test, 2), block_size(), MHP_MERGE_RESOURCE);
	KUNIT_EXPECT_EQ(test, spare_ram(test).nr, 2);
	mhp_must_add(test, 0, block(test, 1), block_size(), MHP_MERGE_RESOURCE);
	ram = spare_ram(test);
	KUNIT_EXPECT_EQ(test, ram.nr, 1);
	KUNIT_EXPECT_EQ(test, ram.bytes, NR_BLOCKS * block_size());
	KUNIT_ASSERT_EQ(test, remove_memory(block(test, 1), block_size()), 0);
	ram = spare_ram(test);
	KUNIT_EXPECT_EQ(test, ram.nr, 2);
	KUNIT_EXPECT_EQ(test, ram.bytes, 2 * block_size());
}

/* I7: a driver's memory has a name of its own, of the form that is asked for. */
static void mhp_stock_driver_managed(struct kunit *test)
{
	u64 start = block(test, 0);
	struct ram ram;

	KUNIT_EXPECT_EQ(test, add_memory_driver_managed(0, start, block_size(), "mhp_kunit",
							MHP_NONE), -EINVAL);
	KUNIT_EXPECT_EQ(test, add_memory_driver_managed(0, start, block_size(),
							"System RAM (mhp_kunit", MHP_NONE),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, spare_ram(test).nr, 0);
	KUNIT_ASSERT_EQ(test, add_memory_driver_managed(0, start, block_size(),
							"System RAM (mhp_kunit)", MHP_NONE), 0);
	ram = spare_ram(test);
	KUNIT_EXPECT_EQ(test, ram.nr, 1);
	KUNIT_EXPECT_EQ(test, ram.managed, 1);
	KUNIT_EXPECT_EQ(test, ram.bytes, block_size());
}

/* I7: a block's memmap fills its first pages, is mapped by huge pages, and is not managed. */
static void mhp_stock_memmap_on_memory(struct kunit *test)
{
	unsigned long memmap = block_pages() * sizeof(struct page), page_size, wrong = 0, at;
	u64 start = block(test, 1), backing;
	const struct mhp_zone_snapshot *a, *b;
	struct mhp_snapshot before, now;

	if (!mhp_supports_memmap_on_memory())
		kunit_skip(test, "memory_hotplug.memmap_on_memory is off");
	if (!IS_ALIGNED(memmap, PMD_SIZE))
		kunit_skip(test, "memmap does not fill huge pages");
	mhp_take_snapshot(test, &before);
	mhp_must_add(test, 0, start, block_size(), MHP_MEMMAP_ON_MEMORY);
	for (at = 0; at < memmap; at += PAGE_SIZE) {
		backing = mhp_virt_to_backing((unsigned long)pfn_to_page(PHYS_PFN(start)) + at,
					      &page_size);
		wrong += backing != start + at || page_size != PMD_SIZE;
	}
	KUNIT_EXPECT_EQ(test, wrong, 0UL);

	mhp_forget_calls();
	KUNIT_ASSERT_EQ(test, write_state(start, "online_movable"), 0);
	expect_calls(test, online_actions, ARRAY_SIZE(online_actions), start + memmap,
		     block_size() - memmap);
#ifdef MHP_HAS_FINISH_OFFLINE
	KUNIT_EXPECT_EQ(test, mhp_get_call(0)->arg.altmap_start_pfn, PHYS_PFN(start));
	KUNIT_EXPECT_EQ(test, mhp_get_call(0)->arg.altmap_nr_pages, PHYS_PFN(memmap));
#endif
	mhp_take_snapshot(test, &now);
	a = &before.zones[0][ZONE_MOVABLE];
	b = &now.zones[0][ZONE_MOVABLE];
	KUNIT_EXPECT_EQ(test, b->present, a->present + block_pages());
	KUNIT_EXPECT_EQ(test, b->managed, a->managed + block_pages() - PHYS_PFN(memmap));
	wrong = 0;
	for (at = 0; at < block_pages(); at++) {
		struct page *page = pfn_to_online_page(PHYS_PFN(start) + at);

		wrong += !page || PageVmemmapSelfHosted(page) != (at < PHYS_PFN(memmap));
	}
	KUNIT_EXPECT_EQ(test, wrong, 0UL);

	mhp_forget_calls();
	KUNIT_ASSERT_EQ(test, write_state(start, "offline"), 0);
	expect_calls(test, offline_actions, ARRAY_SIZE(offline_actions), start + memmap,
		     block_size() - memmap);
#ifdef MHP_HAS_FINISH_OFFLINE
	KUNIT_EXPECT_EQ(test, mhp_get_call(2)->arg.altmap_nr_pages, PHYS_PFN(memmap));
#endif
}

/* I7: a group stays as long as it has blocks. */
static void mhp_stock_groups(struct kunit *test)
{
	u64 start = block(test, 0);
	int group;

	KUNIT_EXPECT_EQ(test, memory_group_register_static(0, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, memory_group_register_dynamic(0, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, memory_group_register_dynamic(0, block_pages() + 1), -EINVAL);
	group = mhp_must_register_group(test, 2 * block_pages());
	KUNIT_ASSERT_EQ(test, add_memory(group, start, block_size(), MHP_NID_IS_MGID), 0);
	KUNIT_EXPECT_EQ(test, memory_group_unregister(group), -EBUSY);
	KUNIT_ASSERT_EQ(test, write_state(start, "online_movable"), 0);
	KUNIT_EXPECT_EQ(test, memory_group_unregister(group), -EBUSY);
	KUNIT_ASSERT_EQ(test, offline_and_remove_memory(start, block_size()), 0);
	mhp_must_unregister_group(test, group);
	KUNIT_EXPECT_EQ(test, add_memory(group, start, block_size(), MHP_NID_IS_MGID),
			-EINVAL);
}

/* I7: with a policy, blocks are online when they have been added. */
static void mhp_stock_auto_online(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, mhp_sysfs_write(MHP_AUTO_ONLINE, "nonsense"), -EINVAL);
	mhp_must_set_policy(test, MMOP_ONLINE_MOVABLE);
	mhp_must_add(test, 0, block(test, 0), 2 * block_size(), MHP_NONE);
	expect_block_online(test, block(test, 0));
	expect_block_online(test, block(test, 1));
	/* Who refuses to go online stays offline, and has been added all the same. */
	mhp_veto(test, MEM_GOING_ONLINE, 1, -ENOMEM);
	mhp_must_add(test, 0, block(test, 2), block_size(), MHP_NONE);
	expect_block_offline(test, block(test, 2));
}

/* I5: many rounds end where they began. */
static void mhp_stock_rounds(struct kunit *test)
{
	u64 start = block(test, 0);
	struct mhp_snapshot before;
	int i;

	mhp_take_snapshot(test, &before);
	for (i = 0; i < 5; i++) {
		mhp_must_add(test, 0, start, 2 * block_size(), MHP_NONE);
		KUNIT_ASSERT_EQ(test, write_state(start, "online_movable"), 0);
		KUNIT_ASSERT_EQ(test, offline_and_remove_memory(start, 2 * block_size()), 0);
		mhp_expect_snapshot(test, &before, "after a round");
	}
}

static struct kunit_case mhp_stock_cases[] = {
	KUNIT_CASE(mhp_stock_block_size),
	KUNIT_CASE(mhp_stock_add_block),
	KUNIT_CASE_PARAM_ATTR(mhp_stock_many_blocks, order_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE_PARAM(mhp_stock_bad_add, bad_gen_params),
	KUNIT_CASE(mhp_stock_state_file),
	KUNIT_CASE_SLOW(mhp_stock_kernel_zone),
	KUNIT_CASE(mhp_stock_notifications),
	KUNIT_CASE(mhp_stock_vetoes),
	KUNIT_CASE(mhp_stock_counters),
	KUNIT_CASE(mhp_stock_online_stays),
	KUNIT_CASE(mhp_stock_free_pages),
	KUNIT_CASE(mhp_stock_offline_and_remove),
	KUNIT_CASE_SLOW(mhp_stock_offline_rolls_back),
	KUNIT_CASE(mhp_stock_merged_resources),
	KUNIT_CASE(mhp_stock_driver_managed),
	KUNIT_CASE(mhp_stock_memmap_on_memory),
	KUNIT_CASE(mhp_stock_groups),
	KUNIT_CASE(mhp_stock_auto_online),
	KUNIT_CASE_SLOW(mhp_stock_rounds),
	{}
};

static struct kunit_suite mhp_stock_suite = {
	.name = "mhp_stock",
	.init = mhp_fixture_init,
	.exit = mhp_fixture_exit,
	.test_cases = mhp_stock_cases,
};

kunit_test_suite(mhp_stock_suite);
