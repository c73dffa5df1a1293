# SPDX-License-Identifier: GPL-2.0
"""The KUnit suites of kunit/: built in, run by the kernel's own kunit.py; as a module,
in a guest next to real devices; and what of them a kernel without the series has."""

import os
import re
import subprocess

from lib import (BUILD, MEMORY, MIB, SPARE, TOP, World, case, expect, fail, module,
                 only_alloc_stacks, version)

SUITES = ('mhp_subsection', 'mhp_edge', 'mhp_range', 'mhp_extent', 'mhp_online', 'mhp_memmap',
          'mhp_zone_device', 'mhp_virtio_mem', 'mhp_unwind', 'mhp_race', 'mhp_stock')


def count(t, text, suites=SUITES, skipped=0):
    """Take over what kunit.py says in the end, and fail if not all is well."""
    plain = re.sub('\033\\[[0-9;]*m', '', text)
    m = re.search(r'Testing complete\. Ran (\d+) tests: (.*)', plain)
    if not m:
        fail('kunit.py', 'a summary', plain[-2000:])
    counts = {k: int(v) for k, v in re.findall(r'(\w+): (\d+)', m[2])}
    bad = sum(v for k, v in counts.items() if k not in ('passed', 'skipped'))
    t.counted = (counts.get('passed', 0), bad)
    if bad or not counts.get('passed'):
        lines = [line for line in plain.splitlines() if 'FAILED' in line or 'Expected' in line]
        fail('KUnit cases', 'all pass', m[0] + '\n' + '\n'.join(lines[:40]))
    for suite in suites:
        if not re.search(rf'={{3,}} \[PASSED\] {suite} ={{3,}}', plain):
            fail(f'suite {suite}', 'passed', 'not run')
    # What cannot run here must not hide behind a skip.
    expect('skipped cases', counts.get('skipped', 0), skipped)


def kunit_py(t, flavour='patched', which=()):
    """What kunit.py says of the suites, or of some, built into a kernel of a flavour."""
    # The base tells which folder it is, of a posting or of KDIR= as well.
    base = t.base.split('/')[0]
    arch, _, pages = t.arch.partition('-')
    env = {**os.environ, 'BASE': base, 'FLAVOUR': flavour, 'KDIR': '', 'POSTING': '',
           'ARCH': arch, 'PAGES': pages}
    done = subprocess.run([os.path.join(TOP, 'scripts', 'kunit.sh'), 'run', *which], text=True,
                          check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, env=env)
    os.makedirs(t.logdir, exist_ok=True)
    with open(os.path.join(t.logdir, f'{t.name}.log'), 'w', encoding='utf-8') as f:
        f.write(done.stdout)
    return done.stdout


# Built in, there are two more: one needs a kernel that counts preemption, the other what
# is exported to a driver alone.
BUILT_IN = (*SUITES, 'mhp_walk', 'mhp_extent_range')


@case(first=True, flavours=('patched',), needs='debug')
def kunit_by_kunit_py(t):
    """The suites pass when built in, as kunit.py runs them."""
    count(t, kunit_py(t), BUILT_IN)


@case(flavours=('patched',), long=True, needs='debug')
def kunit_large_order_built_in(t):
    """I1: they pass built in where the largest pages are of 16 granules, as layouts say."""
    count(t, kunit_py(t, 'large-order'), BUILT_IN)
    # Where these are of fewer granules, less of a layout can be told apart.
    with open(os.path.join(BUILD, t.base, 'kunit-large-order', 'test.log'), encoding='utf-8',
              errors='replace') as f:
        areas = set(re.findall(r'# mhp_edge_\w+: areas of (\d+) granules', f.read()))
    expect('granules of the largest pages', areas, {'16'})


# What only the debug flavour has
DEBUG_SKIPS = ('CONFIG_PAGE_OWNER is not set', 'CONFIG_DEBUG_KMEMLEAK is not set')
# What arm64 does in another way
ARM64_SKIPS = ('the altmap is laid out for x86-64',)
# Its firmware has memory that SRAT does not know of: the kernel makes one node of all.
NODE_SKIPS = ('there is no node 1: boot with two',)


def skipped(ktap, reasons):
    """How many cases were skipped. Nothing but some reasons may hide behind that."""
    seen = re.findall(r' ok \d+ .*# SKIP (.*)', ktap)
    expect('other reasons to skip', {r.strip() for r in seen} - set(reasons), set())
    return len(seen)


@case(flavours=('patched',), archs=('arm64-4k',), long=True, needs='debug')
def kunit_built_in_on_arm64(t):
    """They pass built in on arm64, or say by which name they cannot run there."""
    text = kunit_py(t)
    with open(os.path.join(BUILD, t.base, 'kunit', 'test.log'), encoding='utf-8',
              errors='replace') as f:
        skips = skipped(f.read(), ARM64_SKIPS)
    count(t, text, BUILT_IN, skips)


def parse(t, text):
    """kunit.py's words for a kernel's KTAP."""
    done = subprocess.run([os.path.join(BUILD, t.base.split('/')[0], 'tree', 'tools', 'testing',
                                        'kunit', 'kunit.py'), 'parse'],
                          input=text, text=True, check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.stdout


def load(g, spare=SPARE):
    """Run the module's suites: what the kernel said meanwhile."""
    # A GiB, and 64 MiB of the section that boot memory ends in
    return g.sh('dmesg -c >/dev/null; insmod /mnt/share/mhp_kunit.ko '
                f'spare_start={spare - 64 * MIB} spare_size={1088 * MIB}; dmesg; rmmod mhp_kunit',
                timeout=900)


NODES = {'mem': '2304M', 'cmdline': 'mem=960M memory_hotplug.memmap_on_memory=1 kunit.enable=1 '
                                    'kunit.autorun=1',
         'args': ['-smp', '2', '-object', 'memory-backend-ram,id=ram0,size=2G,reserve=off',
                  '-object', 'memory-backend-ram,id=ram1,size=256M,reserve=off',
                  '-numa', 'node,nodeid=0,memdev=ram0', '-numa', 'node,nodeid=1,memdev=ram1']}


@case(first=True, needs='debug')
def kunit_as_module(t):
    """The suites pass as a module, while DIMMs are plugged that they must leave alone."""
    with t.guest(share=[module(t.base, t.flavour, 'mhp_kunit')], **NODES) as g:
        w = World(g)
        g.auto_online('online')
        rams = []
        for name, size in (('a', 134 * MIB), ('b', 256 * MIB)):
            g.plug(name, size)
            rams.append((g.dimm_address(name), size, 0, 'Normal', 'self'))
        w.check(rams, 'before')
        g.auto_online('offline')
        text = load(g)
        # That one needs a kernel that counts preemption.
        walks = t.flavour == 'debug' or version(t.base) >= (7, 3)
        count(t, parse(t, text), (*SUITES, 'mhp_walk') if walks else SUITES,
              skipped(text, DEBUG_SKIPS))
        w.check(rams, 'after', spans=False)
        only_alloc_stacks(g, 'kunit_try_catch')
        expect('blocks', g.sh(f'ls -d {MEMORY}/memory{SPARE // (128 * MIB)} 2>/dev/null || '
                              'echo none').strip(), 'none')


# UEFI has 64 MiB before the first GiB, and firmware is behind what is spare.
ARM64_NODES = {**NODES, 'mem': '3328M', 'cmdline': NODES['cmdline'].replace('mem=960M', 'mem=1G'),
               'args': [arg.replace('size=2G', 'size=3G') for arg in NODES['args']]}


@case(flavours=('patched',), archs=('x86_64', 'arm64-4k'), long=True, needs='debug')
def kunit_with_large_order(t):
    """I1: the suites pass where the largest pages are of 32 MiB, which is many granules."""
    nodes, spare, reasons = NODES, SPARE, DEBUG_SKIPS
    if t.arch != 'x86_64':
        nodes, spare, reasons = ARM64_NODES, 2 * SPARE, DEBUG_SKIPS + ARM64_SKIPS + NODE_SKIPS
    with t.guest(flavour='large-order', share=[module(t.base, 'large-order', 'mhp_kunit')],
                 **nodes) as g:
        text = load(g, spare)
        count(t, parse(t, text), SUITES, skipped(text, reasons))


@case(flavours=('patched',), archs=('arm64-4k',), long=True, needs='debug')
def kunit_as_module_on_arm64(t):
    """The suites pass as a module on arm64, or say by which name they cannot run there."""
    with t.guest(share=[module(t.base, t.flavour, 'mhp_kunit')], **ARM64_NODES) as g:
        text = load(g, 2 * SPARE)
        count(t, parse(t, text), SUITES, skipped(text, DEBUG_SKIPS + ARM64_SKIPS + NODE_SKIPS))


@case(flavours=('patched',), needs='debug')
def kunit_on_stock(t):
    """I7: what the suites say of whole blocks, they say of a kernel without the series as well."""
    with t.guest(flavour='stock', files=False, share=[module(t.base, 'stock', 'mhp_kunit')],
                 **NODES) as g:
        count(t, parse(t, load(g)), ('mhp_stock',))
