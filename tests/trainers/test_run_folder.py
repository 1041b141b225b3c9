"""Files of a run folder."""

import subprocess

import pytest
from matplotlib.figure import Figure

from diffsim.trainers.run import machine
from diffsim.trainers.run.machine import commit, describe_machine
from diffsim.trainers.run.run_folder import RunFolder, write_table


def test_fresh_folders_never_overwrite(tmp_path):
    paths = [RunFolder.fresh(tmp_path / "run").path.name for _ in range(3)]
    assert paths == ["run", "run-2", "run-3"]


def test_metrics_are_read_as_they_were_written(tmp_path):
    folder = RunFolder(tmp_path)
    rows = [{"iteration": 1, "return": 0.1 + 0.2}, {"iteration": 2, "return": 1 / 3, "eval/return": 1e-300}]
    folder.write_metrics([])
    for row in rows:
        folder.append_metrics(row)
    assert folder.read_metrics() == rows


def test_curve_is_drawn_without_and_with_evaluations(tmp_path):
    folder = RunFolder(tmp_path)
    for row in ({"env_steps": 1, "return": 2.0}, {"env_steps": 2, "eval/return": 3.0}):
        folder.append_metrics(row)
        folder.draw_curve("title")
        assert folder.curve.read_bytes().startswith(b"\x89PNG")


def test_the_curve_shows_single_points_and_the_final_episodes(tmp_path, monkeypatch):
    """Final returns 1 and 5 of mean actions: 3.0 ± 2.0. Sampled actions are not shown."""
    axes = Figure().subplots()
    monkeypatch.setattr(Figure, "subplots", lambda self: axes)
    folder = RunFolder(tmp_path)
    folder.append_metrics({"env_steps": 7, "return": 2.0})
    rows = [{"actions": kind, "return": total} for kind, total in (("mean", 1.0), ("mean", 5.0), ("sampled", 99.0))]
    write_table(folder.final, rows)
    folder.draw_curve("title")
    training = axes.lines[0]
    assert training.get_marker() == "o" and training.get_ydata().tolist() == [2.0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training", "final: 3.0 ± 2.0, 2 episodes"]


def test_folder_without_metrics_has_no_rows(tmp_path):
    assert RunFolder(tmp_path).read_metrics() == []


@pytest.mark.parametrize(
    "name", ["config.yaml", "machine.txt", "metrics.csv", "final.csv", "learning_curve.png", "video.mp4"]
)
def test_file_names_are_as_documented(tmp_path, name):
    assert tmp_path / name in vars(RunFolder(tmp_path)).values()


def test_the_machine_is_described_with_the_commit_of_the_code(tmp_path, monkeypatch):
    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=b@c"]
        done = subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    assert commit(tmp_path) is None
    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-qm", "one")
    commit.cache_clear()
    head = git("rev-parse", "HEAD")[:10]
    assert commit(tmp_path) == head
    monkeypatch.setattr(machine, "commit", lambda: commit(tmp_path))
    assert describe_machine().endswith(f" at commit {head}")
    (tmp_path / "file").write_text("two")
    commit.cache_clear()
    assert commit(tmp_path) == f"{head}-dirty"
