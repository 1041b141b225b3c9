"""Limits of the stage kernels."""

import warp as wp

from diffsim.physics.lanes import WORLDS_PER_BLOCK

LARGEST_BLOCK = 32 * WORLDS_PER_BLOCK
BLOCKS = 2
"""Blocks of the largest size that fit a multiprocessor together, which leaves 65,536 / (2 * 256) = 128 registers."""

OPTIONS = {"launch_bounds": (LARGEST_BLOCK, BLOCKS), "enable_backward": False}
"""Arguments of `wp.kernel` for all stages."""


def stage_module(name: str) -> wp.Module:
    """The Warp module of a stage that is made by a function, and so cannot have a Python module of its own."""
    module = wp.get_module(f"diffsim.stages.{name}")
    module.options["enable_backward"] = False
    return module
