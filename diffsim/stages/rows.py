"""Stage: contacts from the pairs' candidates, and the rows of all constraints."""

import warp as wp

from diffsim.physics.contact_list import contact_total, number_contacts
from diffsim.physics.forward import constraint_rows
from diffsim.physics.lanes import lane, lanes, sync, world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.func
def choose_contacts(m: ModelArrays, s: Scratch, world: int):
    """Numbers the contacts: the first candidates of each pair within its distances. For one lane."""
    count = number_contacts(m, s, world, 0, True)
    s.contact_count[world] = wp.min(m.max_contacts, count)
    if m.has_gap == 1:
        count = number_contacts(m, s, world, count, False)
        s.rare[0].contact_total[world] = wp.min(m.max_contacts, count)
    s.contact_peak[world] = wp.max(s.contact_peak[world], count)


@wp.func
def load_contacts(m: ModelArrays, s: Scratch, world: int):
    """Fills the contacts from their candidates."""
    for contact in range(lane(), contact_total(m, s, world), lanes()):
        place = m.pair_candidateadr[s.contact_pair[world, contact]] + s.contact_candidate[world, contact]
        s.contact_distance[world, contact] = s.candidate_distance[world, place]
        s.contact_point[world, contact] = s.candidate_point[world, place]
        s.contact_frame[world, contact] = s.candidate_frame[world, place]


@wp.func(inline=True)
def contacts_and_rows(m: ModelArrays, s: Scratch, world: int):
    """Fills the contacts and the rows. Needs the motion, and the candidates of `collide`."""
    if lane() == 0:
        choose_contacts(m, s, world)
    sync()
    load_contacts(m, s, world)
    sync()
    constraint_rows(m, s, world)


@wp.kernel(**OPTIONS)
def rows_kernel(m: ModelArrays, s: Scratch):
    """See `contacts_and_rows`."""
    contacts_and_rows(m, s, world_of(s.first_world, wp.tid()))
