"""Shapes of geoms as the search sees them: rounded by a margin, or their cores."""

import warp as wp

from diffsim.collision.convex_shape import (
    CAPSULE,
    MESH,
    SPHERE,
    Shape,
)
from diffsim.physics.contact import load_geom
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.types import real


@wp.func
def load_shape(m: ModelArrays, s: Scratch, world: int, geom: int, rounding: real) -> Shape:
    """A geom as a convex shape. Needs the geoms' poses."""
    g = load_geom(m, s, world, geom)
    shape = Shape()
    shape.kind = m.geom_kind[geom]
    shape.size = g.size
    shape.pos = g.pos
    shape.mat = g.mat
    shape.rounding = rounding
    mesh = m.rare[0].geom_mesh[geom]
    shape.mesh = mesh
    if shape.kind == MESH:
        shape.vertadr = m.rare[0].mesh_vertadr[mesh]
        shape.vertnum = m.rare[0].mesh_vertnum[mesh]
        shape.graphadr = m.rare[0].mesh_graphadr[mesh]
        shape.polyadr = m.rare[0].mesh_polyadr[mesh]
        shape.polynum = m.rare[0].mesh_polynum[mesh]
    return shape


@wp.func
def has_core(shape: Shape) -> bool:
    """Whether it can be reduced to a point or a segment."""
    return shape.kind == SPHERE or shape.kind == CAPSULE


@wp.func
def core_of(shape: Shape) -> Shape:
    """The shape without rounding, and reduced to its core, if it has one."""
    reduced = without_rounding(shape)
    if has_core(shape):
        reduced.core = 1
    return reduced


@wp.func
def without_rounding(shape: Shape) -> Shape:
    """The shape itself."""
    sharp = shape
    sharp.rounding = real(0.0)
    return sharp


@wp.func
def core_radius(shape: Shape) -> real:
    """Distance of the shape's rounded surface from its core, or from the shape."""
    if has_core(shape):
        return shape.size[0] + shape.rounding
    return shape.rounding
