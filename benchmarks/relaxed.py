"""Bias and variance of gradients through discrete choices and of the likelihood ratio, where the truth is known.

The expectation of a payoff over 8 choices, or over the 2^6 values of 6 bits, is a sum, and so is its gradient in the
logits. Each estimator draws one choice per sample. There are two payoffs: one is linear in the vector that encodes a
choice, the other is curved between the corners. Only the payoffs at the corners define the problem; the relaxed and
straight-through estimators also use those in between.

    python -m benchmarks.relaxed --samples 100000
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.command import arguments_of, make_parser, page, parse, positive, table
from benchmarks.runs import write_rows
from diffsim.policies import relaxed

TEMPERATURES = (0.1, 0.5, 1.0, 2.0)

Payoff = Callable[[Tensor], Tensor]
Estimator = Callable[[Tensor, Tensor, Payoff], Tensor]


@dataclass(frozen=True)
class Row:
    """One line of the table; bias and deviation are relative to the norm of the exact gradient."""

    choice: str
    payoff: str
    estimator: str
    bias: float
    bias_error: float
    deviation: float
    cosine: float
    enough: float


def payoffs(size: int) -> dict[str, Payoff]:
    """Functions from vectors [..., size] to numbers [...]."""
    generator = torch.Generator().manual_seed(0)
    slope, twist = (torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(2))
    target = torch.rand(size, generator=generator, dtype=torch.float64)
    return {
        "linear": lambda u: u @ slope,
        "curved": lambda u: torch.sin(2.0 * (u @ twist)) - (u - target).square().sum(-1),
    }


def categorical_estimators() -> dict[str, Estimator]:
    """Functions from logits [N, K], noise [N, K] and a payoff to objectives [N], whose gradients are the estimates."""

    def score(logits: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        log_probs = logits.log_softmax(-1)
        choice = relaxed.one_hot_argmax((log_probs + relaxed.gumbel(noise)).detach())
        return choice, (log_probs * choice).sum(-1)

    def sampled(draw: Callable[..., Tensor], *temperature: float) -> Estimator:
        return lambda logits, noise, payoff: payoff(draw(logits.log_softmax(-1), noise, *temperature))

    return {
        **likelihood_ratios(score),
        **{f"Gumbel-softmax, temperature {t}": sampled(relaxed.gumbel_softmax, t) for t in TEMPERATURES},
        **{
            f"straight-through Gumbel, temperature {t}": sampled(relaxed.straight_through_gumbel, t)
            for t in TEMPERATURES
        },
        "straight-through": sampled(relaxed.straight_through),
    }


def bit_estimators() -> dict[str, Estimator]:
    """Like `categorical_estimators`, for logits of bits [N, B]."""

    def score(logits: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        bits = relaxed.straight_through_bernoulli(logits.detach(), noise)
        return bits, torch.nn.functional.logsigmoid(torch.where(bits > 0, logits, -logits)).sum(-1)

    return {
        **likelihood_ratios(score),
        "straight-through": lambda logits, noise, payoff: payoff(relaxed.straight_through_bernoulli(logits, noise)),
    }


def likelihood_ratios(score: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> dict[str, Estimator]:
    """Estimators by the log-probability; `score` returns the choices and their log-probabilities [N]."""

    def estimator(logits: Tensor, noise: Tensor, payoff: Payoff, baseline: bool) -> Tensor:
        choice, log_prob = score(logits, noise)
        paid = payoff(choice).detach()
        others = (paid.sum() - paid) / (len(paid) - 1)
        return log_prob * (paid - others if baseline else paid)

    return {
        "likelihood ratio": partial(estimator, baseline=False),
        "likelihood ratio, baseline": partial(estimator, baseline=True),
    }


def exact_gradient(logits: Tensor, payoff: Payoff, bits: bool) -> Tensor:
    """Gradient of the expected payoff in `logits` [K], by the sum over all choices."""
    logits = logits.clone().requires_grad_()
    if bits:
        corners = torch.tensor(list(itertools.product([0.0, 1.0], repeat=len(logits))), dtype=logits.dtype)
        probs = torch.where(corners > 0, logits.sigmoid(), 1.0 - logits.sigmoid()).prod(-1)
    else:
        corners, probs = torch.eye(len(logits), dtype=logits.dtype), logits.softmax(-1)
    return torch.autograd.grad(probs @ payoff(corners), logits)[0]


def measure(samples: int, seed: int) -> list[Row]:
    """Every estimator on every payoff, at random logits."""
    rows = []
    for choice, size, estimators in (("8 choices", 8, categorical_estimators()), ("6 bits", 6, bit_estimators())):
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(size, generator=generator, dtype=torch.float64)
        for name, payoff in payoffs(size).items():
            exact = exact_gradient(logits, payoff, bits=choice == "6 bits")
            for estimator, objective in estimators.items():
                noise = torch.randn(samples, size, generator=generator, dtype=torch.float64)
                copies = logits.expand(samples, size).clone().requires_grad_()
                (g,) = torch.autograd.grad(objective(copies, noise, payoff).sum(), copies)
                rows.append(Row(choice, name, estimator, *statistics(g, exact)))
    return rows


def statistics(gradient: Tensor, exact: Tensor) -> list[float]:
    """Bias, its standard error, deviation, cosine and `enough`, from the samples of an estimator [N, K]."""
    norm, mean = exact.norm(), gradient.mean(0)
    variance = gradient.var(0).sum()
    squared_bias = (mean - exact).square().sum()
    # Noise adds to the squared difference in expectation; the rest is the bias.
    bias = (squared_bias - variance / len(gradient)).clamp_min(0.0).sqrt()
    cosine = torch.nn.functional.cosine_similarity(mean, exact, dim=0)
    own_error = (variance / len(gradient)).sqrt()
    enough = variance / squared_bias if bias > 3 * own_error + 1e-9 * norm else float("inf")
    return [float(value) for value in (bias / norm, own_error / norm, variance.sqrt() / norm, cosine, enough)]


def report(rows: list[Row], command: str) -> str:
    """The Markdown page."""
    lines = []
    for r in rows:
        enough = "no bias seen" if r.enough == float("inf") else f"{r.enough:,.0f}"
        numbers = f"{r.bias:.3f} ({r.bias_error:.3f})", f"{r.deviation:.2f}", f"{r.cosine:.3f}", enough
        lines.append([r.choice, r.payoff, r.estimator, *numbers])
    return page(
        "Gradients through discrete choices",
        command,
        "Bias (its standard error) and standard deviation of one sample, in units of the exact gradient's norm, and "
        "the cosine of the mean with the exact gradient. Last column: the number of samples from which the bias of "
        "the mean is larger than its noise. With more samples only an unbiased estimator improves.",
        table("of | payoff | estimator | bias: | deviation: | cosine: | samples worth it:", lines),
    )


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints and saves."""
    parser = make_parser("relaxed", __doc__)
    parser.add_argument("--samples", type=positive(int), default=100_000, help="of each estimator, default 100000")
    parser.add_argument("--seed", type=int, default=0, help="of logits and noise, default 0")
    options = parse(parser, arguments)
    rows = measure(options.samples, options.seed)
    text = report(rows, f"relaxed {arguments_of(options, 'samples', 'seed')}")
    (options.output / "relaxed.md").write_text(text)
    write_rows(rows, options.output / "relaxed.csv")
    print(text)


if __name__ == "__main__":
    main()
