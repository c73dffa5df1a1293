# SPDX-License-Identifier: GPL-2.0
"""virtio-mem by granule: what is plugged is added, and nothing else."""

import re

from lib import (FORCE, FOUR_K, GIB, GRANULE, MEMMAP_PAGES, MEMORY, MIB, PAGE, SECTION, STRUCT_PAGE,
                 Device, case, expect, expect_between, expect_same, h, only_alloc_stacks, ours,
                 snapshot, used_kib)

HOST = 'memory_hotplug.memmap_on_memory=Y'


def memmap_pages(g):
    """Pages of memmap that was not there at boot."""
    return int(re.search(r'^nr_memmap_pages (\d+)', g.read('/proc/vmstat'), re.M)[1])


@case(quick=True, needs='virtio-mem')
def vmem_pays_for_what_is_plugged(t):
    """I2 I5: 2 MiB cost 8 pages of memmap, and none of the guest's if they host it."""
    for how in ('', HOST, FORCE):
        with t.guest(args=Device.args(GIB), cmdline=how) as g:
            vm = Device(g)
            g.auto_online('online_movable')
            # The first time, caches are filled.
            vm.resize(2 * MIB)
            vm.resize(0)
            before = snapshot(g)
            total, memmap = g.memtotal(), memmap_pages(g)
            used = None if how else used_kib(g)
            for mib in (2, 62, 130):
                vm.resize(mib * MIB)
                pages = mib // 2 * MEMMAP_PAGES
                # Those of page_ext count, too, for all of a section.
                if not g.debug:
                    expect(f'{mib} MiB: pages of memmap', memmap_pages(g) - memmap, pages)
                grown, used_now = g.memtotal() - total, None if how else used_kib(g)
                expect(f'{mib} MiB: bytes added, online', sum(e[1] for e in ours(g) if e[2]),
                       mib * MIB)
                expect(f'{mib} MiB: memmap on itself', sum(e[3] for e in ours(g)),
                       pages * PAGE if how else 0)
                vm.resize(0)
                expect_same(f'{mib} MiB, gone', snapshot(g), before)
                if how:
                    expect(f'{mib} MiB: MemTotal', grown, mib * MIB - pages * PAGE)
                if how or g.debug:
                    continue
                # What others use comes and goes, too. On stock, it is more than these 2 MiB
                # that are used up.
                before_it, used = used, used_kib(g)
                gained = grown - (used_now - min(used, before_it)) * 1024
                expect_between(f'{mib} MiB: gained', gained, mib * MIB - pages * PAGE - MIB // 2,
                               mib * MIB - pages * PAGE + MIB // 2)


@case(needs='virtio-mem', archs=FOUR_K)
def vmem_fills_blocks(t):
    """R1 I2: growing by bits adds extents next to each other; one step that fills a block, one."""
    with t.guest(args=Device.args(GIB)) as g:
        vm = Device(g)
        start = vm.start()
        g.auto_online('online_movable')
        total = g.memtotal()
        steps = (2, 6, 62, 128, 130, 512)
        for mib in steps:
            vm.resize(mib * MIB)
            expect(f'MemTotal with {mib} MiB', g.memtotal() - total, mib * MIB)
        seen = [(e[0] - start, e[1]) for e in ours(g)]
        expect('extents', seen, [(0, 2 * MIB), (2 * MIB, 4 * MIB), (6 * MIB, 56 * MIB),
                                 (62 * MIB, 66 * MIB), (128 * MIB, 2 * MIB),
                                 (130 * MIB, 126 * MIB), (256 * MIB, 128 * MIB),
                                 (384 * MIB, 128 * MIB)])
        with g.filled(g.amount(300)) as verify:
            for mib in (510, 500, 400):
                vm.resize(mib * MIB)
                verify()
        # What is in the middle of an extent is plugged again first.
        vm.resize(512 * MIB)
        expect('extents again', [(e[0] - start, e[1]) for e in ours(g)], seen)
        vm.resize(0)
        expect('left', ours(g), [])


@case(needs='virtio-mem')
def vmem_region_anywhere(t):
    """I2: all of a region that neither begins nor ends with a memory block is usable."""
    at = 8 * GIB + 2 * MIB
    for cmdline, size in (('', 1022 * MIB), (FORCE, 1020 * MIB)):
        with t.guest(args=Device.args(size, addr=at), maxmem='16G', cmdline=cmdline) as g:
            vm = Device(g)
            g.auto_online('online_movable')
            before, total = snapshot(g), g.memtotal()

            def gained(size, hosts=cmdline):
                return size - (size // PAGE * STRUCT_PAGE if hosts else 0)

            vm.resize(size)
            expect('MemTotal', g.memtotal() - total, gained(size))
            expect('complaints', re.findall('make some memory unusable', g.console()), [])
            vm.resize(0)
            expect_same('gone', snapshot(g), before)
            # DIMMs have what is left of the blocks at both ends.
            g.plug('below', 2 * MIB, addr=8 * GIB)
            vm.resize(size)
            g.plug('above', 130 * MIB, addr=at + size)
            expect('MemTotal with DIMMs', g.memtotal() - total, gained(size + 132 * MIB))
            g.eject('below')
            vm.resize(2 * MIB)
            g.eject('above')
            vm.resize(0)
            expect_same('all gone', snapshot(g), before)


# Memory blocks are of 2 GiB, and boot memory ends in the middle of one, at 69 GiB.
BIG_BLOCKS = {'mem': '66G', 'maxmem': '96G', 'machine': 'q35,max-ram-below-4g=1G',
              'cpu': 'max,la57=off,-hypervisor', 'timeout': 300}


@case(needs='virtio-mem')
def vmem_with_2g_blocks(t):
    """I2 I4: devices smaller than a block of 2 GiB share it with boot memory and a DIMM."""
    at = 69 * GIB
    args = Device.args(510 * MIB, 0, at + 2 * MIB) + Device.args(510 * MIB, 1, at + 512 * MIB)
    with t.guest(**BIG_BLOCKS, args=args) as g:
        expect('block size', g.block_size(), 2 * GIB)
        devices = [Device(g, n) for n in range(2)]
        g.auto_online('online_movable')
        before, total = snapshot(g), g.memtotal()
        g.plug('dimm', 2 * MIB, addr=at)
        for first, second in ((2, 510), (510, 510), (498, 2), (498, 0)):
            devices[0].resize(first * MIB)
            devices[1].resize(second * MIB)
            expect(f'MemTotal with {first} and {second} MiB', g.memtotal() - total,
                   (2 + first + second) * MIB)
        g.eject('dimm')
        devices[0].resize(0)
        expect_same('gone', snapshot(g), before)


@case(needs='virtio-mem')
def vmem_reaches_any_size(t):
    """I8: less than what hosts the memmap of a block can be left, and is usable."""
    with t.guest(**BIG_BLOCKS, args=Device.args(4 * GIB, addr=70 * GIB), cmdline=FORCE) as g:
        vm = Device(g)
        g.auto_online('online_movable')
        before, total = snapshot(g), g.memtotal()
        vm.resize(2 * GIB)
        expect('MiB that host memmap', [e[3] // MIB for e in ours(g)], [32])
        hosts = 16 * MIB // PAGE * STRUCT_PAGE
        for mib in (16, 2):
            vm.resize(mib * MIB)
            expect(f'MemTotal with {mib} MiB', g.memtotal() - total, mib * MIB - hosts)
        vm.resize(0)
        expect_same('gone', snapshot(g), before)
    # What is offline goes, also if nothing else is to.
    with t.guest(**BIG_BLOCKS, args=Device.args(4 * GIB, addr=70 * GIB),
                 cmdline=f'{FORCE} virtio_mem.unplug_online=0') as g:
        vm = Device(g)
        g.auto_online('offline')
        before = snapshot(g)
        for mib in (2048, 16, 0):
            vm.resize(mib * MIB)
        expect_same('offline and gone', snapshot(g), before)


@case(needs='virtio-mem', archs=FOUR_K)
def vmem_shrinks_what_hosts(t):
    """I8: what hosts memmap of others goes with the last of them, and is usable until then."""
    with t.guest(args=Device.args(GIB), cmdline=FORCE) as g:
        vm = Device(g)
        g.auto_online('online_movable')
        before, total = snapshot(g), g.memtotal()
        vm.resize(128 * MIB)
        hosts = SECTION // PAGE * STRUCT_PAGE
        expect('hosted', [e[3] for e in ours(g)], [hosts])
        for mib in (126, 64, 4, 2):
            vm.resize(mib * MIB)
            expect(f'MemTotal with {mib} MiB', g.memtotal() - total, mib * MIB - hosts)
        expect('extents', len(ours(g)), 1)
        vm.resize(0)
        expect_same('gone', snapshot(g), before)
        vm.resize(62 * MIB)
        vm.resize(2 * MIB)
        # Not all of its first 2 MiB is memmap.
        expect('MemTotal', g.memtotal() - total, 2 * MIB - 62 * MIB // PAGE * STRUCT_PAGE)
        vm.resize(0)
        expect_same('gone', snapshot(g), before)


def fill_up(g, free=19):
    """Until so many MiB are free: what is in a tmpfs cannot go anywhere."""
    g.auto_online('online_movable')
    g.sh('mkdir -p /tmp/full; mount -t tmpfs -o size=90% none /tmp/full')
    for n in range(10):
        left = g.meminfo()['MemFree'] // 1024 - free
        if left <= 0:
            break
        g.sh(f'dd if=/dev/zero of=/tmp/full/{n} bs=1M count={left} 2>/dev/null', timeout=60)
    expect_between('MiB free', g.meminfo()['MemFree'] // 1024, free - 14, free + 6)


FULL = {'mem': '384M', 'maxmem': '16G', 'args': Device.args(8 * GIB), 'files': False}


def grow_full_guest(t, flavour, free=19):
    """Give 8 GiB to a guest that is out of memory: bytes plugged, and whom that killed."""
    with t.guest(flavour=flavour, cmdline=FORCE if flavour != 'stock' else '', **FULL) as g:
        fill_up(g, free)
        if flavour == 'stock':
            # It may run out of memory, or find that there is none for a memory block. Then it
            # tries again every 50 s or more, which gains nothing.
            g.allow.append('')
        plugged = Device(g).try_resize(8 * GIB, 20 if flavour == 'stock' else 120)
        killed = re.findall(r'Killed process .*|Kernel panic .*', g.console())
        if plugged == 8 * GIB:
            expect_between('MiB free now', g.meminfo()['MemFree'] // 1024, 7 * 1024, 9 * 1024)
        return plugged, killed


# Not on the debug flavour: shadow memory of KASAN is an eighth of all that goes online.
@case(flavours=('patched',), needs='virtio-mem')
def vmem_full_guest_grows(t):
    """A guest that is out of memory grows by 8 GiB, and nobody is killed; on stock, it does not."""
    plugged, _ = grow_full_guest(t, 'stock')
    expect_between('stock: MiB plugged', plugged // MIB, 0, 2048)
    # With 10, there is none for memmap, unless memory hosts it.
    for free in (19, 10):
        plugged, killed = grow_full_guest(t, t.flavour, free)
        expect(f'{free} MiB free: MiB plugged', plugged // MIB, 8192)
        expect(f'{free} MiB free: killed', killed, [])


@case(flavours=('patched',), needs='virtio-mem', archs=FOUR_K)
def vmem_with_full_page_cache(t):
    """I7: memory that is full of page cache is no lack of memory: blocks are added as a whole."""
    for cmdline in ('', FORCE):
        with t.guest(mem='2G', args=Device.args(2 * GIB, addr=8 * GIB), maxmem='16G',
                     cmdline=f'mem=512M memmap=768M!{h(GIB)} {cmdline}') as g:
            g.auto_online('online_movable')
            # The cache goes when nobody has the device open.
            g.sh('sleep 999 </dev/pmem0 >/dev/null 2>&1 &')
            g.sh('dd if=/dev/pmem0 of=/dev/null bs=1M 2>/dev/null', timeout=120)
            expect_between('MiB free', g.meminfo()['MemFree'] // 1024, 0, 40)
            Device(g).resize(2 * GIB)
            expect('MiB of extents', [e[1] // MIB for e in ours(g)], [128] * 16)
            # There may be no huge page for memmap at once, which the kernel tells of.
            only_alloc_stacks(g, r'kworker/\S+')


@case(flavours=('patched',), needs='virtio-mem')
def vmem_full_guest_waits(t):
    """Where memmap is not hosted, a full guest grows as far as it can, and on when it can."""
    for how in ('', 'virtio_mem.force_bbm=1'):
        with t.guest(cmdline=how, **FULL) as g:
            vm = Device(g)
            g.auto_online('offline')
            g.plug('d0', 512 * MIB)
            fill_up(g)
            for n in range(3):
                vm.try_resize((8 - n) * GIB, 3)
            expect_between('MiB plugged', vm.size() // MIB, 0, 4096)
            log = g.console()
            expect('killed', re.findall('Killed process .*', log), [])
            # Once each time that something was added before
            expect_between('complaints', len(re.findall('virtio_mem.*(?:not enough memory|failed)',
                                                        log)), 1, 3)
            # Memory of others that goes online is looked at, long before it tries by itself.
            size, first = vm.size(), g.dimm_address('d0') // SECTION
            for block in range(first, first + 4):
                expect(f'memory{block}', g.state(block, 'online_kernel'), None)
            g.wait_for('more is plugged', lambda s=size: vm.size() > s, 20)
            g.sh('rm /tmp/full/*')
            vm.resize(8 * GIB)


@case(needs='virtio-mem')
def vmem_with_memory_of_others(t):
    """I4: where somebody else has added memory to the region, the driver gives up, as on stock."""
    with t.guest(args=Device.args(GIB)) as g:
        vm = Device(g)
        g.auto_online('online_movable')
        g.mod_ok(f'add 0 {h(vm.start())} {h(SECTION)}')
        # The driver plugs first, and unplugs when memory cannot be added.
        vm.ask(64 * MIB)
        g.wait_for('the driver gives up', lambda: 'broken' in g.console(), 20)
        expect('complaints', re.findall(r'virtio_mem virtio\d+: (.*(?:failed|broken).*)',
                                        g.console()),
               ['adding memory failed: -17', 'unknown error, marking device broken: -17'])
        expect('plugged', vm.size(), 0)


@case(needs='virtio-mem')
def vmem_in_kernel_zones(t):
    """I5: what was online in a kernel zone shrinks as far as pages can move."""
    with t.guest(args=Device.args(GIB)) as g:
        vm = Device(g)
        g.auto_online('online_kernel')
        total = g.memtotal()
        vm.resize(514 * MIB)
        expect('MemTotal', g.memtotal() - total, 514 * MIB)
        vm.ask(0)
        g.wait_for('half of it is gone', lambda: vm.size() <= 256 * MIB, 60)
        vm.resize(514 * MIB)
        expect('MemTotal again', g.memtotal() - total, 514 * MIB)


@case(needs='virtio-mem', archs=FOUR_K)
def vmem_offline(t):
    """R2 R3: what is offline is unplugged, and what is not plugged stays out of use."""
    with t.guest(args=Device.args(GIB)) as g:
        vm = Device(g)
        g.auto_online('offline')
        before, total = snapshot(g), g.memtotal()
        vm.resize(190 * MIB)
        expect('MemTotal', g.memtotal(), total)
        expect('online', [e[2] for e in ours(g)], [False] * 2)
        # Part of an extent
        vm.resize(160 * MIB)
        block = vm.start() // SECTION
        for n in range(2):
            expect('online', g.write(f'{MEMORY}/memory{block + n}/state', 'online_movable'), None)
        expect('MemTotal, online', g.memtotal() - total, 160 * MIB)
        expect('offline', g.write(f'{MEMORY}/memory{block + 1}/state', 'offline'), None)
        expect('MemTotal, half', g.memtotal() - total, 128 * MIB)
        vm.resize(190 * MIB)
        vm.resize(0)
        expect_same('gone', snapshot(g), before)


@case(needs='virtio-mem')
def vmem_counts_what_is_offline(t):
    """I5: as on stock, 1 GiB can be offline at a time, whatever was online before."""
    with t.guest(args=Device.args(3 * GIB), cmdline=FORCE) as g:
        vm = Device(g)
        g.auto_online('online_movable')
        total = g.memtotal()
        vm.resize(GIB)
        g.auto_online('offline')
        vm.ask(3 * GIB)
        g.wait_for('as much as can be is offline', lambda: vm.size() >= 2 * GIB)
        vm.settle()
        expect('MiB plugged', vm.size() // MIB, 2048)
        expect('MiB online', (g.memtotal() - total) // MIB, 1024 - 16)
        # What is in use is filled up first, and what is not goes first.
        vm.resize(2 * GIB - 2 * MIB)
        vm.resize(GIB)
        expect('MiB online', (g.memtotal() - total) // MIB, 1024 - 16)
        vm.resize(GIB - 4 * MIB)
        expect('MiB online', (g.memtotal() - total) // MIB, 1024 - 20)
        vm.resize(GIB)
        expect('MiB online', (g.memtotal() - total) // MIB, 1024 - 16)


@case(needs='virtio-mem')
def vmem_rebind(t):
    """I5: the driver can be unbound when nothing is plugged, and bound again."""
    drivers = '/sys/bus/virtio/drivers/virtio_mem'
    with t.guest(args=Device.args(GIB)) as g:
        vm = Device(g)
        g.auto_online('online_movable')
        device = g.sh(f'cd {drivers}; echo virtio*').strip()
        before = snapshot(g)
        vm.resize(62 * MIB)
        vm.resize(0)
        g.sh(f'echo {device} >{drivers}/unbind; echo {device} >{drivers}/bind')
        vm.resize(130 * MIB)
        vm.resize(0)
        expect_same('gone', snapshot(g), before)


@case(needs='virtio-mem', archs=FOUR_K)
def vmem_many_at_random(t):
    """I4 I5: devices and DIMMs share blocks, come and go at random, with content kept."""
    at = 8 * GIB
    sizes = [m * MIB for m in (1022, 510, 254)]
    args, addr = [], at + 2 * MIB
    for n, size in enumerate(sizes):
        args += Device.args(size, n, addr)
        addr += size
    dimms = {'below': (2 * MIB, at), 'above': (66 * MIB, addr)}
    # Of what goes online, KASAN's shadow memory is an eighth.
    mem = '1536M' if t.flavour == 'debug' else '512M'
    for cmdline in ('', FORCE):
        with t.guest(mem=mem, maxmem='16G', args=args, cmdline=cmdline, smp=2) as g:
            devices = [Device(g, n) for n in range(len(sizes))]
            g.auto_online('online_movable')
            before, total = snapshot(g), g.memtotal()
            want, plugged = [0] * len(sizes), set()
            # More than what boot memory could hold
            used = g.amount(600)
            devices[0].resize(sizes[0])
            want[0] = sizes[0]
            with g.filled(used) as verify:
                for step in range(24):
                    n = t.random.randrange(len(sizes) + 2)
                    if n >= len(sizes):
                        name = sorted(dimms)[n - len(sizes)]
                        if name in plugged:
                            g.eject(name)
                        else:
                            g.plug(name, dimms[name][0], addr=dimms[name][1])
                        plugged ^= {name}
                    else:
                        size = t.random.randrange(sizes[n] // GRANULE + 1) * GRANULE
                        if sum(want) - want[n] + size < used + 100 * MIB:
                            continue
                        devices[n].resize(size)
                        want[n] = size
                    if step % 4 == 0:
                        verify()
                    if not cmdline:
                        expect(f'MemTotal in step {step}', g.memtotal() - total,
                               sum(want) + sum(dimms[d][0] for d in plugged))
                verify()
            for name in plugged:
                g.eject(name)
            for device in devices:
                device.resize(0)
            expect_same('gone', snapshot(g), before)
            expect('extents left', ours(g), [])
