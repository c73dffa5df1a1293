#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kunit.sh build|run [ARGUMENT...]: the KUnit suites by the kernel's own kunit.py, in a
# tree with the series, or with its first postings. ARGUMENTs go to kunit.py, such as
# names of cases.
# kunit.sh install KDIR: put the suites into a kernel tree that has the series.
# kunit.sh mutants [NAME...]: break the series on purpose, one patch of kunit/mutants/
# after the other, and of its folder for this base, and show that the suite it is named
# after notices; or, for drivers, the guest test. The first line of such a file says
# what it breaks, and the second of which patch: "Patch: SUBJECT".
# kunit.sh coverage: which lines and branches of the series the suites execute.
#
# Environment: as for kernel.sh. FLAVOUR=large-order and ARCH=arm64 make other kernels, for
# build and run.

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

src=$bdir/kunit-src
name=kunit
arch=(--arch="$ARCH" --qemu_config="$top/kunit/qemu_$ARCH.py")
[ -z "$variant" ] || arch+=(--cross_compile="$CROSS_COMPILE")
options=(--make_options="CC=${ccache[*]} ${variant:+$CROSS_COMPILE}gcc")
patience=1800
if [ "$FLAVOUR" = large-order ]; then
	name+=-large-order
	options+=(--make_options="$(make_args large-order)")
	# Of pages of all sizes, there are more, in areas of 16 times the size.
	patience=7200
fi
# Emulated in any case
[ -z "$variant" ] || patience=7200
obj=$bdir/${variant:+$variant/}$name
name+=${variant:+-$variant}
configs=()

# The suites become mm/tests/mhp/ of a kernel tree, and those that need more than KUnit and
# spare memory system/ below it.
install_suites() {
	local to=$1/mm/tests/mhp f dir
	mkdir -p "$to/system"
	for f in "$top"/kunit/{Kconfig,Makefile,*.[ch]} "$top"/module/{probe.h,vmemmap.h,compat.h,compat.mk}; do
		case ${f##*/} in
		sysfs* | race* | device*) dir=$to/system ;;
		*) dir=$to ;;
		esac
		cmp -s "$f" "$dir/${f##*/}" || cp "$f" "$dir/"
	done
	# What has another name now
	for f in "$to"/*.[ch] "$to"/system/*.[ch]; do
		[ -f "$top/kunit/${f##*/}" ] || [ -f "$top/module/${f##*/}" ] || rm "$f"
	done
	grep -q tests/mhp/ "$1/mm/Makefile" ||
		printf 'obj-%s += tests/mhp/\n' "\$(CONFIG_MHP_KUNIT_TEST)" >>"$1/mm/Makefile"
	grep -q tests/mhp/ "$1/mm/Kconfig.debug" ||
		echo 'source "mm/tests/mhp/Kconfig"' >>"$1/mm/Kconfig.debug"
}

# What kunit.py merges. CONFIG_MHP_SUBSECTION comes with a posting.
choose_configs() {
	local config=$top/kunit/.kunitconfig
	if ! grep -q ARCH_MHP_SUBSECTION_ENABLE "$src/arch/${ARCH%_64}/Kconfig"; then
		grep -v CONFIG_MHP_SUBSECTION "$config" >"$bdir/$name.config"
		config=$bdir/$name.config
	fi
	configs+=(--kunitconfig="$config")
	[ "$PAGES" != 64k ] || configs+=(--kconfig_add=CONFIG_ARM64_64K_PAGES=y)
}

# A checkout of what the series' branch has, beside the tree that is worked in; or of
# what a tree of commits has that end before. A mutant that was interrupted does not stay.
update_source() {
	local head=series
	[ -d "$tree/.git" ] || head=HEAD
	head=$(git -C "$tree" rev-parse "$head")
	if [ ! -f "$src/Makefile" ]; then
		need_disk 3 "a tree for the KUnit suites"
		rm -rf "$src"
		git -C "$tree" worktree prune
		git -C "$tree" worktree add -q --detach "$src" "$head"
	elif [ "$(git -C "$src" rev-parse HEAD)" != "$head" ] ||
	     git -C "$src" diff --name-only | grep -qvE '^mm/(Makefile|Kconfig\.debug)$'; then
		git -C "$src" checkout -q -- .
		git -C "$src" checkout -q --detach "$head"
	fi
	install_suites "$src"
}

# kunit.py of 7.3 asks QEMU for KVM, where there is a /dev/kvm. Guests may not boot with it.
without_kvm() {
	local bin=$build/kunit-bin
	mkdir -p "$bin"
	cat >"$bin/qemu-system-x86_64" <<-EOF
		#!/bin/bash
		exec $(command -v qemu-system-x86_64) "\${@/#kvm/tcg}"
	EOF
	chmod +x "$bin/qemu-system-x86_64"
	PATH=$bin:$PATH
}

kunit_py() {
	local verb=$1
	shift
	(cd "$src" && ./tools/testing/kunit/kunit.py "$verb" --build_dir="$obj" \
		"${configs[@]}" "${arch[@]}" "$@")
}

# The cases of a log that kunit.py saw fail, or what the kernel died of
what_failed() {
	sed -E 's/\x1b\[[0-9;]*m//g; s/^\[[0-9:]+\] //' "$1" | grep -oE \
		'^# [a-z_0-9]+: (EXPECTATION|ASSERTION) FAILED|^ +# [a-z_0-9]+: (EXPECTATION|ASSERTION) FAILED|kernel BUG at [^ ]+|BUG: [a-z A-Z]{1,40}|Kernel panic - [a-z A-Z]+' |
		sed -E 's/^ *# //; s/: (EXPECTATION|ASSERTION) FAILED//' | sort -u | head -n 3 | paste -sd, | sed 's/,/, /g'
}

# One mutant: its suite must fail, by a case or a crash, and not by taking too long.
try_mutant() {
	local patch=$1 name suite log why
	name=$(basename "$patch" .patch)
	suite=${name%%-*}
	log=$logdir/$where-mutant-$name.log
	if ! "$0" _build >"$log" 2>&1; then
		say "not ok $name: does not build (log: $(rel "$log"))"
		return 1
	fi
	if kunit_py exec --timeout=300 "$suite" >>"$log" 2>&1; then
		say "not ok $name: $suite passes (log: $(rel "$log"))"
		return 1
	fi
	grep -q "Subtest: $suite\|= $suite (" "$log" || {
		say "not ok $name: $suite has not run (log: $(rel "$log"))"
		return 1
	}
	why=$(what_failed "$log")
	[ -n "$why" ] || {
		say "not ok $name: $suite neither failed nor crashed (log: $(rel "$log"))"
		return 1
	}
	"$top/scripts/docs.py" --caught "$BASE" "$name" "$why"
	say "ok $name: $suite fails: $why"
}

# The same, for what only a guest with devices executes: a kernel as 'make kernel'
# builds it, and the case of scripts/tests/.
try_guest_mutant() {
	local patch=$1 dir=$bdir-bisect name test log
	name=$(basename "$patch" .patch)
	test=${name%%-*}
	log=$logdir/$where-mutant-$name.log
	git -C "$dir/tree" checkout -q --detach -f series
	git -C "$dir/tree" apply "$patch"
	if ! BASE=$where-bisect KDIR='' FLAVOUR=patched "$top/scripts/kernel.sh" build-only >"$log" 2>&1; then
		say "not ok $name: does not build (log: $(rel "$log"))"
		return 1
	fi
	BASE=$where-bisect "$top/scripts/test.py" "$test" >>"$log" 2>&1 || true
	grep -q "^not ok .* $test " "$log" || {
		say "not ok $name: $test passes, or has not run (log: $(rel "$log"))"
		return 1
	}
	"$top/scripts/docs.py" --caught "$BASE" "$name" "$test"
	say "ok $name: $test fails"
}

# The subject of the patch that a mutant breaks
mutant_subject() { sed -n '2s/^Patch: //p' "$1"; }

mutants() {
	local patch name subject subjects try i n=0 bad=0 list=() order=()
	local -A total=() caught=() suites=()
	subjects=$(git -C "$tree" log --reverse --format=%s base..series)
	mapfile -t order <<<"$subjects"
	for patch in "$top"/kunit/mutants/{,"${BASE%-*}"/}*.patch; do
		name=$(basename "$patch" .patch)
		[ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
		subject=$(mutant_subject "$patch")
		grep -qxF -- "${subject:-none}" <<<"$subjects" ||
			die "$(rel "$patch"): line 2 names no patch of the series"
		git -C "$src" apply --check "$patch" || die "$(rel "$patch") does not apply"
		list+=("$patch")
		[[ $name != mhp_* ]] || suites[${name%%-*}]=1
	done
	[ "${#list[@]}" -gt 0 ] || die "no such mutant: $*"
	# A suite that fails anyway would catch anything.
	for name in "${!suites[@]}"; do
		kunit_py exec --timeout=300 "$name" >"$logdir/$where-mutant-none.log" 2>&1 ||
			die "$name fails without any mutant (log: $(rel "$logdir/$where-mutant-none.log"))"
		say "ok $name passes without a mutant"
	done
	make_side_tree "$bdir-bisect"
	for patch in "${list[@]}"; do
		n=$((n + 1))
		subject=$(mutant_subject "$patch")
		total[$subject]=$((${total[$subject]:-0} + 1))
		if [[ $(basename "$patch") != mhp_* ]]; then
			try=try_guest_mutant
		else
			try=try_mutant
			git -C "$src" apply "$patch"
		fi
		if $try "$patch"; then
			caught[$subject]=$((${caught[$subject]:-0} + 1))
		else
			bad=$((bad + 1))
		fi
		[ $try = try_guest_mutant ] || git -C "$src" apply -R "$patch"
	done
	say "caught  patch"
	for i in "${!order[@]}"; do
		subject=${order[i]}
		[ -z "${total[$subject]:-}" ] ||
			printf '%3d/%-3d %2d  %s\n' "${caught[$subject]:-0}" \
				"${total[$subject]}" $((i + 1)) "$subject"
	done
	say "$((n - bad)) mutants caught, $bad not"
	[ "$bad" -eq 0 ]
}

# Objects of their own, with counters in those that the series touches. Kbuild expands
# GCOV_PROFILE for each object; folders that cannot be counted say n themselves.
with_counters() {
	local list
	list=$(git -C "$tree" diff --name-only base series -- '*.c' | sed 's/c$/o/' | tr '\n' ' ')
	export GCOV_PROFILE="\$(filter $list,\$@)"
	obj=$bdir/kunit-coverage
	configs+=(--kunitconfig="$top/kunit/coverage.config")
}

# What was counted is printed, too, when a case has failed.
coverage() {
	local counters=$bdir/kunit-counters rc=0
	rm -rf "$counters"*
	"$top/scripts/coverage.py" run "$bdir/kunit-coverage" "$counters" || rc=$?
	[ -d "$counters-dimms" ] || return "$rc"
	{
		"$top/scripts/coverage.py" report "$tree" "$counters"
		printf '\nThe same, after DIMMs were plugged, ejected, and kept back by what the kernel has there\n\n'
		"$top/scripts/coverage.py" total "$tree" "$counters-dimms"
	} | tee "$logdir/$where-kunit-coverage.txt"
	return "$rc"
}

case ${1:-} in
install)
	[ -n "${2:-}" ] || die "usage: kunit.sh install KDIR"
	[ -f "$2/mm/Kconfig.debug" ] || die "$2 is no kernel source tree"
	grep -q mhp_granule_bytes "$2/include/linux/memory_hotplug.h" ||
		die "$2 does not have the series: run 'make apply KDIR=$2' first"
	install_suites "$2"
	exit
	;;
_build)
	choose_configs
	[ "${2:-}" != coverage ] || with_counters
	kunit_py build --jobs="$JOBS" "${options[@]}"
	exit
	;;
build | run) ;;
mutants | coverage)
	[ "$name$POSTING" = kunit ] || die "$1: for x86-64, FLAVOUR=patched and all of the series"
	;;
*) die "usage: kunit.sh build|run [ARGUMENT...] | mutants [NAME...] | coverage | install KDIR" ;;
esac

verb=$1
shift
[ "$verb" = build ] || [ -n "$variant" ] || [ "$("$top/scripts/guest.py" accel)" = kvm ] || without_kvm
mkdir -p "${obj%/*}"
lock "$bdir/.kunit.lock"
update_source
choose_configs
with_hits step 1 1 "KUnit suites${name#kunit}: build with $JOBS jobs, some minutes the first time" \
	"$logdir/$where-$name-build.log" "$0" _build "$verb"
if [ "$verb" = coverage ]; then
	coverage
	exit
fi
if [ "$verb" = mutants ]; then
	mutants "$@"
	exit
fi
[ "$verb" = run ] || exit 0
kunit_py exec --timeout=$patience "$@"
