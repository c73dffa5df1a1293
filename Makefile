# SPDX-License-Identifier: GPL-2.0
BASE ?= 6.12
FLAVOUR ?= patched
export BASE FLAVOUR KDIR JOBS ACCEL ARCH

kernel:
	@scripts/kernel.sh build
tree:
	@scripts/kernel.sh tree
.PHONY: kernel tree
