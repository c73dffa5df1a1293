# SPDX-License-Identifier: GPL-2.0
"""DIMMs of odd sizes at odd places, plugged at boot and at run time."""

from lib import FOUR_K, GIB, GRANULE, MEMORY, MIB, World, case, expect, expect_between


def boot_dimms(*sizes):
    """QEMU arguments for DIMMs that are there at boot."""
    args = []
    for n, size in enumerate(sizes):
        args += ['-object', f'memory-backend-ram,id=mem-b{n},size={size},reserve=off',
                 '-device', f'pc-dimm,id=b{n},memdev=mem-b{n}']
    return args


@case(quick=True, needs='granules', archs=FOUR_K)
def dimms_134_and_256(t):
    """I4: of two DIMMs that share a block, each comes and goes alone."""
    with t.guest() as g:
        g.auto_online('online_movable')
        w = World(g)
        first = g.device_memory()
        a = (first, 134 * MIB, 0, 'Movable')
        b = (first + 134 * MIB, 256 * MIB, 0, 'Movable')
        g.plug('a', a[1])
        w.check([a], 'first DIMM')
        g.plug('b', b[1])
        expect('address of the second DIMM', g.dimm_address('b'), b[0])
        w.check([a, b], 'both DIMMs')
        g.eject('a')
        w.check([b], 'first DIMM ejected')
        g.plug('a', a[1])
        w.check([a, b], 'first DIMM back')
        g.eject('b')
        w.check([a], 'second DIMM ejected')
        g.eject('a')
        w.check([], 'none left')


@case(quick=True, needs='granules', archs=FOUR_K)
def dimms_134_and_256_at_boot(t):
    """I2: memory of DIMMs that are there at boot is as exact as if plugged later."""
    with t.guest(args=boot_dimms(134 * MIB, 256 * MIB),
                 cmdline='memhp_default_state=online_movable') as g:
        w = World(g)
        first = g.device_memory()
        seen = [e for e in g.extents() if e.start >= first]
        expect('extents of the DIMMs', [(e.start, e.end, e.online, e.zone) for e in seen],
               [(first, first + 128 * MIB, True, 'Movable'),
                (first + 128 * MIB, first + 134 * MIB, True, 'Movable'),
                (first + 134 * MIB, first + 256 * MIB, True, 'Movable'),
                (first + 256 * MIB, first + 384 * MIB, True, 'Movable'),
                (first + 384 * MIB, first + 390 * MIB, True, 'Movable')])
        w.check([], 'what World says of itself')
        total = g.memtotal()
        g.eject('b0')
        expect('MemTotal after the eject of 134 MiB', g.memtotal(), total - 134 * MIB)
        g.eject('b1')
        expect('MemTotal after the eject of 256 MiB', g.memtotal(), total - 390 * MIB)
        expect('extents after both ejects', [e for e in g.extents() if e.start >= first], [])


@case(archs=FOUR_K)
def dimm_1g_at_odd_address(t):
    """I5: a DIMM of 1 GiB that starts 2 MiB into a gigantic page comes and goes."""
    with t.guest() as g:
        w = World(g)
        before = g.meminfo()
        ram = (g.device_memory() + GRANULE, GIB, 0, None)
        blocks = range(g.block(ram[0]), g.block(ram[0] + GIB) + 1)
        g.plug('a', GIB, addr=ram[0])
        w.check([ram], 'plugged')
        for block in blocks:
            expect(f'memory{block} online_movable', g.state(block, 'online_movable'), None)
        w.check([ram[:3] + ('Movable',)], 'online_movable')
        for block in blocks:
            expect(f'memory{block} offline', g.state(block, 'offline'), None)
        w.check([ram], 'offline again')
        g.eject('a')
        w.check([], 'ejected')
        after = g.meminfo()
        for name in ('DirectMap4k', 'DirectMap2M', 'DirectMap1G'):
            expect(name, after.get(name), before.get(name))

        # Last, as kernel memory may then keep it from going offline.
        g.plug('b', GIB, addr=ram[0])
        for block in blocks:
            expect(f'memory{block} online_kernel', g.state(block, 'online_kernel'), None)
        w.check([ram[:3] + ('Normal',)], 'online_kernel')


@case(quick=True, needs='granules', archs=FOUR_K)
def dimm_2m(t):
    """I2: a DIMM of one granule is all usable."""
    with t.guest() as g:
        w = World(g)
        g.auto_online('online_movable')
        ram = (g.device_memory(), GRANULE, 0, 'Movable')
        g.plug('a', GRANULE)
        w.check([ram], 'plugged')
        g.eject('a')
        w.check([], 'ejected')


@case()
def dimm_3g_with_2g_blocks(t):
    """I2: with blocks of 2 GiB, a DIMM that fills one and half of another is used."""
    # Only if the end of boot memory is aligned to them, blocks get that large.
    with t.guest(mem='65G', maxmem='80G', machine='q35,nvdimm=on,max-ram-below-4g=1G',
                 timeout=300) as g:
        expect('block_size_bytes', g.read(f'{MEMORY}/block_size_bytes').strip(), '80000000')
        w = World(g)
        g.auto_online('online_movable')
        start = 68 * GIB
        g.plug('a', 3 * GIB, addr=start)
        w.check([(start, 3 * GIB, 0, 'Movable')], 'plugged')
        g.plug('b', 130 * MIB, addr=start + 3 * GIB)
        rams = [(start, 3 * GIB, 0, 'Movable'), (start + 3 * GIB, 130 * MIB, 0, 'Movable')]
        w.check(rams, 'a second one in the half block')
        g.eject('a')
        w.check(rams[1:], 'first one ejected')
        g.eject('b')
        w.check([], 'both ejected')


@case(since='7.3')
def dimms_beside_cxl_window(t):
    """I2: a CXL window of 256 MiB decides how large memory blocks are, not what is usable."""
    # The kernel that has no such window takes blocks of 1 GiB here.
    with t.guest(mem='65G', maxmem='80G', machine='q35,max-ram-below-4g=1G,cxl=on,'
                 'cxl-fmw.0.targets.0=cxl.0,cxl-fmw.0.size=256M',
                 args=['-device', 'pxb-cxl,bus_nr=12,bus=pcie.0,id=cxl.0'], timeout=300) as g:
        expect('block_size_bytes', g.block_size(), 256 * MIB)
        w = World(g)
        g.auto_online('online_movable')
        start, size = 68 * GIB + 128 * MIB, GIB + 2 * MIB
        g.plug('a', size, addr=start)
        rams = [(start, size, 0, 'Movable')]
        w.check(rams, 'plugged')
        g.plug('b', 126 * MIB, addr=start + size)
        rams.append((start + size, 126 * MIB, 0, 'Movable'))
        w.check(rams, 'the rest of its last block')
        g.eject('a')
        w.check(rams[1:], 'first one ejected')
        g.eject('b')
        w.check([], 'both ejected')


@case(archs=FOUR_K)
def dimms_random(t):
    """I4 I5: DIMMs of random sizes come and go in random order; each step is exact."""
    random_dimms(t, steps=40)


@case(long=True)
def dimms_random_soak(t):
    """I4 I5: as dimms_random, for many steps."""
    random_dimms(t, steps=400)


def random_dimms(t, steps):
    with t.guest(maxmem='16G', slots=32) as g:
        w = World(g)
        zones = {'online_movable': 'Movable', 'offline': None}
        there = {}
        plugs = 0
        for step in range(steps):
            if there and (len(there) > 6 or t.random.random() < 0.45):
                name = t.random.choice(sorted(there))
                what = f'step {step}: eject {name}'
                t.note(what)
                g.eject(name)
                del there[name]
            else:
                size = t.random.randrange(1, 160) * GRANULE
                policy = t.random.choice(['online_movable', 'offline'])
                g.auto_online(policy)
                name = f'd{plugs}'
                plugs += 1
                what = f'step {step}: plug {name} of {size // MIB} MiB {policy}'
                t.note(what)
                g.plug(name, size)
                there[name] = (g.dimm_address(name), size, 0, zones[policy])
            w.check(there.values(), what)
        for name in t.random.sample(sorted(there), len(there)):
            t.note(f'last: eject {name}')
            g.eject(name)
            del there[name]
        w.check([], 'none left')
        expect_between('DIMMs plugged', plugs, 2, steps)
