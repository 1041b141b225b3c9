"""Stage: the gradient of contacts of convex geoms that have no collider of their own.

There are no lanes. The contacts of a world are shared by as many threads as the last argument says.
"""

import warp as wp

from diffsim.collision.convex_gradient import convex_cotangents
from diffsim.collision.geometry import turning
from diffsim.collision.gradient_call import calls_gradient
from diffsim.collision.smooth_contact import Bars
from diffsim.physics.contact_gradient import (
    body_cotangents,
    contact_forces,
    keep_geom_cotangents,
    shape_cotangents,
)
from diffsim.physics.contact_list import contact_total
from diffsim.physics.lanes import natural
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.stages.bounds import OPTIONS
from diffsim.types import ONE, vec3

wp.set_module_options({"enable_backward": False})


@calls_gradient
def contact_cotangents(m: ModelArrays, s: Scratch, world: int, contact: int, pair: int):
    """Fills the cotangents of a contact's two bodies, unless it has no force."""
    s.contact_active[world, contact] = 0
    if contact_forces(m, s, world, contact, s.constraint_velocity[world]):
        s.contact_active[world, contact] = 1
        index1 = m.pair_geom1[pair]
        index2 = m.pair_geom2[pair]
        body1 = m.geom_body[index1]
        body2 = m.geom_body[index2]
        point_bar, frame_bar = shape_cotangents(m, s, world, contact, body1, body2)
        bars = Bars(s.contact_r_bar[world, contact], point_bar, frame_bar, vec3())
        place = m.pair_candidateadr[pair] + s.contact_candidate[world, contact]
        bar1, bar2 = convex_cotangents(m, s, world, pair, place, bars)
        turn1 = turning(s.geom_mat[world, index1], bar1.mat)
        turn2 = turning(s.geom_mat[world, index2], bar2.mat)
        push, pull, pose = body_cotangents(m, s, world, contact, body1, index1, -ONE, turn1, bar1.pos)
        s.contact_push[world, contact, 0] = push
        s.contact_pull[world, contact, 0] = pull
        s.contact_pose[world, contact, 0] = pose
        push2, pull2, pose2 = body_cotangents(m, s, world, contact, body2, index2, ONE, turn2, bar2.pos)
        s.contact_push[world, contact, 1] = push2
        s.contact_pull[world, contact, 1] = pull2
        s.contact_pose[world, contact, 1] = pose2
        keep_geom_cotangents(m, s, world, contact, bar1.pos, bar1.size, bar2.pos, bar2.size)


@wp.kernel(**OPTIONS)
def convex_gradient_kernel(m: ModelArrays, s: Scratch, threads: int):
    """Fills the cotangents of the two bodies of all these contacts. Needs `twists`, and the candidates."""
    world = natural(s.first_world + wp.tid() / threads)
    for contact in range(wp.tid() % threads, contact_total(m, s, world), threads):
        pair = s.contact_pair[world, contact]
        if m.rare[0].pair_convex[pair] == 1:
            contact_cotangents(m, s, world, contact, pair)
