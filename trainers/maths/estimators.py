"""Estimators of the policy gradient, as functions of roll-outs with explicit noise.

N copies are N samples. An estimator is the gradient of an objective [N], one number per copy; an algorithm maximises
its mean. `per_sample_gradients` returns the gradient of each copy's objective, [N, D] for D parameters, as variances
need it. All estimate the gradient of

    J(theta) = E[ sum_t c_t ],    c_t = gamma^t r_t in a copy's first episode, 0 after it    (`counted_rewards`)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.utils import parameters_to_vector

from diffsim.checks import check_choice, require
from diffsim.trainers.maths.returns import discount_weights, first_episode


class GaussianActor(Protocol):
    """A policy whose actions are a function of x = mean + std * noise, such as `diffsim.policies.GaussianMLP`."""

    def distribution(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of x, [..., A] each."""
        ...


def counted_rewards(reward: Tensor, ended: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """The contribution of each step to the discounted return of a copy's first episode.

    Args:
        reward: [H, N].
        ended: bool [H, N], whether an episode ended on each step.
        gamma: discount, in (0, 1].

    Returns: contributions c, [H, N]; and whether each step belongs to the first episode, bool [H, N].
    Raises: ValueError if gamma is out of range.
    """
    alive = first_episode(ended)
    return discount_weights(ended, gamma).to(reward) * alive * reward, alive


def pathwise_objective(reward: Tensor, ended: Tensor, gamma: float, next_value: Tensor | None = None) -> Tensor:
    """The return, differentiable through the dynamics, with an optional value at the window's end or at a time-out.

        G = sum_t c_t + gamma^(T+1) V(o_{T+1}),    T: the first episode's last step in the window

    Its gradient is biased where the return is discontinuous, for example where a termination moves to the next step:
    the derivative does not include jumps.

    Args:
        reward: [H, N], with its graph.
        ended: bool [H, N], whether an episode ended on each step.
        gamma: discount, in (0, 1].
        next_value: [H, N], value of the observation each step reached, with its graph; zero where it terminated.

    Returns: [N].
    Source: Werbos (1990), "Backpropagation through time"; with a value, Heess et al. (2015), SVG(k).
    """
    counted, alive = counted_rewards(reward, ended, gamma)
    if next_value is None:
        return counted.sum(0)
    last = alive & (ended | (torch.arange(len(ended), device=ended.device)[:, None] == len(ended) - 1))
    weights = discount_weights(ended, gamma).to(reward) * gamma
    return (counted + weights * last * next_value).sum(0)


def likelihood_ratio_objective(log_prob: Tensor, weights: Tensor) -> Tensor:
    """Sums weighted log densities of the actions. It needs no derivative of the dynamics.

        sum_t log p(u_t | o_t) * w_t

    If w is the whole return, this is REINFORCE; if w is the reward-to-go, GPOMDP. Both stay unbiased if a baseline is
    subtracted from w that does not depend on the copy's own actions at t or later. Steps after the first episode have
    weight zero.

    Args:
        log_prob: [H, N], differentiable in the parameters at fixed actions.
        weights: [H, N]; detached.

    Returns: [N].
    Source: Williams (1992), REINFORCE; Baxter & Bartlett (2001), GPOMDP.
    """
    return (log_prob * weights.detach()).sum(0)


def surrogate_objective(log_prob: Tensor, old_log_prob: Tensor, weights: Tensor) -> Tensor:
    """The importance-weighted likelihood-ratio objective, which can be optimised for several steps.

        sum_t p(u_t | o_t) / p_old(u_t | o_t) * w_t

    Its gradient at the old parameters is that of `likelihood_ratio_objective`.

    Args:
        log_prob: [H, N], under the present parameters.
        old_log_prob: [H, N], under the parameters that chose the actions; detached.
        weights: [H, N], advantages; detached.

    Returns: [N].
    Source: Schulman et al. (2015), TRPO, equation 14.
    """
    return (torch.exp(log_prob - old_log_prob.detach()) * weights.detach()).sum(0)


def importance_objective(log_prob: Tensor, old_log_prob: Tensor, returns: Tensor) -> Tensor:
    """Unbiased estimate of the return under the present parameters, from roll-outs under old ones.

        prod_t p(u_t | o_t) / p_old(u_t | o_t) * G

    Args:
        log_prob: [H, N], under the present parameters; zero for steps after the first episode.
        old_log_prob: [H, N], under the parameters that chose the actions; detached.
        returns: [N], whole returns, minus a baseline; detached.

    Returns: [N].
    Source: Jie & Abbeel (2010), "On a connection between importance sampling and the likelihood ratio policy gradient".
    """
    return torch.exp((log_prob - old_log_prob.detach()).sum(0)) * returns.detach()


def log_prob_of_noise(policy: GaussianActor, obs: Tensor, noise: Tensor) -> Tensor:
    """Log density of the x sampled by `noise`, differentiable in the parameters at fixed x: [...].

    It differs from the log density of the action by the log determinant of the squashing, which does not depend on the
    parameters, and stays exact where the squashing saturates, so that x cannot be recovered from the action.

    Args:
        policy: policy whose parameters are differentiated.
        obs: [..., O].
        noise: [..., A].
    """
    mean, std = policy.distribution(obs)
    x = (mean + std * noise).detach()
    return torch.distributions.Normal(mean, std, validate_args=False).log_prob(x).sum(-1)


def average_baseline(returns: Tensor, alive: Tensor) -> Tensor:
    """The leave-one-out mean: the mean return of the *other* copies, over all their steps.

    With the copy's own return in the mean, the gradient estimate would be too small by the factor 1 - 1 / N.

    Args:
        returns: [H, N], whole returns or rewards-to-go.
        alive: bool [H, N], which steps belong to the first episode.

    Returns: [1, N].
    Source: Williams (1992); leaving one out, Kool, van Hoof & Welling (2019), "Buy 4 REINFORCE samples".
    """
    return _mean_of_others((returns * alive).sum(0, keepdim=True), alive.sum(0, keepdim=True))


def time_baseline(returns: Tensor, alive: Tensor) -> Tensor:
    """Leave-one-out mean at each time step, over the other copies that are still in their first episode.

    Args:
        returns: [H, N], whole returns or rewards-to-go.
        alive: bool [H, N], which steps belong to the first episode.

    Returns: [H, N]; zero where no other copy is left.
    """
    return _mean_of_others(returns * alive, alive)


def optimal_baseline(gradient: Tensor, score: Tensor, *, per_parameter: bool = True) -> Tensor:
    """The constant baseline of least variance, estimated from the other copies' gradients.

        b = E[g s] / E[s^2],    g: gradient without a baseline,  s = sum_t d/dtheta log p(u_t | o_t)

    For REINFORCE, whose g is G s, this is E[s^2 G] / E[s^2].

    Args:
        gradient: [N, D], of each copy, without a baseline.
        score: [N, D], gradient of each copy's summed log densities over the same steps.
        per_parameter: one constant per parameter, which has the least variance; otherwise one for all parameters,
            E[g.s] / E[s.s].

    Returns: [N, D], or [N, 1]. The estimate is `gradient - optimal_baseline(...) * score`.
    Source: Greensmith, Bartlett & Baxter (2004), "Variance Reduction Techniques for Gradient Estimates
    in Reinforcement Learning".
    """
    products, squares = gradient * score, score.square()
    if not per_parameter:
        products, squares = products.sum(1, keepdim=True), squares.sum(1, keepdim=True)
    return _ratio(products.sum(0) - products, squares.sum(0) - squares)


def per_sample_gradients(policy: nn.Module, objective: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Gradient of every copy's objective with respect to the policy's parameters, in one batched pass.

    Args:
        policy: its parameters that require gradients are differentiated, in the order of `parameters()`.
        objective: `objective(policy, *inputs)` of one copy, a scalar; each input is [H, ...] there.
        inputs: [H, N, ...] each.

    Returns: [N, D].
    """
    module = _Objective(policy, objective)
    parameters = {name: value.detach() for name, value in module.named_parameters() if value.requires_grad}

    def value(parameters: dict[str, Tensor], *inputs: Tensor) -> Tensor:
        return functional_call(module, parameters, inputs)

    batched = vmap(grad(value), in_dims=(None, *(1 for _ in inputs)))
    gradients: dict[str, Tensor] = batched(parameters, *(value.detach() for value in inputs))
    return torch.cat([gradients[name].flatten(1) for name in parameters], dim=1)


def score_objective(policy: GaussianActor, obs: Tensor, noise: Tensor, weights: Tensor) -> Tensor:
    """For `per_sample_gradients`: the likelihood-ratio objective of one copy, from [H, O], [H, A] and [H]."""
    return likelihood_ratio_objective(log_prob_of_noise(policy, obs, noise), weights)


def action_objective(policy: nn.Module, obs: Tensor, noise: Tensor, action_bar: Tensor) -> Tensor:
    """For `per_sample_gradients`: backpropagates dG/du [H, A] of one copy through its actions to the parameters."""
    return (policy(obs, noise) * action_bar).sum()


def draw_directions(
    kind: Literal["sphere", "coordinates"], count: int, size: int, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """Random unit vectors v with E[D v v'] = I, the directions of finite differences: [N, D].

    Args:
        kind: "sphere" for the uniform distribution on the sphere, "coordinates" for one random parameter each, which
            suits policies of few parameters.
        count: N.
        size: D, number of parameters.
        generator: source of randomness.
        dtype: of the result, which lies on the generator's device.

    Raises: ValueError if the kind is unknown.
    """
    check_choice("kind", kind, ("sphere", "coordinates"))
    if kind == "coordinates":
        chosen = torch.randint(size, (count,), generator=generator, device=generator.device)
        return torch.eye(size, dtype=dtype, device=generator.device)[chosen]
    normal = torch.randn(count, size, generator=generator, dtype=dtype, device=generator.device)
    return normal / normal.norm(dim=1, keepdim=True)


def difference_gradients(ahead: Tensor, behind: Tensor, directions: Tensor, step: float) -> Tensor:
    """Estimates gradients by central differences of returns, along one direction per copy.

        D * (G(theta + step * v) - G(theta - step * v)) / (2 * step) * v

    With common random numbers both returns have the same scenario, and most noise cancels.

    Args:
        ahead: [N], returns at theta + step * v, from an `OffsetPolicy`.
        behind: [N], returns at theta - step * v.
        directions: [N, D], from `draw_directions`.
        step: above 0. The error is of second order in it.

    Returns: [N, D].
    Source: Ng & Jordan (2000), PEGASUS; Glasserman & Yao (1992), "Some guidelines and guarantees for common random
    numbers".
    """
    return (directions.shape[1] * (ahead - behind) / (2 * step))[:, None] * directions


class OffsetPolicy:
    """N policies in one actor for `rollout`: copy n acts with the parameters plus `offsets[n]`.

    Args:
        policy: policy at zero offset.
        offsets: [N, D], in the order of `policy.parameters()`.

    Raises: ValueError if D is not the number of parameters.
    """

    def __init__(self, policy: nn.Module, offsets: Tensor) -> None:
        size = parameters_to_vector(policy.parameters()).numel()
        if offsets.shape[1] != size:
            raise ValueError(f"offsets must be [N, {size}], one number per parameter, got {tuple(offsets.shape)}")
        self.policy, self.parameters, start = policy, {}, 0
        for name, value in policy.named_parameters():
            moved = offsets[:, start : start + value.numel()].reshape(-1, *value.shape)
            self.parameters[name] = value.detach() + moved
            start += value.numel()

    def __call__(self, obs: Tensor, noise: Tensor | None) -> Tensor:
        """Actions [N, A] from `obs` [N, O] and `noise` [N, Z]."""

        def one(parameters: dict[str, Tensor], *inputs: Tensor) -> Tensor:
            return functional_call(self.policy, parameters, inputs)

        inputs = (obs,) if noise is None else (obs, noise)
        return vmap(one)(self.parameters, *inputs)


def mix_by_variance(pathwise: Tensor, likelihood_ratio: Tensor) -> Tensor:
    """Averages two unbiased estimates by inverse-variance weights.

        alpha * g_pathwise + (1 - alpha) * g_lr,    alpha = var(g_lr) / (var(g_pathwise) + var(g_lr))

    Variances are summed over the entries. Each half of the copies takes alpha from the other half: an alpha computed
    from the samples it weights would bias the mixture.

    Args:
        pathwise: [N, D], one pathwise estimate per copy.
        likelihood_ratio: [N, D], one likelihood-ratio estimate per copy.

    Returns: [N, D].
    Raises: ValueError if N is below 4, since each half needs a variance.
    Source: Parmas et al. (2018), "PIPPS: Flexible Model-Based Policy Search Robust to the Curse of Chaos".
    """
    count = len(pathwise)
    require(count >= 4, "copies", ">= 4 to mix by variance", count)
    halves = (slice(count // 2), slice(count // 2, count))
    mixed = torch.empty_like(pathwise)
    for own, other in (halves, halves[::-1]):
        noise_pathwise, noise_ratio = (g[other].var(0).sum() for g in (pathwise, likelihood_ratio))
        alpha = torch.where(noise_pathwise > 0, noise_ratio / (noise_pathwise + noise_ratio), 1.0)
        mixed[own] = alpha * pathwise[own] + (1 - alpha) * likelihood_ratio[own]
    return mixed


class _Objective(nn.Module):
    """A function of a policy as a module, so that `functional_call` can replace the policy's parameters."""

    def __init__(self, policy: nn.Module, objective: Callable[..., Tensor]) -> None:
        super().__init__()
        self.policy, self.objective = policy, objective

    def forward(self, *inputs: Any) -> Tensor:
        return self.objective(self.policy, *inputs)


def _mean_of_others(total: Tensor, count: Tensor) -> Tensor:
    """Leave-one-out means over the copies, the last axis, from sums [..., N] and counts [..., N]."""
    count = count.to(total)
    return _ratio(total.sum(-1, keepdim=True) - total, count.sum(-1, keepdim=True) - count)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Quotient, or zero where the denominator is zero."""
    safe = torch.where(denominator == 0, 1.0, denominator)
    return torch.where(denominator == 0, 0.0, numerator / safe)
