"""Combinations of the bodies' twists with a line's cotangents as coefficients, and their adjoint."""

import warp as wp

from diffsim.physics.line import ACCELERATION, CONSTRAINT, POWER, PUSH, VELOCITY
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import cross_force
from diffsim.physics.tree import zero_twist
from diffsim.types import ZERO, vec6, vec7


@wp.func(inline=False)
def combined(
    virtual: wp.array(dtype=vec6),
    constraint: wp.array(dtype=vec6),
    velocity: wp.array(dtype=vec6),
    qacc: wp.array(dtype=vec6),
    push: wp.array(dtype=vec6),
    body: int,
    c: vec7,
) -> vec6:
    """X of a body."""
    total = zero_twist()
    if body > 0:
        if c[POWER] != ZERO:
            total += c[POWER] * virtual[body]
        if c[CONSTRAINT] != ZERO:
            total += c[CONSTRAINT] * constraint[body]
        if c[VELOCITY] != ZERO:
            total += c[VELOCITY] * velocity[body]
        if c[ACCELERATION] != ZERO:
            total += c[ACCELERATION] * qacc[body]
        if c[PUSH] != ZERO:
            total += c[PUSH] * push[body]
    return total


@wp.func
def body_twist(m: ModelArrays, s: Scratch, world: int, body: int, c: vec7) -> vec6:
    """X of a body."""
    return combined(
        s.virtual_twist[world],
        s.constraint_twist[world],
        s.velocity[world],
        s.qacc_twist[world],
        s.push_twist[world],
        body,
        c,
    )


@wp.func(inline=False)
def add_pushes(
    virtual: wp.array(dtype=vec6),
    constraint: wp.array(dtype=vec6),
    velocity: wp.array(dtype=vec6),
    qacc: wp.array(dtype=vec6),
    push: wp.array(dtype=vec6),
    pose: wp.array(dtype=vec6),
    body: int,
    c: vec7,
    wrench: vec6,
    moved: vec6,
):
    """Adds to the cotangents of a body's twists, c_k times a wrench, and of its pose."""
    if body > 0:
        if c[POWER] != ZERO:
            virtual[body] = virtual[body] + c[POWER] * wrench
        if c[CONSTRAINT] != ZERO:
            constraint[body] = constraint[body] + c[CONSTRAINT] * wrench
        if c[VELOCITY] != ZERO:
            velocity[body] = velocity[body] + c[VELOCITY] * wrench
        if c[ACCELERATION] != ZERO:
            qacc[body] = qacc[body] + c[ACCELERATION] * wrench
        if c[PUSH] != ZERO:
            push[body] = push[body] + c[PUSH] * wrench
        pose[body] = pose[body] + moved


@wp.func
def push_body(m: ModelArrays, s: Scratch, world: int, body: int, c: vec7, wrench: vec6, x: vec6, moved: vec6):
    """Adds a wrench c_k W to a body's twists, whose sum is `x`, and a cotangent to its pose.

    The cotangent of a pose is that of a motion of the body that rotates its twists too, hence the term X x* W.
    """
    add_pushes(
        s.virtual_twist_bar[world],
        s.constraint_twist_bar[world],
        s.velocity_bar[world],
        s.qacc_twist_bar[world],
        s.push_twist_bar[world],
        s.pose_bar[world],
        body,
        c,
        wrench,
        moved + cross_force(x, wrench),
    )
