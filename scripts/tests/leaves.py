# SPDX-License-Identifier: GPL-2.0
"""Page tables of the direct map and of the memmap whose leaves map more than what
is removed."""

from lib import MIB, SECTION, World, case, expect, h

GIB = 1024 * MIB
HIGH = 0x100000000              # RAM above 4 GiB, hidden by mem=1G


def direct_map(g):
    info = g.meminfo()
    return {size: info[f'DirectMap{size}'] for size in ('4k', '2M', '1G')}


@case(quick=True)
def part_of_a_gigantic_leaf(t):
    """I4 I5: part of what a 1 GiB leaf maps is removed; the rest works on."""
    with t.guest(mem='4G', cmdline='mem=1G') as g:
        w = World(g)
        before = direct_map(g)
        hole = HIGH + 3 * SECTION

        g.mod_ok(f'add 0 {h(HIGH)} {h(2 * GIB)}')
        expect('1 GiB leaves', direct_map(g)['1G'] - before['1G'], 2 * GIB // 1024)

        g.mod_ok(f'remove {h(hole)} {h(SECTION)}')
        expect('leaves after a split',
               {k: v - before[k] for k, v in direct_map(g).items()},
               {'4k': 0, '2M': (GIB - SECTION) // 1024, '1G': GIB // 1024})

        for start, size in ((HIGH, 3 * SECTION), (hole + SECTION, GIB - 4 * SECTION)):
            for address in range(start, start + size, SECTION):
                expect('state', g.state(g.block(address), 'online_movable'), None)
        w.check([(HIGH, 3 * SECTION, 0, 'Movable'),
                 (hole + SECTION, GIB - 4 * SECTION, 0, 'Movable'),
                 (HIGH + GIB, GIB, 0, None)], 'around the hole')
        values = g.mod_values(f'churn 0 {h(GIB // 2)} 9 {h(HIGH)} {h(GIB)}')
        expect('pages that came back changed', values['bad'], '0')

        # A granule of the hole, among mappings that are in use
        g.mod_ok(f'add 0 {h(hole + 2 * MIB)} {h(2 * MIB)}')
        expect('state', g.state(g.block(hole), 'online_movable'), None)
        g.mod_ok(f'offremove {h(hole + 2 * MIB)} {h(2 * MIB)}')

        g.mod_ok(f'offremove {h(HIGH)} {h(3 * SECTION)}')
        g.mod_ok(f'offremove {h(hole + SECTION)} {h(GIB - 4 * SECTION)}')
        g.mod_ok(f'remove {h(HIGH + GIB)} {h(GIB)}')
        expect('direct map', direct_map(g), before)
        w.check([], 'all removed')

