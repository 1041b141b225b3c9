"""Episodes without a time limit, evaluations whose episodes end one by one, and runs resumed with other options."""

import gymnasium
import numpy as np
import pytest
import torch
import yaml
from gymnasium.wrappers import TimeLimit

from diffsim.policies import GaussianMLP, LinearPolicy
from diffsim.policies.policy import Policy
from diffsim.trainers.black_box.cem import CEM
from diffsim.trainers.errors import CheckpointError
from diffsim.trainers.experience import time_limits
from diffsim.trainers.experience.time_limits import episode_limit
from diffsim.trainers.experience.vector_env import ReplayedEnv
from diffsim.trainers.likelihood_ratio.reinforce import Reinforce
from diffsim.trainers.run.checkpoint import read_checkpoint
from diffsim.trainers.run.evaluation import OfficialEvaluation
from diffsim.trainers.run.lightning_training import LightningTraining
from diffsim.trainers.run.run_folder import RunFolder
from tests.trainers.commands import diffsim
from tests.trainers.q_learners import make, small_sac
from tests.trainers.small_envs import Chain, vector

CUT = "truncated after 7 steps, because the environment has no time limit"


class Uneven(Chain):
    """Episodes of 3 to 7 steps, by their seed. The reward is the action."""

    def reset(self, *, seed=None, options=None):
        self.limit = 3 + (seed or 0) % 5
        return super().reset(seed=seed)

    def step(self, action):
        obs, _, *rest = super().step(action)
        return obs, float(action[0]), *rest


gymnasium.register("Endless-v0", Chain, kwargs={"limit": 10**9})
gymnasium.register("Uneven-v0", Uneven)


@pytest.fixture
def limit_of_seven(monkeypatch):
    monkeypatch.setattr(time_limits, "LONGEST_EPISODE", 7)


@pytest.mark.usefixtures("limit_of_seven")
def test_training_truncates_an_episode_without_a_limit_and_keeps_no_more_actions():
    env = ReplayedEnv(vector(Chain, 2, limit=10**9), 0)
    for _ in range(6):
        assert not np.any(env.step(np.zeros((2, 1)))[2:4])
    with pytest.warns(UserWarning, match=CUT):
        _, _, terminated, truncated, _ = env.step(np.zeros((2, 1)))
    assert truncated.all() and not terminated.any()
    env.reset(options={"reset_mask": truncated})
    for _ in range(5):
        env.step(np.zeros((2, 1)))
    assert len(env.state_dict()["actions"]) == 5
    again = ReplayedEnv(vector(Chain, 2, limit=10**9), 0)
    again.load_state_dict(env.state_dict())
    assert again.age.tolist() == [5, 5]


@pytest.mark.usefixtures("limit_of_seven")
def test_an_environments_own_limit_counts_however_it_is_set():
    assert episode_limit(gymnasium.make("CartPole-v1")) == (500, True)
    assert episode_limit(gymnasium.make("Endless-v0", max_episode_steps=90)) == (90, True)
    assert episode_limit(TimeLimit(Chain(), 8)) == (8, True)
    assert episode_limit(vector(Chain, 2)) == (7, False)
    assert episode_limit(gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="sync")) == (500, True)
    assert episode_limit(gymnasium.make_vec("CartPole-v1", 1, vectorization_mode="async")) == (500, True)


@pytest.mark.usefixtures("limit_of_seven")
def test_evaluations_and_whole_episodes_end_without_a_time_limit():
    spaces = Chain.observation_space, Chain.action_space
    with pytest.warns(UserWarning, match=CUT):
        episodes = OfficialEvaluation("Endless-v0", {}, episodes=2).run(GaussianMLP(*spaces).double())
    assert episodes.lengths.tolist() == episodes.returns.tolist() == [7, 7]
    reinforce = make(Reinforce, GaussianMLP, vector(Chain, 2, limit=10**9))
    with pytest.warns(UserWarning, match=CUT):
        assert reinforce.train_iteration()["length"] == 7
    search = CEM(vector(Chain, 4, limit=10**9), LinearPolicy(*spaces).double(), population=4, elite_fraction=0.5)
    with pytest.warns(UserWarning, match=CUT):
        assert search.train_iteration()["return"] == 7


class Counting(Policy):
    """The action is the part of 10 steps since the number of rows changed, as a planner's last plan is kept."""

    noise_size = 0

    def __init__(self):
        super().__init__(Chain.observation_space, Chain.action_space, normalize=False)
        self.weight, self.counts = torch.nn.Parameter(torch.zeros(1)), torch.zeros(0, 1)

    def forward(self, obs, noise=None):
        self.counts = self.counts + 1 if len(self.counts) == len(obs) else torch.zeros(len(obs), 1)
        return self.counts.double() / 10

    def reset(self, ended=None):
        self.counts = torch.zeros(0, 1)


def test_an_episode_has_the_same_return_alone_and_beside_episodes_that_end_before_it():
    """Of length n: (0 + 1 + ... + n - 1) / 10. When rows went as episodes ended, the count began again each time."""
    together = OfficialEvaluation("Uneven-v0", {}, episodes=5).run(Counting())
    alone = [OfficialEvaluation("Uneven-v0", {}, episodes=1, seed=i).run(Counting()).returns[0] for i in range(5)]
    assert together.lengths.tolist() == [3, 4, 5, 6, 7]
    assert together.returns.tolist() == alone and alone == pytest.approx([0.3, 0.6, 1.0, 1.5, 2.1])


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    words = ["--task", "CartPole-v1", "--algorithm", "A2C", "--num_envs", 2, "--horizon", 2, "--updates", 1]
    words += ["--hidden_sizes", "[4]", "--evaluate_episodes", 1, "--final_episodes", 1, "--iterations", 1]
    assert diffsim("fit", *words, "--run", path) == 0
    return RunFolder(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_envs", 4, "num_envs must be 2 in the config.yaml of a run that is resumed, as when it began, got 4"),
        ("hidden_sizes", [5], "hidden_sizes must be [4] in the config.yaml"),
        ("gamma", 0.5, "gamma must be 0.99 in the config.yaml"),
        ("gamma", "half", "--gamma must be of type float"),
        ("evaluate_every", 3, None),
    ],
)
def test_a_resumed_run_keeps_its_options_and_an_edited_one_is_refused_by_name(
    finished_run, capsys, name, value, message
):
    before = finished_run.config.read_text()
    finished_run.config.write_text(yaml.safe_dump(yaml.safe_load(before) | {name: value}))
    try:
        status = diffsim("fit", "--resume", finished_run.path)
    finally:
        finished_run.config.write_text(before)
    error = capsys.readouterr().err
    assert status == (0 if message is None else 2) and (message or "") in error and error.count("\n") <= 1


def test_a_checkpoint_that_does_not_fit_is_refused():
    """Also one of an older version, which does not keep the options of its run."""
    module = LightningTraining(small_sac())
    state = {name: torch.zeros(3, 1, 2) for name in module.state_dict()}
    with pytest.raises(CheckpointError, match="does not fit the algorithm or its environment: .*size mismatch"):
        module.load_state_dict(state)
    with pytest.raises(CheckpointError, match="does not fit the algorithm or its environment: KeyError: 'env_steps'"):
        module.on_load_checkpoint({"diffsim": {"iteration": 3}})


def test_checkpoints_keep_the_options_of_their_run(finished_run):
    assert yaml.safe_load(read_checkpoint(finished_run.checkpoint)["diffsim"]["options"])["gamma"] == 0.99
