#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# compile-check.sh [NAME...]: compile the objects that the series touches for
# other configurations and CPUs. A warning or error that stock does not have
# at the same configuration is a failure.

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

work=$bdir/compile-check

# name | ARCH | compiler prefix | base configuration | options, n: for not set
matrix() {
	local hp='MIGRATION MEMORY_HOTPLUG MEMORY_HOTREMOVE'
	local vm="$hp SPARSEMEM_VMEMMAP"
	local acpi='ACPI ACPI_HOTPLUG_MEMORY'
	local dax='TRANSPARENT_HUGEPAGE ZONE_DEVICE DAX DEV_DAX DEV_DAX_KMEM'
	local dbg='DEBUG_KERNEL DEBUG_VM PAGE_OWNER PAGE_EXTENSION MEMORY_FAILURE DEBUG_FS HWPOISON_INJECT'
	local pm='PM SWAP BLOCK HIBERNATION'
	local vio='VIRTIO_MENU VIRTIO_PCI CONTIG_ALLOC COMPACTION VIRTIO_MEM'
	cat <<EOF
x86_64-none        | x86_64 | | allnoconfig | 64BIT
x86_64-smp         | x86_64 | | allnoconfig | 64BIT SMP $pm n:SPARSEMEM_VMEMMAP
x86_64-hotplug     | x86_64 | | allnoconfig | 64BIT PCI $acpi $vm
x86_64-nohotremove | x86_64 | | allnoconfig | 64BIT PCI ACPI SMP NUMA MEMORY_HOTPLUG SPARSEMEM_VMEMMAP n:MEMORY_HOTREMOVE
x86_64-novmemmap   | x86_64 | | allnoconfig | 64BIT PCI $acpi $hp $pm SMP NUMA n:SPARSEMEM_VMEMMAP
x86_64-novmem-dbg  | x86_64 | | allnoconfig | 64BIT X86_MCE PCI $acpi $hp $dbg SMP n:SPARSEMEM_VMEMMAP
x86_64-numa-dax    | x86_64 | | allnoconfig | 64BIT PCI $acpi $vm $dax $pm SMP NUMA DEVMEM STRICT_DEVMEM $vio MHP_MEMMAP_ON_MEMORY
x86_64-debug       | x86_64 | | allnoconfig | 64BIT X86_MCE PCI $acpi $vm $dax $dbg $pm SMP NUMA MHP_MEMMAP_ON_MEMORY KASAN PAGE_TABLE_CHECK
i386               | i386   | | allnoconfig | SMP HIGHMEM64G $pm
i386-sparsemem     | i386   | | allnoconfig | SMP SPARSEMEM_MANUAL PROC_FS DEBUG_KERNEL DEBUG_VM PAGE_OWNER
arm64-4k           | arm64  | aarch64-linux-gnu- | allnoconfig | EFI PCI $acpi $vm $dax NUMA DEVMEM STRICT_DEVMEM $vio
arm64-64k          | arm64  | aarch64-linux-gnu- | allnoconfig | EFI PCI $acpi $vm $dax NUMA DEVMEM STRICT_DEVMEM $vio ARM64_64K_PAGES
arm64-debug        | arm64  | aarch64-linux-gnu- | allnoconfig | EFI $acpi $vm $dax $dbg NUMA KASAN
powerpc64le        | powerpc | powerpc64le-linux-gnu- | pseries_le_defconfig | $vm ZONE_DEVICE
riscv64            | riscv  | riscv64-linux-gnu- | defconfig | $vm ZONE_DEVICE
s390x              | s390   | s390x-linux-gnu- | defconfig | $vm
EOF
}

src() { if [ "$1" = stock ]; then echo "$stock"; else echo "$tree"; fi; }

kmake() { # FLAVOUR ARCH PREFIX ARGS...
	local flavour=$1 arch=$2 prefix=$3
	shift 3
	make -s -C "$(src "$flavour")" O="$work/$name-$flavour" ARCH="$arch" \
		CROSS_COMPILE="$prefix" CC="${ccache[*]} ${prefix}gcc" LOCALVERSION= -j"$JOBS" "$@"
}

configure() { # FLAVOUR ARCH PREFIX BASECONFIG OPTIONS
	local o fragment=$work/$name.fragment
	for o in $5; do
		case $o in
		n:*) echo "# CONFIG_${o#n:} is not set" ;;
		*) echo "CONFIG_$o=y" ;;
		esac
	done >"$fragment"
	mkdir -p "$work/$name-$1"
	if [ "$4" = allnoconfig ]; then
		kmake "$1" "$2" "$3" KCONFIG_ALLCONFIG="$fragment" allnoconfig
	else
		kmake "$1" "$2" "$3" "$4"
		cat "$fragment" >>"$work/$name-$1/.config"
		kmake "$1" "$2" "$3" olddefconfig
	fi
	for o in $5; do
		[[ $o == n:* ]] || grep -qx "CONFIG_$o=y" "$work/$name-$1/.config" ||
			{ echo "error: CONFIG_$o did not take"; return 1; }
	done
	kmake "$1" "$2" "$3" prepare
}

# Whatever a folder's own Makefile names at this configuration.
members() { # FLAVOUR DIR ARCH
	local file=$2/Kbuild
	[ -f "$(src "$1")/$file" ] || file=$2/Makefile
	make -s --no-print-directory -C "$(src "$1")" -f - names 2>/dev/null <<EOF || true
srctree := .
src := $2
obj := $2
SRCARCH := $3
include $work/$name-$1/include/config/auto.conf
BITS := \$(if \$(CONFIG_64BIT),64,32)
include $file
names: ; @echo \$(foreach v,\$(filter %-y %-m %-objs,\$(.VARIABLES)),\$(\$v))
.PHONY: names
EOF
}

# True if each folder down to this one is named by the one above it.
entered() { # FLAVOUR DIR ARCH
	local dir=$2 up
	while [[ $dir == */* ]]; do
		up=$(dirname "$dir")
		[ -f "$(src "$1")/$up/Kbuild" ] || [ -f "$(src "$1")/$up/Makefile" ] || return 0
		[[ $up != arch/* || $up == arch/*/* || -f $(src "$1")/$up/Kbuild ]] || return 0
		case " $(members "$1" "$up" "$3") " in *" ${dir##*/}/ "*) ;; *) return 1 ;; esac
		dir=$up
	done
}

# The touched objects that this configuration builds.
objects() { # FLAVOUR ARCH
	local f dir obj names
	for f in "${touched[@]}"; do
		[[ $f == *.c && -f $(src "$1")/$f ]] || continue
		dir=$(dirname "$f")
		obj=$(basename "${f%.c}.o")
		case $dir in
		arch/x86/*) [[ $2 == x86_64 || $2 == i386 ]] || continue ;;
		arch/"$2"/*) ;;
		arch/* | tools/* | samples/*) continue ;;
		# A part of a module that is built elsewhere than where it is configured
		drivers/ras/amd/atl) grep -q "^CONFIG_AMD_ATL=" "$work/$name-$1/.config" || continue ;;
		esac
		names=$(members "$1" "$dir" "$2")
		case " $names " in *" $obj "*) ! entered "$1" "$dir" "$2" || echo "$dir/$obj" ;; esac
	done
}

plain() { sed -E "s#$tree/|$stock/##g; s/:[0-9]+(:[0-9]+)?:/:/; s|\.\./||g" | grep -E '(warning|error|Error)[: ]' | sort -u; }

[ -d "$tree" ] || die "run 'make tree' first"
mapfile -t touched < <(git -C "$tree" diff --name-only --diff-filter=d base series)
[ "${#touched[@]}" -gt 0 ] || die "branch series touches no file"
need_disk 1 "compiling the touched objects"
total=$(matrix | wc -l)
k=0
done=0
bad=0
skipped=0
while IFS='|' read -r name arch prefix config options; do
	k=$((k + 1))
	read -r name <<<"$name"; read -r arch <<<"$arch"
	read -r prefix <<<"$prefix" || true; read -r config <<<"$config"
	[ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
	if ! command -v "${prefix}gcc" >/dev/null; then
		say "[$k/$total] $name: no ${prefix}gcc"
		skipped=$((skipped + 1))
		continue
	fi
	start=$SECONDS
	ok=1
	done=$((done + 1))
	for f in stock patched; do
		mkdir -p "$work" "$logdir"
		log=$logdir/compile-$name-$f.log
		configure "$f" "$arch" "$prefix" "$config" "$options" >"$log" 2>&1 </dev/null || {
			say "[$k/$total] $name: $f does not configure"
			first_error "$log"
			ok=0
			break
		}
		mapfile -t o < <(objects "$f" "$arch")
		rm -f "${o[@]/#/$work/$name-$f/}"
		kmake "$f" "$arch" "$prefix" W=1 -k "${o[@]}" >>"$log" 2>&1 </dev/null || true
		for x in "${o[@]}"; do
			[ "$f" = stock ] || [ -f "$work/$name-$f/$x" ] || { say "$x was not built"; ok=0; }
		done
		plain <"$log" >"$work/$name-$f.findings" || true
	done
	if [ "$ok" -eq 1 ]; then
		new=$(comm -13 "$work/$name-stock.findings" "$work/$name-patched.findings")
		[ -z "$new" ] || { ok=0; printf '%s\n' "$new"; }
	fi
	[ "$ok" -eq 1 ] || bad=$((bad + 1))
	say "[$k/$total] $([ "$ok" -eq 1 ] && echo ok || echo 'not ok'): $name, ${#o[@]} objects, $((SECONDS - start))s (log: $(rel "$log"))"
	rm -rf "$work/$name-stock" "$work/$name-patched"
done < <(matrix)
say "$((done - bad)) of $done configurations compile without a new warning, $skipped skipped"
[ "$bad" -eq 0 ] && [ "$skipped" -eq 0 ]
