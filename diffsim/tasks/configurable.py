"""Base class of the tasks, whose constructor is made from declared options."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from diffsim.checks import check_count
from diffsim.mdp import MDP
from diffsim.options import Option, bound, declare


class ConfigurableMDP(MDP):
    """An MDP whose constructor is made from declared options: see `diffsim.options`.

    A subclass declares at least `num_envs` and `device`.
    """

    options: ClassVar[dict[str, Option]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        declare(cls)
        for name, declaration in cls.options.items():
            setattr(cls, name, declaration.default)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Takes the declared options."""
        for name, value in bound(type(self), args, kwargs).items():
            setattr(self, name, value)
        check_count("num_envs", self.num_envs)
        self.device = torch.device(self.device)
        if self.device.type == "cuda" and self.device.index is None and torch.cuda.is_available():
            self.device = torch.device("cuda", torch.cuda.current_device())
