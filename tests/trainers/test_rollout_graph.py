"""Marks on the nodes of one roll-out give the gradients of the trainers, on fixed noise."""

import itertools

import pytest
import torch
from torch import nn

from diffsim.gym import VectorEnv
from diffsim.mdp import Scenarios
from diffsim.policies import DeterministicMLP, GaussianMLP, HybridMLP
from diffsim.trainers.experience.rollout import rollout
from diffsim.trainers.graphs import (
    Enumerated,
    Learned,
    LeaveOneOut,
    Reparameterised,
    ScoreFunction,
    check_edges,
    surrogate,
)
from diffsim.trainers.graphs.drawing import draw_graph
from diffsim.trainers.graphs.rollout_graph import rollout_graph, rollout_positions
from diffsim.trainers.likelihood_ratio.reinforce import Reinforce
from diffsim.trainers.maths.returns import first_episode
from diffsim.trainers.model_based.svg import VARIANTS, Endless
from diffsim.trainers.pathwise.bptt import BPTT
from diffsim.trainers.pathwise.scg import SCG
from diffsim.trainers.value_gradient.dpg import DPG
from diffsim.trainers.value_gradient.svg0 import SVG0
from tests.trainers.hybrid_linear import GearedLinearQuadratic
from tests.trainers.linear import LinearQuadratic
from tests.trainers.test_svg import H as SVG_HORIZON
from tests.trainers.test_svg import all_windows, experience, make_policy, svg

H, N = 6, 5
EXACT = {"rtol": 1e-10, "atol": 1e-10}


def build(mdp, cls=GaussianMLP, noise_size=None, seed=0, **options):
    """A policy and scenarios of H steps."""
    torch.manual_seed(seed)
    policy = cls(mdp.observation_space, mdp.action_space, hidden_sizes=(8,), out_scale=1.0, **options).double()
    size = policy.noise_size if noise_size is None else noise_size
    return policy, Scenarios.draw(mdp, H, torch.Generator().manual_seed(seed), action_noise_size=size)


def gradient(number, policy):
    return torch.cat([part.flatten() for part in torch.autograd.grad(number, list(policy.parameters()))])


def marked(graph, letter, estimator):
    return {name: estimator for name in graph.stochastic_names if name[0] == letter}


@pytest.mark.parametrize(
    ("estimator", "baseline", "bound"),
    [
        ("gpomdp", "none", 1.2),
        ("gpomdp", "none", float("inf")),
        ("gpomdp", "time", float("inf")),
        ("reinforce", "none", float("inf")),
        ("reinforce", "average", float("inf")),
    ],
)
def test_score_functions_give_reinforce_and_gpomdp(estimator, baseline, bound):
    """With a node per reward, causality makes REINFORCE GPOMDP; with one node for the return, it has none."""
    mdp = LinearQuadratic(N, bound=bound, noise_std=0.3)
    policy, scenarios = build(mdp)
    options = {"baseline": baseline, "scale_weights": False, "gamma": 1.0, "normalize_reward": False}
    trainer = Reinforce(VectorEnv(mdp), policy, estimator=estimator, **options)
    with torch.no_grad():
        trajectory, _ = rollout(mdp, policy, scenarios)
        raw = policy.raw_distribution(trajectory.obs).sample(scenarios.action_noise)
    alive = first_episode(trajectory.ended)
    assert bound == float("inf") or not alive.all()
    trainer.learned_steps = int(alive.sum())
    weights = trainer.weights(trajectory, alive, None)
    expected = trainer.gradient(trajectory.obs, raw, weights, alive) * alive.sum() / N
    graph = rollout_graph(mdp, policy, scenarios, costs="return" if estimator == "reinforce" else "steps")
    chosen = ScoreFunction(None if baseline == "none" else LeaveOneOut())
    found = gradient(surrogate(graph, marked(graph, "x", chosen)), policy)
    torch.testing.assert_close(found, expected, **EXACT)
    assert expected.norm() > 0.1


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_reparameterised_choices_give_bptt(gamma):
    mdp = LinearQuadratic(N, bound=1.2, noise_std=0.3)
    policy, scenarios = build(mdp)
    trainer = BPTT(mdp, policy, horizon=H, start="per_iteration", gamma=gamma)
    trajectory, _ = rollout(mdp, policy, scenarios)
    assert trajectory.terminated.any()
    expected = gradient(trainer.objective(trajectory), policy)
    graph = rollout_graph(mdp, policy, scenarios, gamma)
    torch.testing.assert_close(gradient(surrogate(graph) / H, policy), expected, **EXACT)
    assert expected.norm() > 0.01


@pytest.mark.parametrize("variant", ["SVG1", "SVGk", "SVGInf"])
def test_a_learned_model_with_inferred_noise_gives_svg(variant):
    """Data of another policy; SVG(1) has importance weights, and both SVG(1) and SVG(k) end with V."""
    _, _, data = experience(make_policy(seed=0))
    policy = make_policy(seed=1)
    horizon = {"SVG1": 1, "SVGk": 3, "SVGInf": SVG_HORIZON}[variant]
    trainer = svg(policy, data, gamma=0.9, **{**VARIANTS[variant], "horizon": horizon})
    found = trainer.infer(*all_windows(trainer))
    graph = rollout_graph(
        Endless(trainer.mdp), policy, found.scenarios, 0.9, value=trainer.target_value, weight=found.weight
    )
    assert ("v" in graph.nodes) == (variant != "SVGInf") and (found.weight != 1).any() == (variant != "SVGInf")
    expected = gradient(trainer.objective(found), policy)
    torch.testing.assert_close(gradient(surrogate(graph), policy), expected, **EXACT)
    assert expected.norm() > 0.1


class Critic(nn.Module):
    """Q as a product of features."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))

    def forward(self, obs, action):
        return ((obs @ self.weight) * action[..., 0] - action[..., 0].square())[None]


@pytest.mark.parametrize(("trainer_class", "policy_class"), [(SVG0, GaussianMLP), (DPG, DeterministicMLP)])
def test_a_critic_gives_svg0_and_dpg(trainer_class, policy_class):
    mdp = LinearQuadratic(N, noise_std=0.3)
    policy, scenarios = build(mdp, policy_class)
    critic = Critic()
    trainer = trainer_class(VectorEnv(mdp), policy, critic)
    with torch.no_grad():
        obs = rollout(mdp, policy, scenarios)[0].obs.flatten(0, 1)
    inputs = (obs, scenarios.action_noise.flatten(0, 1)) if trainer_class is SVG0 else (obs,)
    expected = gradient(-trainer.actor_loss(*inputs), policy)
    graph = rollout_graph(mdp, policy, scenarios, critic=lambda obs, action: critic(obs, action)[0])
    assert bool(graph.stochastic_names) == (trainer_class is SVG0)
    torch.testing.assert_close(gradient(surrogate(graph) / H, policy), expected, **EXACT)
    assert expected.norm() > 0.1


def scg_gradient(trainer, scenarios):
    """The gradient that the trainer's two passes compute for its optimizer, as a sum over the steps."""
    window = trainer.differentiate(scenarios, torch.zeros_like(trainer.age))
    loss = trainer.actor_loss(window.trajectory, scenarios.action_noise, trainer.ascent(window))
    return -H * gradient(loss, trainer.actor)


@pytest.mark.parametrize("continuous", ["pathwise", "score_function"])
@pytest.mark.parametrize("named", [True, False])
def test_mixed_estimators_give_scg(continuous, named):
    """Paths through the dynamics for the force, score functions for the gear, with V as the baseline and at the end."""
    mdp = GearedLinearQuadratic(N, noise_std=0.3, named=named)
    policy, scenarios = build(mdp, HybridMLP)
    trainer = SCG(mdp, policy, horizon=H, gamma=0.9, actor_lam=1.0, undiscount=False, continuous=continuous)
    target = trainer.critic.target
    graph = rollout_graph(mdp, trainer.actor, scenarios, 0.9, value=target)
    marks = {}
    for t, letter in itertools.product(range(H), "xk"):
        score = ScoreFunction(Learned(lambda obs, t=t: 0.9**t * target(obs), [f"o{t}"]))
        marks[f"{letter}{t}"] = Reparameterised() if letter == "x" and continuous == "pathwise" else score
    expected = gradient(surrogate(graph, marks), trainer.actor)
    torch.testing.assert_close(scg_gradient(trainer, scenarios), expected, **EXACT)
    other = ScoreFunction() if continuous == "pathwise" else Reparameterised()
    wrong = gradient(surrogate(graph, marks | marked(graph, "x", other)), trainer.actor)
    assert (wrong - expected).norm() > 0.1 * expected.norm()


def test_scg_without_the_score_of_later_choices_would_differ():
    """The negative control: the log probability of a gear depends on the forces before it."""
    mdp = GearedLinearQuadratic(N, noise_std=0.3)
    policy, scenarios = build(mdp, HybridMLP)
    trainer = SCG(mdp, policy, horizon=H, gamma=0.9, actor_lam=1.0, undiscount=False)
    right = scg_gradient(trainer, scenarios)
    trainer.objective = super(SCG, trainer).objective
    assert (scg_gradient(trainer, scenarios) - right).norm() > 0.01 * right.norm()


def test_scg_agrees_on_average_with_enumerated_gears():
    differences, enumerated = [], []
    mdp = GearedLinearQuadratic(2500)
    policy, _ = build(mdp, HybridMLP)
    trainer = SCG(mdp, policy, horizon=2, gamma=0.9, actor_lam=1.0, undiscount=False)
    for seed in range(25):
        scenarios = trainer.draw(torch.Generator().manual_seed(seed))
        graph = rollout_graph(mdp, trainer.actor, scenarios, 0.9, value=trainer.critic.target)
        enumerated.append(gradient(surrogate(graph, marked(graph, "k", Enumerated())), trainer.actor))
        differences.append(2 / H * scg_gradient(trainer, scenarios) - enumerated[-1])
    mean, spread = torch.stack(differences).mean(0), torch.stack(differences).std(0) / 5
    assert mean.norm() < 2 * spread.norm() and spread.norm() < 0.1 * torch.stack(enumerated).mean(0).norm()


def test_edges_are_complete():
    mdp = GearedLinearQuadratic(N, noise_std=0.3)
    policy, scenarios = build(mdp, HybridMLP)
    check_edges(rollout_graph(mdp, policy, scenarios, 0.9, value=lambda obs: obs.sum(-1)))


def test_pictures_place_nodes_apart(tmp_path):
    mdp = GearedLinearQuadratic(N)
    policy, scenarios = build(mdp, HybridMLP)
    for options in ({"value": lambda obs: obs[:, 0]}, {"costs": "return"}, {"critic": lambda obs, action: obs[:, 0]}):
        graph = rollout_graph(mdp, policy, scenarios, **options)
        places = rollout_positions(graph)
        assert set(places) == set(graph.nodes)
        for first, second in itertools.combinations(places.values(), 2):
            assert max(abs(a - b) for a, b in zip(first, second, strict=True)) >= 0.9
        axes = draw_graph(graph, marked(graph, "k", ScoreFunction()), positions=places, path=tmp_path / "rollout.png")
        assert len(axes.texts) == len(graph.nodes)


def test_bad_input_is_refused():
    mdp = LinearQuadratic(N, max_episode_steps=4)
    policy, scenarios = build(mdp)
    with pytest.raises(ValueError, match="horizon of scenarios must be at most max_episode_steps = 4, got 6"):
        rollout_graph(mdp, policy, scenarios)
    mdp = LinearQuadratic(N)
    with pytest.raises(ValueError, match="critic must be None with a value"):
        rollout_graph(mdp, policy, scenarios, value=lambda obs: obs, critic=lambda obs, action: obs)
    with pytest.raises(ValueError, match="costs must be one of steps, return, got 'all'"):
        rollout_graph(mdp, policy, scenarios, costs="all")  # pyright: ignore[reportArgumentType]
