// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_unwind: whatever fails on the way, nothing is left behind.
 *
 * Each operation is done once, to count its allocations and notifications; and then
 * again and again, the first, the second, ... of them failing, until it makes fewer.
 */

#include <linux/gfp_types.h>
#include <linux/kprobes.h>
#include <linux/memory.h>
#include <linux/slab.h>

#include "sysfs.h"
#include "sysfs_unwind.h"

/* Those that tell somebody who may refuse */
static const void *MHP_GENERATOR(vetoable_gen_params)
{
	const struct op *op = prev;

	do {
		op = mhp_next_param(mhp_unwind_op_gen_params, op, desc);
	} while (op && !op->vetoable);
	return op;
}

/* What an operation begins and ends with */
struct states {
	struct mhp_snapshot before;
	struct mhp_snapshot after;
	struct mhp_snapshot now;
	int firmware_entries;
};

/* What /sys/firmware/memmap knows of; a range leaves it only as it came. */
#define FIRMWARE_MEMMAP	"firmware/memmap"

static struct states *begin(struct kunit *test, const struct op *op)
{
	struct states *states = kunit_kzalloc(test, sizeof(*states), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, states);
	if (op->prepare)
		op->prepare(test);
	mhp_take_snapshot(test, &states->before);
	states->firmware_entries = mhp_sysfs_count(FIRMWARE_MEMMAP);
	return states;
}

/* All is as after a success; but links may be missing if something failed, as on stock. */
static bool same_after(struct kunit *test, struct states *states, unsigned int nth)
{
	int nid;

	mhp_take_snapshot(test, &states->now);
	for (nid = 0; nth && nid < MHP_KUNIT_NODES; nid++) {
		if (bitmap_subset(states->now.links[nid], states->after.links[nid],
				  MHP_KUNIT_BLOCKS))
			bitmap_copy(states->now.links[nid], states->after.links[nid],
				    MHP_KUNIT_BLOCKS);
	}
	return !memcmp(&states->now, &states->after, sizeof(states->now));
}

/* After a try that returned @ret: true if all is well, and as it was before */
static bool check_try(struct kunit *test, const struct op *op, struct states *states,
		      unsigned int nth, int ret)
{
	bool same;

	if (!ret) {
		same = op->half || same_after(test, states, nth);
		if (!same)
			mhp_expect_snapshot(test, &states->after, "after a success");
		op->revert(test);
		states->firmware_entries = mhp_sysfs_count(FIRMWARE_MEMMAP);
	} else {
		same = states->firmware_entries == mhp_sysfs_count(FIRMWARE_MEMMAP);
		KUNIT_EXPECT_TRUE_MSG(test, same, "entries in " FIRMWARE_MEMMAP);
	}
	if (!mhp_same_snapshot(test, &states->before)) {
		same = false;
		mhp_expect_snapshot(test, &states->before,
				    ret ? "after a failure" : "taken back");
	}
	KUNIT_EXPECT_TRUE_MSG(test, same, "%s, number %u failing, returned %d",
			      op->name, nth, ret);
	/* Who was told of a beginning must be told of its end. */
	KUNIT_EXPECT_EQ_MSG(test, mhp_count_calls(MEM_GOING_ONLINE),
			    mhp_count_calls(MEM_ONLINE) +
			    mhp_count_calls(MEM_CANCEL_ONLINE),
			    "number %u failing", nth);
	KUNIT_EXPECT_EQ_MSG(test, mhp_count_calls(MEM_GOING_OFFLINE),
			    mhp_count_calls(MEM_OFFLINE) +
			    mhp_count_calls(MEM_CANCEL_OFFLINE),
			    "number %u failing", nth);
	return same && test->status == KUNIT_SUCCESS;
}

#if defined(CONFIG_FAILSLAB) && defined(CONFIG_FAIL_PAGE_ALLOC) && defined(CONFIG_KRETPROBES)

/*
 * Allocations of this task are counted, and the n-th fails. The kernel's own fault
 * injection is where they are seen; its settings (which spare what may sleep) are not
 * for modules to change, so that what it answers is changed instead.
 */
static struct task_struct *failing_task;
static unsigned int failing_nth, nr_allocs;

static int count_alloc(gfp_t gfp)
{
	unsigned int irqs = hardirq_count() >> HARDIRQ_SHIFT;

	/* A probe by breakpoint counts as NMI itself. */
	if (in_nmi())
		irqs--;
	if (current != failing_task || irqs || in_serving_softirq() ||
	    gfp & __GFP_NOFAIL)
		return 1;
	return ++nr_allocs == failing_nth ? 0 : 1;
}

static int count_slab(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	return count_alloc((gfp_t)regs_get_kernel_argument(regs, 1));
}

static int count_pages(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	return count_alloc((gfp_t)regs_get_kernel_argument(regs, 0));
}

static int fail_slab(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	regs_set_return_value(regs, -ENOMEM);
	return 0;
}

static int fail_pages(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	regs_set_return_value(regs, true);
	return 0;
}

#if defined(CONFIG_X86_64) && !defined(MODULE)

/* What this task asked the architecture last to add, and whether that failed */
static struct {
	unsigned long start_pfn;
	unsigned long end_pfn;
	bool failed;
} arch_add;

static int note_add(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	u64 start = regs_get_kernel_argument(regs, 1);

	if (current != failing_task)
		return 1;
	arch_add.start_pfn = PHYS_PFN(start);
	arch_add.end_pfn = PHYS_PFN(start + regs_get_kernel_argument(regs, 2));
	return 0;
}

static int note_added(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	arch_add.failed = (int)regs_return_value(regs);
	return 0;
}

#define SEES_ADDS	true
#define ADD_PROBE	{ .kp.symbol_name = "arch_add_memory", .entry_handler = note_add, \
			  .handler = note_added },

static void forget_adds(void)
{
	arch_add.failed = false;
}

/*
 * What leaves the direct map because it could not be added must leave the kernel's list of
 * what is in it, too. What is removed later stays there, as on stock.
 */
static unsigned int expect_unmapped(struct kunit *test, unsigned int nth)
{
	if (!arch_add.failed)
		return 0;
	KUNIT_EXPECT_FALSE_MSG(test, pfn_range_is_mapped(arch_add.start_pfn, arch_add.end_pfn),
			       "pfn %#lx to %#lx, number %u failing", arch_add.start_pfn,
			       arch_add.end_pfn - 1, nth);
	return 1;
}

#else

#define SEES_ADDS	false
#define ADD_PROBE

static void forget_adds(void)
{
}

static unsigned int expect_unmapped(struct kunit *test, unsigned int nth)
{
	return 0;
}

#endif /* CONFIG_X86_64 && !MODULE */

static struct kretprobe probes[] = {
	{ .kp.symbol_name = "should_failslab", .entry_handler = count_slab,
	  .handler = fail_slab },
	{ .kp.symbol_name = "should_fail_alloc_page", .entry_handler = count_pages,
	  .handler = fail_pages },
	ADD_PROBE
};

static bool registered;

/*
 * Probes are there as long as the suite runs or, built in, as long as the kernel:
 * patching the code that all allocations execute again and again is a risk in emulated
 * guests, and may split the direct map. With more than one CPU, QEMU's TCG executes an
 * int3 after all CPUs were told that it is gone, which the kernel takes for an oops.
 */
static int register_probes(struct kunit_suite *suite)
{
	unsigned int i;
	int ret;

	if (registered)
		return 0;
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		ret = register_kretprobe(&probes[i]);
		if (ret) {
			while (i--)
				unregister_kretprobe(&probes[i]);
			return ret;
		}
	}
	registered = true;
	return 0;
}

static void unregister_probes(struct kunit_suite *suite)
{
#ifdef MODULE
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		unregister_kretprobe(&probes[i]);
	registered = false;
#endif
}

#define SUITE_INIT	register_probes
#define SUITE_EXIT	unregister_probes

static int failing_alloc(struct kunit *test, const struct op *op, unsigned int nth)
{
	int ret;

	nr_allocs = 0;
	forget_adds();
	failing_nth = nth;
	failing_task = current;
	barrier();
	ret = op->call(test);
	barrier();
	failing_task = NULL;
	return ret;
}

/* I6: whichever allocation fails, the operation does all it is for, or nothing. */
static void mhp_unwind_allocation(struct kunit *test)
{
	const struct op *op = test->param_value;
	struct states *states = begin(test, op);
	unsigned int nth, i, failed = 0, taken = 0, denied = 0, unmapped = 0;
	int ret;

	mhp_forget_calls();
	KUNIT_ASSERT_EQ(test, failing_alloc(test, op, 0), 0);
	mhp_take_snapshot(test, &states->after);
	KUNIT_EXPECT_GT(test, nr_allocs, 0);
	if (!check_try(test, op, states, 0, 0))
		return;

	for (nth = 1; ; nth++) {
		mhp_forget_calls();
		ret = failing_alloc(test, op, nth);
		if (nr_allocs < nth) {
			KUNIT_EXPECT_EQ(test, ret, 0);
			check_try(test, op, states, nth, ret);
			break;
		}
		failed += !!ret;
		taken += ret == -EEXIST;
		denied += ret == -EPERM;
		if (ret != -EEXIST && ret != -EPERM && ret)
			KUNIT_EXPECT_EQ_MSG(test, ret, -ENOMEM, "number %u failing", nth);
		unmapped += expect_unmapped(test, nth);
		if (!check_try(test, op, states, nth, ret))
			break;
		cond_resched();
	}
	if (SEES_ADDS && op->claims && !op->mapped)
		KUNIT_EXPECT_GT(test, unmapped, 0);
	KUNIT_EXPECT_LE(test, taken, op->claims);
	/* KASAN's notifier knows only "no", and that means -EPERM. */
	if (!IS_ENABLED(CONFIG_KASAN) || !op->vetoable)
		KUNIT_EXPECT_EQ(test, denied, 0);
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		KUNIT_EXPECT_EQ(test, probes[i].nmissed, 0);
	kunit_info(test, "%s: %u allocations, %u of them needed; -EEXIST: %u, -EPERM: %u; unmapped: %u",
		   op->name, nth - 1, failed, taken, denied, unmapped);
}

#define ALLOCATION_CASE	KUNIT_CASE_PARAM_ATTR(mhp_unwind_allocation, mhp_unwind_op_gen_params, \
					      { .speed = KUNIT_SPEED_SLOW }),

#else

#define ALLOCATION_CASE
#define SUITE_INIT	NULL
#define SUITE_EXIT	NULL

#endif /* CONFIG_FAILSLAB && CONFIG_FAIL_PAGE_ALLOC && CONFIG_KRETPROBES */

static const unsigned long actions[] = {
	MHP_PREPARE_ONLINE MEM_GOING_ONLINE, MEM_GOING_OFFLINE,
};

/* I6: whichever notifier refuses, the operation does nothing. */
static void mhp_unwind_notifier(struct kunit *test)
{
	const struct op *op = test->param_value;
	struct states *states = begin(test, op);
	unsigned int i, nth, made = 0;
	int ret;

	mhp_forget_calls();
	KUNIT_ASSERT_EQ(test, op->call(test), 0);
	mhp_take_snapshot(test, &states->after);
	if (!check_try(test, op, states, 0, 0))
		return;

	for (i = 0; i < ARRAY_SIZE(actions); i++) {
		for (nth = 1; ; nth++) {
			mhp_forget_calls();
			mhp_veto(test, actions[i], nth, -EDOM);
			ret = op->call(test);
			if (mhp_veto_calls() < nth)
				break;
			mhp_veto(test, 0, 0, 0);
			if (!op->half)
				KUNIT_EXPECT_EQ_MSG(test, ret, -EDOM, "action %lu, number %u",
						    actions[i], nth);
			if (!check_try(test, op, states, nth, ret))
				return;
		}
		made += nth - 1;
		mhp_veto(test, 0, 0, 0);
		KUNIT_EXPECT_EQ(test, ret, 0);
		if (!check_try(test, op, states, nth, ret))
			return;
	}
	KUNIT_EXPECT_EQ(test, made, op->vetoable);
}

static struct kunit_case mhp_unwind_cases[] = {
	ALLOCATION_CASE
	KUNIT_CASE_PARAM_ATTR(mhp_unwind_notifier, vetoable_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	{}
};

static struct kunit_suite mhp_unwind_suite = {
	.name = "mhp_unwind",
	.init = mhp_fixture_init_literal,
	.exit = mhp_fixture_exit,
	.suite_init = SUITE_INIT,
	.suite_exit = SUITE_EXIT,
	.test_cases = mhp_unwind_cases,
};

kunit_test_suite(mhp_unwind_suite);
