# SPDX-License-Identifier: GPL-2.0
"""The rules for memory blocks that are populated in part: states, uevents, sizes."""

import os
import re
import subprocess

from lib import BLOCK, GRANULE, MEMORY, MIB, SPARE, TOP, Watch, World, case, expect, fail, h

A, B, C = (SPARE + n * 4 * GRANULE for n in range(3))


def ram(start, zone):
    return (start, GRANULE, 0, zone)


@case(quick=True)
def states_of_shared_block(t):
    """R1 R2 R3: a block is online while any extent is; writes reach each extent."""
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        w = World(g)
        for start in (A, B, C):
            g.mod_ok(f'add 0 {h(start)} {h(GRANULE)}')
        w.check([ram(A, None), ram(B, None), ram(C, None)], 'added')
        expect('offline while offline', g.state(BLOCK, 'offline'), 'EINVAL')
        expect('online_movable', g.state(BLOCK, 'online_movable'), None)
        w.check([ram(A, 'Movable'), ram(B, 'Movable'), ram(C, 'Movable')], 'online')
        g.mod_ok(f'offremove {h(B)} {h(GRANULE)}')
        g.mod_ok(f'add 0 {h(B)} {h(GRANULE)}')
        mixed = [ram(A, 'Movable'), ram(B, None), ram(C, 'Movable')]
        w.check(mixed, 'one is offline')
        expect('state', g.read(f'{MEMORY}/memory{BLOCK}/state').strip(), 'online')
        expect('removal of an online extent', g.mod(f'remove {h(A)} {h(GRANULE)}')[0], 'EBUSY')
        expect('removal of all three', g.mod(f'remove {h(A)} {h(C + GRANULE - A)}')[0], 'ENOENT')
        w.check(mixed, 'after refusals')
        expect('online of the rest', g.state(BLOCK, 'online_kernel'), None)
        w.check([ram(A, 'Movable'), ram(B, 'Normal'), ram(C, 'Movable')], 'two zones')
        expect('valid_zones', set(g.read(f'{MEMORY}/memory{BLOCK}/valid_zones').split()),
               {'Normal', 'Movable'})
        expect('nothing left to online', g.state(BLOCK, 'online'), 'EINVAL')


@case(quick=True)
def default_policy_for_each_extent(t):
    """R4: a new extent obeys the default online policy, whatever its block's state."""
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        w = World(g)
        rams = []
        for start, policy, zone in ((A, 'online_movable', 'Movable'), (B, 'offline', None),
                                    (C, 'online_movable', 'Movable')):
            g.auto_online(policy)
            g.mod_ok(f'add 0 {h(start)} {h(GRANULE)}')
            rams.append(ram(start, zone))
            w.check(rams, f'{policy} beside the others')


@case(quick=True)
def uevents_of_shared_block(t):
    """R4 R9: the first extent adds the block, the last one removes it, others change it."""
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        w = Watch(g)
        path = f'DEVPATH=/devices/system/memory/memory{BLOCK} SUBSYSTEM=memory'

        def events(what, *actions):
            expect(f'uevents: {what}', w.new_events(), [f'ACTION={a} {path}' for a in actions])

        g.mod_ok(f'add 0 {h(A)} {h(GRANULE)}')
        events('first extent', 'add')
        g.mod_ok(f'add 0 {h(B)} {h(GRANULE)}')
        events('second extent', 'change')
        expect('online', g.state(BLOCK, 'online_movable'), None)
        events('both online', 'online')
        g.auto_online('online_movable')
        g.mod_ok(f'add 0 {h(C)} {h(GRANULE)}')
        events('third extent, online at once', 'change', 'change')
        g.mod_ok(f'offremove {h(B)} {h(GRANULE)}')
        events('an online extent goes', 'change', 'change')
        expect('offline', g.state(BLOCK, 'offline'), None)
        events('all offline', 'offline')
        g.mod_ok(f'remove {h(A)} {h(GRANULE)}')
        events('an offline extent goes, what went offline with it comes back', 'change', 'online')
        expect('offline', g.state(BLOCK, 'offline'), None)
        events('offline again', 'offline')
        g.mod_ok(f'remove {h(C)} {h(GRANULE)}')
        events('the last extent goes', 'remove')


def lsmem_totals(g, program):
    """(online, offline) bytes, as the summary says and as the ranges add up to."""
    values = dict(re.findall(r'Total (\w+) memory: +(\d+)', g.sh(f'{program} -b --summary=only')))
    listed = {'online': 0, 'offline': 0}
    lines = g.sh(f'{program} -b -n -r -o SIZE,STATE')
    for size, state in re.findall(r'^(\d+) (\w+)$', lines, re.M):
        listed[state] += int(size)
    expect('what lsmem lists', listed, {k: int(v) for k, v in values.items()})
    return listed['online'], listed['offline']


@case(flavours=('patched',))
def lsmem_counts_what_is_there(t):
    """R10: lsmem, patched, counts what there is of a block; Debian's goes on working."""
    done = subprocess.run([os.path.join(TOP, 'scripts', 'lsmem.sh')], stdout=subprocess.PIPE,
                          text=True, check=False)
    if done.returncode:
        fail('scripts/lsmem.sh', 'a program', done.returncode)
    patched = '/mnt/share/lsmem'
    with t.guest(share=[done.stdout.strip()], files=False) as g:
        g.auto_online('online_movable')
        ours, debians = lsmem_totals(g, patched), lsmem_totals(g, 'lsmem')
        g.plug('a', 134 * MIB)
        g.plug('b', 256 * MIB)
        expect('patched: more memory', lsmem_totals(g, patched), (ours[0] + 390 * MIB, ours[1]))
        expect("Debian's: more blocks", lsmem_totals(g, 'lsmem'),
               (debians[0] + 512 * MIB, debians[1]))
        g.auto_online('offline')
        g.plug('c', 6 * MIB)
        block = g.block(g.dimm_address('a') + 390 * MIB)
        expect('offline', g.state(block, 'offline'), None)
        # The end of the second DIMM, and the third
        expect('patched: offline', lsmem_totals(g, patched), (ours[0] + 384 * MIB,
                                                              ours[1] + 12 * MIB))
        show = '-a -o RANGE,STATE,BLOCK,NODE,ZONES --summary=never'
        expect('the blocks of both', *[g.sh(f'{p} {show}') for p in (patched, 'lsmem')])
    with t.guest(flavour='stock', share=[done.stdout.strip()], files=False) as g:
        expect('both, on stock', *[g.sh(f'{p} -b --summary=always') for p in (patched, 'lsmem')])
