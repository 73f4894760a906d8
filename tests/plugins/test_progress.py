"""Tests of the plugin `progress`."""

import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import Clock
from helpers import SlowLoader, make_run, train_until
from ignite.engine import Events
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.checkpoint import Checkpoint
from ignite_threenet_plugins.progress import Progress, _choose_bar
from tqdm import tqdm

from ignite_threenet import OptionError, Run
from ignite_threenet.testing import assert_observes_only, tiny_loaders

MakeRun = Callable[..., Run]
OpenTerminal = Callable[[], "Terminal"]
Capture = pytest.CaptureFixture[str]


class Skipping:
    """A loader that takes no time for its first batches, the first time."""

    def __init__(self, loader: Any, count: int) -> None:
        self._loader, self._count = loader, count

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        batches, count = iter(self._loader), self._count
        self._count = 0
        for _ in range(count):
            now = self._loader._clock.now
            batch = next(batches)
            self._loader._clock.now = now
            yield batch
        yield from batches


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def make_slow_run(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """Make a run whose epochs take 4 s each, measurements included in none of them."""
    clock.take(100.0)
    monkeypatch.setattr("time.monotonic", lambda: clock.now)

    def make(*plugins: Any, batch_seconds: float = 1.0, **options: Any) -> Run:
        loaders = tiny_loaders()
        slow = SlowLoader(loaders["train"], clock, batch_seconds)
        return make_run(*plugins, loaders=loaders | {"train": slow}, **options)

    return make


@pytest.fixture
def open_terminal(monkeypatch: pytest.MonkeyPatch) -> OpenTerminal:
    """Let standard error be a terminal; not sooner than called, since pytest exchanges it too."""

    def open_now() -> Terminal:
        screen = Terminal()
        monkeypatch.setattr(sys, "stderr", screen)
        return screen

    return open_now


def interrupt() -> None:
    raise KeyboardInterrupt


# Where there is no terminal


def shown_epochs(text: str) -> list[int]:
    return [int(line.removeprefix("epoch ").partition("/")[0]) for line in text.splitlines()]


def test_a_line_tells_the_loss_the_pace_and_what_is_left(
    make_slow_run: MakeRun, capsys: Capture
) -> None:
    run = make_slow_run(Progress(interval_s=0.0))
    run.train()

    losses = [epoch.loss for epoch in run.history.epochs]
    assert capsys.readouterr().err.splitlines() == [
        f"epoch 1/3: loss {losses[0]:.4f}, 4.00 s an epoch, 00:08 left",
        f"epoch 2/3: loss {losses[1]:.4f}, 4.00 s an epoch, 00:04 left",
        f"epoch 3/3: loss {losses[2]:.4f}, 4.00 s an epoch, 00:00 left",
    ]


def test_the_pace_counts_from_the_start_of_the_training(
    make_slow_run: MakeRun, clock: Clock, capsys: Capture
) -> None:
    run = make_slow_run(Progress(), epochs=1)
    clock.take(1000.0)
    run.train()

    assert ", 4.00 s an epoch," in capsys.readouterr().err


def test_a_line_tells_the_accuracy_that_was_just_measured(
    make_slow_run: MakeRun, capsys: Capture
) -> None:
    run = make_slow_run(Accuracy(every=1, split="test"), Progress(interval_s=0.0))
    run.train()

    accuracies = [each.metrics["accuracy"] for each in run.history.of_split("test")]
    lines = capsys.readouterr().err.splitlines()
    assert len(set(accuracies)) == 3
    for line, accuracy in zip(lines, accuracies, strict=True):
        assert f" test accuracy {accuracy:.3%}," in line


def test_the_last_line_tells_the_last_accuracy_also_where_progress_comes_first(
    make_slow_run: MakeRun, capsys: Capture
) -> None:
    run = make_slow_run(Progress(), Accuracy(every=1, split="test"))
    run.train()

    accuracy = run.history.of_split("test")[-1].metrics["accuracy"]
    assert f" test accuracy {accuracy:.3%}," in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("interval_s", "epochs"),
    [
        (0.0, [1, 2, 3, 4, 5, 6, 7]),
        (4.0, [1, 2, 3, 4, 5, 6, 7]),
        (8.0, [1, 3, 5, 7]),
        (10.0, [1, 4, 7]),
        (16.0, [1, 5, 7]),
        (1000.0, [1, 7]),
    ],
)
def test_there_is_a_line_for_the_first_epoch_the_last_and_now_and_then(
    make_slow_run: MakeRun, capsys: Capture, interval_s: float, epochs: list[int]
) -> None:
    make_slow_run(Progress(interval_s=interval_s), epochs=7).train()

    assert shown_epochs(capsys.readouterr().err) == epochs


def test_a_run_of_one_epoch_gets_one_line(make_slow_run: MakeRun, capsys: Capture) -> None:
    make_slow_run(Progress(), epochs=1).train()

    assert shown_epochs(capsys.readouterr().err) == [1]


def test_lines_have_nothing_that_only_a_terminal_understands(
    make_slow_run: MakeRun, capsys: Capture
) -> None:
    make_slow_run(Accuracy(every=1), Progress(interval_s=0.0)).train()
    text = capsys.readouterr().err

    assert text.isascii()
    assert "\r" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("iteration", "lines"),
    [
        (8, ["epoch 3/5: loss L, 4.00 s an epoch, 00:08 left", "epoch 5/5: loss L, 4.00 s an ep"]),
        (6, ["epoch 2/5: loss L, 4.00 s an epoch, 00:12 left", "epoch 5/5: loss L, 4.00 s an ep"]),
    ],
)
def test_the_pace_of_a_run_that_goes_on_is_that_of_now(
    make_slow_run: MakeRun, capsys: Capture, iteration: int, lines: list[str]
) -> None:
    run = make_slow_run(Progress(interval_s=1000), Checkpoint(), epochs=5)
    train_until(run, Events.ITERATION_COMPLETED(once=iteration))
    capsys.readouterr()
    # Of an epoch in hand, the batches before are fetched anew, which takes no time here.
    loaders = dict(make_slow_run(out=Path("other")).loaders)
    loaders["train"] = Skipping(loaders["train"], iteration % 4)
    plugins = [Progress(interval_s=1000), Checkpoint()]
    Run.resume(run.directory.path, plugins=plugins, loaders=loaders).train()

    shown = [
        re.sub(r"loss [0-9.]+", "loss L", line) for line in capsys.readouterr().err.splitlines()
    ]
    assert [each[: len(line)] for each, line in zip(shown, lines, strict=True)] == lines


def test_a_run_that_had_ended_shows_no_pace(make_slow_run: MakeRun, capsys: Capture) -> None:
    run = make_slow_run("progress", Checkpoint())
    run.train()
    (run.directory.path / "summary.json").unlink()
    capsys.readouterr()
    Run.resume(run.directory.path, loaders=run.loaders).train()

    loss = run.history.epochs[-1].loss
    assert capsys.readouterr().err == f"epoch 3/3: loss {loss:.4f}\n"


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("screen", [None, Broken()], ids=["closed", "left"])
def test_nobody_who_reads_is_no_failure(
    make_slow_run: MakeRun, capsys: Capture, monkeypatch: pytest.MonkeyPatch, screen: Any
) -> None:
    monkeypatch.setattr(sys, "stderr", screen)
    summary = make_slow_run(Progress(interval_s=0)).train()

    assert summary["detached"] == {}
    assert capsys.readouterr().out == ""


def test_refuses_a_negative_interval() -> None:
    with pytest.raises(OptionError):
        Progress(interval_s=-1.0)


# On a terminal


def test_bars_show_the_epochs_and_the_loss(
    make_slow_run: MakeRun, open_terminal: OpenTerminal
) -> None:
    terminal = open_terminal()
    run = make_slow_run(Progress())
    run.train()

    last_line = terminal.getvalue().splitlines()[-1]
    assert last_line.startswith("training: 100%")
    assert "3/3" in last_line
    assert f"loss={run.history.epochs[-1].loss:.4f}" in last_line


def test_the_bar_of_an_epoch_shows_the_loss_of_its_batches(
    make_slow_run: MakeRun, open_terminal: OpenTerminal
) -> None:
    terminal = open_terminal()
    run = make_slow_run(Progress())
    shown: list[str] = []
    run.trainer.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda engine: shown.append(f"loss={float(engine.state.output):.4f}"),
    )
    run.train()

    text = terminal.getvalue()
    assert "0/4" in text
    assert shown[3] in text


@pytest.mark.parametrize(("batch_seconds", "readings"), [(0.0, 1), (1.0, 12)])
def test_the_loss_of_a_batch_is_not_read_more_often_than_it_is_shown(
    make_slow_run: MakeRun,
    open_terminal: OpenTerminal,
    monkeypatch: pytest.MonkeyPatch,
    batch_seconds: float,
    readings: int,
) -> None:
    def note(bar: object, facts: object = None, *, loss: str = "", refresh: bool = True) -> None:
        if loss:
            read.append(loss)

    read: list[str] = []
    monkeypatch.setattr(tqdm, "set_postfix", note)
    open_terminal()
    make_slow_run(Progress(), batch_seconds=batch_seconds).train()

    assert len(read) == readings


def test_bars_show_the_accuracy(make_slow_run: MakeRun, open_terminal: OpenTerminal) -> None:
    terminal = open_terminal()
    run = make_slow_run(Accuracy(every=1), Progress())
    run.train()

    last = run.history.of_split("train")[-1].metrics["accuracy"]
    assert f"train accuracy={last:.3%}" in terminal.getvalue().splitlines()[-1]


def test_a_loader_of_unknown_length_has_a_bar_too(open_terminal: OpenTerminal) -> None:
    class Stream:
        def __iter__(self) -> Iterator[Any]:
            return iter(tiny_loaders()["train"])

    terminal = open_terminal()
    loaders = {"train": Stream()}
    summary = make_run(Progress(), epochs=1, loaders=loaders).train()

    assert summary["detached"] == {}
    assert "training: 100%" in terminal.getvalue()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_bars_are_closed_after_an_error(
    make_slow_run: MakeRun, open_terminal: OpenTerminal, error: type[BaseException]
) -> None:
    def fail() -> None:
        raise error

    terminal = open_terminal()
    run = make_slow_run(Progress())
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=6), fail)
    with pytest.raises(error):
        run.train()

    # What is printed next, such as the error, has a line of its own.
    assert "training:  33%" in terminal.getvalue().splitlines()[-1]
    assert terminal.getvalue().endswith("\n")


def test_nothing_is_left_to_close_where_training_never_started(
    make_slow_run: MakeRun, open_terminal: OpenTerminal
) -> None:
    open_terminal()
    run = make_slow_run(Progress())
    run.trainer.add_event_handler(Events.STARTED, interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.train()

    assert next(iter(run.attachments)).failure is None


@pytest.mark.parametrize("columns", [0, 20, 30, 40, 60, 80, 120])
def test_a_bar_takes_a_line_and_shows_whole_facts(
    make_slow_run: MakeRun,
    open_terminal: OpenTerminal,
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
) -> None:
    monkeypatch.setattr(Terminal, "fileno", lambda screen: 2)
    monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((columns, 24)))
    terminal = open_terminal()
    run = make_slow_run(Accuracy(every=1, split="train"), Progress())
    run.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: run.evaluate("test"))
    summary = run.train()

    assert summary["detached"] == {}
    drawn = re.split(r"[\r\n]|\x1b\[A", terminal.getvalue())
    assert max(len(line.rstrip()) for line in drawn) < (columns or 80)
    last = next(line for line in reversed(drawn) if "3/3" in line)
    if columns in (0, 80, 120):
        facts = [f"loss={run.history.epochs[-1].loss:.4f}"]
        for split in ("train", "test"):
            accuracy = run.history.of_split(split)[-1].metrics["accuracy"]
            facts.append(f"{split} accuracy={accuracy:.3%}")
        assert [fact for fact in facts if fact not in last] == []


@pytest.mark.parametrize(("iteration", "shown"), [(8, ["2/3"]), (6, ["1/3", "2/4"])])
def test_the_bars_of_a_run_that_goes_on_begin_where_it_stopped(
    open_terminal: OpenTerminal, iteration: int, shown: list[str]
) -> None:
    run = make_run("progress", "checkpoint")
    train_until(run, Events.ITERATION_COMPLETED(once=iteration))
    terminal = open_terminal()
    Run.resume(run.directory.path, loaders=run.loaders).train()

    assert [each for each in ("0/3", *shown) if each in terminal.getvalue()] == shown


def test_a_notebook_has_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    import tqdm.auto
    from tqdm.notebook import tqdm_notebook

    class Bar(tqdm_notebook):  # type: ignore[type-arg]
        pass

    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    assert _choose_bar() is None

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    assert _choose_bar() is Bar


# On both


@pytest.mark.parametrize("make_screen", [Terminal, io.StringIO])
def test_standard_output_is_left_to_results(
    make_slow_run: MakeRun,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    make_screen: type[io.StringIO],
) -> None:
    screen = make_screen()
    monkeypatch.setattr(sys, "stderr", screen)
    make_slow_run(Accuracy(every=1), Progress()).train()

    assert screen.getvalue() != ""
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("make_screen", [Terminal, io.StringIO])
def test_showing_progress_changes_nothing_of_the_training(
    monkeypatch: pytest.MonkeyPatch, make_screen: type[io.StringIO]
) -> None:
    screen = make_screen()
    monkeypatch.setattr(sys, "stderr", screen)
    assert_observes_only(Progress)

    assert screen.getvalue() != ""
