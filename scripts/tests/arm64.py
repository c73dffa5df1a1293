# SPDX-License-Identifier: GPL-2.0
"""arm64 with pages of 64 KiB: granule, pageblock, section and memory block are
512 MiB each, and the memmap of a block is 8 pages."""

import re

from lib import (GIB, MEMORY, MIB, case, expect, expect_lines, merge, parse_zoneinfo, show,
                 system_ram)

PAGE = 64 << 10
BLOCK = 512 * MIB
MEMMAP = BLOCK // PAGE * 64
WASTE = 'will waste 8184 pages in each memory block'


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


def plug_use_eject(t, mode, flavour, hosted, wastes):
    """A DIMM of 1 GiB with memmap_on_memory=mode: all of it but the pages hosted is
    usable, and it comes off again. wastes: whether the kernel says so while booting."""
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
            # More than the guest has without the DIMM
            with g.filled(g.amount(1300)) as verify:
                verify()
            g.eject('a')
            now = look(g)
            for name, value in before.items():
                expect(f'{what}, then ejected: {name}', now[name], value)


@case(flavours=('patched',), archs=('arm64-64k',))
def dimm_1g_with_64k_pages_on_stock(t):
    """I2: what stock does: no memory block can host its memmap, asked for or forced."""
    plug_use_eject(t, 'Y', 'stock', 0, False)
    plug_use_eject(t, 'force', 'stock', 0, True)


@case(archs=('arm64-64k',))
def dimm_1g_with_64k_pages(t):
    """I2: memory blocks host their memmap, 8 pages each, and all else is usable."""
    plug_use_eject(t, 'N', t.flavour, 0, False)
    plug_use_eject(t, 'Y', t.flavour, GIB // BLOCK * MEMMAP // PAGE, False)
