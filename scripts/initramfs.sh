#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# initramfs.sh: make build/initramfs.cpio from the tools that Debian installs.
# The same packages give the same bytes. It is not compressed: an emulated CPU
# copies it faster than it could unpack it.

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

tools=(kmod lsmod modprobe insmod rmmod modinfo
       lsmem chmem lscpu fallocate setpriv
       ndctl daxctl cxl numactl numastat migratepages memhog
       stress-ng bash mkfs.ext4 lspci)
# Without these the guest still does what the tests need.
optional=' cxl numastat migratepages memhog lspci '
data=(/etc/modprobe.d/nvdimm-security.conf /etc/ndctl.conf.d /etc/daxctl.conf.d
      /usr/share/daxctl /etc/ndctl /etc/mke2fs.conf)

out=$build/initramfs.cpio
PATH=$PATH:/usr/sbin:/sbin

# Copy one file, and the libraries it needs, to its own place in the image.
install_file() {
	local from=$1 to=$2 lib
	mkdir -p "$root$(dirname "$to")"
	cp -L "$from" "$root$to"
	if head -c 4 "$from" | grep -q ELF; then
		chmod 755 "$root$to"
		{ ldd "$from" 2>/dev/null || true; } | { grep -oE '/[^ ]+' || true; } | while read -r lib; do
			[ -e "$root$lib" ] && continue
			mkdir -p "$root$(dirname "$lib")"
			cp -L "$lib" "$root$lib"
		done
	fi
}

populate() {
	local t path a
	mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,dev,proc,sys,tmp,run,root,etc,mnt,lib,var}
	install_file "$(command -v busybox)" /bin/busybox
	"$root/bin/busybox" --list | while read -r a; do
		[ "$a" = busybox ] || ln -s /bin/busybox "$root/bin/$a"
	done
	for t in "${tools[@]}"; do
		path=$(command -v "$t") || {
			case $optional in *" $t "*) continue ;; esac
			die "$t is not installed: run 'make deps'"
		}
		rm -f "$root/bin/$t"
		if [ "$(basename "$(readlink -f "$path")")" = kmod ] && [ "$t" != kmod ]; then
			ln -s /usr/bin/kmod "$root/usr/bin/$t"
		else
			install_file "$path" "/usr/bin/$t"
		fi
	done
	for t in "${data[@]}"; do
		[ -e "$t" ] || continue
		mkdir -p "$root$(dirname "$t")"
		cp -rL "$t" "$root$t"
	done
	echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
	echo 'root:x:0:' >"$root/etc/group"
	ln -s /proc/mounts "$root/etc/mtab"
	install -m 644 "$top/scripts/guest/motd" "$root/etc/motd"
	install -m 755 "$top/scripts/guest/init" "$root/init"
}

# What the image depends on, without reading every file.
state() {
	local t
	{
		cat "$0" "$top/scripts/guest/init" "$top/scripts/guest/motd"
		dpkg-query -W busybox busybox-static kmod util-linux ndctl daxctl \
			numactl stress-ng bash libc6 e2fsprogs pciutils || true
		for t in "${tools[@]}"; do command -v "$t" || true; done
	} 2>/dev/null | sha256sum
}

lock "$build/.initramfs.lock"
now=$(state)
[ -f "$out" ] && [ "$(cat "$out.state" 2>/dev/null)" = "$now" ] && exit 0
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
start=$SECONDS
populate
find "$root" -exec touch -h -d '2025-01-01 00:00:00 UTC' {} +
(cd "$root" && find . -mindepth 1 -print0 | LC_ALL=C sort -z |
	cpio --null --quiet --reproducible --renumber-inodes -R 0:0 -H newc -o) >"$out.new"
mv "$out.new" "$out"
echo "$now" >"$out.state"
say "made $(rel "$out") ($(($(stat -c %s "$out") / 1048576)) MiB, $((SECONDS - start))s)"
