"""An ensemble of action-value functions with batch renormalisation."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from diffsim.policies.batch_renorm import BatchRenorm
from diffsim.policies.q_value import QMLP


class RenormQMLP(QMLP):
    """K perceptrons Q_k(o, u) as in `QMLP`, with batch renormalisation before every layer, the last one included.

    Each perceptron has its own statistics, gains and shifts.

    Args:
        *args: of `QMLP`.
        **options: of `QMLP`.

    Source: Bhatt et al. (2024), "CrossQ: batch normalization in deep reinforcement learning for greater sample
    efficiency and simplicity", section 3.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        sizes = [weight.shape[1] for weight in self.weights]
        self.renorms = nn.ModuleList(BatchRenorm(self.count, 1, size) for size in sizes)

    def _values(self, obs: Tensor, action: Tensor, count: int) -> Tensor:
        """Values by the first `count` perceptrons: [count, ...]. All of them are computed."""
        return super()._values(obs, action, self.count)[:count]

    def _layer_input(self, layer: int, x: Tensor) -> Tensor:
        """`x` [K, B, F], normalised."""
        return self.renorms[layer](x)
