#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# check.sh [quick]: checkpatch --strict, sparse, kernel-doc and linters, for the series, the
# companion module, the KUnit suites and this repository; that the patches apply, as files
# and as a release. What stock has already is not counted against the series.
# quick: without sparse and W=1, which need kernels that were built.

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# No Signed-off-by: the person who submits the series adds theirs.
# FILE_PATH_CHANGES: new files are covered by entries that exist.
# CAMELCASE: page flag accessors such as __SetPageReserved() are named so.
# UNKNOWN_COMMIT_ID: Debian's source has no history to look a commit up in.
# MACRO_ARG_REUSE: a loop over memory names its cursor more than once.
# ALLOC_WITH_SIZEOF: what modules and suites have to do without, for older kernels.
checkpatch=(--strict --no-signoff --no-summary --terse --show-types
            --ignore FILE_PATH_CHANGES --ignore CAMELCASE
            --ignore UNKNOWN_COMMIT_ID --ignore MACRO_ARG_REUSE --ignore ALLOC_WITH_SIZEOF)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0
quick=
[ "${1:-}" != quick ] || quick=1
result() {
	if [ "$1" -eq 0 ]; then say "ok: $2"; else say "not ok: $2"; bad=1; fi
}

# none WHAT FINDINGS: fail if there are any.
none() {
	[ -z "$2" ] || printf '%s\n' "$2"
	result "$([ -z "$2" ]; echo $?)" "$1"
}

# Findings without line numbers, so that a moved line is no new finding.
plain() { sed -E 's/:[0-9]+(:[0-9]+)?(:| )/: /; s/[ \t]+/ /g' | sort; }

# compare WHAT STOCK PATCHED: fail on findings that stock does not have.
compare() { none "$1" "$(comm -13 <(plain <"$2") <(plain <"$3"))"; }

mapfile -t touched < <([ -d "$tree" ] && git -C "$tree" diff --name-only --diff-filter=d base series)

# --- patches --------------------------------------------------------------
mapfile -t list < <(list_patches)
# checkpatch leaves a cache in the current folder; and it ends at a file that is empty.
checkpatch() {
	(cd "$work" && xargs -r -P "$JOBS" -n 1 perl "$tree/scripts/checkpatch.pl" --root="$tree" \
		"${checkpatch[@]}" "$@") | sed "s|^$top/||"
}
n=0
events='^\+\+\+ b/include/trace/events/'
{ grep -LE "$events" "${list[@]}" || true; } | checkpatch || n=1
# They are laid out as all trace events are, which checkpatch does not know.
{ grep -lE "$events" "${list[@]}" || true; } |
	checkpatch --ignore OPEN_ENDED_LINE --ignore PARENTHESIS_ALIGNMENT || n=1
result "$n" "checkpatch --strict, ${#list[@]} patches"

# --- apply ----------------------------------------------------------------
# A tree of no files but those that the patches touch passes for one of the kernel.
apply() { env -u BASE -u POSTING -u MAKEFLAGS make -s -C "$top" apply KDIR="$work/linux" 2>&1 || true; }
if [ "${#touched[@]}" -gt 0 ]; then
	unpack_touched() {
		rm -rf "$work/linux"
		mkdir "$work/linux"
		git -C "$tree" diff --name-only --diff-filter=a base series |
			xargs git -C "$tree" archive base Makefile | tar -x -C "$work/linux"
	}
	unpack_touched
	{
		apply
		apply
		# A later stable release that has one of the files otherwise
		unpack_touched
		sed -i 's/^SUBLEVEL = .*/SUBLEVEL = 999/' "$work/linux/Makefile"
		sed -i 's/pfn_to_online_page/pfn_to_page_online/' "$work/linux/mm/memory_hotplug.c"
		cp -r "$work/linux" "$work/linux.before"
		apply
		diff -r "$work/linux.before" "$work/linux" && echo 'nothing has changed'
		sed -i 's/^PATCHLEVEL = .*/PATCHLEVEL = 99/' "$work/linux/Makefile"
		apply
	} >"$work/apply"
	n=0
	grep -q "^applied ${#list[@]} patches to $work/linux" "$work/apply" || n=1
	grep -q "^$work/linux has these ${#list[@]} patches already" "$work/apply" || n=1
	grep -q "$work/linux is left as it was: .* does not fit: .*mm/memory_hotplug.c" "$work/apply" || n=1
	grep -qx 'nothing has changed' "$work/apply" || n=1
	grep -q "is Linux ${BASE%%.*}.99, and there are patches for .*$BASE" "$work/apply" || n=1
	[ "$n" -eq 0 ] || cat "$work/apply"
	result "$n" "make apply, by the version of a tree"

	# What README of a release says, where it was unpacked
	unpack_touched
	set +e
	(
		set -ex
		"$top/scripts/dist.sh" "$work/dist"
		(umask 077; TZ=UTC+5 "$top/scripts/dist.sh" "$work/again")
		diff -r "$work/dist" "$work/again"
		tar -x -C "$work" -f "$work/dist/mhp-subsection-"*"-$BASE.tar.xz"
		export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
		cd "$work/linux"
		git init -q
		git config user.name check
		git config user.email check
		git add -A
		git commit -qm base
		cd "$work/mhp-subsection-"*"-$BASE"
		sed -n "s|/path/to/linux|$work/linux|; s/^    ls /ls /p" README | sh -ex
		cd "$work/linux"
		git rm -qr .
		git -C "$tree" archive series Makefile "${touched[@]}" | tar -x
		git add -A
		git diff --cached --exit-code --stat
	) >"$work/dist.log" 2>&1
	n=$?
	set -e
	[ "$n" -eq 0 ] || tail -n 20 "$work/dist.log"
	result "$n" "make dist: the same twice, and applies, which gives branch series"
fi

# --- sparse ---------------------------------------------------------------
objects=()
[ "$quick" ] || for f in "${touched[@]}"; do
	[[ $f == *.c ]] && [ -f "$bdir/patched/obj/${f%.c}.o" ] && objects+=("${f%.c}.o")
done
# shellcheck disable=SC2317 # step calls it
sparse_on() {
	local flavour=$1 src=$2 o list=()
	for o in "${objects[@]}"; do
		[ ! -f "$src/${o%.o}.c" ] || list+=("$o")
	done
	[ "${#list[@]}" -gt 0 ] || return 0
	FLAVOUR=$flavour "$top/scripts/kernel.sh" make -s C=2 "${list[@]}"
}
if [ "${#objects[@]}" -gt 0 ]; then
	for f in stock patched; do
		src=$tree
		[ "$f" = patched ] || src=$stock
		step 1 1 "sparse, $f: ${#objects[@]} objects" "$logdir/sparse-$f.log" sparse_on "$f" "$src"
		grep -E '(warning|error): ' "$logdir/sparse-$f.log" | sed "s|$bdir/src/||g; s|$src/||g; s|\.\./||g" >"$work/sparse-$f" || true
	done
	if grep -q 'sparse is not available' "$logdir/sparse-patched.log"; then
		say "skipped: sparse: that of this Debian is too old for Linux $BASE"
	else
		compare "sparse, ${#objects[@]} objects, findings that stock does not have" \
			"$work/sparse-stock" "$work/sparse-patched"
	fi
fi

# --- kernel-doc -----------------------------------------------------------
docs=()
for f in "${touched[@]}"; do [[ $f == *.[ch] ]] && docs+=("$f"); done
if [ "${#docs[@]}" -gt 0 ]; then
	for f in stock patched; do
		src=$tree
		[ "$f" = patched ] || src=$stock
		(cd "$src" && find "${docs[@]}" -exec perl scripts/kernel-doc -none -Wall {} +) \
			2>&1 | grep -v '^find: ' >"$work/doc-$f" || true
	done
	compare "kernel-doc -Wall, ${#docs[@]} files, findings that stock does not have" \
		"$work/doc-stock" "$work/doc-patched"
fi

# --- companion module, KUnit suites ------------------------------------------------------
n=0
printf '%s\n' "$top"/{module,kunit}/*.[ch] "$top"/scripts/guest/*/*.[ch] | checkpatch -f || n=1
result "$n" "checkpatch --strict, modules and KUnit suites"

none "kernel-doc -Wall, companion module and KUnit suites" \
	"$(perl "$tree/scripts/kernel-doc" -none -Wall "$top"/{module,kunit}/*.[ch] 2>&1)"

[ "$quick" ] || for what in module kunit; do
	for f in stock patched; do
		cp -r "$top/$what" "$work/$what-$f"
		[ "$what" = module ] || cp "$top"/module/{vmemmap.h,probe.h,compat.h,compat.mk} "$work/$what-$f/"
		n=0
		FLAVOUR=$f "$top/scripts/kernel.sh" make -s W=1 C=2 M="$work/$what-$f" modules \
			>"$work/$what-build" 2>&1 || n=1
		sed -i '/sparse is not available/d' "$work/$what-build"
		if [ -s "$work/$what-build" ]; then cat "$work/$what-build"; n=1; fi
		result "$n" "W=1 and sparse, $what/, $f"
	done
done

# --- this repository ------------------------------------------------------
cd "$top"
# with_first_line REGEX: the files whose first line says so
with_first_line() {
	local f line
	git ls-files -co --exclude-standard | while read -r f; do
		[ ! -f "$f" ] || ! read -r line <"$f" || [[ ! $line =~ $1 ]] || echo "$f"
	done
}
mapfile -t scripts < <(with_first_line '^#!.*[/ ](ba)?sh( |$)'; echo scripts/lib.sh)
n=0
shellcheck -x "${scripts[@]}" || n=1
result "$n" "shellcheck, ${#scripts[@]} scripts"

mapfile -t scripts < <({ with_first_line '^#!.*python'; git ls-files -co --exclude-standard '*.py'; } | sort -u)
n=0
flake8 --max-line-length=100 "${scripts[@]}" || n=1
result "$n" "flake8, ${#scripts[@]} files"

mapfile -t entries < <(sed -n 's/^F:\t//p' MAINTAINERS)
none "MAINTAINERS covers every file" "$(git ls-files -- . "${entries[@]/#/:(exclude,glob)}"
	git ls-files --error-unmatch -- "${entries[@]/#/:(glob)}" 2>&1 >/dev/null
	"$tree/scripts/get_maintainer.pl" --no-tree --no-git --no-git-fallback --mpath MAINTAINERS \
		-f Makefile 2>&1 | grep -v 'developers@mhp-subsection.invalid')"

n=0
scripts/docs.py --check || n=1
[ "$(wc -l <README.md)" -le 200 ] || n=1
result "$n" "pages that are made are what they are made of; README.md has at most 200 lines"

none "SPDX lines" "$(git grep -L 'SPDX-License-Identifier:' -- . ':!COPYING' ':!MAINTAINERS' ':!patches' \
	':!docs/results.json' ':!scripts/guest/motd' ':!*.patch' ':!*.txt' ':!*.md' ':!*.svg')"
exit "$bad"
