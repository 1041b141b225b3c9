"""Builds of the CPU's kernels: models without rare features have one that compiles sooner: see `physics.rare`."""

from __future__ import annotations

import warp as wp

from diffsim.compile.model import Model
from diffsim.physics.adjoint import step_adjoint_kernel
from diffsim.physics.linearize import linearize_kernel
from diffsim.physics.parameter_adjoint import parameter_adjoint_kernel
from diffsim.physics.rare import COMMON
from diffsim.physics.step import evaluate_kernel, step_kernel


def _common_builds(*kernels: wp.Kernel) -> dict[wp.Kernel, wp.Kernel]:
    """The same kernels in modules that are compiled without rare features."""
    flags = f"{wp.config.cpu_compiler_flags or '-march=native'} -D{COMMON}"
    builds = {}
    for kernel in kernels:
        module = wp.get_module(f"{kernel.module.name}_common")
        module.options |= {"enable_backward": False, "cpu_compiler_flags": flags}
        builds[kernel] = wp.Kernel(kernel.func, key=kernel.key, module=module)
    return builds


COMMON_BUILDS = _common_builds(
    step_kernel, evaluate_kernel, step_adjoint_kernel, linearize_kernel, parameter_adjoint_kernel
)
"""The kernels with rare features, and their builds without."""


def build_of(kernel: wp.Kernel, model: Model) -> wp.Kernel:
    """The build of a kernel for the CPU and a model."""
    return COMMON_BUILDS.get(kernel, kernel) if model.common else kernel
