"""Images as numbers for a perceptron."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from gymnasium.spaces import Box, Space
from torch import Tensor, nn

CONVOLUTIONS = ((16, 8, 4), (32, 4, 2))
"""Channels, kernel and stride of each layer in Mnih et al. (2016), "Asynchronous Methods", section 8."""


def is_image(space: Space) -> bool:
    """Whether observations are images: a Box of integers with two axes, [H, W], or three, [C, H, W] or [H, W, C]."""
    return isinstance(space, Box) and space.dtype.kind in "iu" and len(space.shape) in (2, 3)


class ImageEncoder(nn.Module):
    """Scales images of integers by their bounds, looks at them through convolutions, and flattens what comes out.

        x = image / max(|low|, |high|),     features = flatten(relu(conv_k(... relu(conv_1(x)))))

    The bytes 0 to 255 become numbers from 0 to 1. Without convolutions it is the image itself that is flattened.

    Args:
        space: of one image; see `is_image`. Of three axes, channels are the last one if it is the shortest, else the
            first.
        convolutions: channels, kernel and stride of each layer, all at least 1; empty for none.

    Attributes:
        shape: of one image.
        out_size: F, numbers that come out.

    Raises: ValueError if `space` holds no images, or they are too small for the convolutions.
    """

    largest: Tensor

    def __init__(self, space: Space, convolutions: Sequence[Sequence[int]] = CONVOLUTIONS) -> None:
        super().__init__()
        if not isinstance(space, Box) or not is_image(space):
            raise ValueError(f"observation_space must be a Box of integers with 2 or 3 axes, got {space}")
        self.space, self.shape, self.convolutions = space, space.shape, convolutions
        largest = float(max(abs(int(space.low.min())), abs(int(space.high.max()))))
        self.register_buffer("largest", torch.tensor(largest), persistent=False)
        self.channels_last = len(self.shape) == 3 and self.shape[2] < min(self.shape[:2])
        channels, *sides = self.shape if len(self.shape) == 3 else (1, *self.shape)
        if self.channels_last:
            *sides, channels = self.shape
        layers: list[nn.Module] = []
        for layer in convolutions:
            if len(layer) != 3 or min(layer) < 1:
                raise ValueError(f"convolutions must be [channels, kernel, stride] >= 1 for each layer, got {layer}")
            out, kernel, stride = layer
            if min(sides) < kernel:
                raise ValueError(
                    f"convolutions must fit an image of shape {self.shape}, got a kernel of {kernel} for {sides}"
                )
            layers += [_convolution(channels, out, kernel, stride), nn.ReLU()]
            channels, sides = out, [(side - kernel) // stride + 1 for side in sides]
        self.network = nn.Sequential(*layers)
        self.out_size = channels * math.prod(sides)

    def forward(self, image: Tensor) -> Tensor:
        """Features [..., F] of images [..., *shape], of integers or of numbers of the same size.

        Raises: ValueError if their shape is wrong.
        """
        axes = len(self.shape)
        if tuple(image.shape[-axes:]) != self.shape:
            raise ValueError(f"obs must have shape {self.shape} in its last axes, got {tuple(image.shape)}")
        scaled = image.reshape(-1, *self.shape).to(self.largest.dtype) / self.largest
        if self.channels_last:
            scaled = scaled.movedim(-1, 1)
        elif axes == 2:
            scaled = scaled.unsqueeze(1)
        return self.network(scaled).reshape(*image.shape[:-axes], self.out_size)

    def anew(self) -> ImageEncoder:
        """One of the same kind, with weights of its own."""
        return ImageEncoder(self.space, self.convolutions)


def _convolution(channels: int, out: int, kernel: int, stride: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, out, kernel, stride)
    nn.init.orthogonal_(layer.weight, gain=math.sqrt(2.0))  # keeps the variance through relu
    nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]
    return layer
