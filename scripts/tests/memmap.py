# SPDX-License-Identifier: GPL-2.0
"""Memory that hosts its own memmap (memory_hotplug.memmap_on_memory): any range,
all of it, and nothing else."""

import re

from lib import (BLOCK, DAX_SIZE, FIRST, GIB, GRANULE, MEMORY, MIB, MOD, PAGE, SECTION, SPARE,
                 World, arm, case, dax_guest, expect, expect_between, expect_both, expect_same,
                 fail, fail_each, free_bytes, h, helper, huge_pages, make_dax, only_alloc_stacks,
                 section_is_gone, snapshot, to_devdax, to_system_ram, used_kib)

HOST = 'memory_hotplug.memmap_on_memory=Y'
SELF = 2                        # MHP_MEMMAP_ON_MEMORY, a bit of mhp_t
SIZES = (2, 4, 6, 10, 62, 126, 128, 130, 134, 254, 256, 386)
OFFSETS = (0, 2, 62, 126)
RUN = re.compile(r'memmap=(0x\w+)-(0x\w+) of=(0x\w+)-(0x\w+) level=(pte|pmd)')


def memmap_of(size):
    return size // PAGE * 64


def add(start, size):
    return f'add 0 {h(start)} {h(size)} {SELF}'


def backing(g, start, size):
    """Where the memmap of a range is, by page tables: (first, end, of, of_end, level)."""
    out = []
    for line in g.mod_ok(f'backing {h(start)} {h(size)}'):
        m = RUN.fullmatch(line)
        out.append((int(m[1], 0), int(m[2], 0) + 1, int(m[3], 0), int(m[4], 0) + 1, m[5]))
    return out


def hosts_itself(g, start, size, block_size):
    """Each extent of a range must have all of its memmap, and nothing but that, on
    its first pages; full sections must have it in huge pages. Returns the bytes."""
    total = 0
    at = start
    while at < start + size:
        end = min((at // block_size + 1) * block_size, start + size)
        runs = backing(g, at, end - at)
        expect(f'memmap of {at:#x}-{end:#x} covers', (runs[0][2], runs[-1][3]), (at, end))
        expect(f'memmap of {at:#x}-{end:#x} is on', merged((s, e) for s, e, *_ in runs),
               [(at, at + memmap_of(end - at))])
        for _, _, of, of_end, level in runs:
            full = of % SECTION == 0 and of_end % SECTION == 0
            expect(f'level of the memmap of {of:#x}-{of_end:#x}', level,
                   'pmd' if full else 'pte')
        total += memmap_of(end - at)
        at = end
    return total


def merged(ranges):
    """Ranges [start, end) joined where they touch; an overlap is a failure."""
    out = []
    for start, end in sorted(ranges):
        if out and start < out[-1][1]:
            fail('pages that hold memmap', 'each used once', f'{start:#x} used twice')
        if out and start == out[-1][1]:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return out


def table(g, base):
    """Every size at every offset: usable + memmap = plugged, to the page."""
    w = World(g)
    g.auto_online('online_movable')
    before = snapshot(g)
    for offset in OFFSETS:
        for size in SIZES:
            start, size = base + offset * MIB, size * MIB
            what = f'{size // MIB} MiB at +{offset} MiB'
            ram = (start, size, 0, 'Movable', 'self')
            g.mod_ok(add(start, size))
            w.check([ram], what)
            hosted = hosts_itself(g, start, size, w.block_size)
            values = g.mod_values(f'hosting {h(start)} {h(size)}')
            pages = hosted // PAGE
            expect(f'{what}: pages that host', values,
                   {'hosting': str(pages), 'reserved': '0', 'buddy': '0', 'count': str(pages)})
            g.mod_ok(f'offremove {h(start)} {h(size)}')
    w.check([], 'all removed')
    expect_same('all removed', snapshot(g), before)


@case(quick=True, needs='memmap')
def memmap_sizes_and_offsets(t):
    """I8: a range of any size and offset hosts the memmap of exactly its own pages."""
    with t.guest(mem='2G', cmdline=f'mem=1G {HOST}') as g:
        table(g, SPARE)


def large_blocks(t, limit, block_size):
    # Blocks are as large as the end of boot memory is aligned to, from 64 GiB on.
    with t.guest(mem='74G', maxmem=None, machine='q35,max-ram-below-4g=1G',
                 cmdline=f'mem={limit} {HOST}', timeout=300) as g:
        expect('block_size_bytes', g.block_size(), block_size)
        table(g, 70 * GIB)


@case(needs='memmap')
def memmap_with_1g_blocks(t):
    """I8: the same with blocks of 1 GiB, where an extent has several sections."""
    large_blocks(t, '65G', GIB)


@case(needs='memmap')
def memmap_with_2g_blocks(t):
    """I8: the same with blocks of 2 GiB."""
    large_blocks(t, '66G', 2 * GIB)


@case(archs=('x86_64', 'arm64-4k'), needs='memmap')
def memmap_of_dimms(t):
    """I8: DIMMs of any size and place host their memmap, two in one section each its own."""
    with t.guest(mem='1G', cmdline=HOST) as g:
        w = World(g)
        g.auto_online('online_movable')
        base = g.device_memory()
        for sizes in ((2, 134), (62, 130, 2), (126, 386), (128, 4)):
            rams = []
            start = base + 2 * MIB * t.random.randrange(64)
            for n, size in enumerate(sizes):
                g.plug(f'd{n}', size * MIB, addr=start)
                rams.append((start, size * MIB, 0, 'Movable', 'self'))
                start += size * MIB
            names = [f'd{n}' for n in range(len(sizes))]
            t.random.shuffle(names)
            while names:
                w.check(rams, f'{sizes}, {len(names)} left')
                for ram in rams:
                    hosts_itself(g, ram[0], ram[1], w.block_size)
                name = names.pop()
                at = g.dimm_address(name)
                with g.filled(g.amount(300)) as verify:
                    g.eject(name)
                    verify()
                rams = [r for r in rams if r[0] != at]
            w.check([], f'{sizes}, ejected')


@case(quick=True, needs='memmap')
def memmap_of_boot_section(t):
    """I8: what lies in a section that is there since boot hosts nothing, the rest its own."""
    with t.guest(mem='2G', cmdline=f'mem=1088M {HOST}') as g:
        w = World(g)
        g.auto_online('online_movable')
        start = SPARE + 64 * MIB
        for size in (GRANULE, 64 * MIB, 66 * MIB, 192 * MIB + GRANULE):
            ram = (start, size, 0, 'Movable', 'self')
            g.mod_ok(add(start, size))
            w.check([ram], f'{size // MIB} MiB')
            for e in g.extents():
                if start <= e.start < start + size:
                    expect(f'memmap of {e.start:#x}', e.memmap,
                           'boot' if e.block == BLOCK else 'self')
            rest = start + size - (SPARE + SECTION)
            if rest > 0:
                hosts_itself(g, SPARE + SECTION, rest, w.block_size)
            g.mod_ok(f'offremove {h(start)} {h(size)}')
            w.check([], 'removed')


def pageblocks(g, node, zone):
    """{migrate type: number of pageblocks} of a zone."""
    text = g.read('/proc/pagetypeinfo')
    names = re.search(r'^Number of blocks type\s+(.*)$', text, re.M)[1].split()
    m = re.search(rf'^Node {node}, zone\s+{zone}\s+([\d ]+)$',
                  text.split('Number of blocks type')[1], re.M)
    return dict(zip(names, map(int, m[1].split())))


@case(quick=True, needs='memmap')
def memmap_shares_pageblock(t):
    """I1 I8: a pageblock that begins with memmap: in ZONE_MOVABLE, the rest of it can be had."""
    # Zone Normal has other memory, which the kernel uses first.
    with t.guest(mem='6G', maxmem=None, cmdline=f'mem=5G {HOST}') as g:
        w = World(g)
        base = 0x140000000
        for policy, zone in (('online_kernel', 'Normal'), ('online_movable', 'Movable')):
            g.auto_online(policy)
            rams = [(base, GRANULE, 0, zone, 'self'),
                    (base + 8 * MIB, 130 * MIB, 0, zone, 'self')]
            for start, size, *_ in rams:
                g.mod_ok(add(start, size))
            w.check(rams, f'added, {policy}')
            for start, size, *_ in rams:
                behind = start + memmap_of(min(size, 120 * MIB))
                end = behind // GRANULE * GRANULE + GRANULE
                for at, length in ((start, PAGE), (behind - PAGE, PAGE), (behind - PAGE, 2 * PAGE),
                                   (start, GRANULE)):
                    expect(f'take {at:#x} +{length:#x}', g.mod(f'take {h(at)} {h(length)}')[0],
                           'EBUSY')
                for at, length in ((behind, PAGE), (behind, end - behind), (end - PAGE, PAGE)):
                    if zone == 'Movable':
                        expect_both(g, f'take {h(at)} {h(length)}', f'give {h(at)} {h(length)}')
                    else:
                        expect(f'take {at:#x} +{length:#x}, {zone}',
                               g.mod(f'take {h(at)} {h(length)}')[0], 'EBUSY')
            none_isolated(g, zone, w, rams, 'after taking pages')
            if zone == 'Normal':
                # In the other zone, offlining would try until a signal comes.
                start, size, *_ = rams[1]
                at = start + size - PAGE
                g.mod_ok(f'take {h(at)} {h(PAGE)}')
                expect('offline with a page in use',
                       g.mod(f'offremove {h(start)} {h(size)}')[0], 'EBUSY')
                g.mod_ok(f'give {h(at)} {h(PAGE)}')
                none_isolated(g, zone, w, rams, 'after a failed offline')
            with g.filled(g.amount(600), how='small') as verify:
                for start, size, *_ in rams:
                    g.mod_ok(f'offremove {h(start)} {h(size)}')
                verify()
            w.check([], 'removed while memory is in use')


def none_isolated(g, zone, w, rams, what):
    w.check(rams, what)
    expect(f'{what}: isolated pageblocks', pageblocks(g, 0, zone).get('Isolate', 0), 0)
    for order in range(11):
        got = g.mod_values(f'churn 0 {h(64 * MIB)} {order}')
        expect(f'{what}: bad pages of order {order}', int(got['bad']), 0)


@case(quick=True, needs='memmap')
def memmap_neighbours(t):
    """I4 I8: neighbours of a section host their memmap each; any of them goes first."""
    with t.guest(mem='2G', cmdline=f'mem=1G {HOST}') as g:
        w = World(g)
        g.auto_online('online_movable')
        a = (SPARE + 4 * MIB, 6 * MIB, 0, 'Movable', 'self')
        b = (SPARE + 10 * MIB, 2 * MIB, 0, 'Movable', 'self')
        regular = (SPARE + 12 * MIB, 4 * MIB, 0, 'Movable')
        device = (SPARE + 16 * MIB, 4 * MIB)
        c = (SPARE + 20 * MIB, 4 * MIB, 0, 'Movable', 'self')
        for order in ('abrdc', 'cdrba', 'drabc', 'brcad'):
            there = {}
            devices = []

            def check(what):
                w.check(there.values(), what, spans=False, devices=devices)
                for ram in there.values():
                    if len(ram) > 4:
                        hosts_itself(g, ram[0], ram[1], w.block_size)

            def put(name):
                ram = {'a': a, 'b': b, 'c': c, 'r': regular}.get(name)
                if name == 'd':
                    g.mod_ok(f'device {h(device[0])} {h(device[1])} {altmap(device[1])}')
                    devices.append((device[0], device[0] + device[1]))
                else:
                    g.mod_ok(f'add 0 {h(ram[0])} {h(ram[1])} {SELF if len(ram) > 4 else 0}')
                    there[name] = ram

            def take(name):
                if name == 'd':
                    g.mod_ok(f'undevice {h(device[0])}')
                    devices.clear()
                else:
                    ram = there.pop(name)
                    g.mod_ok(f'offremove {h(ram[0])} {h(ram[1])}')

            for name in order:
                put(name)
            check(f'{order} there')
            for name in reversed(order) if order[0] == 'd' else order:
                take(name)
                check(f'{order}: {name} gone')
                got = g.mod_values(f'churn 0 {h(8 * MIB)} 9')
                expect('bad pages', int(got['bad']), 0)
            section_is_gone(g, SPARE)


def altmap(size):
    """RESERVE and FREE in pages as libnvdimm has them: 8 KiB for itself, and memmap
    up to a multiple of 2 MiB."""
    reserve = 8192 // PAGE
    return f'{reserve} {-(-(8192 + memmap_of(size)) // GRANULE) * GRANULE // PAGE - reserve}'


@case(quick=True, needs='memmap')
def device_with_altmap(t):
    """I7: a device with an altmap as libnvdimm makes it takes what it took on stock."""
    with t.guest(mem='2G', cmdline=f'mem=1G {HOST}') as g:
        for offset in (0, 2, 64):
            for size in (16, 128, 130, 144, 258, 272):
                start, size = SPARE + offset * MIB, size * MIB
                g.mod_ok(f'device {h(start)} {h(size)} {altmap(size)}')
                for first, end, of, of_end, level in backing(g, start, size):
                    full = of % SECTION == 0 and of_end % SECTION == 0
                    inside = start <= first and end <= start + size
                    expect(f'{size // MIB} MiB at +{offset} MiB: memmap of {of:#x}-{of_end:#x}',
                           (level, inside), ('pmd', True) if full else ('pte', False))
                g.mod_ok(f'undevice {h(start)}')
                section_is_gone(g, start)


def cycles(t, count):
    """A DIMM of odd size that hosts its memmap: fill, migrate, compact, offline,
    online again, eject, plug again."""
    with t.guest(mem='1G', cmdline=HOST) as g:
        w = World(g)
        g.auto_online('online_movable')
        start, size = FIRST, 134 * MIB
        ram = (start, size, 0, 'Movable', 'self')
        before = used = None
        for n in range(count + 1):
            g.plug('a', size, addr=start)
            w.check([ram], 'plugged')
            hosts_itself(g, start, size, w.block_size)
            amount = (free_bytes(g) - size - 96 * MIB) // GRANULE * GRANULE
            with g.filled(min(amount, g.amount(500)), seed=n + 1, how='thp' if n % 2 else 'small') \
                    as verify:
                g.sh('echo 1 >/proc/sys/vm/compact_memory', timeout=120)
                for block in (start // SECTION, start // SECTION + 1):
                    expect('offline', g.state(block, 'offline'), None)
                w.check([ram[:3] + (None, 'self')], 'offline')
                for block in (start // SECTION, start // SECTION + 1):
                    expect('online', g.state(block, 'online_movable'), None)
                w.check([ram], 'online again')
                verify()
                g.eject('a')
                verify()
            w.check([], 'ejected')
            now = snapshot(g)
            if n == 0:
                before, used = now, used_kib(g)
            else:
                expect_same(f'round {n}', now, before)
        expect_between('KiB taken by the kernel', used_kib(g), used - 1024, used + 1024)


@case(quick=True, needs='memmap')
def memmap_cycles(t):
    """I5: fill, migrate, compact, offline, online, eject and plug again leave nothing."""
    cycles(t, 2)


@case(long=True, needs='memmap')
def memmap_cycles_soak(t):
    """I5: the same 100 times."""
    cycles(t, 100)


PARAMETER = '/sys/module/memory_hotplug/parameters/memmap_on_memory'


@case(needs='memmap')
def memmap_parameter(t):
    """I7: memmap_on_memory takes and shows the words of stock; nonsense changes nothing."""
    for flavour in ('stock', t.flavour):
        for words, shown in ((('y',), 'Y'), (('Y',), 'Y'), (('1',), 'Y'), (('n',), 'N'),
                             (('N',), 'N'), (('0',), 'N'), (('force',), 'force'),
                             (('FORCE',), 'force'), ((), 'N'), (('Y', 'bogus'), 'Y'),
                             (('force', 'xforce'), 'force'), (('N', '2'), 'N')):
            cmdline = ' '.join(f'memory_hotplug.memmap_on_memory={w}' for w in words)
            with t.guest(flavour=flavour, files=False, cmdline=cmdline) as g:
                what = f'{flavour} with {" ".join(words)}'
                expect(what, g.read(PARAMETER).strip(), shown)
                log = g.sh('dmesg')
                expect(f'{what}: complaints',
                       re.findall(r"`(\S*)' invalid for parameter `memory_hotplug.memmap", log),
                       list(words[1:]))
                expect(f'{what}: waste', 'Memory hotplug will waste' in log,
                       shown == 'force' and flavour == 'stock')


@case(quick=True, needs='memmap')
def memmap_force(t):
    """R11 I8: force hosts what Y hosts, wastes nothing; without sub-sections, it is as on stock."""
    for off in ('', 'memory_hotplug.subsection=N'):
        for order in (f'memory_hotplug.memmap_on_memory=force {off}',
                      f'{off} memory_hotplug.memmap_on_memory=force'):
            with t.guest(mem='2G', cmdline=f'mem=1G {order}') as g:
                expect('the parameter', g.read(PARAMETER).strip(), 'force')
                expect('tells of waste', 'Memory hotplug will waste 0 pages in each memory block'
                       in g.sh('dmesg'), bool(off))
                g.auto_online('online_movable')
                total = g.memtotal()
                g.mod_ok(add(SPARE, SECTION))
                expect('MemTotal', g.memtotal(), total + SECTION - memmap_of(SECTION))
                g.mod_ok(f'offremove {h(SPARE)} {h(SECTION)}')
                if off:
                    expect('add of a granule', g.mod(add(SPARE, GRANULE))[0], 'EINVAL')
                else:
                    w = World(g)
                    g.mod_ok(add(SPARE + GRANULE, SECTION))
                    w.check([(SPARE + GRANULE, SECTION, 0, 'Movable', 'self')], 'added')
                    hosts_itself(g, SPARE + GRANULE, SECTION, SECTION)


@case(needs='memmap')
def memmap_64g_into_512m(t):
    """I8: 64 GiB go into a guest with 512 MiB; of its memory they take little."""
    with t.guest(mem='640M', maxmem='80G', cmdline=HOST, timeout=300) as g:
        expect_between('free memory', free_bytes(g), 300 * MIB, 512 * MIB)
        g.auto_online('offline')
        before = used_kib(g)
        expect('plug', g.plug_dimm('a', 64 * 1024, addr=FIRST, wait=600), True)
        g.wait_for('memory blocks', lambda: FIRST + 64 * GIB in [e.end for e in g.extents()], 300)
        # Page tables; memory blocks, extents and usage maps are in the slab, which
        # used_kib() does not count.
        expect_between('KiB taken for 64 GiB', used_kib(g) - before, 0, 64 * 12)
        total = g.memtotal()
        blocks = [FIRST // SECTION, FIRST // SECTION + 511]
        for block in blocks:
            expect(f'online {block}', g.state(block, 'online_movable'), None)
        expect('MemTotal', g.memtotal(), total + len(blocks) * (SECTION - memmap_of(SECTION)))
        with g.filled(g.amount(400)) as verify:
            verify()
        g.eject('a')


@case(needs='memmap')
def memmap_kmem(t):
    """I8: the memmap_on_memory attribute of a dax device decides, for unaligned devices, too."""
    start = SPARE + 32 * MIB
    with dax_guest(t, '1G', start, HOST) as g:
        dax = make_dax(g, start)
        w = World(g)
        for value, memmap in (('1', 'self'), ('0', None), ('1', 'self')):
            g.sh(f'echo {value} >/sys/bus/dax/devices/dax0.0/memmap_on_memory')
            to_system_ram(g)
            w.check([(dax, DAX_SIZE, 0, 'Movable', memmap)], f'memmap_on_memory={value}',
                    spans=False)
            if memmap:
                hosts_itself(g, dax, DAX_SIZE, w.block_size)
            with g.filled(g.amount(300), how='thp') as verify:
                verify()
            to_devdax(g)
            w.check([], 'devdax', spans=False)


def hosting_page_run(t, flavour):
    """What the system tells of, and does to, a page that holds memmap of a full block."""
    out = {}
    with t.guest(flavour=flavour, mem='1G', cmdline=HOST) as g:
        g.auto_online('online_movable')
        g.plug('a', SECTION, addr=FIRST)
        for name, at in (('first', FIRST), ('last', FIRST + memmap_of(SECTION) - PAGE)):
            for file in ('kpageflags', 'kpagecount'):
                out[f'{file} of the {name} page'] = g.sh(
                    f'dd if=/proc/{file} bs=8 skip={at // PAGE} count=1 2>/dev/null | od -An -tx8')
        at = FIRST + 5 * PAGE
        g.sh('dmesg -c >/dev/null')
        out['soft offline'] = g.write('/sys/devices/system/memory/soft_offline_page', h(at))
        out['hard offline'] = g.write('/sys/devices/system/memory/hard_offline_page', h(at))
        out['corrupted'] = g.meminfo()['HardwareCorrupted']
        out['log'] = re.findall(r'(?:Memory failure|soft_offline).*', g.sh('dmesg'))
        out['offline'] = g.state(FIRST // SECTION, 'offline')
        out['online'] = g.state(FIRST // SECTION, 'online_movable')
        out['eject'] = g.unplug('a', timeout=60)
        out['corrupted at the end'] = g.meminfo()['HardwareCorrupted']
    return out


@case(needs='memmap')
def memmap_pages_as_on_stock(t):
    """I7: /proc/kpageflags, soft and hard offlining treat a page of memmap as stock does."""
    stock = hosting_page_run(t, 'stock')
    seen = hosting_page_run(t, t.flavour)
    for what, value in stock.items():
        expect(what, seen[what], value)


@case(needs='memmap')
def memmap_of_poisoned_extent(t):
    """I4: a page of memmap that is poisoned counts for its extent, and for no neighbour."""
    with t.guest(mem='2G', cmdline=f'mem=1G {HOST}') as g:
        w = World(g)
        g.auto_online('online_movable')
        rams = [(SPARE + n * GRANULE, GRANULE, 0, 'Movable', 'self') for n in range(3)]
        for ram in rams:
            g.mod_ok(add(ram[0], ram[1]))
        w.check(rams, 'added')
        at = rams[1][0] + 3 * PAGE
        g.run(f'echo {h(at // PAGE)} >/sys/kernel/debug/hwpoison/corrupt-pfn')
        expect('HardwareCorrupted', g.meminfo()['HardwareCorrupted'], 4)
        expect('offline', g.state(BLOCK, 'offline'), None)
        expect('online', g.state(BLOCK, 'online_movable'), None)
        w.check([rams[0], rams[1][:3] + (None, 'self'), rams[2]], 'siblings online')
        for ram in rams:
            g.mod_ok(f'offremove {h(ram[0])} {h(ram[1])}')
        expect('HardwareCorrupted', g.meminfo()['HardwareCorrupted'], 0)
        w.check([], 'removed')


@case(flavours=('debug',), needs='memmap')
def memmap_every_allocation_fails(t):
    """I6 I8: whichever allocation of adding memory with its memmap on it fails, nothing is left."""
    with t.guest(mem='2G', cmdline=f'mem=1G {HOST}', share=[helper('failnth')]) as g:
        arm(g)
        state, cmd = f'{MEMORY}/memory{BLOCK}/state', f'{MOD}/cmd'
        # A partial, a full and a partial section; two blocks; a granule
        for offset, size in ((0, GRANULE), (126 * MIB, 4 * MIB), (126 * MIB, 134 * MIB)):
            start = SPARE + offset
            fail_each(t, g, f'add {size // MIB} MiB', (cmd, add(start, size)),
                      (cmd, f'remove {h(start)} {h(size)}'))
        g.mod_ok(add(SPARE, GRANULE))
        fail_each(t, g, 'online', (state, 'online_movable'), (state, 'offline'))
        expect('online', g.state(BLOCK, 'online_movable'), None)
        fail_each(t, g, 'offline', (state, 'offline'), (state, 'online_movable'))
        g.mod_ok(f'offremove {h(SPARE)} {h(GRANULE)}')
        only_alloc_stacks(g)


def shadow_tables(g):
    """Page tables that were allocated for the KASAN shadow of memory going online."""
    stacks = g.read('/sys/kernel/debug/page_owner_stacks/show_stacks').split('\n\n')
    return sum(int(re.search(r'nr_base_pages: (\d+)', s)[1]) for s in stacks
               if 'kasan_mem_notifier' in s and 'pte_alloc' in s)


@case(flavours=('debug',), needs='memmap')
def memmap_below_shadow_of_others(t):
    """I5: the shadow of a memmap replaces that of other memory, whose page table is not lost."""
    # Memory blocks of 1 GiB, of which 16 MiB are memmap, with 2 MiB of shadow
    start = 70 * GIB
    with t.guest(mem='74G', maxmem=None, machine='q35,max-ram-below-4g=1G', timeout=300,
                 cmdline=f'mem=65G memmap=60G$0x100000000 {HOST}') as g:
        expect('block_size_bytes', g.block_size(), GIB)
        g.auto_online('online_movable')
        seen = []
        for _ in range(3):
            for size, how in ((16 * MIB, 0), (GIB, SELF)):
                g.mod_ok(f'add 0 {h(start)} {h(size)} {how}')
                g.mod_ok(f'offremove {h(start)} {h(size)}')
            seen.append(shadow_tables(g))
        expect('page tables after each round', seen, seen[:1] * 3)


# Huge pages that fill all memory leave a debug kernel too little for itself.
@case(flavours=('patched',), needs='memmap')
def memmap_is_not_optimized(t):
    """I8: hugetlb gives back memmap of huge pages, but no page of self-hosted memmap."""
    for mode, given in (('N', True), ('Y', False)):
        with t.guest(mem='512M', cmdline='hugetlb_free_vmemmap=on '
                     f'memory_hotplug.memmap_on_memory={mode}') as g:
            def memmap_pages(g=g):
                return {name: int(re.search(rf'^{name} (\d+)', g.read('/proc/vmstat'), re.M)[1])
                        for name in ('nr_memmap_pages', 'nr_memmap_boot_pages')}

            g.auto_online('online_movable')
            for name, size in (('a', 134), ('b', 122)):
                g.plug(name, size * MIB)
            before = memmap_pages()
            got = huge_pages(g, 2048, 200)
            # More than boot memory has room for
            expect_between('huge pages', got, 180, 200)
            after = memmap_pages()
            for name, wanted in (('nr_memmap_pages', given), ('nr_memmap_boot_pages', True)):
                expect(f'memmap_on_memory={mode}: {name} was given back, {before} {after}',
                       after[name] < before[name], wanted)
            with g.filled(got * GRANULE, how='2m') as verify:
                verify()
            # They are not freed again: stock has trouble with that, hotplug or not.
