#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# module.sh SOURCE KERNEL: build the module in folder SOURCE for the kernel that
# scripts/kernel.sh built in folder KERNEL, and print the path of the module. It is
# built in a folder of its own there, so that each kernel has its own.

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

[ $# -eq 2 ] || die "usage: module.sh SOURCE KERNEL"
src=$1
kernel=$(cd "$2" && pwd)
makefile=$src/Kbuild
[ -f "$makefile" ] || makefile=$src/Makefile
name=$(sed -n 's/^obj-.* [:+]= \(.*\)\.o$/\1/p' "$makefile")
[ -n "$name" ] || die "$src: no module"
[ -f "$kernel/obj/Module.symvers" ] || die "$(rel "$kernel"): no kernel was built there"
out=$kernel/$name
# What the kernel's own Makefile includes is there only while kernel.sh builds.
bdir=${kernel%/*}
[ -d "$bdir/tree" ] || bdir=${bdir%/*}
case ${kernel##*/} in
stock*) source=$bdir/stock-src ;;
lifetime) source=$bdir/lifetime-src ;;
*) source=$bdir/tree ;;
esac
args=(ARCH=x86_64)
if grep -q '^CONFIG_ARM64=y' "$kernel/config"; then
	args=(ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu-)
fi
mapfile -t -O "${#args[@]}" args < <(make_args "${kernel##*/}")

mkdir -p "$out"
exec 9>"$out/.lock"
flock 9
for f in "$makefile" "$src"/*.[ch] "$top"/module/{vmemmap.h,probe.h,compat.h,compat.mk}; do
	cmp -s "$f" "$out/${f##*/}" || cp "$f" "$out/"
done
make -C "$source" O="$kernel/obj" "${args[@]}" LOCALVERSION= M="$out" modules >"$out/build.log" 2>&1 || {
	warn "$name does not build for $(rel "$kernel")"
	first_error "$out/build.log" >&2
	exit 1
}
echo "$out/$name.ko"
