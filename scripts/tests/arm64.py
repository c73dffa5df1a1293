# SPDX-License-Identifier: GPL-2.0
"""arm64 with pages of 64 KiB: granule, pageblock, section and memory block are
512 MiB each, and the memmap of a block is 8 pages."""

import re

from lib import (GIB, MEMORY, MIB, case, expect, expect_between, expect_lines, huge_pages, merge,
                 parse_zoneinfo, show, system_ram)

PAGE = 64 << 10
BLOCK = 512 * MIB
MEMMAP = BLOCK // PAGE * 64
WASTE = 'will waste 8184 pages in each memory block'
KPF_HUGE = 1 << 17


def look(g):
    """What a DIMM changes: MemTotal, what memmaps take, System RAM, blocks, zones."""
    return {
        'MemTotal': g.memtotal(),
        'nr_memmap_pages': int(re.search(r'^nr_memmap_pages (\d+)', g.read('/proc/vmstat'),
                                         re.M)[1]),
        'iomem': system_ram(g.read('/proc/iomem')),
        'blocks': g.sh(f"cd {MEMORY}; grep -H '' memory*/state").splitlines(),
        'managed': sum(z['managed'] for z in parse_zoneinfo(g.read('/proc/zoneinfo')).values()),
    }


def huge_pages_of(g, start, size):
    """How many huge pages of 512 MiB there are to be had in a range."""
    huge_pages(g, BLOCK >> 10, size // BLOCK)
    flags = [int(g.sh(f'dd if=/proc/kpageflags bs=8 skip={at // PAGE} count=1 2>/dev/null | '
                      'od -An -tx8'), 16) for at in range(start, start + size, BLOCK)]
    huge_pages(g, BLOCK >> 10, 0)
    return sum(bool(f & KPF_HUGE) for f in flags)


def plug_use_eject(t, mode, flavour, hosted, wastes):
    """A DIMM of 1 GiB with memmap_on_memory=mode: all of it but the pages hosted is
    usable, as huge pages if there are none, and it comes off again. wastes: whether the
    kernel says so while booting."""
    with t.guest(flavour=flavour, cmdline=f'memory_hotplug.memmap_on_memory={mode}') as g:
        expect('block size', g.block_size(), BLOCK)
        expect(f'{mode}: console has "{WASTE}"', WASTE in g.console(), wastes)
        g.auto_online('online_movable')
        first = g.device_memory()
        numbers = [g.block(first), g.block(first) + 1]
        before = look(g)
        for turn in ('plugged', 'plugged again'):
            what = f'{flavour}, {mode}: {turn}'
            g.plug('a', GIB)
            expect(f'{what}: address', g.dimm_address('a'), first)
            now = look(g)
            expect(f'{what}: MemTotal', now['MemTotal'],
                   before['MemTotal'] + GIB - hosted * PAGE)
            expect(f'{what}: managed pages', now['managed'],
                   before['managed'] + GIB // PAGE - hosted)
            expect(f'{what}: nr_memmap_pages', now['nr_memmap_pages'],
                   before['nr_memmap_pages'] + GIB // BLOCK * MEMMAP // PAGE)
            expect_lines(f'{what}: new memory blocks',
                         [b for b in now['blocks'] if b not in before['blocks']],
                         [f'memory{n}/state:online' for n in numbers])
            expect_lines(f'{what}: System RAM', show(now['iomem']),
                         show(merge(before['iomem'] + [(first, first + GIB)])))
            if flavour != 'stock':
                place = 'self' if hosted else 'regular'
                expect(f'{what}: extents',
                       [(e.start, e.end, e.online, e.zone, e.memmap, e.memmap_bytes)
                        for e in g.extents() if e.start >= first],
                       [(first + n * BLOCK, first + (n + 1) * BLOCK, True, 'Movable', place, MEMMAP)
                        for n in range(GIB // BLOCK)])
            # The last one would leave less than the zone has to keep free.
            expect(f'{what}: huge pages of 512 MiB', huge_pages_of(g, first, GIB),
                   0 if hosted else GIB // BLOCK - 1)
            # More than the guest has without the DIMM
            with g.filled(g.amount(1300)) as verify:
                verify()
            g.eject('a')
            now = look(g)
            for name, value in before.items():
                expect(f'{what}, then ejected: {name}', now[name], value)


@case(flavours=('patched',), archs=('arm64-64k',))
def dimm_1g_with_64k_pages_on_stock(t):
    """I7: what stock does: no memory block can host its memmap, asked for or forced."""
    plug_use_eject(t, 'Y', 'stock', 0, False)
    plug_use_eject(t, 'force', 'stock', 0, True)


@case(archs=('arm64-64k',))
def dimm_1g_with_64k_pages(t):
    """R11 I8: with Y, as on stock; forced, blocks host their memmap, 8 pages each, and no more."""
    plug_use_eject(t, 'N', t.flavour, 0, False)
    plug_use_eject(t, 'Y', t.flavour, 0, False)
    plug_use_eject(t, 'force', t.flavour, GIB // BLOCK * MEMMAP // PAGE, False)


@case(archs=('arm64-4k', 'arm64-64k'))
def dimm_with_debug_pagealloc(t):
    """I5: a DIMM whose free pages are not in the linear map comes off without a warning."""
    with t.guest(cmdline='debug_pagealloc=on') as g:
        g.auto_online('online_movable')
        total = g.memtotal()
        for what in ('plugged', 'plugged again'):
            g.plug('a', GIB)
            expect(f'{what}: MemTotal', g.memtotal(), total + GIB)
            g.eject('a')
            expect(f'{what}, then ejected: MemTotal', g.memtotal(), total)


@case(flavours=('patched',), archs=('arm64-4k', 'arm64-64k'))
def boot_memory_stays(t):
    """I7: taking boot memory offline fails, with the errno and the message of stock."""
    seen = []
    for flavour in ('stock', t.flavour):
        # Other memory is found to be unmovable before the notifier is asked.
        with t.guest(flavour=flavour, mem='2G', cmdline='movablecore=1G') as g:
            blocks = sorted(int(n) for n in re.findall(r'memory(\d+)', g.sh(f'ls {MEMORY}')))
            seen.append(([(n, g.state(n, 'offline')) for n in blocks],
                         re.findall(r'Boot memory .*', g.sh('dmesg'))))
    expect('boot memory, offlined', seen[1], seen[0])
    expect_between('messages', len(seen[0][1]), 1, len(seen[0][0]))
