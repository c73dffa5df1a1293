#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# debian-image.sh: make build/debian-13.img, an ext4 file system with a small Debian 13 and
# the tools that the cases in tests/debian.py use. No kernel is in it, and no loop device is
# needed. It is made anew when this script changes.

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

suite=trixie
packages=(bpftrace cxl daxctl kexec-tools kmod makedumpfile memtester ndctl numactl procps
          python3-minimal stress-ng)
# What no case reads
without=('/usr/share/doc/*' '/usr/share/man/*' '/usr/share/info/*' '/usr/share/locale/*'
         '/usr/share/icons/*' '/usr/share/X11/*')
out=$build/debian-13.img

# The file system is made of a bind mount: it does not have what is mounted inside.
# shellcheck disable=SC2016 # $1 is the hook's
make_image() {
	local mirror exclude=() path
	mirror=$(debian_mirror) || die "apt knows no mirror of Debian"
	for path in "${without[@]}"; do
		exclude+=(--dpkgopt="path-exclude=$path")
	done
	rm -f "$out.new"
	SOURCE_DATE_EPOCH=1735689600 E2FSPROGS_FAKE_TIME=1735689600 \
	mmdebstrap --variant=minbase --dpkgopt=force-unsafe-io "${exclude[@]}" \
		--include="$(IFS=,; echo "${packages[*]}")" \
		--keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
		--customize-hook='rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*' \
		--customize-hook='mkdir "$1.root" && mount --bind "$1" "$1.root"' \
		--customize-hook='PATH=$PATH:/sbin:/usr/sbin mke2fs -q -t ext4 -L debian -m 0 -N 40000 \
			-U 7f1b6b3e-2f43-4f0c-9d53-0d6a3e2f9a13 -E hash_seed=7f1b6b3e-2f43-4f0c-9d53-0d6a3e2f9a13 \
			-O ^has_journal -d "$1.root" "$1.img" $(($(du -sxm "$1.root" | cut -f1) * 11 / 10 + 64))M' \
		--customize-hook='umount "$1.root" && rmdir "$1.root" && mv "$1.img" "$1/image"' \
		--customize-hook="download /image '$out.new'" \
		"$suite" /dev/null "deb $mirror $suite main"
	mv "$out.new" "$out"
}

case ${1:-} in _make) make_image; exit ;; esac
"$top/scripts/deps.sh" debian
lock "$build/.debian-image.lock"
now=$(sha256sum <"$0")
if [ ! -f "$out" ] || [ "$(cat "$out.state" 2>/dev/null)" != "$now" ]; then
	need_disk 3 "a Debian 13"
	step 1 1 "make a file system with Debian 13" "$logdir/debian-image.log" "$0" _make
	echo "$now" >"$out.state"
fi
