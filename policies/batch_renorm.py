"""Batch renormalisation of a layer's inputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class BatchRenorm(nn.Module):
    """Normalises features by running statistics, or by those of a batch, corrected towards the running ones.

        by running statistics  y = gain * (x - mean) / std + shift,    std = sqrt(variance + epsilon)
        by a batch             y = gain * ((x - mean_B) / std_B * r + d) + shift,
                               r = clip(std_B / std, 1 / max_r, max_r),   d = clip((mean_B - mean) / std, -max_d, max_d)

    Gradients pass through mean_B and std_B, not through r and d. In the first `warmup` batches r is 1 and d is 0, as in
    batch normalisation. After each batch,

        mean <- mean + rate * (mean_B - mean),    variance <- variance + rate * (variance_B - variance)

    Running statistics are used everywhere but inside `batch_statistics`, whatever `train()` and `eval()` were told, so
    that acting never changes them. They are buffers, and are saved with the network.

    Args:
        *shape: of the statistics, [F] for inputs [B, F], or [K, 1, F] for the inputs [K, B, F] of K networks.

    Source: Ioffe (2017), "Batch renormalization", algorithm 1; constants of Bhatt et al. (2024), "CrossQ", whose code
    goes from r = 1 and d = 0 to these bounds in one step.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor
    epsilon, rate, max_r, max_d = 1e-3, 0.01, 3.0, 5.0
    warmup = 100_000

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.ones(shape))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.gain, self.shift = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))
        self.by_batch = False

    def forward(self, x: Tensor) -> Tensor:
        """Normalises `x` [..., B, F]; inside `batch_statistics`, also updates the running statistics."""
        std = torch.sqrt(self.variance + self.epsilon)
        if not self.by_batch:
            return self.gain * ((x - self.mean) / std) + self.shift
        mean_b = x.mean(-2, keepdim=True).reshape(self.mean.shape)
        variance_b = (x - mean_b).square().mean(-2, keepdim=True).reshape(self.mean.shape)
        std_b = torch.sqrt(variance_b + self.epsilon)
        with torch.no_grad():
            warm = self.batches >= self.warmup
            r = torch.where(warm, (std_b / std).clamp(1.0 / self.max_r, self.max_r), 1.0)
            d = torch.where(warm, ((mean_b - self.mean) / std).clamp(-self.max_d, self.max_d), 0.0)
            self.mean.lerp_(mean_b, self.rate)
            self.variance.lerp_(variance_b, self.rate)
            self.batches.add_(1)
        return self.gain * ((x - mean_b) / std_b * r + d) + self.shift


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Inside, each `BatchRenorm` of `network` normalises by its batch, and updates its running statistics."""
    layers = [module for module in network.modules() if isinstance(module, BatchRenorm)]
    for layer in layers:
        layer.by_batch = True
    try:
        yield
    finally:
        for layer in layers:
            layer.by_batch = False
