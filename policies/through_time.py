"""Derivatives of recurrent cells through time, with one small linear step per time step.

The states of a window are computed first, without a graph. All steps are then computed again at once, from these
states, with a graph to the weights. `through_time` adds what is missing: the effect of each state on the later ones,

    s_t = f(i_t, U h_{t-1}, s_{t-1}),    h the first of the P vectors in s,    f elementwise
    ds_t = v_t + A_t ds_{t-1},           lambda_t = g_t + A_{t+1}' lambda_{t+1}

where v_t is the effect of the weights in step t alone, and g_t the derivative of an objective with respect to s_t. This
gives the gradients of a graph through all steps in a fraction of the time, because each step of such a graph is many
small operations.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def through_time(state: Tensor, weight: Tensor, by_gates: Tensor, by_state: Tensor) -> Tensor:
    """Returns `state`, with gradients that include the effect on later states.

        A_t ds = sum_q by_state_{.q} * ds_q + sum_k by_gates_{.k} * (U_k dh)

    Second derivatives hold A constant. They are exact where the first derivatives with respect to the states are zero,
    as for the Fisher information: the second derivative of a KL divergence at its minimum.

    Args:
        state: s_t, each computed from a constant s_{t-1}: [T, N, P, H].
        weight: U, [G * H, H].
        by_gates: derivatives of s_t with respect to U h_{t-1}, [T, N, P, G, H]; 0 where an episode starts.
        by_state: those with respect to s_{t-1}, [T, N, P, P, H]; 0 where an episode starts.

    Returns: [T, N, P, H].
    """
    return _ThroughTime.apply(state, weight.detach(), by_gates, by_state)


def _later(gradient: Tensor, weight: Tensor, by_gates: Tensor, by_state: Tensor) -> Tensor:
    """Total derivatives lambda of an objective with respect to the states, from its partial ones g: [T, N, P, H]."""
    totals, carried = [], torch.zeros_like(gradient[0])
    for partial, gates, states in zip(*(x.flip(0).unbind() for x in (gradient, by_gates, by_state)), strict=True):
        totals.append(partial + carried)
        each = totals[-1].unsqueeze(2)
        carried = (each * states).sum(1)
        carried[:, 0] += (each * gates).sum(1).flatten(1) @ weight
    return torch.stack(totals).flip(0)


def _earlier(change: Tensor, weight: Tensor, by_gates: Tensor, by_state: Tensor) -> Tensor:
    """Total changes of the states, from those v that each step makes: the transpose of `_later`."""
    totals, before = [], torch.zeros_like(change[0])
    count = by_gates.shape[3]
    for own, gates, states in zip(change.unbind(), by_gates.unbind(), by_state.unbind(), strict=True):
        by_output = (before[:, 0] @ weight.mT).unflatten(1, (count, -1)).unsqueeze(1)
        before = own + (states * before.unsqueeze(1)).sum(2) + (gates * by_output).sum(2)
        totals.append(before)
    return torch.stack(totals)


class _ThroughTime(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, state: Tensor, weight: Tensor, by_gates: Tensor, by_state: Tensor) -> Tensor:
        ctx.save_for_backward(weight, by_gates, by_state)
        return state.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return _Later.apply(gradients[0], *ctx.saved_tensors), None, None, None


class _Later(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, weight: Tensor, by_gates: Tensor, by_state: Tensor) -> Tensor:
        ctx.save_for_backward(weight, by_gates, by_state)
        return _later(gradient, weight, by_gates, by_state)

    @staticmethod
    def backward(ctx: Any, *changes: Tensor) -> tuple[Tensor, None, None, None]:
        return _earlier(changes[0], *ctx.saved_tensors), None, None, None
