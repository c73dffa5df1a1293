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
SPARE = 0x40000000              # RAM above mem=1G, free for adding
BLOCK = SPARE // SECTION
# With mem=5G, so that zone Normal has other memory, which the kernel uses first
HIGH = {'mem': '6G', 'maxmem': None, 'cmdline': 'mem=5G'}
SPARE_HIGH = 0x140000000
FIRST = 0x100000000             # where DIMMs can be, above 4 GiB
TWO_NODES = ['-object', 'memory-backend-ram,id=m0,size=1G,reserve=off',
             '-object', 'memory-backend-ram,id=m1,size=1G,reserve=off',
             '-numa', 'node,nodeid=0,memdev=m0,cpus=0', '-numa', 'node,nodeid=1,memdev=m1']
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
# the companion module shows all that; it is traced.
STEPS = ('boot', 'fixes', 'lifetime', 'granules', 'memmap', 'virtio-mem', 'debug', 'trace')
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


# --- extents, and the pages in them --------------------------------------------

def section_is_gone(g, start):
    values = g.mod_values(f'section {h(start)}')
    expect(f'section of {start:#x}', {k: values[k] for k in ('present', 'usage', 'memmap')},
           {'present': '0', 'usage': '0', 'memmap': '0'})


def expect_both(g, *commands):
    for command, (error, _) in zip(commands, g.mods(commands)):
        expect(command, error, None)


def poison_is(g, kib):
    expect('HardwareCorrupted', g.meminfo()['HardwareCorrupted'], kib)


def take(g, at):
    """Have the kernel take a page of a kernel zone, which it may use at the moment."""
    def taken():
        error, _ = g.mod(f'take {h(at)} {h(PAGE)}')
        if error != 'EBUSY':
            expect(f'take {at:#x}', error, None)
        return not error

    g.wait_for(f'the page at {at:#x}', taken)


def pin(g, start, size):
    """Hold a page of the range that somebody uses."""
    page = g.mod_values(f'pin {h(start)} {h(size)}')['page']
    expect_between('page that is held', int(page, 0), start, start + size - 1)


def still_usable(g, start, size, all_of=0):
    """Pages of every order come from the range, and hold what is written; all_of:
    how much there is of memory that the allocator may look at first."""
    for order in (0, 3, 9):
        total = 2 * size + SECTION + all_of
        got = g.mod_values(f'churn 0 {h(total)} {order} {h(start)} {h(size)}', timeout=300)
        expect('bad pages', int(got['bad']), 0)
        expect_between(f'order-{order} pages inside', int(got['inside']), 1, size // PAGE)


def free_bytes(g):
    return g.meminfo()['MemFree'] * 1024


def huge_pages(g, kib, count):
    """Set the number of huge pages of a size: what the kernel got."""
    path = f'{HUGE}/hugepages-{kib}kB/nr_hugepages'
    expect(f'write {path}', g.write(path, count, timeout=120), None)
    return int(g.read(path))


# --- operations that take time, fail, or say why -------------------------------

PATIENCE = 10                   # of an operation that nobody can stop, in seconds
HWPOISON = '/sys/kernel/debug/hwpoison'


@contextlib.contextmanager
def seconds(g, what, low, high):
    """What is done here takes a time between these; longer on a slow kernel."""
    start = time.monotonic()
    yield
    expect_between(f'{g.name}: seconds for {what}', round(time.monotonic() - start, 1),
                   low, high * g.slow)


def others_go_on(g, spare=None):
    """Nobody has kept a lock: other memory comes and goes at once, and states are told."""
    with seconds(g, 'another operation', 0, 5):
        if spare:
            g.mod_ok(f'add 0 {h(spare)} {h(GRANULE)}')
            g.mod_ok(f'offremove {h(spare)} {h(GRANULE)}')
        else:
            g.plug('other', GRANULE)
            g.eject('other')
        # The second takes the lock of hotplug.
        states = set(g.sh(f'cat {MEMORY}/memory*/state').split())
        expect('states', states - {'online', 'offline'}, set())
        expect('blocks', g.read('/sys/kernel/debug/mhp/blocks').startswith('block=0 '), True)


@contextlib.contextmanager
def going_offline(g, block, page):
    """A block is going offline, kept by a page that is held, until this is left."""
    state = f'{MEMORY}/memory{block[0] // SECTION}/state'
    expect_between('a page of the block', page, block[0], sum(block) - 1)
    pin(g, page, 4096)
    g.sh(f"bash -c 'printf offline >{state}' >/tmp/offline 2>&1 & echo $! >/tmp/writer; "
         f'until grep -q going {state}; do usleep 50000; done')
    yield
    g.mod_ok('unpin')
    with seconds(g, 'going offline', 0, 20):
        g.sh('while [ -d /proc/$(cat /tmp/writer) ]; do usleep 50000; done', timeout=60)
    expect('said by offline', g.read('/tmp/offline'), '')
    expect('state', g.read(state).strip(), 'offline')


STAMP = re.compile(r'^(<\d+>)?\[ *\d+\.\d+\] ')


def log_of(g, action):
    """What an action returns, and the lines of the log meanwhile."""
    g.sh('dmesg -c >/dev/null')
    result = action()
    lines = [STAMP.sub('', line) for line in g.sh('dmesg -c').splitlines()]
    # The clock settles some seconds after boot, on its own.
    return result, [line for line in lines if not line.startswith(('tsc: ', 'clocksource: '))]


def range_of(start, size):
    """How messages write a range, more or less: first and last byte, the byte
    behind it, or its size; with or without leading zeros."""
    end = (start + size) % (1 << 64)
    last = (end - 1) % (1 << 64)
    return f'0x0*{start:x}(-0x0*{end:x}|-0x0*{last:x}|, size {h(size)})\\b'


def arm(g):
    """Let all kinds of allocations fail, and say nothing about it."""
    for what, settings in (('failslab', {'ignore-gfp-wait': 'N', 'cache-filter': 'N'}),
                           ('fail_page_alloc', {'ignore-gfp-wait': 'N', 'min-order': 0,
                                                'ignore-gfp-highmem': 'N'})):
        for name, value in {**settings, 'verbose': 0}.items():
            g.sh(f'echo {value} >/sys/kernel/debug/{what}/{name}')


def fail_each(t, g, what, write, *undo, ignore=()):
    """One write, (file, text), with each of its allocations failing in turn; after
    a success, the others take it back."""
    before = snapshot(g)
    args = ' '.join(f"'{word}'" for pair in (write, *undo) for word in pair)
    status, out = g.run(f'/mnt/share/failnth {args}', timeout=900)
    codes = [int(c) for c in re.findall(r'^\d+ (\d+) 1$', out, re.M)]
    end = out[-300:]
    expect_same(f'{what}, its allocations failing: {end}', snapshot(g), before, ignore)
    expect(f'{what}: {end}', status, 0)
    # Some notifiers know only "no", and that means EPERM.
    expect(f'{what}: errnos', sorted(set(codes) - {0, 1, 12}), [])
    expect_between(f'{what}: allocations that matter', len(codes) - codes.count(0), 1, len(codes))
    t.note(f'{what}: {len(codes)} allocations, {codes.count(0)} of them not needed')


# --- kmem ----------------------------------------------------------------------

DAX_SIZE = 414 * MIB            # of 416 MiB; libnvdimm keeps 2 MiB


def dax_guest(t, mem, start, cmdline='', debugfs=False, guest=None, tools=()):
    """A guest, or what guest() makes, with a legacy pmem region of 416 MiB at start; tools:
    folders with other programs than those that guests have."""
    return (guest or t.guest)(mem='2G', cmdline=f'mem={mem} memmap=416M!{h(start)} {cmdline}',
                              share=[builtin_index(t.base, t.flavour), *tools], debugfs=debugfs)


def make_dax(g, start):
    """Make the region a device-dax device, and return the range of the device."""
    g.sh(BUILTIN_INDEX)
    # Other versions than those that guests have, if given
    g.sh('cd /mnt/share/daxctl 2>/dev/null || exit 0; for p in daxctl ndctl; do '
         'echo "exec $PWD/run $p \\"\\$@\\"" >/usr/bin/$p; '
         '[ "$($p --version)" = "$(./run $p --version)" ] || exit 1; done')
    g.sh('ndctl create-namespace -f -e namespace0.0 -m devdax -M mem -a 2M', timeout=120)
    size = int(g.read('/sys/bus/dax/devices/dax0.0/size'))
    expect('size of the dax device', size, DAX_SIZE)
    line = re.search(r'([0-9a-f]+)-[0-9a-f]+ : dax0\.0', g.read('/proc/iomem'))
    expect('start of the dax device', int(line[1], 16), start + 2 * MIB)
    return start + 2 * MIB


def to_system_ram(g):
    out = g.sh('daxctl reconfigure-device --mode=system-ram dax0.0', timeout=120)
    if 'reconfigured 1 device' not in out:
        fail('daxctl reconfigure-device', 'reconfigured 1 device', out)


def to_devdax(g):
    out = g.sh('daxctl reconfigure-device --mode=devdax -f dax0.0', timeout=120)
    if 'reconfigured 1 device' not in out:
        fail('daxctl reconfigure-device', 'reconfigured 1 device', out)


def full_blocks(dax):
    """The memory blocks that the device at that address fills"""
    return range(-(-dax // SECTION), (dax + DAX_SIZE) // SECTION)


def offline_full(g, dax):
    """Take all the blocks offline that the device at that address fills."""
    for block in full_blocks(dax):
        expect(f'offline of memory{block}', g.state(block, 'offline'), None)


def unbind(g, dax=None):
    """Unbind kmem; with the address of the device, after its full blocks went offline."""
    for block in full_blocks(dax) if dax else ():
        if g.read(f'{MEMORY}/memory{block}/state') != 'offline\n':
            expect(f'offline of memory{block}', g.state(block, 'offline'), None)
    expect('unbind kmem', g.write('/sys/bus/dax/drivers/kmem/unbind', 'dax0.0', timeout=120), None)
    if 'kmem' in g.sh('readlink /sys/bus/dax/devices/dax0.0/driver || true'):
        fail('driver of dax0.0', 'none', 'kmem')


def bind_kmem(g):
    """Bind kmem without daxctl, which would put the memory online."""
    expect('unbind', g.write('/sys/bus/dax/drivers/device_dax/unbind', 'dax0.0'), None)
    expect('bind', g.write('/sys/bus/dax/drivers/kmem/new_id', 'dax0.0', timeout=120), None)


def bind_devdax(g):
    expect('bind device_dax', g.write('/sys/bus/dax/drivers/device_dax/bind', 'dax0.0'), None)


# --- virtio-mem ----------------------------------------------------------------

FORCE = 'memory_hotplug.memmap_on_memory=force'
STRUCT_PAGE = 64
MEMMAP_PAGES = GRANULE // PAGE * STRUCT_PAGE // PAGE    # for a granule: 8


class Device:
    """A virtio-mem device of a guest."""

    def __init__(self, g, number=0):
        self.g, self.path = g, f'/machine/peripheral/vm{number}'

    @staticmethod
    def args(size, number=0, addr=None, node=None, block=GRANULE, backend='ram'):
        """What QEMU needs for one; block: the size of its blocks."""
        device = (f'virtio-mem-pci,id=vm{number},memdev=vm-m{number},requested-size=0,'
                  f'block-size={block // MIB}M')
        if addr is not None:
            device += f',memaddr={h(addr)}'
        if node is not None:
            device += f',node={node}'
        return ['-object', f'memory-backend-{backend},id=vm-m{number},size={size // MIB}M,'
                           'reserve=off', '-device', device]

    def ask(self, size):
        self.g.qmp('qom-set', path=self.path, property='requested-size', value=size)

    def size(self):
        return self.g.qmp('qom-get', path=self.path, property='size')

    def start(self):
        devices = {d['data']['id']: d['data'] for d in self.g.qmp('query-memory-devices')}
        return devices[self.path.rsplit('/', 1)[1]]['memaddr']

    def resize(self, size, timeout=60):
        """Until the guest has done so."""
        self.ask(size)
        self.g.wait_for(f'{size // MIB} MiB plugged, of {self.path}',
                        lambda: self.size() == size, timeout)
        # The guest may still be at it.
        self.settle()

    def try_resize(self, size, timeout=60):
        """Bytes plugged once it has that size, the time is over, or the guest has died."""
        end = time.monotonic() + timeout * self.g.slow
        plugged = 0
        with contextlib.suppress(GuestError):
            self.ask(size)
            while (plugged := self.size()) != size and time.monotonic() < end:
                time.sleep(0.02)
        return plugged

    def settle(self):
        """Until the worker of the driver sleeps."""
        self.g.sh('for i in $(seq 400); do '
                  'grep -qs +events_freezable /proc/[0-9]*/comm || break; usleep 50000; done',
                  timeout=120)


def ours(g):
    """(start, size, online, bytes of memmap on itself) of what virtio-mem added."""
    ranges = [(int(a, 16), int(b, 16) + 1) for a, b in re.findall(
        r'^ *(\w+)-(\w+) : System RAM \(virtio_mem\)', g.read('/proc/iomem'), re.M)]
    return [(e.start, e.end - e.start, e.online, e.hosted_bytes) for e in g.extents()
            if any(start <= e.start < end for start, end in ranges)]


# --- what a guest shows --------------------------------------------------------

class Watch:
    """What a guest shows of memory hotplug, relative to how it booted."""

    def __init__(self, g):
        self.g = g
        self.log = []
        g.auto_online('offline')
        g.sh('setsid uevent env >/tmp/uevents 2>&1 &')
        # It is listening once it has told of something.
        g.sh('while [ ! -s /tmp/uevents ]; do '
             'echo change >/sys/devices/virtual/mem/null/uevent; usleep 50000; done')
        self.seen_events = 0
        self.zones, self.maps = self._zones(), self._maps()

    def _zones(self):
        return parse_zoneinfo(self.g.read('/proc/zoneinfo'))

    def _maps(self):
        text = self.g.sh('grep -h -E "^nr_memmap(_boot)?_pages " /proc/vmstat; '
                         'grep DirectMap /proc/meminfo')
        return {k: int(v) for k, v in re.findall(r'^(\w+):?\s+(\d+)', text, re.M)}

    def new_events(self):
        """The uevents since the last call."""
        # Each event is an environment of its own; a marker shows that all are in.
        self.g.sh('n=$(grep -c virtual/mem/null /tmp/uevents); '
                  'echo change >/sys/devices/virtual/mem/null/uevent; '
                  'while [ $(grep -c virtual/mem/null /tmp/uevents) = $n ]; do usleep 20000; done; '
                  'usleep 100000')
        events, current = [], []
        for line in self.g.read('/tmp/uevents').splitlines():
            if re.match(r'(SHLVL|HOME|OLDPWD|TERM|PATH|PWD|LC_ALL|_)=', line):
                continue
            if line.startswith('SEQNUM='):
                events.append(' '.join(current))
                current = []
            else:
                current.append(line)
        events = [e for e in events if 'virtual/mem/null' not in e]
        new, self.seen_events = events[self.seen_events:], len(events)
        return new

    def step(self, what, result=None):
        """Take down what an action has returned and led to."""
        out = [f'returned {result}']
        snap = snapshot(self.g)
        for part in ('sysfs tree', 'memory sysfs', 'node sysfs'):
            out += [f'{part}: {line}' for line in snap[part].splitlines()]
        # What of the BIOS looks like a ROM is not the same at each boot.
        out += [f'iomem: {line}' for line in snap['iomem'].splitlines()
                if (re.match(r'\S.*', line) or 'System RAM' in line) and
                'Adapter ROM' not in line]
        zones = self._zones()
        for key, values in sorted(zones.items()):
            old = self.zones.get(key, {})
            moved = {k: v - old.get(k, 0) for k, v in values.items() if k != 'start_pfn'}
            out.append(f'zone {key}: {moved}')
        out += [f'{k}: {v - self.maps.get(k, 0):+d}' for k, v in self._maps().items()]
        out += [f'uevent: {e}' for e in self.new_events()]
        self.log.append((what, out))

    def state(self, block, value):
        self.step(f'{value} to memory{block}', self.g.state(block, value))

    def probe(self, *args):
        self.step(f'probe {" ".join(map(h, args))}', self.g.probe(*args))
