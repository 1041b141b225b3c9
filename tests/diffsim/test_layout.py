"""Working memory as on CUDA, where the world varies fastest, gives the same steps and gradients as on the CPU."""

import numpy as np
import pytest
import torch
import warp as wp

import diffsim
from diffsim.physics import scratch
from diffsim.types import kernel_dtype

from .contact_reference import load_task, task_states
from .engine import simulator, tensors
from .reference import load


def world_fastest(num_worlds: int, shape: tuple[int, ...], kind: type, device: str, shared: bool = False) -> wp.array:
    """`scratch.world_array` with the layout of CUDA."""
    shape, inner = tuple(max(1, size) for size in shape), tuple(getattr(kind, "_shape_", ()))
    numbers = torch.int32 if kind is wp.int32 else kernel_dtype
    memory = torch.zeros((*shape, num_worlds, *inner), dtype=numbers, device=device).movedim(len(shape), 0)
    assert shared
    return wp.from_torch(memory, dtype=kind, requires_grad=False)


def results(sim: diffsim.Simulator, state: np.ndarray, ctrl: np.ndarray) -> list[np.ndarray]:
    """Next states, and gradients of a linear function of them."""
    inputs = tensors(state, ctrl, requires_grad=True)
    output = sim.step(*inputs, num_steps=2)
    weight = torch.tensor(np.random.default_rng(0).standard_normal(output.shape))
    grads = torch.autograd.grad((weight * output).sum(), inputs, allow_unused=True, materialize_grads=True)
    return [x.detach().numpy() for x in (output, *grads)]


@pytest.mark.parametrize("name", ["Humanoid-v5", "contact_grasp", "contact_linkage", "tendons"])
def test_world_fastest(name, monkeypatch):
    if name == "Humanoid-v5":
        mj_model, _ = load_task(name)
        state, ctrl = (x[:60:6] for x in task_states(name, 60))
    else:
        mj_model = load(name)
        rng = np.random.default_rng(1)
        state = np.concatenate([np.tile(mj_model.qpos0, (5, 1)), 0.3 * rng.standard_normal((5, mj_model.nv))], axis=1)
        ctrl = 0.1 * rng.standard_normal((5, mj_model.nu))
    expected = results(simulator(mj_model, len(state)), state, ctrl)
    monkeypatch.setattr(scratch, "world_array", world_fastest)
    sim = simulator(mj_model, len(state))
    assert sim.launch.scratches[0].row_jacobian.strides[2] > sim.launch.scratches[0].row_jacobian.strides[0]
    # sums in another order: vector instructions need unit strides
    for one, other in zip(expected, results(sim, state, ctrl), strict=True):
        assert np.abs(one - other).max() <= 1e-9 * (1 + np.abs(one).max())
