"""Gradients by positions of what the noslip solver adds through lines: friction and armature of spatial tendons.

`noslip_gradient` has the parts of contacts and of the bodies' inertia.
"""

from functools import partial

import warp as wp

from diffsim.collision.gradient_call import calls_gradient
from diffsim.physics.constraint import FRICTION, row_damping
from diffsim.physics.lanes import lane, lanes, sync
from diffsim.physics.line import PUSH as PUSH_BAR
from diffsim.physics.line import add_line_bar
from diffsim.physics.line_gradient import add_coupled, push_lines
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.noslip import is_swept
from diffsim.physics.noslip_adjoint import on_line
from diffsim.physics.scratch import END, RESPONSE, RUNNING, START, Scratch
from diffsim.types import ONE, ZERO, real, vec7


@partial(calls_gradient, inline=True)
def noslip_lines_gradient(m: ModelArrays, s: Scratch, world: int):
    """Adds to the cotangents of the bodies' twists and poses. Needs `noslip_adjoint`, and `line_power_gradient`."""
    vectors = s.rare[0].noslip_vector[world]
    for dof in range(lane(), m.nv, lanes()):
        vectors[RUNNING, dof] = vectors[END, dof] - vectors[START, dof]
    sync()
    for line in range(m.nline):
        if m.rare[0].line_tendon[line] >= 0:
            if lane() == 0:
                s.line_bar[world, line] = vec7()
                add_line_bar(s, world, line, PUSH_BAR, ONE)
                friction_vector(m, s, world, m.rare[0].line_tendon[line])
                if m.rare[0].line_armature[line] != ZERO:
                    armature_vector(m, s, world, line, -m.rare[0].line_armature[line])
            push_lines(m, s, world, line, line + 1)


@wp.func
def friction_vector(m: ModelArrays, s: Scratch, world: int, tendon: int):
    """Adds the vector that multiplies J in the row of a tendon's friction to `line_velocity`. For one lane."""
    for row in range(s.row_count[world]):
        if s.row_kind[world, row] == FRICTION and on_line(m, s, world, row) and s.row_index[world, row] == tendon:
            weight = s.rare[0].noslip_weight[world, row]
            damping = row_damping(m, s, world, row)
            for dof in range(m.nv):
                z = s.rare[0].noslip_pull[world, row, dof] + s.rare[0].noslip_push[world, row, dof]
                z += weight * (s.qacc[world, dof] + damping * s.qvel[world, dof])
                s.line_velocity[world, dof] = s.line_velocity[world, dof] + z


@wp.func
def armature_vector(m: ModelArrays, s: Scratch, world: int, line: int, scale: real):
    """Adds that of a line's armature, which is part of M. For one lane."""
    vectors = s.rare[0].noslip_vector[world]
    add_coupled(m, s, world, line, scale, vectors[RESPONSE], vectors[RUNNING])
    for row in range(s.row_count[world]):
        if is_swept(m, s, world, row):
            response = s.rare[0].noslip_response[world, row]
            add_coupled(m, s, world, line, scale, response, s.rare[0].noslip_pull[world, row])
