"""Base of the algorithms that fit the value by regression, apart from the policy's update."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from diffsim.trainers.experience.on_policy_batch import OnPolicyBatch
from diffsim.trainers.likelihood_ratio.on_policy import OnPolicy
from diffsim.trainers.options import option


class FittedValue(OnPolicy):
    """Fits the value in several passes over a window, after the policy's update.

    minimise mean_t (V_phi(o_t) - G_t)^2 + value_proximal * |phi - phi_i|^2,    phi_i the previous parameters
    """

    value_learning_rate: float = option("Adam's step size for the value.", "> 0", default=1e-3)
    value_lam: float = option(
        "of the value's targets: 1 for Monte Carlo, 0 for one-step TD.", "in [0, 1]", default=0.95
    )
    value_epochs: int = option("passes over the data to fit the value.", ">= 1", default=10)
    value_minibatches: int = option("value updates per pass.", ">= 1", default=16)
    value_proximal: float = option(
        "weight of |phi - phi_i|^2, the value's change since the last fit.", ">= 0", default=0.0
    )

    def make_optimizers(self) -> list[Optimizer]:
        """Adam for the value."""
        return [Adam(self.value.parameters(), lr=self.value_learning_rate, fused=True)]

    def fit_value(self, batch: OnPolicyBatch) -> Tensor:
        """Fits the value to the targets of steps [B], or of sequences, with the last optimizer.

        Returns: the loss of the last update.
        """
        previous = [parameter.detach().clone() for parameter in self.value.parameters()]

        def loss(part: OnPolicyBatch) -> Tensor:
            error = self.value_loss(part.obs, part.returns)
            if self.value_proximal == 0.0:
                return error
            pairs = zip(self.value.parameters(), previous, strict=True)
            return error + self.value_proximal * torch.stack([(new - old).square().sum() for new, old in pairs]).sum()

        batch = batch if batch.sequences is None else batch.steps()
        last = batch.returns.new_zeros(())
        for _ in range(self.value_epochs):
            for part in batch.minibatches(self.value_minibatches, self.generator):
                last, _ = self.gradient_step(partial(loss, part), self.optimizers[-1])
        return last
