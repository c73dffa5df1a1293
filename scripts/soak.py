#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Plug and unplug memory, for minutes, while all walkers of physical memory that
there are walk, and while memory is used. Prints a markdown table of how far each
kernel came, and leaves it in build/results for 'make docs'.

The exit status is 0 only if each flavour but stock survived every kind. What runs
in the guest meanwhile is scripts/guest/soak.c.
"""

import argparse
import concurrent.futures
import os
import random
import re
import shutil
import signal
import sys
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, 'scripts', 'tests'))
# pylint: disable=wrong-import-position
from lib import (BUILTIN_INDEX, GIB, GRANULE, MEMORY, MIB, PAGE, SECTION,  # noqa: E402
                 Failure, Test, builtin_index, expect, expect_between, helper, module, version)
from guest import (BAD, BASE, BUILD, GuestError, QMPError, choose_accel,  # noqa: E402
                   has_option, note)
from virtio_mem import Device  # noqa: E402
import docs  # noqa: E402

FLAVOURS = {'stock': 'stock', 'lifetime': 'stock + P1', 'patched': 'patched', 'debug': 'debug'}
BLOCKS_ONLY = ('stock', 'lifetime')     # take nothing but whole memory blocks
BOUND = 120             # seconds that one step may take; four times that on debug kernels
TRIES = 20              # for what the guest may refuse, as its pages are in use
NUDGE = 0.5             # seconds without progress until virtio-mem is asked again
FEW = 3                 # rounds at least, else a run has shown nothing
PATIENCE = 8            # times that what was asked for may take, for so few
MOST = 1024             # MiB that are plugged at a time
BALLOON = (16, 64)      # MiB that the balloon takes

# Loads that need more than configs/base.config has
NEEDS = {'page_owner': 'PAGE_OWNER', 'damon': 'DAMON_SYSFS', 'kmemleak': 'DEBUG_KMEMLEAK'}


class Hung(Failure):
    """Something took longer than its bound."""


# --- how memory comes and goes ------------------------------------------------------

class Kind:
    """One way of plugging and unplugging; guest is what Guest() is to be called with."""

    def __init__(self, soak):
        self.soak, self.random = soak, soak.test.random
        self.whole = soak.flavour in BLOCKS_ONLY or not soak.test.has('granules')
        self.g = None

    def guest(self):
        return {}

    def size(self, low, high):
        """Random bytes, within MiB, that this kernel takes."""
        unit = SECTION if self.whole else GRANULE
        return self.random.randint(-(-low * MIB // unit), high * MIB // unit) * unit

    def present(self, size):
        """MemTotal tells of so many bytes more than at first."""
        def more():
            return self.g.memtotal() - self.soak.total

        try:
            self.soak.wait('MemTotal', lambda: more() == size, pause=0.3)
        except Hung:
            for line in self.g.sh("cd /sys/devices/system/memory; grep -H . memory*/state; "
                                  "grep -i 'system ram' /proc/iomem; uptime; "
                                  "grep -E '^Node|present|managed' /proc/zoneinfo").splitlines():
                self.soak.test.note(line)
            expect('bytes in MemTotal that were not there at first', more(), size)

    def in_the_way(self, start, size):
        """What does not go: of granules that have pages in use, the flags and counts that
        /proc/kpageflags and kpagecount tell, and of how many pages; free pages by type;
        and where those are that take memory offline, or wait."""
        first, count = start // PAGE, size // PAGE
        look = ' '.join(f'dd if=/proc/kpage{what} bs=8 skip={first} count={count} 2>/dev/null | '
                        f'od -An -v -tx8 -w8 >/tmp/{what};' for what in ('flags', 'count'))
        # Bit 10: free; bit 23: PageOffline; a page without struct page has all bits, or none.
        return self.g.sh(f'{look} paste /tmp/flags /tmp/count | awk \'{{ n[$1 " " $2]++; '
                         'used += substr($1, 11, 1) ~ /[0-7]/ && substr($1, 14, 1) ~ /[0-38-b]/ && '
                         '$1 $2 !~ /^0*$/ } '
                         f'NR % {GRANULE // PAGE} == 0 {{ if (used) for (k in n) '
                         f'printf "%#x: %s: %d\\n", {first} + NR - {GRANULE // PAGE}, k, n[k]; '
                         'used = 0; delete n }\' | head -n 60; '
                         "grep -E 'Movable|Isolate' /proc/pagetypeinfo; "
                         'cd /proc; for p in [0-9]*; do '
                         'grep -qE "offline_pages|compact|D .disk sleep" $p/stack $p/status '
                         '2>/dev/null && grep -H . $p/comm $p/stack; done', timeout=120)


class VirtioMem(Kind):
    """A virtio-mem device that is given sizes in units of 2 MiB"""

    def __init__(self, soak):
        super().__init__(soak)
        self.vm = None

    def guest(self):
        # By this policy, who reads valid_zones looks at pages of the device.
        return {'args': Device.args(MOST * MIB),
                'cmdline': 'memory_hotplug.online_policy=auto-movable'}

    def prepare(self, g):
        self.g, self.vm = g, Device(g)
        return self.vm.start(), self.vm.start() + MOST * MIB

    def resize(self, size):
        """To that size, with nothing but the time that passes without any progress
        being bounded."""
        self.vm.ask(size)
        seen, since = self.vm.size(), time.monotonic()
        asked, gap = since, NUDGE
        while seen != size:
            time.sleep(0.05)
            now = time.monotonic()
            last, seen = seen, self.vm.size()
            if seen != last:
                since, asked, gap = now, now, NUDGE
            if now - since > BOUND * self.g.slow:
                raise Hung(f'virtio-mem at {seen // MIB} MiB on its way to {size // MIB}\n'
                           f'{self.in_the_way(self.vm.start(), MOST * MIB)}')
            if seen != size and now - asked > gap:
                # After a failure, the driver tries again only in a minute, or if asked.
                # It begins anew then: not too often.
                self.soak.refused += 1
                self.vm.ask(size + GRANULE)
                self.vm.ask(size)
                asked, gap = now, min(gap * 2, 16 * NUDGE)

    def round(self):
        size = 0
        for _ in range(self.random.randint(1, 2)):
            size = self.random.randint(65, 256) * GRANULE
            self.resize(size)
        if self.soak.rounds % 4 == 0:
            self.present(size)
        self.resize(0)

    def empty(self):
        self.resize(0)


class Dimms(Kind):
    """DIMMs, one behind the other, that go in another order than they came"""

    def prepare(self, g):
        self.g = g
        return g.device_memory(), g.device_memory() + MOST * MIB

    def eject(self, name):
        for _ in range(TRIES):
            began = time.monotonic()
            if self.g.unplug(name, timeout=BOUND):
                return
            if time.monotonic() - began > BOUND * self.g.slow:
                raise Hung(f'no answer to the eject of {name}\n'
                           f'{self.in_the_way(self.g.dimm_address(name), self.g.dimms[name])}')
            self.soak.refused += 1
            time.sleep(0.5)
        raise Failure(f'{TRIES} ejects of {name} were refused')

    def round(self):
        names = [f'd{i}' for i in range(self.random.randint(2, 3))]
        for name in names:
            size = self.size(2, 256)
            if not self.g.plug_dimm(name, size // MIB, wait=BOUND):
                raise Hung(f'no success of plugging {name}')
        if self.soak.rounds % 4 == 0:
            self.present(sum(self.g.dimms.values()))
        self.random.shuffle(names)
        for name in names:
            self.eject(name)

    def empty(self):
        for name in list(self.g.dimms):
            self.eject(name)


class Kmem(Kind):
    """Two dax devices, one behind the other, that become System RAM and come back"""

    FIRST = GIB
    HEAD = 2 * MIB      # of a region, that libnvdimm keeps

    def guest(self):
        """Legacy pmem, behind the boot memory; where only blocks count, devices that
        begin with one."""
        self.devices, at = {}, self.FIRST
        for i in range(2):
            size = self.size(130, 256)
            if self.whole:
                at = -(-(at + self.HEAD) // SECTION) * SECTION - self.HEAD
            self.devices[f'dax{i}.0'] = (at + self.HEAD, size)
            at += self.HEAD + size
        # A region begins where the one before ends, at first and where possible.
        regions = ' '.join(f'memmap={size + self.HEAD:#x}!{start - self.HEAD:#x}'
                           for start, size in self.devices.values())
        test = self.soak.test
        return {'mem': '2G', 'cmdline': f'mem={self.FIRST // MIB}M {regions}',
                'share': [builtin_index(test.base, self.soak.flavour)]}

    def prepare(self, g):
        self.g = g
        g.sh(BUILTIN_INDEX)
        for i, (name, (_, size)) in enumerate(self.devices.items()):
            # Regions that small are taken for multiples of 16 MiB otherwise.
            g.sh(f'echo {GRANULE} >/sys/bus/nd/devices/region{i}/align')
            g.sh(f'ndctl create-namespace -f -e namespace{i}.0 -m devdax -M mem -a 2M', timeout=120)
            expect(f'size of {name}', int(g.read(f'/sys/bus/dax/devices/{name}/size')), size)
        last = max(start + size for start, size in self.devices.values())
        return self.FIRST, last

    def blocks(self, name):
        """Those that the device fills."""
        start, size = self.devices[name]
        return list(range(-(-start // SECTION), (start + size) // SECTION))

    def to_ram(self, name, tool):
        if tool:
            # It is daxctl that puts the memory online.
            self.g.auto_online('offline')
            self.g.sh(f'daxctl reconfigure-device --mode=system-ram {name}', timeout=BOUND)
            self.g.auto_online('online_movable')
        else:
            # What the driver learns an id of, it binds.
            self.g.sh(f'cd /sys/bus/dax/drivers; echo {name} >device_dax/unbind; '
                      f'echo {name} >kmem/new_id; [ -e kmem/{name} ]', timeout=BOUND)

    def to_dax(self, name, tool):
        blocks = self.blocks(name)
        self.random.shuffle(blocks)
        # Those that nobody shares; the driver takes back the others.
        for b in blocks:
            for _ in range(TRIES):
                status = self.g.run(f'cd {MEMORY}/memory{b}; grep -q offline state || '
                                    'echo offline >state', timeout=BOUND)[0]
                if not status:
                    break
                if status == 137:
                    raise Hung(f'memory{b} does not go offline\n'
                               f'{self.in_the_way(b * SECTION, SECTION)}')
                self.soak.refused += 1
            else:
                raise Failure(f'memory{b} was not taken offline {TRIES} times')
        if tool:
            self.g.sh(f'daxctl reconfigure-device --mode=devdax -f {name}', timeout=BOUND)
        else:
            self.g.sh(f'cd /sys/bus/dax/drivers; echo {name} >kmem/unbind; '
                      f'echo {name} >device_dax/bind', timeout=BOUND)

    def round(self):
        names = list(self.devices)
        self.random.shuffle(names)
        # daxctl knows nothing of blocks that two devices share.
        tool = self.random.random() < 0.25
        self.to_ram(names[0], tool)
        self.to_ram(names[1], False)
        if self.soak.rounds % 4 == 0:
            self.present(sum(size for _, size in self.devices.values()))
        self.to_dax(names[1], False)
        self.to_dax(names[0], tool)

    def empty(self):
        for name in self.devices:
            if 'kmem' in self.g.sh(f'readlink /sys/bus/dax/devices/{name}/driver || true'):
                self.to_dax(name, False)


class Balloon:
    """A virtio-balloon that takes memory and gives it back in turn, and reports what is free.
    MemTotal counts what it has."""

    ARGS = ['-device', 'virtio-balloon-pci,free-page-reporting=on,deflate-on-oom=on']

    def __init__(self, g):
        self.g = g
        self.full = self.left()
        self.taken = 0      # MiB that it had at the most

    def left(self):
        """Bytes that it has left to the guest, as far as it got."""
        return self.g.qmp('query-balloon')['actual']

    def take(self, size):
        self.taken = max(self.taken, (self.full - self.left()) // MIB)
        self.g.qmp('balloon', value=self.full - size)


KINDS = {'virtio-mem': VirtioMem, 'dimms': Dimms, 'kmem': Kmem}


# --- one run ------------------------------------------------------------------------

class Soak:
    """One kind on one kernel for a number of seconds; run() raises what it dies of."""

    def __init__(self, test, kind, flavour, seconds, without=()):
        self.test, self.flavour, self.seconds = test, flavour, seconds
        self.kind = KINDS[kind](self)
        self.title = f'{kind}, {flavour}'
        self.selfcheck = not self.kind.whole and test.has('debug')
        self.without = list(without)
        self.rounds = self.refused = 0
        self.began = self.ended = None
        self.g = self.total = self.balloon = None
        self.heard = (0, 0)

    def took(self):
        if self.began is None:
            return 0
        return (self.ended or time.monotonic()) - self.began

    def wait(self, what, condition, pause=0.05):
        """Until the condition holds."""
        end = time.monotonic() + BOUND * self.g.slow
        while not condition():
            if time.monotonic() > end:
                raise Hung(what)
            time.sleep(pause)

    def said(self, word):
        return re.findall(rf'soak: {word} ?(.*)', self.g.console())

    def listen(self):
        """What the console tells of the kernel and the loads."""
        self.g.check_console()
        died = self.said('died')
        if died:
            raise Failure(f'a load died: {died[0]}')
        beats, now = len(self.said('at')), time.monotonic()
        if beats != self.heard[0]:
            self.heard = (beats, now)
        elif now - self.heard[1] > BOUND * self.g.slow:
            raise Hung('nothing is heard of the loads')

    def run(self):
        t, image = self.test, self.test.image(self.flavour)
        kwargs = {'mem': '1G', 'smp': 4, 'args': [], 'cmdline': '', 'share': [],
                  **self.kind.guest()}
        kwargs['args'] = Balloon.ARGS + kwargs['args']
        kwargs['cmdline'] += ' cma=32M printk.devkmsg=on'
        kwargs['share'] += [helper('memfill'), helper('soak')]
        if self.selfcheck:
            kwargs['share'].append(module(t.base, self.flavour, 'mhp_debug'))
        if has_option(image, 'KASAN'):
            kwargs['mem'] = '2G'
        if has_option(image, 'PAGE_OWNER') and version(t.base) < (7, 3):
            # It takes the page_ext of a gigantic page for one array.
            self.without.append('gigantic')
        with t.guest(flavour=self.flavour, files=False, **kwargs) as g:
            self.g = g
            self.balloon = Balloon(g)
            g.auto_online('online_movable')
            start, end = self.kind.prepare(g)
            self.total = g.memtotal()
            g.sh(f'setsid /mnt/share/soak {t.seed} {start:#x} {end:#x} {" ".join(self.without)} '
                 '>/dev/console 2>&1 & echo $! >/tmp/soak.pid')
            self.began = time.monotonic()
            self.heard = (0, self.began)
            while self.took() < self.seconds or self.rounds < FEW:
                if self.took() > self.seconds * PATIENCE:
                    raise Hung(f'fewer than {FEW} rounds in {self.took():.0f} s')
                low, high = BALLOON if self.rounds % 2 == 0 else (0, 0)
                self.balloon.take(t.random.randint(low, high) * MIB)
                self.kind.round()
                self.listen()
                self.rounds += 1
            self.ended = time.monotonic()
            self.finish()

    def finish(self):
        """The loads end, the memory goes, and nothing is left of either."""
        g = self.g
        g.sh('kill $(cat /tmp/soak.pid)')
        self.wait('the loads end', lambda: self.said('done'), pause=0.5)
        self.listen()
        self.kind.empty()
        self.balloon.take(0)
        self.wait('the balloon is empty', lambda: self.balloon.left() == self.balloon.full)
        expect_between('MiB that the balloon had', self.balloon.taken, *BALLOON)
        self.kind.present(0)
        steps = {k: int(n) for k, n in re.findall(r'(\w+)=(\d+)', self.said('done')[0])}
        expect('loads that did nothing', [k for k, n in steps.items() if not n], [])
        expect('loads that the kernel does not have', sorted(self.said('absent')),
               sorted(k for k, o in NEEDS.items() if not has_option(g.image, o)))
        # Those of dax devices cannot be undone, and stay counted.
        expect('poisoned pages', g.meminfo()['HardwareCorrupted'] // 4,
               g.console().count(': recovery action for dax page: '))
        self.count_free()
        if self.selfcheck:
            g.sh('insmod /mnt/share/mhp_debug.ko')
            expect('selfcheck', g.write('/sys/kernel/debug/mhp/selfcheck', '1', timeout=120), None)

    def count_free(self):
        """Free pages that zones count are those on their lists, once nobody is at it."""
        def differ():
            text = self.g.sh('cat /proc/sys/vm/stat_refresh; cat /proc/buddyinfo /proc/zoneinfo')
            lists = {(n, z): sum(int(x) << i for i, x in enumerate(counts.split())) for n, z, counts
                     in re.findall(r'^Node (\d+), zone +(\w+) ([ \d]+)$', text, re.M)}
            zones = {(n, z): int(x) for n, z, x in re.findall(
                r'^Node (\d+), zone +(\w+)\n(?:  per-node stats\n(?:      .*\n)+)?'
                r'  pages free +(\d+)$', text, re.M)}
            return {zone: (counted, zones.get(zone)) for zone, counted in lists.items()
                    if counted != zones.get(zone)}

        for _ in range(20):
            seen = differ()
            if not seen:
                return
            time.sleep(0.3)
        expect('free pages that differ: on lists, counted', seen, {})


def reason(soak, error):
    """One line on what a run died of: the first that the console has, if any."""
    # 137: of a command that the guest's agent had to kill
    hung = isinstance(error, Hung) or re.search(': (timeout during|status 137:)', str(error))
    text = soak.g.console() if soak.g else ''
    lines = [re.sub(r'^\[[ .\dT]+\] ', '', line) for line in text.splitlines()]
    for i, line in enumerate(lines):
        if BAD.search(line) and 'cut here' not in line:
            line = re.sub(r' for address: \S+| at address: \S+', '', line)
            rest = '\n'.join(lines[i:])
            where = re.search(r'^RIP: 0010:(\w+)', rest, re.M)
            who = re.search(r' Comm: (\S+)', rest)
            line += f' in {where[1]}()' if where else ''
            line += f', called by {who[1]}' if who else ''
            break
    else:
        line = ', '.join(str(error).splitlines()[:3])
    return ('hung: ' if hung else '') + line


# --- all of them --------------------------------------------------------------------

class Campaign:
    """Runs each kind on each flavour, and says how it goes."""

    def __init__(self, args):
        self.args = args
        self.soaks = {(k, f): self.soak(k, f) for k in args.kinds for f in args.flavours}
        self.lock = threading.Lock()
        self.results = {}       # what of soaks: None, or what they died of
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.interrupted)

    def say(self, text):
        with self.lock:
            note(text)

    def soak(self, kind, flavour):
        args = self.args
        test = Test(f'soak-{kind}', args.base, flavour, args.seed, args.logdir)
        return Soak(test, kind, flavour, args.seconds, args.without)

    def interrupted(self, number, _):
        """No guest outlives the run."""
        for soak in self.soaks.values():
            for machine in soak.test.machines:
                if machine.proc and machine.proc.poll() is None:
                    machine.proc.kill()
                if machine.dir:
                    shutil.rmtree(machine.dir, ignore_errors=True)
        os.write(1, f'interrupted by signal {number}\n'.encode())
        os._exit(1)

    def run(self, key):
        soak = self.soaks[key]
        self.say(f'{soak.title}: starts')
        try:
            soak.run()
            self.results[key] = None
        except (Failure, GuestError, QMPError) as error:
            soak.ended = soak.ended or time.monotonic()
            self.results[key] = reason(soak, error)
            if soak.flavour != 'stock':
                self.say('\n'.join('    ' + line for line in str(error).splitlines()))
        self.say(f'{soak.title}: {self.outcome(key)}'
                 + (f'; log: {os.path.relpath(soak.g.log, TOP)}' if soak.g else ''))

    def outcome(self, key):
        soak, died = self.soaks[key], self.results.get(key)
        if key not in self.results:
            return f'round {soak.rounds + 1}, {soak.took():.0f} s'
        times = 'once' if soak.refused == 1 else f'{soak.refused} times'
        refused = f', refused {times}' if soak.refused else ''
        if died:
            return f'died in round {soak.rounds + 1} after {soak.took():.0f} s{refused}: {died}'
        return f'{soak.rounds} rounds in {soak.took():.0f} s{refused}'

    def table(self):
        head = ['', *(FLAVOURS[f] for f in self.args.flavours)]
        lines = [head, ['---'] * len(head)]
        lines += [[k, *(self.outcome((k, f)) for f in self.args.flavours)] for k in self.args.kinds]
        return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)

    def run_all(self):
        self.say(f'{self.args.seconds} s each, seed {self.args.seed} (--seed sets it), '
                 f'{self.args.jobs} at a time')
        with concurrent.futures.ThreadPoolExecutor(self.args.jobs) as pool:
            left = {pool.submit(self.run, key) for key in self.soaks}
            while left:
                done, left = concurrent.futures.wait(left, timeout=25)
                for future in done:
                    future.result()
                for key, soak in self.soaks.items():
                    if soak.began and key not in self.results:
                        self.say(f'{soak.title}: {self.outcome(key)}')
        self.say(f'\n{self.table()}\n')
        docs.keep(self.args.base, 'soak', extra=[
            self.table(), f'{self.args.seconds} s each, {self.args.jobs} guests at a time on '
            f'{os.cpu_count()} CPUs, seed {self.args.seed}.'])
        bad = [s.title for key, s in self.soaks.items() if key[1] != 'stock' and self.results[key]]
        if bad:
            self.say('did not survive: ' + '; '.join(bad))
        return 1 if bad else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--flavours', nargs='+', choices=FLAVOURS,
                        default=['stock', 'lifetime', 'patched'])
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=list(KINDS))
    parser.add_argument('--seconds', type=int, default=600, help='for each (%(default)s)')
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 32),
                        help='of all that is random')
    parser.add_argument('--without', nargs='+', default=[], help='loads to leave out')
    parser.add_argument('--jobs', type=int, default=1, help='guests at a time (%(default)s)')
    parser.add_argument('--base', default=BASE)
    parser.add_argument('--logdir', default=os.path.join(BUILD, 'log', 'soak'))
    args = parser.parse_args()
    for flavour in args.flavours:
        image = os.path.join(BUILD, args.base, flavour, 'vmlinuz')
        if not os.path.exists(image):
            sys.exit(f'soak.py: no {os.path.relpath(image, TOP)}: make kernel FLAVOUR={flavour}')
    choose_accel(image)         # once, and before there are other guests
    return Campaign(args).run_all()


if __name__ == '__main__':
    sys.exit(main())
