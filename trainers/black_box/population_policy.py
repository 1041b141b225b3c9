"""Actions of many members of a population in one call, each with its own parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from diffsim.policies import Policy


def trained(policy: nn.Module) -> list[nn.Parameter]:
    """The parameters that are searched: those that require a gradient, D numbers in all."""
    return [parameter for parameter in policy.parameters() if parameter.requires_grad]


class PopulationPolicy:
    """K members of a population that act together: every matrix product of the policy becomes a batched one.

    `torch.func.vmap` makes these products from the policy's own `forward`. They are recorded at the first call, so
    that later calls do not pay for vmap, which costs more than a small policy.

    Args:
        policy: class and sizes of all members, and the parameters that are not searched.
        size: K, at least 1.
    """

    def __init__(self, policy: Policy, size: int) -> None:
        self.policy, self.size = copy.deepcopy(policy).eval(), size
        self.names = [name for name, p in self.policy.named_parameters() if p.requires_grad]
        self.searched = [p for p in self.policy.parameters() if p.requires_grad]
        fixed = {name: p for name, p in self.policy.named_parameters() if not p.requires_grad}
        self.shared: dict[str, Tensor] = {**fixed, **dict(self.policy.named_buffers())}
        self.parameters: dict[str, Tensor] = {}
        self.recorded: dict[bool, Callable[..., Tensor]] = {}

    def load(self, vectors: Tensor, buffers: Mapping[str, Tensor]) -> None:
        """Sets the members' parameters, and the buffers that they share, such as observation statistics.

        Args:
            vectors: [k, D] with k <= K; the last member also takes the places that are left.
            buffers: the policy's, by name.
        """
        missing = self.size - len(vectors)
        vectors = torch.cat([vectors, vectors[-1:].expand(missing, -1)])
        parts = vectors.split([p.numel() for p in self.searched], dim=1)
        self.parameters = {
            name: part.to(p).reshape(self.size, *p.shape)
            for name, part, p in zip(self.names, parts, self.searched, strict=True)
        }
        self.shared.update({name: value.to(self.searched[0].device) for name, value in buffers.items()})

    def __call__(self, obs: Tensor, noise: Tensor | None) -> Tensor:
        """Actions as `env.step` takes them, [K, M, ...], for `obs` [K, M, O] and `noise` [K, M, Z] or None."""
        inputs = (obs,) if noise is None else (obs, noise)
        if (noise is None) not in self.recorded:
            act = vmap(self._act, in_dims=(0, None, *(0 for _ in inputs)))
            self.recorded[noise is None] = make_fx(act)(self.parameters, self.shared, *inputs)
        return self.recorded[noise is None](self.parameters, self.shared, *inputs)

    def _act(self, parameters: dict[str, Tensor], shared: dict[str, Tensor], *inputs: Tensor) -> Tensor:
        """Decoded actions of one member."""
        return self.policy.decode(functional_call(self.policy, {**parameters, **shared}, inputs))
