"""Rotations of tensors: unit quaternions (w, x, y, z) and matrices."""

import torch
from torch import Tensor


def quat_mul(a: Tensor, b: Tensor) -> Tensor:
    """Product of quaternions [..., 4]."""
    (aw, a3), (bw, b3) = (q.split([1, 3], dim=-1) for q in (a, b))
    vector = aw * b3 + bw * a3 + torch.linalg.cross(*torch.broadcast_tensors(a3, b3))
    return torch.cat([aw * bw - (a3 * b3).sum(-1, keepdim=True), vector], dim=-1)


def quat_conj(q: Tensor) -> Tensor:
    """Inverse of unit quaternions [..., 4]."""
    return torch.cat([q[..., :1], -q[..., 1:]], dim=-1)


def quat_to_mat(q: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] of unit quaternions [..., 4]."""
    w, x, y, z = q.unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def rotate(mat: Tensor, x: Tensor) -> Tensor:
    """R x of matrices [..., 3, 3] and vectors [..., 3]."""
    return (mat * x[..., None, :]).sum(-1)


def rotate_back(mat: Tensor, x: Tensor) -> Tensor:
    """R' x of matrices [..., 3, 3] and vectors [..., 3]."""
    return (mat * x[..., :, None]).sum(-2)


def cross(a: Tensor, b: Tensor) -> Tensor:
    """Cross product of vectors [..., 3], whose other sizes are broadcast."""
    return torch.linalg.cross(*torch.broadcast_tensors(a, b))


def rotation_vector(q: Tensor) -> Tensor:
    """Rotation vectors [..., 3] rad, of length at most pi, of unit quaternions [..., 4] (`mju_quat2Vel` over 1 s)."""
    q = torch.where(q[..., :1] < 0, -q, q)
    w, u = q[..., :1], q[..., 1:]
    square = (u * u).sum(-1, keepdim=True)
    small = square < 1e-12
    sine = torch.where(small, torch.ones_like(square), square).sqrt()  # no infinite gradient at zero
    return u * torch.where(small, 2 / w.clamp_min(0.5), 2 * torch.atan2(sine, w) / sine)
