/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Whether there is memory at an address that nobody has claimed. Shared by mhp_debug
 * and the KUnit suites.
 */
#ifndef _MHP_PROBE_H
#define _MHP_PROBE_H

#include <linux/io.h>
#include <linux/types.h>

/**
 * mhp_memory_answers() - whether memory answers at an address
 * @addr: physical address in bytes, page aligned; no System RAM, and no device
 *
 * What is written can be read again, and is put back. The access is uncached, as a
 * cache would answer for memory that is not there.
 *
 * Context: Process context. May sleep.
 * Return: true if there is memory
 */
static inline bool mhp_memory_answers(u64 addr)
{
	static const u32 patterns[] = { 0x5a5aa5a5, 0xa5a55a5a };
	void __iomem *word = ioremap(addr, PAGE_SIZE);
	bool same = true;
	u32 old;
	int i;

	if (!word)
		return false;
	old = __raw_readl(word);
	for (i = 0; i < ARRAY_SIZE(patterns); i++) {
		__raw_writel(patterns[i], word);
		mb();	/* written before it is read again */
		same &= __raw_readl(word) == patterns[i];
	}
	__raw_writel(old, word);
	iounmap(word);
	return same;
}

#endif /* _MHP_PROBE_H */
