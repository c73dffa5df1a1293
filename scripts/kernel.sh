#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kernel.sh tree:   build/BASE/tree (base + series) and build/BASE/stock-src
# kernel.sh config: merge and check the configuration of one flavour
# kernel.sh build:  build/BASE/FLAVOUR/{vmlinuz,vmlinux,config}, on arm64
#                   build/BASE/arm64-PAGES/FLAVOUR/...
# kernel.sh build-only: the same from the tree as it stands, for bisect
# kernel.sh make ARGUMENT...: any make where that was built
#
# Environment: BASE FLAVOUR KDIR JOBS ARCH PAGES; see 'make help'.

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

out=$bdir/${variant:+$variant/}$FLAVOUR
obj=$out/obj
name=$where-${variant:+$variant-}$FLAVOUR
# Not compressed for arm64: an emulated CPU is slower at unpacking than at reading.
case $ARCH in
x86_64) image=arch/x86/boot/bzImage ;;
arm64) image=arch/arm64/boot/Image ;;
esac

# --- source ---------------------------------------------------------------

# Download a package into this folder: by the system's lists, or by lists of our own of
# what newer Debians have, from the same mirror; Debian's keyring vouches for them.
download() {
	local apt=$PWD/apt mirror suite
	! apt-get download "$1" || return 0
	mirror=$(debian_mirror) || return
	private_apt "$apt" "Dir::Etc::SourceList \"$apt/sources.list\"" \
		'Dir::Etc::SourceParts "/dev/null"'
	for suite in trixie trixie-backports; do
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
	done >"$apt/sources.list"
	apt-get update
	apt-get download "$1"
}

# unpack_package NAME: a package of Debian's, in build/dl.new
unpack_package() {
	local new=$build/dl.new
	rm -rf "$new"
	mkdir -p "$new" "$build/dl"
	(cd "$new" && download "$1") >&2 ||
		die "neither this Debian nor trixie or trixie-backports has $1: give KDIR=<source tree>"
	dpkg-deb -x "$new/$1"_*.deb "$new" >&2
}

# Where Debian's tarball is, fetching the package when it is not installed.
tarball() {
	local name=linux-source-$BASE t=/usr/src/linux-source-$BASE.tar.xz
	[ -f "$t" ] && { echo "$t"; return; }
	t=$build/dl/$name.tar.xz
	[ -f "$t" ] && { echo "$t"; return; }
	unpack_package "$name"
	mv "$build/dl.new/usr/src/$name.tar.xz" "$t"
	rm -rf "$build/dl.new"
	echo "$t"
}

unpack() {
	local new=$1 t
	rm -rf "$new"
	mkdir -p "$new"
	if [ -n "$KDIR" ]; then
		if git -C "$KDIR" rev-parse -q --verify HEAD >/dev/null 2>&1; then
			git -C "$KDIR" archive --format=tar HEAD | tar -x -C "$new"
		else
			tar -c -C "$KDIR" --exclude=.git . | tar -x -C "$new"
			make -C "$new" mrproper
		fi
	else
		t=$(tarball)
		tar -x -f "$t" -C "$new" --strip-components=1
	fi
}

# One commit whose hash depends on the source alone, tagged base.
import() {
	local new=$1 version what
	version=$(make -s -C "$new" kernelversion)
	what="Linux $version (from KDIR)"
	[ -n "$KDIR" ] || what="Linux $version (Debian linux-source-$BASE)"
	git "${who[@]}" -C "$new" init -q -b series
	git "${who[@]}" -C "$new" add -A -f
	GIT_AUTHOR_DATE='2025-01-01T00:00:00+00:00' \
	GIT_COMMITTER_DATE='2025-01-01T00:00:00+00:00' \
		git "${who[@]}" -C "$new" commit -q --no-verify -m "$what"
	git -C "$new" tag base
}

patches_id() { list_patches | xargs -r cat | sha256sum | cut -d' ' -f1; }

# Apply the series in a work tree; committer dates are the patches' own, so
# that everybody who applies it gets the same hashes.
apply_series() {
	local dir=$1 list
	mapfile -t list < <(list_patches)
	[ "${#list[@]}" -gt 0 ] || return 0
	git "${who[@]}" -C "$dir" am -q --committer-date-is-author-date \
		--keep-non-patch "${list[@]}" && return 0
	git -C "$dir" am --show-current-patch=diff | grep '^+++ ' || true
	git "${who[@]}" -C "$dir" am --abort
	return 1
}

# Remember which patches the branch was made from, and what it was then.
remember() {
	git -C "$1" config mhp.patches "$(patches_id)"
	git -C "$1" config mhp.tip "$(git -C "$1" rev-parse HEAD)"
}

make_tree() {
	local new=$bdir/tree.new
	unpack "$new"
	import "$new"
	apply_series "$new"
	remember "$new"
	mv "$new" "$tree"
}

make_stock() {
	git -C "$tree" worktree prune
	rm -rf "$stock"
	git -C "$tree" worktree prune
	git -C "$tree" worktree add -q --detach "$stock" base
	: >"$bdir/.stock-src"
}

# Rebuild the branch elsewhere first: a patch that fails changes nothing. A
# clone that holds no file but those the patches touch is enough for git am.
redo_series() {
	local new=$bdir/series.new files
	mapfile -t files < <(list_patches | xargs -r sed -nE \
		's/^(---|\+\+\+) [ab]\/([^\t]*).*/\/\2/p; s/^rename (from|to) (.*)/\/\2/p' | sort -u)
	rm -rf "$new"
	git clone -q --shared --no-checkout "$tree" "$new"
	git -C "$new" sparse-checkout set --no-cone "${files[@]:-/COPYING}"
	git -C "$new" checkout -q --detach base
	apply_series "$new"
	git -C "$tree" fetch -q --no-auto-gc "$new" HEAD
	git -C "$tree" reset -q --hard FETCH_HEAD
	remember "$tree"
	rm -rf "$new"
}

# The source with the first postings alone: fixes, and memmap lifetime.
lifetime_src() {
	local dir=$bdir/lifetime-src commit
	commit=$(posting_tip 02-lifetime)
	if [ ! -d "$dir" ]; then
		git -C "$tree" worktree prune
		git -C "$tree" worktree add -q --detach "$dir" "$commit"
	elif [ "$(git -C "$dir" rev-parse HEAD)" != "$commit" ]; then
		git -C "$dir" checkout -q --detach "$commit"
	fi
}

# The source up to POSTING, in a folder of its own
posting_tree() {
	local tip
	POSTING='' "$0" tree
	tip=$(posting_tip "$POSTING")
	lock "$bdir/.lock"
	make_side_tree "$bdir"
	git -C "$tree" checkout -q --detach "$tip"
	exec 9>&-
}

tree() {
	local tip
	if [ -n "$POSTING" ]; then
		posting_tree
		return
	fi
	lock "$bdir/.lock"
	if [ -n "$KDIR" ]; then
		local id
		[ -f "$KDIR/Kbuild" ] || die "KDIR=$KDIR is no kernel source tree"
		id=$KDIR:$(git -C "$KDIR" rev-parse -q --verify HEAD 2>/dev/null || echo none)
		if [ -d "$tree" ] && [ "$(git -C "$tree" config mhp.kdir)" != "$id" ]; then
			die "$(rel "$bdir") was made from $(git -C "$tree" config mhp.kdir), not from $id: remove it first"
		fi
	fi
	if [ ! -d "$tree" ]; then
		need_disk 4 "the kernel source with its git history"
		step 1 2 "unpack ${KDIR:-linux-source-$BASE} and apply patches/$BASE" \
			"$logdir/$where-tree.log" "$0" _tree
		[ -z "$KDIR" ] || git -C "$tree" config mhp.kdir "$id"
	fi
	if [ ! -f "$bdir/.stock-src" ]; then
		if [ -f "$stock/Makefile" ] && [ -z "$(git -C "$stock" status --porcelain 2>&1)" ]; then
			: >"$bdir/.stock-src"
		else
			step 2 2 "check out the stock source" \
				"$logdir/$where-stock-src.log" "$0" _stock
		fi
	fi
	tip=$(git -C "$tree" config mhp.tip || true)
	if [ "$(git -C "$tree" config mhp.patches)" != "$(patches_id)" ]; then
		if [ "$(git -C "$tree" rev-parse HEAD)" = "$tip" ] &&
		   [ "$(git -C "$tree" symbolic-ref -q --short HEAD)" = series ] &&
		   [ -z "$(git -C "$tree" status --porcelain)" ]; then
			step 1 1 "patches/$BASE changed: rebuild branch series" \
				"$logdir/$where-tree.log" "$0" _redo
		else
			say "note: $(rel "$tree") holds work that is not in patches/$BASE; it is kept as it is ('make patches' exports it)"
		fi
	fi
	exec 9>&-
}

# --- configuration --------------------------------------------------------

src() {
	case $FLAVOUR in
	stock | stock-*) echo "$stock" ;;
	lifetime) echo "$bdir/lifetime-src" ;;
	*) echo "$tree" ;;
	esac
}

# Debian's own configuration for clouds, without modules: guests have no place for them.
debian_config() { echo "$build/dl/linux-config-${BASE%%-*}"; }

fetch_debian_config() {
	local name=linux-config-${BASE%%-*} new=$build/dl.new
	[ ! -f "$(debian_config)" ] || return 0
	unpack_package "$name"
	xz -dc "$new/usr/src/$name/config.amd64_none_cloud-amd64.xz" | grep -v '=m$' >"$new/config"
	mv "$new/config" "$(debian_config)"
	rm -rf "$new"
}

fragments() {
	local f base=${BASE%%-*} c=$top/configs	# of 7.3-bisect, too
	[[ $FLAVOUR != *distro ]] || debian_config
	for f in base "$ARCH" "$base" "$base-$ARCH"; do
		[ ! -f "$c/$f.config" ] || echo "$c/$f.config"
	done
	! grep -q ARCH_MHP_SUBSECTION_ENABLE "$(src)/arch/${ARCH%_64}/Kconfig" ||
		echo "$c/series.config"
	f=$c/${FLAVOUR#stock-}.config
	[ ! -f "$f" ] || echo "$f"
}

# check_config FRAGMENT CONFIG LATER...: every line of a fragment must hold in .config, but
# for what later ones say otherwise; name each that does not.
check_config() {
	local config=$2 shown line name bad=0 later=(/dev/null "${@:3}")
	shown=$(rel "$1")
	while read -r line; do
		name=${line#\# }
		name=${name%%[= ]*}
		! grep -qE "^(# )?${name}[= ]" "${later[@]}" || continue
		case $line in
		CONFIG_*=*)
			grep -qxF -- "$line" "$config" && continue
			;;
		'# CONFIG_'*' is not set')
			grep -q "^$name=" "$config" || continue
			;;
		*)
			continue
			;;
		esac
		printf 'error: %s: "%s" did not take: %s\n' "$shown" "$line" \
			"$(grep -E "^(# )?${name}[ =]" "$config" || echo "$name is not visible")"
		bad=1
	done <"$1"
	return $bad
}

merge() {
	local new=$out/config.new files i bad=0
	[[ $FLAVOUR != *distro ]] || fetch_debian_config
	mapfile -t files < <(fragments)
	rm -rf "$new"
	mkdir -p "$new" "$obj"
	if [ -n "$PAGES" ]; then
		echo "CONFIG_ARM64_${PAGES^^}_PAGES=y" >"$new/pages"
		files+=("$new/pages")
	fi
	(cd "$(src)" && ARCH=$ARCH scripts/kconfig/merge_config.sh -n -O "$new" "${files[@]}")
	for i in "${!files[@]}"; do
		[ "${files[i]}" != "$(debian_config)" ] || continue
		check_config "${files[i]}" "$new/.config" "${files[@]:i + 1}" || bad=1
	done
	[ "$bad" -eq 0 ] || return 1
	cmp -s "$new/.config" "$out/config.merged" || {
		cp "$new/.config" "$obj/.config"
		cp "$new/.config" "$out/config.merged"
	}
	rm -rf "$new"
}

# --- build ----------------------------------------------------------------

# What the image depends on: commit, uncommitted changes, new files, fragments.
state() {
	(
		cd "$(src)"
		git rev-parse 'HEAD^{tree}'
		git diff HEAD
		git ls-files -o --exclude-standard -z | xargs -0r sha256sum
		mapfile -t files < <(fragments)
		cat "${files[@]}"
		"${CROSS_COMPILE:-}gcc" --version
	) 2>/dev/null | sha256sum
}

# The compiler sees the source below one path, whichever tree it is of: then ccache
# knows an object again that another flavour, or patch, was built with.
compile() {
	local at=$bdir/src
	mkdir -p "$at"
	if ! unshare -m true 2>/dev/null; then
		compile_at "$(src)" "$@"
		return
	fi
	# shellcheck disable=SC2016
	unshare -m sh -c 'mount --bind "$1" "$2" && shift 2 && exec "$@"' sh \
		"$(src)" "$at" "$0" _compile_at "$at" "$@"
}

compile_at() {
	local at=$1
	shift
	local args
	mapfile -t args < <(make_args "$FLAVOUR")
	make -C "$at" O="$obj" ARCH="$ARCH" -j"$JOBS" LOCALVERSION= "${args[@]}" \
		CC="${ccache[*]} ${CROSS_COMPILE:-}gcc" KBUILD_BUILD_USER=mhp KBUILD_BUILD_HOST=mhp \
		KBUILD_BUILD_TIMESTAMP='2025-01-01' "$@"
}

build() {
	local now
	case $FLAVOUR in
	patched | stock | debug | large-order | release | stock-release | distro | stock-distro) ;;
	lifetime) lifetime_src ;;
	*) die "FLAVOUR=$FLAVOUR: see 'make help'" ;;
	esac
	mkdir -p "$out"
	lock "$out/.lock"
	now=$(state)
	if [ -f "$out/vmlinuz" ] && [ "$(cat "$out/.state" 2>/dev/null)" = "$now" ]; then
		say "$(rel "$out")/vmlinuz is up to date"
		return
	fi
	if [ ! -f "$obj/vmlinux" ]; then
		case $FLAVOUR in
		debug) need_disk 5 "a debug kernel build" ;;
		*distro) need_disk 8 "a build of a distribution's kernel" ;;
		*) need_disk 3 "a kernel build" ;;
		esac
	fi
	step 1 2 "$where ${variant:+$variant }$FLAVOUR: configure" "$logdir/$name-config.log" "$0" _merge
	with_hits step 2 2 "$where ${variant:+$variant }$FLAVOUR: build with $JOBS jobs, some minutes the first time" \
		"$logdir/$name-build.log" "$0" make "${image##*/}" modules
	cp "$obj/$image" "$out/vmlinuz.new"
	cp "$obj/vmlinux" "$out/vmlinux"
	cp "$obj/.config" "$out/config"
	mv "$out/vmlinuz.new" "$out/vmlinuz"
	echo "$now" >"$out/.state"
	say "built $(rel "$out")/vmlinuz"
}

# In one piece, so that editing this file does not disturb a run of it.
main() {
	case $ARCH:$PAGES:${1:-} in
	arm64::config | arm64::build | arm64::build-only)
		for PAGES in 4k 64k; do PAGES=$PAGES "$0" "$1"; done
		return
		;;
	esac
	case ${1:-} in
	tree) tree ;;
	config) tree; mkdir -p "$out"; merge ;;
	build) tree; build ;;
	build-only) build ;;
	_tree) make_tree ;;
	_stock) make_stock ;;
	_redo) redo_series ;;
	_merge) merge ;;
	make) shift; compile "$@" ;;
	_compile_at) shift; compile_at "$@" ;;
	_remember) remember "$tree" ;;
	*) die "usage: kernel.sh tree|config|build|make" ;;
	esac
}
main "$@"; exit
