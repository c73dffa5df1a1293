/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included ahead of every source file of FLAVOUR=large-order: the largest page of the
 * page allocator has 32 MiB with pages of 4 KiB. On arm64, the default of Kconfig has
 * no prompt; elsewhere there is none.
 */
#undef CONFIG_ARCH_FORCE_MAX_ORDER
#define CONFIG_ARCH_FORCE_MAX_ORDER 13
