// SPDX-License-Identifier: GPL-2.0
/*
 * Knobs: add, remove, online and offline ranges of System RAM.
 *
 * Memory that a knob added is named "System RAM (mhp_debug)" in /proc/iomem. That
 * is how a knob knows what it may remove, also after the module was loaded again.
 * All other memory is left to who added it.
 */

#include <linux/ioport.h>
#include <linux/kmemleak.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "mhp_debug.h"
#include "probe.h"

/*
 * Resources keep this, so that it must live as long as the memory, which may be
 * longer than the module: it is never freed. Protected by the lock of the knobs.
 */
static char *resource_name;

/* --- who has what --- */

/**
 * struct claim - what lies in a range
 * @start: first byte
 * @end: last byte
 * @ours: bytes that a knob has added
 * @busy: bytes of other System RAM
 * @ram: the name of that
 * @name: the name of something else than a knob's memory that is there
 */
struct claim {
	u64 start;
	u64 end;
	u64 ours;
	u64 busy;
	char ram[64];
	char name[64];
};

/* Resources that tell of memory, and are not the use of it */
static bool is_memory_window(const char *name)
{
	return !strcmp(name, "Soft Reserved") ||
	       !strncmp(name, "CXL Window", strlen("CXL Window"));
}

static int note_claim(u64 start, u64 end, const char *name, void *arg)
{
	struct claim *claim = arg;

	start = max(start, claim->start);
	end = min(end, claim->end);
	if (start > end || is_memory_window(name))
		return 0;

	if (!strcmp(name, MHP_RESOURCE_NAME)) {
		claim->ours += end - start + 1;
		return 0;
	}
	/* Children come after their parents, and say more. */
	strscpy_pad(claim->name, name);
	if (!strncmp(name, "System RAM", strlen("System RAM"))) {
		strscpy_pad(claim->ram, name);
		claim->busy += end - start + 1;
	}
	return 0;
}

static int read_claim_once(struct mhp_request *req, struct claim *claim)
{
	memset(claim, 0, sizeof(*claim));
	claim->start = req->start;
	claim->end = req->start + req->size - 1;
	return mhp_walk_iomem(note_claim, claim);
}

/* Resources may come and go while one reads of them: twice the same is the truth. */
static int read_claim(struct mhp_request *req, struct claim *claim)
{
	struct claim before;
	int ret, tries = 10;

	ret = read_claim_once(req, claim);
	do {
		if (ret)
			return request_err(req, ret,
					   "cannot tell whose the range is: no /proc/iomem");
		before = *claim;
		ret = read_claim_once(req, claim);
	} while (ret || (memcmp(&before, claim, sizeof(before)) && --tries));
	return tries ? 0 : request_err(req, -EAGAIN, "/proc/iomem changes all the time");
}

/* Memory of that name may be of boot, a DIMM, or the probe file. */
static const char *system_ram_owner(const struct mhp_extent *ext)
{
	if (ext && ext->early)
		return "boot memory";
	if (ext && (ext->mgid >= 0 ||
		    mhp_block_has(div64_u64(ext->start, memory_block_size_bytes()),
				  "firmware_node")))
		return "an ACPI memory device";
	return "System RAM that no driver claims, as of ACPI or the probe file";
}

/* Refuse with @err, for the range is somebody else's; say whose. */
static int owner_err(struct mhp_request *req, int err, const struct claim *claim)
{
	const char *owner = claim->busy ? claim->ram : claim->name;
	struct mhp_extent ext;
	bool found;
	int ret;

	if (claim->busy && !strcmp(owner, "System RAM")) {
		ret = mhp_lock();
		if (ret)
			return ret;
		found = mhp_find_extent(req->start, req->size, &ext);
		mhp_unlock();
		owner = system_ram_owner(found ? &ext : NULL);
	}
	return request_err(req, err, "the range belongs to %s", owner);
}

/* Only what a knob has added may be removed by one. */
static int check_owner(struct mhp_request *req)
{
	struct claim claim;
	int ret = read_claim(req, &claim);

	if (ret)
		return ret;
	if (claim.busy)
		return owner_err(req, -EBUSY, &claim);
	if (!claim.ours)
		return request_err(req, -ENOENT, "no System RAM in the range");
	if (claim.ours != req->size)
		return request_err(req, -ENOENT, "only %#llx bytes of the range are System RAM",
				   claim.ours);
	return 0;
}

/* --- extents of a range --- */

/**
 * struct coverage - the extents of a range
 * @req: the range
 * @bytes: in extents
 * @online: of these, online
 * @cut: an extent reaches beyond the range
 * @cut_at: where that begins
 */
struct coverage {
	struct mhp_request *req;
	u64 bytes;
	u64 online;
	bool cut;
	u64 cut_at;
};

static int note_coverage(const struct mhp_extent *ext, void *arg)
{
	struct coverage *cover = arg;

	if (ext->start < cover->req->start ||
	    ext->start + ext->size > cover->req->start + cover->req->size) {
		cover->cut = true;
		cover->cut_at = ext->start;
	}
	cover->bytes += ext->size;
	if (ext->online)
		cover->online += ext->size;
	return 0;
}

static int read_coverage(struct mhp_request *req, struct coverage *cover)
{
	memset(cover, 0, sizeof(*cover));
	cover->req = req;
	mhp_walk_extents(req->start, req->size, note_coverage, cover);
	if (!cover->bytes)
		return request_err(req, -ENOENT, "no System RAM in the range");
	if (cover->cut)
		return request_err(req, -EINVAL, "the range would cut the extent at %#llx",
				   cover->cut_at);
	if (cover->bytes != req->size)
		return request_err(req, -ENOENT, "only %#llx bytes of the range are System RAM",
				   cover->bytes);
	return 0;
}

static int check_coverage(struct mhp_request *req)
{
	struct coverage cover;
	int ret = mhp_lock();

	if (ret)
		return ret;
	ret = read_coverage(req, &cover);
	mhp_unlock();
	return ret;
}

/* --- online and offline --- */

#if defined(MHP_SUBSECTION) && IS_ENABLED(CONFIG_KUNIT)

static int offline(const struct mhp_request *req)
{
	struct range range = { .start = req->start, .end = req->start + req->size - 1 };

	return offline_memory_ranges(&range, 1, true);
}

static int change_range(struct mhp_request *req, bool online, enum mmop type)
{
	struct coverage cover;
	int ret = lock_device_hotplug_killable();

	if (ret)
		return ret;
	ret = read_coverage(req, &cover);
	if (!ret && cover.online == (online ? req->size : 0))
		ret = request_err(req, -EALREADY, "all of the range is %s already",
				  online ? "online" : "offline");
	if (!ret)
		ret = online ? online_memory_range(req->start, req->size, type) :
			       offline(req);
	unlock_device_hotplug();
	return ret;
}

/* What was asked for with online=, whatever the default policy has done. */
static int apply_online_type(struct mhp_request *req)
{
	struct coverage cover;
	int ret = lock_device_hotplug_killable();

	if (ret)
		return ret;
	ret = read_coverage(req, &cover);
	if (!ret && cover.online)
		ret = offline(req);
	if (!ret && req->online_type != MMOP_OFFLINE)
		ret = online_memory_range(req->start, req->size, req->online_type);
	unlock_device_hotplug();
	return ret;
}

#else

static int change_range(struct mhp_request *req, bool online, enum mmop type)
{
	return request_err(req, -EOPNOTSUPP, "n/a: this kernel exports nothing to %s memory",
			   online ? "online" : "offline");
}

static int apply_online_type(struct mhp_request *req)
{
	return -EOPNOTSUPP;
}

#endif /* MHP_SUBSECTION && KUNIT */

/**
 * mhp_online() - take the extents of a range online
 * @req: the request
 *
 * Context: Process context.
 * Return: 0, or -errno with the reason in @req
 */
int mhp_online(struct mhp_request *req)
{
	enum mmop type = req->keys & MHP_KEY_ONLINE ? req->online_type : MMOP_ONLINE;

	if (type == MMOP_OFFLINE)
		return request_err(req, -EINVAL, "online=offline makes no sense here");
	return change_range(req, true, type);
}

/**
 * mhp_offline() - take the extents of a range offline, all or none
 * @req: the request
 *
 * Context: Process context. May take long if the memory is in use.
 * Return: 0, or -errno with the reason in @req
 */
int mhp_offline(struct mhp_request *req)
{
	return change_range(req, false, MMOP_OFFLINE);
}

/* --- add and remove --- */

static int check_free(struct mhp_request *req)
{
	struct claim claim;
	int ret = read_claim(req, &claim);

	if (ret)
		return ret;
	if (claim.ours)
		return request_err(req, -EEXIST, "a knob has added memory there already");
	if (claim.name[0])
		return owner_err(req, claim.busy ? -EEXIST : -EBUSY, &claim);
	return 0;
}

/*
 * The kernel believes whoever adds memory, and dies of address space without. Nobody
 * may claim the range while it is written to. On arm64, even to look would be fatal:
 * a load that nothing answers is an external abort.
 */
static int check_memory(struct mhp_request *req)
{
	u64 end = req->start + req->size, addr;
	int ret = 0;

	if (!IS_ENABLED(CONFIG_X86_64))
		return 0;
	if (!request_mem_region(req->start, req->size, "mhp_debug"))
		return request_err(req, -EBUSY, "something in the range is busy");
	for (addr = req->start; !ret && addr < end; addr += SUBSECTION_SIZE) {
		if (!mhp_memory_answers(addr) ||
		    !mhp_memory_answers(addr + SUBSECTION_SIZE - PAGE_SIZE))
			ret = request_err(req, -ENXIO, "no memory answers at %#llx",
					  addr);
		else if (fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
	release_mem_region(req->start, req->size);
	return ret;
}

/*
 * What adds and removes memory takes the lock of hotplug by itself, and cannot be
 * killed while it waits. Wait here first; then there is hardly anybody to wait for.
 */
static int wait_for_hotplug(void)
{
	int ret = mhp_lock();

	if (!ret)
		mhp_unlock();
	return ret;
}

/**
 * mhp_add() - add a range of System RAM
 * @req: the request
 *
 * Context: Process context.
 * Return: 0, or -errno with the reason in @req, and nothing was added, unless the
 * reason says otherwise
 */
int mhp_add(struct mhp_request *req)
{
	mhp_t flags = MHP_NONE;
	int nid = req->nid;
	int ret, undo;

#ifndef MHP_SUBSECTION
	if (req->keys & MHP_KEY_ONLINE)
		return request_err(req, -EOPNOTSUPP,
				   "n/a: this kernel exports nothing for online=");
#endif
	if (req->memmap == MHP_MEMMAP_SELF) {
		if (!mhp_supports_memmap_on_memory())
			return request_err(req, -EOPNOTSUPP,
					   "memory_hotplug.memmap_on_memory is off");
		flags = MHP_MEMMAP_ON_MEMORY;
	}
	ret = check_free(req) ?: check_memory(req);
	if (ret)
		return ret;

	if (!resource_name) {
		resource_name = kstrdup(MHP_RESOURCE_NAME, GFP_KERNEL);
		if (!resource_name)
			return -ENOMEM;
		kmemleak_not_leak(resource_name);
	}
	if (nid == NUMA_NO_NODE)
		nid = memory_add_physaddr_to_nid(req->start);
	ret = wait_for_hotplug();
	if (ret)
		return ret;
	ret = add_memory_driver_managed(nid, req->start, req->size,
					resource_name, flags);
	if (ret || !(req->keys & MHP_KEY_ONLINE))
		return ret;

	ret = apply_online_type(req);
	/* To remove it again might take long, and cannot be killed. */
	if (ret == -EINTR)
		return request_err(req, ret,
				   "killed after the memory was added; its state is by the default policy");
	if (ret) {
		request_err(req, ret, "the memory was added, but did not change its state; it was removed again");
		undo = offline_and_remove_memory(req->start, req->size);
		if (undo)
			snprintf(req->reason, sizeof(req->reason),
				 "the memory was added, but did not change its state, and could not be removed: %d",
				 undo);
	}
	return ret;
}

/**
 * mhp_remove() - remove a range that a knob has added, and that is offline
 * @req: the request
 *
 * Nobody else may remove what a knob has added, and knobs are turned one at a time:
 * what check_owner() has found holds on. check_coverage() waits as wait_for_hotplug()
 * does.
 *
 * Context: Process context.
 * Return: 0, or -errno with the reason in @req
 */
int mhp_remove(struct mhp_request *req)
{
	int ret = check_owner(req) ?: check_coverage(req);

	if (ret)
		return ret;
	ret = remove_memory(req->start, req->size);
	return ret == -EBUSY ? request_err(req, ret, "memory of the range is online") : ret;
}

/**
 * mhp_offline_and_remove() - take a range offline that a knob added, and remove it
 * @req: the request
 *
 * Context: Process context. May take long if the memory is in use.
 * Return: 0, or -errno with the reason in @req, and the range is as it was
 */
int mhp_offline_and_remove(struct mhp_request *req)
{
	int ret = check_owner(req) ?: check_coverage(req);

	if (ret)
		return ret;
	return offline_and_remove_memory(req->start, req->size);
}
