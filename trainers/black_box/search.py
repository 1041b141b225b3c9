"""Base class of the algorithms that search the parameters of a policy without gradients."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from diffsim.checks import require
from diffsim.policies import Policy
from diffsim.trainers.algorithm import Algorithm, Evaluator
from diffsim.trainers.black_box.candidates import Candidates
from diffsim.trainers.black_box.host_buffers import HostBuffers
from diffsim.trainers.black_box.make_rollouts import make_rollouts
from diffsim.trainers.black_box.population_policy import trained
from diffsim.trainers.black_box.shares import Answer, CommonNumbers, EpisodeOptions, Share, derived_seed, joined
from diffsim.trainers.black_box.workers import Processes, Ray, Setup, ThisProcess, Workers
from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.experience.vector_env import resumable
from diffsim.trainers.maths.natural_step import flat
from diffsim.trainers.metrics import Metric
from diffsim.trainers.options import given, option


class PopulationSearch(HostBuffers, Algorithm):
    """Asks for the parameter vectors of a population, rolls all of them out, and tells their returns.

        theta_1 .. theta_P = ask(),    U_k = mean return of M episodes with pi_theta_k,    tell(U)

    Each iteration is one generation. It is divided into shares of N / M members, whose episodes run together in the N
    copies of the environment: in one batch on our simulator, each world with its own member's weights. Workers evaluate
    shares; the results do not depend on them, to the bit, because seeds belong to generations and members.

    If the policy normalises observations, the statistics are those of all observations of earlier generations, and
    change between generations only. A generation whose returns are all equal contains no information: it is counted,
    and changes nothing. A return that is not finite is an error that names the member.

    Members and returns are on the CPU, in float64; on a GPU are the policy and our simulator.

    A subclass defines `ask` and `tell`. After `tell`, the policy has the parameters that the method proposes: for most
    methods, the mean of the search distribution.
    """

    family = "gradient-free"
    run_defaults: ClassVar[dict[str, Any]] = {"policy": "LinearPolicy"}
    takes_recurrent = True
    record: bool = False
    """Whether `tell` needs observations and rewards of every step."""

    env: VectorEnv = given("N copies: a SyncVectorEnv with autoreset mode DISABLED, or one of our simulator.")
    policy: Policy = given("the policy whose parameters are searched.")
    episodes: int = option("M, episodes of each member; N must be a multiple of it.", ">= 1", default=1)
    horizon: int | None = option("steps after which episodes are cut off; the task's if None.", ">= 1", default=None)
    gamma: float = option("discount.", "in (0, 1]", default=1.0)
    common_numbers: CommonNumbers = option(
        'common random numbers: the same M initial states and noises for all members of a "generation", or for the '
        'whole "run", as in PEGASUS; "none": other ones for every episode.',
        default="none",
    )
    sampled: bool = option("members take sampled actions instead of mean actions.", default=False)
    workers: int = option("processes that evaluate shares; 0 for the training process itself.", ">= 0", default=0)
    cluster: str | None = option(
        'address of a Ray cluster that evaluates shares, "auto", or "local" for a new one here; needs the ray extra.',
        default=None,
    )
    seed: int = option("seed of parameters, initial states and noises.", ">= 0", default=0)
    evaluation: Evaluator | None = given(
        "maps the policy to metrics; None for no evaluations.", default=None, kw_only=True
    )

    def setup(self) -> None:
        """Prepares the evaluation of shares.

        Raises: ValueError if the environment or the policy cannot be used.
        """
        require(self.workers == 0 or self.cluster is None, "workers", "0 if a cluster is given", self.workers)
        self.trained = trained(self.policy)
        require(len(self.trained) > 0, "policy", "one with parameters", type(self.policy).__name__)
        self.size = sum(p.numel() for p in self.trained)
        self.env = resumable(self.env, self.seed)
        self.env.centered_for(self.policy)
        names = ("episodes", "horizon", "gamma", "sampled", "common_numbers", "seed", "record")
        self.episode_options = EpisodeOptions(**{name: getattr(self, name) for name in names})
        self.here = ThisProcess(make_rollouts(self.env, self.policy, self.episode_options))
        self.setup_of_workers = Setup.of(self.env, self.policy, self.episode_options) if self.remote else None
        self.others: Workers | None = None

    @property
    def remote(self) -> bool:
        """Whether other processes evaluate the shares."""
        return self.workers > 0 or self.cluster is not None

    @abstractmethod
    def ask(self) -> Candidates:
        """The parameter vectors of the next generation."""

    @abstractmethod
    def tell(self, candidates: Candidates, returns: Tensor, answer: Answer) -> dict[str, Metric]:
        """Learns from a generation, and sets the policy's parameters.

        Args:
            candidates: what `ask` returned, P members.
            returns: float64 [P], mean return of each; finite, and not all equal.
            answer: all that the roll-outs returned.

        Returns: metrics.
        """

    def iterate(self) -> dict[str, Metric]:
        """Evaluates a generation, and learns from it.

        Raises: NonFiniteError if a return is not finite.
        """
        candidates = self.ask()
        answer = self.evaluate_members(candidates)
        returns = answer.returns.mean(1)
        for k, value in enumerate(returns.tolist()):
            if not returns[k].isfinite():
                raise NonFiniteError(
                    f"return of member {k} of generation {self.generation} must be finite, got {value}"
                )
        metrics: dict[str, Metric] = {
            "return": returns.mean(),
            "best_return": returns.max(),
            "worst_return": returns.min(),
        }
        metrics["episode_length"] = answer.lengths.double().mean()
        if returns.max() > returns.min():
            metrics.update(self.tell(candidates, returns, answer))
        return metrics

    @property
    def generation(self) -> int:
        """Number of the present generation, from 1."""
        return self.iteration + 1

    def evaluate_members(self, candidates: Candidates) -> Answer:
        """Rolls out all members; counts the steps, and updates the observation statistics."""
        size = self.here.rollouts.size
        device = torch.device("cpu") if self.remote else self.device
        buffers = {name: value.detach().to(device, copy=True) for name, value in self.policy.named_buffers()}
        shares = [
            Share(self.generation, first, candidates.part(first, first + size), buffers)
            for first in range(0, candidates.count, size)
        ]
        answers = self.evaluators().evaluate(shares)
        for answer in answers:
            if answer.moments is not None and self.policy.normalizer is not None:
                mean, variance, count = answer.moments
                mean, variance = torch.stack([mean, variance]).to(self.device)
                self.policy.normalizer.merge(mean, variance, count)
        answer = joined(answers)
        self.env_steps += int(answer.lengths.sum())
        return answer

    def evaluators(self) -> Workers:
        """Who evaluates the shares; other processes are started if they are needed."""
        if self.setup_of_workers is None:
            return self.here
        if self.others is None:
            setup, address = self.setup_of_workers, self.cluster
            self.others = Processes(setup, self.workers) if address is None else Ray(setup, address)
        return self.others

    def close(self) -> None:
        """Ends the workers. The next iteration starts them again."""
        if self.others is not None:
            self.others.close()
            self.others = None

    def vector(self) -> Tensor:
        """The policy's parameters: float64 [D], on the CPU."""
        return flat(self.trained).detach().double().cpu()

    @torch.no_grad()
    def set_policy(self, vector: Tensor) -> None:
        """Sets the policy's parameters, [D]."""
        parts = vector.to(self.device).split([p.numel() for p in self.trained])
        for parameter, part in zip(self.trained, parts, strict=True):
            parameter.copy_(part.view_as(parameter))

    def randn(self, *shape: int) -> Tensor:
        """Standard normal numbers: float64, on the CPU."""
        return torch.randn(shape, generator=self.generator, device=self.device, dtype=torch.float64).cpu()

    def random_seeds(self, count: int) -> list[int]:
        """Seeds of perturbations of this generation."""
        return [derived_seed(self.seed, self.generation, k, 1) for k in range(count)]
