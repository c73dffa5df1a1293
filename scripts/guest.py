#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A QEMU guest that boots a test kernel, and the agent inside it.

As a module: class Guest, used by run.py and by the tests.
As a command:
    guest.py accel                  print the accelerator that boots Linux here
    guest.py shell [IMAGE]          interactive guest on this terminal
    guest.py plug ID MIB [ADDR]     plug a DIMM into that guest
    guest.py unplug ID
    guest.py monitor COMMAND...     one command for its QEMU monitor
"""

import base64
import contextlib
import errno
import functools
import json
import os
import platform
import re
import secrets
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import namedtuple

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(TOP, 'build')
BASE = os.environ.get('BASE') or '7.3'
SHELL_SOCKET = 'build/shell.sock'
MIB = 1 << 20

# Nothing here is random: no address randomisation, no clocksource watchdog.
CMDLINE = ('panic=-1 nokaslr mitigations=off nowatchdog rcupdate.rcu_expedited=1 '
           'random.trust_cpu=on cryptomgr.notests kunit.enable=0')
DEBUG_CMDLINE = 'page_owner=on debug_pagealloc=on kmemleak=on page_alloc.shuffle=1'

# What no test may leave in the console, whatever it tested.
BAD = re.compile(
    r'WARNING:|BUG[: ]|\bOops\b|kernel panic|Kernel panic|general protection|'
    r'KASAN|KFENCE|UBSAN|kmemleak: [1-9]\d* new|Bad page|bad_page|'
    r'possible recursive locking|circular locking|inconsistent lock state|'
    r'possible irq lock inversion|suspicious RCU|held lock freed|'
    r'sleeping function called|Invalid wait context|lock held when returning|'
    r'bad unlock balance|rcu: INFO: .*stall|blocked for more than|'
    r'soft lockup|hard LOCKUP|Call Trace:|cut here|ODEBUG:|list_(add|del) corruption|'
    r'page_table_check|bad_range|nonzero _refcount|Unable to handle|'
    r'unable to handle|divide error|invalid opcode|stack-protector|scheduling while atomic')


Arch = namedtuple('Arch', 'name qemu machine cpu args cmdline initramfs')
X86_64 = Arch('x86_64', os.environ.get('QEMU', 'qemu-system-x86_64'), 'q35,nvdimm=on',
              'max,la57=off', [], 'console=ttyS0 tsc=reliable no_timer_check',
              os.path.join(BUILD, 'initramfs.cpio'))
# Only with UEFI firmware QEMU gives this machine ACPI, and with it DIMM slots.
ARM64 = Arch('arm64', 'qemu-system-aarch64', 'virt', 'cortex-a57',
             ['-bios', '/usr/share/qemu-efi-aarch64/QEMU_EFI.fd'],
             'earlycon=pl011,0x9000000 console=ttyAMA0',
             os.path.join(BUILD, 'initramfs-arm64.cpio'))


class GuestError(Exception):
    """The guest, its agent or a command in it failed; the text names the log."""


class QMPError(Exception):
    """QEMU refused a QMP command."""


def note(text):
    print(text, flush=True)


# --- QMP --------------------------------------------------------------------

class QMP:
    """One QMP connection: commands in order, events kept aside."""

    def __init__(self, sock):
        self.sock = sock
        self.buf = b''
        self.events = []
        self._recv(10)              # greeting
        self.execute('qmp_capabilities')

    def _recv(self, timeout):
        end = time.monotonic() + timeout
        while b'\n' not in self.buf:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                raise TimeoutError('QMP: no answer')
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError('QMP: QEMU is gone')
            self.buf += data
        line, self.buf = self.buf.split(b'\n', 1)
        return json.loads(line)

    def execute(self, command, arguments=None, timeout=60):
        message = {'execute': command}
        if arguments:
            message['arguments'] = arguments
        self.sock.sendall(json.dumps(message).encode() + b'\n')
        end = time.monotonic() + timeout
        while True:
            answer = self._recv(max(0.01, end - time.monotonic()))
            if 'event' in answer:
                self.events.append(answer)
            elif 'error' in answer:
                raise QMPError(f"{command}: {answer['error']['desc']}")
            elif 'return' in answer:
                return answer['return']

    def poll(self, timeout):
        """Take in whatever events arrive within the time; True if any did."""
        try:
            answer = self._recv(timeout)
        except TimeoutError:
            return False
        if 'event' in answer:
            self.events.append(answer)
        return True


# --- initramfs --------------------------------------------------------------

def cpio(files):
    """A newc archive of {path in guest: (mode, bytes)}; kernels concatenate."""
    out = bytearray()
    names = {}
    for path in files:
        parts = path.strip('/').split('/')
        for n in range(1, len(parts)):
            names.setdefault('/'.join(parts[:n]), (0o040755, b''))
        names[path.strip('/')] = files[path]
    names['TRAILER!!!'] = (0, b'')
    for ino, (name, (mode, data)) in enumerate(names.items(), 1):
        raw = name.encode() + b'\0'
        fields = (ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
        out += b'070701' + b''.join(b'%08X' % f for f in fields) + raw
        out += b'\0' * (-len(out) % 4)
        out += data
        out += b'\0' * (-len(out) % 4)
    return bytes(out)


def shared(paths):
    """Files and folders of the host, as /mnt/share in the guest."""
    files = {}
    for path in paths:
        base = os.path.basename(path.rstrip('/'))
        if os.path.isdir(path):
            for folder, _, names in os.walk(path):
                for name in names:
                    full = os.path.join(folder, name)
                    inside = os.path.join(base, os.path.relpath(full, path))
                    files[inside] = full
        else:
            files[base] = path
    out = {}
    for inside, full in sorted(files.items()):
        with open(full, 'rb') as f:
            mode = 0o100755 if os.access(full, os.X_OK) else 0o100644
            out['mnt/share/' + inside] = (mode, f.read())
    return out


def make_initramfs(arch):
    subprocess.run([os.path.join(TOP, 'scripts', 'initramfs.sh')], check=True,
                   env={**os.environ, 'ARCH': arch.name, 'PAGES': ''})


# --- accelerator ------------------------------------------------------------

def _boots_under_kvm(image):
    """True if this very kernel reaches its agent under KVM within 20 s."""
    try:
        with Guest(image=image, accel='kvm', name='probe-kvm', mem='256M',
                   maxmem=None, timeout=20):
            return True
    except (GuestError, QMPError):
        return False


def choose_accel(image=None):
    """ACCEL if set; else kvm where a guest kernel really boots under it."""
    if image and arch_of(image).name != {'aarch64': 'arm64'}.get(platform.machine(),
                                                                 platform.machine()):
        return 'tcg'
    wanted = os.environ.get('ACCEL', '')
    if wanted:
        if wanted not in ('kvm', 'tcg'):
            raise GuestError(f'ACCEL={wanted}: kvm, tcg or empty')
        return wanted
    if not os.access('/dev/kvm', os.R_OK | os.W_OK):
        return 'tcg'
    cache = os.path.join(BUILD, 'accel')
    with open('/proc/sys/kernel/random/boot_id', encoding='ascii') as f:
        boot = f.read().strip()
    with contextlib.suppress(OSError, ValueError):
        with open(cache, encoding='ascii') as f:
            answer, when = f.read().split()
        if when == boot:
            return answer
    if image is None:
        return 'tcg'
    note('probing: does a guest kernel boot under KVM? (20 s at most; ACCEL= skips this)')
    answer = 'kvm' if _boots_under_kvm(image) else 'tcg'
    with open(cache, 'w', encoding='ascii') as f:
        f.write(f'{answer} {boot}\n')
    note(f'accelerator: {answer}')
    return answer


def has_option(image, option):
    """Whether a kernel has an option, by the config beside it."""
    config = os.path.join(os.path.dirname(os.path.abspath(image)), 'config')
    try:
        with open(config, encoding='ascii') as f:
            return f'CONFIG_{option}=y\n' in f
    except OSError:
        return False


def arch_of(image):
    return ARM64 if has_option(image, 'ARM64') else X86_64


def to_bytes(size):
    """'134M', '2G' or a number of bytes."""
    if isinstance(size, int):
        return size
    m = re.fullmatch(r'(\d+)([KMGT]?)', size)
    if not m:
        raise ValueError(f'no size: {size}')
    return int(m.group(1)) << {'': 0, 'K': 10, 'M': 20, 'G': 30, 'T': 40}[m.group(2)]


@functools.cache
def host_tsc_khz():
    """The frequency of the host's TSC."""
    source = os.path.join(TOP, 'scripts', 'guest', 'tsc_khz.c')
    with tempfile.TemporaryDirectory(prefix='mhp-') as folder:
        program = os.path.join(folder, 'tsc_khz')
        subprocess.run(['gcc', '-O2', '-o', program, source], check=True)
        return int(subprocess.check_output([program]))


# --- guest ------------------------------------------------------------------

class Guest:
    """One guest, as a context manager: entered when its agent answers.

    image    kernel to boot
    mem      boot RAM; maxmem and slots bound what can be plugged
             (maxmem=None: no memory slots)
    cmdline  added to the kernel command line
    args     added to QEMU's arguments (give -numa with memdev= yourself)
    icount   QEMU's -icount value, such as 'shift=0'; implies TCG
    share    host files and folders that appear below /mnt/share
    timeout  seconds for booting (default: 60, times four for debug kernels);
             run() takes its own
    """

    def __init__(self, image=None, mem='1G', maxmem='8G', slots=16, smp=1,
                 cmdline='', args=(), accel=None, name='guest', logdir=None,
                 icount=None, share=(), timeout=None, machine=None, cpu=None):
        self.image = image or os.path.join(BUILD, BASE, 'patched', 'vmlinuz')
        self.name = name
        self.logdir = logdir or os.path.join(BUILD, 'log')
        self.log = os.path.join(self.logdir, name + '.console')
        self.arch = arch_of(self.image)
        self.debug = has_option(self.image, 'KASAN')
        self.slow = 4 if self.debug else 1
        self.timeout = timeout or 60 * self.slow
        self.mem, self.maxmem, self.slots, self.smp = mem, maxmem, slots, smp
        self.cmdline, self.args, self.icount = cmdline, list(args), icount
        self.share = list(share)
        self.machine, self.cpu = machine or self.arch.machine, cpu
        self.accel = accel
        self.proc = self.mon = self.agent = self.dir = None
        self.port = b''
        self.dimms, self.slot = {}, 0   # slot: of the next

    # - life -

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc):
        self.stop()

    def _command(self, initrd):
        cmd = [self.arch.qemu, '-nodefaults', '-display', 'none', '-no-reboot', '-no-user-config',
               '-machine', self.machine, '-smp', str(self.smp),
               '-kernel', self.image, '-initrd', initrd]
        line = f'{self.arch.cmdline} {CMDLINE}' + (' ' + DEBUG_CMDLINE if self.debug else '')
        if self.accel == 'tcg' and not self.icount and self.arch is X86_64 and \
                platform.machine() == 'x86_64':
            # What the guest would measure depends on what else the host does.
            line += f' tsc_early_khz={host_tsc_khz()}'
        cmd += self.arch.args + ['-append', f'{line} {self.cmdline}'.strip()]
        if self.accel == 'kvm':
            cmd += ['-accel', 'kvm', '-cpu', self.cpu or 'host']
        else:
            single = ',thread=single' if self.icount else ''
            cmd += ['-accel', 'tcg' + single, '-cpu', self.cpu or self.arch.cpu]
        if self.icount:
            cmd += ['-icount', self.icount]
        memory = f'size={to_bytes(self.mem) // MIB}M'
        if self.maxmem and to_bytes(self.maxmem) > to_bytes(self.mem):
            memory += f',slots={self.slots},maxmem={to_bytes(self.maxmem) // MIB}M'
        cmd += ['-m', memory]
        if not any('node' in a and 'memdev=' in a for a in self.args):
            cmd += ['-object', f'memory-backend-ram,id=ram0,size={to_bytes(self.mem)},reserve=off',
                    '-machine', 'memory-backend=ram0']
        return cmd

    def _listen(self, name):
        s = socket.socket(socket.AF_UNIX)
        s.bind(os.path.join(self.dir, name))
        s.listen(1)
        return s

    def start(self):
        """Boot, and wait for the agent."""
        if not os.path.exists(self.image):
            raise GuestError(f'no kernel at {self.image}: run make kernel')
        if not shutil.which(self.arch.qemu):
            raise GuestError(f'{self.arch.qemu} is not installed: run make deps '
                             f'ARCH={self.arch.name}')
        if self.accel is None:
            self.accel = 'tcg' if self.icount else choose_accel(self.image)
        os.makedirs(self.logdir, exist_ok=True)
        make_initramfs(self.arch)
        self.dir = tempfile.mkdtemp(prefix='mhp-')
        initrd = self.arch.initramfs
        if self.share:
            initrd = os.path.join(self.dir, 'initrd')
            shutil.copyfile(self.arch.initramfs, initrd)
            with open(initrd, 'ab') as f:
                f.write(b'\0' * (-f.tell() % 512))
                f.write(cpio(shared(self.share)))
        qmp, agent = self._listen('qmp'), self._listen('agent')
        cmd = self._command(initrd)
        cmd += ['-chardev', f'file,id=console,path={self.log}', '-serial', 'chardev:console',
                '-qmp', f'unix:{self.dir}/qmp',
                '-chardev', f'socket,id=agent,path={self.dir}/agent',
                '-device', 'virtio-serial-pci',
                '-device', 'virtserialport,chardev=agent,name=agent']
        cmd += self.args
        open(self.log, 'wb').close()
        self.errors = os.path.join(self.logdir, self.name + '.qemu')
        with open(self.errors, 'wb') as err:
            err.write((' '.join(cmd) + '\n').encode())
            err.flush()
            self.proc = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=err,
                                         stderr=err, start_new_session=True)
        end = time.monotonic() + self.timeout
        try:
            self.mon = QMP(self._accept(qmp, end))
        except (ConnectionError, TimeoutError) as e:
            self._fail(str(e))
        self.agent = self._accept(agent, end)
        self._line(end, 'boot')         # "ready"

    def _accept(self, listener, end):
        while True:
            if select.select([listener], [], [], 0.2)[0]:
                conn = listener.accept()[0]
                listener.close()
                return conn
            if self.proc.poll() is not None:
                self._fail('QEMU did not start')
            if time.monotonic() > end:
                self._fail('QEMU does not connect')

    def stop(self):
        """End QEMU; the console log stays."""
        if self.proc and self.proc.poll() is None:
            with contextlib.suppress(Exception):
                self.mon.execute('quit', timeout=5)
            try:
                self.proc.wait(5)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        for s in (self.agent, self.mon and self.mon.sock):
            if s:
                s.close()
        self.agent = self.mon = None
        if self.dir:
            shutil.rmtree(self.dir, ignore_errors=True)
            self.dir = None

    def alive(self):
        """True while QEMU runs and the agent answers."""
        try:
            return self.run('echo alive', timeout=20)[1] == 'alive\n'
        except GuestError:
            return False

    def _fail(self, why):
        """Raise with the last console lines, and where the guest hangs."""
        where = ''
        if self.mon and self.proc.poll() is None:
            with contextlib.suppress(Exception):
                # Not by qmp(), which fails like this if QEMU does not answer, either.
                text = self.mon.execute('human-monitor-command',
                                        {'command-line': 'info registers'}, timeout=5)
                m = re.search(r'\b((?:RIP|PC)=\w+)', text)
                where = f'\n{m.group(1)}' if m else ''
        if self.proc.poll() is not None:
            why += f' (QEMU exited with status {self.proc.returncode})'
        tail = self.console().splitlines()[-25:]
        if not tail:
            with open(self.errors, encoding='utf-8', errors='replace') as f:
                tail = f.read().splitlines()[-5:]
        log = os.path.relpath(self.log, TOP)
        raise GuestError(f'{self.name}: {why}; log: {log}{where}\n' +
                         '\n'.join('    ' + t for t in tail))

    # - agent -

    def _more(self, end, what):
        while True:
            if select.select([self.agent], [], [], 0.2)[0]:
                data = self.agent.recv(1 << 16)
                if not data:
                    self.proc.wait(10)
                    self._fail(f'the guest died during: {what}')
                self.port += data
                return
            if self.proc.poll() is not None:
                self._fail(f'the guest died during: {what}')
            if time.monotonic() > end:
                self._fail(f'timeout during: {what}')

    def _line(self, end, what):
        while b'\n' not in self.port:
            self._more(end, what)
        line, self.port = self.port.split(b'\n', 1)
        return line.decode()

    def _send(self, cmd, what, limit):
        """Have the agent run a shell command: the word that its answer begins with."""
        nonce = secrets.token_hex(8)
        body = base64.b64encode(cmd.encode())
        try:
            self.agent.sendall(b'%s %d %s\n' % (nonce.encode(), max(1, int(limit)), body))
        except OSError:
            self._fail(f'the guest is gone before: {what}')
        return nonce

    def boot_again(self, cmd=None):
        """Wait for the agent of the next kernel: run the command that starts it, if any.

        The modules that start() loads, if any, are not in it.
        """
        what = cmd or 'the next boot'
        end = time.monotonic() + self.timeout
        if cmd:
            self._send(cmd, what, self.timeout)
        line = self._line(end, what)
        if line != 'ready':
            status, size = line.split()[1:]
            while len(self.port) < int(size):
                self._more(end, what)
            self._fail(f'{what}: status {status}\n{self.port.decode("utf-8", "replace")}')

    def run(self, cmd, timeout=60, check=False):
        """Run a shell command as root: (status, output of both streams).

        A command that outlives the timeout is killed in the guest and counts
        as status 137; a guest that no longer answers raises GuestError.
        """
        what = cmd if len(cmd) < 100 else cmd[:97] + '...'
        limit = timeout * self.slow
        end = time.monotonic() + limit + 15 * self.slow
        nonce = self._send(cmd, what, limit)
        while True:
            words = self._line(end, what).split()
            if len(words) == 3 and words[0] == nonce:
                break
        status, size = int(words[1]), int(words[2])
        while len(self.port) < size:
            self._more(end, what)
        text, self.port = self.port[:size], self.port[size:]
        text = text.decode('utf-8', 'replace')
        if check and status:
            raise GuestError(f'{self.name}: status {status}: {what}\n{text}'
                             f'log: {os.path.relpath(self.log, TOP)}')
        return status, text

    def sh(self, cmd, timeout=60):
        """Run a shell command that must succeed: its output."""
        return self.run(cmd, timeout, check=True)[1]

    def read(self, path, timeout=60):
        """The text of a file in the guest."""
        return self.sh(f"cat '{path}'", timeout)

    def write(self, path, text, timeout=60):
        """Write a file in one write(2); None, or the errno's name.

        bash's printf reports the errno of the write itself.
        """
        quoted = "'" + str(text).replace("'", "'\\''") + "'"
        status, out = self.run(f"bash -c 'printf %s \"$1\" >\"$0\"' '{path}' {quoted}", timeout)
        if status == 0:
            return None
        for code, name in {**errno.errorcode, 133: 'EHWPOISON'}.items():
            if out.strip().endswith(': ' + os.strerror(code)):
                return name
        raise GuestError(f'{self.name}: write {path}: {out.strip()}')

    # - console -

    def console(self):
        """The console's text so far."""
        try:
            with open(self.log, 'rb') as f:
                return f.read().decode('utf-8', 'replace').replace('\r', '')
        except OSError:
            return ''

    def bad_lines(self, allow=()):
        """Console lines that report a kernel fault, less those allowed."""
        fine = [re.compile(a) for a in allow]
        return [line for line in self.console().splitlines()
                if BAD.search(line) and not any(f.search(line) for f in fine)]

    # - devices -

    def qmp(self, execute, **arguments):
        """One QMP command; write '_' for '-' in argument names."""
        try:
            return self.mon.execute(execute, {k.replace('_', '-'): v for k, v in arguments.items()})
        except (ConnectionError, TimeoutError) as e:
            self._fail(f'{execute}: {e}')

    def hmp(self, line):
        return self.qmp('human-monitor-command', command_line=line)

    def events(self):
        """All QMP events so far, oldest first."""
        with contextlib.suppress(ConnectionError):
            while self.mon.poll(0):
                pass
        return list(self.mon.events)

    def _wait_event(self, start, match, timeout):
        """The first event from index start on that matches, or None."""
        end = time.monotonic() + timeout * self.slow
        while True:
            for event in self.mon.events[start:]:
                if match(event):
                    return event
            start = len(self.mon.events)
            left = end - time.monotonic()
            if left <= 0:
                return None
            if self.proc.poll() is not None:
                self._fail('the guest died')
            with contextlib.suppress(ConnectionError):
                self.mon.poll(min(left, 0.5))

    def plug_dimm(self, id, size_mib, addr=None, node=None, wait=30):
        """Plug a pc-dimm, and wait until the guest has dealt with it.

        True when the guest has answered (_OST) with success, False with
        failure, None when it has not within wait seconds (0: do not wait).
        Linux 6.12 answers success even where add_memory() has refused the
        range: look in the guest for what came of it. Raises QMPError when
        QEMU itself refuses the DIMM.
        """
        start = len(self.events())
        self.qmp('object-add', qom_type='memory-backend-ram', id='mem-' + id,
                 size=int(size_mib * MIB), reserve=False)
        device = {'driver': 'pc-dimm', 'id': id, 'memdev': 'mem-' + id}
        # Not the slot of who has just gone: the guest may still be at its eject, and
        # take the new one for the old.
        used = {d['data']['slot'] for d in self.qmp('query-memory-devices')
                if d['type'] == 'dimm'}
        free = [n for n in range(self.slots) if n not in used]
        if free:
            device['slot'] = min(free, key=lambda n: (n - self.slot) % self.slots)
            self.slot = device['slot'] + 1
        if addr is not None:
            device['addr'] = addr
        if node is not None:
            device['node'] = node
        try:
            self.qmp('device_add', **device)
        except QMPError:
            self.qmp('object-del', id='mem-' + id)
            raise
        self.dimms[id] = int(size_mib * MIB)
        if not wait:
            return None
        ost = self._wait_event(start, lambda e: e['event'] == 'ACPI_DEVICE_OST' and
                               e['data']['info'].get('device') == id and
                               e['data']['info']['source'] == 1, wait)
        return None if ost is None else ost['data']['info']['status'] == 0

    def unplug(self, id, timeout=60):
        """Ask for a device back: True when it is gone, False when the guest
        refused or said nothing in time."""
        start = len(self.events())
        self.qmp('device_del', id=id)

        def match(e):
            data = e.get('data', {})
            if e['event'] == 'ACPI_DEVICE_OST':
                info = data['info']
                # 3: ejection in the OS's own words; 0x80 and up: in progress
                return (info.get('device') == id and info['source'] in (3, 0x103) and
                        info['status'] not in (0, 0x84))
            return (e['event'] in ('DEVICE_DELETED', 'MEM_UNPLUG_ERROR',
                                   'DEVICE_UNPLUG_GUEST_ERROR') and data.get('device') == id)

        event = self._wait_event(start, match, timeout)
        if event is None or event['event'] != 'DEVICE_DELETED':
            return False
        with contextlib.suppress(QMPError):
            self.qmp('object-del', id='mem-' + id)
        self.dimms.pop(id, None)
        return True


# --- commands ---------------------------------------------------------------

def shell(image):
    """An interactive guest: console and QEMU monitor on this terminal."""
    g = Guest(image=image, name='shell', smp=2, cmdline='mhp.shell')
    if not os.path.exists(g.image):
        raise GuestError(f'no kernel at {g.image}: run make kernel')
    g.accel = choose_accel(g.image)
    make_initramfs(g.arch)
    cmd = g._command(g.arch.initramfs)
    cmd += ['-serial', 'mon:stdio', '-qmp', f'unix:{SHELL_SOCKET},server=on,wait=off']
    os.chdir(TOP)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SHELL_SOCKET)
    note(f'{os.path.relpath(g.image, TOP)} under {g.accel}; Ctrl-a x stops it')
    os.execvp(cmd[0], cmd)


def shell_qmp():
    os.chdir(TOP)
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect(SHELL_SOCKET)
    except OSError:
        raise GuestError("no guest is running: start one with 'make shell'") from None
    return QMP(s)


def main(argv):
    match argv:
        case ['accel', *image]:
            print(choose_accel(image[0] if image else None))
        case ['shell', *image]:
            shell(image[0] if image else None)
        case ['plug', name, mib, *addr]:
            mon = shell_qmp()
            mon.execute('object-add', {'qom-type': 'memory-backend-ram', 'id': 'mem-' + name,
                                       'size': int(mib) * MIB, 'reserve': False})
            device = {'driver': 'pc-dimm', 'id': name, 'memdev': 'mem-' + name}
            if addr:
                device['addr'] = int(addr[0], 0)
            try:
                mon.execute('device_add', device)
            except QMPError:
                mon.execute('object-del', {'id': 'mem-' + name})
                raise
        case ['unplug', name]:
            mon = shell_qmp()
            mon.execute('device_del', {'id': name})
            end = time.monotonic() + 10
            while time.monotonic() < end:
                mon.poll(0.5)
                if any(e['event'] == 'DEVICE_DELETED' and e['data'].get('device') == name
                       for e in mon.events):
                    mon.execute('object-del', {'id': 'mem-' + name})
                    print(f'{name} is gone')
                    return 0
            print(f'{name} is still there; the guest console says why')
            return 1
        case ['monitor', *words] if words:
            print(shell_qmp().execute('human-monitor-command',
                                      {'command-line': ' '.join(words)}), end='')
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except (GuestError, QMPError) as error:
        sys.exit(f'guest.py: {error}')
