#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Plug two odd DIMMs into a running guest and say what became of every byte."""

import contextlib
import io
import os
import re
import subprocess
import sys

import docs
from guest import BASE, BUILD, MIB, TOP, Guest, GuestError, QMPError, choose_accel

DIMMS = (('dimm0', 134), ('dimm1', 256))
SYS = '/sys/devices/system/memory'
MHP = '/sys/kernel/debug/mhp'
EXTENT = re.compile(r'0x(?P<start>[0-9a-f]+)-0x(?P<end>[0-9a-f]+) (?P<state>\S+) '
                    r'node=(?P<node>\d+) zone=(?P<zone>.+?) memmap=(?P<memmap>\S+).*')
EXTENTS = '/sys/kernel/debug/memory_extents'


def addresses(guest):
    """{DIMM: first address}, as QEMU placed them."""
    return {d['data']['id']: d['data']['addr'] for d in guest.qmp('query-memory-devices')}


def blocks(guest):
    """[(number, start, size, state, populated_bytes or None, extents' text or None)] of every
    memory block."""
    size = int(guest.read(SYS + '/block_size_bytes'), 16)
    text = guest.sh(f'cd {SYS}; for b in memory*; do cat $b/phys_index $b/state '
                    '$b/populated_bytes 2>/dev/null | xargs; done')
    status, extents = guest.run(f'cat {EXTENTS}')
    found = []
    for line in text.splitlines():
        index, state, *populated = line.split()
        start = int(index, 16) * size
        mine = [m[0] for m in EXTENT.finditer(extents)
                if start <= int(m['start'], 16) < start + size]
        found.append([int(index, 16), start, size, state, populated[0] if populated else None,
                      '\n'.join(mine) if status == 0 else None])
    return sorted(found)


def overlap(a, b, c, d):
    return max(0, min(b, d) - max(a, c))


def usage(found, start, end):
    """(online bytes, block numbers, places of the memmap) within a range."""
    online, numbers, places = 0, [], []
    for number, base, size, state, _, extents in found:
        if not overlap(base, base + size, start, end):
            continue
        numbers.append(number)
        if extents is None:             # no such list: blocks are all or nothing
            online += overlap(base, base + size, start, end) if state == 'online' else 0
            continue
        for m in EXTENT.finditer(extents):
            n = overlap(int(m['start'], 16), int(m['end'], 16) + 1, start, end)
            if n and m['state'] == 'online':
                online += n
            if n and m['memmap'] not in places:
                places.append(m['memmap'])
    return online, numbers, places


def span(numbers):
    if not numbers:
        return '-'
    if numbers == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 1:
        return f'{numbers[0]}-{numbers[-1]}'
    return ','.join(map(str, numbers))


def meminfo(guest):
    return int(re.search(r'MemTotal: +(\d+)', guest.read('/proc/meminfo')).group(1))


def companion(kernel):
    """The companion module, built for the kernel in a folder."""
    done = subprocess.run([os.path.join(TOP, 'scripts', 'module.sh'), os.path.join(TOP, 'module'),
                           kernel], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise GuestError('the companion module does not build')
    return done.stdout.strip()


def save(guest, flavour):
    """Keep what scripts/mhp-map draws; returns the folder, as seen from the top."""
    folder = os.path.join(BUILD, 'log', f'run-{flavour}-map')
    os.makedirs(folder, exist_ok=True)
    for name in ('sections', 'blocks'):
        with open(os.path.join(folder, name), 'w', encoding='ascii') as f:
            f.write(guest.read(f'{MHP}/{name}'))
    return os.path.relpath(folder, TOP)


def plug(flavour, accel):
    kernel = os.path.join(BUILD, BASE, flavour)
    with Guest(image=os.path.join(kernel, 'vmlinuz'), accel=accel, name=f'run-{flavour}',
               share=[companion(kernel)]) as g:
        version = g.sh('uname -r').strip()
        g.sh('insmod /mnt/share/mhp_debug.ko')
        g.write(SYS + '/auto_online_blocks', 'online')
        before, map_before = meminfo(g), g.read(MHP + '/map')
        for name, mib in DIMMS:
            g.plug_dimm(name, mib)
        g.run('i=0; while [ $i -lt 20 ] && dmesg | tail -n 1 | grep -q hotplug; do '
              'usleep 50000; i=$((i+1)); done')
        after, found, place = meminfo(g), blocks(g), addresses(g)
        rows, total = [], 0
        for name, mib in DIMMS:
            start, end = place[name], place[name] + mib * MIB
            online, numbers, where = usage(found, start, end)
            total += online
            rows.append((name, f'{start:#x}-{end - 1:#x}', str(mib), f'{online / MIB:g}',
                         span(numbers), ','.join(where) or ('regular' if online else '-')))
        shared = [f[0] for f in found
                  if sum(bool(overlap(f[1], f[1] + f[2], place[n], place[n] + m * MIB))
                         for n, m in DIMMS) > 1]
        hot = [f for f in found if f[1] + f[2] > min(place.values())]
        refusals = list(dict.fromkeys(re.sub(r'^\[ *[\d.]+\] ', '', line)
                                      for line in g.console().splitlines()
                                      if 'unaligned hotplug range' in line))
        return {'version': version, 'rows': rows, 'total': total, 'grew': after - before,
                'lsmem': g.sh('lsmem -a -o RANGE,SIZE,STATE,BLOCK,NODE,ZONES'),
                'granularity': g.run(f'cat {SYS}/granularity_bytes'),
                'blocksize': g.read(SYS + '/block_size_bytes').strip(),
                'hot': hot, 'shared': shared, 'refusals': refusals, 'bad': g.bad_lines(),
                'maps': (map_before, g.read(MHP + '/map')), 'saved': save(g, flavour)}


def table(rows):
    head = ('DIMM', 'address range', 'MiB plugged', 'MiB usable', 'blocks', 'memmap')
    width = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    for r in [head, *rows]:
        cells = (c.rjust(w) if i in (2, 3) else c.ljust(w)
                 for i, (c, w) in enumerate(zip(r, width)))
        print('  ' + '  '.join(cells).rstrip())


def main():
    flavour = os.environ.get('FLAVOUR') or 'patched'
    plugged = sum(m for _, m in DIMMS)
    accel = choose_accel(os.path.join(BUILD, BASE, 'stock', 'vmlinuz'))
    print(f'QEMU with {accel}; two DIMMs are plugged while the guest runs', flush=True)
    new = plug(flavour, accel)
    old = plug('stock', accel)
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        report(flavour, new, old, plugged)
    print(text.getvalue(), end='')
    bad = new['bad'] + old['bad']
    if bad:
        print('\nreported by a guest kernel:', *bad, sep='\n  ')
    docs.keep(BASE, 'run', extra=[f'```{text.getvalue()}```'])
    return 1 if bad or (flavour != 'stock' and new['total'] != plugged * MIB) else 0


def report(flavour, new, old, plugged):
    print(f'\n{flavour} ({new["version"]}):\n')
    table(new['rows'])
    print(f'\n  {new["total"] / MIB:g} of {plugged} MiB usable; '
          f'MemTotal grew by {new["grew"] / 1024:g} MiB')
    print(f'  block size 0x{new["blocksize"]}; block(s) both DIMMs share: {span(new["shared"])}')
    for when, text in zip(('before', 'after'), new['maps']):
        print(f'\nmap {when} the DIMMs were plugged (mhp_debug):\n')
        print('\n'.join('  ' + line for line in text.splitlines()))
    print(f'\n  in colour: scripts/mhp-map {new["saved"]}; as a picture: --svg FILE')
    print('\nlsmem (it counts every block as full):\n')
    print('\n'.join('  ' + line for line in new['lsmem'].splitlines()))
    print(f'\n{SYS}/:\n')
    status, text = new['granularity']
    print('  granularity_bytes: ' + (text.strip() if status == 0 else 'no such file'))
    for number, _, _, state, populated, _ in new['hot']:
        print(f'  memory{number}: state {state}, populated_bytes {populated or "no such file"}')
    print(f'\n{EXTENTS}:\n')
    for *_, extents in new['hot']:
        for line in ('no such file',) if extents is None else extents.splitlines():
            print('  ' + line)
    print(f'\nstock ({old["version"]}): {old["total"] / MIB:g} of {plugged} MiB usable; '
          f'MemTotal grew by {old["grew"] / 1024:g} MiB; the kernel said:\n')
    print('\n'.join('  ' + line for line in old['refusals']) or '  nothing')


if __name__ == '__main__':
    try:
        sys.exit(main())
    except (GuestError, QMPError) as error:
        sys.exit(f'run.py: {error}')
