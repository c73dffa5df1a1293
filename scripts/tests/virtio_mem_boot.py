# SPDX-License-Identifier: GPL-2.0
"""virtio-mem where a kernel follows another: kdump, kexec, reboot; hibernation."""

import base64
import os
import re
import struct
import tempfile
import zlib

from lib import (FORCE, GRANULE, MEMMAP_PAGES, MIB, PAGE, SECTION, Device, case, expect,
                 expect_between, expect_lines, h, merge, ours, show, system_ram)
from virtio_mem_promises import memfd, touched, unplugged

MOVABLE = 'memhp_default_state=online_movable'
MARGIN = 8 * MIB        # by which MemTotal of two boots differs at most


def load(g, how):
    """Load the running kernel for kexec, with no more than the agent needs."""
    g.sh('cd /; { printf "%s\\n" init dev proc sys tmp run root; find bin; } | '
         'cpio -o -H newc >/tmp/initramfs')
    g.sh(f'kexec -s {how} --initrd=/tmp/initramfs --reuse-cmdline /mnt/share/vmlinuz')


# --- kdump ----------------------------------------------------------------------

def digests(path, size):
    """(granule, checksum) of a file's content."""
    with open(path, 'rb') as f:
        return [(n, zlib.crc32(f.read(GRANULE))) for n in range(size // GRANULE)]


def without(ranges, holes):
    """What is left of ranges."""
    for low, high in holes:
        ranges = [r for start, end in ranges
                  for r in ((start, min(end, low)), (max(start, high), end)) if r[0] < r[1]]
    return ranges


def dumped(g):
    """(address, offset in /proc/vmcore, size) of memory, by the LOAD segments."""
    raw = base64.b64decode(g.sh(f'dd if=/proc/vmcore bs={PAGE} count=2 2>/dev/null | base64'))
    at, count = struct.unpack_from('<Q', raw, 32)[0], struct.unpack_from('<H', raw, 56)[0]
    out = []
    for n in range(count):
        kind, _, offset, virt, phys, _, size, _ = struct.unpack_from('<IIQQQQQQ', raw, at + 56 * n)
        # The kernel has a segment of its own, in addition.
        if kind == 1 and virt < 0xffffffff80000000:
            out.append((phys, offset, size))
    return sorted(out)


def kdump(t, flavour, cmdline=''):
    """Plug, load, plug more, die, dump. An extent at the end is left plugged in part."""
    with tempfile.NamedTemporaryFile() as dump, \
         t.guest(flavour=flavour, files=False, share=[t.image(flavour)],
                 cmdline=f'crashkernel=192M unknown_nmi_panic {cmdline}',
                 args=Device.args(512 * MIB, backend='memfd,share=on') +
                 ['-chardev', f'file,id=dump,path={dump.name}',
                  '-device', 'virtserialport,chardev=dump,name=dump']) as g:
        g.allow += ['Kernel panic - not syncing: NMI: Not continuing', 'Call Trace:']
        vm = Device(g)
        start = vm.start()
        g.auto_online('online_movable')
        for mib in (30, 62, 94, 78):
            vm.resize(mib * MIB)
        load(g, '-p --append=nr_cpus=1')
        # Content that differs from page to page
        g.sh('cd /dev/shm; dd if=/dev/urandom of=random bs=1M count=5 2>/dev/null; '
             'for n in $(seq 12); do cat random; done >content')
        for mib in (94, 142, 136):
            vm.resize(mib * MIB)
        iomem = g.read('/proc/iomem')
        added = 2 * SECTION if flavour == 'stock' else 142 * MIB
        expect('System RAM of the device', without(system_ram(iomem), [(0, start)]),
               [(start, start + added)])
        gaps = set()
        if flavour != 'stock':
            gaps = unplugged(g, vm, added)
            expect('MiB unplugged', len(gaps) * GRANULE // MIB, 6)
            expect('bytes of memmap on itself', sum(e[3] for e in ours(g)),
                   added // GRANULE * MEMMAP_PAGES * PAGE if cmdline else 0)

        # The NMI is what comes next: all that the guest touches from here on is seen.
        g.qmp('stop')
        before, content = touched(g), digests(memfd(g), added)
        expect_between('granules touched', len(before), 25, 68)
        g.qmp('inject-nmi')
        g.qmp('cont')
        g.boot_again()
        expect('touched by the next kernel', touched(g), before)

        crash = [(int(a, 16), int(b, 16) + 1) for a, b in
                 re.findall(r'^ *(\w+)-(\w+) : Crash kernel', iomem, re.M)]
        segments = dumped(g)
        # x86 never dumps the first MiB.
        expect_lines('memory in the dump', show(merge([(a, a + n) for a, _, n in segments])),
                     show(without(system_ram(iomem), crash + [(0, MIB)])))
        port = g.sh('grep -lx dump /sys/class/virtio-ports/*/name').split('/')[-2]
        for address, offset, size in segments:
            if address >= start:
                g.sh(f'dd if=/proc/vmcore bs=1M iflag=skip_bytes,count_bytes skip={offset} '
                     f'count={size} of=/dev/{port}')
        expect('bytes dumped', os.path.getsize(dump.name), added)
        expect_lines('content by granule', digests(dump.name, added), content)
        # All that is plugged has been read by now, and with that is touched.
        expect('granules touched by the dump', len(touched(g)), 136 * MIB // GRANULE)
        expect('unplugged granules that are touched', touched(g) & gaps, set())
        expect('MiB plugged', vm.size() // MIB, 136)


@case(flavours=('patched',), needs='virtio-mem')
def vmem_kdump(t):
    """I2 I7: what was added, also after kexec -p, is dumped; what is unplugged is not touched."""
    for flavour in ('stock', t.flavour):
        kdump(t, flavour)


@case(flavours=('patched',), needs='virtio-mem')
def vmem_kdump_hosted(t):
    """I8: memmap that memory hosts is dumped with it."""
    kdump(t, t.flavour, FORCE)


# --- kexec, reboot ----------------------------------------------------------------

def grow(g, vm):
    """Plug memory in steps, of which the last leaves an extent plugged in part."""
    for mib in (62, 190, 254, 222):
        vm.resize(mib * MIB)


def told(g):
    """What the driver has said since the kernel's log was cleared."""
    return re.findall(r'virtio_mem \w+: (.*)', g.sh('dmesg'))


def check_next(g, vm, total, first):
    """The next kernel has what was requested, like one that was booted with that. first: what
    its driver begins with."""
    g.wait_for('222 MiB plugged', lambda: vm.size() == 222 * MIB)
    vm.settle()
    words = [w for w in told(g) if 'plug' in w or 'requested' in w]
    want = first + ['plugged size: 0x0', f'requested size: {h(222 * MIB)}']
    expect('told at first', words[:len(want)], want)
    start = vm.start()
    if g.flavour != 'stock':
        expect('extents', [e[:3] for e in ours(g)],
               [(start, SECTION, True), (start + SECTION, 222 * MIB - SECTION, True)])
    now = g.memtotal()
    vm.resize(0)
    expect('MemTotal of what was plugged', now - g.memtotal(), 222 * MIB)
    # The debug flavour keeps its first initrd for good.
    margin = 64 * MIB if g.debug else MARGIN
    expect_between('MemTotal of the rest', g.memtotal(), total - margin, total + margin)
    vm.resize(62 * MIB)


@case(needs='virtio-mem')
def vmem_kexec(t):
    """I5: a kernel that finds memory plugged unplugs all, and plugs what is requested."""
    for flavour in ('stock', t.flavour):
        with t.guest(flavour=flavour, args=Device.args(512 * MIB), cmdline=MOVABLE, files=False,
                     share=[t.image(flavour)]) as g:
            vm, total = Device(g), g.memtotal()
            # The image to load may be in that memory, too.
            g.auto_online('online_kernel')
            vm.resize(62 * MIB)
            g.auto_online('online_movable')
            grow(g, vm)
            load(g, '-l')
            g.boot_again('kexec -e')
            check_next(g, vm, total, ['unplugging all memory is required'])


@case(needs='virtio-mem')
def vmem_reboot(t):
    """I5: what is requested is plugged again after a reset, and after a reboot."""
    with t.guest(args=Device.args(512 * MIB), cmdline=MOVABLE, files=False) as g:
        vm, total = Device(g), g.memtotal()
        g.qmp('set-action', reboot='reset')
        for how in (None, 'reboot -f'):
            grow(g, vm)
            if not how:
                g.qmp('system_reset')
            g.boot_again(how)
            check_next(g, vm, total, [])


# --- hibernation ------------------------------------------------------------------

def hibernation(t, flavour):
    """What comes of trying to hibernate, and what the driver says."""
    with t.guest(flavour=flavour, args=Device.args(512 * MIB), files=False) as g:
        vm, total = Device(g), g.memtotal()
        g.auto_online('online_movable')
        grow(g, vm)
        expect('mode', g.write('/sys/power/disk', 'test_resume'), None)
        g.sh('dmesg -c')
        error = g.write('/sys/power/state', 'disk')
        said = told(g)
        for mib in (384, 62, 0):
            vm.resize(mib * MIB)
            expect(f'MemTotal with {mib} MiB', g.memtotal() - total, mib * MIB)
        return error, said


@case(needs='virtio-mem')
def vmem_hibernation_refused(t):
    """I7: hibernation is refused as on stock, and the device grows and shrinks as before."""
    stock = hibernation(t, 'stock')
    expect('on stock', stock, ('EPERM', ['hibernation is not supported.']))
    expect('against stock', hibernation(t, t.flavour), stock)
