"""Tests that no configuration is read by nobody: it is refused, or told."""

import logging
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from helpers import make_run
from torch import nn, optim

from ignite_threenet import ConfigError, Run, RunConfig, UnknownNameError
from ignite_threenet.settings.config_file import read_config_file
from ignite_threenet.testing import tiny_loaders
from ignite_threenet.testing.fixtures import RunCli

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, input_shape, classes: int, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(width), nn.Linear(width, classes))

    def forward(self, inputs):
        return self.layers(inputs)
"""


@pytest.fixture(autouse=True)
def _digits(small_digits: None, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("net.py").write_text(NET)


def plan(run_cli: RunCli, *words: str, env: dict[str, str] | None = None) -> Any:
    return run_cli("run", "--dataset", "digits", "--dry-run", *words, env=env)


# Sections of a file


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "[plot]\nevery = 2",
            "run.toml: [plot]: the plugin 'plot' is not part of this run, so nobody reads this; "
            "add it by --plugins +plot, or let the section say optional = true",
        ),
        ("[second]\nuse = 'plot'", "run.toml: [second]: the plugin 'second' is not part of"),
        ("[plto]\nevery = 2", "run.toml: unknown section 'plto'; did you mean 'plot'? "),
        ("[plot]\noptional = true\nevry = 2", "run.toml: [plot]: unknown key 'evry'; did you mean"),
        ("[plot]\noptional = true\nevery = -2", "run.toml: [plot] every: -2 is out of range"),
        ("[plot]\noptional = 1", "run.toml: [plot] optional: 1 is not true or false"),
        ("[timing]\noptional = true\nevry = 2", "run.toml: [timing]: unknown key 'evry'"),
        ("plugins = 'plot'\n[plot]\nevry = 2", "run.toml: [plot]: unknown key 'evry'"),
        ("plugins = ''", "run.toml: plugins: '' names none; 'none' takes none"),
        ("plugins = [',']", "run.toml: plugins: [','] names none; 'none' takes none"),
    ],
)
def test_what_nobody_reads_is_refused(run_cli: RunCli, content: str, message: str) -> None:
    Path("run.toml").write_text(content)

    result = plan(run_cli, "--plugins", "timing", "--config", "run.toml")

    assert result.exit_code == 2, result.output
    assert result.stderr.startswith(f"error: {message}")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[plot]\noptional = true\nevery = 2", ["--plugins", "timing"]),
        ("[elsewhere]\noptional = true\nevery = 2", ["--plugins", "timing"]),
        ("[second]\noptional = true\nuse = './gone.py'", ["--plugins", "timing"]),
        ("[timing]\noptional = true", ["--plugins", "timing"]),
        ("plugins = 'timing,plot'\n[plot]\nevery = 2", ["--plugins", "timing"]),
        ("[plot]\nevery = 2", ["--plugins", "no:plot"]),
        ("[progress]\ninterval-s = 2", ["--quiet"]),
    ],
)
def test_what_is_meant_for_other_runs_may_wait(
    run_cli: RunCli, content: str, words: list[str]
) -> None:
    Path("run.toml").write_text(content)

    result = plan(run_cli, *words, "--config", "run.toml")

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = " + b"[" * 100_000, "run.toml: not valid TOML: nested too deeply"),
        (b"a" * 2_000_000, "run.toml: larger than 1048576 bytes, which no configuration is"),
        (b"epochs = " + b"1" * 5000, "run.toml: not valid TOML: Exceeds the limit"),
        (b"\xff\xfee\x00", "run.toml: not valid TOML: 'utf-8' codec can't decode"),
    ],
    ids=["deep", "huge", "number", "utf-16"],
)
def test_a_file_that_is_none_is_told_in_a_line(content: bytes, message: str) -> None:
    Path("run.toml").write_bytes(content)

    with pytest.raises(ConfigError) as raised:
        read_config_file(Path("run.toml"))

    assert str(raised.value).startswith(message)
    assert len(str(raised.value)) < 300


def test_a_byte_order_mark_is_no_mistake() -> None:
    Path("run.toml").write_bytes(b"\xef\xbb\xbfepochs = 3")

    assert read_config_file(Path("run.toml")) == {"epochs": 3}


# Variables of the environment


def warnings_in(result: Result) -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("warning: ")]


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("EPOCS", "; did you mean IGNITE_THREENET_EPOCHS?"),
        ("ACCURACY_EVRY", "; did you mean IGNITE_THREENET_ACCURACY_EVERY?"),
        ("ZZZZZZ", ""),
    ],
)
def test_a_variable_that_nobody_reads_is_told(run_cli: RunCli, variable: str, hint: str) -> None:
    result = plan(run_cli, "--plugins", "accuracy", env={f"IGNITE_THREENET_{variable}": "3"})

    assert result.exit_code == 0, result.output
    assert warnings_in(result) == [
        f"warning: IGNITE_THREENET_{variable}: no option of this run is called so{hint}"
    ]


@pytest.mark.parametrize("variable", ["EPOCHS", "PLOT_EVERY", "JSON", "ACCURACY_EVERY", "DEBUG"])
def test_a_variable_for_this_run_or_an_absent_plugin_is_none(
    run_cli: RunCli, variable: str
) -> None:
    result = plan(run_cli, "--plugins", "accuracy", env={f"IGNITE_THREENET_{variable}": "1"})

    assert result.exit_code == 0, result.output
    assert warnings_in(result) == []


def test_a_path_in_the_environment_may_have_spaces(run_cli: RunCli) -> None:
    Path("my plugins").mkdir()
    source = "from ignite_threenet import Plugin\nclass Own(Plugin):\n    'Does nothing.'\n"
    Path("my plugins/own.py").write_text(source)

    result = plan(run_cli, env={"IGNITE_THREENET_PLUGINS": "timing,./my plugins/own.py"})

    assert result.exit_code == 0, result.output
    assert "own     own.py" in result.stdout


@pytest.mark.parametrize(
    ("value", "shows"), [("1", True), ("true", True), ("0", False), ("", False)]
)
def test_debug_may_be_asked_for_by_the_environment(
    run_cli: RunCli, value: str, shows: bool
) -> None:
    result = run_cli("run", "--model", "nothing", env={"IGNITE_THREENET_DEBUG": value})

    assert result.exit_code == 2
    assert ("Traceback" in result.stderr) is shows


# What names nothing


@pytest.mark.parametrize(
    "words",
    [
        ["--resume", ""],
        ["--config", ""],
        ["--recipe", " "],
        ["--out", ""],
        ["--plugins", ""],
        ["--plugins", ","],
        ["--data-dir", ""],
    ],
    ids=" ".join,
)
def test_what_names_nothing_is_not_taken_for_not_given(run_cli: RunCli, words: list[str]) -> None:
    result = run_cli("run", "--dry-run", *words)

    assert result.exit_code == 2, result.output
    assert result.stderr.startswith(f"error: {words[0]}: {words[1]!r} names nothing; expected ")


@pytest.mark.parametrize("said", ["", "many", "-3", "1", "²", "9" * 5000])
def test_a_number_of_processes_that_is_none_is_one(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", said)

    make_run(epochs=1).close()


# Scripts


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"dataset": "digits", "batch_size": 3}, "dataset, batch_size: not used: the loaders are"),
        ({"data_dir": "there", "normalize": "dataset"}, "data_dir, normalize: not used: the load"),
        ({"label_smoothing": 0.1, "loss_fn": nn.CrossEntropyLoss()}, "label_smoothing: not used"),
        (
            {"momentum": 0.5, "optimizer": lambda model: optim.SGD(model.parameters(), lr=1)},
            "momentum: not used: the optimizer is your own",
        ),
        ({"label_smoothing": 0.1}, ""),
    ],
)
def test_what_a_script_makes_useless_is_told(
    caplog: pytest.LogCaptureFixture, options: dict[str, Any], told: str
) -> None:
    with caplog.at_level(logging.WARNING, "ignite_threenet"):
        own = {name: each for name, each in options.items() if callable(each)}
        config = RunConfig(**{name: options[name] for name in options if name not in own})
        Run(config, loaders=tiny_loaders(), **own).close()

    messages = [record.getMessage() for record in caplog.records]
    assert [message.startswith(told) for message in messages] == ([True] if told else [])


@pytest.mark.parametrize("name", ["model", "loss_fn", "optimizer", "metrics"])
def test_what_cannot_be_called_is_refused(name: str) -> None:
    given: dict[str, Any] = {name: 3}

    with pytest.raises(ConfigError, match=f"^{name}: int cannot be called; expected a "):
        Run(RunConfig(), loaders=tiny_loaders(), **given)


def test_a_script_may_name_its_model() -> None:
    run = Run(RunConfig(dataset="digits"), model="net.py:Net", model_options={"width": 4})

    assert type(run.model).__name__ == "Net"
    assert run.options["model.width"] == 4
    assert run.config.model == str(Path("net.py").absolute()) + ":Net"


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("resnet18", "torchvision.models:resnet18"),
        ("ResNet18", "torchvision.models:resnet18"),
        ("threnet", "threenet"),
        ("zzzzzz", None),
    ],
)
def test_a_network_that_torchvision_has_is_found_there(name: str, guess: str | None) -> None:
    with pytest.raises(UnknownNameError) as raised:
        Run(RunConfig(dataset="digits"), model=name)

    assert raised.value.nearest == guess
