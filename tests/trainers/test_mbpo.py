"""MBPO: imagined steps, mixed batches, and exact resuming."""

import pytest
import torch
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv

import diffsim
from diffsim.models import REWARDS, TERMINATIONS
from diffsim.policies import DeterministicMLP, GaussianMLP
from diffsim.trainers.cli import main
from diffsim.trainers.experience.rollout import Trajectory
from diffsim.trainers.model_based.imagined_replay import ImaginedReplay
from diffsim.trainers.model_based.mbpo import LEARNERS, MBPO, mean_or_last, replayed
from diffsim.trainers.run.arguments import RunOptions
from diffsim.trainers.run.checkpoint import read_checkpoint
from diffsim.trainers.run.run_folder import RunFolder
from tests.models.linear_system import quadratic_reward
from tests.trainers.running import runner
from tests.trainers.small_envs import LinearEnv, vector

MODEL = {"num_members": 2, "num_elites": 2, "hidden_sizes": (), "noise": "constant", "reward": "linear"}


@pytest.fixture(autouse=True)
def known_reward(monkeypatch):
    monkeypatch.setitem(REWARDS, "linear", quadratic_reward)


def fresh(learner="SAC", **kwargs):
    torch.manual_seed(3)
    env = vector(LinearEnv, 2)
    spaces = env.single_observation_space, env.single_action_space
    cls = GaussianMLP if learner == "SAC" else DeterministicMLP
    policy = cls(*spaces, hidden_sizes=(8,), normalize=False, out_scale=1.0).double()
    options = {
        "learner_kwargs": {"critic_hidden_sizes": (8,), "batch_size": 20, "replay_size": 1000},
        "model_kwargs": MODEL,
        "fit_kwargs": {"max_epochs": 2, "batch_size": 16},
        "initial_steps": 60,
        "fit_every": 10,
        "updates_per_step": 2.0,
        "branches_per_step": 2,
        "num_branches": 10,
        **kwargs,
    }
    return MBPO(env, policy, learner=learner, seed=4, **options)


run = runner(RunOptions(task="linear", evaluate_every=1))


@pytest.mark.parametrize("learner", LEARNERS)
def test_critics_have_layer_norm_by_default(learner):
    """With layer norm, doubling the weights of the first layer does not change the values."""
    for options, expected in (({}, True), ({"critic_layer_norm": False}, False)):
        critic = fresh(learner, learner_kwargs={"critic_hidden_sizes": (8,), **options}).learner.critic
        inputs = torch.randn(5, critic.weights[0].shape[1] - 1, dtype=torch.float64), torch.rand(5, 1).double()
        before = critic(*inputs)
        with torch.no_grad():
            critic.weights[0].mul_(2.0)
        assert torch.allclose(before, critic(*inputs), atol=1e-3) == expected


def test_a_learner_that_cannot_be_compiled_is_refused_before_training(monkeypatch):
    def fails(function):
        raise RuntimeError("no compiler")

    mbpo = fresh(learner_kwargs={"critic_hidden_sizes": (8,), "compile_updates": True})
    monkeypatch.setattr(torch, "compile", fails)
    with pytest.raises(ValueError, match="compile_updates must be false, since torch cannot compile here: no compiler"):
        mbpo.check()


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_learner_trains_and_resumes_exactly(tmp_path, learner):
    whole = run(fresh(learner), tmp_path / "whole", 4)
    assert whole.env_steps == 60 + 3 * 10 and whole.learner.updates == 60
    run(fresh(learner), tmp_path / "parts", 2)
    assert read_checkpoint(RunFolder(tmp_path / "parts").checkpoint)["diffsim"]["env_steps"] == 70
    parts = run(fresh(learner), tmp_path / "parts", 4, resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    for mine, theirs in zip(whole.replay.imagined, parts.replay.imagined, strict=True):
        assert torch.equal(mine, theirs)
    for mine, theirs in zip(whole.replay.in_order().values(), parts.replay.in_order().values(), strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(whole.generator.get_state(), parts.generator.get_state())
    assert torch.equal(whole.learner.generator.get_state(), parts.learner.generator.get_state())


def test_imagined_steps_branch_from_real_steps_and_follow_the_model(tmp_path):
    algorithm = run(fresh(imagined_steps=(3, 3, 0, 1), updates_per_step=0.01), tmp_path, 2)
    replay, model = algorithm.replay, algorithm.model
    imagined = replay.imagined
    assert len(imagined.reward) == 2 * 10 * 3  # branches per step, times steps per fit, times k
    obs, action, reward, reached = (
        part.unflatten(0, (2, 3, 10)) for part in (imagined.obs, imagined.action, imagined.reward, imagined.next_obs)
    )
    real = replay.in_order()["obs"][:30].flatten(0, 1)  # before the last 10 steps were taken
    assert (obs[:, 0, :, None] == real).all(-1).any(-1).all()
    assert not (obs[:, 1, :, None] == real).all(-1).any()
    assert torch.equal(obs[:, 1:], reached[:, :-1])
    assert torch.equal(reward, quadratic_reward(obs, action, reached))
    assert torch.equal(imagined.discount, torch.full_like(imagined.discount, 0.99))
    # The noise inferred for the members' predictions is standard normal.
    mean, std = zip(*(model.step(imagined.obs, imagined.action, torch.full((60,), e)) for e in (0, 1)), strict=True)
    noise = (torch.stack([imagined.next_obs] * 2) - torch.stack(mean)) / torch.stack(std)
    assert 0.7 < noise.abs().amin(0).square().mean().sqrt() < 1.2


def test_imagine_every_repeats_the_roll_outs_between_fits_with_the_current_policy(tmp_path, monkeypatch):
    """Every 4 of 10 env steps of 2 copies: three times per fit, for 4, 4 and 2 env steps."""
    acted, imagine, learn = [], MBPO.imagine, MBPO.learn
    monkeypatch.setattr(
        MBPO, "imagine", lambda self: (acted.append([p.clone() for p in self.policy.parameters()]), imagine(self))
    )
    monkeypatch.setattr(MBPO, "learn", lambda self, steps: (acted.append(steps), learn(self, steps))[1])
    algorithm = run(fresh(imagine_every=4), tmp_path, 3)
    assert acted[0] == 60 and acted[2::2] == [4, 4, 2] * 2
    assert algorithm.env_steps == 60 + 2 * 10 and algorithm.learner.updates == 2 * 20
    assert len(algorithm.replay.imagined.reward) == 2 * 4  # branches per step, times interval
    policies = acted[1::2]
    for one, next_one in zip(policies[:-1], policies[1:], strict=True):
        assert any(not torch.equal(*pair) for pair in zip(one, next_one, strict=True))


def test_metrics_are_averaged_over_the_turns_of_an_iteration():
    rows = [{"return": torch.tensor(2.0), "updates": 4}, {"updates": 8}, {"return": torch.tensor(5.0), "updates": 12}]
    assert mean_or_last(rows) == {"return": torch.tensor(3.5), "updates": 12}


def test_a_batch_has_the_given_fraction_of_real_steps():
    replay = ImaginedReplay(50, 1, {"obs": (1,), "action": (1,), "next_obs": (1,)}, real_fraction=0.25, gamma=0.9)
    for index in range(50):
        number = torch.tensor([float(index)])
        parts = dict.fromkeys(("obs", "action", "next_obs"), number[:, None])
        replay.add({**parts, "reward": number, "terminated": 0 * number, "truncated": 0 * number})
    generator = torch.Generator().manual_seed(0)
    assert (replay.sample(100, generator).reward >= 0).all()
    imagined = -1.0 - torch.arange(12.0).reshape(3, 4)
    ends = torch.zeros(3, 4, dtype=torch.bool)
    ends[1, 2] = True
    columns = imagined[..., None]
    replay.imagine([Trajectory(columns, columns, imagined, columns, ends, ~ends)])
    batch = replay.sample(4000, generator)
    assert (batch.reward >= 0).sum() == 1000
    assert set(batch.reward[batch.reward < 0].tolist()) == set(imagined.flatten().tolist())
    assert set(batch.reward[batch.reward >= 0].tolist()) == {float(i) for i in range(50)}
    torch.testing.assert_close(batch.discount, torch.where(batch.reward == imagined[1, 2], 0.0, 0.9))
    assert torch.equal(batch.obs[:, 0], batch.reward) and torch.equal(batch.next_obs, batch.obs)


def test_the_replay_is_converted_to_data():
    """Two copies with episodes of ten steps, one copy after the other."""
    algorithm = fresh()
    for _ in range(13):
        algorithm.learner.act()
    data = replayed(algorithm.replay)
    assert len(data) == 26 and data.episode.tolist() == [0] * 10 + [1] * 3 + [2] * 10 + [3] * 3
    inside = data.episode[1:] == data.episode[:-1]
    assert torch.equal(data.next_obs[:-1][inside], data.obs[1:][inside])


def test_imagined_steps_follow_their_schedule():
    """The authors' schedule for Hopper: 1 up to epoch 20, 15 from epoch 150, linear in between; 1,000 steps each."""
    algorithm, found = fresh(imagined_steps=(1, 15, 20_000, 150_000)), []
    for steps in (0, 20_000, 29_285, 29_286, 85_000, 150_000, 400_000):
        algorithm.env_steps = steps
        found.append(algorithm.horizon)
    assert found == [1, 1, 1, 2, 8, 15, 15]


def test_model_based_runs_end_at_their_budget_of_env_steps(monkeypatch):
    """60 random steps, then 10 per iteration up to 83: the last takes 3, rounded up to steps of 2 copies."""
    mbpo = fresh()
    monkeypatch.setattr(mbpo, "fit_model", lambda data: {})
    monkeypatch.setattr(mbpo, "imagine", lambda: None)
    mbpo.env_steps_limit, ends = 83, []
    mbpo.learner.update = lambda batch: {}
    while mbpo.env_steps < 83:
        mbpo.iterate()
        ends.append(mbpo.env_steps)
    assert ends == [60, 70, 80, 84]
    mbpo.env_steps_limit, mbpo.env_steps = 100, 97
    assert [mbpo.within_limit(steps) for steps in (1, 3, 9)] == [1, 3, 3]


def test_hopper_terminates_as_in_gymnasium():
    env, mdp = HopperEnv(), diffsim.make("Hopper-v5", num_envs=4000)
    generator = torch.Generator().manual_seed(0)
    state = 0.35 * torch.randn(4000, mdp.state_size, generator=generator, dtype=torch.float64)
    state[:, 1] += 1.0
    state[:50, 5:] *= 300
    state = state.to(mdp.dtype)
    ends = TERMINATIONS["Hopper-v5"](mdp.observation(state))
    # Observed velocities are clipped to 10, so the observation does not show velocities beyond 100.
    clipped = (mdp.observation(state)[:, 5:].abs() >= 10).any(1)
    assert torch.equal(ends[~clipped], mdp.terminal(state)[~clipped]) and 0.2 < ends.double().mean() < 0.95
    env.close()


def test_the_report_examines_the_model(tmp_path, capsys):
    path = str(tmp_path / "run")
    small = "{num_members: 2, num_elites: 1, hidden_sizes: [8], reward_hidden_sizes: [8]}"
    words = ["fit", "--task", "InvertedPendulum-v5", "--algorithm", "MBPO", "--iterations", "2", "--run", path]
    words += ["--model_kwargs", small, "--fit_kwargs", "{max_epochs: 1}", "--learner_kwargs", "{batch_size: 8}"]
    words += ["--initial_steps", "60", "--fit_every", "5", "--branches_per_step", "2", "--evaluate_episodes", "1"]
    assert main([*words, "--hidden_sizes", "[8]", "--updates_per_step", "1"]) == 0
    assert main(["model-report", path, "--horizons", "2", "--num_envs", "4"]) == 0
    assert "Open-loop error" in (tmp_path / "run" / "model_report.md").read_text()
    capsys.readouterr()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"learner": "PPO"}, "learner must be one of SAC, TD3, DDPG, got 'PPO'"),
        ({"learner_kwargs": {"warmup_steps": 3}}, "learner_kwargs must be among gamma, .*, got warmup_steps"),
        ({"real_fraction": 1.5}, r"real_fraction must be in \[0, 1\], got 1.5"),
        ({"imagined_steps": (1, 2)}, r"imagined_steps must be 4 numbers, got \[1, 2\]"),
        ({"imagined_steps": (3, 2, 0, 1)}, "imagined_steps must be shortest k >= 1, longest k .*, got"),
        ({"fit_every": 0}, "fit_every must be >= 1, got 0"),
        ({"imagine_every": 11}, "imagine_every must be at most fit_every = 10, got 11"),
        ({"validation_share": 0.0}, r"validation_share must be in \(0, 0.5\], got 0.0"),
    ],
)
def test_errors_name_argument_rule_and_value(kwargs, message):
    with pytest.raises(ValueError, match=message):
        fresh(**kwargs)
