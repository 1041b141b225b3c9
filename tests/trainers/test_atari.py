"""Atari games: preprocessing against Gymnasium's wrappers, copies in threads, lost lives, and what runs show."""

import gymnasium
import numpy as np
import pytest
import torch

from diffsim.policies import CategoricalMLP
from diffsim.trainers.experience.atari import AtariOptions, atari_env, register_games
from diffsim.trainers.experience.vector_env import make_env, resumable
from diffsim.trainers.likelihood_ratio.ppo import PPO
from diffsim.trainers.likelihood_ratio.trpo import TRPO
from diffsim.trainers.run.arguments import parse_fit
from diffsim.trainers.run.run_folder import RunFolder
from tests.trainers.commands import diffsim, metrics

pytest.importorskip("ale_py")
pytest.importorskip("cv2")
BREAKOUT = "ALE/Breakout-v5"
CERTAIN = {"noop_max": 0, "repeat_action_probability": 0.0}  # no randomness: seeds are used differently


@pytest.mark.parametrize("game", ["Breakout", "MsPacman"])
def test_copies_in_threads_equal_gymnasiums_wrappers(game):
    """Pixel by pixel, for 150 random actions; the name of the other game is two words."""
    options = {**CERTAIN, "frame_skip": 3, "screen_size": [40, 52], "clip_rewards": False}
    copies, single = make_env(f"ALE/{game}-v5", 2, **options), atari_env(f"ALE/{game}-v5", **options)
    obs, _ = single.reset(seed=1)
    assert obs.shape == (4, 52, 40) and np.array_equal(copies.obs[0], obs) and np.array_equal(copies.obs[1], obs)
    generator, total = np.random.default_rng(0), 0.0
    for _ in range(150):
        action = generator.integers(single.action_space.n)
        seen, rewards, terminated, _, _ = copies.step(np.full(2, action))
        obs, reward, over, _, _ = single.step(action)
        total += float(reward)
        assert np.array_equal(seen[1], obs) and rewards[1] == reward and terminated[1] == over
        if over:
            break
    assert total > 0


def played(env, steps, seed=0):
    """Observations, rewards and ends of random actions; episodes follow each other."""
    generator, rows = np.random.default_rng(seed), []
    for _ in range(steps):
        obs, reward, terminated, truncated, _ = env.step(generator.integers(4, size=env.num_envs))
        rows.append((obs, reward, terminated, truncated))
        if (terminated | truncated).any():
            env.reset(options={"reset_mask": terminated | truncated})
    return [np.stack(part) for part in zip(*rows, strict=True)]


@pytest.mark.parametrize("life_loss", [False, True])
def test_games_continue_exactly_from_a_saved_state(life_loss):
    """With sticky actions, and with copies whose games began at different times."""
    make = lambda: make_env(BREAKOUT, 2, seed=5, terminal_on_life_loss=life_loss)  # noqa: E731
    env, other = make(), make()
    played(env, 160)
    saved = env.state_dict()
    assert len(set(saved["age"].tolist())) > 1 and saved["episode"].max() > 0
    other.load_state_dict(saved)
    for one, two in zip(played(env, 50, 1), played(other, 50, 1), strict=True):
        assert np.array_equal(one, two)


def test_a_lost_life_is_terminal_and_the_game_goes_on():
    """Breakout has five lives: the first four are terminal steps in which age goes on, the fifth ends the game."""
    env = make_env(BREAKOUT, 1, terminal_on_life_loss=True, **CERTAIN)
    generator, ends = np.random.default_rng(0), []
    while len(ends) < 6:
        _, _, terminated, truncated, info = env.step(generator.integers(4, size=1))
        assert not truncated.any()
        if terminated[0]:
            env.reset(options={"reset_mask": terminated})
            ends.append((int(info["lives"][0]), int(env.age[0]) > 0, int(env.episode[0])))
    assert ends == [(4, True, 0), (3, True, 0), (2, True, 0), (1, True, 0), (0, False, 1), (4, True, 1)]


def test_rewards_are_clipped_in_training_only():
    """A dot of Ms. Pac-Man is worth 10 points."""
    training, playing = make_env("ALE/MsPacman-v5", 1, **CERTAIN), atari_env("ALE/MsPacman-v5", **CERTAIN)
    wrapped = make_env("ALE/MsPacman-v5", 1, difficulty=0, **CERTAIN)  # in Gymnasium's wrappers
    playing.reset(seed=0)
    rewards = [(training.step([2])[1][0], wrapped.step([2])[1][0], playing.step(2)[1]) for _ in range(100)]
    assert set(rewards) == {(0.0, 0.0, 0.0), (1.0, 1.0, 10.0)}


def test_the_network_of_the_trpo_paper_has_33500_parameters():
    """Schulman et al. (2015), section 8.2, which rounds to hundreds; here for the six actions of Pong."""
    options = parse_fit(["--task", "ALE/Pong-v5", "--algorithm", "TRPO"])
    env = atari_env("ALE/Pong-v5", **options.task_kwargs)
    sizes = {"convolutions": options.convolutions, "hidden_sizes": options.hidden_sizes}
    policy = CategoricalMLP(env.observation_space, env.action_space, **sizes)
    assert round(sum(p.numel() for p in policy.parameters()), -2) == 33_500 and options.policy == "CategoricalMLP"


@pytest.mark.parametrize("algorithm", ["PPO", "A2C", "DQN"])
def test_image_tasks_have_defaults_which_options_override(algorithm):
    found = parse_fit(["--task", BREAKOUT, "--algorithm", algorithm])
    small = parse_fit(["--task", "CartPole-v1", "--algorithm", algorithm])
    cls = type(found)
    assert found.hidden_sizes != small.hidden_sizes and cls is type(small)
    assert parse_fit(["--task", BREAKOUT, "--algorithm", algorithm, "--hidden_sizes", "[8]"]).hidden_sizes == [8]


def test_fit_counts_frames_and_evaluates_with_the_games_own_rewards(tmp_path):
    words = ["--task", "ALE/Pong-v5", "--algorithm", "PPO", "--num_envs", 2, "--horizon", 16, "--iterations", 2]
    words += ["--hidden_sizes", "[8]", "--value_hidden_sizes", "[8]", "--epochs", 1, "--evaluate_episodes", 1]
    words += ["--final_episodes", 1, "--task_kwargs", '{"max_num_frames_per_episode": 100}']
    assert diffsim("fit", *words, "--run", tmp_path / "run") == 0
    rows = metrics(tmp_path / "run")
    assert [float(row["env_frames"]) for row in rows if row["env_frames"]] == [4 * 32, 4 * 64]
    saved = torch.load(RunFolder(tmp_path / "run").checkpoint, weights_only=True)["state_dict"]
    assert saved["policy.encoder.network.0.weight"].shape == (32, 4, 8, 8)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_vector_environments_of_ale_may_be_given_to_an_algorithm(mode):
    """In both modes of autoreset, what a step shows is the end of the game, and the next one starts with its reset."""
    import ale_py

    register_games()
    keywords = {"use_fire_reset": False, "reward_clipping": True, "repeat_action_probability": 0.25}
    given = resumable(ale_py.AtariVectorEnv("breakout", 2, autoreset_mode=mode, **keywords), 5)
    for one, two in zip(played(given, 160), played(make_env(BREAKOUT, 2, seed=5), 160), strict=True):
        assert np.array_equal(one, two)
    policy = CategoricalMLP(given.single_observation_space, given.single_action_space, hidden_sizes=[4])
    assert "kl" in PPO(given, policy, horizon=4, epochs=1, minibatches=2).iterate()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_skip": 0}, "frame_skip must be >= 1, got 0"),
        ({"screen_size": [84]}, r"screen_size must be a number >= 1, or width and height, got \[84\]"),
        ({"repeat_action_probability": 2.0}, r"repeat_action_probability must be in \[0, 1\], got 2.0"),
        ({"terminal_on_life_loss": True, "mode": 1}, "terminal_on_life_loss must be false, got true with mode"),
    ],
)
def test_errors_name_option_rule_and_value(options, message):
    with pytest.raises(ValueError, match=message):
        make_env(BREAKOUT, 1, **options)


def test_unknown_games_are_refused_by_name(tmp_path, capsys):
    assert diffsim("fit", "--task", "ALE/Pang-v5", "--algorithm", "PPO", "--run", tmp_path / "run") != 0
    assert "ALE/Pang" in capsys.readouterr().err


def test_options_are_taken_from_those_of_the_task():
    kwargs = {"frame_skip": 2, "mode": 3}
    assert AtariOptions.pop(kwargs).frame_skip == 2 and kwargs == {"mode": 3}
    assert isinstance(TRPO.atari_defaults, dict) and gymnasium.spec("ALE/Pong-v5").kwargs["game"] == "pong"
