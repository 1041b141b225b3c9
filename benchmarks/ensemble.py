"""An ensemble trained in one batched pass beside its members trained one after the other: a ratio of times.

Both take the same updates (loss, gradient and Adam, in float32) of perceptrons of the same sizes on the same numbers.
The two are timed in turns, in one process, on one thread; the ratio is of the processor's time. What one pass saves is
what an update costs beside its matrix products, which are as many either way: the last column is the ratio if one pass
took no longer than its products do at the rate of a large one, so no program can surpass it on this core.

    python -m benchmarks.ensemble --members 7
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Adam

from benchmarks.machine import describe_machine, positive
from diffsim.models import GaussianEnsemble

IN_SIZE, OUT_SIZE = 23, 17
"""Numbers in and out: those of HalfCheetah-v5's dynamics."""
SIZES = (
    (32, (64, 64)),
    (32, (128, 128)),
    (32, (200, 200)),
    (64, (128, 128)),
    (64, (200, 200)),
    (256, (64, 64)),
    (256, (200, 200)),
)
"""Batch of each member, and widths of its hidden layers."""


def updater(num_members: int, hidden_sizes: tuple[int, ...], batch: int) -> Callable[[], None]:
    """One update of an ensemble, as a function."""
    model = GaussianEnsemble(IN_SIZE, OUT_SIZE, num_members=num_members, hidden_sizes=hidden_sizes)
    optimizer = Adam(model.parameters(), lr=1e-3, fused=True)
    x, y = torch.randn(num_members, batch, IN_SIZE), torch.randn(num_members, batch, OUT_SIZE)

    def update() -> None:
        loss: Tensor = model.nll(x, y).mean(1).sum() + model.bounds_penalty().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return update


def seconds(function: Callable[[], object], repeats: int) -> float:
    """Processor time of `repeats` calls."""
    start = time.process_time()
    for _ in range(repeats):
        function()
    return time.process_time() - start


def products(num_members: int, hidden_sizes: tuple[int, ...], batch: int) -> int:
    """Floating-point operations in the matrix products of one update: of each layer forward, by weights, by inputs."""
    sizes = [IN_SIZE, *hidden_sizes, 2 * OUT_SIZE]
    layers = [before * after for before, after in zip(sizes[:-1], sizes[1:], strict=True)]
    return 2 * batch * num_members * (3 * sum(layers) - layers[0])  # no gradient by the data


def operations_per_second(size: int = 512, repeats: int = 20) -> float:
    """Of a large product of matrices, the best of some."""
    matrix = torch.randn(size, size)
    return 2 * size**3 / min(seconds(lambda: matrix @ matrix, 1) for _ in range(repeats))


def compare(members: int, hidden_sizes: tuple[int, ...], batch: int, rounds: int, repeats: int) -> tuple[float, float]:
    """Time one after the other over time in one pass, and over the time of the products alone: medians over rounds."""
    together = updater(members, hidden_sizes, batch)
    alone = [updater(1, hidden_sizes, batch) for _ in range(members)]

    def in_turn() -> None:
        for update in alone:
            update()

    rate, rows = operations_per_second(), []
    for _ in range(rounds + 1):
        slow, fast = seconds(in_turn, repeats), seconds(together, repeats)
        rows.append((slow / fast, slow * rate / (repeats * products(members, hidden_sizes, batch))))
    ratio, bound = torch.tensor(rows[1:]).median(0).values.tolist()  # the first round warms up
    return ratio, bound


def main(arguments: list[str] | None = None) -> None:
    """Prints one line per size."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ensemble", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--members", type=positive(int), default=7)
    parser.add_argument("--rounds", type=positive(int), default=9)
    parser.add_argument("--repeats", type=positive(int), default=10, help="updates per round")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(f"{describe_machine()}; {options.members} members, one thread")
    print("| batch | hidden sizes | one after the other / in one pass | / products of one pass |")
    print("|---:|---|---:|---:|")
    for batch, hidden_sizes in SIZES:
        ratio, bound = compare(options.members, hidden_sizes, batch, options.rounds, options.repeats)
        print(f"| {batch} | {', '.join(map(str, hidden_sizes))} | {ratio:.2f} | {bound:.1f} |", flush=True)


if __name__ == "__main__":
    main()
