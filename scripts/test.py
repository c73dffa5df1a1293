#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Run the guest tests of scripts/tests/; KTAP on standard output, ending in
'N passed, N failed'. The exit status is 0 only if cases ran and none failed.

A case that fails says what was expected, what was seen, and where the guest's
console is. Cases that need the stock kernel compare with it.
"""

import argparse
import concurrent.futures
import importlib
import os
import random
import signal
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'tests'))
# pylint: disable=wrong-import-position
import lib  # noqa: E402
from guest import BASE, BUILD, TOP, GuestError, QMPError, choose_accel  # noqa: E402


# Flavours to test, and the flavour whose cases they pass as well
FLAVOURS = {'patched': 'patched', 'debug': 'debug', 'distro': 'patched'}


def load_cases():
    folder = os.path.join(TOP, 'scripts', 'tests')
    for name in sorted(os.listdir(folder)):
        if name.endswith('.py') and name not in ('lib.py', '__init__.py'):
            importlib.import_module(name[:-3])
    return lib.CASES


def select(cases, args):
    """(case, architecture) of what to run, in order; a name that selects none is an
    error."""
    chosen = [(c, a) for a in args.arch for c in cases
              if {args.flavour, FLAVOURS[args.flavour]} & {*c.flavours} and a in c.archs
              and lib.version(args.base) >= c.since
              and c.needs <= lib.STEPS.index(args.have)]
    quick = {c for c, _ in chosen if args.quick and c.quick}
    if args.names:
        for name in args.names:
            if not any(name in c.name for c, _ in chosen):
                sys.exit(f"test.py: no case has '{name}' in its name "
                         f"(base {args.base}, flavour {args.flavour}, {' '.join(args.arch)}, "
                         f'{args.have})')
        chosen = [(c, a) for c, a in chosen if c in quick or any(n in c.name for n in args.names)]
    elif args.quick:
        chosen = [(c, a) for c, a in chosen if c in quick]
    elif not args.long:
        chosen = [(c, a) for c, a in chosen if not c.long]
    return sorted(chosen, key=lambda c: not c[0].first)


def label(case, arch):
    return case.name if arch == 'x86_64' else f'{case.name} ({arch})'


class Runner:
    """Runs cases side by side; what each says is printed when it is done."""

    def __init__(self, args, cases):
        self.args, self.cases = args, cases
        self.lock = threading.Lock()
        self.start = time.monotonic()
        self.passed = self.failed = self.done = 0
        self.bad = []           # names of cases that failed
        self.tests = []
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.interrupted)

    def interrupted(self, number, _):
        """No guest outlives the run."""
        for test in self.tests:
            for machine in test.machines:
                if machine.proc and machine.proc.poll() is None:
                    machine.proc.kill()
        failed = len(self.cases) - self.done + self.failed
        os.write(1, f'# interrupted by signal {number}\n'
                    f'{self.passed} passed, {failed} failed\n'.encode())
        os._exit(1)

    def say(self, text):
        with self.lock:
            print(text, flush=True)

    def elapsed(self):
        return f'{time.monotonic() - self.start:.0f}s'

    def run(self, case, arch):
        """One case: its failure as a text, or None."""
        args = self.args
        name = label(case, arch)
        test = lib.Test(case.name, args.base, args.flavour, args.seed, args.logdir, arch=arch,
                        have=lib.STEPS.index(args.have), stock=args.stock)
        self.tests.append(test)
        self.say(f'# {self.elapsed()}: {name} starts: {case.doc}')
        start = time.monotonic()
        problem = None
        try:
            case.run(test)
            if not test.machines and not test.counted:
                raise lib.Failure('the case has booted no guest')
            for machine in test.machines:
                machine.check_console()
        except lib.Skipped as why:
            with self.lock:
                self.done += 1
                print(f'ok {self.done} {name} # SKIP {why}', flush=True)
            return
        except (lib.Failure, GuestError, QMPError) as error:
            problem = f'{error}\nat: {self.place(error)}'
        except Exception:  # pylint: disable=broad-except
            problem = traceback.format_exc()
        took = time.monotonic() - start
        with self.lock:
            self.done += 1
            number = self.done
            passed, failed = test.counted or (int(problem is None), 0)
            self.passed += passed
            if problem is None:
                many = f', {passed} cases' if test.counted else ''
                print(f'ok {number} {name} # {took:.0f}s{many}', flush=True)
                return
            self.failed += failed or 1
            self.bad.append(name)
            print(f'not ok {number} {name} # {took:.0f}s')
            lines = problem.rstrip().splitlines() + test.notes
            lines += [f'seed: {args.seed}']
            lines += [f'log: {os.path.relpath(m.log, TOP)}' for m in test.machines]
            for line in lines:
                print('# ' + line)
            sys.stdout.flush()

    @staticmethod
    def place(error):
        """Where in the cases an assertion failed."""
        frames = [f for f in traceback.extract_tb(error.__traceback__)
                  if os.path.dirname(f.filename).endswith('tests') and
                  not f.filename.endswith('lib.py')]
        return ', '.join(f'{os.path.basename(f.filename)}:{f.lineno}' for f in frames) or 'lib.py'

    def run_all(self):
        print('KTAP version 1')
        print(f'1..{len(self.cases)}')
        print(f'# base {self.args.base}, flavour {self.args.flavour}, seed {self.args.seed} '
              f'(--seed sets it), {self.args.jobs} at a time')
        sys.stdout.flush()
        with concurrent.futures.ThreadPoolExecutor(self.args.jobs) as pool:
            for done in [pool.submit(self.run, *c) for c in self.cases]:
                done.result()
        print(f'# {self.elapsed()} in all')
        if self.bad:
            print(f'# not ok: {" ".join(self.bad)}')
        print(f'{self.passed} passed, {self.failed} failed')
        return 0 if self.passed and not self.failed else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('names', nargs='*', help='run the cases with one of these in their '
                        'name; with --quick, too')
    parser.add_argument('--base', default=BASE)
    parser.add_argument('--arch', choices=lib.ARCHS, action='append',
                        help='kernels to run on (x86_64); may be given more than once')
    parser.add_argument('--flavour', choices=FLAVOURS, default='patched')
    parser.add_argument('--quick', action='store_true', help='the cases that every patch must pass')
    parser.add_argument('--no-stock', dest='stock', action='store_false',
                        help='skip cases that compare with the stock kernel')
    parser.add_argument('--have', choices=lib.STEPS, default=lib.STEPS[-1],
                        help='only the cases for a series that has come so far (%(default)s)')
    parser.add_argument('--long', action='store_true', help='the long soaks as well')
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 32),
                        help='of all that is random')
    # Cases wait for something a third of their time.
    parser.add_argument('--jobs', type=int, default=(os.cpu_count() or 1) * 3 // 2,
                        help='cases at a time (%(default)s)')
    parser.add_argument('--logdir', help='where consoles are kept')
    parser.add_argument('--list', action='store_true', help='tell of the cases and stop')
    args = parser.parse_args()
    args.arch = args.arch or ['x86_64']
    args.logdir = args.logdir or os.path.join(BUILD, 'log', f'test-{args.base}-{args.flavour}')

    cases = select(load_cases(), args)
    if args.list:
        for c, arch in cases:
            marks = ''.join(f' [{m}]' for m in ('quick', 'long') if getattr(c, m))
            print(f'{label(c, arch)}{marks}: {c.doc}')
        return 0
    if not cases:
        print('0 passed, 0 failed')
        return 1
    for arch in args.arch:
        folder, make = lib.place(args.base, arch)
        image = os.path.join(BUILD, folder, args.flavour, 'vmlinuz')
        if not os.path.exists(image):
            sys.exit(f'test.py: no {os.path.relpath(image, TOP)}: {make} FLAVOUR={args.flavour}')
        choose_accel(image)     # once, and before there are other guests
    return Runner(args, cases).run_all()


if __name__ == '__main__':
    sys.exit(main())
