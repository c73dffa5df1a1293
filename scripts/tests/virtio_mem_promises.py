# SPDX-License-Identifier: GPL-2.0
"""virtio-mem by granule keeps what its driver and its specification promise."""

import base64
import contextlib
import os
import struct
import time

from lib import (FORCE, GIB, GRANULE, INJECT, MEMORY, MIB, PAGE, SECTION, STRUCT_PAGE, TWO_NODES,
                 Device, arm, case, expect, expect_between, expect_lines, expect_same, h,
                 huge_pages, log_of, only_alloc_stacks, ours, parse_zoneinfo, snapshot, take)
from fixes import trapped

KPF_OFFLINE = 1 << 23           # in /proc/kpageflags


def memfd(g):
    """Where the memory of a device can be read that has such a backend; that touches nothing."""
    fds = f'/proc/{g.proc.pid}/fd'
    return next(f'{fds}/{n}' for n in os.listdir(fds)
                if 'memfd:memory-backend-memfd' in os.readlink(f'{fds}/{n}'))


def touched(g):
    """Granules of a device's memory that QEMU has pages for; its backend is a memfd."""
    out, end = set(), 0
    fd = os.open(memfd(g), os.O_RDONLY)
    # ENXIO: there is nothing behind that.
    with contextlib.suppress(OSError):
        while True:
            at = os.lseek(fd, end, os.SEEK_DATA)
            end = os.lseek(fd, at, os.SEEK_HOLE)
            out.update(range(at // GRANULE, -(-end // GRANULE)))
    os.close(fd)
    return out


def unplugged(g, vm, size):
    """Granules of a device that no extent has, or whose pages are logically offline."""
    entries, first = GRANULE // PAGE, vm.start() // GRANULE
    flags = g.sh(f'dd if=/proc/kpageflags bs={8 * entries} skip={first} count={size // GRANULE} '
                 f'2>/dev/null | od -v -A n -t x8 -w{8 * entries} | cut -c 1-17',
                 timeout=120).split()
    plugged = {n for start, length, *_ in ours(g)
               for n in range(start // GRANULE - first, (start + length) // GRANULE - first)
               if not int(flags[n], 16) & KPF_OFFLINE}
    return set(range(size // GRANULE)) - plugged


def read_all(g, start, size):
    """Read what there is of memory, in the ways that user space has."""
    commands = ['cat /proc/kpageflags /proc/kpagecount >/dev/null',
                'echo 1 >/proc/sys/vm/compact_memory']
    elf = base64.b64decode(g.sh('dd if=/proc/kcore bs=8192 count=1 2>/dev/null | base64'))
    offset, count = struct.unpack_from('<32xQ16xH', elf)
    for kind, at, physical, length in struct.iter_unpack(
            '<I4xQ8xQQ16x', elf[offset:offset + count * 56]):
        first, end = max(start, physical), min(start + size, physical + length)
        # PT_LOAD
        if kind == 1 and first < end:
            commands.append(f'dd if=/proc/kcore of=/dev/null bs=1M iflag=skip_bytes '
                            f'skip={at + first - physical} count={(end - first) // MIB}')
    g.sh('; '.join(commands), timeout=120)


@case(needs='virtio-mem')
def vmem_untouched(t):
    """R3: what is not plugged is not touched, whoever walks, reads or fills memory."""
    size = 512 * MIB
    for cmdline in ('', FORCE):
        with t.guest(args=Device.args(size, backend='memfd'), cmdline=cmdline) as g:
            vm = Device(g)
            g.auto_online('online_movable')
            for mib in (62, 386, 20, 254):
                vm.resize(mib * MIB)
                read_all(g, vm.start(), size)
                gone = unplugged(g, vm, size)
                expect(f'{mib} MiB: MiB that are unplugged', len(gone) * 2, 512 - mib)
                expect(f'{mib} MiB: touched', touched(g) & gone, set())
            # What is unplugged of an extent that goes online
            block = vm.start() // SECTION + 1
            expect('offline', g.state(block, 'offline'), None)
            vm.resize(190 * MIB)
            expect('online', g.state(block, 'online_movable'), None)
            read_all(g, vm.start(), size)
            expect('online again: touched', touched(g) & unplugged(g, vm, size), set())
            vm.resize(254 * MIB)
            with g.filled(g.amount(1000)) as verify:
                expect_between('granules touched when filled', len(touched(g)), 100, 127)
                verify()
                expect('filled: touched', touched(g) & unplugged(g, vm, size), set())
            vm.resize(0)
            read_all(g, vm.start(), size)
            expect('nothing plugged: touched', touched(g), set())


@case(needs='virtio-mem')
def vmem_device_blocks(t):
    """R2: with device blocks of any size, what is plugged is usable, and goes."""
    for block in (4, 32, 64, 128, 256, 2048):
        size = max(1024, 2 * block)
        # An eighth of that is KASAN's, on the debug flavour.
        with t.guest(mem='3G' if t.flavour == 'debug' else '1G',
                     args=Device.args(size * MIB, block=block * MIB)) as g:
            vm = Device(g)
            g.auto_online('online_movable')
            before, total = snapshot(g), g.memtotal()
            for blocks in (1, size // block, size // block - 1, 1, 2):
                vm.resize(blocks * block * MIB)
                expect(f'MemTotal with {blocks} of {block} MiB', g.memtotal() - total,
                       blocks * block * MIB)
            expect(f'two of {block} MiB: bytes added',
                   sum(e[1] for e in ours(g)) // MIB, 2 * block)
            vm.resize(0)
            expect_same(f'{block} MiB, gone', snapshot(g), before)


@case(needs='virtio-mem')
def vmem_on_two_nodes(t):
    """R8: devices of two nodes share a memory block."""
    at = 8 * GIB
    sizes = (190 * MIB, 258 * MIB)
    args = [*TWO_NODES, *Device.args(sizes[0], 0, at, node=0),
            *Device.args(sizes[1], 1, at + sizes[0], node=1)]
    with t.guest(mem='2G', maxmem='16G', args=args) as g:
        devices = [Device(g, n) for n in range(2)]
        g.auto_online('online_movable')
        before = snapshot(g)

        def added():
            return {node: sum(e.end - e.start for e in g.extents()
                              if e.start >= at and e.node == node and e.online)
                    for node in range(2)}

        for first, second in ((190, 258), (2, 258), (188, 2), (0, 66), (66, 0)):
            devices[0].resize(first * MIB)
            devices[1].resize(second * MIB)
            present = {n: z['present'] * PAGE for (n, name), z in
                       parse_zoneinfo(g.read('/proc/zoneinfo')).items() if name == 'Movable'}
            expect('present in zone Movable', {n: present.get(n, 0) for n in range(2)}, added())
            expect_between('node 0', added()[0], first * MIB, sizes[0])
            expect_between('node 1', added()[1], second * MIB, sizes[1])
        for device in devices:
            device.resize(0)
        expect_same('gone', snapshot(g), before)


@case(needs='virtio-mem')
def vmem_auto_movable(t):
    """R4: auto-movable chooses the zones of full blocks as on stock, and one for a block."""
    policy = ('memory_hotplug.online_policy=auto-movable '
              'memory_hotplug.auto_movable_ratio=100')
    seen = {}
    for flavour in ('stock', t.flavour):
        with t.guest(flavour=flavour, args=Device.args(3 * GIB), cmdline=policy,
                     files=False) as g:
            vm = Device(g)
            g.auto_online('online')
            seen[flavour] = []
            for mib in (128, 896, 1152, 2048, 3072):
                vm.resize(mib * MIB)
                zones = parse_zoneinfo(g.read('/proc/zoneinfo'))
                seen[flavour].append(f'{mib} MiB: ' + ' '.join(
                    f'{name}={zones[0, name]["present"]}' for name in ('Normal', 'Movable')
                    if (0, name) in zones))
    expect_lines('against stock', seen[t.flavour], seen['stock'])
    with t.guest(args=Device.args(3 * GIB), cmdline=policy) as g:
        vm = Device(g)
        g.auto_online('online')
        for mib in range(2, 3072, 94):
            vm.resize(mib * MIB)
        zones = {}
        for e in g.extents():
            if e.start >= vm.start():
                zones.setdefault(e.block, set()).add(e.zone)
        expect('blocks with several zones', [n for n, z in zones.items() if len(z) > 1], [])
        expect('zones', set().union(*zones.values()), {'Normal', 'Movable'})


@case(needs='virtio-mem')
def vmem_huge_pages(t):
    """R11: what is plugged in full blocks has as many 2 MiB pages as on stock, less its memmap."""
    seen = {}
    for what, flavour, cmdline in (('stock', 'stock', ''), ('ours', t.flavour, ''),
                                   ('hosted', t.flavour, FORCE)):
        with t.guest(flavour=flavour, args=Device.args(GIB), cmdline=cmdline, files=False) as g:
            vm = Device(g)
            g.auto_online('online_movable')
            vm.resize(GIB)
            huge_pages(g, 2048, 2048)
            # Those of boot memory are fewer by what the kernel uses at the moment.
            left = sum(int(n) << order for line in g.read('/proc/buddyinfo').splitlines()
                       if ' Movable ' in line for order, n in enumerate(line.split()[4:]))
            managed = parse_zoneinfo(g.read('/proc/zoneinfo'))[0, 'Movable']['managed']
            seen[what] = (managed - left) * PAGE // GRANULE
            huge_pages(g, 2048, 0)
    t.note(f'2 MiB pages: {seen}')
    # CPUs keep some pages for themselves.
    expect_between('2 MiB pages of 1 GiB, stock', seen['stock'], 508, 512)
    expect_between('ours', seen['ours'], seen['stock'] - 1, 512)
    hosts = GIB // PAGE * STRUCT_PAGE // GRANULE
    expect_between('hosted', seen['hosted'], seen['ours'] - hosts - 1, 512 - hosts)


@case(needs='virtio-mem')
def vmem_tries_again(t):
    """I6: what could not be unplugged or removed goes when it can, without being asked again."""
    args = [*Device.args(GIB, 0, 8 * GIB), *Device.args(GIB, 1, 9 * GIB)]
    with t.guest(maxmem='16G', args=args) as g:
        busy, vetoed = Device(g, 0), Device(g, 1)
        g.auto_online('online_movable')
        before = snapshot(g)
        busy.resize(190 * MIB)
        vetoed.resize(66 * MIB)
        g.sh(f'echo -16 >{INJECT}/MEM_GOING_OFFLINE/error')
        vetoed.resize(0)
        expect('extents that could not be removed', [e.end - e.start for e in g.extents()
                                                     if e.start >= 9 * GIB], [66 * MIB])
        page = 8 * GIB + 62 * MIB
        take(g, page)
        busy.ask(0)
        g.wait_for('all but what is in use is unplugged', lambda: busy.size() == GRANULE)
        busy.settle()
        expect('size', busy.size(), GRANULE)
        g.sh(f'echo 0 >{INJECT}/MEM_GOING_OFFLINE/error')
        g.mod_ok(f'give {h(page)} {h(PAGE)}')
        # The driver's timer is at 50 s at first.
        g.wait_for('tried again', lambda: not busy.size() and all(
            e.start < 8 * GIB for e in g.extents()), 120)
        expect_same('gone', snapshot(g), before)


@case(needs='virtio-mem')
def vmem_passes_over_busy_hosts(t):
    """I11: extents that host their memmap and do not go at once are all tried in one run."""
    with trapped(t, t.flavour, FORCE, args=Device.args(GIB)) as (g, trap):
        vm = Device(g)
        g.auto_online('online_movable')
        for mib in range(2, 18, 2):
            vm.resize(mib * MIB)
        g.sh(f'echo -16 >{INJECT}/MEM_GOING_OFFLINE/error')
        trap.do('slow offline_pages 0')
        vm.ask(0)
        g.wait_for('all are tried', lambda: trap.counts()[0] >= 8, 20)
        vm.settle()
        expect('size', vm.size(), 16 * MIB)
        g.sh(f'echo 0 >{INJECT}/MEM_GOING_OFFLINE/error')
        vm.resize(2 * MIB)
        vm.resize(0)


@case(needs='virtio-mem')
def vmem_changes_its_mind(t):
    """I4: the size that is asked for changes while the driver is at it; the last one counts."""
    for cmdline in ('', FORCE):
        with t.guest(maxmem='16G', args=Device.args(8 * GIB), cmdline=cmdline, smp=2) as g:
            vm = Device(g)
            g.auto_online('online_movable')
            before, total = snapshot(g), g.memtotal()
            for _ in range(30):
                vm.ask(t.random.choice((0, 2, 126, 130, 1022, 4096, 8192)) * MIB)
                time.sleep(t.random.random() / 4)
            vm.resize(254 * MIB)
            if not cmdline:
                expect('MemTotal', g.memtotal() - total, 254 * MIB)
            vm.resize(0)
            expect_same('gone', snapshot(g), before)


@case(flavours=('debug',), needs='virtio-mem')
def vmem_allocations_fail(t):
    """I6: whichever allocations of the driver fail, nothing is left, and it is tried again."""
    kinds = ('failslab', 'fail_page_alloc')
    for cmdline in ('', FORCE):
        with t.guest(args=Device.args(GIB), cmdline=cmdline) as g:
            vm = Device(g)
            arm(g)
            g.auto_online('online_movable')
            vm.resize(GRANULE)
            vm.resize(0)
            before = snapshot(g)
            # The driver works in a kworker; these come of kthreadd, and are alone to fail.
            g.sh('for p in /proc/[0-9]*; do readlink $p/exe >/dev/null || '
                 'echo 1 >$p/make-it-fail; done 2>/dev/null')
            failed = dict.fromkeys(kinds, 0)
            for _ in range(24):
                kind, times = t.random.choice(kinds), t.random.choice((1, 2, 8))
                g.sh(f'cd /sys/kernel/debug/{kind}; echo Y >task-filter; echo 1 >interval; '
                     f'echo {t.random.choice((1, 3, 10, 30))} >probability; echo {times} >times')
                vm.ask(130 * MIB)
                vm.settle()
                vm.ask(t.random.choice((0, 2, 64, 128)) * MIB)
                vm.settle()
                left = int(g.read(f'/sys/kernel/debug/{kind}/times'))
                g.sh(f'echo 0 >/sys/kernel/debug/{kind}/times')
                failed[kind] += times - left
                # Another size, so that it need not wait for its timer
                vm.resize(132 * MIB)
                vm.resize(0)
                expect_same(f'{kind}, {times} times', snapshot(g), before)
            t.note(f'allocations that failed: {failed}')
            for kind, number in failed.items():
                expect_between(f'{kind}: allocations that failed', number, 5, 1 << 20)
            only_alloc_stacks(g, r'kworker/\S+')


def steps_of(t, flavour, cmdline, steps):
    """What became of a device, asked for MiB or with a block, counted from its first,
    taken offline: size and MemTotal after each step."""
    out = []
    with t.guest(flavour=flavour, args=Device.args(GIB), cmdline=cmdline, files=False) as g:
        vm = Device(g)
        g.auto_online('online_movable')
        total, first = g.memtotal(), vm.start() // SECTION
        for what, n in steps:
            result = None
            if what == 'ask':
                vm.ask(n * MIB)
                g.sh('sleep 1')
            else:
                # It may be gone.
                result = g.run(f'echo offline >{MEMORY}/memory{first + n}/state')[0]
            vm.settle()
            out.append(f'{what} {n}: {result}, {vm.size() // MIB} MiB, '
                       f'MemTotal {(g.memtotal() - total) // MIB:+d} MiB')
    return out


@case(needs='virtio-mem')
def vmem_parameters_as_on_stock(t):
    """I7: the driver's own parameters do what they do on stock."""
    steps = (('ask', 640), ('ask', 200), ('offline', 4), ('offline', 2), ('ask', 198),
             ('ask', 600), ('ask', 0))
    for cmdline in ('virtio_mem.unplug_online=0', 'virtio_mem.force_bbm=1',
                    'virtio_mem.force_bbm=1 virtio_mem.bbm_block_size=268435456'):
        stock = steps_of(t, 'stock', cmdline, steps)
        t.note(f'{cmdline}: {stock}')
        expect_lines(cmdline, steps_of(t, t.flavour, cmdline, steps), stock)


@case(needs='virtio-mem')
def vmem_unbind_as_on_stock(t):
    """I7: a driver that is unbound with memory in use leaves it in use, and says so."""
    drivers = '/sys/bus/virtio/drivers/virtio_mem'
    seen = {}
    for flavour in ('stock', t.flavour):
        with t.guest(flavour=flavour, args=Device.args(GIB), files=False) as g:
            vm = Device(g)
            g.auto_online('online_movable')
            total = g.memtotal()
            vm.resize(386 * MIB)
            expect('offline', g.state(vm.start() // SECTION + 3, 'offline'), None)
            device = g.sh(f'cd {drivers}; echo virtio*').strip()
            lines = []
            for what in ('unbind', 'bind'):
                result, log = log_of(g, lambda to=what: g.write(f'{drivers}/{to}', device))
                lines += [f'{what}: {result}', *sorted(set(log))]
                lines.append(f'{vm.size() // MIB} MiB, '
                             f'MemTotal {(g.memtotal() - total) // MIB:+d} MiB')
            seen[flavour] = lines
    t.note(seen['stock'])
    expect_lines('against stock', seen[t.flavour], seen['stock'])
