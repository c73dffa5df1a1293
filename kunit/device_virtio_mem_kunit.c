// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_virtio_mem: the virtio-mem driver with devices of the suite's own: what is plugged and
 * unplugged, in which order, and what becomes of it when the device refuses.
 */

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/sizes.h>

#include "device_virtio_mem.h"

static ulong vmem_seed;
module_param(vmem_seed, ulong, 0644);
MODULE_PARM_DESC(vmem_seed, "sizes and refusals of mhp_virtio_mem; 0: others each time");

/* All of the region is usable, wherever it lies, and nothing beside it is touched. */
static void mhp_virtio_mem_region(struct kunit *test)
{
	static const struct {
		u64 offset, size, block;
		/* Not usable, at either end */
		u64 before, behind;
	} regions[] = {
		{ SZ_128M, SZ_256M, SZ_2M },
		{ SZ_128M + SZ_2M, SZ_128M - SZ_2M, SZ_2M },
		{ SZ_256M - SZ_2M, SZ_4M, SZ_2M },
		{ SZ_128M + 3 * SZ_2M, 5 * SZ_2M, SZ_2M },
		{ SZ_128M + SZ_2M, SZ_64M + SZ_128M, SZ_1M },
		{ SZ_128M + SZ_1M, SZ_8M, SZ_1M, SZ_1M, SZ_1M },
		{ SZ_128M + SZ_1M, SZ_2M - SZ_1M + SZ_2M, SZ_1M, SZ_1M, 0 },
		{ SZ_128M + SZ_32M, SZ_256M, SZ_16M },
		{ SZ_128M + SZ_64M, SZ_64M + SZ_128M, SZ_64M },
	};
	struct vmem_device *dev;
	unsigned int i;
	u64 start, size;

	mhp_must_set_policy(test, MMOP_ONLINE_MOVABLE);
	for (i = 0; i < ARRAY_SIZE(regions); i++) {
		dev = vmem_must_plug_in(test, 0, regions[i].offset, regions[i].size,
					regions[i].block);
		start = vmem_start(dev) + regions[i].before;
		size = regions[i].size - regions[i].before - regions[i].behind;
		vmem_request(dev, regions[i].size);
		KUNIT_EXPECT_EQ_MSG(test, vmem_plugged(dev), size, "region %u", i);
		KUNIT_EXPECT_EQ_MSG(test, vmem_count_used(start, size), PHYS_PFN(size),
				    "region %u", i);
		mhp_expect_hole(test, ALIGN_DOWN(start - SZ_2M, SZ_2M), SZ_2M);
		mhp_expect_hole(test, start + size, SZ_2M);
		vmem_resize(dev, 0);
		mhp_expect_hole(test, mhp_spare_start(test) + SZ_128M, MAX_REGION - SZ_128M);
		vmem_pull_out(0);
	}
}

/* The usable part of a region grows: what is left of its last block comes then. */
static void mhp_virtio_mem_usable(struct kunit *test)
{
	struct vmem_device *dev = vmem_must_plug_in(test, 0, SZ_2M, SZ_256M, SZ_2M);

	mhp_must_set_policy(test, MMOP_ONLINE_MOVABLE);
	dev->config.usable_region_size = cpu_to_le64(5 * SZ_2M);
	vmem_request(dev, SZ_256M);
	KUNIT_EXPECT_EQ(test, vmem_plugged(dev), (u64)5 * SZ_2M);
	mhp_expect_hole(test, vmem_start(dev) + 5 * SZ_2M, SZ_2M);
	dev->config.usable_region_size = cpu_to_le64(SZ_256M);
	vmem_resize(dev, SZ_256M);
	vmem_expect_exact(dev);
	vmem_resize(dev, 0);
}

/* What is asked of the device: the least number of requests, none across memory blocks. */
static void mhp_virtio_mem_requests(struct kunit *test)
{
	struct vmem_device *dev = vmem_must_plug_in(test, 0, 0, MAX_REGION, SZ_2M);
	const u64 block = memory_block_size_bytes();

	if (block != SZ_128M)
		kunit_skip(test, "memory blocks of %#llx bytes", block);
	mhp_must_set_policy(test, MMOP_ONLINE_MOVABLE);
	vmem_forget(dev);
	vmem_resize(dev, SZ_2M);
	vmem_resize(dev, 31 * SZ_2M);
	vmem_resize(dev, 96 * SZ_2M);
	KUNIT_EXPECT_EQ(test, dev->nr_requests, 4);
	vmem_expect_request(dev, 0, VIRTIO_MEM_REQ_PLUG, 0, SZ_2M);
	vmem_expect_request(dev, 1, VIRTIO_MEM_REQ_PLUG, SZ_2M, 30 * SZ_2M);
	vmem_expect_request(dev, 2, VIRTIO_MEM_REQ_PLUG, 31 * SZ_2M, 33 * SZ_2M);
	vmem_expect_request(dev, 3, VIRTIO_MEM_REQ_PLUG, block, 32 * SZ_2M);

	/* From the end on; what is unplugged within an extent is the first to come again. */
	vmem_forget(dev);
	vmem_resize(dev, 94 * SZ_2M);
	KUNIT_EXPECT_EQ(test, dev->nr_requests, 2);
	vmem_expect_request(dev, 0, VIRTIO_MEM_REQ_UNPLUG, 95 * SZ_2M, SZ_2M);
	vmem_expect_request(dev, 1, VIRTIO_MEM_REQ_UNPLUG, 94 * SZ_2M, SZ_2M);
	vmem_expect_exact(dev);
	KUNIT_EXPECT_TRUE(test, pfn_valid(PHYS_PFN(vmem_start(dev) + 95 * SZ_2M)));
	vmem_forget(dev);
	vmem_resize(dev, 97 * SZ_2M);
	KUNIT_EXPECT_EQ(test, dev->nr_requests, 2);
	vmem_expect_request(dev, 0, VIRTIO_MEM_REQ_PLUG, 94 * SZ_2M, 2 * SZ_2M);
	vmem_expect_request(dev, 1, VIRTIO_MEM_REQ_PLUG, 96 * SZ_2M, SZ_2M);
	vmem_expect_exact(dev);
	vmem_resize(dev, 0);
	mhp_expect_hole(test, vmem_start(dev), 2 * block);
}

/* A sub-block is no smaller than a block of the device. */
static void mhp_virtio_mem_device_blocks(struct kunit *test)
{
	struct vmem_device *dev = vmem_must_plug_in(test, 0, SZ_16M, SZ_256M, SZ_16M);
	unsigned int i;

	mhp_must_set_policy(test, MMOP_ONLINE_MOVABLE);
	vmem_forget(dev);
	vmem_resize(dev, SZ_64M);
	vmem_resize(dev, SZ_256M);
	vmem_resize(dev, SZ_32M);
	vmem_resize(dev, SZ_128M);
	vmem_expect_exact(dev);
	/* Nor is it asked for less. */
	vmem_request(dev, SZ_128M + SZ_8M);
	KUNIT_EXPECT_EQ(test, vmem_plugged(dev), (u64)SZ_128M);
	vmem_resize(dev, 0);
	for (i = 0; i < min(dev->nr_requests, MAX_REQUESTS); i++)
		KUNIT_EXPECT_EQ(test, dev->requests[i].size % SZ_16M, 0ULL);
}

/* The device is busy, or has changed its mind: nothing has changed, and it is asked again. */
static void mhp_virtio_mem_refused(struct kunit *test)
{
	struct vmem_device *dev = vmem_must_plug_in(test, 0, SZ_2M, SZ_256M, SZ_2M);

	mhp_must_set_policy(test, MMOP_ONLINE_MOVABLE);
	/* At once, where it might have been a race with a change of the configuration */
	vmem_refuse(dev, 1, 1, VIRTIO_MEM_RESP_NACK);
	vmem_request(dev, SZ_2M);
	KUNIT_EXPECT_EQ(test, dev->nr_requests, 2);
	KUNIT_EXPECT_EQ(test, vmem_plugged(dev), (u64)SZ_2M);
	vmem_expect_exact(dev);
	vmem_resize(dev, 0);

	/* When a timer has expired, which takes longer than this, or memory has gone online */
	vmem_refuse(dev, 2, UINT_MAX, VIRTIO_MEM_RESP_BUSY);
	vmem_request(dev, SZ_256M);
	KUNIT_ASSERT_GE(test, dev->nr_requests, 2);
	KUNIT_EXPECT_EQ(test, vmem_plugged(dev), memory_block_size_bytes() - SZ_2M);
	vmem_expect_exact(dev);
	mhp_expect_hole(test, dev->requests[1].addr, dev->requests[1].size);
	vmem_forget(dev);
	vmem_resize(dev, SZ_256M);
	vmem_expect_exact(dev);

	/* What was to be unplugged is in use again, as far as it was not. */
	vmem_refuse(dev, 2, UINT_MAX, VIRTIO_MEM_RESP_BUSY);
	vmem_request(dev, SZ_256M - 4 * SZ_2M);
	KUNIT_EXPECT_EQ(test, vmem_plugged(dev), (u64)SZ_256M - SZ_2M);
	vmem_expect_exact(dev);
	vmem_forget(dev);
	vmem_resize(dev, 0);
	mhp_expect_hole(test, vmem_start(dev), SZ_256M);

	/* A device that does not know its own memory is not asked for anything any more. */
	vmem_refuse(dev, 1, 1, VIRTIO_MEM_RESP_ERROR);
	vmem_request(dev, SZ_8M);
	vmem_wait(dev);
	KUNIT_EXPECT_EQ(test, dev->nr_requests, 1);
	KUNIT_EXPECT_EQ(test, vmem_plugged(dev), 0ULL);
	mhp_expect_hole(test, vmem_start(dev), SZ_256M);
}

/* I8: what hosts memmap goes when the memory that it describes has gone, in one go. */
static void mhp_virtio_mem_hosts(struct kunit *test)
{
	struct vmem_device *dev = vmem_must_plug_in(test, 0, SZ_2M, SZ_64M, SZ_2M);
	const u64 hosts = PFN_PHYS((u64)PFN_UP(PHYS_PFN(SZ_64M) * sizeof(struct page)));
	struct mhp_backing backing;
	unsigned int i;

	if (!mhp_supports_memmap_on_memory())
		kunit_skip(test, "memory_hotplug.memmap_on_memory is off");
	mhp_must_set_policy(test, MMOP_ONLINE_MOVABLE);
	vmem_resize(dev, SZ_64M);
	mhp_find_backing(test, vmem_start(dev), SZ_64M, vmem_start(dev),
			 vmem_start(dev) + hosts, &backing);
	KUNIT_EXPECT_EQ(test, backing.within, PHYS_PFN(hosts));
	KUNIT_EXPECT_EQ(test, backing.outside, 0UL);
	vmem_forget(dev);
	vmem_resize(dev, SZ_2M);
	for (i = 0; i < min(dev->nr_requests, MAX_REQUESTS); i++)
		KUNIT_EXPECT_NE(test, dev->requests[i].addr, vmem_start(dev));
	KUNIT_EXPECT_TRUE(test, test_bit(0, dev->plugged));
	KUNIT_EXPECT_TRUE(test, pfn_valid(PHYS_PFN(vmem_start(dev) + SZ_64M - SZ_2M)));
	vmem_forget(dev);
	vmem_resize(dev, 0);
	KUNIT_EXPECT_EQ(test, dev->nr_requests, 1);
	vmem_expect_request(dev, 0, VIRTIO_MEM_REQ_UNPLUG, 0, SZ_2M);
	mhp_expect_hole(test, vmem_start(dev), SZ_64M);
}

/* Memory that is offline is unplugged where it is; what goes online then is what is plugged. */
static void mhp_virtio_mem_offline(struct kunit *test)
{
	struct vmem_device *dev = vmem_must_plug_in(test, 0, SZ_2M, SZ_64M, SZ_2M);
	u64 start = vmem_start(dev);

	mhp_must_set_policy(test, MMOP_OFFLINE);
	vmem_resize(dev, 8 * SZ_2M);
	mhp_expect_offline(test, start, 8 * SZ_2M);
	vmem_resize(dev, 5 * SZ_2M);
	mhp_expect_offline(test, start, 8 * SZ_2M);
	KUNIT_EXPECT_EQ(test, mhp_online(start, 8 * SZ_2M, MMOP_ONLINE_MOVABLE), 0);
	vmem_expect_exact(dev);
	/* What is not plugged does not keep it online. */
	KUNIT_EXPECT_EQ(test, mhp_offline(start, 8 * SZ_2M), 0);
	mhp_expect_offline(test, start, 8 * SZ_2M);
	KUNIT_EXPECT_EQ(test, mhp_online(start, 8 * SZ_2M, MMOP_ONLINE_MOVABLE), 0);
	vmem_resize(dev, 8 * SZ_2M);
	vmem_expect_exact(dev);
	vmem_resize(dev, SZ_2M);
	KUNIT_EXPECT_EQ(test, mhp_offline(start, 8 * SZ_2M), 0);
	vmem_resize(dev, 0);
	mhp_expect_hole(test, start, 8 * SZ_2M);
}

/* A page that cannot move keeps its sub-block, and its extent, until it is free. */
static void mhp_virtio_mem_busy(struct kunit *test)
{
	struct vmem_device *dev = vmem_must_plug_in(test, 0, SZ_2M, SZ_64M, SZ_2M);
	unsigned long pfn = PHYS_PFN(vmem_start(dev) + 9 * SZ_2M) + 5;

	mhp_must_set_policy(test, MMOP_ONLINE_MOVABLE);
	vmem_resize(dev, SZ_64M);
	mhp_must_take_pages(test, pfn, pfn + 1, GFP_KERNEL);
	vmem_request(dev, 0);
	KUNIT_EXPECT_TRUE(test, test_bit(9, dev->plugged));
	/* With what hosts their memmap, if anything does */
	KUNIT_EXPECT_LE(test, vmem_plugged(dev), (u64)2 * SZ_2M);
	vmem_expect_exact(dev);
	free_contig_range(pfn, 1);
	vmem_resize(dev, 0);
	mhp_expect_hole(test, vmem_start(dev), SZ_64M);
}

/* R1: two devices in one memory block have nothing to do with each other. */
static void mhp_virtio_mem_two(struct kunit *test)
{
	struct vmem_device *one = vmem_must_plug_in(test, 0, SZ_2M, 23 * SZ_2M, SZ_2M);
	struct vmem_device *two = vmem_must_plug_in(test, 1, 24 * SZ_2M, SZ_128M, SZ_1M);

	mhp_must_set_policy(test, MMOP_ONLINE_MOVABLE);
	vmem_resize(one, 23 * SZ_2M);
	vmem_resize(two, SZ_128M);
	vmem_expect_exact(one);
	vmem_expect_exact(two);
	vmem_resize(one, 0);
	mhp_expect_hole(test, vmem_start(one), 23 * SZ_2M);
	vmem_expect_exact(two);
	vmem_resize(one, SZ_2M);
	vmem_resize(two, 0);
	mhp_expect_hole(test, vmem_start(two), SZ_128M);
	vmem_expect_exact(one);
	vmem_resize(one, 0);
}

/* Sizes and refusals at random: what is plugged is in use, at any time, and nothing else. */
static void mhp_virtio_mem_random(struct kunit *test)
{
	struct vmem_device *dev = vmem_must_plug_in(test, 0, SZ_64M + SZ_2M, SZ_256M, SZ_2M);
	unsigned long seed = vmem_seed ?: get_random_u32();
	struct rnd_state sizes, mood;
	unsigned int round;

	kunit_info(test, "mhp_kunit.vmem_seed=%lu\n", seed);
	prandom_seed_state(&sizes, seed);
	prandom_seed_state(&mood, seed + 1);
	mhp_must_set_policy(test, MMOP_ONLINE_MOVABLE);
	dev->mood = &mood;
	for (round = 0; round < 24; round++) {
		vmem_resize(dev, prandom_u32_state(&sizes) % 129 * SZ_2M);
		vmem_expect_exact(dev);
	}
	dev->mood = NULL;
	vmem_resize(dev, 0);
	mhp_expect_hole(test, mhp_spare_start(test), MAX_REGION);
}

static struct kunit_case mhp_virtio_mem_cases[] = {
	KUNIT_CASE(mhp_virtio_mem_region),
	KUNIT_CASE(mhp_virtio_mem_usable),
	KUNIT_CASE(mhp_virtio_mem_requests),
	KUNIT_CASE(mhp_virtio_mem_device_blocks),
	KUNIT_CASE(mhp_virtio_mem_refused),
	KUNIT_CASE(mhp_virtio_mem_hosts),
	KUNIT_CASE(mhp_virtio_mem_offline),
	KUNIT_CASE(mhp_virtio_mem_busy),
	KUNIT_CASE(mhp_virtio_mem_two),
	KUNIT_CASE(mhp_virtio_mem_random),
	{}
};

static struct kunit_suite mhp_virtio_mem_suite = {
	.name = "mhp_virtio_mem",
	.suite_init = vmem_register_probe,
	.suite_exit = vmem_unregister_probe,
	.init = vmem_init,
	.exit = vmem_exit,
	.test_cases = mhp_virtio_mem_cases,
};

kunit_test_suite(mhp_virtio_mem_suite);
