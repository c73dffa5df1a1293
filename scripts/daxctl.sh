#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# daxctl.sh: get daxctl and ndctl of Debian 13 with the libraries that they need, and print
# the folder that has them: build/daxctl/. Nothing is installed. There, whatever Debian
# this or a guest is, "run PROGRAM ARGUMENT..." runs one of them.

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

suite=trixie
packages=(daxctl ndctl)
out=$build/daxctl
sysroot=$build/daxctl.new/sysroot

unpack() {
	local apt=$sysroot.apt deb mirror
	mirror=$(debian_mirror) || die "apt knows no mirror of Debian"
	rm -rf "$sysroot" "$apt"
	mkdir -p "$sysroot"/usr/{bin,lib,lib64,sbin}
	for deb in bin lib lib64 sbin; do
		ln -s "usr/$deb" "$sysroot/$deb"
	done
	private_apt "$apt" "Dir::Etc::SourceList \"$apt/sources.list\"" \
		'Dir::Etc::SourceParts "/dev/null"' \
		'APT::Architecture "amd64"' 'APT::Architectures { "amd64"; }'
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" \
		>"$apt/sources.list"
	apt-get update
	apt-get install -y --no-install-recommends --download-only "${packages[@]}"
	for deb in "$apt"/archives/*.deb; do
		dpkg-deb -x "$deb" "$sysroot"
	done
	rm -rf "$apt"
}

# All of them in one folder, as their own ld.so is told
collect() {
	local p lib new=$build/daxctl.new/daxctl
	mkdir -p "$new/lib"
	for p in "${packages[@]}"; do
		cp "$sysroot/usr/bin/$p" "$new/"
		elf_libraries "$sysroot" "$sysroot/usr/bin/$p" | while read -r lib; do
			cp -L "$sysroot$lib" "$new/lib/"
		done
	done
	cat >"$new/run" <<-'EOF2'
		#!/bin/sh
		here=${0%/*}
		program=$1
		shift
		exec "$here"/lib/ld-linux-x86-64.so.2 --library-path "$here/lib" "$here/$program" "$@"
	EOF2
	chmod 755 "$new/run" "$new/lib"/ld-linux-*
	"$new/run" daxctl --version
	rm -rf "$out"
	mv "$new" "$out"
}

case ${1:-} in _get) unpack; collect; exit ;; esac
lock "$build/.daxctl.lock"
[ -x "$out/run" ] || step 1 1 "get daxctl of Debian 13" "$logdir/daxctl.log" "$0" _get >&2
rm -rf "$build/daxctl.new"
echo "$out"
