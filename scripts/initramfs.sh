#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# initramfs.sh: make build/initramfs.cpio from the tools that Debian installs, or
# with ARCH=arm64 build/initramfs-arm64.cpio from Debian's packages for arm64.
# The same packages give the same bytes. It is not compressed: an emulated CPU
# copies it faster than it could unpack it.

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

tools=(kmod lsmod modprobe insmod rmmod modinfo
       lsmem chmem lscpu fallocate chrt setpriv
       numactl numastat migratepages memhog bash)
# Without these the guest still does what the tests need.
optional=' cxl numastat migratepages memhog lspci '
data=(/etc/modprobe.d/nvdimm-security.conf /etc/ndctl.conf.d /etc/daxctl.conf.d
      /usr/share/daxctl /etc/ndctl /etc/mke2fs.conf)

out=$build/initramfs.cpio
sysroot=
search=$PATH:/usr/sbin:/sbin
case $ARCH in
x86_64)
	tools+=(ndctl daxctl cxl stress-ng mkfs.ext4 lspci kexec)
	;;
arm64)
	out=$build/initramfs-arm64.cpio
	sysroot=$build/arm64-packages
	search=$sysroot/usr/sbin:$sysroot/usr/bin:$sysroot/sbin:$sysroot/bin
	packages=(busybox-static bash kmod util-linux numactl)
	;;
esac

# Unpack packages of another architecture, and what they depend on.
unpack() {
	local apt=$sysroot.apt deb
	rm -rf "$sysroot" "$apt"
	mkdir -p "$sysroot"
	private_apt "$apt" "APT::Architecture \"$ARCH\"" "APT::Architectures { \"$ARCH\"; }"
	apt-get update
	apt-get install -y --no-install-recommends --download-only "${packages[@]}"
	for deb in "$apt"/archives/*.deb; do
		dpkg-deb -x "$deb" "$sysroot"
	done
	(cd "$apt/archives" && ls -- *.deb) >"$sysroot/.packages"
	echo "${packages[*]}" >"$sysroot/.wanted"
	rm -rf "$apt"
}

# What an ELF file needs, by path in the image.
libraries() {
	if [ -z "$sysroot" ]; then
		{ ldd "$1" 2>/dev/null || true; } | { grep -oE '/[^ ]+' || true; }
		return
	fi
	elf_libraries "$sysroot" "$1"
}

# Copy one file, and the libraries it needs, to its own place in the image.
install_file() {
	local from=$1 to=$2 lib
	mkdir -p "$root$(dirname "$to")"
	cp -L "$from" "$root$to"
	if head -c 4 "$from" | grep -q ELF; then
		chmod 755 "$root$to"
		libraries "$from" | while read -r lib; do
			[ -e "$root$lib" ] && continue
			mkdir -p "$root$(dirname "$lib")"
			cp -L "$sysroot$lib" "$root$lib"
		done
	fi
}

populate() {
	local t path a busybox
	mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,dev,proc,sys,tmp,run,root,etc,mnt,lib,var}
	busybox=$(PATH=$search; command -v busybox)
	install_file "$busybox" /bin/busybox
	# One that does not run here has the applets of the one that does.
	[ -z "$sysroot" ] || busybox=busybox
	"$busybox" --list | while read -r a; do
		[ "$a" = busybox ] || ln -s /bin/busybox "$root/bin/$a"
	done
	for t in "${tools[@]}"; do
		path=$(PATH=$search; command -v "$t") || {
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
		[ -e "$sysroot$t" ] || continue
		mkdir -p "$root$(dirname "$t")"
		cp -rL "$sysroot$t" "$root$t"
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
			numactl stress-ng bash libc6 e2fsprogs pciutils kexec-tools || true
		[ -z "$sysroot" ] || cat "$sysroot/.packages"
		for t in "${tools[@]}"; do (PATH=$search; command -v "$t") || true; done
	} 2>/dev/null | sha256sum
}

case ${1:-} in _unpack) unpack; exit ;; esac
lock "$build/.initramfs.lock"
if [ -n "$sysroot" ] && [ "$(cat "$sysroot/.wanted" 2>/dev/null)" != "${packages[*]}" ]; then
	step 1 1 "unpack Debian's packages for $ARCH" "$logdir/$ARCH-packages.log" "$0" _unpack
fi
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
