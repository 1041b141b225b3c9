"""Scalar, vector and matrix types, and constants, of all kernels. The precision is chosen here.

The precision is float32, or float64 if the environment has `DIFFSIM_X64=1` at import.
Quaternions are MuJoCo's: (w, x, y, z). Twists and wrenches are (angular, linear).
"""

import os

import mujoco
import numpy as np
import torch
import warp as wp

wp.config.log_level = wp.LOG_ERROR  # no banner

X64 = os.environ.get("DIFFSIM_X64", "0") == "1"

dtype = torch.float64 if X64 else torch.float32
numpy_dtype = np.float64 if X64 else np.float32
real = wp.float64 if X64 else wp.float32

vec2 = wp.types.vector(2, real)
vec3 = wp.types.vector(3, real)
vec6 = wp.types.vector(6, real)
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
IMPLICITFAST = wp.constant(int(mujoco.mjtIntegrator.mjINT_IMPLICITFAST))
