"""Estimators of stochastic nodes: unbiased against closed forms and enumeration, variances in order, derivatives."""

import itertools
import math

import pytest
import torch
from torch.distributions import (
    Bernoulli,
    Categorical,
    Exponential,
    Independent,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
)

from diffsim.policies import Categoricals, DiagonalGaussian, FullGaussian
from diffsim.trainers.graphs import (
    Constant,
    Enumerated,
    GumbelSoftmax,
    Learned,
    LeaveOneOut,
    MeasureValued,
    Rebar,
    Relax,
    Reparameterised,
    ScoreFunction,
    StochasticGraph,
    StraightThrough,
    check_edges,
    evaluate,
    sample,
    surrogate,
)

SAMPLES = 100_000
SCORE = ScoreFunction()
BASELINES = {"none": SCORE, "constant": ScoreFunction(Constant(1.0)), "others": ScoreFunction(LeaveOneOut())}


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def estimates(declare, theta, estimators, samples=SAMPLES, seed=0):
    """Gradient of each sample, [N, D]; `declare` adds nodes that depend on "theta", [N, D]."""
    rows = tensor(theta).expand(samples, -1).clone().requires_grad_()
    graph = StochasticGraph()
    graph.input("theta", rows)
    declare(graph)
    found = evaluate(graph, estimators, generator=torch.Generator().manual_seed(seed))
    return torch.autograd.grad(found.surrogate.sum(), rows)[0]


def errors(each, exact):
    """Distance of the mean of [N, D] from `exact` [D] in standard errors; rounding counts as zero."""
    distance = (each.mean(0) - exact).abs()
    return torch.where(distance < 1e-12, 0.0, distance / (each.std(0) / len(each) ** 0.5))


# Two normal numbers: f = (x - 1)^2 + x y + sin y.

GAUSS = [0.3, -0.5, 0.1, -0.4]


def gaussian(make):
    def declare(graph):
        graph.stochastic("x", lambda theta: make(theta[:, :2], theta[:, 2:].exp()), "theta")
        graph.cost("f", lambda x: (x[:, 0] - 1).square() + x[:, 0] * x[:, 1] + x[:, 1].sin(), "x")

    return declare


def exact_gaussian():
    mean, std = GAUSS[:2], [math.exp(value) for value in GAUSS[2:]]
    damped = math.exp(-(std[1] ** 2) / 2)  # E sin y = damped sin(mean)
    by_mean = [2 * (mean[0] - 1) + mean[1], mean[0] + damped * math.cos(mean[1])]
    return tensor([*by_mean, 2 * std[0] ** 2, -damped * math.sin(mean[1]) * std[1] ** 2])


GAUSSIANS = {
    "Normal": Normal,
    "Independent": lambda mean, std: Independent(Normal(mean, std), 1),
    "DiagonalGaussian": DiagonalGaussian,
    "MultivariateNormal": lambda mean, std: MultivariateNormal(mean, scale_tril=torch.diag_embed(std)),
    "FullGaussian": lambda mean, std: FullGaussian(mean, torch.diag_embed(std)),
}
LAX = ScoreFunction(control_variate=Relax(lambda x: (x[:, 0] - 1).square()))
FOR_GAUSSIANS = {"reparameterised": Reparameterised(), **BASELINES, "lax": LAX}


INDEPENDENT = ["Normal", "Independent", "DiagonalGaussian"]
CASES = [*itertools.product(GAUSSIANS, FOR_GAUSSIANS), *((kind, "measure") for kind in INDEPENDENT)]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_gaussian_estimators_are_unbiased(kind, name):
    estimator = MeasureValued() if name == "measure" else FOR_GAUSSIANS[name]
    each = estimates(gaussian(GAUSSIANS[kind]), GAUSS, {"x": estimator})
    assert errors(each, exact_gaussian()).max() < 4


def test_variances_of_gaussian_estimators_are_in_order():
    """Theory: differences and paths below the score function, whose variance a control variate reduces."""
    names = ["measure", "reparameterised", "lax", "others", "none"]
    chosen = {"measure": MeasureValued(), **FOR_GAUSSIANS}
    variances = [estimates(gaussian(Normal), GAUSS, {"x": chosen[name]}).var(0).sum() for name in names]
    assert all(low < 0.9 * high for low, high in itertools.pairwise(variances))


# Three bits, with a cost that is not linear, and a choice among three.

LOGITS = [0.3, -0.5, 1.0]
GOAL, REWARDS = tensor([0.4, 0.7, 0.1]), tensor([1.0, -1.0, 2.0])


def bits_cost(x):
    return (x - GOAL).square().sum(-1) + x[..., 0] * x[..., 1]


def bits(graph):
    graph.stochastic("x", lambda theta: Bernoulli(logits=theta), "theta")
    graph.cost("f", bits_cost, "x")


def one_hot(graph):
    graph.stochastic("x", lambda theta: OneHotCategorical(logits=theta), "theta")
    graph.cost("f", lambda x: (x @ REWARDS).square(), "x")


def index(make):
    def declare(graph):
        graph.stochastic("x", lambda theta: make(theta.log_softmax(-1)), "theta")
        graph.cost("f", lambda x: REWARDS[x.flatten()].square(), "x")

    return declare


def exact_bits(theta=LOGITS):
    theta = tensor(theta).requires_grad_()
    values = tensor(list(itertools.product((0.0, 1.0), repeat=3)))
    p = torch.where(values > 0, theta.sigmoid(), 1 - theta.sigmoid()).prod(-1)
    return torch.autograd.grad((p * bits_cost(values)).sum(), theta)[0]


def exact_choice():
    theta = tensor(LOGITS).requires_grad_()
    return torch.autograd.grad(theta.softmax(-1) @ REWARDS.square(), theta)[0]


def relax(z):
    return z.sigmoid().sum(-1)


FOR_BITS = {
    **BASELINES,
    "relax": ScoreFunction(control_variate=Relax(relax)),
    "relax and baseline": ScoreFunction(LeaveOneOut(), Relax(relax)),
    "rebar": ScoreFunction(control_variate=Rebar()),
}


@pytest.mark.parametrize("name", FOR_BITS)
@pytest.mark.parametrize("declare", [bits, one_hot])
def test_discrete_estimators_are_unbiased(declare, name):
    exact = exact_bits() if declare is bits else exact_choice()
    assert errors(estimates(declare, LOGITS, {"x": FOR_BITS[name]}, seed=1), exact).max() < 4


def test_measure_valued_and_enumerated_choices_match_the_enumeration_by_hand():
    assert errors(estimates(bits, LOGITS, {"x": MeasureValued()}), exact_bits()).max() < 4
    categoricals = [Categorical, lambda logits: Categoricals((logits,))]
    declared = [index(lambda logits, make=make: make(logits=logits)) for make in categoricals[:1]]
    for declare in (one_hot, *declared, index(categoricals[1])):
        each = estimates(declare, LOGITS, {"x": Enumerated()}, samples=3)
        torch.testing.assert_close(each, exact_choice().expand(3, -1), rtol=1e-12, atol=1e-12)
        assert errors(estimates(declare, LOGITS, {"x": ScoreFunction(LeaveOneOut())}), exact_choice()).max() < 4
    each = estimates(bits, LOGITS, {"x": Enumerated()}, samples=3)
    torch.testing.assert_close(each, exact_bits().expand(3, -1), rtol=1e-12, atol=1e-12)


def test_variances_of_discrete_estimators_are_in_order():
    chosen = [MeasureValued(), ScoreFunction(LeaveOneOut()), ScoreFunction(control_variate=Rebar()), SCORE]
    variances = [estimates(bits, LOGITS, {"x": estimator}).var(0).sum() for estimator in chosen]
    assert all(low < 0.9 * high for low, high in itertools.pairwise(variances))


def test_relaxed_choices_are_biased_except_where_theory_says_so():
    """Straight-through is exact for linear costs. The bias of Gumbel-softmax falls with the temperature."""

    def linear(graph):
        graph.stochastic("x", lambda theta: OneHotCategorical(logits=theta), "theta")
        graph.cost("f", lambda x: x @ REWARDS.square(), "x")

    assert errors(estimates(linear, LOGITS, {"x": StraightThrough()}), exact_choice()).max() < 4
    assert errors(estimates(bits, LOGITS, {"x": StraightThrough()}), exact_bits()).max() > 20
    for declare, exact in ((one_hot, exact_choice()), (bits, exact_bits())):
        bias = [(estimates(declare, LOGITS, {"x": GumbelSoftmax(t)}).mean(0) - exact).norm() for t in (2.0, 0.5, 0.1)]
        assert bias[0] > 2 * bias[1] > 4 * bias[2]


def test_hard_gumbel_softmax_is_discrete_with_the_gradient_of_the_relaxed_choice():
    gradients = []
    for hard in (False, True):
        rows = tensor([LOGITS] * 50).requires_grad_()
        graph = StochasticGraph()
        graph.input("theta", rows)
        graph.stochastic(
            "x", lambda theta: OneHotCategorical(logits=theta), "theta", estimator=GumbelSoftmax(0.7, hard)
        )
        graph.cost("f", lambda x: x @ REWARDS, "x")
        found = evaluate(graph, generator=torch.Generator().manual_seed(0))
        assert torch.isin(found.costs["f"], REWARDS).all() == hard
        gradients.append(torch.autograd.grad(found.surrogate.sum(), rows)[0])
    torch.testing.assert_close(*gradients)


# A bit, a choice that depends on it, and a normal number that depends on both, with two costs.

CHAIN = [0.4, -0.3]
TABLE = tensor([[0.0, 1.0, -1.0], [2.0, 0.5, -0.5]])


def chain(graph):
    graph.stochastic("s", lambda theta: Bernoulli(logits=theta[:, 0]), "theta")
    graph.cost("first", lambda s, theta: s * theta[:, 1], "s", "theta")
    graph.stochastic("k", lambda s, theta: OneHotCategorical(logits=logits(s, theta)), "s", "theta")
    graph.stochastic("x", lambda s, k, theta: Normal(place(s, k, theta), 0.5), "s", "k", "theta")
    graph.cost("second", lambda x: x.square(), "x")


def logits(s, theta):
    return torch.stack([theta[..., 0] * s, theta[..., 1] + s, 0 * s], -1)


def place(s, k, theta):
    return (TABLE[s.long()] * k).sum(-1) + theta[..., 1]


def exact_chain(theta):
    """Expected cost by enumeration; theta [2]. E x^2 = place^2 + 1/4."""
    total = 0.0
    for s, p in ((tensor(0.0), 1 - theta[0].sigmoid()), (tensor(1.0), theta[0].sigmoid())):
        q = logits(s, theta).softmax(-1)
        after = sum(q[i] * (place(s, torch.eye(3, dtype=theta.dtype)[i], theta).square() + 0.25) for i in range(3))
        total = total + p * (s * theta[1] + after)
    return total


FOR_CHAIN = {
    "s": (SCORE, ScoreFunction(LeaveOneOut()), Enumerated(), MeasureValued()),
    "k": (SCORE, FOR_BITS["relax and baseline"], Enumerated()),
    "x": (SCORE, Reparameterised(), MeasureValued()),
}


@pytest.mark.parametrize("kinds", list(itertools.product(*FOR_CHAIN.values())))
def test_all_mixtures_in_a_chain_are_unbiased(kinds):
    exact = torch.func.grad(exact_chain)(tensor(CHAIN))
    each = estimates(chain, CHAIN, dict(zip(FOR_CHAIN, kinds, strict=True)), samples=20_000)
    assert errors(each, exact).max() < 4


def hessians(declare, theta, estimators, samples=SAMPLES):
    """Second derivatives of each sample, [N, D, D]."""
    rows = tensor(theta).expand(samples, -1).clone().requires_grad_()
    graph = StochasticGraph()
    graph.input("theta", rows)
    declare(graph)
    found = evaluate(graph, estimators, generator=torch.Generator().manual_seed(0)).surrogate
    (first,) = torch.autograd.grad(found.sum(), rows, create_graph=True)
    second = [torch.autograd.grad(first[:, i].sum(), rows, retain_graph=True)[0] for i in range(len(theta))]
    return torch.stack(second, 1)


@pytest.mark.parametrize(
    "kinds",
    [
        (SCORE, SCORE, SCORE),
        (ScoreFunction(LeaveOneOut()), FOR_BITS["relax"], Reparameterised()),
        (Enumerated(), ScoreFunction(Constant(2.0)), SCORE),
        (Enumerated(), Enumerated(), Reparameterised()),
    ],
    ids=["scores", "control variates", "mixed", "no scores"],
)
def test_second_derivatives_match_the_enumeration(kinds):
    exact = torch.func.hessian(exact_chain)(tensor(CHAIN))
    each = hessians(chain, CHAIN, dict(zip(FOR_CHAIN, kinds, strict=True)))
    assert errors(each.flatten(1), exact.flatten()).max() < 4


def test_a_plain_surrogate_has_wrong_second_derivatives():
    """The negative control: log p [f] in place of the magic box misses the product of scores."""
    rows = tensor([[0.4]] * SAMPLES).requires_grad_()
    x = Bernoulli(logits=rows[:, 0])
    value = x.sample()
    (first,) = torch.autograd.grad((x.log_prob(value) * value).sum(), rows, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), rows)
    p = torch.sigmoid(tensor(0.4)).item()
    assert errors(second, tensor([p * (1 - p) * (1 - 2 * p)])).max() > 20


def test_measure_valued_derivatives_refuse_to_be_differentiated_again():
    with pytest.raises(RuntimeError, match="must be differentiated once"):
        hessians(bits, LOGITS, {"x": MeasureValued()}, samples=2)


def test_a_trained_control_variate_has_less_variance():
    network = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)).double()
    estimator = {"x": ScoreFunction(control_variate=Relax(lambda z: network(z).squeeze(-1)))}
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for seed in range(200):
        rows = tensor(LOGITS).expand(100, -1).clone().requires_grad_()
        graph = StochasticGraph()
        graph.input("theta", rows)
        bits(graph)
        found = evaluate(graph, estimator, generator=torch.Generator().manual_seed(seed)).surrogate
        (each,) = torch.autograd.grad(found.sum(), rows, create_graph=True)
        optimizer.zero_grad()
        each.square().sum(1).mean().backward()
        optimizer.step()
    trained = estimates(bits, LOGITS, estimator, seed=1)
    assert errors(trained, exact_bits()).max() < 4
    assert trained.var(0).sum() < 0.7 * estimates(bits, LOGITS, {"x": ScoreFunction(LeaveOneOut())}).var(0).sum()


def test_a_learned_baseline_is_fitted_by_its_loss_and_may_not_depend_on_the_choice():
    weight = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    graph = StochasticGraph()
    graph.input("s", tensor([[1.0, 0.0]] * 500 + [[0.0, 1.0]] * 500))
    baseline = Learned(lambda s: s @ weight, ["s"])
    graph.stochastic("x", lambda s: Normal(s @ tensor([3.0, -2.0]), 1.0), "s", estimator=ScoreFunction(baseline))
    graph.cost("f", lambda x: x, "x")
    found = evaluate(graph, generator=torch.Generator().manual_seed(0))
    x = found.costs["f"]
    torch.testing.assert_close(found.baseline_loss, x.square())
    (gradient,) = torch.autograd.grad(found.baseline_loss.mean(), weight)
    torch.testing.assert_close(gradient, -torch.stack([x[:500].sum(), x[500:].sum()]) / 500)
    wrong = {"x": ScoreFunction(Learned(lambda x: x, ["x"]))}
    with pytest.raises(ValueError, match="the baseline of 'x' must not depend on it, got parent 'x'"):
        surrogate(graph, wrong)


def test_causality_a_score_does_not_multiply_costs_that_do_not_depend_on_its_choice():
    """With a huge cost of the first choice, the second would have a huge variance without causality."""

    def declare(graph):
        graph.stochastic("x", lambda theta: Normal(theta[:, 0], 1.0), "theta", estimator=SCORE)
        graph.stochastic("y", lambda theta: Normal(theta[:, 1], 1.0), "theta", estimator=SCORE)
        graph.cost("first", lambda x: 1e3 * x.square(), "x")
        graph.cost("second", lambda y: y, "y")

    assert estimates(declare, [0.0, 0.0], None, samples=10_000)[:, 1].var() < 10


@pytest.mark.parametrize("discrete", [True, False])
def test_a_missing_edge_is_caught_and_would_bias_the_gradient(discrete):
    def build(rows, *parents):
        hidden, graph = {}, StochasticGraph()
        graph.input("theta", rows)
        graph.stochastic("x", lambda t: Bernoulli(logits=t) if discrete else Normal(t, 1.0), "theta", estimator=SCORE)
        graph.deterministic("y", lambda x: hidden.update(x=x) or x, "x")
        graph.cost("f", lambda theta, *rest: theta + hidden["x"], *parents)  # reads x from a state of its own
        return graph

    rows = torch.full((SAMPLES,), 0.3, dtype=torch.float64, requires_grad=True)
    exact = 1.0 + (torch.sigmoid(rows[0]) * (1 - torch.sigmoid(rows[0])) if discrete else torch.ones(()))
    right, wrong = build(rows, "theta", "y"), build(rows, "theta")
    check_edges(right)
    with pytest.raises(ValueError, match="'f' must have 'x' among its ancestors, .* got parents theta"):
        check_edges(wrong)
    for graph, biased in ((right, False), (wrong, True)):
        (each,) = torch.autograd.grad(evaluate(graph).surrogate.sum(), rows)
        assert (errors(each[:, None], exact.detach()[None]).max() > 4) == biased


def test_given_noise_determines_the_choice_and_seeds_repeat_it():
    noise = torch.linspace(-1, 1, 8, dtype=torch.float64)
    graph = StochasticGraph()
    graph.parameter("theta", tensor(0.5))
    graph.stochastic("x", lambda theta: Normal(theta, 2.0), "theta", noise=noise)
    graph.stochastic("b", lambda theta: Bernoulli(theta), "theta", noise=noise)
    graph.stochastic("w", lambda theta: Exponential(theta), "theta")  # drawn by torch
    first, second = (sample(graph, num_samples=8, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    torch.testing.assert_close(first["x"], 0.5 + 2.0 * noise)
    torch.testing.assert_close(first["b"], (noise < 0).double())
    assert all(torch.equal(first[name], second[name]) for name in first)


def make_graph(**kinds):
    graph = StochasticGraph()
    graph.parameter("theta", tensor(0.5))
    graph.stochastic("x", lambda theta: kinds["x"](theta), "theta")
    graph.cost("f", kinds.get("f", lambda x: x), "x")
    return graph


@pytest.mark.parametrize(
    ("estimator", "distribution", "message"),
    [
        (Reparameterised(), Bernoulli, "distribution of 'x' must have rsample for Reparameterised, got Bernoulli"),
        (StraightThrough(), lambda t: Normal(t, 1.0), "must be Bernoulli or OneHotCategorical for StraightThrough"),
        (GumbelSoftmax(), lambda t: Normal(t, 1.0), "must be Bernoulli or OneHotCategorical for GumbelSoftmax"),
        (Enumerated(), lambda t: Normal(t, 1.0), "distribution of 'x' must be discrete to be enumerated, got Normal"),
        (Enumerated(most=1), Bernoulli, "values of 'x' must be at most 1, got 2"),
        (MeasureValued(), Exponential, "must be Normal or Bernoulli to be measure-valued, got Exponential"),
        (ScoreFunction(control_variate=Rebar()), lambda t: Normal(t, 1.0), "must be .* for Rebar, got Normal"),
    ],
)
def test_estimators_refuse_distributions_that_do_not_fit(estimator, distribution, message):
    with pytest.raises(ValueError, match=message):
        surrogate(make_graph(x=distribution), {"x": estimator}, num_samples=4)


def test_bad_input_is_refused():
    graph = make_graph(x=lambda t: Normal(t, 1.0))
    with pytest.raises(ValueError, match="num_samples must be given for a graph without inputs"):
        surrogate(graph)
    with pytest.raises(ValueError, match="estimators must name nodes among x, got 'f'"):
        surrogate(graph, {"f": SCORE}, num_samples=2)
    with pytest.raises(ValueError, match="num_samples must be >= 2 for a leave-one-out baseline, got 1"):
        surrogate(graph, {"x": ScoreFunction(LeaveOneOut())}, num_samples=1)
    with pytest.raises(ValueError, match=r"value of 'f' must be \[2\], got \[\]"):
        surrogate(make_graph(x=lambda t: Normal(t, 1.0), f=lambda x: x.mean()), num_samples=2)
    with pytest.raises(ValueError, match="name must be a new one, got 'x' again"):
        graph.deterministic("x", lambda theta: theta, "theta")
    with pytest.raises(ValueError, match="parents of 'y' must be among theta, x, got 'f'"):
        graph.deterministic("y", lambda f: f, "f")
    with pytest.raises(ValueError, match="graph must have a cost, got none"):
        surrogate(StochasticGraph(), num_samples=2)
    with pytest.raises(TypeError, match="function of 'x' must return a distribution, got Tensor"):
        surrogate(make_graph(x=lambda t: t), num_samples=2)
    with pytest.raises(TypeError, match="function of 'f' must return a tensor, got float"):
        surrogate(make_graph(x=lambda t: Normal(t, 1.0), f=lambda x: 0.0), num_samples=2)
    graph = StochasticGraph()
    graph.input("a", torch.zeros(3))
    with pytest.raises(ValueError, match=r"input 'b' must have 3 rows, got shape \(2,\)"):
        graph.input("b", torch.zeros(2))
    graph.cost("f", lambda a: a, "a")
    with pytest.raises(ValueError, match="num_samples must be 3, the rows of the inputs, got 2"):
        surrogate(graph, num_samples=2)
    with pytest.raises(ValueError, match="temperature must be > 0, got 0"):
        GumbelSoftmax(0)
    graph.stochastic("x", lambda a: Normal(a, 1.0), "a", noise=torch.zeros(2))
    with pytest.raises(ValueError, match=r"noise of 'x' must have shape \(3,\), got \(2,\)"):
        surrogate(graph)
