"""Tests of going on to the last bit, over the grid of all that a run may be made of."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from grid import (
    AT_AN_EPOCHS_END,
    EPOCH_LENGTH,
    EPOCHS,
    EXCLUDED,
    IN_MID_EPOCH,
    NETWORKS,
    SHAPE,
    UNCOMPILED,
    VARIANTS,
    Combination,
    Moment,
    Trial,
    all_combinations,
    check,
    copy_as_killed,
    differences,
    exported_optimizers,
    interrupt,
    make_batches,
    make_conv_net,
    make_optimizers,
    make_threenet,
    order_in_memory,
    pairs_of,
    pairwise,
)
from helpers import Ramp
from ignite.engine import Engine, Events
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.checkpoint import Checkpoint
from ignite_threenet_plugins.early_stop import EarlyStop
from ignite_threenet_plugins.ema import Ema
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, AdamW

from ignite_threenet import CheckpointError, Plugin, Run, option
from ignite_threenet.extensions import selection
from ignite_threenet.storage import checkpoint_file as checkpoint
from ignite_threenet.training.compilation import CompiledGradients

MAKERS = make_optimizers()

_find_plugins, _version = cache(selection.find_plugins), cache(metadata.version)


pytestmark = pytest.mark.usefixtures("in_haste")


@pytest.fixture(autouse=True)
def _find_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look only once for what is installed."""
    for module in ("extensions.selection", "run.saved_choice"):
        monkeypatch.setattr(f"ignite_threenet.{module}.find_plugins", _find_plugins)
    for module in ("run.manifest", "run.compatibility"):
        monkeypatch.setattr(f"ignite_threenet.{module}.version", _version)


# Optimizers


def test_the_grid_knows_every_optimizer_of_torch() -> None:
    names = {kind.__name__ for kind in exported_optimizers()}

    assert names == VARIANTS.keys() | {kind.__name__ for kind in EXCLUDED}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("optimizer", MAKERS)
def test_every_optimizer_goes_on_with_every_network(optimizer: str, network: str) -> None:
    trial = Trial(NETWORKS[network], MAKERS[optimizer], options={"epochs": 2})

    assert differences(trial.train_in_parts(IN_MID_EPOCH), trial.train_through()) == []


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("optimizer", MAKERS)
def test_every_optimizer_goes_on_in_other_precisions(optimizer: str, dtype: torch.dtype) -> None:
    trial = Trial(make_threenet, MAKERS[optimizer], options={"epochs": 2}, dtype=dtype)

    assert differences(trial.train_in_parts(IN_MID_EPOCH), trial.train_through()) == []


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_some_states_have_another_dtype_than_their_parameter(dtype: torch.dtype) -> None:
    for optimizer, name in (("ASGD t0=2", "mu"), ("NAdam", "mu_product")):
        run = Trial(make_threenet, MAKERS[optimizer], dtype=dtype).train_through(optimizer)

        assert {state[name].dtype for state in run.optimizer.state.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("what", "now"),
    [
        ("optimizer", {"optimizer": lambda model: AdamW(model.parameters(), lr=0.01)}),
        ("loss", {"loss_fn": nn.NLLLoss()}),
    ],
)
def test_another_kind_of_optimizer_or_loss_is_refused(what: str, now: Mapping[str, Any]) -> None:
    trial = Trial(make_optimizer=MAKERS["SGD"], make_loss=nn.CrossEntropyLoss)
    path = interrupt(trial.start("parts"), IN_MID_EPOCH)
    kinds = {"optimizer": (SGD, AdamW), "loss": (nn.CrossEntropyLoss, nn.NLLLoss)}[what]

    with pytest.raises(CheckpointError) as caught:
        trial.resume(path, **now)

    before, after = (kind.__qualname__ for kind in kinds)
    file = path / f"checkpoint-{IN_MID_EPOCH[1]:08}.safetensors"
    assert str(caught.value) == f"{file}: the {what} was {before}, and is {after}"
    run = trial.resume(path)
    run.train()
    assert differences(run, trial.train_through()) == []


# The grid of choices


QUICK = list(pairwise(UNCOMPILED))
COMPILED = [
    Combination("adamw", "threenet", "compile", "schedule", "in mid-epoch"),
    Combination("sgd", "tied", "compile", "ema", "at an epoch's end"),
    Combination("muon", "channels-last", "compile", "early-stop", "by terminate()"),
]


@pytest.mark.parametrize("point", [*QUICK, *COMPILED], ids=" ".join)
def test_a_run_of_any_two_choices_goes_on(point: Combination) -> None:
    assert check(point) == []


def test_few_points_have_every_pair_of_choices() -> None:
    points, everything = list(pairwise()), list(all_combinations())

    assert len(everything) == len(set(everything)) == 4 * 4 * 3 * 5 * 3
    assert len(points) < len(everything) / 20
    assert {pair for point in points for pair in pairs_of(point)} == {
        pair for point in everything for pair in pairs_of(point)
    }
    assert points == list(pairwise())


def test_the_comparison_finds_what_a_plugin_forgets() -> None:
    trial = Trial(make_plugins=lambda: [Ramp(), Checkpoint(seconds=0)])

    found = differences(trial.train_in_parts(IN_MID_EPOCH), trial.train_through())

    assert "/model/layers.0.weight" in found


# terminate()


MOMENTS: dict[str, Moment] = {
    "as training starts": (Events.STARTED, 0),
    "as an epoch starts": (Events.EPOCH_STARTED, 3),
    "as a batch is asked for": (Events.GET_BATCH_STARTED, 4),
    "as a batch has come": (Events.GET_BATCH_COMPLETED, 4),
    "as an iteration starts": (Events.ITERATION_STARTED, 5),
    "after the first iteration": (Events.ITERATION_COMPLETED, 1),
    "in mid-epoch": (Events.ITERATION_COMPLETED, 5),
    "after an epoch's last iteration": (Events.ITERATION_COMPLETED, 6),
    "at an epoch's end": (Events.EPOCH_COMPLETED, 6),
    "after the last iteration of all": (Events.ITERATION_COMPLETED, 9),
    "at the last epoch's end": (Events.EPOCH_COMPLETED, 9),
}
every_moment = pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
skipped_or_not = pytest.mark.parametrize("skip", [False, True], ids=["completed", "skipped"])


def make_rare_checkpoints() -> list[Plugin]:
    rare = Checkpoint(every=1000, seconds=1e9)
    return [Accuracy(every=1, split="test"), Ema(decay=0.8), rare]


@pytest.fixture
def trial() -> Trial:
    return Trial(make_plugins=make_rare_checkpoints, options={"momentum": 0.9})


def iterations_of(run: Run) -> list[int]:
    """Train, and give the iterations that were begun."""
    begun: list[int] = []

    @run.trainer.on(Events.ITERATION_STARTED)
    def note(trainer: Engine) -> None:
        begun.append(trainer.state.iteration)

    run.train()
    return begun


@every_moment
@skipped_or_not
def test_a_terminated_run_is_saved_as_it_ended(trial: Trial, moment: Moment, skip: bool) -> None:
    ended = trial.train_until_terminated(moment, skip_completed=skip)

    event, iteration = moment
    is_complete = event != Events.ITERATION_STARTED
    assert ended.directory.last_saved_iteration() == (iteration if is_complete else iteration - 1)
    newest = checkpoint.read(ended.directory.checkpoints()[0])
    assert newest["ended"] == ("skip_completed" if skip else True)


@every_moment
@skipped_or_not
def test_a_terminated_run_that_was_killed_ends_again_in_the_same_way(
    trial: Trial, moment: Moment, skip: bool
) -> None:
    ended = trial.train_until_terminated(moment, skip_completed=skip)

    again = trial.resume(copy_as_killed(ended.directory.path, "again"))

    assert iterations_of(again) == []
    assert differences(again, ended) == []


@every_moment
@skipped_or_not
def test_a_terminated_run_goes_on_for_more_epochs(trial: Trial, moment: Moment, skip: bool) -> None:
    ended = trial.train_until_terminated(moment, skip_completed=skip)
    saved = ended.directory.last_saved_iteration()
    assert saved is not None

    more = trial.resume(ended.directory.path, epochs=EPOCHS + 1)

    assert iterations_of(more) == list(range(saved + 1, (EPOCHS + 1) * EPOCH_LENGTH + 1))
    assert differences(more, trial.train_through(epochs=EPOCHS + 1)) == []


@pytest.mark.parametrize("name", ["in mid-epoch", "at an epoch's end"])
def test_a_terminated_run_goes_on_with_a_loader_that_shuffles(trial: Trial, name: str) -> None:
    trial = replace(trial, shuffled=True)
    ended = trial.train_until_terminated(MOMENTS[name])

    more = trial.resume(ended.directory.path, epochs=EPOCHS + 1)
    more.train()

    assert differences(more, trial.train_through(epochs=EPOCHS + 1)) == []


def test_a_run_that_is_interrupted_as_it_is_terminated_ends_as_terminated() -> None:
    def make_plugins() -> list[Plugin]:
        stop = EarlyStop(patience=1, min_delta=1.0)
        return [Accuracy(every=1, split="test"), stop, Checkpoint(seconds=0)]

    trial = Trial(make_plugins=make_plugins)
    whole = trial.train_through()

    assert len(whole.history.epochs) == 2 < EPOCHS
    assert differences(trial.train_in_parts((Events.EPOCH_COMPLETED, 6)), whole) == []


# terminate_epoch()


class Impatient(Plugin):
    """Leave the first epoch early."""

    skip: bool = option(False, help="whether nobody is to hear of the epoch's end")

    def attach(self, run: Run) -> None:
        run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), self.leave)

    def leave(self, trainer: Engine) -> None:
        trainer.terminate_epoch(skip_epoch_completed=self.skip)


@pytest.mark.parametrize(
    "moment",
    [
        (Events.ITERATION_COMPLETED, 1),
        (Events.ITERATION_COMPLETED, 2),
        (Events.ITERATION_COMPLETED, 3),
        (Events.ITERATION_COMPLETED, 4),
        (Events.EPOCH_COMPLETED, 5),
        (Events.ITERATION_COMPLETED, 7),
    ],
    ids=lambda moment: f"{moment[0].name} {moment[1]}",
)
@pytest.mark.parametrize("skip", [False, True], ids=["heard of", "skipped"])
@pytest.mark.parametrize("shuffled", [False, True], ids=["in order", "shuffled"])
def test_a_run_that_left_an_epoch_early_goes_on(moment: Moment, skip: bool, shuffled: bool) -> None:
    trial = Trial(
        make_plugins=lambda: [Impatient(skip=skip), Checkpoint(seconds=0)], shuffled=shuffled
    )

    assert differences(trial.train_in_parts(moment), trial.train_through()) == []


# What torch's own state_dict() and load_state_dict() leave out


class Centred(nn.Module):
    """Subtract a running mean, which is not part of the state_dict."""

    mean: Tensor

    def __init__(self, mean: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("mean", mean, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if self.mean is None:
            self.mean = images.mean(dim=0)
        if self.training:
            self.mean.lerp_(images.mean(dim=0), 0.1)
        return images - self.mean


def make_centred() -> nn.Module:
    return nn.Sequential(Centred(torch.zeros(SHAPE)), make_threenet())


def make_centred_lazily() -> nn.Module:
    return nn.Sequential(Centred(None), make_threenet())


def make_centred_twice() -> nn.Module:
    mean = torch.zeros(SHAPE)
    return nn.Sequential(Centred(mean), Centred(mean), make_threenet())


BOTH_MOMENTS = [IN_MID_EPOCH, AT_AN_EPOCHS_END]
in_mid_epoch_or_at_its_end = pytest.mark.parametrize(
    "moment", BOTH_MOMENTS, ids=["in mid-epoch", "at an epoch's end"]
)


@pytest.mark.parametrize(
    "make_model",
    [make_centred, make_centred_lazily, make_centred_twice],
    ids=["of one module", "made by the first batch", "of two modules"],
)
@in_mid_epoch_or_at_its_end
def test_a_buffer_that_is_not_persistent_goes_on(
    make_model: Callable[[], nn.Module], moment: Moment
) -> None:
    trial = Trial(make_model)

    assert differences(trial.train_in_parts(moment), trial.train_through()) == []


class Weighed(nn.Module):
    """A loss that is weighed by its running mean."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.ones(()))

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss = cross_entropy(outputs, targets)
        if torch.is_grad_enabled():
            self.mean.lerp_(loss.detach(), 0.1)
        return loss / self.mean


@in_mid_epoch_or_at_its_end
def test_a_loss_with_a_running_mean_goes_on(moment: Moment) -> None:
    trial = Trial(make_loss=Weighed)

    assert differences(trial.train_in_parts(moment), trial.train_through()) == []


class Thaw(Plugin):
    """Freeze or unfreeze the first weight of a ThreeNet half-way."""

    freezes: bool = option(False, help="whether it is frozen then, and not before")

    def attach(self, run: Run) -> None:
        self._weight = run.model.get_parameter("layers.0.weight")
        self._weight.requires_grad_(self.freezes)
        run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=4), self.change)

    def change(self) -> None:
        self._weight.requires_grad_(not self.freezes)


@pytest.mark.parametrize("freezes", [False, True], ids=["unfrozen", "frozen"])
@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "compiled"])
@in_mid_epoch_or_at_its_end
@pytest.mark.usefixtures("without_code")
def test_a_weight_that_is_frozen_or_not_half_way_goes_on(
    freezes: bool, compiled: bool, moment: Moment
) -> None:
    trial = Trial(
        make_plugins=lambda: [Thaw(freezes=freezes), Checkpoint(seconds=0)],
        options={"compile": compiled, "optimizer": "adamw"},
    )

    assert differences(trial.train_in_parts(moment), trial.train_through()) == []


# The order in memory


class Keeper(Plugin):
    """Keep tensors that do not lie in memory in the order of their dimensions."""

    def attach(self, run: Run) -> None:
        self.by_columns = torch.rand(5, 3).t()
        self.channels_last = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)

    def state_dict(self) -> Mapping[str, Any]:
        return {"by_columns": self.by_columns, "channels_last": self.channels_last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.by_columns, self.channels_last = state["by_columns"], state["channels_last"]


def test_a_plugins_tensors_come_back_as_they_lay() -> None:
    trial = Trial(make_plugins=lambda: [Keeper(), Checkpoint(seconds=0)])
    run = trial.start("parts")
    interrupt(run, IN_MID_EPOCH)
    before = run.plugins["keeper"].state_dict()

    resumed = trial.resume(Path("parts"))
    resumed.train()

    after = resumed.plugins["keeper"].state_dict()
    for name, strides in (("by_columns", (1, 3)), ("channels_last", (60, 1, 15, 3))):
        assert torch.equal(after[name], before[name])
        assert after[name].stride() == before[name].stride() == strides


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("optimizer", ["Adam fused amsgrad", "AdamW foreach", "NAdam"])
def test_an_optimizers_state_comes_back_as_it_lay(network: str, optimizer: str) -> None:
    trial = Trial(NETWORKS[network], MAKERS[optimizer])
    run = trial.train_through()
    expected = [order_in_memory(each) for each in states_of(run)]
    resumed = trial.resume(interrupt(trial.start("parts"), IN_MID_EPOCH))
    found: list[list[int]] = []

    @resumed.trainer.on(Events.GET_BATCH_STARTED)
    def look() -> None:
        found[:] = found or [order_in_memory(each) for each in states_of(resumed)]

    resumed.train()

    assert found == expected


@pytest.mark.parametrize(
    "optimizer", ["Adam fused", "AdamW fused amsgrad", "SGD momentum=0.9 fused"]
)
def test_a_fused_optimizer_goes_on_where_the_weights_lie_otherwise(optimizer: str) -> None:
    trial = Trial(NETWORKS["channels-last"], MAKERS[optimizer])
    model = trial.make_model().to(memory_format=torch.contiguous_format)

    run = trial.resume(interrupt(trial.start("parts"), IN_MID_EPOCH), model=model)
    run.train()

    pairs = zip(run.model.parameters(), trial.train_through().model.parameters(), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def states_of(run: Run) -> list[Tensor]:
    states = (run.optimizer.state[each] for each in run.model.parameters())
    return [each for state in states for each in state.values() if isinstance(each, Tensor)]


# Compiled


def never(*arguments: Tensor) -> Tensor:
    raise AssertionError("the network was not compiled")


class Scaled(nn.Module):
    """Scale each pixel, by what is stored by columns; its gradient by itself would lie by rows."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.arange(64.0).reshape(SHAPE[1:]).div(64).t())

    def forward(self, images: Tensor) -> Tensor:
        return images * self.scale


def make_scaled() -> nn.Module:
    return nn.Sequential(Scaled(), make_threenet())


COMPILABLE = {
    "scaled": make_scaled,
    **{name: NETWORKS[name] for name in ("threenet", "tied", "channels-last")},
}


@pytest.mark.parametrize("make_model", COMPILABLE.values(), ids=COMPILABLE)
@pytest.mark.usefixtures("without_code")
def test_compiled_gradients_lie_as_their_parameters(make_model: Callable[[], nn.Module]) -> None:
    model = make_model()
    compute = CompiledGradients(model, cross_entropy, never)

    compute(*make_batches(1)[0])

    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.stride() == parameter.stride()


@pytest.mark.parametrize("make_model", COMPILABLE.values(), ids=COMPILABLE)
@pytest.mark.usefixtures("without_code")
def test_a_fused_optimizer_takes_the_same_steps_compiled(
    make_model: Callable[[], nn.Module],
) -> None:
    trial = Trial(make_model, options={"optimizer": "adamw"})

    compiled, plain = trial.train_through("compiled", compile=True), trial.train_through("plain")

    assert all(group["fused"] for group in compiled.optimizer.param_groups)
    pairs = zip(compiled.model.parameters(), plain.model.parameters(), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_a_network_that_cannot_be_compiled_goes_on_as_it_is() -> None:
    trial = Trial(make_conv_net, options={"compile": True})

    assert differences(trial.train_in_parts(IN_MID_EPOCH), trial.train_through()) == []
