"""Quantities of C MuJoCo as functions of state and control, their derivatives, and ours to compare with."""

from collections.abc import Callable

import mujoco
import numpy as np
import torch

from .reference import Stepper, displace, tangent_basis, without_repetition

Quantity = Callable[[mujoco.MjModel, mujoco.MjData], np.ndarray]

STEPS = (1e-5, 1e-4, 1e-3, 1e-3)
"""Of positions, velocities, activations and controls in central differences; extrapolated."""


def reference(mj_model: mujoco.MjModel, quantity: Quantity, state: np.ndarray, ctrl: np.ndarray) -> np.ndarray:
    """A quantity after mj_forward without a warm start, at states [N, nq + nv + na] and controls [N, nu]: [N, K]."""
    stepper, rows = Stepper(mj_model), []
    for world in zip(state, ctrl, strict=True):
        data = stepper.set(*world)
        mujoco.mj_forward(mj_model, data)
        rows.append(np.array(quantity(mj_model, data), dtype=np.float64).ravel())
    return np.array(rows)


def derivative(
    mj_model: mujoco.MjModel, quantity: Quantity, state: np.ndarray, ctrl: np.ndarray
) -> tuple[np.ndarray, float]:
    """Derivative of a quantity in one world by (position, velocity, activation, control), and its relative error.

    The error is large where the quantity has a kink between the points of the differences, as in `reference.jacobian`.

    Returns: [K, 2 nv + na + nu], and the error.
    """
    nv = mj_model.nv
    size = 2 * nv + mj_model.na
    steps = np.repeat(STEPS, [nv, nv, mj_model.na, mj_model.nu])
    shifts = (np.array([1, -1, 0.5, -0.5, 0.25, -0.25])[:, None, None] * np.diag(steps)).reshape(-1, len(steps))
    states = np.array([displace(mj_model, state, shift[:size]) for shift in shifts])
    values = reference(mj_model, quantity, states, ctrl + shifts[:, size:]).reshape(3, 2, len(steps), -1)
    one, half, quarter = (values[:, 0] - values[:, 1]) / np.array([2, 1, 0.5])[:, None, None]
    coarse, fine = ((4 * b - a) / (3 * steps[:, None]) for a, b in ((one, half), (half, quarter)))
    return coarse.T, float((np.abs(coarse - fine).max(0) / np.maximum(np.abs(coarse).max(0), 1.0)).max())


def gradient_error(
    mj_model: mujoco.MjModel,
    quantity: Quantity,
    ours: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    state: np.ndarray,
    ctrl: np.ndarray,
    projections: int = 5,
    tolerance: float = 1e-7,
) -> float:
    """Largest difference of the gradients of random sums of the outputs, relative to the largest entry.

    An output is divided by the size of its derivative, if that is larger than 1, so that all count alike.

    Args:
        mj_model: the model.
        quantity: C MuJoCo's outputs.
        ours: the same outputs [N, ...] from state [N, nq + nv + na] and control [N, nu].
        state: [N, nq + nv + na].
        ctrl: [N, nu].
        projections: number of random sums.
        tolerance: worlds whose derivative is known to a larger error are left out; at least half must remain.
    """
    nq = mj_model.nq
    x, u = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (state, ctrl))
    outputs = ours(x, u).flatten(1)
    quick = without_repetition(mj_model)
    found = [derivative(quick, quantity, *world) for world in zip(state, ctrl, strict=True)]
    smooth = [error <= tolerance for _, error in found]
    assert 2 * sum(smooth) >= len(smooth), "too few worlds have a derivative known well enough"
    expected = np.array([matrix for matrix, _ in found])
    sizes = np.maximum(np.abs(expected[smooth]).max((0, 2)), 1.0)  # forces that are zero have derivatives of rounding
    worst = 0.0
    for weight in np.random.default_rng(0).standard_normal((projections, len(sizes))) / sizes:
        total = (outputs * torch.tensor(weight)).sum()
        grads = torch.autograd.grad(total, [x, u], retain_graph=True, materialize_grads=True)
        rows = (state, *(value.numpy() for value in grads), expected)
        for s, by_state, c, matrix in zip(*(row[smooth] for row in rows), strict=True):
            ours_ = np.concatenate([by_state[:nq] @ tangent_basis(mj_model, s[:nq]), by_state[nq:], c])
            worst = max(worst, np.abs(ours_ - weight @ matrix).max() / np.abs(weight @ matrix).max())
    return float(worst)
