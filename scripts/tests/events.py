# SPDX-License-Identifier: GPL-2.0
"""Trace events: each operation on memory is told of, with its result, and the page
that keeps memory from going offline."""

import contextlib
import re

from lib import MIB, PAGE, SECTION, SPARE, World, case, expect, fail, h

TRACE = '/sys/kernel/tracing'


class Trace:
    """The trace events of memory_hotplug in a guest"""

    def __init__(self, g):
        self.g = g
        g.sh(f'mount -t tracefs none {TRACE}; echo 1 >{TRACE}/events/memory_hotplug/enable')

    def new(self):
        """What came since the last time: (event, {key: value}), in order."""
        text = self.g.read(f'{TRACE}/trace')
        self.g.sh(f'echo >{TRACE}/trace')
        return [(m[1], dict(re.findall(r'(\w+)=(.*?)(?= \w+=|$)', m[2])))
                for m in re.finditer(r': (mem\w+): (.*)', text)]

    def expect(self, what, expected):
        """These events came, and took time; no others."""
        seen = self.new()
        for event, values in seen:
            # What is in the way of another resource fails at once.
            if bool(int(values.pop('ns'))) != (values['ret'] != '-17'):
                fail(f'{what}: {event}', 'it takes time, or fails at once', values)
        expect(what, [(event, ' '.join(f'{k}={v}' for k, v in values.items()))
                      for event, values in seen], expected)


def parts(start, size):
    """A range by sections"""
    while size:
        part = min(size, SECTION - start % SECTION)
        yield f'start={h(start)} size={h(part)}'
        start += part
        size -= part


@case(quick=True, needs='trace')
def trace_of_operations(t):
    """Each add, remove, online, offline and populated memmap is traced: range, zone, result."""
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        w = World(g)
        trace = Trace(g)
        g.auto_online('online_movable')
        g.plug('d0', 134 * MIB)
        dimm = g.dimm_address('d0')
        sections = [*parts(dimm, 134 * MIB)]
        where = f'start={h(dimm)} size={h(134 * MIB)}'
        trace.expect('plugged', [
            *(('memmap_populate', f'{s} nid=0 hosted=0 ret=0') for s in sections),
            *(('memory_online', f'{s} nid=0 zone=Movable ret=0') for s in sections),
            ('memory_add', f'{where} group=0 ret=0')])
        g.eject('d0')
        trace.expect('ejected', [
            *(('memory_offline', f'{s} nid=0 zone=Movable ret=0') for s in sections),
            ('memory_remove', f'{where} ret=0')])
        w.check([], 'ejected')
        # Half a granule; what is there already; and what there is not.
        bad = f'start={h(SPARE + MIB)} size={h(2 * MIB)}'
        expect('bad range', g.mod(f'add 0 {h(SPARE + MIB)} {h(2 * MIB)}')[0], 'EINVAL')
        expect('boot memory', g.mod(f'add 0 {h(SECTION)} {h(2 * MIB)}')[0], 'EEXIST')
        expect('nothing there', g.mod(f'remove {h(SPARE)} {h(2 * MIB)}')[0], 'ENOENT')
        trace.expect('refused', [
            ('memory_add', f'{bad} nid=0 ret=-22'),
            ('memory_add', f'start={h(SECTION)} size={h(2 * MIB)} nid=0 ret=-17'),
            ('memory_remove', f'start={h(SPARE)} size={h(2 * MIB)} ret=-2')])


@case(quick=True, needs='trace')
def trace_of_page_that_stays(t):
    """A page that keeps memory from going offline is traced, and in the log."""
    with t.guest(mem='2G') as g:
        trace = Trace(g)
        for policy, take, reason in (('online_movable', 'pin', 'migration failure'),
                                     ('online_kernel', 'hoard 0', 'unmovable page')):
            g.auto_online(policy)
            g.plug('d0', 134 * MIB)
            dimm = g.dimm_address('d0')
            with g.filled(132 * MIB) if take == 'pin' else contextlib.nullcontext():
                # Others may not move at once, either.
                page = g.mod_values(f'{take} {h(dimm + SECTION)} {h(2 * MIB)}')['page']
                trace.new()
                g.eject('d0', gone=False)
                seen = trace.new()
                pfn = h(int(page, 0) // PAGE)
                if pfn not in [v['pfn'] for e, v in seen
                               if e == 'memory_offline_blocked' and v['reason'] == reason]:
                    fail('page that stays', f'{pfn}: {reason}', seen)
                expect(f'{pfn} in the log', f'pfn:{pfn}' in g.sh('dmesg'), True)
                expect('offline', [v['ret'] for e, v in seen if e == 'memory_offline'][-1:],
                       ['-16'])
                g.mod_ok('un' + take.split()[0])
            # Of kernel zones, the kernel takes pages as well.
            if take == 'pin':
                g.eject('d0')
