"""Reads checkpoints safely: code in a file never runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from diffsim.trainers.algorithm import CHECKPOINT_FORMAT
from diffsim.trainers.errors import CheckpointError


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint as plain tensors and numbers, on the CPU. Runs no code in the file.

    Raises: CheckpointError if the file is missing, damaged, holds more than plain data, or was not written by diffsim.
    """
    if not path.is_file():
        raise CheckpointError(f"checkpoint must be an existing file, got {str(path)!r}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises several types for damaged or unsafe files
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"checkpoint must be undamaged and hold plain tensors only, got {str(path)!r}: {reason}"
        ) from None
    ours = checkpoint.get("diffsim") if isinstance(checkpoint, dict) else None
    if not isinstance(ours, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise CheckpointError(f"checkpoint must have been written by diffsim fit, got {str(path)!r}")
    if ours.get("format") != CHECKPOINT_FORMAT:
        raise CheckpointError(
            f"checkpoint format must be {CHECKPOINT_FORMAT}, got {ours.get('format')!r} in {str(path)!r}"
        )
    return checkpoint


def load_weights(module: nn.Module, checkpoint: dict[str, Any], prefix: str, path: Path) -> None:
    """Copies the entries of the checkpoint whose names start with `prefix` into `module`.

    Raises: CheckpointError if names or shapes differ: the checkpoint is of another policy or task.
    """
    state = checkpoint["state_dict"]
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    try:
        module.load_state_dict(own)
    except (RuntimeError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"checkpoint {str(path)!r} does not fit: {reason}") from None
