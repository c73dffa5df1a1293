# SPDX-License-Identifier: GPL-2.0
"""Unbinding kmem: full memory blocks are up to user space, as on stock; what shares a
memory block goes offline in bounded time, or all stays as it was."""

import contextlib
import re

from lib import (BUILTIN_INDEX, DAX_SIZE, HWPOISON, MIB, PATIENCE, SECTION, SPARE, TWO_NODES,
                 Failure, Watch, World, bind_kmem, builtin_index, case, expect, expect_between,
                 expect_same, fail, h, helper, log_of, offline_full, others_go_on, poison_is,
                 range_of, seconds, snapshot, unbind, version)
from stock import NEW, compare

KMEM = '/sys/bus/dax/drivers/kmem'
FULL = (SPARE + SECTION, 7 * SECTION)           # a device of full blocks
SHARED = (SPARE + 34 * MIB, DAX_SIZE)           # one that shares blocks at both ends
HEAD = (SHARED[0], SPARE + SECTION - SHARED[0])
MIDDLE = (SPARE + SECTION, 2 * SECTION)
TAIL = (SPARE + 3 * SECTION, sum(SHARED) - SPARE - 3 * SECTION)
BESIDE = ((SPARE, 32 * MIB), (sum(SHARED), 32 * MIB))


@contextlib.contextmanager
def device_guest(t, device, flavour=None, **kwargs):
    """A guest with one of these devices, on a node of its own."""
    # The region, and where its memmap is: 16 MiB in front of a device of that size
    size, where = {FULL: (912, 'dev'), SHARED: (416, 'mem')}[device]
    start, end = device[0], sum(device)
    share = [builtin_index(t.base, flavour or t.flavour), helper('ringpin'), helper('sigwrite')]
    args = [arg.replace('m1,size=1G', 'm1,size=1536M') for arg in TWO_NODES]
    with t.guest(mem='2560M', args=args, flavour=flavour, share=share,
                 cmdline=f'mem=1G memmap={size}M!{h(end - size * MIB)}', **kwargs) as g:
        g.sh(BUILTIN_INDEX)
        g.sh(f'ndctl create-namespace -f -e namespace0.0 -m devdax -M {where} -a 2M', timeout=120)
        line = re.search(r'(\w+)-(\w+) : dax0\.0', g.read('/proc/iomem'))
        expect('the dax device', [int(line[1], 16), int(line[2], 16) + 1], [start, end])
        yield g


def bind_again(g):
    """Bind kmem after it was unbound, and the memory was removed."""
    expect('bind', g.write(f'{KMEM}/bind', 'dax0.0', timeout=120), None)


def stuck(base):
    """What the driver says of memory that it leaves."""
    return 'stuck online until reboot' if version(base) >= (7, 3) else 'cannot be hotremoved'


def by_process(g):
    return g.write(f'{KMEM}/unbind', 'dax0.0', timeout=120)


def by_thread(g):
    """By a kernel thread: no signal can come."""
    return g.mod(f'kwrite {KMEM}/unbind dax0.0')[0]


def under_signals(g):
    """By a process that gets signals all the time."""
    return g.run(f'/mnt/share/sigwrite 100 {KMEM}/unbind dax0.0', timeout=120)[0] or None


def killed(g):
    """By a process that is killed meanwhile."""
    g.run(f"timeout -s KILL 3 sh -c 'echo dax0.0 >{KMEM}/unbind'", timeout=120)


@contextlib.contextmanager
def ring(g, start, size):
    """An io_uring has buffers in the range; they stay where they are."""
    # Not to die of its shell's timeout
    g.sh(f'setsid /mnt/share/ringpin 1 {h(start)} {h(size)} >/tmp/ring 2>&1 & echo $! >/tmp/pid')
    said = g.wait_for('buffers of a ring', lambda: g.read('/tmp/ring').strip(), 60)
    expect_between('a buffer', int(re.fullmatch('pinned (.*)', said)[1], 0), start,
                   start + size - 1)
    yield
    g.sh('kill $(cat /tmp/pid); while [ -d /proc/$(cat /tmp/pid) ]; do usleep 20000; done')
    expect('the buffers', g.read('/tmp/ring').splitlines()[1:], ['unchanged'])


# --- full memory blocks -------------------------------------------------------------

class FullRun(Watch):
    """What becomes of a device of full blocks, step by step, with the log."""

    def __init__(self, g, how=by_process):
        super().__init__(g)
        self.how = how
        self.blocks = [FULL[0] // SECTION + n for n in range(FULL[1] // SECTION)]

    def act(self, what, action):
        result, lines = log_of(self.g, action)
        self.step(what, result)
        self.log[-1][1].extend(f'log: {line}' for line in lines)
        self.log[-1][1].append(self.g.sh('readlink /sys/bus/dax/devices/dax0.0/driver || echo '
                                         'no driver').strip())

    def states(self, *values):
        """Write to the state of the blocks, in that order."""
        for n, value in values:
            self.state(self.blocks[n], value)

    def unbind(self, what):
        with seconds(self.g, what, 0, 8):
            self.act(what, lambda: self.how(self.g))


def full_run_with_ring(t, flavour, how):
    with device_guest(t, FULL, flavour, smp=2) as g:
        run = FullRun(g, how)
        bind_kmem(g)
        run.states(*((n, 'online_movable') for n in range(3)), *((n, 'offline') for n in range(3)))
        run.unbind('unbind of what is offline')
        bind_again(g)
        # Threads of the node come with its first memory, and take some of it.
        run.states((1, 'online_kernel'), (2, 'online_kernel'))
        last = (FULL[0] + 2 * SECTION, SECTION)
        with ring(g, *last):
            run.unbind('unbind of what is online and pinned')
            with g.filled(g.amount(100), prefix='numactl -m 1') as verify:
                expect_between('memory in use', verify.where()[0], FULL[0], sum(FULL) - 1)
                verify()
        run.states((2, 'offline'), (0, 'online_kernel'), (0, 'offline'))
        run.act('bind again', lambda: g.write(f'{KMEM}/bind', 'dax0.0'))
        return run.log


def full_as_on_stock(t, run, *args):
    """Compare runs with that of the stock kernel; args: (for stock, for ours)."""
    stock = run(t, 'stock', *args[:1])
    lines = [line for _, out in stock for line in out]
    for pattern in ('log: removing memory fails, .* is onlined', stuck(t.base)):
        if not any(re.search(pattern, line) for line in lines):
            fail('the run on stock', f'a line with {pattern}', '\n'.join(lines))
    problems = compare(t, run.__name__, run(t, t.flavour, *args[1:]), stock, ignore=NEW)
    if problems:
        raise Failure('\n'.join(problems))


@case()
def unbind_full_with_ring(t):
    """I7 R6: unbinding kmem leaves full blocks alone, pinned by an io_uring or not, as on stock."""
    full_as_on_stock(t, full_run_with_ring, by_process, by_process)


# A debug kernel shows no more of this, and takes minutes.
@case(flavours=('patched',))
def unbind_full_under_signals(t):
    """I7 R6: unbinding kmem with signals pending leaves full blocks alone, as on stock."""
    full_as_on_stock(t, full_run_with_ring, under_signals, under_signals)


@case(flavours=('patched',))
def unbind_full_by_thread(t):
    """I7 R6: a kernel thread that unbinds kmem does to full blocks what a process does on stock."""
    full_as_on_stock(t, full_run_with_ring, by_process, by_thread)


def poison(g, start):
    g.sh(f'echo {h(start // 4096 + 5)} >{HWPOISON}/corrupt-pfn')


def full_run_poisoned(t, flavour):
    with device_guest(t, FULL, flavour) as g:
        run = FullRun(g)
        # With nothing else online it goes, and then it stays with another block.
        for bind, others in ((bind_kmem, (0, 2)), (bind_again, (0,))):
            bind(g)
            run.states(*((n, 'online_movable') for n in range(3)))
            run.act('poison', lambda: poison(g, FULL[0] + SECTION))
            run.states((1, 'offline'), (1, 'online_movable'), *((n, 'offline') for n in others))
            run.unbind('unbind')
            run.act('poisoned KiB', lambda: g.meminfo()['HardwareCorrupted'])
        run.states((1, 'online_movable'), (2, 'offline'), (0, 'online_movable'))
        return run.log


@case()
def unbind_full_poisoned(t):
    """I7 R6: unbinding kmem with a poisoned block, offline, does what it does on stock."""
    full_as_on_stock(t, full_run_poisoned)


# --- what shares memory blocks ------------------------------------------------------

class SharedRun:
    """A guest with a device that shares blocks at both ends with online memory."""

    def __init__(self, g, policy, zone):
        self.g, self.policy, self.zone = g, policy, zone
        self.w = World(g)
        g.auto_online(policy)
        for start, size in BESIDE:
            g.mod_ok(f'add 1 {h(start)} {h(size)}')
        bind_kmem(g)
        g.auto_online('offline')
        self.check('bound')

    def check(self, what, full=True, device=True):
        """full: whether the full blocks are online, device: whether it is there."""
        rams = [(*r, 1, self.zone) for r in BESIDE]
        if device:
            rams += [(*HEAD, 1, self.zone), (*MIDDLE, 1, self.zone if full else None),
                     (*TAIL, 1, self.zone)]
        self.w.check(rams, what, spans=False, devices=None)

    def again(self):
        self.check('removed', device=False)
        self.g.auto_online(self.policy)
        bind_again(self.g)
        self.g.auto_online('offline')
        self.check('bound again')

    def offline_full(self):
        offline_full(self.g, SHARED[0])

    def usable(self, start, size):
        got = self.g.mod_values(f'churn 1 {h(DAX_SIZE)} 0 {h(start)} {h(size)}', timeout=300)
        expect('bad pages', int(got['bad']), 0)
        expect_between('pages of the range', int(got['inside']), 1000, size // 4096)


def failed(g, lines):
    """The log tells that the tail is in the way, and why."""
    lines = [line for line in lines if re.search('memory|kmem', line)]
    for what in (f'{range_of(*TAIL)}.*-16', stuck(g.test.base)):
        if not any(re.search(what, line) for line in lines):
            fail('the log', what, '\n'.join(lines))


def fails_with_ring(run, how):
    """Unbinding fails, and says so, for buffers in the tail; all stays online."""
    g = run.g
    run.offline_full()
    before = snapshot(g)
    with ring(g, *TAIL):
        with seconds(g, 'unbind', PATIENCE, PATIENCE + 10):
            _, lines = log_of(g, lambda: how(g))
        run.check('left behind', full=False)
        expect_same('left behind', snapshot(g), before)
        run.usable(*TAIL)
        run.usable(*HEAD)
        others_go_on(g, SPARE + 6 * SECTION)
    failed(g, lines)
    # The ring is closed. No driver owns it any more.
    g.mod_ok(f'offremove {h(SHARED[0])} {h(SHARED[1])}')
    run.check('removed', device=False)


@case()
def unbind_shared_with_ring(t):
    """I6 I11 R6: unbinding ends though an io_uring pins a shared part, and all stays online."""
    with device_guest(t, SHARED, debugfs=True) as g:
        fails_with_ring(SharedRun(g, 'online_kernel', 'Normal'), by_process)


@case()
def unbind_shared_by_thread(t):
    """I6 I11 R6: the same by a kernel thread, which gets no signals."""
    with device_guest(t, SHARED, debugfs=True) as g:
        fails_with_ring(SharedRun(g, 'online_kernel', 'Normal'), by_thread)


@case()
def unbind_shared_under_signals(t):
    """I6 I11 R6: signals neither end unbinding, nor keep what is undone from being undone."""
    with device_guest(t, SHARED, debugfs=True) as g:
        run = SharedRun(g, 'online_kernel', 'Normal')
        run.offline_full()
        with ring(g, *TAIL):
            g.sh(f'(/mnt/share/sigwrite 1000000 {KMEM}/unbind dax0.0; echo $? >/tmp/status) '
                 '>/dev/null 2>&1 & sleep 5')
            expect('unbind has ended', g.run('[ -e /tmp/status ]')[0], 1)
        with seconds(g, 'unbind of what is pinned no more', 0, PATIENCE):
            g.sh('until [ -s /tmp/status ]; do usleep 50000; done')
        expect('unbind', g.read('/tmp/status'), '0\n')
        run.again()
        fails_with_ring(run, killed)
        # What memory notifiers allocate, such a signal could deny them.
        expect('memory that went online with a signal pending', g.mod_values('signals')['online'],
               '0')


@case()
def unbind_shared_by_frozen(t):
    """I6 R6: who is to be frozen while unbinding fails is frozen when that is undone."""
    with device_guest(t, SHARED) as g:
        run = SharedRun(g, 'online_kernel', 'Normal')
        run.offline_full()
        g.sh('mkdir /tmp/freezer; mount -t cgroup -o freezer none /tmp/freezer; '
             'mkdir /tmp/freezer/a')
        before = snapshot(g)
        with ring(g, *TAIL):
            # What comes after the write makes no system call, and so needs a signal.
            g.sh(f"(sh -c 'echo $$ >/tmp/freezer/a/cgroup.procs; printf dax0.0 >{KMEM}/unbind; "
                 "while :; do :; done' >/dev/null 2>&1 &) ; sleep 3; "
                 'echo FROZEN >/tmp/freezer/a/freezer.state')
            expect('state, while unbinding', g.read('/tmp/freezer/a/freezer.state'), 'FREEZING\n')
            with seconds(g, 'unbind', 1, PATIENCE + 10):
                g.sh('until grep -q FROZEN /tmp/freezer/a/freezer.state; do usleep 50000; done',
                     timeout=60)
            expect_same('left behind', snapshot(g), before)


@case()
def unbind_shared_beside_full(t):
    """I6 I7 R6: a full block that is online ends unbinding at once, and nothing goes offline."""
    with device_guest(t, SHARED) as g:
        run = SharedRun(g, 'online_kernel', 'Normal')
        before = snapshot(g)
        with ring(g, *MIDDLE):
            with seconds(g, 'unbind', 0, 5):
                _, lines = log_of(g, lambda: unbind(g))
            run.check('left behind')
            expect_same('left behind', snapshot(g), before)
            run.usable(*SHARED)
        # The driver of 7.3 tells of each range, and then of all.
        expect('lines of the log', len(lines), 3 if version(t.base) >= (7, 3) else 2)
        first = range_of(MIDDLE[0], SECTION)
        for line, what in zip(lines, (f'removing memory fails, because memory .{first}. is onlined',
                                      stuck(t.base))):
            if not re.search(what, line):
                fail('the log', what, line)


@case()
def unbind_shared_poisoned(t):
    """I6 R3: a poisoned part goes with its device, and stays online if another one has to."""
    with device_guest(t, SHARED) as g:
        run = SharedRun(g, 'online_movable', 'Movable')
        for start, size in (HEAD, TAIL):
            poison(g, start)
            poison_is(g, 4)
            run.offline_full()
            with seconds(g, 'unbind', 0, 5):
                unbind(g)
            poison_is(g, 0)
            run.again()
        # What is poisoned could not come back.
        poison(g, HEAD[0])
        run.offline_full()
        before = snapshot(g)
        g.mod_ok(f'veto {h(TAIL[0])} 16')
        with seconds(g, 'unbind', 0, 2 * PATIENCE):
            _, lines = log_of(g, lambda: unbind(g))
        expect_same('a part is poisoned, and another one stays', snapshot(g), before)
        failed(g, lines)
        run.usable(*TAIL)
        run.usable(*HEAD)


@case(since='7.3')
def unplug_ends_by_signal(t):
    """I7 I11 R6: who writes "unplugged" is not given up on, and can be stopped by a signal."""
    state = '/sys/bus/dax/devices/dax0.0/state'
    with device_guest(t, SHARED) as g:
        SharedRun(g, 'online_kernel', 'Normal')
        before = snapshot(g)
        with ring(g, *TAIL):
            # Longer than who gets no signals is patient
            with seconds(g, 'unplugged', PATIENCE + 4, PATIENCE + 9):
                g.sh(f"timeout -s INT {PATIENCE + 5} sh -c 'echo unplugged >{state}' || true",
                     timeout=60)
            expect_same('left behind', snapshot(g), before)
        expect('unplugged, pinned no more', g.write(state, 'unplugged', timeout=60), None)
