"""Fields of `RareArrays` that describe height fields, and the room for their contacts."""

from typing import Any

import mujoco
import numpy as np

from diffsim.collision.geometry import MAX_PAIR_CONTACTS

HFIELD = int(mujoco.mjtGeom.mjGEOM_HFIELD)


def height_field_fields(m: mujoco.MjModel) -> dict[str, Any]:
    """The height fields of a model."""
    return dict(
        hfield_nrow=m.hfield_nrow,
        hfield_ncol=m.hfield_ncol,
        hfield_adr=m.hfield_adr,
        hfield_size=m.hfield_size,
        hfield_step=grid_step(m),
        hfield_data=m.hfield_data.astype(np.float64),
    )


def grid_step(m: mujoco.MjModel) -> np.ndarray:
    """Distances of the points of the grids along x and y: [nhfield, 2] m."""
    return 2 * m.hfield_size[:, :2] / (np.stack([m.hfield_ncol, m.hfield_nrow], axis=1) - 1)


def most_contacts(m: mujoco.MjModel, field: np.ndarray, other: np.ndarray, detection: np.ndarray) -> np.ndarray:
    """The largest number of contacts of height fields with other geoms: that of prisms within reach, at most MuJoCo's.

    Args:
        m: the model.
        field: [n] geoms that are height fields.
        other: [n] the geoms they touch.
        detection: [n] m, distances up to which contacts are detected.

    Returns: [n].
    """
    step = grid_step(m)[m.geom_dataid[field]]
    cells = np.ceil(2 * (m.geom_rbound[other] + detection)[:, None] / step) + 1
    return np.minimum(2 * cells.prod(axis=1), MAX_PAIR_CONTACTS).astype(int)
