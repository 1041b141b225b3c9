"""A roll-out of a Markov decision process as a stochastic computation graph.

Policy gradients are choices of estimators for its nodes:

    REINFORCE            score functions for x_t, costs="return"
    ... with causality   score functions for x_t: the same as GPOMDP
    BPTT, SVG(inf)       x_t reparameterised
    SVG(k)               x_t reparameterised, k steps, and a value
    SVG(0), DPG          x_t reparameterised, or a deterministic policy, and a critic
    SCG                  x_t reparameterised, and score functions for k_t
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from diffsim.checks import check_choice, check_value, require
from diffsim.mdp import MDP, Scenarios
from diffsim.policies import HybridMLP, Policy, StochasticPolicy
from diffsim.trainers.graphs.graph import StochasticGraph

Value = Callable[[Tensor], Tensor]
"""Maps observations [N, O] to values [N]."""
Critic = Callable[[Tensor, Tensor], Tensor]
"""Maps observations [N, O] and actions [N, A] to values [N]."""


def rollout_graph(
    mdp: MDP,
    policy: Policy,
    scenarios: Scenarios,
    gamma: float = 1.0,
    *,
    costs: Literal["steps", "return"] = "steps",
    value: Value | None = None,
    critic: Critic | None = None,
    weight: Tensor | None = None,
) -> StochasticGraph:
    """Declares the nodes of a roll-out on fixed noise. Its costs are rewards: the surrogate is to be maximised.

        s_t -> o_t -> (x_t) -> u_t -> s_{t+1},    (s_t, u_t, s_{t+1}) -> r_t,    theta -> x_t

    x_t is the policy's raw choice: numbers before squashing, or indices. The raw choice of a policy with continuous and
    discrete parts is two nodes, x_t and k_t; a deterministic policy has none. Only the first episode of each copy
    counts: after its end, rewards are zero.

    Args:
        mdp: dynamics and reward.
        policy: policy, without a memory, whose gradient is wanted; the node "theta".
        scenarios: initial states, and noise of H steps. It must not have more steps than an episode.
        gamma: discount, in (0, 1].
        costs: "steps" has a node r_t for each discounted reward, "return" the node G, their sum, in place of them.
        value: V; adds the node v, gamma^H V(o_H) where no episode has ended. Its own parameters get no useful gradient.
        critic: Q; in place of each reward, the node q_t = Q(o_t, u_t), where the states are data, without a gradient.
        weight: [N], factor on the costs of each copy, such as an importance weight.

    Returns: the graph.
    Raises: ValueError if an argument is out of range, or critic is combined with a value, a return or a discount.
    Source: Schulman, Heess, Weber & Abbeel (2015), figure 4 and section 5; Heess et al. (2015) for SVG.
    """
    check_value("gamma", gamma, "in (0, 1]")
    check_choice("costs", costs, ("steps", "return"))
    require(policy.memory_size == 0, "policy", "one without a memory", type(policy).__name__)
    horizon, longest = scenarios.horizon, mdp.max_episode_steps
    require(horizon <= longest, "horizon of scenarios", f"at most max_episode_steps = {longest}", horizon)
    if critic is not None and (value is not None or costs == "return" or gamma != 1.0):
        raise ValueError("critic must be None with a value, costs='return' or gamma below 1: Q has them in itself")
    graph = StochasticGraph()
    graph.parameter("theta", policy)
    alive = torch.ones_like(scenarios.initial[:, :1])
    graph.input("s0", torch.cat([scenarios.initial, alive], dim=1))  # the last number: whether the episode goes on
    scale = alive[:, 0] if weight is None else weight
    rewards = []
    for t in range(horizon):
        state, reached = f"s{t}", f"s{t + 1}"
        graph.deterministic(f"o{t}", partial(_observation, mdp), state)
        _declare_action(graph, policy, t, scenarios.action_noise[t])
        if critic is None or t < horizon - 1:
            noise = scenarios.process_noise[t] if mdp.noise_size else None
            graph.deterministic(reached, partial(_transition, mdp, noise, critic is not None), state, f"u{t}")
        if critic is not None:
            graph.cost(f"q{t}", partial(_scaled, critic, scale), f"o{t}", f"u{t}", state)
            continue
        reward = partial(_reward, mdp, gamma**t * scale)
        declare = graph.cost if costs == "steps" else graph.deterministic
        rewards.append(declare(f"r{t}", reward, state, f"u{t}", reached))
    if costs == "return":
        graph.cost("G", lambda *parts: torch.stack(parts).sum(0), *rewards)
    if value is not None:
        last = partial(_last_value, mdp, value, gamma**horizon * scale)
        graph.cost("v", last, f"s{horizon}")
    return graph


def rollout_positions(graph: StochasticGraph) -> dict[str, tuple[float, float]]:
    """Places of a roll-out's nodes for `draw_graph`: a row for each kind of node, three columns for each step."""
    rows = {"s": (0.0, 2.0), "o": (0.0, 1.0), "x": (1.0, 1.0), "k": (1.0, 0.0), "u": (2.0, 1.0)}
    rows |= {"r": (2.0, 3.0), "q": (2.0, 2.0)}
    places: dict[str, tuple[float, float]] = {}
    for name in graph.nodes:
        if name[1:].isdigit():
            dx, y = rows[name[0]]
            places[name] = 3.0 * int(name[1:]) + dx, y
    end = max(x for x, _ in places.values())
    middle = 3.0 * ((sum(name[0] == "u" for name in places) - 1) // 2) + 2.5  # its edges pass between nodes
    others = {"theta": (middle, -2.0), "v": (end + 1.0, 3.0), "G": (end / 2, 4.5)}
    return {**places, **{name: place for name, place in others.items() if name in graph.nodes}}


def _declare_action(graph: StochasticGraph, policy: Policy, t: int, noise: Tensor) -> None:
    """Declares u_t, and the choices before it."""
    if not isinstance(policy, StochasticPolicy):
        given = noise if policy.noise_size else None
        graph.deterministic(f"u{t}", lambda theta, obs: theta(obs, given), "theta", f"o{t}")
        return
    if not isinstance(policy, HybridMLP):
        graph.stochastic(f"x{t}", lambda theta, obs: theta.raw_distribution(obs), "theta", f"o{t}", noise=noise)
        graph.deterministic(f"u{t}", lambda x: policy.squash(x), f"x{t}")
        return
    first, second = noise.split([policy.squash.num_numbers, len(policy.squash.counts)], dim=-1)
    graph.stochastic(f"x{t}", lambda theta, obs: theta.raw_distribution(obs).numbers, "theta", f"o{t}", noise=first)
    graph.stochastic(f"k{t}", lambda theta, obs: theta.raw_distribution(obs).choices, "theta", f"o{t}", noise=second)
    graph.deterministic(f"u{t}", lambda x, k: policy.squash(torch.cat([x, k.to(x)], -1)), f"x{t}", f"k{t}")


def _observation(mdp: MDP, state: Tensor) -> Tensor:
    """Observation of a state with its flag, [N, S + 1]."""
    return mdp.observation(state[:, :-1])


def _transition(mdp: MDP, noise: Tensor | None, cut: bool, state: Tensor, action: Tensor) -> Tensor:
    """The next state with its flag; without a gradient if `cut`."""
    reached = mdp.transition(state[:, :-1], action, noise)
    alive = state[:, -1:].detach() * ~mdp.terminal(reached)[:, None]
    found = torch.cat([reached, alive], dim=1)
    return found.detach() if cut else found


def _reward(mdp: MDP, scale: Tensor, state: Tensor, action: Tensor, reached: Tensor) -> Tensor:
    """The scaled reward, zero after the episode: [N]."""
    return scale * state[:, -1].detach() * mdp.reward(state[:, :-1], action, reached[:, :-1])


def _scaled(critic: Critic, scale: Tensor, obs: Tensor, action: Tensor, state: Tensor) -> Tensor:
    """The scaled value of an action, zero after the episode: [N]."""
    return scale * state[:, -1].detach() * critic(obs, action)


def _last_value(mdp: MDP, value: Value, scale: Tensor, state: Tensor) -> Tensor:
    """The scaled value of the last state, zero where an episode has ended: [N]."""
    return scale * state[:, -1].detach() * value(mdp.observation(state[:, :-1]))
