// SPDX-License-Identifier: GPL-2.0
/*
 * mhp_virtio_mem: the virtio-mem driver with devices of the suite's own, which look at each
 * request, and answer as they are told to: what is plugged and unplugged, in which order,
 * and what becomes of it when the device refuses.
 *
 * The memory is spare memory, so that it is there whatever the driver asks for.
 */

#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/page-flags.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mem.h>
#include <linux/virtio_ring.h>

#include <kunit/device.h>

#include "fixture.h"

#define RING_SIZE	16
#define MAX_DEVICES	2
#define MAX_BLOCKS	1024
#define MAX_REQUESTS	128
#define MAX_REGION	SZ_512M

/**
 * struct vmem_request - a request of the driver
 * @type: VIRTIO_MEM_REQ_PLUG and its like
 * @addr: where
 * @size: bytes
 */
struct vmem_request {
	u16 type;
	u64 addr;
	u64 size;
};

/**
 * struct vmem_device - a virtio-mem device
 * @vdev: as the driver knows it
 * @test: the case that it belongs to
 * @vq: its queue
 * @ring: where that queue is
 * @taken: how many of its buffers the device has taken
 * @status: as the driver has set it
 * @config: its configuration space
 * @block: device block size
 * @plugged: by blocks
 * @nr_requests: since vmem_forget()
 * @requests: the first of these
 * @refuse_at: the first request that is refused, from 1 on
 * @refusals: how many are
 * @refusal: how
 * @mood: if it is random, from where
 */
struct vmem_device {
	struct virtio_device vdev;
	struct kunit *test;
	struct virtqueue *vq;
	struct vring ring;
	u16 taken;
	u8 status;
	struct virtio_mem_config config;
	u64 block;
	DECLARE_BITMAP(plugged, MAX_BLOCKS);
	unsigned int nr_requests;
	struct vmem_request requests[MAX_REQUESTS];
	unsigned int refuse_at;
	unsigned int refusals;
	u16 refusal;
	struct rnd_state *mood;
};

static struct vmem_device *devices[MAX_DEVICES];
static struct device *parent;

/* How often the driver has begun and ended to do what it is to do */
static unsigned int begun, done;

static int count_begun(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	WRITE_ONCE(begun, begun + 1);
	return 0;
}

static int count_done(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	/* Pairs with vmem_wait(). */
	smp_store_release(&done, done + 1);
	return 0;
}

static struct kretprobe run_probe = {
	.kp.symbol_name = "virtio_mem_run_wq",
	.entry_handler = count_begun,
	.handler = count_done,
};

static u64 vmem_start(const struct vmem_device *dev)
{
	return le64_to_cpu(dev->config.addr);
}

static u64 vmem_plugged(const struct vmem_device *dev)
{
	return le64_to_cpu(READ_ONCE(dev->config.plugged_size));
}

/* What is not plugged, nobody has; what hosts memmap counts as had. */
static unsigned long vmem_count_used(u64 start, u64 size)
{
	unsigned long pfn = PHYS_PFN(start), end = PHYS_PFN(start + size), nr = 0;
	struct page *page;

	for (; pfn < end; pfn++) {
		page = pfn_to_online_page(pfn);
		nr += page && !PageOffline(page);
	}
	return nr;
}

static u16 vmem_refuses(struct vmem_device *dev, u16 type)
{
	if (dev->refusals && dev->nr_requests >= dev->refuse_at) {
		dev->refusals--;
		return dev->refusal;
	}
	if (!dev->mood || prandom_u32_state(dev->mood) % 4)
		return VIRTIO_MEM_RESP_ACK;
	if (type == VIRTIO_MEM_REQ_PLUG && prandom_u32_state(dev->mood) % 2)
		return VIRTIO_MEM_RESP_NACK;
	return VIRTIO_MEM_RESP_BUSY;
}

static u16 vmem_answer(struct vmem_device *dev, const struct virtio_mem_req *req)
{
	const u16 type = virtio16_to_cpu(&dev->vdev, req->type);
	const u64 addr = virtio64_to_cpu(&dev->vdev, req->u.plug.addr);
	const u64 count = virtio16_to_cpu(&dev->vdev, req->u.plug.nb_blocks);
	const u64 size = count * dev->block, offset = addr - vmem_start(dev);
	unsigned long first = offset / dev->block, end = first + count;
	u16 refusal;

	if (dev->nr_requests < MAX_REQUESTS)
		dev->requests[dev->nr_requests] = (struct vmem_request){ type, addr, size };
	dev->nr_requests++;
	KUNIT_EXPECT_TRUE_MSG(dev->test, type == VIRTIO_MEM_REQ_PLUG ||
			      type == VIRTIO_MEM_REQ_UNPLUG, "request of type %u", type);
	KUNIT_EXPECT_TRUE_MSG(dev->test, count && !(offset % dev->block) &&
			      offset < le64_to_cpu(dev->config.usable_region_size) &&
			      size <= le64_to_cpu(dev->config.usable_region_size) - offset,
			      "%#llx bytes at %#llx: not blocks of the region", size, addr);
	if (end > MAX_BLOCKS)
		return VIRTIO_MEM_RESP_ERROR;
	KUNIT_EXPECT_EQ_MSG(dev->test, vmem_count_used(addr, size), 0UL,
			    "%#llx bytes at %#llx: pages that somebody has", size, addr);

	refusal = vmem_refuses(dev, type);
	if (refusal != VIRTIO_MEM_RESP_ACK)
		return refusal;

	if (type == VIRTIO_MEM_REQ_PLUG) {
		KUNIT_EXPECT_GE_MSG(dev->test, find_next_bit(dev->plugged, end, first), end,
				    "%#llx bytes at %#llx: plugged twice", size, addr);
		bitmap_set(dev->plugged, first, count);
	} else {
		KUNIT_EXPECT_GE_MSG(dev->test, find_next_zero_bit(dev->plugged, end, first), end,
				    "%#llx bytes at %#llx: unplugged twice", size, addr);
		bitmap_clear(dev->plugged, first, count);
	}
	WRITE_ONCE(dev->config.plugged_size,
		   cpu_to_le64(bitmap_weight(dev->plugged, MAX_BLOCKS) * dev->block));
	return VIRTIO_MEM_RESP_ACK;
}

/* The driver has put a request into the ring: a buffer for it, and one for the answer. */
static bool vmem_notify(struct virtqueue *vq)
{
	struct vmem_device *dev = container_of(vq->vdev, struct vmem_device, vdev);
	struct vring_desc *out, *in;
	struct vring_used_elem *elem;
	struct virtio_mem_resp *resp;
	struct virtio_mem_req *req;
	u16 head, used;

	while (dev->taken != virtio16_to_cpu(vq->vdev, READ_ONCE(dev->ring.avail->idx))) {
		head = virtio16_to_cpu(vq->vdev, dev->ring.avail->ring[dev->taken++ % RING_SIZE]);
		out = dev->ring.desc + head;
		in = dev->ring.desc + virtio16_to_cpu(vq->vdev, out->next);
		req = phys_to_virt(virtio64_to_cpu(vq->vdev, out->addr));
		resp = phys_to_virt(virtio64_to_cpu(vq->vdev, in->addr));
		resp->type = cpu_to_virtio16(vq->vdev, vmem_answer(dev, req));
		used = virtio16_to_cpu(vq->vdev, dev->ring.used->idx);
		elem = dev->ring.used->ring + used % RING_SIZE;
		elem->id = cpu_to_virtio32(vq->vdev, head);
		elem->len = cpu_to_virtio32(vq->vdev, sizeof(*resp));
		/* Pairs with what virtqueue_get_buf() begins with. */
		smp_store_release(&dev->ring.used->idx, cpu_to_virtio16(vq->vdev, used + 1));
	}
	vring_interrupt(0, vq);
	return true;
}

static void vmem_get(struct virtio_device *vdev, unsigned int offset, void *buf, unsigned int len)
{
	struct vmem_device *dev = container_of(vdev, struct vmem_device, vdev);

	memcpy(buf, (void *)&dev->config + offset, len);
}

static u8 vmem_get_status(struct virtio_device *vdev)
{
	return container_of(vdev, struct vmem_device, vdev)->status;
}

static void vmem_set_status(struct virtio_device *vdev, u8 status)
{
	container_of(vdev, struct vmem_device, vdev)->status = status;
}

static void vmem_reset(struct virtio_device *vdev)
{
	vmem_set_status(vdev, 0);
}

static u64 vmem_get_features(struct virtio_device *vdev)
{
	return BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE);
}

static int vmem_finalize_features(struct virtio_device *vdev)
{
	vring_transport_features(vdev);
	return 0;
}

static int vmem_find_vqs(struct virtio_device *vdev, unsigned int nr, struct virtqueue *vqs[],
			 struct virtqueue_info infos[], struct irq_affinity *desc)
{
	struct vmem_device *dev = container_of(vdev, struct vmem_device, vdev);
	const size_t size = vring_size(RING_SIZE, PAGE_SIZE);
	void *pages = alloc_pages_exact(size, GFP_KERNEL | __GFP_ZERO);

	if (!pages)
		return -ENOMEM;
	dev->taken = 0;
	vring_init(&dev->ring, RING_SIZE, pages, PAGE_SIZE);
	dev->vq = vring_new_virtqueue(0, RING_SIZE, PAGE_SIZE, vdev, true, false, pages,
				      vmem_notify, infos[0].callback, infos[0].name);
	if (!dev->vq) {
		free_pages_exact(pages, size);
		return -ENOMEM;
	}
	vqs[0] = dev->vq;
	return 0;
}

static void vmem_del_vqs(struct virtio_device *vdev)
{
	struct vmem_device *dev = container_of(vdev, struct vmem_device, vdev);

	vring_del_virtqueue(dev->vq);
	free_pages_exact(dev->ring.desc, vring_size(RING_SIZE, PAGE_SIZE));
}

static const struct virtio_config_ops vmem_ops = {
	.get = vmem_get,
	.get_status = vmem_get_status,
	.set_status = vmem_set_status,
	.reset = vmem_reset,
	.get_features = vmem_get_features,
	.finalize_features = vmem_finalize_features,
	.find_vqs = vmem_find_vqs,
	.del_vqs = vmem_del_vqs,
};

static void vmem_release(struct device *device)
{
	kfree(container_of(dev_to_virtio(device), struct vmem_device, vdev));
}

/* A device whose region is at an offset of the spare memory. Ends with the case. */
static struct vmem_device *vmem_must_plug_in(struct kunit *test, unsigned int i, u64 offset,
					     u64 size, u64 block)
{
	const u64 start = mhp_spare_start(test) + offset;
	struct vmem_device *dev;

	KUNIT_ASSERT_LE(test, offset + size, mhp_spare_size());
	KUNIT_ASSERT_LE(test, size / block, (u64)MAX_BLOCKS);
	KUNIT_ASSERT_NULL(test, devices[i]);
	dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, dev);
	dev->test = test;
	dev->block = block;
	dev->config.block_size = cpu_to_le64(block);
	dev->config.addr = cpu_to_le64(start);
	dev->config.region_size = cpu_to_le64(size);
	dev->config.usable_region_size = cpu_to_le64(size);
	dev->vdev.id.device = VIRTIO_ID_MEM;
	dev->vdev.config = &vmem_ops;
	dev->vdev.dev.parent = parent;
	dev->vdev.dev.release = vmem_release;
	devices[i] = dev;
	if (register_virtio_device(&dev->vdev)) {
		devices[i] = NULL;
		put_device(&dev->vdev.dev);
		KUNIT_ASSERT_TRUE_MSG(test, false, "no device can be registered");
	}
	KUNIT_ASSERT_TRUE_MSG(test, dev->status & VIRTIO_CONFIG_S_DRIVER_OK,
			      "the driver does not take the device: status %#x", dev->status);
	return dev;
}

static void vmem_pull_out(unsigned int i)
{
	struct vmem_device *dev = devices[i];

	devices[i] = NULL;
	if (dev)
		unregister_virtio_device(&dev->vdev);
}

static int vmem_init(struct kunit *test)
{
	parent = kunit_device_register(test, "mhp_kunit_virtio_mem");
	if (IS_ERR(parent))
		return PTR_ERR(parent);
	return mhp_fixture_init(test);
}

static void vmem_exit(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < MAX_DEVICES; i++)
		vmem_pull_out(i);
	mhp_fixture_exit(test);
}

static int register_probe(struct kunit_suite *suite)
{
	begun = 0;
	done = 0;
	return register_kretprobe(&run_probe);
}

static void unregister_probe(struct kunit_suite *suite)
{
	unregister_kretprobe(&run_probe);
	/* It can be registered again. */
	run_probe.kp.addr = NULL;
	run_probe.kp.flags = 0;
}

/* Tell the driver that something has changed, and wait until it has done what it can. */
static void vmem_wait(struct vmem_device *dev)
{
	const unsigned int before = READ_ONCE(begun);
	unsigned int try, idle = 0;

	virtio_config_changed(&dev->vdev);
	/* A run that had begun is one of before; another follows memory that went online. */
	for (try = 0; try < 30000 && idle < 10; try++) {
		usleep_range(1000, 2000);
		/* Pairs with count_done(). */
		if (smp_load_acquire(&done) != before && done == READ_ONCE(begun))
			idle++;
		else
			idle = 0;
	}
	KUNIT_EXPECT_EQ_MSG(dev->test, idle, 10, "the driver does not come to an end");
}

/* Ask for a size, and wait until the driver has done what it can. */
static void vmem_request(struct vmem_device *dev, u64 size)
{
	dev->config.requested_size = cpu_to_le64(size);
	vmem_wait(dev);
}

static void vmem_forget(struct vmem_device *dev)
{
	dev->nr_requests = 0;
	dev->refusals = 0;
}

static void vmem_refuse(struct vmem_device *dev, unsigned int nth, unsigned int count, u16 refusal)
{
	vmem_forget(dev);
	dev->refuse_at = nth;
	dev->refusals = count;
	dev->refusal = refusal;
}

/* Have a size. Pages may be in somebody's hands for a moment, and refusals are by chance. */
static void vmem_resize(struct vmem_device *dev, u64 size)
{
	unsigned int try;

	vmem_request(dev, size);
	for (try = 0; try < 50 && vmem_plugged(dev) != size; try++) {
		msleep(20);
		vmem_wait(dev);
	}
	KUNIT_EXPECT_EQ(dev->test, vmem_plugged(dev), size);
}

static void vmem_expect_request(struct vmem_device *dev, unsigned int i, u16 type, u64 offset,
				u64 size)
{
	const struct vmem_request *req = dev->requests + i;

	KUNIT_ASSERT_GT(dev->test, dev->nr_requests, i);
	KUNIT_EXPECT_EQ_MSG(dev->test, req->type, type, "request %u", i);
	KUNIT_EXPECT_EQ_MSG(dev->test, req->addr, vmem_start(dev) + offset, "request %u", i);
	KUNIT_EXPECT_EQ_MSG(dev->test, req->size, size, "request %u", i);
}

/* What is plugged is in use, and nothing else. */
static void vmem_expect_exact(struct vmem_device *dev)
{
	const u64 size = le64_to_cpu(dev->config.region_size);
	unsigned long used;
	bool plugged;
	u64 offset;

	for (offset = 0; offset < size; offset += dev->block) {
		used = vmem_count_used(vmem_start(dev) + offset, dev->block);
		plugged = test_bit(offset / dev->block, dev->plugged);
		KUNIT_EXPECT_EQ_MSG(dev->test, used, plugged ? PHYS_PFN(dev->block) : 0,
				    "offset %#llx", offset);
	}
}

/* All of the region is usable, wherever it lies, and nothing beside it is touched. */
static void mhp_virtio_mem_region(struct kunit *test)
{
	static const struct {
		u64 offset, size, block;
		/* Not usable, at either end */
		u64 before, behind;
	} regions[] = {
		{ SZ_128M, SZ_256M, SZ_2M },
		{ SZ_128M + SZ_2M, SZ_128M - SZ_2M, SZ_2M },
		{ SZ_256M - SZ_2M, SZ_4M, SZ_2M },
		{ SZ_128M + 3 * SZ_2M, 5 * SZ_2M, SZ_2M },
		{ SZ_128M + SZ_2M, SZ_64M + SZ_128M, SZ_1M },
		{ SZ_128M + SZ_1M, SZ_8M, SZ_1M, SZ_1M, SZ_1M },
		{ SZ_128M + SZ_1M, SZ_2M - SZ_1M + SZ_2M, SZ_1M, SZ_1M, 0 },
		{ SZ_128M + SZ_32M, SZ_256M, SZ_16M },
		{ SZ_128M + SZ_64M, SZ_64M + SZ_128M, SZ_64M },
	};
	struct vmem_device *dev;
	unsigned int i;
	u64 start, size;

	mhp_must_set_policy(test, "online_movable");
	for (i = 0; i < ARRAY_SIZE(regions); i++) {
		dev = vmem_must_plug_in(test, 0, regions[i].offset, regions[i].size,
					regions[i].block);
		start = vmem_start(dev) + regions[i].before;
		size = regions[i].size - regions[i].before - regions[i].behind;
		vmem_request(dev, regions[i].size);
		KUNIT_EXPECT_EQ_MSG(test, vmem_plugged(dev), size, "region %u", i);
		KUNIT_EXPECT_EQ_MSG(test, vmem_count_used(start, size), PHYS_PFN(size),
				    "region %u", i);
		mhp_expect_hole(test, ALIGN_DOWN(start - SZ_2M, SZ_2M), SZ_2M);
		mhp_expect_hole(test, start + size, SZ_2M);
		vmem_resize(dev, 0);
		mhp_expect_hole(test, mhp_spare_start(test) + SZ_128M, MAX_REGION - SZ_128M);
		vmem_pull_out(0);
	}
}

/* The usable part of a region grows: what is left of its last block comes then. */
static void mhp_virtio_mem_usable(struct kunit *test)
{
	struct vmem_device *dev = vmem_must_plug_in(test, 0, SZ_2M, SZ_256M, SZ_2M);

	mhp_must_set_policy(test, "online_movable");
	dev->config.usable_region_size = cpu_to_le64(5 * SZ_2M);
	vmem_request(dev, SZ_256M);
	KUNIT_EXPECT_EQ(test, vmem_plugged(dev), (u64)5 * SZ_2M);
	mhp_expect_hole(test, vmem_start(dev) + 5 * SZ_2M, SZ_2M);
	dev->config.usable_region_size = cpu_to_le64(SZ_256M);
	vmem_resize(dev, SZ_256M);
	vmem_expect_exact(dev);
	vmem_resize(dev, 0);
}

/* What is asked of the device: the least number of requests, none across memory blocks. */
static void mhp_virtio_mem_requests(struct kunit *test)
{
	struct vmem_device *dev = vmem_must_plug_in(test, 0, 0, MAX_REGION, SZ_2M);
	const u64 block = memory_block_size_bytes();

	if (block != SZ_128M)
		kunit_skip(test, "memory blocks of %#llx bytes", block);
	mhp_must_set_policy(test, "online_movable");
	vmem_forget(dev);
	vmem_resize(dev, SZ_2M);
	vmem_resize(dev, 31 * SZ_2M);
	vmem_resize(dev, 96 * SZ_2M);
	KUNIT_EXPECT_EQ(test, dev->nr_requests, 4);
	vmem_expect_request(dev, 0, VIRTIO_MEM_REQ_PLUG, 0, SZ_2M);
	vmem_expect_request(dev, 1, VIRTIO_MEM_REQ_PLUG, SZ_2M, 30 * SZ_2M);
	vmem_expect_request(dev, 2, VIRTIO_MEM_REQ_PLUG, 31 * SZ_2M, 33 * SZ_2M);
	vmem_expect_request(dev, 3, VIRTIO_MEM_REQ_PLUG, block, 32 * SZ_2M);

	/* From the end on; what is unplugged within an extent is the first to come again. */
	vmem_forget(dev);
	vmem_resize(dev, 94 * SZ_2M);
	KUNIT_EXPECT_EQ(test, dev->nr_requests, 2);
	vmem_expect_request(dev, 0, VIRTIO_MEM_REQ_UNPLUG, 95 * SZ_2M, SZ_2M);
	vmem_expect_request(dev, 1, VIRTIO_MEM_REQ_UNPLUG, 94 * SZ_2M, SZ_2M);
	vmem_expect_exact(dev);
	KUNIT_EXPECT_TRUE(test, pfn_valid(PHYS_PFN(vmem_start(dev) + 95 * SZ_2M)));
	vmem_forget(dev);
	vmem_resize(dev, 97 * SZ_2M);
	KUNIT_EXPECT_EQ(test, dev->nr_requests, 2);
	vmem_expect_request(dev, 0, VIRTIO_MEM_REQ_PLUG, 94 * SZ_2M, 2 * SZ_2M);
	vmem_expect_request(dev, 1, VIRTIO_MEM_REQ_PLUG, 96 * SZ_2M, SZ_2M);
	vmem_expect_exact(dev);
	vmem_resize(dev, 0);
	mhp_expect_hole(test, vmem_start(dev), 2 * block);
}

/* A sub-block is no smaller than a block of the device. */
static void mhp_virtio_mem_device_blocks(struct kunit *test)
{
	struct vmem_device *dev = vmem_must_plug_in(test, 0, SZ_16M, SZ_256M, SZ_16M);
	unsigned int i;

	mhp_must_set_policy(test, "online_movable");
	vmem_forget(dev);
	vmem_resize(dev, SZ_64M);
	vmem_resize(dev, SZ_256M);
	vmem_resize(dev, SZ_32M);
	vmem_resize(dev, SZ_128M);
	vmem_expect_exact(dev);
	/* Nor is it asked for less. */
	vmem_request(dev, SZ_128M + SZ_8M);
	KUNIT_EXPECT_EQ(test, vmem_plugged(dev), (u64)SZ_128M);
	vmem_resize(dev, 0);
	for (i = 0; i < min(dev->nr_requests, MAX_REQUESTS); i++)
		KUNIT_EXPECT_EQ(test, dev->requests[i].size % SZ_16M, 0ULL);
}

/* The device is busy, or has changed its mind: nothing has changed, and it is asked again. */
static void mhp_virtio_mem_refused(struct kunit *test)
{
	struct vmem_device *dev = vmem_must_plug_in(test, 0, SZ_2M, SZ_256M, SZ_2M);

	mhp_must_set_policy(test, "online_movable");
	/* At once, where it might have been a race with a change of the configuration */
	vmem_refuse(dev, 1, 1, VIRTIO_MEM_RESP_NACK);
	vmem_request(dev, SZ_2M);
	KUNIT_EXPECT_EQ(test, dev->nr_requests, 2);
	KUNIT_EXPECT_EQ(test, vmem_plugged(dev), (u64)SZ_2M);
	vmem_expect_exact(dev);
	vmem_resize(dev, 0);

	/* When a timer has expired, which takes longer than this, or memory has gone online */
	vmem_refuse(dev, 2, UINT_MAX, VIRTIO_MEM_RESP_BUSY);
	vmem_request(dev, SZ_256M);
	KUNIT_ASSERT_GE(test, dev->nr_requests, 2);
	KUNIT_EXPECT_EQ(test, vmem_plugged(dev), memory_block_size_bytes() - SZ_2M);
	vmem_expect_exact(dev);
	mhp_expect_hole(test, dev->requests[1].addr, dev->requests[1].size);
	vmem_forget(dev);
	vmem_resize(dev, SZ_256M);
	vmem_expect_exact(dev);

	/* What was to be unplugged is in use again, as far as it was not. */
	vmem_refuse(dev, 2, UINT_MAX, VIRTIO_MEM_RESP_BUSY);
	vmem_request(dev, SZ_256M - 4 * SZ_2M);
	KUNIT_EXPECT_EQ(test, vmem_plugged(dev), (u64)SZ_256M - SZ_2M);
	vmem_expect_exact(dev);
	vmem_forget(dev);
	vmem_resize(dev, 0);
	mhp_expect_hole(test, vmem_start(dev), SZ_256M);

	/* A device that does not know its own memory is not asked for anything any more. */
	vmem_refuse(dev, 1, 1, VIRTIO_MEM_RESP_ERROR);
	vmem_request(dev, SZ_8M);
	vmem_wait(dev);
	KUNIT_EXPECT_EQ(test, dev->nr_requests, 1);
	KUNIT_EXPECT_EQ(test, vmem_plugged(dev), 0ULL);
	mhp_expect_hole(test, vmem_start(dev), SZ_256M);
}

/* I8: what hosts memmap goes when the memory that it describes has gone, in one go. */
static void mhp_virtio_mem_hosts(struct kunit *test)
{
	struct vmem_device *dev = vmem_must_plug_in(test, 0, SZ_2M, SZ_64M, SZ_2M);
	const u64 hosts = PFN_PHYS((u64)PFN_UP(PHYS_PFN(SZ_64M) * sizeof(struct page)));
	struct mhp_backing backing;
	unsigned int i;

	if (!mhp_supports_memmap_on_memory())
		kunit_skip(test, "memory_hotplug.memmap_on_memory is off");
	mhp_must_set_policy(test, "online_movable");
	vmem_resize(dev, SZ_64M);
	mhp_find_backing(test, vmem_start(dev), SZ_64M, vmem_start(dev),
			 vmem_start(dev) + hosts, &backing);
	KUNIT_EXPECT_EQ(test, backing.within, PHYS_PFN(hosts));
	KUNIT_EXPECT_EQ(test, backing.outside, 0UL);
	vmem_forget(dev);
	vmem_resize(dev, SZ_2M);
	for (i = 0; i < min(dev->nr_requests, MAX_REQUESTS); i++)
		KUNIT_EXPECT_NE(test, dev->requests[i].addr, vmem_start(dev));
	KUNIT_EXPECT_TRUE(test, test_bit(0, dev->plugged));
	KUNIT_EXPECT_TRUE(test, pfn_valid(PHYS_PFN(vmem_start(dev) + SZ_64M - SZ_2M)));
	vmem_forget(dev);
	vmem_resize(dev, 0);
	KUNIT_EXPECT_EQ(test, dev->nr_requests, 1);
	vmem_expect_request(dev, 0, VIRTIO_MEM_REQ_UNPLUG, 0, SZ_2M);
	mhp_expect_hole(test, vmem_start(dev), SZ_64M);
}

/* Memory that is offline is unplugged where it is; what goes online then is what is plugged. */
static void mhp_virtio_mem_offline(struct kunit *test)
{
	struct vmem_device *dev = vmem_must_plug_in(test, 0, SZ_2M, SZ_64M, SZ_2M);
	u64 start = vmem_start(dev);

	mhp_must_set_policy(test, "offline");
	vmem_resize(dev, 8 * SZ_2M);
	mhp_expect_offline(test, start, 8 * SZ_2M);
	vmem_resize(dev, 5 * SZ_2M);
	mhp_expect_offline(test, start, 8 * SZ_2M);
	KUNIT_EXPECT_EQ(test, mhp_online(start, 8 * SZ_2M, MMOP_ONLINE_MOVABLE), 0);
	vmem_expect_exact(dev);
	/* What is not plugged does not keep it online. */
	KUNIT_EXPECT_EQ(test, mhp_offline(start, 8 * SZ_2M), 0);
	mhp_expect_offline(test, start, 8 * SZ_2M);
	KUNIT_EXPECT_EQ(test, mhp_online(start, 8 * SZ_2M, MMOP_ONLINE_MOVABLE), 0);
	vmem_resize(dev, 8 * SZ_2M);
	vmem_expect_exact(dev);
	vmem_resize(dev, SZ_2M);
	KUNIT_EXPECT_EQ(test, mhp_offline(start, 8 * SZ_2M), 0);
	vmem_resize(dev, 0);
	mhp_expect_hole(test, start, 8 * SZ_2M);
}

/* A page that cannot move keeps its sub-block, and its extent, until it is free. */
static void mhp_virtio_mem_busy(struct kunit *test)
{
	struct vmem_device *dev = vmem_must_plug_in(test, 0, SZ_2M, SZ_64M, SZ_2M);
	unsigned long pfn = PHYS_PFN(vmem_start(dev) + 9 * SZ_2M) + 5;

	mhp_must_set_policy(test, "online_movable");
	vmem_resize(dev, SZ_64M);
	mhp_must_take_pages(test, pfn, pfn + 1, GFP_KERNEL);
	vmem_request(dev, 0);
	KUNIT_EXPECT_TRUE(test, test_bit(9, dev->plugged));
	/* With what hosts their memmap, if anything does */
	KUNIT_EXPECT_LE(test, vmem_plugged(dev), (u64)2 * SZ_2M);
	vmem_expect_exact(dev);
	free_contig_range(pfn, 1);
	vmem_resize(dev, 0);
	mhp_expect_hole(test, vmem_start(dev), SZ_64M);
}

/* R1: two devices in one memory block have nothing to do with each other. */
static void mhp_virtio_mem_two(struct kunit *test)
{
	struct vmem_device *one = vmem_must_plug_in(test, 0, SZ_2M, 23 * SZ_2M, SZ_2M);
	struct vmem_device *two = vmem_must_plug_in(test, 1, 24 * SZ_2M, SZ_128M, SZ_1M);

	mhp_must_set_policy(test, "online_movable");
	vmem_resize(one, 23 * SZ_2M);
	vmem_resize(two, SZ_128M);
	vmem_expect_exact(one);
	vmem_expect_exact(two);
	vmem_resize(one, 0);
	mhp_expect_hole(test, vmem_start(one), 23 * SZ_2M);
	vmem_expect_exact(two);
	vmem_resize(one, SZ_2M);
	vmem_resize(two, 0);
	mhp_expect_hole(test, vmem_start(two), SZ_128M);
	vmem_expect_exact(one);
	vmem_resize(one, 0);
}

/* Sizes and refusals at random: what is plugged is in use, at any time, and nothing else. */
static void mhp_virtio_mem_random(struct kunit *test)
{
	struct vmem_device *dev = vmem_must_plug_in(test, 0, SZ_64M + SZ_2M, SZ_256M, SZ_2M);
	u32 seed = get_random_u32();
	struct rnd_state sizes, mood;
	unsigned int round;

	kunit_info(test, "seed %u", seed);
	prandom_seed_state(&sizes, seed);
	prandom_seed_state(&mood, seed + 1);
	mhp_must_set_policy(test, "online_movable");
	dev->mood = &mood;
	for (round = 0; round < 24; round++) {
		vmem_resize(dev, prandom_u32_state(&sizes) % 129 * SZ_2M);
		vmem_expect_exact(dev);
	}
	dev->mood = NULL;
	vmem_resize(dev, 0);
	mhp_expect_hole(test, mhp_spare_start(test), MAX_REGION);
}

static struct kunit_case mhp_virtio_mem_cases[] = {
	KUNIT_CASE(mhp_virtio_mem_region),
	KUNIT_CASE(mhp_virtio_mem_usable),
	KUNIT_CASE(mhp_virtio_mem_requests),
	KUNIT_CASE(mhp_virtio_mem_device_blocks),
	KUNIT_CASE(mhp_virtio_mem_refused),
	KUNIT_CASE(mhp_virtio_mem_hosts),
	KUNIT_CASE(mhp_virtio_mem_offline),
	KUNIT_CASE(mhp_virtio_mem_busy),
	KUNIT_CASE(mhp_virtio_mem_two),
	KUNIT_CASE(mhp_virtio_mem_random),
	{}
};

static struct kunit_suite mhp_virtio_mem_suite = {
	.name = "mhp_virtio_mem",
	.suite_init = register_probe,
	.suite_exit = unregister_probe,
	.init = vmem_init,
	.exit = vmem_exit,
	.test_cases = mhp_virtio_mem_cases,
};

kunit_test_suite(mhp_virtio_mem_suite);
