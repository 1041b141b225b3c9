"""Random shifts of images, the augmentation of DrQ."""

from __future__ import annotations

import torch
from torch import Tensor


def random_shift(images: Tensor, most: int, generator: torch.Generator, *, channels_last: bool = False) -> Tensor:
    """Shifts each image by random whole numbers of pixels, and repeats its edge where nothing else is.

        x'[i, j] = x[clip(i + a, 0, H - 1), clip(j + b, 0, W - 1)],    a, b uniform in -most, ..., most

    That is a crop of the image padded by `most` pixels on each side. All channels of an image shift alike.

    Args:
        images: [B, H, W], [B, C, H, W], or [B, H, W, C] with `channels_last`.
        most: at least 0.
        generator: of a and b, on the device of `images`.
        channels_last: where the channels are.

    Returns: the same shape and type.
    Source: Kostrikov, Yarats & Fergus (2021), "Image augmentation is all you need", section 3.1.
    """
    axes = (1, 2) if channels_last or images.dim() == 3 else (2, 3)
    batch = torch.arange(len(images), device=images.device)
    moved = images.movedim(axes, (1, 2))
    rows, columns = (
        (_shifts(len(images), most, generator, images.device) + torch.arange(side, device=images.device)).clamp(
            0, side - 1
        )
        for side in moved.shape[1:3]
    )
    return moved[batch[:, None, None], rows[:, :, None], columns[:, None, :]].movedim((1, 2), axes)


def _shifts(count: int, most: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Random shifts of `count` images: int64 [count, 1]."""
    return torch.randint(-most, most + 1, (count, 1), generator=generator, device=device)
