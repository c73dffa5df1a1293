# SPDX-License-Identifier: GPL-2.0
"""Nothing is left behind, and nothing changes for those who add full blocks."""

import os
import re

from lib import (BLOCK, BUILD, EXTENTS, GRANULE, MEMORY, MIB, SECTION, SPARE, TWO_NODES, Failure,
                 QMPError, Watch, case, expect, expect_lines, expect_same, fail, h, snapshot,
                 used_kib)

# --- I5 -------------------------------------------------------------------------

ROUND_TRIPS = (
    ('a granule', SPARE + 6 * MIB, GRANULE),
    ('67 granules over two blocks', SPARE + 122 * MIB, 67 * GRANULE),
    ('a block', SPARE + 2 * SECTION, SECTION),
)


def rounds(g, start, size, count):
    """Add, online, offline, remove: count times, in the guest's shell."""
    first, last = start // SECTION, (start + size - 1) // SECTION
    blocks = ' '.join(str(n) for n in range(first, last + 1))
    g.sh(f'''
do_mod() {{
    echo "$*" >/sys/kernel/debug/mhp_test/cmd
    read -r ret </sys/kernel/debug/mhp_test/result
    [ "$ret" = ret=0 ] || {{ echo "$*: $ret"; exit 1; }}
}}
cd {MEMORY}
n=0
while [ $n -lt {count} ]; do
    do_mod add 0 {h(start)} {h(size)}
    for b in {blocks}; do echo online_movable >memory$b/state || exit 1; done
    for b in {blocks}; do echo offline >memory$b/state || exit 1; done
    do_mod remove {h(start)} {h(size)}
    n=$((n + 1))
done''', timeout=600)


def slabs(g):
    """{cache: (objects, objects in a slab)}, with nothing cached for later."""
    g.sh('for s in /sys/kernel/slab/*/shrink; do echo 1 >$s; done 2>/dev/null || true', timeout=120)
    return {m[1]: (int(m[2]), int(m[3])) for m in
            re.finditer(r'^(\S+)\s+(\d+)\s+\d+\s+\d+\s+(\d+)', g.read('/proc/slabinfo'), re.M)}


def leaves_nothing(t, count):
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        for what, start, size in ROUND_TRIPS:
            # The first rounds may fill caches, and split the direct map for good.
            rounds(g, start, size, 20)
            before, used, objects = snapshot(g), used_kib(g), slabs(g)
            rounds(g, start, size, count)
            expect_same(f'{count} rounds of {what}', snapshot(g), before)
            # A page for each round would be 4 KiB each; an object, one in its cache.
            grown = used_kib(g) - used
            t.note(f'{what}: {grown} KiB more used')
            if grown > count * 2:
                fail(f'{count} rounds of {what}: memory used', f'at most {count * 2} KiB more',
                     grown)
            # What is freed by RCU may wait in a CPU's batch; what has leaked stays.
            for _ in range(10):
                now = slabs(g)
                # A slab that a CPU is filling counts as full.
                more = {k: now[k][0] - n for k, (n, slab) in objects.items()
                        if k in now and now[k][0] - n >= max(count * 8 // 10, 2 * slab)}
                if not more:
                    break
                g.sh('for n in $(seq 50); do (:); done; sleep 1')
            expect(f'{count} rounds of {what}: slab caches that grew with each', more, {})


@case()
def rounds_leave_nothing(t):
    """I5: add, online, offline and remove leave the machine as it was, however often."""
    leaves_nothing(t, 150)


@case(long=True)
def many_rounds_leave_nothing(t):
    """I5: as rounds_leave_nothing, for longer."""
    leaves_nothing(t, 2000)


@case(quick=True)
def first_round_leaves_nothing(t):
    """I5: already the first add, online, offline and remove is undone to the letter."""
    with t.guest(mem='2G', cmdline='mem=1G') as g:
        for what, start, size in ROUND_TRIPS:
            before = snapshot(g)
            rounds(g, start, size, 1)
            expect_same(f'first round of {what}', snapshot(g), before)


# --- I7 -------------------------------------------------------------------------

# Only these may be new, and only with the feature on.
NEW = (r'/granularity_bytes$', r'/memory\d+/populated_bytes$', r'^granularity_bytes:',
       r'^memory\d+/populated_bytes:')


def block_aligned_run(t, flavour, cmdline):
    """Hotplug by full blocks in every way: what came of each step."""
    with t.guest(flavour=flavour, mem='2G', cmdline=f'mem=1G {cmdline}', files=False,
                 args=TWO_NODES) as g:
        w = Watch(g)
        w.step('boot')
        w.probe(SPARE)
        w.probe(SPARE)
        w.probe(SPARE + 4096)
        w.probe(SPARE - SECTION)
        for value in ('online_movable', 'online_movable', 'offline', 'offline', 'rubbish',
                      'online_kernel', 'online'):
            w.state(BLOCK, value)
        w.state(3, 'online')
        w.state(0, 'offline')
        if 'movablecore' in cmdline:
            for value in ('offline', 'online', 'offline', 'online_movable'):
                w.state(6, value)
            w.state(7, 'offline')       # has a hole
            w.state(7, 'online')

        def dimm(what, size, node):
            try:
                result = g.plug_dimm(what, size / MIB, node=node)
            except QMPError as error:
                raise Failure(f'plug {what}: {error}') from None
            w.step(f'plug {what}', result)

        def eject(what):
            w.step(f'eject {what}', g.unplug(what))

        dimm('a', 2 * SECTION, 0)
        first = g.dimm_address('a') // SECTION
        w.state(first, 'online_movable')
        w.state(first + 1, 'online_movable')
        w.state(first + 1, 'offline')
        g.auto_online('online_movable')
        dimm('b', SECTION, 1)
        eject('a')
        dimm('c', 3 * SECTION, 1)
        eject('b')
        eject('c')
        w.step('all ejected')
        return w.log


# With page_owner, sections have page_ext tables, which count as memmap; with
# DEBUG_PAGEALLOC, the direct map has small pages only. There is no such stock kernel.
DEBUG_DIFFERS = (r'^nr_memmap', r'^DirectMap')


def compare(t, what, ours, stock, ignore=()):
    """What differs from stock, of all steps."""
    if t.flavour == 'debug':
        ignore = (*ignore, *DEBUG_DIFFERS)

    def lines(text):
        return [line for line in text
                if not any(re.search(i, part) for i in ignore
                           for part in (line, line.split(': ', 1)[-1]))]

    expect(f'{what}: steps', [s for s, _ in ours], [s for s, _ in stock])
    problems = []
    for (step, seen), (_, wanted) in zip(ours, stock):
        try:
            expect_lines(f'{what}: {step}', lines(seen), lines(wanted))
        except Failure as error:
            problems.append(str(error))
    return problems


def as_on_stock(t, cmdline):
    stock = block_aligned_run(t, 'stock', cmdline)
    # The run did something, or nothing is shown by its being the same.
    lines = [line for _, out in stock for line in out]
    for pattern in (r'returned EINVAL', r'returned EEXIST', r'uevent: .*ACTION=online',
                    r'uevent: .*ACTION=offline', r'uevent: .*ACTION=remove',
                    r"Movable.*'present': [1-9]"):
        if not any(re.search(pattern, line) for line in lines):
            fail('the run on stock', f'a line with {pattern}', 'none')
    off = f'memory_hotplug.subsection=N {cmdline}'
    problems = compare(t, 'turned off', block_aligned_run(t, t.flavour, off), stock)
    problems += compare(t, 'turned on', block_aligned_run(t, t.flavour, cmdline), stock, ignore=NEW)
    if problems:
        raise Failure('\n'.join(problems))


@case()
def block_aligned_as_on_stock(t):
    """I7: hotplug by full blocks shows the same tree, uevents and counters as on stock."""
    as_on_stock(t, '')


@case()
def block_aligned_as_on_stock_self_hosted(t):
    """I7: the same, with the memmap on the memory itself."""
    as_on_stock(t, 'memory_hotplug.memmap_on_memory=Y')


@case()
def block_aligned_as_on_stock_auto_movable(t):
    """I7: the same, with zones chosen by the auto-movable policy."""
    as_on_stock(t, 'memory_hotplug.online_policy=auto-movable')


@case()
def boot_memory_as_on_stock(t):
    """I7: the same for movable boot memory, with a hole that is no multiple of anything."""
    as_on_stock(t, 'movablecore=512M memmap=1236K$0x3a155000')


def odd_run(t, flavour, cmdline):
    """What becomes of odd ranges: returns and messages."""
    out = []
    with t.guest(flavour=flavour, mem='2G', cmdline=f'mem=1G {cmdline}', files=False) as g:
        before = snapshot(g)
        for text in (f'{h(SPARE)} {h(GRANULE)}', h(SPARE + GRANULE), 'rubbish', '', '0x', '-1'):
            out.append(f'probe "{text}": {g.write(f"{MEMORY}/probe", text)}')
        for mib in (134, 256):
            out.append(f'plug {mib}: {g.plug_dimm(f"d{mib}", mib)}')
        expect_same('odd ranges', snapshot(g), before)
        out += re.findall(r'Block size \[.*', g.console())
    return out


@case(quick=True, needs='boot')
def turned_off_is_stock(t):
    """I7: with memory_hotplug.subsection=N, odd ranges are refused as on stock."""
    stock = odd_run(t, 'stock', '')
    if not any('unaligned hotplug range' in line for line in stock):
        fail('stock', 'a refusal in the console', stock)
    expect_lines('turned off', odd_run(t, t.flavour, 'memory_hotplug.subsection=N'), stock)


@case(quick=True, needs='boot')
def block_by_dimm(t):
    """I7: a DIMM of one block comes, is used, and goes, on every kernel."""
    with t.guest() as g:
        g.auto_online('online_movable')
        total, before = g.memtotal(), snapshot(g)
        block = g.block(g.device_memory())
        for n in range(3):
            g.plug('a', SECTION)
            expect('MemTotal', g.memtotal(), total + SECTION)
            with g.filled(g.amount(300), seed=n + 1, how='thp' if n % 2 else 'small') as verify:
                expect('offline', g.state(block, 'offline'), None)
                expect('MemTotal', g.memtotal(), total)
                expect('online', g.state(block, 'online_movable'), None)
                g.sh('echo 1 >/proc/sys/vm/compact_memory; cat /proc/kpageflags >/dev/null',
                     timeout=120)
                g.eject('a')
                verify()
            expect_same(f'round {n}', snapshot(g), before, ignore=('DirectMap',))


@case(quick=True, needs='granules')
def selftest_of_the_kernel(t):
    """I7: the kernel's own selftests/memory-hotplug passes, as stock has it."""
    path = os.path.join(BUILD, t.base, 'stock-src', 'tools', 'testing', 'selftests',
                        'memory-hotplug', 'mem-on-off-test.sh')
    with t.guest(mem='2G', share=[path], maxmem='4G') as g:
        g.auto_online('online_movable')
        g.plug('a', 134 * MIB)
        g.plug('b', 256 * MIB)
        # The script wants bc, and the notifier as a module, or as built in.
        g.sh('[ -e /sbin/modprobe ] || ln -s /usr/bin/kmod /sbin/modprobe')
        total = g.memtotal()
        for ratio in (2, 25, 50):
            status, out = g.run(f'bash /mnt/share/mem-on-off-test.sh -r {ratio}', timeout=300)
            t.note(out)
            expect(f'mem-on-off-test.sh -r {ratio}', status, 0)
            for word in ('-> Success', 'offline->online memory', 'notifier error injection'):
                if word not in out:
                    fail(f'mem-on-off-test.sh -r {ratio}', f'a run that says "{word}"', out)
            if 'skip' in out or 'unexpected' in out:
                fail(f'mem-on-off-test.sh -r {ratio}', 'nothing skipped', out)
            # It leaves everything online.
            expect('MemTotal', g.memtotal(), total)


def selftest_files(t):
    """The selftest that the series adds, and what it needs."""
    tests = os.path.join(BUILD, t.base, 'tree', 'tools', 'testing', 'selftests')
    return [os.path.join(tests, 'memory-hotplug', 'mem-extents-test.sh'),
            os.path.join(tests, 'kselftest', 'ktap_helpers.sh')]


def selftest(t, g, what):
    """Run it: its exit status, how many tests passed, and the names of those skipped."""
    g.sh('mkdir -p /tmp/k/kselftest /tmp/k/memory-hotplug; '
         'cp /mnt/share/ktap_helpers.sh /tmp/k/kselftest/; '
         'cp /mnt/share/mem-extents-test.sh /tmp/k/memory-hotplug/')
    status, out = g.run('bash /tmp/k/memory-hotplug/mem-extents-test.sh', timeout=300)
    t.note(f'{what}: {out}')
    planned, why = re.search(r'^1\.\.(\d+)(?: # SKIP (.*))?$', out, re.M).groups()
    tests = re.findall(r'^(ok|not ok) \d+ (.*?) *(# SKIP)?$', out, re.M)
    expect(f'{what}: tests that were planned', int(planned), len(tests))
    expect(f'{what}: failed', [name for result, name, _ in tests if result != 'ok'], [])
    skipped = [name for _, name, skip in tests if skip]
    return status, len(tests) - len(skipped), [why] if why else skipped


@case()
def selftest_of_the_series(t):
    """I2 R1 R2: the selftest that the series adds passes with odd memory, and skips nothing."""
    with t.guest(mem='2G', cmdline='mem=1G', share=selftest_files(t)) as g:
        g.mod_ok(f'add 0 {h(SPARE + 6 * MIB)} {h(150 * MIB)}')
        g.mod_ok(f'add 0 {h(SPARE + 160 * MIB)} {h(2 * MIB)}')
        expect('online', g.state(BLOCK, 'online_movable'), None)
        expect('odd memory', selftest(t, g, 'odd memory'), (0, 5, []))


@case()
def selftest_skips_by_name(t):
    """R10: the selftest passes on boot memory alone, and says what it cannot test, and why."""
    files = selftest_files(t)
    with t.guest(files=False, share=files) as g:
        expect('boot memory', selftest(t, g, 'boot memory'), (0, 5, []))
        g.sh('umount /sys/kernel/debug')
        status, passed, skipped = selftest(t, g, 'no debugfs')
        g.sh('mount -t debugfs debug /sys/kernel/debug')
        expect('without debugfs', (status, passed, len(skipped)), (0, 2, 3))
        for name in skipped:
            if not name.endswith(f': no {EXTENTS}'):
                fail('what is skipped', f'for want of {EXTENTS}', name)
    for flavour, cmdline in ((t.flavour, 'memory_hotplug.subsection=N'), ('stock', '')):
        with t.guest(files=False, share=files, flavour=flavour, cmdline=cmdline) as g:
            status, passed, skipped = selftest(t, g, flavour)
            # All of it is skipped: 4, as kselftest has it.
            expect(f'{flavour} {cmdline}', (status, passed, len(skipped)), (4, 0, 1))
            if not skipped[0].startswith(f'{MEMORY}/granularity_bytes is missing: '):
                fail('what is skipped', f'for want of {MEMORY}/granularity_bytes', skipped[0])
