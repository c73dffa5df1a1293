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
	local hp='MEMORY_HOTPLUG MEMORY_HOTREMOVE ACPI ACPI_HOTPLUG_MEMORY SPARSEMEM_MANUAL'
	local dax='ZONE_DEVICE DAX DEV_DAX DEV_DAX_KMEM BLOCK LIBNVDIMM'
	local dbg='DEBUG_KERNEL DEBUG_VM PAGE_OWNER PAGE_EXTENSION MEMORY_FAILURE X86_MCE'
	cat <<EOF
x86_64-none        | x86_64 | | allnoconfig | 64BIT
x86_64-flatmem-smp | x86_64 | | allnoconfig | 64BIT SMP n:SPARSEMEM_VMEMMAP
x86_64-hotplug     | x86_64 | | allnoconfig | 64BIT $hp
x86_64-hotplug-up  | x86_64 | | allnoconfig | 64BIT $hp n:SMP n:MEMORY_HOTREMOVE
x86_64-novmemmap   | x86_64 | | allnoconfig | 64BIT $hp SMP NUMA n:SPARSEMEM_VMEMMAP
x86_64-nohotremove | x86_64 | | allnoconfig | 64BIT $hp SMP NUMA n:MEMORY_HOTREMOVE
x86_64-numa-dax    | x86_64 | | allnoconfig | 64BIT $hp $dax SMP NUMA MHP_MEMMAP_ON_MEMORY
x86_64-debug       | x86_64 | | allnoconfig | 64BIT $hp $dax $dbg SMP NUMA MHP_MEMMAP_ON_MEMORY KASAN
x86_64-novmem-dbg  | x86_64 | | allnoconfig | 64BIT $hp $dbg SMP n:SPARSEMEM_VMEMMAP
i386               | i386   | | allnoconfig | SMP HIGHMEM64G
i386-sparsemem     | i386   | | allnoconfig | SMP SPARSEMEM_MANUAL DEBUG_KERNEL DEBUG_VM PAGE_OWNER
arm64-4k           | arm64  | aarch64-linux-gnu- | allnoconfig | $hp $dax NUMA EFI
arm64-64k          | arm64  | aarch64-linux-gnu- | allnoconfig | $hp $dax NUMA EFI ARM64_64K_PAGES TRANSPARENT_HUGEPAGE
arm64-novmemmap    | arm64  | aarch64-linux-gnu- | allnoconfig | $hp n:SPARSEMEM_VMEMMAP
powerpc64le        | powerpc | powerpc64le-linux-gnu- | pseries_le_defconfig | MEMORY_HOTPLUG MEMORY_HOTREMOVE ZONE_DEVICE
riscv64            | riscv  | riscv64-linux-gnu- | defconfig | MEMORY_HOTPLUG MEMORY_HOTREMOVE ZONE_DEVICE
s390x              | s390   | s390x-linux-gnu- | defconfig | MEMORY_HOTPLUG MEMORY_HOTREMOVE
EOF
}

src() { if [ "$1" = stock ]; then echo "$stock"; else echo "$tree"; fi; }

kmake() { # FLAVOUR ARCH PREFIX ARGS...
	local flavour=$1 arch=$2 prefix=$3
	shift 3
	make -s -C "$(src "$flavour")" O="$work/$name-$flavour" ARCH="$arch" \
		CROSS_COMPILE="$prefix" LOCALVERSION= -j"$JOBS" "$@"
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
	kmake "$1" "$2" "$3" prepare
}

# Whatever a folder's own Makefile names at this configuration.
members() { # FLAVOUR DIR ARCH
	make -s --no-print-directory -C "$(src "$1")" -f - names 2>/dev/null <<EOF || true
srctree := .
src := $2
obj := $2
SRCARCH := $3
include $work/$name-$1/include/config/auto.conf
include $2/Makefile
names: ; @echo \$(foreach v,\$(filter %-y %-m %-objs,\$(.VARIABLES)),\$(\$v))
.PHONY: names
EOF
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
		esac
		names=$(members "$1" "$dir" "$2")
		case " $names " in *" $obj "*) echo "$dir/$obj" ;; esac
	done
}

plain() { sed -E "s#$tree/|$stock/##g; s/:[0-9]+(:[0-9]+)?:/:/; s|\.\./||g" | grep -E '(warning|error|Error)[: ]' | sort -u; }

[ -d "$tree" ] || die "run 'make tree' first"
mapfile -t touched < <(git -C "$tree" diff --name-only --diff-filter=d base series)
[ "${#touched[@]}" -gt 0 ] || die "branch series touches no file"
need_disk 1 "compiling the touched objects"
total=$(matrix | wc -l)
k=0
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
say "$((total - bad - skipped)) of $total configurations compile without a new warning, $skipped skipped"
[ "$bad" -eq 0 ] && [ "$skipped" -eq 0 ]
