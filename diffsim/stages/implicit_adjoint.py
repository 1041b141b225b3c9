"""Stages of the adjoint of an implicit velocity step, which add to the cotangents of the evaluation.

The first is launched if the model's step is implicit. `Stages` launches the others, which are modules of their own, for
models that need them: `implicit_bias` of the integrator "implicit", `implicit_forces` and `implicit_fluid` of the
integrators but Euler, `implicit_lines` of lines.
"""

import warp as wp

from diffsim.physics.implicit import damper_bend_gradient, implicit_inertia_adjoint
from diffsim.physics.lanes import world_of
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.stages.bounds import OPTIONS

wp.set_module_options({"enable_backward": False})


@wp.kernel(**OPTIONS)
def implicit_adjoint_kernel(m: ModelArrays, s: Scratch):
    """Fills mu, given implicit_qacc_bar. Needs what `implicit` filled."""
    world = world_of(s.first_world, wp.tid())
    implicit_inertia_adjoint(m, s, world)
    damper_bend_gradient(m, s, world)
