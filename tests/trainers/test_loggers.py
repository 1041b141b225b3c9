"""Loggers beside metrics.csv: TensorBoard with hyper-parameters, and Weights & Biases offline."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from diffsim.trainers.cli import main
from diffsim.trainers.run.run_folder import RunFolder

SMALL = ["fit", "--task", "Reacher-v5", "--num_envs", "2", "--horizon", "3", "--hidden_sizes", "[4]"]
SMALL += ["--iterations", "2"]
SMALL += ["--evaluate_episodes", "1", "--final_episodes", "1", "--evaluate_every", "1"]


def test_tensorboard_shows_options_as_hyper_parameters(tmp_path):
    assert main([*SMALL, "--learning_rate", "0.125", "--run", str(tmp_path / "run")]) == 0
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    found = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert found["learning_rate"].number_value == 0.125 and found["algorithm"].string_value == "BPTT"
    assert found["hidden_sizes"].string_value == "[4]"
    assert len(events.Scalars("eval/return")) == 2, "the score of the table is what the run logs"


def test_csv_writes_metrics_alone(tmp_path):
    assert main([*SMALL, "--logger", "csv", "--run", str(tmp_path / "run")]) == 0
    assert len(RunFolder(tmp_path / "run").read_metrics()) == 2 and not (tmp_path / "run" / "tensorboard").exists()


def test_wandb_offline_keeps_its_files_in_the_folder(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    assert main([*SMALL, "--logger", "wandb", "--run", str(tmp_path / "run")]) == 0
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    content = file.read_bytes()
    for word in (b"eval/return", b"learning_rate", b"Reacher-v5", b"grad_norm"):
        assert word in content, word


def test_a_missing_extra_is_named_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main([*SMALL, "--logger", "wandb", "--run", str(tmp_path / "run")]) == 2
    assert 'logger wandb needs the "wandb" extra: pip install "diffsim-rl[wandb]"' in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
