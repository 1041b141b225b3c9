"""Checkpoints that are damaged, malicious or not ours raise one clear error, and their code does not run."""

import pickle

import pytest
import torch
from torch import nn

from diffsim.trainers.algorithm import CHECKPOINT_FORMAT
from diffsim.trainers.errors import CheckpointError
from diffsim.trainers.run.checkpoint import load_weights, read_checkpoint

GOOD = {
    "diffsim": {"format": CHECKPOINT_FORMAT},
    "state_dict": {"policy.weight": torch.ones(1, 2), "policy.bias": torch.zeros(1)},
}


class Malicious:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def saved(path, content):
    torch.save(content, path)
    return path


def test_valid_checkpoint_is_read(tmp_path):
    path, module = saved(tmp_path / "good.ckpt", GOOD), nn.Linear(2, 1)
    load_weights(module, read_checkpoint(path), "policy.", path)
    assert torch.equal(module.weight, torch.ones(1, 2))


def test_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="checkpoint must be an existing file, got .*none.ckpt"):
        read_checkpoint(tmp_path / "none.ckpt")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps({"a": 1})])
def test_bytes_of_another_format(tmp_path, content):
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError, match="checkpoint must be undamaged|must have been written by diffsim"):
        read_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.99])
def test_truncated_file(tmp_path, keep):
    path = saved(tmp_path / "x.ckpt", GOOD)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(CheckpointError, match="checkpoint must be undamaged and hold plain tensors only"):
        read_checkpoint(path)


def test_malicious_code_does_not_run(tmp_path):
    trace = tmp_path / "trace"
    path = saved(tmp_path / "x.ckpt", {**GOOD, "extra": Malicious(trace)})
    with pytest.raises(CheckpointError, match="checkpoint must be undamaged and hold plain tensors only"):
        read_checkpoint(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)["extra"].close()
    assert trace.exists(), "control: the malicious code runs if it is allowed to"


@pytest.mark.parametrize(
    "content", [{"state_dict": {}}, [1, 2], {"diffsim": {"format": CHECKPOINT_FORMAT}}, {"diffsim": 3}]
)
def test_checkpoint_of_another_program(tmp_path, content):
    with pytest.raises(CheckpointError, match="must have been written by diffsim fit"):
        read_checkpoint(saved(tmp_path / "x.ckpt", content))


def test_checkpoint_of_another_format(tmp_path):
    with pytest.raises(CheckpointError, match=f"checkpoint format must be {CHECKPOINT_FORMAT}, got 7"):
        read_checkpoint(saved(tmp_path / "x.ckpt", {**GOOD, "diffsim": {"format": 7}}))


def test_checkpoint_of_another_policy(tmp_path):
    path = saved(tmp_path / "x.ckpt", GOOD)
    with pytest.raises(CheckpointError, match="does not fit: .*size mismatch for weight"):
        load_weights(nn.Linear(3, 1), read_checkpoint(path), "policy.", path)
