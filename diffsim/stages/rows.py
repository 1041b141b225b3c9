"""Stage: contacts from the pairs' candidates, and the rows of all constraints."""

import warp as wp

from diffsim.physics.forward import constraint_rows
from diffsim.physics.lanes import lane, lanes, sync, world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.func
def choose_contacts(m: ModelArrays, s: Scratch, world: int):
    """Numbers the contacts: the first candidates of each pair within its distances. For one lane."""
    count = int(0)
    for pair in range(m.npair):
        left = wp.min(s.pair_detected[world, pair], m.pair_cap[pair])
        candidate = int(0)
        while left > 0:
            distance = s.candidate_distance[world, m.pair_candidateadr[pair] + candidate]
            if distance <= m.pair_detection[pair]:
                left -= 1
                if distance < m.pair_margin[pair]:
                    if count < m.max_contacts:
                        s.contact_pair[world, count] = pair
                        s.contact_candidate[world, count] = candidate
                    count += 1
            candidate += 1
    s.contact_peak[world] = wp.max(s.contact_peak[world], count)
    s.contact_count[world] = wp.min(m.max_contacts, count)


@wp.func
def load_contacts(m: ModelArrays, s: Scratch, world: int):
    """Fills the contacts from their candidates."""
    for contact in range(lane(), s.contact_count[world], lanes()):
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
