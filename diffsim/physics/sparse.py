"""Sparse linear algebra over runs: ranges of consecutive dofs, [start, stop), where a row can be nonzero.

Rows are stored densely, with unit stride on the CPU. Lists of runs are in descending order of dofs, as a walk from a
body to the root of its tree visits them. `address[k]` and `address[k + 1]` bound the runs of row k of a lower triangle,
which do not include the diagonal.
"""

import warp as wp

from diffsim.types import ONE, ZERO, real

# Row i of a matrix and a vector can have another stride on CUDA, where the world varies fastest in memory. With unit
# strides the compiler uses vector instructions; wider loops than four would leave most short runs to scalar code.
_POINTERS = """
    const int step_x = x.strides[0] / (int)sizeof(*x.data);
    const int step_y = y.strides[0] / (int)sizeof(*y.data);
    const auto* __restrict__ px = x.data;
    auto* __restrict__ py = y.data;
"""
_VECTOR_LOOP = """
#if defined(__clang__) && !defined(__CUDA_ARCH__)
#pragma clang loop vectorize_width(4) interleave_count(1)
#endif
"""
_REASSOCIATE = """
#if defined(__clang__) && !defined(__CUDA_ARCH__)
#pragma clang fp reassociate(on) contract(fast)
#endif
"""


@wp.func_native(
    f"""{_POINTERS}
    if (step_x == 1 && step_y == 1) {{
        {_VECTOR_LOOP}
        for (int j = start; j < stop; ++j) py[j] += scale * px[j];
    }} else {{
        for (int j = start; j < stop; ++j) py[j * step_y] += scale * px[j * step_x];
    }}"""
)
def add_scaled(start: int, stop: int, scale: real, x: wp.array(dtype=real), y: wp.array(dtype=real)):
    """Y += scale * x over [start, stop); x and y are different memory."""
    ...


@wp.func_native(
    f"""{_REASSOCIATE}
    {_POINTERS}
    auto total = *px * 0;
    if (step_x == 1 && step_y == 1) {{
        {_VECTOR_LOOP}
        for (int j = start; j < stop; ++j) total += px[j] * py[j];
    }} else {{
        for (int j = start; j < stop; ++j) total += px[j * step_x] * py[j * step_y];
    }}
    return total;"""
)
def dot(start: int, stop: int, x: wp.array(dtype=real), y: wp.array(dtype=real)) -> real:
    """X . y over [start, stop)."""
    ...


@wp.func_native(f"{_POINTERS} for (int j = start; j < stop; ++j) py[j * step_y] = px[j * step_x];")
def copy_range(start: int, stop: int, x: wp.array(dtype=real), y: wp.array(dtype=real)):
    """Y = x over [start, stop)."""
    ...


@wp.func
def copy_lower(
    n: int,
    address: wp.array(dtype=wp.int32),
    run: wp.array2d(dtype=wp.int32),
    source: wp.array2d(dtype=real),
    target: wp.array2d(dtype=real),
):
    """Target = source in the lower triangle, on the runs and the diagonal."""
    for k in range(n):
        target[k, k] = source[k, k]
        for block in range(address[k], address[k + 1]):
            copy_range(run[block, 0], run[block, 1], source[k], target[k])


@wp.func
def add_outer(
    first: int,
    last: int,
    run: wp.array2d(dtype=wp.int32),
    scale: real,
    x: wp.array(dtype=real),
    a: wp.array2d(dtype=real),
):
    """A += scale x x' in the lower triangle, where x is nonzero on the runs [first, last)."""
    for block in range(first, last):
        start = run[block, 0]
        for i in range(start, run[block, 1]):
            entry = scale * x[i]
            add_scaled(start, i + 1, entry, x, a[i])
            for lower in range(block + 1, last):
                add_scaled(run[lower, 0], run[lower, 1], entry, x, a[i])


@wp.func
def factor(n: int, address: wp.array(dtype=wp.int32), run: wp.array2d(dtype=wp.int32), a: wp.array2d(dtype=real)):
    """Replaces the lower triangle of a positive definite A by its factor L, A = L' D L, with 1 / D on the diagonal.

    Eliminates rows from the last to the first, from the leaves of the tree to its root, so that a tree has no fill-in.
    Source: Featherstone (2008), section 6.5.
    """
    for r in range(n):
        k = n - 1 - r
        inverse = ONE / a[k, k]
        a[k, k] = inverse
        last = address[k + 1]
        for block in range(address[k], last):
            start = run[block, 0]
            stop = run[block, 1]
            for c in range(stop - start):
                i = stop - 1 - c
                entry = a[k, i]
                if entry != ZERO:
                    scaled = entry * inverse
                    add_scaled(start, i + 1, -scaled, a[k], a[i])
                    for lower in range(block + 1, last):
                        add_scaled(run[lower, 0], run[lower, 1], -scaled, a[k], a[i])
                    a[k, i] = scaled


@wp.func
def factor_solve(
    n: int,
    address: wp.array(dtype=wp.int32),
    run: wp.array2d(dtype=wp.int32),
    a: wp.array2d(dtype=real),
    x: wp.array(dtype=real),
):
    """Solves A x = b in place, given the factor of A."""
    for r in range(n):
        k = n - 1 - r
        value = x[k]
        if value != ZERO:
            for block in range(address[k], address[k + 1]):
                add_scaled(run[block, 0], run[block, 1], -value, a[k], x)
    for k in range(n):
        total = x[k] * a[k, k]
        for block in range(address[k], address[k + 1]):
            total -= dot(run[block, 0], run[block, 1], a[k], x)
        x[k] = total


@wp.func
def multiply(
    n: int,
    address: wp.array(dtype=wp.int32),
    run: wp.array2d(dtype=wp.int32),
    a: wp.array2d(dtype=real),
    x: wp.array(dtype=real),
    result: wp.array(dtype=real),
):
    """Result = A x for a symmetric A, from its lower triangle."""
    for i in range(n):
        total = a[i, i] * x[i]
        for block in range(address[i], address[i + 1]):
            total += dot(run[block, 0], run[block, 1], a[i], x)
            add_scaled(run[block, 0], run[block, 1], x[i], a[i], result)
        result[i] = total
