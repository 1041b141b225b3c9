"""The CPU's kernels inline the functions of an evaluation: a call would copy the model's struct, 10 kB, per world."""

import re
import shutil
import subprocess

import pytest
import torch

from diffsim.engine.builds import COMMON_BUILDS
from diffsim.physics.adjoint import step_adjoint_kernel
from diffsim.physics.step import step_kernel
from tests.diffsim.engine import simulator, tensors
from tests.diffsim.reference import load, moving_states


@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm, of binutils, which comes with gcc")
def test_no_function_but_the_loop_over_worlds_takes_the_struct():
    mj_model = load("swimmer", "Euler")
    inputs = tensors(*moving_states(mj_model, 2), requires_grad=True)
    torch.autograd.grad(simulator(mj_model, 2).step(*inputs).sum(), inputs)
    for kernel, loop in ((step_kernel, "run"), (step_adjoint_kernel, "run_adjoint")):
        (program,) = COMMON_BUILDS[kernel].module.execs.values()
        symbols = subprocess.run(["nm", "-C", program.binary_path], capture_output=True, text=True, check=True).stdout
        called = re.findall(r" t (\w+)_\d+\((?:.*, )?ModelArrays_", symbols)
        assert called == [loop]
