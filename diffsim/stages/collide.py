"""Stages: the narrow phase and its gradient, a kernel of each for every pair of kinds of geoms.

There are no lanes. The pairs of geoms, or the contacts, of a world are shared by as many threads as the last argument
says.
"""

from functools import cache

import warp as wp

from diffsim.collision.contact_frame import contact_frame
from diffsim.collision.geometry import COLLIDERS, contraction_of, turning
from diffsim.collision.gradient_call import calls_gradient
from diffsim.physics.contact import load_geom, may_touch
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
from diffsim.stages.bounds import OPTIONS, stage_module
from diffsim.types import ONE


@cache
def detection_kernel(kind1: int, kind2: int) -> wp.Kernel:
    """The kernel that fills the candidates of all pairs of two kinds, numbered by `pairs`. Needs the frames."""
    collide = COLLIDERS[kind1, kind2]
    module = stage_module(f"collide.{collide.key}")

    @wp.func(module=module)
    def detect(m: ModelArrays, s: Scratch, world: int, pair: int):
        geom1 = load_geom(m, s, world, m.pair_geom1[pair])
        geom2 = load_geom(m, s, world, m.pair_geom2[pair])
        detected = int(0)
        for candidate in range(m.pair_candidates[pair]):
            g = collide(geom1, geom2, candidate, m.pair_detection[pair])
            place = m.pair_candidateadr[pair] + candidate
            s.candidate_distance[world, place] = g.distance
            if g.distance <= m.pair_detection[pair]:
                detected += 1
                s.candidate_point[world, place] = g.position
                s.candidate_frame[world, place] = contact_frame(g.normal, g.tangent)
        s.pair_detected[world, pair] = detected

    @wp.kernel(module=module, **OPTIONS)
    def detect_kernel(m: ModelArrays, s: Scratch, pairs: wp.array(dtype=wp.int32), threads: int):
        world = natural(s.first_world + wp.tid() / threads)
        for i in range(wp.tid() % threads, pairs.shape[0], threads):
            pair = pairs[i]
            if may_touch(m, s, world, pair) == 1:
                detect(m, s, world, pair)
            else:
                s.pair_detected[world, pair] = 0

    return detect_kernel


@cache
def gradient_kernel(kind1: int, kind2: int) -> wp.Kernel:
    """The kernel that fills the cotangents of the two bodies of all contacts of two kinds. Needs `twists`."""
    collide = COLLIDERS[kind1, kind2]
    module = stage_module(f"collide_gradient.{collide.key}")

    contraction = contraction_of(kind1, kind2, module)

    @calls_gradient(module=module)
    def contact_cotangents(m: ModelArrays, s: Scratch, world: int, contact: int, pair: int):
        s.contact_active[world, contact] = 0
        if contact_forces(m, s, world, contact, s.constraint_velocity[world]):
            s.contact_active[world, contact] = 1
            index1 = m.pair_geom1[pair]
            index2 = m.pair_geom2[pair]
            body1 = m.geom_body[index1]
            body2 = m.geom_body[index2]
            geom1 = load_geom(m, s, world, index1)
            geom2 = load_geom(m, s, world, index2)
            point_bar, frame_bar = shape_cotangents(m, s, world, contact, body1, body2)
            candidate = s.contact_candidate[world, contact]
            r_bar = s.contact_r_bar[world, contact]
            bar = wp.grad(contraction)(geom1, geom2, candidate, m.pair_detection[pair], r_bar, point_bar, frame_bar)
            bar1 = bar[0]
            bar2 = bar[1]
            turn1 = turning(geom1.mat, bar1.mat)
            turn2 = turning(geom2.mat, bar2.mat)
            push, pull, pose = body_cotangents(m, s, world, contact, body1, index1, -ONE, turn1, bar1.pos)
            s.contact_push[world, contact, 0] = push
            s.contact_pull[world, contact, 0] = pull
            s.contact_pose[world, contact, 0] = pose
            push2, pull2, pose2 = body_cotangents(m, s, world, contact, body2, index2, ONE, turn2, bar2.pos)
            s.contact_push[world, contact, 1] = push2
            s.contact_pull[world, contact, 1] = pull2
            s.contact_pose[world, contact, 1] = pose2
            keep_geom_cotangents(m, s, world, contact, bar1.pos, bar1.size, bar2.pos, bar2.size)

    @wp.kernel(module=module, **OPTIONS)
    def contact_gradient_kernel(m: ModelArrays, s: Scratch, threads: int):
        world = natural(s.first_world + wp.tid() / threads)
        for contact in range(wp.tid() % threads, contact_total(m, s, world), threads):
            pair = s.contact_pair[world, contact]
            kinds = wp.vec2i(m.geom_kind[m.pair_geom1[pair]], m.geom_kind[m.pair_geom2[pair]])
            if kinds[0] == kind1 and kinds[1] == kind2:
                contact_cotangents(m, s, world, contact, pair)

    return contact_gradient_kernel
