// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_edge: no page that the page allocator has or hands out spans an edge.
 *
 * Here: where edges are, and when, from when on the memmap behind them can be read, and how
 * far pages may merge. Free pages are in edge_free_kunit.c, pages in use in
 * edge_used_kunit.c, and what these share is in edge_pages.c.
 */

#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>

#include "edge.h"

enum op { ADD, REMOVE, ADD_DEVICE, REMOVE_DEVICE, ONLINE, OFFLINE };

/*
 * What is done to @nr granules, the first being @at, and the edges afterwards, a bit for
 * each granule; @nr 0 is up to the end of the section
 */
struct step {
	enum op op;
	unsigned int at;
	unsigned int nr;
	u64 edges;
};

/* A section of spare memory */
static const struct step spare_steps[] = {
	{ ADD, 2, 3, 0x24 },
	{ ADD, 5, 1, 0x64 },
	{ ADD, 0, 2, 0x64 },
	{ ADD_DEVICE, 6, 2, 0x164 },
	{ ADD, 62, 2, 0x4000000000000164 },
	{ ONLINE, 2, 3, 0x4000000000000164 },
	{ ONLINE, 5, 1, 0x4000000000000164 },
	{ OFFLINE, 2, 3, 0x4000000000000164 },
	/* Memory remains on both sides, on one side, on none. */
	{ REMOVE, 2, 3, 0x4000000000000164 },
	{ REMOVE, 0, 2, 0x4000000000000160 },
	{ REMOVE_DEVICE, 6, 2, 0x4000000000000060 },
	{ REMOVE, 62, 2, 0x60 },
	{ ADD, 6, 0, 0x60 },
	{ OFFLINE, 5, 1, 0x60 },
	{ REMOVE, 5, 1, 0x40 },
	{ ADD, 5, 1, 0x60 },
	{ REMOVE, 6, 0, 0x60 },
	{ ADD, 0, 1, 0x62 },
	{ REMOVE, 5, 1, 0x2 },
};

/* What follows boot memory in its section, from the end of that on */
static const struct step boot_steps[] = {
	{ ADD, 0, 1, 0x3 },
	{ ADD, 2, 2, 0x17 },
	{ ADD_DEVICE, 1, 1, 0x17 },
	{ ONLINE, 0, 1, 0x17 },
	{ OFFLINE, 0, 1, 0x17 },
	{ REMOVE, 0, 1, 0x17 },
	{ REMOVE_DEVICE, 1, 1, 0x15 },
	{ REMOVE, 2, 2, 0x1 },
	{ ADD, 0, 0, 0x1 },
	{ REMOVE, 0, 0, 0x1 },
	{ ADD_DEVICE, 0, 4, 0x11 },
	{ REMOVE_DEVICE, 0, 4, 0x1 },
};

static const struct steps_param {
	const char *name;
	const struct step *steps;
	unsigned int nr;
	bool boot;
} steps[] = {
	{ "spare_memory", spare_steps, ARRAY_SIZE(spare_steps), false },
	{ "behind_boot_memory", boot_steps, ARRAY_SIZE(boot_steps), true },
};

KUNIT_ARRAY_PARAM_DESC(steps, steps, name);

static void do_step(struct kunit *test, enum op op, u64 start, u64 size)
{
	switch (op) {
	case ADD:
		mhp_must_add(test, 0, start, size, MHP_NONE);
		break;
	case REMOVE:
		KUNIT_ASSERT_EQ(test, remove_memory(start, size), 0);
		break;
	case ADD_DEVICE:
		mhp_must_add_device(test, start, size);
		break;
	case REMOVE_DEVICE:
		mhp_must_remove_device(test, start);
		break;
	case ONLINE:
		KUNIT_ASSERT_EQ(test, mhp_online(start, size, MMOP_ONLINE_MOVABLE), 0);
		break;
	case OFFLINE:
		KUNIT_ASSERT_EQ(test, mhp_offline(start, size), 0);
		break;
	}
}

/* The edges from an address to the end of its section, the first bit being that address */
static u64 edges_from(u64 start)
{
	unsigned long pfn = PHYS_PFN(start), end = SECTION_ALIGN_UP(pfn + 1);
	u64 edges = 0, bit = 1;

	for (; pfn < end; pfn += PAGES_PER_SUBSECTION, bit <<= 1) {
		if (is_edge(pfn))
			edges |= bit;
	}
	return edges;
}

/* I1 I4: edges are where something begins or ends, as long as any side of it is there. */
static void mhp_edge_steps(struct kunit *test)
{
	const struct steps_param *param = test->param_value;
	u64 base = param->boot ? mhp_edge_start(test) : mhp_spare_start(test);
	u64 end = PFN_PHYS((u64)SECTION_ALIGN_UP(PHYS_PFN(base) + 1));
	u64 granule = mhp_granule_bytes();
	const struct step *step;
	unsigned int i;

	if (granule != SUBSECTION_SIZE || SUBSECTIONS_PER_SECTION != 64)
		kunit_skip(test, "a section has not 64 granules of a sub-section");
	if (param->boot && IS_ALIGNED(PHYS_PFN(base), PAGES_PER_SECTION))
		kunit_skip(test, "boot memory ends with a section");
	if (param->boot)
		KUNIT_EXPECT_EQ(test, edges_from(base), 0x1ULL);
	for (i = 0; i < param->nr; i++) {
		u64 at, size;

		step = &param->steps[i];
		at = base + step->at * granule;
		size = step->nr ? step->nr * granule : end - at;
		do_step(test, step->op, at, size);
		KUNIT_EXPECT_EQ_MSG(test, edges_from(base), step->edges, "step %u", i);
	}
}

/* I1: boot memory has edges where it begins or ends within a section, and no others. */
static void mhp_edge_boot_memory(struct kunit *test)
{
	unsigned long nr, pfn, last = pfn_to_section_nr(PHYS_PFN(mhp_spare_start(test)) - 1);
	unsigned long first = PHYS_PFN(mhp_edge_start(test)), edges = 0;
	unsigned int i;

	for (nr = 0; nr <= last; nr++) {
		struct mem_section *ms = __nr_to_section(nr);

		if (!present_section(ms) || !early_section(ms))
			continue;
		pfn = section_nr_to_pfn(nr);
		KUNIT_EXPECT_FALSE(test, is_edge(pfn));
		for (i = 1; i < SUBSECTIONS_PER_SECTION; i++) {
			bool begins, there;

			pfn += PAGES_PER_SUBSECTION;
			there = pfn_to_online_page(pfn);
			begins = there != !!pfn_to_online_page(pfn - 1);
			KUNIT_EXPECT_EQ_MSG(test, is_edge(pfn), begins, "pfn %#lx", pfn);
			edges += begins;
		}
	}
	if (!IS_ALIGNED(first, PAGES_PER_SECTION))
		KUNIT_EXPECT_GT(test, edges, 0UL);
}

/**
 * struct valid_poll - who asks whether there is a memmap, and believes it
 * @pfn: first of a granule
 * @adds: how often it has begun to be added
 * @reads: struct pages that could be read
 * @lies: those that could not, although pfn_valid() was true before and after
 */
struct valid_poll {
	unsigned long pfn;
	unsigned long adds;
	unsigned long reads;
	unsigned long lies;
};

static int poll_valid(void *arg)
{
	struct valid_poll *poll = arg;
	unsigned long pfns[] = { poll->pfn, poll->pfn + granule_pages() - 1 };
	unsigned long adds, flags;
	int i = 0;

	while (!kthread_should_stop()) {
		i = !i;
		cond_resched();
		/* Read before anything of the memory: see the release below. */
		adds = smp_load_acquire(&poll->adds);
		if (!pfn_valid(pfns[i]))
			continue;
		smp_rmb();	/* pairs with the barrier before pfn_valid() turns true */
		if (!copy_from_kernel_nofault(&flags, mhp_page_flags(pfn_to_page(pfns[i])),
					      sizeof(flags))) {
			poll->reads++;
			continue;
		}
		/* It may have gone meanwhile. If it is there, and was not added again: */
		smp_rmb();	/* ask after the read */
		if (pfn_valid(pfns[i])) {
			smp_rmb();	/* ask before the count is read again */
			poll->lies += READ_ONCE(poll->adds) == adds;
		}
	}
	return 0;
}

/* I3: a memmap can be read from when pfn_valid() says so until it says no more. */
static void mhp_edge_valid_is_readable(struct kunit *test)
{
	u64 granule = mhp_granule_bytes(), start = mhp_spare_start(test) + 3 * granule;
	struct valid_poll poll = { .pfn = PHYS_PFN(start) };
	unsigned long until, rounds = 0;
	struct task_struct *task;
	int ret = 0;

	if (granule >= PFN_PHYS((u64)PAGES_PER_SECTION))
		kunit_skip(test, "a granule is a section");
	/* The section stays, so that nothing but the bit of the granule tells. */
	mhp_must_add(test, 0, mhp_spare_start(test), granule, MHP_NONE);
	task = kthread_run(poll_valid, &poll, "mhp_kunit");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	until = jiffies + 3 * HZ;
	while (!ret && time_before(jiffies, until)) {
		/* Who sees memory again after it had gone must see another count. */
		smp_store_release(&poll.adds, poll.adds + 1);
		ret = add_memory(0, start, granule, MHP_NONE);
		/* Who reads may not have got a CPU yet. */
		if (!ret && !READ_ONCE(poll.reads))
			usleep_range(1000, 2000);
		ret = ret ?: remove_memory(start, granule);
		rounds++;
	}
	kthread_stop(task);
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_GT(test, rounds, 10UL);
	KUNIT_EXPECT_GT(test, poll.reads, 0UL);
	KUNIT_EXPECT_EQ_MSG(test, poll.lies, 0UL, "of %lu, in %lu rounds",
			    poll.lies + poll.reads, rounds);
}

#ifndef MODULE
/*
 * From the start of a MAX_ORDER area: what is there, where edges are, and how far pages
 * merge if there are pages so large, in powers of two granules
 */
static const struct layout_param {
	const char *name;
	const char *parts;
	const char *edges;
	const char *orders;
} layouts[] = {
	{ "one", "A...............",
		 "||...............",
		 "0..............." },
	{ "two", "AB..............",
		 "|||..............",
		 "00.............." },
	{ "all", "AAAAAAAAAAAAAAAA",
		 "|...............|",
		 "4444444444444444" },
	{ "halves", "AAAAAAAABBBBBBBB",
		    "|.......|.......|",
		    "3333333333333333" },
	{ "odd", ".AAAAAAAAAAAAAA.",
		 ".|.............|.",
		 ".01122222222110." },
	{ "thirds", "AAAAABBBBBCCCCCC",
		    "|....|....|.....|",
		    "2222001111112222" },
	{ "mixed", "AAnnBBBBd.oCCCCk",
		   "|.|.|...||||...||",
		   "11112222...01100" },
	{ "devices", "dAddBBBddddCCddd",
		     "|||.|..|...|.|..|",
		     ".0..110....00..." },
};

KUNIT_ARRAY_PARAM_DESC(layout, layouts, name);

/* I1: max_buddy_order() by the letter */
static void mhp_edge_max_order(struct kunit *test)
{
	const struct layout_param *layout = test->param_value;
	u64 base = edge_base_of(test);
	unsigned long pfn = PHYS_PFN(base), nr = granule_pages();
	unsigned int i, order;

	edge_need_areas(test);
	kunit_info(test, "areas of %u granules", edge_area_granules());
	edge_make_parts(test, base, layout->parts);
	for (i = 0; layout->edges[i]; i++, pfn += nr) {
		/* Sections begin and end without. */
		KUNIT_EXPECT_EQ_MSG(test, is_edge(pfn), layout->edges[i] == '|' &&
				    !IS_ALIGNED(pfn, PAGES_PER_SECTION), "granule %u", i);
		if (!layout->orders[i] || layout->orders[i] == '.')
			continue;
		order = MHP_GRANULE_ORDER + layout->orders[i] - '0';
		order = min_t(unsigned int, order, MAX_PAGE_ORDER);
		KUNIT_EXPECT_EQ_MSG(test, max_buddy_order(pfn), order, "granule %u", i);
		KUNIT_EXPECT_EQ_MSG(test, max_buddy_order(pfn + 1), order, "granule %u", i);
		KUNIT_EXPECT_EQ_MSG(test, max_buddy_order(pfn + nr - 1), order, "granule %u", i);
	}
}

static const struct order_param {
	const char *name;
	const char *parts;
	int order[3];
} orders[] = {
	{ "two_up", "AB", { 0, 1, -1 } },
	{ "two_down", "AB", { 1, 0, -1 } },
	{ "two_behind_a_hole", ".AAB", { 0, 1, -1 } },
	{ "two_behind_a_hole_down", ".AAB", { 1, 0, -1 } },
	{ "first_second_third", "ABBC", { 0, 1, 2 } },
	{ "first_third_second", "ABBC", { 0, 2, 1 } },
	{ "second_first_third", "ABBC", { 1, 0, 2 } },
	{ "second_third_first", "ABBC", { 1, 2, 0 } },
	{ "third_first_second", "ABBC", { 2, 0, 1 } },
	{ "third_second_first", "ABBC", { 2, 1, 0 } },
};

KUNIT_ARRAY_PARAM_DESC(order, orders, name);

/* I1 I4: extents of one area go online and offline in any order, each for itself. */
static void mhp_edge_online_in_any_order(struct kunit *test)
{
	const struct order_param *param = test->param_value;
	unsigned long starts[3], ends[3], pfn = PHYS_PFN(edge_base_of(test));
	bool online[3] = { };
	int i, j, round, nr = 0;
	const char *at;

	edge_need_areas(test);
	for (at = param->parts; *at; at++, pfn += granule_pages()) {
		if (*at == '.')
			continue;
		if (at == param->parts || at[-1] != at[0])
			starts[nr++] = pfn;
		ends[nr - 1] = pfn + granule_pages();
	}
	for (i = 0; i < nr; i++)
		mhp_must_add(test, 0, PFN_PHYS((u64)starts[i]),
			     PFN_PHYS((u64)(ends[i] - starts[i])), MHP_NONE);
	for (round = 0; round < 2 * nr; round++) {
		i = param->order[round % nr];
		do_step(test, round < nr ? ONLINE : OFFLINE, PFN_PHYS((u64)starts[i]),
			PFN_PHYS((u64)(ends[i] - starts[i])));
		online[i] = round < nr;
		for (j = 0; j < nr; j++) {
			if (online[j])
				edge_expect_merged(test, starts[j], ends[j], "online");
			else
				mhp_expect_offline(test, PFN_PHYS((u64)starts[j]),
						   PFN_PHYS((u64)(ends[j] - starts[j])));
		}
		edge_expect_counts(test, "all of them");
	}
}
#endif /* !MODULE */

static struct kunit_case mhp_edge_cases[] = {
	KUNIT_CASE_PARAM(mhp_edge_steps, steps_gen_params),
	KUNIT_CASE(mhp_edge_boot_memory),
	KUNIT_CASE_SLOW(mhp_edge_valid_is_readable),
#ifndef MODULE
	KUNIT_CASE_PARAM(mhp_edge_max_order, layout_gen_params),
	KUNIT_CASE_PARAM_ATTR(mhp_edge_free, mhp_beside_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE_PARAM_ATTR(mhp_edge_isolate, mhp_beside_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE(mhp_edge_isolate_neighbours),
#ifdef CONFIG_MEMORY_FAILURE
	KUNIT_CASE_PARAM(mhp_edge_take_off, mhp_beside_gen_params),
#endif
	KUNIT_CASE(mhp_edge_handed_out),
	KUNIT_CASE_PARAM_ATTR(mhp_edge_allocated, mhp_beside_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE(mhp_edge_split),
	KUNIT_CASE(mhp_edge_contig),
	KUNIT_CASE_SLOW(mhp_edge_kept_page),
	KUNIT_CASE(mhp_edge_reported),
	KUNIT_CASE_PARAM(mhp_edge_online_in_any_order, order_gen_params),
#endif
	{}
};

static struct kunit_suite mhp_edge_suite = {
	.name = "mhp_edge",
	.init = mhp_fixture_init,
	.exit = mhp_fixture_exit,
	.test_cases = mhp_edge_cases,
};

kunit_test_suite(mhp_edge_suite);
