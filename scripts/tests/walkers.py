# SPDX-License-Identifier: GPL-2.0
"""Memory comes and goes while all walkers of physical memory walk: a minute of what
`make soak` does for longer."""

from lib import case
from soak import FEW, Soak

SECONDS = 60


def walked(t, kind):
    soak = Soak(t, kind, t.flavour, SECONDS)
    soak.run()
    t.note(f'{soak.rounds} rounds in {soak.took():.0f} s, at least {FEW} wanted')


@case(needs='lifetime')
def walkers_and_virtio_mem(t):
    """I10: virtio-mem grows and shrinks while everybody walks, and nobody is hurt."""
    walked(t, 'virtio-mem')


@case(needs='lifetime')
def walkers_and_dimms(t):
    """I10: odd DIMMs come and go while everybody walks, and nobody is hurt."""
    walked(t, 'dimms')


@case(needs='lifetime')
def walkers_and_kmem(t):
    """I10: odd dax devices become System RAM and come back while everybody walks."""
    walked(t, 'kmem')
