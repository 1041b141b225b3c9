"""Writes a trained policy for use without diffsim, and mostly without torch: ONNX, TorchScript, or arrays for NumPy.

Normalisation of observations and squashing of actions are inside: the input is the environment's observation, the
output what `env.step` takes. It is the mean or the likeliest action.

    format       file         runs with
    onnx         policy.onnx  onnxruntime, and other runtimes; inputs `obs` [N, O], outputs `action` [N, A]
    torchscript  policy.pt    torch.jit.load, and libtorch
    npz          policy.npz   NumPy: `examples/numpy_player.py`; perceptrons and linear policies only

A policy with a memory has the inputs `obs`, `memory` [N, M] and outputs `action`, `memory`; the memory of an episode's
first step is zero.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diffsim.policies import LinearPolicy, Policy
from diffsim.policies.mlp_policy import MLPPolicy
from diffsim.policies.network import ACTIVATIONS
from diffsim.policies.squash import Bits, BoundedBox, Indices, OneHot, TanhBox
from diffsim.trainers.errors import UsageError
from diffsim.trainers.run.extras import require_extra

SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt", "npz": ".npz"}
EXAMPLES = 2  # rows of the observations with which the policy is traced


class Player(nn.Module):
    """One step of a policy with mean actions, as a function of tensors alone.

    Args:
        policy: to play.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, obs: Tensor, memory: Tensor | None = None) -> Any:
        """The action [N, A] for `obs` [N, O]; with a memory [N, M], also the memory after it."""
        if memory is None:
            return self.policy.decode(self.policy(obs))
        action, after = self.policy.step(obs, memory)
        return self.policy.decode(action), after


def export_policy(policy: Policy, path: Path, format: str) -> Path:
    """Writes a policy to a file, with single precision.

    Args:
        policy: a trained network; it stays as it is.
        path: of the file.
        format: onnx, torchscript or npz.

    Returns: `path`.
    Raises: UsageError if the format cannot hold the policy, or needs an extra that is not installed.
    """
    if policy.origin is not None:
        raise UsageError(
            "policy must see numbers that float32 can hold, to be exported; it subtracts an origin from them"
        )
    WRITERS[format](policy, path)
    return path


def example_inputs(policy: Policy) -> tuple[Tensor, ...]:
    """Observations, and memory if the policy has one, of two copies."""
    obs = torch.zeros(EXAMPLES, *policy.obs_shape, dtype=torch.float32)
    return (obs, policy.initial_memory(EXAMPLES).float()) if policy.recurrent else (obs,)


def single_precision(policy: Policy) -> Player:
    """A player of a copy of the policy on the CPU, in single precision."""
    return Player(copy.deepcopy(policy)).cpu().float().eval().requires_grad_(False)


def write_onnx(policy: Policy, path: Path) -> None:
    """Writes an ONNX model, with any number of rows."""
    require_extra("format onnx", "export", "onnx", "onnxscript")
    player, inputs = single_precision(policy), example_inputs(policy)
    names = ["obs", "memory"][: len(inputs)]
    rows = torch.export.Dim("rows")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own functions
        torch.onnx.export(
            player,
            inputs,
            str(path),
            input_names=names,
            output_names=["action", "memory_after"][: len(inputs)],
            dynamic_shapes={name: {0: rows} for name in names},
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def write_torchscript(policy: Policy, path: Path) -> None:
    """Writes a traced module, with any number of rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that checks of shapes are not traced
        traced = torch.jit.trace(single_precision(policy), example_inputs(policy))
        torch.jit.save(traced, str(path))


def write_npz(policy: Policy, path: Path) -> None:
    """Writes the arrays of a perceptron or a linear policy.

    Raises: UsageError for other policies.
    """
    found: dict[str, Any] = arrays(single_precision(policy).policy)
    np.savez(path, **found)


def arrays(policy: Any) -> dict[str, np.ndarray]:
    """The arrays of an npz file.

    `mean`, `scale`, `clip` of the normalisation; `weight0`, `bias0`, ... of the layers, and `gain0`, `shift0` of layer
    norms; `activation`; and `kind` of the last step: "tanh" or "clip" with `center`, `half_width`, `finite`, `low` and
    `high`; "choice" with `start`, `counts` and `single`; or "bits".

    Raises: UsageError if the policy is no perceptron and not linear.
    """
    last = last_step(policy)
    found: dict[str, Any] = {"mean": np.zeros(policy.obs_size), "scale": np.ones(policy.obs_size), "clip": np.inf}
    if policy.normalizer is not None:
        normalizer = policy.normalizer
        found |= {"mean": normalizer.mean, "scale": torch.sqrt(normalizer.variance + normalizer.epsilon)}
        found["clip"] = np.inf if normalizer.clip_obs is None else normalizer.clip_obs
    if isinstance(policy, LinearPolicy):
        size = policy.obs_size
        weight, bias = policy.weight[:, :size], policy.weight[:, size:].sum(-1)
        found |= {"weight0": weight, "bias0": bias, "activation": ""}
    else:
        found |= layers(policy.network)
    return {name: np.asarray(value) for name, value in {**found, **last}.items()}


def layers(network: nn.Sequential) -> dict[str, Any]:
    """The arrays and the activation of a perceptron."""
    found: dict[str, Any] = {"activation": ""}
    names = {cls: name for name, cls in ACTIVATIONS.items()}
    count = -1
    for layer in network:
        if isinstance(layer, nn.Linear):
            count += 1
            found |= {f"weight{count}": layer.weight, f"bias{count}": layer.bias}
        elif isinstance(layer, nn.LayerNorm):
            found |= {f"gain{count}": layer.weight, f"shift{count}": layer.bias}
        else:
            found["activation"] = names[type(layer)]
    return found


def last_step(policy: Any) -> dict[str, Any]:
    """What turns the network's output into an action.

    Raises: UsageError if that cannot be said in an npz file.
    """
    squash = policy.squash
    perceptron = isinstance(policy, MLPPolicy | LinearPolicy) and policy.encoder is None
    if perceptron and isinstance(squash, BoundedBox):
        names = ("center", "half_width", "finite", "low", "high")
        return {"kind": "tanh" if isinstance(squash, TanhBox) else "clip", **{n: getattr(squash, n) for n in names}}
    if perceptron and isinstance(squash, Indices | OneHot):
        choices = squash.choices if isinstance(squash, OneHot) else squash
        return {"kind": "choice", "start": choices.start, "counts": choices.counts, "single": choices.single}
    if perceptron and isinstance(squash, Bits):
        return {"kind": "bits"}
    raise UsageError(f"format must be onnx or torchscript for {type(policy).__name__} on such spaces, got 'npz'")


WRITERS: dict[str, Callable[[Policy, Path], None]] = {
    "onnx": write_onnx,
    "torchscript": write_torchscript,
    "npz": write_npz,
}
