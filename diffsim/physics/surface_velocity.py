"""Surface velocity of geoms: conveyor belts and turntables. Their material drags what touches it by friction.

The velocity of the two geoms' material at a contact, the second's minus the first's, has the components c of `contact`.
Those along the tangents and of the spin about the normal are added to J v in the reference acceleration of its rows.
Source: MuJoCo documentation, XML reference, geom surfacevel; `mj_addSurfaceVel` of MuJoCo.
"""

import warp as wp

from diffsim.physics.cone import cone_scale
from diffsim.physics.contact_list import contact_dim
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.physics.spatial import angular, linear, twist
from diffsim.types import ONE, ZERO, real, vec3, vec6


@wp.func(inline=True)
def material_twist(m: ModelArrays, s: Scratch, world: int, geom: int, point: vec3) -> vec6:
    """(angular velocity, velocity) of a geom's material at a point, in world axes, relative to the geom."""
    spin = s.geom_mat[world, geom] * angular(m.rare[0].geom_surfacevel[geom])
    arm = point - s.geom_pos[world, geom]
    return twist(spin, s.geom_mat[world, geom] * linear(m.rare[0].geom_surfacevel[geom]) + wp.cross(spin, arm))


@wp.func(inline=True)
def relative_material_twist(m: ModelArrays, s: Scratch, world: int, contact: int) -> vec6:
    """Difference of the material twists of a contact's geoms."""
    pair = s.contact_pair[world, contact]
    point = s.contact_point[world, contact]
    second = material_twist(m, s, world, m.pair_geom2[pair], point)
    return second - material_twist(m, s, world, m.pair_geom1[pair], point)


@wp.func(inline=True)
def surface_components(m: ModelArrays, s: Scratch, world: int, contact: int) -> vec6:
    """The components c of a contact; zero for those that do not act."""
    x = relative_material_twist(m, s, world, contact)
    v = s.contact_frame[world, contact] * linear(x)
    spin = s.contact_frame[world, contact] * angular(x)
    return vec6(ZERO, v[1], v[2], spin[0], ZERO, ZERO)


@wp.func(inline=True)
def surface_rate(m: ModelArrays, s: Scratch, world: int, row: int) -> real:
    """What a contact's row adds to J v."""
    contact = s.row_index[world, row]
    pair = s.contact_pair[world, contact]
    c = surface_components(m, s, world, contact)
    i = row - s.contact_row[world, contact]
    if m.elliptic == 1:
        return cone_scale(m, world, pair, i) * c[i]
    if contact_dim(m, s, world, contact) == 1:
        return ZERO
    j = i / 2
    sign = ONE - real(2 * (i % 2))
    return sign * m.pair_friction[world * m.pair_stride + pair, j] * c[j + 1]


@wp.func(inline=True)
def surface_forces(s: Scratch, world: int, contact: int):
    """Torque and force that multiply the material twist in the virtual power, times b. Needs `contact_forces`."""
    axes = wp.transpose(s.contact_frame[world, contact])
    beta = s.contact_damping[world, contact] * s.contact_beta[world, contact]
    return axes * vec3(beta[3], ZERO, ZERO), axes * vec3(ZERO, beta[1], beta[2])


@wp.func(inline=True)
def surface_shape_cotangents(m: ModelArrays, s: Scratch, world: int, contact: int):
    """What the material twist adds to the cotangents of a contact's point and of its frame's rows."""
    x = relative_material_twist(m, s, world, contact)
    _torque, force = surface_forces(s, world, contact)
    beta = s.contact_damping[world, contact] * s.contact_beta[world, contact]
    return wp.cross(force, angular(x)), beta[3] * angular(x), beta[1] * linear(x), beta[2] * linear(x)


@wp.func(inline=True)
def surface_pose_cotangents(m: ModelArrays, s: Scratch, world: int, contact: int, geom: int, sign: real):
    """What a geom's material twist adds to the torque and force on the geom; `sign` is -1 for a contact's first one."""
    torque, force = surface_forces(s, world, contact)
    arm = s.contact_point[world, contact] - s.geom_pos[world, geom]
    spin = sign * (s.geom_mat[world, geom] * angular(m.rare[0].geom_surfacevel[geom]))
    velocity = sign * (s.geom_mat[world, geom] * linear(m.rare[0].geom_surfacevel[geom]))
    turn = wp.cross(velocity, force) + wp.cross(spin, wp.cross(arm, force) + torque)
    return turn, wp.cross(spin, force)
