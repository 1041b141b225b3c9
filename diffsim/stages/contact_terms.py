"""Stages of what few models' contacts have: adhesion, body transmissions, friction with a reference of its own.

Launched only for models with them.
"""

import warp as wp

from diffsim.physics.adhesion import adhesion_reference
from diffsim.physics.contact_gradient import clear_contact_bars
from diffsim.physics.friction_reference import friction_reference, friction_reference_gradient
from diffsim.physics.lanes import lane, lanes, sync, world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.normals import fill_normals
from diffsim.physics.scratch import Scratch
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def contact_terms_kernel(m: ModelArrays, s: Scratch):
    """Changes the rows' reference accelerations, and fills the moments of the lines of normals. Needs the rows."""
    world = world_of(s.first_world, wp.tid())
    fill_normals(m, s, world)
    if m.adhesion == 1:
        adhesion_reference(m, s, world)
        sync()
    if m.elliptic == 1:
        friction_reference(m, s, world)


@wp.kernel(**OPTIONS)
def adhesion_kernel(m: ModelArrays, s: Scratch):
    """Adds the pull of adhesive contacts to qfrc_smooth."""
    world = world_of(s.first_world, wp.tid())
    line = m.adhesion_line
    if line >= 0:
        first = m.rare[0].line_adr[line]
        for entry in range(first + lane(), first + m.rare[0].line_num[line], lanes()):
            dof = m.rare[0].line_dof[entry]
            s.qfrc_smooth[world, dof] = s.qfrc_smooth[world, dof] + s.line_moment[world, entry]


@wp.kernel(**OPTIONS)
def clear_contact_bars_kernel(m: ModelArrays, s: Scratch):
    """Begins a gradient without cotangents of contacts."""
    clear_contact_bars(m, s, world_of(s.first_world, wp.tid()))


@wp.kernel(**OPTIONS)
def friction_reference_kernel(m: ModelArrays, s: Scratch):
    """Adds the gradient of friction with a reference of its own. Needs `twists`."""
    world = world_of(s.first_world, wp.tid())
    if m.elliptic == 1 and lane() == 0:
        friction_reference_gradient(m, s, world)
