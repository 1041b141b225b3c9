"""Two builds of the CPU's kernels: one for all models, and one without rare features, which compiles sooner.

The build without defines DIFFSIM_COMMON. There `rare` is the constant 0, so that the compiler removes the code that a
condition on it guards. `diffsim.engine.builds` chooses the build of a model.
"""

import warp as wp

COMMON = "DIFFSIM_COMMON"
"""The macro of the build without rare features."""


@wp.func_native(
    """
#if defined(DIFFSIM_COMMON)
    return 0;
#else
    return value;
#endif
"""
)
def rare(value: int) -> int:
    """A number of the model that is 0 without a rare feature."""
    ...
