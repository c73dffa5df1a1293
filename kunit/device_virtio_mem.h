/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A virtio-mem device that looks at each request, and answers as it is told to.
 */
#ifndef _MHP_KUNIT_DEVICE_VIRTIO_MEM_H
#define _MHP_KUNIT_DEVICE_VIRTIO_MEM_H

#include <linux/bitmap.h>
#include <linux/prandom.h>
#include <linux/sizes.h>
#include <linux/virtio.h>
#include <linux/virtio_mem.h>
#include <linux/virtio_ring.h>

#include "fixture.h"

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

u64 vmem_start(const struct vmem_device *dev);
u64 vmem_plugged(const struct vmem_device *dev);
struct vmem_device *vmem_must_plug_in(struct kunit *test, unsigned int i, u64 offset,
				      u64 size, u64 block);
void vmem_pull_out(unsigned int i);
int vmem_init(struct kunit *test);
void vmem_exit(struct kunit *test);
int vmem_register_probe(struct kunit_suite *suite);
void vmem_unregister_probe(struct kunit_suite *suite);
void vmem_wait(struct vmem_device *dev);
void vmem_request(struct vmem_device *dev, u64 size);
void vmem_forget(struct vmem_device *dev);
void vmem_refuse(struct vmem_device *dev, unsigned int nth, unsigned int count, u16 refusal);
void vmem_resize(struct vmem_device *dev, u64 size);
void vmem_expect_request(struct vmem_device *dev, unsigned int i, u16 type, u64 offset,
			 u64 size);
void vmem_expect_exact(struct vmem_device *dev);
unsigned long vmem_count_used(u64 start, u64 size);

#endif /* _MHP_KUNIT_DEVICE_VIRTIO_MEM_H */
