"""Lanes: the threads that share one world.

On the CPU a world has one lane, and these functions are constants that cost nothing. On CUDA a world has 8 or 32 lanes
of one warp. Every lane runs the same functions; a loop over independent elements is shared by

    for i in range(lane(), n, lanes()):

Rules, which make the results of any number of lanes the same to the last bit:

* an element is computed by one lane, in the order of the serial loop; there are no atomics;
* what other lanes have written may be read only after a `sync`, and may be overwritten only after another;
* a `sync` stands where all lanes of a world come, never in a loop or branch that depends on the lane;
* a variable that decides where lanes go is computed by each of them from the same memory.

`diffsim.engine.lane_emulation` runs lanes on the CPU, one after the other from sync to sync, in shuffled order. For it
the environment variable `DIFFSIM_LANES` must be set before the import; nothing else needs it.
"""

import os

import warp as wp

WORLDS_PER_BLOCK = 8
"""Worlds of a CUDA block; its threads divided by this are the lanes of a world."""

EMULATIONS = ("0", "1", "2", "4", "8", "16", "32")


def _emulated_lanes() -> int:
    """`DIFFSIM_LANES`, checked."""
    given = os.environ.get("DIFFSIM_LANES", "0")
    if given not in EMULATIONS:
        rule = "0 for no emulation, or a power of two up to 32"
        raise ValueError(f"the environment variable DIFFSIM_LANES must be {rule}, got {given!r}")
    return int(given)


EMULATED = _emulated_lanes()
"""Number of emulated lanes on the CPU; 0 for none."""

STATE = 0x5EED00000000
"""Address of the emulation's state: int32 lane and lanes, the address of a function, and from 32 on int32 votes."""

_CUDA = f"""
#if defined(__CUDA_ARCH__)
#define DIFFSIM_RESTRICT
    const int lanes = blockDim.x / {WORLDS_PER_BLOCK};
    const int lane = threadIdx.x & (lanes - 1);
#else
"""
_ONE = "const int lane = 0, lanes = 1;"
_EMULATED = f"""
    const volatile int* state = (const volatile int*){STATE:#x};
    const int lane = state[0], lanes = state[1];
"""
LANES = f"{_CUDA} #define DIFFSIM_RESTRICT __restrict__\n {_EMULATED if EMULATED else _ONE} \n#endif\n"
"""Native code that declares `lane` and `lanes`."""

RESTRICT = "" if EMULATED else "DIFFSIM_RESTRICT"
"""Native code that promises that a pointer's memory is accessed through it only: on one lane."""

_WAIT = f"((void (*)())((const unsigned long long*){STATE:#x})[1])();" if EMULATED else ""
_VOTES = f"""
    volatile int* votes = (volatile int*){STATE:#x} + 8;
    const int lane = ((const volatile int*){STATE:#x})[0], lanes = ((const volatile int*){STATE:#x})[1];
    votes[lane] = condition;
    {_WAIT}
    bool all = true;
    for (int i = 0; i < lanes; ++i) all = all && votes[i];
    {_WAIT}
    return all;
"""
_VOTE = _VOTES if EMULATED else "return condition;"
SYNC = f"""
#if defined(__CUDA_ARCH__)
    {{
        const unsigned size = blockDim.x / {WORLDS_PER_BLOCK};
        __syncwarp((0xffffffffu >> (32u - size)) << (threadIdx.x & 31u & ~(size - 1u)));
    }}
#else
    {_WAIT}
#endif
"""
"""Native code of `sync`."""


@wp.func_native(f"{LANES} return lane;")
def lane() -> int:
    """Index of this lane among those of its world."""
    ...


@wp.func_native(f"{LANES} return lanes;")
def lanes() -> int:
    """Number of lanes of a world, a power of two."""
    ...


@wp.func_native(f"{LANES} return (index & (lanes - 1)) == lane;")
def owns(index: int) -> bool:
    """Whether this lane is the one that computes an entry of a vector over dofs (see `sparse`)."""
    ...


@wp.func_native(SYNC)
def sync():
    """Waits for the other lanes of the world, and makes their writes visible."""
    ...


@wp.func_native(
    f"""
#if defined(__CUDA_ARCH__)
    const unsigned size = blockDim.x / {WORLDS_PER_BLOCK};
    return __all_sync((0xffffffffu >> (32u - size)) << (threadIdx.x & 31u & ~(size - 1u)), condition);
#else
    {_VOTE}
#endif
"""
)
def all_lanes(condition: bool) -> bool:
    """Whether a condition holds in all lanes of the world, which all come here; also a `sync`."""
    ...


@wp.func_native(
    f"""
#if defined(__CUDA_ARCH__)
    return (first + thread / (int)(blockDim.x / {WORLDS_PER_BLOCK})) & 0x7fffffff;
#else
    return (first + thread) & 0x7fffffff;
#endif
"""
)
def world_of(first: int, thread: int) -> int:
    """The world of a kernel's thread, given that of the first; see `natural`."""
    ...


@wp.func_native("return index & 0x7fffffff;")
def natural(index: int) -> int:
    """An index that is not negative, as the compiler then knows.

    Warp counts negative indices from the end of an array, which costs instructions, and a register per array, where an
    index may be negative.
    """
    ...
