# SPDX-License-Identifier: GPL-2.0
#
# Every target is one call of a script; 'make help' lists them.

BASE ?= 6.12
FLAVOUR ?= patched
export BASE FLAVOUR KDIR JOBS ACCEL ARCH FROM

# A tree made from KDIR= has folders of its own.
where = $(BASE)$(if $(KDIR),-kdir)

.DEFAULT_GOAL := help
.NOTPARALLEL:

help: ## list the targets
	@echo 'Targets:'
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1 \2/p' $(MAKEFILE_LIST) | \
		awk '{ t = $$1; $$1 = ""; printf "  %-14s%s\n", t, $$0 }'
	@echo 'Variables:'
	@echo '  BASE=6.12      kernel to build: patches/BASE, Debian'"'"'s linux-source-BASE'
	@echo '  KDIR=          use this source tree instead of the Debian package'
	@echo '  FLAVOUR=       patched (default), stock or debug, for kernel, run and shell'
	@echo '  JOBS=          parallel compile jobs (default: one per CPU)'
	@echo '  ACCEL=         kvm or tcg (default: kvm where a guest really boots under it)'
	@echo '  FROM=          for bisect: the number of the first patch to try (default: 1)'
	@echo '  CASES=         test cases to run (default: all)'

run: kernel-both ## plug two odd DIMMs into a guest and print what became of every byte
	@BASE=$(where) scripts/run.py

test: kernel-test ## run the test cases on the patched kernel, compared with stock
	@BASE=$(where) scripts/test.py $(CASES)

test-debug: deps ## run them on the debug flavour
	@FLAVOUR=stock scripts/kernel.sh build
	@FLAVOUR=debug scripts/kernel.sh build
	@BASE=$(where) scripts/test.py --flavour debug $(CASES)

test-long: kernel-test ## run them with the long repetitions
	@BASE=$(where) scripts/test.py --long $(CASES)

measure: kernel-test ## print the results table: usable MiB, text size, instructions
	@BASE=$(where) scripts/measure.py

shell: kernel ## interactive guest on this terminal
	@scripts/guest.py shell build/$(where)/$(FLAVOUR)/vmlinuz

kernel: deps ## build build/BASE/FLAVOUR/vmlinuz
	@scripts/kernel.sh build

kernel-both: deps
	@FLAVOUR=stock scripts/kernel.sh build
	@FLAVOUR=$(FLAVOUR) scripts/kernel.sh build

kernel-test: deps
	@FLAVOUR=stock scripts/kernel.sh build
	@FLAVOUR=patched scripts/kernel.sh build

tree: deps ## build/BASE/tree: base kernel plus series, one commit per patch
	@scripts/kernel.sh tree

patches: ## export that tree's commits to patches/BASE
	@scripts/series.sh patches

apply: ## apply the series to your own kernel tree: make apply KDIR=<tree>
	@scripts/series.sh apply

check: ## checkpatch, sparse, kernel-doc, shellcheck, MAINTAINERS
	@scripts/deps.sh check
	@FLAVOUR=stock scripts/kernel.sh build
	@FLAVOUR=patched scripts/kernel.sh build
	@scripts/check.sh

compile-check: ## compile what the series touches for other configurations and CPUs
	@scripts/deps.sh cross
	@scripts/kernel.sh tree
	@scripts/compile-check.sh

bisect: deps ## build, boot and test every patch at its own commit
	@scripts/series.sh bisect

deps: ## install the Debian packages that are missing, or say which
	@scripts/deps.sh

clean: ## remove objects, images and logs; keep the source trees
	rm -rf build/log build/*/stock build/*/patched build/*/debug \
		build/*/compile-check build/guest build/initramfs.cpio* build/accel

distclean: ## remove all of build/, the work tree with its commits included
	rm -rf build

.PHONY: help run test test-debug test-long measure shell kernel kernel-both kernel-test tree \
	patches apply check compile-check bisect deps clean distclean
