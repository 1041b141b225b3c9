"""What the tests run on the pretended device."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from gymnasium.spaces import Box
from rich.console import Console

import diffsim
from diffsim.policies import DeterministicMLP, GaussianMLP
from diffsim.tasks import TASKS
from diffsim.trainers import SHAC
from diffsim.trainers.algorithm import Training
from diffsim.trainers.errors import NonFiniteError
from diffsim.trainers.experience.on_policy_batch import OnPolicyBatch
from diffsim.trainers.experience.replay_buffer import ReplayBuffer
from diffsim.trainers.experience.rollout import rollout, window_checks
from diffsim.trainers.maths.natural_step import flat, line_search, surrogate_gradient, trainable
from diffsim.trainers.run.fit_command import fit_command
from diffsim.trainers.run.run_folder import RunFolder
from tests.pretend_cuda.runs import DOUBLE, POLE, RUNS, SMALL
from tests.pretend_cuda.waits import COUNTS, WAITS


def train(name: str, device: str = "cuda", **changes: Any) -> dict[str, Any]:
    """Two iterations of a run, and a third after a resume. Returns the waits of each iteration, by line."""
    with tempfile.TemporaryDirectory() as folder, Iterations() as found:
        fit(name, Path(folder) / "run", device=device, **changes)
        resume(Path(folder) / "run", 3)
    return {"waits": found.waits}


def fit(name: str, folder: Path, iterations: int = 2, **changes: Any) -> None:
    """Runs `diffsim fit` with small options."""
    tiny = {"evaluate_every": 2, "evaluate_episodes": 1, "final_episodes": 1, "iterations": iterations, "run": folder}
    options = {"algorithm": name.split("-")[0], **SMALL, **tiny, **RUNS[name], **changes}
    words = [f"--{key}={value}" for key, value in options.items() if value is not None]
    fit_command(words, Console(quiet=True))


def resume(folder: Path, iterations: int, **changes: Any) -> None:
    """Continues a run."""
    words = [f"--{key}={value}" for key, value in {"iterations": iterations, **changes}.items()]
    fit_command(["--resume", str(folder), *words], Console(quiet=True))


class Iterations:
    """Counts the waits of each iteration: of the algorithm alone, not of evaluations, checkpoints and Lightning."""

    def __enter__(self) -> Iterations:
        self.waits: list[dict[str, int]] = []
        self.original = original = Training.train_iteration
        waits = self.waits

        def counted(training: Training) -> dict[str, float]:
            before = Counter(WAITS)
            metrics = original(training)
            waits.append(dict(WAITS - before))
            owned = {id(parameter) for parameter in training.parameters()}
            groups = [group for optimizer in training.optimizers for group in optimizer.param_groups]
            trained = [parameter for group in groups for parameter in group["params"]]
            assert all(id(parameter) in owned for parameter in trained), "an optimizer has parameters of another device"
            return metrics

        Training.train_iteration = counted
        return self

    def __exit__(self, *exception: object) -> None:
        Training.train_iteration = self.original


def move_checkpoint(name: str) -> list[str]:
    """A run on a GPU, continued on the CPU, and again on a GPU. Returns the devices of its checkpoints' tensors."""
    with tempfile.TemporaryDirectory() as folder:
        path, devices = Path(folder) / "run", []
        fit(name, path, iterations=1, device="cuda")
        for iterations, device in ((2, "cpu"), (3, "cuda:1")):
            resume(path, iterations, device=device)
            checkpoint = torch.load(RunFolder(path).checkpoint, weights_only=True)
            devices += [str(value.device) for value in checkpoint["state_dict"].values()]
        rows = RunFolder(path).read_metrics()
    assert [row["iteration"] for row in rows] == [1, 2, 3]
    return sorted(set(devices))


def replay_elsewhere(name: str) -> dict[str, Any]:
    """A run whose replay buffer does not fit on the GPU. Returns the devices of its rows and of its batches."""
    seen: dict[str, Any] = {}
    original, free = ReplayBuffer.read_index, torch.cuda.mem_get_info

    def read_index(buffer: ReplayBuffer, index: torch.Tensor) -> dict[str, torch.Tensor]:
        batch = original(buffer, index)
        seen.update(rows=buffer.rows.device.type, batch=batch["obs"].device.type)
        return batch

    ReplayBuffer.read_index, torch.cuda.mem_get_info = read_index, lambda device=None: (1000, 1000)
    try:
        train(name)
    finally:
        ReplayBuffer.read_index, torch.cuda.mem_get_info = original, free
    return seen


def uncompiled_updates(name: str) -> dict[str, Any]:
    """A run with `compile_updates`, whose compiler only returns the function: nothing compiles for this device."""
    original, torch.compile = torch.compile, lambda function, **options: function
    try:
        return train(name, compile_updates="true")
    finally:
        torch.compile = original


def captured_windows(options: dict[str, Any]) -> dict[str, Any]:
    """Whether SHAC with a graph per window trains to the same bits, and how often it replayed the graph."""
    found = []
    for graph in (False, True):
        mdp = diffsim.make("Hopper-v5", num_envs=3, device="cuda", process_noise=0.1)
        mdp.max_episode_steps = 5
        torch.manual_seed(0)
        policy = GaussianMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(8,)).to(mdp.device, mdp.dtype)
        shac = SHAC(mdp, policy, horizon=4, value_epochs=1, cuda_graph=graph, value_windows=2, **options)
        before = COUNTS["graphs"]
        metrics = [shac.train_iteration() for _ in range(4)]
        found.append(([value.elem for value in shac.state_dict().values()], metrics))
    (plain, metrics), (captured, same) = found
    equal = all(torch.equal(a, b) for a, b in zip(plain, captured, strict=True))
    return {"equal": equal and metrics == same, "replays": COUNTS["graphs"] - before}


def captured_divergence() -> str:
    """The error of a captured window in which a world's control is not finite."""
    mdp = diffsim.make(DOUBLE, num_envs=3, device="cuda")
    policy = DeterministicMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(8,)).to(mdp.device, mdp.dtype)
    shac = SHAC(mdp, policy, horizon=4, cuda_graph=True)
    shac.train_iteration()
    with torch.no_grad():
        next(shac.actor.parameters()).fill_(torch.nan)
    try:
        shac.train_iteration()
    except NonFiniteError as error:
        return str(error)
    return "none"


def line_searches(factor: float) -> list[list[float]]:
    """What TRPO's line search takes, and the policy's parameters after it, on the CPU and on the device."""
    found = []
    for device in ("cpu", "cuda"):
        generator = torch.Generator().manual_seed(0)
        obs, raw, advantage = (
            torch.randn(shape, generator=generator).to(device) for shape in ((50, 3), (50, 2), (50,))
        )
        torch.manual_seed(0)
        policy = GaussianMLP(Box(-1, 1, (3,)), Box(-1, 1, (2,)), hidden_sizes=(8,), normalize=False)
        policy.to(torch.device(device), torch.float32)
        old = policy.raw_distribution(obs).log_prob(raw).detach()
        batch = OnPolicyBatch(obs, raw, old, advantage, advantage, advantage)
        step = factor * surrogate_gradient(policy, batch)
        results = line_search(policy, batch, step, max_kl=0.01, backtracks=6, shrink=0.5)
        found.append([float(x) for x in (*results, *flat(trainable(policy)))])
    return found


def divergence(name: str) -> str:
    """The error of an iteration on our simulator with a policy whose actions are not finite."""
    original = Training.train_iteration

    def spoiled(training: Any) -> dict[str, float]:
        with torch.no_grad():
            next(training.policy.parameters()).fill_(torch.nan)
        return original(training)

    Training.train_iteration = spoiled
    try:
        with tempfile.TemporaryDirectory() as folder:
            fit(name, Path(folder) / "run", device="cuda")
    except NonFiniteError as error:
        return str(error)
    finally:
        Training.train_iteration = original
    return "none"


def read_in_a_capture() -> str:
    """The error of a read during a capture."""
    x = torch.ones(2, device="cuda")
    try:
        with torch.cuda.graph(torch.cuda.CUDAGraph()):
            float(x.sum())
    except RuntimeError as error:
        return str(error)
    return "none"


def waits_of_tasks() -> dict[str, int]:
    """Waits of the second window and its gradient, for every task on the simulator but G1Walk, which is as Go1Walk."""
    found = {}
    for name in TASKS.keys() - {"G1Walk-v0"}:
        mdp = diffsim.make(name, num_envs=2, device="cuda")
        policy = DeterministicMLP(mdp.observation_space, mdp.action_space, hidden_sizes=(4,)).to(mdp.device, mdp.dtype)
        generator = torch.Generator(mdp.device).manual_seed(0)
        for _ in range(2):
            before = sum(WAITS.values())
            with window_checks():
                scenarios = diffsim.Scenarios.draw(mdp, 1, generator, num_resets=1)
                trajectory, _ = rollout(mdp, policy, scenarios)
                if trajectory.reward.requires_grad:
                    trajectory.reward.sum().backward()
            found[name] = sum(WAITS.values()) - before
    return found


def host_and_device() -> str:
    """The error of a sum of tensors on two devices."""
    try:
        torch.ones(2, device="cuda:0") + torch.ones(2, device="cuda:1")
    except RuntimeError as error:
        return str(error)
    return "none"


def count_waits() -> dict[str, int]:
    """Waits of some operations, by name."""
    x = torch.arange(4.0, device="cuda")
    operations = {
        "sum": x.sum,
        "item": lambda: x.sum().item(),
        "bool": lambda: bool(x.any()),
        "cpu": x.cpu,
        "mask": lambda: x[x > 1],
        "filled": lambda: x.masked_fill(x > 1, 0.0),
        "where": lambda: torch.where(x > 1, x, 0.0),
        "upload": lambda: torch.tensor([1.0]).to("cuda"),
        "synchronize": torch.cuda.synchronize,
    }
    found = {}
    for name, operation in operations.items():
        before = sum(WAITS.values())
        operation()
        found[name] = sum(WAITS.values()) - before
    return found


def waits_of_lightning(name: str) -> dict[str, int]:
    """Waits of an iteration under Lightning beyond those of the algorithm, without evaluation or checkpoint."""
    counts = []
    for iterations in (2, 4):
        with tempfile.TemporaryDirectory() as folder, Iterations() as found:
            before = Counter(WAITS)
            fit(name, Path(folder) / "run", iterations, device="cuda", evaluate_every=100)
            total = Counter(WAITS)
            total.subtract(before)
            for waits in found.waits:
                total.subtract(waits)
            counts.append(total)
    counts[1].subtract(counts[0])
    return {line: count // 2 for line, count in counts[1].items() if count > 1}


def check_gpu() -> dict[str, Any]:
    """The results of `python -m benchmarks.gpu --check` for one small task, without a training run."""
    from benchmarks import gpu, gpu_parts

    cases = gpu.find_cases(None)
    gpu.find_cases = lambda robots: {POLE: cases[POLE]}
    gpu_parts.SPEED = (POLE,)
    with tempfile.TemporaryDirectory() as folder:
        parts = ["modules", "parity", "repeatability", "graphs", "speed", "windows"]
        sizes = ["--worlds", "4", "--seconds", "200", "--output", folder, "--parts", *parts]
        try:
            gpu.main(["--check", "--device", "cuda:0", *sizes])
        except SystemExit:
            pass  # a check failed
        return json.loads((Path(folder) / "pretended.json").read_text())
