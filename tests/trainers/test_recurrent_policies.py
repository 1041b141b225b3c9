"""Algorithms that carry a policy's memory: windows, gradients, resuming, evaluation, and those that refuse it."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from diffsim.mdp import Scenarios
from diffsim.policies import GaussianMLP, GRUPolicy, LSTMPolicy
from diffsim.trainers import BPTT, SHAC, TRPO
from diffsim.trainers.black_box.population_policy import PopulationPolicy, trained
from diffsim.trainers.experience.rollout import rollout
from diffsim.trainers.experience.vector_env import resumable
from diffsim.trainers.model_based.collection import collect_data
from diffsim.trainers.run.api import NumpyPolicy
from diffsim.trainers.run.arguments import RunOptions
from diffsim.trainers.run.evaluation import OfficialEvaluation
from diffsim.trainers.run.registry import ALGORITHMS, choose
from tests.trainers.commands import diffsim
from tests.trainers.linear import LinearQuadratic
from tests.trainers.running import assert_resumes_exactly, runner
from tests.trainers.small_envs import vector

KINDS = (GRUPolicy, LSTMPolicy)
CARRIES = {
    *("BPTT", "Pegasus", "SHAC", "Reinforce", "A2C", "PPO", "NaturalGradient", "TRPO", "StepRWR", "StepREPS"),
    *("CEM", "CMAES", "RWR", "PoWER", "PI2", "REPS", "EvolutionStrategies", "MuLambdaES", "FiniteDifferences"),
}
SAMPLING = ("Reinforce", "A2C", "PPO", "NaturalGradient", "TRPO", "StepRWR", "StepREPS")
SMALL = {
    "Reinforce": {"value_epochs": 1},
    "A2C": {"updates": 2},
    "PPO": {"horizon": 8, "epochs": 1, "minibatches": 2},
    "NaturalGradient": {"horizon": 8, "cg_iterations": 2, "value_epochs": 1},
    "TRPO": {"horizon": 8, "cg_iterations": 2, "value_epochs": 1},
    "StepRWR": {"horizon": 8, "regression_iterations": 2, "value_epochs": 1},
    "StepREPS": {"horizon": 16, "gamma": 0.5, "regression_iterations": 2},
}


class RepeatFirst(gymnasium.Env):
    """Shows a sign in the first observation only; the third and last action should repeat it.

    Reward 1 - (u - sign)^2 for the last action. The best policy without a memory takes 0, for a return of 0.
    """

    observation_space = Box(-1.0, 1.0, (1,), np.float64)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age, self.sign = 0, float(self.np_random.choice([-1.0, 1.0]))
        return np.array([self.sign]), {}

    def step(self, action):
        self.age += 1
        last = self.age == 3
        return np.zeros(1), 1.0 - float((action[0] - self.sign) ** 2) if last else 0.0, last, False, {}


def repeat_first(name, policy=GRUPolicy, num_envs=4, seed=0, **options):
    env = vector(RepeatFirst, num_envs)
    torch.manual_seed(seed)
    sizes = {"hidden_size": 8} if policy is not GaussianMLP else {"hidden_sizes": (16,)}
    made = policy(env.single_observation_space, env.single_action_space, initial_std=0.5, **sizes).double()
    return choose("algorithm", name, ALGORITHMS)(env, made, seed=seed, **options)


def recurrent(mdp, cls=GRUPolicy, **options):
    torch.manual_seed(0)
    return cls(mdp.observation_space, mdp.action_space, hidden_size=3, out_scale=2.0, **options).double()


def replayed_log_prob(policy, trajectory, raw, memory):
    """Log densities one step after the other, with a cleared memory after each end."""
    found = []
    for time, ended in enumerate(trajectory.ended):
        mean, _ = policy.draw(trajectory.obs[time], memory)
        std = policy.log_std.exp()
        _, memory = policy.draw(trajectory.obs[time], memory, (raw[time] - mean) / std)
        found.append(torch.distributions.Normal(mean, std).log_prob(raw[time]).sum(-1))
        memory[ended] = 0.0
    return torch.stack(found), memory


@pytest.mark.parametrize("cls", KINDS)
@torch.no_grad()
def test_windows_continue_the_memory_and_ends_clear_it(cls):
    """Two windows of 4 steps over episodes of 3 against the steps one after the other."""
    ppo = repeat_first("PPO", cls)
    ppo.warm_up_steps = 0
    ppo.warm_up_normalizer(4)
    memory, remembers = ppo.memory.clone(), []
    for _ in range(2):  # up to steps 8 and 12
        trajectory, raw = ppo.collect_window(4)
        batch = ppo.advantage_batch(trajectory, raw, 0.9, 0.9)
        expected, memory = replayed_log_prob(ppo.policy, trajectory, raw, memory)
        torch.testing.assert_close(batch.log_prob, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(ppo.memory, memory, rtol=1e-12, atol=1e-12)
        remembers.append(bool(memory.any()))
    assert remembers == [True, False]
    parts = list(batch.minibatches(2, ppo.generator))
    assert [part.log_prob.shape for part in parts] == [(4, 2), (4, 2)]
    for part in parts:
        own = ppo.policy.distributions(part.seen).log_prob(part.raw)
        torch.testing.assert_close(own, part.log_prob, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SAMPLING)
def test_every_algorithm_that_samples_trains_a_memory(name):
    algorithm = repeat_first(name, **SMALL[name])
    before = algorithm.policy.recurrence.weight.clone()
    metrics = algorithm.train_iteration()
    assert all(np.isfinite(list(metrics.values()))) and algorithm.env_steps > 0
    assert not torch.equal(algorithm.policy.recurrence.weight, before)


@pytest.mark.parametrize(("policy", "low", "high"), [(GRUPolicy, 0.6, 1.0), (GaussianMLP, -0.6, 0.1)])
def test_a_memory_is_learned_where_it_is_needed(policy, low, high):
    algorithm = repeat_first("TRPO", policy, 16, horizon=12, max_kl=0.1, cg_iterations=10, value_epochs=2)
    algorithm.warm_up_steps = 100
    for _ in range(8):
        algorithm.train_iteration()
    with torch.no_grad():  # mean actions for both signs
        memory, obs = algorithm.policy.initial_memory(2), torch.tensor([[1.0], [-1.0]]).double()
        sign = obs
        for _ in range(3):
            action, memory = algorithm.policy.step(obs, memory)
            obs = torch.zeros_like(obs)
    assert low <= 1.0 - float((action - sign).square().mean()) <= high


def test_a_resumed_recurrent_trpo_run_ends_with_the_same_bits(tmp_path):
    """The windows of 5 steps end within episodes of 3, so that the memory is part of what is saved."""
    run = runner(RunOptions(task="InvertedPendulum-v5", algorithm="TRPO", policy="GRUPolicy", evaluate_every=2))

    def fresh():
        return repeat_first("TRPO", horizon=5, cg_iterations=2, value_epochs=1)

    assert_resumes_exactly(run, fresh, tmp_path, "policy.recurrence.weight", 4)
    saved = torch.load(next((tmp_path / "parts").rglob("*.ckpt")), weights_only=True)
    assert saved["state_dict"]["memory"].any()


def short_windows(cls, algorithm, remat=False, **options):
    """An algorithm on the linear system with a recurrent policy, memories that are not zero, and time-outs."""
    mdp = LinearQuadratic(3, noise_std=0.3, max_episode_steps=5)
    made = algorithm(mdp, recurrent(mdp, cls), horizon=7, remat=remat, **options)
    generator = torch.Generator().manual_seed(1)
    made.memory = 0.5 * torch.randn(made.memory.shape, generator=generator, dtype=torch.float64)
    return made, made.draw(generator), torch.tensor([0, 2, 4])


def differences(policy, value, every=3, step=1e-6):
    """Central differences of `value()` for some of the parameters, by name and index."""
    found = {}
    for name, parameter in policy.named_parameters():
        for index in range(0, parameter.numel(), every):
            values = []
            for sign in (1, -2):
                with torch.no_grad():
                    parameter.view(-1)[index] += sign * step
                    values.append(float(value()))
            with torch.no_grad():
                parameter.view(-1)[index] += step
            found[name, index] = (values[0] - values[1]) / (2 * step)
    return found


def assert_gradient(policy, gradient, expected):
    named = dict(zip(dict(policy.named_parameters()), gradient, strict=True))
    for (name, index), value in expected.items():
        # The error of central differences is of order step^2 and rounding / step: 1e-9 of values of order 10.
        assert float(named[name].view(-1)[index]) == pytest.approx(value, rel=1e-6, abs=1e-7), (name, index)


@pytest.mark.parametrize("cls", KINDS)
def test_the_gradient_of_bptt_passes_through_the_memory(cls):
    found = {}
    for remat in (False, True):
        bptt, scenarios, age = short_windows(cls, BPTT, remat)
        options = {"age": age, "max_age": 5, "memory": bptt.memory}

        def value(bptt=bptt, scenarios=scenarios, options=options, **more):
            return bptt.objective(rollout(bptt.mdp, bptt.policy, scenarios, **options, **more)[0])

        found[remat] = torch.autograd.grad(value(remat=remat), list(bptt.policy.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(*found.values(), strict=True))
    assert_gradient(bptt.policy, found[True], differences(bptt.policy, value))
    cleared = {**options, "memory": None}
    with torch.no_grad():
        assert float(value(options=cleared)) != pytest.approx(float(value()), rel=1e-6), "negative control"


@pytest.mark.parametrize("cls", KINDS)
def test_the_gradient_of_shac_passes_through_the_memory(cls):
    """The actor's loss, which replays the window, against differences of the objective of whole roll-outs."""
    shac, scenarios, age = short_windows(cls, SHAC, undiscount=False)

    def value():
        return shac.objective(rollout(shac.mdp, shac.actor, scenarios, age=age, memory=shac.memory)[0])

    window = shac.differentiate(scenarios, age, shac.memory)
    loss = shac.actor_loss(window.trajectory, scenarios.action_noise, shac.ascent(window))
    gradient = torch.autograd.grad(-7 * 3 * loss, list(shac.actor.parameters()))  # the loss is a mean over 7 x 3 steps
    assert_gradient(shac.actor, gradient, differences(shac.actor, value))


@pytest.mark.parametrize("algorithm", [BPTT, SHAC])
def test_a_world_that_ends_continues_as_a_fresh_one(algorithm):
    made, scenarios, age = short_windows(GRUPolicy, algorithm)
    with torch.no_grad():
        trajectory, worlds = rollout(made.mdp, made.policy, scenarios, age=age, memory=made.memory)
        (time,) = trajectory.ended[:, 1].nonzero()[:1, 0].tolist()  # world 1 first ends there
        noises = (noise[time + 1 :] for noise in (scenarios.process_noise, scenarios.action_noise))
        fresh = Scenarios(scenarios.resets[0], scenarios.resets, *noises)
        again, same = rollout(made.mdp, made.policy, fresh)
    assert trajectory.ended[:, 1].sum() == 1 and worlds.memory.any(1).all()
    torch.testing.assert_close(again.action[:, 1], trajectory.action[time + 1 :, 1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(same.memory[1], worlds.memory[1], rtol=1e-12, atol=1e-12)
    ends = Scenarios(
        scenarios.initial, scenarios.resets, *(n[:1] for n in (scenarios.process_noise, scenarios.action_noise))
    )
    cleared = rollout(made.mdp, made.policy, ends, age=age, memory=made.memory)[1].memory
    assert cleared.any(1).tolist() == [True, True, False], "the third world's time is up"
    for _ in range(2):
        made.train_iteration()
    assert made.memory.any() and not made.memory.requires_grad and "memory" in made.state_dict()


@pytest.mark.parametrize("cls", KINDS)
@torch.no_grad()
def test_every_member_of_a_population_has_its_own_memory(cls):
    policy = recurrent(LinearQuadratic(), cls)
    generator = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    members, obs, noise = randn(2, sum(p.numel() for p in trained(policy))), randn(3, 2, 4, 2), randn(3, 2, 4, 1)
    together = PopulationPolicy(policy, 2)
    together.load(members, dict(policy.named_buffers()))
    for noises in (noise, [None] * 3):
        memory = together.initial_memory(4)
        memories = [policy.initial_memory(4)] * 2
        for time in range(3):
            actions, memory = together(obs[time], memory, noises[time])
            for k, member in enumerate(members):
                torch.nn.utils.vector_to_parameters(member, trained(policy))
                own = None if noises[time] is None else noises[time][k]
                expected, memories[k] = policy.step(obs[time, k], memories[k], own)
                torch.testing.assert_close(actions[k], expected, rtol=1e-12, atol=1e-12)


def test_a_search_finds_parameters_that_remember():
    algorithm = repeat_first("CEM", num_envs=8, episodes=4, population=40, elite_fraction=0.2, common_numbers="run")
    best = max(algorithm.train_iteration()["best_return"] for _ in range(8))
    assert best > 0.5  # 0 without a memory


def test_evaluation_and_playing_carry_the_memory():
    """Episodes of different lengths together, each alone, and in a vector with resets."""
    env = gymnasium.make("InvertedPendulum-v5")
    torch.manual_seed(3)
    policy = GRUPolicy(env.observation_space, env.action_space, out_scale=3.0).double()
    returns, lengths, _ = OfficialEvaluation("InvertedPendulum-v5", {}, 3).run(policy)
    play, total = NumpyPolicy(policy), []
    for seed in range(3):
        play.reset()
        obs, _ = env.reset(seed=seed)
        ended, actions = False, []
        while not ended:
            actions.append(play(obs))
            obs, _, terminated, truncated, _ = env.step(actions[-1])
            ended = terminated or truncated
        total.append(len(actions))
    assert total == lengths.tolist() and len(set(total)) > 1
    play.reset()
    rows = np.random.default_rng(0).normal(size=(2, 2, 4))
    first, second = play(rows[0]), play(rows[1])
    play.reset(np.array([False, True]))
    assert not np.allclose(first, second) and np.allclose(play(rows[0])[1], first[1])
    with pytest.raises(ValueError, match=r"obs must have 2 rows until reset\(\) is called, got 3"):
        play(np.zeros((3, 4)))


def test_recorded_data_are_those_of_a_policy_with_memory():
    env = resumable(vector(RepeatFirst, 2), 0)
    policy = repeat_first("PPO").policy
    data, trajectory = collect_data(env, policy, 12, torch.Generator(), torch.zeros(0).double(), deterministic=True)
    starts = trajectory.starts
    with torch.no_grad():
        expected = policy.replay(trajectory.obs, None, starts, policy.initial_memory(2))
    torch.testing.assert_close(trajectory.action, expected, rtol=1e-12, atol=1e-12)
    assert starts[3].all() and data.log_prob.isnan().all()


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_algorithms_that_learn_from_single_steps_refuse_a_memory(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert choose("algorithm", name, ALGORITHMS).takes_recurrent == (name in CARRIES)
    if name in CARRIES:
        return
    task = "diffsim/InvertedPendulum-v5" if name != "DQN" else "CartPole-v1"
    words = ["--task", task, "--algorithm", name, "--policy", "GRUPolicy", "--iterations", 1]
    assert diffsim("fit", *words) == 2
    expected = f"policy must be one without a memory for {name}, which learns from single steps, got GRUPolicy"
    assert expected in capsys.readouterr().err and not any(tmp_path.iterdir())


def test_an_algorithm_made_from_python_refuses_a_memory_too():
    with pytest.raises(ValueError, match="policy must be one without a memory for DDPG, .*got GRUPolicy"):
        repeat_first("DDPG")
    with pytest.raises(ValueError, match="baseline must not be optimal for a recurrent policy"):
        repeat_first("Reinforce", baseline="optimal", estimator="reinforce")
    assert TRPO.takes_recurrent
