"""Fields of `mujoco.MjModel` in the form that the kernels need, as torch functions."""

import mujoco
import numpy as np
import torch
from torch import Tensor

GEOM = mujoco.mjtGeom


def free_bodies(m: mujoco.MjModel) -> np.ndarray:
    """Which bodies have a free joint: [nbody]."""
    free = np.zeros(m.nbody, bool)
    free[m.jnt_bodyid[m.jnt_type == mujoco.mjtJoint.mjJNT_FREE]] = True
    return free


def bounding_radii(m: mujoco.MjModel, size: Tensor) -> Tensor:
    """Radii of the geoms' bounding spheres for sizes [..., ngeom, 3]: [..., ngeom] m, without gradient."""
    kind = torch.as_tensor(m.geom_type, device=size.device)
    x, y, z = size.detach().unbind(-1)
    radius = torch.as_tensor(m.geom_rbound, dtype=size.dtype, device=size.device).expand(x.shape)
    for of_kind, value in (
        (GEOM.mjGEOM_SPHERE, x),
        (GEOM.mjGEOM_CAPSULE, x + y),
        (GEOM.mjGEOM_CYLINDER, torch.hypot(x, y)),
        (GEOM.mjGEOM_ELLIPSOID, torch.maximum(torch.maximum(x, y), z)),
        (GEOM.mjGEOM_BOX, (x * x + y * y + z * z).sqrt()),
    ):
        radius = torch.where(kind == int(of_kind), value, radius)
    return radius


def rotary_inertia(inertia: Tensor, iquat: Tensor) -> Tensor:
    """Rotational inertia about the centre of mass in the body's axes.

    Args:
        inertia: [..., nbody, 3] principal moments, kg m^2.
        iquat: [nbody, 4] orientation of the principal axes.

    Returns: [..., nbody, 3, 3].
    """
    w, x, y, z = iquat.unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
    ]
    axes = torch.stack(rows, -2)
    return (axes * inertia[..., None, :]) @ axes.transpose(-1, -2)


def drag_coefficients(mass: Tensor, inertia: Tensor, density: float, viscosity: float) -> tuple[Tensor, Tensor]:
    """Drag coefficients of each body's equivalent inertia box, per velocity and per velocity squared, angular first.

    Args:
        mass: [..., nbody] kg.
        inertia: [..., nbody, 3] principal moments, kg m^2.
        density: of the medium, kg/m^3.
        viscosity: of the medium, Pa s.

    Returns: two of [..., nbody, 6]; zero for bodies without mass.
    Source: MuJoCo documentation, Computation, passive forces, inertia-based model.
    """
    has_mass = mass >= mujoco.mjMINVAL
    safe_mass = torch.where(has_mass, mass, 1.0)[..., None]
    moments = (inertia.sum(-1, keepdim=True) - 2 * inertia).clamp(min=mujoco.mjMINVAL)
    x, y, z = (moments / safe_mass * 6.0).sqrt().unbind(-1)
    diameter = (x + y + z) / 3
    angular, linear = viscosity * torch.pi * diameter**3, viscosity * 3 * torch.pi * diameter
    per_velocity = torch.stack([angular] * 3 + [linear] * 3, -1)
    turning = torch.stack([x * (y**4 + z**4), y * (x**4 + z**4), z * (x**4 + y**4)], -1) * (density / 64)
    pushing = torch.stack([y * z, x * z, x * y], -1) * (density / 2)
    per_square = torch.cat([turning, pushing], -1)
    return per_velocity * has_mass[..., None], per_square * has_mass[..., None]


def unit_quats(quat: Tensor) -> Tensor:
    """Quaternions [..., 4] divided by their lengths; those of unit length stay the same to the bit."""
    square = quat.square().sum(-1, keepdim=True)
    rounded = (square.detach() - 1).abs() <= 4 * torch.finfo(quat.dtype).eps
    return torch.where(rounded, quat, quat / torch.where(rounded, 1.0, square).sqrt())
