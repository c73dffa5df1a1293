# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# What the bash scripts share: names, places, and how they report.

set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
main_base=7.3
: "${BASE:=$main_base}" "${FLAVOUR:=patched}" "${KDIR:=}" "${ARCH:=x86_64}" "${V:=0}"
: "${JOBS:=$(nproc)}" "${PAGES:=}" "${POSTING:=}"

# A tree built from KDIR= never shares a folder with Debian's source, and one that ends
# with a posting has a folder beside that of the whole series.
series=$BASE${KDIR:+-kdir}
where=$series${POSTING:+-$POSTING}
build=$top/build
bdir=$build/$where
tree=$bdir/tree
stock=$bdir/stock-src
patchdir=$top/patches/$BASE
logdir=$build/log
who=(-c "user.name=mhp-subsection developers"
     -c "user.email=developers@mhp-subsection.invalid"
     -c commit.gpgsign=false -c core.autocrlf=false -c gc.auto=0)

# The patches proper, in order, of all postings or of one; cover letters are none.
list_patches() { find "$patchdir" -name '0*.patch' ! -name '0000-*' 2>/dev/null | sort; }
posting_patches() { list_patches | grep -F "/$1/"; }

# patches/BASE/postings has a line for each posting: its folder; the step that tests can
# count on from its last patch on, see STEPS in tests/lib.py; the subject of that patch.
postings() { cut -d' ' -f1 "$patchdir/postings"; }
posting_step() { awk -v name="$1" '$1 == name { print $2 }' "$patchdir/postings"; }

# The commit that a posting ends with. A subject that has changed is an error here, not a
# posting that ends elsewhere.
posting_tip() {
	local subject commit
	subject=$(sed -nE "s/^$1 +[^ ]+ +//p" "$patchdir/postings")
	[ -n "$subject" ] || die "POSTING=$1: $(postings | paste -sd ' ')"
	commit=$(git -C "$build/$series/tree" log --format='%H %s' base..series |
		awk -v s="$subject" 'substr($0, 42) == s { print $1 }')
	[ "$(wc -w <<<"$commit")" -eq 1 ] ||
		die "not one patch of the series has the subject '$subject', which $(rel "$patchdir")/postings says"
	echo "$commit"
}

# private_apt FOLDER LINE...: from here on, apt works in that folder, by these lines of
# configuration: neither the system's lists nor dpkg's state change.
private_apt() {
	local apt=$1
	shift
	mkdir -p "$apt/lists/partial" "$apt/archives/partial"
	: >"$apt/status"
	printf '%s;\n' 'APT::Sandbox::User "root"' "Dir::State \"$apt\"" \
		"Dir::State::status \"$apt/status\"" "Dir::Cache \"$apt\"" "$@" >"$apt/conf"
	export APT_CONFIG=$apt/conf
}

# Where the system gets Debian's packages from
debian_mirror() {
	# shellcheck disable=SC2016 # apt fills it in
	apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' |
		awk 'NR == 1 { print } END { exit !NR }'
}

# elf_libraries ROOT FILE: the path below ROOT of all that a program or library needs.
elf_libraries() {
	local lib
	readelf -l "$2" | sed -n 's/.*program interpreter: \(.*\)]/\1/p'
	readelf -d "$2" | sed -n 's/.*(NEEDED).*\[\(.*\)]/\1/p' | while read -r lib; do
		lib=$(cd "$1" && find lib usr/lib -name "$lib" | head -n 1)
		[ -n "$lib" ] || die "$2: a library is missing"
		echo "/$lib"
		elf_libraries "$1" "$1/$lib"
	done
}

say() { printf '%s\n' "$*"; }
warn() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { warn "$*"; exit 1; }

# The same source gives the same object: in another flavour, at another patch. That option
# has a path that no object does, and differs between work trees.
export CCACHE_DIR=$build/ccache CCACHE_BASEDIR=$bdir CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE=4G
export CCACHE_IGNOREOPTIONS='-fmacro-prefix-map=*'
# Compile in one pass, and know by its headers whether it is the same: that takes a seventh
# less where nothing is known yet.
export CCACHE_DEPEND=1
ccache=()
command -v ccache >/dev/null && ccache=(ccache)

# with_hits CMD...: run it, and say of how many objects ccache knew how many.
with_hits() {
	local before rc=0
	[ "${#ccache[@]}" -gt 0 ] || { "$@"; return; }
	before=$(ccache --print-stats)
	"$@" || rc=$?
	{ printf '%s\n' "$before"; echo; ccache --print-stats; } | awk '
		BEGIN { sign = -1 }
		!NF { sign = 1 }
		$1 ~ /^(direct|preprocessed)_cache_hit$/ { hits += sign * $2 }
		$1 == "cache_miss" { misses += sign * $2 }
		END { printf "ccache had %d of %d objects\n", hits, hits + misses }'
	return "$rc"
}

# What is built for x86-64 is in build/BASE, for others in a folder of it.
variant=
case $ARCH:$PAGES in
x86_64:) ;;
arm64: | arm64:4k | arm64:64k)
	variant=arm64-${PAGES:-4k}
	export CROSS_COMPILE=${CROSS_COMPILE-aarch64-linux-gnu-}
	;;
*) die "ARCH=$ARCH PAGES=$PAGES: x86_64 without PAGES, or arm64 with 4k, 64k or none" ;;
esac

# What to give make for a flavour, beside its configuration
make_args() { [ "$1" != large-order ] || echo "KCFLAGS=-include $top/scripts/large-order.h"; }

# Show a path as the user would type it from the top of the repository.
rel() { printf '%s' "${1#"$top"/}"; }

# step K N WHAT LOG CMD...: run CMD with its output in LOG.
step() {
	local k=$1 n=$2 what=$3 log=$4 start=$SECONDS rc=0
	shift 4
	mkdir -p "$(dirname "$log")"
	printf '[%s/%s] %s (log: %s)\n' "$k" "$n" "$what" "$(rel "$log")"
	"$@" >"$log" 2>&1 </dev/null || rc=$?
	if [ "$rc" -ne 0 ]; then
		printf '[%s/%s] failed after %ds, exit status %d\n' \
			"$k" "$n" $((SECONDS - start)) "$rc" >&2
		first_error "$log" >&2
		return "$rc"
	fi
	printf '[%s/%s] done in %ds\n' "$k" "$n" $((SECONDS - start))
}

# The first line that names an error, with two lines of context, else the tail.
first_error() {
	local line
	# What our own script says counts most.
	line=$(grep -nEm1 '^kernel\.sh: ' "$1" | cut -d: -f1) || true
	[ -n "$line" ] ||
		line=$(grep -nEm1 '(^|[^a-z])(fatal )?error: |undefined reference|No rule to make|\*\*\* |[Nn]o space left|^fatal: |^E: ' "$1" | cut -d: -f1) || true
	if [ -n "$line" ]; then
		say "first error, $(rel "$1"):$line:"
		sed -n "$((line > 2 ? line - 2 : 1)),$((line + 2))p" "$1"
	else
		say "last lines of $(rel "$1"):"
		tail -n 15 "$1"
	fi
}

# need_disk GIB WHAT: refuse before the work, not in the middle of it.
need_disk() {
	local have
	mkdir -p "$build"
	have=$(df -Pk "$build" | awk 'NR == 2 { print int($4 / 1048576) }')
	[ "$have" -ge "$1" ] ||
		die "$2 needs about $1 GiB below $build, and $have GiB are free"
}

# One writer at a time per folder; the lock goes with the process.
lock() {
	mkdir -p "$(dirname "$1")"
	exec 9>"$1"
	flock -w 5 9 || { say "waiting for another make ($(rel "$1"))"; flock 9; }
}

# A folder beside build/BASE for kernels of other commits: its tree is a work tree of
# the same repository, its stock kernel the very same.
make_side_tree() {
	local dir=$1 main=$build/$series
	mkdir -p "$dir"
	ln -sfn "../$series/stock" "$dir/stock"
	ln -sfn "../$series/stock-src" "$dir/stock-src"
	if ! git -C "$dir/tree" rev-parse -q --verify HEAD >/dev/null 2>&1; then
		rm -rf "$dir/tree"
		git -C "$main/tree" worktree prune
		git -C "$main/tree" worktree add -q --detach "$dir/tree" base
	fi
}
