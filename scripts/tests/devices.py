# SPDX-License-Identifier: GPL-2.0
"""Devices that bring memory other than DIMMs: kmem, pmem, virtio-mem."""

import os
import re
import subprocess

from lib import (BLOCK, BUILTIN_INDEX, DAX_SIZE, GRANULE, INJECT, MEMORY, MIB, SECTION, SPARE, TOP,
                 Device, World, bind_devdax, bind_kmem, builtin_index, case, dax_guest, expect,
                 expect_between, expect_lines, fail, h, make_dax, parse_zoneinfo, to_devdax,
                 to_system_ram, unbind)


def add_neighbours(g, rams):
    """Add what is to be online beside the device; what comes after it stays offline."""
    g.auto_online('online_movable')
    for start, size, node, _ in rams:
        g.mod_ok(f'add {node} {h(start)} {h(size)}')
    g.auto_online('offline')


@case(quick=True, needs='granules')
def kmem_unaligned_by_daxctl(t, tools=()):
    """R5 R6: unmodified daxctl makes all of an unaligned device System RAM, and undoes it."""
    start = SPARE + 32 * MIB
    with dax_guest(t, '1G', start, tools=tools) as g:
        dax = make_dax(g, start)
        w = World(g)
        ram = (dax, DAX_SIZE, 0, 'Movable')
        for _ in range(3):
            to_system_ram(g)
            w.check([ram], 'system-ram', spans=False)
            with g.filled(g.amount(300)) as verify:
                verify()
            to_devdax(g)
            w.check([], 'devdax', spans=False)


@case(quick=True, needs='granules')
def kmem_beside_boot_memory(t):
    """R5 R6: kmem memory that shares a block with boot memory goes online, and goes by unbind."""
    # Boot memory has the first half of the block, the device starts behind it.
    start = SPARE + 64 * MIB
    with dax_guest(t, '1088M', start) as g:
        dax = make_dax(g, start)
        w = World(g)
        ram = (dax, DAX_SIZE, 0, 'Movable')
        for _ in range(2):
            to_system_ram(g)
            w.check([ram], 'system-ram', spans=False)
            with g.filled(g.amount(300), how='thp') as verify:
                unbind(g, dax)
                w.check([], 'unbound while memory is in use', spans=False)
                verify()
            bind_devdax(g)
            w.check([], 'devdax', spans=False)

        # daxctl cannot take the shared block offline. Its versions differ in whether
        # they give up then, and leave the device to be unbound.
        to_system_ram(g)
        expect('the shared block cannot go offline', g.state(BLOCK, 'offline'), 'EINVAL')
        w.check([ram], 'after a failed offline', spans=False)
        g.run('daxctl reconfigure-device --mode=devdax -f dax0.0', timeout=120)
        if 'kmem' in g.sh('readlink /sys/bus/dax/devices/dax0.0/driver || true'):
            unbind(g, dax)
        w.check([], 'after daxctl tried', spans=False)


@case()
def kmem_beside_hot_added(t):
    """I4: unbinding kmem leaves what others have added to the same blocks online."""
    start = SPARE + 32 * MIB
    with dax_guest(t, '1G', start) as g:
        dax = make_dax(g, start)
        w = World(g)
        # Before and behind the device, in the blocks of its ends, one offline.
        others = [(SPARE, 16 * MIB, 0, 'Movable'), (start + 416 * MIB, 32 * MIB, 0, 'Movable')]
        add_neighbours(g, others)
        idle = (SPARE + 20 * MIB, GRANULE, 0, None)
        g.mod_ok(f'add 0 {h(idle[0])} {h(idle[1])}')
        ram = (dax, DAX_SIZE, 0, 'Movable')
        for _ in range(2):
            to_system_ram(g)
            seen = [e for e in g.extents() if dax <= e.start < dax + DAX_SIZE]
            expect('MiB of the device online',
                   sum(e.end - e.start for e in seen if e.online) // MIB, DAX_SIZE // MIB)
            w.check(others + [idle, ram], 'system-ram', spans=False)
            unbind(g, dax)
            w.check(others + [idle], 'unbound', spans=False)
            bind_devdax(g)
        for s, size, _, _ in others + [idle]:
            g.mod_ok(f'offremove {h(s)} {h(size)}')
        w.check([], 'none left', spans=False)


@case()
def kmem_gives_back_neighbours(t, tools=()):
    """R9: what went offline only because daxctl took a shared block offline comes back."""
    start = SPARE + 32 * MIB
    with dax_guest(t, '1G', start, tools=tools) as g:
        dax = make_dax(g, start)
        w = World(g)
        end = dax + DAX_SIZE
        # In the block that the device ends in
        others = [(end, 16 * MIB, 0, 'Movable'), (end + 18 * MIB, 32 * MIB, 0, 'Movable')]
        add_neighbours(g, others)
        ram = (dax, DAX_SIZE, 0, 'Movable')
        for _ in range(2):
            to_system_ram(g)
            w.check(others + [ram], 'system-ram', spans=False, devices=None)
            to_devdax(g)
            w.check(others, 'devdax', spans=False, devices=None)

        # What went offline before the device came stays offline.
        block = end // SECTION
        expect('offline', g.state(block, 'offline'), None)
        idle = [other[:3] + (None,) for other in others]
        g.auto_online('online_movable')
        bind_kmem(g)
        g.auto_online('offline')
        w.check(idle + [ram], 'the device alone online', spans=False, devices=None)
        unbind(g, dax)
        bind_devdax(g)
        w.check(idle, 'unbound', spans=False, devices=None)
        expect('online', g.state(block, 'online_movable'), None)
        w.check(others, 'online again', spans=False, devices=None)

        # It cannot come back, which is told.
        to_system_ram(g)
        g.sh(f'echo -12 >{INJECT}/MEM_GOING_ONLINE/error')
        to_devdax(g)
        g.sh(f'echo 0 >{INJECT}/MEM_GOING_ONLINE/error')
        w.check(idle, 'both stay offline', spans=False, devices=None)
        for s, size, *_ in others:
            if f'memory [{s:#010x}-{s + size - 1:#010x}] stays offline' not in g.console():
                fail('console', f'that {s:#x} stays offline', g.console()[-1000:])


@case(flavours=('patched',))
def kmem_by_daxctl_of_debian_13(t):
    """R5 R6 R9: two of the cases for a dax device, by daxctl and ndctl of Debian 13."""
    done = subprocess.run([os.path.join(TOP, 'scripts', 'daxctl.sh')], stdout=subprocess.PIPE,
                          text=True, check=False)
    if done.returncode:
        fail('scripts/daxctl.sh', 'a folder', done.returncode)
    tools = [done.stdout.strip()]
    kmem_unaligned_by_daxctl(t, tools)
    kmem_gives_back_neighbours(t, tools)


STATE = '/sys/bus/dax/devices/dax0.0/state'


@case(since='7.3')
def kmem_state_by_granule(t):
    """R6: the state of a dax device that shares its first and last block, by sysfs alone."""
    start = SPARE + 32 * MIB
    with dax_guest(t, '1G', start) as g:
        dax = make_dax(g, start)
        w = World(g)
        end = dax + DAX_SIZE
        # One before the device, one behind it, in the blocks of its ends
        others = [(SPARE, 16 * MIB, 0, 'Movable'), (end, 32 * MIB, 0, 'Movable')]
        add_neighbours(g, others)
        g.auto_online('online_movable')
        bind_kmem(g)
        ram = (dax, DAX_SIZE, 0, 'Movable')
        for _ in range(2):
            expect('state', g.read(STATE), 'online_movable\n')
            w.check(others + [ram], 'online', spans=False, devices=None)
            for word in ('offline', 'online', 'online_kernel', 'nonsense', 'unplugged1'):
                expect(word, g.write(STATE, word),
                       'EBUSY' if word.startswith('online') else 'EINVAL')
            with g.filled(g.amount(100)) as verify:
                # One range that cannot go, and all stays: each block, and each neighbour.
                g.sh(f'echo -12 >{INJECT}/MEM_GOING_OFFLINE/error')
                expect('unplugged, vetoed', g.write(STATE, 'unplugged', timeout=120), 'ENOMEM')
                g.sh(f'echo 0 >{INJECT}/MEM_GOING_OFFLINE/error')
                expect('state', g.read(STATE), 'online_movable\n')
                w.check(others + [ram], 'vetoed', spans=False, devices=None)
                expect('unplugged', g.write(STATE, 'unplugged', timeout=120), None)
                verify()
            expect('state', g.read(STATE), 'unplugged\n')
            w.check(others, 'unplugged', spans=False, devices=None)
            expect('online_movable', g.write(STATE, 'online_movable', timeout=120), None)
        expect('unplugged', g.write(STATE, 'unplugged', timeout=120), None)
        expect('online_kernel', g.write(STATE, 'online_kernel', timeout=120), None)
        expect('state', g.read(STATE), 'online_kernel\n')
        w.check(others + [ram[:3] + ('Normal',)], 'online_kernel', spans=False, devices=None)
        if 'truncated' in g.console():
            fail('console', 'no word of a truncated region', g.console()[-1000:])


@case(since='7.3')
def kmem_truncated_as_on_stock(t):
    """I7: turned off, kmem cuts a device to memory blocks, and tells of it, as on stock."""
    seen = {}
    for flavour, cmdline in (('stock', ''), (t.flavour, 'memory_hotplug.subsection=N')):
        with dax_guest(t, '1G', SPARE + 32 * MIB, cmdline,
                       guest=lambda flavour=flavour, **more: t.guest(flavour=flavour, **more)) as g:
            make_dax(g, SPARE + 32 * MIB)
            g.auto_online('online_movable')
            before = g.memtotal()
            bind_kmem(g)
            lines = re.findall(r'kmem dax0\.0: (.*)', g.console())
            states = [g.read(STATE).strip()]
            grown = g.memtotal() - before
            for word in ('unplugged', 'online_movable', 'unplugged'):
                states.append(g.write(STATE, word, timeout=120))
                states.append(g.read(STATE).strip())
            seen[flavour] = lines, states, grown // MIB, g.memtotal() - before
    expect('lines, states, MiB', seen[t.flavour], seen['stock'])
    lines, states, grown, left = seen['stock']
    expect('MiB usable, and left', (grown, left), (256, 0))
    expect('states', states[-1], 'unplugged')
    # 414 MiB less two blocks
    expect('lines of a truncated region', [x for x in lines if 'truncated' in x],
           ['DAX region truncated by 158 MiB due to alignment'])


PMEM = SPARE + 32 * MIB
SIDES = [(SPARE, 32 * MIB, 0, 'Movable'), (SPARE + 64 * MIB, 34 * MIB, 0, 'Movable')]


@case(quick=True, needs='granules')
def pmem_between_extents(t):
    """I4: pmem namespaces come and go between two online extents of one section."""
    with t.guest(mem='2G', cmdline=f'mem=1G memmap=32M!{h(PMEM)}',
                 share=[builtin_index(t.base, t.flavour)]) as g:
        g.sh(BUILTIN_INDEX)
        w = World(g)
        g.auto_online('online_movable')
        for s, size, node, _ in SIDES:
            g.mod_ok(f'add {node} {h(s)} {h(size)}')
        with g.filled(g.amount(200)) as verify:
            for mode, where in (('fsdax', 'mem'), ('devdax', 'mem'), ('fsdax', 'dev'),
                                ('devdax', 'dev'), ('raw', None)):
                more = f'-M {where}' if where else ''
                g.sh(f'ndctl create-namespace -f -e namespace0.0 -m {mode} {more}', timeout=120)
                what = f'{mode} {where}'
                w.check(SIDES, what, spans=False, devices=None)
                if mode == 'fsdax':
                    g.sh('mkfs.ext4 -q -b 4096 /dev/pmem0; mkdir -p /tmp/m; '
                         'mount -t ext4 -o dax /dev/pmem0 /tmp/m; '
                         'dd if=/dev/urandom of=/tmp/m/f bs=1M count=8 2>/dev/null; '
                         'cp /tmp/m/f /tmp/f; cmp /tmp/f /tmp/m/f; umount /tmp/m; rm /tmp/f')
                got = g.mod_values(f'churn 0 {h(32 * MIB)} 9')
                expect('bad pages', int(got['bad']), 0)
                # The neighbours go and come beside it.
                for s, size, node, _ in SIDES:
                    g.mod_ok(f'offremove {h(s)} {h(size)}')
                    g.mod_ok(f'add {node} {h(s)} {h(size)}')
                w.check(SIDES, f'{what}, neighbours changed', spans=False, devices=None)
                g.sh('ndctl destroy-namespace -f namespace0.0', timeout=120)
                w.check(SIDES, f'{what} destroyed', spans=False, devices=None)
            verify()
        for s, size, _, _ in SIDES:
            g.mod_ok(f'offremove {h(s)} {h(size)}')
        w.check([], 'none left', spans=False)


VIRTIO_STEPS = (2, 6, 128, 130, 256, 260, 200, 128, 126, 2, 0, 300, 298, 0)


def virtio_mem_run(t, flavour):
    """Plug and unplug by 2 MiB: a line on what each step has led to."""
    out = []
    off = '' if flavour == 'stock' else 'memory_hotplug.subsection=N'
    with t.guest(flavour=flavour, args=Device.args(512 * MIB), cmdline=off, files=False) as g:
        vm = Device(g)
        g.auto_online('online_movable')

        def look():
            zones = parse_zoneinfo(g.read('/proc/zoneinfo'))
            return g.memtotal(), {k: v['present'] for k, v in zones.items()}

        total, zones = look()
        for mib in VIRTIO_STEPS:
            vm.ask(mib * MIB)
            g.wait_for(f'{mib} MiB plugged', lambda want=mib: vm.size() == want * MIB, 60)
            # The size tells of what the device knows; the guest may still be at it.
            g.wait_for('MemTotal settles', lambda want=mib: g.memtotal() == total + want * MIB
                       or want % 128, 5)
            g.sh('sleep 0.3')
            now, zones_now = look()
            out.append(f'{mib} MiB: MemTotal {now - total:+d}; present ' +
                       ' '.join(f'{n}/{z}{zones_now[n, z] - zones.get((n, z), 0):+d}'
                                for n, z in sorted(zones_now)))
            out.append(g.sh("grep virtio_mem /proc/iomem || echo none").strip())
            out.append(' '.join(g.sh(f"cd {MEMORY}; grep -H '' memory[3-9]?/state "
                                     "memory[3-9]?/valid_zones || echo none").split()))
    return out


@case(quick=True, needs='boot')
def virtio_mem_as_on_stock(t):
    """I7: turned off, virtio-mem plugs and unplugs by 2 MiB as it does on stock."""
    stock = virtio_mem_run(t, 'stock')
    ours = virtio_mem_run(t, t.flavour)
    expect_between('lines', len(stock), len(VIRTIO_STEPS) * 3, len(VIRTIO_STEPS) * 3)
    # MemTotal follows to the byte, so the run did something.
    expect_lines('stock plugs what is asked for',
                 [line.split(';')[0] for line in stock[::3]],
                 [f'{mib} MiB: MemTotal {mib * MIB:+d}' for mib in VIRTIO_STEPS])
    expect_lines('against stock', ours, stock)


@case()
def virtio_mem_beside_extents(t):
    """I4: virtio-mem and odd DIMMs live side by side."""
    with t.guest(args=Device.args(512 * MIB)) as g:
        vm = Device(g)
        g.auto_online('online_movable')
        total = g.memtotal()
        plugged = dimms = 0
        for n, (mib, dimm) in enumerate(((130, 134), (258, 2), (126, 66), (0, 6))):
            g.plug(f'd{n}', dimm * MIB)
            dimms += dimm
            vm.ask(mib * MIB)
            plugged = mib
            want = total + (plugged + dimms) * MIB
            g.wait_for(f'MemTotal with {plugged} and {dimms} MiB',
                       lambda w=want: g.memtotal() == w, 60)
        for n, dimm in ((1, 2), (3, 6), (0, 134), (2, 66)):
            g.eject(f'd{n}')
            dimms -= dimm
            expect('MemTotal', g.memtotal(), total + dimms * MIB)
        expect('extents left', [e for e in g.extents() if e.start >= 1 << 32], [])
