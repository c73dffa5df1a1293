# SPDX-License-Identifier: GPL-2.0
"""Memory with a page that does not move: each operation on it ends, says so, and
lets go of its locks."""

import contextlib
import re

from lib import (BLOCK, DAX_SIZE, GRANULE, HWPOISON, MEMORY, MIB, MOD, PAGE, PATIENCE, SECTION,
                 SPARE, World, case, dax_guest, expect, expect_between, expect_same, fail,
                 full_blocks, going_offline, h, make_dax, offline_full, others_go_on, pin, seconds,
                 snapshot, to_system_ram, unbind)

LARGEST = 4 * MIB               # the largest page of the page allocator
KPF_BUDDY = 1 << 10             # a free page, in /proc/kpageflags
PM_SWAP = 1 << 62               # not present, in /proc/PID/pagemap


# --- a page at an edge ----------------------------------------------------------

@case(quick=True, needs='granules')
def page_at_edge_holds_one_dimm(t):
    """I1 I11: the largest pages, kept where two DIMMs meet, hold one DIMM and not both."""
    sizes = {'one': 134 * MIB, 'two': 256 * MIB}
    with t.guest(mem='3G', maxmem='8G') as g:
        w = World(g)
        g.auto_online('online_kernel')
        for kept, other in (('one', 'two'), ('two', 'one')):
            rams = {}
            for name, size in sizes.items():
                g.plug(name, size)
                rams[name] = (g.dimm_address(name), size, 0, 'Normal')
            edge = rams['two'][0]
            expect('end of the first DIMM', rams['one'][0] + sizes['one'], edge)
            expect('the edge within a largest page', edge % LARGEST, GRANULE)
            w.check(rams.values(), 'plugged')
            # All that is free is taken for a moment; what is kept is next to the edge.
            side = edge - GRANULE if kept == 'one' else edge
            expect(f'pages kept of {kept}', g.mod_ok(f'hoard 0 {h(side)} {h(GRANULE)}'),
                   [f'page={h(side)} order=9'])
            with seconds(g, f'eject of {kept}', 0, 15):
                g.eject(kept, gone=False)
            w.check(rams.values(), f'{kept} refused')
            with seconds(g, f'eject of {other}', 0, 30):
                g.eject(other)
            w.check([rams[kept]], f'{other} ejected')
            g.mod_ok('unhoard')
            g.eject(kept)
            w.check([], 'both ejected')


# --- a page that is in use and does not move ----------------------------------------

@case(needs='debug')
def eject_of_pinned_dimm(t):
    """I11: a page that does not move keeps a DIMM, and neither its locks nor its neighbour."""
    with t.guest(mem='2G', debugfs=True) as g:
        w = World(g)
        g.auto_online('online_movable')
        g.plug('one', 134 * MIB)
        g.plug('two', 256 * MIB)
        one, two = g.dimm_address('one'), g.dimm_address('two')
        rams = [(one, 134 * MIB, 0, 'Movable'), (two, 256 * MIB, 0, 'Movable')]
        with g.filled(370 * MIB) as verify:
            # In the block that both DIMMs share, each time
            pin(g, one + SECTION, 6 * MIB)
            # The kernel tries it twice. To user space, the block is online all the time.
            g.sh(f'cd {MEMORY}/memory{g.block(one + SECTION)}; (while [ ! -e /tmp/stop ]; do '
                 'cat state >>/tmp/states; usleep 20000; done) >/dev/null 2>&1 & true')
            with seconds(g, 'eject of the first', PATIENCE, 2 * PATIENCE + 20):
                g.eject('one', gone=False)
            expect('states of the shared block', g.sh('echo >/tmp/stop; sort -u /tmp/states'),
                   'online\n')
            w.check(rams, 'the first refused')
            others_go_on(g)
            g.mod_ok('unpin')
            pin(g, two, SECTION - 6 * MIB)
            g.eject('one')
            w.check(rams[1:], 'the first ejected')
            with seconds(g, 'eject of the second', PATIENCE, 2 * PATIENCE + 20):
                g.eject('two', gone=False)
            w.check(rams[1:], 'the second refused')
            others_go_on(g)
            verify()
            g.mod_ok('unpin')
            g.eject('two')
            w.check([], 'both ejected')
            verify()


@contextlib.contextmanager
def memory_is_used(g):
    """Somebody takes pages as soon as there are any, and gives them back."""
    g.sh('( while [ ! -e /tmp/stop ]; do dd if=/dev/zero of=/tmp/f bs=64k count=128; done ) '
         '>/dev/null 2>&1 &')
    yield
    g.sh('touch /tmp/stop')


@case(needs='debug')
def plug_of_vetoed_dimm(t):
    """I11: a plug ends, in a kernel thread, if a part is refused and another does not move."""
    with t.guest(mem='2G', debugfs=True) as g:
        w = World(g)
        g.auto_online('online_movable')
        one = g.device_memory()
        rams = [(one, SECTION, 0, 'Movable'), (one + SECTION, 6 * MIB, 0, None)]
        with memory_is_used(g):
            # A page of the first block is pinned before the second is refused.
            g.mod_ok(f'veto {h(one + SECTION)} 12 {h(one)} {h(SECTION)}')
            with seconds(g, 'plug', 0, PATIENCE + 5):
                g.plug('one', SECTION + 6 * MIB, addr=one)
            w.check(rams, 'half of it online')
            others_go_on(g)
            g.mod_ok('veto 0 0')
            with seconds(g, 'eject', PATIENCE, 2 * PATIENCE + 20):
                g.eject('one', gone=False)
            w.check(rams, 'refused')
            g.mod_ok('unpin')
        g.eject('one')
        w.check([], 'ejected')


@case(needs='debug')
def eject_of_pinned_full_block(t):
    """I11: a page that does not move keeps a DIMM of full blocks, and the eject ends, too."""
    with t.guest(mem='2G', debugfs=True) as g:
        w = World(g)
        g.auto_online('online_movable')
        g.plug('one', 2 * SECTION)
        ram = (g.dimm_address('one'), 2 * SECTION, 0, 'Movable')
        with g.filled(230 * MIB) as verify:
            pin(g, ram[0] + SECTION, SECTION)
            with seconds(g, 'eject', PATIENCE, 2 * PATIENCE + 20):
                g.eject('one', gone=False)
            w.check([ram], 'refused')
            others_go_on(g)
            verify()
            g.mod_ok('unpin')
            g.eject('one')
            w.check([], 'ejected')
            verify()


@case(needs='debug')
def unbind_of_pinned_kmem(t):
    """I11 R6: unbinding kmem ends though a page does not move; the memory stays, in use."""
    start = SPARE + 32 * MIB
    with dax_guest(t, '1G', start, debugfs=True) as g:
        dax = make_dax(g, start)
        w = World(g)
        to_system_ram(g)
        ram = (dax, DAX_SIZE, 0, 'Movable')
        w.check([ram], 'system-ram', spans=False)
        full = full_blocks(dax)
        shared = full.stop * SECTION, dax + DAX_SIZE - full.stop * SECTION
        with g.filled(390 * MIB) as verify:
            # In the block that the device ends in and does not fill
            pin(g, *shared)
            # What does move goes first, and comes back in the end.
            with seconds(g, 'unbind', PATIENCE, PATIENCE + 35):
                unbind(g, dax)
            w.check([(dax, full.start * SECTION - dax, 0, 'Movable'),
                     (full.start * SECTION, len(full) * SECTION, 0, None),
                     (*shared, 0, 'Movable')], 'left behind', spans=False)
            others_go_on(g, SPARE)
            verify()
        g.mod_ok('unpin')
        # No driver owns it any more.
        g.mod_ok(f'offremove {h(dax)} {h(DAX_SIZE)}')
        w.check([], 'removed', spans=False)


def unbind_vetoed(t, offset, until, low):
    """Unbind kmem, of which the page at an offset may not go offline until a command ends."""
    start = SPARE + 32 * MIB
    with dax_guest(t, '1G', start) as g:
        dax = make_dax(g, start)
        w = World(g)
        to_system_ram(g)
        offline_full(g, dax)
        g.mod_ok(f'veto {h(dax + offset)} 16')
        last = f'{MEMORY}/memory{(dax + DAX_SIZE) // SECTION}'
        g.sh(f"({until.format(last=last)}; echo 'veto 0 0' >{MOD}/cmd) >/dev/null 2>&1 &")
        with seconds(g, 'unbind', low, PATIENCE):
            unbind(g)
        w.check([], 'unbound', spans=False)


@case()
def unbind_tries_again(t):
    """I4 R6: unbinding kmem waits for what is in the way for a moment only."""
    # As if somebody had isolated the end of the device for a second
    unbind_vetoed(t, DAX_SIZE - PAGE, 'sleep 1', 0.5)


@case()
def unbind_in_any_order(t):
    """I4 R6: what keeps one part of a device until another is offline does not keep the device."""
    # The part that is tried first is let go when the last one is offline.
    unbind_vetoed(t, 0, 'until grep -q offline {last}/state; do usleep 20000; done', 0)


RANGE = (SPARE + 64 * MIB, 70 * MIB)           # the end of a block and the begin of the next
BESIDE = (SPARE, 64 * MIB)


@case(first=True, needs='debug')
def range_with_pinned_page(t):
    """I6 I11: by range, a page that does not move is EBUSY in time; signals change nothing."""
    with t.guest(mem='2G', cmdline='mem=1G', debugfs=True) as g:
        w = World(g)
        g.auto_online('online_movable')
        rams = [(*r, 0, 'Movable') for r in (BESIDE, RANGE)]
        for start, size in (BESIDE, RANGE):
            g.mod_ok(f'add 0 {h(start)} {h(size)}')
        with g.filled(120 * MIB) as verify:
            pin(g, SPARE + SECTION, 6 * MIB)
            before = snapshot(g)
            command = f'offremove {h(RANGE[0])} {h(RANGE[1])}'
            with seconds(g, command, PATIENCE, PATIENCE + 5):
                expect(command, g.mod(command)[0], 'EBUSY')
            expect_same('refused', snapshot(g), before)
            w.check(rams, 'refused')
            for number in ('TERM', 'KILL'):
                with seconds(g, f'{command} and SIG{number}', PATIENCE, PATIENCE + 5):
                    g.run(f"timeout -s {number} 3 sh -c 'echo {command} >{MOD}/cmd'")
                expect('its result', g.read(f'{MOD}/result').split()[0], 'ret=-16')
                expect_same(f'SIG{number}', snapshot(g), before)
            others_go_on(g, SPARE + 2 * SECTION)
            g.mod_ok('unpin')
            g.mod_ok(command)
            w.check(rams[:1], 'removed')
            verify()


def offline_until(g, block, after):
    """Write offline to a block's state, and send a signal after some seconds."""
    return g.run(f"timeout -s USR1 {after} bash -c 'trap : USR1; "
                 f"printf offline >{MEMORY}/memory{block}/state'", timeout=after + 20)[1]


@case(needs='debug')
def signal_ends_offline(t):
    """I7 I11: who writes a state file may wait for ever; a signal ends it, and all is as before."""
    with t.guest(mem='2G', cmdline='mem=1G', debugfs=True) as g:
        w = World(g)
        g.auto_online('online_movable')
        # A block that three extents share, and one that is full
        ranges = [(SPARE, 32 * MIB), (SPARE + 32 * MIB, 32 * MIB), (SPARE + 96 * MIB, 32 * MIB),
                  (SPARE + SECTION, SECTION)]
        for start, size in ranges:
            g.mod_ok(f'add 0 {h(start)} {h(size)}')
        rams = [(*r, 0, 'Movable') for r in ranges]
        with g.filled(200 * MIB) as verify:
            for start, size in ranges[1:2] + ranges[3:]:
                pin(g, start, size)
                before = snapshot(g)
                # By itself it would have ended before.
                after = PATIENCE + 5
                with seconds(g, 'offline', after - 1, after + 10):
                    out = offline_until(g, start // SECTION, after)
                if 'Interrupted system call' not in out:
                    fail('offline, and a signal', 'Interrupted system call', out)
                expect_same('after the signal', snapshot(g), before)
                w.check(rams, 'after the signal')
                others_go_on(g, SPARE + 2 * SECTION)
                g.mod_ok('unpin')
                expect('offline', g.state(start // SECTION, 'offline'), None)
                expect('online', g.state(start // SECTION, 'online_movable'), None)
                w.check(rams, 'offline and online')
            verify()


def free_page(g, start, size):
    """The last page of the range that is free."""
    for at in range(start + size - GRANULE, start - 1, -GRANULE):
        flags = g.sh(f'dd if=/proc/kpageflags bs=8 skip={at // 4096} count=512 2>/dev/null | '
                     'od -An -v -t x8 -w8').split()
        free = [n for n, word in enumerate(flags) if int(word, 16) & KPF_BUDDY]
        if free:
            return at + free[-1] * 4096
    return fail('free pages', 'some', 'none')


def poison(g, what, file):
    """Write to a file that poisons a page; it may wait."""
    g.sh(f'echo {h(what)} >{file} 2>/dev/null & echo $! >/tmp/poison; sleep 1')


def poisoned(g):
    with seconds(g, 'poisoning', 0, 20):
        g.sh('while [ -d /proc/$(cat /tmp/poison) ]; do usleep 50000; done', timeout=60)


def failing_page(t, how):
    """A failure that waits for the lock of such a page, while another block goes offline."""
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        w = World(g)
        g.auto_online('online_movable')
        blocks = [SPARE + n * SECTION for n in range(2)]
        for block in blocks:
            g.mod_ok(f'add 0 {h(block)} {h(SECTION)}')
        if how == '2m':
            g.sh('echo 2 >/proc/sys/vm/nr_hugepages')
        with g.filled(4 * MIB, how=how) as verify:
            where = verify.where()[0]
            expect_between('what is filled', where, SPARE, SPARE + 2 * SECTION - 1)
            page = int(g.mod_values(f'lock {h(where)} {h(PAGE)}')['page'], 0)
            expect('the page that is locked', page, where)
            poison(g, page // 4096, f'{HWPOISON}/corrupt-pfn')
            other = blocks[page < blocks[1]]
            with seconds(g, 'offline of the other block', 0, PATIENCE):
                expect('offline', g.state(other // SECTION, 'offline'), None)
            g.mod_ok('unpin')
            poisoned(g)
        if how == '2m':
            # The page of hugetlb may still be of the pool, poisoned.
            g.mod_ok(f'offremove {h(other)} {h(SECTION)}')
            return
        for block in blocks:
            g.mod_ok(f'offremove {h(block)} {h(SECTION)}')
        w.check([], 'all gone')


@case(needs='debug')
def eject_keeps_poisoned(t):
    """R3: poisoned memory of a shared block stays online if the rest of its DIMM does."""
    with t.guest(mem='2G', debugfs=True) as g:
        w = World(g)
        g.auto_online('online_movable')
        g.plug('one', SECTION + 6 * MIB)
        one = g.dimm_address('one')
        ram = (one, SECTION + 6 * MIB, 0, 'Movable')
        with g.filled(110 * MIB) as verify:
            pin(g, one, SECTION)
            poison(g, free_page(g, one + SECTION, 6 * MIB) // 4096, f'{HWPOISON}/corrupt-pfn')
            poisoned(g)
            g.eject('one', gone=False)
            w.check([ram], 'refused')
            verify()
            g.mod_ok('unpin')
        g.eject('one')
        w.check([], 'ejected')


@case(needs='granules')
def eject_keeps_what_came_later(t):
    """I4: an eject is refused for memory that is online and that no physical node stands for."""
    with t.guest(mem='2G') as g:
        w = World(g)
        g.auto_online('online_movable')
        g.plug('one', 2 * SECTION)
        one = g.dimm_address('one')
        later = (one + SECTION, SECTION)
        g.mod_ok(f'offremove {h(later[0])} {h(later[1])}')
        g.mod_ok(f'add 0 {h(later[0])} {h(later[1])}')
        rams = [(one, SECTION, 0, 'Movable'), (*later, 0, 'Movable')]
        w.check(rams, 'another block in its place')
        g.eject('one', gone=False)
        w.check(rams, 'refused')
        expect('offline', g.state(g.block(later[0]), 'offline'), None)
        g.eject('one')
        w.check([], 'ejected')


@case()
def failure_holds_no_other_memory(t):
    """I4 I11: a failure that waits for a lock holds no memory that it is not about."""
    for how in ('small', '2m'):
        failing_page(t, how)


@case()
def poison_while_going_offline(t):
    """I11: pages that are poisoned while their block goes offline do not hold each other up."""
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        w = World(g)
        g.auto_online('online_movable')
        for n in range(3):
            block = (SPARE + (n + 1) * SECTION, SECTION)
            g.mod_ok(f'add 0 {h(block[0])} {h(block[1])}')
            with g.filled(20 * MIB) as verify, g.filled(4 * MIB) as victim:
                held, virt = victim.where()
                with going_offline(g, block, held):
                    # Each waits for locks that whoever takes memory offline has.
                    if n == 0:
                        poison(g, free_page(g, *block), f'{MEMORY}/soft_offline_page')
                    elif n == 1:
                        poison(g, free_page(g, *block) // 4096, f'{HWPOISON}/corrupt-pfn')
                    else:
                        # And somebody waits for it who has a page.
                        page = free_page(g, 256 * MIB, 256 * MIB)
                        poison(g, page, f'{MEMORY}/soft_offline_page')
                        victim.poison(wait=False)
                        g.sh('sleep 1')
                poisoned(g)
                verify()
                if n == 2:
                    victim.poison(wait=True)
                g.mod_ok(f'offremove {h(block[0])} {h(block[1])}')
                # What is left of a poisoned page is what page tables say.
                g.sh(f'cd /proc/{victim.pid}; cat smaps smaps_rollup >/dev/null')
                entry = int(g.sh(f'dd if=/proc/{victim.pid}/pagemap bs=8 count=1 '
                                 f'skip={virt // 4096} 2>/dev/null | od -An -v -t x8'), 16)
                expect('entry of a poisoned page', bool(entry & PM_SWAP), n == 2)
        g.sh(f'echo {h(page // 4096)} >{HWPOISON}/unpoison-pfn')
        w.check([], 'all gone')


@case(needs='debug')
def online_undone_with_pinned_page(t):
    """I11: undoing an online of which a part is in use ends, and leaves that part alone online."""
    a, b, c = [(SPARE + n * 32 * MIB, 32 * MIB) for n in range(3)]
    with t.guest(mem='2G', cmdline='mem=1G', debugfs=True) as g:
        w = World(g)
        for start, size in (a, b, c):
            g.mod_ok(f'add 0 {h(start)} {h(size)}')
        with memory_is_used(g):
            # One of its pages is pinned before the notifier refuses the last extent.
            g.mod_ok(f'veto {h(c[0])} 12 {h(a[0])} {h(a[1])}')
            with seconds(g, 'online', PATIENCE, PATIENCE + 15):
                expect('online', g.state(BLOCK, 'online_movable'), 'ENOMEM')
            w.check([(*a, 0, 'Movable'), (*b, 0, None), (*c, 0, None)], 'undone, but for one')
            if not re.search(rf'memory \[0x0*{a[0]:x}-.* stays online', g.console()):
                fail('the log', 'that an extent stays online', g.console()[-500:])
            others_go_on(g, SPARE + 2 * SECTION)
            g.mod_ok('veto 0 0')
            g.mod_ok('unpin')
            expect('offline', g.state(BLOCK, 'offline'), None)
            w.check([(*r, 0, None) for r in (a, b, c)], 'offline')
            expect('online', g.state(BLOCK, 'online_movable'), None)
        for start, size in (a, b, c):
            g.mod_ok(f'offremove {h(start)} {h(size)}')
        w.check([], 'removed')
