"""Maximum-likelihood fit of an ensemble, with a bootstrap sample and early stopping for each member."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from diffsim.checks import check_values, require
from diffsim.models.data import Data
from diffsim.models.world_model import WorldModel


class ModelFit:
    """Fits a world model, epoch by epoch, until no member improves on the validation data.

        minimise mean_t -log p(o_{t+1}, r_t, terminated_t | o_t, u_t)        horizon 1
        minimise mean_t mean_{j < k} -log p(o_{t+j+1} | ô_{t+j}, u_{t+j}),    horizon k
                 ô_t = o_t,   ô_{t+j+1} = ô_{t+j} + m(ô_{t+j}, u_{t+j})
        minimise mean_t mean_{j < k} -log p(o_{t+j+1} | o_t, u_t, ..., o_{t+j}, u_{t+j}),    with a memory

    At the end every member has the weights of its best epoch, and the members with the lowest validation loss are the
    elites. The validation loss is the same negative log-likelihood; without noise, that of the best constant standard
    deviation.

    Args:
        model: to fit, starting from its current weights. Its normalisation becomes that of the training data.
        train: training transitions.
        validation: validation transitions.
        generator: of bootstrap samples and order, on the model's device.
        horizon: k, steps that the model predicts from its own predictions, at least 1; with a memory, length of the
            sequences, at least 2.
        batch_size: windows per update and member, at least 1.
        learning_rate: Adam's step size, above 0.
        weight_decay: weight of the L2 penalty on the parameters, at least 0.
        patience: epochs without improvement after which a member stops, at least 1.
        min_gain: smallest decrease of the validation loss that counts as improvement, in nats, at least 0.
        bootstrap: draw the training data of each member with replacement; otherwise every member takes all data.
        max_epochs: largest number of epochs, at least 1.

    Raises: ValueError if an argument is out of range, or the data do not have the model's sizes or one window.
    Source: Chua et al. (2018), PETS; Janner et al. (2019), MBPO, for early stopping and elites.
    """

    def __init__(
        self,
        model: WorldModel,
        train: Data,
        validation: Data,
        generator: torch.Generator,
        *,
        horizon: int = 1,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-5,
        patience: int = 5,
        min_gain: float = 0.01,
        bootstrap: bool = True,
        max_epochs: int = 200,
    ) -> None:
        check_values(">= 1", horizon=horizon, batch_size=batch_size, patience=patience, max_epochs=max_epochs)
        check_values("> 0", learning_rate=learning_rate)
        check_values(">= 0", weight_decay=weight_decay, min_gain=min_gain)
        require(not model.memory_size or horizon >= 2, "horizon", ">= 2 for a model with a memory", horizon)
        like = next(model.parameters())
        self.model, self.generator = model, generator
        self.train, self.validation = train.to(like), validation.to(like)
        self.horizon, self.batch_size, self.patience = horizon, batch_size, patience
        self.min_gain, self.max_epochs = min_gain, max_epochs
        starts, self.validation_starts = self.train.starts(horizon), self.validation.starts(horizon)
        parts = (("train", self.train, starts), ("validation", self.validation, self.validation_starts))
        for name, data, windows in parts:
            model.check(data)
            if not len(windows):
                raise ValueError(f"{name} data must have >= 1 window of {horizon} steps, got {len(data)} transitions")
        model.set_units(self.train)
        self.optimizer = Adam(model.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)
        self.epoch_count, members = 0, model.num_members
        self.stopped = False
        self.best = {name: value.detach().clone() for name, value in model.named_parameters()}
        self.best_loss = torch.full((members,), math.inf, device=like.device, dtype=like.dtype)
        self.waited = torch.zeros(members, dtype=torch.int64, device=like.device)
        shape = (members, len(starts))
        self.starts = starts.expand(shape)
        if bootstrap:
            self.starts = starts[torch.randint(len(starts), shape, generator=generator, device=like.device)]

    @property
    def finished(self) -> bool:
        """Whether all members have stopped improving, or `max_epochs` is reached."""
        return self.epoch_count >= self.max_epochs or self.stopped

    def epoch(self) -> dict[str, float]:
        """Takes one pass over the training data, then validates. Returns the losses, in nats per step."""
        order = torch.rand(self.starts.shape, generator=self.generator, device=self.starts.device).argsort(1)
        losses, totals = [], []
        for index in self.starts.gather(1, order).split(self.batch_size, dim=1):
            loss = self.model.loss(*self.train.sequences(index, self.horizon))
            total = loss.sum() + self.model.penalty()
            self.optimizer.zero_grad()
            total.backward()
            self.optimizer.step()
            losses.append(loss.detach())
            totals.append(total.detach())
        validation = validation_loss(self.model, self.validation, self.horizon, starts=self.validation_starts)
        self._track_best(validation)
        self.epoch_count += 1
        means = [torch.stack([loss.mean() for loss in losses]).mean(), validation.mean(), self.best_loss.mean()]
        flags = [torch.stack(totals).isfinite().all(), (self.waited >= self.patience).all()]
        # One read per epoch, which waits for the device.
        train, validated, best, finite, stopped = torch.stack([x.double() for x in (*means, *flags)]).tolist()
        if not finite:
            loss = next(loss for loss, total in zip(losses, totals, strict=True) if not total.isfinite())
            raise FloatingPointError(f"loss of the model must be finite, got {loss.tolist()} for its members")
        self.stopped = bool(stopped)
        return {"train_loss": train, "validation_loss": validated, "best_validation_loss": best}

    def run(self) -> dict[str, float]:
        """Runs epochs until finished. Returns the losses of the last epoch and the number of epochs."""
        losses: dict[str, float] = {}
        while not self.finished:
            losses = self.epoch()
        self.finish()
        return {**losses, "epochs": float(self.epoch_count)}

    @torch.no_grad()
    def finish(self) -> None:
        """Restores the best weights of every member, and selects the elites."""
        for name, value in self.model.named_parameters():
            value.copy_(self.best[name])
        count = len(self.model.elites)
        self.model.elites.copy_(self.best_loss.argsort(stable=True)[:count].sort().values)

    @torch.no_grad()
    def _track_best(self, loss: Tensor) -> None:
        """Stores the weights of members with a new lowest loss, and counts epochs since the last improvement."""
        better, improved = loss < self.best_loss, loss < self.best_loss - self.min_gain
        self.waited = torch.where(improved, 0, self.waited + 1)
        self.best_loss = torch.where(better, loss, self.best_loss)
        for name, value in self.model.named_parameters():
            chosen = better.view(-1, *[1] * (value.dim() - 1))
            self.best[name] = torch.where(chosen, value, self.best[name])

    def state_dict(self) -> dict[str, Any]:
        """The state of the fit, except for the model's weights and the generator."""
        names = ("best", "best_loss", "waited", "epoch_count", "starts")
        return {"optimizer": self.optimizer.state_dict(), **{name: getattr(self, name) for name in names}}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.optimizer.load_state_dict(saved["optimizer"])
        device = self.starts.device
        self.best = {name: value.to(device, copy=True) for name, value in saved["best"].items()}
        self.best_loss, self.waited, self.starts = (
            saved[name].to(device, copy=True) for name in ("best_loss", "waited", "starts")
        )
        self.epoch_count = saved["epoch_count"]
        self.stopped = bool((self.waited >= self.patience).all())


@torch.no_grad()
def validation_loss(
    model: WorldModel, data: Data, horizon: int, chunk: int = 4096, starts: Tensor | None = None
) -> Tensor:
    """Mean negative log-likelihood of all windows of `data`, in nats per step, of each member: [E].

    Dynamics without noise are evaluated with the best constant standard deviation, the rms of their errors. `starts`
    are those of the windows, if they are known.
    """
    total, count, squares = 0.0, 0, 0.0
    for start in (data.starts(horizon) if starts is None else starts).split(chunk):
        batch, valid = data.sequences(start.expand(model.num_members, -1), horizon)
        total = total + model.loss(batch, valid) * len(start)
        count += len(start)
        if not model.noise_size:
            x = torch.cat([batch["obs"][0], batch["action"][0]], dim=-1)
            error = batch["next_obs"][0] - batch["obs"][0] - model.dynamics(x)[0]
            squares = squares + (error / model.dynamics.out_std).square().sum(1)
    loss = total / count
    assert isinstance(loss, Tensor)
    if isinstance(squares, Tensor):
        mean_square = (squares / count).clamp_min(1e-20)
        loss = loss + (0.5 * mean_square.log() - 0.5 * mean_square).sum(-1)
    return loss
