# SPDX-License-Identifier: GPL-2.0
"""The companion module: what it shows, against everything else that tells of the
same; and its knobs."""

import importlib.machinery
import importlib.util
import json
import os
import re
import subprocess
import tempfile

from lib import (BUILD, GRANULE, MEMORY, MIB, PAGE, SECTION, SPARE, TOP, Device, Failure, World,
                 case, dax_guest, expect, expect_between, expect_lines, expect_same, fail, h,
                 helper, make_dax, parse_zoneinfo, snapshot, system_ram, to_system_ram, version)

MHP = '/sys/kernel/debug/mhp'
STATES = ('granularity', 'sections', 'blocks', 'memmap', 'map', 'stats', 'last_error')
KNOBS = ('add', 'remove', 'online', 'offline', 'offline_and_remove', 'selfcheck')
STRUCT_PAGE = 64

HEX, NUM, NA = r'0x[0-9a-f]+', r'\d+', r'n/a'
OPS = '(?:add|remove|online|offline|populate)'
# The form of every line
LINES = {
    'granularity': [rf'granularity_bytes={NUM} subsection_bytes={NUM} pageblock_bytes={NUM} '
                    rf'section_bytes={NUM} block_bytes={NUM}'],
    'sections': [rf'section={NUM} start={HEX} end={HEX} kind=(?:early|hot-added) '
                 rf'present=0x[0-9a-f]{{16}} online=0x[0-9a-f]{{16}} zone_device=0x[0-9a-f]{{16}} '
                 r'memmap=(?:none|(?:n/a|boot|regular|self|zone_device)'
                 r'(?:\+(?:regular|self|zone_device))*)'],
    'blocks': [rf'block={NUM} start={HEX} end={HEX} state=(?:online|offline) '
               rf'extents=(?:{NUM}|{NA})',
               rf'extent={NUM}\.{NUM} block={NUM} start={HEX} end={HEX} early=[01] '
               r'state=(?:online|offline) '
               rf'node=(?:{NUM}|{NA}) zone=(?:\w+|{NA}) group=(?:{NUM}|none|{NA}) '
               rf'memmap=(?:boot|regular|self|{NA}) memmap_bytes={NUM} hosted_bytes=(?:{NUM}|{NA}) '
               rf'altmap_free=(?:{NUM}|none|{NA}) altmap_alloc=(?:{NUM}|none|{NA})'],
    'memmap': [rf'kind=(?:boot|regular|self|zone_device|{NA}) node=(?:{NUM}|{NA}) bytes={NUM}',
               rf'total bytes={NUM} described_bytes={NUM} overhead_percent=\d+\.\d\d '
               rf'waste_bytes=(?:{NUM}|{NA})'],
    'map': [r'# .{1,78}', r'0x[0-9a-f]{13} [BbOoMmD.]{64}', rf'\* {NUM} more like this, {NUM} MiB',
            rf'- nothing for {NUM} MiB'],
    'stats': [rf'op={OPS} ok={NUM} failed={NUM} missed={NUM} bytes={NUM} '
              rf'mean_ns={NUM} max_ns={NUM}',
              rf'op={OPS} errno=(?:-{NUM}|other) failed={NUM}'],
    'last_error': [rf'knob=\w+ errno=-{NUM} reason=".*" request=".*"', rf'violations={NUM}',
                   r'(?:section|extent|addr|node)=.*: .*'],
}


def mhp_map():
    """scripts/mhp-map as a module."""
    path = os.path.join(TOP, 'scripts', 'mhp-map')
    loader = importlib.machinery.SourceFileLoader('mhp_map', path)
    found = importlib.util.module_from_spec(importlib.util.spec_from_loader('mhp_map', loader))
    loader.exec_module(found)
    return found


def check_form(name, text):
    """Every line of a file has one of its forms; returns the lines."""
    lines = text.splitlines()
    for line in lines:
        if not any(re.fullmatch(form, line) for form in LINES[name]):
            fail(f'a line of {name}', ' or '.join(LINES[name]), line)
    if text and not text.endswith('\n'):
        fail(f'end of {name}', 'a newline', text[-20:])
    return lines


def records(lines):
    return [dict(w.split('=', 1) for w in line.split() if '=' in w) for line in lines]


def read_all(g, names=STATES):
    """{file: lines}, all of them well-formed."""
    text = g.sh(f'cd {MHP}; ' + '; '.join(f'cat {n}; echo ==' for n in names))
    return {n: check_form(n, part) for n, part in zip(names, text.split('==\n'))}


def knob(g, name, request):
    """Write a knob: None, or the errno's name."""
    return g.write(f'{MHP}/{name}', request, timeout=120)


def knob_ok(g, name, request):
    error = knob(g, name, request)
    if error:
        fail(f'{name} {request}', 'success', f'{error}: {g.read(MHP + "/last_error").strip()}')


def refused(g, name, request, error, reason):
    """The knob refuses, with this errno and a reason that has these words."""
    expect(f'{name}: {request[:80]!r}', knob(g, name, request), error)
    text = g.read(f'{MHP}/last_error')
    check_form('last_error', text)
    said = re.match(rf'knob={name} errno=(-\d+) reason="(.*?)" request=', text)
    if not said or reason not in said[2]:
        fail(f'last_error of {name} {request[:80]!r}', reason, text.strip())


def selfcheck(g):
    expect('selfcheck', (knob(g, 'selfcheck', '1'), ''), (None, ''))


def bits(value):
    return {n for n in range(64) if int(value, 16) >> n & 1}


def module_bits(text):
    return bits('0x' + text.replace(',', ''))


# --- what is shown ------------------------------------------------------------

def check_sections(g, lines):
    """Against what the test module reads from the section itself, and pfn by pfn."""
    found = records(lines)
    commands = [f"section {r['start']}" for r in found]
    commands += [f"pfns {r['start']} {h(SECTION)}" for r in found]
    answers = g.mods(commands)
    for r, (_, section), (_, pfns) in zip(found, answers, answers[len(found):]):
        start = int(r['start'], 16)
        values = dict(w.split('=', 1) for line in section for w in line.split())
        seen = {'section': r['section'], 'end': int(r['end'], 16), 'early': r['kind'] == 'early',
                'present': bits(r['present']), 'online': bits(r['online'])}
        online = set()
        for line in pfns:
            m = re.match(r'run=(\S+)-(\S+) online=1', line)
            if m:
                online |= set(range((int(m[1], 0) - start) // GRANULE,
                                    (int(m[2], 0) - start) // GRANULE + 1))
        expect(f"section at {r['start']}", seen,
               {'section': values['section'], 'end': start + SECTION - 1,
                'early': values['early'] == '1',
                'present': module_bits(values['subsections']), 'online': online})
    expect('sections, by number', [int(r['section']) for r in found],
           [int(r['start'], 16) // SECTION for r in found])
    return found


def check_blocks(g, lines):
    """Against mm, which has the same extents in other words."""
    found = records(lines)
    extents = [r for r in found if 'extent' in r]
    seen = [f"{int(r['block'])} {int(r['start'], 16):#x} {int(r['end'], 16) + 1:#x} "
            f"{r['state']} {r['node']} {r['zone']} {r['group']} {r['memmap']} "
            f"{r['memmap_bytes']} {r['hosted_bytes']}" for r in extents]
    theirs = [f"{e.block} {e.start:#x} {e.end:#x} {'online' if e.online else 'offline'} {e.node} "
              f"{e.zone or 'none'} {e.group} {e.memmap} {e.memmap_bytes} {e.hosted_bytes}"
              for e in g.extents()]
    expect_lines('extents, against mm', seen, theirs)
    for r in extents:
        taken = {r['altmap_free'], r['altmap_alloc']}
        expect(f"altmap of {r['start']}", taken, {'none'} if r['hosted_bytes'] == '0' and
               r['memmap'] != 'self' else {str(int(r['hosted_bytes']) // PAGE)})
    states = dict(re.findall(r'memory(\d+)/state:(\w+)',
                             g.sh(f"cd {MEMORY}; grep -H '' memory*/state")))
    blocks = [r for r in found if 'block' in r and 'extent' not in r]
    expect('states of blocks', {r['block']: r['state'] for r in blocks}, states)
    expect('extents of blocks', {r['block']: int(r['extents']) for r in blocks},
           {b: sum(e['block'] == b for e in extents) for b in states})
    return extents


def check_memory(g, extents):
    """Extents against zones and /proc/iomem."""
    ram = system_ram(g.read('/proc/iomem'))
    for r in extents:
        if r['memmap'] != 'boot' and not any(s <= int(r['start'], 16) and int(r['end'], 16) < e
                                             for s, e in ram):
            fail(f"extent at {r['start']}", 'in System RAM of /proc/iomem', ram)
    zones = parse_zoneinfo(g.read('/proc/zoneinfo'))
    present = {}
    for r in extents:
        if r['state'] == 'online':
            key = int(r['node']), r['zone']
            size = int(r['end'], 16) + 1 - int(r['start'], 16)
            present[key] = present.get(key, 0) + size // PAGE
    expect('present pages of zones', {k: v['present'] for k, v in zones.items() if v['present']},
           present)


def check_memmap(lines, sections, extents, device_bytes):
    """Sums by kind and node, from what describes what. device_bytes: ZONE_DEVICE, by
    the node of its memmap, "n/a" for a device that hosts it."""
    found = records(lines)
    seen = {(r['kind'], r['node']): int(r['bytes']) for r in found[:-1]}
    early = {r['section'] for r in sections if r['kind'] == 'early'}
    want = {('boot', '0'): len(early) * SECTION // PAGE * STRUCT_PAGE}
    for r in extents:
        if str(int(r['start'], 16) // SECTION) not in early:
            # Regular memmap comes from where there is boot memory.
            key = r['memmap'], r['node'] if r['memmap'] == 'self' else '0'
            want[key] = want.get(key, 0) + int(r['memmap_bytes'])
    for node, size in device_bytes.items():
        want['zone_device', node] = size // PAGE * STRUCT_PAGE
    expect('bytes of memmap by kind and node', seen, want)
    expect('sum of memmap', int(found[-1]['bytes']), sum(want.values()))
    expect('memory described', int(found[-1]['described_bytes']),
           sum(want.values()) // STRUCT_PAGE * PAGE)
    expect('overhead', found[-1]['overhead_percent'], '1.56')
    expect('waste', found[-1]['waste_bytes'], '0')


def check_pfn(g, address, want):
    """What "pfn" says of an address: the values that are wanted."""
    expect('pfn', g.write(f'{MHP}/pfn', f'phys={h(address)}'), None)
    seen = dict(line.split('=', 1) for line in g.read(f'{MHP}/pfn').splitlines())
    expect(f'pfn of {address:#x}', {k: seen.get(k) for k in want}, want)
    return seen


@case(needs='debug')
def debugfs_agrees_with_all_else(t):
    """I2 I3 I8: every number of the module's files is what others say of the same memory."""
    args = ['-smp', '2', '-object', 'memory-backend-ram,id=ram0,size=2G,reserve=off',
            '-object', 'memory-backend-ram,id=ram1,size=256M,reserve=off',
            '-numa', 'node,nodeid=0,memdev=ram0', '-numa', 'node,nodeid=1,memdev=ram1']
    with t.guest(mem='2304M', cmdline='mem=1G memory_hotplug.memmap_on_memory=1', args=args,
                 debugfs=True) as g:
        g.auto_online('online_movable')
        g.plug('d0', 134 * MIB, node=1)
        g.auto_online('offline')
        # No granules in common: hosted and regular memmap, a device, a hole.
        knob_ok(g, 'add', f'start={h(SPARE)} size=6M memmap=self online=movable node=0')
        knob_ok(g, 'add', f'start={h(SPARE + 8 * MIB)} size=4M online=kernel node=1')
        knob_ok(g, 'add', f'start={h(SPARE + 12 * MIB)} size=2M memmap=regular')
        g.mod_ok(f'device {h(SPARE + 16 * MIB)} {h(4 * MIB)}')
        # A device that hosts its memmap behind what it keeps for itself
        g.mod_ok(f'device {h(SPARE + 512 * MIB)} {h(SECTION)} 512 1024')
        knob_ok(g, 'add', f'start={h(SPARE + SECTION)} size=256M memmap=self')
        state = read_all(g)

        values = records(state['granularity'])[0]
        expect('granularity', [int(values['granularity_bytes']), int(values['block_bytes'])],
               [int(g.read(f'{MEMORY}/granularity_bytes'), 16), g.block_size()])
        expect('other units', [int(values[k + '_bytes']) for k in
                               ('subsection', 'pageblock', 'section')], [GRANULE, GRANULE, SECTION])
        sections = check_sections(g, state['sections'])
        device = {r['start']: bits(r['zone_device']) for r in sections if bits(r['zone_device'])}
        expect('ZONE_DEVICE', device,
               {h(SPARE): {8, 9}, h(SPARE + 512 * MIB): set(range(64))})
        expect('memmap of the mixed section', next(
            r['memmap'] for r in sections if r['start'] == h(SPARE)), 'regular+self+zone_device')
        extents = check_blocks(g, state['blocks'])
        check_memory(g, extents)
        check_memmap(state['memmap'], sections, extents, {'0': 4 * MIB, 'n/a': SECTION})

        row = next(line for line in state['map'] if line.startswith(f'0x{SPARE:013x}'))
        expect('the mixed row', row.split()[1], 'mOO.OOo.DD' + '.' * 54)
        row = state['map'].index(f'0x{SPARE + SECTION:013x} M' + 'o' * 63)
        expect('the row behind it', state['map'][row + 1], '* 1 more like this, 128 MiB')
        text = '\n'.join(state['sections'] + state['blocks']) + '\n'
        expect_lines('map, drawn from the outside', mhp_map().draw(text).splitlines(), state['map'])
        # lsmem counts blocks: each that is online here, and no other.
        online = int(g.sh("lsmem -b -o SIZE,STATE -n | awk '$2 == \"online\" { s += $1 } "
                          "END { printf \"%.0f\", s }'"))
        expect('online memory by lsmem', online, SECTION * sum(
            'extent' not in r and r['state'] == 'online' for r in records(state['blocks'])))

        check_pfn(g, SPARE + PAGE, {
            'pfn': h((SPARE + PAGE) // PAGE), 'section': str(SPARE // SECTION), 'subsection': '0',
            'valid': '1', 'online': '1', 'zone': 'Movable', 'node': '0', 'hosts_memmap': '1',
            'extent': f'{h(SPARE)}-{h(SPARE + 6 * MIB - 1)}', 'memmap_kind': 'self',
            'memmap_in': f'{h(SPARE)}-{h(SPARE + 6 * MIB - 1)}',
            'memmap': f'0x{SPARE + STRUCT_PAGE:016x}'})
        check_pfn(g, SPARE + 8 * MIB, {'online': '1', 'zone': 'Normal', 'node': '1',
                                       'memmap_kind': 'regular', 'hosts_memmap': '0'})
        check_pfn(g, SPARE + 12 * MIB, {
            'online': '0', 'valid': '1', 'flags': 'n/a',
            'extent': f'{h(SPARE + 12 * MIB)}-{h(SPARE + 14 * MIB - 1)}'})
        check_pfn(g, SPARE + 14 * MIB, {'online': '0', 'valid': '0', 'extent': 'none',
                                        'memmap': 'none', 'memmap_kind': 'none'})
        seen = check_pfn(g, SPARE + 16 * MIB, {'zone_device': '1', 'zone': 'n/a',
                                               'memmap_kind': 'zone_device', 'extent': 'none'})
        lines = g.mod_ok(f'backing {h(SPARE + 16 * MIB)} {h(GRANULE)}')
        expect('memmap of the device', int(seen['memmap'], 16),
               int(re.match(r'memmap=(\S+)-', lines[0])[1], 16))

        ops = {r['op']: r for r in records(state['stats']) if 'ok' in r}
        expect('adds', [ops['add'][k] for k in ('ok', 'failed', 'bytes')],
               ['5', '0', str((134 + 6 + 4 + 2 + 256) * MIB)])
        expect('offlines', [ops[k]['ok'] for k in ('offline', 'remove')], ['0', '0'])
        selfcheck(g)
        expect('last_error', g.read(f'{MHP}/last_error'), '')
        # What a device keeps for itself has struct pages that nobody initialises.
        check_pfn(g, SPARE + 512 * MIB, {'zone_device': '1', 'valid': '1', 'node': 'n/a',
                                         'memmap_kind': 'zone_device'})
        for at in (16, 512):
            g.mod_ok(f'undevice {h(SPARE + at * MIB)}')
        selfcheck(g)


@case(needs='debug')
def debugfs_reads_of_any_size(t):
    """Every file reads the same with any buffer, from any place, with memory of 64 GiB."""
    with t.guest(mem='2G', maxmem='80G', cmdline='mem=1G memory_hotplug.memmap_on_memory=1',
                 debugfs=True) as g:
        g.auto_online('offline')
        g.plug('d0', 65536 * MIB)
        for n in range(0, 64, 2):
            knob_ok(g, 'add', f'start={h(SPARE + n * GRANULE)} size=2M')
        g.write(f'{MHP}/pfn', 'phys=0')
        state = read_all(g)
        expect('sections', len(state['sections']), 8 + 1 + 512)
        expect('rows of the map, with all of the DIMM on two lines', len(state['map']), 3 + 2 + 1 +
               1 + 2)
        expect('extents', sum('extent=' in line for line in state['blocks']), 3 + 7 + 32 + 512)
        out = g.sh(f'cd {MHP}; for f in {" ".join(STATES)} pfn; do cat $f >/tmp/whole; '
                   'for bs in 1 7 61 4096 1000000; do [ $bs = 1 ] && [ $f = blocks ] && continue; '
                   '[ $bs = 1 ] && [ $f = sections ] && continue; '
                   'dd if=$f bs=$bs 2>/dev/null | cmp - /tmp/whole || echo $f $bs; done; '
                   'dd if=$f bs=1 skip=100 count=300 2>/dev/null | cmp - /dev/null 2>/dev/null; '
                   'dd if=/tmp/whole bs=1 skip=100 count=300 2>/dev/null >/tmp/part; '
                   'dd if=$f bs=1 skip=100 count=300 2>/dev/null | cmp - /tmp/part || echo $f; '
                   'done',
                   timeout=240)
        expect('files that read differently', out, '')


# --- knobs --------------------------------------------------------------------

A = SPARE
# (knob, request, errno, words of the reason)
BAD = (
    ('add', ' ', 'EINVAL', "'start' is missing"),
    ('add', f'start={h(A)}', 'EINVAL', "'size' is missing"),
    ('add', 'size=2M', 'EINVAL', "'start' is missing"),
    ('add', f'start={h(A)} size=', 'EINVAL', 'has no value'),
    ('add', f'start={h(A)} size', 'EINVAL', 'is not key=value'),
    ('add', f'start={h(A)} size=2M size=2M', 'EINVAL', 'there twice'),
    ('add', f'start={h(A)} size=2M colour=red', 'EINVAL', "unknown key 'colour'"),
    ('add', f'start={h(A)} size=2M pfn=1', 'EINVAL', "unknown key 'pfn'"),
    ('add', f'start={h(A)} size=2M =1', 'EINVAL', "unknown key ''"),
    ('add', f'start={h(A)} size=2M trailing', 'EINVAL', "'trailing'"),
    ('add', f'start={h(A)} size=2MM', 'EINVAL', 'cannot be understood'),
    ('add', f'start={h(A)} size=2X', 'EINVAL', 'cannot be understood'),
    ('add', f'start={h(A)} size=M', 'EINVAL', 'cannot be understood'),
    ('add', f'start={h(A)} size=-2097152', 'EINVAL', 'cannot be understood'),
    ('add', f'start={h(A)} size=+2097152', 'EINVAL', 'cannot be understood'),
    ('add', f'start={h(A)} size=2.0M', 'EINVAL', 'cannot be understood'),
    ('add', f'start={h(A)} size=010000000', 'EINVAL', 'cannot be understood'),
    ('add', f'start={h(A)} size=0', 'EINVAL', 'size is 0'),
    ('add', f'start={h(A)} size=1M', 'EINVAL', 'not aligned'),
    ('add', f'start={h(A + PAGE)} size=2M', 'EINVAL', 'not aligned'),
    ('add', f'start={h(A)} size=18446744073709551616', 'ERANGE', "'size' is too large"),
    ('add', f'start={h(A)} size=16777216T', 'ERANGE', "'size' is too large"),
    ('add', 'start=0xffffffffffe00000 size=4M', 'EOVERFLOW', 'beyond 64 bits'),
    ('add', 'start=0xfffffffffffc00000 size=2M', 'ERANGE', "'start' is too large"),
    ('add', 'start=0xffffffffffc00000 size=2M', 'ERANGE', 'ends beyond'),
    ('add', f'start={h(A)} size=2M node=99', 'ENODEV', 'no such node'),
    ('add', f'start={h(A)} size=2M node=4294967296', 'ENODEV', 'no such node'),
    ('add', f'start={h(A)} size=2M node=-1', 'EINVAL', 'cannot be understood'),
    ('add', f'start={h(A)} size=2M memmap=Self', 'EINVAL', 'cannot be understood'),
    ('add', f'start={h(A)} size=2M online=yes', 'EINVAL', 'cannot be understood'),
    ('add', f'start={h(A)} size=2M memmap=self', 'ENOTSUP', 'memmap_on_memory is off'),
    ('add', 'start=0x10000000 size=2M', 'EEXIST', 'boot memory'),
    ('add', 'start=0xfec00000 size=2M', 'EBUSY', 'Reserved'),
    ('add', 'start=0x200000000 size=2M', 'ENXIO', 'no memory answers'),
    ('add', 'start=0x800000000000 size=2M', 'ERANGE', 'ends beyond'),
    ('remove', f'start={h(A)} size=2M', 'ENOENT', 'no System RAM'),
    ('remove', 'start=0 size=2M', 'EBUSY', 'boot memory'),
    ('remove', f'start={h(A)} size=2M node=0', 'EINVAL', "unknown key 'node'"),
    ('offline_and_remove', 'start=0x8000000 size=128M', 'EBUSY', 'boot memory'),
    ('offline_and_remove', f'start={h(A)} size=2M', 'ENOENT', 'no System RAM'),
    ('online', f'start={h(A)} size=2M', 'ENOENT', 'no System RAM'),
    ('online', 'start=0x8000000 size=2M', 'EINVAL', 'would cut the extent'),
    ('online', 'start=0x8000000 size=128M', 'EALREADY', 'online already'),
    ('online', 'start=0x8000000 size=128M online=offline', 'EINVAL', 'makes no sense'),
    ('offline', f'start={h(A)} size=2M', 'ENOENT', 'no System RAM'),
    ('offline', 'start=0x8000000 size=2M', 'EINVAL', 'would cut the extent'),
    ('offline', f'start={h(A - SECTION)} size=256M', 'ENOENT', 'are System RAM'),
    ('selfcheck', ' ', 'EINVAL', 'anything but 1'),
    ('selfcheck', '2', 'EINVAL', 'anything but 1'),
    ('pfn', ' ', 'EINVAL', 'either pfn= or phys='),
    ('pfn', 'pfn=1 phys=0x1000', 'EINVAL', 'either pfn= or phys='),
    ('pfn', '1 2', 'EINVAL', 'no page frame number'),
    ('pfn', 'pfn=0x10000000000000', 'ERANGE', 'too large'),
    ('pfn', 'start=1', 'EINVAL', "unknown key 'start'"),
)


@case(needs='debug')
def debugfs_refuses_bad_requests(t):
    """I6: a request that is not valid to the last byte changes nothing, and is told why."""
    with t.guest(mem='2G', cmdline='mem=1G', debugfs=True) as g:
        before = snapshot(g)
        expect('pfn before it is set', g.run(f'cat {MHP}/pfn')[0] != 0, True)
        for name, request, error, reason in BAD:
            refused(g, name, request, error, reason)
        # What a command line would not pass on as it is
        for text, words in (('size=2M\\000', 'a zero byte in the request'),
                            ('size=2M\\nstart=0', 'cannot be understood'),
                            ('size=2M\\n\\n', 'cannot be understood'),
                            ('size=2M' + ' ' * 4096, 'more than 4096 bytes')):
            out = g.run(f"cd {MHP}; printf 'start={h(A)} {text}' >/tmp/request; "
                        'dd if=/tmp/request of=add bs=8192 2>/dev/null; cat last_error')[1]
            if words not in out:
                fail(f'a request with {text}', words, out)
        g.run(f"cd {MHP}; printf 'a\"b\\\\c\\377\\033=\\n' >add")
        text = g.read(f'{MHP}/last_error')
        check_form('last_error', text)
        if 'request="a\\"b\\\\c\\377\\e="' not in text:
            fail('a request of strange bytes in last_error', 'escaped', text)
        expect_same('after all refusals', snapshot(g), before)
        selfcheck(g)


@case(needs='debug')
def debugfs_knobs(t):
    """I5 R7: what a knob adds goes online, offline and away by knobs, as whole extents."""
    with t.guest(mem='2G', cmdline='mem=1G memory_hotplug.memmap_on_memory=1', debugfs=True) as g:
        g.auto_online('offline')
        w, before = World(g), snapshot(g)
        start = SPARE + 2 * MIB
        knob_ok(g, 'add', f'size=0x600000\tstart={start} node=0 online=offline\n')
        w.check([(start, 6 * MIB, 0, None)], 'added')
        refused(g, 'add', f'start={h(start + 4 * MIB)} size=4M', 'EEXIST', 'a knob has added')
        refused(g, 'offline', f'start={h(start)} size=6M', 'EALREADY', 'offline already')
        refused(g, 'remove', f'start={h(start)} size=2M', 'EINVAL', 'would cut the extent')
        refused(g, 'remove', f'start={h(start)} size=8M', 'ENOENT', 'only 0x600000 bytes')
        knob_ok(g, 'online', f'start={h(start)} size=6M online=movable')
        w.check([(start, 6 * MIB, 0, 'Movable')], 'online')
        refused(g, 'remove', f'start={h(start)} size=6M', 'EBUSY', 'is online')
        refused(g, 'online', f'start={h(start)} size=6M', 'EALREADY', 'online already')
        g.mod_ok(f'veto {h(start)} 16')
        refused(g, 'offline', f'start={h(start)} size=6M', 'EBUSY', "see the kernel's log")
        refused(g, 'offline_and_remove', f'start={h(start)} size=6M', 'EBUSY',
                "see the kernel's log")
        g.mod_ok(f'veto {h(start)} 0')
        w.check([(start, 6 * MIB, 0, 'Movable')], 'after a veto of going offline')
        knob_ok(g, 'offline', f'start={h(start)} size=6M')
        knob_ok(g, 'remove', f'start={h(start)} size=6M')
        w.check([], 'removed')
        # The default policy gives way to online=.
        g.auto_online('online_movable')
        for online, zone in (('offline', None), ('movable', 'Movable')):
            knob_ok(g, 'add', f'start={h(start)} size=4M memmap=self online={online}')
            w.check([(start, 4 * MIB, 0, zone, 'self')], f'online={online}')
            knob_ok(g, 'offline_and_remove', f'start={h(start)} size=4M')
        w.check([], 'all gone')
        # A veto of onlining takes back the adding.
        g.auto_online('offline')
        g.mod_ok(f'veto {h(start)} 12')
        refused(g, 'add', f'start={h(start)} size=4M online=kernel', 'ENOMEM', 'removed again')
        g.mod_ok(f'veto {h(start)} 0')
        w.check([], 'after a veto')
        ops = {r['op']: r for r in records(check_form('stats', g.read(f'{MHP}/stats')))
               if 'ok' in r}
        expect('adds and removes', [ops['add']['ok'], ops['remove']['ok']], ['4', '4'])
        expect('failed onlining', ops['online']['failed'], '1')
        expect_same('round trip', snapshot(g), before)
        # The kernel may keep what it allocates there.
        g.auto_online('online_movable')
        knob_ok(g, 'add', f'start={h(start)} size=4M online=kernel')
        w.check([(start, 4 * MIB, 0, 'Normal')], 'online=kernel')


@case(needs='debug')
def debugfs_leaves_what_others_own(t):
    """R6: no knob removes what boot, a DIMM, kmem or the probe file added; ours survives rmmod."""
    start = SPARE + 32 * MIB
    with dax_guest(t, '1G', start, debugfs=True) as g:
        dax = make_dax(g, start)
        to_system_ram(g)
        g.auto_online('offline')
        g.plug('d0', 134 * MIB)
        dimm = g.dimm_address('d0')
        g.mod_ok(f'add 0 {h(SPARE + 8 * MIB)} {h(GRANULE)}')
        knob_ok(g, 'add', f'start={h(SPARE)} size=4M online=movable')
        g.sh('rmmod mhp_debug && insmod /mnt/share/mhp_debug.ko')
        before = snapshot(g)
        for at, size, owner in ((0x8000000, SECTION, 'boot memory'),
                                (dimm, 6 * MIB, 'an ACPI memory device'),
                                (dax, 414 * MIB, 'System RAM (kmem)'),
                                (SPARE + 8 * MIB, GRANULE, 'that no driver claims'),
                                (SPARE, 10 * MIB, 'that no driver claims')):
            for name in ('remove', 'offline_and_remove'):
                refused(g, name, f'start={h(at)} size={h(size)}', 'EBUSY', owner)
        expect_same('after the refusals', snapshot(g), before)
        selfcheck(g)
        knob_ok(g, 'offline_and_remove', f'start={h(SPARE)} size=4M')
        g.sh('rmmod mhp_debug')


@case(needs='debug')
def debugfs_leaves_virtio_mem(t):
    """R6: no knob removes what virtio-mem brought, and the self check agrees with its blocks."""
    with t.guest(args=Device.args(512 * MIB), debugfs=True) as g:
        g.auto_online('online_movable')
        vm = Device(g)
        vm.resize(256 * MIB)
        refused(g, 'offline_and_remove', f'start={h(vm.start())} size=128M', 'EBUSY',
                'System RAM (virtio_mem)')
        selfcheck(g)


@case(needs='debug')
def debugfs_selfcheck_finds(t):
    """What selfcheck verifies: a wrong bit of each map, and a wrong mark, are found and named."""
    with t.guest(mem='2G', cmdline='mem=1G memory_hotplug.memmap_on_memory=1', debugfs=True) as g:
        g.auto_online('offline')
        knob_ok(g, 'add', f'start={h(SPARE)} size=4M memmap=self online=movable')
        knob_ok(g, 'add', f'start={h(SPARE + 4 * MIB)} size=4M')
        knob_ok(g, 'add', f'start={h(SPARE + 8 * MIB)} size=4M memmap=self')
        g.auto_online('online')
        g.plug('d0', 134 * MIB)
        selfcheck(g)
        hole = SPARE + 16 * MIB
        # Its flags must not be in use meanwhile.
        g.mod_ok(f'take {h(SPARE + MIB)} {h(PAGE)}')
        for what, at, words in (('online', SPARE, 'is online, but page'),
                                ('online', SPARE + 4 * MIB, 'is offline, but page'),
                                ('online', hole, 'online, but in no extent'),
                                ('present', SPARE + 4 * MIB, 'System RAM, but not present'),
                                ('present', hole, 'memmap is not mapped'),
                                ('hosting', SPARE, 'not marked as hosting memmap'),
                                ('zone', SPARE + MIB, 'but page 0x40100 has node 0 zone'),
                                ('count', SPARE, 'pages came after boot, but extents'),
                                ('memmap', SPARE + 8 * MIB, 'not in its extent')):
            g.mod_ok(f'corrupt {what} {h(at)}')
            error = knob(g, 'selfcheck', '1')
            text = g.read(f'{MHP}/last_error')
            g.mod_ok(f'corrupt {what} {h(at)}')
            expect(f'selfcheck with {what} at {at:#x}', error, 'EUCLEAN')
            check_form('last_error', text)
            if not any(words in line for line in text.splitlines()[2:]):
                fail(f'violations with {what} at {at:#x}', words, text)
            selfcheck(g)


# --- who may, and what goes on meanwhile ----------------------------------------

@case(needs='debug')
def debugfs_needs_privileges(t):
    """Files of root alone, and of root with CAP_SYS_ADMIN only."""
    with t.guest(mem='2G', cmdline='mem=1G', debugfs=True) as g:
        g.sh('chmod 755 /sys/kernel/debug')
        modes = g.sh(f'stat -c "%n %a %u" {MHP}/*').replace(MHP + '/', '').splitlines()
        expect_lines('modes', sorted(modes), sorted(
            [f'{n} 400 0' for n in STATES] + [f'{n} 200 0' for n in KNOBS] + ['pfn 600 0']))
        user = '/usr/bin/setpriv --reuid 1000 --regid 1000 --clear-groups'
        capless = '/usr/bin/setpriv --bounding-set -sys_admin --inh-caps -sys_admin'
        for name in STATES + ('pfn',):
            for who, words in ((user, 'Permission denied'), (capless, 'Operation not permitted')):
                status, out = g.run(f'{who} cat {MHP}/{name}')
                if not status or words not in out:
                    fail(f'{who}: read of {name}', words, f'{status}: {out}')
        for name in KNOBS + ('pfn',):
            for who, words in ((user, 'Permission denied'), (capless, 'Operation not permitted')):
                status, out = g.run(f'''{who} bash -c 'echo 1 >{MHP}/{name}' ''')
                if not status or words not in out:
                    fail(f'{who}: write to {name}', words, f'{status}: {out}')
            # Opened by root, written by somebody else
            status, out = g.run(f'''{capless} bash -c 'echo 1 >&7' 7>{MHP}/{name}''')
            if not status or 'Operation not permitted' not in out:
                fail(f'write to {name} opened by another', 'Operation not permitted', out)


@case(needs='debug')
def debugfs_load_unload(t):
    """I5: the module comes and goes 100 times, and leaves nothing."""
    with t.guest(mem='2G', cmdline='mem=1G', debugfs=True) as g:
        g.sh('rmmod mhp_debug')
        before = snapshot(g)
        g.sh('for i in $(seq 100); do insmod /mnt/share/mhp_debug.ko && '
             f'cat {MHP}/blocks >/dev/null && rmmod mhp_debug || exit 1; done', timeout=200)
        # From 7.3 on, the text of a module may split the pages that map it, for good.
        expect_same('after 100 rounds', snapshot(g), before,
                    ignore=('^DirectMap',) if version(t.base) >= (7, 3) else ())
        expect('debugfs', g.sh(f'ls -d {MHP} 2>/dev/null || echo none').strip(), 'none')


@case(needs='debug')
def debugfs_while_hotplug_runs(t):
    """I4: readers of every file run while memory comes and goes; then the module goes as well."""
    with t.guest(mem='2G', smp=2, cmdline='mem=1G memory_hotplug.memmap_on_memory=1',
                 debugfs=True) as g:
        g.auto_online('offline')
        device = SPARE + 200 * MIB
        # What ZONE_DEVICE spans once, it spans for good.
        g.mod_ok(f'device {h(device)} {h(4 * MIB)}')
        g.mod_ok(f'undevice {h(device)}')
        before = snapshot(g)
        g.write(f'{MHP}/pfn', f'phys={h(SPARE)}')
        g.sh(f'cd {MHP}; for f in {" ".join(STATES)} pfn; do ( while [ ! -e /tmp/stop ]; do '
             'cat $f >>/tmp/out.$f; dd if=$f bs=200 2>/dev/null >>/tmp/out.$f; '
             '[ $(stat -c %s /tmp/out.$f) -lt 4000000 ] || : >/tmp/out.$f; done ) '
             '>/dev/null 2>&1 & done; '
             f'( while [ ! -e /tmp/stop ]; do echo 1 >selfcheck || echo bad >>/tmp/selfcheck; done '
             ') >/dev/null 2>&1 &')
        rounds = 6 if g.debug else 25
        for n in range(rounds):
            start, size = SPARE + n % 3 * 2 * MIB, (6, 34, 130)[n % 3]
            memmap = 'self' if n % 2 else 'regular'
            knob_ok(g, 'add', f'start={h(start)} size={size}M memmap={memmap} online=movable')
            g.mod_ok(f'device {h(device)} {h(4 * MIB)}')
            knob_ok(g, 'offline_and_remove', f'start={h(start)} size={size}M')
            g.mod_ok(f'undevice {h(device)}')
        g.sh('touch /tmp/stop; sleep 3; ! [ -e /tmp/selfcheck ]', timeout=60)
        for name in STATES:
            text = g.read(f'/tmp/out.{name}')
            if not text and name != 'last_error':
                fail(f'reads of {name}', 'some', 'none')
            # The loop may have cut the file.
            check_form(name, text[text.find('\n') + 1:text.rfind('\n') + 1])
        selfcheck(g)
        # A file that is open keeps the module; else it goes between two reads.
        out = g.sh(f'exec 7<{MHP}/blocks; rmmod mhp_debug 2>&1; head -n 1 <&7; exec 7<&-')
        if 'in use' not in out and 'unavailable' not in out or 'block=0 ' not in out:
            fail('rmmod while a file is open', 'a refusal, and what the file says', out)
        # On stock as well, who opens a file between the end of the last reference and the mark
        # that the module goes gets a warning of debugfs: nobody comes between the two.
        out = g.sh(f'taskset -p 1 $$; rm /tmp/stop; cd /; for f in {" ".join(STATES)}; do '
                   f'( while [ ! -e /tmp/stop ]; do cat {MHP}/$f; usleep 3000; done ) '
                   '>/dev/null 2>&1 & done; for i in 1 2 3 4 5; do n=0; '
                   'until chrt -f 1 rmmod mhp_debug 2>/dev/null; do n=$((n+1)); '
                   '[ $n -lt 1000 ] || exit 1; done; echo gone; insmod /mnt/share/mhp_debug.ko; '
                   'done; touch /tmp/stop; sleep 1; rmmod mhp_debug', timeout=120)
        expect('unloads while files are read', out.count('gone'), 5)
        # Code of modules is mapped by small pages.
        expect_same('after all', snapshot(g), before, ignore=('DirectMap',))


# What waits for the lock that memory hotplug holds, and requests that get that far
WAITING = {
    'sections': None, 'blocks': None, 'memmap': None, 'map': None, 'pfn': None, 'selfcheck': '1',
    'add': f'start={h(SPARE + 2 * SECTION)} size=2M',
    'online': f'start={h(SPARE + SECTION)} size=2M',
    'offline': f'start={h(SPARE)} size=64M',
    'remove': f'start={h(SPARE + SECTION)} size=2M',
    'offline_and_remove': f'start={h(SPARE + SECTION)} size=2M',
}


@case(needs='debug')
def debugfs_is_killable(t):
    """I11: while somebody tries for ever to take memory offline, who reads or writes can die."""
    with t.guest(mem='2G', cmdline='mem=1G', debugfs=True) as g:
        w = World(g)
        g.auto_online('online_movable')
        g.mod_ok(f'add 0 {h(SPARE)} {h(64 * MIB)}')
        knob_ok(g, 'add', f'start={h(SPARE + SECTION)} size=2M online=offline')
        rams = [(SPARE, 64 * MIB, 0, 'Movable'), (SPARE + SECTION, GRANULE, 0, None)]
        g.write(f'{MHP}/pfn', f'phys={h(SPARE)}')
        with g.filled(40 * MIB) as verify:
            g.mod_ok(f'pin {h(SPARE)} {h(64 * MIB)}')
            # By range it ends by itself; by a state file it does not.
            refused(g, 'offline', WAITING['offline'], 'EBUSY',
                    'migration failure: pfn=0x' if t.has('trace') else "see the kernel's log")
            w.check(rams, 'refused')
            state = f'{MEMORY}/memory{SPARE // SECTION}/state'
            g.sh(f"bash -c 'printf offline >{state}' >/dev/null 2>&1 & echo $! >/tmp/writer; "
                 f'until grep -q going {state}; do usleep 50000; done')
            for name, request in WAITING.items():
                do = f'cat {name}' if request is None else f"printf %s '{request}' >{name}"
                out = g.sh(f'cd {MHP}; ( {do} ) >/dev/null & p=$!; sleep 1; '
                           'read -r a _ </proc/uptime; kill -9 $p; wait $p; s=$?; '
                           'read -r b _ </proc/uptime; echo $s $a $b')
                status, before, after = out.split()[-3:]
                expect(f'{name} waits, and is killed', status, '137')
                expect_between(f'{name}: seconds until it is gone', float(after) - float(before),
                               0, 1 * g.slow)
            for name in ('granularity', 'stats', 'last_error'):
                check_form(name, g.read(f'{MHP}/{name}'))
            expect('state', g.read(state).strip(), 'going-offline')
            g.sh('kill $(cat /tmp/writer); while [ -d /proc/$(cat /tmp/writer) ]; '
                 'do usleep 50000; done', timeout=10)
            read_all(g)
            g.read(f'{MHP}/pfn')
            selfcheck(g)
            w.check(rams, 'after the signal')
            verify()
            g.mod_ok('unpin')
        knob_ok(g, 'remove', WAITING['remove'])
        expect('offline', g.mod(f'offremove {h(SPARE)} {h(64 * MIB)}')[0], None)
        w.check([], 'all gone')


VALID = {
    'add': [f'start={h(SPARE)} size=2M online=movable', f'start={h(SPARE + 4 * MIB)} size=4M',
            f'start={h(SPARE + SECTION)} size=130M node=0 memmap=self online=movable'],
    'online': [f'start={h(SPARE)} size=2M', f'start={h(SPARE + 4 * MIB)} size=4M online=movable'],
    'offline': [f'start={h(SPARE)} size=2M', f'start={h(SPARE + SECTION)} size=130M'],
    'remove': [f'start={h(SPARE)} size=2M', f'start={h(SPARE + 4 * MIB)} size=4M'],
    'offline_and_remove': [f'start={h(SPARE)} size=2M', f'start={h(SPARE + 4 * MIB)} size=4M',
                           f'start={h(SPARE + SECTION)} size=130M'],
    'pfn': [f'phys={h(SPARE)}', 'pfn=0x100', '4096'],
    # Changes of "1" alone would be "1" too often: each takes as long as memory is large.
    'selfcheck': ['1 start=1', 'selfcheck=1'],
}
FUZZED = {'patched': 10000, 'debug': 100000}       # writes to each knob


@case(needs='debug')
def debugfs_fuzz(t):
    """I6: tens of thousands of writes of nonsense to each knob break nothing."""
    writes = FUZZED[t.flavour]
    with t.guest(mem='2G', cmdline='mem=1G memory_hotplug.memmap_on_memory=1',
                 share=[helper('fuzz')], debugfs=True) as g:
        g.auto_online('offline')
        for n, (name, requests) in enumerate(VALID.items()):
            # Something to work on: online for who takes it offline, and so on
            for r in VALID['add'] if name != 'add' else ():
                for step in ('add', 'offline' if name in ('online', 'remove') else 'online'):
                    words = r if step == 'add' else ' '.join(r.split()[:2])
                    knob(g, step, words)
            seed = t.seed * 8 + n
            t.note(f'fuzz {name} {writes} {seed}')
            words = ' '.join(f"'{r}'" for r in requests)
            out = g.sh(f'/mnt/share/fuzz {MHP}/{name} {writes} {seed} 3000 {words}', timeout=600)
            counts = dict(re.findall(r'(?:errno=)?(\w+)[ =](?:refused=)?(\d+)', out))
            t.note(f'{name}: ' + ' '.join(out.split()))
            m = re.match(r'writes=(\d+) taken=(\d+)', out)
            expect(f'writes to {name}', int(m[1]), writes)
            # Somebody must get through, but to the self check.
            expect_between(f'writes that {name} took', int(m[2]), name != 'selfcheck', writes // 2)
            expect_between(f'writes to {name} refused as invalid (of {counts})',
                           int(re.search(r'errno=22 refused=(\d+)', out)[1]),
                           writes * 3 // 4 if name != 'pfn' else writes // 2, writes)
            for other in (*STATES, 'pfn') if name != 'pfn' else STATES:
                g.run(f'cat {MHP}/{other} >/dev/null')
            selfcheck(g)


# --- kernels without the series -------------------------------------------------

def check_on_stock(g):
    """What a kernel without the series can tell, and what it says it cannot."""
    state = read_all(g)
    values = records(state['granularity'])[0]
    expect('granularity', int(values['granularity_bytes']), g.block_size())
    ram = system_ram(g.read('/proc/iomem'))
    sections = records(state['sections'])
    want = sorted({n for s, e in ram for n in range(s // SECTION, -(-e // SECTION))})
    expect('sections', [int(r['section']) for r in sections], want)
    states = dict(re.findall(r'memory(\d+)/state:(\w+)',
                             g.sh(f"cd {MEMORY}; grep -H '' memory*/state")))
    blocks = [r for r in records(state['blocks']) if 'block' in r and 'extent' not in r]
    expect('blocks', {r['block']: r['state'] for r in blocks}, states)
    expect('extents', {r['extents'] for r in blocks}, {'n/a'})
    for r in records(state['blocks']):
        if 'extent' in r:
            expect(f"group of {r['extent']}", r['group'], 'n/a')
            if r['state'] == 'online':
                zones = g.read(f"{MEMORY}/memory{r['block']}/valid_zones").split()[0]
                expect(f"zone of {r['extent']}", r['zone'], zones)
    if any(r['memmap'] == 'self' for r in sections):
        waste = next(r['waste_bytes'] for r in records(state['memmap']) if 'waste_bytes' in r)
        expect('waste', waste in ('0', 'n/a'), True)
    text = '\n'.join(state['sections'] + state['blocks']) + '\n'
    expect_lines('map, drawn from the outside', mhp_map().draw(text).splitlines(), state['map'])
    selfcheck(g)
    return sections


def use_on_stock(g):
    """The knobs that stock's exported functions allow, and the refusal of the others."""
    g.auto_online('offline')
    before = check_on_stock(g)
    refused(g, 'add', f'start={h(SPARE)} size=2M', 'EINVAL', 'not aligned to 0x8000000')
    refused(g, 'add', f'start={h(SPARE)} size=128M online=movable', 'ENOTSUP', 'n/a')
    refused(g, 'online', f'start={h(SPARE)} size=128M', 'ENOTSUP', 'n/a')
    refused(g, 'offline', f'start={h(SPARE)} size=128M', 'ENOTSUP', 'n/a')
    refused(g, 'remove', 'start=0x8000000 size=128M', 'EBUSY', 'boot memory')
    knob_ok(g, 'add', f'start={h(SPARE)} size=256M memmap=self')
    sections = check_on_stock(g)
    expect('memmap of offline memory', {r['memmap'] for r in sections[len(before):]}, {'n/a'})
    expect('online', g.state(SPARE // SECTION, 'online_movable'), None)
    sections = check_on_stock(g)
    expect('memmaps', [r['memmap'] for r in sections[len(before):]], ['self', 'n/a'])
    seen = check_pfn(g, SPARE, {'online': '1', 'zone': 'Movable', 'hosts_memmap': '1',
                                'memmap_kind': 'self', 'memmap': f'0x{SPARE:016x}'})
    expect('its extent is its block', seen['extent'], f'{h(SPARE)}-{h(SPARE + SECTION - 1)}')
    check_pfn(g, SPARE + SECTION, {'online': '0', 'valid': '1', 'memmap': 'n/a'})
    refused(g, 'remove', f'start={h(SPARE)} size=256M', 'EBUSY', 'is online')
    g.sh('rmmod mhp_debug && insmod /mnt/share/mhp_debug.ko')
    knob_ok(g, 'offline_and_remove', f'start={h(SPARE)} size=256M')
    expect('sections are back', check_on_stock(g), before)


@case(flavours=('patched',), needs='debug')
def debugfs_on_stock(t):
    """Without the series, the module shows what stock can tell, and "n/a" for the rest."""
    with t.guest(flavour='stock', mem='2G', cmdline='mem=1G memory_hotplug.memmap_on_memory=1',
                 debugfs=True) as g:
        use_on_stock(g)


@case(flavours=('patched',), needs='debug')
def debugfs_on_debian_kernel(t):
    """The same on Debian's own kernel, with the module that DKMS built; and under lockdown."""
    base = t.base.split('-')[0]
    done = subprocess.run([os.path.join(TOP, 'scripts', 'debian-kernel.sh')], text=True,
                          env={**os.environ, 'BASE': base},
                          check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise Failure(done.stdout)
    folder = os.path.join(BUILD, f'debian-{base}')
    with t.guest(image=os.path.join(folder, 'vmlinuz'), flavour='stock', mem='2G', timeout=180,
                 cmdline='mem=1G memory_hotplug.memmap_on_memory=1',
                 share=[os.path.join(folder, 'mhp_debug.ko')]) as g:
        g.allow.append('mhp_debug: (loading out-of-tree module|module verification failed)')
        g.sh('insmod /mnt/share/mhp_debug.ko')
        use_on_stock(g)
        g.sh('mount -t securityfs security /sys/kernel/security; exec 2>&1; '
             f'exec 7>{MHP}/add; echo integrity >/sys/kernel/security/lockdown')
        status, out = g.run(f'cat {MHP}/map')
        expect('map under lockdown', (status, out.startswith('# a character')), (0, True))
        for name in KNOBS + ('pfn',):
            error = g.write(f'{MHP}/{name}', '1')
            expect(f'{name} under lockdown', error, 'EPERM')


# --- the picture --------------------------------------------------------------

@case(needs='debug')
def debugfs_mhp_map(t):
    """scripts/mhp-map draws saved copies, tells JSON, compares two, and refuses what is none."""
    with t.guest(mem='2G', cmdline='mem=960M memory_hotplug.memmap_on_memory=1',
                 debugfs=True) as g:
        g.auto_online('online_movable')
        g.plug('d0', 134 * MIB)
        old = read_all(g)
        # Boot memory ends within a section: what follows shares its memmap.
        knob_ok(g, 'add', f'start={h(960 * MIB)} size=6M memmap=self')
        state = read_all(g)
        selfcheck(g)
    row = next(line for line in state['map'] if line.startswith('0x0000038000000'))
    expect('the row in which boot memory ends', row.split()[1], 'B' * 32 + 'OOO' + '.' * 29)
    tool = os.path.join(TOP, 'scripts', 'mhp-map')

    def run(*args, text=None):
        return subprocess.run([tool, *args], input=text, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    with tempfile.TemporaryDirectory() as folder:
        before = os.path.join(folder, 'before')
        os.mkdir(before)
        for place, files in ((folder, state), (before, old)):
            for name in ('sections', 'blocks'):
                with open(os.path.join(place, name), 'w', encoding='ascii') as f:
                    f.write('\n'.join(files[name]) + '\n')
        expect('the same', (run('--diff', folder, folder).stdout,
                            run('--diff', folder, folder).returncode), ('', 0))
        done = run('--diff', before, folder)
        expect_lines('what differs', done.stdout.splitlines(), [
            f'{960 * MIB:#015x}-{966 * MIB - 1:#015x}      6 MiB: hole -> online'])
        expect('status', done.returncode, 1)
        found = json.loads(run('--json', '--diff', before, folder).stdout)
        expect('as JSON', found, {'version': 1, 'changes': [
            {'start': 960 * MIB, 'end': 966 * MIB, 'before': 'hole', 'now': 'online'}]})
        found = json.loads(run('--json', folder).stdout)
        expect('version', found['version'], 1)
        expect('the map', ''.join(s['map'] for s in found['sections'] if s['start'] == 896 * MIB),
               row.split()[1])
        expect('MiB of extents that were added', sum(
            e['end'] - e['start'] for e in found['extents']
            if e['state'] == 'online' and not e['early']) // MIB, 134 + 6)
        expect('MiB of ranges', sum(r['end'] - r['start'] for r in found['ranges']) // MIB,
               960 + 134 + 6)
        expect_lines('text', run(folder).stdout.splitlines(), state['map'])
        colours = run('--color', 'always', folder).stdout
        expect_lines('text without its colours',
                     re.sub('\033\\[[0-9;]*m', '', colours).splitlines(), state['map'])
        expect('colours', '\033[' in colours, True)
        both = '\n'.join(state['sections'] + state['blocks']) + '\n'
        expect_lines('from standard input', run('-', text=both).stdout.splitlines(), state['map'])
        svg = os.path.join(folder, 'map.svg')
        expect('SVG', run('--svg', svg, folder).returncode, 0)
        with open(svg, encoding='ascii') as f:
            text = f.read()
        import xml.etree.ElementTree as tree  # pylint: disable=import-outside-toplevel
        rows = [e for e in tree.fromstring(text).iter() if e.tag.endswith('title')]
        expect_between('rectangles that tell of memory', len(rows), 5, 100)
        if not any('memmap=self' in r.text and '0x100000000' in r.text for r in rows):
            fail('tips of the picture', 'an extent that hosts its memmap', [r.text for r in rows])
    for what, text in (('nothing', ''), ('half of it', '\n'.join(state['sections'])),
                       ('another file', 'a b c\n'), ('a wrong number', both.replace('0x', '0xq'))):
        done = run('-', text=text)
        expect(f'{what}: status and traceback', (done.returncode, 'Traceback' in done.stderr),
               (2, False))
    done = run('/nonexistent')
    expect('no such folder', (done.returncode, 'No such file' in done.stderr), (2, True))


@case(flavours=('patched',), archs=('arm64-4k', 'arm64-64k'), needs='debug')
def debugfs_on_arm64(t):
    """The module on arm64, also where a granule is a memory block of 512 MiB."""
    with t.guest(cmdline='memory_hotplug.memmap_on_memory=force', debugfs=True) as g:
        g.auto_online('online_movable')
        full = g.block_size() > SECTION
        size = 1024 * MIB if full else 134 * MIB
        g.plug('a', size)
        start = g.dimm_address('a')
        text = g.sh(f'cd {MHP}; cat sections blocks')
        expect_lines('map, drawn from the outside', mhp_map().draw(text).splitlines(),
                     g.read(f'{MHP}/map').splitlines())
        values = records(g.read(f'{MHP}/granularity').splitlines())[0]
        said = g.sh(f'cat {MEMORY}/granularity_bytes || true')
        if full:
            expect('granularity', int(values['granularity_bytes']), g.block_size())
            expect('what sysfs says of it', 'No such file' in said, True)
        else:
            expect('granularity', int(values['granularity_bytes']), int(said, 16))
        mine = [r for r in records(g.read(f'{MHP}/blocks').splitlines())
                if 'extent' in r and int(r['start'], 16) >= start]
        expect('bytes in extents', sum(int(r['end'], 16) + 1 - int(r['start'], 16) for r in mine),
               size)
        expect('memmap', {r['memmap'] for r in mine}, {'self'})
        total = records(g.read(f'{MHP}/memmap').splitlines())[-1]
        expect('waste', total['waste_bytes'], '0')
        refused(g, 'offline_and_remove', f'start={h(start)} size={h(size)}', 'EBUSY',
                'an ACPI memory device')
        selfcheck(g)
        g.eject('a')
        selfcheck(g)
