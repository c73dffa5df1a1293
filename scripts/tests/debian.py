# SPDX-License-Identifier: GPL-2.0
"""Memory by granules under the tools of Debian 13: bpftrace, makedumpfile, stress-ng,
page-types, memtester, daxctl.

Its file system is on a disk of the guest; what is written to it is forgotten. The agent
mounts it and runs programs there by chroot: that is all of a Debian user space but
systemd, which an emulated CPU takes minutes for. scripts/debian-image.sh makes it. make
test-debian runs these cases, on the kernel that is configured as Debian's, and they
compare with stock.
"""

import contextlib
import json
import os
import re
import shlex
import struct
import subprocess
import tempfile

from events import Trace
from lib import (BUILD, BUILTIN_INDEX, CROSS, FIRST, GIB, MEMORY, MIB, PAGE, SECTION, SNAPSHOT,
                 SPARE, TOP, World, _build, builtin_index, case, expect, expect_between,
                 expect_lines, fail, free_bytes, h, huge_pages, merge, show, system_ram)
from virtio_mem_boot import dumped, load, without

IMAGE = os.path.join(BUILD, 'debian-13.img')
ROOT = '/debian'
# What is mounted in there; its own /tmp would be on the disk.
SHARED = ('dev', 'proc', 'sys', 'tmp', 'mnt')
ODD = 134 * MIB


def disk(number, path, snapshot):
    return ['-drive', f'file={path},format=raw,if=none,id=disk{number},'
                      f'snapshot={"on" if snapshot else "off"}',
            '-device', f'virtio-blk-pci,drive=disk{number},serial=disk{number}']


def device(g, number):
    """The block device that a disk is in the guest"""
    return '/dev/' + g.sh(f'grep -lx disk{number} /sys/block/vd*/serial').split('/')[3]


def mount(g, more=()):
    """Mount Debian at /debian; more: folders of the guest to be seen in it as well."""
    g.sh(f'mkdir -p {ROOT}; mount -t ext4 {device(g, 0)} {ROOT}')
    for name in (*SHARED, *more):
        g.sh(f'mkdir -p {ROOT}/{name}; [ ! -d /{name} ] || mount --rbind /{name} {ROOT}/{name}')


def run(g, command, timeout=60):
    """A shell command in Debian: (status, output)"""
    return g.run(f'chroot {ROOT} /bin/sh -c {shlex.quote(command)}', timeout)


def sh(g, command, timeout=60):
    """A shell command in Debian that must succeed: its output"""
    return g.sh(f'chroot {ROOT} /bin/sh -c {shlex.quote(command)}', timeout)


@contextlib.contextmanager
def debian(t, args=(), **more):
    """A guest with Debian at /debian."""
    done = subprocess.run([os.path.join(TOP, 'scripts', 'debian-image.sh')], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        fail('scripts/debian-image.sh', IMAGE, done.stdout)
    with t.guest(args=[*disk(0, IMAGE, True), *args], **more) as g:
        mount(g)
        yield g


# --- trace events ----------------------------------------------------------------

EVENTS = ('memory_add', 'memory_remove', 'memory_online', 'memory_offline', 'memmap_populate')
# As in docs/testing.md
SUMS = (','.join(f'tracepoint:memory_hotplug:{e}' for e in EVENTS) +
        '{ @bytes[probe] = sum(args.size); @ns[probe] = sum(args.ns); @calls[probe] = count() }')


@case(flavours=('distro',), needs='trace')
def in_debian_bpftrace(t):
    """bpftrace sums up bytes and nanoseconds by the trace events of each operation."""
    with debian(t, mem='2G') as g:
        w = World(g)
        trace = Trace(g)
        g.auto_online('online_movable')
        # The kernel here has no BTF, as Debian's has: without that, bpftrace wants a header.
        g.sh('mkdir -p /tmp/include/linux; cd /tmp/include/linux; { echo "typedef _Bool bool;"; '
             'for b in 8 16 32 64; do echo "typedef __UINT${b}_TYPE__ u$b; '
             'typedef __INT${b}_TYPE__ s$b;"; done; } >types.h')
        script = shlex.quote('BEGIN { printf("ready") } ' + SUMS)
        g.sh(f'setsid chroot {ROOT} bpftrace -I /tmp/include -f json -e {script} </dev/null '
             '>/tmp/out 2>&1 & echo $! >/tmp/pid')
        g.wait_for('bpftrace is ready', lambda: '"ready"' in g.read('/tmp/out') or
                   g.sh('[ -d /proc/$(cat /tmp/pid) ] || cat /tmp/out'), 120)
        trace.new()
        before = float(g.read('/proc/uptime').split()[0])
        for n, size in enumerate((ODD, 2 * MIB, 62 * MIB)):
            g.plug(f'd{n}', size)
        for n in (1, 0, 2):
            g.eject(f'd{n}')
        took = float(g.read('/proc/uptime').split()[0]) - before
        w.check([], 'ejected')
        g.sh('kill -INT $(cat /tmp/pid); while [ -d /proc/$(cat /tmp/pid) ]; do usleep 50000; done')
        maps = {}
        for line in g.read('/tmp/out').splitlines():
            if line.startswith('{"type": "map"'):
                maps |= json.loads(line)['data']
        t.note(g.read('/tmp/out'))
        seen = {e: {} for e in EVENTS}
        for event, values in trace.new():
            expect(f'{event}: ret', values['ret'], '0')
            sums = seen[event]
            for key, value in (('@bytes', int(values['size'], 0)), ('@calls', 1)):
                sums[key] = sums.get(key, 0) + value
        for event, sums in seen.items():
            probe = f'tracepoint:memory_hotplug:{event}'
            expect(f'{event}: bytes and calls', {k: maps[k][probe] for k in sums}, sums)
            expect(f'{event}: bytes', sums['@bytes'], ODD + 64 * MIB)
            expect_between(f'{event}: ns', maps['@ns'][probe], 1, int(took * 1e9))


# --- kdump -----------------------------------------------------------------------

def unflatten(source, target):
    """Write the dump that a flattened one stands for: records of offset, size and data."""
    with open(source, 'rb') as f, open(target, 'wb') as out:
        expect('signature', f.read(4096).split(b'\0')[0], b'makedumpfile')
        while True:
            offset, size = struct.unpack('>qq', f.read(16))
            if offset < 0:
                return
            out.seek(offset)
            out.write(f.read(size))


class Dump:
    """A dump of makedumpfile in the format of ELF"""

    def __init__(self, g, level, disk_file, folder):
        out = sh(g, f'makedumpfile -F -E -d {level} --message-level 22 /proc/vmcore 2>/tmp/said | '
                    f'dd of={device(g, 1)} bs=1M iflag=fullblock 2>/dev/null; sync; cat /tmp/said',
                    timeout=300)
        expect('makedumpfile', 'makedumpfile Completed' in out or out, True)
        self.path = os.path.join(folder, f'dump-{level}')
        unflatten(disk_file, self.path)
        # (address, offset, bytes in the file, bytes of memory)
        self.parts = []
        with open(self.path, 'rb') as f:
            head = f.read(64)
            expect('magic of the dump', head[:4], b'\x7fELF')
            at, count = struct.unpack_from('<Q', head, 32)[0], struct.unpack_from('<H', head, 56)[0]
            f.seek(at)
            for _ in range(count):
                kind, _, offset, virt, phys, file, size, _ = struct.unpack('<IIQQQQQQ', f.read(56))
                if kind == 1 and virt < 0xffffffff80000000:
                    self.parts.append((phys, offset, file, size))

    def loads(self):
        return merge([(p[0], p[0] + p[3]) for p in self.parts])

    def content(self, start, size):
        """(address, bytes) of what is dumped of a range"""
        with open(self.path, 'rb') as f:
            for phys, offset, file, _ in self.parts:
                low, high = max(phys, start), min(phys + file, start + size)
                if low < high:
                    f.seek(offset + low - phys)
                    yield low, f.read(high - low)


def hoard(g, start, size):
    """Have the kernel itself hold free pages of a range, with what they had before."""
    with g.filled(g.meminfo()['MemFree'] * 1024 - 80 * MIB):
        pass
    if not g.has_module:
        return []
    return [(int(p, 16), PAGE << int(order)) for line in g.mod_ok(f'hoard 0 {h(start)} {h(size)}')
            for p, order in re.findall(r'page=(\w+) order=(\d+)', line)]


def check_dumps(g, dump, kernel, dimms, contents):
    """All of each DIMM is in the first dump; in the second, what the kernel holds, less zeros."""
    for (start, size), content in zip(dimms, contents):
        seen = [*dump[0].content(start, size)]
        expect(f'bytes dumped of {start:#x}', sum(len(c) for _, c in seen), size)
        expect(f'content of {start:#x}', b''.join(c for _, c in seen) == content, True)
        there = set()
        for address, part in dump[31].content(start, size):
            at = address - start
            expect(f'content of {address:#x}, filtered', part == content[at:at + len(part)], True)
            there |= {*range(address, address + len(part), PAGE)}
        g.test.note(f'{g.name}: {len(there)} pages of {start:#x} in the filtered dump')
        held = {page for page, length in kernel if start <= page < start + size
                for page in range(page, page + length, PAGE)
                if any(content[page - start:page - start + PAGE])}
        if kernel and start != dimms[0][0]:
            expect_between('pages that the kernel holds', len(held), 1024, size // PAGE)
        expect_lines('pages that the kernel holds, and are not dumped', sorted(held - there), [])


def kdump(t, flavour):
    """Plug, kexec -p, plug, crash; dump all, and what is the kernel's own."""
    sizes = [134 * MIB, 62 * MIB] if flavour != 'stock' else [128 * MIB] * 2
    with tempfile.TemporaryDirectory(prefix='mhp-') as folder:
        disk_file = os.path.join(folder, 'disk')
        with open(disk_file, 'wb') as f:
            f.truncate(2 * GIB)
        with debian(t, flavour=flavour, mem='512M', share=[t.image(flavour)],
                    cmdline='crashkernel=208M unknown_nmi_panic init_on_alloc=0',
                    args=disk(1, disk_file, False)) as g:
            g.allow += ['Kernel panic - not syncing: NMI: Not continuing', 'Call Trace:']
            g.auto_online('online_movable')
            g.plug('d0', sizes[0])
            # As distributions do: the next kernel would add the DIMMs, and so keep them from
            # being read, stock as well.
            load(g, "-p --append='nr_cpus=1 acpi_no_memhotplug'")
            g.auto_online('online_kernel')
            g.plug('d1', sizes[1])
            dimms = [(g.dimm_address(f'd{n}'), size) for n, size in enumerate(sizes)]
            kernel = hoard(g, *dimms[1])
            iomem = g.read('/proc/iomem')
            g.sh('cd /dev/shm; dd if=/dev/urandom of=random bs=1M count=5 2>/dev/null; '
                 'for n in $(seq 8); do cat random; done >content')
            # The NMI is what comes next: nobody writes to the DIMMs from here on.
            g.qmp('stop')
            contents = []
            for start, size in dimms:
                path = os.path.join(folder, 'memory')
                g.qmp('pmemsave', val=start, size=size, filename=path)
                with open(path, 'rb') as f:
                    contents.append(f.read())
            g.qmp('inject-nmi')
            g.qmp('cont')
            g.boot_again()
            mount(g)
            crash = [(int(a, 16), int(b, 16) + 1) for a, b in
                     re.findall(r'^ *(\w+)-(\w+) : Crash kernel', iomem, re.M)]
            plugged = without(system_ram(iomem), crash + [(0, MIB)])
            expect_lines('memory in /proc/vmcore',
                         show(merge([(a, a + n) for a, _, n in dumped(g)])), show(plugged))
            dump = {level: Dump(g, level, disk_file, folder) for level in (0, 31)}
            for level, d in dump.items():
                expect_lines(f'LOAD segments, -d {level}', show(d.loads()), show(plugged))
            check_dumps(g, dump, kernel, dimms, contents)


@case(first=True, flavours=('distro',))
def in_debian_kdump(t):
    """I2 I7: makedumpfile dumps each DIMM to the byte, also one plugged after kexec -p."""
    for flavour in ('stock', t.flavour):
        kdump(t, flavour)


# --- stress, tools ---------------------------------------------------------------

def odd_dimms(flavour, count=3):
    """(name, start, size) of DIMMs that share blocks; of whole blocks for stock"""
    start = FIRST
    for n, mib in enumerate((134, 62, 188)[:count]):
        size = mib * MIB if flavour != 'stock' else 128 * MIB
        yield f'd{n}', start, size
        start += size


def plug(g, dimms, zone='Movable'):
    """Plug DIMMs to a zone: what World is to see."""
    g.auto_online('online_movable' if zone == 'Movable' else 'online_kernel')
    for name, start, size in dimms:
        g.plug(name, size, addr=start)
    return [(start, size, 0, zone) for _, start, size in dimms]


def all_there(g, w, rams, total, what):
    """No page is lost, or comes twice."""
    if g.has_module:
        w.check(rams, what)
    expect(f'{g.name}: {what}: MemTotal', g.memtotal(), total + sum(r[1] for r in rams))


STRESS = ('--memhotplug 2', '--vm 1 --vm-bytes 96M --verify --madvise 1 --pagemove 1 --mremap 1 '
          '--physpage 1 --mlock 1 --remap 1 --numa 1')


@case(flavours=('distro',))
def in_debian_stress(t):
    """I1 I4: stress-ng takes blocks offline and online, and moves pages; all memory is there."""
    said = {}
    for flavour in ('stock', t.flavour):
        # What is just online is Movable then, as it was.
        with debian(t, flavour=flavour, mem='1G', smp=2, cmdline='movable_node') as g:
            w = World(g) if g.has_module else None
            total = g.memtotal()
            rams = plug(g, [*odd_dimms(flavour)])
            said[flavour] = []
            for stressors in STRESS:
                out = sh(g, f'cd /tmp && stress-ng {stressors} --timeout 10 2>&1', timeout=120)
                said[flavour] += [re.sub(r'^.*?\] ', '', line) for line in out.splitlines()
                                  if re.search(r'\] (skipped|passed|failed):', line)]
                all_there(g, w, rams, total, f'after {stressors}')
            for name in ('d1', 'd0', 'd2'):
                g.eject(name)
            all_there(g, w, [], total, 'ejected')
    expect('what stress-ng says', said[t.flavour], said['stock'])
    expect('passed', any('memhotplug (2)' in line for line in said['stock']), True)


def page_types(t):
    """tools/mm/page-types of the tree, linked statically"""
    tools = os.path.join(BUILD, t.base, 'tree', 'tools')
    sources = [os.path.join(tools, f) for f in ('mm/page-types.c', 'lib/api/fs/fs.c',
                                                'lib/api/debug.c', 'lib/str_error_r.c')]
    folders = [f'-I{os.path.join(tools, f)}' for f in ('include', 'lib', 'lib/api')]
    out = os.path.join(BUILD, 'guest', t.arch, t.base, 'page-types')
    return _build(out, sources, [CROSS[t.arch] + 'gcc', '-O2', '-static', '-w', *folders,
                                 '-o', out, *sources])


def pages_of(g, ranges, bits=''):
    """How many pages of the ranges have one of these flags, by page-types; or are there"""
    where = ' '.join(f'-a {h(start // PAGE)}+{h(size // PAGE)}' for start, size in ranges)
    out = sh(g, f'/mnt/share/page-types {where} {f"-b {bits}" if bits else ""}', timeout=120)
    return int(re.search(r'^ +total\s+(\d+)', out, re.M)[1])


def counters(g, zone):
    """{counter: value} of a zone of node 0"""
    g.sh('echo 1 >/proc/sys/vm/stat_refresh')
    part = re.search(rf'^Node 0, zone +{zone}\n((?: .*\n)*)', g.read('/proc/zoneinfo'), re.M)[1]
    return {k: int(v) for k, v in re.findall(r'^ +(\w+) +(\d+)$', part, re.M)}


def page_types_agree(g, ranges):
    """page-types counts what the zone does: all pages, free ones, and those on LRU lists."""
    def agree():
        g.sh('echo 1 >/proc/sys/vm/compact_memory', timeout=120)
        zone = counters(g, 'Movable')
        seen = {bits: pages_of(g, ranges, bits) for bits in ('buddy', 'lru')}
        seen['all'] = pages_of(g, ranges)
        cached = sum(zone[f'nr_zone_{name}'] for name in (
            'inactive_anon', 'active_anon', 'inactive_file', 'active_file', 'unevictable'))
        g.test.note(f'{seen} {cached} {zone}')
        # page-types itself has some pages, mostly for what it reads.
        return seen['all'] == zone['present'] and seen['buddy'] == zone['nr_free_pages'] and \
            cached - 100 < seen['lru'] < cached + 600

    g.wait_for('page-types and zoneinfo agree', agree, 40)


@case(flavours=('distro',))
def in_debian_page_types(t):
    """I1 I2: page-types counts the pages of odd extents as /proc/zoneinfo does."""
    for flavour in ('stock', t.flavour):
        with debian(t, flavour=flavour, mem='1G', share=[page_types(t)]) as g:
            dimms = [*odd_dimms(flavour)]
            plug(g, dimms)
            with g.filled(160 * MIB) as verify:
                ranges = [d[1:] for d in dimms]
                page_types_agree(g, ranges)
                # A hole, and what is left of a block behind the last
                g.eject('d1')
                del ranges[1]
                page_types_agree(g, ranges)
                end = sum(ranges[-1])
                holes = [dimms[1][1:], (end, -end % SECTION)]
                for hole in holes[:2 if holes[1][1] else 1]:
                    expect(f'pages in use from {hole[0]:#x}', pages_of(g, [hole], '~nopage,buddy') +
                           pages_of(g, [hole], 'lru,slab,mmap,pgtable,huge'), 0)
                verify()


@case(flavours=('distro',))
def in_debian_two_nodes(t):
    """I1: memtester finds nothing in a block of two nodes, while migratepages moves it about."""
    nodes = ['-object', 'memory-backend-ram,id=m0,size=1G,reserve=off',
             '-numa', 'node,nodeid=0,memdev=m0,cpus=0', '-numa', 'node,nodeid=1']
    for flavour in ('stock', t.flavour):
        with debian(t, flavour=flavour, args=nodes) as g:
            g.auto_online('online_movable')
            sizes = [128 * MIB] * 2 if flavour == 'stock' else [62 * MIB, 64 * MIB]
            for node, size in enumerate(sizes):
                g.plug(f'd{node}', size, addr=FIRST + node * sizes[0], node=node)
            # All of node 1 is that DIMM.
            expect('numactl -H', re.search(r'^node 1 size: (.*)', sh(g, 'numactl -H'), re.M)[1],
                   f'{sizes[1] // MIB} MB')
            g.sh(f'setsid chroot {ROOT} env MEMTESTER_TEST_MASK=0x7f numactl --membind=1 '
                 'memtester 24M 2 </dev/null >/tmp/said 2>&1 & echo $! >/tmp/pid')
            pid = g.read('/tmp/pid').strip()
            g.wait_for('memtester has locked its memory', lambda: 'locked' in g.read('/tmp/said'))
            moved = []
            for source, target in ((1, 0), (0, 1), (1, 0)):
                sh(g, f'migratepages {pid} {source} {target}', timeout=120)
                where = re.findall(rf'N{target}=(\d+)', g.read(f'/proc/{pid}/numa_maps'))
                moved.append(sum(map(int, where)))
            # 24 MiB, and what else it has that is not a library's
            for pages in moved:
                expect_between('pages moved', pages, 24 * MIB // PAGE, 24 * MIB // PAGE + 600)
            g.wait_for('memtester is done', lambda: g.sh(f'[ -d /proc/{pid} ] || echo done'), 60)
            out = g.read('/tmp/said')
            expect('memtester', ('Done.' in out, 'FAILURE' in out), (True, False))
            for node in (1, 0):
                g.eject(f'd{node}')
            if flavour != 'stock':
                expect('the block is gone', g.sh(f'ls -d {MEMORY}/memory{FIRST // SECTION} '
                                                 '2>/dev/null || echo gone').strip(), 'gone')


# --- daxctl ----------------------------------------------------------------------

# Two devices in one block, with a gap of 2 MiB between them, and what Debian's libnvdimm
# keeps of each.
DAX = [(SPARE + 8 * MIB, 32 * MIB), (SPARE + 42 * MIB, 48 * MIB)]
DAX_KEEPS = 2 * MIB


def dax_devices(g):
    """Make the regions devices, by ndctl: their names"""
    sh(g, BUILTIN_INDEX)
    names = []
    for start, _ in DAX:
        path = g.sh(f'grep -lx {h(start)} /sys/bus/nd/devices/region*/resource')
        number = re.search(r'region(\d+)', path)[1]
        out = sh(g, f'ndctl create-namespace -f -e namespace{number}.0 -m devdax -M mem -a 2M', 120)
        names.append(json.loads(out)['daxregion']['devices'][0]['chardev'])
    return names


def reconfigure(g, mode, name):
    """By daxctl: how many it says that it has done"""
    out = run(g, f'daxctl reconfigure-device --mode={mode} -f {name} 2>&1', 120)[1]
    done = re.search(r'^reconfigured (\d+) device', out, re.M) or fail('daxctl', mode, out)
    g.test.note(f'{g.name}: {mode} of {name}: {out}')
    return int(done[1])


@case(flavours=('distro',))
def in_debian_daxctl_in_a_block(t):
    """R5 R6: daxctl makes two devices of one block System RAM, and undoes it, in turn."""
    regions = ' '.join(f'memmap={size // MIB}M!{h(start)}' for start, size in DAX)
    for flavour in ('stock', t.flavour):
        with debian(t, flavour=flavour, mem='2G', cmdline=f'mem=1G {regions}',
                    share=[builtin_index(t.base, flavour)]) as g:
            names = dax_devices(g)
            # daxctl puts those blocks online that a device fills, and there are none: the
            # kernel does, and -f has daxctl go on all the same.
            g.auto_online('online_movable')
            if flavour == 'stock':
                before = g.memtotal()
                for name in names:
                    expect('reconfigured', reconfigure(g, 'system-ram', name), 0)
                expect('MemTotal', g.memtotal(), before)
                continue
            rams = [(start + DAX_KEEPS, size - DAX_KEEPS, 0, 'Movable') for start, size in DAX]
            w = World(g)
            for first in (0, 1):
                second = 1 - first
                for n, there in ((first, [rams[first]]), (second, rams)):
                    expect('reconfigured', reconfigure(g, 'system-ram', names[n]), 1)
                    w.check(there, f'{names[n]} is System RAM', spans=False, devices=None)
                with g.filled(40 * MIB) as verify:
                    for n, there in ((first, [rams[second]]), (second, [])):
                        expect('reconfigured', reconfigure(g, 'devdax', names[n]), 1)
                        w.check(there, f'{names[n]} is a device', spans=False, devices=None)
                    verify()


# --- hibernation, balloon, huge pages, DAMON -------------------------------------

# The console of a guest that was hibernated no longer reaches its agent: QEMU takes the
# device's reset for a guest that closes it. A script says on the serial console what it sees.
HIBERNATE = f"""
look() {{ ({SNAPSHOT}) | grep -v -e MemFree >$1; }}
mkfifo /tmp/in
/mnt/share/memfill small {160 * MIB} 9 <>/tmp/in >/tmp/out &
until grep -q filled /tmp/out; do usleep 50000; done
look /tmp/before
echo disk >/sys/power/state && echo case: hibernated >/dev/ttyS0
echo verify >/tmp/in
until grep -q -e verified -e bad /tmp/out; do usleep 50000; done
echo "case: content $(tail -n 1 /tmp/out)" >/dev/ttyS0
look /tmp/after
cmp /tmp/before /tmp/after && echo case: same >/dev/ttyS0
kill %1
echo case: ready >/dev/ttyS0
until [ "$(grep MemTotal /proc/meminfo)" = "$1" ]; do usleep 50000; done
echo case: gone >/dev/ttyS0
"""


@case(flavours=('distro',))
def in_debian_hibernation(t):
    """I1 I4: an image of odd extents is written and read again; what they hold is as it was."""
    for flavour in ('stock', t.flavour):
        with tempfile.NamedTemporaryFile() as swap:
            swap.truncate(GIB)
            with debian(t, flavour=flavour, mem='512M', args=disk(1, swap.name, False)) as g:
                total = g.sh('grep MemTotal /proc/meminfo').strip()
                plug(g, [*odd_dimms(flavour, 2)])
                path = device(g, 1)
                sh(g, f'mkswap {path} && swapon {path}')
                g.write('/sys/power/resume', g.read(f'/sys/block/{path[5:]}/dev').strip())
                expect('mode', g.write('/sys/power/disk', 'test_resume'), None)
                g.sh(f'echo {shlex.quote(HIBERNATE)} >/tmp/hibernate; '
                     f"setsid sh /tmp/hibernate '{total}' >/tmp/said 2>&1 &")

                def said(word):
                    g.wait_for(f'"{word}" in the console',
                               lambda: f'case: {word}' in g.console(), 120)

                for word in ('hibernated', 'content verified 1', 'same', 'ready'):
                    said(word)
                # As the image was made, the next kernel's messages are not in its own log.
                expect('loaded', 'PM: Image loading done' in g.console(), True)
                for name in ('d0', 'd1'):
                    g.eject(name)
                said('gone')


@case(flavours=('distro',))
def in_debian_balloon(t):
    """I1: a balloon takes the last MiB of odd extents, and gives it back."""
    for flavour in ('stock', t.flavour):
        with debian(t, flavour=flavour, mem='512M', args=['-device', 'virtio-balloon-pci']) as g:
            w = World(g) if g.has_module else None
            total = g.memtotal()
            # Not all kernels have a balloon that takes of zone Movable.
            rams = plug(g, [*odd_dimms(flavour)], 'Normal')
            full = 512 * MIB + sum(r[1] for r in rams)

            def inflate(size, timeout=90):
                g.qmp('balloon', value=size)
                g.wait_for(f'{size // MIB} MiB left by the balloon',
                           lambda: g.qmp('query-balloon')['actual'] == size, timeout)

            for _ in range(2):
                # With less, no process could be started any more.
                left = g.meminfo()['MemFree'] * 1024 // MIB * MIB - 80 * MIB
                expect_between('MiB to take', left // MIB, 450, 900)
                inflate(full - left)
                # They are taken first: all but what a zone keeps.
                expect_between('pages free of the DIMMs', counters(g, 'Normal')['nr_free_pages'],
                               0, 32 * MIB // PAGE)
                inflate(full)
                g.wait_for('MemTotal', lambda: g.memtotal() == total + sum(r[1] for r in rams))
                all_there(g, w, rams, total, 'deflated')


@case(flavours=('distro',))
def in_debian_hvo(t):
    """I1 I8: huge pages over odd edges give back their memmap, and get it again, in any order."""
    for flavour in ('stock', t.flavour):
        with debian(t, flavour=flavour, mem='1G', cmdline='hugetlb_free_vmemmap=on') as g:
            w = World(g) if g.has_module else None
            total = g.memtotal()
            # And CPUs shall not keep all that comes free.
            g.sh('cd /proc/sys/vm; echo 100000 >percpu_pagelist_high_fraction; '
                 '[ ! -e movable_gigantic_pages ] || echo 1 >movable_gigantic_pages')
            start = FIRST
            dimms = []
            for n, mib in enumerate((128, 256, 1664) if flavour == 'stock' else (134, 256, 1658)):
                dimms.append((f'd{n}', start, mib * MIB))
                start += mib * MIB
            rams = plug(g, dimms)
            for kib, count, saved in ((2048, 300, 7), (1 << 20, 1, 4095)):
                free = free_bytes(g)
                expect(f'pages of {kib} KiB', huge_pages(g, kib, count), count)
                # More or less, by what else goes on
                gained = (free_bytes(g) - free + (count * kib << 10)) // PAGE
                expect_between(f'pages of memmap that {kib} KiB pages give back', gained,
                               count * saved - 700, count * saved + 700)
                # See gigantic_pages() for those of 1 GiB that are used.
                if kib == 2048:
                    with g.filled(count * kib << 10, how='2m') as verify:
                        # They move, and what is plugged again gets a memmap of its own. While
                        # a worker still gives the memmap back to pages that have moved away,
                        # their block does not go offline, on stock as well.
                        tries = [g.unplug('d1')]
                        while not tries[-1] and len(tries) < 10:
                            tries.append(g.unplug('d1'))
                        t.note(f'{g.name}: d1 is ejected: {tries}')
                        expect('d1 is ejected', tries[-1], True)
                        g.plug('d1', dimms[1][2], addr=dimms[1][1])
                        verify()
                expect('given back', huge_pages(g, kib, 0), 0)
                all_there(g, w, rams, total, f'without {kib} KiB pages')
            for name in ('d1', 'd0', 'd2'):
                g.eject(name)
            all_there(g, w, [], total, 'ejected')


DAMON = '/sys/kernel/mm/damon/admin/kdamonds'


@case(flavours=('distro',))
def in_debian_damon(t):
    """I2: DAMON watches physical memory over holes, while extents come and go."""
    for flavour in ('stock', t.flavour):
        with debian(t, flavour=flavour, mem='1G') as g:
            w = World(g) if g.has_module else None
            total = g.memtotal()
            dimms = [*odd_dimms(flavour)]
            rams = plug(g, dimms)
            end = sum(dimms[-1][1:])
            # Its own use of it, if there is any
            g.sh('for f in /sys/module/damon_*/parameters/enabled; do '
                 '[ ! -e $f ] || echo N >$f; done')
            context = f'{DAMON}/0/contexts/0'
            scheme = f'{context}/schemes/0'
            for path, value in ((f'{DAMON}/nr_kdamonds', 1),
                                (f'{DAMON}/0/contexts/nr_contexts', 1),
                                (f'{context}/operations', 'paddr'),
                                (f'{context}/monitoring_attrs/nr_regions/min', 200),
                                (f'{context}/targets/nr_targets', 1),
                                (f'{context}/targets/0/regions/nr_regions', 1),
                                (f'{context}/targets/0/regions/0/start', FIRST),
                                (f'{context}/targets/0/regions/0/end', end),
                                (f'{context}/schemes/nr_schemes', 1),
                                (f'{scheme}/action', 'stat'),
                                (f'{scheme}/access_pattern/sz/max', 1 << 40),
                                (f'{scheme}/access_pattern/nr_accesses/max', 1 << 30),
                                (f'{scheme}/access_pattern/age/max', 1 << 30)):
                expect(f'write {path}', g.write(path, value), None)
            expect('on', g.write(f'{DAMON}/0/state', 'on'), None)
            with g.filled(128 * MIB) as verify:
                for name, start, size in (dimms[1], dimms[0]):
                    g.eject(name)
                    g.sh('sleep 1')
                    g.plug(name, size, addr=start)
                verify()

                def tried():
                    g.write(f'{DAMON}/0/state', 'update_schemes_stats')
                    return int(g.read(f'{scheme}/stats/sz_tried'))

                g.wait_for('DAMON has seen the range', lambda: tried() >= end - FIRST)
            expect('off', g.write(f'{DAMON}/0/state', 'off'), None)
            all_there(g, w, rams, total, 'watched')
            for name in ('d1', 'd0', 'd2'):
                g.eject(name)
            all_there(g, w, [], total, 'ejected')
