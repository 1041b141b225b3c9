"""Fields of `RareArrays` that describe meshes: the vertices, graphs and polygons of their convex hulls."""

from typing import Any

import mujoco
import numpy as np

MESH_KINDS = (mujoco.mjtGeom.mjGEOM_MESH, mujoco.mjtGeom.mjGEOM_HFIELD)
FEW_VERTICES = 10
"""MuJoCo tries all vertices of a mesh with fewer (`mjMESH_HILLCLIMB_MIN`)."""


def mesh_fields(m: mujoco.MjModel) -> dict[str, Any]:
    """The meshes of a model."""
    small = m.mesh_vertnum < FEW_VERTICES
    vertices = m.mesh_vert.astype(np.float64)
    own = [vertices[start : start + count] for start, count in zip(m.mesh_vertadr, m.mesh_vertnum, strict=True)]
    low, high = (np.array([end(x, axis=0) for x in own]).reshape(-1, 3) for end in (np.min, np.max))
    return dict(
        ccd_tolerance=m.opt.ccd_tolerance,
        ccd_iterations=m.opt.ccd_iterations,
        multiccd=int(not m.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_MULTICCD),
        geom_mesh=np.where(np.isin(m.geom_type, MESH_KINDS), m.geom_dataid, -1),
        mesh_vertadr=m.mesh_vertadr,
        mesh_vertnum=m.mesh_vertnum,
        mesh_graphadr=np.where(small, -1, m.mesh_graphadr),
        mesh_polyadr=m.mesh_polyadr,
        mesh_polynum=m.mesh_polynum,
        mesh_vert=vertices,
        mesh_centre=(low + high) / 2,
        mesh_half=(high - low) / 2,
        mesh_graph=m.mesh_graph,
        mesh_extrema=m.mesh_extrema.reshape(m.nmesh, 27),
        mesh_polynormal=m.mesh_polynormal,
        mesh_polyvertadr=m.mesh_polyvertadr,
        mesh_polyvertnum=m.mesh_polyvertnum,
        mesh_polyvert=m.mesh_polyvert,
        mesh_polymapadr=m.mesh_polymapadr,
        mesh_polymapnum=m.mesh_polymapnum,
        mesh_polymap=m.mesh_polymap,
    )
