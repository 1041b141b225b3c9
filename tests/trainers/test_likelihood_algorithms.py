"""The algorithms against their definitions, against each other and on problems with known solutions; exact resuming."""

from functools import partial

import pytest
import torch

from diffsim.policies import CategoricalMLP, GaussianMLP
from diffsim.trainers.experience.on_policy_batch import OnPolicyBatch
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.gradients.black_box import likelihood_ratio_gradients
from diffsim.trainers.likelihood_ratio.a2c import A2C
from diffsim.trainers.likelihood_ratio.actor_critic import ActorCritic
from diffsim.trainers.likelihood_ratio.natural_gradient import NaturalGradient
from diffsim.trainers.likelihood_ratio.on_policy import explained_variance, standardized
from diffsim.trainers.likelihood_ratio.ppo import PPO
from diffsim.trainers.likelihood_ratio.reinforce import Reinforce
from diffsim.trainers.likelihood_ratio.trpo import TRPO
from diffsim.trainers.maths.natural_step import flat, trainable
from diffsim.trainers.maths.returns import first_episode
from diffsim.trainers.maths.reward_normalizer import RewardNormalizer
from diffsim.trainers.run.arguments import RunOptions
from diffsim.trainers.run.checkpoint import read_checkpoint
from diffsim.trainers.run.evaluation import OfficialEvaluation
from diffsim.trainers.run.run_folder import RunFolder
from tests.trainers.running import assert_resumes_exactly, runner
from tests.trainers.small_envs import Chain, Target, vector

OPTIONS = RunOptions(task="small", evaluate_every=2)
SMALL = {
    "Reinforce": (Reinforce, {"value_epochs": 2, "value_minibatches": 2}),
    "ActorCritic": (ActorCritic, {"steps": 5}),
    "A2C": (A2C, {"horizon": 4, "updates": 3}),
    "PPO": (PPO, {"horizon": 16, "epochs": 2, "minibatches": 4}),
    "NaturalGradient": (NaturalGradient, {"horizon": 16, "value_epochs": 2, "value_minibatches": 2}),
    "TRPO": (TRPO, {"horizon": 16, "value_epochs": 2, "value_minibatches": 2, "value_proximal": 0.1}),
}


run = runner(OPTIONS)
WARM_UP_STEPS = 256


@pytest.fixture(autouse=True)
def short_warm_up(monkeypatch):
    """The observation statistics are initialised by fewer env steps than 2,048."""
    monkeypatch.setattr("diffsim.trainers.likelihood_ratio.on_policy.NORMALIZER_WARM_UP_STEPS", WARM_UP_STEPS)


def make(cls, env, seed=0, policy=None, **kwargs):
    torch.manual_seed(seed)
    continuous = hasattr(env.single_action_space, "low")
    kind = policy or (GaussianMLP if continuous else CategoricalMLP)
    net = kind(env.single_observation_space, env.single_action_space, hidden_sizes=(8,)).double()
    return cls(env, net, **{"value_hidden_sizes": (8,), "seed": seed, **kwargs})


def train(algorithm, iterations):
    """The metrics of each iteration."""
    return [algorithm.train_iteration() for _ in range(iterations)]


@pytest.mark.parametrize(
    ("name", "task"), [*((name, "CartPole-v1") for name in SMALL), ("PPO", "Hopper-v5"), ("TRPO", "diffsim/Hopper-v5")]
)
def test_resuming_is_exact(tmp_path, name, task):
    cls, options = SMALL[name]

    def fresh():
        return make(cls, make_env(task, 3, seed=1), seed=1, **options)

    assert_resumes_exactly(run, fresh, tmp_path, "network")


def test_value_networks_are_initialised_orthogonal_with_gain_sqrt_2():
    algorithm = make(PPO, make_env("Hopper-v5", 1), value_hidden_sizes=(16, 16))
    first, second, last = (layer.weight for layer in algorithm.value.network if hasattr(layer, "weight"))
    torch.testing.assert_close(first.T @ first, 2.0 * torch.eye(11).double(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(second @ second.T, 2.0 * torch.eye(16).double(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(last @ last.T, torch.eye(1).double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("value_lam", [0.0, 0.7, 1.0])
def test_the_value_bootstraps_at_time_outs_and_is_zero_at_terminations(value_lam):
    """Reward 1 at every step has value 1 / (1 - 0.8) = 5, whatever the time limit. Negative control: time-outs that are
    reported as terminations."""

    def fitted(honest):
        env = vector(Chain, 4, limit=3, honest=honest)
        options = {"value_learning_rate": 4e-2, "value_epochs": 4, "value_minibatches": 4, "normalize_reward": False}
        algorithm = make(TRPO, env, gamma=0.8, horizon=16, value_lam=value_lam, **options)
        for _ in range(25):
            trajectory, raw = algorithm.collect_window(16)
            algorithm.fit_value(algorithm.advantage_batch(trajectory, raw, 0.95, value_lam).flatten())
        with torch.no_grad():
            return algorithm.value(torch.ones(1, 1, dtype=torch.float64)).item()

    assert fitted(honest=True) == pytest.approx(5.0, abs=0.1)
    assert fitted(honest=False) < 3.0


FIT = {"value_epochs": 2, "value_minibatches": 2}
NATURAL = {"horizon": 8, "cg_iterations": 5, **FIT}


@pytest.mark.parametrize(
    ("cls", "options", "discrete"),
    [
        (Reinforce, {"learning_rate": 0.05, "baseline": "average"}, True),
        (Reinforce, {"learning_rate": 0.03, **FIT}, False),
        (ActorCritic, {"learning_rate": 0.01, "steps": 12}, True),
        (ActorCritic, {"learning_rate": 0.01, "steps": 12}, False),
        (A2C, {"learning_rate": 0.01, "horizon": 4, "updates": 3}, True),
        (A2C, {"learning_rate": 0.01, "horizon": 4, "updates": 3}, False),
        (PPO, {"learning_rate": 0.01, "horizon": 8, "minibatches": 2, "epochs": 3}, True),
        (PPO, {"learning_rate": 0.01, "horizon": 8, "minibatches": 2, "epochs": 3}, False),
        (NaturalGradient, {"max_kl": 0.1, **NATURAL}, True),
        (NaturalGradient, {"learning_rate": 0.2, **NATURAL}, False),
        (TRPO, {"max_kl": 0.1, **NATURAL}, True),
        (TRPO, {"max_kl": 0.1, **NATURAL}, False),
    ],
)
def test_the_best_action_is_learned(cls, options, discrete):
    """It is 0.6 times the observed sign, or one of three indices. An untrained policy gives 0, or equal
    probabilities."""
    algorithm = make(cls, vector(Target, 16, discrete=discrete), gamma=0.9, **options)
    train(algorithm, 60 if cls is Reinforce else 25)
    obs = torch.tensor([[1.0, 0.0], [-1.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    actions = algorithm.policy(obs)
    if discrete:
        assert actions.tolist() == [2, 0, 2]
    else:
        expected = torch.tensor([[0.6], [-0.6], [0.6]], dtype=torch.float64).expand(3, 2)
        assert (actions - expected).abs().max() < 0.2


@pytest.mark.parametrize("baseline", ["none", "average", "time", "optimal"])
@pytest.mark.parametrize("estimator", ["reinforce", "gpomdp"])
def test_reinforce_uses_the_estimator_of_the_gradient_report(estimator, baseline):
    """With gamma = 1, as a mean over steps instead of episodes. That estimator is tested to be unbiased."""
    options = {"estimator": estimator, "baseline": baseline, "gamma": 1.0, "scale_weights": False}
    algorithm = make(Reinforce, make_env("Hopper-v5", 4, seed=2), **options)
    trajectory, raw = algorithm.episodes()
    alive = first_episode(trajectory.ended)
    assert trajectory.ended.any(0).all() and not alive.all()
    estimate = algorithm.gradient(trajectory.obs, raw, algorithm.weights(trajectory, alive, None), alive)
    distribution = algorithm.actor.raw_distribution(trajectory.obs)
    noise = ((raw - distribution.mean) / distribution.std).detach()
    each = likelihood_ratio_gradients(algorithm.actor, trajectory, noise, 1.0, estimator, baseline)
    expected = each.mean(0) * 4 / alive.sum()
    assert (estimate - expected).norm() < 1e-8 * expected.norm()


def test_trpo_keeps_the_kl_bound_and_the_natural_gradient_does_not():
    trpo = make(TRPO, make_env("Hopper-v5", 4, seed=0), horizon=32, value_epochs=1)
    rows = train(trpo, 8)
    assert all(0 <= row["kl"] <= 0.01 and row["gain"] >= 0 for row in rows)
    assert sum(row["step_taken"] > 0 for row in rows) >= 6
    npg = make(NaturalGradient, make_env("Hopper-v5", 4, seed=0), horizon=32, value_epochs=1, max_kl=0.5, damping=0.01)
    assert max(row["kl"] for row in train(npg, 4)) > 0.5, "negative control: the second-order bound is not enough"


def batch_of(algorithm, horizon=8):
    trajectory, raw = algorithm.collect_window(horizon)
    return algorithm.advantage_batch(trajectory, raw, 0.9, 0.9).flatten()


def test_the_actor_critic_update_by_hand():
    """delta = r + 0.9 V(o') - V(o), with V(o') = 0 at a termination; the gradient is delta times the score."""
    algorithm = make(ActorCritic, vector(Target, 4), gamma=0.9, normalize_reward=False)
    algorithm.warm_up_normalizer(1)
    for last in (False, True):
        before = torch.as_tensor(algorithm.env.obs)
        trajectory, raw = algorithm.collect_window(1)
        batch = algorithm.advantage_batch(trajectory, raw, 0.0, 0.0).flatten()
        with torch.no_grad():
            next_value = 0.0 if last else algorithm.value(trajectory.next_obs[0])
            target = trajectory.reward[0] + 0.9 * next_value
            delta = target - algorithm.value(before)
        assert trajectory.terminated.all() == last
        torch.testing.assert_close(batch.returns, target)
        score = algorithm.actor.raw_distribution(before).log_prob(raw[0])
        expected = flat(torch.autograd.grad(-(delta * score).mean(), trainable(algorithm.actor)))
        found = flat(torch.autograd.grad(algorithm.loss(batch), trainable(algorithm.actor)))
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(("cls", "count"), [(A2C, "updates"), (ActorCritic, "steps")])
def test_an_iteration_of_three_updates_equals_three_iterations_of_one(cls, count):
    """The observation statistics change after every update, also within an iteration."""
    one, three = (make(cls, make_env("Hopper-v5", 2), **{count: number}) for number in (1, 3))
    train(one, 6)
    train(three, 2)
    assert one.env_steps == three.env_steps == one.policy.normalizer.count > 0
    for name, value in one.state_dict().items():
        assert torch.equal(value, three.state_dict()[name]), name


@pytest.mark.parametrize(("warm_up_steps", "steps"), [(2, 16), (100, 50)])
def test_the_warm_up_only_initialises_the_statistics(warm_up_steps, steps):
    """It lasts a window or `warm_up_steps` of both copies, whichever is longer. It happens once, and not without a
    normaliser."""
    algorithm, other = (make(PPO, make_env("Hopper-v5", 2, seed=1)) for _ in range(2))
    algorithm.warm_up_steps = warm_up_steps
    warm_up, _ = other.act(steps)
    first, _ = algorithm.collect_window(16)
    assert algorithm.env_steps == 2 * (steps + 16) and algorithm.policy.normalizer.count == 2 * steps
    for name, expected in (("mean", warm_up.obs.mean((0, 1))), ("variance", warm_up.obs.var((0, 1), correction=0))):
        torch.testing.assert_close(getattr(algorithm.policy.normalizer, name), expected, rtol=1e-9, atol=1e-12)
    ended = warm_up.ended[-1].unsqueeze(-1)
    assert torch.equal(torch.where(ended, 0.0, first.obs[0]), torch.where(ended, 0.0, warm_up.next_obs[-1]))
    assert torch.equal(algorithm.policy.network[0].weight, other.policy.network[0].weight)
    algorithm.collect_window(16)
    assert algorithm.env_steps == 2 * (steps + 32) and algorithm.policy.normalizer.count == 2 * steps
    unnormalized = make(PPO, make_env("Hopper-v5", 2), policy=partial(GaussianMLP, normalize=False))
    unnormalized.collect_window(16)
    assert unnormalized.env_steps == 2 * 16


@pytest.mark.parametrize("discrete", [False, True])
def test_the_first_gradient_of_ppo_is_that_of_a2c(discrete):
    options = {"value_weight": 0.3, "entropy_weight": 0.1, "normalize_advantage": False, "lam": 0.9}
    ppo, a2c = (make(cls, vector(Target, 4, discrete=discrete), **options) for cls in (PPO, A2C))
    trajectory, raw = ppo.collect_window(8)
    a2c.load_state_dict(ppo.state_dict())
    losses = ppo.loss(ppo.advantage_batch(trajectory, raw, 0.9, 0.9).flatten()), a2c.loss(trajectory, raw)[0]
    pairs = zip((ppo, a2c), losses, strict=True)
    one, two = (flat(torch.autograd.grad(loss, [*trainable(x.actor), *trainable(x.value)])) for x, loss in pairs)
    torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)


def test_the_clipped_surrogate_by_hand():
    """Ratios 1.5 and 0.5 with clip 0.2: min(1.5 A, 1.2 A), min(0.5 A, 0.8 A); a clipped step has no gradient."""
    ppo = make(PPO, vector(Target, 4), value_weight=1e-12, normalize_advantage=False)
    batch = batch_of(ppo)
    distribution = ppo.actor.raw_distribution(batch.obs)
    for ratio, advantage, expected, clipped in (
        (1.5, 2.0, 2.4, True),
        (1.5, -2.0, -3.0, False),
        (0.5, 2.0, 1.0, False),
        (0.5, -2.0, -1.6, True),
        (1.1, 2.0, 2.2, False),
    ):
        old = distribution.log_prob(batch.raw).detach() - torch.tensor(ratio, dtype=torch.float64).log()
        moved = batch._replace(log_prob=old, advantage=torch.full_like(old, advantage))
        loss = ppo.loss(moved)
        assert -loss.item() == pytest.approx(expected, rel=1e-6)
        gradient = flat(torch.autograd.grad(loss, trainable(ppo.actor)))
        assert (gradient.abs().max().item() < 1e-9) == clipped


def test_ppo_stops_early_above_max_kl():
    options = {"horizon": 16, "epochs": 20, "minibatches": 2, "learning_rate": 0.03}
    for max_kl, passes in ((1e-9, 1), (None, 20)):
        ppo = make(PPO, vector(Target, 4), max_kl=max_kl, **options)
        assert ppo.train_iteration()["passes"] == passes


def test_the_proximal_term_limits_the_change_of_the_value():
    """With a weight far above the errors the value hardly changes; without it, it does."""
    moved = []
    for proximal in (0.0, 1e6):
        algorithm = make(TRPO, vector(Target, 4), value_epochs=50, value_minibatches=1, value_proximal=proximal)
        algorithm.optimizers = [torch.optim.SGD(algorithm.value.parameters(), lr=1e-7 if proximal else 0.05)]
        before = flat(algorithm.value.parameters()).detach().clone()
        algorithm.fit_value(batch_of(algorithm))
        moved.append((flat(algorithm.value.parameters()) - before).norm().item())
    assert moved[0] > 1e-1 and moved[1] < 1e-5


def test_minibatches_contain_every_step_once():
    numbers = torch.arange(10.0)
    batch = OnPolicyBatch(*[numbers] * 6)
    parts = list(batch.minibatches(4, torch.Generator().manual_seed(0)))
    assert [len(part.obs) for part in parts] == [3, 3, 3, 1]
    together = torch.cat([part.returns for part in parts])
    assert torch.equal(together.sort()[0], numbers) and not torch.equal(together, numbers)


def test_standardized_and_explained_variance_by_hand():
    torch.testing.assert_close(standardized(torch.tensor([1.0, 3.0])), torch.tensor([-1.0, 1.0]))
    assert not standardized(torch.ones(3)).any()
    returns = torch.tensor([0.0, 2.0, 4.0])
    assert explained_variance(returns, returns) == 1.0
    assert explained_variance(torch.full((3,), 7.0), returns) == 0.0


def test_reward_normalization_against_its_definition():
    generator = torch.Generator().manual_seed(0)
    reward = torch.randn(12, 2, generator=generator, dtype=torch.float64) + 1.0
    ended = torch.rand(12, 2, generator=generator) < 0.3
    normalizer = RewardNormalizer(2, 0.9).double()
    scaled = torch.cat([normalizer(reward[:5], ended[:5]), normalizer(reward[5:], ended[5:])])
    sums = []
    for n in range(2):
        total = 0.0
        for t in range(12):
            total = (0.0 if t and ended[t - 1, n] else 0.9 * total) + reward[t, n].item()
            sums.append((t, total))
    for window, steps in ((slice(0, 5), range(5)), (slice(5, 12), range(12))):
        variance = torch.tensor([total for t, total in sums if t in steps], dtype=torch.float64).var(correction=0)
        torch.testing.assert_close(scaled[window], reward[window] / (variance + 1e-4).sqrt(), rtol=1e-10, atol=0)


def test_a_constant_reward_of_one_step_episodes_is_scaled_to_ten():
    """Its return has no variance: 1 / sqrt(epsilon) would be 100. Ten is the bound of VecNormalize."""
    ones, ended = torch.ones(4, 2), torch.ones(4, 2, dtype=torch.bool)
    assert (RewardNormalizer(2, 0.9)(ones, ended) == 10.0).all()
    assert (RewardNormalizer(2, 0.9)(-ones, ended) == -10.0).all()


def test_statistics_are_saved_and_do_not_change_in_evaluations(tmp_path):
    evaluation = OfficialEvaluation("CartPole-v1", {}, episodes=2)
    algorithm = make(PPO, make_env("CartPole-v1", 2), evaluation=evaluation, **SMALL["PPO"][1])
    run(algorithm, tmp_path, 2)
    saved = read_checkpoint(RunFolder(tmp_path).checkpoint)["state_dict"]
    assert saved["policy.normalizer.count"] - WARM_UP_STEPS == 2 * 2 * 16 == saved["reward_normalizer.statistics.count"]
    assert torch.equal(saved["policy.normalizer.mean"], algorithm.policy.normalizer.mean)
    before = {name: value.clone() for name, value in algorithm.state_dict().items()}
    result = algorithm.evaluate()
    assert RunFolder(tmp_path).read_metrics()[-1]["eval/return"] == result["return"] == result["length"]
    assert all(torch.equal(value, before[name]) for name, value in algorithm.state_dict().items())


@pytest.mark.parametrize("begin", [None, WARM_UP_STEPS, WARM_UP_STEPS + 64])
def test_learning_rates_decay_to_zero(begin):
    end = WARM_UP_STEPS + 128
    ppo = make(PPO, vector(Target, 4), decay_env_steps=end if begin is None else (begin, end), **SMALL["PPO"][1])
    rates = [row["learning_rate"] for row in train(ppo, 3)]
    assert rates == pytest.approx([3e-4, 3e-4 * 64 / (end - begin if begin else end), 0.0])


@pytest.mark.parametrize(
    ("cls", "kwargs", "message"),
    [
        (PPO, {"horizon": 0}, "horizon must be >= 1, got 0"),
        (PPO, {"epochs": 0}, "epochs must be >= 1, got 0"),
        (PPO, {"clip": 0.0}, "clip must be > 0, got 0.0"),
        (PPO, {"max_kl": 0.0}, "max_kl must be > 0, got 0.0"),
        (PPO, {"entropy_weight": -1.0}, "entropy_weight must be >= 0, got -1.0"),
        (PPO, {"lam": 1.1}, r"lam must be in \[0, 1\], got 1.1"),
        (PPO, {"gamma": 0.0}, r"gamma must be in \(0, 1\], got 0.0"),
        (ActorCritic, {"steps": 0}, "steps must be >= 1, got 0"),
        (ActorCritic, {"value_learning_rate": 0.0}, "value_learning_rate must be > 0, got 0.0"),
        (A2C, {"updates": 0}, "updates must be >= 1, got 0"),
        (A2C, {"learning_rate": float("nan")}, "learning_rate must be > 0, got nan"),
        (TRPO, {"shrink": 1.0}, r"shrink must be in \(0, 1\), got 1.0"),
        (TRPO, {"damping": -0.1}, "damping must be >= 0, got -0.1"),
        (TRPO, {"cg_iterations": 0}, "cg_iterations must be >= 1, got 0"),
        (NaturalGradient, {"learning_rate": 0.0}, "learning_rate must be > 0, got 0.0"),
        (NaturalGradient, {"value_lam": 2.0}, r"value_lam must be in \[0, 1\], got 2.0"),
        (Reinforce, {"baseline": "best"}, "baseline must be one of none, average, time, optimal, value, got 'best'"),
        (Reinforce, {"estimator": "mc"}, "estimator must be one of reinforce, gpomdp, got 'mc'"),
        (Reinforce, {"estimator": "reinforce"}, "estimator must be gpomdp for baseline value, got 'reinforce'"),
        (Reinforce, {"num_envs": 1, "baseline": "time"}, "num_envs must be >= 2 for baseline time, got 1"),
        (Reinforce, {"max_norm": 0.0}, "max_norm must be > 0, got 0.0"),
        (TRPO, {"seed": -1}, "seed must be >= 0, got -1"),
    ],
)
def test_errors_name_argument_rule_and_value(cls, kwargs, message):
    env = vector(Target, kwargs.pop("num_envs", 2))
    with pytest.raises(ValueError, match=message):
        make(cls, env, **{"seed": 0, **kwargs})
