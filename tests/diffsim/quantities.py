"""Quantities of C MuJoCo as functions of state and control, their derivatives, and ours to compare with."""

from collections.abc import Callable

import mujoco
import numpy as np
import torch

from .reference import Stepper, displace, tangent_basis

Quantity = Callable[[mujoco.MjModel, mujoco.MjData], np.ndarray]

STEPS = (1e-5, 1e-4, 1e-3)
"""Of positions, velocities and controls in central differences; extrapolated."""


def evaluated(mj_model: mujoco.MjModel, state: np.ndarray, ctrl: np.ndarray) -> mujoco.MjData:
    """C MuJoCo after mj_forward, without a warm start."""
    data = Stepper(mj_model).set(state, ctrl)
    mujoco.mj_forward(mj_model, data)
    return data


def reference(mj_model: mujoco.MjModel, quantity: Quantity, state: np.ndarray, ctrl: np.ndarray) -> np.ndarray:
    """A quantity at states [N, nq + nv] and controls [N, nu]: [N, K]."""
    worlds = zip(state, ctrl, strict=True)
    return np.array([np.ravel(quantity(mj_model, evaluated(mj_model, *world))) for world in worlds])


def derivative(mj_model: mujoco.MjModel, quantity: Quantity, state: np.ndarray, ctrl: np.ndarray) -> np.ndarray:
    """Derivative of a quantity in one world by (position, velocity, control): [K, 2 nv + nu]."""
    nv = mj_model.nv
    steps = np.repeat(STEPS, [nv, nv, mj_model.nu])

    def at(shift: np.ndarray) -> np.ndarray:
        moved = displace(mj_model, state, shift[: 2 * nv])
        return reference(mj_model, quantity, moved[None], (ctrl + shift[2 * nv :])[None])[0]

    columns = []
    for index, step in enumerate(steps):
        unit = np.zeros(len(steps))
        unit[index] = step
        half, one = ((at(unit * s) - at(-unit * s)) / (2 * step * s) for s in (0.5, 1.0))
        columns.append((4 * half - one) / 3)
    return np.array(columns).T


def gradient_error(
    mj_model: mujoco.MjModel,
    quantity: Quantity,
    ours: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    state: np.ndarray,
    ctrl: np.ndarray,
    projections: int = 5,
) -> float:
    """Largest difference of the gradients of random sums of the outputs, relative to the largest entry.

    An output is divided by the size of its derivative, so that all count alike.

    Args:
        mj_model: the model.
        quantity: C MuJoCo's outputs.
        ours: the same outputs [N, ...] from state [N, nq + nv] and control [N, nu].
        state: [N, nq + nv].
        ctrl: [N, nu].
        projections: number of random sums.
    """
    nq, nv = mj_model.nq, mj_model.nv
    x, u = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (state, ctrl))
    outputs = ours(x, u).flatten(1)
    expected = np.array([derivative(mj_model, quantity, *world) for world in zip(state, ctrl, strict=True)])
    sizes = np.maximum(np.abs(expected).max((0, 2)), 1e-3)
    worst = 0.0
    for weight in np.random.default_rng(0).standard_normal((projections, len(sizes))) / sizes:
        total = (outputs * torch.tensor(weight)).sum()
        found = torch.autograd.grad(total, [x, u], retain_graph=True, materialize_grads=True)
        of_state, of_ctrl = (value.numpy() for value in found)
        for s, c, by_state, matrix in zip(state, of_ctrl, of_state, expected, strict=True):
            ours_ = np.concatenate([by_state[:nq] @ tangent_basis(mj_model, s[:nq]), by_state[nq:], c])
            worst = max(worst, np.abs(ours_ - weight @ matrix).max() / np.abs(weight @ matrix).max())
            assert len(ours_) == 2 * nv + mj_model.nu
    return float(worst)
