// SPDX-License-Identifier: GPL-2.0
/*
 * "stats": what was added, removed, onlined, offlined and got a memmap since the
 * module was loaded, by whomever; and which page kept memory from going offline.
 *
 * The series has trace events for all of it. On other kernels, the functions that do
 * it are watched with kretprobes.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kprobes.h>
#include <linux/math64.h>
#include <linux/spinlock.h>
#include <linux/timekeeping.h>
#include <linux/tracepoint.h>

#include "mhp_debug.h"

/* errno's up to EHWPOISON are counted one by one; [0] is for larger ones. */
#define MAX_COUNTED	134

/* Protected by mhp_stats_lock, but for what does not change */
struct op {
	const char *name;
	const char *event;	/* of trace/events/memory_hotplug.h */
	void *probe;		/* for that event */
	const char *symbol;	/* function that does it */
	const char *older;	/* what that was called before, if not the same */
	unsigned int size_arg;	/* which argument of it is the size */
	bool in_pages;		/* the size is in pages, not bytes */
	struct tracepoint *tp;	/* the event, if there is one */
	bool watched;
	u64 ok;
	u64 failed;
	u64 bytes;		/* of what succeeded */
	u64 total_ns;		/* of all calls */
	u64 max_ns;
	u32 errors[MAX_COUNTED];
};

static DEFINE_RAW_SPINLOCK(mhp_stats_lock);

static void count(struct op *op, u64 bytes, int ret, u64 ns)
{
	unsigned long flags;
	int err = -ret;

	raw_spin_lock_irqsave(&mhp_stats_lock, flags);
	if (err) {
		op->failed++;
		op->errors[err > 0 && err < MAX_COUNTED ? err : 0]++;
	} else {
		op->ok++;
		op->bytes += bytes;
	}
	op->total_ns += ns;
	op->max_ns = max(op->max_ns, ns);
	raw_spin_unlock_irqrestore(&mhp_stats_lock, flags);
}

/* What began before anybody watched has no time, nor what failed at once. */
static void count_event(struct op *op, u64 size, int ret, u64 began)
{
	if (began)
		count(op, size, ret, ktime_get_ns() - began);
}

static void added(void *op, u64 start, u64 size, int id, bool group, int ret, u64 began)
{
	count_event(op, size, ret, began);
}

static void removed(void *op, u64 start, u64 size, int ret, u64 began)
{
	count_event(op, size, ret, began);
}

static void changed(void *op, u64 start, u64 size, const struct zone *zone, int ret,
		    u64 began)
{
	count_event(op, size, ret, began);
}

static void populated(void *op, u64 start, u64 size, int nid, bool hosted, int ret,
		      u64 began)
{
	count_event(op, size, ret, began);
}

static struct op ops[] = {
	{
		.name = "add", .event = "memory_add", .probe = added,
		.symbol = "__add_memory_resource", .older = "add_memory_resource",
	}, {
		.name = "remove", .event = "memory_remove", .probe = removed,
		.symbol = "try_remove_memory", .size_arg = 1,
	}, {
		.name = "online", .event = "memory_online", .probe = changed,
		.symbol = "online_pages", .size_arg = 1, .in_pages = true,
	}, {
		.name = "offline", .event = "memory_offline", .probe = changed,
		.symbol = "offline_pages", .size_arg = 1, .in_pages = true,
	}, {
		.name = "populate", .event = "memmap_populate", .probe = populated,
		.symbol = "sparse_add_section", .size_arg = 2, .in_pages = true,
	},
};

/* Protected by mhp_stats_lock */
static struct {
	u64 ns;
	unsigned long pfn;
	unsigned long flags;
	int refcount;
	char reason[32];
} last_blocked;

static struct tracepoint *blocked_tp;

static void blocked(void *unused, const struct page *page, const char *reason)
{
	struct page *head = compound_head((struct page *)page);
	unsigned long flags;

	raw_spin_lock_irqsave(&mhp_stats_lock, flags);
	last_blocked.ns = ktime_get_mono_fast_ns();
	last_blocked.pfn = page_to_pfn(page);
	last_blocked.flags = *mhp_page_flags(head);
	last_blocked.refcount = page_ref_count(head);
	strscpy(last_blocked.reason, reason);
	raw_spin_unlock_irqrestore(&mhp_stats_lock, flags);
}

/**
 * mhp_blocked_by() - tell which page kept memory from going offline last
 * @since: ktime_get_mono_fast_ns() when that was tried
 * @start: physical address of the memory in bytes
 * @size: bytes
 * @buf: where to
 * @len: bytes of room there
 *
 * Context: Any.
 * Return: whether there was one, and the kernel told
 */
bool mhp_blocked_by(u64 since, u64 start, u64 size, char *buf, size_t len)
{
	unsigned long flags;
	bool found;

	raw_spin_lock_irqsave(&mhp_stats_lock, flags);
	found = last_blocked.ns && last_blocked.ns >= since &&
		PFN_PHYS(last_blocked.pfn) - start < size;
	if (found)
		snprintf(buf, len, "%s: pfn=%#lx refcount=%d flags=%pGp",
			 last_blocked.reason, last_blocked.pfn,
			 last_blocked.refcount, &last_blocked.flags);
	raw_spin_unlock_irqrestore(&mhp_stats_lock, flags);
	return found;
}

#ifdef CONFIG_TRACEPOINTS

static void find_event(struct tracepoint *tp, void *unused)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		if (!strcmp(tp->name, ops[i].event))
			ops[i].tp = tp;
	}
	if (!strcmp(tp->name, "memory_offline_blocked"))
		blocked_tp = tp;
}

static void watch_events(void)
{
	int i;

	for_each_kernel_tracepoint(find_event, NULL);
	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		if (ops[i].tp && tracepoint_probe_register(ops[i].tp, ops[i].probe, &ops[i]))
			ops[i].tp = NULL;
		ops[i].watched = ops[i].tp;
	}
	if (blocked_tp && tracepoint_probe_register(blocked_tp, blocked, NULL))
		blocked_tp = NULL;
}

static void unwatch_events(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		if (ops[i].tp)
			tracepoint_probe_unregister(ops[i].tp, ops[i].probe, &ops[i]);
	}
	if (blocked_tp)
		tracepoint_probe_unregister(blocked_tp, blocked, NULL);
	tracepoint_synchronize_unregister();
}

#else

static void watch_events(void)
{
}

static void unwatch_events(void)
{
}

#endif

#if defined(CONFIG_KRETPROBES) && defined(CONFIG_HAVE_REGS_AND_STACK_ACCESS_API)

struct call {
	u64 began;
	u64 bytes;
};

static struct kretprobe probes[ARRAY_SIZE(ops)];

static struct op *op_of(struct kretprobe_instance *ri)
{
	return &ops[get_kretprobe(ri) - probes];
}

/* add_memory_resource(nid, res, ...), or a function that is given the size */
static int call_entry(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct call *call = (struct call *)ri->data;
	struct op *op = op_of(ri);

	if (op->size_arg) {
		call->bytes = regs_get_kernel_argument(regs, op->size_arg);
		if (op->in_pages)
			call->bytes <<= PAGE_SHIFT;
	} else {
		struct resource *res = (void *)regs_get_kernel_argument(regs, 1);

		call->bytes = resource_size(res);
	}
	call->began = ktime_get_mono_fast_ns();
	return 0;
}

static int call_return(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct call *call = (struct call *)ri->data;

	count(op_of(ri), call->bytes, (int)regs_return_value(regs),
	      ktime_get_mono_fast_ns() - call->began);
	return 0;
}

static int watch_function(struct kretprobe *probe, const char *symbol)
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

static void watch_functions(void)
{
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		if (ops[i].tp)
			continue;
		ret = watch_function(&probes[i], ops[i].symbol);
		if (ret && ops[i].older)
			ret = watch_function(&probes[i], ops[i].older);
		ops[i].watched = !ret;
		if (ret)
			pr_info("no stats for %s: cannot watch %s(): %d\n",
				ops[i].name, ops[i].symbol, ret);
	}
}

static void unwatch_functions(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		if (ops[i].watched && !ops[i].tp)
			unregister_kretprobe(&probes[i]);
	}
}

/* Calls that there was no room to watch */
static int nr_missed(int i)
{
	return ops[i].tp ? 0 : probes[i].nmissed;
}

#else

static void watch_functions(void)
{
}

static void unwatch_functions(void)
{
}

static int nr_missed(int i)
{
	return 0;
}

#endif

/**
 * mhp_stats_init() - begin to count
 *
 * What cannot be watched is shown as n/a.
 *
 * Context: Process context.
 */
void mhp_stats_init(void)
{
	watch_events();
	watch_functions();
}

/**
 * mhp_stats_exit() - stop to count
 *
 * Context: Process context.
 */
void mhp_stats_exit(void)
{
	unwatch_functions();
	unwatch_events();
}

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
