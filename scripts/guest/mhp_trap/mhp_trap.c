// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_trap - make a kernel, stock or not, do what rarely happens by itself
 *
 * For x86-64. Write one command to /sys/module/mhp_trap/parameters/cmd, which fails
 * if the command does; read what became of it from .../result. START and SIZE are in
 * bytes, and hexadecimal with 0x:
 *
 *   add NID START SIZE       add_memory()
 *   remove START SIZE        remove_memory()
 *   unmap START              map a page of the direct map as not present, as
 *                            DEBUG_PAGEALLOC does with a page that is free
 *   failure                  handle a failure of a page in use that is on no LRU list,
 *                            with a reference: calls=N references after that, of 2;
 *                            then the page is unpoisoned and freed
 *
 * One trap is set at a time; to set one removes what was set before, and its counts:
 *
 *   fail FUNCTION NTH VALUE  the NTH call that "add" makes of FUNCTION does nothing
 *                            but return VALUE: calls=N made by "add"
 *   slow FUNCTION MS         who calls FUNCTION first waits, without sleeping: calls=N
 *   sleep FUNCTION MS        who calls FUNCTION, of up to six words, first sleeps:
 *                            calls=N
 *   owned FUNCTION MUTEX     calls=N, and owned=N that were made with MUTEX held by
 *                            the caller
 *   span NID MS              who changes start or size of zone Movable waits behind
 *                            each of the two stores, without sleeping: calls=<stores>
 *   none                     set no trap
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/hw_breakpoint.h>
#include <linux/kprobes.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/perf_event.h>
#include <linux/string.h>

static char function[64];
static struct kprobe probe;
static struct perf_event * __percpu *watches[2];

static struct task_struct *adder;
static atomic_t calls, owned;
static unsigned int nth, wait_ms;
static long value;
static struct mutex *mutex;
static struct task_struct *awake;
static unsigned long (*slept_for)(unsigned long a, unsigned long b, unsigned long c,
				  unsigned long d, unsigned long e, unsigned long f);

/* The value of a symbol, exported or not: a kprobe finds the function that does. */
static unsigned long lookup(const char *name)
{
	struct kprobe finder = { .symbol_name = "kallsyms_lookup_name" };
	unsigned long (*find)(const char *name);

	if (register_kprobe(&finder))
		return 0;
	find = (void *)finder.addr;
	unregister_kprobe(&finder);
	return find(name);
}

/* --- traps --- */

static int fail_call(struct kprobe *p, struct pt_regs *regs)
{
	if (current != adder || atomic_inc_return(&calls) != nth)
		return 0;

	/* Return to the caller at once. */
	regs_set_return_value(regs, value);
	instruction_pointer_set(regs, regs_get_kernel_stack_nth(regs, 0));
	regs->sp += sizeof(long);
	return 1;
}

static int slow_call(struct kprobe *p, struct pt_regs *regs)
{
	atomic_inc(&calls);
	mdelay(wait_ms);
	return 0;
}

/* In place of a function, for who calls it: sleep, then call it. */
static unsigned long sleeper(unsigned long a, unsigned long b, unsigned long c,
			     unsigned long d, unsigned long e, unsigned long f)
{
	msleep(wait_ms);
	WRITE_ONCE(awake, current);
	return slept_for(a, b, c, d, e, f);
}

static int sleep_call(struct kprobe *p, struct pt_regs *regs)
{
	/* If another one has woken up since: sleep once more. */
	if (READ_ONCE(awake) == current) {
		WRITE_ONCE(awake, NULL);
		return 0;
	}
	atomic_inc(&calls);
	instruction_pointer_set(regs, (unsigned long)sleeper);
	return 1;
}

static int owned_call(struct kprobe *p, struct pt_regs *regs)
{
	unsigned long owner = atomic_long_read(&mutex->owner);

	atomic_inc(&calls);
	/* The lowest bits are flags. */
	if ((owner & ~7UL) == (unsigned long)current)
		atomic_inc(&owned);
	return 0;
}

/* As there is one, the probe is not optimised, and may change the return address. */
static void after_call(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}

static void span_changes(struct perf_event *event, struct perf_sample_data *data,
			 struct pt_regs *regs)
{
	atomic_inc(&calls);
	mdelay(wait_ms);
}

static void clear_trap(void)
{
	unsigned int i;

	if (probe.symbol_name)
		unregister_kprobe(&probe);
	memset(&probe, 0, sizeof(probe));
	for (i = 0; i < ARRAY_SIZE(watches); i++) {
		if (watches[i])
			unregister_wide_hw_breakpoint(watches[i]);
		watches[i] = NULL;
	}
	atomic_set(&calls, 0);
	atomic_set(&owned, 0);
}

static int set_probe(kprobe_pre_handler_t handler)
{
	int ret;

	probe.symbol_name = function;
	probe.pre_handler = handler;
	probe.post_handler = after_call;
	ret = register_kprobe(&probe);
	if (ret)
		probe.symbol_name = NULL;
	return ret;
}

static int set_watches(int nid)
{
	struct perf_event_attr attr;
	struct zone *zone;
	unsigned int i;

	if (nid < 0 || nid >= MAX_NUMNODES || !node_online(nid))
		return -EINVAL;
	zone = &NODE_DATA(nid)->node_zones[ZONE_MOVABLE];

	for (i = 0; i < ARRAY_SIZE(watches); i++) {
		hw_breakpoint_init(&attr);
		attr.bp_addr = i ? (unsigned long)&zone->spanned_pages :
				   (unsigned long)&zone->zone_start_pfn;
		attr.bp_len = HW_BREAKPOINT_LEN_8;
		attr.bp_type = HW_BREAKPOINT_W;
		watches[i] = register_wide_hw_breakpoint(&attr, span_changes, NULL);
		if (IS_ERR((void __force *)watches[i])) {
			int ret = PTR_ERR((void __force *)watches[i]);

			watches[i] = NULL;
			clear_trap();
			return ret;
		}
	}
	return 0;
}

/* --- commands --- */

static int add(int nid, u64 start, u64 size)
{
	int ret;

	adder = current;
	ret = add_memory(nid, start, size, MHP_NONE);
	adder = NULL;
	return ret;
}

static int unmap(u64 start)
{
	int (*invalid)(struct page *page);

	invalid = (void *)lookup("set_direct_map_invalid_noflush");
	if (!invalid)
		return -EOPNOTSUPP;
	if (!pfn_valid(PHYS_PFN(start)))
		return -EINVAL;
	return invalid(pfn_to_page(PHYS_PFN(start)));
}

static int failure(void)
{
	struct page *page = alloc_page(GFP_HIGHUSER_MOVABLE);
	unsigned long pfn;

	if (!page)
		return -ENOMEM;
	pfn = page_to_pfn(page);
	get_page(page);
	memory_failure(pfn, MF_COUNT_INCREASED | MF_SW_SIMULATED);
	atomic_set(&calls, page_count(page));
	put_page(page);
	return unpoison_memory(pfn);
}

static int set_trap(const char *val)
{
	char name[64];
	int nid;

	clear_trap();
	if (sysfs_streq(val, "none"))
		return 0;
	if (sscanf(val, "fail %63s %u %li", function, &nth, &value) == 3)
		return set_probe(fail_call);
	if (sscanf(val, "slow %63s %u", function, &wait_ms) == 2)
		return set_probe(slow_call);
	if (sscanf(val, "sleep %63s %u", function, &wait_ms) == 2) {
		slept_for = (void *)lookup(function);
		return slept_for ? set_probe(sleep_call) : -ENOENT;
	}
	if (sscanf(val, "owned %63s %63s", function, name) == 2) {
		mutex = (struct mutex *)lookup(name);
		return mutex ? set_probe(owned_call) : -ENOENT;
	}
	if (sscanf(val, "span %d %u", &nid, &wait_ms) == 2)
		return set_watches(nid);
	return -EOPNOTSUPP;
}

/* The caller sees to it that there is one at a time. */
static int cmd_set(const char *val, const struct kernel_param *kp)
{
	u64 start, size;
	int nid;

	if (sscanf(val, "add %d %lli %lli", &nid, &start, &size) == 3)
		return add(nid, start, size);
	if (sscanf(val, "remove %lli %lli", &start, &size) == 2)
		return remove_memory(start, size);
	if (sscanf(val, "unmap %lli", &start) == 1)
		return unmap(start);
	if (sysfs_streq(val, "failure"))
		return failure();
	return set_trap(val);
}

static const struct kernel_param_ops cmd_ops = { .set = cmd_set };
module_param_cb(cmd, &cmd_ops, NULL, 0200);
MODULE_PARM_DESC(cmd, "What to do, or which trap to set");

static int result_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "calls=%d owned=%d\n", atomic_read(&calls),
			  atomic_read(&owned));
}

static const struct kernel_param_ops result_ops = { .get = result_get };
module_param_cb(result, &result_ops, NULL, 0400);
MODULE_PARM_DESC(result, "What went into the trap");

static int __init mhp_trap_init(void)
{
	return 0;
}
module_init(mhp_trap_init);

static void __exit mhp_trap_exit(void)
{
	clear_trap();
}
module_exit(mhp_trap_exit);

MODULE_DESCRIPTION("Make rare events of memory hotplug happen");
MODULE_LICENSE("GPL");
