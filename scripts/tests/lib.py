# SPDX-License-Identifier: GPL-2.0
"""What the cases share: the register of cases, guests with the test module and
helper in them, and World, which knows what a guest's memory must look like.

A case is a function with @case(...) that takes a Test. The first line of its
docstring names the invariant that it guards. It asserts with expect() and
friends, and boots guests with t.guest(...); a guest that is left without an
exception must have nothing bad in its console.
"""

import contextlib
import fcntl
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import namedtuple

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# pylint: disable=wrong-import-position
from guest import BUILD, MIB, TOP, Guest, GuestError, QMPError, arch_of, to_bytes  # noqa: E402,F401

GIB = 1 << 30
PAGE = 4096
SECTION = 128 * MIB
GRANULE = 2 * MIB
MEMORY = '/sys/devices/system/memory'
EXTENTS = '/sys/kernel/debug/memory_extents'
INJECT = '/sys/kernel/debug/notifier-error-inject/memory/actions'
NODES = '/sys/devices/system/node'
HUGE = '/sys/kernel/mm/hugepages'
MOD = '/sys/kernel/debug/mhp_test'
SOURCES = os.path.join(TOP, 'scripts', 'guest')


class Failure(Exception):
    """An assertion did not hold."""


class Skipped(Exception):
    """The case needs a kernel that this run does without."""


# Kernels that cases may be for, other than x86-64's: folders below build/BASE.
ARCHS = ('x86_64', 'arm64-4k', 'arm64-64k')
FOUR_K = ARCHS[:2]
# How far a series must have come for a case: the kernel need only boot; it has the
# fixes; walkers may walk; it takes granules, and so do its drivers; they host their memmap;
# the companion module shows all that.
STEPS = ('boot', 'fixes', 'lifetime', 'granules', 'memmap', 'virtio-mem', 'debug')
Case = namedtuple('Case', 'name run doc quick long first flavours archs needs since')
CASES = []


def version(base):
    """The version of a base, whatever tree of it that is: (7, 3) of 7.3-kdir."""
    return tuple(int(n) for n in base.split('-')[0].split('.'))


def case(quick=False, long=False, first=False, flavours=('patched', 'debug'), archs=('x86_64',),
         needs='granules', since='6.12'):
    """Register a case: quick ones also run for every patch from the one on that
    gives what they need, of STEPS; long ones only on request, and all only on the
    flavours and architectures given, and from a base on. Those that take minutes start
    first, so that they need not end alone."""
    def register(func):
        doc = (func.__doc__ or '').strip().splitlines()
        if not doc:
            raise ValueError(f'{func.__name__}: name the invariant it guards')
        if any(c.name == func.__name__ for c in CASES):
            raise ValueError(f'{func.__name__}: there is such a case already')
        CASES.append(Case(func.__name__, func, doc[0], quick, long, first, flavours, archs,
                          STEPS.index(needs), version(since)))
        return func
    return register


def place(base, arch):
    """Where below build/ the kernels for an architecture are, and what builds them."""
    if arch == 'x86_64':
        return base, f'make kernel BASE={base}'
    cpu, pages = arch.split('-')
    return os.path.join(base, arch), f'make kernel BASE={base} ARCH={cpu} PAGES={pages}'


# --- assertions ---------------------------------------------------------------

def fail(what, expected, seen):
    raise Failure(f'{what}\nexpected: {expected}\nseen:     {seen}')


def expect(what, seen, expected):
    """Assert that what was seen equals what was expected."""
    if seen != expected:
        fail(what, expected, seen)


def expect_between(what, seen, low, high):
    if not low <= seen <= high:
        fail(what, f'{low} .. {high}', seen)


def expect_lines(what, seen, expected):
    """expect() for lists of lines: tells only what differs."""
    if seen == expected:
        return
    more = [s for s in seen if s not in expected]
    less = [e for e in expected if e not in seen]
    if not more and not less:
        fail(what + ' (order)', expected, seen)
    fail(what, '; '.join(map(str, less)) or 'none of what was seen',
         '; '.join(map(str, more)) or 'nothing of that')


def h(value):
    return f'{value:#x}'


# --- building what runs in the guest ------------------------------------------

def _build(target, sources, command):
    """Build a file below build/ unless it is newer than all of its sources."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target + '.lock', 'w', encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        newest = max(os.path.getmtime(s) for s in sources)
        if os.path.exists(target) and os.path.getmtime(target) > newest:
            return target
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False,
                              stderr=subprocess.STDOUT, text=True)
        if done.returncode or not os.path.exists(target):
            raise Failure(f'{os.path.relpath(target, TOP)} does not build:\n{done.stdout}')
        os.utime(target)
    return target


CROSS = {'x86_64': '', 'arm64': 'aarch64-linux-gnu-'}


def module(base, flavour, name='mhp_test'):
    """A module for a flavour: the companion module, the KUnit suites, or one of
    scripts/guest."""
    source = os.path.join(TOP, {'mhp_debug': 'module', 'mhp_kunit': 'kunit'}.get(name) or
                          os.path.join('scripts', 'guest', name))
    done = subprocess.run([os.path.join(TOP, 'scripts', 'module.sh'), source,
                           os.path.join(BUILD, base, flavour)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    path = done.stdout.strip()
    if done.returncode or not os.path.exists(path):
        raise Failure(done.stdout)
    return path


def builtin_index(base, flavour):
    """The folder that makes libkmod, and with it daxctl, know what is built in: to
    be shared, and linked to from the guest, see BUILTIN_INDEX."""
    obj = os.path.join(BUILD, base, flavour, 'obj')
    out = os.path.join(BUILD, base, flavour, 'modules')
    with open(os.path.join(obj, 'include', 'config', 'kernel.release'), encoding='ascii') as f:
        release = f.read().strip()
    names = ['modules.builtin', 'modules.builtin.modinfo', 'modules.order']
    folder = os.path.join(out, 'lib', 'modules', release)
    copy = ' '.join(f"'{os.path.join(obj, n)}'" for n in names)
    _build(os.path.join(folder, 'modules.builtin.bin'), [os.path.join(obj, n) for n in names],
           ['sh', '-ec', f"PATH=$PATH:/sbin:/usr/sbin; cp {copy} '{folder}'; "
            f"depmod -b '{out}' {release}"])
    return out


BUILTIN_INDEX = 'ln -s /mnt/share/modules/lib/modules /lib/modules'


def helper(name='memfill', arch='x86_64'):
    """A helper program, linked statically."""
    src = os.path.join(SOURCES, name + '.c')
    out = os.path.join(BUILD, 'guest', arch, name)
    return _build(out, [src], [CROSS[arch] + 'gcc', '-std=gnu11', '-O2', '-static', '-Wall',
                               '-Wextra', '-Werror', '-o', out, src])


# --- guests -------------------------------------------------------------------

# A debug kernel touches all of its memory: there is room for one large guest at a time.
LARGE_GUEST = threading.Lock()


class Machine(Guest):
    """A guest with the test module (but on stock) and the helper in it.

    debugfs=True: with the companion module loaded as well.
    """

    def __init__(self, test, flavour=None, share=(), files=True, debugfs=False, **kwargs):
        self.flavour = flavour or test.flavour
        self.test = test
        image = kwargs.pop('image', None) or test.image(self.flavour)
        share = list(share)
        if debugfs:
            share.append(module(test.base, self.flavour, 'mhp_debug'))
        self.debugfs = debugfs
        self.has_module = files and self.flavour != 'stock' and test.has('granules')
        if files:
            share.append(helper(arch=arch_of(image).name))
        if self.has_module:
            share.append(module(test.base, self.flavour))
        name = f'{test.name}{test.suffix}-{self.flavour}-{len(test.machines)}'
        super().__init__(image=image, share=share, name=name, logdir=test.logdir, **kwargs)
        if self.debug:
            # With debug_pagealloc, the kernel unmaps the initrd rather than frees it,
            # and kmemleak trips over that where the initrd had to be moved (mem=).
            self.cmdline += ' retain_initrd'
        self.room = LARGE_GUEST if self.debug and to_bytes(self.mem) >= 16 * GIB else \
            contextlib.nullcontext()
        self.allow = []
        self.fills = 0
        test.machines.append(self)

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.room)
            super().__enter__()
            self.room = stack.pop_all()
        return self

    def start(self):
        super().start()
        if self.has_module:
            self.sh('insmod /mnt/share/mhp_test.ko')
        if self.debugfs:
            self.sh('insmod /mnt/share/mhp_debug.ko')

    def __exit__(self, *exc):
        with self.room:
            try:
                if exc[0] is None:
                    self.finish()
            finally:
                super().__exit__(*exc)

    def finish(self):
        """Nothing bad may be in the console, nor leak."""
        if self.debug:
            self.sh('sleep 6; for i in 1 2; do echo scan >/sys/kernel/debug/kmemleak; done',
                    timeout=120)
            leaks = self.read('/sys/kernel/debug/kmemleak')
            if leaks:
                raise Failure(f'{self.name}: kmemleak reports\n{leaks[:3000]}')
        self.check_console()

    def check_console(self):
        bad = self.bad_lines(self.allow)[:10]
        if not bad:
            return
        if 'kmemleak' in bad[0] and self.proc and self.proc.poll() is None:
            bad += self.read('/sys/kernel/debug/kmemleak').splitlines()[:100]
        fail(f'{self.name}: console', 'no line that reports a fault', '\n'.join(bad))

    # - the test module -

    def mods(self, commands, timeout=120):
        """Commands for the module: a list of (errno's name or None, lines)."""
        script = f'cd {MOD}\n' + ''.join(
            f"echo '{c}' >cmd && cat result || echo write=$?\necho ==\n" for c in commands)
        answers = self.sh(script, timeout).split('==\n')[:-1]
        out = []
        for command, text in zip(commands, answers):
            first, *lines = text.splitlines()
            if not first.startswith('ret='):
                raise GuestError(f'{self.name}: the module does not take "{command}": {text}')
            code = int(first[4:])
            out.append((_errno(-code) if code else None, lines))
        expect('answers of the module', len(out), len(commands))
        return out

    def mod(self, command, timeout=120):
        """One command for the module: (errno's name or None, lines)."""
        return self.mods([command], timeout)[0]

    def mod_ok(self, command, timeout=120):
        """A command that must succeed: its lines."""
        error, lines = self.mod(command, timeout)
        expect(command, error, None)
        return lines

    def mod_values(self, command, timeout=120):
        """A command that must succeed and tells of key=value."""
        return dict(w.split('=', 1) for line in self.mod_ok(command, timeout)
                    for w in line.split())

    # - sysfs and procfs -

    def auto_online(self, policy):
        self.sh(f'echo {policy} >{MEMORY}/auto_online_blocks')

    def block(self, address):
        """The memory block of an address, by the size of the blocks here."""
        return address // self.block_size()

    def block_size(self):
        return int(self.read(f'{MEMORY}/block_size_bytes'), 16)

    def state(self, block, value):
        """Write a block's state; None or the errno's name."""
        return self.write(f'{MEMORY}/memory{block}/state', value, timeout=120)

    def probe(self, start, size=None):
        """Add memory through the probe file; None or the errno's name."""
        return self.write(f'{MEMORY}/probe', h(start) if size is None else f'{h(start)} {h(size)}')

    def meminfo(self):
        """/proc/meminfo in the units it has, kB mostly."""
        return dict((m[1], int(m[2])) for m in
                    re.finditer(r'^(\S+):\s+(\d+)', self.read('/proc/meminfo'), re.M))

    def memtotal(self):
        """MemTotal in bytes."""
        return self.meminfo()['MemTotal'] * 1024

    def extents(self):
        """The parsed memory extents."""
        return parse_extents(self.read(EXTENTS), self.block_size())

    def wait_for(self, what, condition, timeout=30):
        """Wait until condition() holds; returns what it says."""
        end = time.monotonic() + timeout * self.slow
        while not (result := condition()):
            if time.monotonic() > end:
                fail(f'{self.name}: {what}', f'within {timeout * self.slow} s', 'not yet')
            time.sleep(0.2)
        return result

    # - devices -

    def plug(self, name, size, addr=None, node=None):
        """Plug a DIMM of a number of bytes; the guest must accept it."""
        expect(f'{self.name}: plug {name}',
               self.plug_dimm(name, size / MIB, addr=addr, node=node, wait=60), True)

    def dimm_address(self, name):
        return next(d['data']['addr'] for d in self.qmp('query-memory-devices')
                    if d['data'].get('id') == name)

    def device_memory(self):
        """Where QEMU puts the first DIMM."""
        return int(re.search(r'(\w+)-\w+ .*: device-memory', self.hmp('info mtree'))[1], 16)

    def eject(self, name, gone=True):
        expect(f'{self.name}: eject of {name} succeeds', self.unplug(name, timeout=120), gone)

    # - really using memory -

    def amount(self, mib):
        """Bytes to use where the exact number does not matter: debug kernels take
        much longer, and have less to give."""
        return mib * MIB // (4 if self.debug else 1)

    @contextlib.contextmanager
    def filled(self, size, seed=1, how='small', timeout=300, prefix=''):
        """A process that holds size bytes of a checksummed pattern: yields a
        function that verifies it. prefix: a command such as numactl to run it."""
        self.fills += 1
        base = f'/tmp/fill{self.fills}'
        # The process is on its own: it must not die of its shell's timeout.
        self.sh(f'mkfifo {base}.in; setsid {prefix} /mnt/share/memfill {how} {size} {seed} '
                f'<>{base}.in >{base}.out 2>&1 & echo $! >{base}.pid')

        def answer(word):
            def ready():
                text = self.sh(f'cat {base}.out; [ -d /proc/$(cat {base}.pid) ] || echo dead')
                if 'bad' in text or 'dead' in text:
                    fail(f'{self.name}: filled memory', word, text.strip())
                return re.fullmatch(word, (text.splitlines() or [''])[-1])
            return self.wait_for(f'memfill {how} says {word}', ready, timeout)

        rounds = 0

        def verify():
            nonlocal rounds
            rounds += 1
            self.sh(f'echo verify >{base}.in')
            answer(f'verified {rounds}')

        def poison(wait):
            if wait:
                answer('poisoned')
            else:
                self.sh(f'echo poison >{base}.in')

        def where():
            """Addresses of the first page: physical, and in the process"""
            self.sh(f'echo where >{base}.in')
            return [int(x, 0) for x in answer('at (.*)')[1].split()]

        verify.poison, verify.where = poison, where
        answer('filled')
        verify.pid = int(self.read(f'{base}.pid'))
        try:
            yield verify
        finally:
            with contextlib.suppress(GuestError):
                self.sh(f'kill $(cat {base}.pid); while [ -d /proc/$(cat {base}.pid) ]; '
                        f'do usleep 20000; done; rm -f {base}.*')


def _errno(code):
    import errno  # pylint: disable=import-outside-toplevel
    return {133: 'EHWPOISON'}.get(code) or errno.errorcode.get(code, str(code))


class Test:
    """What a case gets: its name, random numbers, guests."""

    def __init__(self, name, base, flavour, seed, logdir, out=None, arch='x86_64',
                 have=len(STEPS) - 1, stock=True):
        self.name, self.flavour, self.seed = name, flavour, seed
        self.base, self.make = place(base, arch)
        self.arch = arch
        self.suffix = '' if arch == 'x86_64' else '-' + arch
        self.logdir = logdir
        self.random = random.Random(f'{seed} {name}')
        self.machines = []
        self.notes = []
        self.out = out
        # How many tests passed and failed in it, for a case that is many; or None
        self.counted = None
        self.have = have
        self.stock = stock

    def has(self, step):
        """Whether the series has come so far, of STEPS."""
        return self.have >= STEPS.index(step)

    def image(self, flavour):
        path = os.path.join(BUILD, self.base, flavour, 'vmlinuz')
        if not os.path.exists(path) and flavour == 'stock' and self.arch == 'x86_64':
            subprocess.run([os.path.join(TOP, 'scripts', 'kernel.sh'), 'build'], check=False,
                           stdout=subprocess.DEVNULL,
                           env={**os.environ, 'BASE': self.base, 'FLAVOUR': flavour})
        if not os.path.exists(path):
            raise Failure(f'no {os.path.relpath(path, TOP)}: {self.make} FLAVOUR={flavour}')
        return path

    def guest(self, **kwargs):
        """A guest, for a with statement; see Machine and guest.Guest."""
        if kwargs.get('flavour') == 'stock' and not self.stock:
            raise Skipped('compares with stock')
        return Machine(self, **kwargs)

    def note(self, text):
        """Something to know when the case fails: goes to its log and report."""
        self.notes.append(text)


# --- parsing ------------------------------------------------------------------

# zone: its name while online, None while offline; memmap: 'self' if memory that was
# added with its memmap on itself, where that is not there since boot
Ram = namedtuple('Ram', 'start size node zone memmap', defaults=(None,))
Extent = namedtuple('Extent', 'block start end online node zone group memmap memmap_bytes '
                              'hosted_bytes')

EXTENT = re.compile(r'(0x[0-9a-f]{16})-(0x[0-9a-f]{16}) (online|offline) '
                    r'node=(-?\d+) zone=(\w+) group=(none|\d+) memmap=(boot|regular|self) '
                    r'memmap_bytes=(\d+) hosted_bytes=(\d+)')


def parse_extents(text, block_size):
    """The lines of the file in debugfs; a line of another form is an error, or one that
    does not follow the one before."""
    out = []
    for line in text.splitlines():
        m = EXTENT.fullmatch(line)
        if not m:
            fail('a line of extents', EXTENT.pattern, line)
        start, end = int(m[1], 0), int(m[2], 0) + 1
        out.append(Extent(start // block_size, start, end, m[3] == 'online', int(m[4]),
                          None if m[5] == 'none' else m[5], m[6], m[7], int(m[8]), int(m[9])))
        if len(out) > 1 and start < out[-2].end:
            fail('extents', 'one after the other', f'{out[-2]}\n{out[-1]}')
    return out


def parse_zoneinfo(text):
    """{(node, zone): {spanned, present, managed, start_pfn}}"""
    out = {}
    for part in re.split(r'^Node ', text, flags=re.M)[1:]:
        m = re.match(r'(\d+), zone\s+(\S+)', part)
        values = {k: int(v) for k, v in re.findall(
            r'^\s+(spanned|present|managed|start_pfn:?)\s+(\d+)', part, re.M)}
        out[int(m[1]), m[2]] = {k.rstrip(':'): v for k, v in values.items()}
    return out


def merge(ranges):
    """Sorted disjoint ranges [start, end) that cover the same."""
    out = []
    for start, end in sorted(ranges):
        if out and start <= out[-1][1]:
            out[-1][1] = max(out[-1][1], end)
        else:
            out.append([start, end])
    return [tuple(r) for r in out]


def show(ranges):
    return [f'{s:#x}-{e - 1:#x}' for s, e in ranges]


def system_ram(iomem):
    """The top-level System RAM ranges of /proc/iomem, of whatever driver, with
    ranges below a Reserved or Soft Reserved one counted as well."""
    return merge([(int(m[1], 16), int(m[2], 16) + 1) for m in
                  re.finditer(r'^ *([0-9a-f]+)-([0-9a-f]+) : System RAM', iomem, re.M)])


# --- what a guest's memory must look like --------------------------------------

class World:
    """What a guest looked like at first; check() compares it, exact to the page,
    with that plus a list of hot-added System RAM."""

    def __init__(self, machine):
        self.m = machine
        self.block_size = machine.block_size()
        self.base = self._observe()
        self.nodes = sorted(self.base['nodes'])

    def _observe(self, windows=()):
        """Everything at once: one command is what takes time."""
        nodes = self.m.sh(f"cd {NODES}; for n in node[0-9]*; do echo ${{n#node}}; done").split()
        commands = [f'node {n}' for n in nodes]
        commands += [f'pfns {h(s)} {h(e - s)}' for s, e in windows]
        text = self.m.sh(
            f"cat {EXTENTS}; echo ==; cd {MEMORY}; grep -H '' memory*/state; echo ==; "
            "grep -H '' memory*/populated_bytes; echo ==; "
            f"ls -d memory*/node*; echo ==; cd {NODES}; ls -d node*/memory[0-9]*; echo ==; "
            "cat /proc/iomem; echo ==; cat /proc/zoneinfo; echo ==; grep MemTotal /proc/meminfo")
        extents, states, bytes_, links, backlinks, iomem, zoneinfo, total = text.split('==\n')
        answers = self.m.mods(commands)
        for command, (error, _) in zip(commands, answers):
            expect(command, error, None)
        return {
            'extents': parse_extents(extents, self.block_size),
            'bytes': {m[1]: int(m[2], 16) for m in
                      re.finditer(r'memory(\d+)/populated_bytes:(\w+)', bytes_)},
            'states': dict(re.findall(r'memory(\d+)/state:(\w+)', states)),
            'links': sorted(re.findall(r'memory(\d+)/node(\d+)', links)),
            'backlinks': sorted((b, n) for n, b in re.findall(r'node(\d+)/memory(\d+)', backlinks)),
            'iomem': system_ram(iomem),
            'zoneinfo': parse_zoneinfo(zoneinfo),
            'total': int(total.split()[1]) * 1024,
            'nodes': {int(n): _parse_node(a[1]) for n, a in zip(nodes, answers)},
            'runs': [r for a in answers[len(nodes):] for r in _parse_runs(a[1])],
        }

    def _split(self, ram):
        """One extent in each block that one add touched."""
        start, end = ram.start, ram.start + ram.size
        while start < end:
            cut = min(end, (start // self.block_size + 1) * self.block_size)
            yield ram._replace(start=start, size=cut - start)
            start = cut

    def hosted(self, ram):
        """Bytes of memmap that memory hosts: one struct page for each of its pages
        outside of sections that are there since boot."""
        if ram.memmap != 'self':
            return 0
        early = {n for e in self.base['extents'] if e.memmap == 'boot'
                 for n in range(e.start // SECTION, -(-e.end // SECTION))}
        granules = range(ram.start, ram.start + ram.size, GRANULE)
        return sum(GRANULE // PAGE * 64 for g in granules if g // SECTION not in early)

    def check(self, rams, what='', spans=True, devices=()):
        """Compare. devices: (start, end) of ZONE_DEVICE, whose memmap is there.
        spans=False: do not look at what nodes span, as ZONE_DEVICE never gives
        that back. devices=None: do not look at which memmaps are there."""
        rams = [Ram(*r) for r in rams]
        windows = merge([(r.start // SECTION * SECTION, -(-(r.start + r.size) // SECTION) * SECTION)
                         for r in rams])
        now = self._observe(windows)
        where = f'{self.m.name}: {what}' if what else self.m.name
        online = [r for r in rams if r.zone]

        expect(f'{where}: MemTotal', now['total'],
               self.base['total'] + sum(r.size - self.hosted(r) for r in online))
        expect_lines(f'{where}: System RAM in /proc/iomem', show(now['iomem']),
                     show(merge(self.base['iomem'] + [(r.start, r.start + r.size) for r in rams])))
        self._check_extents(where, now, rams)
        self._check_zones(where, now, online, spans)
        self._check_runs(where, now, rams, windows, devices)

    def _check_extents(self, where, now, rams):
        seen = [f'{e.start:#x}-{e.end - 1:#x} {"online" if e.online else "offline"} '
                f'node={e.node} zone={e.zone}' for e in now['extents']]
        pieces = [(e.start, e.end, e.online, e.node, e.zone) for e in self.base['extents']]
        pieces += [(p.start, p.start + p.size, bool(p.zone), p.node, p.zone)
                   for r in rams for p in self._split(r)]
        pieces.sort()
        expect_lines(f'{where}: extents', seen,
                     [f'{s:#x}-{e - 1:#x} {"online" if o else "offline"} node={n} zone={z}'
                      for s, e, o, n, z in pieces])

        states, links, populated = {}, set(), {}
        for start, end, is_online, node, _ in pieces:
            block = str(start // self.block_size)
            populated[block] = populated.get(block, 0) + end - start
            links.add((block, str(node)))
            if is_online or block not in states:
                states[block] = 'online' if is_online else 'offline'
        expect_lines(f'{where}: memory blocks and states', sorted(now['states'].items()),
                     sorted(states.items()))
        expect(f'{where}: populated_bytes', now['bytes'], populated)
        expect_lines(f'{where}: links of blocks to nodes', now['links'], sorted(links))
        expect_lines(f'{where}: links of nodes to blocks', now['backlinks'], sorted(links))
        hosted = {p.start: self.hosted(p) for r in rams for p in self._split(r)}
        for e in now['extents']:
            size = hosted.get(e.start, 0)
            expect(f'{where}: memmap_bytes of {e.start:#x}', e.memmap_bytes,
                   (e.end - e.start) // PAGE * 64)
            expect(f'{where}: hosted_bytes of {e.start:#x}', e.hosted_bytes, size)
            expect(f'{where}: {e.start:#x} hosts its memmap', e.memmap == 'self', bool(size))

    def _check_zones(self, where, now, online, spans):
        for node, values in now['nodes'].items():
            base = self.base['nodes'].get(node, {'zones': {}})
            names = set(values['zones']) | set(base['zones']) | {r.zone for r in online
                                                                 if r.node == node}
            covered = []
            for zone in sorted(names - {'Device'}):
                mine = [r for r in online if (r.node, r.zone) == (node, zone)]
                pages = sum(r.size for r in mine) // PAGE
                hosted = sum(self.hosted(r) for r in mine) // PAGE
                old = base['zones'].get(zone, dict.fromkeys(
                    ('start', 'spanned', 'present', 'early', 'managed'), 0))
                span = [(old['start'], old['start'] + old['spanned'])] if old['spanned'] else []
                span += [(r.start // PAGE, (r.start + r.size) // PAGE) for r in mine]
                start = min((s for s, _ in span), default=0)
                spanned = max((e for _, e in span), default=0) - start
                covered += [(start, start + spanned)] if spanned else []
                want = {'spanned': spanned, 'present': old['present'] + pages,
                        'managed': old['managed'] + pages - hosted, 'early': old['early']}
                if spanned:
                    want['start'] = start
                seen = values['zones'].get(zone, dict.fromkeys(
                    ('start', 'spanned', 'present', 'early', 'managed'), 0))
                expect(f'{where}: node {node} zone {zone}', {k: seen[k] for k in want}, want)
                if pages or old['present']:
                    info = now['zoneinfo'].get((node, zone), {})
                    want = {k: want[k] for k in ('spanned', 'present', 'managed')}
                    expect(f'{where}: zoneinfo of node {node} zone {zone}',
                           {k: info.get(k) for k in want}, want)
            present = base.get('present', 0) + sum(r.size for r in online if r.node == node) // PAGE
            expect(f'{where}: node {node} present', values['present'], present)
            if spans:
                low = min((s for s, _ in covered), default=0)
                want = max((e for _, e in covered), default=0) - low
                expect(f'{where}: node {node} start and spanned',
                       (values['start'] if want else 0, values['spanned']), (low, want))

    def _check_runs(self, where, now, rams, windows, devices):
        """pfn_to_online_page() and pfn_valid() of each pfn around the ranges."""
        # pfn_to_online_page() goes by sub-sections. Boot memory may end within one;
        # the memmap of the rest is initialised.
        lines = [(e.start // GRANULE * GRANULE, -(-e.end // GRANULE) * GRANULE, e.zone, e.node)
                 for e in self.base['extents'] if e.online]
        lines += [(r.start, r.start + r.size, r.zone, r.node) for r in rams if r.zone]
        want = []
        for low, high in windows:
            at = low
            for start, end, zone, node in sorted(lines):
                start, end = max(start, low), min(end, high)
                if start >= end:
                    continue
                if at < start:
                    want.append((at, start, None, None))
                want.append((start, end, zone, node))
                at = end
            if at < high:
                want.append((at, high, None, None))
        expect_lines(f'{where}: online pages', _join(now['runs']), _join(want))
        if devices is None:
            return

        mapped = [(r.start, r.start + r.size) for r in rams] + list(devices)
        # The memmap of a section that is there since boot is there for all of it.
        mapped += [(e.start // SECTION * SECTION, -(-e.end // SECTION) * SECTION)
                   for e in self.base['extents'] if e.memmap == 'boot']
        want = [(max(s, low), min(e, high)) for s, e in merge(mapped) for low, high in windows
                if max(s, low) < min(e, high)]
        seen = merge([(s, e) for s, e, _, _, valid in now['runs'] if valid])
        expect_lines(f'{where}: pages that are pfn_valid()', show(seen), show(merge(want)))


def _parse_node(lines):
    def pairs(line):
        return dict(w.split('=', 1) for w in line.split())

    node = {k.removeprefix('node_'): int(v) for k, v in pairs(lines[0]).items()}
    node['zones'] = {}
    for line in lines[1:]:
        values = pairs(line)
        name = values.pop('zone')
        node['zones'][name] = {k: int(v) for k, v in values.items()}
    return node


def _parse_runs(lines):
    out = []
    for line in lines:
        m = re.fullmatch(r'run=(\S+)-(\S+) online=(\d) valid=(\d) zone=(\S+) node=(\S+)', line)
        online = m[3] == '1'
        out.append((int(m[1], 0), int(m[2], 0) + 1, m[5] if online else None,
                    int(m[6]) if online else None, m[4] == '1'))
    return out


def _join(runs):
    """Runs of the same zone and node, as lines."""
    out = []
    for start, end, zone, node, *_ in runs:
        if out and out[-1][1] == start and out[-1][2:] == [zone, node]:
            out[-1][1] = end
        else:
            out.append([start, end, zone, node])
    return [f'{s:#x}-{e - 1:#x} zone={z} node={n}' for s, e, z, n in out]


# --- leaving no trace -----------------------------------------------------------

# For the shell: everything that adding and removing memory must leave as it
# found it.
SNAPSHOT = (
    "cat /proc/iomem; echo ==; cd /sys; find devices/system/memory devices/system/node "
    "bus/memory bus/node/devices firmware/memmap 2>/dev/null | sort; echo ==; "
    f"cd {MEMORY}; grep -sH '' * memory*/* | grep -v uevent; echo ==; "
    f"cd {NODES}; grep -sH '' * node*/memory*/state; echo ==; "
    "grep -E 'MemTotal|DirectMap|HardwareCorrupted|HugePages_T|CmaTotal' /proc/meminfo; echo ==; "
    "grep -E 'Node|present|spanned|managed|start_pfn' /proc/zoneinfo; echo ==; "
    "grep -E 'nr_memmap' /proc/vmstat; echo ==; "
    "[ ! -d /sys/kernel/debug/memblock ] || grep -H '' /sys/kernel/debug/memblock/*")


def snapshot(machine):
    """SNAPSHOT, and what the module knows of nodes: {what: text}."""
    text = machine.sh(SNAPSHOT)
    names = ('iomem', 'sysfs tree', 'memory sysfs', 'node sysfs', 'meminfo', 'zoneinfo',
             'vmstat', 'memblock')
    out = dict(zip(names, text.split('==\n')))
    if machine.has_module:
        nodes = re.findall(r'^devices/system/node/node(\d+)$', out['sysfs tree'], re.M)
        for node in nodes:
            out[f'node {node}'] = '\n'.join(machine.mod_ok(f'node {node}'))
    return out


def expect_same(what, seen, expected, ignore=()):
    """Compare two snapshots line by line."""
    expect(f'{what}: parts', sorted(seen), sorted(expected))
    for part in expected:
        def lines(text):
            return [line for line in text.splitlines()
                    if not any(re.search(i, line) for i in ignore)]
        expect_lines(f'{what}: {part}', lines(seen[part]), lines(expected[part]))


def drain(machine):
    """Give free pages that CPUs keep for themselves back to their zones: to allocate a
    page by its address does that for its zone."""
    done = set()
    for e in machine.extents():
        # Page 0 is in no zone: from 7.3 on, DEBUG_VM lets nobody isolate its pageblock. The
        # rest of the zone of what is there is in another extent.
        if not e.online or e.end <= GRANULE or (e.node, e.zone) in done:
            continue
        for n in range(1, 4):
            page = f'{h(e.end // PAGE * PAGE - n * PAGE)} {h(PAGE)}'
            if not machine.mods([f'take {page}'])[0][0]:
                machine.mod_ok(f'give {page}')
                done.add((e.node, e.zone))
                break


def only_alloc_stacks(g, who='failnth'):
    """Stacks of warn_alloc(), as if memory had really run out, and no other."""
    console = g.console()
    expect('stacks in the console', console.count('Call Trace:'),
           len(re.findall(rf'{who}: .*, mode:0x', console)))
    g.allow.append('Call Trace:')


UNUSED = ('MemFree', 'Active', 'Inactive', 'Unevictable', 'Slab', 'KernelStack', 'PageTables')


def used_kib(machine):
    """Memory in KiB that the kernel has taken page by page for what is in no list,
    such as memmaps and its own page tables, with nothing cached for later: the
    least of some looks, as processes take a moment to be gone for good."""
    looks = []
    for _ in range(4):
        machine.sh('sync; echo 3 >/proc/sys/vm/drop_caches; echo 1 >/proc/sys/vm/compact_memory; '
                   'for s in /sys/kernel/slab/*/shrink; do echo 1 >$s; done 2>/dev/null || true',
                   timeout=120)
        drain(machine)
        info = machine.meminfo()
        looks.append(info['MemTotal'] - sum(info[name] for name in UNUSED))
        if len(looks) > 1 and looks[-1] >= looks[-2]:
            break
    return min(looks)
