#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# series.sh patches: export build/BASE/tree to patches/BASE
# series.sh apply:   apply patches/BASE to the tree at KDIR
# series.sh bisect:  build, boot and test every commit of the series
# series.sh compare: list the patches that are not what those of the main base are
#
# POSTING=NN-name: export and bisect only that posting; apply all up to that one.

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

only=$POSTING
POSTING=''
tree=$build/$series/tree
scratch=
trap '[ -z "$scratch" ] || rm -rf "$scratch"' EXIT

# --- export ---------------------------------------------------------------

export_patches() {
	local bad f p last tip n=0
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
	tip=base
	for p in $(postings); do
		last=$tip
		tip=$(posting_tip "$p")
		git -C "$tree" merge-base --is-ancestor "$last" "$tip" ||
			die "$(rel "$patchdir")/postings is not in the order of the series at $p"
		if [ -z "$only" ] || [ "$p" = "$only" ]; then
			export_posting "$p" "$last" "$tip"
		fi
	done
	[ "$tip" = "$(git -C "$tree" rev-parse series)" ] || die "there are patches behind the last of $p"
	[ -n "$only" ] || for f in "$patchdir"/*/; do
		f=$(basename "$f")
		postings | grep -qxF "$f" || { rm -r "${patchdir:?}/$f"; say "removed $(rel "$patchdir")/$f"; }
	done
	"$top/scripts/kernel.sh" _remember
	say "$(list_patches | wc -l) patches in $(rel "$patchdir"), $n files changed"
}

# export_posting NAME FROM TO; counts changed files in n.
export_posting() {
	local dir=$patchdir/$1 cover=$patchdir/$1/cover-letter.txt last date f
	[ -f "$cover" ] || die "no $(rel "$cover")"
	! grep -n '^@' "$cover" || die "$(rel "$cover") is not finished"
	scratch=$(mktemp -d)
	git -C "$tree" branch -q -f posting "$3"
	git -C "$tree" config branch.posting.description "$(cat "$cover")"
	# Nothing of the user's own configuration may reach the files.
	GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null LC_ALL=C \
		git "${who[@]}" -C "$tree" format-patch -q -o "$scratch" \
		--cover-letter --cover-from-description=subject \
		--zero-commit --no-signature --full-index --no-base --no-thread -M -n \
		--subject-prefix=PATCH --diff-algorithm=myers "$2..posting"
	git -C "$tree" branch -q -D posting
	# git dates a cover letter by the clock; the last patch's date is stable.
	last=$(find "$scratch" -name '0*.patch' | sort | tail -n 1)
	date=$(grep -m1 '^Date: ' "$last")
	sed -i "0,/^Date: /s|^Date: .*|$date|" "$scratch/0000-cover-letter.patch"
	for f in "$dir"/0*.patch; do
		[ -e "$scratch/${f##*/}" ] || { [ ! -e "$f" ] || { rm "$f"; say "removed $(rel "$f")"; }; }
	done
	for f in "$scratch"/0*.patch; do
		cmp -s "$f" "$dir/${f##*/}" || { cp "$f" "$dir/"; chmod 644 "$dir/${f##*/}"; n=$((n + 1)); }
	done
	rm -rf "$scratch"
	scratch=
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
		patch -d "$scratch/t" -p1 --force -R --fuzz=0 <"${list[i]}" >/dev/null 2>&1 || return 1
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
	local want p
	[ -n "$KDIR" ] || die "usage: make apply KDIR=<kernel tree>"
	[ -f "$KDIR/mm/memory_hotplug.c" ] || die "KDIR=$KDIR is no kernel source tree"
	KDIR=$(realpath "$KDIR")
	[ -d "$patchdir" ] || die "$KDIR is Linux $BASE, and there are patches for" \
		"$(find "$top/patches" -path '*/postings' -printf '%P\n' | cut -d/ -f1 | sort -V | paste -sd ' '):" \
		"BASE= tries those of one"
	want=$(wanted)
	mapfile -t list < <(patches_of "$want")
	[ "${#list[@]}" -gt 0 ] || die "there are no patches in $(rel "$patchdir")"
	scratch=$(mktemp -d)
	# The first postings may be there already.
	for p in $(tac <<<"$want"); do
		mapfile -t list < <(patches_of "$(sed "/^$p\$/q" <<<"$want")")
		already_applied || continue
		say "$KDIR has these ${#list[@]} patches already, up to $p"
		want=$(sed "0,/^$p\$/d" <<<"$want")
		break
	done
	mapfile -t list < <(patches_of "$want")
	if [ "${#list[@]}" -eq 0 ]; then
		return
	elif [ "$(git -C "$KDIR" rev-parse --show-toplevel 2>/dev/null)" = "$KDIR" ]; then
		apply_git
	else
		apply_plain
	fi
}

# The postings up to POSTING, or all; and the patches of postings.
wanted() {
	[ -z "$only" ] || postings | grep -qxF "$only" || die "POSTING=$only: $(postings | paste -sd ' ')"
	postings | sed "${only:+/^$only\$/q}"
}
patches_of() { local p; for p in $1; do posting_patches "$p"; done; }

# --- bisect ---------------------------------------------------------------

bisect() {
	local p c last tip=base n k=0 tried=0 bad=0 before=0 start=$SECONDS have=boot key
	local passed=$build/$series-bisect/passed
	FLAVOUR=stock "$top/scripts/kernel.sh" build
	need_disk 4 "a work tree and a build for bisect"
	wanted >/dev/null
	n=$(git -C "$tree" rev-list --count base..series)
	make_side_tree "$build/$series-bisect"
	touch "$passed"
	for p in $(postings); do
		last=$tip
		tip=$(posting_tip "$p")
		for c in $(git -C "$tree" rev-list --reverse "$last..$tip"); do
			k=$((k + 1))
			[ "$c" != "$tip" ] || have=$(posting_step "$p")
			[ -z "$only" ] || [ "$p" = "$only" ] || continue
			[ "$k" -ge "${FROM:-1}" ] || continue
			[ "$k" -le "${TO:-$n}" ] || continue
			tried=$((tried + 1))
			say "=== patch $k of $n, $p: $(git -C "$tree" log -1 --format=%s "$c")" \
				"($((SECONDS - start))s so far)"
			key=$(tested_as "$c" "$have")
			if grep -qxF "$key" "$passed"; then
				before=$((before + 1))
				say "ok $k, in a run before this one"
			elif try_patch "$c" "$have"; then
				echo "$key" >>"$passed"
				say "ok $k"
			else
				say "not ok $k"
				bad=$((bad + 1))
			fi
		done
	done
	say "$((tried - bad)) of $tried patches build, boot and pass the quick tests, $((SECONDS - start))s;" \
		"$before of them did in a run before this one ($(rel "$passed"))"
	[ "$tried" -gt 0 ] && [ "$bad" -eq 0 ]
}

# It takes hours: a run goes on where the last one ended. What a patch passed holds for
# the same source and configuration.
tested_as() {
	echo "$(git -C "$tree" rev-parse "$1^{tree}") $2" \
		"$(cat "$top"/configs/*.config | git hash-object --stdin)"
}

# A patch that changes nothing of this kernel, such as documentation or another
# architecture, needs no tests.
tested=
try_patch() {
	local image=$build/$series-bisect/patched/vmlinuz kernel
	git -C "$build/$series-bisect/tree" checkout -q --detach -f "$1"
	BASE=$series-bisect KDIR='' FLAVOUR=patched "$top/scripts/kernel.sh" build-only || return
	kernel="$(sha256sum <"$image") $2"
	if [ "$kernel" = "$tested" ]; then
		say "the same kernel as before"
		return
	fi
	tested=
	BASE=$series-bisect "$top/scripts/test.py" --quick --have "$2" || return
	tested=$kernel
}

# --- compare --------------------------------------------------------------

# patches/BASE/differences has a line for each patch that differs from that of the main
# base, or that only one of the two has: a hash of how, and the subject; lines that are
# indented, with the reason, follow. Only what a patch says and adds counts: what it
# replaces, and what is around, is of the base.
compare() {
	local known=$patchdir/differences new gone
	[ "$BASE" != "$main_base" ] || die "BASE=$BASE is what the series of others are compared with"
	KDIR='' "$top/scripts/kernel.sh" tree
	BASE=$main_base KDIR='' "$top/scripts/kernel.sh" tree
	git -C "$tree" fetch -q --no-tags --no-auto-gc "$build/$main_base/tree" \
		+refs/tags/base:refs/compare/base +refs/heads/series:refs/compare/series
	scratch=$(mktemp -d)
	differences >"$scratch/now"
	grep -E '^[0-9a-f]{12} ' "$known" >"$scratch/known" || true
	new=$(grep -vxFf "$scratch/known" "$scratch/now" || true)
	gone=$(grep -vxFf "$scratch/now" "$scratch/known" || true)
	[ -z "$gone" ] || say "$(rel "$known") has these lines, and it is not so:" "$gone"
	[ -z "$new" ] || say "$(rel "$known") does not have these lines, and it is so:" "$new"
	say "$(wc -l <"$scratch/now") of $(list_patches | wc -l) patches are not those of $main_base; to see how: git -C" \
		"$(rel "$tree") range-diff compare/base..compare/series base..series"
	[ -z "$new$gone" ]
}

differences() {
	GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null \
		git -C "$tree" range-diff --no-color --creation-factor=90 \
		compare/base..compare/series base..series |
		awk -v file="$scratch/body" '
		function flush() {
			if (body == "")
				return
			printf "%s", body >file
			close(file)
			("git hash-object " file) | getline hash
			close("git hash-object " file)
			print substr(hash, 1, 12), subject
			body = ""
		}
		match($0, /^ *[0-9-]+: +[0-9a-f-]+ [=!<>] +[0-9-]+: +[0-9a-f-]+ /) {
			flush()
			subject = substr($0, RLENGTH + 1)
			if ($3 ~ /[<>]/)
				body = $3
		}
		/^    (@@|[-+ ] ## )/ { message = / Commit message/ }
		/^    [-+]\+/ || message && /^    [-+]/ { body = body $0 "\n" }
		END { flush() }'
}

main() {
	case $1 in
	patches) export_patches ;;
	apply) apply ;;
	bisect) bisect ;;
	compare) compare ;;
	*) die "usage: series.sh patches|apply|bisect|compare" ;;
	esac
}
main "${1:-}"; exit
