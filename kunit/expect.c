// SPDX-License-Identifier: GPL-2.0
/*
 * What is online, offline or a hole, what the direct map has, and where a memmap is.
 */

#include <linux/bitmap.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/uaccess.h>

#include "fixture.h"
#include "vmemmap.h"

/**
 * mhp_is_mapped() - whether an address is in the direct map, as the CPU sees it
 * @addr: physical address in bytes
 *
 * Return: true if it can be read
 */
bool mhp_is_mapped(u64 addr)
{
	u32 word;

	return !copy_from_kernel_nofault(&word, __va(addr), sizeof(word));
}

#ifdef CONFIG_MHP_SUBSECTION

/**
 * mhp_find_backing() - where the memmap of a range is, by the page tables
 * @test: the case
 * @start: physical address of the range in bytes
 * @size: bytes
 * @low: physical address in bytes where that begins in which the memmap may be
 * @high: physical address in bytes where that ends
 * @backing: filled
 */
void mhp_find_backing(struct kunit *test, u64 start, u64 size, u64 low, u64 high,
		      struct mhp_backing *backing)
{
	unsigned long addr = (unsigned long)pfn_to_page(PHYS_PFN(start));
	unsigned long end = (unsigned long)pfn_to_page(PHYS_PFN(start + size));
	unsigned long page_size, *seen;
	phys_addr_t phys;

	seen = kunit_kzalloc(test, BITS_TO_BYTES(PHYS_PFN(high - low)) + sizeof(*seen), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, seen);
	memset(backing, 0, sizeof(*backing));
	get_online_mems();
	for (; addr < end; addr += PAGE_SIZE) {
		phys = mhp_virt_to_backing(addr, &page_size);
		if (!phys) {
			backing->unmapped++;
		} else if (phys < low || phys >= high) {
			backing->outside++;
		} else {
			backing->within++;
			backing->twice += __test_and_set_bit(PHYS_PFN(phys - low), seen);
		}
	}
	put_online_mems();
	kunit_kfree(test, seen);
}

#endif /* CONFIG_MHP_SUBSECTION */

static unsigned long count_pages(u64 start, u64 size, bool online, int nid,
				 enum zone_type zone)
{
	unsigned long pfn = PHYS_PFN(start), end = PHYS_PFN(start + size), nr = 0;
	struct page *page;

	for (; pfn < end; pfn++) {
		page = pfn_to_online_page(pfn);
		if (!online)
			nr += !page;
		else if (page)
			nr += page_to_nid(page) == nid && page_zonenum(page) == zone;
	}
	return nr;
}

/**
 * mhp_expect_online() - expect that each page of a range is online
 * @test: the case
 * @start: physical address in bytes
 * @size: bytes
 * @nid: node that the pages must be of
 * @zone: zone that they must be in
 */
void mhp_expect_online(struct kunit *test, u64 start, u64 size, int nid,
		       enum zone_type zone)
{
	KUNIT_EXPECT_EQ_MSG(test, count_pages(start, size, true, nid, zone),
			    PHYS_PFN(size), "%#llx-%#llx: pages online in zone %d of node %d",
			    start, start + size - 1, zone, nid);
}

static unsigned long count_valid(u64 start, u64 size)
{
	unsigned long pfn = PHYS_PFN(start), end = PHYS_PFN(start + size), nr = 0;

	for (; pfn < end; pfn++)
		nr += pfn_valid(pfn);
	return nr;
}

/**
 * mhp_expect_offline() - expect that a range was added, and no page is online
 * @test: the case
 * @start: physical address in bytes
 * @size: bytes
 */
void mhp_expect_offline(struct kunit *test, u64 start, u64 size)
{
	KUNIT_EXPECT_EQ_MSG(test, count_pages(start, size, false, 0, 0),
			    PHYS_PFN(size), "%#llx-%#llx: pages not online",
			    start, start + size - 1);
	KUNIT_EXPECT_EQ_MSG(test, count_valid(start, size), PHYS_PFN(size),
			    "%#llx-%#llx: pages with memmap", start, start + size - 1);
}

/**
 * mhp_expect_hole() - expect that there is no memory, and no memmap
 * @test: the case
 * @start: physical address in bytes
 * @size: bytes
 */
void mhp_expect_hole(struct kunit *test, u64 start, u64 size)
{
	KUNIT_EXPECT_EQ_MSG(test, count_pages(start, size, false, 0, 0),
			    PHYS_PFN(size), "%#llx-%#llx: pages not online",
			    start, start + size - 1);
	KUNIT_EXPECT_EQ_MSG(test, count_valid(start, size), 0UL,
			    "%#llx-%#llx: pages with memmap", start, start + size - 1);
}
