# SPDX-License-Identifier: GPL-2.0
#
# What the headers of the kernel have, for compat.h. Kbuild files include this.

# $(call mhp-has,HEADER,PATTERN,MACRO): the macro, if the header has the pattern
mhp-has = $(if $(shell grep -sE '$(2)' $(srctree)/include/$(1)),-D$(3))

ccflags-y += \
	$(call mhp-has,linux/memremap.h,get_dev_pagemap.unsigned long pfn.;,MHP_HAS_PAGEMAP_BY_PFN) \
	$(call mhp-has,linux/memory.h,MEM_FINISH_OFFLINE,MHP_HAS_FINISH_OFFLINE) \
	$(call mhp-has,linux/memory_hotplug.h,offline_and_remove_memory_ranges,MHP_HAS_OFFLINE_RANGES) \
	$(call mhp-has,linux/memory_hotplug.h,online_keeps_pages_t,MHP_HAS_KEEPS_PAGES) \
	$(call mhp-has,linux/page-isolation.h,enum pb_isolate_mode,MHP_HAS_ISOLATE_MODE) \
	$(call mhp-has,linux/shmem_fs.h,shmem_kernel_file_setup.*vma_flags_t,MHP_HAS_VMA_FLAGS) \
	$(call mhp-has,linux/compaction.h,struct capture_control .capc,MHP_HAS_CAPTURE_CONTROL) \
	$(call mhp-has,../mm/slab_common.c,kfunc .* .bpf_get_kmem_cache,MHP_HAS_BPF_KMEM_CACHE) \
	$(call mhp-has,../fs/proc/page.c,KPAGE_FLAGS,MHP_HAS_NO_NOPAGE) \
	$(call mhp-has,kunit/test.h,generate_params..struct kunit,MHP_HAS_GENERATOR_TEST)
