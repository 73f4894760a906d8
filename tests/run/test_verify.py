"""Tests of the comparison of a resumed run with one that was never stopped."""

import textwrap
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path

import pytest
import torch
from helpers import BUILT_IN, Counter, Forgetful, Ramp
from torch import nn

from ignite_threenet import Plugin, RunConfig, ThreeNetError
from ignite_threenet.cli.verification import verify_command
from ignite_threenet.run.comparison import Comparison
from ignite_threenet.run.verify import verify_resume
from ignite_threenet.testing import tiny, tiny_loaders
from ignite_threenet.testing.fixtures import RunCli

PARTS = ["model", "optimizer", "history", "random", "summary", "files"]

pytestmark = pytest.mark.usefixtures("in_haste")


def compare_with(*plugins: type[Plugin], epochs: int = 3) -> Comparison:
    config = RunConfig(epochs=epochs, batch_size=16, lr=0.1)
    return verify_resume(
        config,
        lambda: [plugin() for plugin in plugins],
        make_model=make_tiny,
        make_loaders=tiny_loaders,
    )


def make_tiny() -> nn.Module:
    torch.manual_seed(0)
    return tiny.Tiny(input_shape=(784,))


# In one process


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_nothing_differs_where_plugins_remember(epochs: int) -> None:
    comparison = compare_with(Counter, epochs=epochs)

    assert comparison.differences == {part: [] for part in [*PARTS, "plugin counter"]}
    assert comparison.unchecked == {}
    assert comparison.is_same


def test_a_plugin_that_forgets_is_named_with_the_values_that_differ() -> None:
    comparison = compare_with(Forgetful)

    differences = comparison.differences
    assert differences.pop("plugin forgetful") == [
        "count: 3 and 1",
        "count: 1 and 0, after terminate()",
    ]
    assert not any(differences.values())


def test_a_plugin_that_changes_the_training_by_what_it_forgets_shows_in_the_model() -> None:
    comparison = compare_with(Ramp)

    differences = comparison.differences
    assert differences["model"][0].startswith("tiny.1.bias: tensors (10,) that differ by up to")
    assert any(place.startswith("epochs[") for place in differences["history"])
    assert not comparison.is_same


def test_any_optimizer_of_a_script_is_compared() -> None:
    comparison = verify_resume(
        RunConfig(epochs=2),
        list,
        make_model=make_tiny,
        make_loaders=tiny_loaders,
        make_optimizer=lambda model: torch.optim.RAdam(model.parameters(), lr=0.01),
    )

    assert comparison.is_same


# The command line itself, in fresh processes

DRAWING = ("confusion", "lr-finder", "plot")
OTHERS = [name for name in BUILT_IN if name not in DRAWING]

HEADER = '''
import os
import random
import torch
from ignite.engine import Events
from ignite_threenet import Plugin

TOTAL = 0

class Subject(Plugin):
    """Counts epochs, and keeps no state."""

    changes_training = True

    def attach(self, run):
        self.run, self.count = run, 0
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.look)

    def look(self, trainer):
        self.count += 1
        self.act(trainer)

    def act(self, trainer):
        pass
'''


def compare_command(source: str = "", *words: str) -> Comparison:
    Path("subject.py").write_text(HEADER + textwrap.indent(textwrap.dedent(source), "    "))
    of_tiny = ["--model", f"{tiny.__file__}:Tiny", "--dataset", f"{tiny.__file__}:load"]
    options = ["--epochs", "3", "--batch-size", "16", "--lr", "0.1", "--device", "cpu"]
    plugins = words or ("--plugins", "./subject.py:Subject")
    return verify_command([*of_tiny, *options, *plugins])


@pytest.mark.parametrize("names", [DRAWING, OTHERS], ids=["drawing", "others"])
def test_the_built_in_plugins_give_the_same_in_fresh_processes(names: Sequence[str]) -> None:
    comparison = compare_command("", "--optimizer", "adamw", "--plugins", ",".join(names))

    assert comparison.is_same
    # What augment computes once is no state of it.
    assert comparison.unchecked.keys() <= {"plugin augment"}
    assert {*comparison.differences} == {*PARTS, *(f"plugin {name}" for name in names)}


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Compare runs with a counter that does several things by what it forgets."""
    with chdir(tmp_path_factory.mktemp("busy")):
        return compare_command(
            """
            def act(self, trainer):
                global TOTAL
                TOTAL += 1
                with torch.no_grad():
                    next(self.run.model.parameters()).add_(0.1 * TOTAL)
                if self.count == 2:
                    random.random()

            def summary(self):
                return {"count": self.count}

            def close(self, error):
                self.run.directory.write("count.txt", f"epochs: {self.count}".encode())
            """
        )


@pytest.mark.parametrize(
    ("part", "difference"),
    [
        ("files", "count.txt[2]: '3' and '1'"),
        ("summary", "plugins.subject.count: 3 and 1"),
        ("random", "python[1][624]: "),
        ("model", "tiny.1.weight: tensors (10, 784) that differ by up to"),
    ],
)
def test_a_counter_without_a_state_is_found_by_what_it_did(
    busy: Comparison, part: str, difference: str
) -> None:
    found = busy.differences[part]

    assert any(place.startswith(difference) for place in found), found


def test_a_counter_without_a_state_is_found_by_when_it_ended_the_training() -> None:
    comparison = compare_command(
        """
        def act(self, trainer):
            if self.count == 2:
                trainer.terminate()
        """
    )

    assert "epochs: 2 and 3 items" in comparison.differences["history"]


def test_a_counter_that_does_nothing_is_said_to_be_unchecked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The processes have the environment and the directory of the caller.
    monkeypatch.setenv("IGNITE_THREENET_PLUGINS", "./subject.py:Subject")

    comparison = compare_command("", "--seed", "5")

    assert comparison.is_same
    assert comparison.unchecked == {
        "plugin subject": "its attribute 'count' differs, 3 and 1; nothing that it wrote shows "
        "whether that matters"
    }


def test_what_varies_between_two_runs_never_stopped_is_left_out() -> None:
    comparison = compare_command(
        """
        def attach(self, run):
            self.run = run

        def close(self, error):
            import time
            self.run.directory.write("time.txt", f"now {time.time_ns()}".encode())
        """
    )

    assert comparison.is_same
    assert comparison.unchecked == {}


def test_a_run_that_fails_is_told_by_its_own_message() -> None:
    with pytest.raises(ThreeNetError, match=r"failed: plugin 'subject' .* ValueError: no luck$"):
        compare_command(
            """
            def act(self, trainer):
                raise ValueError("no luck")
            """
        )


def test_the_environment_and_the_directory_are_those_of_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IGNITE_THREENET_PLUGINS", "./subject.py:Subject")

    comparison = compare_command("", "--seed", "5")

    assert "plugin subject" in comparison.differences


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("os._exit(0)", "import"),
        ("def attach(self, run):\n    os._exit(0)", "attach of plugin 'subject'"),
        ("def act(self, trainer):\n    os._exit(0)", "run (EPOCH_COMPLETED of plugin 'subject')"),
        ("def close(self, error):\n    os._exit(0)", "close of plugin 'subject'"),
        ("def summary(self):\n    os._exit(0)", "close (summary of plugin 'subject')"),
    ],
)
def test_a_plugin_that_ends_the_process_as_if_all_were_well_is_found(
    source: str, place: str
) -> None:
    with pytest.raises(ThreeNetError) as caught:
        compare_command(source)

    assert str(caught.value).endswith(
        f": ends the process with exit code 0 in {place}, before it was done"
    )


@pytest.mark.parametrize("source", ["os._exit(0)", "def __post_init__(self):\n    os._exit(0)"])
def test_the_command_outlives_what_it_imports(run_cli: RunCli, source: str) -> None:
    Path("subject.py").write_text(HEADER + textwrap.indent(source, "    "))

    result = run_cli("verify-resume", "--plugins", "./subject.py")

    assert result.exit_code == 1
    assert result.stderr == (
        "error: verify-resume: what it imports ends the process with exit code 0 in import, "
        "before it was done\n"
    )
