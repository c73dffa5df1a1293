# SPDX-License-Identifier: GPL-2.0
"""scripts/mhp-drgn: what it says of dumps, and of a kernel that runs, against debugfs."""

import contextlib
import json
import os
import re
import subprocess
import tempfile

from debugfs import MHP, mhp_map
from lib import (BUILD, EXTENTS, GRANULE, MIB, PAGE, SECTION, SPARE, TOP, Device, Skipped, case,
                 expect, expect_lines, fail, h, parse_zoneinfo)
from virtio_mem_boot import load

TOOL = os.path.join(TOP, 'scripts', 'mhp-drgn')
LIVE = '/tmp/live'       # in the guest


def tool(*args):
    """(exit status, output, errors) on the host"""
    done = subprocess.run([TOOL, *args], text=True, check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    return done.returncode, done.stdout, done.stderr


def vmlinux(t, flavour):
    """The debug information of a kernel, if it has been built."""
    path = os.path.join(BUILD, t.base, flavour, 'vmlinux')
    if not os.path.exists(path):
        raise Skipped(f'needs a kernel: {t.make} FLAVOUR={flavour}')
    if 'drgn is missing' in tool('/nonexistent')[2]:
        raise Skipped('needs python3-drgn: scripts/deps.sh drgn')
    return path


@contextlib.contextmanager
def dumped(t, g):
    """A dump of the guest, as QEMU makes it."""
    with tempfile.NamedTemporaryFile(dir=t.logdir, prefix='vmcore-') as core:
        g.qmp('stop')
        g.mon.execute('dump-guest-memory', {'paging': False, 'protocol': f'file:{core.name}'},
                      timeout=300)
        g.qmp('cont')
        yield core.name


def files(g):
    """What debugfs says: {file: text}; and zones by procfs, but for those without pages."""
    zones = {(zone, node): [v[k] * PAGE for k in ('start_pfn', 'spanned', 'present', 'managed')]
             for (node, zone), v in parse_zoneinfo(g.read('/proc/zoneinfo')).items()
             if v['present']}
    return {name: g.read(f'{MHP}/{name}') for name in ('sections', 'blocks', 'map')}, zones


def expect_said(text, said):
    """It begins with what debugfs said of sections and blocks: returns that."""
    both = said['sections'] + said['blocks']
    expect_lines('sections and blocks', text.splitlines()[:both.count('\n')], both.splitlines())
    expect('sections and blocks, to the byte', text[:len(both)], both)
    expect('the map', mhp_map().draw(text), said['map'])
    return both


def populated(zones):
    """The same, of JSON"""
    return {(z['zone'], z['node']): [z['start'], z['end'] - z['start'], z['present_bytes'],
                                     z['managed_bytes']] for z in zones if z['present_bytes']}


def some_memory(g):
    """DIMMs that share a block, and what a virtio-mem device has plugged."""
    g.auto_online('online_movable')
    g.plug('a', 134 * MIB)
    g.plug('b', 256 * MIB)
    for mib in (30, 142, 136):
        Device(g).resize(mib * MIB)


def odd_memory(g):
    """Memory that is offline, and devices, in addition: what JSON must say of these."""
    some_memory(g)
    g.auto_online('offline')
    g.mod_ok(f'add 0 {h(SPARE)} {h(3 * GRANULE)}')
    g.mod_ok(f'device {h(SPARE + 8 * GRANULE)} {h(2 * GRANULE)}')
    g.mod_ok(f'device {h(SPARE + SECTION)} {h(SECTION)} 512 1024')
    return [{'device': n, 'start': start, 'end': start + size, 'type': 'generic',
             'hosted_bytes': hosted * PAGE} for n, (start, size, hosted) in enumerate((
                 (SPARE + 8 * GRANULE, 2 * GRANULE, 0), (SPARE + SECTION, SECTION, 1024)))]


def as_extents(text):
    """The lines of extents as mm itself has them."""
    out = ''
    for r in (dict(w.split('=', 1) for w in line.split()) for line in text.splitlines()):
        if 'extent' in r:
            out += (f'{int(r["start"], 0):#018x}-{int(r["end"], 0):#018x} {r["state"]} ' +
                    ' '.join(f'{k}={r[k]}' for k in ('node', 'zone', 'group', 'memmap',
                                                     'memmap_bytes', 'hosted_bytes')) + '\n')
    return out


@case(flavours=('distro',), needs='debug')
def drgn_tells_of_a_dump(t):
    """R10: of a dump of odd memory, mhp-drgn says what debugfs said, to the byte."""
    debug = vmlinux(t, t.flavour)
    with t.guest(mem='1536M', cmdline='mem=1G memory_hotplug.memmap_on_memory=1', debugfs=True,
                 args=Device.args(512 * MIB) + ['-device', 'vmcoreinfo']) as g:
        devices = odd_memory(g)
        said, zones = files(g)
        extents = g.read(EXTENTS)
        with dumped(t, g) as core, tempfile.TemporaryDirectory() as folder:
            g.mod_ok(f'undevice {h(SPARE + SECTION)}')
            g.mod_ok(f'undevice {h(SPARE + 8 * GRANULE)}')

            status, text, errors = tool(core, '--vmlinux', debug)
            expect('status and errors', (status, errors), (0, ''))
            both = expect_said(text, said)
            expect_lines('extents of mm', as_extents(text).splitlines(), extents.splitlines())
            expect('extents of mm, to the byte', as_extents(text), extents)

            found = json.loads(tool('--json', core, '--vmlinux', debug)[1])
            expect('zones', populated(found['zones']), zones)
            expect('what ZONE_DEVICE spans', [
                (z['start'], z['end']) for z in found.pop('zones') if z['zone'] == 'Device'],
                [(devices[0]['start'], devices[-1]['end'])])
            expect('devices', found.pop('devices'), devices)
            records, sections, _ = mhp_map().parse(both)
            expect('the rest of JSON', found, mhp_map().as_json(sections, records))

            old = os.path.join(folder, 'old')
            with open(old, 'w', encoding='ascii') as f:
                f.write(both)
            for name, changed in (('same', text), ('other', re.sub('(.*early=0.*)', r'', text))):
                done = subprocess.run([os.path.join(TOP, 'scripts', 'mhp-map'), '--diff', old, '-'],
                                      input='\n'.join(filter(None, changed.splitlines())),
                                      text=True, check=False, stdout=subprocess.PIPE)
                expect(f'mhp-map --diff, {name}', (done.returncode, bool(done.stdout)),
                       (name != 'same', name != 'same'))
            refuses(folder, core, debug)


def refuses(folder, core, debug):
    """One line and status 2 for what cannot be read."""
    part, none = os.path.join(folder, 'part'), os.path.join(folder, 'none')
    with open(core, 'rb') as f, open(part, 'wb') as g:
        g.write(f.read(64 * MIB))
    subprocess.run(['strip', '-g', '-o', none, debug], check=True)
    for what, args, words in (
            ('no dump', (debug, '--vmlinux', debug), 'not an ELF core file'),
            ('a text', (__file__, '--vmlinux', debug), 'not an ELF core file'),
            ('no file', (none + 'such', '--vmlinux', debug), 'No such file'),
            ('half a dump', (part, '--vmlinux', debug), ''),
            ('no debug information', (core, '--vmlinux', none), 'debug'),
            ('a text for vmlinux', (core, '--vmlinux', __file__), 'debug'),
            ('another program', (core, '--vmlinux', '/bin/ls'), 'debug'),
            ('no vmlinux at all', (core,), 'debug')):
        status, text, errors = tool(*args)
        expect(f'{what}: status, output, lines of errors', (status, text, errors.count('\n')),
               (2, '', 1))
        if not errors.startswith(f'mhp-drgn: {args[0]}: ') or words not in errors:
            fail(f'{what}: the error', words, errors)


@case(flavours=('distro',), needs='debug')
def drgn_tells_of_stock(t):
    """I7: of stock, mhp-drgn tells of sections and blocks all that the module can, and more."""
    debug = vmlinux(t, f'stock-{t.flavour}')
    with t.guest(flavour=f'stock-{t.flavour}', files=False, debugfs=True,
                 cmdline='memory_hotplug.memmap_on_memory=1', args=['-device', 'vmcoreinfo']) as g:
        g.auto_online('online_movable')
        g.plug('a', 2 * SECTION)
        g.plug('b', SECTION)
        expect('offline', g.state(g.block(g.dimm_address('b')), 'offline'), None)
        said, zones = files(g)
        with dumped(t, g) as core:
            status, text, errors = tool('--json', core, '--vmlinux', debug)
            expect('status and errors', (status, errors), (0, ''))
            expect('zones', populated(json.loads(text)['zones']), zones)
            lines = tool(core, '--vmlinux', debug)[1].splitlines()
    theirs = (said['sections'] + said['blocks']).splitlines()
    for line, seen in zip(theirs, lines):
        # What it does not know, this does.
        form = re.escape(line).replace('n/a', r'\S+')
        if not re.fullmatch(form, seen):
            fail('a line of sections or blocks', line, seen)
    expect('how many', sum(not line.startswith('zone=') for line in lines), len(theirs))


@case(flavours=('distro',), needs='debug')
def drgn_tells_of_a_crash(t):
    """R10: of a dump that a kernel saves after a crash, mhp-drgn says what debugfs said before."""
    debug = vmlinux(t, t.flavour)
    os.makedirs(t.logdir, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=t.logdir, prefix='vmcore-') as core, \
         t.guest(files=False, share=[t.image(t.flavour)], debugfs=True,
                 cmdline='crashkernel=256M unknown_nmi_panic memory_hotplug.memmap_on_memory=1',
                 args=Device.args(512 * MIB) + [
                     '-chardev', f'file,id=dump,path={core.name}',
                     '-device', 'virtserialport,chardev=dump,name=dump']) as g:
        g.allow += ['Kernel panic - not syncing: NMI: Not continuing', 'Call Trace:']
        some_memory(g)
        # The DIMMs must stay what there is to dump.
        load(g, '-p --append="nr_cpus=1 acpi_no_memhotplug"')
        said, _ = files(g)
        g.qmp('inject-nmi')
        g.boot_again()
        port = g.sh('grep -lx dump /sys/class/virtio-ports/*/name').split('/')[-2]
        g.sh(f'dd if=/proc/vmcore bs=1M of=/dev/{port}', timeout=300)
        status, text, errors = tool(core.name, '--vmlinux', debug)
        expect('status and errors', (status, errors), (0, ''))
        expect_said(text, said)


# --- the kernel that runs -------------------------------------------------------

def live_disk(image, debug):
    """A file system with Debian's Python and drgn, the script, and debug information."""
    with tempfile.TemporaryDirectory() as root:
        subprocess.run(['sh', '-ec', f'''
            cd /
            python=$(readlink -f /usr/bin/python3)
            set -- "$python" /usr/bin/python3 "/usr/lib/${{python##*/}}" \
                /usr/lib/python3/dist-packages/*drgn*
            cp -a --parents "$@" '{root}'
            cp -L --parents $(ldd "$python" $(find "$@" -name '*.cpython-*.so') |
                              grep -o '/[^ :]*[.]so[^ :]*' | sort -u) '{root}'
            mkdir '{root}/proc' '{root}/tool'
            cp '{TOOL}' '{debug}' '{root}/tool'
            size=$(($(du -sm '{root}' | cut -f1) * 5 / 4 + 64))
            PATH=$PATH:/sbin:/usr/sbin
            mke2fs -q -t ext4 -d '{root}' '{image}' "$size"M'''], check=True)


@case(flavours=('distro',), needs='debug')
def drgn_tells_of_what_runs(t):
    """R10: in the guest itself, mhp-drgn says what debugfs says, but not to everybody."""
    debug = vmlinux(t, t.flavour)
    os.makedirs(t.logdir, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=t.logdir, prefix='live-') as disk:
        live_disk(disk.name, debug)
        drive = ['-drive', f'file={disk.name},if=none,id=live,format=raw',
                 '-device', 'virtio-blk-pci,drive=live']
        with t.guest(mem='2G', smp=2, debugfs=True, cmdline='memory_hotplug.memmap_on_memory=1',
                     args=Device.args(512 * MIB) + drive) as g:
            some_memory(g)
            g.sh(f'mkdir {LIVE} && mount -o ro /dev/vda {LIVE} && mount -t proc proc {LIVE}/proc')
            said, _ = files(g)
            command = f'chroot {LIVE} /tool/mhp-drgn --vmlinux /tool/{os.path.basename(debug)}'
            # Emulated, it takes long to index what a distribution's kernel has.
            expect_said(g.sh(command, timeout=600), said)
            status, errors = g.run(
                f'chroot {LIVE} /usr/bin/python3 -c "import os; os.setuid(65534); '
                "os.execl('/tool/mhp-drgn', 'mhp-drgn')\"")
            expect('not root', (status, errors.count('\n'), 'Permission denied' in errors),
                   (2, 1, True))
