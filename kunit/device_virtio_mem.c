// SPDX-License-Identifier: GPL-2.0
/*
 * The device that mhp_virtio_mem has the driver talk to. Its memory is spare memory, so
 * that it is there whatever the driver asks for.
 */

#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/page-flags.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>

#include <kunit/device.h>

#include "device_virtio_mem.h"

#define RING_SIZE	16

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

u64 vmem_start(const struct vmem_device *dev)
{
	return le64_to_cpu(dev->config.addr);
}

u64 vmem_plugged(const struct vmem_device *dev)
{
	return le64_to_cpu(READ_ONCE(dev->config.plugged_size));
}

/* What is not plugged, nobody has; what hosts memmap counts as had. */
unsigned long vmem_count_used(u64 start, u64 size)
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
struct vmem_device *vmem_must_plug_in(struct kunit *test, unsigned int i, u64 offset,
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

void vmem_pull_out(unsigned int i)
{
	struct vmem_device *dev = devices[i];

	devices[i] = NULL;
	if (dev)
		unregister_virtio_device(&dev->vdev);
}

int vmem_init(struct kunit *test)
{
	parent = kunit_device_register(test, "mhp_kunit_virtio_mem");
	if (IS_ERR(parent))
		return PTR_ERR(parent);
	return mhp_fixture_init_literal(test);
}

void vmem_exit(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < MAX_DEVICES; i++)
		vmem_pull_out(i);
	mhp_fixture_exit(test);
}

int vmem_register_probe(struct kunit_suite *suite)
{
	begun = 0;
	done = 0;
	return register_kretprobe(&run_probe);
}

void vmem_unregister_probe(struct kunit_suite *suite)
{
	unregister_kretprobe(&run_probe);
	/* It can be registered again. */
	run_probe.kp.addr = NULL;
	run_probe.kp.flags = 0;
}

/* Tell the driver that something has changed, and wait until it has done what it can. */
void vmem_wait(struct vmem_device *dev)
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
void vmem_request(struct vmem_device *dev, u64 size)
{
	dev->config.requested_size = cpu_to_le64(size);
	vmem_wait(dev);
}

void vmem_forget(struct vmem_device *dev)
{
	dev->nr_requests = 0;
	dev->refusals = 0;
}

void vmem_refuse(struct vmem_device *dev, unsigned int nth, unsigned int count, u16 refusal)
{
	vmem_forget(dev);
	dev->refuse_at = nth;
	dev->refusals = count;
	dev->refusal = refusal;
}

/* Have a size. Pages may be in somebody's hands for a moment, and refusals are by chance. */
void vmem_resize(struct vmem_device *dev, u64 size)
{
	unsigned int try;

	vmem_request(dev, size);
	for (try = 0; try < 50 && vmem_plugged(dev) != size; try++) {
		msleep(20);
		vmem_wait(dev);
	}
	KUNIT_EXPECT_EQ(dev->test, vmem_plugged(dev), size);
}

void vmem_expect_request(struct vmem_device *dev, unsigned int i, u16 type, u64 offset,
			 u64 size)
{
	const struct vmem_request *req = dev->requests + i;

	KUNIT_ASSERT_GT(dev->test, dev->nr_requests, i);
	KUNIT_EXPECT_EQ_MSG(dev->test, req->type, type, "request %u", i);
	KUNIT_EXPECT_EQ_MSG(dev->test, req->addr, vmem_start(dev) + offset, "request %u", i);
	KUNIT_EXPECT_EQ_MSG(dev->test, req->size, size, "request %u", i);
}

/* What is plugged is in use, and nothing else. */
void vmem_expect_exact(struct vmem_device *dev)
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
