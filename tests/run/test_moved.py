"""Tests of going on after things were moved, renamed, edited or taken away."""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
from conftest import InstallDistribution
from helpers import NET, POINTS, flatten, last_checkpoint, make_images, train_until
from ignite.engine import Events

from ignite_threenet import Run, RunConfig, ThreeNetError
from ignite_threenet.data import download as sources
from ignite_threenet.data.idx import FILE_NAMES
from ignite_threenet.extensions.selection import resolve_plugins
from ignite_threenet.testing.fixtures import RunCli

# A second class, which is as good as the first.
TWO_NETS = f"{NET}\nclass Other(Net):\n    pass\n"

PLAIN_NET = """
import math
from torch import nn

def make(input_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), classes), nn.Dropout(0.2))
"""

SPREAD = '''
from pathlib import Path

class Spread(DataSource):
    """Points whose spread is read from a file."""

    path: Path = option(Path("spread.txt"), help="a file")

    def load(self, data_dir):
        return {"train": make(48, float(self.path.read_text()))}
'''

# The order of two of them matters, as each draws from the generator.
NUDGE = '''
import torch
from ignite.engine import Events
from ignite_threenet import Plugin, option

class Nudge(Plugin):
    """Nudge a weight, and remember by how much."""

    changes_training = True
    share: float = option(0.01, help="share", above=0)

    def attach(self, run):
        self.sum = torch.zeros(1)
        run.trainer.add_event_handler(Events.ITERATION_COMPLETED, self.nudge, run)

    @torch.no_grad()
    def nudge(self, run):
        drawn = torch.rand(1)
        self.sum += drawn
        next(run.model.parameters()).add_(self.share * drawn)

    def state_dict(self):
        return {"sum": self.sum}

    def load_state_dict(self, state):
        self.sum = state["sum"]
'''

LOOKS = '''
from ignite.engine import Events
from ignite_threenet import Plugin

class Looks(Plugin):
    """Count epochs."""

    def attach(self, run):
        self.looks = 0
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.look)

    def look(self):
        self.looks += 1

    def state_dict(self):
        return {"looks": self.looks}

    def load_state_dict(self, state):
        self.looks = state["looks"]
'''

FILES = {"net.py": NET, "points.py": f"{POINTS}{SPREAD}", "nudge.py": NUDGE, "looks.py": LOOKS}

EPOCHS = 4
# Of three iterations in an epoch.
STOP = 4

CHECKPOINT = f"checkpoint-{STOP:08}.safetensors"

OPTIONS: Mapping[str, Any] = {
    "model": "net.py:Net",
    "dataset": "points.py:Points",
    "epochs": EPOCHS,
    "lr": 0.1,
    "momentum": 0.9,
    "batch_size": 16,
    "device": "cpu",
    "out": Path("there"),
}


@pytest.fixture(autouse=True)
def _files() -> None:
    for name, source in FILES.items():
        Path(name).write_text(source)


pytestmark = pytest.mark.usefixtures("in_haste")


@pytest.fixture
def images() -> Path:
    return make_images("pets", count=24)


def start(
    plugins: Sequence[str] = (), shares: Mapping[str, float] | None = None, **options: Any
) -> Run:
    """Make a run, some of whose plugins have an option ``share``."""
    given = {name: {"share": share} for name, share in (shares or {}).items()}
    chosen = resolve_plugins([*plugins, "checkpoint"])
    made = [each.create(**given.get(each.name, {})) for each in chosen]
    return Run(RunConfig(**{**OPTIONS, **options}), made)


def begin(plugins: Sequence[str] = (), **options: Any) -> Path:
    """Begin a run that is interrupted in its second epoch, and train one that never is.

    The latter is in the directory ``whole``.
    """
    start(plugins, **{**options, "out": Path("whole")}).train()
    run = start(plugins, **options)
    return train_until(run, Events.ITERATION_COMPLETED(once=STOP)).directory.path


def remembered(path: Path | str) -> dict[str, object]:
    """Give all that the last checkpoint holds of what was trained, to the last bit, by place."""
    content = last_checkpoint(path)
    parts: dict[str, Any] = {
        name: content[name] for name in ("epoch", "iteration", "model", "optimizer", "random")
    }
    parts["history"] = content["history"]
    parts["names"] = [each["name"] for each in content["plugins"]]
    parts["plugins"] = {each["name"]: each["state"] for each in content["plugins"]}
    return dict(flatten(parts, ""))


def assert_as_never_stopped(path: Path | str) -> None:
    assert remembered(path) == remembered("whole")


def digest(path: Path | str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def changes_in(path: Path | str) -> list[dict[str, Any]]:
    content = json.loads(Path(path, "manifest.json").read_text())
    changes: list[dict[str, Any]] = content["changes"]
    return changes


def move(path: str, to: str) -> str:
    """Move a file or a folder, perhaps into a folder that is not there yet."""
    Path(to).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, to)
    return to


def edit(path: str) -> tuple[str, str]:
    """Add a comment to a file, and give the digests before and after."""
    before = digest(path)
    with Path(path).open("a") as file:
        file.write("# a comment\n")
    return before, digest(path)


def files_in(path: Path | str) -> dict[str, bytes]:
    """Read what a run has written; not who holds it just now."""
    files = (each for each in Path(path).iterdir() if each.is_file())
    return {each.name: each.read_bytes() for each in files if each.name != ".owner"}


# Both ways of going on


class Way(Protocol):
    """A way of going on, by a script or by a command; the arguments are alike."""

    def go_on(self, path: Path | str, **given: Any) -> list[str]:
        """Go on to the end, and give the warnings."""

    def refusal(self, path: Path | str, **given: Any) -> str:
        """Give the one line that says why it does not go on; what the run had is untouched."""


class ByScript:
    """Run.resume(), with the arguments as they are but ``moved``, the words of moved plugins."""

    def go_on(self, path: Path | str, **given: Any) -> list[str]:
        messages: list[str] = []

        class Collecting(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                messages.append(record.getMessage())

        handler, logger = Collecting(logging.WARNING), logging.getLogger("ignite_threenet")
        logger.addHandler(handler)
        try:
            self._resume(Path(path), given).train()
        finally:
            logger.removeHandler(handler)
        return messages

    def refusal(self, path: Path | str, **given: Any) -> str:
        before = files_in(path)
        with pytest.raises(ThreeNetError) as caught:
            self._resume(Path(path), given).train()
        assert files_in(path) == before
        message = str(caught.value)
        assert "\n" not in message
        return message

    def _resume(self, path: Path, given: Mapping[str, Any]) -> Run:
        arguments = dict(given)
        moved = {word.partition("=")[0]: word for word in arguments.pop("moved", ())}
        if moved:
            words = {
                each["name"]: f"{each['name']}={each['use']}"
                for each in last_checkpoint(path)["plugins"]
            }
            arguments["plugins"] = list((words | moved).values())
        return Run.resume(path, **arguments)


class ByCommand:
    """``run --resume``, with the same arguments."""

    def __init__(self, run_cli: RunCli) -> None:
        self._run_cli = run_cli

    def go_on(self, path: Path | str, **given: Any) -> list[str]:
        result = self._run_cli(*self._words(path, given))
        assert result.exit_code == 0, result.output
        lines = result.stderr.splitlines()
        assert all(line.startswith("warning: ") for line in lines)
        return [line.removeprefix("warning: ") for line in lines]

    def refusal(self, path: Path | str, **given: Any) -> str:
        before = files_in(path)
        result = self._run_cli(*self._words(path, given))
        assert result.exit_code in (1, 2), result.output
        assert result.stdout == ""
        assert files_in(path) == before
        *warnings, line = result.stderr.splitlines()
        assert line.startswith("error: ")
        assert all(each.startswith("warning: ") for each in warnings)
        return line.removeprefix("error: ")

    def _words(self, path: Path | str, given: Mapping[str, Any]) -> list[str]:
        words = ["run", "--quiet", "--resume", str(path)]
        for name, value in given.items():
            match name:
                case "moved":
                    words += ["--plugins", ",".join(f"+{word}" for word in value)]
                case "without":
                    words += ["--plugins", ",".join(f"no:{plugin}" for plugin in value)]
                case "allow_changes":
                    words += ["--allow-changes"] if value else []
                case _:
                    words += [f"--{name.replace('_', '-')}", str(value)]
        return words


@pytest.fixture(params=["script", "command"])
def way(request: pytest.FixtureRequest, run_cli: RunCli) -> Way:
    return ByScript() if request.param == "script" else ByCommand(run_cli)


class TestModel:
    @pytest.mark.parametrize("place", ["network.py", "nets/net.py", "nets/deep/other.py"])
    def test_a_file_that_has_moved_is_found_where_one_says(self, way: Way, place: str) -> None:
        path = begin()

        warnings = way.go_on(path, model=f"{move('net.py', place)}:Net")

        assert_as_never_stopped(path)
        assert warnings == []
        assert changes_in(path) == []

    @pytest.mark.parametrize(
        ("at_first", "then"), [("net.py:Net", "moved.py"), ("net.py", "moved.py:Net")]
    )
    def test_the_only_class_of_a_file_may_be_named_or_not(
        self, way: Way, at_first: str, then: str
    ) -> None:
        path = begin(model=at_first)
        move("net.py", "moved.py")

        assert way.go_on(path, model=then) == []

        assert_as_never_stopped(path)

    def test_a_function_in_a_file_that_has_moved(self, way: Way) -> None:
        Path("plain.py").write_text(PLAIN_NET)
        path = begin(model="plain.py:make")

        assert way.go_on(path, model=f"{move('plain.py', 'nets/simple.py')}:make") == []

        assert_as_never_stopped(path)

    def test_its_options_are_kept_where_it_has_moved(self, run_cli: RunCli) -> None:
        run = Run(RunConfig(**OPTIONS), ["checkpoint"], model_options={"width": 7})
        path = train_until(run, Events.ITERATION_COMPLETED(once=STOP)).directory.path
        place = move("net.py", "moved.py")

        ByCommand(run_cli).go_on(path, model=place)
        again = Run.resume(path, epochs=5)
        again.close()

        assert again.options["model.width"] == 7
        assert again.model.get_parameter("layers.1.weight").shape == (7, 5)

    def test_its_new_place_is_known_from_then_on(self, way: Way) -> None:
        start(out=Path("whole")).train()
        path = start(epochs=2).train()["directory"]
        place = move("net.py", "moved.py")

        way.go_on(path, epochs=3, model=place)
        way.go_on(path, epochs=EPOCHS)

        assert_as_never_stopped(path)
        assert changes_in(path) == []

    def test_one_that_is_not_there_is_told_with_the_option_that_names_its_place(
        self, way: Way
    ) -> None:
        path = begin()
        place = Path("net.py:Net").absolute()
        move("net.py", "moved.py")

        message = way.refusal(path)

        assert message == (
            f"{path / CHECKPOINT}: the model {place} is no longer there; where it has moved to, "
            "--model says"
        )

    def test_a_new_place_where_there_is_nothing_is_told_alike(self, way: Way) -> None:
        path = begin()

        message = way.refusal(path, model="nowhere.py:Net")

        assert message.startswith("unknown model file")
        assert "nowhere.py" in message

    @pytest.mark.parametrize("is_moved", [False, True])
    def test_an_edited_one_is_refused_with_both_digests(self, way: Way, is_moved: bool) -> None:
        path = begin()
        before, now = edit("net.py")
        given = {"model": f"{move('net.py', 'moved.py')}:Net"} if is_moved else {}

        message = way.refusal(path, **given)

        assert message == (
            f"{path / CHECKPOINT}: model {'moved' if is_moved else 'net'!r}: the SHA-256 digest "
            f"of its source was {before[:12]}, and is {now[:12]}; go on with it by --allow-changes"
        )

    def test_an_edited_one_goes_on_where_that_is_allowed_and_the_manifest_tells_of_it(
        self, way: Way
    ) -> None:
        path = begin()
        before, now = edit("net.py")

        warnings = way.go_on(path, allow_changes=True)

        assert_as_never_stopped(path)
        assert warnings == [
            f"model 'net': the SHA-256 digest of its source was {before[:12]}, and is {now[:12]}"
        ]
        change = {"of": "model 'net'", "fact": "sha256", "before": before, "now": now}
        assert changes_in(path) == [{**change, "epoch": 2, "iteration": STOP}]

    @pytest.mark.parametrize("is_allowed", [False, True])
    def test_what_was_allowed_once_is_so_from_then_on_and_is_told_of_once(
        self, way: Way, is_allowed: bool
    ) -> None:
        start(out=Path("whole")).train()
        path = start(epochs=2).train()["directory"]
        before, now = edit("net.py")
        way.go_on(path, epochs=3, allow_changes=True)

        assert way.go_on(path, epochs=EPOCHS, allow_changes=is_allowed) == []

        assert_as_never_stopped(path)
        (change,) = changes_in(path)
        assert (change["before"], change["now"]) == (before, now)
        assert (change["epoch"], change["iteration"]) == (2, 6)

    def test_a_second_change_is_told_of_beside_the_first(self, way: Way) -> None:
        path = start(epochs=2).train()["directory"]
        first, second = edit("net.py")
        way.go_on(path, epochs=3, allow_changes=True)
        _, third = edit("net.py")

        assert len(way.go_on(path, epochs=4, allow_changes=True)) == 1

        changes = [(each["before"], each["now"], each["epoch"]) for each in changes_in(path)]
        assert changes == [(first, second, 2), (second, third, 3)]

    def test_a_change_that_comes_again_is_told_of_again(self, way: Way) -> None:
        path = start(epochs=1).train()["directory"]
        expected = []
        for epochs in (2, 3, 4):
            before = digest("net.py")
            Path("net.py").write_text(NET if epochs == 3 else f"{NET}# changed\n")
            way.go_on(path, epochs=epochs, allow_changes=True)
            expected.append((before, digest("net.py"), epochs - 1))

        changes = [(each["before"], each["now"], each["epoch"]) for each in changes_in(path)]
        assert changes == expected

    def test_another_class_of_the_same_file_is_refused(self, way: Way) -> None:
        Path("nets.py").write_text(TWO_NETS)
        path = begin(model="nets.py:Net")

        message = way.refusal(path, model="nets.py:Other")

        assert message == (
            f"{path / CHECKPOINT}: model 'nets': kind was Net, and is Other; "
            "go on with it by --allow-changes"
        )

    @pytest.mark.parametrize(
        ("before", "now", "problem"),
        [
            ("net.py:Net", "threenet", "model 'threenet': dropout was 0.2, and is None"),
            ("plain.py:make", "net.py:Net", "model 'net': dropout was None, and is 0.2"),
        ],
    )
    def test_a_network_of_other_options_is_refused_even_where_changes_are_allowed(
        self, way: Way, before: str, now: str, problem: str
    ) -> None:
        Path("plain.py").write_text(PLAIN_NET)
        path = begin(model=before)

        message = way.refusal(path, model=now, allow_changes=True)

        assert message == f"{path / CHECKPOINT}: {problem}"

    def test_an_edited_one_that_no_longer_fits_is_refused(self, way: Way) -> None:
        path = begin()
        Path("net.py").write_text(NET.replace("nn.ReLU()", "nn.PReLU()"))

        message = way.refusal(path, allow_changes=True)

        assert message.startswith(f"{path / CHECKPOINT}: does not fit this run: ")

    def test_an_installed_one_of_another_version_is_refused_unless_allowed(
        self, way: Way, install_distribution: InstallDistribution
    ) -> None:
        def install(version: str) -> None:
            install_distribution(
                "acme-net",
                {"acme": "moved_acme_net:Net"},
                {"moved_acme_net": NET},
                version,
                group="ignite_threenet.models",
            )

        install("1.0")
        path = begin(model="acme")
        shutil.rmtree("site-acme-net")
        install("1.1")

        message = way.refusal(path)

        assert message == (
            f"{path / CHECKPOINT}: model 'acme': distribution was acme-net 1.0, and is "
            "acme-net 1.1; go on with it by --allow-changes"
        )
        way.go_on(path, allow_changes=True)
        assert_as_never_stopped(path)
        assert [each["fact"] for each in changes_in(path)] == ["distribution"]


class TestRunDirectory:
    @pytest.mark.parametrize("place", ["renamed", "elsewhere/there"])
    def test_one_that_has_moved_goes_on_there(self, way: Way, place: str) -> None:
        path = begin(["nudge.py"])

        assert way.go_on(move(str(path), place)) == []

        assert_as_never_stopped(place)
        assert not path.exists()
        summary = json.loads(Path(place, "summary.json").read_text())
        assert (summary["status"], summary["directory"]) == ("completed", place)

    def test_it_may_move_again_and_again(self, way: Way) -> None:
        start(out=Path("whole")).train()
        start(epochs=2).train()

        way.go_on(move("there", "second"), epochs=3)
        way.go_on(move("second", "third"), epochs=EPOCHS)

        assert_as_never_stopped("third")

    def test_a_run_goes_on_from_another_working_directory(
        self, way: Way, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = begin(["nudge.py"]).absolute()
        whole = remembered("whole")
        Path("elsewhere").mkdir()
        monkeypatch.chdir("elsewhere")

        assert way.go_on(path) == []

        assert remembered(path) == whole

    def test_new_places_are_meant_as_seen_from_the_working_directory(
        self, way: Way, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = begin(["nudge.py"]).absolute()
        whole = remembered("whole")
        for name in FILES:
            move(name, f"elsewhere/{name}")
        monkeypatch.chdir("elsewhere")

        assert (
            way.go_on(
                *(path,),
                model="net.py",
                dataset="points.py:Points",
                moved=["nudge=nudge.py"],
            )
            == []
        )

        assert remembered(path) == whole

    def test_all_may_move_together(self, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("project").mkdir()
        for name in FILES:
            move(name, f"project/{name}")
        with monkeypatch.context() as patch:
            patch.chdir("project")
            begin(["nudge.py", "looks.py:Looks"])
            whole = remembered("whole")
        move("project", "renamed")
        monkeypatch.chdir("renamed")

        assert (
            way.go_on(
                *("there",),
                model="net.py:Net",
                dataset="points.py:Points",
                moved=["nudge=nudge.py", "looks=looks.py"],
            )
            == []
        )

        assert remembered("there") == whole


class TestPlugins:
    @pytest.mark.parametrize("word", ["nudge.py", "./nudge.py:Nudge", "nudge=nudge.py:Nudge"])
    @pytest.mark.parametrize(
        ("is_moved", "is_given", "then"),
        [(False, False, ""), (False, True, ""), (True, True, ""), (True, True, ":Nudge")],
    )
    def test_one_of_a_file_is_found_again_and_where_one_says(
        self, way: Way, word: str, is_moved: bool, is_given: bool, then: str
    ) -> None:
        path = begin([word])
        place = move("nudge.py", "plugins/push.py") if is_moved else "nudge.py"

        warnings = way.go_on(path, **({"moved": [f"nudge={place}{then}"]} if is_given else {}))

        assert_as_never_stopped(path)
        assert warnings == []
        assert changes_in(path) == []

    def test_the_name_need_not_be_given_where_the_files_is_the_same(self, run_cli: RunCli) -> None:
        path = begin(["nudge.py:Nudge"])
        place = move("nudge.py", "plugins/nudge.py")

        ByCommand(run_cli).go_on(path, moved=[place])

        assert_as_never_stopped(path)

    def test_two_of_one_file_that_has_moved(self, way: Way) -> None:
        path = begin(["nudge.py", "second=nudge.py:Nudge"])
        place = move("nudge.py", "moved.py")

        assert way.go_on(path, moved=[f"nudge={place}", f"second={place}:Nudge"]) == []

        assert_as_never_stopped(path)

    @pytest.mark.parametrize("moved", [("first",), ("second",), ("second", "first")])
    def test_they_keep_their_order_and_options_when_some_have_moved(
        self, way: Way, moved: Sequence[str]
    ) -> None:
        files = {"first": "one.py", "second": "two.py"}
        for file in files.values():
            shutil.copy("nudge.py", file)
        path = begin([f"{name}={file}" for name, file in files.items()], shares={"second": 0.5})
        words = [f"{name}={move(files[name], f'plugins/{files[name]}')}" for name in moved]

        assert way.go_on(path, moved=words) == []

        assert_as_never_stopped(path)
        plugins = last_checkpoint(path)["plugins"]
        assert [each["name"] for each in plugins] == ["first", "second", "checkpoint"]
        assert [each["options"].get("share") for each in plugins] == [0.01, 0.5, None]

    def test_the_new_place_is_known_from_then_on(self, way: Way) -> None:
        start(["second=nudge.py"], out=Path("whole")).train()
        path = start(["second=nudge.py"], epochs=2).train()["directory"]
        place = move("nudge.py", "moved.py")

        way.go_on(path, epochs=3, moved=[f"second={place}"])
        way.go_on(path, epochs=EPOCHS)

        assert_as_never_stopped(path)

    @pytest.mark.parametrize("is_moved", [False, True])
    def test_an_edited_one_is_refused_with_both_digests_unless_allowed(
        self, way: Way, is_moved: bool
    ) -> None:
        path = begin(["nudge.py"])
        before, now = edit("nudge.py")
        given = {"moved": [f"nudge={move('nudge.py', 'moved.py')}"]} if is_moved else {}
        told = (
            f"plugin 'nudge': the SHA-256 digest of its source was {before[:12]}, and is {now[:12]}"
        )

        message = way.refusal(path, **given)
        warnings = way.go_on(path, allow_changes=True, **given)

        assert message == f"{path / CHECKPOINT}: {told}; go on with it by --allow-changes"
        assert_as_never_stopped(path)
        assert warnings == [told]
        change = {"of": "plugin 'nudge'", "fact": "sha256", "before": before, "now": now}
        assert changes_in(path) == [{**change, "epoch": 2, "iteration": STOP}]

    def test_a_change_of_one_is_told_of_once_however_often_the_run_goes_on(self, way: Way) -> None:
        path = start(["nudge.py"], epochs=2).train()["directory"]
        edit("nudge.py")
        edit("net.py")
        way.go_on(path, epochs=3, allow_changes=True)
        before = changes_in(path)

        assert way.go_on(path, epochs=4) == []
        assert way.go_on(path, epochs=5) == []

        assert [each["of"] for each in before] == ["model 'net'", "plugin 'nudge'"]
        assert changes_in(path) == before

    def test_another_class_of_the_same_file_is_refused(self, way: Way) -> None:
        Path("nudge.py").write_text(f"{NUDGE}\nclass Push(Nudge):\n    pass\n")
        path = begin(["nudge=nudge.py:Nudge"])

        message = way.refusal(path, moved=["nudge=nudge.py:Push"])

        assert message == (
            f"{path / CHECKPOINT}: plugin 'nudge': kind was Nudge, and is Push; "
            "go on with it by --allow-changes"
        )

    def test_an_installed_one_may_become_one_of_a_file_only_where_that_is_allowed(
        self, way: Way, install_distribution: InstallDistribution
    ) -> None:
        install_distribution(
            "acme-nudge", {"nudge": "moved_acme_nudge:Nudge"}, {"moved_acme_nudge": NUDGE}
        )
        path = begin(["nudge"])

        message = way.refusal(path, moved=["nudge=nudge.py"])

        assert message == (
            f"{path / CHECKPOINT}: plugin 'nudge': distribution was acme-nudge 1.0, and is none; "
            "go on with it by --allow-changes"
        )
        way.go_on(path, moved=["nudge=nudge.py"], allow_changes=True)
        assert_as_never_stopped(path)

    @pytest.mark.parametrize("place", ["nudge.py", "nowhere.py"])
    def test_one_that_the_run_never_had_is_refused(self, run_cli: RunCli, place: str) -> None:
        path = begin()

        message = ByCommand(run_cli).refusal(path, moved=[f"unknown={place}"])

        assert message == f"{path / CHECKPOINT}: was made without the plugin 'unknown'"

    def test_one_that_the_run_never_had_is_refused_in_a_script(self) -> None:
        path = begin()

        message = ByScript().refusal(path, plugins=["unknown=nudge.py", "checkpoint"])

        assert message == f"{path / CHECKPOINT}: was made without the plugin 'unknown'"

    def test_a_new_place_where_there_is_nothing_is_told(self, way: Way) -> None:
        path = begin(["nudge.py"])

        message = way.refusal(path, moved=["nudge=nowhere.py"])

        assert message == "unknown plugin file 'nowhere.py'."

    @pytest.mark.parametrize(
        "word", ["nudge.py,looks.py,checkpoint", "nudge=nudge.py:Nudge,looks,checkpoint"]
    )
    def test_whole_names_beside_are_accepted_where_they_are_those_that_the_run_had(
        self, run_cli: RunCli, word: str
    ) -> None:
        path = begin(["nudge.py", "looks.py"])
        word = word.replace(",looks,", ",looks=looks.py,")

        result = run_cli("run", "--resume", str(path), "--plugins", word)

        assert result.exit_code == 0, result.output
        assert_as_never_stopped(path)

    def test_whole_names_may_say_where_one_is_now(self, run_cli: RunCli) -> None:
        path = begin(["nudge.py"])
        place = move("nudge.py", "moved/nudge.py")

        result = run_cli("run", "--resume", str(path), "--plugins", f"{place},checkpoint")

        assert result.exit_code == 0, result.output
        assert_as_never_stopped(path)

    @pytest.mark.parametrize(
        ("word", "wanted"),
        [
            ("checkpoint", "checkpoint"),
            ("checkpoint,nudge.py", "checkpoint,nudge"),
            ("nudge.py,looks.py,checkpoint", "nudge,looks,checkpoint"),
            ("none", ""),
        ],
    )
    def test_whole_names_that_are_others_are_refused(
        self, run_cli: RunCli, word: str, wanted: str
    ) -> None:
        path = begin(["nudge.py"])

        result = run_cli("run", "--resume", str(path), "--plugins", word)

        assert result.exit_code == 2
        assert result.stderr == (
            f"error: --plugins: {wanted} differs from nudge,checkpoint, with which the run in "
            f"{path} began; only --epochs may change, and where things are\n"
        )

    def test_a_configuration_file_may_say_where_one_is_now(self, run_cli: RunCli) -> None:
        path = begin(["nudge.py"])
        move("nudge.py", "moved/push.py")
        Path("moved/run.toml").write_text('plugins = "+nudge"\n[nudge]\nuse = "push.py"\n')

        result = run_cli("run", "--resume", str(path), "--config", "moved/run.toml")

        assert result.exit_code == 0, result.output
        assert_as_never_stopped(path)


class TestMissingPlugins:
    @pytest.mark.parametrize("word", ["nudge.py", "nudge.py:Nudge", "nudge=push.py"])
    def test_one_that_changes_the_training_is_not_gone_unnoticed(self, way: Way, word: str) -> None:
        shutil.copy("nudge.py", "push.py")
        path = begin([word])
        (use,) = (
            each["use"] for each in last_checkpoint(path)["plugins"] if each["name"] == "nudge"
        )
        Path(use.partition(":")[0]).unlink()

        message = way.refusal(path)

        assert use == str(Path(word.rpartition("=")[2]).absolute())
        assert message == (
            f"{path / CHECKPOINT}: the plugin 'nudge' ({use}) is gone, and it changes the "
            "training; give its new place by --plugins +nudge=FILE, or go on without it by "
            "--plugins no:nudge"
        )

    @pytest.mark.parametrize("is_there", [False, True])
    @pytest.mark.parametrize("name", ["nudge", "looks"])
    def test_a_run_goes_on_without_one_that_is_taken_away(
        self, way: Way, name: str, is_there: bool
    ) -> None:
        path = begin(["nudge.py", "looks.py"])
        place = Path(f"{name}.py").absolute()
        saved = state_of(path, name)
        if not is_there:
            place.unlink()

        warnings = way.go_on(path, without=[name])

        assert warnings == [
            f"going on without the plugin {name!r} ({place}); its state is carried along"
        ]
        assert state_of(path, name) == saved
        other = {"nudge": "looks", "looks": "nudge"}[name]
        assert attached(path) == [other, "checkpoint"]
        change = {"of": f"plugin {name!r}", "fact": "presence"}
        change |= {"before": "in the run", "now": "gone"}
        assert changes_in(path) == [{**change, "epoch": 2, "iteration": STOP}]

    def test_one_that_changes_the_training_may_be_gone_where_changes_are_allowed(
        self, way: Way
    ) -> None:
        path = begin(["nudge.py"])
        place, saved = Path("nudge.py").absolute(), state_of(path, "nudge")
        place.unlink()

        warnings = way.go_on(path, allow_changes=True)

        assert warnings == [f"the plugin 'nudge' ({place}) is gone; its state is carried along"]
        assert state_of(path, "nudge") == saved
        assert [each["fact"] for each in changes_in(path)] == ["presence"]

    def test_one_that_changes_nothing_may_be_gone(self, way: Way) -> None:
        path = begin(["nudge.py", "looks.py"])
        place, saved = Path("looks.py").absolute(), state_of(path, "looks")
        place.unlink()

        warnings = way.go_on(path)

        assert warnings == [f"the plugin 'looks' ({place}) is gone; its state is carried along"]
        assert state_of(path, "looks") == saved
        assert attached(path) == ["nudge", "checkpoint"]
        content, whole = last_checkpoint(path), last_checkpoint("whole")
        assert dict(flatten(content["model"], "")) == dict(flatten(whole["model"], ""))

    def test_a_warning_comes_each_time_and_the_change_is_told_of_once(self, way: Way) -> None:
        path = start(["looks.py"], epochs=2).train()["directory"]
        Path("looks.py").unlink()

        warnings = [way.go_on(path, epochs=epochs) for epochs in (3, 4)]

        assert [len(each) for each in warnings] == [1, 1]
        assert [each["of"] for each in changes_in(path)] == ["plugin 'looks'"]

    def test_one_that_comes_back_has_its_state_again(self, way: Way) -> None:
        path = start(["looks.py"], epochs=2).train()["directory"]
        move("looks.py", "away.py")
        way.go_on(path, epochs=3)
        move("away.py", "looks.py")

        way.go_on(path, epochs=5)

        # Two epochs at first, and two at last.
        assert state_of(path, "looks") == {"/looks": "4"}

    def test_one_that_has_moved_may_come_back_there(self, way: Way) -> None:
        path = start(["looks.py"], epochs=2).train()["directory"]
        place = move("looks.py", "away.py")
        way.go_on(path, epochs=3)

        way.go_on(path, epochs=5, moved=[f"looks={place}"])

        assert state_of(path, "looks") == {"/looks": "4"}

    def test_it_may_be_taken_away_while_another_has_moved(self, run_cli: RunCli) -> None:
        path = begin(["nudge.py", "looks.py"])
        Path("looks.py").unlink()
        place = move("nudge.py", "moved.py")
        words = ("--plugins", f"no:looks,+nudge={place}")

        result = run_cli("run", "--resume", str(path), *words)

        assert result.exit_code == 0, result.output
        assert attached(path) == ["nudge", "checkpoint"]

    @pytest.mark.parametrize("name", ["unknown", "looks", "plot"])
    def test_one_that_the_run_never_had_cannot_be_taken_away(self, way: Way, name: str) -> None:
        path = begin(["nudge.py"])

        message = way.refusal(path, without=[name])

        assert message == f"{path / CHECKPOINT}: was made without the plugin {name!r}"

    def test_one_that_another_requires_cannot_be_taken_away(self, way: Way) -> None:
        path = begin(["best"])

        message = way.refusal(path, without=["accuracy"])

        assert message == "plugin 'best' requires 'accuracy', which no:accuracy takes away"

    def test_what_is_left_out_of_a_scripts_list_is_gone_too(self) -> None:
        path = begin(["nudge.py", "looks.py"])
        refused = ByScript().refusal(path, plugins=["looks.py", "checkpoint"])
        place = Path("nudge.py").absolute()

        assert refused.startswith(f"{path / CHECKPOINT}: the plugin 'nudge' ({place}) is gone")
        ByScript().go_on(path, plugins=["looks.py", "checkpoint"], without=["nudge"])

        assert attached(path) == ["looks", "checkpoint"]

    @pytest.mark.parametrize("is_quiet", [False, True])
    @pytest.mark.usefixtures("small_digits")
    def test_the_progress_bar_can_be_taken_away_also_where_it_is_not_shown(
        self, run_cli: RunCli, is_quiet: bool
    ) -> None:
        path = begin(["progress"])

        result = run_cli(
            *("run", "--resume", str(path), "--plugins", "no:progress"),
            *(["--quiet"] if is_quiet else []),
        )

        assert result.exit_code == 0, result.output


def state_of(path: Path | str, plugin: str) -> dict[str, object]:
    (state,) = (
        each["state"] for each in last_checkpoint(path)["plugins"] if each["name"] == plugin
    )
    return dict(flatten(state, ""))


def attached(path: Path | str) -> list[str]:
    """Name the plugins that a run went on with, by its manifest."""
    content = json.loads(Path(path, "manifest.json").read_text())
    return [each["name"] for each in content["plugins"]]


class TestData:
    @pytest.mark.parametrize("word", ["points.py:Points", "points.py:load"])
    def test_a_file_that_has_moved_is_found_where_one_says(self, way: Way, word: str) -> None:
        path = begin(dataset=word)
        place = move("points.py", "data/clusters.py")

        assert way.go_on(path, dataset=word.replace("points.py", place)) == []

        assert_as_never_stopped(path)
        assert changes_in(path) == []

    def test_its_new_place_is_known_from_then_on(self, way: Way) -> None:
        start(out=Path("whole")).train()
        path = start(epochs=2).train()["directory"]

        way.go_on(path, epochs=3, dataset=f"{move('points.py', 'moved.py')}:Points")
        way.go_on(path, epochs=EPOCHS)

        assert_as_never_stopped(path)

    def test_one_that_is_not_there_is_told_with_the_option_that_names_its_place(
        self, way: Way
    ) -> None:
        path = begin()
        place = Path("points.py:Points").absolute()
        Path("points.py").unlink()

        message = way.refusal(path)

        assert message == (
            f"{path / CHECKPOINT}: the dataset {place} is no longer there; where it has moved to, "
            "--dataset says"
        )

    @pytest.mark.parametrize("is_moved", [False, True])
    def test_an_edited_file_is_refused_with_both_digests_unless_allowed(
        self, way: Way, is_moved: bool
    ) -> None:
        path = begin()
        before, now = edit("points.py")
        name = "moved" if is_moved else "points"
        given = {"dataset": f"{move('points.py', 'moved.py')}:Points"} if is_moved else {}
        told = (
            f"dataset {name!r}: the SHA-256 digest of its source was {before[:12]}, "
            f"and is {now[:12]}"
        )

        message = way.refusal(path, **given)
        warnings = way.go_on(path, allow_changes=True, **given)

        assert message == f"{path / CHECKPOINT}: {told}; go on with it by --allow-changes"
        assert warnings == [told]
        assert_as_never_stopped(path)
        change = {"of": f"dataset {name!r}", "fact": "sha256", "before": before, "now": now}
        assert changes_in(path) == [{**change, "epoch": 2, "iteration": STOP}]

    def test_an_edited_file_that_gives_other_data_is_refused_also_where_changes_are_allowed(
        self, way: Way
    ) -> None:
        path = begin()
        Path("points.py").write_text(POINTS.replace("(self.count, 0.3)", "(self.count, 0.4)"))

        message = way.refusal(path, allow_changes=True)

        assert message == (
            f"{path / CHECKPOINT}: the data is not the same as that of points, by its SHA-256 "
            "digests: train.images"
        )

    def test_another_way_to_the_same_data_is_accepted(self, way: Way) -> None:
        path = begin(dataset="points.py:load")
        Path("other.py").write_text(f"{POINTS}\ndef load_again():\n    return load()\n")

        assert way.go_on(path, dataset="other.py:load_again") == []

        assert_as_never_stopped(path)

    @pytest.mark.parametrize("place", ["animals", "data/pets"])
    @pytest.mark.usefixtures("images")
    def test_a_folder_of_images_may_be_renamed(self, way: Way, place: str) -> None:
        path = begin(dataset="pets", model="net.py")

        assert way.go_on(path, dataset=move("pets", place)) == []

        assert_as_never_stopped(path)
        assert changes_in(path) == []

    @pytest.mark.usefixtures("images")
    def test_a_folder_of_images_that_is_not_there_is_told(self, way: Way) -> None:
        path = begin(dataset="pets")
        place = Path("pets").absolute()
        move("pets", "animals")

        message = way.refusal(path)

        assert message == (
            f"{path / CHECKPOINT}: the dataset {place} is no longer there; where it has moved to, "
            "--dataset says"
        )

    @pytest.mark.usefixtures("images")
    def test_a_folder_of_other_images_is_refused(self, way: Way) -> None:
        path = begin(dataset="pets")

        message = way.refusal(path, dataset=str(make_images("others", count=24, darkest=20)))

        assert message == (
            f"{path / CHECKPOINT}: the data is not the same as that of pets, by its SHA-256 "
            "digests: test.images, train.images"
        )

    @pytest.mark.usefixtures("images")
    def test_another_option_of_a_folder_is_refused(self, run_cli: RunCli) -> None:
        path = begin(dataset="pets")
        words = ("--dataset", move("pets", "animals"), "--dataset.size", "3")

        result = run_cli("run", "--resume", str(path), *words)

        assert result.exit_code == 2
        assert result.stderr == (
            f"error: --dataset.size: 3 differs from None, with which the run in {path} began; "
            "only --epochs may change, and where things are\n"
        )

    @pytest.mark.parametrize("word", ["{}", "{}/", "./{}"])
    @pytest.mark.usefixtures("images")
    def test_a_folder_may_be_spelled_in_any_way(self, way: Way, word: str) -> None:
        path = begin(dataset="pets")

        assert way.go_on(path, dataset=word.format(move("pets", "animals"))) == []

        assert_as_never_stopped(path)

    def test_a_configuration_file_may_say_where_all_is_now(self, run_cli: RunCli) -> None:
        path = begin()
        for name in ("net.py", "points.py"):
            move(name, f"moved/{name}")
        Path("moved/run.toml").write_text(
            'data-dir = "nowhere"\nmodel = "net.py"\n[dataset]\nuse = "points.py:Points"\n'
        )

        result = run_cli("run", "--resume", str(path), "--config", "moved/run.toml")

        assert result.exit_code == 0, result.output
        assert_as_never_stopped(path)

    def test_the_environment_may_say_where_all_is_now(self, run_cli: RunCli) -> None:
        path = begin()
        env = {
            "IGNITE_THREENET_MODEL": f"{move('net.py', 'moved.py')}:Net",
            "IGNITE_THREENET_DATASET": f"{move('points.py', 'clusters.py')}:Points",
        }

        result = run_cli("run", "--resume", str(path), env=env)

        assert result.exit_code == 0, result.output
        assert_as_never_stopped(path)


@pytest.mark.usefixtures("small_digits")
class TestDirectoryOfDatasets:
    """The digits lie there as MNIST does: four files, which are checked against digests."""

    DIGITS: Mapping[str, Any] = {"dataset": "digits", "model": "threenet", "batch_size": 200}

    def test_one_that_has_moved_is_found_where_one_says(self, way: Way) -> None:
        path = begin(**self.DIGITS)
        before = last_checkpoint(path)["dataset"]
        place = move("data", "elsewhere/datasets")

        assert way.go_on(path, data_dir=place) == []

        assert_as_never_stopped(path)
        assert last_checkpoint(path)["dataset"] == before
        assert set(before["sha256"]) == set(FILE_NAMES)
        assert not Path("data").exists()

    def test_its_new_place_is_known_from_then_on_and_from_anywhere(
        self, way: Way, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start(**self.DIGITS, out=Path("whole")).train()
        whole = remembered("whole")
        path = Path(start(**self.DIGITS, epochs=2).train()["directory"]).absolute()
        move("data", "elsewhere/datasets")
        monkeypatch.chdir("elsewhere")
        way.go_on(path, epochs=3, data_dir="datasets")
        Path("deeper").mkdir()
        monkeypatch.chdir("deeper")

        way.go_on(path, epochs=EPOCHS)

        assert remembered(path) == whole
        assert list(Path().iterdir()) == []

    def test_a_relative_one_is_found_from_another_working_directory(
        self, way: Way, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = begin(**self.DIGITS).absolute()
        whole = remembered("whole")
        Path("elsewhere").mkdir()
        monkeypatch.chdir("elsewhere")

        assert way.go_on(path) == []

        assert remembered(path) == whole
        assert list(Path().iterdir()) == []

    def test_one_with_other_data_is_refused(
        self, way: Way, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = begin(**self.DIGITS)
        monkeypatch.setattr(sources, "_DIGITS_TRAIN", 513)

        message = way.refusal(path, data_dir="other")

        assert message == (
            f"{path / CHECKPOINT}: the data is not the same as that of digits, by its SHA-256 "
            "digests: train-images-idx3-ubyte, train-labels-idx1-ubyte"
        )

    def test_another_dataset_is_refused_by_its_digests(
        self, way: Way, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = begin(**self.DIGITS)
        Path("other.py").write_text(
            "import torch\n"
            "from ignite_threenet import DataSource\n"
            "class Other(DataSource):\n"
            "    input_shape, classes = (1, 28, 28), 10\n"
            "    def load(self):\n"
            "        pair = torch.zeros(512, 1, 28, 28), torch.arange(512) % 10\n"
            "        return {'train': pair, 'test': pair}\n"
        )

        message = way.refusal(path, dataset="other.py")

        assert message.startswith(
            f"{path / CHECKPOINT}: the data is not the same as that of digits, by its SHA-256 "
            "digests: t10k-images-idx3-ubyte, "
        )

    def test_the_same_data_by_another_name_is_accepted(self, way: Way, no_network: None) -> None:
        path = begin(**self.DIGITS)

        warnings = way.go_on(path, dataset="auto")

        assert_as_never_stopped(path)
        assert warnings[-1] == "TRAINING ON THE EMBEDDED DATASET 'digits' INSTEAD OF MNIST"


class TestPathOfADataset:
    @pytest.fixture
    def path(self) -> Path:
        Path("spread.txt").write_text("0.3")
        return begin(dataset="points.py:Spread")

    def test_it_may_name_a_new_place(self, run_cli: RunCli, path: Path) -> None:
        place = move("spread.txt", "moved/wide.txt")

        result = run_cli("run", "--resume", str(path), "--dataset.path", place)

        assert result.exit_code == 0, result.output
        assert_as_never_stopped(path)

    def test_it_is_found_from_another_working_directory(
        self, way: Way, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, whole = path.absolute(), remembered("whole")
        Path("elsewhere").mkdir()
        monkeypatch.chdir("elsewhere")

        assert way.go_on(path) == []

        assert remembered(path) == whole

    def test_its_new_place_is_known_from_then_on(self, run_cli: RunCli, path: Path) -> None:
        place = move("spread.txt", "moved/wide.txt")
        run_cli("run", "--resume", str(path), "--dataset.path", place)

        assert run_cli("run", "--resume", str(path), "--epochs", "5").exit_code == 0

    def test_other_data_there_is_refused(self, run_cli: RunCli, path: Path) -> None:
        Path("other.txt").write_text("0.4")

        result = run_cli("run", "--resume", str(path), "--dataset.path", "other.txt")

        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1] == (
            f"error: {path / CHECKPOINT}: the data is not the same as that of points, by its "
            "SHA-256 digests: train.images"
        )

    def test_a_configuration_file_may_name_it(self, run_cli: RunCli, path: Path) -> None:
        place = move("spread.txt", "moved/wide.txt")
        Path("run.toml").write_text(f'[dataset]\npath = "{place}"\n')

        result = run_cli("run", "--resume", str(path), "--config", "run.toml")

        assert result.exit_code == 0, result.output
        assert_as_never_stopped(path)


class TestCommand:
    def test_changes_are_allowed_only_to_a_run_that_goes_on(self, run_cli: RunCli) -> None:
        result = run_cli("run", "--allow-changes", "--out", "there")

        assert result.exit_code == 2
        assert result.stderr == (
            "error: --allow-changes: is for a run that goes on, with --resume\n"
        )
        assert not Path("there").exists()

    @pytest.mark.parametrize(
        "words",
        [
            ("--model", "nowhere.py"),
            ("--plugins", "+unknown=nudge.py"),
            ("--plugins", "none"),
            ("--nonsense",),
            ("--lr", "0.2"),
        ],
        ids=str,
    )
    def test_a_refused_run_is_nobodys(self, run_cli: RunCli, words: Sequence[str]) -> None:
        path = begin()

        result = run_cli("run", "--resume", str(path), *words)

        assert result.exit_code in (1, 2)
        assert not (path / ".owner").exists()
        Run.resume(path).close()

    def test_allowing_changes_where_there_are_none_changes_nothing(self, way: Way) -> None:
        path = begin(["nudge.py"])

        assert way.go_on(path, allow_changes=True) == []

        assert_as_never_stopped(path)
        assert changes_in(path) == []

    def test_allowing_changes_of_sources_allows_no_other_options(self, run_cli: RunCli) -> None:
        path = begin()

        result = run_cli("run", "--resume", str(path), "--allow-changes", "--lr", "0.2")

        assert result.exit_code == 2
        assert result.stderr.startswith("error: --lr: 0.2 differs from 0.1, with which the run in ")

    def test_a_plan_shows_the_new_places_and_leaves_the_run_as_it_was(
        self, run_cli: RunCli
    ) -> None:
        path = begin()
        edit("net.py")
        place = move("net.py", "moved.py")
        before = files_in(path)

        result = run_cli(
            *("run", "--resume", str(path), "--model", place, "--allow-changes"),
            *("--dry-run", "--json"),
        )

        assert result.exit_code == 0, result.output
        model = json.loads(result.stdout)["config"]["model"]
        assert model == {"value": str(Path(place).absolute()), "source": "command line"}
        assert files_in(path) == before

    def test_a_completed_run_that_is_given_no_more_epochs_is_left_as_it_was(
        self, run_cli: RunCli
    ) -> None:
        path = start(epochs=2).train()["directory"]
        place = move("net.py", "moved.py")
        before = files_in(path)

        result = run_cli("run", "--resume", path, "--model", place)

        assert result.exit_code == 0, result.output
        assert "had completed its 2 epochs, so nothing is trained" in result.stderr
        assert files_in(path) == before
