"""Multi-layer perceptrons."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from diffsim.checks import check_choice, check_value
from diffsim.policies.batch_renorm import BatchRenorm

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "relu": nn.ReLU,
}


def mlp(
    in_size: int,
    hidden_sizes: Sequence[int],
    out_size: int,
    *,
    activation: str = "tanh",
    layer_norm: bool = False,
    batch_renorm: bool = False,
    hidden_scale: float = 1.0,
    out_scale: float = 1.0,
) -> nn.Sequential:
    """Builds a fully connected network with a linear last layer.

    Args:
        in_size: numbers in the input, at least 1.
        hidden_sizes: width of each hidden layer; empty for a linear map.
        out_size: numbers in the output, at least 1.
        activation: one of `ACTIVATIONS`; a smooth one if second derivatives are needed.
        layer_norm: normalise each hidden layer before its activation.
        batch_renorm: normalise the inputs of every layer, the last one included, by `BatchRenorm`.
        hidden_scale: factor on the initial weights of the hidden layers, which are orthogonal.
        out_scale: factor on the initial weights of the last layer, also orthogonal; a small one starts near zero.

    Raises: ValueError if a size is below 1, or the activation is unknown.
    """
    check_layers(hidden_sizes, activation, in_size=in_size, out_size=out_size)
    sizes = [in_size, *hidden_sizes]
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(sizes[:-1], sizes[1:], strict=True):
        linear = nn.Linear(fan_in, fan_out)
        nn.init.orthogonal_(linear.weight, gain=hidden_scale)
        nn.init.zeros_(linear.bias)
        layers += [
            *([BatchRenorm(fan_in)] if batch_renorm else []),
            linear,
            *([nn.LayerNorm(fan_out)] if layer_norm else []),
            ACTIVATIONS[activation](),
        ]
    layers += [BatchRenorm(sizes[-1])] if batch_renorm else []
    last = nn.Linear(sizes[-1], out_size)
    nn.init.orthogonal_(last.weight, gain=out_scale)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


def check_layers(hidden_sizes: Sequence[int], activation: str, **sizes: int) -> None:
    """Raises ValueError if a size is below 1, or the activation is unknown."""
    for size in (*hidden_sizes, *sizes.values()):
        check_value(f"hidden_sizes, {' and '.join(sizes)}", size, ">= 1")
    check_choice("activation", activation, ACTIVATIONS)
