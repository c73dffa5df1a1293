/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of mhp_extent share: three extents of one block. The first two are
 * neighbours.
 */
#ifndef _MHP_KUNIT_EXTENT_H
#define _MHP_KUNIT_EXTENT_H

#include <linux/bitops.h>
#include <linux/sizes.h>

#include "fixture.h"

#define NR_EXTENTS	3
#define EXTENT_SIZE	SZ_8M

/* Which of them refuses */
struct veto_param {
	const char *name;
	unsigned int nth;
};

static inline u64 extent_start(struct kunit *test, int i)
{
	static const u64 offsets[NR_EXTENTS] = { SZ_8M, SZ_16M, SZ_64M };

	return mhp_spare_start(test) + offsets[i];
}

static inline void add_extents(struct kunit *test)
{
	int i;

	for (i = 0; i < NR_EXTENTS; i++)
		mhp_must_add(test, 0, extent_start(test, i), EXTENT_SIZE, MHP_NONE);
}

/* Those in the mask are online, the others are not. */
static inline void expect_extents(struct kunit *test, unsigned long online)
{
	int i;

	for (i = 0; i < NR_EXTENTS; i++) {
		if (test_bit(i, &online))
			mhp_expect_online(test, extent_start(test, i), EXTENT_SIZE, 0,
					  ZONE_MOVABLE);
		else
			mhp_expect_offline(test, extent_start(test, i), EXTENT_SIZE);
	}
}

#endif /* _MHP_KUNIT_EXTENT_H */
