"""The command line, from options to a run folder, on a real task."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from diffsim.tasks import RandomizedModel
from diffsim.trainers.errors import OptionError
from diffsim.trainers.likelihood_ratio import on_policy
from diffsim.trainers.run.arguments import RunOptions, parse_fit
from diffsim.trainers.run.build import build, build_mdp
from diffsim.trainers.run.registry import ALGORITHMS, choose
from diffsim.trainers.run.run_folder import RunFolder
from tests.processes import Process
from tests.trainers.commands import diffsim, metrics, saved, shortening
from tests.trainers.option_reads import conditional, unread, watch

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
SMALL = ["--task", "Reacher-v5", "--num_envs", "2", "--horizon", "3", "--evaluate_episodes", "1"]
SMALL += ["--hidden_sizes", "[4]", "--evaluate_every", "2"]


def test_fit_writes_a_run_folder_and_prints_the_table(tmp_path, capsys):
    assert diffsim("fit", *SMALL, "--iterations", 4, "--run", tmp_path / "run") == 0
    printed = "".join(capsys.readouterr().out.split())
    folder = RunFolder(tmp_path / "run")
    for word in ("officialreturn,10episodes", "±", "envsteps", "24", "seconds", str(folder.checkpoint)):
        assert word in printed, word
    for path in (folder.config, folder.metrics, folder.checkpoint, folder.curve, folder.path / "tensorboard"):
        assert path.exists(), path
    rows = metrics(folder.path)
    assert [row["env_steps"] for row in rows] == ["6", "12", "18", "24"]
    assert [bool(row["eval/return"]) for row in rows] == [False, True, False, True]
    config = yaml.safe_load(folder.config.read_text())
    assert config["horizon"] == 3 and config["gamma"] == 1.0 and "resume" not in config


def test_resume_can_raise_the_budget_of_env_steps(tmp_path, capsys):
    run = tmp_path / "run"
    assert diffsim("fit", *SMALL, "--env_steps", 13, "--run", run) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "took 18 env steps, not 13: it ends with a whole iteration, and the last took 6." in printed
    assert [row["env_steps"] for row in metrics(run)] == ["6", "12", "18"]
    assert saved(run)["diffsim"]["env_steps"] == 18
    assert diffsim("fit", "--resume", run) == 0
    assert len(metrics(run)) == 3, "the budget was already spent"
    assert diffsim("fit", "--resume", run, "--env_steps", 30) == 0
    assert [row["env_steps"] for row in metrics(run)] == ["6", "12", "18", "24", "30"]


def test_randomize_belongs_to_training():
    ranges = {"randomize": {"geom_friction": [0.5, 1.5]}}
    mdp = build_mdp(RunOptions(task="Hopper-v5", training_kwargs=ranges))
    assert isinstance(mdp, RandomizedModel) and mdp.low.tolist() == [0.5]
    with pytest.raises(OptionError, match="randomize must be in training_kwargs"):
        build(RunOptions(task="Hopper-v5", algorithm="SHAC", task_kwargs=ranges), {})


def test_training_kwargs_apply_to_training_but_not_to_evaluation():
    values = {"task": "Reacher-v5", "task_kwargs": {"reward_control_weight": 2.0}, "horizon": 2}
    options = RunOptions(
        task="Reacher-v5", task_kwargs=values["task_kwargs"], training_kwargs={"reward_control_weight": 3.0}
    )
    algorithm = build(options, values)
    assert algorithm.mdp.reward_control_weight == 3.0
    assert algorithm.evaluation.task_kwargs == {"reward_control_weight": 2.0}


def test_resume_is_bitwise_exact_and_config_files_are_equivalent_to_options(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert diffsim("fit", *SMALL, "--iterations", 6, "--run", whole) == 0
    config = yaml.safe_load((whole / "config.yaml").read_text())
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({**config, "iterations": 3, "run": str(parts)}))
    assert diffsim("fit", "--config", tmp_path / "c.yaml") == 0
    assert diffsim("fit", "--resume", parts, "--iterations", 6) == 0
    assert metrics(whole) == metrics(parts)
    first, second = saved(whole), saved(parts)
    assert first["diffsim"]["generator"].equal(second["diffsim"]["generator"])
    for name, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][name]), name


@pytest.mark.parametrize(
    ("algorithm", "start"),
    [
        ("PPO", ("clip", 0.5, 10.0, 2**0.5)),
        ("TRPO", ("clip", 0.5, 10.0, 2**0.5)),
        ("A2C", ("clip", 0.5, 10.0, 2**0.5)),
        ("Reinforce", ("clip", 1.0, 10.0, 2**0.5)),
        ("SHAC", ("tanh", 0.5, None, 1.0)),
    ],
)
def test_default_options_of_the_policy_depend_on_the_algorithm(algorithm, start):
    """Those of published implementations, see Huang et al. (2022), but for some initial deviations."""
    options = parse_fit(["--task", "Hopper-v5", "--algorithm", algorithm, "--policy", "GaussianMLP"])
    assert (options.bounds, options.initial_std, options.clip_obs, options.hidden_scale) == start


def test_resume_does_not_apply_run_defaults_to_newer_options(tmp_path):
    old = tmp_path / "config.yaml"
    known = {"task": "Hopper-v5", "algorithm": "PPO", "policy": "GaussianMLP", "initial_std": 1.0}
    old.write_text(yaml.safe_dump(known))
    options = parse_fit(["--config", str(old)], resumed=True)
    assert (options.initial_std, options.clip_obs) == (1.0, None)
    assert parse_fit(["--config", str(old)]).clip_obs == 10.0


def test_different_seeds_give_different_policies(tmp_path):
    """Negative control: weights depend on the seed."""
    for seed in (0, 1):
        assert diffsim("fit", *SMALL, "--iterations", 2, "--seed", seed, "--run", tmp_path / str(seed)) == 0
    first, second = (saved(tmp_path / str(seed))["state_dict"] for seed in (0, 1))
    assert not torch.equal(first["policy.network.0.weight"], second["policy.network.0.weight"])


def test_evaluate_is_deterministic(tmp_path, capsys):
    assert diffsim("fit", *SMALL, "--iterations", 1, "--run", tmp_path / "run") == 0
    outputs = []
    for _ in range(2):
        capsys.readouterr()
        assert diffsim("evaluate", tmp_path / "run", "--episodes", 3) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] and "official return, 3 episodes" in outputs[0]


def test_ctrl_c_saves_a_checkpoint_and_resume_continues(tmp_path):
    folder = RunFolder(tmp_path / "run")
    command = ["-c", "import sys; from diffsim.trainers.cli import main; sys.exit(main())", "fit"]
    command += [*SMALL, "--iterations", 100000, "--evaluate_every", 100000, "--run", folder.path]
    with (tmp_path / "out").open("w") as output, (tmp_path / "err").open("w") as errors:
        process = Process(command, output, errors, ROOT)
        deadline = time.monotonic() + 120
        while len(folder.read_metrics()) < 3 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    out, err = ((tmp_path / name).read_text() for name in ("out", "err"))
    assert process.returncode == 130 and not err, err
    assert "Stopping after this iteration" in out and "To continue: diffsim fit --resume" in out
    done = saved(folder.path)["diffsim"]["iteration"]
    assert done == len(folder.read_metrics()) >= 3
    assert diffsim("fit", "--resume", folder.path, "--iterations", done + 1) == 0
    assert saved(folder.path)["diffsim"]["iteration"] == done + 1


@pytest.mark.parametrize(
    ("numbers", "status", "iterations"),
    [
        ([signal.SIGTERM], 143, 2),
        ([signal.SIGINT, signal.SIGINT], 130, None),
        ([signal.SIGTERM, signal.SIGINT], 130, None),
    ],
)
def test_the_first_signal_saves_a_checkpoint_and_the_second_stops_at_once(
    tmp_path, monkeypatch, capsys, numbers, status, iterations
):
    """The signals come while the row of the second iteration is written, before any checkpoint."""
    append = RunFolder.append_metrics

    def append_and_stop(folder, row):
        append(folder, row)
        for number in numbers if row["iteration"] == 2 else ():
            os.kill(os.getpid(), number)

    monkeypatch.setattr(RunFolder, "append_metrics", append_and_stop)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    words = [*SMALL, "--iterations", 5, "--evaluate_every", 5, "--run", tmp_path / "run"]
    assert diffsim("fit", *words) == status
    printed = capsys.readouterr()
    assert "Stopping after this iteration" in printed.out and "Traceback" not in printed.err
    assert ("To continue" in printed.out) == (iterations is not None) == (printed.err == "")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    if iterations is None:
        assert printed.err == "diffsim fit: interrupted\n" and not RunFolder(tmp_path / "run").checkpoint.exists()
    else:
        assert saved(tmp_path / "run")["diffsim"]["iteration"] == iterations


@pytest.mark.parametrize("algorithm", ["BPTT", "SHAC", "Pegasus"])
def test_fit_on_black_box_dynamics_with_noise(tmp_path, algorithm):
    """Finite differences train the same weights as the simulator's gradients."""
    words = [*SMALL, "--algorithm", algorithm, "--iterations", 2, "--process_noise", 0.01, "--reward_noise", 0.1]
    assert diffsim("fit", *words, "--run", tmp_path / "one") == 0
    words += ["--dynamics", "finite_differences", "--num_workers", 0]
    assert diffsim("fit", *words, "--run", tmp_path / "other") == 0
    first, second = (saved(tmp_path / name)["state_dict"] for name in ("one", "other"))
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=1e-3, atol=1e-5)


def test_reward_without_gradient_is_rejected(tmp_path, capsys):
    """The reward of InvertedPendulum-v5 is 1 per step for every action."""
    words = ["--task", "InvertedPendulum-v5", "--num_envs", 2, "--run", tmp_path / "run"]
    assert diffsim("fit", *words) == 2
    assert "reward must depend on the actions" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["ReacherGoal-v0", "diffsim/ReacherGoal-v0"])
def test_hindsight_training_logs_the_success_rate(tmp_path, capsys, task):
    words = ["--task", task, "--algorithm", "DDPG", "--goal_strategy", "future", "--relabel_fraction", 0.5]
    words += ["--num_envs", 4, "--steps", 40, "--warmup_steps", 40, "--batch_size", 8, "--evaluate_every", 1]
    words += ["--evaluate_episodes", 2, "--iterations", 2, "--hidden_sizes", "[4]", "--critic_hidden_sizes", "[4]"]
    assert diffsim("fit", *words, "--run", tmp_path / "run") == 0
    assert all(0 <= float(row["eval/success_rate"]) <= 1 for row in metrics(tmp_path / "run"))
    assert "success rate" in capsys.readouterr().out
    assert diffsim("evaluate", tmp_path / "run", "--episodes", 4) == 0
    rate = capsys.readouterr().out.split("success rate")[1].split()[0]
    assert rate in ("0%", "25%", "50%", "75%", "100%")


def test_dense_goal_reward_trains_by_gradients_through_the_physics(tmp_path, capsys):
    words = ["--task", "PointPush-v0", "--training_kwargs", '{"reward_type": "dense"}', "--iterations", 2]
    assert diffsim("fit", *SMALL, *words, "--run", tmp_path / "run") == 0
    assert "success rate" in capsys.readouterr().out


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_config_runs_two_iterations(tmp_path, monkeypatch, config):
    if "fetch" in config.stem:
        pytest.importorskip("gymnasium_robotics")
    monkeypatch.setattr(on_policy, "NORMALIZER_WARM_UP_STEPS", 32)
    options = yaml.safe_load(config.read_text())
    small = shortening(options["algorithm"], options.get("horizon", 8))
    if "episodes" in options:
        small += ["--episodes", 2]  # num_envs is a multiple of it
    if "pong" in config.stem:
        small += ["--task_kwargs", '{"max_num_frames_per_episode": 200}']  # a game has thousands of frames
    learns_model = config.stem.startswith(("model_based", "pets"))
    if learns_model:
        small += ["--initial_steps", 410, "--steps_per_iteration", 2, "--fit_kwargs", "{max_epochs: 1}"]
    if config.stem.startswith("mbpo"):
        monkeypatch.setattr(torch, "compile", lambda function, **_: function)  # compilation takes half a minute
        small += ["--initial_steps", 410, "--fit_every", 2, "--branches_per_step", 2, "--fit_kwargs", "{max_epochs: 1}"]
        small += ["--updates_per_step", 1]
    if config.stem.startswith("pets"):
        small += ["--planner_kwargs", "{horizon: 2, num_plans: 4, num_best: 2, num_particles: 1, rounds: 1}"]
    elif learns_model:
        small += ["--updates_per_iteration", 1]
    reads = watch(monkeypatch)
    assert diffsim("fit", "--config", config, *small, "--run", tmp_path / "run") == 0
    algorithm = choose("algorithm", options["algorithm"], ALGORITHMS)
    if algorithm.family != "gradient-free" or algorithm.__name__.startswith("Step"):  # others: test_idle_options.py
        assert unread(algorithm, reads) <= conditional(options)


def test_tasks_prints_the_table(capsys):
    assert diffsim("tasks") == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if "-v5" in line}
    assert rows["Reacher-v5"][1:7] == ["4", "4", "10", "2", "50", "RK4"] and rows["Reacher-v5"][-1] == "yes"
    assert rows["Hopper-v5"][7] in ("no:", "yes")


@pytest.mark.parametrize(
    "words", [["--help"], ["fit", "--help"], ["evaluate", "--help"], ["gradients", "--help"], ["tasks", "--help"]]
)
def test_help(words, capsys):
    try:
        status = diffsim(*words)
    except SystemExit as stop:
        status = stop.code
    assert status == 0 and "usage: diffsim" in capsys.readouterr().out


def test_help_lists_algorithms_and_policies_and_no_class_of_torch(capsys):
    for words in (["fit", "--help"], ["fit-model", "--help"]):
        with pytest.raises(SystemExit):
            diffsim(*words)
        out = capsys.readouterr().out
        assert "torch." not in out and "known subclasses" not in out
        listed = out.replace("\n", "").replace(" ", "")
        assert words[0] != "fit" or ("BPTT,Pegasus,SHAC,SCG" in listed and "DeterministicMLP,GaussianMLP" in listed)


def test_version_and_python_m(capsys):
    assert diffsim("--version") == 0
    printed = capsys.readouterr().out
    assert re.fullmatch(r"diffsim \d+\.\d+\.\d+\n", printed)
    out = subprocess.run([sys.executable, "-m", "diffsim", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert (out.returncode, out.stdout, out.stderr) == (0, printed, "")


def test_completion_knows_commands_options_and_names(capsys):
    pytest.importorskip("shtab")
    assert diffsim("completion", "bash") == 0
    script = capsys.readouterr().out
    for word in (
        "model-report",
        "--evaluate_every_steps",
        "--critic_learning_rate",
        "EvolutionStrategies",
        "GRUPolicy",
    ):
        assert word in script, word
    assert "Humanoid-v5" in script and "shac_hopper" in script and "--num_members" in script
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_flags_and_powers_of_ten():
    options = parse_fit(["--task", "Reacher-v5", "--video", "--env_steps", "1e5", "--seed=2e1", "--remat"])
    assert (options.video, options.env_steps, options.seed, options.remat) == (True, 100_000, 20, True)
    assert parse_fit(["--task", "Reacher-v5", "--video", "false", "--env_steps", "2.5e3"]).env_steps == 2500


def test_piped_output_has_a_line_per_evaluation_with_env_steps_of_the_budget(tmp_path, capsys):
    """Iterations have 6 env steps, so that a budget of 20 ends at 24."""
    assert diffsim("fit", *SMALL, "--env_steps", 20, "--run", tmp_path / "run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "An iteration takes 6 env steps. Training ends with the first iteration that reaches 20, after 24."
    )
    assert [line.split("  ")[0] for line in lines[1:3]] == ["12/20 env steps", "24/20 env steps"]
    assert all("official -" in line and "after 0:00:" in line for line in lines[1:3])
    assert lines[3].startswith("Training took 24 env steps, not 20: ")
    assert lines[4] == "Final evaluation: 10 official episodes ..."


def test_decay_follows_the_iterations_of_the_run(tmp_path):
    words = ["fit", *SMALL, "--decay_iterations", "budget", "--learning_rate", 0.5, "--run", tmp_path / "run"]
    assert diffsim(*words, "--iterations", 4) == 0
    assert [float(row["learning_rate"]) for row in metrics(tmp_path / "run")] == [0.5, 0.375, 0.25, 0.125]
    words[-1] = tmp_path / "shortened"
    assert diffsim(*words, "--iterations", 4, "--env_steps", 12) == 0
    assert [float(row["learning_rate"]) for row in metrics(tmp_path / "shortened")] == [0.5, 0.25], "of 6 env steps"


def test_seconds_are_kept_without_metrics(tmp_path):
    run = RunFolder(tmp_path / "run")
    assert diffsim("fit", *SMALL, "--iterations", 2, "--run", run.path) == 0
    before = run.read_metrics()[-1]
    run.metrics.unlink()
    assert diffsim("fit", "--resume", run.path, "--iterations", 3) == 0
    (row,) = run.read_metrics()
    assert row["iteration"] == 3 and row["seconds"] > before["seconds"] and row["eval_seconds"] > 0


def test_help_imports_no_large_package():
    code = "import sys; from diffsim.trainers.cli import main; main(['--help'])"
    code += "; print({'torch', 'warp', 'lightning'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout
    assert out.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["fti"],
            "command must be one of fit, evaluate, play, export, compare, sweep, report, gradients, zoo, tasks, "
            "configs, compile, collect, fit-model, model-report, completion, got 'fti'; did you mean fit?",
        ),
        (["fit"], "option --task is required"),
        (
            ["fit", *SMALL, "--horizn", "4"],
            "unknown option --horizn; did you mean --horizon? Valid options: ",
        ),
        (["fit", *SMALL, "--horizon", "0"], "horizon must be >= 1, got 0"),
        (["fit", *SMALL, "--horizon", "many"], "option --horizon must be of type int, got 'many'"),
        (["fit", *SMALL, "--gamma", "1.2"], "gamma must be in (0, 1], got 1.2"),
        (
            ["fit", *SMALL, "--start", "here"],
            "must be one of carried, per_iteration, got 'here'",
        ),
        (["fit", *SMALL, "--iterations", "0"], "iterations must be >= 1, got 0"),
        (["fit", *SMALL, "--env_steps", "0"], "env_steps must be >= 1, got 0"),
        (["fit", *SMALL, "--num_envs", "0"], "num_envs must be >= 1, got 0"),
        (["fit", *SMALL, "--threads", "0"], "threads must be >= 1, got 0"),
        (["fit", *SMALL, "--seed", "-1"], "seed must be >= 0, got -1"),
        (["fit", *SMALL, "--evaluate_every", "0"], "evaluate_every must be >= 1, got 0"),
        (["fit", *SMALL, "--evaluate_episodes", "0"], "evaluate_episodes must be >= 1, got 0"),
        (["fit", *SMALL, "--activation", "sin"], "activation must be one of tanh,"),
        (["fit", *SMALL, "--algorithm", "PPPO"], "got 'PPPO'; did you mean PPO?"),
        (["fit", *SMALL, "--algorithm", "shac"], "got 'shac'; did you mean SHAC?"),
        (["fit", *SMALL, "--lr", "1"], "unknown option --lr; did you mean --learning_rate? Valid options: --config, "),
        (["fit", *SMALL, "--hidden_sizes", "64"], "option --hidden_sizes must be of type list of int, got '64'"),
        (["fit", *SMALL, "--env_steps", "1.5e0"], "option --env_steps must be of type int or null, got '1.5e0'"),
        (["fit", *SMALL, "--video", "maybe"], "option --video must be of type bool, got 'maybe'"),
        (["fit", *SMALL, "--decay_iterations", "budget"], "decay_iterations budget needs iterations, got none"),
        (
            ["fit", "--task", "CartPole-v1"],
            "algorithm must be one that needs no derivatives, such as PPO, TRPO, DQN, A2C, for CartPole-v1",
        ),
        (
            ["fit", "--task", "Pendulum-v1", "--algorithm", "ModelBased", "--model_kwargs", "{hidden_sizes: 64}"],
            "in model_kwargs, option --hidden_sizes must be of type list of int, got '64'",
        ),
        (
            ["fit", *SMALL, "--policy", "MLP"],
            "policy must be one of DeterministicMLP, GaussianMLP, ",
        ),
        (
            ["fit", *SMALL, "--algorithm", "PPO", "--dynamics", "finite_differences"],
            "dynamics must be simulator for PPO, got 'finite_differences'",
        ),
        (
            ["fit", *SMALL, "--algorithm", "PPO", "--goal_strategy", "future"],
            "goal_strategy must be null for PPO, got 'future'",
        ),
        (["fit", *SMALL, "--goal_strategy", "final"], "goal_strategy must be null for BPTT, got 'final'"),
        (
            ["fit", *SMALL, "--goal_strategy", "next"],
            "must be one of final, future, episode, random or null, got 'next'",
        ),
        (
            ["fit", "--task", "Pendulum-v1", "--algorithm", "DDPG", "--goal_strategy", "future"],
            "goal_strategy needs an environment whose observations have an achieved_goal and a desired_goal",
        ),
        (
            ["fit", "--task", "ReacherGoal-v0", "--algorithm", "DDPG", "--goal_strategy", "final", "--num_steps", "2"],
            "num_steps must be 1 with a goal_strategy, got 2",
        ),
        (["fit", *SMALL, "--device", "abacus"], "device must be one of cpu"),
        (["fit", *SMALL, "--process_noise", "-1"], "process_noise must be finite and >= 0, got -1"),
        (["fit", *SMALL, "--process_noise", "[1, 2]"], "process_noise must be one number or nv = 4 numbers, got 2"),
        (["fit", *SMALL, "--reward_noise", "-1"], "reward_noise must be finite and >= 0, got -1"),
        (["fit", *SMALL, "--task_kwargs", '{"reward_noise": 1}'], "reward_noise is an option of the run; remove it"),
        (["fit", *SMALL, "--dynamics", "guess"], "must be one of simulator, finite_differences, got 'guess'"),
        (
            ["fit", *SMALL, "--dynamics", "finite_differences", "--num_workers", "-1"],
            "num_workers must be an int >= 0, got -1",
        ),
        (["fit", "--task", "Reachr-v5"], "got 'Reachr-v5'; did you mean Reacher-v5?"),
        (["fit", *SMALL, "--task_kwargs", '{"colour": 1}'], "colour"),
        (["fit", "--config", "none.yaml"], "config must be a readable YAML file, got 'none.yaml'"),
        (
            ["fit", "--resume", "nowhere"],
            "--resume must be the folder of a run, with its config.yaml, got",
        ),
        (
            ["fit", "--resume", "nowhere", "--horizon", "3"],
            "only --iterations, --env_steps, --device and --env_timeout may differ, got --horizon",
        ),
        (["evaluate", "nowhere"], "RUN must be the folder of a run, with its config.yaml, or zoo:NAME, got 'nowhere'"),
        (["evaluate", "nowhere", "--episods", "3"], "unknown option --episods; did you mean --episodes?"),
        (["tasks", "--all"], "unknown option --all"),
    ],
)
def test_wrong_options_print_one_line_and_write_nothing(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert diffsim(*words) == 2
    captured = capsys.readouterr()
    assert message in captured.err and "Traceback" not in captured.err and captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir()), "no file may be written"


def test_wrong_options_in_a_file_are_reported(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("task: InvertedPendulum-v5\nhorizn: 3\n")
    assert diffsim("fit", "--config", tmp_path / "c.yaml") == 2
    assert "unknown option --horizn; did you mean --horizon?" in capsys.readouterr().err
    (tmp_path / "c.yaml").write_text("- 1\n")
    assert diffsim("fit", "--config", tmp_path / "c.yaml") == 2
    assert "config must hold one option per line" in capsys.readouterr().err


def test_resume_and_evaluate_reject_a_damaged_checkpoint(tmp_path, capsys):
    assert diffsim("fit", *SMALL, "--iterations", 1, "--run", tmp_path / "run") == 0
    RunFolder(tmp_path / "run").checkpoint.write_bytes(b"damaged")
    for words in (["evaluate", tmp_path / "run"], ["fit", "--resume", tmp_path / "run", "--iterations", 2]):
        assert diffsim(*words) == 2
        assert "checkpoint must be undamaged and hold plain tensors only" in capsys.readouterr().err
