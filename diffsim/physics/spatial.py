"""Twists, wrenches and spatial inertias in world axes, about a fixed reference point.

A twist V = (w, v) is the angular velocity, and the velocity of the body-fixed point that is now at the reference point.
A wrench F = (n, f) is the torque about the reference point, and the force. V . F is a power.
Source: Featherstone (2008), Rigid Body Dynamics Algorithms, chapter 2.
"""

import warp as wp

from diffsim.types import mat33, real, vec3, vec6


@wp.func
def twist(angular: vec3, linear: vec3) -> vec6:
    """(angular, linear) as one vector; a wrench is (torque, force)."""
    return vec6(angular[0], angular[1], angular[2], linear[0], linear[1], linear[2])


@wp.func
def angular(x: vec6) -> vec3:
    """First half: angular velocity of a twist, torque of a wrench."""
    return vec3(x[0], x[1], x[2])


@wp.func
def linear(x: vec6) -> vec3:
    """Second half: linear velocity of a twist, force of a wrench."""
    return vec3(x[3], x[4], x[5])


@wp.func
def cross_motion(v: vec6, s: vec6) -> vec6:
    """V x S: rate of change of a twist S that is fixed in a body moving with V."""
    return twist(wp.cross(angular(v), angular(s)), wp.cross(angular(v), linear(s)) + wp.cross(linear(v), angular(s)))


@wp.func
def cross_force(v: vec6, f: vec6) -> vec6:
    """V x* F: rate of change of a wrench F that is fixed in a body moving with V; (V x S) . F = -S . (V x* F)."""
    return twist(wp.cross(angular(v), angular(f)) + wp.cross(linear(v), linear(f)), wp.cross(angular(v), linear(f)))


@wp.func
def apply_inertia(mass: real, moment: vec3, inertia: mat33, v: vec6) -> vec6:
    """Momentum I V of a body with first moment mass * com and rotational inertia about the reference point."""
    w = angular(v)
    u = linear(v)
    return twist(inertia * w + wp.cross(moment, u), mass * u - wp.cross(moment, w))
