"""The adjoint of the step and of one evaluation, with the gradient by physical parameters.

A kernel of its own, so that the adjoint without parameters is short, and models compile what they use.
"""

from functools import partial

import warp as wp

from diffsim.collision.gradient_call import calls_gradient
from diffsim.physics.implicit import implicit_force_adjoint, implicit_inertia_adjoint
from diffsim.physics.lanes import sync
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.parameter_gradient import (
    implicit_parameter_gradient,
    implicitfast_parameter_gradient,
)
from diffsim.physics.scratch import Scratch
from diffsim.types import EULER

wp.set_module_options({"enable_backward": False})


@partial(calls_gradient, inline=True)
def implicit_adjoint_with_parameters(m: ModelArrays, s: Scratch, world: int):
    """As `implicit.implicit_adjoint`; adds to parameter_bar, too."""
    implicit_inertia_adjoint(m, s, world)
    implicit_parameter_gradient(m, s, world)
    sync()
    implicit_force_adjoint(m, s, world)
    if m.integrator != EULER:
        implicitfast_parameter_gradient(m, s, world)
        sync()
