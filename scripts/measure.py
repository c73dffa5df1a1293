#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Measure what the series gives and what it costs, stock and patched in one run.

usage: measure.py [PART...]      parts: usable memmap virtio-mem text cycles large
                                 seconds release (default: all)

Prints the results as a text table and as a markdown table, leaves them in build/results
for 'make docs', and ends with status 1 if a bound does not hold, naming it.
Instructions are counted by QEMU's -icount; see scripts/guest/mhp_measure.
"""

import itertools
import os
import re
import statistics
import subprocess
import sys
import time
from collections import namedtuple

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, 'scripts', 'tests'))
# pylint: disable=wrong-import-position
from lib import (BUILTIN_INDEX, GIB, MEMORY, MIB, PAGE, SECTION, Failure, Test,  # noqa: E402
                 TWO_NODES, builtin_index, expect, module)
from virtio_mem import FORCE, Device, grow_full_guest, memmap_pages  # noqa: E402
from guest import BASE, BUILD, Guest, GuestError, QMPError, note  # noqa: E402
import docs  # noqa: E402

FLAVOURS = ('stock', 'patched')
PARAMETERS = '/sys/module/mhp_measure/parameters'
LOGS = os.path.join(BUILD, 'log', 'measure')

REPEAT = 9
NOISE = 0.01            # of what sleeps, takes locks and runs timers
# To wait for walkers, by RCU and SRCU, takes 1.5 % of the cycle of a memory block. On 6.12,
# what else got faster makes up for that; stock 7.3 is as fast there.
CYCLE = NOISE if BASE.startswith('6.') else 0.04
LINEAR = (4, 24)        # memory blocks that are removed in one go
SPARE = 4 * GIB         # RAM that the guest has and does not use
EXTENTS = 64
COMPACT = 65536         # pages in use, of 256 Ki
MOVES, MOVED = 10, 32768        # times that they are moved, and pages to count for
# What, [DIMMs as (MiB, address)], size of memory blocks, more for the guest
DIMMS = (
    ('DIMMs of 134 and 256 MiB, one behind the other', [(134, None), (256, None)], SECTION,
     {}),
    ('DIMM of 1 GiB at 0x100200000', [(1024, 0x100200000)], SECTION, {}),
    ('DIMM of 2 MiB', [(2, None)], SECTION, {}),
    ('DIMM of 3 GiB, memory blocks of 2 GiB', [(3072, None)], 2 * GIB,
     {'mem': '65G', 'maxmem': '80G', 'cpu': 'max,la57=off,-hypervisor', 'timeout': 300}),
)
# Legacy persistent memory in the middle of a memory block. Of 416 MiB, the
# namespace takes 2 MiB for itself.
DAX_START, DAX_SIZE, DAX_USABLE = 1088 * MIB, 416 * MIB, 414
# Self-hosted memmap: what, MiB of one DIMM, folder of the kernels, bytes of a page
HOSTED = (
    ('DIMM of 128 MiB', 128, '', 4096),
    ('DIMM of 134 MiB', 134, '', 4096),
    ('DIMM of 1 GiB + 2 MiB', 1026, '', 4096),
    ('DIMM of 1 GiB, arm64, 64 KiB pages', 1024, 'arm64-64k', 65536),
)
HOST = 'memory_hotplug.memmap_on_memory'
# What virtio-mem is measured with: flavour and command line of the kernel
VIRTIO_MEM = {'stock': ('stock', ''), 'patched': ('patched', ''), 'force': ('patched', FORCE)}
FORCED = FORCE.split('.')[1]
PLUGGED = (2, 62, 130, 8192)    # MiB
# KiB that come and go with what else is running, some 170; and those that each memory
# block takes for page tables and sysfs
FREE_NOISE, BLOCK_COST = 384, 4
REGION, REGION_AT = 1022 * MIB, 8 * GIB + 2 * MIB
ROUNDS = 3
# Two thirds of a section that boot RAM and persistent memory share
SHARED_START, SHARED_SIZE = 138 * MIB, 32 * MIB
PLAIN = 512 * MIB

# GiB that are plugged and ejected, and how they lie: what they are; more for the guest; the
# first address; the node; GiB of each DIMM, or None; the address of 1 GiB that is there before
LARGE = (32, 64, 128, 256)
Layout = namedtuple('Layout', 'what more addr node each first', defaults=(0, None, None))
HOSTING = {'cmdline': f'{HOST}=Y'}
LAYOUTS = {
    'hosted': Layout('a DIMM of {} GiB that hosts its memmap', HOSTING, 4 * GIB),
    'plain': Layout('a DIMM of {} GiB', {'mem': '6G'}, 8 * GIB),
    'hole': Layout('a DIMM of {} GiB in a zone with a hole of 100 GiB', HOSTING, 105 * GIB,
                   first=4 * GIB),
    'node': Layout('a DIMM of {} GiB in a node without CPUs', {**HOSTING, 'mem': '2G',
                   'args': TWO_NODES}, 4 * GIB, node=1),
    'many': Layout('{} GiB in DIMMs of 1 GiB', {**HOSTING, 'slots': 256}, 4 * GIB, each=1),
}
STOCK_LARGE = 128       # more takes it minutes
FLAT = 1.2              # of what a GiB takes, the largest to the smallest

Row = namedtuple('Row', 'what unit stock patched bound ok')


class Table:
    """Rows of results, and which of their bounds do not hold."""

    def __init__(self):
        self.rows = []
        self.extra = []         # other tables, in markdown

    def add(self, unit, what, values, bound='', ok=None):
        self.rows.append(Row(what, unit, show(values.get('stock')),
                             show(values.get('patched')), bound, ok))

    def missed(self):
        return [r for r in self.rows if r.ok is False]

    def cells(self):
        for r in self.rows:
            mark = {True: ', holds', False: ', MISSED', None: ''}[r.ok]
            yield (r.what, r.unit, r.stock, r.patched, r.bound + mark)

    def text(self, left='', middle='  ', right=''):
        lines = [('', 'unit', *FLAVOURS, 'bound'), *self.cells()]
        width = [max(len(line[i]) for line in lines) for i in range(5)]
        rule = [n * '-' for n in width]
        if left:        # in markdown, this puts numbers to the right
            rule[2:4] = [r[:-1] + ':' for r in rule[2:4]]
        lines.insert(1, rule)
        lines = [middle.join(cell.rjust(n) if i in (2, 3) else cell.ljust(n)
                             for i, (cell, n) in enumerate(zip(line, width)))
                 for line in lines]
        return '\n'.join((left + line + right).rstrip() for line in lines)

    def markdown(self):
        return self.text('| ', ' | ', ' |')


def show(value):
    if value is None:
        return '-'
    if isinstance(value, float):
        return f'{value:,.2f}'
    return f'{value:,}'


def boot(flavour, name, **kwargs):
    return Guest(image=os.path.join(BUILD, BASE, flavour, 'vmlinuz'),
                 name=f'{name}-{flavour}', logdir=LOGS, **kwargs)


def check_console(guest):
    bad = guest.bad_lines()
    if bad:
        raise Failure(f'{guest.name}: the console reports\n' + '\n'.join(bad))


def both(measure, *args):
    """{flavour: what the function measured}"""
    return {flavour: measure(flavour, *args) for flavour in FLAVOURS}


# --- usable memory --------------------------------------------------------------

def memtotal(guest):
    """MemTotal in MiB, exact to the page."""
    total = int(re.search(r'MemTotal: +(\d+)', guest.read('/proc/meminfo'))[1]) / 1024
    return int(total) if total == int(total) else total


def gained(guest, before):
    grown = memtotal(guest) - before
    check_console(guest)
    return int(grown) if grown == int(grown) else grown


def plug_dimms(flavour, name, dimms, block_size, extra):
    with boot(flavour, name, **extra) as g:
        if int(g.read(f'{MEMORY}/block_size_bytes'), 16) != block_size:
            raise Failure(f'{g.name}: memory blocks are not of {block_size // MIB} MiB')
        g.write(f'{MEMORY}/auto_online_blocks', 'online')
        before = memtotal(g)
        for i, (size, address) in enumerate(dimms):
            if g.plug_dimm(f'dimm{i}', size, addr=address, wait=120) is None:
                raise Failure(f'{g.name}: no answer to the DIMM of {size} MiB')
        return gained(g, before)


def plug_dax(flavour):
    with boot(flavour, 'dax', mem='2G', maxmem=None,
              cmdline=f'memmap={DAX_SIZE}!{DAX_START}', share=[builtin_index(BASE, flavour)]) as g:
        g.sh(BUILTIN_INDEX)
        before = memtotal(g)
        g.sh('ndctl create-namespace -f -e namespace0.0 -m devdax -M mem')
        size = int(g.read('/sys/bus/dax/devices/dax0.0/size'))
        if size != DAX_USABLE * MIB:
            raise Failure(f'{g.name}: a device of {size} bytes, expected {DAX_USABLE} MiB')
        g.sh('daxctl reconfigure-device --mode=system-ram dax0.0', timeout=120)
        return gained(g, before)


def measure_usable(table):
    for i, (what, dimms, block_size, extra) in enumerate(DIMMS):
        note(f'usable memory: {what}')
        values = both(plug_dimms, f'dimm{i}', dimms, block_size, extra)
        size = sum(d[0] for d in dimms)
        table.add('MiB usable', what, values, f'= {size:,}', values['patched'] == size)
    what = f'dax device of {DAX_USABLE} MiB, not aligned to memory blocks'
    note(f'usable memory: {what}')
    values = both(plug_dax)
    table.add('MiB usable', what, values, f'= {DAX_USABLE}', values['patched'] == DAX_USABLE)


# --- self-hosted memmap -----------------------------------------------------------

def present(guest, page):
    """Bytes that are present in all zones."""
    text = guest.read('/proc/zoneinfo')
    return page * sum(int(n) for n in re.findall(r'^ +present +(\d+)', text, re.M))


def host_dimm(folder, flavour, mode, size, page):
    """MiB of one DIMM that can be used; KiB that hold its memmap, on the DIMM and on
    other memory; KiB that are lost."""
    image = os.path.join(BUILD, BASE, folder, flavour, 'vmlinuz')
    if not os.path.exists(image):
        raise Failure(f'no {os.path.relpath(image, TOP)}: make kernel-arm64')
    with Guest(image=image, name=f'memmap-{size}-{flavour}-{mode}', logdir=LOGS,
               cmdline=f'{HOST}={mode}') as g:
        g.write(f'{MEMORY}/auto_online_blocks', 'online_movable')
        before, there = memtotal(g), present(g, page)
        if g.plug_dimm('dimm0', size, wait=120) is None:
            raise Failure(f'{g.name}: no answer to the DIMM of {size} MiB')
        usable = round((memtotal(g) - before) * MIB)
        there = present(g, page) - there
        check_console(g)
    memmap = size * MIB // page * 64
    if not there:
        return (0, 0, 0, size * 1024)
    taken = there - usable
    hosted = memmap if taken >= memmap else 0
    lost = size * MIB - usable - hosted
    return (usable / MIB, hosted // 1024, (memmap - hosted) // 1024, lost // 1024)


def free_kib(guest):
    """KiB that are free once caches are, with what CPUs keep for themselves."""
    text = guest.sh('for i in 1 2 3; do sync; echo 3 >/proc/sys/vm/drop_caches; sleep 1; done; '
                    'cat /proc/meminfo /proc/zoneinfo', timeout=120)
    return (int(re.search(r'MemFree: +(\d+)', text)[1]) +
            sum(int(n) for n in re.findall(r'^ +count: +(\d+)', text, re.M)) * PAGE // 1024)


def taken_by(flavour, gib):
    """KiB that are no longer free after adding so much memory that hosts its memmap."""
    with boot(flavour, f'taken-{gib}', mem='640M', maxmem='80G', cmdline=f'{HOST}=Y',
              timeout=300) as g:
        g.write(f'{MEMORY}/auto_online_blocks', 'offline')
        free = free_kib(g)
        if not g.plug_dimm('dimm0', gib * 1024, addr=4 * GIB, wait=600):
            raise Failure(f'{g.name}: the DIMM was refused')
        last = (4 + gib) * GIB // SECTION - 1
        g.sh(f'until [ -e {MEMORY}/memory{last} ]; do sleep 1; done', timeout=300)
        left = free_kib(g)
        check_console(g)
        return free - left


def measure_memmap(table):
    lines = [('', 'kernel', 'usable MiB', 'memmap on it KiB', 'elsewhere KiB', 'lost KiB')]
    for what, size, folder, page in HOSTED:
        seen = {}
        for flavour, mode in itertools.product(('stock', 'patched'), ('Y', 'force')):
            note(f'memmap: {what}, {flavour}, {mode}')
            values = seen[flavour, mode] = host_dimm(folder, flavour, mode, size, page)
            lines.append((what, f'{flavour}, {mode}', *(f'{v:,.10g}' for v in values)))
        hosted = size * MIB // page * 64 // 1024
        for mode in ('Y', 'force'):
            values = seen['patched', mode]
            # Memory that stock does not refuse is treated like on stock, if not forced.
            like_stock = mode == 'Y' and seen['stock', 'Y'][0]
            table.add('KiB lost', f'{what}, memmap on memory: {mode}', {'patched': values[3]},
                      '= 0, memmap as on stock' if like_stock else '= 0, all of the memmap on it',
                      values == (seen['stock', 'Y'] if like_stock else
                                 (size - hosted / 1024, hosted, 0, 0)))
    table.extra.append(columns(lines))
    for gib in (8, 64):
        note(f'memmap: {gib} GiB into 640 MiB')
        values = both(taken_by, gib)
        # Of the memmap, it would be 16 MiB for each GiB.
        table.add('KiB', f'taken from existing memory by a DIMM of {gib} GiB', values,
                  '<= stock within 5 %', values['patched'] <= values['stock'] * 1.05 + 256)


def columns(lines):
    """A markdown table of lines of cells, the first one the head."""
    width = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rule = [n * '-' if i < 2 else (n - 1) * '-' + ':' for i, n in enumerate(width)]
    return '\n'.join('| ' + ' | '.join(c.ljust(n) if i < 2 else c.rjust(n)
                                       for i, (c, n) in enumerate(zip(line, width))) + ' |'
                     for line in [lines[0], rule, *lines[1:]])


# --- virtio-mem -------------------------------------------------------------------

def vm_guest(kernel, test, size=8 * GIB, addr=None, **kwargs):
    """A guest with a virtio-mem device."""
    flavour, cmdline = VIRTIO_MEM[kernel]
    return test.guest(flavour=flavour, cmdline=cmdline, maxmem='16G', files=False,
                      args=Device.args(size, addr=addr), **kwargs)


def plug_from_nothing(kernel, test):
    """{MiB: (KiB of memmap, KiB that are free more than before)}"""
    out = {}
    with vm_guest(kernel, test) as g:
        vm = Device(g)
        g.auto_online('online_movable')
        # The first time, caches are filled.
        vm.resize(2 * MIB)
        vm.resize(0)
        for mib in PLUGGED:
            free, memmap = free_kib(g), memmap_pages(g)
            vm.resize(mib * MIB)
            out[mib] = (memmap_pages(g) - memmap) * PAGE // 1024, free_kib(g) - free
            vm.resize(0)
    return out


def plug_region(kernel, test):
    """MiB usable of a region that neither starts nor ends with a memory block."""
    with vm_guest(kernel, test, size=REGION, addr=REGION_AT) as g:
        g.auto_online('online_movable')
        before = memtotal(g)
        Device(g).try_resize(REGION, 10)
        return gained(g, before)


def resize_by_instructions(kernel, test):
    """{bytes plugged in the end: instructions that kernel threads take until then}"""
    counts = {8 * GIB: [], 0: []}
    with vm_guest(kernel, test, icount='shift=0', timeout=300,
                  share=[module(BASE, VIRTIO_MEM[kernel][0], 'mhp_measure')]) as g:
        meter, vm = Meter(g), Device(g)
        g.auto_online('online_movable')
        for _, size in itertools.product(range(ROUNDS), counts):
            before = meter('kthreads')['kthreads'][0]
            vm.resize(size, timeout=300)
            counts[size].append(meter('kthreads')['kthreads'][0] - before)
    return {size: int(statistics.median(found)) for size, found in counts.items()}


def resize_by_clock(kernel, test):
    """{bytes plugged in the end: seconds until then}"""
    out = {}
    with vm_guest(kernel, test) as g:
        vm = Device(g)
        g.auto_online('online_movable')
        vm.resize(8 * GIB)
        vm.resize(0)
        for size in (8 * GIB, 0):
            start = time.monotonic()
            expect(f'{g.name}: bytes plugged', vm.try_resize(size), size)
            out[size] = time.monotonic() - start
            vm.settle()
    return out


def variants(what, values):
    """The row of stock and patched, and that of patched with FORCE: (what, values, the one
    that is bounded)."""
    yield what, values, values['patched']
    yield f'{what}, {FORCED}', {'patched': values['force']}, values['force']


def measure_vm_memory(table, test):
    note('virtio-mem: memmap and free memory')
    seen = {kernel: plug_from_nothing(kernel, test) for kernel in VIRTIO_MEM}
    for mib in PLUGGED:
        what = f'{mib} MiB of virtio-mem' if mib < 1024 else f'{mib // 1024} GiB of virtio-mem'
        memmap = mib * MIB // PAGE * 64 // 1024
        gain = mib * 1024 - memmap
        slack = FREE_NOISE + BLOCK_COST * -(-mib * MIB // SECTION)
        values = {kernel: seen[kernel][mib][0] for kernel in VIRTIO_MEM}
        for name, row, kib in variants(f'memmap of {what}', values):
            table.add('KiB', name, row, f'= {memmap:,}', kib == memmap)
        values = {kernel: seen[kernel][mib][1] for kernel in VIRTIO_MEM}
        for name, row, kib in variants(f'free memory gained by {what}', values):
            table.add('KiB', name, row, f'= {gain:,} within {slack}', abs(kib - gain) <= slack)

    size = REGION // MIB
    what = f'virtio-mem region of {size:,} MiB, 2 MiB behind a memory block boundary'
    note(f'usable memory: {what}')
    values = both(plug_region, test)
    table.add('MiB usable', what, values, f'= {size:,}', values['patched'] == size)

    note('virtio-mem: a guest that is out of memory')
    grown = {flavour: grow_full_guest(test, flavour) for flavour in FLAVOURS}
    values = {flavour: grown[flavour][0] // MIB for flavour in FLAVOURS}
    table.add('MiB plugged', f'of 8 GiB, by a guest with 19 MB free (patched: {FORCED})', values,
              '= 8,192', values['patched'] == 8192)
    values = {flavour: len(grown[flavour][1]) for flavour in FLAVOURS}
    table.add('processes', 'killed meanwhile', values, '= 0', not values['patched'])


def measure_vm_time(table, test):
    note('virtio-mem: instructions')
    counts = {kernel: resize_by_instructions(kernel, test) for kernel in VIRTIO_MEM}
    note('virtio-mem: seconds')
    # In turns, as what else the machine does changes meanwhile.
    rounds = [{kernel: resize_by_clock(kernel, test) for kernel in VIRTIO_MEM}
              for _ in range(ROUNDS)]
    for size, what in ((8 * GIB, 'plug 8 GiB of virtio-mem'), (0, 'unplug 8 GiB of virtio-mem')):
        values = {kernel: counts[kernel][size] for kernel in VIRTIO_MEM}
        stock = values['stock']
        for name, row, count in variants(what, values):
            most, bound = (0.5, '1/2 of stock') if size else (1 + NOISE, 'stock within 1 %')
            table.add('instructions', name, row, f'<= {bound} ({count / stock:.3f}x)',
                      count <= stock * most)
        values = {kernel: statistics.median(r[kernel][size] for r in rounds)
                  for kernel in VIRTIO_MEM}
        for name, row, _ in variants(what, values):
            table.add('seconds', name, row)


def measure_virtio_mem(table):
    test = Test('virtio-mem', BASE, 'patched', 0, LOGS)
    measure_vm_memory(table, test)
    measure_vm_time(table, test)


# --- large DIMMs --------------------------------------------------------------------

def resize_large(flavour, layout, gib, counted):
    """(plug, eject): millions of instructions that kernel threads take for each GiB, or
    milliseconds."""
    how = LAYOUTS[layout]
    each = how.each or gib
    share = [module(BASE, flavour, 'mhp_measure')]
    with boot(flavour, f'large-{layout}-{gib}', **{'mem': '1G', 'maxmem': '600G', 'timeout': 600,
                                                   'share': share, **how.more},
              icount='shift=0' if counted else None) as g:
        meter = Meter(g) if counted else None
        g.write(f'{MEMORY}/auto_online_blocks', 'online_movable')

        def now():
            return meter('kthreads')['kthreads'][0] / 1e6 if counted else time.monotonic() * 1e3

        if how.first:
            expect(f'{g.name}: plugged', g.plug_dimm('first', 1024, addr=how.first), True)
        dimms = range(gib // each)
        times = [now()]
        for n in dimms:
            if not g.plug_dimm(f'dimm{n}', each * 1024, addr=how.addr + n * each * GIB,
                               node=how.node, wait=600):
                raise Failure(f'{g.name}: DIMM {n} was refused')
        times.append(now())
        for n in dimms:
            if not g.unplug(f'dimm{n}', timeout=600):
                raise Failure(f'{g.name}: DIMM {n} was not ejected')
        times.append(now())
        check_console(g)
        return tuple((b - a) / gib for a, b in itertools.pairwise(times))


def measure_large(table):
    counts = {}
    for layout, how in LAYOUTS.items():
        for flavour, gib in itertools.product(FLAVOURS, LARGE):
            if flavour == 'patched' or gib <= STOCK_LARGE:
                note(f'{how.what.format(gib)}: {flavour}')
                counts[layout, flavour, gib] = resize_large(flavour, layout, gib, True)
        for step, verb in enumerate(('plug', 'eject')):
            few = counts[layout, 'patched', LARGE[0]][step]
            for gib in LARGE:
                values = {f: counts[layout, f, gib][step] for f in FLAVOURS
                          if (layout, f, gib) in counts}
                last, ratio = gib == LARGE[-1], values['patched'] / few
                table.add('M instructions/GiB', f'{verb} {how.what.format(gib)}', values,
                          f'<= {FLAT} times that of {LARGE[0]} GiB ({ratio:.2f}x)' if last else '',
                          ratio <= FLAT if last else None)


def measure_seconds(table):
    for gib in (size for size in LARGE if size <= STOCK_LARGE):
        note(f'DIMM of {gib} GiB: seconds')
        # In turns, as what else the machine does changes meanwhile.
        rounds = [{f: resize_large(f, 'hosted', gib, False) for f in FLAVOURS}
                  for _ in range(ROUNDS)]
        for step, verb in enumerate(('plug', 'eject')):
            values = {f: statistics.median(r[f][step] for r in rounds) for f in FLAVOURS}
            table.add('ms/GiB', f'{verb} a DIMM of {gib} GiB that hosts its memmap', values,
                      f'({values["patched"] / values["stock"]:.2f}x)')


# --- size -------------------------------------------------------------------------

TEXT = re.compile(r'\.(\w+\.)?text\b')


def text_sizes(paths):
    """{file: bytes in its sections of code}"""
    out = {}
    for i in range(0, len(paths), 500):
        done = subprocess.run(['size', '-A', *paths[i:i + 500]], stdout=subprocess.PIPE,
                              check=True, text=True)
        for line in done.stdout.splitlines():
            m = re.fullmatch(r'(.*?) +:', line)
            if m:
                out[m[1]] = 0
                last = m[1]
            elif TEXT.match(line):
                out[last] += int(line.split()[1])
    return out


def object_text(flavour):
    """{object: bytes of code} of all that is built in."""
    obj = os.path.join(BUILD, BASE, flavour, 'obj')
    paths = []
    for folder, dirs, files in os.walk(obj):
        dirs[:] = [d for d in dirs if d not in ('scripts', 'tools', 'boot', 'vdso')]
        paths += [os.path.join(folder, f) for f in files if f.endswith('.o') and
                  not f.startswith(('.', 'vmlinux.')) and not f.endswith('.mod.o')]
    return {os.path.relpath(path, obj): n for path, n in text_sizes(paths).items()}


def measure_text(table):
    note('size of the kernel')
    objects = both(object_text)
    # Not that of vmlinux itself, where padding hides what has changed.
    total = {flavour: sum(objects[flavour].values()) for flavour in FLAVOURS}
    grown = total['patched'] - total['stock']
    table.add('bytes', f'code of the kernel ({grown:+,}, {100 * grown / total["stock"]:+.2f} %)',
              total)
    for name in sorted(set(objects['stock']) | set(objects['patched'])):
        sizes = {flavour: objects[flavour].get(name, 0) for flavour in FLAVOURS}
        grown = sizes['patched'] - sizes['stock']
        if abs(grown) >= 64:
            table.add('bytes', f'code of {name} ({grown:+,})', sizes)


# --- instructions -------------------------------------------------------------------

class Meter:
    """A guest whose TSC counts instructions, with the measuring module in it."""

    def __init__(self, guest):
        self.guest = guest
        guest.sh('insmod /mnt/share/mhp_measure.ko')

    def __call__(self, command):
        """What one command measured: {key: [counts]}."""
        error = self.guest.write(f'{PARAMETERS}/cmd', command, timeout=300)
        if error:
            raise Failure(f'{self.guest.name}: {command}: {error}')
        lines = self.guest.read(f'{PARAMETERS}/result').splitlines()
        return {k: [int(n) for n in v.split()] for k, v in (x.split('=') for x in lines)}

    def blocks(self):
        """What each step of a memory block takes, several times."""
        return [self(f'block {SPARE:#x} {SECTION:#x}') for _ in range(REPEAT)]

    def repeat(self, command, combine, repeat=REPEAT):
        """Each count of a command, combined over several runs of it."""
        runs = [self(command) for _ in range(repeat)]
        return {k: [combine(r[k][i] for r in runs) for i in range(len(runs[0][k]))]
                for k in runs[0]}


def least(blocks):
    """The least of each step: what runs meanwhile, such as a timer, only adds to it."""
    return {k: min(b[k][0] for b in blocks) for k in blocks[0]}


def count_instructions(flavour):
    note(f'instructions: {flavour}')
    share = [module(BASE, flavour, 'mhp_measure')]
    out = {}
    with boot(flavour, 'count-hosted', mem='6G', maxmem=None, icount='shift=0', timeout=300,
              share=share, cmdline=f'mem=1G {HOST}=Y') as g:
        meter = Meter(g)
        blocks = meter.blocks()
        out['hosted'] = least(blocks)
        out['hosted both'] = min(b['add'][0] + b['online'][0] for b in blocks)
        g.write(f'{MEMORY}/auto_online_blocks', 'offline')
        for n in LINEAR:
            result = meter.repeat(f'extents {SPARE:#x} {n * SECTION:#x} 1', statistics.median, 3)
            out['remove', n] = int(result['remove'][0]) // n
        check_console(g)
    # How much there is to do depends on what lies where: a line is put through the counts.
    with boot(flavour, 'count-compact', mem='1G', maxmem=None, icount='shift=0', timeout=300,
              share=share) as g:
        meter = Meter(g)
        runs = [{k: v[0] for k, v in meter(f'compact {COMPACT}').items()} for _ in range(MOVES)]
        line = statistics.linear_regression([r['moving_pages'] for r in runs],
                                            [r['moving'] for r in runs])
        out['moving'] = int(line.intercept + line.slope * MOVED)
        check_console(g)
    with boot(flavour, 'count', mem='6G', maxmem=None, icount='shift=0', timeout=300,
              share=share,
              cmdline=f'mem=1G memmap={SHARED_SIZE}!{SHARED_START} movablecore=128M') as g:
        meter = Meter(g)
        # The sum of what each step takes at the least is not the least of the sums.
        blocks = meter.blocks()
        out['steps'] = least(blocks)
        out['block'] = min(sum(v[0] for v in b.values()) for b in blocks)

        for key, address, online in (('plain', PLAIN, 1), ('shared', SECTION, 1),
                                     ('device', SHARED_START, 0)):
            result = meter.repeat(f'pfn {address // PAGE}', min, 3)
            if result['online'] != [online]:
                raise Failure(f'{g.name}: pfn_to_online_page({address // PAGE:#x}): '
                              f'online={result["online"][0]}, expected {online}')
            out[key] = result['count'][0]

        # As short as these lists get: most pages then go through the buddy.
        g.write('/proc/sys/vm/percpu_pagelist_high_fraction', '1000000')
        for order, nr in ((0, 4096), (9, 32768)):
            result = meter.repeat(f'pages {order} {nr}', statistics.median)
            out.update({f'{k}{order}': v[0] / 100 for k, v in result.items()})

        # Movable: nothing that lasts gets allocated from what is to be removed.
        g.write(f'{MEMORY}/auto_online_blocks', 'online_movable')
        result = meter.repeat(f'extents {SPARE:#x} {SECTION:#x} 1', statistics.median)
        out['whole'] = {step: int(counts[0]) for step, counts in result.items()}
        if flavour == 'patched':
            size = SECTION // EXTENTS
            result = meter.repeat(f'extents {SPARE:#x} {size:#x} {EXTENTS}', statistics.median)
            out['extents'] = {step: [int(n) for n in counts] for step, counts in result.items()}
        check_console(g)
        return out


def measure_cycles(table):
    counts = both(count_instructions)
    stock, patched = (counts[f] for f in FLAVOURS)
    unit = 'instructions'

    def pick(key):
        return {f: counts[f][key] for f in FLAVOURS}

    def bounded(what, key, limit, bound):
        table.add(unit, what, pick(key), bound, patched[key] <= limit)

    for step in ('add', 'online', 'offline', 'remove'):
        table.add(unit, f'{step} a block of {SECTION // MIB} MiB',
                  {f: int(counts[f]['steps'][step]) for f in FLAVOURS})
    bounded(f'add, online, offline and remove {SECTION // MIB} MiB', 'block',
            stock['block'] * (1 + CYCLE),
            f'<= stock within {CYCLE:.0%} ({patched["block"] / stock["block"]:.3f}x)')

    for step in ('add', 'online', 'offline', 'remove'):
        table.add(unit, f'{step} a block that hosts its memmap',
                  {f: int(counts[f]['hosted'][step]) for f in FLAVOURS})
    bounded('add and online it', 'hosted both', stock['hosted both'] * (1 + NOISE),
            f'<= 1.00x stock within 1 % ({patched["hosted both"] / stock["hosted both"]:.3f}x)')
    few, many = LINEAR
    table.add(unit, f'remove {few} of them in one go, each', pick(('remove', few)))
    table.add(unit, f'remove {many} of them in one go, each', pick(('remove', many)),
              f'<= {few} of them within 5 %',
              patched['remove', many] <= patched['remove', few] * 1.05)

    bounded('pfn_to_online_page(), plain section', 'plain', stock['plain'], '<= stock')
    bounded('the same, shared with ZONE_DEVICE', 'shared', patched['plain'], '<= in a plain one')
    bounded('the same, of ZONE_DEVICE itself', 'device', patched['plain'], '<= in a plain one')

    # In a zone that has other memory, as all but the first has
    block = stock['whole']['add']
    for step, what in (('add', f'add and online {SECTION // MIB} MiB'),
                       ('remove', f'take {SECTION // MIB} MiB offline and remove them')):
        values = {f: counts[f]['whole'][step] for f in FLAVOURS}
        ratio = values['patched'] / values['stock']
        table.add(unit, what, values, f'<= 1/2 of stock ({ratio:.2f}x)', ratio <= 0.5)
    for step, what in (('add', 'add and online 2 MiB'),
                       ('remove', 'take 2 MiB offline and remove them')):
        some = patched['extents'][step]
        middle = int(statistics.median(some))
        edge = some[0] if step == 'add' else some[-1]
        table.add(unit, f'{what}, the {"first" if step == "add" else "last"} of a block',
                  {'patched': edge},
                  f'<= 1/28 of a block on stock (1/{block / edge:.0f})' if step == 'add' else '',
                  edge * 28 <= block if step == 'add' else None)
        table.add(unit, f'{what}, beside others: median of {EXTENTS}', {'patched': middle},
                  f'<= 1/48 of a block on stock (1/{block / middle:.0f})' if step == 'add' else '',
                  middle * 48 <= block if step == 'add' else None)
        # A timer tick is more than the difference between two of them.
        early, late = (statistics.median(part) for part in (some[1:9], some[-9:-1]))
        table.add(unit, f'{what}: the 56th to 63rd', {'patched': int(late)},
                  f'= the 2nd to 9th within 10 % ({late / early:.2f}x)',
                  abs(late - early) <= early / 10)

    bounded(f'compact 1 GiB and move {MOVED} pages', 'moving', stock['moving'] * (1 + NOISE),
            f'<= stock within 1 % ({patched["moving"] / stock["moving"]:.4f}x)')

    for key, what in (('pair0', 'allocate and free a page'),
                      ('alloc0', 'allocate one of 4096 pages'),
                      ('single0', 'free one of 2048 pages without a free buddy'),
                      ('merge0', 'free one of 2048 pages and merge up to MAX_ORDER')):
        # Where pages come from several lists, the state of the lists counts.
        slack = 1 if key == 'pair0' else 1 + NOISE / 2
        bounded(what, key, stock[key] * slack, '<= stock' + (' within 0.5 %' if slack > 1 else ''))
    table.add(unit, 'allocate and free order 9', pick('pair9'))
    table.add(unit, 'allocate one of 64 of order 9', pick('alloc9'))


def measure_release(table):
    """What a block takes without DEBUG_VM."""
    counts = {}
    for flavour, kernel in (('stock', 'stock-release'), ('patched', 'release')):
        note(f'instructions: {kernel}')
        with boot(kernel, 'count', mem='6G', maxmem=None, icount='shift=0', timeout=300,
                  share=[module(BASE, kernel, 'mhp_measure')], cmdline='mem=1G') as g:
            meter = Meter(g)
            counts[flavour] = least(meter.blocks())
            check_console(g)
    for first, second in (('add', 'online'), ('offline', 'remove')):
        values = {f: counts[f][first] + counts[f][second] for f in FLAVOURS}
        ratio = values['patched'] / values['stock']
        table.add('instructions', f'{first} and {second} {SECTION // MIB} MiB, without DEBUG_VM',
                  values, f'<= 1/2 of stock ({ratio:.2f}x)', ratio <= 0.5)


PARTS = {'usable': measure_usable, 'memmap': measure_memmap, 'virtio-mem': measure_virtio_mem,
         'text': measure_text, 'cycles': measure_cycles, 'large': measure_large,
         'seconds': measure_seconds, 'release': measure_release}


def main(parts):
    if any(p not in PARTS for p in parts):
        print(__doc__, file=sys.stderr)
        return 2
    table = Table()
    for name, measure in PARTS.items():
        if not parts or name in parts:
            part = Table()
            measure(part)
            docs.keep(BASE, name, rows=list(part.cells()), extra=part.extra)
            table.rows += part.rows
            table.extra += part.extra
    print('\n\n'.join(['\n' + table.text(), table.markdown(), *table.extra]))
    missed = table.missed()
    for row in missed:
        print(f'bound missed: {row.what}: {row.patched} {row.unit}, bound {row.bound}, '
              f'stock {row.stock}; log: {os.path.relpath(LOGS, TOP)}', file=sys.stderr)
    return 1 if missed else 0


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except (Failure, GuestError, QMPError, OSError, subprocess.CalledProcessError) as failure:
        sys.exit(f'measure.py: {failure}')
