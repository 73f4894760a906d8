import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from conftest import InstallDistribution

from ignite_threenet.cli import main as cli
from ignite_threenet.extensions.entries import FileEntry

INSTALLED = (
    "accuracy, augment, best, checkpoint, confusion, csv, early-stop, ema, lr-finder, mlflow, "
    "plot, progress, schedule, tensorboard, timing"
)
CONSOLE_SCRIPT = Path(sys.executable).with_name("ignite-threenet")

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(small_digits: None) -> Invoke:
    """Run the command line in this process, on a few digits, with messages as main() gives them."""

    def invoke(*words: str, env: dict[str, str] | None = None) -> Result:
        runner = CliRunner(env=env)
        return runner.invoke(_main, words)

    return invoke


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def _main(words: Sequence[str]) -> None:
    cli.main(words)


def run_digits(invoke: Invoke, *words: str, **kwargs: Any) -> Result:
    result = invoke("run", "--dataset", "digits", "--epochs", "2", *words, **kwargs)
    assert result.exit_code == 0, result.output
    return result


def plan(invoke: Invoke, *words: str, **kwargs: Any) -> dict[str, Any]:
    result = invoke("run", "--dry-run", "--json", *words, **kwargs)
    assert result.exit_code == 0, result.output
    content: dict[str, Any] = json.loads(result.stdout)
    return content


def options_of(content: dict[str, Any], plugin: str) -> dict[str, Any]:
    options: dict[str, Any] = next(
        each["options"] for each in content["plugins"] if each["name"] == plugin
    )
    return options


class TestRun:
    def test_trains_with_the_default_plugins_and_says_where_the_files_are(
        self, invoke: Invoke
    ) -> None:
        result = run_digits(invoke, "--out", "there")

        assert {path.name for path in Path("there").iterdir()} == {
            "manifest.json",
            "metrics.jsonl",
            "best.pt",
            "best.safetensors",
            "loss.png",
            "accuracy.png",
            "checkpoint-00000004.safetensors",
            "model.safetensors",
            "summary.json",
            ".lock",
        }
        assert "digits: 2 epochs on cpu in" in result.stdout
        assert "best train accuracy" in result.stdout
        assert "test accuracy" in result.stdout
        assert "there: manifest.json, metrics.jsonl, best.pt" in result.stdout

    def test_announces_what_a_plugin_requires(self, invoke: Invoke) -> None:
        result = run_digits(invoke, "--plugins", "best")

        assert "accuracy: required by best" in result.stderr

    def test_without_plugins_only_trains_and_tests(self, invoke: Invoke) -> None:
        run_digits(invoke, "--plugins", "none", "--out", "bare")

        assert sorted(path.name for path in Path("bare").iterdir()) == [
            ".lock",
            "manifest.json",
            "metrics.jsonl",
            "model.safetensors",
            "summary.json",
        ]

    def test_json_prints_the_summary_and_nothing_else_on_stdout(self, invoke: Invoke) -> None:
        result = run_digits(invoke, "--json", "--out", "there")

        assert json.loads(result.stdout) == json.loads(Path("there/summary.json").read_text())

    def test_quiet_says_nothing(self, invoke: Invoke) -> None:
        result = run_digits(invoke, "--quiet")

        assert result.output == ""

    def test_the_default_directory_carries_the_datasets_name(self, invoke: Invoke) -> None:
        run_digits(invoke, "--plugins", "none")

        assert [path.name.split("-")[-1] for path in Path("runs").iterdir()] == ["digits"]

    def test_auto_without_network_warns_and_names_the_dataset_in_every_output(
        self, invoke: Invoke, no_network: None
    ) -> None:
        result = invoke("run", "--epochs", "1", "--plugins", "plot", "--out", "there", "--quiet")

        assert result.exit_code == 0, result.output
        assert "TRAINING ON THE EMBEDDED DATASET 'digits' INSTEAD OF MNIST" in result.stderr
        assert json.loads(Path("there/summary.json").read_text())["dataset"] == "digits"
        manifest = json.loads(Path("there/manifest.json").read_text())
        assert manifest["dataset"]["name"] == "digits"
        assert set(manifest["dataset"]["sha256"]) > {"train-images-idx3-ubyte"}

    def test_a_diverging_run_stops_and_keeps_the_best_model(self, invoke: Invoke) -> None:
        result = invoke(
            *("run", "--dataset", "digits", "--epochs", "50", "--lr", "0.5", "--momentum", "0.99"),
            *("--weight-decay", "3", "--accuracy.every", "1", "--out", "there"),
        )

        assert result.exit_code == 1
        assert "error: the loss became" in result.stderr
        summary = json.loads(Path("there/summary.json").read_text())
        assert summary["status"] == "diverged"
        assert "at epoch" in summary["error"]
        assert "iteration" in summary["error"]
        assert Path("there/best.pt").exists()


class TestDryRun:
    def test_shows_the_plan_and_leaves_nothing_behind(self, invoke: Invoke) -> None:
        result = invoke("run", "--dry-run", "--plugins", "best,plot", "--dataset", "digits")

        assert result.exit_code == 0
        lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
        assert lines[0] == "ThreeNet on digits, on cpu; nothing was run"
        assert "dataset digits command line" in lines
        assert "lr 0.001 default" in lines
        assert any(line.startswith("accuracy ignite-threenet") for line in lines)
        assert "trainer EPOCH_COMPLETED(every=20) accuracy Accuracy.measure" in lines
        assert "evaluators[train] COMPLETED best Best.compare" in lines
        assert [path.name for path in Path().iterdir()] == ["data"]

    def test_lists_the_plugins_in_their_order_and_why(self, invoke: Invoke) -> None:
        content = plan(invoke, "--plugins", "plot,best")

        assert [(each["name"], each["required_by"]) for each in content["plugins"]] == [
            ("plot", None),
            ("accuracy", "best"),
            ("best", None),
        ]

    def test_finds_a_directory_in_use(self, invoke: Invoke) -> None:
        run_digits(invoke, "--plugins", "none", "--out", "there")

        result = invoke("run", "--dry-run", "--out", "there")

        assert result.exit_code == 2


class TestPlugins:
    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ((), ["accuracy", "best", "timing", "plot", "progress", "checkpoint"]),
            (("--plugins", "plot,timing"), ["plot", "timing"]),
            (("--plugins", "plot", "--plugins", "timing"), ["plot", "timing"]),
            (("--plugins", "no:plot,no:progress"), ["accuracy", "best", "timing", "checkpoint"]),
            (("--plugins", "timing,+plot"), ["timing", "plot"]),
            (("--plugins", "none"), []),
            (("--plugins", "none,+plot"), ["plot"]),
            (("--quiet",), ["accuracy", "best", "timing", "plot", "checkpoint"]),
        ],
    )
    def test_selection(self, invoke: Invoke, words: Sequence[str], expected: list[str]) -> None:
        assert [each["name"] for each in plan(invoke, *words)["plugins"]] == expected

    def test_quiet_keeps_a_plugin_that_another_requires_with_its_options(
        self, invoke: Invoke
    ) -> None:
        Path("needs.py").write_text(
            "from ignite_threenet import Plugin\n"
            "class Needs(Plugin):\n    requires = ('progress',)\n"
        )

        content = plan(
            invoke, "--quiet", "--plugins", "+needs.py", "--progress.interval-s", "3", "--seed", "1"
        )

        names = [each["name"] for each in content["plugins"]]
        assert names == ["accuracy", "best", "timing", "plot", "progress", "checkpoint", "needs"]
        assert options_of(content, "progress") == {
            "interval_s": {"value": 3.0, "source": "command line"}
        }

    def test_plus_adds_to_the_default(
        self, invoke: Invoke, install_distribution: InstallDistribution
    ) -> None:
        install_plugin(install_distribution, "cli_added", "Added")

        names = [each["name"] for each in plan(invoke, "--plugins", "+added")["plugins"]]

        assert names == ["accuracy", "best", "timing", "plot", "progress", "checkpoint", "added"]

    def test_a_strangers_option_is_declared_once_for_all_ways_of_setting_it(
        self, invoke: Invoke, install_distribution: InstallDistribution
    ) -> None:
        install_plugin(install_distribution, "cli_stranger", "Stranger")
        Path("run.toml").write_text("[stranger]\nmin-delta = 0.25")

        by_file = plan(invoke, "--plugins", "stranger", "--config", "run.toml")
        by_environment = plan(
            invoke, "--plugins", "stranger", env={"IGNITE_THREENET_STRANGER_MIN_DELTA": "0.5"}
        )
        by_command = plan(invoke, "--plugins", "stranger", "--stranger.min-delta", "0.75")

        assert [
            options_of(each, "stranger")["min_delta"]
            for each in (by_file, by_environment, by_command)
        ] == [
            {"value": 0.25, "source": "run.toml"},
            {"value": 0.5, "source": "environment IGNITE_THREENET_STRANGER_MIN_DELTA"},
            {"value": 0.75, "source": "command line"},
        ]

    def test_a_broken_plugin_breaks_no_help_no_list_and_no_run_without_it(
        self, invoke: Invoke, install_distribution: InstallDistribution
    ) -> None:
        install_distribution(
            "acme-broken", {"broken": "cli_broken:Broken"}, {"cli_broken": "import nothing_there"}
        )

        assert invoke("--help").exit_code == 0
        assert "broken" in invoke("plugins", "list").stdout
        assert plan(invoke)["plugins"]
        assert invoke("run", "--help").exit_code == 0
        help_with_it = invoke("run", "--plugins", "broken", "--help")
        assert help_with_it.exit_code == 0
        assert "No module named 'nothing_there'" in " ".join(help_with_it.stdout.split())

        result = invoke("run", "--plugins", "broken")

        assert result.exit_code == 2
        assert result.stderr == (
            "error: plugin 'broken' (acme-broken 1.0) cannot be imported from cli_broken:Broken: "
            "ModuleNotFoundError: No module named 'nothing_there'\n"
        )

    def test_options_that_share_an_environment_variable_are_refused(
        self, invoke: Invoke, install_distribution: InstallDistribution
    ) -> None:
        install_distribution(
            "acme-data",
            {"data": "cli_data:Data"},
            {
                "cli_data": """
                from ignite_threenet import Plugin, option
                class Data(Plugin):
                    dir: str = option("", help="clashes with --data-dir")
                """
            },
        )

        result = invoke("run", "--plugins", "data")

        assert result.exit_code == 2
        assert "--data.dir and --data-dir share the name IGNITE_THREENET_DATA_DIR" in result.stderr

    def test_help_shows_the_options_of_the_plugins_of_this_run(self, invoke: Invoke) -> None:
        with_plot = invoke("run", "--plugins", "plot", "--help").stdout
        without = invoke("run", "--plugins", "none", "--help").stdout

        assert "--plot.format png|svg|pdf" in with_plot
        assert "--accuracy.every INTEGER" not in with_plot
        assert "--plot.format" not in without


class TestPluginFiles:
    def test_a_file_takes_part_with_options_under_its_name(self, invoke: Invoke) -> None:
        write_patience("patience.py")

        content = plan(invoke, "--plugins", "./patience.py", "--patience.split", "test")

        assert [each["name"] for each in content["plugins"]] == ["accuracy", "patience"]
        assert options_of(content, "patience")["split"] == {
            "value": "test",
            "source": "command line",
        }

    def test_a_file_may_be_added_under_another_name(self, invoke: Invoke) -> None:
        write_patience("patience.py")

        content = plan(
            *(invoke, "--plugins", "none,+waiting=./patience.py:Patience"),
            env={"IGNITE_THREENET_WAITING_SPLIT": "test"},
        )

        assert [each["name"] for each in content["plugins"]] == ["accuracy", "waiting"]
        assert options_of(content, "waiting")["split"]["value"] == "test"

    def test_a_file_in_a_configuration_is_meant_as_seen_from_there(self, invoke: Invoke) -> None:
        write_patience("there/patience.py")
        Path("there/run.toml").write_text('plugins = ["./patience.py"]\n[patience]\nsplit = "test"')

        content = plan(invoke, "--config", "there/run.toml")

        assert options_of(content, "patience")["split"] == {
            "value": "test",
            "source": "there/run.toml",
        }

    def test_a_section_may_say_what_its_name_stands_for(self, invoke: Invoke) -> None:
        write_patience("there/patience.py")
        Path("there/run.toml").write_text(
            'plugins = "waiting,+second"\n'
            '[waiting]\nuse = "patience.py"\nsplit = "test"\n'
            '[second]\nuse = "best"\nsplit = "test"'
        )

        content = plan(invoke, "--config", "there/run.toml")

        assert [each["name"] for each in content["plugins"]] == ["accuracy", "waiting", "second"]
        assert options_of(content, "waiting")["split"]["value"] == "test"
        assert options_of(content, "second")["split"]["value"] == "test"

    def test_a_section_with_its_own_plugin_may_wait_for_another_run(self, invoke: Invoke) -> None:
        Path("run.toml").write_text('[second]\nuse = "best"\noptional = true')

        assert plan(invoke, "--plugins", "none", "--config", "run.toml")["plugins"] == []

    def test_what_a_section_stands_for_is_a_name(self, invoke: Invoke) -> None:
        Path("run.toml").write_text('plugins = "second"\n[second]\nuse = 3')

        result = invoke("run", "--config", "run.toml")

        assert result.exit_code == 2
        assert result.stderr == "error: run.toml: [second] use: 3 is not a name\n"

    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ("./absent.py", "unknown plugin file './absent.py'."),
            (
                "./my patience.py",
                "plugin 'my patience' cannot be a name (letters, digits, -_.); use NAME=FILE",
            ),
            (
                "best,best=plot",
                "plugin 'best' is given twice; a second one needs a name of its own: other=plot",
            ),
        ],
    )
    def test_what_cannot_take_part_is_one_line(
        self, invoke: Invoke, word: str, message: str
    ) -> None:
        write_patience("my patience.py")

        result = invoke("run", "--plugins", word)

        assert result.exit_code == 2
        assert result.stderr == f"error: {message}\n"

    def test_each_of_several_keeps_its_own_file(self, invoke: Invoke) -> None:
        words = ("--plugins", "best,second=best", "--accuracy.every", "1")

        run_digits(invoke, *words, "--out", "there")

        summary = json.loads(Path("there/summary.json").read_text())
        assert summary["plugins"]["best"]["file"] == "best.pt"
        assert summary["plugins"]["second"]["file"] == "second.pt"
        assert {"best.pt", "second.pt"} <= {path.name for path in Path("there").iterdir()}


class TestResumeOfPluginFiles:
    WORDS = ("--plugins", "./patience.py,best,second=best,checkpoint", "--checkpoint.seconds", "0")

    @pytest.fixture
    def finished(self, invoke: Invoke) -> Path:
        """Train two epochs with a plugin from a file and two of one kind."""
        write_patience("patience.py")
        run_digits(
            *(invoke, *self.WORDS, "--accuracy.every", "1", "--out", "there"),
            *("--patience.split", "train", "--second.split", "train"),
        )
        return Path("there")

    def test_a_run_goes_on_with_all_of_them(self, invoke: Invoke, finished: Path) -> None:
        result = invoke("run", "--resume", "there", "--epochs", "3")

        assert result.exit_code == 0, result.output
        summary = json.loads((finished / "summary.json").read_text())
        assert summary["epochs"] == 3
        assert list(summary["plugins"]) == ["accuracy", "patience", "best", "second", "checkpoint"]
        # It has counted the epochs before, too.
        assert summary["plugins"]["patience"]["looks"] == 3

    def test_a_run_goes_on_from_another_directory(
        self, invoke: Invoke, finished: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        there = finished.absolute()
        Path("elsewhere").mkdir()
        monkeypatch.chdir("elsewhere")

        result = invoke("run", "--resume", str(there), "--epochs", "3")

        assert result.exit_code == 0, result.output
        assert "patience" in json.loads((there / "summary.json").read_text())["plugins"]

    def test_a_file_that_has_changed_is_refused(self, invoke: Invoke, finished: Path) -> None:
        before = digest("patience.py")
        write_patience("patience.py", more="# another patience\n")
        now = digest("patience.py")

        result = invoke("run", "--resume", "there", "--epochs", "3")

        assert result.exit_code == 1
        assert result.stderr == (
            "error: there/checkpoint-00000004.safetensors: plugin 'patience': "
            f"the SHA-256 digest of its source was {before:.12}, and is {now:.12}; "
            "go on with it by --allow-changes\n"
        )

    def test_a_file_that_is_gone_is_told_and_its_state_carried_along(
        self, invoke: Invoke, finished: Path
    ) -> None:
        place = Path("patience.py").absolute()
        place.unlink()

        result = invoke("run", "--resume", "there", "--epochs", "3")

        assert result.exit_code == 0, result.output
        assert (
            f"warning: the plugin 'patience' ({place}) is gone; its state is carried along"
            in result.stderr.splitlines()
        )


class TestConfiguration:
    def test_the_command_line_goes_over_the_environment_over_the_file(self, invoke: Invoke) -> None:
        Path("run.toml").write_text("lr = 0.1\nseed = 1\nepochs = 7\nmomentum = 0.5")

        config = plan(
            *(invoke, "--config", "run.toml", "--lr", "0.3"),
            env={"IGNITE_THREENET_LR": "0.2", "IGNITE_THREENET_SEED": "2"},
        )["config"]

        assert config["lr"] == {"value": 0.3, "source": "command line"}
        assert config["seed"] == {"value": 2, "source": "environment IGNITE_THREENET_SEED"}
        assert config["epochs"] == {"value": 7, "source": "run.toml"}
        assert config["batch_size"] == {"value": 256, "source": "default"}

    def test_plugins_come_from_the_environment_or_the_file_too(self, invoke: Invoke) -> None:
        Path("text.toml").write_text('plugins = "plot,timing"')
        Path("list.toml").write_text('plugins = ["plot", "timing"]')

        for words, env in (
            (("--config", "text.toml"), {}),
            (("--config", "list.toml"), {}),
            ((), {"IGNITE_THREENET_PLUGINS": "plot,timing"}),
            ((), {"IGNITE_THREENET_CONFIG": "text.toml"}),
        ):
            names = [each["name"] for each in plan(invoke, *words, env=env)["plugins"]]
            assert names == ["plot", "timing"]

    def test_a_flag_can_be_set_everywhere_and_taken_back(self, invoke: Invoke) -> None:
        Path("run.toml").write_text("nesterov = true\nmomentum = 0.9")

        assert plan(invoke, "--config", "run.toml")["config"]["nesterov"]["value"] is True
        words = ("--config", "run.toml", "--no-nesterov")
        assert plan(invoke, *words)["config"]["nesterov"]["value"] is False

    def test_the_section_of_an_installed_plugin_may_wait_for_another_run(
        self, invoke: Invoke
    ) -> None:
        Path("run.toml").write_text("[plot]\noptional = true\nformat = 'svg'")

        assert plan(invoke, "--plugins", "timing", "--config", "run.toml")["plugins"]

    def test_relative_paths_and_home_are_understood(self, invoke: Invoke) -> None:
        config = plan(invoke, "--data-dir", "~/sets")["config"]

        assert config["data_dir"]["value"] == str(Path.home() / "sets")


class TestRefusals:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (
                ("--batch-size", "0"),
                "--batch-size: '0' is out of range; expected an integer at least 1",
            ),
            (("--lr", "-1"), "--lr: '-1' is out of range; expected a finite number above 0"),
            (
                ("--lr", "nan"),
                "--lr: 'nan' is not a finite number; expected a finite number above 0",
            ),
            (("--epochs", "0"), "--epochs: '0' is out of range; expected an integer at least 1"),
            (
                ("--epochs", "1.5"),
                "--epochs: '1.5' is not an integer; expected an integer at least 1",
            ),
            (
                ("--accuracy.split", "tran"),
                "--accuracy.split: 'tran' is not one of the choices; "
                "expected train, valid or test, or none; did you mean 'train'?",
            ),
            (("--nesterov",), "nesterov: needs a momentum above 0, and momentum is 0"),
            (
                ("--dataset", "minst"),
                "unknown dataset 'minst'; did you mean 'mnist'? "
                "Known: auto, digits, fashion-mnist, folder, kmnist, mnist",
            ),
            (("--device", "tpu"), "device: 'tpu' is not available; expected auto, cpu"),
            (
                ("--plugins", "bset"),
                f"unknown plugin 'bset'; did you mean 'best'? Installed: {INSTALLED}",
            ),
            (
                ("--plugins", "no:polt"),
                f"unknown plugin 'polt'; did you mean 'plot'? Installed: {INSTALLED}",
            ),
            (
                ("--plugins", "best,no:accuracy"),
                "plugin 'best' requires 'accuracy', which no:accuracy takes away",
            ),
            (
                ("--plugins", "best", "--plot.format", "svg"),
                "--plot.format: the plugin 'plot' is not part of this run; "
                "add it by --plugins +plot",
            ),
            (("--config", "nope.toml"), "nope.toml: cannot be read: No such file or directory"),
            (("--out", __file__), f"{__file__}: is not a directory; choose another --out"),
        ],
    )
    def test_one_line_says_where_what_and_what_is_allowed(
        self, invoke: Invoke, words: Sequence[str], message: str
    ) -> None:
        result = invoke("run", *words)

        assert result.exit_code == 2
        assert result.stderr == f"error: {message}\n"
        assert result.stdout == ""
        assert list(Path().iterdir()) == []

    def test_a_split_that_the_data_does_not_have_is_refused_when_it_is_loaded(
        self, invoke: Invoke
    ) -> None:
        words = ("--dataset", "digits", "--accuracy.split", "valid", "--quiet", "--out", "there")
        result = invoke("run", *words)

        assert result.exit_code == 2
        assert result.stderr == (
            "error: accuracy.split: this run has no split 'valid', only train, test; "
            "hold samples out by --valid-size\n"
        )
        assert not Path("there").exists()

    def test_an_unknown_option_names_the_nearest(self, invoke: Invoke) -> None:
        result = invoke("run", "--accuracy.evry", "3")

        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
        assert "'--accuracy.every'" in result.stderr

    def test_a_value_of_the_environment_is_blamed_on_its_variable(self, invoke: Invoke) -> None:
        result = invoke("run", env={"IGNITE_THREENET_LR": "fast"})

        assert result.exit_code == 2
        assert result.stderr == (
            "error: IGNITE_THREENET_LR: 'fast' is not a finite number; "
            "expected a finite number above 0\n"
        )

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("seed = 1\nlr = x", "run.toml: not valid TOML: Invalid value (at line 2, column 6)"),
            (
                'lr = "fast"',
                "run.toml: lr: 'fast' is not a finite number; expected a finite number above 0",
            ),
            ("epochs = true", "run.toml: epochs: True is not an integer; expected an integer at"),
            ("epoch = 3", "run.toml: unknown key 'epoch'; did you mean 'epochs'? Known: "),
            ("[acuracy]\nevery = 3", "run.toml: unknown section 'acuracy'; did you mean 'accurac"),
            ("[accuracy]\nevry = 3", "run.toml: [accuracy]: unknown key 'evry'; did you mean 'e"),
            ("[accuracy]\nevery = 0", "run.toml: [accuracy] every: 0 is out of range; expected "),
            ("plugins = 3", "run.toml: plugins: 3 is not a list of names"),
            ("[lr]\nvalue = 3", "run.toml: lr: {'value': 3} is not a finite number; expected a "),
        ],
    )
    def test_a_mistake_in_the_file_is_found_where_it_stands(
        self, invoke: Invoke, content: str, message: str
    ) -> None:
        Path("run.toml").write_text(content)

        result = invoke("run", "--config", "run.toml")

        assert result.exit_code == 2
        assert result.stderr.startswith(f"error: {message}")
        assert len(result.stderr.splitlines()) == 1

    def test_a_directory_in_use_is_left_alone_without_force(self, invoke: Invoke) -> None:
        run_digits(invoke, "--plugins", "none", "--out", "there")
        before = Path("there/summary.json").read_bytes()

        refused = invoke("run", "--dataset", "digits", "--out", "there")

        assert refused.exit_code == 2
        assert refused.stderr == (
            "error: there: holds a run; choose another --out, or replace it by --force\n"
        )
        assert Path("there/summary.json").read_bytes() == before
        run_digits(invoke, "--plugins", "none", "--out", "there", "--force")

    def test_a_named_dataset_that_cannot_be_had_is_no_other(
        self, invoke: Invoke, no_network: None
    ) -> None:
        result = invoke("run", "--dataset", "mnist")

        assert result.exit_code == 1
        assert result.stderr.startswith(
            "error: mnist is not on disk, and its servers cannot be reached; put its four files "
        )
        assert len(result.stderr.splitlines()) == 1
        assert not Path("runs").exists()

    def test_an_unexpected_error_is_one_line_and_a_traceback_with_debug(
        self, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: object, **kwargs: object) -> None:
            raise RuntimeError("something new")

        monkeypatch.setattr("ignite_threenet.data.data_module.load_chosen", fail)

        result = invoke("run", "--plugins", "none")
        debugged = invoke("run", "--plugins", "none", "--debug")

        assert result.exit_code == 1
        assert result.stderr == "error: RuntimeError: something new; --debug shows where\n"
        assert debugged.exit_code == 1
        assert "Traceback" in debugged.stderr


class TestResume:
    def test_what_no_signal_interrupted_exits_with_1(
        self, invoke: Invoke, install_distribution: InstallDistribution
    ) -> None:
        source = """
        from ignite.engine import Events
        from ignite_threenet import Plugin

        class Impatient(Plugin):
            def attach(self, run):
                event = Events.ITERATION_COMPLETED(once=1)
                run.trainer.add_event_handler(event, lambda: run.interrupt())
        """
        modules = {"cli_impatient": source}
        install_distribution("acme-impatient", {"impatient": "cli_impatient:Impatient"}, modules)

        result = invoke("run", "--dataset", "digits", "--plugins", "impatient", "--out", "there")

        assert result.stderr.splitlines()[-1] == "error: interrupted at epoch 1, iteration 1"
        assert result.exit_code == 1


class TestPluginsCommands:
    def test_list_shows_name_distribution_version_and_one_line(self, invoke: Invoke) -> None:
        lines = invoke("plugins", "list").stdout.splitlines()

        assert lines[0].split() == ["name", "distribution", "version", "what", "it", "does"]
        assert [line.split()[0] for line in lines[1:]] == INSTALLED.split(", ")
        assert lines[3].endswith("Keep the model at its highest accuracy, and end the run with it.")

    def test_list_as_json(self, invoke: Invoke) -> None:
        entries = {
            each["name"]: each for each in json.loads(invoke("plugins", "list", "--json").stdout)
        }

        assert entries["plot"]["distribution"] == "ignite-threenet"
        assert entries["plot"]["entry_point"] == "ignite_threenet_plugins.plot:Plot"
        assert entries["plot"]["default"] is True

    def test_list_shows_both_of_a_clash_and_a_run_names_both(
        self, invoke: Invoke, install_distribution: InstallDistribution
    ) -> None:
        for distribution in ("acme-one", "acme-two"):
            install_distribution(distribution, {"twice": "cli_twice:Twice"}, {})

        listed = invoke("plugins", "list").stdout
        result = invoke("run", "--plugins", "twice")

        assert listed.count("CLASH") == 2
        assert result.exit_code == 2
        assert result.stderr == (
            "error: plugin 'twice' comes from several distributions: acme-one 1.0 and "
            "acme-two 1.0; uninstall all but one\n"
        )

    def test_list_shows_a_hundred_more_and_imports_none(
        self, invoke: Invoke, install_distribution: InstallDistribution
    ) -> None:
        names = [f"acme-{number:03}" for number in range(100)]
        source = 'class Acme:\n    """One of many."""\nraise RuntimeError(\'imported\')\n'
        install_distribution("acme", dict.fromkeys(names, "cli_many:Acme"), {"cli_many": source})

        lines = invoke("plugins", "list").stdout.splitlines()

        listed = [line for line in lines if line.startswith("acme-")]
        assert [line.split()[0] for line in listed] == names
        assert all(line.endswith(" One of many.") for line in listed)
        assert "cli_many" not in sys.modules

    def test_show_of_a_file_gives_its_options_under_its_name(self, invoke: Invoke) -> None:
        write_patience("there/patience.py")
        origin = FileEntry(Path("there/patience.py")).origin

        result = invoke("plugins", "show", "./there/patience.py")

        lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
        assert lines[0] == f"patience ({origin}): Wait."
        assert lines[1] == "requires: accuracy"
        assert lines[-1] == "--patience.split train text split whose accuracy is watched"

    def test_show_of_a_file_as_json(self, invoke: Invoke) -> None:
        write_patience("patience.py")

        facts = json.loads(invoke("plugins", "show", "patience.py:Patience", "--json").stdout)

        assert facts["name"] == "patience"
        assert facts["entry_point"] == "patience.py:Patience"
        assert [option["name"] for option in facts["options"]] == ["split"]

    @pytest.mark.parametrize("directory", [".", "there", "absolute"])
    def test_new_writes_a_file_and_says_how_to_run_it(
        self, invoke: Invoke, directory: str, tmp_path: Path
    ) -> None:
        where = str(tmp_path / "there") if directory == "absolute" else directory

        result = invoke("plugins", "new", "my-plugin", "--dir", where)

        path, advice = result.stdout.splitlines()
        assert Path(path).is_file()
        command = advice.removeprefix("next: ignite-threenet ").split()
        assert plan(invoke, *command[1:])["plugins"][-1]["name"] == "my-plugin"

    def test_new_writes_a_package_and_says_how_to_install_it(self, invoke: Invoke) -> None:
        result = invoke("plugins", "new", "my-plugin", "--package")

        *paths, advice = result.stdout.splitlines()
        assert len(paths) == 7
        assert all(Path(path).is_file() for path in paths)
        root = "ignite-threenet-my-plugin"
        assert advice == f"next: pip install -e '{root}[dev]' && pytest {root}"

    def test_new_refuses_in_one_line(self, invoke: Invoke) -> None:
        Path("my_plugin.py").write_text("mine")

        result = invoke("plugins", "new", "my-plugin")

        assert result.exit_code == 2
        assert result.stderr == "error: my_plugin.py: is there already, and is not overwritten\n"
        assert Path("my_plugin.py").read_text() == "mine"

    @pytest.mark.parametrize(
        ("words", "checked"),
        [
            (("plot", "./patience.py"), ["plot", "./patience.py"]),
            ((), INSTALLED.split(", ")),
        ],
    )
    def test_check_looks_at_each_in_a_process_of_its_own(
        self,
        invoke: Invoke,
        monkeypatch: pytest.MonkeyPatch,
        words: Sequence[str],
        checked: list[str],
    ) -> None:
        commands: list[list[str]] = []

        def pass_all(command: list[str], **arguments: object) -> subprocess.CompletedProcess[str]:
            commands.append(command)
            return subprocess.CompletedProcess(command, 0)

        monkeypatch.setattr("ignite_threenet.cli.authoring.subprocess.run", pass_all)

        result = invoke("plugins", "check", *words)

        assert result.exit_code == 0
        assert [command[-1] for command in commands] == checked

    def test_check_of_a_broken_one_fails_after_all_were_looked_at(
        self, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        codes = iter([1, 0])
        monkeypatch.setattr(
            "ignite_threenet.cli.authoring.subprocess.run",
            lambda command, **arguments: subprocess.CompletedProcess(command, next(codes)),
        )

        result = invoke("plugins", "check", "best", "plot")

        assert result.exit_code == 1
        assert result.stderr == "error: a check failed\n"
        assert list(codes) == []

    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ("bset", "unknown plugin 'bset'; did you mean 'best'? Installed: "),
            ("absent.module:One", "unknown plugin module 'absent.module'."),
        ],
    )
    def test_check_refuses_what_is_not_there_before_it_looks_at_anything(
        self, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, word: str, message: str
    ) -> None:
        monkeypatch.setattr("ignite_threenet.cli.authoring.subprocess.run", None)

        result = invoke("plugins", "check", "best", word)

        assert result.exit_code == 2
        assert result.stderr.startswith(f"error: {message}")

    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ("./pair.py:Oen", "has no 'Oen' in pair.py; did you mean 'One'?"),
            ("json:Absent", "module 'json' has no attribute 'Absent'"),
            ("./absent.py", "unknown plugin file './absent.py'"),
            ("./absent.py:One", "unknown plugin file './absent.py'"),
        ],
    )
    def test_check_of_what_is_not_there_exits_with_2(
        self, invoke: Invoke, capfd: pytest.CaptureFixture[str], word: str, message: str
    ) -> None:
        Path("pair.py").write_text("from ignite_threenet import Plugin\nclass One(Plugin): ...\n")

        result = invoke("plugins", "check", word)

        assert result.exit_code == 2
        assert message in capfd.readouterr().out

    def test_check_hands_its_options_on(
        self, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commands: list[list[str]] = []

        def pass_all(command: list[str], **arguments: object) -> subprocess.CompletedProcess[str]:
            commands.append(command)
            return subprocess.CompletedProcess(command, 0)

        monkeypatch.setattr("ignite_threenet.cli.authoring.subprocess.run", pass_all)

        result = invoke("plugins", "check", "best", "--timeout", "5", "--allow-network")

        assert result.exit_code == 0
        assert commands[0][-4:] == ["--timeout", "5.0", "--allow-network", "best"]

    @pytest.mark.parametrize("seconds", ["0", "-1", "soon"])
    def test_check_refuses_a_limit_that_is_none(self, invoke: Invoke, seconds: str) -> None:
        assert invoke("plugins", "check", "best", "--timeout", seconds).exit_code == 2

    def test_check_is_not_misled_by_what_lies_around(
        self, invoke: Invoke, capfd: pytest.CaptureFixture[str]
    ) -> None:
        Path("logging.py").write_text("from ignite_threenet import Plugin\n")

        result = invoke("plugins", "check", "./logging.py")

        assert result.exit_code == 1
        origin = FileEntry(Path("logging.py")).origin
        assert capfd.readouterr().out == (
            "./logging.py:\n"
            "  ok      name: ok\n"
            f"  FAILED  import: plugin 'logging' ({origin}) holds no class that is a subclass of "
            "ignite_threenet.Plugin\n"
        )

    def test_show_gives_options_defaults_and_requirements(self, invoke: Invoke) -> None:
        output = invoke("plugins", "show", "best").stdout
        lines = [" ".join(line.split()) for line in output.splitlines()]

        assert lines[1] == "requires: accuracy"
        assert lines[2] == "when it fails: the run stops"
        assert lines[-1].startswith("--best.split None train, valid or test, or none split whose")

    def test_show_as_json(self, invoke: Invoke) -> None:
        facts = json.loads(invoke("plugins", "show", "plot", "--json").stdout)

        assert facts["on_error"] == "detach"
        assert [option["name"] for option in facts["options"]] == ["format", "every"]

    def test_show_of_an_unknown_one_names_the_nearest(self, invoke: Invoke) -> None:
        result = invoke("plugins", "show", "bset")

        assert result.exit_code == 2
        assert "did you mean 'best'?" in result.stderr

    def test_a_plain_folder_is_no_module_that_a_new_one_would_hide(
        self, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("pictures").mkdir()
        # As python -m does, which looks for modules here.
        monkeypatch.syspath_prepend(Path.cwd())

        result = invoke("plugins", "new", "pictures")

        assert result.exit_code == 0, result.stderr
        assert Path("pictures.py").exists()


class TestConsoleScript:
    def test_help_does_not_import_torch(self) -> None:
        code = (
            "import sys; from ignite_threenet.cli import main\n"
            "try: main(['--help'])\n"
            "finally: print(sorted({'torch', 'ignite', 'matplotlib', 'tqdm'} & set(sys.modules)))"
        )

        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

        assert result.stdout.splitlines()[-1] == "[]"

    def test_listing_plugins_imports_none(self) -> None:
        code = (
            "import sys; from ignite_threenet.cli import main\n"
            "try: main(['plugins', 'list'])\n"
            "finally: print([name for name in sys.modules if 'ignite_threenet_plugins' in name])"
        )

        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

        assert result.stdout.splitlines()[-1] == "[]"

    def test_runs_from_end_to_end(self, tmp_path: Path) -> None:
        command = [
            str(CONSOLE_SCRIPT),
            "run",
            "--dataset",
            "digits",
            "--epochs",
            "1",
            "--lr",
            "0.01",
        ]

        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

        assert result.returncode == 0, result.stderr
        assert result.stderr.splitlines()[0] == "drawing the dataset 'digits', once"
        assert "digits: 1 epoch on cpu in" in result.stdout

    def test_python_m_is_the_same_program(self) -> None:
        command = [sys.executable, "-m", "ignite_threenet", "--version"]

        result = subprocess.run(command, capture_output=True, text=True)

        assert result.stdout == "ignite-threenet, version 0.1.0\n"

    @pytest.mark.parametrize(
        ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
    )
    def test_a_signal_ends_the_run_after_its_iteration_and_says_how_to_go_on(
        self, tmp_path: Path, signum: signal.Signals, code: int
    ) -> None:
        command = [str(CONSOLE_SCRIPT), "run", "--dataset", "digits", "--out", "there"]
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            # Whoever runs the tests may ignore it, as nohup does.
            preexec_fn=lambda: signal.signal(signum, signal.SIG_DFL),
        )
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 1/500"):
                break

        os.kill(process.pid, signum)
        _, errors = process.communicate()

        assert process.returncode == code
        summary = json.loads((tmp_path / "there" / "summary.json").read_text())
        assert summary["status"] == "interrupted"
        assert errors.splitlines()[-1] == f"error: {summary['error']}"
        assert summary["error"].endswith("; go on by: ignite-threenet run --resume there")
        saved = f"checkpoint-{summary['iterations']:08}.safetensors"
        assert (tmp_path / "there" / saved).is_file()

    def test_a_signal_that_is_ignored_ends_nothing(self, tmp_path: Path) -> None:
        words = ("run", "--dataset", "digits", "--epochs", "2", "--out", "there")
        command = ["nohup", str(CONSOLE_SCRIPT), *words]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 1/2"):
                os.kill(process.pid, signal.SIGHUP)
                break
        process.communicate()

        assert process.returncode == 0

    def test_a_reader_that_leaves_is_no_error_message(self) -> None:
        command = f"{CONSOLE_SCRIPT} plugins list | true"

        result = subprocess.run(command, shell=True, capture_output=True, text=True)  # noqa: S602

        assert result.stderr == ""


def install_plugin(install: InstallDistribution, module: str, class_name: str) -> None:
    source = f"""
    from ignite_threenet import Plugin, option

    class {class_name}(Plugin):
        min_delta: float = option(0.0, help="smallest gain that counts", min=0)
    """
    install(f"acme-{module}", {class_name.lower(): f"{module}:{class_name}"}, {module: source})


PATIENCE = '''
from ignite.engine import Events
from ignite_threenet import Plugin, option


class Patience(Plugin):
    """Wait."""

    requires = ("accuracy",)
    split: str = option("train", help="split whose accuracy is watched")

    def attach(self, run):
        self.looks = 0
        run.evaluators[self.split].add_event_handler(Events.COMPLETED, self.look)

    def look(self):
        self.looks += 1

    def state_dict(self):
        return {"looks": self.looks}

    def load_state_dict(self, state):
        self.looks = state["looks"]

    def summary(self):
        return {"looks": self.looks}
'''


def digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def write_patience(path: str, more: str = "") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(PATIENCE + more)
