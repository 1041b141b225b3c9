"""A contact of two features as the solution of equations, and its gradient by the implicit function theorem.

The unknowns z are the normal n, the distance d of the features, and the coordinates u and v along them:

    c2(v) - c1(u) = d n,    n . n = 1,    n upright on the first feature at u, and on the second at v.

With R(z, x) = 0 and a scalar O(z, x) of the contact, dO/dx = dO/dx - y . dR/dx where y solves (dR/dz)' y = dO/dz.
"""

import warp as wp

from diffsim.collision.contact_frame import Geom, contact_frame
from diffsim.collision.features import Feature, feature_condition, feature_point
from diffsim.collision.gradient_call import calls_gradient, differentiable
from diffsim.types import HALF, ONE, ZERO, mat33, real, vec2, vec3

vec8 = wp.types.vector(8, real)
mat88 = wp.types.matrix((8, 8), real)
SINGULAR = wp.constant(real(1.0e-9))  # pivots below it, relative to the largest, belong to coordinates without effect
STEPS = wp.constant(6)


@wp.struct
class Bars:
    """Cotangents of a contact: of its distance, point and frame, and of its normal alone."""

    distance: real
    point: vec3
    frame: mat33
    normal: vec3


@differentiable
def normal_of(z: vec8) -> vec3:
    """The normal, from the first shape to the second."""
    return vec3(z[0], z[1], z[2])


@differentiable(inline=False)
def residual(geom1: Geom, geom2: Geom, f1: Feature, f2: Feature, z: vec8, y: vec8, kind1: int, kind2: int) -> real:
    """The scalar y . R(z)."""
    n = normal_of(z)
    u = vec2(z[4], z[5])
    v = vec2(z[6], z[7])
    gap = feature_point(kind2, geom2, f2, v) - feature_point(kind1, geom1, f1, u) - z[3] * n
    on1 = feature_condition(kind1, geom1, f1, u, n)
    on2 = feature_condition(kind2, geom2, f2, v, n)
    return (
        wp.dot(vec3(y[0], y[1], y[2]), gap)
        + y[3] * HALF * (wp.dot(n, n) - ONE)
        + y[4] * on1[0]
        + y[5] * on1[1]
        + y[6] * on2[0]
        + y[7] * on2[1]
    )


@differentiable(inline=False)
def outcome(geom1: Geom, geom2: Geom, f1: Feature, f2: Feature, z: vec8, bars: Bars, kind1: int, kind2: int) -> real:
    """The inner product of the contact and its cotangents."""
    n = normal_of(z)
    c1 = feature_point(kind1, geom1, f1, vec2(z[4], z[5]))
    c2 = feature_point(kind2, geom2, f2, vec2(z[6], z[7]))
    r1 = f1.round * geom1.size[0]
    r2 = f2.round * geom2.size[0]
    point = HALF * (c1 + c2 + (r1 - r2) * n)
    frame = contact_frame(n, vec3(ZERO, ZERO, ZERO))
    value = (z[3] - r1 - r2) * bars.distance + wp.dot(point, bars.point) + wp.ddot(frame, bars.frame)
    return value + wp.dot(n, bars.normal)


@calls_gradient(inline=False)
def jacobian(geom1: Geom, geom2: Geom, f1: Feature, f2: Feature, z: vec8, kind1: int, kind2: int) -> mat88:
    """The matrix dR/dz."""
    k = mat88()
    rows = int(8)
    for i in range(rows):
        y = vec8()
        y[i] = ONE
        bar = wp.grad(residual)(geom1, geom2, f1, f2, z, y, kind1, kind2)
        row = bar[4]
        for j in range(8):
            k[i, j] = row[j]
    return k


@wp.func(inline=False)
def solved(k: mat88, b: vec8) -> vec8:
    """Solves k x = b by elimination with the largest pivots; coordinates without effect are zero."""
    a = k
    r = b
    x = vec8()
    column_of = vec8()  # the unknown in each column
    size = int(8)
    for i in range(size):
        column_of[i] = real(i)
    largest = real(0.0)
    rank = int(0)
    for i in range(size):
        p = int(i)
        q = int(i)
        best = real(0.0)
        for row in range(i, size):
            for column in range(i, size):
                if wp.abs(a[row, column]) > best:
                    best = wp.abs(a[row, column])
                    p = row
                    q = column
        if i == 0:
            largest = best
        if best > SINGULAR * largest:
            rank = i + 1
            for column in range(size):
                t = a[i, column]
                a[i, column] = a[p, column]
                a[p, column] = t
            t = r[i]
            r[i] = r[p]
            r[p] = t
            for row in range(size):
                t = a[row, i]
                a[row, i] = a[row, q]
                a[row, q] = t
            t = column_of[i]
            column_of[i] = column_of[q]
            column_of[q] = t
            for row in range(i + 1, size):
                factor = a[row, i] / a[i, i]
                for column in range(i, size):
                    a[row, column] = a[row, column] - factor * a[i, column]
                r[row] = r[row] - factor * r[i]
        else:
            break
    i = rank - 1
    while i >= 0:
        value = r[i]
        for column in range(i + 1, rank):
            value -= a[i, column] * x[int(column_of[column])]
        x[int(column_of[i])] = value / a[i, i]
        i -= 1
    return x


@wp.func
def transposed(k: mat88) -> mat88:
    """The transpose."""
    t = mat88()
    size = int(8)
    for i in range(size):
        for j in range(size):
            t[i, j] = k[j, i]
    return t


@calls_gradient
def converged(geom1: Geom, geom2: Geom, f1: Feature, f2: Feature, z: vec8, kind1: int, kind2: int) -> vec8:
    """The solution of R(z) = 0 near z, by Newton's method."""
    steps = int(STEPS)
    for _ in range(steps):
        r = vec8()
        rows = int(8)
        for i in range(rows):
            y = vec8()
            y[i] = ONE
            r[i] = residual(geom1, geom2, f1, f2, z, y, kind1, kind2)
        if wp.dot(r, r) == ZERO:
            break
        z = z - solved(jacobian(geom1, geom2, f1, f2, z, kind1, kind2), r)
    return z


@calls_gradient
def smooth_cotangents(geom1: Geom, geom2: Geom, f1: Feature, f2: Feature, z: vec8, bars: Bars, kind1: int, kind2: int):
    """Cotangents of the two geoms, for those of their contact."""
    z = converged(geom1, geom2, f1, f2, z, kind1, kind2)
    by_z = wp.grad(outcome)(geom1, geom2, f1, f2, z, bars, kind1, kind2)
    y = solved(transposed(jacobian(geom1, geom2, f1, f2, z, kind1, kind2)), by_z[4])
    by_x = wp.grad(residual)(geom1, geom2, f1, f2, z, -y, kind1, kind2)
    bar1 = by_z[0]
    bar2 = by_z[1]
    more1 = by_x[0]
    more2 = by_x[1]
    return (
        Geom(bar1.size + more1.size, bar1.pos + more1.pos, bar1.mat + more1.mat),
        Geom(bar2.size + more2.size, bar2.pos + more2.pos, bar2.mat + more2.mat),
    )
