"""A model of the dynamics of your own.

In the folder of this file:

diffsim fit --task InvertedPendulum-v5 --algorithm ModelBased --policy GaussianMLP --model own_model:SymmetricModel
"""

from __future__ import annotations

from torch import Tensor

from diffsim.models import GaussianEnsemble, WorldModel


class OddEnsemble(GaussianEnsemble):
    """An ensemble with odd means, m(-x) = -m(x)."""

    def normalised(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (m(x) - m(-x)) / 2 and log standard deviation, of the normalised output."""
        mean, log_std = super().normalised(x)
        mirrored, _ = super().normalised(-x)
        return (mean - mirrored) / 2 - self.out_mean / self.out_std, log_std


class SymmetricModel(WorldModel):
    """A model of a task with mirror symmetry, such as a pole on a cart: f(-o, -u) = -f(o, u)."""

    dynamics_class = OddEnsemble
