#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# deps.sh [SET...]: see to it that the Debian packages of these sets are there.
# Sets: run (always), arm64 (with ARCH=arm64), debian, check, cross, docs, drgn. As root or
# with sudo it installs what is missing, after naming it; otherwise it prints the
# command and stops.

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# Build a kernel from Debian's source; boot it with Debian's tools inside.
run=(gcc libc6-dev make ccache bc flex bison libelf-dev libssl-dev openssl perl python3 git patch xz-utils
     cpio kmod util-linux e2fsprogs busybox-static ndctl daxctl numactl
     stress-ng kexec-tools qemu-system-x86 seabios acpica-tools)
arm64=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-system-arm qemu-efi-aarch64)
debian=(mmdebstrap)
check=(sparse shellcheck flake8)
docs=(gnuplot-nox)
drgn=(python3-drgn)
cross=(gcc-aarch64-linux-gnu gcc-powerpc64le-linux-gnu gcc-riscv64-linux-gnu
       gcc-s390x-linux-gnu)

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

command -v dpkg-query >/dev/null ||
	{ warn "no Debian here: not checking for packages"; exit 0; }
root=()
can=1
if [ "$(id -u)" -ne 0 ]; then
	if sudo -n true 2>/dev/null || { [ -t 0 ] && command -v sudo >/dev/null && sudo -v; }; then
		root=(sudo)
	else
		can=0
	fi
fi

want=("${run[@]}")
[ "$ARCH" != arm64 ] || want+=("${arm64[@]}")
for set in "$@"; do
	case $set in
	debian) want+=("${debian[@]}") ;;
	check) want+=("${check[@]}") ;;
	docs) want+=("${docs[@]}") ;;
	drgn) want+=("${drgn[@]}") ;;
	cross) want+=("${cross[@]}") ;;
	*) die "no such set: $set" ;;
	esac
done

missing=()
for p in "${want[@]}"; do
	installed "$p" && continue
	[ "$p" = busybox-static ] && installed busybox && continue
	missing+=("$p")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

if [ "$can" -eq 0 ]; then
	say "these Debian packages are missing; install them and run make again:"
	say "  apt-get install --no-install-recommends ${missing[*]}"
	exit 1
fi
need_disk 2 "installing packages"
say "installing missing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
step 1 2 "apt-get update" "$logdir/apt-update.log" "${root[@]}" apt-get update ||
	warn "going on with the package lists as they are"
step 2 2 "apt-get install" "$logdir/apt-install.log" \
	"${root[@]}" apt-get install -y --no-install-recommends "${missing[@]}"
