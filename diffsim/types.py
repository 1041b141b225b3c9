"""Scalar, vector and matrix types, and constants, of all kernels. Both precisions are chosen here, at import.

Tensors are float32, or float64 if the environment has `DIFFSIM_X64=1`.
Kernels compute in float64. Stiff contacts, little friction and long chains make linear systems with condition numbers
up to 1e10, which float32 cannot solve. `DIFFSIM_KERNELS=float32` selects float32 kernels, for GPUs with slow double
precision; it needs float32 tensors.
Quaternions are MuJoCo's: (w, x, y, z). Twists and wrenches are (angular, linear).
"""

import os

import mujoco
import numpy as np
import torch
import warp as wp

from diffsim.quiet import initialise_warp_on_cpu

wp.config.log_level = wp.LOG_ERROR  # no banner
# Code for the GPU's own architecture, which can be compiled ahead of time. Warp's default, code for an old architecture
# that the driver translates, would be compiled again at the first launch.
wp.config.cuda_output = wp.config.cuda_output or "cubin"
initialise_warp_on_cpu()


def _kernel_precision() -> str:
    """`DIFFSIM_KERNELS`, checked."""
    precision = os.environ.get("DIFFSIM_KERNELS", "float64")
    if precision not in ("float32", "float64"):
        raise ValueError(f"the environment variable DIFFSIM_KERNELS must be float32 or float64, got {precision!r}")
    if precision == "float32" and dtype == torch.float64:
        raise ValueError("DIFFSIM_KERNELS=float32 needs float32 tensors, but DIFFSIM_X64=1 makes them float64")
    return precision


dtype = torch.float64 if os.environ.get("DIFFSIM_X64", "0") == "1" else torch.float32
X64 = _kernel_precision() == "float64"
kernel_dtype = torch.float64 if X64 else torch.float32
numpy_dtype = np.float64 if X64 else np.float32  # of the kernels
real = wp.float64 if X64 else wp.float32

vec2 = wp.types.vector(2, real)
vec3 = wp.types.vector(3, real)
vec4 = wp.types.vector(4, real)
vec5 = wp.types.vector(5, real)
vec6 = wp.types.vector(6, real)
vec7 = wp.types.vector(7, real)
vec11 = wp.types.vector(11, real)
quat = wp.types.vector(4, real)
mat33 = wp.types.matrix((3, 3), real)

ZERO = wp.constant(real(0.0))
ONE = wp.constant(real(1.0))
TWO = wp.constant(real(2.0))
HALF = wp.constant(real(0.5))
PI = wp.constant(real(np.pi))
EPSILON = wp.constant(real(np.finfo(numpy_dtype).eps))

FREE = wp.constant(int(mujoco.mjtJoint.mjJNT_FREE))
BALL = wp.constant(int(mujoco.mjtJoint.mjJNT_BALL))
SLIDE = wp.constant(int(mujoco.mjtJoint.mjJNT_SLIDE))
HINGE = wp.constant(int(mujoco.mjtJoint.mjJNT_HINGE))
EULER = wp.constant(int(mujoco.mjtIntegrator.mjINT_EULER))
RK4 = wp.constant(int(mujoco.mjtIntegrator.mjINT_RK4))
IMPLICIT = wp.constant(int(mujoco.mjtIntegrator.mjINT_IMPLICIT))
IMPLICITFAST = wp.constant(int(mujoco.mjtIntegrator.mjINT_IMPLICITFAST))
