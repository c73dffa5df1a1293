#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# debian-kernel.sh: get Debian's own kernel BASE, and build the companion module for it
# by DKMS, in a Debian 13 of its own that does not outlive this: its kernels want the
# compiler that they were built with. What stays is in build/debian-BASE/: vmlinuz,
# config, version, mhp_debug.ko.

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

out=$build/debian-$BASE
module_version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' "$top/module/dkms.conf")

# As an administrator would: headers and DKMS from Debian, the module's source below
# /usr/src. Of the kernel, only the files that boot it are taken.
# shellcheck disable=SC2016 # $1 is the hook's
build_module() {
	local mirror work=$out/new
	mirror=$(debian_mirror) || die "apt knows no mirror of Debian"
	rm -rf "$work"
	mkdir -p "$work/mhp_debug-$module_version"
	cp "$top"/module/{Kbuild,Makefile,dkms.conf,*.[ch],compat.mk} "$work/mhp_debug-$module_version/"
	cat >"$work/inside" <<-EOF
		set -eux
		version=\$(apt-cache search --names-only '^linux-headers-${BASE//./\\.}\.[0-9]+\+deb13-amd64\$' |
			sed 's/^linux-headers-\([^ ]*\) .*/\1/' | sort -V | tail -n 1)
		[ -n "\$version" ] || { echo "error: Debian 13 has no linux-headers-$BASE any more" >&2; exit 1; }
		apt-get install -y --no-install-recommends "linux-headers-\$version"
		dkms install mhp_debug/$module_version -k "\$version" --no-depmod
		mkdir /out
		echo "\$version" >/out/version
		cd /out
		apt-get download "linux-image-\$version"
		# From 7.3 on, that is several packages.
		for p in binary base; do
			apt-get download "linux-\$p-\$version" || true
		done
		for p in *.deb; do
			dpkg-deb --fsys-tarfile "\$p" | tar -x --wildcards --no-wildcards-match-slash \
				'./boot/[vc]*-*' './usr/lib/modules/*/vmlinuz' './usr/lib/modules/*/config' || true
			rm "\$p"
		done
		for f in vmlinuz config; do
			find . -mindepth 2 -type f -name "\$f*" -exec mv {} "\$f" ';'
			[ -s "\$f" ]
		done
		rm -rf boot usr
		find /lib/modules -name 'mhp_debug.ko*' -exec cp {} . ';'
		! [ -f mhp_debug.ko.xz ] || xz -d mhp_debug.ko.xz
		chown -R 0:0 .
	EOF
	mmdebstrap --variant=apt --dpkgopt=force-unsafe-io --include=dkms,xz-utils \
		--keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
		--customize-hook="copy-in '$work/mhp_debug-$module_version' /usr/src" \
		--customize-hook="upload '$work/inside' /inside" \
		--customize-hook='chroot "$1" sh /inside' \
		--customize-hook="sync-out /out '$work'" \
		trixie /dev/null "deb $mirror trixie main" "deb $mirror trixie-backports main"
	# The guest has an initramfs of its own, without Debian's modules.
	[ "$(grep -cE '^CONFIG_VIRTIO_(CONSOLE|PCI)=y' "$work/config")" -eq 2 ] ||
		die "virtio is not built into this kernel: the guest's agent could not answer"
	mv "$work"/{vmlinuz,config,version,mhp_debug.ko} "$out/"
	rm -rf "$work"
}

if [ "${1:-}" = _build ]; then
	build_module
	exit
fi
"$top/scripts/deps.sh" debian
mkdir -p "$out"
lock "$out/.lock"
newer=$(find "$top/module" "$0" -newer "$out/mhp_debug.ko" -type f 2>/dev/null || echo all)
if [ ! -f "$out/mhp_debug.ko" ] || [ -n "$newer" ]; then
	need_disk 2 "a Debian 13 with a compiler and kernel headers"
	step 1 1 "get Debian's kernel $BASE, and build mhp_debug for it with DKMS" \
		"$logdir/debian-$BASE.log" "$0" _build
fi
