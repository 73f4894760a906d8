"""Tests of your own models and datasets, from the command line and from scripts."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from conftest import InstallDistribution
from helpers import NET, POINTS, assert_same_weights, last_checkpoint, make_images, write_module
from ignite_threenet_plugins.checkpoint import Checkpoint
from PIL import Image
from torch import Tensor, nn

from ignite_threenet import (
    CheckpointError,
    ComponentError,
    ConfigError,
    DataError,
    Run,
    RunConfig,
    ThreeNet,
    UnknownNameError,
)
from ignite_threenet.run.verify import verify_resume
from ignite_threenet.testing.fixtures import RunCli

OTHERS = """
from torch import nn

class Plain(nn.Module):
    def __init__(self, input_shape, classes):
        super().__init__()
        self.layer = nn.Linear(*input_shape, classes)

    def forward(self, inputs):
        return self.layer(inputs)

def make(input_shape, classes):
    return nn.Linear(*input_shape, classes)

def make_lazy(classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))
"""

SPLITS = """
def load_train():
    return {"train": make()}

def load_all():
    return {"train": make(60), "valid": make(9), "test": make(12)}
"""

SOURCES = {"net.py": NET, "others.py": OTHERS, "points.py": f"{POINTS}{SPLITS}"}
DIGESTS = {name: hashlib.sha256(source.encode()).hexdigest() for name, source in SOURCES.items()}
ORIGINS = {name: f"{name} {digest[:8]}" for name, digest in DIGESTS.items()}


@pytest.fixture(autouse=True)
def _files() -> None:
    for name, source in SOURCES.items():
        Path(name).write_text(source)


pytestmark = pytest.mark.usefixtures("in_haste")


@pytest.fixture
def images() -> Path:
    return make_images("night-and-day")


WIDTH = "IGNITE_THREENET_MODEL_WIDTH"
TRAIN = ("--epochs", "2", "--lr", "0.1", "--batch-size", "16", "--device", "cpu")


def train(run_cli: RunCli, *words: str, plugins: str = "none", **kwargs: Any) -> dict[str, Any]:
    """Train for two epochs, by default on the points, and give the summary."""
    given = words if "--dataset" in words else ("--dataset", "points.py:load", *words)
    result = run_cli("run", *TRAIN, "--plugins", plugins, "--out", "there", *given, **kwargs)
    assert result.exit_code == 0, result.output
    return read_json("there/summary.json")


def plan(run_cli: RunCli, *words: str, **kwargs: Any) -> dict[str, Any]:
    given = words if "--dataset" in words else ("--dataset", "points.py:load", *words)
    result = run_cli("run", "--dry-run", "--json", "--plugins", "none", *given, **kwargs)
    assert result.exit_code == 0, result.output
    content: dict[str, Any] = json.loads(result.stdout)
    return content


def read_json(path: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(path).read_text())
    return content


def refusal(result: Result, exit_code: int = 2) -> str:
    """Give the one line that a refused run says, having left nothing behind."""
    assert result.exit_code == exit_code, result.output
    assert not Path("runs").exists()
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def make_config(**options: object) -> RunConfig:
    defaults: dict[str, object] = {
        "dataset": "points.py:load",
        "epochs": 2,
        "lr": 0.1,
        "batch_size": 16,
        "device": "cpu",
        "out": Path("there"),
    }
    return RunConfig(**(defaults | options))  # type: ignore[arg-type]


class TestOptionsOfAModel:
    def test_a_model_of_a_file_is_trained(self, run_cli: RunCli) -> None:
        summary = train(run_cli, "--model", "./net.py:Net", "--epochs", "20")

        assert summary["status"] == "completed"
        assert summary["test"]["accuracy"] == 1.0
        assert read_json("there/manifest.json")["model"] == "Net"

    def test_the_only_model_of_a_file_need_not_be_named(self, run_cli: RunCli) -> None:
        assert plan(run_cli, "--model", "net.py")["model"] == "Net"

    def test_the_data_says_what_goes_in_and_comes_out(self) -> None:
        run = Run(make_config(model="net.py:Net"))

        assert run.model.get_parameter("layers.1.weight").shape == (4, 5)
        assert run.model.get_parameter("layers.5.weight").shape == (3, 4)

    @pytest.mark.parametrize("network", ["Plain", "make", "make_lazy"])
    def test_a_network_without_declared_options_is_trained(
        self, run_cli: RunCli, network: str
    ) -> None:
        summary = train(run_cli, "--model", f"others.py:{network}", "--epochs", "20")

        assert summary["test"]["accuracy"] == 1.0
        assert read_json("there/manifest.json")["parts"]["model"]["options"] == {}

    @pytest.mark.parametrize(
        ("words", "env", "section", "expected"),
        [
            ((), {}, "", (4, "default")),
            ((), {}, "width = 5", (5, "run.toml")),
            ((), {WIDTH: "6"}, "", (6, f"environment {WIDTH}")),
            ((), {WIDTH: "6"}, "width = 5", (6, f"environment {WIDTH}")),
            (("--model.width", "7"), {}, "width = 5", (7, "command line")),
            (("--model.width", "7"), {WIDTH: "6"}, "width = 5", (7, "command line")),
        ],
    )
    def test_an_option_is_taken_from_the_command_line_else_the_environment_else_the_file(
        self,
        run_cli: RunCli,
        words: Sequence[str],
        env: dict[str, str],
        section: str,
        expected: tuple[int, str],
    ) -> None:
        Path("run.toml").write_text(f'[model]\nuse = "./net.py:Net"\n{section}\n')

        content = plan(run_cli, "--config", "run.toml", *words, env=env)

        width = content["parts"]["model"]["options"]["width"]
        assert (width["value"], width["source"]) == expected

    def test_the_environment_can_choose_the_model(self, run_cli: RunCli) -> None:
        content = plan(run_cli, env={"IGNITE_THREENET_MODEL": "./net.py:Net"})

        assert content["model"] == "Net"
        assert content["config"]["model"]["source"] == "environment IGNITE_THREENET_MODEL"

    def test_the_options_of_the_plan_are_those_of_the_network(self, run_cli: RunCli) -> None:
        train(run_cli, "--model", "net.py:Net", "--model.width", "7", plugins="checkpoint")

        weights = last_checkpoint("there")["model"]
        assert weights["layers.1.weight"].shape == (7, 5)

    def test_the_plan_shows_the_options_and_where_they_come_from(self, run_cli: RunCli) -> None:
        result = run_cli(
            *("run", "--dry-run", "--dataset", "points.py:Points", "--dataset.count", "9"),
            *("--model", "net.py:Net", "--model.width", "7", "--device", "cpu"),
        )

        lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
        assert lines[0] == "Net on points, on cpu; nothing was run"
        assert "model.width 7 command line" in lines
        assert "model.dropout 0.2 default" in lines
        assert "dataset.count 9 command line" in lines
        assert not Path("runs").exists()

    def test_the_manifest_says_where_the_components_are_from(self, run_cli: RunCli) -> None:
        train(
            *(run_cli, "--model", "net.py:Net", "--model.width", "7"),
            *("--dataset", "points.py:Points"),
        )

        assert read_json("there/manifest.json")["parts"] == {
            "dataset": {
                "origin": ORIGINS["points.py"],
                "options": {"count": {"value": 48, "source": "default"}},
            },
            "model": {
                "origin": ORIGINS["net.py"],
                "options": {
                    "width": {"value": 7, "source": "command line"},
                    "dropout": {"value": 0.2, "source": "default"},
                },
            },
        }

    def test_help_shows_the_options(self, run_cli: RunCli) -> None:
        result = run_cli(
            "run", "--help", "--model", "./net.py:Net", "--dataset", "points.py:Points"
        )

        assert result.exit_code == 0
        assert "Options of the model net:" in result.stdout
        assert "--model.width INTEGER" in result.stdout
        assert "Options of the dataset points:" in result.stdout
        assert "--dataset.count INTEGER" in result.stdout
        assert "--model.hidden" not in result.stdout

    def test_help_is_there_also_where_the_model_is_not(self, run_cli: RunCli) -> None:
        result = run_cli("run", "--help", "--model", "nowhere.py:Net")

        assert result.exit_code == 0
        assert "The options of the parts are missing here: unknown model file" in result.stdout


class TestConfigurationFile:
    def test_a_file_is_meant_as_seen_from_the_configuration(
        self, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("run.toml").write_text(
            '[model]\nuse = "./net.py:Net"\n[dataset]\nuse = "./points.py:Points"\ncount = 8\n'
        )
        Path("elsewhere").mkdir()
        monkeypatch.chdir("elsewhere")

        result = run_cli("run", "--dry-run", "--json", "--quiet", "--config", "../run.toml")

        content = json.loads(result.stdout)
        assert content["model"] == "Net"
        assert content["parts"]["dataset"]["options"]["count"]["value"] == 8

    def test_a_folder_of_images_is_meant_as_seen_from_the_configuration(
        self, run_cli: RunCli, images: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("run.toml").write_text(f'[dataset]\nuse = "{images}"\nsize = 3\n')
        expected = str(images.absolute())
        Path("elsewhere").mkdir()
        monkeypatch.chdir("elsewhere")

        result = run_cli("run", "--dry-run", "--json", "--quiet", "--config", "../run.toml")

        content = json.loads(result.stdout)
        assert Path(content["config"]["dataset"]["value"]).samefile(expected)
        assert content["parts"]["dataset"]["options"]["size"]["value"] == 3

    def test_the_model_can_stand_at_the_top(self, run_cli: RunCli) -> None:
        Path("run.toml").write_text('model = "./net.py:Net"\n')

        content = plan(run_cli, "--config", "run.toml")

        assert content["model"] == "Net"
        assert content["config"]["model"] == {
            "value": str(Path("net.py:Net").absolute()),
            "source": "run.toml",
        }

    def test_the_command_line_chooses_another_model_and_leaves_its_section_alone(
        self, run_cli: RunCli
    ) -> None:
        Path("run.toml").write_text('[model]\nuse = "./net.py:Net"\nwidth = 5\n')

        content = plan(run_cli, "--config", "run.toml", "--model", "threenet")

        assert content["model"] == "ThreeNet"
        assert content["parts"]["model"]["options"] == {
            "hidden": {"value": [200, 60], "source": "default"}
        }

    def test_the_command_line_chooses_another_dataset_and_leaves_its_section_alone(
        self, run_cli: RunCli
    ) -> None:
        Path("run.toml").write_text('[dataset]\nuse = "./points.py:Points"\ncount = 5\n')

        content = plan(run_cli, "--config", "run.toml", "--dataset", "points.py:load")

        assert content["parts"]["dataset"]["options"] == {}

    @pytest.mark.parametrize("word", ["net.py:Net", "./net.py:Net", "conf/../net.py:Net"])
    def test_the_section_is_for_the_same_file_however_it_is_spelled(
        self, run_cli: RunCli, word: str
    ) -> None:
        Path("conf").mkdir()
        Path("conf/run.toml").write_text('[model]\nuse = "../net.py:Net"\nwidth = 5\n')

        content = plan(run_cli, "--config", "conf/run.toml", "--model", word)

        assert content["parts"]["model"]["options"]["width"]["value"] == 5

    def test_a_section_without_use_is_for_whichever_model_is_chosen(self, run_cli: RunCli) -> None:
        Path("run.toml").write_text("[model]\nwidth = 5\n")

        content = plan(run_cli, "--config", "run.toml", "--model", "net.py:Net")

        assert content["parts"]["model"]["options"]["width"]["value"] == 5

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (
                '[model]\nuse = "net.py:Net"\nwidht = 5',
                "run.toml: [model]: unknown key 'widht'; did you mean 'width'? "
                "Known: dropout, width",
            ),
            (
                '[model]\nuse = "net.py:Net"\nwidth = 0',
                "run.toml: [model] width: 0 is out of range; expected an integer at least 1",
            ),
            ("[model]\nuse = 3", "run.toml: [model] use: 3 is not a name"),
            ("dataset = true", "run.toml: dataset: True is not a name"),
            (
                '[model]\nuse = "net.py:Net"\nclasses = 5',
                "run.toml: [model]: unknown key 'classes'. Known: dropout, width",
            ),
        ],
    )
    def test_a_mistake_is_refused_with_its_place(
        self, run_cli: RunCli, content: str, message: str
    ) -> None:
        Path("run.toml").write_text(content)

        assert refusal(run_cli("run", "--config", "run.toml")) == message


class TestInstalledComponents:
    def test_a_strangers_model_is_trained_by_its_name(
        self, run_cli: RunCli, install_distribution: InstallDistribution
    ) -> None:
        install_distribution(
            *("acme-net", {"acme": "acme_net_trained:Net"}, {"acme_net_trained": NET}),
            group="ignite_threenet.models",
        )

        train(run_cli, "--model", "acme", "--model.width", "6")

        part = read_json("there/manifest.json")["parts"]["model"]
        assert part["origin"] == "acme-net 1.0"
        assert part["options"]["width"] == {"value": 6, "source": "command line"}

    def test_a_strangers_dataset_is_loaded_by_its_name(
        self, run_cli: RunCli, install_distribution: InstallDistribution
    ) -> None:
        install_distribution(
            *("acme-data", {"acme points": "acme_data_loaded:Points"}),
            {"acme_data_loaded": POINTS},
            group="ignite_threenet.datasets",
        )

        summary = train(run_cli, "--dataset", "acme points", "--dataset.count", "12")

        assert summary["dataset"] == "acme-points"
        assert read_json("there/manifest.json")["parts"]["dataset"]["origin"] == "acme-data 1.0"

    @pytest.mark.parametrize("kind", ["model", "dataset"])
    def test_the_list_names_a_clash(
        self, run_cli: RunCli, install_distribution: InstallDistribution, kind: str
    ) -> None:
        for name in ("acme-one", "acme-two"):
            install_distribution(
                *(name, {"acme": "acme_clash:Part"}, {}), group=f"ignite_threenet.{kind}s"
            )

        lines = run_cli(f"{kind}s", "list").stdout.splitlines()

        clashes = [" ".join(line.split()) for line in lines if line.startswith("acme")]
        assert clashes == [
            "acme acme-one 1.0 CLASH: several distributions have this name.",
            "acme acme-two 1.0 CLASH: several distributions have this name.",
        ]

    @pytest.mark.parametrize("kind", ["model", "dataset"])
    def test_the_list_imports_nothing(
        self, run_cli: RunCli, install_distribution: InstallDistribution, kind: str
    ) -> None:
        source = 'class Part:\n    """Never imported."""\nraise RuntimeError("imported")\n'
        install_distribution(
            *("acme-broken", {"broken": "acme_broken:Part"}, {"acme_broken": source}),
            group=f"ignite_threenet.{kind}s",
        )

        result = run_cli(f"{kind}s", "list", "--json")

        assert result.exit_code == 0
        (broken,) = [each for each in json.loads(result.stdout) if each["name"] == "broken"]
        assert broken == {
            "name": "broken",
            "distribution": "acme-broken",
            "version": "1.0",
            "description": "Never imported.",
            "entry_point": "acme_broken:Part",
            "default": False,
        }

    def test_a_broken_one_harms_no_other_run(
        self, run_cli: RunCli, install_distribution: InstallDistribution
    ) -> None:
        for kind in ("model", "dataset"):
            install_distribution(
                *(f"acme-{kind}", {"broken": "acme_breaks:Part"}, {"acme_breaks": "1 / 0"}),
                group=f"ignite_threenet.{kind}s",
            )

        assert train(run_cli, "--model", "net.py")["status"] == "completed"

    @pytest.mark.parametrize(
        ("kind", "names", "default"),
        [
            ("model", ["threenet"], "threenet"),
            ("dataset", ["auto", "digits", "fashion-mnist", "folder", "kmnist", "mnist"], "auto"),
        ],
    )
    def test_the_list_has_the_built_in_ones_and_says_which_is_taken_by_default(
        self, run_cli: RunCli, kind: str, names: Sequence[str], default: str
    ) -> None:
        listed = json.loads(run_cli(f"{kind}s", "list", "--json").stdout)

        assert [each["name"] for each in listed] == names
        assert [each["name"] for each in listed if each["default"]] == [default]
        assert all(each["description"] for each in listed)


class TestShow:
    def test_shows_a_model_and_its_options(self, run_cli: RunCli) -> None:
        lines = run_cli("models", "show", "./net.py:Net").stdout.splitlines()

        assert lines[0] == f"net ({ORIGINS['net.py']}): A network with one hidden layer."
        assert [" ".join(line.split()) for line in lines[2:]] == [
            "option default allowed meaning",
            "--model.width 4 an integer at least 1 width of the hidden layer",
            "--model.dropout 0.2 a finite number at least 0 and below 1 share of the hidden layer "
            "left out",
        ]

    def test_shows_a_dataset_as_json(self, run_cli: RunCli) -> None:
        result = run_cli("datasets", "show", "points.py:Points", "--json")

        assert json.loads(result.stdout) == {
            "name": "points",
            "distribution": "points.py",
            "version": ORIGINS["points.py"].split()[1],
            "description": "Points, as many as one likes.",
            "entry_point": "points.py:Points",
            "default": False,
            "options": [
                {
                    "name": "count",
                    "default": 48,
                    "allowed": "an integer at least 3",
                    "help": "points to train on",
                }
            ],
            "left_out": {},
        }

    def test_shows_a_function_which_has_no_options(self, run_cli: RunCli) -> None:
        lines = run_cli("datasets", "show", "points.py:load").stdout.splitlines()

        assert lines == [
            f"points ({ORIGINS['points.py']}): Points around three centres.",
            "options: none",
        ]

    def test_the_description_is_the_models_also_where_a_helper_stands_before_it(
        self, run_cli: RunCli
    ) -> None:
        Path("helped.py").write_text(f'class Helper:\n    """Helps."""\n{NET}')

        lines = run_cli("models", "show", "helped.py").stdout.splitlines()

        assert lines[0].endswith(": A network with one hidden layer.")

    def test_shows_what_a_folder_of_images_can_be_asked_for(
        self, run_cli: RunCli, images: Path
    ) -> None:
        lines = run_cli("datasets", "show", str(images)).stdout.splitlines()

        assert lines[0] == "night-and-day: A folder of images, one sub-folder a class."
        assert [line.split()[0] for line in lines[3:]] == [
            "--dataset.size",
            "--dataset.colors",
            "--dataset.test-share",
        ]

    def test_an_unknown_name_is_refused_with_the_nearest(self, run_cli: RunCli) -> None:
        assert refusal(run_cli("models", "show", "treenet")) == (
            "unknown model 'treenet'; did you mean 'threenet'? Installed: threenet"
        )


class TestDatasets:
    def test_a_source_of_a_file_takes_options(self) -> None:
        run = Run(
            make_config(dataset="points.py", out=Path("there")), dataset_options={"count": 33}
        )
        run.train()

        assert sum(len(labels) for _, labels in run.loaders["train"]) == 33

    def test_without_a_test_split_nothing_is_tested(self, run_cli: RunCli) -> None:
        summary = train(run_cli, "--dataset", "points.py:load_train", "--model", "net.py")

        assert summary["test"] is None
        assert list(summary["best_accuracy"]) == []

    def test_without_a_test_split_a_plugin_that_needs_one_is_refused(self, run_cli: RunCli) -> None:
        result = run_cli(
            *("run", "--dataset", "points.py:load_train", "--model", "net.py"),
            *("--plugins", "accuracy", "--accuracy.split", "test"),
        )

        assert refusal(result) == "accuracy.split: this run has no split 'test', only train"

    def test_a_valid_split_of_its_own_is_measured(self, run_cli: RunCli) -> None:
        summary = train(
            *(run_cli, "--dataset", "points.py:load_all", "--model", "net.py"),
            *("--accuracy.split", "valid", "--accuracy.every", "1"),
            plugins="accuracy",
        )

        assert list(summary["best_accuracy"]) == ["valid"]

    def test_a_valid_split_of_its_own_and_one_held_out_contradict_each_other(
        self, run_cli: RunCli
    ) -> None:
        result = run_cli("run", "--dataset", "points.py:load_all", "--valid-size", "5")

        assert refusal(result) == "valid_size: the dataset points has its own split 'valid'"

    def test_samples_can_be_held_out(self) -> None:
        run = Run(make_config(model="net.py", valid_size=8))
        run.train()

        sizes = {
            split: sum(len(labels) for _, labels in loader) for split, loader in run.loaders.items()
        }
        assert sizes == {"train": 32, "valid": 8, "test": 20}

    def test_numbers_are_taken_as_they_are(self) -> None:
        Path("numbers.py").write_text(
            "import torch\n"
            "def load():\n"
            "    return {'train': (torch.tensor([[1.0, 5.0], [3.0, 7.0]]), torch.tensor([0, 1]))}\n"
        )
        run = Run(make_config(dataset="numbers.py:load", model="others.py:make"))
        run.train()

        (batch,) = run.loaders["train"]
        assert sorted(batch[0].tolist()) == [[1.0, 5.0], [3.0, 7.0]]

    def test_numbers_are_brought_to_mean_0_and_deviation_1_where_that_is_wanted(self) -> None:
        run = Run(make_config(model="net.py", normalize="dataset"))
        run.train()

        samples = torch.cat([inputs for inputs, _ in run.loaders["train"]])
        assert samples.mean().item() == pytest.approx(0, abs=1e-6)
        assert samples.std(correction=0).item() == pytest.approx(1, rel=1e-6)

    def test_lists_and_arrays_will_do(self, run_cli: RunCli) -> None:
        Path("lists.py").write_text(
            "import numpy as np\n"
            "def load():\n"
            "    return {'train': ([[1.0, 2.0], [3.0, 4.0]], [0, 1]),"
            " 'test': (np.ones((2, 2)), np.array([1, 0], dtype=np.int16))}\n"
        )

        summary = train(run_cli, "--dataset", "lists.py:load", "--model", "others.py:make")

        assert summary["test"]["accuracy"] == 0.5

    def test_the_names_of_the_classes_are_kept(self, run_cli: RunCli) -> None:
        Path("named.py").write_text(
            f"{POINTS}\n"
            "from ignite_threenet import Dataset, Split\n"
            "def load_named():\n"
            "    return Dataset('', {'train': Split(*make())}, {}, ('a', 'b', 'c', 'd'))\n"
        )

        train(
            run_cli, "--dataset", "named.py:load_named", "--model", "net.py", plugins="checkpoint"
        )

        assert read_json("there/manifest.json")["dataset"]["classes"] == ["a", "b", "c", "d"]
        assert last_checkpoint("there")["model"]["layers.5.weight"].shape == (4, 4)

    def test_the_default_directory_carries_the_files_name(self, run_cli: RunCli) -> None:
        result = run_cli(
            *("run", *TRAIN, "--plugins", "none"),
            *("--dataset", "points.py:load", "--model", "net.py"),
        )

        assert result.exit_code == 0, result.output
        (directory,) = Path("runs").iterdir()
        assert directory.name.endswith("-points")

    def test_the_manifest_has_digests_of_what_was_loaded(self, run_cli: RunCli) -> None:
        train(run_cli, "--model", "net.py")

        recorded = read_json("there/manifest.json")["dataset"]["sha256"]
        labels = (torch.arange(60) % 3)[:40]
        content = b"torch.int64 (40,) " + labels.numpy().tobytes()
        assert list(recorded) == ["train.images", "train.labels", "test.images", "test.labels"]
        assert recorded["train.labels"] == hashlib.sha256(content).hexdigest()

    def test_two_files_of_one_content_are_two_files(self) -> None:
        source = (
            "from pathlib import Path\nimport torch\n"
            "def load():\n"
            "    value = float(Path(__file__).with_name('value').read_text())\n"
            "    return {'train': (torch.full((4, 2), value), torch.arange(4) % 2)}\n"
        )
        digests = []
        for name in ("one", "two"):
            Path(name).mkdir()
            Path(name, "value").write_text("1" if name == "one" else "2")
            Path(name, "near.py").write_text(source)
            config = make_config(
                dataset=f"{name}/near.py:load", model="others.py:make", out=Path(name, "run")
            )
            run = Run(config)
            run.train()
            digests.append(run.data_sha256["train.images"])

        assert digests[0] != digests[1]

    def test_what_is_drawn_at_random_does_not_depend_on_the_model(self) -> None:
        Path("noise.py").write_text(
            "import torch\n"
            "from ignite_threenet import DataSource\n"
            "class Noise(DataSource):\n"
            "    input_shape, classes = (5,), 2\n"
            "    def load(self):\n"
            "        pair = torch.rand(6, 5), torch.arange(6) % 2\n"
            "        return {'train': pair, 'test': pair}\n"
        )
        digests = []
        for index, model in enumerate(("others.py:make", "net.py:Net")):
            config = make_config(dataset="noise.py", model=model, out=Path(f"run-{index}"))
            run = Run(config)
            run.train()
            digests.append(run.data_sha256["train.images"])

        assert digests[0] == digests[1]


class TestFolderOfImages:
    def test_is_trained_on_from_end_to_end(self, run_cli: RunCli, images: Path) -> None:
        summary = train(
            *(run_cli, "--dataset", f"./{images}", "--epochs", "12"),
            *("--model", "net.py", "--model.dropout", "0"),
            *("--best.split", "train", "--accuracy.every", "1"),
            plugins="accuracy,best,confusion,checkpoint",
        )

        assert summary["dataset"] == "night-and-day"
        assert summary["test"]["accuracy"] == 1.0
        assert summary["detached"] == {}
        assert {"best.pt", "confusion.png", "worst.png"} <= set(summary["files"])
        assert read_json("there/manifest.json")["dataset"]["classes"] == ["day", "night"]

    def test_every_fifth_image_is_held_out_for_the_test(self, images: Path) -> None:
        run = Run(make_config(dataset=str(images), model="net.py"))
        run.train()

        assert [len(labels) for _, labels in run.loaders["train"]] == [16]
        assert [len(labels) for _, labels in run.loaders["test"]] == [4]

    def test_the_share_for_the_test_can_be_chosen(self, run_cli: RunCli, images: Path) -> None:
        words = ("--dataset", str(images), "--model", "net.py", "--dataset.test-share", "0")

        assert train(run_cli, *words)["test"] is None

    def test_folders_of_the_splits_are_taken_as_they_are(self, images: Path) -> None:
        Path("sorted").mkdir()
        images.rename("sorted/train")
        for split, count in (("valid", 2), ("test", 3)):
            for name in ("day", "night"):
                Path("sorted", split, name).mkdir(parents=True)
                for index in range(count):
                    source = Path("sorted", "train", name, f"{index}.png")
                    Path("sorted", split, name, f"{index}.png").write_bytes(source.read_bytes())
        run = Run(make_config(dataset="sorted", model="net.py"))
        run.train()

        sizes = {
            split: sum(len(labels) for _, labels in loader) for split, loader in run.loaders.items()
        }
        assert sizes == {"train": 20, "valid": 4, "test": 6}

    @pytest.mark.parametrize(
        ("words", "shape"),
        [
            ((), [1, 4, 6]),
            (("--dataset.size", "3"), [1, 3, 3]),
            (("--dataset.colors", "rgb"), [3, 4, 6]),
        ],
    )
    def test_the_model_is_made_for_the_images(
        self, run_cli: RunCli, images: Path, words: Sequence[str], shape: Sequence[int]
    ) -> None:
        given = ("--dataset", str(images), "--model", "net.py", *words)
        train(run_cli, *given, plugins="checkpoint")

        first = last_checkpoint("there")["model"]["layers.1.weight"]
        assert first.shape == (4, torch.Size(shape).numel())

    def test_threenet_takes_it_too(self, run_cli: RunCli, images: Path) -> None:
        assert train(run_cli, "--dataset", str(images))["status"] == "completed"

    @pytest.mark.usefixtures("small_digits")
    def test_a_name_that_is_installed_goes_before_a_folder(
        self, run_cli: RunCli, images: Path
    ) -> None:
        images.rename("digits")

        assert plan(run_cli, "--dataset", "digits")["parts"]["dataset"]["origin"] != ""
        assert plan(run_cli, "--dataset", "./digits")["parts"]["dataset"]["origin"] == ""

    @pytest.mark.parametrize("name", ["custom", "my images"])
    def test_whatever_its_name_a_run_on_it_can_go_on(
        self, run_cli: RunCli, images: Path, name: str
    ) -> None:
        images.rename(name)
        train(run_cli, "--dataset", f"./{name}", "--model", "net.py", plugins="checkpoint")

        result = run_cli("run", "--resume", "there", "--epochs", "3")

        assert result.exit_code == 0, result.output

    def test_images_of_two_sizes_are_refused(self, run_cli: RunCli, images: Path) -> None:
        odd = Path(images, "night", "odd.png")
        Image.new("L", (5, 5)).save(odd)

        assert refusal(run_cli("run", "--dataset", str(images)), 1) == (
            f"{odd}: is 5x5, and the first image 6x4; choose a size for all by --dataset.size"
        )


class TestScripts:
    def test_a_class_is_made_for_the_data(self) -> None:
        class Wide(nn.Module):
            def __init__(self, input_shape: tuple[int, ...], classes: int) -> None:
                super().__init__()
                self.layer = nn.Linear(input_shape[0], classes)

            def forward(self, inputs: Tensor) -> Tensor:
                outputs: Tensor = self.layer(inputs)
                return outputs

        run = Run(make_config(), model=Wide)
        run.train()

        assert run.model.get_parameter("layer.weight").shape == (3, 5)
        assert read_json("there/manifest.json")["model"] == "Wide"

    def test_a_function_is_called_with_what_it_takes(self) -> None:
        run = Run(
            make_config(epochs=20), model=lambda classes: nn.Sequential(nn.Linear(5, classes))
        )

        assert run.train()["test"]["accuracy"] == 1.0

    def test_an_instance_is_trained_itself(self) -> None:
        model = nn.Linear(5, 3)

        run = Run(make_config(epochs=20), model=model)

        assert run.model is model
        assert run.train()["test"]["accuracy"] == 1.0

    def test_options_go_to_the_configured_components(self) -> None:
        run = Run(
            make_config(model="net.py", dataset="points.py"),
            model_options={"width": 9},
            dataset_options={"count": 12},
        )
        run.train()

        options = {
            kind: part["options"]
            for kind, part in read_json("there/manifest.json")["parts"].items()
        }
        assert options["model"]["width"] == {"value": 9, "source": "script"}
        assert options["dataset"]["count"] == {"value": 12, "source": "script"}
        assert run.options["model.width"] == 9

    def test_a_model_of_ones_own_takes_no_options(self) -> None:
        with pytest.raises(ConfigError, match=r"^model_options: the model is your own$"):
            Run(make_config(), model=nn.Linear(5, 3), model_options={"width": 9})

    def test_an_unknown_option_is_refused(self) -> None:
        with pytest.raises(UnknownNameError) as caught:
            Run(make_config(model="net.py"), model_options={"widht": 9})

        assert caught.value.nearest == "width"

    def test_what_is_wrong_with_a_model_is_said_of_it(self) -> None:
        with pytest.raises(ComponentError) as caught:
            Run(make_config(model="net.py:NET"))

        assert (caught.value.kind, caught.value.name) == ("model", "net")
        assert caught.value.origin == ORIGINS["net.py"]


class TestLoss:
    def test_logits_and_log_probabilities_train_alike(self) -> None:
        def make(input_shape: tuple[int, ...], classes: int) -> nn.Sequential:
            return nn.Sequential(nn.Linear(input_shape[0], classes))

        def make_with_softmax(input_shape: tuple[int, ...], classes: int) -> nn.Module:
            return make(input_shape, classes).append(nn.LogSoftmax(dim=1))

        losses = [
            Run(make_config(out=Path(f"run-{index}")), model=each).train()["test"]["loss"]
            for index, each in enumerate((make, make_with_softmax))
        ]

        assert losses[0] == pytest.approx(losses[1], rel=1e-5)

    def test_threenet_keeps_its_own(self) -> None:
        assert isinstance(Run(make_config()).loss_fn, nn.NLLLoss)

    def test_a_kind_of_threenet_may_end_in_logits(self) -> None:
        class Logits(ThreeNet):
            def forward(self, inputs: Tensor) -> Tensor:
                *hidden, last = self.layers
                for layer in hidden:
                    inputs = layer(inputs).relu()
                outputs: Tensor = last(inputs)
                return outputs

        loss_fn = Run(make_config(), model=Logits).loss_fn

        logits, labels = torch.tensor([[5.0, 1.0, 0.0]]), torch.tensor([0])
        expected = nn.functional.cross_entropy(logits, labels)
        assert loss_fn(logits, labels).item() == pytest.approx(expected.item())


class TestSeed:
    @pytest.mark.parametrize("model", ["net.py:Net", "others.py:make_lazy", "threenet"])
    def test_the_same_seed_gives_the_same_weights(self, model: str) -> None:
        runs = [Run(make_config(model=model, out=Path(f"run-{index}"))) for index in range(2)]
        for run in runs:
            run.train()

        assert_same_weights(runs[0].model.state_dict(), runs[1].model.state_dict())

    def test_another_seed_gives_other_weights(self) -> None:
        one, other = (Run(make_config(model="net.py", seed=seed)).model for seed in (0, 1))

        assert not torch.equal(*(each.state_dict()["layers.1.weight"] for each in (one, other)))

    def test_what_a_dataset_draws_at_random_is_the_seeds(self) -> None:
        Path("noise.py").write_text(
            "import torch\n"
            "def load():\n"
            "    return {'train': (torch.rand(6, 5), torch.arange(6) % 2)}\n"
        )
        digests = []
        for seed in (0, 0, 1):
            config = make_config(dataset="noise.py:load", seed=seed, out=Path("run"), force=True)
            run = Run(config, model=lambda: nn.Linear(5, 2))
            run.train()
            digests.append(run.data_sha256["train.images"])

        assert digests[0] == digests[1] != digests[2]

    @pytest.mark.usefixtures("small_digits")
    def test_threenet_begins_with_the_weights_that_it_always_had(self) -> None:
        torch.manual_seed(7)
        expected = ThreeNet().state_dict()

        assert_same_weights(Run(make_config(dataset="digits", seed=7)).model.state_dict(), expected)

    @pytest.mark.usefixtures("small_digits")
    def test_threenet_of_a_script_begins_as_the_one_chosen_by_name(self) -> None:
        by_name = Run(make_config(dataset="digits"))
        by_class = Run(make_config(dataset="digits"), model=ThreeNet)

        assert_same_weights(by_name.model.state_dict(), by_class.model.state_dict())

    def test_trying_a_network_out_changes_nothing(self) -> None:
        def make(input_shape: tuple[int, ...], classes: int) -> nn.Module:
            return nn.Sequential(nn.BatchNorm1d(5), nn.Linear(input_shape[0], classes))

        run = Run(make_config(), model=make)

        buffers = dict(run.model.named_buffers())
        assert buffers["0.num_batches_tracked"].item() == 0
        assert torch.equal(buffers["0.running_mean"], torch.zeros(5))
        assert all(module.training for module in run.model.modules())


COMPONENTS = ("--model", "net.py:Net", "--model.dropout", "0.5", "--dataset", "points.py:Points")


class TestResume:
    @pytest.fixture
    def begun(self, run_cli: RunCli) -> Path:
        """Train two epochs, with relative files."""
        train(run_cli, *COMPONENTS, "--dataset.count", "40", plugins="checkpoint")
        return Path("there").absolute()

    def test_ends_as_a_run_that_was_never_stopped(
        self, run_cli: RunCli, begun: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        train(
            *(run_cli, *COMPONENTS, "--dataset.count", "40", "--epochs", "4", "--out", "whole"),
            plugins="checkpoint",
        )
        whole = last_checkpoint("whole")
        Path("elsewhere").mkdir()
        monkeypatch.chdir("elsewhere")

        result = run_cli("run", "--resume", str(begun), "--epochs", "4")

        assert result.exit_code == 0, result.output
        resumed = last_checkpoint(begun)
        assert resumed["epoch"] == 4
        assert_same_weights(resumed["model"], whole["model"])

    def test_the_checkpoint_has_the_components(self, begun: Path) -> None:
        assert last_checkpoint(begun)["components"] == {
            "dataset": {
                "name": "points",
                "source": {
                    **{"kind": "Points", "distribution": ""},
                    **dict.fromkeys(("sha256", "file"), DIGESTS["points.py"]),
                },
                "options": {"count": 40},
            },
            "model": {
                "name": "net",
                "source": {
                    **{"kind": "Net", "distribution": ""},
                    **dict.fromkeys(("sha256", "file"), DIGESTS["net.py"]),
                },
                "options": {"width": 4, "dropout": 0.5},
            },
        }

    def test_a_script_takes_the_components_back(self, begun: Path) -> None:
        run = Run.resume(begun, epochs=3)
        run.train()

        assert run.options["model.dropout"] == 0.5
        assert run.options["dataset.count"] == 40
        assert len(run.history.epochs) == 3

    def test_the_manifest_says_that_the_options_come_from_the_checkpoint(
        self, run_cli: RunCli, begun: Path
    ) -> None:
        run_cli("run", "--resume", "there", "--epochs", "3")

        part = read_json("there/manifest.json")["parts"]["model"]
        assert part["options"]["dropout"] == {"value": 0.5, "source": "checkpoint"}

    @pytest.mark.parametrize("name", ["net.py", "points.py"])
    def test_a_file_that_has_changed_is_refused(
        self, run_cli: RunCli, begun: Path, name: str
    ) -> None:
        path, kind = Path(name), {"net.py": "model", "points.py": "dataset"}[name]
        content = path.read_text() + "# changed\n"
        path.write_text(content)

        message = refusal(run_cli("run", "--resume", "there", "--epochs", "3"), 1)

        now = hashlib.sha256(content.encode()).hexdigest()
        (saved,) = Path("there").glob("checkpoint-*.safetensors")
        assert message == (
            f"{saved}: {kind} {path.stem!r}: the SHA-256 digest of its source was "
            f"{DIGESTS[name][:12]}, and is {now[:12]}; go on with it by --allow-changes"
        )

    @pytest.mark.parametrize("name", ["net.py", "points.py"])
    def test_a_file_that_is_gone_is_refused(self, run_cli: RunCli, begun: Path, name: str) -> None:
        Path(name).unlink()

        message = refusal(run_cli("run", "--resume", "there", "--epochs", "3"), 1)

        kind = {"net.py": "model", "points.py": "dataset"}[name]
        chosen = {"net.py": "net.py:Net", "points.py": "points.py:Points"}[name]
        (saved,) = Path("there").glob("checkpoint-*.safetensors")
        assert message == (
            f"{saved}: the {kind} {Path(chosen).absolute()} is no longer there; "
            f"where it has moved to, --{kind} says"
        )

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--model.dropout", "0.3"), "--model.dropout: 0.3 differs from 0.5"),
            (("--dataset.count", "50"), "--dataset.count: 50 differs from 40"),
        ],
    )
    def test_another_option_is_refused(
        self, run_cli: RunCli, begun: Path, words: Sequence[str], message: str
    ) -> None:
        result = run_cli("run", "--resume", "there", "--epochs", "3", *words)

        assert refusal(result) == (
            f"{message}, with which the run in there began; "
            "only --epochs may change, and where things are"
        )

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--model", "threenet"), "model 'threenet': dropout was 0.5, and is None"),
            (("--dataset", "digits"), "dataset 'digits': count was 40, and is None"),
            (("--dataset", "points.py:load"), "dataset 'points': count was 40, and is None"),
        ],
    )
    @pytest.mark.usefixtures("small_digits")
    def test_another_component_is_refused(
        self, run_cli: RunCli, begun: Path, words: Sequence[str], message: str
    ) -> None:
        result = run_cli("run", "--resume", "there", "--epochs", "3", *words)

        (saved,) = Path("there").glob("checkpoint-*.safetensors")
        assert refusal(result, 1) == f"{saved}: {message}"

    @pytest.mark.parametrize(
        ("directory", "words"),
        [
            (".", COMPONENTS),
            (".", ("--model", "./net.py:Net")),
            ("elsewhere", ("--model", "../net.py:Net")),
            ("elsewhere", ("--dataset", "../points.py:Points")),
        ],
    )
    def test_the_same_components_given_again_are_accepted(
        self,
        run_cli: RunCli,
        begun: Path,
        monkeypatch: pytest.MonkeyPatch,
        directory: str,
        words: Sequence[str],
    ) -> None:
        Path("elsewhere").mkdir()
        monkeypatch.chdir(directory)

        result = run_cli("run", "--resume", str(begun), "--epochs", "3", *words)

        assert result.exit_code == 0, result.output

    def test_a_configuration_file_that_says_the_same_is_accepted(
        self, run_cli: RunCli, begun: Path
    ) -> None:
        Path("run.toml").write_text('[model]\nuse = "net.py:Net"\ndropout = 0.5')

        result = run_cli("run", "--resume", "there", "--epochs", "3", "--config", "run.toml")

        assert result.exit_code == 0, result.output

    @pytest.mark.parametrize(
        ("content", "code", "message"),
        [
            (
                'model = "threenet"',
                1,
                "{saved}: model 'threenet': dropout was 0.5, and is None",
            ),
            (
                '[dataset]\nuse = "points.py:load"',
                1,
                "{saved}: dataset 'points': count was 40, and is None",
            ),
        ],
    )
    def test_a_configuration_file_that_says_otherwise_is_refused(
        self, run_cli: RunCli, begun: Path, content: str, code: int, message: str
    ) -> None:
        Path("run.toml").write_text(content)

        result = run_cli("run", "--resume", "there", "--epochs", "3", "--config", "run.toml")

        (saved,) = begun.glob("checkpoint-*.safetensors")
        expected = message.format(saved=Path("there", saved.name))
        assert refusal(result, code) == expected

    def test_another_option_in_a_configuration_file_is_refused(
        self, run_cli: RunCli, begun: Path
    ) -> None:
        Path("run.toml").write_text('[model]\nuse = "net.py:Net"\ndropout = 0.3')

        result = run_cli("run", "--resume", "there", "--epochs", "3", "--config", "run.toml")

        message = refusal(result)
        assert message.startswith("run.toml: ")
        assert ": 0.3 differs from 0.5, with which the run in there began" in message

    def test_other_data_from_the_same_file_is_refused(self, run_cli: RunCli) -> None:
        Path("data").mkdir()
        Path("data/spread").write_text("0.3")
        Path("read.py").write_text(
            f"{POINTS}\n"
            "def load_spread(data_dir):\n"
            "    return {'train': make(30, float((data_dir / 'spread').read_text()))}\n"
        )
        train(
            run_cli, "--dataset", "read.py:load_spread", "--model", "net.py", plugins="checkpoint"
        )
        Path("data/spread").write_text("0.4")

        message = refusal(run_cli("run", "--resume", "there", "--epochs", "3"), 1)

        assert message.endswith(
            ".safetensors: the data is not the same as that of read, by its SHA-256 digests: "
            "train.images"
        )

    def test_a_folder_whose_images_have_changed_is_refused(
        self, run_cli: RunCli, images: Path
    ) -> None:
        words = ("--dataset", str(images), "--model", "net.py", "--dataset.test-share", "0")
        train(run_cli, *words, plugins="checkpoint")
        Image.new("L", (6, 4), 90).save(Path(images, "day", "0.png"))

        result = run_cli("run", "--resume", "there", "--epochs", "3")

        # Before it stands what was read of the folder.
        message = result.stderr.splitlines()[-1]
        assert result.exit_code == 1
        assert message.endswith(
            ".safetensors: the data is not the same as that of night-and-day, "
            "by its SHA-256 digests: "
            "train.images"
        )

    def test_a_refused_run_is_as_it_was(self, run_cli: RunCli, begun: Path) -> None:
        before = {path.name: path.read_bytes() for path in begun.iterdir()}
        Path("net.py").write_text(f"{NET}# changed\n")
        run_cli("run", "--resume", "there", "--epochs", "3")
        after = {path.name: path.read_bytes() for path in begun.iterdir()}
        Path("net.py").write_text(NET)

        assert before == after
        assert run_cli("run", "--resume", "there", "--epochs", "3").exit_code == 0

    def test_data_drawn_at_random_is_drawn_again(self, run_cli: RunCli) -> None:
        Path("noise.py").write_text(
            "import torch\n"
            "def load():\n"
            "    return {'train': (torch.rand(6, 5), torch.arange(6) % 2)}\n"
        )
        train(run_cli, "--dataset", "noise.py:load", "--model", "net.py", plugins="checkpoint")

        result = run_cli("run", "--resume", "there", "--epochs", "3")

        assert result.exit_code == 0, result.output

    def test_a_model_of_ones_own_goes_on_with_one(self) -> None:
        Run(make_config(), [Checkpoint()], model=nn.Linear(5, 3)).train()

        run = Run.resume("there", epochs=3, model=nn.Linear(5, 3))
        run.train()

        assert len(run.history.epochs) == 3

    def test_a_model_of_ones_own_is_not_one_chosen_by_name(self) -> None:
        Run(make_config(), [Checkpoint()], model=nn.Linear(5, 3)).train()

        with pytest.raises(
            CheckpointError, match=r": the model was your own, and is chosen by name$"
        ):
            Run.resume("there", epochs=3)

    def test_a_model_of_ones_own_is_refused_on_the_command_line(self, run_cli: RunCli) -> None:
        Run(make_config(), [Checkpoint()], model=nn.Linear(5, 3)).train()

        message = refusal(run_cli("run", "--resume", "there", "--epochs", "3"), 1)

        assert message.endswith(".safetensors: the model was your own, and is chosen by name")

    def test_a_model_chosen_by_name_is_not_one_of_ones_own(self) -> None:
        Run(make_config(model="net.py"), [Checkpoint()]).train()

        with pytest.raises(
            CheckpointError, match=r": the model was chosen by name, and is your own$"
        ):
            Run.resume("there", epochs=3, model=nn.Linear(5, 3))


COMPARED = ("model", "optimizer", "history", "random", "summary", "files")


class TestVerifyResume:
    def test_nothing_differs_with_components_of_your_own(self, run_cli: RunCli) -> None:
        result = run_cli("verify-resume", *COMPONENTS, "--batch-size", "8", "--plugins", "none")

        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines() == [
            f"{part}: the same to the last bit" for part in COMPARED
        ]

    def test_a_network_that_remembers_more_than_it_saves_is_found(self, run_cli: RunCli) -> None:
        Path("forgetful.py").write_text(
            "from torch import nn\n"
            "class Forgetful(nn.Module):\n"
            "    def __init__(self, input_shape, classes):\n"
            "        super().__init__()\n"
            "        self.layer = nn.Linear(*input_shape, classes)\n"
            "        self.calls = 0\n"
            "    def forward(self, inputs):\n"
            "        self.calls += self.training\n"
            "        return self.layer(inputs) * (1 + self.calls)\n"
        )

        result = run_cli(
            *("verify-resume", "--model", "forgetful.py", "--dataset", "points.py"),
            *("--batch-size", "8", "--plugins", "none"),
        )

        assert result.exit_code == 1
        assert "model: layer.bias: tensors (3,) that differ by up to" in result.stdout

    def test_nothing_differs_in_a_script(self) -> None:
        comparison = verify_resume(
            make_config(model="net.py", dataset="points.py", batch_size=8),
            list,
            model_options={"dropout": 0.5},
            dataset_options={"count": 24},
        )

        assert comparison.is_same
        assert comparison.differences == {part: [] for part in COMPARED}
        assert comparison.unchecked == {}

    def test_it_trains_with_the_options(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[dict[str, Any]] = []
        train_run = Run.train
        monkeypatch.setattr(Run, "train", lambda run: made.append(run.options) or train_run(run))  # type: ignore[func-returns-value]

        verify_resume(make_config(model="net.py"), list, model_options={"width": 5})

        assert len(made) > 2
        assert {options["model.width"] for options in made} == {5}


class TestRefusals:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (
                ("--model", "treenet"),
                "unknown model 'treenet'; did you mean 'threenet'? Installed: threenet",
            ),
            (("--dataset", "nowhere.py:load"), "unknown dataset file 'nowhere.py'."),
            (
                ("--model", "net.py:Net", "--model.width", "0"),
                "--model.width: '0' is out of range; expected an integer at least 1",
            ),
        ],
    )
    def test_what_is_typed_wrongly_is_refused(
        self, run_cli: RunCli, words: Sequence[str], message: str
    ) -> None:
        assert refusal(run_cli("run", *words)) == message

    def test_a_model_that_does_not_fit_the_data_is_blamed(self, run_cli: RunCli) -> None:
        entry = write_module("from torch import nn\ndef make(): return nn.Linear(5, 4)\n")

        message = refusal(run_cli("run", "--dataset", "points.py:load", "--model", "own.py:make"))

        assert message == (
            f"model 'own' ({entry.origin}) gives (2, 4) for a batch of shape (2, 5); "
            "expected (2, 3), a number for each class"
        )

    def test_data_that_cannot_be_used_is_blamed(self, run_cli: RunCli) -> None:
        entry = write_module("def load(): return {'test': ([[1.0], [2.0]], [0, 1])}\n")

        message = refusal(run_cli("run", "--dataset", "own.py:load"), 1)

        assert message == f"dataset 'own' ({entry.origin}) has no split 'train', only test"

    def test_an_option_of_another_model_is_unknown(self, run_cli: RunCli) -> None:
        result = run_cli("run", "--model", "net.py", "--model.hidden", "5")

        assert refusal(result).startswith("No such option '--model.hidden'.")

    def test_an_error_of_a_dataset_is_an_error_in_a_script_too(self) -> None:
        Path("bad.py").write_text("def load():\n    return 3\n")

        with pytest.raises(DataError, match="gives int"):
            Run(make_config(dataset="bad.py:load"))

        assert not Path("there").exists()
