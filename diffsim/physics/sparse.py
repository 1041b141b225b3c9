"""Sparse linear algebra over runs: ranges of consecutive dofs, [start, stop), where a row can be nonzero.

Rows are stored densely. Lists of runs are in descending order of dofs, as a walk from a body to the root of its tree
visits them. `address[k]` and `address[k + 1]` bound the runs of row k of a lower triangle, which do not include the
diagonal.

This is native code. On the CPU the entries of a row have unit stride, for which the compiler uses vector instructions;
on CUDA the world varies fastest in memory.
"""

import warp as wp

from diffsim.types import real

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
    """Code of a native function: its body for rows with unit stride, and again for any stride.

    Args:
        body: C++ code. `px[i@C]` is entry i of a row; `@VECTOR` before a loop lets the compiler use vectors of four.
        pointers: declarations of the pointers and strides in it; one is `step`, the stride of a row's entries.
    """
    unit, other = (body.replace("@C", stride).replace("@VECTOR", _VECTOR) for stride in ("", " * step"))
    return f"{_REORDER} {pointers} if (step == 1) {{ {unit} }} else {{ {other} }}"


def _stride(array: str, dimension: int) -> str:
    """A stride of an array in numbers."""
    return f"{array}.strides[{dimension}] / (int)sizeof(*{array}.data)"


_VECTORS = f"""
    const auto* __restrict__ px = x.data;
    auto* __restrict__ py = y.data;
    const int step = {_stride("x", 0)};
"""
_RUNS = f"""
    const int* __restrict__ runs = run.data;
    const int next = {_stride("run", 0)};
    const int side = {_stride("run", 1)};
"""
_MATRIX = f"""
    auto* __restrict__ pa = a.data;
    const int row = {_stride("a", 0)};
    const int step = {_stride("a", 1)};
    const int* __restrict__ bound = address.data;
    const int skip = {_stride("address", 0)};
    {_RUNS}
"""
_EACH_RUN = """for (int b = bound[k * skip]; b < bound[(k + 1) * skip]; ++b) {
            const int start = runs[b * next], stop = runs[b * next + side];"""


@wp.func_native(_native("@VECTOR for (int j = start; j < stop; ++j) py[j@C] += scale * px[j@C];", _VECTORS))
def add_scaled(start: int, stop: int, scale: real, x: wp.array(dtype=real), y: wp.array(dtype=real)):
    """Y += scale x over [start, stop), with equal strides; x and y do not overlap."""
    ...


@wp.func_native(
    _native(
        "@VECTOR for (int j = start; j < stop; ++j) total += px[j@C] * py[j@C];", _VECTORS + "auto total = *px * 0;"
    )
    + "return total;"
)
def dot(start: int, stop: int, x: wp.array(dtype=real), y: wp.array(dtype=real)) -> real:
    """X . y over [start, stop), with equal strides."""
    ...


@wp.func_native(_native("for (int j = start; j < stop; ++j) py[j@C] = px[j@C];", _VECTORS))
def copy_range(start: int, stop: int, x: wp.array(dtype=real), y: wp.array(dtype=real)):
    """Y = x over [start, stop), with equal strides."""
    ...


@wp.func_native(
    _native(
        f"""
    for (int k = 0; k < n; ++k) {{
        const auto* __restrict__ from = ps + k * row;
        auto* __restrict__ to = pa + k * row;
        to[k@C] = from[k@C];
        {_EACH_RUN}
            for (int j = start; j < stop; ++j) to[j@C] = from[j@C];
        }}
    }}""",
        _MATRIX + "const auto* __restrict__ ps = source.data;",
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
        const int begin = runs[b * next];
        for (int i = begin; i < runs[b * next + side]; ++i) {
            const auto entry = scale * px[i@C];
            auto* __restrict__ to = pa + i * row;
            @VECTOR for (int j = begin; j <= i; ++j) to[j@C] += entry * px[j@C];
            for (int l = b + 1; l < last; ++l) {
                const int start = runs[l * next], stop = runs[l * next + side];
                @VECTOR for (int j = start; j < stop; ++j) to[j@C] += entry * px[j@C];
            }
        }
    }""",
        f"""
    const auto* __restrict__ px = x.data;
    auto* __restrict__ pa = a.data;
    const int row = {_stride("a", 0)};
    const int step = {_stride("a", 1)};
    {_RUNS}""",
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
    for (int k = n - 1; k >= 0; --k) {
        auto* __restrict__ from = pa + k * row;
        const auto inverse = 1 / from[k@C];
        from[k@C] = inverse;
        const int end = bound[(k + 1) * skip];
        for (int b = bound[k * skip]; b < end; ++b) {
            const int begin = runs[b * next];
            for (int i = runs[b * next + side] - 1; i >= begin; --i) {
                const auto entry = from[i@C];
                if (entry != 0) {
                    const auto scale = entry * inverse;
                    auto* __restrict__ to = pa + i * row;
                    @VECTOR for (int j = begin; j <= i; ++j) to[j@C] -= scale * from[j@C];
                    for (int l = b + 1; l < end; ++l) {
                        const int start = runs[l * next], stop = runs[l * next + side];
                        @VECTOR for (int j = start; j < stop; ++j) to[j@C] -= scale * from[j@C];
                    }
                    from[i@C] = scale;
                }
            }
        }
    }""",
        _MATRIX,
    )
)
def factor(n: int, address: wp.array(dtype=wp.int32), run: wp.array2d(dtype=wp.int32), a: wp.array2d(dtype=real)):
    """Replaces the lower triangle of a positive definite A by its factor L, A = L' D L, with 1 / D on the diagonal.

    Eliminates rows from the last to the first, from the leaves of the tree to its root, so that a tree has no fill-in.
    Source: Featherstone (2008), section 6.5.
    """
    ...


@wp.func_native(
    _native(
        f"""
    for (int k = n - 1; k >= 0; --k) {{
        const auto* __restrict__ from = pa + k * row;
        const auto value = px[k@C];
        {_EACH_RUN}
            @VECTOR for (int j = start; j < stop; ++j) px[j@C] -= value * from[j@C];
        }}
    }}
    for (int k = 0; k < n; ++k) {{
        const auto* __restrict__ from = pa + k * row;
        auto total = px[k@C] * from[k@C];
        {_EACH_RUN}
            @VECTOR for (int j = start; j < stop; ++j) total -= from[j@C] * px[j@C];
        }}
        px[k@C] = total;
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
    """Solves A x = b in place, given the factor of A; x has the stride of A's rows."""
    ...


@wp.func_native(
    _native(
        f"""
    for (int k = 0; k < n; ++k) {{
        const auto* __restrict__ from = pa + k * row;
        const auto value = px[k@C];
        auto total = from[k@C] * value;
        {_EACH_RUN}
            @VECTOR for (int j = start; j < stop; ++j) total += from[j@C] * px[j@C];
            @VECTOR for (int j = start; j < stop; ++j) py[j@C] += value * from[j@C];
        }}
        py[k@C] = total;
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
    """Y = A x for a symmetric A, from its lower triangle, with equal strides."""
    ...
