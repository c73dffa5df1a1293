# SPDX-License-Identifier: GPL-2.0
"""Memory devices of ACPI tables that are loaded at run time: in shared blocks, in
containers, gone by surprise; and what the driver does when an eject fails."""

import base64
import hashlib
import os
import subprocess
from collections import namedtuple

from lib import (BLOCK, BUILD, DAX_SIZE, GIB, HIGH, MEMORY, MIB, MOD, PAGE, SECTION, SPARE,
                 SPARE_HIGH, TWO_NODES, Failure, Watch, World, case, dax_guest, expect, fail,
                 going_offline, h, make_dax, pin, still_usable, to_devdax, to_system_ram)

# --- tables and what firmware does -----------------------------------------------

PORT = 0xe9                     # of QEMU's debug console: what methods say
TABLES = '/sys/kernel/config/acpi/table'
CHECK, EJECT, SYSFS_EJECT = 0, 3, 0x103     # what asks for an operation
SUCCESS, BUSY, IN_PROGRESS = 0, 0x82, 0x84  # what came of it

# What they say: E and the device for _EJ0; O, the device, what asked and what came of it for
# _OST; five bytes each.
TELL = f'''
    OperationRegion (MHPR, SystemIO, {PORT:#x}, 1)
    Field (MHPR, ByteAcc, NoLock, Preserve) {{ MHPB, 8 }}
    Method (MHPW, 4, Serialized) {{
        MHPB = Arg0
        MHPB = Arg1
        MHPB = Arg2 >> 8
        MHPB = Arg2
        MHPB = Arg3
    }}
'''
Said = namedtuple('Said', 'what uid source status', defaults=(0, 0))


def aml(name, body):
    """A compiled SSDT, whose own name is unique, as ACPICA takes no table twice."""
    mark = hashlib.sha256((name + body).encode()).hexdigest()
    base = os.path.join(BUILD, 'acpi', f'{name}-{mark[:16]}')
    if not os.path.exists(base + '.aml'):
        os.makedirs(os.path.dirname(base), exist_ok=True)
        new = f'{base}-{os.getpid()}'
        with open(new + '.asl', 'w', encoding='ascii') as f:
            f.write(f'DefinitionBlock ("", "SSDT", 2, "MHP", "{mark[:8].upper()}", 1) {{\n'
                    f'{body}}}\n')
        done = subprocess.run(['iasl', '-ve', '-p', new, new + '.asl'], check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            raise Failure(f'{new}.asl does not compile:\n{done.stdout}')
        os.rename(new + '.asl', base + '.asl')
        os.rename(new + '.aml', base + '.aml')
    with open(base + '.aml', 'rb') as f:
        return f.read()


def device(name, hid, uid, body):
    """A device that is there until it is ejected, and tells of that. Reading some files
    in sysfs, which nobody else does, has it come or go, or notify the kernel."""
    return f'''
    Device ({name}) {{
        Name (_HID, {hid})
        Name (_UID, {uid})
        Name (STAT, 0x0f)
        Method (_STA) {{ Return (STAT) }}
        Method (_EJ0, 1) {{
            \\_SB.MHPW (0x45, {uid}, 0, 0)
            STAT = 0
        }}
        Method (_OST, 3) {{ \\_SB.MHPW (0x4f, {uid}, Arg0, Arg1) }}
        Method (_SUN) {{
            STAT ^= 0x0f
            Return (STAT)
        }}
        Method (_HRV) {{
            Notify ({name}, {CHECK})
            Return (0)
        }}
        Method (_STR) {{
            Notify ({name}, {EJECT})
            Return (Buffer () {{ 0x65, 0, 0, 0 }})
        }}
        {body}
    }}
'''


def memory(name, uid, *ranges, pxm=None):
    """A memory device with these (start, size)."""
    crs = ''.join(f'''
            QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                         0, {start:#x}, {start + size - 1:#x}, 0, {size:#x})'''
                  for start, size in ranges)
    body = f'Name (_CRS, ResourceTemplate () {{{crs}\n        }})'
    if pxm is not None:
        body += f'\n        Name (_PXM, {pxm})'
    return device(name, 'EisaId ("PNP0C80")', uid, body)


def container(name, uid, *devices):
    return device(name, '"ACPI0004"', uid, ''.join(devices))


def system_bus(*devices):
    """The body of a table with these devices."""
    return f'Scope (\\_SB) {{{TELL}{"".join(devices)}}}\n'


class Firmware:
    """The firmware of a guest: loads tables, changes and notifies devices, and knows
    which methods the kernel has called."""

    def __init__(self, t):
        self.log = os.path.join(t.logdir, f'{t.name}{t.suffix}-{t.flavour}.port')
        os.makedirs(t.logdir, exist_ok=True)
        self.args = ['-chardev', f'file,id=port,path={self.log}',
                     '-device', f'isa-debugcon,iobase={PORT:#x},chardev=port']
        self.g = None
        self.seen = 0

    def guest(self, t, **kwargs):
        self.g = t.guest(args=self.args + kwargs.pop('args', []), **kwargs)
        return self.g

    # - tables -

    def load(self, name, body, path=None):
        """Load a table, and wait until this device of it is in use."""
        data = base64.b64encode(aml(name, body)).decode()
        self.g.sh(f'mkdir {TABLES}/{name}; echo {data} | base64 -d >/tmp/{name}; '
                  f'cat /tmp/{name} >{TABLES}/{name}/aml; cat {TABLES}/{name}/length')
        if path:
            self.attached(path)

    def unload(self, name):
        self.g.sh(f'rmdir {TABLES}/{name}')

    # - devices -

    def find(self, path):
        """Where a device is in sysfs, or an empty text if there is none."""
        return self.g.sh(rf"grep -lxF '\_SB_.{path}' /sys/bus/acpi/devices/*/path 2>/dev/null || "
                         'true').strip().removesuffix('/path')

    def attached(self, path):
        """Wait until a device that is to come is in use."""
        self.g.wait_for(f'{path} is found', lambda: self.find(path))
        # Who finds devices attaches them before it lets go of the lock of hotplug, which
        # this needs, too.
        expect('online to what is online', self.g.state(0, 'online'), 'EINVAL')

    def folder(self, path):
        folder = self.find(path)
        if not folder:
            fail('devices', path, 'none of that path')
        return folder

    def toggle(self, path):
        """Take a device away, or put it back, without a word."""
        self.g.read(f'{self.folder(path)}/sun')

    def check(self, path, uid):
        """A bus check: the kernel looks what there is."""
        self.g.read(f'{self.folder(path)}/hrv')
        expect('methods that a check calls', self.wait(), [Said('_OST', uid, CHECK, SUCCESS)])

    def said(self):
        """What methods have said since the last call, but for what is in progress."""
        with open(self.log, 'rb') as f:
            data = f.read()
        out = []
        for n in range(self.seen, len(data) - 4, 5):
            kind, uid, high, low, status = data[n:n + 5]
            self.seen = n + 5
            if kind == ord('E'):
                out.append(Said('_EJ0', uid))
            elif status != IN_PROGRESS:
                out.append(Said('_OST', uid, high << 8 | low, status))
        return out

    def wait(self, timeout=60):
        """What methods say up to the next _OST, which is the last of an operation."""
        out = []

        def ended():
            out.extend(self.said())
            return any(s.what == '_OST' for s in out)
        self.g.wait_for('_OST', ended, timeout)
        return out

    def eject(self, path, uid, status=SUCCESS, source=SYSFS_EJECT):
        """Eject as asked for in sysfs, or by firmware; _EJ0 must be called just where that
        succeeds."""
        if source == EJECT:
            self.g.read(f'{self.folder(path)}/description')
        else:
            expect(f'eject of {path}', self.g.write(f'{self.folder(path)}/eject', '1'), None)
        ejected = [Said('_EJ0', uid)] if status == SUCCESS else []
        expect(f'methods that an eject of {path} calls', self.wait(),
               ejected + [Said('_OST', uid, source, status)])


# --- tables at run time ------------------------------------------------------------

@case()
def ssdt_memory_in_shared_blocks(t):
    """I2 I4: memory of a table that is loaded is System RAM to the byte, and goes by an eject."""
    fw = Firmware(t)
    # Boot memory has the first half of the first block.
    boot = 64 * MIB
    one = (SPARE + boot + 2 * MIB, SECTION + 4 * MIB)      # the end of it, and of the next
    two = (SPARE + 2 * SECTION + 20 * MIB, 10 * MIB)
    other = (SPARE + SECTION + 70 * MIB, 24 * MIB)         # no ACPI; behind the first
    with fw.guest(t, mem='2G', maxmem=None, cmdline=f'mem={1024 + 64}M') as g:
        w = World(g)
        g.auto_online('online_movable')
        g.mod_ok(f'add 0 {h(other[0])} {h(other[1])}')
        rams = [(*r, 0, 'Movable') for r in (other, one, two)]
        w.check(rams[:1], 'before')
        # configfs leaks what it had of a table that goes, which kmemleak would tell of.
        for last in (True,) if g.debug else (False, True):
            fw.load('mem', system_bus(memory('MHP0', 7, one, two)), 'MHP0')
            w.check(rams, 'loaded')
            with g.filled(g.amount(200)) as verify:
                # Some of the device is in use. It moves to the other memory.
                fw.eject('MHP0', 7)
                w.check(rams[:1], 'ejected')
                # It comes back when firmware says so.
                fw.toggle('MHP0')
                fw.check('MHP0', 7)
                w.check(rams, 'back')
                fw.eject('MHP0', 7, source=EJECT)
                w.check(rams[:1], 'ejected by firmware')
                verify()
            if last:
                break
            fw.unload('mem')
            g.wait_for('no device', lambda: not fw.find('MHP0'))
            w.check(rams[:1], 'unloaded')
        g.mod_ok(f'offremove {h(other[0])} {h(other[1])}')
        w.check([], 'none left')


@case()
def ssdt_memory_waits_for_hotplug(t):
    """I4: memory of a table that is loaded while other memory goes offline comes after that."""
    fw = Firmware(t)
    block, ram = (SPARE + SECTION, SECTION), (SPARE + 2 * SECTION + 2 * MIB, 4 * MIB)
    with fw.guest(t, mem='2G', maxmem=None, cmdline='mem=1G') as g:
        w = World(g)
        g.auto_online('online_movable')
        g.mod_ok(f'add 0 {h(block[0])} {h(block[1])}')
        with g.filled(20 * MIB) as verify:
            with going_offline(g, block, verify.where()[0]):
                fw.load('mem', system_bus(memory('MHP0', 7, ram)))
                g.sh('sleep 2')
                # What finds out which devices there are must have the lock of hotplug.
                expect('device of the table', fw.find('MHP0'), '')
                if f'{ram[0]:08x}-' in g.read('/proc/iomem'):
                    fail('memory while another operation goes on', 'none', h(ram[0]))
            fw.attached('MHP0')
            w.check([(*block, 0, None), (*ram, 0, 'Movable')], 'loaded')
            verify()
        fw.eject('MHP0', 7)
        g.mod_ok(f'remove {h(block[0])} {h(block[1])}')
        w.check([], 'none left')


@case()
def ssdt_memory_of_another_node(t):
    """R8: memory of a table is on the node that _PXM says, beside another node's in its block."""
    fw = Firmware(t)
    ranges = [(SPARE, 16 * MIB), (SPARE + 16 * MIB, 16 * MIB), (SPARE + 40 * MIB, SECTION)]
    with fw.guest(t, mem='2G', maxmem=None, cmdline='mem=1G', args=TWO_NODES) as g:
        w = World(g)
        g.auto_online('online_movable')
        # Without _PXM, what is above the end of boot memory is node 0's.
        fw.load('mem', system_bus(*(memory(f'MHP{n}', 7 + n, r, pxm=pxm) for n, (r, pxm) in
                                    enumerate(zip(ranges, (1, 0, None))))), 'MHP2')
        rams = [(*r, node, 'Movable') for r, node in zip(ranges, (1, 0, 0))]
        w.check(rams, 'loaded')
        for n in (1, 2, 0):
            fw.eject(f'MHP{n}', 7 + n)
            rams = [r for r in rams if r[0] != ranges[n][0]]
            w.check(rams, f'without {n}')


@case()
def ssdt_memory_there_since_boot(t):
    """D: a device of which some was there at boot is not ejected, nor any of it taken offline."""
    fw = Firmware(t)
    end = SPARE + 64 * MIB         # of boot memory
    with fw.guest(t, mem='2G', maxmem=None, cmdline=f'mem={1024 + 64}M') as g:
        w, watch = World(g), Watch(g)
        g.auto_online('online_movable')
        # A part of a full block of boot memory, beside memory that could go; or of the last
        # block, with what is behind it, which is not added then; or all that there is of the
        # last block, which does not go offline as it does not fill it.
        shared, full = (SPARE + 80 * MIB, 16 * MIB), (SPARE + 2 * SECTION, SECTION)
        other = (SPARE + 3 * SECTION, SECTION)
        fw.load('mem', system_bus(memory('MHP0', 7, full, (SPARE - 8 * MIB, 8 * MIB), shared),
                                  memory('MHP1', 8, (end - 4 * MIB, 8 * MIB)),
                                  memory('MHP2', 9, other, (SPARE, end - SPARE))), 'MHP2')
        rams = [(*r, 0, 'Movable') for r in (shared, full, other)]
        w.check(rams, 'loaded')
        watch.new_events()
        for path, uid in (('MHP0', 7), ('MHP1', 8), ('MHP2', 9), ('MHP0', 7)):
            fw.eject(path, uid, BUSY)
            w.check(rams, f'{path} refused')
            expect(f'uevents of memory blocks when {path} is refused',
                   [e for e in watch.new_events() if 'SUBSYSTEM=memory' in e], [])
        # Offline it is refused, too: what is not in use cannot be told apart.
        expect('offline', g.state(full[0] // SECTION, 'offline'), None)
        fw.eject('MHP0', 7, BUSY)
        w.check([rams[0], (*full, 0, None), rams[2]], 'refused while offline')


@case()
def ssdt_memory_beside_kmem(t):
    """R9: memory of a table comes back after daxctl took the block offline that it shares."""
    fw = Firmware(t)
    start = SPARE + 32 * MIB
    with dax_guest(t, '1G', start, guest=lambda **kwargs: fw.guest(t, **kwargs)) as g:
        dax = make_dax(g, start)
        w = World(g)
        end = dax + DAX_SIZE
        ram = (dax, DAX_SIZE, 0, 'Movable')
        ranges = [(end, 16 * MIB), (end + 18 * MIB, 32 * MIB)]
        others = [(*r, 0, 'Movable') for r in ranges]

        def check(rams, what):
            w.check(rams, what, spans=False, devices=None)

        g.auto_online('online_movable')
        fw.load('mem', system_bus(memory('MHP0', 7, *ranges)), 'MHP0')
        g.auto_online('offline')
        for _ in range(2):
            check(others, 'loaded')
            to_system_ram(g)
            check(others + [ram], 'system-ram')
            to_devdax(g)
        check(others, 'devdax')
        # Each goes without the other.
        to_system_ram(g)
        fw.eject('MHP0', 7)
        check([ram], 'ejected')
        g.auto_online('online_movable')
        fw.toggle('MHP0')
        fw.check('MHP0', 7)
        check(others + [ram], 'back')
        g.auto_online('offline')
        to_devdax(g)
        check(others, 'devdax again')
        fw.eject('MHP0', 7)
        check([], 'none left')


# --- containers --------------------------------------------------------------------

@case()
def container_with_shared_blocks(t):
    """I4: a container goes when all its memory is offline, in shared blocks too, and not before."""
    fw = Firmware(t)
    # One and two share a block, two and what is not of ACPI another.
    one, two = (SPARE + 16 * MIB, 50 * MIB), (SPARE + 66 * MIB, SECTION)
    other, full = (SPARE + SECTION + 70 * MIB, 24 * MIB), (SPARE + 3 * SECTION, SECTION)
    last = SPARE + SECTION
    with fw.guest(t, mem='2G', maxmem=None, cmdline='mem=1G') as g:
        w, watch = World(g), Watch(g)
        g.auto_online('online_movable')
        g.mod_ok(f'add 0 {h(other[0])} {h(other[1])}')
        fw.load('box', system_bus(container('MHPC', 5, memory('MHP0', 7, one),
                                            memory('MHP1', 8, two), memory('MHP2', 9, full))),
                'MHPC.MHP2')

        def rams(first='Movable', second='Movable', third='Movable'):
            """By the zones of what begins in the first, second and third block."""
            return [(*one, 0, first), (two[0], last - two[0], 0, first),
                    (last, sum(two) - last, 0, second), (*other, 0, second), (*full, 0, third)]

        w.check(rams(), 'loaded')
        name = os.path.basename(fw.folder('MHPC'))
        file = f'/sys/devices/system/container/{name}/online'
        event = f'DEVPATH=/devices/system/container/{name} SUBSYSTEM=container'

        def events(what, *expected):
            expect(f'uevents of the container: {what}',
                   [e for e in watch.new_events() if 'container' in e and name in e],
                   [f'{e} {event}{more}' for e, more in expected])

        watch.new_events()
        for what, block, zones in (('all online', None, ()),
                                   ('without the full block', 3, (None,)),
                                   ('one block left', 0, (None, None))):
            if block is not None:
                expect('offline', g.state(BLOCK + block, 'offline'), None)
            state = dict(zip(('third', 'first'), zones))
            w.check(rams(**state), what)
            # Whatever of it is online: it is asked to go offline, and nothing else happens.
            fw.eject('MHPC', 5, BUSY)
            events(what, ('ACTION=change', ' EVENT=offline'))
            expect('offline of the container', g.write(file, '0'), 'EBUSY')
            w.check(rams(**state), f'{what}, refused')
        expect('offline', g.state(BLOCK + 1, 'offline'), None)
        expect('offline of the container', g.write(file, '0'), None)
        events('offline', ('ACTION=offline', ''))

        # Its memory goes online after the container has gone offline.
        for block, state in ((0, {'first': 'Movable'}), (1, {'second': 'Movable'}),
                             (3, {'third': 'Movable'})):
            state = {'first': None, 'second': None, 'third': None} | state
            expect('online', g.state(BLOCK + block, 'online_movable'), None)
            watch.new_events()
            fw.eject('MHPC', 5, BUSY)
            asked = [e for e in watch.new_events() if ' EVENT=offline' in e]
            if not asked or 'PNP0C80' not in asked[0]:
                fail('who is asked to go offline', 'a memory device', asked)
            w.check(rams(**state), f'block {block} online again')
            expect('offline', g.state(BLOCK + block, 'offline'), None)

        # When one device is gone, what shares its block does not come back if it is
        # to go with it, and does if it is not of the container.
        fw.eject('MHPC', 5)
        w.check([(*other, 0, 'Movable')], 'ejected')
        fw.toggle('MHPC')
        fw.check('MHPC', 5)
        w.check(rams(), 'back')
        # What is in it goes on its own, online or not.
        for path, uid in (('MHPC.MHP1', 8), ('MHPC.MHP2', 9), ('MHPC.MHP0', 7)):
            fw.eject(path, uid)
        w.check([(*other, 0, 'Movable')], 'all of its devices ejected')
        fw.eject('MHPC', 5, BUSY)
        expect('offline of the empty container', g.write(file, '0'), None)
        fw.eject('MHPC', 5)
        g.mod_ok(f'offremove {h(other[0])} {h(other[1])}')
        w.check([], 'none left')


# --- gone by surprise -----------------------------------------------------------------

@case()
def surprise_removal(t):
    """I4: memory that goes by surprise while online stays, without an eject; the rest goes."""
    fw = Firmware(t)
    shared, full = (SPARE + 16 * MIB, 24 * MIB), (SPARE + SECTION, SECTION)
    idle = (SPARE + 2 * SECTION + 8 * MIB, 24 * MIB)
    other = (SPARE + 40 * MIB, 24 * MIB)           # in the block of the first
    with fw.guest(t, mem='2G', maxmem=None, cmdline='mem=1G') as g:
        w = World(g)
        g.auto_online('online_movable')
        g.mod_ok(f'add 0 {h(other[0])} {h(other[1])}')
        fw.load('mem', system_bus(memory('MHP0', 7, shared, full, idle)), 'MHP0')
        rams = [(*r, 0, 'Movable') for r in (other, shared, full, idle)]
        w.check(rams, 'loaded')

        def bound():
            """Blocks that the device has taken for its own."""
            return g.sh(f'cd {MEMORY}; ls -d memory*/firmware_node 2>/dev/null || true').split()

        mine = [f'memory{BLOCK + 1}/firmware_node']
        expect('blocks of the device', bound(), mine)
        with g.filled(g.amount(160)) as verify:
            for _ in range(2):
                expect('offline', g.state(idle[0] // SECTION, 'offline'), None)
                fw.toggle('MHP0')
                fw.check('MHP0', 7)
                w.check(rams[:3], 'gone by surprise')
                expect('blocks of the device', bound(), [])
                verify()
                # It can be had by user space.
                for block in (BLOCK, BLOCK + 1):
                    expect('offline', g.state(block, 'offline'), None)
                    expect('online', g.state(block, 'online_movable'), None)
                w.check(rams[:3], 'offline and online')
                fw.toggle('MHP0')
                fw.check('MHP0', 7)
                w.check(rams, 'back')
                expect('blocks of the device', bound(), mine)
                verify()
        g.mod_ok(f'take {h(shared[0] + 4 * MIB)} {h(PAGE)}')
        fw.eject('MHP0', 7, BUSY)
        w.check(rams, 'refused')
        g.mod_ok(f'give {h(shared[0] + 4 * MIB)} {h(PAGE)}')
        fw.eject('MHP0', 7)
        w.check(rams[:1], 'ejected')
        g.mod_ok(f'offremove {h(other[0])} {h(other[1])}')
        w.check([], 'none left')


@case()
def no_eject_of_memory_in_use(t):
    """I6 I11: _EJ0 is called only when all memory of a device is gone, whoever asks for that."""
    fw = Firmware(t)
    one, two = (SPARE + 96 * MIB, SECTION + 64 * MIB), (SPARE + 2 * SECTION + 32 * MIB, 32 * MIB)
    with fw.guest(t, mem='2G', maxmem=None, cmdline='mem=1G') as g:
        w = World(g)
        g.auto_online('online_movable')
        fw.load('mem', system_bus(memory('MHP0', 7, one), memory('MHP1', 8, two)), 'MHP1')
        rams = [(*r, 0, 'Movable') for r in (one, two)]
        w.check(rams, 'loaded')
        with g.filled(200 * MIB) as verify:
            # In the blocks at both ends, which it does not fill
            pin(g, one[0], 32 * MIB)
            fw.eject('MHP0', 7, BUSY)
            w.check(rams, 'refused')
            g.mod_ok('unpin')
            last = SPARE + 2 * SECTION + 16 * MIB
            g.mod_ok(f'take {h(last)} {h(PAGE)}')
            fw.eject('MHP0', 7, BUSY, EJECT)
            w.check(rams, 'refused to firmware')
            fw.eject('MHP1', 8)
            w.check(rams[:1], 'the other ejected')
            g.mod_ok(f'give {h(last)} {h(PAGE)}')
            verify()
            fw.eject('MHP0', 7, source=EJECT)
            w.check([], 'ejected')
            verify()


# --- an eject that fails half way --------------------------------------------------------

@case()
def failed_eject_keeps_zones(t):
    """I6: after an eject that fails at any part, each extent is back in the zone that it was in."""
    fw = Firmware(t)
    start, other = SPARE_HIGH + 96 * MIB, (SPARE_HIGH + 64 * MIB, 16 * MIB)
    first = start // SECTION
    # A part of a block, three full blocks, and a part of another
    parts = [(start, 32 * MIB)]
    parts += [(SPARE_HIGH + n * SECTION, SECTION) for n in (1, 2, 3)]
    parts += [(SPARE_HIGH + 4 * SECTION, 48 * MIB)]
    policies = ('online_kernel', 'online_movable', 'online_kernel', 'offline', 'online_movable')
    names = {'online_kernel': 'Normal', 'online_movable': 'Movable', 'offline': None}
    with fw.guest(t, **HIGH) as g:
        w = World(g)
        g.auto_online('online_movable')
        g.mod_ok(f'add 0 {h(other[0])} {h(other[1])}')
        g.auto_online('offline')
        size = sum(s for _, s in parts)
        fw.load('mem', system_bus(memory('MHP0', 7, (start, size))), 'MHP0')
        rams = [(*other, 0, 'Movable')]
        for n, (part, policy) in enumerate(zip(parts, policies)):
            if policy != 'offline':
                expect(policy, g.state(first + n, policy), None)
            rams.append((*part, 0, names[policy]))
        w.check(rams, 'online')
        for part, policy in zip(parts, policies):
            if policy == 'offline':
                continue
            g.mod_ok(f'veto {h(part[0])} 16')
            fw.eject('MHP0', 7, BUSY)
            w.check(rams, f'{part[0]:#x} refused')
        g.mod_ok('veto 0 0')
        still_usable(g, start, parts[0][1], GIB)
        w.check(rams, 'after use')
        fw.eject('MHP0', 7)
        w.check([(*other, 0, 'Movable')], 'ejected')


# --- memory that holds what other memory needs --------------------------------------------

@case()
def eject_in_two_passes(t):
    """I4: what keeps one part of a device until another is offline does not keep the device."""
    fw = Firmware(t)
    start, edge, size = SPARE + 96 * MIB, SPARE + SECTION, 64 * MIB
    with fw.guest(t, mem='2G', maxmem=None, cmdline='mem=1G') as g:
        w = World(g)
        g.auto_online('online_movable')
        fw.load('mem', system_bus(memory('MHP0', 7, (start, size))), 'MHP0')
        w.check([(start, size, 0, 'Movable')], 'loaded')
        with g.filled(60 * MIB) as verify:
            # Of the part that is tried first: it is let go when the other is offline.
            pin(g, start, edge - start)
            g.sh(f'(until grep -q offline {MEMORY}/memory{edge // SECTION}/state; do '
                 f'usleep 50000; done; echo unpin >{MOD}/cmd) >/dev/null 2>&1 &')
            fw.eject('MHP0', 7)
            w.check([], 'ejected')
            verify()
