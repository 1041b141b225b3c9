"""The list of contacts: first those with rows, then those in the gap between margin and gap, which exert no force.

Both are in the order of the pairs. An adhesive contact always has rows; beyond its margin it has no friction.
Source: MuJoCo documentation, Modeling, margin and gap; `mj_setContact` of MuJoCo.
"""

import warp as wp

from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.types import ZERO, real


@wp.func
def has_rows(m: ModelArrays, pair: int, distance: real) -> bool:
    """Whether a detected contact has rows."""
    if m.adhesion == 1:
        if m.rare[0].pair_adhesion[pair] != ZERO:
            return True
    return distance < m.pair_margin[pair]


@wp.func
def contact_dim(m: ModelArrays, s: Scratch, world: int, contact: int) -> int:
    """Dimension of a contact's force."""
    pair = s.contact_pair[world, contact]
    if m.adhesion == 1:
        if s.contact_distance[world, contact] >= m.pair_margin[pair]:
            return 1
    return m.pair_condim[pair]


@wp.func
def contact_total(m: ModelArrays, s: Scratch, world: int) -> int:
    """Number of contacts, with those in the gap."""
    if m.has_gap == 1:
        return s.rare[0].contact_total[world]
    return s.contact_count[world]


@wp.func
def number_contacts(m: ModelArrays, s: Scratch, world: int, first: int, with_rows: bool) -> int:
    """Numbers the contacts with rows, or those in the gap, from `first` on; returns the number after the last one."""
    count = int(first)
    for pair in range(m.npair):
        left = wp.min(s.pair_detected[world, pair], m.pair_cap[pair])
        candidate = int(0)
        while left > 0:
            distance = s.candidate_distance[world, m.pair_candidateadr[pair] + candidate]
            if distance <= m.pair_detection[pair]:
                left -= 1
                if has_rows(m, pair, distance) == with_rows:
                    if count < m.max_contacts:
                        s.contact_pair[world, count] = pair
                        s.contact_candidate[world, count] = candidate
                    count += 1
            candidate += 1
    return count


@wp.func
def listed_place(m: ModelArrays, s: Scratch, world: int, contact: int) -> int:
    """Place of a contact among all, in the order of the pairs and of their candidates."""
    if m.has_gap == 0:
        return contact
    place = int(0)
    for other in range(contact_total(m, s, world)):
        further = s.contact_pair[world, contact] - s.contact_pair[world, other]
        if further > 0 or (further == 0 and s.contact_candidate[world, other] < s.contact_candidate[world, contact]):
            place += 1
    return place
