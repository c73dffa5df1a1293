// SPDX-License-Identifier: GPL-2.0
/*
 * "stats": what was added, removed, onlined and offlined since the module was
 * loaded, by whomever.
 *
 * The functions that do it all are watched with kretprobes, which need no support
 * by mm. Of adding and removing, nobody else is told.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kprobes.h>
#include <linux/math64.h>
#include <linux/spinlock.h>
#include <linux/timekeeping.h>

#include "mhp_debug.h"

/* errno's up to EHWPOISON are counted one by one; [0] is for larger ones. */
#define MAX_COUNTED	134

/* Protected by mhp_stats_lock */
struct op {
	const char *name;
	const char *symbol;
	const char *older;	/* what it was called before, if not the same */
	bool in_pages;		/* the range is in pages, not bytes */
	bool watched;
	u64 ok;
	u64 failed;
	u64 bytes;		/* of what succeeded */
	u64 total_ns;		/* of all calls */
	u64 max_ns;
	u32 errors[MAX_COUNTED];
};

static DEFINE_RAW_SPINLOCK(mhp_stats_lock);

static struct op ops[] = {
	{ "add", "__add_memory_resource", "add_memory_resource" },
	{ "remove", "try_remove_memory" },
	{ "online", "online_pages", .in_pages = true },
	{ "offline", "offline_pages", .in_pages = true },
};

#if defined(CONFIG_KRETPROBES) && defined(CONFIG_HAVE_REGS_AND_STACK_ACCESS_API)

struct call {
	u64 start_ns;
	u64 bytes;
};

static struct kretprobe probes[ARRAY_SIZE(ops)];

static struct op *op_of(struct kretprobe_instance *ri)
{
	return &ops[get_kretprobe(ri) - probes];
}

/* add_memory_resource(nid, res, ...) or f(start, size or nr_pages, ...) */
static int call_entry(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct call *call = (struct call *)ri->data;
	struct op *op = op_of(ri);

	if (op == &ops[0]) {
		struct resource *res = (void *)regs_get_kernel_argument(regs, 1);

		call->bytes = resource_size(res);
	} else {
		call->bytes = regs_get_kernel_argument(regs, 1);
		if (op->in_pages)
			call->bytes <<= PAGE_SHIFT;
	}
	call->start_ns = ktime_get_mono_fast_ns();
	return 0;
}

static int call_return(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct call *call = (struct call *)ri->data;
	int err = -(int)regs_return_value(regs);
	u64 ns = ktime_get_mono_fast_ns() - call->start_ns;
	struct op *op = op_of(ri);
	unsigned long flags;

	raw_spin_lock_irqsave(&mhp_stats_lock, flags);
	if (err) {
		op->failed++;
		op->errors[err > 0 && err < MAX_COUNTED ? err : 0]++;
	} else {
		op->ok++;
		op->bytes += call->bytes;
	}
	op->total_ns += ns;
	op->max_ns = max(op->max_ns, ns);
	raw_spin_unlock_irqrestore(&mhp_stats_lock, flags);
	return 0;
}

static int watch(struct kretprobe *probe, const char *symbol)
{
	*probe = (struct kretprobe) {
		.kp.symbol_name = symbol,
		.handler = call_return,
		.entry_handler = call_entry,
		.data_size = sizeof(struct call),
		/* They run under locks, one at a time, or wait for these. */
		.maxactive = 64,
	};
	return register_kretprobe(probe);
}

/**
 * mhp_stats_init() - begin to count
 *
 * What cannot be watched is shown as n/a.
 *
 * Context: Process context.
 */
void mhp_stats_init(void)
{
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		ret = watch(&probes[i], ops[i].symbol);
		if (ret && ops[i].older)
			ret = watch(&probes[i], ops[i].older);
		ops[i].watched = !ret;
		if (ret)
			pr_info("no stats for %s: cannot watch %s(): %d\n",
				ops[i].name, ops[i].symbol, ret);
	}
}

/**
 * mhp_stats_exit() - stop to count
 *
 * Context: Process context.
 */
void mhp_stats_exit(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		if (ops[i].watched)
			unregister_kretprobe(&probes[i]);
	}
}

/* Calls that there was no room to watch */
static int nr_missed(int i)
{
	return probes[i].nmissed;
}

#else

static int nr_missed(int i)
{
	return 0;
}

void mhp_stats_init(void)
{
}

void mhp_stats_exit(void)
{
}

#endif

/**
 * mhp_stats_show() - show the counters
 * @m: where to
 * @v: not used
 *
 * Context: Process context.
 * Return: 0
 */
int mhp_stats_show(struct seq_file *m, void *v)
{
	unsigned long flags;
	struct op op;
	int i, err;

	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		raw_spin_lock_irqsave(&mhp_stats_lock, flags);
		op = ops[i];
		raw_spin_unlock_irqrestore(&mhp_stats_lock, flags);

		if (!op.watched) {
			seq_printf(m, "op=%s ok=n/a failed=n/a missed=n/a bytes=n/a mean_ns=n/a max_ns=n/a\n",
				   op.name);
			continue;
		}
		seq_printf(m, "op=%s ok=%llu failed=%llu missed=%d bytes=%llu mean_ns=%llu max_ns=%llu\n",
			   op.name, op.ok, op.failed, nr_missed(i), op.bytes, op.ok + op.failed ?
			   div64_u64(op.total_ns, op.ok + op.failed) : 0, op.max_ns);
		for (err = 1; err < MAX_COUNTED; err++) {
			if (op.errors[err])
				seq_printf(m, "op=%s errno=%d failed=%u\n", op.name,
					   -err, op.errors[err]);
		}
		if (op.errors[0])
			seq_printf(m, "op=%s errno=other failed=%u\n", op.name,
				   op.errors[0]);
	}
	return 0;
}
