"""A convolutional encoder of images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from gymnasium.spaces import Box, Space
from torch import Tensor, nn

from diffsim.checks import check_values, require
from diffsim.policies.network import mlp
from diffsim.policies.spaces import is_image

CONVOLUTIONS = ((16, 8, 4), (32, 4, 2))
"""Channels, kernel size and stride of each layer in Mnih et al. (2016), "Asynchronous Methods", section 8."""

NATURE_CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""The same of Mnih et al. (2015), "Human-level control through deep reinforcement learning", in "Methods"."""


class ImageEncoder(nn.Module):
    """Scales images by their bounds, applies convolutions, and flattens the result.

        x = image / max(|low|, |high|),     features = flatten(relu(conv_k(... relu(conv_1(x)))))

    Bytes 0 to 255 become numbers from 0 to 1. Without convolutions, the scaled image is flattened. With a
    `feature_size`, the features are tanh(LayerNorm(W features + b)).

    Args:
        space: of one image; see `is_image`. With three axes, the channels are the last axis if it is the shortest,
            else the first.
        convolutions: channels, kernel size and stride of each layer, all at least 1; empty for none.
        feature_size: F, if a last layer reduces the features to so many; 0 for no such layer.

    Attributes:
        shape: of one image.
        out_size: F, the number of features.

    Raises: ValueError if `space` is not one of images, they are too small for the convolutions, or feature_size is
        below 0.

    Source: the last layer is that of Yarats et al. (2021), "Improving sample efficiency in model-free reinforcement
    learning from images", appendix B.1.
    """

    largest: Tensor

    def __init__(
        self, space: Space, convolutions: Sequence[Sequence[int]] = CONVOLUTIONS, feature_size: int = 0
    ) -> None:
        super().__init__()
        check_values(">= 0", feature_size=feature_size)
        if not isinstance(space, Box) or not is_image(space):
            raise ValueError(f"observation_space must be a Box of images, got {space}")
        self.space, self.shape = space, space.shape
        self.convolutions, self.feature_size = convolutions, feature_size
        largest = max(abs(float(space.low.min())), abs(float(space.high.max())))
        self.register_buffer("largest", torch.tensor(largest), persistent=False)
        self.channels_last = len(self.shape) == 3 and self.shape[2] < min(self.shape[:2])
        channels, *sides = self.shape if len(self.shape) == 3 else (1, *self.shape)
        if self.channels_last:
            *sides, channels = self.shape
        layers: list[nn.Module] = []
        for layer in convolutions:
            valid = len(layer) == 3 and min(layer) >= 1
            require(valid, "convolutions", "[channels, kernel, stride] >= 1 for each layer", layer)
            out, kernel, stride = layer
            if min(sides) < kernel:
                got = f"a kernel of {kernel} for {sides}; [] uses no convolutions"
                raise ValueError(f"convolutions must fit an image of shape {self.shape}, got {got}")
            layers += [_convolution(channels, out, kernel, stride), nn.ReLU()]
            channels, sides = out, [(side - kernel) // stride + 1 for side in sides]
        self.out_size = channels * math.prod(sides)
        if feature_size:
            layers += [nn.Flatten(), mlp(self.out_size, (), feature_size), nn.LayerNorm(feature_size), nn.Tanh()]
            self.out_size = feature_size
        self.network = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """Features [..., F] of images [..., *shape], of integers or floats of the same scale.

        Features [B, F] that were computed before are returned as they are: several networks can share them.

        Raises: ValueError if their shape is wrong.
        """
        axes = len(self.shape)
        if tuple(image.shape[-axes:]) != self.shape:
            if image.dim() == 2 and image.shape[-1] == self.out_size and image.is_floating_point():
                return image
            raise ValueError(f"obs must have shape {self.shape} in its last axes, got {tuple(image.shape)}")
        scaled = image.reshape(-1, *self.shape).to(self.largest.dtype) / self.largest
        if self.channels_last:
            scaled = scaled.movedim(-1, 1).contiguous()  # else the gradients of the weights are not
        elif axes == 2:
            scaled = scaled.unsqueeze(1)
        return self.network(scaled).reshape(*image.shape[:-axes], self.out_size)

    def reinitialized(self) -> ImageEncoder:
        """An encoder of the same architecture with newly drawn weights."""
        return ImageEncoder(self.space, self.convolutions, self.feature_size)


def _convolution(channels: int, out: int, kernel: int, stride: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, out, kernel, stride)
    nn.init.orthogonal_(layer.weight, gain=math.sqrt(2.0))  # keeps the variance through ReLU
    nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]
    return layer
