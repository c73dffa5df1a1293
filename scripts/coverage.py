#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Which lines and branches of the series the KUnit suites execute, as gcov counts.

usage: coverage.py run OBJ FOLDER         boot the kernel in OBJ, wait for the suites
                                          that are built in, put its counters in FOLDER;
                                          then use DIMMs, and put them in FOLDER-dimms
       coverage.py report TREE FOLDER...  what the counters say about the lines that
                                          TREE adds from its tag base to its branch series
       coverage.py total TREE FOLDER...   the last line of that

A folder of counters has .gcda files, and beside each the .gcno file of its build.
Several folders are added up; their kernels may be different builds.
"""

import base64
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections import defaultdict
from itertools import zip_longest
from types import SimpleNamespace

from guest import TOP, Guest, GuestError, note

QEMU_CONFIG = os.path.join(TOP, 'kunit', 'qemu_x86_64.py')
# To be done with unpacking before the suites count pages; and page_ext takes part.
CMDLINE = 'kunit.enable=1 initramfs_async=0 page_owner=on'
# Files in debugfs have no size that tar could believe.
COLLECT = r'''
rm -rf /tmp/gcov && mkdir /tmp/gcov && cd /sys/kernel/debug/gcov || exit 1
find . -name '*.gcda' | while read -r f; do
    mkdir -p "/tmp/gcov/${f%/*}" && cat "$f" >"/tmp/gcov/$f" || exit 1
done
tar -cz -C /tmp/gcov . | base64'''


# --- run ----------------------------------------------------------------------

def qemu_arch():
    """QEMU_ARCH of the file that kunit.py takes; the class is kunit.py's."""
    sys.modules['kunit'] = SimpleNamespace(__path__=[])
    sys.modules['kunit.qemu_config'] = SimpleNamespace(QemuArchParams=SimpleNamespace)
    spec = importlib.util.spec_from_file_location('kunit.configs.x86_64', QEMU_CONFIG)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.QEMU_ARCH


def verdict(console):
    """(passed, failed, skipped) cases of the suites."""
    found = re.findall(r'# mhp_\w+: pass:(\d+) fail:(\d+) skip:(\d+)', console)
    return tuple(sum(map(int, n)) for n in zip(*found)) or (0, 0, 0)


def collect(g, obj, folder):
    """Copy the counters, and the notes of the build that they are about."""
    shutil.rmtree(folder, ignore_errors=True)
    data = base64.b64decode(g.sh(COLLECT, timeout=300))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            name = os.path.relpath('/' + member.name, obj)
            if not member.isfile() or name.startswith('..'):
                continue
            to = os.path.join(folder, name)
            os.makedirs(os.path.dirname(to), exist_ok=True)
            with open(to, 'wb') as f:
                f.write(tar.extractfile(member).read())
            notes = os.path.splitext(name)[0] + '.gcno'
            shutil.copy(os.path.join(obj, notes), os.path.join(folder, notes))


def use_dimms(g):
    """Plug and eject two DIMMs that share a block. A third one goes to a kernel zone,
    so that the kernel uses it and it cannot go; and a page of it is poisoned."""
    policy = '/sys/devices/system/memory/auto_online_blocks'
    g.write(policy, 'online_movable')
    for name, size in (('a', 134), ('b', 256)):
        g.plug_dimm(name, size, node=0)
    for name in ('a', 'b'):
        if not g.unplug(name):
            raise GuestError(f'DIMM {name} was not ejected')
    g.write(policy, 'online_kernel')
    g.plug_dimm('c', 134, node=0)
    g.sh('find / -xdev >/dev/null; ls -lR /sys >/dev/null', timeout=300)
    if g.unplug('c'):
        raise GuestError('the kernel has used nothing of DIMM c')
    last = max(d['data']['addr'] + d['data']['size'] for d in g.qmp('query-memory-devices'))
    g.write('/sys/kernel/debug/hwpoison/corrupt-pfn', str(last // 4096 - 1))


def run(obj, folder):
    """Boot, and copy the counters twice; False if not all cases have passed."""
    arch = qemu_arch()
    args = list(arch.extra_qemu_params)
    at = args.index('-m')
    mem, args[at:at + 2] = args[at + 1], []
    with Guest(image=os.path.join(obj, arch.kernel_path), name='kunit-coverage', mem=mem,
               cmdline=f'{arch.kernel_command_line} {CMDLINE}', args=args, timeout=1800) as g:
        passed, failed, skipped = verdict(g.console())
        collect(g, obj, folder)
        use_dimms(g)
        collect(g, obj, f'{folder}-dimms')
    note(f'{passed} cases passed, {failed} failed, {skipped} skipped '
         f'(log: {os.path.relpath(g.log, TOP)})')
    return passed and not failed and not skipped


# --- report -------------------------------------------------------------------

def git(tree, *args):
    return subprocess.run(['git', '-C', tree, *args], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def added_lines(tree):
    """{file: numbers of the lines that the series adds to it}"""
    out = defaultdict(set)
    for line in git(tree, 'diff', '-U0', 'base..series', '--', '*.c', '*.h').splitlines():
        if line.startswith('+++ b/'):
            name = line[6:]
        elif m := re.match(r'@@ \S+ \+(\d+)(?:,(\d+))? @@', line):
            first, n = int(m[1]), int(m[2] or 1)
            out[name].update(range(first, first + n))
    return out


def functions(tree, name):
    """{line number: function} of a file in the kernel's style."""
    out, begun, function = {}, 0, None
    for n, line in enumerate(git(tree, 'show', f'series:{name}').splitlines(), 1):
        if m := re.match(r'(?=[A-Za-z_])[^=;(]*?(\w+)\(', line):
            begun, function = n, m[1]
        if function and (line.startswith('}') or begun == n and line.endswith('}')):
            out.update(dict.fromkeys(range(begun, n + 1), function))
            function = None
    return out


def read_counters(folders, names):
    """How often lines were executed and branches taken: {file: {line: count}}, and
    {file: {line: [count]}}. What several objects compile is added up."""
    lines = defaultdict(lambda: defaultdict(int))
    branches = defaultdict(lambda: defaultdict(list))
    for folder in folders:
        for where, _, files in sorted(os.walk(folder)):
            for counters in sorted(f for f in files if f.endswith('.gcda')):
                text = subprocess.run(['gcov', '--json-format', '--branch-counts',
                                       '--branch-probabilities', '--stdout', counters],
                                      cwd=where, check=True, stdout=subprocess.PIPE).stdout
                for source in json.loads(text)['files']:
                    name = next((n for n in names if source['file'].endswith('/' + n)), None)
                    for line in source['lines'] if name else ():
                        n = line['line_number']
                        lines[name][n] += line['count']
                        taken = [b['count'] for b in line['branches']]
                        branches[name][n] = [a + b for a, b in zip_longest(
                            branches[name][n], taken, fillvalue=0)]
    if not lines:
        raise GuestError(f"no counters in {' '.join(folders)}")
    return lines, branches


def share(counts):
    """'covered/total' and a percentage."""
    counts = list(counts)
    covered = sum(c > 0 for c in counts)
    percent = f'{100 * covered / len(counts):5.1f} %' if counts else '      -'
    return f'{covered:5}/{len(counts):<5}{percent}'


def missing(counts):
    """How many of the lines in {line: count} were not executed, and which: ranges
    without a line that was."""
    ranges, extend = [], False
    for n, count in counts.items():
        if not count:
            ranges[-1:] = [(ranges[-1][0], n)] if extend else [*ranges[-1:], (n, n)]
        extend = not count
    where = ', '.join(str(a) if a == b else f'{a}-{b}' for a, b in ranges)
    return f'{sum(not c for c in counts.values()):4}  {where}'


def print_functions(inside, added, count, taken):
    """A row for each function of a file that the series adds lines to. Returns what
    was not executed of these."""
    gaps, every = [], defaultdict(list)
    for n in sorted(count):
        every[inside.get(n, '-')].append(n)
    for function, mine in every.items():
        new = {n: count[n] for n in mine if n in added}
        if new:
            print(f'  {function:44}', share(count[n] for n in mine), '',
                  share(b for n in mine for b in taken[n]), '', share(new.values()))
        if not all(new.values()):
            gaps.append(f'{function:36}{missing(new)}')
    return gaps


def sum_up(label, names, added, lines, branches):
    """A row for the added lines of some files."""
    new = [(name, n) for name in names for n in lines[name] if n in added[name]]
    return (f'{label:50}{share(lines[name][n] for name, n in new)}'
            f'  {share(b for name, n in new for b in branches[name][n])}')


def report(tree, folders):
    """Three tables: functions, lines not executed, files."""
    added = added_lines(tree)
    lines, branches = read_counters(folders, added)
    gaps, files = [], []
    print('Functions that the series adds lines to. What boots the guest counts as well.\n'
          'Branches are those of the machine code: macros and inlined functions bring theirs.\n'
          f"\n{'':50}{'lines':<21}{'branches':<21}added lines")
    for name in sorted(n for n in lines if added[n] & set(lines[n])):
        count, taken = lines[name], branches[name]
        print(name)
        gaps += [f'{name:32}{gap}' for gap in
                 print_functions(functions(tree, name), added[name], count, taken)]
        files.append(sum_up(name, [name], added, lines, branches))
    print('\nLines that the series adds and that were not executed\n', *gaps, sep='\n')
    print(f"\nLines that the series adds\n\n{'':50}{'lines':<21}branches", *files,
          sum_up('all', lines, added, lines, branches), sep='\n')
    print('\nNot built, and not counted (added lines, with comments):',
          ', '.join(f'{n} ({len(added[n])})' for n in sorted(added)
                    if n.endswith('.c') and n not in lines) or 'none')


def main(argv):
    match argv:
        case ['run', obj, folder]:
            return 0 if run(os.path.abspath(obj), folder) else 1
        case ['report', tree, *folders] if folders:
            report(tree, folders)
        case ['total', tree, *folders] if folders:
            added = added_lines(tree)
            lines, branches = read_counters(folders, added)
            print(sum_up('all', lines, added, lines, branches))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except GuestError as error:
        sys.exit(f'coverage.py: {error}')
