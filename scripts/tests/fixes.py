# SPDX-License-Identifier: GPL-2.0
"""Bugs of stock kernels that the fixes of the series end: each is shown on the stock
kernel first, and must be gone from the other after the same steps.

What is rare by itself is made to happen by scripts/guest/mhp_trap.
"""

import contextlib
import itertools
import re
import time

from lib import (BLOCK, GIB, GRANULE, HUGE, MEMORY, MIB, PAGE, SECTION, SPARE, Device, GuestError,
                 case, expect, expect_between, expect_same, fail, h, module, snapshot, version)
from acpi import Firmware, memory, system_bus

PARAMETERS = '/sys/module/mhp_trap/parameters'
ENOMEM = -12
# Boot memory ends far below: the direct map has no page tables there yet.
FAR = 5 * GIB


def kernels(t):
    """The flavours to look at, and whether the bug must be there."""
    return ('stock', True), (t.flavour, False)


class Trap:
    """The test module of a guest: sets traps, and adds and removes memory."""

    def __init__(self, g):
        self.g = g
        g.sh('insmod /mnt/share/mhp_trap.ko')

    def run(self, command):
        """A command: None or the errno's name."""
        return self.g.write(f'{PARAMETERS}/cmd', command, timeout=120)

    def do(self, command):
        """A command that must succeed."""
        expect(command, self.run(command), None)

    def add(self, start, size=SECTION):
        return self.run(f'add 0 {h(start)} {h(size)}')

    def remove(self, start, size=SECTION):
        self.do(f'remove {h(start)} {h(size)}')

    def counts(self):
        """Calls that went into the trap, and those by the owner of the mutex."""
        return tuple(int(n) for n in re.findall(r'=(\d+)', self.g.read(f'{PARAMETERS}/result')))


@contextlib.contextmanager
def trapped(t, flavour, cmdline='', guest=None, **kwargs):
    """A guest of a flavour, and its traps."""
    with (guest or t.guest)(**{'mem': '2G', **kwargs}, flavour=flavour, files=False,
                            cmdline=f'mem=1G {cmdline}',
                            share=[module(t.base, flavour, 'mhp_trap')]) as g:
        yield g, Trap(g)


def dies(g, what, action, pattern):
    """A guest with a stock kernel must die of an action, and say of what."""
    with contextlib.suppress(GuestError):
        action()
        fail(f'{g.name}: {what}', f'an end with {pattern}', 'none')
    g.allow.append('')
    if not re.search(pattern, g.console(), re.S):
        fail(f'{g.name}: {what}', pattern, g.console()[-2000:])


def ended(g, name):
    """Whether the process has, whose number is in a file of /tmp."""
    return not g.run(f'[ ! -d /proc/$(cat /tmp/{name}) ]')[0]


def direct_map(g):
    """What the direct map is said to map, in KiB."""
    return sum(n for name, n in g.meminfo().items() if name.startswith('DirectMap'))


@case(needs='fixes')
def fixed_firmware_memmap(t):
    """An entry of /sys/firmware/memmap that sysfs refuses is not found again, freed."""
    for flavour, buggy in kernels(t):
        # What is freed is poisoned.
        with trapped(t, flavour, 'slub_debug=P') as (g, trap):
            def entries():
                return g.sh('ls /sys/firmware/memmap | wc -l')

            before, old = snapshot(g), entries()
            # It is the last object that an add gives to sysfs.
            trap.do('fail kobject_add 0 0')
            expect('add', trap.add(SPARE), None)
            last = trap.counts()[0]
            trap.remove(SPARE)
            trap.do(f'fail kobject_add {last} {ENOMEM}')
            expect('add without an entry', trap.add(SPARE), None)
            # At once, before anybody else gets what was freed
            if buggy:
                dies(g, 'the next add', lambda: trap.add(SPARE + SECTION),
                     'general protection fault.*RIP: 0010:firmware_map')
                continue
            expect('entries', entries(), old)
            expect('the next add', trap.add(SPARE + SECTION), None)
            for start in (SPARE, SPARE + SECTION):
                trap.remove(start)
            expect_same(f'{flavour}: removed', snapshot(g), before)


@case(needs='fixes')
def fixed_half_added_memory(t):
    """An add whose second section fails leaves nothing behind, and can be tried again."""
    for flavour, buggy in kernels(t):
        with trapped(t, flavour) as (g, trap):
            before, mapped = snapshot(g), direct_map(g)
            trap.do(f'fail sparse_add_section 2 {ENOMEM}')
            expect('add', trap.add(FAR, 2 * SECTION), 'ENOMEM')
            trap.do('none')
            if buggy:
                expect('KiB of direct map left', direct_map(g) - mapped, 2 * SECTION // 1024)
                expect('add again', trap.add(FAR, 2 * SECTION), 'EEXIST')
                expect('warnings', len(re.findall('WARNING: .* add_pages', g.console())), 1)
                g.allow += ['WARNING: .* add_pages', 'Call Trace:', 'cut here']
                continue
            expect_same(f'{flavour}: add failed', snapshot(g), before)
            expect('add again', trap.add(FAR, 2 * SECTION), None)
            trap.remove(FAR, 2 * SECTION)
            expect_same(f'{flavour}: removed', snapshot(g), before)


@case(needs='fixes')
def fixed_page_table_shortage(t):
    """An add that gets no page table for the direct map is ENOMEM, not an oops."""
    # Two tables are needed at least.
    start, size = FAR + GIB - SECTION, 2 * SECTION
    for flavour, buggy in kernels(t):
        with trapped(t, flavour) as (g, trap):
            before = snapshot(g)
            trap.do('fail alloc_low_pages 1 0')
            if buggy:
                dies(g, 'add', lambda: trap.add(start, size),
                     'BUG: kernel NULL pointer dereference.*RIP: 0010:phys_p')
                continue
            for n in (1, 2):
                trap.do(f'fail alloc_low_pages {n} 0')
                expect(f'add without table {n}', trap.add(start, size), 'ENOMEM')
                expect_same(f'{flavour}: add without table {n}', snapshot(g), before)
            trap.do('none')
            expect('add', trap.add(start, size), None)
            trap.remove(start, size)
            expect_same(f'{flavour}: removed', snapshot(g), before)


@case(needs='fixes')
def fixed_page_tables_left(t):
    """Memory that is removed leaves no page tables, if some pages are not present, too."""
    for flavour, buggy in kernels(t):
        with trapped(t, flavour) as (g, trap):
            def add():
                """How many page tables an add needs."""
                trap.do('fail alloc_low_pages 0 0')
                expect('add', trap.add(FAR), None)
                return trap.counts()[0]

            before, mapped = snapshot(g), direct_map(g)
            tables = add()
            expect_between('page tables', tables, 1, SECTION // PAGE)
            # In three of the tables with the smallest pages
            for n in range(3):
                trap.do(f'unmap {h(FAR + n * SECTION // 4 + 7 * PAGE)}')
            trap.remove(FAR)
            if buggy:
                expect('KiB of direct map left', direct_map(g) - mapped, 3 * PAGE // 1024)
                expect('page tables of the next add', add(), 0)
                continue
            expect_same(f'{flavour}: removed', snapshot(g), before)
            expect('page tables of the next add', add(), tables)
            trap.remove(FAR)
            expect_same(f'{flavour}: removed again', snapshot(g), before)


@case(needs='fixes')
def fixed_torn_zone_span(t):
    """Who allocates and frees pages never sees a zone with half of its new span."""
    outside = r'page 0x\w+ outside node 0 zone Movable'
    last = outside + r'.*kernel BUG at \S*mm/page_alloc.c'
    if version(t.base) >= (7, 3):
        # It dumps the page, and then, as that is in no zone, the copy that it dumps: until
        # there is no stack, maybe before the console has anything of it. But it says nothing
        # else after the zonelists, which had the memory before, and the clock.
        line = r'\[[ .\d]+\] '
        last = (rf'Policy zone: \w+\s*(?:{line}(?:tsc|clocksource):[^\n]*\s*)*'
                rf'(?:\Z|{line}(?:{outside}|page: refcount))')
    for flavour, buggy in kernels(t):
        with trapped(t, flavour, smp=2) as (g, trap):
            for n in range(2):
                expect('add', trap.add(SPARE + n * SECTION), None)
            expect('online', g.state(BLOCK + 1, 'online_movable'), None)
            g.sh("taskset 2 sh -c 'while [ ! -e /tmp/stop ]; do "
                 "head -c 48M /dev/zero >/tmp/pages; rm /tmp/pages; done' >/dev/null 2>&1 &")
            # The zone grows downwards: with its new start alone, it ends too early.
            trap.do('span 0 1500')
            online = f"taskset 1 sh -c 'echo online_movable >{MEMORY}/memory{BLOCK}/state'"
            if buggy:
                dies(g, 'online', lambda: g.sh(online, timeout=20), last)
                continue
            g.sh(online)
            expect('stores', trap.counts()[0], 2)
            g.sh('touch /tmp/stop; while [ -e /tmp/pages ]; do usleep 50000; done')


@case(needs='fixes')
def fixed_compaction_of_emptied_zone(t):
    """Compaction ends, if all memory of a zone goes offline just before it looks there."""
    for flavour, buggy in kernels(t):
        with trapped(t, flavour, smp=2) as (g, trap):
            expect('add', trap.add(SPARE), None)
            expect('online', g.state(BLOCK, 'online_movable'), None)
            zones = len(re.findall(r'^        present +[1-9]', g.read('/proc/zoneinfo'), re.M))
            trap.do('sleep compact_zone 3000')
            g.sh('(echo 1 >/proc/sys/vm/compact_memory; touch /tmp/done) >/dev/null 2>&1 &')
            # The last one is zone Movable.
            g.wait_for('the last zone', lambda: trap.counts()[0] == zones)
            expect('offline', g.state(BLOCK, 'offline'), None)
            trap.do('none')
            if buggy:
                # It goes through all numbers of pages, or dies of the first ones.
                g.allow.append('')
                time.sleep(5)
                with contextlib.suppress(GuestError):
                    expect('stock: compaction', g.run('[ -e /tmp/done ]')[0], 1)
                continue
            g.wait_for('the end of compaction', lambda: not g.run('[ -e /tmp/done ]')[0])


def online_meanwhile(t, trap_name):
    """Memory goes online, the first of its zone, while an allocation is underway: whether
    that takes a page of another zone, as on stock, or not."""
    for flavour, buggy in kernels(t):
        with trapped(t, flavour, smp=2) as (g, trap):
            expect('add', trap.add(SPARE), None)
            trap.do(trap_name)
            g.wait_for('the allocation', lambda: trap.counts()[0])
            # All entries of zonelists move by one.
            expect('online', g.state(BLOCK, 'online_movable'), None)
            trap.do('go')
            g.wait_for('the page', lambda: trap.counts()[1])
            expect(f'{flavour}: 1 for a page of its zone, 2 for another', trap.counts()[1],
                   2 if buggy else 1)


@case(needs='fixes')
def fixed_zone_of_allocation(t):
    """An allocation that has looked for its zone takes no page of a new ZONE_MOVABLE."""
    online_meanwhile(t, 'allocate')


@case(needs='fixes')
def fixed_zone_of_reclaim(t):
    """An allocation that reclaims while a zone gets its first memory keeps to its own."""
    online_meanwhile(t, 'reclaim')


@case(needs='fixes')
def fixed_report_while_isolated(t):
    """A pageblock that is isolated while its page is reported is no part of it any more."""
    for flavour, buggy in kernels(t):
        with trapped(t, flavour, smp=2) as (g, trap):
            trap.do('report')
            g.wait_for('the isolation', lambda: trap.counts()[0])
            g.wait_for('the end of it', lambda: trap.counts()[1])
            expect(f'{flavour}: 1 for a page of its own, 2 for a part of one', trap.counts(),
                   (1, 2 if buggy else 1))


@case(needs='fixes')
def fixed_valid_zones(t):
    """valid_zones of a memory block that is not linked to its node yet can be read."""
    block = f'{MEMORY}/memory{BLOCK}'
    zones = 'Normal Movable\n'
    links = 'register_memory_blocks_under_node'
    old = version(t.base) < (7, 3)      # later kernels know the node at once
    for flavour, buggy in kernels(t):
        with trapped(t, flavour, smp=2) as (g, trap):
            g.sh(f"taskset 2 sh -c 'until read zones <{block}/valid_zones; do :; done; "
                 f"[ -e {block}/node0 ] || echo $zones >/tmp/zones' >/dev/null 2>&1 &")
            # The block is in sysfs then.
            trap.do(f"slow {links if old else links + '_hotplug'} 3000")
            add = f"taskset 1 sh -c 'echo add 0 {h(SPARE)} {h(SECTION)} >{PARAMETERS}/cmd'"
            if buggy and old:
                dies(g, 'add', lambda: g.sh(add),
                     'BUG: .*RIP: 0010:zone_for_pfn_range.*valid_zones_show')
                continue
            g.sh(add)
            expect('calls', trap.counts()[0], 1)
            expect('zones read meanwhile', g.read('/tmp/zones'), zones)
            expect('zones after that', g.read(f'{block}/valid_zones'), zones)


@case(needs='fixes')
def fixed_table_without_lock(t):
    """Memory of an ACPI table that is loaded at run time is added with the hotplug lock."""
    add = '__add_memory_resource' if version(t.base) >= (7, 3) else 'add_memory_resource'
    for flavour, buggy in kernels(t):
        fw = Firmware(t)
        with trapped(t, flavour, guest=lambda **kwargs: fw.guest(t, **kwargs),
                     maxmem=None) as (g, trap):
            trap.do(f'owned {add} device_hotplug_lock')
            fw.load('mem', system_bus(memory('MHP0', 7, (SPARE, SECTION))))
            g.wait_for('the add', lambda: trap.counts()[0])
            expect(f'{flavour}: adds, and those with the lock', trap.counts(),
                   (1, 0 if buggy else 1))


@case(needs='fixes', since='7.3')
def fixed_failure_off_lru(t):
    """A page that is on no LRU list when it fails keeps the reference of madvise()."""
    for flavour, buggy in kernels(t):
        with trapped(t, flavour) as (g, trap):
            trap.do('failure')
            expect(f'{flavour}: references', trap.counts()[0], 1 if buggy else 2)


# --- memory goes while others look at it ----------------------------------------------

@case(needs='lifetime', since='7.3')
def fixed_valid_zones_of_group(t):
    """Who reads valid_zones, by the policy auto-movable, reads no memmap that is gone."""
    # A unit of a dynamic group, of which the first block is online: its page is looked at.
    zones = f'{MEMORY}/memory{BLOCK + 1}/valid_zones'
    for flavour, buggy in kernels(t):
        with trapped(t, flavour, 'memory_hotplug.online_policy=auto-movable', smp=2) as (g, trap):
            trap.do(f'group 0 {h(2 * SECTION)}')
            expect('add', trap.add(SPARE, 2 * SECTION), None)
            expect('online', g.state(BLOCK, 'online_movable'), None)
            wanted = g.read(zones)
            trap.do('late pfn_to_online_page cat')
            g.sh(f'cat {zones} >/tmp/zones & echo $! >/tmp/reader')
            g.wait_for('the reader', lambda: trap.counts()[0] or ended(g, 'reader'))
            expect('offline', g.state(BLOCK, 'offline'), None)
            trap.remove(SPARE)
            if buggy:
                dies(g, 'valid_zones', lambda: (trap.do('go'), g.sh('sleep 20')),
                     'BUG: unable to handle page fault.*RIP: 0010:zone_for_pfn_range')
                continue
            trap.do('go')
            g.wait_for('the end of the reader', lambda: ended(g, 'reader'))
            expect('zones', g.read('/tmp/zones'), wanted)


@case(needs='fixes', since='7.3')
def fixed_page_of_slab(t):
    """Memory with a page of slab is refused at once, rather than tried for ever."""
    state = f'{MEMORY}/memory{BLOCK + 1}/state'
    for flavour, buggy in kernels(t):
        with trapped(t, flavour) as (g, trap):
            expect('add', trap.add(SPARE, 2 * SECTION), None)
            # What the kernel needs meanwhile comes from the first one.
            for block in (BLOCK, BLOCK + 1):
                expect('online', g.state(block, 'online_kernel'), None)
            trap.do(f'slab {h(SPARE + SECTION + SECTION // 2)}')
            # 143: of who was stopped by a signal
            expect(f'{flavour}: status of who takes it offline',
                   g.run(f"timeout 5 sh -c 'echo offline >{state}'")[0], 143 if buggy else 1)
            expect('state', g.read(state).strip(), 'online')
            trap.do('none')
            expect('offline', g.state(BLOCK + 1, 'offline'), None)


def gone_head(t, command, looks, where):
    """Somebody reads a huge page by a tail, whose head goes meanwhile."""
    gigantic, huge = (f'{HUGE}/hugepages-{kib}kB/nr_hugepages' for kib in (1 << 20, 2048))
    for (flavour, buggy), nth in itertools.product(kernels(t), looks):
        # Firmware has its tables where memory ends, and a gigantic page none.
        with trapped(t, flavour, mem='2560M', smp=2) as (g, trap):
            g.auto_online('online_movable')
            # Each by itself: stock cannot remove a part of what is mapped by one leaf.
            for start in range(SPARE, SPARE + GIB, SECTION):
                expect('add', trap.add(start), None)
            g.sh('echo 1 >/proc/sys/vm/movable_gigantic_pages')
            expect('huge pages', g.sh(f'for f in {gigantic} {huge}; do echo 1 >$f; cat $f; done'),
                   '1\n1\n')
            # A tail in the second block, of a page whose head is in the first one.
            trap.do(f'{command} {h(SPARE + SECTION)} {nth}')
            g.wait_for(f'look {nth} at the tail', lambda: trap.counts()[0] >= nth)
            g.sh(f'echo 0 >{gigantic}')
            expect('offline', g.state(BLOCK, 'offline'), None)
            trap.remove(SPARE)
            if buggy:
                dies(g, 'the head', lambda: (trap.do('go'), g.sh('sleep 20')),
                     f'BUG: unable to handle page fault.*RIP: 0010:{where}')
                continue
            trap.do('go')
            g.wait_for('the end', lambda: trap.counts()[1])


@case(needs='lifetime', since='7.3')
def fixed_head_of_gigantic_page(t):
    """Who makes room for a contiguous range reads no head of a huge page that is gone."""
    # What the tail is of is asked to learn whether that is a huge page, and then which.
    gone_head(t, 'replace', (1, 2), 'replace_free_hugepage_folios')


@case(needs='lifetime', since='7.3')
def fixed_head_of_gigantic_page_in_range(t):
    """Who takes a contiguous range reads no head of a huge page that is gone."""
    # To isolate it, and when all pages of it are scanned: whether it is huge, and of what size.
    gone_head(t, 'contig', (2, 3, 4), '(isolate_single_pageblock|isolate_migratepages_block|'
              'isolate_or_dissolve_huge_folio)')


@case(needs='lifetime')
def fixed_virtio_mem_reference(t):
    """A reference that somebody has for a moment does not harm memory that virtio-mem took."""
    for flavour, buggy in kernels(t):
        # By blocks, it is virtio-mem that has what is not plugged of them.
        with trapped(t, flavour, 'memory_hotplug.subsection=N', smp=2,
                     args=Device.args(512 * MIB)) as (g, trap):
            vm = Device(g)
            g.auto_online('online_movable')
            vm.resize(SECTION - GRANULE)
            trap.do(f'refer virtio_mem_memory_notifier_cb {h(vm.start() + SECTION - PAGE)} 300')
            expect(f'{flavour}: offline', g.state(vm.start() // SECTION, 'offline'),
                   'EBUSY' if buggy else None)
            expect('references', trap.counts()[0], 1)
            warnings = re.findall('(WARNING: .* virtio_mem|fake-offline page referenced)',
                                  g.console())
            expect(f'{flavour}: warnings', len(warnings), 2 if buggy else 0)
            if buggy:
                g.allow.append('')


class Writer:
    """Writes to a file in a guest, in the background."""

    def __init__(self, g, name, file, text):
        self.g, self.name = g, name
        self.command = f'(echo {text} >{file}) >/tmp/{name}.out 2>&1 & echo $! >/tmp/{name}'

    def start(self):
        self.g.sh(self.command)

    def end(self):
        """Wait for it: what it had to say."""
        self.g.wait_for(f'the end of {self.name}', lambda: ended(self.g, self.name))
        return self.g.read(f'/tmp/{self.name}.out')


def poison_between(t, flavour, dies_first, dies_second):
    """A page is poisoned between the last looks at its block and when that is offline, and
    who takes it offline is begun second, or first: what it must die of in each case."""
    for first, pattern in (('poison', dies_first), ('offline', dies_second)):
        with trapped(t, flavour, smp=2) as (g, trap):
            expect('add', trap.add(SPARE), None)
            expect('online', g.state(BLOCK, 'online_movable'), None)
            trap.do('between take_page_off_buddy __offline_isolated_pages')
            page = SPARE + SECTION - PAGE
            poison = Writer(g, 'poison', f'{MEMORY}/soft_offline_page', h(page))
            offline = Writer(g, 'offline', f'{MEMORY}/memory{BLOCK}/state', 'offline')
            one, two = (poison, offline) if first == 'poison' else (offline, poison)
            one.start()
            g.wait_for(first, lambda: trap.counts()[one is offline])
            if pattern:
                dies(g, f'{first} first', lambda: (two.start(), one.end(), two.end()), pattern)
                continue
            two.start()
            poison.end()
            expect(f'{first} first: said by offline', offline.end(), '')
            expect('state', g.read(f'{MEMORY}/memory{BLOCK}/state'), 'offline\n')


@case(needs='lifetime')
def fixed_poison_of_free_page(t):
    """A free page that is poisoned while its block goes offline is never neither of both."""
    # From 7.3 on, both take a lock. Without it, stock keeps who is about to poison a page
    # from one that goes offline, but not who is at it; what has gone, each stock reads.
    poison_between(t, 'stock', version(t.base) < (7, 3) and r'kernel BUG at \S*mm/page_alloc.c',
                   'BUG: unable to handle page fault|general protection fault')
    poison_between(t, t.flavour, None, None)
