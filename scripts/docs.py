#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Write the pages that are made of what was measured, and of what is in the repository:
docs/results.md, docs/large.svg, docs/mutants.md, and the parts of README.md between markers.

usage: docs.py [--take | --check | --caught BASE MUTANT BY]

  --take    first take over into docs/results.json what was measured last (build/results)
  --check   write nothing; status 1 if a page is not what this would write
  --caught  leave in build/results what a mutant was caught by

Each result is kept with the commit that it was measured on, and with a hash of what each
posting changed then; the pages say which postings have changed since.
"""

import argparse
import contextlib
import functools
import glob
import hashlib
import json
import os
import re
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KEPT = os.path.join(TOP, 'docs', 'results.json')
LEFT = os.path.join(TOP, 'build', 'results')

BASES = ('7.3', '6.12')
# Part of what was measured: its title, and what to know of it
PARTS = {
    'run': ('What `make run` prints', ''),
    'usable': ('Usable memory', 'MiB by which MemTotal grows.'),
    'memmap': ('Self-hosted memmap', ''),
    'virtio-mem': ('virtio-mem', 'A device of QEMU, plugged from nothing and online in '
                   'ZONE_MOVABLE. What is free moves by what else runs.'),
    'text': ('Size', 'Code of vmlinux, in the configuration of the test kernels.'),
    'cycles': ('Instructions', 'Counted by QEMU\'s `-icount`, on one virtual CPU, in the '
               'configuration of the test kernels, which has DEBUG_VM. They are no times.'),
    'release': ('Without DEBUG_VM', 'Instructions, as above.'),
    'large': ('Large DIMMs', 'Plugged and online, and ejected, in ZONE_MOVABLE; instructions as '
              'above.'),
    'seconds': ('The same by the clock', 'Of an emulated machine; the median of three.'),
    'soak': ('Soak', 'Memory is plugged and unplugged, in random sizes, while all walkers of '
             'physical memory walk, and memory is filled, verified, poisoned and allocated by '
             'address. Refused: the guest did not give memory back at once, and was asked again. '
             'Stock + P1 is the series up to `02-lifetime`.'),
}
# Of these, README.md has the rows whose names begin so.
HEADLINES = {
    'usable': ('DIMM', 'dax'),
    'virtio-mem': ('memmap of 2 MiB of virtio-mem', 'virtio-mem region', 'of 8 GiB, by a guest'),
    'cycles': ('add, online, offline and remove', 'allocate and free a page'),
}


# --- where things stand -------------------------------------------------------------

@functools.cache
def patches(base):
    """{posting: its patches, in order}"""
    out = {}
    for path in sorted(glob.glob(os.path.join(TOP, 'patches', base, '*', '0*.patch'))):
        if not os.path.basename(path).startswith('0000-'):
            out.setdefault(os.path.basename(os.path.dirname(path)), []).append(path)
    return out


@functools.cache
def series(base):
    """{posting: hash of what its patches add and remove}: messages do not count."""
    out = {}
    for posting, paths in patches(base).items():
        digest = hashlib.sha256()
        for path in paths:
            with open(path, encoding='utf-8') as f:
                body = f.read().split('\ndiff --git ', 1)[1]
            digest.update(''.join(line for line in body.splitlines(True)
                                  if line[0] in '+-').encode())
        out[posting] = digest.hexdigest()[:12]
    return out


def git(*args):
    return subprocess.run(('git', '-C', TOP, *args), check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.strip()


def keep(base, part, **what):
    """Leave a result in build/results, for --take."""
    what |= {'commit': git('rev-parse', '--short=12', 'HEAD') +
             (' and changes' if git('status', '--porcelain', 'patches', 'scripts') else ''),
             'date': time.strftime('%Y-%m-%d', time.gmtime()), 'series': series(base)}
    path = os.path.join(LEFT, base, f'{part}.json')
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8') as f:
        json.dump(what, f)


def load(path):
    try:
        with open(path, encoding='utf-8') as f:
            return json.load(f)
    except FileNotFoundError:
        return {}


def take(kept):
    for base in BASES:
        for path in sorted(glob.glob(os.path.join(LEFT, base, '*.json'))):
            part = os.path.splitext(os.path.basename(path))[0]
            results = kept.setdefault(base, {})
            if part.startswith('mutant-'):
                results = kept.setdefault('mutants', {}).setdefault(base, {})
                part = part[7:]
            # What is left may be of a build folder that nobody has used for long.
            if (left := load(path))['date'] >= results.get(part, {}).get('date', ''):
                results[part] = left
    with open(KEPT, 'w', encoding='utf-8') as f:
        json.dump(kept, f, indent=1, sort_keys=True)
        f.write('\n')


# --- pages --------------------------------------------------------------------------

def table(head, rows):
    rule = ['---:' if h in ('stock', 'patched', 'patches', 'lines') else '---' for h in head]
    return '\n'.join('| ' + ' | '.join(str(c) for c in line) + ' |'
                     for line in (head, rule, *rows))


def since(result, base):
    """On what it was measured, and what has changed since."""
    now = series(base)
    changed = [f'`{p}`' for p in now if result['series'].get(p) != now[p]]
    return f'{result["date"]}, commit {result["commit"]}' + (
        ', with the series as it is' if not changed else
        f'; since then, code of {", ".join(changed)} has changed' if len(changed) < len(now) else
        ', with an earlier form of the series')


def results_page(kept):
    out = ['# Results', '',
           'Stock and patched in the same run each, by `make measure` and `make soak`; this page',
           'is made by `make docs`. The bound is what the series promises.', '']
    for base in BASES:
        out += [f'## Linux {base}', '']
        for part, (title, text) in PARTS.items():
            result = kept.get(base, {}).get(part)
            if not result:
                continue
            out += [f'### {title}', '', f'Measured on {since(result, base)}.', text, '']
            if result.get('rows'):
                out += [table(('', 'unit', 'stock', 'patched', 'bound'), result['rows']), '']
            for extra in result.get('extra', []):
                out += [extra, '']
    return re.sub(r'[ \t]+$', '', '\n'.join(out), flags=re.M).rstrip() + '\n'


def mutants(base):
    """{name: (what it breaks, the subject of the patch)} for a base, '' for both"""
    out = {}
    for path in sorted(glob.glob(os.path.join(TOP, 'kunit', 'mutants', base, '*.patch'))):
        with open(path, encoding='utf-8') as f:
            what, subject = f.readline().strip(), f.readline().strip()
        out[os.path.basename(path)[:-6]] = what, subject.removeprefix('Patch: ')
    return out


def mutants_page(kept):
    counts = {base: len(mutants(base)) for base in ('', *BASES)}
    out = ['# Mutants', '',
           'The series, broken on purpose by one patch of `kunit/mutants/` after the other:',
           '`make kunit-mutants` shows that the KUnit suite, or the guest case, that a mutant',
           'is named after fails. A suite must pass without a mutant first, and must fail by a',
           'case or a crash, not by taking too long. This page is made by `make docs`.', '',
           f'{counts[""]} are for both bases, {counts["7.3"]} more for 7.3 and {counts["6.12"]} '
           'more for 6.12.', '',
           'None is there for arm64, documentation, the selftest and the exports; the selftest '
           'itself is',
           'run by `make test`. Two more were tried that nothing can notice: an altmap that gets '
           'one page',
           'too many (it is cut to what was used), and one whose pages may be padded for alignment '
           '(full',
           'sections come first, so that there is nothing to pad).', '']
    for base in BASES:
        subjects = {}
        for path in sum(patches(base).values(), []):
            with open(path, encoding='utf-8') as f:
                head = f.read().split('\n\n', 1)[0].replace('\n ', ' ')
            subjects[re.search(r'^Subject: \[[^]]*\] (.*)$', head, re.M)[1]] = \
                os.path.relpath(path, os.path.join(TOP, 'patches', base))
        found, now = kept.get('mutants', {}).get(base, {}), series(base)
        rows, fresh, stale = [], 0, 0
        for name, (what, subject) in sorted((mutants('') | mutants(base)).items()):
            patch = subjects.get(subject, '?')
            run = found.get(name)
            if not run:
                how = 'not tried since results are kept'
            elif run['series'].get(patch.split('/')[0]) == now.get(patch.split('/')[0]):
                how, fresh = run['caught'], fresh + 1
            else:
                how = f'{run["caught"]} ({run["date"]}, its posting has changed since)'
                stale += 1
            rows.append((f'`{name}`', what, patch[:7] if patch == '?' else
                         patch.split('-')[0] + '/' + os.path.basename(patch)[:4], how))
        out += [f'## On {base}', '',
                f'{fresh} of {len(rows)} were caught on the posting as it is, {stale} on an '
                'earlier form of it.', '',
                table(('mutant', 'what it breaks', 'patch', 'caught by'), rows), '']
    return '\n'.join(out).rstrip() + '\n'


def headlines(kept):
    rows, results = [], kept.get('7.3', {})
    for part, names in HEADLINES.items():
        rows += [r[:4] for r in results.get(part, {}).get('rows', [])
                 if r[0].startswith(names) and '=force' not in r[0].split('(')[0]]
    return table(('', 'unit', 'stock', 'patched'), rows)


PLOT = '''set terminal svg size 900,340 font "sans,13" background "white" noenhanced
set multiplot layout 1,2 margins 0.08,0.98,0.17,0.88 spacing 0.09,0
set logscale x 2
set xlabel "GiB of one DIMM"
set yrange [0:*]
set datafile missing "-"
set key top left
'''


def large(kept):
    """The plot of what large DIMMs take, and what it is made of, as a comment."""
    rows = {r[0]: r for r in kept.get('7.3', {}).get('large', {}).get('rows', [])}
    commands, used = PLOT, []
    for verb in ('plug', 'eject'):
        points = []
        for name, row in rows.items():
            m = re.fullmatch(verb + r' a DIMM of (\d+) GiB that hosts its memmap', name)
            if m and row[1] == 'M instructions/GiB':
                points.append([m[1], *(cell.replace(',', '') for cell in row[2:4])])
        used.append(points)
        commands += f'set title "{verb}: million instructions for each GiB, Linux 7.3"\n'
        commands += '$data << E\n'
        commands += ''.join(' '.join(p) + '\n' for p in points) + 'E\nplot ' + ', '.join(
            f'$data using 1:{n} with linespoints lw 2 pt {n} title "{what}"'
            for n, what in ((2, 'stock'), (3, 'patched'))) + '\n'
    made_of = f'<!-- of {hashlib.sha256((PLOT + repr(used)).encode()).hexdigest()[:12]} -->\n'
    path = os.path.join(TOP, 'docs', 'large.svg')
    if not all(used):
        return ''
    with contextlib.suppress(FileNotFoundError), open(path, encoding='utf-8') as f:
        text = f.read()
        if text.endswith(made_of):
            return text
    try:
        done = subprocess.run(['gnuplot'], input=commands, text=True, check=True,
                              stdout=subprocess.PIPE)
    except FileNotFoundError:
        sys.exit('docs.py: docs/large.svg is stale, and there is no gnuplot: make docs')
    return done.stdout + made_of


def soak(kept):
    result = kept.get('7.3', {}).get('soak')
    if not result:
        return ''
    return '\n\n'.join([*result['extra'], f'Measured on {since(result, "7.3")}.'])


def postings(_):
    """The postings of the main base; the texts are the subjects of their cover letters."""
    rows = []
    for base in reversed(BASES):
        for posting, paths in patches(base).items():
            with open(os.path.join(os.path.dirname(paths[0]), 'cover-letter.txt'),
                      encoding='utf-8') as f:
                subject = f.readline().strip()
            row = [f'`{posting}`', len(paths), subject]
            if base == BASES[0]:
                rows = [r for r in rows if r[0] != row[0]] + [row]
            elif posting not in patches(BASES[0]):
                rows.append([row[0], row[1], subject + f' ({base} only)'])
    return table(('posting', 'patches', 'what for'), sorted(rows))


def readme(kept):
    path = os.path.join(TOP, 'README.md')
    with open(path, encoding='utf-8') as f:
        text = f.read()
    for name, make in (('results', headlines), ('soak', soak), ('postings', postings)):
        text, n = re.subn(rf'(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)',
                          lambda m, make=make: m[1] + make(kept) + '\n' + m[2], text, flags=re.S)
        if n != 1:
            sys.exit(f'docs.py: README.md has no markers for {name}')
    return text


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    how = parser.add_mutually_exclusive_group()
    how.add_argument('--take', action='store_true')
    how.add_argument('--check', action='store_true')
    how.add_argument('--caught', nargs=3)
    args = parser.parse_args()
    if args.caught:
        base, name, caught = args.caught
        keep(base, f'mutant-{name}', caught=caught)
        return 0
    kept, stale = load(KEPT), []
    if args.take:
        take(kept)
    for name, make in (('docs/results.md', results_page), ('docs/mutants.md', mutants_page),
                       ('docs/large.svg', large),
                       ('README.md', readme)):
        path, text = os.path.join(TOP, name), make(kept)
        with open(path, 'a+', encoding='utf-8') as f:
            f.seek(0)
            if f.read() == text:
                continue
            stale.append(name)
            if not args.check:
                f.truncate(0)
                f.write(text)
    for name in stale:
        print(f'{name}: ' + ('is stale: make docs' if args.check else 'written'))
    return 1 if args.check and stale else 0


if __name__ == '__main__':
    sys.exit(main())
