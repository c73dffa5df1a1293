// SPDX-License-Identifier: GPL-2.0
/*
 * Spare memory: where it is, and what can be done to it.
 *
 * Somebody must say where it is: what looks unused may be anything.
 */

#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sizes.h>

#include "fixture.h"
#include "probe.h"

static unsigned long long spare_start;
module_param(spare_start, ullong, 0444);
MODULE_PARM_DESC(spare_start, "physical address of memory to plug, which nobody uses");

static unsigned long long spare_size;
module_param(spare_size, ullong, 0444);
MODULE_PARM_DESC(spare_size, "bytes of it; 0: there is none, and cases are skipped");

/*
 * The blocks that are spare as a whole, and where that begins which is spare before, as
 * the rest of a block that boot memory ends in
 */
static u64 blocks_start, blocks_end, edge_start;

/**
 * mhp_spare_start() - where the memory begins that cases may plug
 * @test: the case
 *
 * Return: physical address in bytes, aligned to a memory block
 */
u64 mhp_spare_start(struct kunit *test)
{
	return blocks_start;
}

/**
 * mhp_spare_size() - how much memory cases may plug
 *
 * Return: bytes, a multiple of the memory block size
 */
u64 mhp_spare_size(void)
{
	return blocks_end - blocks_start;
}

/**
 * mhp_spare_first() - where the memory begins that cases may plug, with that which shares
 *	a block with boot memory
 *
 * Return: physical address in bytes
 */
u64 mhp_spare_first(void)
{
	return edge_start;
}

/**
 * mhp_least_size() - the least that can be added
 *
 * Return: bytes; what is added must be aligned to it
 */
u64 mhp_least_size(void)
{
#ifdef CONFIG_MHP_SUBSECTION
	return mhp_granule_bytes();
#else
	return memory_block_size_bytes();
#endif
}

/**
 * mhp_kernel_zone() - the zone that a range goes online in for the kernel
 * @nid: the node
 * @start: physical address in bytes
 * @size: bytes
 *
 * Return: the lowest one whose span has a part of the range, or ZONE_NORMAL. On
 * arm64, ZONE_DMA may span spare memory, as it reaches to where firmware has some.
 */
int mhp_kernel_zone(int nid, u64 start, u64 size)
{
	int zid;

	for (zid = 0; zid < ZONE_NORMAL; zid++) {
		if (zone_intersects(&NODE_DATA(nid)->node_zones[zid], PHYS_PFN(start),
				    PHYS_PFN(size)))
			break;
	}
	return zid;
}

/**
 * mhp_edge_start() - where the memory begins that shares a block with boot memory
 * @test: the case, which is skipped if there is none
 *
 * It lies behind boot memory, and ends where the spare memory begins.
 *
 * Return: physical address in bytes, aligned to the granule
 */
u64 mhp_edge_start(struct kunit *test)
{
	if (edge_start == blocks_start)
		kunit_skip(test, "mhp_kunit.spare_start is not where boot memory ends in a block");
	return edge_start;
}

/**
 * mhp_edge_size() - how much memory shares a block with boot memory
 * @test: the case, which is skipped if there is none
 *
 * Return: bytes, a multiple of the granule
 */
u64 mhp_edge_size(struct kunit *test)
{
	return blocks_start - mhp_edge_start(test);
}

static bool is_spare(u64 addr, u64 size)
{
	return region_intersects(addr, size, IORESOURCE_BUSY, IORES_DESC_NONE) ==
	       REGION_DISJOINT && mhp_memory_answers(addr);
}

/**
 * mhp_find_spare() - look at the spare memory for the first time
 * @test: the case, which is skipped if nobody has given any
 *
 * Return: 0, or -EINVAL if there is none where somebody says there is
 */
int mhp_find_spare(struct kunit *test)
{
	const u64 block = memory_block_size_bytes();
	u64 start, end, addr;

	if (!spare_size)
		kunit_skip(test,
			   "no spare memory: mhp_kunit.spare_start and mhp_kunit.spare_size say where some is");
	if (blocks_end)
		return 0;
	start = ALIGN(spare_start, block);
	end = ALIGN_DOWN(spare_start + spare_size, block);
	if (start >= end || !IS_ALIGNED(spare_start, SUBSECTION_SIZE)) {
		kunit_err(test, "spare memory begins with a multiple of %#lx, and has blocks of %#llx",
			  SUBSECTION_SIZE, block);
		return -EINVAL;
	}
	if (end - spare_start > (u64)MHP_KUNIT_SUBSECTIONS * SUBSECTION_SIZE ||
	    end - start > MHP_KUNIT_BLOCKS * block) {
		kunit_err(test, "more spare memory than snapshots have room for");
		return -EINVAL;
	}
	for (addr = spare_start; addr < end; addr += SUBSECTION_SIZE) {
		if (is_spare(addr, SUBSECTION_SIZE))
			continue;
		kunit_err(test, "at %#llx is no spare memory", addr);
		return -EINVAL;
	}
	edge_start = spare_start;
	if (start - spare_start >= block || !IS_ALIGNED(spare_start, mhp_least_size()) ||
	    !pfn_to_online_page(PHYS_PFN(spare_start) - 1))
		edge_start = start;
	blocks_start = start;
	blocks_end = end;
	return 0;
}

/**
 * mhp_must_be_spare() - see that a range is spare memory, or skip the case
 * @test: the case
 * @start: physical address in bytes
 * @size: bytes
 */
void mhp_must_be_spare(struct kunit *test, u64 start, u64 size)
{
	if (start < edge_start || start >= blocks_end || size > blocks_end - start)
		kunit_skip(test, "%#llx-%#llx is not spare: the case needs more spare memory",
			   start, start + size - 1);
}

/**
 * mhp_must_add() - add memory, or end the case
 * @test: the case; what it added is removed at its end
 * @nid: node
 * @start: physical address in bytes
 * @size: bytes
 * @flags: for add_memory()
 */
void mhp_must_add(struct kunit *test, int nid, u64 start, u64 size, mhp_t flags)
{
	mhp_must_be_spare(test, start, size);
	KUNIT_ASSERT_EQ_MSG(test, add_memory(nid, start, size, flags), 0,
			    "add %#llx-%#llx", start, start + size - 1);
}

/**
 * mhp_must_remove() - take memory offline and remove it, or end the case
 * @test: the case
 * @start: physical address in bytes
 * @size: bytes
 */
void mhp_must_remove(struct kunit *test, u64 start, u64 size)
{
	KUNIT_ASSERT_EQ_MSG(test, offline_and_remove_memory(start, size), 0,
			    "remove %#llx-%#llx", start, start + size - 1);
}

#ifdef CONFIG_MHP_SUBSECTION

/**
 * mhp_online() - online the extents of a range
 * @start: physical address in bytes
 * @size: bytes
 * @type: how to choose the zone
 *
 * Return: 0 or -errno
 */
int mhp_online(u64 start, u64 size, enum mmop type)
{
	int ret;

	lock_device_hotplug();
	ret = online_memory_range(start, size, type);
	unlock_device_hotplug();
	return ret;
}

/**
 * mhp_offline() - take the extents of a range offline
 * @start: physical address in bytes
 * @size: bytes
 *
 * Return: 0 or -errno
 */
int mhp_offline(u64 start, u64 size)
{
	struct range range = { .start = start, .end = start + size - 1 };
	int ret;

	lock_device_hotplug();
	ret = offline_memory_ranges(&range, 1, true);
	unlock_device_hotplug();
	return ret;
}

#elif !defined(MODULE)

/* The same for blocks, by what is not exported */

static int online_block(struct memory_block *mem, void *type)
{
	mem->online_type = *(enum mmop *)type;
	return min(device_online(&mem->dev), 0);
}

int mhp_online(u64 start, u64 size, enum mmop type)
{
	int ret;

	lock_device_hotplug();
	ret = walk_memory_blocks(start, size, &type, online_block);
	unlock_device_hotplug();
	return ret;
}

static int offline_block(struct memory_block *mem, void *unused)
{
	return min(device_offline(&mem->dev), 0);
}

int mhp_offline(u64 start, u64 size)
{
	int ret;

	lock_device_hotplug();
	ret = walk_memory_blocks(start, size, NULL, offline_block);
	unlock_device_hotplug();
	return ret;
}

#endif /* CONFIG_MHP_SUBSECTION */

/**
 * mhp_must_take_pages() - take pages out of the page allocator, or end the case
 * @test: the case
 * @pfn: the first
 * @end: the first behind them
 * @gfp: for alloc_contig_range()
 *
 * Some may be in somebody's hands for a moment.
 */
void mhp_must_take_pages(struct kunit *test, unsigned long pfn, unsigned long end, gfp_t gfp)
{
	int ret, try;

	for (try = 0; try < 50; try++) {
		ret = mhp_alloc_contig_range(pfn, end, gfp);
		if (ret != -EBUSY)
			break;
		msleep(20);
	}
	KUNIT_ASSERT_EQ_MSG(test, ret, 0, "pages %#lx to %#lx", pfn, end - 1);
}

/* Memory that a case has left */
struct leftover {
	u64 start;
	u64 size;
};

#ifdef CONFIG_MHP_SUBSECTION

static bool find_leftover(u64 start, u64 end, struct leftover *left)
{
	unsigned long pfn = PHYS_PFN(start);
	struct memory_extent *ext;

	lock_device_hotplug();
	ext = memory_extent_find(&pfn, PHYS_PFN(end));
	if (ext) {
		left->start = PFN_PHYS((u64)ext->start_pfn);
		left->size = PFN_PHYS((u64)ext->nr_pages);
	}
	unlock_device_hotplug();
	return ext;
}

#else

static bool find_leftover(u64 start, u64 end, struct leftover *left)
{
	/* Without the series, nothing can be added beside boot memory in its block. */
	left->size = memory_block_size_bytes();
	for (left->start = ALIGN(start, left->size); left->start < end; left->start += left->size)
		if (present_section(__pfn_to_section(PHYS_PFN(left->start))))
			return true;
	return false;
}

#endif /* CONFIG_MHP_SUBSECTION */

/**
 * mhp_is_leftover() - whether a case has left memory behind
 * @addr: the physical address of the first, in bytes
 *
 * Return: true if there is some
 */
bool mhp_is_leftover(u64 *addr)
{
	struct leftover left;

	if (!find_leftover(edge_start, blocks_end, &left))
		return false;
	*addr = left.start;
	return true;
}

/**
 * mhp_remove_leftovers() - remove all memory that a case has left behind
 * @test: the case, which fails if some cannot be removed
 */
void mhp_remove_leftovers(struct kunit *test)
{
	struct leftover left;
	u64 at = edge_start;
	int ret;

	while (at < blocks_end && find_leftover(at, blocks_end, &left)) {
		ret = offline_and_remove_memory(left.start, left.size);
		KUNIT_EXPECT_EQ_MSG(test, ret, 0, "cannot remove what is left at %#llx",
				    left.start);
		if (ret)
			at = left.start + left.size;
	}
}
