# SPDX-License-Identifier: GPL-2.0
#
# Every target is one call of a script; 'make help' lists them.

# A kernel tree tells by its version which base it is.
ifeq ($(origin BASE),undefined)
BASE := $(if $(KDIR),$(shell sed -nE 's/^VERSION = //p; s/^PATCHLEVEL = /./p' \
	$(KDIR)/Makefile 2>/dev/null | tr -d '\n'),7.3)
endif
FLAVOUR ?= patched
export BASE FLAVOUR KDIR JOBS ACCEL ARCH PAGES FROM TO POSTING

# A tree made from KDIR= has folders of its own, and so has one that ends with a posting,
# and each kind of arm64.
where = $(BASE)$(if $(KDIR),-kdir)$(if $(POSTING),-$(POSTING))
arm64 = $(filter arm64,$(ARCH))
images = $(where)$(if $(arm64),/arm64-$(PAGES))
arm64-archs = $(foreach p,$(or $(PAGES),4k 64k),--arch arm64-$(p))

ifneq ($(arm64),)
ifneq ($(filter test-debug test-debian test-distro measure soak check bisect kunit kunit-mutants kunit-coverage,$(MAKECMDGOALS)),)
$(error ARCH=arm64 is for kernel, module, run, shell, test and test-long)
endif
run shell module: PAGES := $(or $(PAGES),4k)
endif

# What the cases can count on at the end of a posting
have = $(if $(POSTING),--have $(shell awk '$$1 == "$(POSTING)" { print $$2 }' patches/$(BASE)/postings))

.DEFAULT_GOAL := help
.NOTPARALLEL:

help: ## list the targets
	@echo 'Targets:'
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1 \2/p' $(MAKEFILE_LIST) | \
		awk '{ t = $$1; $$1 = ""; printf "  %-15s%s\n", t, $$0 }'
	@echo 'Variables:'
	@echo '  BASE=          7.3 (default) or 6.12: patches/BASE, Debian'"'"'s linux-source-BASE; with KDIR= the'
	@echo '                 one which that is'
	@echo '  KDIR=          use this source tree instead of the Debian package'
	@echo '  POSTING=       a folder of patches/BASE: the series up to it, for apply, tree, kernel, run, shell,'
	@echo '                 kunit and test; that posting alone for patches and bisect'
	@echo '  FLAVOUR=       for kernel, run and shell: patched (default), stock, lifetime (up to 02-lifetime),'
	@echo '                 debug, release and stock-release (without DEBUG_VM), distro and stock-distro'
	@echo '                 (configured as a kernel of Debian for clouds), or large-order (pages of up to'
	@echo '                 32 MiB), which kunit takes, too'
	@echo '  ARCH=          x86_64 (default) or arm64, for kernel, run, shell and test'
	@echo '  PAGES=         with ARCH=arm64: 4k or 64k (default: both; 4k for run and shell)'
	@echo '  JOBS=          parallel compile jobs (default: one per CPU)'
	@echo '  ACCEL=         kvm or tcg (default: kvm where a guest really boots under it)'
	@echo '  FROM= TO=      for bisect: the first and the last patch to try (default: all)'
	@echo '  CASES=         test cases to run (default: all)'
	@echo '  SECONDS=       for soak: time for each of its kinds (default: 600)'
	@echo '  FLAVOURS=      for soak: kernels (default: stock lifetime patched; debug as well)'

run: kernel-both ## plug two odd DIMMs into a guest and print what became of every byte
	@BASE=$(images) scripts/run.py

# Of the stock kernel, cases that are named get what they need.
named = kernel $(if $(wildcard build/$(where)/stock/vmlinuz),kernel-stock)

test: $(if $(arm64),kernel-test,$(if $(CASES),$(named),$(if $(filter-out --have debug,$(have)),kernel-test,kernel-others))) ## run the test cases on the patched kernel, compared with stock
	@BASE=$(where) scripts/test.py $(have) $(if $(arm64),$(arm64-archs)) $(CASES)

test-quick: kernel ## the quick cases, and KUnit as a module, on the patched kernel alone
	@BASE=$(where) scripts/test.py $(have) --quick --no-stock kunit_as_module

test-distro: deps ## the same, on a kernel that is configured as Debian's
	@FLAVOUR=distro scripts/kernel.sh build
	@BASE=$(where) scripts/test.py $(have) --flavour distro --quick --no-stock kunit_as_module $(CASES)

test-debug: deps ## run the test cases on the debug flavour
	@FLAVOUR=stock scripts/kernel.sh build
	@FLAVOUR=debug scripts/kernel.sh build
	@BASE=$(where) scripts/test.py --flavour debug $(CASES)

test-debian: deps ## the cases with a Debian 13 in the guest, beside stock
	@FLAVOUR=stock scripts/kernel.sh build
	@FLAVOUR=distro scripts/kernel.sh build
	@scripts/debian-image.sh
	@BASE=$(where) scripts/test.py --flavour distro --jobs 2 $(or $(CASES),in_debian_)

test-long: kernel-others kernel-arm64 kernel-large-order ## run them with the long repetitions, and on arm64
	@BASE=$(where) scripts/test.py --long $(if $(arm64),,--arch x86_64) $(arm64-archs) $(CASES)

measure: kernel-test kernel-release kernel-arm64 ## print the results tables: usable MiB, memmap, virtio-mem, text size, instructions
	@BASE=$(where) scripts/measure.py

soak: FLAVOURS := $(or $(FLAVOURS),stock lifetime patched)
soak: deps ## plug and unplug while all walkers of memory walk: how far each kernel comes
	@for f in $(FLAVOURS); do FLAVOUR=$$f scripts/kernel.sh build || exit 1; done
	@BASE=$(where) scripts/soak.py --seconds $(or $(SECONDS),600) --flavours $(FLAVOURS)

lsmem: deps ## build Debian's lsmem with patches/util-linux, which counts what there is of a memory block
	@scripts/lsmem.sh

module: kernel ## build the companion module for that kernel: mhp_debug.ko
	@scripts/module.sh module build/$(images)/$(FLAVOUR)

kunit: deps ## run the KUnit suites built in, by the kernel's own kunit.py
	@scripts/kernel.sh tree
	@scripts/kunit.sh run $(CASES)

kunit-module: kernel-test ## run them as a module, in a guest next to real devices
	@BASE=$(where) scripts/test.py kunit_as_module

kunit-mutants: kernel-both ## break the series on purpose, and show that the suites notice
	@scripts/kernel.sh tree
	@scripts/kunit.sh mutants $(CASES)

kunit-coverage: deps ## print which lines and branches of the series the suites execute
	@scripts/kernel.sh tree
	@scripts/kunit.sh coverage

kunit-install: ## put them into your own kernel tree: make kunit-install KDIR=<tree>
	@scripts/kunit.sh install $(KDIR)

shell: kernel ## interactive guest on this terminal
	@scripts/guest.py shell build/$(images)/$(FLAVOUR)/vmlinuz

kernel: deps ## build build/BASE/FLAVOUR/vmlinuz
	@scripts/kernel.sh build

kernel-both: deps
	@FLAVOUR=stock scripts/kernel.sh build
	@FLAVOUR=$(FLAVOUR) scripts/kernel.sh build

kernel-stock: deps
	@FLAVOUR=stock scripts/kernel.sh build

kernel-test: kernel-stock
	@FLAVOUR=patched scripts/kernel.sh build

# A case gets what else it needs by itself, as Debian's kernel.
kernel-others: kernel-test
	@scripts/kunit.sh build

# Without DEBUG_VM
kernel-release: deps
	@FLAVOUR=stock-release scripts/kernel.sh build
	@FLAVOUR=release scripts/kernel.sh build

kernel-arm64:
	@ARCH=arm64 scripts/deps.sh
	@ARCH=arm64 FLAVOUR=patched scripts/kernel.sh build
	@ARCH=arm64 FLAVOUR=stock scripts/kernel.sh build

# Pages of many granules: KUnit on both
kernel-large-order:
	@FLAVOUR=large-order scripts/kernel.sh build
	@FLAVOUR=large-order scripts/kunit.sh build
	@ARCH=arm64 scripts/deps.sh
	@ARCH=arm64 PAGES=4k FLAVOUR=large-order scripts/kernel.sh build

tree: deps ## build/BASE/tree: base kernel plus series, one commit per patch
	@scripts/kernel.sh tree

patches: ## export that tree's commits to patches/BASE
	@scripts/series.sh patches

apply: ## apply the series to your own kernel tree: make apply KDIR=<tree>
	@scripts/series.sh apply

compare: deps ## list the patches that are not those of the main base, and are not known to be so
	@scripts/series.sh compare

docs: ## take over what was measured into docs/ and README.md
	@scripts/deps.sh docs
	@scripts/docs.py --take

check: ## checkpatch, sparse, kernel-doc, linters, MAINTAINERS; make apply and make dist
	@scripts/deps.sh check
	@FLAVOUR=stock scripts/kernel.sh build
	@FLAVOUR=patched scripts/kernel.sh build
	@scripts/check.sh

check-quick: ## the same without what needs kernels: sparse, and W=1
	@scripts/deps.sh check
	@scripts/kernel.sh tree
	@scripts/check.sh quick

dist: ## tarballs of the postings, with changes and checksums: build/dist
	@scripts/dist.sh

compile-check: ## compile what the series touches for other configurations and CPUs
	@scripts/deps.sh cross
	@scripts/kernel.sh tree
	@scripts/compile-check.sh

bisect: deps ## build, boot and test every patch at its own commit
	@scripts/series.sh bisect

deps: ## install the Debian packages that are missing, or say which
	@scripts/deps.sh

clean: ## remove objects, images and logs; keep the source trees
	rm -rf build/log build/*/kunit build/*/kunit-co* build/*/kunit-large-order build/*/stock build/*/lifetime build/*/patched build/*/debug build/*/large-order build/*/arm64-* \
		build/*/compile-check build/debian-* build/util-linux build/daxctl build/ccache build/guest build/initramfs*.cpio* build/accel

distclean: ## remove all of build/, the work tree with its commits included
	rm -rf build

.PHONY: help docs run test test-quick test-debug test-debian test-long measure soak lsmem module kunit kunit-module kunit-mutants kunit-coverage kunit-install shell kernel kernel-both kernel-stock kernel-test \
	kernel-others kernel-arm64 kernel-large-order tree patches apply check check-quick dist compile-check bisect deps clean distclean
