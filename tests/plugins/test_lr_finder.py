"""Tests of the plugin `lr-finder`."""

import logging
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import collect_figures, make_run, train_until
from ignite.engine import Events
from ignite_threenet_plugins.lr_finder import LrFinder
from ignite_threenet_plugins.schedule import Schedule
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, TensorDataset

from ignite_threenet import ConfigError, OptionError, Plugin, PluginFailedError, Run
from ignite_threenet.testing import (
    TinyModel,
    assert_observes_only,
    assert_resumes,
    tiny_loaders,
)
from ignite_threenet.training.engines import Batch
from ignite_threenet.training.randomness import get_random_state


def make_tiny_run(
    *plugins: Plugin, model: nn.Module | None = None, train: Any = None, **options: Any
) -> Run:
    """Make a run of one epoch, whose model is linear."""
    torch.manual_seed(0)
    loaders = {"train": tiny_loaders()["train"] if train is None else train}
    return make_run(
        *plugins, model=model or TinyModel(), loaders=loaders, **{"epochs": 1} | options
    )


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    return collect_figures(monkeypatch)


def weights_of(run: Run) -> Tensor:
    return torch.cat([each.detach().flatten() for each in run.model.parameters()])


def rates_of(run: Run) -> set[float]:
    return {group["lr"] for group in run.optimizer.param_groups}


def test_only_observes_also_where_the_search_diverges() -> None:
    assert_observes_only(lambda: LrFinder(iterations=40, end_lr=1e20), epochs=1)


def test_a_resumed_run_goes_on_with_the_rate_that_was_applied() -> None:
    assert_resumes(lambda: LrFinder(iterations=20, apply=True))


def test_suggests_a_rate_that_lowers_the_loss(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ignite_threenet.lr-finder")
    run = make_tiny_run(LrFinder(), lr=1e-4)
    summary = run.train()

    facts = summary["plugins"]["lr-finder"]
    assert 1e-3 < facts["suggestion"] < 1
    assert (facts["applied"], facts["file"]) == (False, "lr-finder.png")
    assert f"lr-finder: suggests --lr {facts['suggestion']:.2g}; it was 0.0001" in caplog.messages
    assert (run.directory.path / "lr-finder.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert "lr-finder.png" in summary["files"]


def test_the_picture_shows_the_rates_that_were_tried(figures: list[Figure]) -> None:
    # So low that it does not diverge.
    run = make_tiny_run(LrFinder(start_lr=1e-4, end_lr=1e-2, iterations=20), lr=0.05)
    summary = run.train()

    (axes,) = figures[0].axes
    losses, own_rate, suggestion = axes.get_lines()
    rates = np.asarray(losses.get_xdata())
    # Ignite takes its first two iterations with one rate, and stops one short of the last.
    expected = 1e-4 * 100 ** (np.array([1, *range(1, 20)]) / 20)
    assert rates == pytest.approx(expected)
    assert axes.get_xscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "learning rate",
        "training loss (nats per sample)",
    )
    assert list(np.asarray(own_rate.get_xdata())) == [0.05, 0.05]
    found = summary["plugins"]["lr-finder"]["suggestion"]
    assert list(np.asarray(suggestion.get_xdata())) == [found]


class Noisy:
    """A loader that draws from every generator there is."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        for images, labels in self._batches:
            noise = random.random() + np.random.random() + torch.rand(())
            yield images + noise + torch.rand((), generator=self.generator), labels


class Witness(Plugin):
    """Notes the state of the run when training starts."""

    def attach(self, run: Run) -> None:
        run.trainer.add_event_handler(Events.STARTED, self.note, run)

    def note(self, run: Run) -> None:
        state = get_random_state(run.loaders["train"])
        parts = [run.model.state_dict(), run.optimizer.state_dict(), state]
        leaves = tree_leaves(parts)
        self.noted = [each.clone() if isinstance(each, Tensor) else each for each in leaves]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "muon"])
def test_changes_nothing_of_the_run(optimizer: str) -> None:
    class Before(Witness):
        pass

    before, after = Before(), Witness()
    model = nn.Sequential(nn.Dropout(0.1), nn.BatchNorm1d(784), TinyModel())
    loader = Noisy(tiny_loaders()["train"])
    plugins = [before, LrFinder(iterations=20), after]
    make_tiny_run(*plugins, model=model, train=loader, optimizer=optimizer).train()

    assert len(before.noted) == len(after.noted)
    for one, other in zip(before.noted, after.noted, strict=True):
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other


def test_the_training_begins_with_the_weights_that_the_search_began_with() -> None:
    seen: list[Tensor] = []

    class Peeping(TinyModel):
        def forward(self, inputs: Tensor) -> Tensor:
            if self.training:
                seen.append(next(self.parameters()).detach().clone())
            output: Tensor = super().forward(inputs)  # type: ignore[no-untyped-call]
            return output

    run = make_tiny_run(LrFinder(iterations=20), model=Peeping())
    run.train()

    # 20 iterations at most of the search, then 4 of the training.
    assert not torch.equal(seen[0], seen[-5])
    assert torch.equal(seen[0], seen[-4])


def test_a_loader_that_shuffles_gives_the_same_order_as_without() -> None:
    images, labels = (torch.cat(parts) for parts in zip(*tiny_loaders()["train"], strict=True))

    def weights(*plugins: LrFinder, out: str) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        dataset = TensorDataset(images, labels)
        loader = DataLoader(dataset, batch_size=8, shuffle=True, generator=generator)
        run = make_tiny_run(*plugins, train=loader, out=Path(out))
        run.train()
        return weights_of(run)

    assert torch.equal(weights(LrFinder(iterations=20), out="with"), weights(out="without"))


def test_a_rate_that_is_applied_is_the_one_that_is_trained_with() -> None:
    run = make_tiny_run(LrFinder(iterations=50, apply=True), lr=1e-4)
    facts = run.train()["plugins"]["lr-finder"]

    assert rates_of(run) == {facts["suggestion"]}
    assert facts["applied"] is True


def test_it_changes_the_training_only_where_it_applies_the_rate() -> None:
    assert not LrFinder().changes_training
    assert LrFinder(apply=True).changes_training


@pytest.mark.parametrize("nan_from", [0, 10])
def test_a_search_that_diverges_stops_nothing(nan_from: int) -> None:
    losses: list[int] = []

    class Fragile(TinyModel):
        """Gives NaN from some iteration of the search on, and works in the training."""

        def forward(self, inputs: Tensor) -> Tensor:
            losses.append(1)
            output: Tensor = super().forward(inputs)  # type: ignore[no-untyped-call]
            is_search = run.trainer.state.iteration == 0 and self.training
            return output * float("nan") if is_search and len(losses) > nan_from else output

    run = make_tiny_run(LrFinder(iterations=20, start_lr=1e-2, apply=True), model=Fragile())
    losses.clear()
    summary = run.train()

    facts = summary["plugins"]["lr-finder"]
    assert summary["status"] == "completed"
    if nan_from == 0:
        assert (facts["suggestion"], facts["applied"]) == (None, False)
    else:
        # The rate of the tenth iteration, the last one with a loss.
        assert 1e-2 < facts["suggestion"] < 1e-2 * 1000 ** (10 / 20)


def test_says_that_no_rate_is_found(caplog: pytest.LogCaptureFixture) -> None:
    run = make_tiny_run(LrFinder(start_lr=100.0, end_lr=1e4, iterations=20, apply=True))
    summary = run.train()

    assert summary["plugins"]["lr-finder"]["suggestion"] is None
    assert "lr-finder: no rate from 100 on lowers the loss" in caplog.messages
    assert rates_of(run) == {0.1}


def test_a_schedule_that_follows_peaks_at_the_rate_that_is_applied() -> None:
    schedule = Schedule(kind="constant", warmup=0.0)
    run = make_tiny_run(LrFinder(iterations=50, apply=True), schedule, lr=1e-4)
    facts = run.train()["plugins"]["lr-finder"]

    assert rates_of(run) == {facts["suggestion"]}


def test_a_schedule_of_a_resumed_run_peaks_at_the_rate_that_is_applied() -> None:
    def plugins() -> list[str | Plugin]:
        return [LrFinder(iterations=20, apply=True), Schedule(kind="cosine"), "checkpoint"]

    whole = make_run(*plugins(), out=Path("whole"))
    whole.train()
    run = train_until(make_run(*plugins()), Events.ITERATION_COMPLETED(once=6))
    resumed = Run.resume(run.directory.path, loaders=run.loaders)
    resumed.train()

    assert torch.equal(weights_of(resumed), weights_of(whole))


def test_a_schedule_that_was_planned_before_is_refused() -> None:
    run = make_tiny_run(Schedule(), LrFinder(iterations=50, apply=True), lr=1e-4)
    with pytest.raises(PluginFailedError, match="name lr-finder before"):
        run.train()


def test_a_schedule_that_was_planned_before_does_not_disturb_the_search() -> None:
    first = make_tiny_run(LrFinder(iterations=30), out=Path("first")).train()
    second = make_tiny_run(Schedule(), LrFinder(iterations=30), out=Path("second")).train()

    facts = first["plugins"]["lr-finder"]
    assert second["plugins"]["lr-finder"]["suggestion"] == facts["suggestion"]


def test_a_resumed_run_does_not_search_again(figures: list[Figure]) -> None:
    run = make_run(LrFinder(iterations=20), "checkpoint")
    train_until(run, Events.ITERATION_COMPLETED(once=1))
    suggestion = run.plugins["lr-finder"].summary()["suggestion"]
    summary = Run.resume(run.directory.path, loaders=run.loaders).train()

    assert len(figures) == 1
    assert summary["plugins"]["lr-finder"]["suggestion"] == suggestion


def test_weights_that_two_layers_share_are_shared_in_the_copy() -> None:
    first, second = nn.Linear(10, 10), nn.Linear(10, 10)
    second.weight = first.weight
    model = nn.Sequential(nn.Linear(784, 10), first, nn.Tanh(), second, nn.LogSoftmax(dim=1))
    summary = make_tiny_run(LrFinder(iterations=50), model=model).train()

    assert summary["plugins"]["lr-finder"]["suggestion"] is not None


def test_refuses_to_search_backwards() -> None:
    with pytest.raises(ConfigError, match=r"lr-finder\.start_lr: 1 is not below end_lr, 0\.1"):
        make_tiny_run(LrFinder(start_lr=1.0, end_lr=0.1))


@pytest.mark.parametrize("options", [{"start_lr": 0.0}, {"end_lr": 0.0}, {"iterations": 9}])
def test_refuses_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="is out of range"):
        LrFinder(**options)
