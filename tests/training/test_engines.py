"""Tests of the engines, with Ignite's own handlers, and of what the project relies on in Ignite."""

import copy
import io
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import Batches, MakeBatches
from helpers import assert_same_weights
from ignite.engine import Engine, Events
from ignite.handlers import (
    BasicTimeProfiler,
    Checkpoint,
    DiskSaver,
    EarlyStopping,
    EMAHandler,
    HandlersTimeProfiler,
    LRScheduler,
    ModelCheckpoint,
    ProgressBar,
    TerminateOnNan,
)
from ignite.metrics import Accuracy, Loss
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

from ignite_threenet import create_evaluator, create_trainer


class Classifier(nn.Module):
    """A linear classifier that notes the mode in which it is applied."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(784, 10)
        self.modes: list[bool] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.modes.append(self.training)
        return torch.log_softmax(self.linear(inputs), dim=1)


def make_trainer(model: nn.Module, lr: float = 0.1) -> Engine:
    return create_trainer(model, SGD(model.parameters(), lr=lr), nn.NLLLoss())


def note_events(engine: Engine, *events: Events) -> list[str]:
    """List the names of the events as they are fired."""
    fired: list[str] = []
    for event in events:
        engine.add_event_handler(event, partial(fired.append, event.name))
    return fired


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the calls that make the host wait for a device."""
    calls: list[str] = []
    for name in ("item", "tolist", "cpu", "numpy", "__float__", "__int__", "__bool__"):
        original = getattr(Tensor, name)

        def noted(tensor: Tensor, *, name: str = name, original: object = original) -> object:
            calls.append(name)
            return original(tensor)  # type: ignore[operator]

        monkeypatch.setattr(Tensor, name, noted)
    return calls


# The trainer


def test_the_trainer_is_an_engine_of_ignite() -> None:
    assert isinstance(make_trainer(Classifier()), Engine)


def test_the_trainers_output_is_the_detached_loss_of_the_batch(make_batches: MakeBatches) -> None:
    model, (batch, *_) = Classifier(), make_batches()
    expected = nn.NLLLoss()(model(batch[0]), batch[1])
    output: object = make_trainer(model).run([batch]).output

    assert isinstance(output, Tensor)
    assert output.shape == ()
    assert output.grad_fn is None
    assert output.device == model.linear.weight.device
    assert torch.equal(output, expected)


def test_weights_equal_those_of_a_loop_by_hand_to_the_last_bit(make_batches: MakeBatches) -> None:
    def make_optimizer(model: nn.Module) -> SGD:
        return SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)

    model = Classifier()
    twin = copy.deepcopy(model)
    trainer = create_trainer(model, make_optimizer(model), nn.NLLLoss())
    trainer.run(make_batches(), max_epochs=3)

    optimizer = make_optimizer(twin)
    for inputs, targets in make_batches() * 3:
        optimizer.zero_grad()
        nn.NLLLoss()(twin(inputs), targets).backward()
        optimizer.step()

    assert_same_weights(model.state_dict(), twin.state_dict())


def test_training_lowers_the_loss(make_batches: MakeBatches) -> None:
    trainer = make_trainer(Classifier())
    losses: list[Tensor] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output)
    )
    trainer.run(make_batches(), max_epochs=5)

    assert losses[-1] < 0.1 * losses[0]


def test_the_trainer_trains_in_training_mode(make_batches: MakeBatches) -> None:
    model = Classifier().eval()
    make_trainer(model).run(make_batches())

    assert model.modes == [True] * 4


def test_a_module_that_came_frozen_stays_so(make_batches: MakeBatches) -> None:
    model = nn.Sequential(nn.BatchNorm1d(784).eval(), nn.Dropout().eval(), Classifier())
    trainer = make_trainer(model)
    # Whoever forgets to put the network back.
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=2), lambda: model.eval())

    trainer.run(make_batches(), max_epochs=2)

    assert [module.training for module in model] == [False, False, False]
    assert model[2].modes == [True] * 8
    assert model[0].num_batches_tracked == 0


def test_a_module_that_a_handler_freezes_or_thaws_stays_so(make_batches: MakeBatches) -> None:
    frozen, thawed = nn.BatchNorm1d(784), nn.BatchNorm1d(784).eval()
    model = nn.Sequential(frozen, thawed, Classifier())
    trainer = make_trainer(model)
    evaluator = create_evaluator(model)

    @trainer.on(Events.EPOCH_COMPLETED(once=1))
    def change() -> None:
        frozen.eval()
        thawed.train()
        evaluator.run(make_batches())

    trainer.run(make_batches(), max_epochs=3)

    assert [int(each.num_batches_tracked or 0) for each in (frozen, thawed)] == [4, 8]


def test_the_loop_never_reads_the_loss(make_batches: MakeBatches, reads: list[str]) -> None:
    trainer = make_trainer(Classifier())
    trainer.run(make_batches(), max_epochs=2)
    assert reads == []

    float(trainer.state.output)  # type: ignore[arg-type]
    assert reads == ["__float__"]


def test_batches_are_moved_to_the_device(make_batches: MakeBatches) -> None:
    model = Classifier().to("meta")
    trainer = create_trainer(model, SGD(model.parameters()), nn.NLLLoss(), device="meta")
    output: object = trainer.run(make_batches()).output

    assert isinstance(output, Tensor)
    assert output.device == torch.device("meta")


def as_generator(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    yield from batches


def as_loader(batches: Batches) -> Iterable[tuple[Tensor, Tensor]]:
    inputs, targets = zip(*batches, strict=True)
    samples = TensorDataset(torch.cat(inputs), torch.cat(targets))
    return DataLoader(samples, batch_size=len(targets[0]))


@pytest.mark.parametrize("make_iterable", [as_generator, as_loader, tuple])
def test_batches_may_come_from_any_iterable(
    make_batches: MakeBatches, make_iterable: partial[Iterable[object]]
) -> None:
    model = Classifier()
    twin = copy.deepcopy(model)
    state = make_trainer(model).run(make_iterable(make_batches()))
    make_trainer(twin).run(make_batches())

    assert state.iteration == 4
    assert_same_weights(model.state_dict(), twin.state_dict())


# The evaluator


def test_the_evaluator_is_an_engine_of_ignite() -> None:
    assert isinstance(create_evaluator(Classifier()), Engine)


def test_the_evaluators_output_is_outputs_and_targets_without_a_graph(
    make_batches: MakeBatches,
) -> None:
    model, (batch, *_) = Classifier(), make_batches()
    result: object = create_evaluator(model).run([batch]).output

    assert isinstance(result, tuple)
    outputs, targets = result
    assert torch.equal(outputs, model(batch[0]))
    assert not outputs.requires_grad
    assert torch.equal(targets, batch[1])


def test_metrics_are_those_of_the_whole_split(make_batches: MakeBatches) -> None:
    model = Classifier()
    batches = [*make_batches(), *make_batches(count=1, batch_size=3, seed=1)]
    metrics = {"accuracy": Accuracy(), "loss": Loss(nn.NLLLoss())}
    measured = create_evaluator(model, metrics).run(batches).metrics

    inputs, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
    outputs = model(inputs)
    right = (outputs.argmax(dim=1) == targets).sum().item()
    assert list(measured) == ["accuracy", "loss"]
    assert measured["accuracy"] == right / 67
    assert measured["loss"] == pytest.approx(nn.NLLLoss()(outputs, targets).item(), rel=1e-5)


def test_evaluating_leaves_weights_and_gradients_alone(make_batches: MakeBatches) -> None:
    model = Classifier()
    make_trainer(model).run(make_batches())
    twin = copy.deepcopy(model)
    gradient = model.linear.weight.grad
    assert gradient is not None
    before = gradient.clone()
    create_evaluator(model).run(make_batches())

    assert_same_weights(model.state_dict(), twin.state_dict())
    assert model.linear.weight.grad is gradient
    assert torch.equal(gradient, before)


@pytest.mark.parametrize("training", [True, False])
def test_evaluating_is_done_in_evaluation_mode_and_leaves_the_mode_alone(
    make_batches: MakeBatches, training: bool
) -> None:
    model = Classifier().train(training)
    create_evaluator(model).run(make_batches())

    assert model.modes == [False] * 4
    assert model.training is training


def test_evaluating_leaves_the_mode_of_a_frozen_part_alone(make_batches: MakeBatches) -> None:
    frozen, model = Classifier().eval(), nn.Sequential()
    model.append(frozen)
    create_evaluator(model).run(make_batches())

    assert model.training
    assert not frozen.training


def test_an_evaluation_that_fails_leaves_the_mode_alone() -> None:
    model = Classifier()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        create_evaluator(model).run([(torch.rand(2, 5), torch.tensor([0, 1]))])

    assert model.training


def test_an_evaluator_may_run_while_the_trainer_does(make_batches: MakeBatches) -> None:
    model = Classifier()
    twin = copy.deepcopy(model)
    trainer, evaluator = make_trainer(model), create_evaluator(model)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: evaluator.run(make_batches()))
    trainer.run(make_batches(), max_epochs=2)
    make_trainer(twin).run(make_batches(), max_epochs=2)

    assert_same_weights(model.state_dict(), twin.state_dict())


# Handlers of Ignite


def test_progress_bar_shows_the_loss(make_batches: MakeBatches) -> None:
    trainer, screen = make_trainer(Classifier()), io.StringIO()
    bar = ProgressBar(persist=True, file=screen, mininterval=0)
    bar.attach(trainer, output_transform=lambda loss: {"loss": loss})
    trainer.run(make_batches())

    assert "[4/4]" in screen.getvalue()
    assert f"loss={float(trainer.state.output):.3g}" in screen.getvalue()  # type: ignore[arg-type]


def test_early_stopping_stops_when_patience_is_over(make_batches: MakeBatches) -> None:
    model = Classifier()
    trainer, evaluator = make_trainer(model), create_evaluator(model)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(make_batches()))
    scores = iter([1.0, 2.0, 2.0, 2.0, 2.0])
    stopping = EarlyStopping(2, score_function=lambda engine: next(scores), trainer=trainer)
    evaluator.add_event_handler(Events.COMPLETED, stopping)
    state = trainer.run(make_batches(), max_epochs=10)

    assert state.epoch == 4


def test_ema_handler_averages_the_weights(make_batches: MakeBatches) -> None:
    model = Classifier()
    trainer = make_trainer(model)
    average = model.linear.weight.detach().clone()
    handler = EMAHandler(model, momentum=0.25)
    handler.attach(trainer)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda: average.mul_(0.75).add_(model.linear.weight.detach(), alpha=0.25),
    )
    trainer.run(make_batches())

    averaged = handler.ema_model
    assert isinstance(averaged, Classifier)
    assert not torch.equal(average, model.linear.weight)
    torch.testing.assert_close(averaged.linear.weight.detach(), average)


def test_terminate_on_nan_stops_at_the_first_nan(make_batches: MakeBatches) -> None:
    batches = make_batches()
    batches[2][0][0, 0] = torch.nan
    trainer = make_trainer(Classifier())
    trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
    state = trainer.run(batches, max_epochs=2)

    assert state.iteration == 3


def test_checkpoint_saves_what_can_be_loaded_again(
    make_batches: MakeBatches, tmp_path: Path
) -> None:
    model, loaded_model = Classifier(), Classifier()
    trainer, loaded_trainer = make_trainer(model), make_trainer(loaded_model)
    checkpoint = Checkpoint({"model": model, "trainer": trainer}, DiskSaver(tmp_path))
    trainer.add_event_handler(Events.EPOCH_COMPLETED, checkpoint)
    trainer.run(make_batches(), max_epochs=2)
    Checkpoint.load_objects(
        {"model": loaded_model, "trainer": loaded_trainer},
        tmp_path / str(checkpoint.last_checkpoint),
    )

    assert_same_weights(loaded_model.state_dict(), model.state_dict())
    assert (loaded_trainer.state.epoch, loaded_trainer.state.iteration) == (2, 8)


def test_model_checkpoint_keeps_the_model_with_the_best_score(
    make_batches: MakeBatches, tmp_path: Path
) -> None:
    model = Classifier()
    trainer = make_trainer(model)
    twins: list[Classifier] = []
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: twins.append(copy.deepcopy(model)))
    scores = iter([1.0, 3.0, 2.0])
    keeper = ModelCheckpoint(tmp_path, score_function=lambda engine: next(scores))
    trainer.add_event_handler(Events.EPOCH_COMPLETED, keeper, {"model": model})
    trainer.run(make_batches(), max_epochs=3)
    model.load_state_dict(torch.load(str(keeper.last_checkpoint), weights_only=True))

    assert_same_weights(model.state_dict(), twins[1].state_dict())


def test_basic_time_profiler_times_every_batch(make_batches: MakeBatches) -> None:
    trainer, profiler = make_trainer(Classifier()), BasicTimeProfiler()
    profiler.attach(trainer)
    trainer.run(make_batches(), max_epochs=2)

    assert profiler.processing_times.shape == (8,)
    assert (profiler.processing_times > 0).all()


def test_handlers_time_profiler_times_every_call_of_a_handler(make_batches: MakeBatches) -> None:
    trainer, profiler = make_trainer(Classifier()), HandlersTimeProfiler()
    fired = note_events(trainer, Events.EPOCH_COMPLETED)
    profiler.attach(trainer)
    trainer.run(make_batches(), max_epochs=2)

    assert len(fired) == 2
    assert len(profiler.event_handlers_times[Events.EPOCH_COMPLETED]["partial"]) == 2


def test_lr_scheduler_changes_the_learning_rate_before_each_iteration(
    make_batches: MakeBatches,
) -> None:
    model = Classifier()
    optimizer = SGD(model.parameters(), lr=0.8)
    trainer = create_trainer(model, optimizer, nn.NLLLoss())
    scheduler = StepLR(optimizer, step_size=2, gamma=0.5)
    trainer.add_event_handler(Events.ITERATION_STARTED, LRScheduler(scheduler))
    rates: list[float] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda: rates.append(optimizer.param_groups[0]["lr"])
    )
    trainer.run(make_batches(), max_epochs=2)

    assert rates == [0.8, 0.8, 0.4, 0.4, 0.2, 0.2, 0.1, 0.1]


# What the project relies on in Ignite


def test_handlers_of_an_event_run_in_the_order_of_registration() -> None:
    engine, calls = Engine(lambda engine, batch: None), list[str]()
    for name in ("first", "second", "third"):
        engine.add_event_handler(Events.EPOCH_COMPLETED, calls.append, name)
    engine.run([0])

    assert calls == ["first", "second", "third"]


def test_every_20_fires_at_each_20th_epoch() -> None:
    engine, epochs = Engine(lambda engine, batch: None), list[int]()
    engine.add_event_handler(
        Events.EPOCH_COMPLETED(every=20), lambda: epochs.append(engine.state.epoch)
    )
    engine.run([0], max_epochs=45)

    assert epochs == [20, 40]


def test_terminating_within_an_epoch_skips_its_epoch_completed() -> None:
    engine = Engine(lambda engine, batch: None)
    fired = note_events(engine, Events.EPOCH_COMPLETED, Events.TERMINATE, Events.COMPLETED)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda: engine.terminate())
    engine.run([0, 1], max_epochs=4)

    assert fired == ["EPOCH_COMPLETED", "TERMINATE", "COMPLETED"]
    assert engine.state.epoch == 2


def test_terminating_at_an_epochs_end_lets_the_events_other_handlers_run() -> None:
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.EPOCH_COMPLETED(once=2), lambda: engine.terminate())
    fired = note_events(engine, Events.EPOCH_COMPLETED, Events.TERMINATE, Events.COMPLETED)
    engine.run([0, 1], max_epochs=4)

    assert fired == ["EPOCH_COMPLETED", "EPOCH_COMPLETED", "TERMINATE", "COMPLETED"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_run_at_once(error: type[BaseException]) -> None:
    def fail(engine: Engine, batch: object) -> None:
        raise error

    engine = Engine(fail)
    fired = note_events(engine, Events.EPOCH_COMPLETED, Events.COMPLETED)
    with pytest.raises(error):
        engine.run([0])

    assert fired == []


def test_after_an_exception_only_the_second_run_runs() -> None:
    def fail_once(engine: Engine, batch: object) -> None:
        batches.append(batch)
        if len(batches) == 1:
            raise ValueError

    batches: list[object] = []
    engine = Engine(fail_once)
    with pytest.raises(ValueError, match=r"^$"):
        engine.run([7])

    assert engine.run([8]) is None
    assert engine.run([9]) is engine.state
    assert batches == [7, 9]


def test_data_is_iterated_anew_after_each_epoch_started() -> None:
    class Data:
        def __len__(self) -> int:
            return 2

        def __iter__(self) -> Iterator[int]:
            calls.append("iter")
            return iter([0, 1])

    calls: list[str] = []
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.EPOCH_STARTED, calls.append, "EPOCH_STARTED")
    engine.run(Data(), max_epochs=3)

    assert calls == ["EPOCH_STARTED", "iter"] * 3


def test_a_metric_is_there_when_the_evaluator_has_completed() -> None:
    evaluator, seen = create_evaluator(nn.Identity(), {"accuracy": Accuracy()}), list[float]()
    evaluator.add_event_handler(
        Events.COMPLETED, lambda: seen.append(evaluator.state.metrics["accuracy"])
    )
    evaluator.run([(torch.eye(2), torch.tensor([0, 1]))])
    evaluator.run([(torch.eye(2), torch.tensor([0, 0]))])

    assert seen == [1.0, 0.5]
