"""Sparse linear algebra over runs: ranges of consecutive dofs, [start, stop), where a row can be nonzero.

Rows are stored densely, with unit stride. Lists of runs are in descending order of dofs, as a walk from a body to the
root of its tree visits them. `address[k]` and `address[k + 1]` bound the runs of row k of a lower triangle, which do
not include the diagonal.

This is native code, for which the CPU's compiler uses vector instructions. A world's lanes share the entries: those of
a vector by their index, those of a matrix by row and column, with 4 or 8 lanes along a row. A lane computes an entry
that is its own in the serial order. So these functions need no `sync` between each other, unless the comment says
which; only `dot` is computed by one lane alone.
"""

import re

import warp as wp

from diffsim.physics.lanes import LANES, RESTRICT, SYNC
from diffsim.types import real, vec6

# A run of a robot has about six dofs: with vectors of more than four numbers, most of it would be left to scalar code.
_VECTOR = """
#if defined(__clang__) && !defined(__CUDA_ARCH__)
#pragma clang loop vectorize_width(4) interleave_count(1)
#endif
"""
_REORDER = """
#if defined(__clang__) && !defined(__CUDA_ARCH__)
#pragma clang fp reassociate(on) contract(fast)
#endif
"""


def _native(body: str, pointers: str) -> str:
    """Code of a native function.

    Args:
        body: C++ code. `@FROM(j, start, stop)` is a loop over a lane's own entries of a vector in [start, stop), and
            `@COLUMNS` over its own columns of a matrix, `@ROWS` over its own rows, `@DOWN` the same from the last to
            the first; `@VECTOR` before a loop lets the compiler use vectors of four.
        pointers: declarations of the pointers in it.
    """
    for name, loop in _LOOPS.items():
        body = re.sub(rf"@{name}\((\w+), ([^,]+), ([^)]+)\)", loop, body)
    body = body.replace("@VECTOR", _VECTOR)
    code = f"{pointers} {body}".replace("@SYNC", SYNC).replace("__restrict__", RESTRICT)
    return f"{_REORDER} {LANES} {code}"


_LOOPS = {
    "FROM": r"@VECTOR for (int \1 = \2 + ((lane - \2) & (lanes - 1)); \1 < \3; \1 += lanes)",
    "COLUMNS": r"@VECTOR for (int \1 = \2 + ((column - \2) & (columns - 1)); \1 < \3; \1 += columns)",
    "ROWS": r"for (int \1 = \2 + ((line - \2) & (lines - 1)); \1 < \3; \1 += lines)",
    "DOWN": r"for (int \1 = \3 - 1 - ((\3 - 1 - line) & (lines - 1)); \1 >= \2; \1 -= lines)",
}
_GRID = """
    const int columns = lanes < 4 ? lanes : lanes < 32 ? 4 : 8, lines = lanes / columns;
    const int column = lane & (columns - 1), line = lane / columns;
"""
_VECTORS = """
    const auto* __restrict__ px = x.data;
    auto* __restrict__ py = y.data;
"""
_MATRIX = """
    auto* __restrict__ pa = a.data;
    const int row = a.strides[0] / (int)sizeof(*a.data);
    const int* __restrict__ bound = address.data;
    const int* __restrict__ runs = run.data;
"""
_EACH_RUN = """for (int b = bound[k]; b < bound[k + 1]; ++b) {
            const int start = runs[2 * b], stop = runs[2 * b + 1];"""


@wp.func_native(_native("@FROM(j, start, stop) py[j] += scale * px[j];", _VECTORS))
def add_scaled(start: int, stop: int, scale: real, x: wp.array(dtype=real), y: wp.array(dtype=real)):
    """Y += scale x over [start, stop); x and y do not overlap."""
    ...


@wp.func_native(
    _native(
        "@VECTOR for (int j = start; j < stop; ++j) total += px[j] * py[j]; return total;",
        _VECTORS + "auto total = *px * 0;",
    )
)
def dot(start: int, stop: int, x: wp.array(dtype=real), y: wp.array(dtype=real)) -> real:
    """X . y over [start, stop), by the lane that calls it."""
    ...


@wp.func_native(_native("@FROM(j, start, stop) py[j] = px[j];", _VECTORS))
def copy_range(start: int, stop: int, x: wp.array(dtype=real), y: wp.array(dtype=real)):
    """Y = x over [start, stop)."""
    ...


@wp.func_native(
    _native(
        f"""
    @ROWS(k, 0, n) {{
        const auto* __restrict__ from = ps + k * row;
        auto* __restrict__ to = pa + k * row;
        if ((k & (columns - 1)) == column) to[k] = from[k];
        {_EACH_RUN}
            @COLUMNS(j, start, stop) to[j] = from[j];
        }}
    }}""",
        _GRID + _MATRIX + "const auto* __restrict__ ps = source.data;",
    )
)
def copy_lower(
    n: int,
    address: wp.array(dtype=wp.int32),
    run: wp.array2d(dtype=wp.int32),
    source: wp.array2d(dtype=real),
    a: wp.array2d(dtype=real),
):
    """A = source in the lower triangle, on the runs and the diagonal, with equal strides."""
    ...


@wp.func_native(
    _native(
        """
    for (int b = first; b < last; ++b) {
        const int begin = runs[2 * b];
        @ROWS(i, begin, runs[2 * b + 1]) {
            const auto entry = scale * px[i];
            auto* __restrict__ to = pa + i * row;
            @COLUMNS(j, begin, i + 1) to[j] += entry * px[j];
            for (int l = b + 1; l < last; ++l) {
                const int start = runs[2 * l], stop = runs[2 * l + 1];
                @COLUMNS(j, start, stop) to[j] += entry * px[j];
            }
        }
    }""",
        _GRID
        + """
    const auto* __restrict__ px = x.data;
    auto* __restrict__ pa = a.data;
    const int row = a.strides[0] / (int)sizeof(*a.data);
    const int* __restrict__ runs = run.data;""",
    )
)
def add_outer(
    first: int,
    last: int,
    run: wp.array2d(dtype=wp.int32),
    scale: real,
    x: wp.array(dtype=real),
    a: wp.array2d(dtype=real),
):
    """A += scale x x' in the lower triangle, where x is nonzero on the runs [first, last)."""
    ...


@wp.func_native(
    _native(
        """
    for (int b = first; b < last; ++b) {
        const int begin = runs[2 * b];
        @ROWS(i, begin, runs[2 * b + 1]) {
            auto along = *px * 0;
            for (int r = 1; r < dim; ++r) along += t[r] * px[r * width + i];
            const auto pull = push * (px[i] - mu * along);
            auto* __restrict__ to = pa + i * row;
            for (int r = 0; r < dim; ++r) {
                const auto* __restrict__ from = px + r * width;
                const auto entry = r == 0 ? pull : turn * (from[i] - along * t[r]) - mu * pull * t[r];
                @COLUMNS(j, begin, i + 1) to[j] += entry * from[j];
                for (int l = b + 1; l < last; ++l) {
                    const int start = runs[2 * l], stop = runs[2 * l + 1];
                    @COLUMNS(j, start, stop) to[j] += entry * from[j];
                }
            }
        }
    }""",
        _GRID
        + """
    const int width = x.strides[0] / (int)sizeof(*x.data);
    const auto* __restrict__ px = x.data + index * width;
    auto* __restrict__ pa = a.data;
    const int row = a.strides[0] / (int)sizeof(*a.data);
    const int* __restrict__ runs = run.data;""",
    )
)
def add_cone(
    first: int,
    last: int,
    run: wp.array2d(dtype=wp.int32),
    index: int,
    dim: int,
    push: real,
    turn: real,
    mu: real,
    t: vec6,
    x: wp.array2d(dtype=real),
    a: wp.array2d(dtype=real),
):
    """A += X' (push w w' + turn (I - t t')) X in the lower triangle, w = (1, -mu t), I and t t' without the first row.

    X is `dim` rows of x from `index` on, nonzero on the runs [first, last); t has a unit length, and t[0] is 0.
    """
    ...


@wp.func_native(
    _native(
        """
    for (int k = n - 1; k >= 0; --k) {
        auto* __restrict__ from = pa + k * row;
        const auto inverse = 1 / from[k];
        const int end = bound[k + 1];
        for (int b = bound[k]; b < end; ++b) {
            const int begin = runs[2 * b], after = runs[2 * b + 1];
            @DOWN(i, begin, after) {
                const auto entry = from[i];
                if (entry != 0) {
                    const auto scale = entry * inverse;
                    auto* __restrict__ to = pa + i * row;
                    @COLUMNS(j, begin, i + 1) to[j] -= scale * from[j];
                    for (int l = b + 1; l < end; ++l) {
                        const int start = runs[2 * l], stop = runs[2 * l + 1];
                        @COLUMNS(j, start, stop) to[j] -= scale * from[j];
                    }
                    if (lanes == 1) from[i] = scale;
                }
            }
        }
        @SYNC
        if ((k & (lanes - 1)) == lane) from[k] = inverse;
        if (lanes > 1) for (int b = bound[k]; b < end; ++b) {
            @FROM(j, runs[2 * b], runs[2 * b + 1]) from[j] *= inverse;
        }
    }
    @SYNC""",
        _GRID + _MATRIX,
    )
)
def factor(n: int, address: wp.array(dtype=wp.int32), run: wp.array2d(dtype=wp.int32), a: wp.array2d(dtype=real)):
    """Replaces the lower triangle of a positive definite A by its factor L, A = L' D L, with 1 / D on the diagonal.

    Eliminates rows from the last to the first, from the leaves of the tree to its root, so that a tree has no fill-in.
    Needs a `sync` after A was filled, and ends with one.
    Source: Featherstone (2008), section 6.5.
    """
    ...


@wp.func_native(
    _native(
        f"""
    for (int k = n - 1; k >= 0; --k) {{
        const auto* __restrict__ from = pa + k * row;
        const auto value = px[k];
        {_EACH_RUN}
            @FROM(j, start, stop) px[j] -= value * from[j];
        }}
        @SYNC
    }}
    for (int k = 0; k < n; ++k) {{
        if ((k & (lanes - 1)) == lane) {{
            const auto* __restrict__ from = pa + k * row;
            auto total = px[k] * from[k];
            {_EACH_RUN}
                @VECTOR for (int j = start; j < stop; ++j) total -= from[j] * px[j];
            }}
            px[k] = total;
        }}
        @SYNC
    }}""",
        _MATRIX + "auto* __restrict__ px = x.data;",
    )
)
def factor_solve(
    n: int,
    address: wp.array(dtype=wp.int32),
    run: wp.array2d(dtype=wp.int32),
    a: wp.array2d(dtype=real),
    x: wp.array(dtype=real),
):
    """Solves A x = b in place, given the factor of A. Needs a `sync` after b was filled, and ends with one."""
    ...


@wp.func_native(
    _native(
        f"""
    if (lanes > 1) for (int k = lane; k < n; k += lanes) {{
        const auto* __restrict__ from = pa + k * row;
        auto total = from[k] * px[k];
        {_EACH_RUN}
            for (int j = start; j < stop; ++j) total += from[j] * px[j];
        }}
        py[k] = total;
    }}
    for (int k = 0; k < n; ++k) {{
        const auto* __restrict__ from = pa + k * row;
        const auto value = px[k];
        auto total = from[k] * value;
        {_EACH_RUN}
            if (lanes == 1) {{
                @VECTOR for (int j = start; j < stop; ++j) total += from[j] * px[j];
            }}
            @FROM(j, start, stop) py[j] += value * from[j];
        }}
        if (lanes == 1) py[k] = total;
    }}""",
        _MATRIX + "const auto* __restrict__ px = x.data; auto* __restrict__ py = y.data;",
    )
)
def multiply(
    n: int,
    address: wp.array(dtype=wp.int32),
    run: wp.array2d(dtype=wp.int32),
    a: wp.array2d(dtype=real),
    x: wp.array(dtype=real),
    y: wp.array(dtype=real),
):
    """Y = A x for a symmetric A, from its lower triangle. Needs a `sync` after x and A were filled."""
    ...
