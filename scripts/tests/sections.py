# SPDX-License-Identifier: GPL-2.0
"""Sections and memory blocks that several extents share: with one another, with
boot memory, with other nodes, with ZONE_DEVICE."""

import re

from lib import (BLOCK, EXTENTS, FOUR_K, GIB, GRANULE, MEMORY, MIB, NODES, SECTION, SPARE,
                 TWO_NODES, World, case, expect, expect_between, expect_both, expect_lines, fail, h,
                 merge, parse_extents, poison_is, section_is_gone, show)


@case(quick=True)
def block_of_64_adds(t):
    """I4: a block filled by 64 adds loses them one by one, section and all with the last."""
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        w = World(g)
        section_is_gone(g, SPARE)
        starts = [SPARE + n * GRANULE for n in range(64)]
        t.random.shuffle(starts)
        there = {}

        def step(commands, what):
            for command, (error, _) in zip(commands, g.mods(commands)):
                expect(command, error, None)
            w.check(there.values(), what)

        for n in range(0, 64, 16):
            policy = 'offline' if n == 16 else 'online_movable'
            g.auto_online(policy)
            for start in starts[n:n + 16]:
                there[start] = (start, GRANULE, 0, 'Movable' if policy != 'offline' else None)
            step([f'add 0 {h(s)} {h(GRANULE)}' for s in starts[n:n + 16]], f'{n + 16} added')

        expect('bits of the section', g.mod_values(f'section {h(SPARE)}')['subsections'],
               'ffffffff,ffffffff')
        expect('the block goes online as a whole', g.state(BLOCK, 'online_movable'), None)
        there = {s: (s, GRANULE, 0, 'Movable') for s in there}
        w.check(there.values(), 'all online')

        t.random.shuffle(starts)
        for n in range(0, 63, 7):
            gone = starts[n:n + 7]
            for start in gone:
                del there[start]
            step([f'offremove {h(s)} {h(GRANULE)}' for s in gone], f'{n + 7} removed')
        g.mod_ok(f'offremove {h(starts[63])} {h(GRANULE)}')
        w.check([], 'the last one removed')
        section_is_gone(g, SPARE)


@case()
def two_adds_go_as_one(t):
    """I5: memory of two adds that is removed in one go leaves no entry of either."""
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        entries = 'cd /sys/firmware/memmap; grep -H . */start */end */type'
        before = g.sh(entries)
        for start, size in ((SPARE + 32 * MIB, 98 * MIB), (SPARE + 130 * MIB, 6 * MIB)):
            g.mod_ok(f'add 0 {h(start)} {h(size)}')
        if len(g.sh(entries).splitlines()) != len(before.splitlines()) + 6:
            fail('entries of /sys/firmware/memmap', 'two more', g.sh(entries))
        g.mod_ok(f'remove {h(SPARE + 32 * MIB)} {h(104 * MIB)}')
        expect('entries of /sys/firmware/memmap', g.sh(entries), before)


# Each of these orders has, in a section of its own, an online extent whose buddy
# of that order was added and never onlined, below it or above it.
def garbage_layout():
    for n, (below, size) in enumerate(((True, GRANULE), (False, GRANULE),
                                       (True, 2 * GRANULE), (False, 2 * GRANULE))):
        base = SPARE + n * SECTION + 16 * MIB
        yield (base, base + size, size) if below else (base + size, base, size)


@case(quick=True)
def garbage_memmap_beside_online(t):
    """I1: a neighbour that was never onlined is never read, whatever its memmap holds."""
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        w = World(g)
        layout = list(garbage_layout())
        for garbage, _, size in layout:
            g.mod_ok(f'add 0 {h(garbage)} {h(size)}')
        g.auto_online('online_movable')
        for _, online, size in layout:
            g.mod_ok(f'add 0 {h(online)} {h(size)}')
        rams = [(a, size, 0, None) for a, _, size in layout]
        rams += [(b, size, 0, 'Movable') for _, b, size in layout]
        w.check(rams, 'added')

        low, span = SPARE, len(layout) * SECTION
        total = sum(size for _, _, size in layout)
        for what in ('buddy', 'byte'):
            for garbage, online, size in layout:
                if what == 'buddy':
                    order = (size // 4096).bit_length() - 1
                    filled = g.mod_values(f'fill {h(garbage)} {h(size)} buddy {h(online)} {order}')
                else:
                    filled = g.mod_values(f'fill {h(garbage)} {h(size)} byte 0xff')
                expect('pages filled', int(filled['filled']), size // 4096)
            before = g.mod_values(f'sum {h(low)} {h(span)}')
            expect('pages summed', int(before['summed']), total // 4096)

            for order in range(11):
                churn = f'churn 0 {h(2 * total)} {order} {h(low)} {h(span)}'
                got = g.mod_values(churn)
                if order == 9 and got['inside'] == '0':
                    # What others have read may be in each of the few that there are.
                    g.sh('echo 3 >/proc/sys/vm/drop_caches; echo 1 >/proc/sys/vm/compact_memory')
                    got = g.mod_values(churn)
                expect(f'bad pages of order {order}', int(got['bad']), 0)
                if order < 10:
                    expect_between(f'order-{order} pages from the extents', int(got['inside']),
                                   1, total >> (12 + order))
            # Each page freed on its own: merges through every order, up to the edge.
            for _, online, size in layout:
                for order in range(10):
                    part = 4096 << order
                    at = online + t.random.randrange(size // part) * part
                    expect_both(g, f'take {h(at)} {h(part)}', f'give {h(at)} {h(part)}')
                expect_both(g, f'take {h(online)} {h(size)}', f'give {h(online)} {h(size)}')
            expect(f'memmap filled with {what}', g.mod_values(f'sum {h(low)} {h(span)}'), before)
            w.check(rams, f'after all orders beside {what}')

        for garbage, _, size in layout:
            expect('online a block', g.state(garbage // SECTION, 'online_movable'), None)
        rams = [(s, size, 0, 'Movable') for a, b, size in layout for s in (a, b)]
        w.check(rams, 'garbage onlined')
        got = g.mod_values(f'churn 0 {h(4 * total)} 9 {h(low)} {h(span)}')
        expect('bad pages', int(got['bad']), 0)
        for garbage, online, size in layout:
            g.mod_ok(f'offremove {h(online)} {h(size)}')
        w.check([(a, size, 0, 'Movable') for a, _, size in layout], 'online ones removed')
        for garbage, _, size in layout:
            g.mod_ok(f'offremove {h(garbage)} {h(size)}')
        w.check([], 'none left')


@case(quick=True, archs=FOUR_K)
def boot_memory_ends_in_block(t):
    """I4: memory that begins where boot memory ends, inside a block, leaves that alone."""
    # arm64 has its memory from 1 GiB on, and 64 MiB of flash memory that count.
    low, limit = (SPARE, '1088M') if t.arch == 'x86_64' else (SPARE + GIB, '1152M')
    with t.guest(mem='2G', cmdline=f'mem={limit}') as g:
        # Nearer to the end of boot memory, x86 reserves a "RAM buffer".
        block, start = low // SECTION, low + 64 * MIB
        w = World(g)
        boot = [e for e in w.base['extents'] if e.block == block]
        expect('boot memory of the block', [(e.start, e.end, e.online, e.memmap) for e in boot],
               [(low, start, True, 'boot')])
        g.auto_online('online_movable')
        for size in (GRANULE, 64 * MIB, 130 * MIB):
            ram = (start, size, 0, 'Movable')
            g.mod_ok(f'add 0 {h(start)} {h(size)}')
            w.check([ram], f'{size // MIB} MiB added')
            at = start + size - GRANULE
            expect_both(g, f'take {h(at)} {h(GRANULE)}', f'give {h(at)} {h(GRANULE)}')
            # Boot memory of a block that it does not fill stays.
            expect('the shared block cannot go offline', g.state(block, 'offline'), 'EINVAL')
            w.check([ram], 'after a failed offline')
            g.mod_ok(f'offremove {h(start)} {h(size)}')
            w.check([], f'{size // MIB} MiB removed')
        # The same as kernel memory; it may be in use from now on. By itself, zone
        # Normal begins where boot memory has ended.
        g.auto_online('online_kernel')
        g.mod_ok(f'add 0 {h(start)} {h(64 * MIB)}')
        zone = 'Normal' if t.arch == 'x86_64' else 'DMA'
        w.check([(start, 64 * MIB, 0, zone)], 'added as kernel memory')
        got = g.mod_values(f'churn 0 {h(256 * MIB)} 10')
        expect('bad pages', int(got['bad']), 0)


@case()
def boot_memory_ends_in_granule(t):
    """I2: boot memory that ends inside a granule keeps the rest of it from being added."""
    with t.guest(mem='2G', cmdline='mem=1087M') as g:
        w = World(g)
        end = SPARE + 63 * MIB
        boot = [e for e in w.base['extents'] if e.block == BLOCK]
        expect('boot memory of the block', [(e.start, e.end) for e in boot], [(SPARE, end)])
        # The kernel reserves what is behind boot memory up to 64 MiB ("RAM buffer").
        expect('add from the very end', g.mod(f'add 0 {h(end)} {h(GRANULE)}')[0], 'EEXIST')
        expect('add of the granule', g.mod(f'add 0 {h(end - MIB)} {h(GRANULE)}')[0], 'EEXIST')
        w.check([], 'nothing added')
        g.auto_online('online_movable')
        ram = (end + MIB, 64 * MIB, 0, 'Movable')
        g.mod_ok(f'add 0 {h(ram[0])} {h(ram[1])}')
        w.check([ram], 'added behind the granule')
        g.mod_ok(f'offremove {h(ram[0])} {h(ram[1])}')
        w.check([], 'removed')


def numastat(g, node):
    return {k: int(v) for k, v in (line.split() for line in
            g.read(f'{NODES}/node{node}/numastat').splitlines())}


def use_on_node(g, node, share=0.6):
    """Take a share of what is free on a node: its counters tell the truth."""
    free = int(re.search(r'MemFree:\s+(\d+)', g.read(f'{NODES}/node{node}/meminfo'))[1]) * 1024
    size = min(int(free * share), g.amount(400)) // 4096 * 4096
    before = numastat(g, node)
    with g.filled(size, how='small', prefix=f'numactl --membind={node}') as verify:
        after = numastat(g, node)
        # Whatever else runs adds to that.
        expect_between(f'numa_hit of node {node}', after['numa_hit'] - before['numa_hit'],
                       size // 4096, 1 << 40)
        maps = g.sh(f"grep -o 'anon=.*' /proc/{verify.pid}/numa_maps")
        expect_between(f'pages on node {node}', sum(int(n) for n in re.findall(
            rf'\bN{node}=(\d+)', maps)), size // 4096, size // 4096 + 1000)
        expect(f'numa_miss of node {node}', after['numa_miss'] - before['numa_miss'], 0)
        verify()


@case(quick=True)
def two_nodes_in_one_block(t):
    """R8: extents of two nodes in one block are told, linked and counted apart."""
    with t.guest(mem='2G', cmdline='mem=1088M', args=TWO_NODES) as g:
        w = World(g)
        expect('nodes', w.nodes, [0, 1])
        g.auto_online('online_movable')
        # Node 1 has the first 64 MiB of the block since boot.
        a = (SPARE + 64 * MIB, 40 * MIB, 0, 'Movable')
        b = (SPARE + 104 * MIB, 80 * MIB, 1, 'Movable')
        for ram in (a, b):
            g.mod_ok(f'add {ram[2]} {h(ram[0])} {h(ram[1])}')
        w.check([a, b], 'both nodes')
        expect('links of the block', g.sh(f'cd {MEMORY}/memory{BLOCK}; echo node*').split(),
               ['node0', 'node1'])
        use_on_node(g, 0)
        # A debug kernel leaves too little of 64 MiB to bind a process to node 1:
        # hot-added memory is all movable here.
        if not g.debug:
            use_on_node(g, 1)
        g.mod_ok(f'offremove {h(a[0])} {h(a[1])}')
        w.check([b], 'node 0 is out of the block')
        expect('links of the block', g.sh(f'cd {MEMORY}/memory{BLOCK}; echo node*').split(),
               ['node1'])
        g.mod_ok(f'add {a[2]} {h(a[0])} {h(a[1])}')
        g.mod_ok(f'offremove {h(b[0])} {h(b[1])}')
        w.check([a], 'the hot-added memory of node 1 is gone')
        # What is in use of one node moves to another, and node 1 may have no room.
        g.mod_ok(f'add {b[2]} {h(b[0])} {h(b[1])}')
        for ram in (a, b):
            g.mod_ok(f'offremove {h(ram[0])} {h(ram[1])}')
        w.check([], 'none left')


@case()
def dimms_of_two_nodes(t):
    """R8: two DIMMs of different nodes share a block."""
    with t.guest(mem='2G', args=TWO_NODES) as g:
        w = World(g)
        g.auto_online('online_movable')
        first = 0x100000000
        a = (first, 134 * MIB, 0, 'Movable')
        b = (first + 134 * MIB, 256 * MIB, 1, 'Movable')
        g.plug('a', a[1], node=0)
        g.plug('b', b[1], node=1)
        w.check([a, b], 'both plugged')
        use_on_node(g, 1)
        g.eject('a')
        w.check([b], 'first ejected')
        g.plug('a', a[1], node=0)
        w.check([a, b], 'first back')
        g.eject('b')
        w.check([a], 'second ejected')
        g.eject('a')
        w.check([], 'none left')


@case()
def node_comes_and_goes(t):
    """I5: a node that has but one granule comes with it and goes with it."""
    # Node 1 owns no boot memory: all of its own is spare.
    with t.guest(mem='2G', cmdline='mem=1G', args=TWO_NODES) as g:
        expect('nodes online', g.read(f'{NODES}/online').strip(), '0')
        w = World(g)
        g.auto_online('online_movable')
        a = (SPARE, GRANULE, 0, 'Movable')
        b = (SPARE + 6 * MIB, GRANULE, 1, 'Movable')
        g.mod_ok(f'add 0 {h(a[0])} {h(a[1])}')
        for _ in range(3):
            g.mod_ok(f'add 1 {h(b[0])} {h(b[1])}')
            expect('nodes online', g.read(f'{NODES}/online').strip(), '0-1')
            w.check([a, b], 'node 1 has memory')
            g.mod_ok(f'offremove {h(b[0])} {h(b[1])}')
            expect('nodes online', g.read(f'{NODES}/online').strip(), '0')
            w.check([a], 'node 1 is gone')


@case(quick=True)
def poison_in_one_extent(t):
    """I4: a poisoned page keeps its own extent offline, and no other one."""
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        w = World(g)
        g.auto_online('online_movable')
        rams = [(SPARE + n * GRANULE, GRANULE, 0, 'Movable') for n in range(3)]
        for ram in rams:
            g.mod_ok(f'add 0 {h(ram[0])} {h(ram[1])}')
        bad = rams[1]
        g.sh(f'echo {h((bad[0] + 5 * 4096) // 4096)} >/sys/kernel/debug/hwpoison/corrupt-pfn')
        poison_is(g, 4)
        total = w.base['total']

        # A page that is poisoned is no longer managed; it counts until it goes offline.
        expect('MemTotal', g.memtotal(), total + 3 * GRANULE)
        expect('block goes offline', g.state(BLOCK, 'offline'), None)
        w.check([r[:3] + (None,) for r in rams], 'all offline')
        expect('block goes online but for the poisoned extent', g.state(BLOCK, 'online_movable'),
               None)
        now = [rams[0], bad[:3] + (None,), rams[2]]
        w.check(now, 'siblings online')
        expect('a second time there is nothing to online', g.state(BLOCK, 'online_movable'),
               'EHWPOISON')
        w.check(now, 'still')
        g.mod_ok(f'offremove {h(rams[0][0])} {h(GRANULE)}')
        w.check(now[1:], 'a sibling removed')
        poison_is(g, 4)
        g.mod_ok(f'remove {h(bad[0])} {h(GRANULE)}')
        poison_is(g, 0)
        w.check(now[2:], 'the poisoned one removed')
        g.mod_ok(f'add 0 {h(bad[0])} {h(GRANULE)}')
        w.check(rams[1:], 'and added again, as good as new')


DEVICE = SPARE + 32 * MIB
SIDES = [(SPARE, 32 * MIB, 0, 'Movable'), (SPARE + 64 * MIB, 34 * MIB, 0, 'Movable')]


@case(quick=True)
def device_between_extents(t):
    """I4: a dev_pagemap comes and goes between two online extents of one section."""
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        w = World(g)
        g.auto_online('online_movable')
        for ram in SIDES:
            g.mod_ok(f'add 0 {h(ram[0])} {h(ram[1])}')
        with g.filled(g.amount(200), how='thp') as verify:
            for start, size in ((DEVICE, 32 * MIB), (DEVICE, GRANULE),
                                (DEVICE + 30 * MIB, GRANULE), (DEVICE + 4 * MIB, 10 * MIB)):
                g.mod_ok(f'device {h(start)} {h(size)}')
                w.check(SIDES, 'with a device', spans=False, devices=[(start, start + size)])
                got = g.mod_values(f'churn 0 {h(24 * MIB)} 9')
                expect('bad pages', int(got['bad']), 0)
                g.mod_ok(f'undevice {h(start)}')
                w.check(SIDES, 'without it', spans=False)
            verify()
        # While the device stays, its neighbours come and go.
        g.mod_ok(f'device {h(DEVICE)} {h(32 * MIB)}')
        for ram in SIDES:
            g.mod_ok(f'offremove {h(ram[0])} {h(ram[1])}')
        w.check([], 'only the device', spans=False, devices=[(DEVICE, DEVICE + 32 * MIB)])
        for ram in SIDES:
            g.mod_ok(f'add 0 {h(ram[0])} {h(ram[1])}')
        w.check(SIDES, 'both back', spans=False, devices=[(DEVICE, DEVICE + 32 * MIB)])
        expect('RAM over the device', g.mod(f'add 0 {h(DEVICE)} {h(GRANULE)}')[0], 'EEXIST')
        g.mod_ok(f'undevice {h(DEVICE)}')
        for ram in SIDES:
            g.mod_ok(f'offremove {h(ram[0])} {h(ram[1])}')
        w.check([], 'none left', spans=False)
        section_is_gone(g, SPARE)


@case(quick=True)
def list_of_extents(t):
    """R10: the list of extents is of one moment, in however many steps it is read."""
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        boot = g.extents()
        for n in range(0, 64, 2):
            g.mod_ok(f'add 0 {h(SPARE + n * GRANULE)} {h(GRANULE)}')
        hot = [(SPARE + n * GRANULE, False, None) for n in range(0, 64, 2)]
        expect('extents', [(e.start, e.online, e.zone) for e in g.extents() if e not in boot], hot)
        expect('populated_bytes', int(g.read(f'{MEMORY}/memory{BLOCK}/populated_bytes'), 16),
               32 * GRANULE)
        once = g.read(EXTENTS)
        for size in (1, 7, 4095, 1 << 16):
            expect(f'read by {size} bytes', g.sh(f'dd if={EXTENTS} bs={size} 2>/dev/null',
                                                 timeout=120), once)
        # All of the block changes, again and again.
        g.sh(f'cd {MEMORY}/memory{BLOCK}; (while [ ! -e /tmp/stop ]; do '
             'echo online_movable >state; echo offline >state; done; echo >/tmp/stopped) '
             '>/dev/null 2>&1 & true')
        texts = g.sh(f'for i in $(seq 40); do dd if={EXTENTS} bs=100 2>/dev/null; echo ==; done; '
                     'echo >/tmp/stop', timeout=300).split('==\n')[:-1]
        g.wait_for('the end of changes', lambda: g.run('[ -e /tmp/stopped ]')[0] == 0, 120)
        states = set()
        for text in texts:
            seen = [e for e in parse_extents(text, g.block_size()) if e not in boot]
            expect('extents while they change', [e.start for e in seen], [s for s, *_ in hot])
            for e in seen:
                expect(f'zone of {e.start:#x}', e.zone, 'Movable' if e.online else None)
            states.update(e.online for e in seen)
        expect('states that were seen', states, {False, True})


@case(quick=True)
def boot_extents(t):
    """I2: the extents of boot memory are what the firmware calls RAM, holes left out."""
    # Holes: a few pages, one that crosses sections, one inside a granule.
    holes = [(0x10155000, 4 * 4096), (0x17f03000, 0x234000), (0x20001000, 0x100000)]
    cmdline = ' '.join(f'memmap={size // 1024}K${h(start)}' for start, size in holes)
    with t.guest(cmdline=cmdline) as g:
        w = World(g)
        for start, size in holes:
            if any(s < start + size and start < e for s, e in w.base['iomem']):
                fail('the kernel leaves holes', h(start), w.base['iomem'])
        seen = merge([(e.start, e.end) for e in w.base['extents']])
        # /proc/iomem has whole pages only above 1 MiB; page 0 is never used.
        ram = [(max(s, 4096), e // 4096 * 4096) for s, e in w.base['iomem']]
        expect_lines('boot extents', show(seen), show(ram))
        for e in w.base['extents']:
            expect(f'boot extent {e.start:#x}', (e.online, e.memmap, e.group),
                   (True, 'boot', 'none'))
        w.check([], 'again')


# DEBUG_PAGEALLOC has no leaves: it maps page by page.
@case(flavours=('patched',))
def parts_of_gigantic_leaf(t):
    """I4: a part of what one 1 GiB leaf of the direct map maps is removed, and no more."""
    with t.guest(mem='8G', maxmem='16G', cmdline='mem=1G') as g:
        w = World(g)
        before = g.meminfo()
        g.auto_online('online_movable')
        start = 0x140000000
        for size in (1 << 30, (1 << 30) + 2 * GRANULE):
            g.mod_ok(f'add 0 {h(start)} {h(size)}')
            if size == 1 << 30:
                expect('DirectMap1G', g.meminfo()['DirectMap1G'],
                       before.get('DirectMap1G', 0) + (1 << 20))
            rams = [(start + n, min(SECTION, size - n), 0, 'Movable')
                    for n in range(0, size, SECTION)]
            w.check(rams, 'added')
            with g.filled(g.amount(300)) as verify:
                t.random.shuffle(rams)
                for n in range(len(rams)):
                    g.mod_ok(f'offremove {h(rams[n][0])} {h(rams[n][1])}')
                    if n % 3 == 0:
                        w.check(rams[n + 1:], f'{n + 1} parts removed')
                        got = g.mod_values(f'churn 0 {h(64 * MIB)} 10')
                        expect('bad pages', int(got['bad']), 0)
                verify()
            w.check([], 'all parts removed')
        after = g.meminfo()
        for name in ('DirectMap4k', 'DirectMap2M', 'DirectMap1G'):
            expect(name, after.get(name), before.get(name))
