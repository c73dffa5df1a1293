# SPDX-License-Identifier: GPL-2.0
"""Odd memory really used: filled, migrated, compacted, allocated in huge pages,
and walked by whatever looks at every page."""

import re
import time

from lib import (FIRST, GIB, GRANULE, MIB, SPARE, TWO_NODES, Skipped, World, case, expect,
                 expect_between, fail, free_bytes, h, helper, huge_pages, version)

# Together they hold one gigantic page, from 5 GiB to 6 GiB.
DIMMS = [('a', FIRST, 134 * MIB), ('b', FIRST + 134 * MIB, 256 * MIB),
         ('c', FIRST + 390 * MIB, 1660 * MIB)]
ODD = sum(size for _, _, size in DIMMS)
# Small, so that the DIMMs are used; KASAN takes an eighth of them from other memory.
USAGE_MEM = {'patched': '768M', 'debug': '2G'}


def use_gigantic_page(g):
    expect('gigantic pages', huge_pages(g, 1 << 20, 1), 1)
    with g.filled(GIB, seed=2, how='1g') as verify:
        verify()
    expect('gigantic pages given back', huge_pages(g, 1 << 20, 0), 0)


def use_huge_pages(g):
    wanted = ODD // (2 * MIB) - 16
    got = huge_pages(g, 2048, wanted)
    expect_between('2 MiB pages', got, wanted * 9 // 10, wanted)
    with g.filled(got * 2 * MIB, seed=3, how='2m') as verify:
        verify()
    expect('2 MiB pages given back', huge_pages(g, 2048, 0), 0)


@case()
def gigantic_pages(t):
    """I1: looking for 1 GiB of free pages comes past every edge; it is found and freed."""
    if t.flavour == 'debug' and version(t.base) < (7, 3):
        # It takes the page_ext of a gigantic page for one array, and writes behind what
        # is there for the first section.
        raise Skipped('page_owner of this base does not know gigantic pages')
    with t.guest(mem=USAGE_MEM[t.flavour]) as g:
        w = World(g)
        rams = []
        # A debug kernel itself needs memory, and takes it everywhere in zone Normal.
        if t.flavour == 'debug':
            g.sh('echo 1 >/proc/sys/vm/movable_gigantic_pages')
        for name, start, size in DIMMS:
            # Gigantic pages cannot move, so they do not come from zone Movable by default.
            zone = 'Normal' if name == 'c' and t.flavour != 'debug' else 'Movable'
            g.auto_online('online_kernel' if zone == 'Normal' else 'online_movable')
            g.plug(name, size, addr=start)
            rams.append((start, size, 0, zone))
        w.check(rams, 'plugged')
        for _ in range(2):
            use_gigantic_page(g)
            w.check(rams, 'given back')
        use_huge_pages(g)
        g.eject('a')
        use_gigantic_page(g)
        g.eject('b')
        w.check(rams[2:], 'movable ones ejected')


@case()
def memory_really_used(t):
    """I1 I4: a pattern survives migration, compaction and offlining of what holds it."""
    with t.guest(mem=USAGE_MEM[t.flavour]) as g:
        w = World(g)
        g.auto_online('online_movable')
        rams = []
        for name, start, size in DIMMS:
            g.plug(name, size, addr=start)
            rams.append((start, size, 0, 'Movable'))
        w.check(rams, 'plugged')
        use_huge_pages(g)
        w.check(rams, 'after huge pages')

        # Nearly all that is free, but for the room that the first DIMM needs.
        size = (free_bytes(g) - DIMMS[0][2] - 96 * MIB) // GRANULE * GRANULE
        expect_between('bytes to fill', size, ODD, ODD + 768 * MIB)
        with g.filled(size // 2, seed=4) as small, g.filled(size // 2, seed=5, how='thp') as thp:
            start, length = DIMMS[0][1:]
            for _ in range(2):
                g.mod_ok(f'take {h(start + length - GRANULE)} {h(GRANULE)}')
                g.mod_ok(f'give {h(start + length - GRANULE)} {h(GRANULE)}')
                g.eject('a')
                w.check(rams[1:], 'first DIMM ejected while memory is full')
                g.plug('a', length, addr=start)
                w.check(rams, 'first DIMM back')
            g.sh('echo 1 >/proc/sys/vm/compact_memory', timeout=120)
            # The second one has to go where the first one is free by now, in parts.
            for block in (35, 33):
                expect(f'memory{block} offline', g.state(block, 'offline'), None)
                expect(f'memory{block} online_movable', g.state(block, 'online_movable'), None)
            w.check(rams, 'blocks went offline and online')
            small()
            thp()
            g.sh('echo 1 >/proc/sys/vm/compact_memory', timeout=120)
            small()
            thp()
        w.check(rams, 'all of it free')
        use_huge_pages(g)
        w.check(rams, 'after huge pages')
        for (name, _, _), left in zip(reversed(DIMMS), (rams[:2], rams[:1], [])):
            g.eject(name)
            w.check(left, f'{name} ejected')


@case()
def pages_migrate_between_nodes(t):
    """I1: processes move between nodes whose odd memory shares a block."""
    with t.guest(mem='2G', cmdline='mem=1G', args=TWO_NODES) as g:
        w = World(g)
        g.auto_online('online_movable')
        rams = []
        # Node by node in turn: 6 MiB, 10 MiB, ...
        start = SPARE
        for n in range(16):
            size = (3 + 2 * (n % 7)) * GRANULE
            rams.append((start, size, n % 2, 'Movable'))
            start += size
        for s, size, node, _ in rams:
            g.mod_ok(f'add {node} {h(s)} {h(size)}')
        w.check(rams, 'added')
        size = sum(r[1] for r in rams if r[2]) * 2 // 3
        with g.filled(size, seed=6, prefix='numactl --membind=1') as verify:
            for source, target in ((1, 0), (0, 1), (1, 0)):
                g.sh(f'migratepages {verify.pid} {source} {target}', timeout=120)
                where = g.sh(f'grep -o "N{target}=[0-9]*" /proc/{verify.pid}/numa_maps')
                pages = sum(int(x.split('=')[1]) for x in where.split())
                expect_between(f'pages on node {target}', pages, size // 4096, size // 4096 + 1000)
                verify()
            for s, length, node, _ in rams:
                if node:
                    g.mod_ok(f'offremove {h(s)} {h(length)}')
            w.check([r for r in rams if not r[2]], 'node 1 removed')
            verify()
        for s, length, node, _ in rams:
            if not node:
                g.mod_ok(f'offremove {h(s)} {h(length)}')
        w.check([], 'none left')


WALKS = '''
for f in /proc/kpageflags /proc/kpagecount /proc/kpagecgroup; do
    [ -e $f ] || continue
    n=$(dd if=$f bs=1M 2>/dev/null | wc -c)
    echo $f $n
done
for f in /proc/pagetypeinfo /proc/buddyinfo /proc/zoneinfo /proc/vmstat \
         /sys/kernel/debug/extfrag/* /sys/kernel/debug/page_owner; do
    [ ! -e $f ] || echo $f $(cat $f | wc -l)
done
echo 1 >/proc/sys/vm/compact_memory
echo 1 >/sys/devices/system/node/node0/compact
f=/sys/kernel/mm/page_idle/bitmap
n=$(dd if=$f bs=64k 2>/dev/null | wc -c)
echo $f $n
for f in /sys/kernel/mm/page_idle/bitmap; do
    head -c $((n / 8 * 8)) /dev/zero | tr '\\0' '\\377' | dd of=$f bs=8k conv=notrunc 2>/dev/null
done
# Each online page of /proc/kcore
dd if=/proc/kcore of=/dev/null bs=1M count=64 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches
'''


@case(quick=True)
def walkers_over_mixed_sections(t):
    """I2: whoever walks all pages comes past holes, offline extents and devices unhurt."""
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        w = World(g)
        g.auto_online('online_movable')
        rams, devices = mixed_sections(g)
        w.check(rams, 'mixed', spans=False, devices=devices)
        with g.filled(g.amount(400), seed=7) as verify:
            seen = dict(line.split() for line in g.sh(WALKS, timeout=240).splitlines())
            # One u64 for each pfn up to the last that is online, at least.
            last = max(s + size for s, size, _, zone in rams if zone)
            for name in ('/proc/kpageflags', '/proc/kpagecount'):
                expect_between(name, int(seen[name]), last // 4096 * 8, 1 << 40)
            expect_between('lines of pagetypeinfo', int(seen['/proc/pagetypeinfo']), 10, 1000)
            if g.debug:
                expect_between('lines of page_owner', int(seen['/sys/kernel/debug/page_owner']),
                               1000, 1 << 40)
            check_kpageflags(g, rams, devices)
            verify()
        for start, _ in devices:
            g.mod_ok(f'undevice {h(start)}')
        w.check(rams, 'after all walks', spans=False)


def mixed_sections(g):
    """Online, offline and device ranges, and holes, in three sections."""
    rams, devices = [], []
    kinds = ['on', 'hole', 'off', 'on', 'device', 'on', 'on', 'hole', 'device', 'off', 'on', 'hole']
    start = SPARE
    for n in range(24):
        kind = kinds[n % len(kinds)]
        size = (1 + n * 5 % 9) * GRANULE
        if kind == 'device':
            g.mod_ok(f'device {h(start)} {h(size)}')
            devices.append((start, start + size))
        elif kind != 'hole':
            g.auto_online('online_movable' if kind == 'on' else 'offline')
            g.mod_ok(f'add 0 {h(start)} {h(size)}')
            rams.append((start, size, 0, 'Movable' if kind == 'on' else None))
            if kind == 'off':
                g.mod_ok(f'fill {h(start)} {h(size)} byte 0xff')
        start += size
    return rams, devices


KPF_NOPAGE = 1 << 20


def check_kpageflags(g, rams, devices):
    """Online pages have flags; pages that are not online have KPF_NOPAGE, none from 7.3 on."""
    absent = {KPF_NOPAGE} if version(g.test.base) < (7, 3) else {0}
    for start, size, _, zone in rams:
        text = g.sh(f'dd if=/proc/kpageflags bs=8 skip={start // 4096} count=512 2>/dev/null | '
                    'od -An -v -t x8 -w8 | sort -u')
        seen = {int(x, 16) for x in text.split()}
        where = f'from {start:#x} of {size // MIB} MiB {zone}'
        if zone is None:
            expect(f'flags {where}', seen, absent)
        else:
            expect(f'flags of absent pages {where}', seen == {0} or
                   any(x & KPF_NOPAGE for x in seen), False)
    for start, end in devices:
        count = (end - start) // 4096
        text = g.sh(f'dd if=/proc/kpageflags bs=8 skip={start // 4096} count={count} 2>/dev/null | '
                    'wc -c')
        expect(f'kpageflags of the device at {start:#x}', int(text), count * 8)


@case()
def offline_while_walked(t):
    """I2 I4: extents come and go while others walk and allocate."""
    with t.guest(mem='2G', cmdline='mem=1G', smp=2) as g:
        w = World(g)
        g.auto_online('online_movable')
        rams = [(SPARE + n * 3 * GRANULE, 2 * GRANULE, 0, 'Movable') for n in range(16)]
        expect('stress', g.run(
            'cd /tmp; (while :; do cat /proc/kpageflags /proc/kpagecount /proc/pagetypeinfo '
            '/proc/buddyinfo /proc/zoneinfo >/dev/null; echo 1 >/proc/sys/vm/compact_memory; done) '
            '>/dev/null 2>&1 & echo $! >/tmp/walk.pid; '
            'setsid stress-ng --vm 1 --vm-bytes 256M --vm-method flip --verify --timeout 600 '
            '>/tmp/stress.out 2>&1 & echo $! >/tmp/stress.pid')[0], 0)
        for round_ in range(6):
            for s, size, _, _ in rams:
                g.mod_ok(f'add 0 {h(s)} {h(size)}')
            w_rams = list(rams)
            t.random.shuffle(w_rams)
            for s, size, _, _ in w_rams:
                # Pages that somebody works on for long make it give up: it is tried again.
                for _ in range(3):
                    error = g.mod(f'offremove {h(s)} {h(size)}')[0]
                    if error != 'EBUSY':
                        break
                expect(f'offline and remove {s:#x}', error, None)
            t.note(f'round {round_} done')
        g.sh('kill $(cat /tmp/walk.pid); kill -INT $(cat /tmp/stress.pid); '
             'while [ -d /proc/$(cat /tmp/stress.pid) ]; do usleep 50000; done')
        out = g.read('/tmp/stress.out')
        if 'fail' in out or 'successful run completed' not in out:
            fail('stress-ng --verify', 'no failure', out)
        w.check([], 'none left')


# --- free pages, reported to the hypervisor meanwhile ------------------------------

def free_pages(g):
    """{zone: {what: pages}} of node 0, at one moment, and all in agreement."""
    zones = {}
    for line in g.mod_ok('free 0'):
        values = dict(w.split('=') for w in line.split())
        name = values.pop('zone')
        zones[name] = {k: int(v) for k, v in values.items()}
        counts = zones[name]
        expect(f'free pages of zone {name}, by struct pages and by the counter',
               [counts['walked'], counts['counted'] + counts['isolated']], [counts['lists']] * 2)
    return zones


def free_by_proc(g):
    """What /proc says of free pages: [MemFree, by zone [(zone, counter, free lists)]]."""
    text = g.sh('echo 1 >/proc/sys/vm/stat_refresh; cd /proc; cat zoneinfo buddyinfo meminfo')
    counted = dict(re.findall(r'^Node 0, zone +(\w+)\n(?:  per-node stats\n(?: {6}.*\n)*)?'
                              r'  pages free +(\d+)', text, re.M))
    lists = {}
    for zone, orders in re.findall(r'^Node 0, zone +(\w+) ([ \d]+)$', text, re.M):
        lists[zone] = sum(int(n) << order for order, n in enumerate(orders.split()))
    mem_free = int(re.search(r'MemFree: +(\d+)', text)[1]) // 4
    return mem_free, {z: int(n) for z, n in counted.items() if z in lists}, lists


def free_pages_agree(g, what):
    """MemFree, the counter of each zone and its free lists agree to the page."""
    free_pages(g)
    seen = []
    end = time.monotonic() + 20 * g.slow
    # The files are read one after the other, while others allocate and free.
    while not seen or time.monotonic() < end:
        total, counted, lists = free_by_proc(g)
        if counted == lists and total == sum(lists.values()):
            expect_between(f'{what}: zones', len(lists), 2, 4)
            return
        seen.append((total, counted, lists))
    fail(f'{what}: MemFree, counters and free lists', 'the same', seen[-3:])


@case()
def free_page_reporting(t):
    """I1: while free pages are reported, DIMMs come and go; no page is lost or counted twice."""
    balloon = ['-device', 'virtio-balloon-pci,free-page-reporting=on']
    with t.guest(mem='3G', smp=2, args=balloon) as g:
        w = World(g)
        order = '/sys/module/page_reporting/parameters/page_reporting_order'
        expect('order of reporting', g.read(order).strip(), '9')
        free_pages_agree(g, 'at first')
        plugs, there = 0, {}
        for n, least in enumerate((9, 4, 0)):
            g.write(order, least)
            g.sh('setsid stress-ng --vm 1 --vm-bytes 256M --vm-method flip --verify --timeout 600 '
                 '>/tmp/stress.out 2>&1 & echo $! >/tmp/stress.pid')
            came = []
            for zone in t.random.sample(['Movable', 'Normal', 'Movable', 'Movable'], 4):
                g.auto_online('online_movable' if zone == 'Movable' else 'online_kernel')
                name, size = f'd{plugs}', t.random.randrange(1, 140) * GRANULE
                plugs += 1
                t.note(f'round {n}: {name} of {size // MIB} MiB {zone}')
                g.plug(name, size)
                there[name] = (g.dimm_address(name), size, 0, zone)
                came.append(name)
                free_pages_agree(g, f'{name} plugged')
            g.wait_for('reports from hot-added memory',
                       lambda: free_pages(g)['Movable']['reported'])
            # What stress-ng has freed is reported again soon.
            for name in t.random.sample(came, len(came)):
                g.sh('sleep 1')
                t.note(f'round {n}: eject {name}')
                # The kernel may keep what it has in zone Normal.
                went = g.unplug(name, timeout=120)
                if went:
                    del there[name]
                else:
                    expect(f'zone of {name}, which is refused', there[name][3], 'Normal')
                free_pages_agree(g, f'{name} ejected: {went}')
                w.check(there.values(), f'{name} ejected: {went}')
            g.sh('kill -INT $(cat /tmp/stress.pid); '
                 'while [ -d /proc/$(cat /tmp/stress.pid) ]; do usleep 50000; done')
            out = g.read('/tmp/stress.out')
            if 'fail' in out or 'successful run completed' not in out:
                fail('stress-ng --verify', 'no failure', out)
        free_pages_agree(g, 'at last')


@case(quick=True, needs='granules')
def offline_while_reported(t):
    """I1: pages at an edge, away for a report while one side goes offline, come back to it."""
    sizes = {'one': 134 * MIB, 'two': 256 * MIB}
    # Zone Normal has other memory, which the kernel uses first.
    with t.guest(mem='5G') as g:
        w = World(g)
        g.auto_online('online_kernel')
        for gone in sizes:
            rams = {}
            for name, size in sizes.items():
                g.plug(name, size)
                rams[name] = (g.dimm_address(name), size, 0, 'Normal')
            edge = rams['two'][0]
            g.mod_ok(f'report {h(edge - GRANULE)} {h(2 * GRANULE)} 4000')
            g.wait_for('a report of pages at the edge', lambda: g.mod_values(
                'reporting')['asleep'] == '1', 60)
            free_pages_agree(g, 'while they are away')
            g.eject(gone)
            free_pages_agree(g, f'{gone} ejected')
            g.mod_ok('unreport')
            del rams[gone]
            w.check(rams.values(), f'{gone} ejected')
            free_pages_agree(g, 'nobody reports')
            for name in rams:
                g.eject(name)
            w.check([], 'both ejected')


@case(needs='memmap', since='7.3')
def gigantic_pages_skip_hosted_memmap(t):
    """I8: who looks for a gigantic page moves nothing away from beside hosted memmap."""
    moved = {}
    for flavour in ('stock', t.flavour):
        # 1 GiB is nowhere free but where every memory block begins with its memmap.
        with t.guest(flavour=flavour, mem='1536M', cmdline='memory_hotplug.memmap_on_memory=Y',
                     files=False, share=[helper()]) as g:
            g.auto_online('online_movable')
            g.plug('a', 2 * GIB)
            g.sh('echo 1 >/proc/sys/vm/movable_gigantic_pages')
            with g.filled(g.amount(1200)) as verify:
                def migrated():
                    return int(re.search(r'^pgmigrate_success (\d+)', g.read('/proc/vmstat'),
                                         re.M)[1])

                before = migrated()
                expect('gigantic pages', huge_pages(g, 1048576, 1), 0)
                moved[flavour] = migrated() - before
                verify()
    t.note(f'pages moved: {moved}')
    expect_between('pages moved on stock', moved['stock'], 10000, 1 << 30)
    expect_between('pages moved', moved[t.flavour], 0, 100)
