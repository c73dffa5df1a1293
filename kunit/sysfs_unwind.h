/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The operations that mhp_unwind has fail.
 */
#ifndef _MHP_KUNIT_SYSFS_UNWIND_H
#define _MHP_KUNIT_SYSFS_UNWIND_H

#include "fixture.h"

/**
 * struct op - what may fail
 * @name: of the parameter
 * @prepare: what must be there before, or NULL
 * @call: the operation
 * @revert: what takes it back, after which all is as @prepare has left it
 * @claims: begins with a claim to the range, which fails with -EEXIST for whatever
 *	reason, as on stock
 * @mapped: all page tables and pages for its memmap are there, so that adding it to the
 *	direct map does not fail
 * @half: success may mean that less was done
 * @vetoable: how many notifications it makes that may be refused
 */
struct op {
	const char *name;
	void (*prepare)(struct kunit *test);
	int (*call)(struct kunit *test);
	void (*revert)(struct kunit *test);
	bool claims;
	bool mapped;
	bool half;
	unsigned int vetoable;
};

MHP_DECLARE_PARAMS(unwind_op);

#endif /* _MHP_KUNIT_SYSFS_UNWIND_H */
