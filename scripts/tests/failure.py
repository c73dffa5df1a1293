# SPDX-License-Identifier: GPL-2.0
"""Bad input, memory that cannot go offline, and failure at every step: nothing
changes, and the log says why."""

import re

from lib import (BLOCK, DAX_SIZE, GIB, GRANULE, HIGH, INJECT, MEMORY, MIB, MOD, PAGE, SECTION,
                 SPARE, SPARE_HIGH, World, arm, bind_devdax, bind_kmem, case, dax_guest, expect,
                 expect_between, expect_same, fail, fail_each, h, helper, log_of, make_dax,
                 only_alloc_stacks, range_of, snapshot, still_usable, take, to_devdax,
                 to_system_ram, unbind)

HALF = GRANULE // 2
LIMIT = 1 << 46                 # what the kernel can address
CPU_LIMIT = 1 << 40             # what QEMU's CPU can


def logged(g, command):
    """Run a command for the module: (errno's name or None, lines of the log)."""
    return log_of(g, lambda: g.mod(command)[0])


def refused(g, command, errno, reason, before):
    """A command for the module must fail in this way, and change nothing."""
    error, lines = logged(g, command)
    start, size = (int(w, 0) for w in command.split()[-2:])
    expect(f'errno of {command}', error, errno)
    expect(f'number of lines in the log of {command}: {lines}', len(lines), 1)
    for what in (range_of(start, size), reason):
        if not re.search(what, lines[0], re.I):
            fail(f'log of {command}', what, lines[0])
    expect_same(f'after {command}', snapshot(g), before)


MISALIGNED = [(SPARE + PAGE, GRANULE), (SPARE + HALF, GRANULE), (SPARE, PAGE),
              (SPARE, GRANULE + PAGE), (SPARE, HALF), (SPARE, GRANULE + HALF),
              (SPARE + HALF, HALF), (SPARE, 0), (SPARE + 1, GRANULE)]
BEYOND = [((1 << 64) - GRANULE, 2 * GRANULE), ((1 << 64) - SECTION, SECTION),
          ((1 << 64) - GRANULE, GRANULE), (LIMIT, SECTION), (LIMIT - GRANULE, 2 * GRANULE),
          (1 << 63, GRANULE)]


@case(quick=True)
def bad_ranges(t):
    """D: a range that cannot be added or removed is refused with its reason; nothing changes."""
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        online = (SPARE + 16 * MIB, 8 * MIB)
        offline = (SPARE + 32 * MIB, 8 * MIB)
        device = (SPARE + 64 * MIB, 4 * MIB)
        g.auto_online('online_movable')
        g.mod_ok(f'add 0 {h(online[0])} {h(online[1])}')
        g.auto_online('offline')
        g.mod_ok(f'add 0 {h(offline[0])} {h(offline[1])}')
        g.mod_ok(f'device {h(device[0])} {h(device[1])}')
        before = snapshot(g)

        def bad(verb, start, size, errno, reason):
            refused(g, f'{verb} {h(start)} {h(size)}', errno, reason, before)

        for verb in ('add 0', 'remove', 'offremove'):
            for start, size in MISALIGNED:
                bad(verb, start, size, 'EINVAL', 'unaligned')
            for start, size in BEYOND:
                if verb == 'add 0':
                    bad(verb, start, size, 'E2BIG', 'exceeds')
                else:
                    bad(verb, start, size, 'ENOENT', 'never added')
        # On stock this is EEXIST, too: no part of what resources there can be.
        for start, size in ((CPU_LIMIT, SECTION), (CPU_LIMIT - GRANULE, 2 * GRANULE)):
            bad('add 0', start, size, 'EEXIST', 'exceeds')

        for start, size in (online, offline, device, (SPARE - GRANULE, 2 * GRANULE)):
            ranges = [(start - GRANULE, 2 * GRANULE), (start - GRANULE, size + 2 * GRANULE)]
            if start >= SPARE:
                ranges.append((start + size - GRANULE, 2 * GRANULE))
            for overlap in ranges if start >= SPARE else [(start, size)]:
                bad('add 0', *overlap, 'EEXIST', 'overlap')
        bad('add 0', *device, 'EEXIST', 'overlap')

        for node in (1, 63, 64, 1 << 20, -1, -2):
            bad(f'add {node}', SPARE, GRANULE, 'EINVAL', f'node {node} ')

        for verb in ('remove', 'offremove'):
            for start, size in ((SPARE, GRANULE), (SPARE + SECTION, 2 * SECTION), device,
                                (offline[0] - GRANULE, offline[1] + GRANULE),
                                (offline[0], offline[1] + GRANULE),
                                (online[0], offline[0] + offline[1] - online[0])):
                bad(verb, start, size, 'ENOENT', 'never added')
            for start, size in (online, offline, (SPARE - SECTION, SECTION)):
                for cut in ((start, GRANULE), (start + GRANULE, GRANULE),
                            (start + size - GRANULE, GRANULE),
                            (start - GRANULE, size)):
                    bad(verb, *cut, 'EINVAL', 'cut')
        # What is online is named, which may be less than what is to be removed.
        bad('remove', *online, 'EBUSY', 'online')
        bad('remove', SPARE - SECTION, SECTION, 'EBUSY', 'online')

        g.mod_ok(f'undevice {h(device[0])}')
        g.mod_ok(f'offremove {h(online[0])} {h(online[1])}')
        g.mod_ok(f'remove {h(offline[0])} {h(offline[1])}')


@case(quick=True)
def bad_overlap_inside(t):
    """D: adding what is there already is EEXIST without a change, as firmware does at boot."""
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        g.mod_ok(f'add 0 {h(SPARE)} {h(4 * GRANULE)}')
        before = snapshot(g)
        for start, size in ((SPARE, 4 * GRANULE), (SPARE + GRANULE, GRANULE),
                            (SPARE - SECTION, SECTION), (SPARE - GRANULE, GRANULE)):
            error, lines = logged(g, f'add 0 {h(start)} {h(size)}')
            expect('errno', error, 'EEXIST')
            expect_between(f'lines in the log: {lines}', len(lines), 0, 1)
            expect_same(f'after add of {start:#x}', snapshot(g), before)
        g.mod_ok(f'remove {h(SPARE)} {h(4 * GRANULE)}')


@case(quick=True)
def bad_sysfs_input(t):
    """D: the probe and state files refuse what makes no sense, and nothing changes."""
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        g.mod_ok(f'add 0 {h(SPARE)} {h(GRANULE)}')
        before = snapshot(g)
        for text in ('', ' ', 'x', '0x', '0x40200000x', '0x40200000 x', '0x40200000 0x200000 0',
                     '0x40200000 0x200000x', '0x40200000 ', ' 0x40200000', '-0x40200000',
                     '0x40200000 -0x200000', '0x40200000 0', '0x40300000 0x200000',
                     '0x40200000 0x100000', '0x40001000', '0x40200000,0x200000',
                     '0x10000000000000000 0x200000', '0x40200000 0x10000000000000000'):
            error = g.write(f'{MEMORY}/probe', text)
            # An empty write never gets to the kernel; a number too large has its own.
            if text and error not in ('EINVAL', 'ERANGE' if '0000000000000000' in text else ''):
                fail(f'probe of "{text}"', 'EINVAL', error)
            expect_same(f'after probe of "{text}"', snapshot(g), before)
        expect('probe of what is there', g.probe(SPARE, GRANULE), 'EEXIST')
        for text in ('', 'on', 'online_all', 'offlin', '1', 'online offline'):
            if text:
                expect(f'state "{text}"', g.state(BLOCK, text), 'EINVAL')
        expect('boot memory that holds the kernel', g.state(0, 'offline') in ('EBUSY', 'EINVAL'),
               True)
        expect_same('after all', snapshot(g), before)
        g.mod_ok(f'remove {h(SPARE)} {h(GRANULE)}')


# --- memory that cannot go offline ---------------------------------------------

@case(quick=True)
def pinned_page_is_busy(t):
    """D: memory with a page that the kernel holds is EBUSY, stays online and usable, all of it."""
    with t.guest(**HIGH) as g:
        w = World(g)
        g.auto_online('online_kernel')
        one = (SPARE_HIGH + 8 * MIB, 16 * MIB)
        two = (SPARE_HIGH + 32 * MIB, 112 * MIB)       # ends in the next block
        rams = [(*r, 0, 'Normal') for r in (one, two)]
        for start, size in (one, two):
            g.mod_ok(f'add 0 {h(start)} {h(size)}')
        w.check(rams, 'added')
        for (start, size), at in ((one, one[0] + one[1] - PAGE), (one, one[0]),
                                  (one, one[0] + GRANULE + HALF),
                                  (two, two[0] + two[1] - PAGE)):
            take(g, at)
            before = snapshot(g)
            expect('offline and remove', g.mod(f'offremove {h(start)} {h(size)}')[0], 'EBUSY')
            expect_same('after offremove', snapshot(g), before)
            expect('offline by state', g.state(at // SECTION, 'offline'), 'EBUSY')
            expect_same('after state', snapshot(g), before)
            g.mod_ok(f'give {h(at)} {h(PAGE)}')
        w.check(rams, 'refused')
        take(g, one[0])
        g.mod_ok(f'offremove {h(two[0])} {h(two[1])}')
        w.check(rams[:1], 'the other removed')
        expect('offline and remove', g.mod(f'offremove {h(one[0])} {h(one[1])}')[0], 'EBUSY')
        still_usable(g, *one, GIB)
        w.check(rams[:1], 'after use')


@case(quick=True, needs='granules')
def pinned_page_keeps_dimm(t):
    """D: a DIMM with a page that the kernel holds is not ejected, and works on."""
    with t.guest(mem='3G', maxmem='8G') as g:
        w = World(g)
        g.auto_online('online_kernel')
        g.plug('one', 134 * MIB)
        g.plug('two', 256 * MIB)
        one, two = g.dimm_address('one'), g.dimm_address('two')
        rams = [(one, 134 * MIB, 0, 'Normal'), (two, 256 * MIB, 0, 'Normal')]
        w.check(rams, 'plugged')
        # In the block that the DIMM fills, and in the one that both share
        for at in (one + 64 * MIB, one + 132 * MIB):
            g.mod_ok(f'take {h(at)} {h(PAGE)}')
            g.eject('one', gone=False)
            w.check(rams, 'refused')
            g.mod_ok(f'give {h(at)} {h(PAGE)}')
        g.mod_ok(f'take {h(two)} {h(PAGE)}')
        g.eject('two', gone=False)
        w.check(rams, 'refused the second')
        g.eject('one')
        w.check(rams[1:], 'ejected beside a page that is held')
        g.eject('two', gone=False)
        still_usable(g, two, 256 * MIB, GIB)
        w.check(rams[1:], 'after use')


# --- all or nothing ---------------------------------------------------------------

@case(quick=True)
def block_is_all_or_nothing(t):
    """R3: a veto of any extent leaves all of its block as it was, online or offline."""
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        w = World(g)
        # Different sizes, a neighbour without a gap, and the end of the block
        places = [(0, 2), (2, 4), (10, 32), (64, 6), (120, 8)]
        ranges = [(SPARE + at * MIB, size * MIB) for at, size in places]
        for start, size in ranges:
            g.mod_ok(f'add 0 {h(start)} {h(size)}')

        def rams(zone, but=()):
            return [(*r, 0, None if r in but else zone) for r in ranges]

        w.check(rams(None), 'added')
        before = snapshot(g)
        for start, size in ranges:
            for code, errno in ((12, 'ENOMEM'), (16, 'EBUSY'), (1, 'EPERM')):
                g.mod_ok(f'veto {h(start + size - PAGE)} {code}')
                expect(f'online with a veto of {start:#x}', g.state(BLOCK, 'online_movable'), errno)
            expect_same('after the veto', snapshot(g), before)
        g.mod_ok('veto 0 0')
        expect('online', g.state(BLOCK, 'online_movable'), None)
        w.check(rams('Movable'), 'online')

        before = snapshot(g)
        for start, size in ranges:
            g.mod_ok(f'veto {h(start)} 16')
            expect(f'offline with a veto of {start:#x}', g.state(BLOCK, 'offline'), 'EBUSY')
            expect('the same by range', g.mod(f'offremove {h(start)} {h(size)}')[0], 'EBUSY')
            expect_same('after the veto', snapshot(g), before)
            still_usable(g, SPARE, SECTION)
        w.check(rams('Movable'), 'still online')
        g.mod_ok('veto 0 0')

        # Only what an operation has changed comes back.
        g.mod_ok(f'offremove {h(ranges[1][0])} {h(ranges[1][1])}')
        g.mod_ok(f'add 0 {h(ranges[1][0])} {h(ranges[1][1])}')
        w.check(rams('Movable', ranges[1:2]), 'one of them offline')
        g.mod_ok(f'veto {h(ranges[4][0])} 16')
        expect('offline with a veto', g.state(BLOCK, 'offline'), 'EBUSY')
        w.check(rams('Movable', ranges[1:2]), 'that one still offline')
        g.mod_ok('veto 0 0')
        expect('offline', g.state(BLOCK, 'offline'), None)
        w.check(rams(None), 'offline')
        # With each that goes, the others come back.
        for start, size in ranges:
            g.mod_ok(f'offremove {h(start)} {h(size)}')
        w.check([], 'removed')


@case(quick=True)
def range_is_all_or_nothing(t):
    """I6: a veto in the last block of a range brings back the blocks before, in their zones."""
    with t.guest(**HIGH) as g:
        w = World(g)
        # The end of a block, two blocks, and the beginning of one
        start, size = SPARE_HIGH + 120 * MIB, 272 * MIB
        last = SPARE_HIGH + 3 * SECTION
        for policy, zone in (('online_kernel', 'Normal'), ('online_movable', 'Movable')):
            g.auto_online(policy)
            g.mod_ok(f'add 0 {h(start)} {h(size)}')
            w.check([(start, size, 0, zone)], policy)
            for at in (start, SPARE_HIGH + SECTION, last - PAGE, start + size - PAGE):
                g.mod_ok(f'veto {h(at)} 16')
                expect(f'offline and remove with a veto at {at:#x}',
                       g.mod(f'offremove {h(start)} {h(size)}')[0], 'EBUSY')
                w.check([(start, size, 0, zone)], 'refused')
            g.mod_ok('veto 0 0')
            g.mod_ok(f'offremove {h(start)} {h(size)}')
            w.check([], 'removed')

        # Adding succeeds although its memory cannot be onlined, as on stock.
        g.mod_ok(f'veto {h(start + size - PAGE)} 12')
        g.mod_ok(f'add 0 {h(start)} {h(size)}')
        g.mod_ok('veto 0 0')
        w.check([(start, last - start, 0, 'Movable'), (last, start + size - last, 0, None)],
                'the last block stays offline')
        expect('online the rest', g.state(last // SECTION, 'online_movable'), None)
        w.check([(start, size, 0, 'Movable')], 'the last block follows')
        g.mod_ok(f'offremove {h(start)} {h(size)}')
        w.check([], 'gone')


@case(quick=True, needs='granules')
def vetoed_dimm(t):
    """I6: a veto leaves part of a DIMM offline when it is plugged, and all of it when ejected."""
    with t.guest(mem='1G', maxmem='4G') as g:
        w = World(g)
        g.auto_online('online_movable')
        one, two = 4 * GIB, 4 * GIB + 134 * MIB
        shared = one + SECTION          # the block that both DIMMs share
        g.mod_ok(f'veto {h(shared)} 12')
        g.plug('one', 134 * MIB, addr=one)
        tail = (shared, 6 * MIB, 0, None)
        w.check([(one, SECTION, 0, 'Movable'), tail], 'tail not online')
        g.mod_ok('veto 0 0')
        g.plug('two', 256 * MIB, addr=two)
        rams = [(one, 134 * MIB, 0, 'Movable'), (two, 256 * MIB, 0, 'Movable')]
        w.check([(one, SECTION, 0, 'Movable'), tail, rams[1]], 'tail still not online')
        expect('online', g.state(shared // SECTION, 'online_movable'), None)
        w.check(rams, 'all online')

        for at in (one, shared):
            g.mod_ok(f'veto {h(at)} 16')
            g.eject('one', gone=False)
            w.check(rams, 'not ejected')
        g.mod_ok(f'veto {h(two + 256 * MIB - PAGE)} 16')
        g.eject('two', gone=False)
        w.check(rams, 'nor the second')
        g.eject('one')
        w.check(rams[1:], 'the first ejected, whatever holds the second')
        g.mod_ok('veto 0 0')
        g.eject('two')
        w.check([], 'ejected')


@case()
def kmem_failures(t):
    """R6: kmem leaves what it cannot take back online and usable, and takes back what it can."""
    start = SPARE + 32 * MIB
    with dax_guest(t, '1G', start) as g:
        dax = make_dax(g, start)
        w = World(g)

        # Some of the device cannot go online: it goes away with the rest.
        g.auto_online('online_movable')
        vetoed = SPARE + 2 * SECTION
        g.mod_ok(f'veto {h(vetoed)} 12')
        bind_kmem(g)
        w.check([(dax, vetoed - dax, 0, 'Movable'),
                 (vetoed, dax + DAX_SIZE - vetoed, 0, None)], 'vetoed', spans=False)
        g.mod_ok('veto 0 0')
        unbind(g, dax)
        w.check([], 'unbound', spans=False)
        g.auto_online('offline')
        bind_devdax(g)
        to_system_ram(g)
        ram = (dax, DAX_SIZE, 0, 'Movable')
        w.check([ram], 'system-ram', spans=False)

        # It cannot go offline: daxctl is told, and a retry succeeds.
        g.mod_ok(f'veto {h(dax + DAX_SIZE - PAGE)} 16')
        status, out = g.run('daxctl reconfigure-device --mode=devdax -f dax0.0', timeout=120)
        if not status and 'reconfigured 0 devices' not in out:
            fail('daxctl reconfigure-device', 'no success', out)
        # What it took offline before it got that far is its own business.
        for block in range(dax // SECTION, (dax + DAX_SIZE - 1) // SECTION + 1):
            g.state(block, 'online_movable')
        w.check([ram], 'held', spans=False)
        g.mod_ok('veto 0 0')
        to_devdax(g)
        w.check([], 'devdax', spans=False)

        # The driver goes, for it has to; the memory stays.
        # As on stock, blocks that are online are left alone.
        to_system_ram(g)
        unbind(g)
        w.check([ram], 'left behind', spans=False)
        if not re.search('until (the next )?reboot', g.console()):
            fail('console', 'that memory stays until a reboot', g.console()[-1000:])
        still_usable(g, dax, DAX_SIZE)


@case()
def injected_notifier_errors(t):
    """I6: a memory notifier that fails leaves everything as it was, and the retry succeeds."""
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        def inject(action, error):
            g.sh(f'echo {error} >{INJECT}/{action}/error')

        for size in (GRANULE, 130 * MIB, SECTION):
            nothing = snapshot(g)
            g.mod_ok(f'add 0 {h(SPARE)} {h(size)}')
            before = snapshot(g)
            blocks = range(BLOCK, (SPARE + size - 1) // SECTION + 1)
            inject('MEM_GOING_ONLINE', -12)
            for block in blocks:
                expect('online', g.state(block, 'online_movable'), 'ENOMEM')
            inject('MEM_GOING_ONLINE', 0)
            expect_same('not online', snapshot(g), before)
            for block in blocks:
                expect('online again', g.state(block, 'online_movable'), None)
            before = snapshot(g)
            inject('MEM_GOING_OFFLINE', -16)
            for block in blocks:
                expect('offline', g.state(block, 'offline'), 'EBUSY')
            expect('offline and remove', g.mod(f'offremove {h(SPARE)} {h(size)}')[0], 'EBUSY')
            inject('MEM_GOING_OFFLINE', 0)
            expect_same('not offline', snapshot(g), before)
            g.mod_ok(f'offremove {h(SPARE)} {h(size)}')
            expect_same('removed', snapshot(g), nothing)


# --- every allocation fails once ------------------------------------------------------

@case(flavours=('debug',))
def every_allocation_fails(t):
    """I6: whichever allocation of add, online, offline or remove fails, nothing is left behind."""
    with t.guest(mem='2G', cmdline='mem=1G', share=[helper('failnth')]) as g:
        arm(g)
        state, probe, cmd = f'{MEMORY}/memory{BLOCK}/state', f'{MEMORY}/probe', f'{MOD}/cmd'
        small, beside = (SPARE, GRANULE), (SPARE + 2 * GRANULE, GRANULE)
        across, block = (SPARE + 126 * MIB, 4 * MIB), (SPARE, SECTION)

        def words(extent):
            return f'{h(extent[0])} {h(extent[1])}'

        def add(extent, what):
            fail_each(t, g, f'add {what}', (probe, words(extent)),
                      (cmd, f'remove {words(extent)}'))

        def online(extent, what):
            g.mod_ok(f'add 0 {words(extent)}')
            fail_each(t, g, f'online {what}', (state, 'online_movable'), (state, 'offline'))
            expect('online', g.state(BLOCK, 'online_movable'), None)
            fail_each(t, g, f'offline {what}', (state, 'offline'), (state, 'online_movable'))
            expect('offline', g.state(BLOCK, 'offline'), None)
            g.mod_ok(f'remove {words(extent)}')

        add(small, 'a granule')
        online(small, 'a granule')
        add(across, 'a range across blocks')
        # Onlining that much takes long in an emulated debug kernel, and allocates the same.
        add(block, 'a block')

        # A block that has an extent already, and comes online with two of them
        g.mod_ok(f'add 0 {words(small)}')
        add(beside, 'a second extent')
        online(beside, 'two extents')
        g.mod_ok(f'add 0 {words(beside)}')
        expect('online', g.state(BLOCK, 'online_movable'), None)
        fail_each(t, g, 'remove an extent', (cmd, f'offremove {words(beside)}'),
                  (cmd, f'add 0 {words(beside)}'), (state, 'online_movable'),
                  ignore=('firmware/memmap/',))     # numbered, and never the same again
        for extent in (small, beside):
            g.mod_ok(f'offremove {words(extent)}')
        only_alloc_stacks(g)
