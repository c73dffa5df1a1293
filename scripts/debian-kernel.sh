#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# debian-kernel.sh: get Debian's own kernel BASE and its headers, as packages, and
# build the companion module for it by DKMS. Nothing is installed: all goes to
# build/debian-BASE/: vmlinuz, config, mhp_debug.ko.

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

out=$build/debian-$BASE
root=$out/root

# The newest kernel of this series for which there are headers
newest() {
	apt-cache search --names-only "^linux-headers-${BASE//./\\.}\.[0-9]+\+deb[0-9]+-amd64\$" |
		sed 's/^linux-headers-\([^ ]*\) .*/\1/' | sort -V | tail -n 1
}

download() {
	local version=$1
	mkdir -p "$out/dl"
	(cd "$out/dl" && apt-get download -o APT::Sandbox::User=root \
		"linux-image-$version" "linux-headers-$version" \
		"linux-headers-${version%-amd64}-common" "linux-kbuild-${version%-amd64}")
}

unpack() {
	local version=$1 deb headers
	rm -rf "$root"
	mkdir -p "$root"
	for deb in "$out"/dl/*.deb; do
		dpkg-deb -x "$deb" "$root"
	done
	headers=$root/usr/src/linux-headers-$version
	# It names its other half by an absolute path.
	sed -i "s,/usr/src,$root/usr/src," "$headers/Makefile"
	cp "$root/boot/vmlinuz-$version" "$out/vmlinuz"
	cp "$root/boot/config-$version" "$out/config"
	# The guest has an initramfs of its own, without Debian's modules.
	[ "$(grep -cE '^CONFIG_VIRTIO_(CONSOLE|PCI)=y' "$out/config")" -eq 2 ] ||
		die "virtio is not built into Debian's $version: the guest's agent could not answer"
	rm -rf "$out/dl"
	echo "$version" >"$out/version"
}

# As 'dkms install' would, but for a kernel and folders that are not the system's
dkms_install() {
	local version=$1 source
	rm -rf "$out/dkms"
	source=$out/dkms/source/mhp_debug-1.0
	mkdir -p "$out"/dkms/{tree,install/"$version"} "$source"
	cp "$top"/module/{Kbuild,Makefile,dkms.conf,*.[ch],compat.mk} "$source/"
	dkms install --dkmstree "$out/dkms/tree" --sourcetree "$out/dkms/source" \
		--installtree "$out/dkms/install" -m mhp_debug -v 1.0 -k "$version" -a x86_64 \
		--kernelsourcedir "$root/usr/src/linux-headers-$version" --no-depmod
	source=$(find "$out/dkms/install" -name 'mhp_debug.ko*')
	case $source in
	*.xz) xz -dc "$source" ;;
	*.zst) zstd -dcq "$source" ;;
	'') die "DKMS has installed no module" ;;
	*) cat "$source" ;;
	esac >"$out/mhp_debug.ko.new"
	mv "$out/mhp_debug.ko.new" "$out/mhp_debug.ko"
}

case ${1:-} in
_download) download "$2"; exit ;;
_unpack) unpack "$2"; exit ;;
_dkms) dkms_install "$2"; exit ;;
esac
"$top/scripts/deps.sh" debian
mkdir -p "$out"
lock "$out/.lock"
if [ ! -f "$out/version" ]; then
	version=$(newest)
	[ -n "$version" ] || die "no linux-headers-$BASE.*-amd64 among Debian's packages: run apt-get update"
	need_disk 2 "Debian's kernel"
	step 1 2 "download Debian's kernel $version" "$logdir/debian-$BASE-dl.log" "$0" _download "$version"
	step 2 2 "unpack it" "$logdir/debian-$BASE-unpack.log" "$0" _unpack "$version"
fi
version=$(cat "$out/version")
newer=$(find "$top/module" -newer "$out/mhp_debug.ko" -type f 2>/dev/null || echo all)
if [ ! -f "$out/mhp_debug.ko" ] || [ -n "$newer" ]; then
	step 1 1 "build mhp_debug for Debian's $version with DKMS" \
		"$logdir/debian-$BASE-dkms.log" "$0" _dkms "$version"
fi
