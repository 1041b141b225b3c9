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
        self.policy, self.size, self.memory_size = copy.deepcopy(policy).eval(), size, policy.memory_size
        self.names = [name for name, p in self.policy.named_parameters() if p.requires_grad]
        self.searched = [p for p in self.policy.parameters() if p.requires_grad]
        fixed = {name: p for name, p in self.policy.named_parameters() if not p.requires_grad}
        self.shared: dict[str, Tensor] = {**fixed, **dict(self.policy.named_buffers())}
        self.parameters: dict[str, Tensor] = {}
        self.recorded: dict[bool, Callable[..., tuple[Tensor, Tensor]]] = {}

    def load(self, vectors: Tensor, buffers: Mapping[str, Tensor]) -> None:
        """Sets the members' parameters, and the buffers that they share, such as observation statistics.

        Args:
            vectors: [k, D] with k <= K; the last member also takes the places that are left.
            buffers: the policy's, by name.
        """
        missing, device = self.size - len(vectors), self.searched[0].device
        vectors = torch.cat([vectors, vectors[-1:].expand(missing, -1)]).to(device)
        parts = vectors.split([p.numel() for p in self.searched], dim=1)
        self.parameters = {
            name: part.to(p).reshape(self.size, *p.shape)
            for name, part, p in zip(self.names, parts, self.searched, strict=True)
        }
        self.shared.update({name: value.to(device) for name, value in buffers.items()})

    def initial_memory(self, episodes: int) -> Tensor:
        """The memory of all members at the start of M episodes each: zeros, [K, M, memory_size]."""
        return self.searched[0].new_zeros(self.size, episodes, self.memory_size)

    def __call__(self, obs: Tensor, memory: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """Acts.

        Args:
            obs: [K, M, O].
            memory: [K, M, memory_size].
            noise: [K, M, Z], or None.

        Returns: actions as `env.step` takes them, [K, M, ...], and the memory after them.
        """
        inputs = (obs, memory) if noise is None else (obs, memory, noise)
        if (noise is None) not in self.recorded:
            act = vmap(self._act, in_dims=(0, None, *(0 for _ in inputs)))
            self.recorded[noise is None] = make_fx(act)(self.parameters, self.shared, *inputs)
        return self.recorded[noise is None](self.parameters, self.shared, *inputs)

    def _act(self, parameters: dict[str, Tensor], shared: dict[str, Tensor], *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Decoded actions of one member, and its memory."""
        values = {f"policy.{name}": value for name, value in {**parameters, **shared}.items()}
        return functional_call(_Step(self.policy), values, inputs)


class _Step(nn.Module):
    """One step of a policy as a module, so that `functional_call` can replace the policy's parameters."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, obs: Tensor, memory: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        action, memory = self.policy.step(obs, memory, noise)
        return self.policy.decode(action), memory
