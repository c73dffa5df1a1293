#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# series.sh patches: export build/BASE/tree to patches/BASE
# series.sh apply:   apply patches/BASE to the tree at KDIR
# series.sh bisect:  build, boot and test every commit of the series

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

scratch=
trap '[ -z "$scratch" ] || rm -rf "$scratch"' EXIT

# --- export ---------------------------------------------------------------

export_patches() {
	local bad cover args=() f last date n=0
	[ -d "$tree" ] || die "$(rel "$tree") does not exist: run 'make tree'"
	[ -z "$KDIR" ] || die "patches are exported from Debian's base only, not with KDIR="
	[ -z "$(git -C "$tree" status --porcelain -uno)" ] ||
		say "note: $(rel "$tree") has uncommitted changes; only commits are exported"
	# Whoever submits the series signs it; nobody is copied in advance.
	bad=$(git -C "$tree" log --format='%h %s%n%b' base..series | grep -inE '^(signed-off-by|cc):' || true)
	[ -z "$bad" ] || die "commit messages must carry no Signed-off-by and no Cc:
$bad"
	[ -n "$(git -C "$tree" rev-list base..series)" ] || die "branch series holds no commits on top of base"
	bad=$(git -C "$tree" log --format='%h %s' base..series | grep -E '^[^ ]+ (fixup|squash|amend)!' || true)
	[ -z "$bad" ] || die "these commits want to be squashed first (git rebase --autosquash):
$bad"
	bad=$(git -C "$tree" log --format='%h %an <%ae> %s' base..series |
		grep -vF " mhp-subsection developers <developers@mhp-subsection.invalid> " || true)
	[ -z "$bad" ] || die "the author of these commits is not the project (git commit --amend --author):
$bad"
	cover=$patchdir/cover-letter.txt
	if [ -f "$cover" ]; then
		git -C "$tree" config branch.series.description "$(cat "$cover")"
		args=(--cover-letter --cover-from-description=subject)
	else
		say "note: no $(rel "$cover"), so no cover letter"
	fi
	scratch=$(mktemp -d)
	# Nothing of the user's own configuration may reach the files.
	GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null LC_ALL=C \
		git "${who[@]}" -C "$tree" format-patch -q -o "$scratch" "${args[@]}" \
		--zero-commit --no-signature --full-index --no-base --no-thread -M -n \
		--subject-prefix=PATCH --diff-algorithm=myers base..series
	# git dates a cover letter by the clock; the last patch's date is stable.
	if [ -f "$cover" ]; then
		last=$(find "$scratch" -name '0*.patch' | sort | tail -n 1)
		date=$(grep -m1 '^Date: ' "$last")
		sed -i "0,/^Date: /s|^Date: .*|$date|" "$scratch/0000-cover-letter.patch"
	fi
	mkdir -p "$patchdir"
	for f in "$patchdir"/0*.patch; do
		[ -e "$scratch/${f##*/}" ] || { [ ! -e "$f" ] || { rm "$f"; say "removed $(rel "$f")"; }; }
	done
	for f in "$scratch"/0*.patch; do
		cmp -s "$f" "$patchdir/${f##*/}" || { cp "$f" "$patchdir/"; chmod 644 "$patchdir/${f##*/}"; n=$((n + 1)); }
	done
	"$top/scripts/kernel.sh" _remember
	say "$(list_patches | wc -l) patches in $(rel "$patchdir"), $n files changed"
}

# --- apply ----------------------------------------------------------------

touched() { sed -nE 's/^(---|\+\+\+) [ab]\/([^\t]*).*/\2/p; s/^rename (from|to) (.*)/\2/p' "$@" | sort -u; }

# Copy the files the series touches to a scratch folder.
stage() {
	local f
	rm -rf "$scratch/t"
	mkdir -p "$scratch/t"
	touched "${list[@]}" | while read -r f; do
		[ -f "$KDIR/$f" ] || continue
		mkdir -p "$scratch/t/$(dirname "$f")"
		cp -p "$KDIR/$f" "$scratch/t/$f"
	done
}

try() { patch -d "$1" -p1 --batch --forward --fuzz=0 --no-backup-if-mismatch "${@:3}" <"$2"; }

already_applied() {
	local i
	stage
	for ((i = ${#list[@]} - 1; i >= 0; i--)); do
		patch -d "$scratch/t" -p1 --batch -R --fuzz=0 <"${list[i]}" >/dev/null 2>&1 || return 1
	done
}

# refuse PATCH FILES: name the patch that does not fit, and its files.
refuse() {
	local files
	files=$(sort -u <<<"$2" | paste -sd ' ')
	die "$KDIR is left as it was: ${1##*/} does not fit${files:+: $files}"
}

# The files of a patch that 'patch' complained about.
complaints() {
	awk '/^(patching|checking) file/ { f = $3; gsub("\047", "", f) }
	     /FAILED|can.t find|ignored/ { print f }' <<<"$2" | grep . && return
	touched "$1" | while read -r f; do [ -e "$KDIR/$f" ] || echo "$f"; done
}

apply_git() {
	local dir out p conflict files id=()
	dir=$(git -C "$KDIR" rev-parse --absolute-git-dir)
	if [ -e "$dir/rebase-apply" ] || [ -e "$dir/rebase-merge" ]; then
		die "$KDIR: a git am or rebase is in progress"
	fi
	[ -z "$(git -C "$KDIR" status --porcelain -uno)" ] ||
		die "$KDIR has uncommitted changes: commit or stash them first"
	git -C "$KDIR" var GIT_COMMITTER_IDENT >/dev/null 2>&1 || id=("${who[@]}")
	if out=$(git "${id[@]}" -C "$KDIR" am --3way "${list[@]}" 2>&1); then
		say "applied ${#list[@]} patches to $KDIR with git am"
		return
	fi
	p=${list[$(($(cat "$dir/rebase-apply/next" 2>/dev/null || echo 1) - 1))]}
	conflict=$(git -C "$KDIR" diff --name-only --diff-filter=U)
	files=$(sed -nE 's/^error: (patch failed: )?([^ :]+)(:[0-9]+|: ).*/\2/p' <<<"$out")
	git "${id[@]}" -C "$KDIR" am --abort
	refuse "$p" "${conflict:-$files}"
}

apply_plain() {
	local p out
	stage
	for p in "${list[@]}"; do
		out=$(try "$scratch/t" "$p") ||
			refuse "$p" "$(complaints "$p" "$out")"
	done
	for p in "${list[@]}"; do
		try "$KDIR" "$p" >/dev/null || die "$KDIR: ${p##*/} failed half way; this should not happen"
	done
	say "applied ${#list[@]} patches to $KDIR with patch"
}

apply() {
	[ -n "$KDIR" ] || die "usage: make apply KDIR=<kernel tree>"
	[ -f "$KDIR/mm/memory_hotplug.c" ] || die "KDIR=$KDIR is no kernel source tree"
	KDIR=$(realpath "$KDIR")
	mapfile -t list < <(list_patches)
	[ "${#list[@]}" -gt 0 ] || die "there are no patches in $(rel "$patchdir")"
	scratch=$(mktemp -d)
	if already_applied; then
		say "$KDIR has these ${#list[@]} patches already"
	elif [ "$(git -C "$KDIR" rev-parse --show-toplevel 2>/dev/null)" = "$KDIR" ]; then
		apply_git
	else
		apply_plain
	fi
}

# --- bisect ---------------------------------------------------------------

bisect() {
	local dir=$bdir-bisect c n k=0 bad=0 start=$SECONDS subject have=boot
	FLAVOUR=stock "$top/scripts/kernel.sh" build
	need_disk 4 "a work tree and a build for bisect"
	n=$(git -C "$tree" rev-list --count base..series)
	[ "$n" -gt 0 ] || die "branch series holds no commits on top of base"
	make_side_tree "$dir"
	for c in $(git -C "$tree" rev-list --reverse base..series); do
		k=$((k + 1))
		subject=$(git -C "$tree" log -1 --format=%s "$c")
		# What the quick tests can count on from here on, see STEPS in tests/lib.py
		case $subject in
		'x86: hot-add System RAM by granules') have=granules ;;
		*'host its memmap'*) have=memmap ;;
		esac
		if [ "$k" -lt "${FROM:-1}" ] || [ "$k" -gt "${TO:-$n}" ]; then
			continue
		fi
		say "=== patch $k of $n: $subject ($((SECONDS - start))s so far)"
		git -C "$dir/tree" checkout -q --detach -f "$c"
		if BASE=$where-bisect KDIR='' FLAVOUR=patched "$top/scripts/kernel.sh" build-only &&
		   BASE=$where-bisect "$top/scripts/test.py" --quick --have $have; then
			say "ok $k"
		else
			say "not ok $k"
			bad=$((bad + 1))
		fi
	done
	n=$((${TO:-$n} - ${FROM:-1} + 1))
	say "$((n - bad)) of $n patches build, boot and pass the quick tests, $((SECONDS - start))s"
	[ "$bad" -eq 0 ]
}

main() {
	case $1 in
	patches) export_patches ;;
	apply) apply ;;
	bisect) bisect ;;
	*) die "usage: series.sh patches|apply|bisect" ;;
	esac
}
main "${1:-}"; exit
