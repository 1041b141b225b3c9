"""Fields of `ModelArrays` that describe geoms with fluidshape="ellipsoid"."""

from typing import Any

import mujoco
import numpy as np

GEOM = mujoco.mjtGeom


def ellipsoid_bodies(m: mujoco.MjModel) -> np.ndarray:
    """Which bodies have such a geom; a medium does not act on the inertia boxes of these: [nbody]."""
    own = np.zeros(m.nbody, bool)
    own[m.geom_bodyid[m.geom_fluid[:, 0] > 0]] = True
    return own


def ellipsoid_fields(m: mujoco.MjModel, fluid: bool, standalone: np.ndarray) -> dict[str, Any]:
    """The geoms on which a medium acts, if there is one, by their bodies.

    Args:
        m: the model.
        fluid: whether there is a medium.
        standalone: ids of the free bodies whose gyroscopic forces implicitfast integrates.
    """
    heavy = m.body_mass[m.geom_bodyid] >= mujoco.mjMINVAL
    geoms = np.flatnonzero((m.geom_fluid[:, 0] > 0) & heavy & bool(fluid)).tolist()
    vectors = [ellipsoid_vectors(m, geom) for geom in geoms]
    implicit = m.opt.integrator == mujoco.mjtIntegrator.mjINT_IMPLICIT
    whole = np.isin(m.body_weldid[m.geom_bodyid[geoms]], standalone) | implicit
    return dict(
        nellipsoid=len(geoms),
        unsymmetric=int(implicit or whole.any()),
        ellipsoid_whole=whole.astype(int),
        ellipsoid_geom=np.array(geoms, int),
        body_ellipsoidadr=np.searchsorted(m.geom_bodyid[geoms], np.arange(m.nbody + 1)),
        ellipsoid_vectors=np.array(vectors, float).reshape(-1, 4, 3),
        ellipsoid_numbers=np.array([ellipsoid_numbers(m, geom) for geom in geoms], float).reshape(-1, 8),
    )


def semiaxes(m: mujoco.MjModel, geom: int) -> np.ndarray:
    """Semiaxes of the ellipsoid that stands for a geom, m: [3]."""
    x, y, z = m.geom_size[geom]
    if m.geom_type[geom] == GEOM.mjGEOM_SPHERE:
        return np.array([x, x, x])
    if m.geom_type[geom] == GEOM.mjGEOM_CAPSULE:
        return np.array([x, x, x + y])
    if m.geom_type[geom] == GEOM.mjGEOM_CYLINDER:
        return np.array([x, x, y])
    return np.array([x, y, z])


def ellipsoid_vectors(m: mujoco.MjModel, geom: int) -> np.ndarray:
    """The vectors of `diffsim.physics.ellipsoid.Ellipsoid`, [4, 3]."""
    size = semiaxes(m, geom)
    _, _, slender, spin, *_ = m.geom_fluid[geom]
    smallest, middle, largest = np.sort(size)
    moments = 8 / 15 * np.pi * size * np.maximum(np.roll(size, -1), np.roll(size, -2)) ** 4
    most = 8 / 15 * np.pi * middle * largest**4
    normal = (np.roll(size, -1) * np.roll(size, -2)) ** 2
    added = m.opt.density * m.geom_fluid[geom, 6:12].reshape(2, 3)
    return np.stack([normal / normal.max(), *added, spin * moments + slender * (most - moments)])


def ellipsoid_numbers(m: mujoco.MjModel, geom: int) -> list[float]:
    """The numbers of `diffsim.physics.ellipsoid.Ellipsoid`, in its order."""
    size, density, viscosity = semiaxes(m, geom), m.opt.density, m.opt.viscosity
    _, blunt, slender, _, kutta, magnus, *_ = m.geom_fluid[geom]
    _, middle, largest = np.sort(size)
    diameter = 2 / 3 * size.sum()
    volume, area = 4 / 3 * np.pi * size.prod(), np.pi * largest * middle
    return [
        density,
        blunt,
        slender,
        density * kutta * area,
        density * volume * magnus,
        viscosity * 3 * np.pi * diameter,
        viscosity * np.pi * diameter**3,
        area,
    ]
