"""Tests of the errors: their tree, their exit codes, and what their messages say."""

import inspect
import pickle
import re
from pathlib import Path

import pytest

from ignite_threenet import errors
from ignite_threenet.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DirectoryError,
    DivergedError,
    OptionError,
    PluginChoiceError,
    PluginError,
    PluginFailedError,
    PluginLoadError,
    RunInterruptedError,
    ThreeNetError,
    UnknownNameError,
    UnreachableError,
    nearest,
)


def drawn_tree() -> dict[str, str]:
    """Read which error is whose child from the drawing in the module's docstring."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in inspect.cleandoc(errors.__doc__ or "").splitlines():
        drawn = re.match(r"([│├└─ ]*)(\w+Error)\b", line)
        if drawn:
            depth = len(drawn[1]) // 4
            path[depth:] = [drawn[2]]
            if depth > 0:
                parents[drawn[2]] = path[depth - 1]
    return parents


def real_tree() -> dict[str, str]:
    return {
        name: value.__base__.__name__
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, ThreeNetError) and value.__base__
        if value is not ThreeNetError
    }


def test_the_tree_is_as_it_is_drawn() -> None:
    assert drawn_tree() == real_tree()


def test_the_tree_has_one_root() -> None:
    others = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, BaseException)
        if not issubclass(value, ThreeNetError)
    ]

    assert others == []


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (ThreeNetError, 1),
        (ConfigError, 2),
        (OptionError, 2),
        (UnknownNameError, 2),
        (DirectoryError, 2),
        (DataError, 1),
        (CheckpointError, 1),
        (RunInterruptedError, 1),
        (PluginError, 1),
        (PluginLoadError, 2),
        (PluginChoiceError, 2),
        (PluginFailedError, 1),
        (DivergedError, 1),
    ],
)
def test_what_the_user_asked_for_exits_with_2_and_what_went_wrong_with_1(
    error: type[ThreeNetError], exit_code: int
) -> None:
    assert error.exit_code == exit_code


def test_an_option_error_says_where_what_and_what_is_allowed() -> None:
    error = OptionError("--lr", "fast", "is not a number", "a number above 0")

    assert str(error) == "--lr: 'fast' is not a number; expected a number above 0"
    assert (error.where, error.value) == ("--lr", "fast")
    assert (error.problem, error.allowed) == ("is not a number", "a number above 0")


def test_an_unknown_name_is_told_with_the_nearest_and_the_known() -> None:
    error = UnknownNameError("plugin", "bset", ["plot", "best"], where="run.toml")

    assert str(error) == (
        "run.toml: unknown plugin 'bset'; did you mean 'best'? Installed: best, plot"
    )
    assert (error.name, error.nearest, error.known) == ("bset", "best", ["best", "plot"])


def test_an_unknown_name_like_no_other_is_told_without_a_guess() -> None:
    error = UnknownNameError("plugin", "zzz", ["best"])

    assert str(error) == "unknown plugin 'zzz'. Installed: best"
    assert error.nearest is None


def test_a_long_value_is_cut() -> None:
    error = OptionError("--lr", "9" * 10_000, "is not a number", "a number")

    assert len(str(error)) < 300


def test_an_unknown_name_where_nothing_is_known_lists_nothing() -> None:
    assert str(UnknownNameError("plugin", "best", [])) == "unknown plugin 'best'."


def test_a_directory_error_names_the_directory() -> None:
    error = DirectoryError("runs/first", "holds a run")

    assert str(error) == "runs/first: holds a run"
    assert error.path == "runs/first"


def test_a_checkpoint_error_names_the_file() -> None:
    error = CheckpointError("run/checkpoint-00000235.safetensors", "is cut short")

    assert str(error) == "run/checkpoint-00000235.safetensors: is cut short"
    assert error.path == "run/checkpoint-00000235.safetensors"


@pytest.mark.parametrize(
    ("resumable", "advice"),
    [(Path("runs/first"), "; go on by: ignite-threenet run --resume runs/first"), (None, "")],
)
def test_an_interrupted_run_says_where_it_stopped_and_how_to_go_on(
    resumable: Path | None, advice: str
) -> None:
    error = RunInterruptedError(epoch=2, iteration=236, resumable=resumable)

    assert str(error) == f"interrupted at epoch 2, iteration 236{advice}"
    assert (error.epoch, error.iteration, error.resumable) == (2, 236, resumable)


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        ("acme-plot 0.3", "plugin 'plot' (acme-plot 0.3) is broken"),
        ("", "plugin 'plot' is broken"),
    ],
)
def test_a_plugin_error_names_the_distribution_where_there_is_one(
    distribution: str, message: str
) -> None:
    error = PluginError("plot", distribution, "is broken")

    assert str(error) == message
    assert (error.plugin, error.distribution) == ("plot", distribution)


@pytest.mark.parametrize(
    ("cause", "reason"),
    [(OSError("disk full"), "OSError: disk full"), (AssertionError(), "AssertionError")],
)
def test_a_failed_plugin_is_blamed_with_the_place_and_the_reason(
    cause: Exception, reason: str
) -> None:
    error = PluginFailedError("plot", "acme-plot 0.3", "EPOCH_COMPLETED", 40, cause)

    assert str(error) == (
        f"plugin 'plot' (acme-plot 0.3) failed at EPOCH_COMPLETED, epoch 40: {reason}"
    )
    assert (error.where, error.epoch) == ("EPOCH_COMPLETED", 40)


def test_divergence_is_told_with_its_place_and_a_remedy() -> None:
    error = DivergedError(epoch=2, iteration=470, loss=float("inf"))

    assert str(error) == (
        "the loss became inf at epoch 2, iteration 470; "
        "a smaller learning rate (--lr) usually helps"
    )
    assert (error.epoch, error.iteration, error.loss) == (2, 470, float("inf"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bset", "best"),
        ("progres", "progress"),
        ("accuracy", "accuracy"),
        ("ACCURACY", "accuracy"),
        ("prog", "progress"),
        ("lpot", "plot"),
        ("tensorboard", None),
        ("threenet", None),
        ("resnet18", None),
        ("", None),
        ("p", None),
        ("plot" * 1000, None),
    ],
)
def test_the_nearest_name_is_found_where_one_is_near(name: str, expected: str | None) -> None:
    assert nearest(name, ["accuracy", "best", "plot", "progress"]) == expected


def test_nothing_is_near_where_nothing_is_known() -> None:
    assert nearest("best", iter([])) is None


@pytest.mark.parametrize(
    "error",
    [
        OptionError("--lr", -1, "is out of range", "a number above 0"),
        UnknownNameError("plugin", "bset", ["best"]),
        PluginFailedError("plot", "acme-plot 0.3", "close", 3, ValueError("no fonts")),
        DivergedError(2, 300, float("inf")),
        UnreachableError("mnist is not on disk", "take digits"),
        CheckpointError(Path("run/checkpoint-00000235.safetensors"), "is cut short"),
        RunInterruptedError(2, 236, Path("run")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_travels_between_processes(error: ThreeNetError) -> None:
    travelled = pickle.loads(pickle.dumps(error))

    assert type(travelled) is type(error)
    assert str(travelled) == str(error)
    assert vars(travelled) == vars(error)


def test_the_exit_code_of_a_signal_travels_too() -> None:
    error = RunInterruptedError(2, 236, None)
    error.exit_code = 130

    assert pickle.loads(pickle.dumps(error)).exit_code == 130
