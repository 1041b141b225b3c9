"""One evaluation of the dynamics: from positions, velocities and controls to accelerations."""

import warp as wp

from diffsim.model import ModelArrays
from diffsim.physics.actuation import actuation
from diffsim.physics.bias import moving_frames, smooth_bias
from diffsim.physics.inertia import mass_matrix
from diffsim.physics.newton import solve_acceleration
from diffsim.physics.passive import passive
from diffsim.physics.scratch import Scratch


@wp.func
def evaluate(m: ModelArrays, s: Scratch, world: int):
    """Fills qacc and qfrc_constraint from qpos, qvel and ctrl (MuJoCo's `mj_forward`)."""
    moving_frames(m, s, world, 0)
    mass_matrix(m, s, world)
    smooth_bias(m, s, world)
    passive(m, s, world)
    actuation(m, s, world)
    solve_acceleration(m, s, world)
