import json
import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest
import torch
from conftest import InstallDistribution, MakeBatches, MakeConfig
from ignite.engine import Engine, Events
from ignite.handlers import DiskSaver, HandlersTimeProfiler
from torch import Tensor, nn

from ignite_threenet import (
    BatchLoader,
    ConfigError,
    DirectoryError,
    DivergedError,
    Plugin,
    PluginFailedError,
    Run,
    RunConfig,
    RunInterruptedError,
    Split,
    ThreeNet,
    UnknownNameError,
    option,
)
from ignite_threenet.extensions.plugin import ENTRY_POINT_GROUP

OBSERVERS = ["progress", "accuracy", "timing", "plot"]


@pytest.fixture
def make_run(make_config: MakeConfig, make_batches: MakeBatches) -> Callable[..., Run]:
    def make(*plugins: str | Plugin, **options: object) -> Run:
        loaders = {"train": make_batches(), "test": make_batches(seed=1)}
        return Run(make_config(**options), plugins, loaders=loaders)

    return make


class Recorder(Plugin):
    """Write down what happens, and where."""

    def attach(self, run: Run) -> None:
        self.events: list[str] = []
        self.error: BaseException | None = None
        for event in (Events.STARTED, Events.EPOCH_COMPLETED, Events.COMPLETED):
            run.trainer.add_event_handler(event, self.note, event.name)
        run.evaluators["test"].add_event_handler(Events.COMPLETED, self.note, "tested")

    def note(self, engine: Engine, text: str) -> None:
        self.events.append(text)

    def close(self, error: BaseException | None) -> None:
        self.events.append("close")
        self.error = error


class Failing(Plugin):
    """Raise at an event."""

    event: str = option("EPOCH_COMPLETED", help="event at which it raises")

    def attach(self, run: Run) -> None:
        run.trainer.add_event_handler(Events[self.event], self.fail)

    def fail(self) -> None:
        raise ValueError("no good")


class FailingShow(Failing):
    """Raise at an event, where the run can go on without it."""

    on_error = "detach"


def final_weights(run: Run) -> list[Tensor]:
    run.train()
    return [tensor.clone() for tensor in run.model.state_dict().values()]


def assert_same(first: list[Tensor], second: list[Tensor]) -> None:
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


class TestTraining:
    def test_learns_an_easy_task(self, make_run: Callable[..., Run]) -> None:
        summary = make_run("accuracy", epochs=30).train()

        assert summary["best_accuracy"]["train"]["accuracy"] > 0.9
        assert summary["test"]["accuracy"] > 0.9

    def test_one_seed_gives_the_same_weights_bit_for_bit(
        self, small_digits: None, tmp_path: Path
    ) -> None:
        runs = [
            Run(RunConfig(dataset="digits", epochs=2, seed=3, out=tmp_path / name))
            for name in ("one", "two")
        ]

        assert_same(final_weights(runs[0]), final_weights(runs[1]))

    def test_another_seed_gives_other_weights(self, make_run: Callable[..., Run]) -> None:
        one = final_weights(make_run(seed=1))
        two = final_weights(make_run(seed=2, out=None))

        assert not torch.equal(one[0], two[0])

    @pytest.mark.parametrize("plugins", [[name] for name in OBSERVERS] + [OBSERVERS])
    def test_observing_plugins_change_no_weight(
        self, small_digits: None, tmp_path: Path, plugins: list[str]
    ) -> None:
        def config(name: str) -> RunConfig:
            return RunConfig(dataset="digits", epochs=3, lr=0.05, out=tmp_path / name)

        with_plugins = final_weights(Run(config("with"), plugins))

        assert_same(with_plugins, final_weights(Run(config("without"))))

    def test_measuring_with_a_shuffling_loader_changes_no_weight(
        self, make_config: MakeConfig, tmp_path: Path
    ) -> None:
        images, labels = torch.rand(32, 784), torch.arange(32) % 10
        dataset = torch.utils.data.TensorDataset(images, labels)

        def weights(name: str, plugins: list[str]) -> list[Tensor]:
            loader = torch.utils.data.DataLoader(dataset, batch_size=8, shuffle=True)
            model = nn.Sequential(ThreeNet(), nn.Dropout(0.1), nn.LogSoftmax(dim=1))
            model.load_state_dict(torch.load(tmp_path / "start.pt", weights_only=True))
            config = make_config(out=tmp_path / name)
            return final_weights(Run(config, plugins, model=model, loaders={"train": loader}))

        start = nn.Sequential(ThreeNet(), nn.Dropout(0.1), nn.LogSoftmax(dim=1))
        torch.save(start.state_dict(), tmp_path / "start.pt")

        assert_same(weights("without", []), weights("with", ["accuracy"]))

    def test_options_of_the_optimizer_reach_it(self, make_run: Callable[..., Run]) -> None:
        options = {"lr": 0.2, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}

        group = make_run(**options).optimizer.param_groups[0]

        assert {name: group[name] for name in options} == options

    def test_a_model_of_ones_own_is_trained(
        self, make_config: MakeConfig, make_batches: MakeBatches
    ) -> None:
        layer = nn.Linear(784, 10)
        model = nn.Sequential(layer, nn.LogSoftmax(dim=1))
        before = layer.weight.clone()

        run = Run(make_config(), model=model, loaders={"train": make_batches()})
        run.train()

        assert run.model is model
        assert not torch.equal(layer.weight, before)

    def test_a_loss_of_ones_own_is_used(
        self, make_config: MakeConfig, make_batches: MakeBatches
    ) -> None:
        config, loss_fn = make_config(), nn.CrossEntropyLoss(label_smoothing=0.5)

        run = Run(config, loaders={"train": make_batches()}, loss_fn=loss_fn)
        run.train()

        assert run.loss_fn is loss_fn
        assert run.history.epochs[-1].loss > 1  # the least that so much smoothing leaves

    def test_each_epoch_has_an_order_of_its_own(
        self, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        split = Split(torch.zeros(8, 1, 28, 28, dtype=torch.uint8), torch.arange(8))
        loader = BatchLoader(split, batch_size=8, seed=0)
        seen: list[list[int]] = []
        run = Run(make_config(), loaders={"train": loader})
        run.trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.batch[1].tolist())
        )

        run.train()

        loader.set_epoch(1)
        assert seen == [next(iter(loader))[1].tolist() for _ in range(3)]
        assert len({tuple(order) for order in seen}) == 3

    def test_a_sampler_that_wants_the_epoch_is_told(
        self, make_config: MakeConfig, make_batches: MakeBatches
    ) -> None:
        class Sampler:
            epochs: list[int] = []  # noqa: RUF012

            def set_epoch(self, epoch: int) -> None:
                self.epochs.append(epoch)

        class Loader(list[tuple[Tensor, Tensor]]):
            sampler = Sampler()

        Run(make_config(), loaders={"train": Loader(make_batches())}).train()

        assert Sampler.epochs == [1, 2, 3]

    def test_trains_once(self, make_run: Callable[..., Run]) -> None:
        run = make_run()
        run.train()

        with pytest.raises(ConfigError, match="trains once"):
            run.train()


class TestDivergence:
    def test_stops_and_names_epoch_and_iteration(
        self, make_config: MakeConfig, make_batches: MakeBatches
    ) -> None:
        batches = make_batches(count=4)
        batches[2] = (torch.full_like(batches[2][0], float("nan")), batches[2][1])
        recorder = Recorder()
        run = Run(make_config(), [recorder], loaders={"train": batches, "test": batches})

        with pytest.raises(DivergedError) as caught:
            run.train()

        assert (caught.value.epoch, caught.value.iteration) == (1, 3)
        assert recorder.events == ["STARTED", "close"]
        assert recorder.error is caught.value
        summary = json.loads((run.directory.path / "summary.json").read_text())
        assert (summary["status"], summary["error"]) == ("diverged", str(caught.value))

    def test_is_not_swallowed_by_a_stock_profiler(
        self, make_config: MakeConfig, make_batches: MakeBatches
    ) -> None:
        class Profile(Plugin):
            def attach(self, run: Run) -> None:
                HandlersTimeProfiler().attach(run.trainer)

        batches = make_batches()
        batches[0] = (torch.full_like(batches[0][0], float("inf")), batches[0][1])

        with pytest.raises(DivergedError):
            Run(make_config(), [Profile()], loaders={"train": batches}).train()


class TestPlugins:
    def test_are_attached_in_order_and_closed_in_reverse(
        self, make_run: Callable[..., Run]
    ) -> None:
        order: list[str] = []

        class First(Plugin):
            def attach(self, run: Run) -> None:
                run.trainer.add_event_handler(Events.COMPLETED, order.append, "first")

            def close(self, error: BaseException | None) -> None:
                order.append("close first")

        class Second(First):
            requires = ("first",)

            def attach(self, run: Run) -> None:
                run.trainer.add_event_handler(Events.COMPLETED, order.append, "second")

            def close(self, error: BaseException | None) -> None:
                order.append("close second")

        make_run(Second(), First()).train()

        assert order == ["first", "second", "close second", "close first"]

    def test_what_one_requires_is_added_and_announced(
        self, make_run: Callable[..., Run], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger="ignite_threenet")

        run = make_run("best")

        assert list(run.plugins) == ["accuracy", "best"]
        assert "accuracy: required by best" in caplog.messages

    def test_one_that_fails_stops_the_run_and_is_blamed(self, make_run: Callable[..., Run]) -> None:
        recorder = Recorder()
        run = make_run(recorder, Failing())

        with pytest.raises(PluginFailedError) as caught:
            run.train()

        assert str(caught.value) == (
            "plugin 'failing' failed at EPOCH_COMPLETED, epoch 1: ValueError: no good"
        )
        assert isinstance(caught.value.__cause__, ValueError)
        assert recorder.error is caught.value
        assert json.loads((run.directory.path / "summary.json").read_text())["status"] == "failed"

    def test_one_that_only_shows_something_is_detached_and_named(
        self, make_run: Callable[..., Run], caplog: pytest.LogCaptureFixture
    ) -> None:
        summary = make_run(FailingShow()).train()

        assert summary["status"] == "completed"
        assert summary["detached"] == {
            "failing-show": "plugin 'failing-show' failed at EPOCH_COMPLETED, epoch 1: "
            "ValueError: no good"
        }
        assert len([each for each in caplog.records if each.levelno == logging.ERROR]) == 1

    def test_strict_stops_for_both_kinds(self, make_run: Callable[..., Run]) -> None:
        with pytest.raises(PluginFailedError):
            make_run(FailingShow(), strict=True).train()

    def test_a_failing_close_is_an_error_and_the_others_are_closed(
        self, make_run: Callable[..., Run]
    ) -> None:
        class FailingClose(Plugin):
            def close(self, error: BaseException | None) -> None:
                raise ValueError("cannot close")

        recorder = Recorder()
        run = make_run(recorder, FailingClose())

        with pytest.raises(PluginFailedError, match="failed at close, epoch 3: ValueError: cann"):
            run.train()

        assert recorder.events[-1] == "close"

    def test_a_failing_close_does_not_hide_the_first_error(
        self, make_run: Callable[..., Run], caplog: pytest.LogCaptureFixture
    ) -> None:
        class FailingTwice(Failing):
            def close(self, error: BaseException | None) -> None:
                raise ValueError("cannot close")

        with pytest.raises(PluginFailedError, match="EPOCH_COMPLETED, epoch 1: ValueError: no go"):
            make_run(FailingTwice()).train()

        assert "failed at close" in caplog.text

    def test_a_failure_of_an_evaluator_does_not_leave_stale_metrics(
        self, make_run: Callable[..., Run]
    ) -> None:
        run = make_run()
        evaluator = run.evaluators["test"]

        def fail_once(engine: Engine) -> None:
            evaluator.remove_event_handler(fail_once, Events.ITERATION_COMPLETED)
            raise ValueError("once")

        evaluator.add_event_handler(Events.ITERATION_COMPLETED, fail_once)
        with pytest.raises(ValueError, match="once"):
            run.evaluate("test")

        assert set(run.evaluate("test")) == {"accuracy", "loss"}

    def test_the_core_works_with_the_built_in_plugins_hidden(
        self, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def find_others(group: str) -> Iterable[EntryPoint]:
            return [] if group == ENTRY_POINT_GROUP else entry_points(group=group)

        monkeypatch.setattr("importlib.metadata.entry_points", find_others)

        assert make_run().train()["status"] == "completed"
        with pytest.raises(UnknownNameError, match="unknown plugin 'best'"):
            make_run("best", out=None)

    def test_the_directory_is_a_path_in_attach(self, make_run: Callable[..., Run]) -> None:
        class Notes(Plugin):
            def attach(self, run: Run) -> None:
                (run.directory / "acme.txt").write_text("noted")
                saver = DiskSaver(os.fspath(run.directory / "saved"))
                assert run.loaders["train"] is not None
                saver({"epoch": 1}, "state.pt")

        run = make_run(Notes())
        summary = run.train()

        assert summary["status"] == "completed"
        assert (run.directory.path / "acme.txt").read_text() == "noted"
        assert (run.directory.path / "saved" / "state.pt").is_file()

    def test_a_directory_that_a_failing_plugin_has_made_is_given_free(
        self, make_config: MakeConfig, make_batches: MakeBatches
    ) -> None:
        class Hasty(Plugin):
            def attach(self, run: Run) -> None:
                run.directory.write("acme.txt", b"noted")
                raise OSError("unplugged")

        loaders = {"train": make_batches()}
        with pytest.raises(PluginFailedError, match="unplugged"):
            Run(make_config(), [Hasty()], loaders=loaders)

        assert Run(make_config(force=True), loaders=loaders).train()["status"] == "completed"

    def test_no_directory_is_made_before_anybody_writes(self, make_run: Callable[..., Run]) -> None:
        run = make_run("best", "checkpoint", "plot")

        assert not run.directory.path.exists()
        run.close()
        assert not run.directory.path.exists()

    def test_a_training_that_ends_without_its_event_is_told(
        self, make_run: Callable[..., Run], caplog: pytest.LogCaptureFixture
    ) -> None:
        run = make_run()
        run.trainer.add_event_handler(
            Events.EPOCH_COMPLETED, lambda engine: engine.terminate(skip_completed=True)
        )

        run.train()

        assert "a handler ended the training without the event COMPLETED" in caplog.messages

    def test_an_interrupt_while_closing_leaves_no_plugin_unclosed(
        self, make_run: Callable[..., Run]
    ) -> None:
        class Slow(Plugin):
            def close(self, error: BaseException | None) -> None:
                raise KeyboardInterrupt

        recorder = Recorder()
        run = make_run(recorder, Slow())

        with pytest.raises(KeyboardInterrupt):
            run.train()

        assert recorder.events[-1] == "close"
        summary = json.loads((run.directory.path / "summary.json").read_text())
        assert summary["status"] == "interrupted"

    def test_those_attached_are_closed_where_another_one_refuses(
        self, make_run: Callable[..., Run]
    ) -> None:
        class Refusing(Plugin):
            def attach(self, run: Run) -> None:
                raise ConfigError("refused")

        recorder = Recorder()

        with pytest.raises(ConfigError, match="refused"):
            make_run(recorder, Refusing())

        assert recorder.events == ["close"]

    def test_a_run_that_will_not_train_can_be_closed(self, make_run: Callable[..., Run]) -> None:
        recorder = Recorder()

        make_run(recorder).close()

        assert (recorder.events, recorder.error) == (["close"], None)


class TestInterrupting:
    @pytest.mark.parametrize("event", [Events.ITERATION_STARTED, Events.ITERATION_COMPLETED])
    def test_ends_training_after_the_iteration_in_hand(
        self, make_run: Callable[..., Run], event: Events
    ) -> None:
        recorder = Recorder()
        run = make_run(recorder)
        run.trainer.add_event_handler(event(once=6), lambda: run.interrupt())

        with pytest.raises(RunInterruptedError) as caught:
            run.train()

        assert str(caught.value) == "interrupted at epoch 2, iteration 6"
        assert (caught.value.epoch, caught.value.iteration) == (2, 6)
        assert recorder.events == ["STARTED", "EPOCH_COMPLETED", "close"]
        assert recorder.error is caught.value
        summary = json.loads((run.directory.path / "summary.json").read_text())
        assert (summary["status"], summary["error"]) == ("interrupted", str(caught.value))

    def test_at_an_epochs_end_waits_for_its_handlers(self, make_run: Callable[..., Run]) -> None:
        run = make_run("checkpoint")
        run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=8), lambda: run.interrupt())

        with pytest.raises(RunInterruptedError) as caught:
            run.train()

        assert [epoch.epoch for epoch in run.history.epochs] == [1, 2]
        assert caught.value.resumable == run.directory.path
        assert run.directory.last_saved_iteration() == 8

    def test_is_only_for_a_run_that_trains(self, make_run: Callable[..., Run]) -> None:
        run = make_run()
        answers: list[bool] = []
        run.evaluators["test"].add_event_handler(
            Events.STARTED, lambda: answers.append(run.interrupt())
        )

        before = run.interrupt()
        summary = run.train()

        assert (before, answers, run.interrupt()) == (False, [False], False)
        assert summary["status"] == "completed"

    def test_a_run_that_ended_lets_others_use_its_directory(
        self, make_run: Callable[..., Run]
    ) -> None:
        run = make_run(Failing())
        with pytest.raises(PluginFailedError):
            run.train()

        assert make_run(force=True).train()["status"] == "completed"


class TestResuming:
    def test_a_longer_run_that_was_killed_is_not_taken_for_the_completed_one(
        self, make_run: Callable[..., Run], tmp_path: Path
    ) -> None:
        run = make_run("checkpoint")
        run.train()
        longer = Run.resume(run.directory.path, epochs=6, loaders=run.loaders)

        def leave_what_a_kill_would_leave() -> None:
            longer.save()
            shutil.copytree(longer.directory.path, tmp_path / "killed")

        longer.trainer.add_event_handler(
            Events.ITERATION_COMPLETED(once=18), leave_what_a_kill_would_leave
        )
        longer.train()

        summary = Run.resume(tmp_path / "killed", loaders=run.loaders).train()

        assert summary["epochs"] == 6


class TestChecks:
    def test_several_processes_are_refused(
        self, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WORLD_SIZE", "2")

        with pytest.raises(ConfigError, match="a run takes one process"):
            make_run()

    @pytest.mark.usefixtures("small_digits")
    def test_a_run_can_measure_before_it_trains(self, make_config: MakeConfig) -> None:
        run = Run(make_config(dataset="digits"))

        assert set(run.evaluate("test")) == {"accuracy", "loss"}
        assert run.loaders["train"] is not None

    def test_a_split_that_is_not_there_is_refused(self, make_run: Callable[..., Run]) -> None:
        with pytest.raises(ConfigError, match="mine: this run has no split 'valid'"):
            make_run().require_split("valid", "mine")

    def test_loaders_need_known_names_and_train(
        self, make_config: MakeConfig, make_batches: MakeBatches
    ) -> None:
        with pytest.raises(UnknownNameError, match="did you mean 'train'"):
            Run(make_config(), loaders={"tran": make_batches()})
        with pytest.raises(ConfigError, match="'train'"):
            Run(make_config(), loaders={"test": make_batches()})

    def test_loaders_and_a_valid_size_contradict(
        self, make_config: MakeConfig, make_batches: MakeBatches
    ) -> None:
        with pytest.raises(ConfigError, match="valid_size"):
            Run(make_config(valid_size=3), loaders={"train": make_batches()})

    def test_a_directory_in_use_is_refused_before_anything_is_built(
        self, make_run: Callable[..., Run]
    ) -> None:
        make_run().train()

        with pytest.raises(DirectoryError, match="holds a run"):
            make_run()


class TestRecords:
    def test_the_manifest_says_what_the_run_was_made_from(
        self, small_digits: None, tmp_path: Path
    ) -> None:
        config = RunConfig(dataset="digits", epochs=1, valid_size=100, out=tmp_path / "run")
        Run(config, ["best"]).train()

        manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())

        assert manifest["versions"]["torch"] == torch.__version__.partition("+")[0]
        assert manifest["seed"] == 0
        assert manifest["device"] == "cpu"
        assert manifest["config"]["epochs"] == {"value": 1, "source": "script"}
        assert manifest["config"]["lr"] == {"value": 1e-3, "source": "default"}
        assert manifest["config"]["valid_size"] == {"value": 100, "source": "script"}
        assert [plugin["name"] for plugin in manifest["plugins"]] == ["accuracy", "best"]
        assert manifest["plugins"][0]["distribution"].startswith("ignite-threenet ")
        assert len(manifest["dataset"]["sha256"]) == 4
        assert manifest["git"] is None

    def test_the_manifest_names_the_commit_and_no_program_of_the_repository_is_run(
        self, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        repository = tmp_path / "theirs"
        repository.mkdir()
        monkeypatch.chdir(repository)

        def git(*words: str) -> str:
            identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
            command = ["git", *identity, *words]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        program = f"touch {tmp_path / 'was-run'}; cat"
        git("init", "-q")
        Path("data.txt").write_text("1")
        Path(".gitattributes").write_text("* filter=theirs")
        git("add", ".")
        git("commit", "-q", "-m", "first")
        for key in ("core.fsmonitor", "filter.theirs.clean", "filter.theirs.smudge", "core.pager"):
            git("config", key, program)
        Path("data.txt").write_text("2")
        commit, index = git("rev-parse", "HEAD").strip(), Path(".git/index").read_bytes()

        run = make_run()
        run.train()

        manifest = json.loads((run.directory.path / "manifest.json").read_text())
        assert manifest["git"] == {"commit": commit}
        assert Path(".git/index").read_bytes() == index
        assert not (tmp_path / "was-run").exists()

    def test_the_summary_is_what_the_file_holds(self, make_run: Callable[..., Run]) -> None:
        run = make_run("best", "timing")

        summary = run.train()

        assert summary == json.loads((run.directory.path / "summary.json").read_text())
        assert summary["status"] == "completed"
        assert summary["epochs"] == 3
        assert summary["iterations"] == 12
        assert summary["best_accuracy"]["train"]["epoch"] == 3
        assert summary["files"] == [
            "manifest.json",
            "metrics.jsonl",
            "best.pt",
            "best.safetensors",
            "model.safetensors",
            "summary.json",
        ]
        assert all((run.directory.path / name).exists() for name in summary["files"])
        assert set(summary["plugins"]) == {"accuracy", "best", "timing"}

    def test_metrics_are_written_as_they_are_made(self, make_run: Callable[..., Run]) -> None:
        run = make_run("accuracy")
        run.train()

        lines = (run.directory.path / "metrics.jsonl").read_text().splitlines()

        assert [(each["record"], each["epoch"]) for each in map(json.loads, lines)] == [
            ("epoch", 1),
            ("epoch", 2),
            ("epoch", 3),
            ("measurement", 3),
            ("measurement", 3),
        ]

    def test_a_summary_that_cannot_be_written_does_not_hide_the_error(
        self, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = make_run(Failing())

        def full(*args: object) -> None:
            raise OSError(28, "No space left on device")

        run.trainer.add_event_handler(
            Events.STARTED, lambda: monkeypatch.setattr(run.directory, "write_summary", full)
        )

        with pytest.raises(PluginFailedError):
            run.train()

    def test_a_strangers_plugin_is_named_with_its_distribution(
        self, make_run: Callable[..., Run], install_distribution: InstallDistribution
    ) -> None:
        install_distribution(
            "acme-run",
            {"acme": "run_acme:Acme"},
            {"run_acme": "from ignite_threenet import Plugin\nclass Acme(Plugin): pass"},
        )
        run = make_run("acme")
        run.train()

        manifest = json.loads((run.directory.path / "manifest.json").read_text())
        assert manifest["plugins"] == [
            {
                "name": "acme",
                "distribution": "acme-run 1.0",
                "required_by": None,
                "options": {},
            }
        ]


class TestNamedDatasets:
    def test_valid_samples_are_held_out_and_measured(
        self, small_digits: None, tmp_path: Path
    ) -> None:
        config = RunConfig(dataset="digits", epochs=1, valid_size=100, out=tmp_path / "run")

        run = Run(config)
        run.train()

        assert run.history.epochs[0].samples == 412
        assert set(run.evaluators) == {"train", "valid", "test"}
        assert 0 <= run.evaluate("valid")["accuracy"] <= 1

    def test_no_directory_is_made_where_there_is_no_data(
        self, no_network: None, tmp_path: Path
    ) -> None:
        with pytest.raises(Exception, match="cannot be reached"):
            Run(RunConfig(dataset="kmnist", out=tmp_path / "run")).train()

        assert not (tmp_path / "run").exists()

    def test_mnist_is_learned(self, mnist_dir: Path, tmp_path: Path) -> None:
        config = RunConfig(data_dir=mnist_dir, epochs=1, lr=0.1, out=tmp_path / "run")

        summary = Run(config).train()

        assert summary["dataset"] == "mnist"
        assert summary["test"]["accuracy"] > 0.85
