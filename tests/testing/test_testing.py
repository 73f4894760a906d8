"""Tests of what authors of plugins test with."""

import atexit
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from helpers import Counter, Forgetful, Ramp
from ignite.engine import Events
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.best import Best

from ignite_threenet import Plugin, PluginFailedError, Run, RunInterruptedError, option
from ignite_threenet.testing import (
    TinyModel,
    assert_contract,
    assert_observes_only,
    assert_resumes,
    run_plugin,
    tiny_loaders,
)

pytestmark = pytest.mark.usefixtures("in_haste")


class Meddler(Counter):
    """Move a weight."""

    @torch.no_grad()
    def look(self, run: Run) -> None:
        next(run.model.parameters()).add_(0.01)


class Gambler(Counter):
    """Draw a number."""

    def look(self, run: Run) -> None:
        torch.rand(1)


class Fragile(Counter):
    """Break in the second epoch."""

    on_error = "detach"

    def look(self, run: Run) -> None:
        super().look(run)
        if self.count == 2:
            raise ValueError("worn out")


# Parts of a run


def test_the_loaders_give_each_split_its_batches() -> None:
    loaders = tiny_loaders(batches=3, batch_size=5)

    assert list(loaders) == ["train", "valid", "test"]
    assert [len(batches) for batches in loaders.values()] == [3, 3, 3]
    images, labels = loaders["valid"][0]
    assert (images.shape, images.dtype) == ((5, 784), torch.float32)
    assert (labels.shape, labels.dtype) == ((5,), torch.int64)


def test_the_loaders_are_drawn_by_their_seed_alone() -> None:
    first, again, other = (tiny_loaders(seed=seed)["train"][0][0] for seed in (1, 1, 2))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_splits_differ() -> None:
    loaders = tiny_loaders()

    assert not torch.equal(loaders["train"][0][0], loaders["test"][0][0])


def test_making_loaders_draws_nothing_from_the_global_generator() -> None:
    before = torch.get_rng_state()

    tiny_loaders()

    assert torch.equal(torch.get_rng_state(), before)


def test_the_model_gives_log_probabilities_of_ten_classes() -> None:
    probabilities = TinyModel()(torch.rand(3, 1, 28, 28)).exp()

    assert probabilities.shape == (3, 10)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(3))


# run_plugin


def test_a_plugin_sees_the_accuracies_of_the_script() -> None:
    best = Best()

    run = run_plugin(best, accuracies=[0.1, 0.7, 0.4])

    assert (best.accuracy, best.epoch) == (0.7, 2)
    assert [each.metrics["accuracy"] for each in run.history.of_split("train")] == [0.1, 0.7, 0.4]


def test_the_loss_is_one_less_the_accuracy() -> None:
    run = run_plugin(Counter(), accuracies=[0.25])

    assert run.history.of_split("train")[0].metrics == {"accuracy": 0.25, "loss": 0.75}


def test_each_split_measures_what_the_script_says() -> None:
    run = run_plugin(Accuracy(every=1, split="valid"), accuracies=[0.3, 0.6])

    assert [each.metrics["accuracy"] for each in run.history.of_split("valid")] == [0.3, 0.6]
    assert list(run.plugins) == ["accuracy"]


def test_the_last_accuracy_is_also_that_of_the_test() -> None:
    run = run_plugin(Counter(), accuracies=[0.3, 0.6])

    assert run.history.final_test is not None
    assert run.history.final_test.metrics["accuracy"] == 0.6


def test_an_epoch_is_trained_for_each_accuracy() -> None:
    counter = Counter()

    run_plugin(counter, accuracies=[0.1] * 4)

    assert counter.count == 4


def test_a_run_in_a_given_directory_stays_there(tmp_path: Path) -> None:
    run = run_plugin(Best(), out=tmp_path / "mine")

    assert run.directory.path == tmp_path / "mine"
    assert (tmp_path / "mine" / "best.pt").is_file()


def test_a_directory_of_its_own_is_removed_when_python_exits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    removals: list[Callable[[], object]] = []
    monkeypatch.setattr(
        atexit, "register", lambda f, *args, **kwargs: removals.append(lambda: f(*args, **kwargs))
    )

    path = run_plugin(Counter()).directory.path
    assert path.is_dir()
    for remove in removals:
        remove()

    assert not path.parent.exists()


def test_a_failure_is_raised_also_where_the_run_could_go_on_without_the_plugin() -> None:
    with pytest.raises(PluginFailedError) as raised:
        run_plugin(Fragile())

    assert str(raised.value) == (
        "plugin 'fragile' failed at EPOCH_COMPLETED, epoch 2: ValueError: worn out"
    )


# assert_resumes


def test_a_plugin_that_remembers_resumes() -> None:
    assert_resumes(Counter)


def test_a_plugin_that_forgets_does_not_resume() -> None:
    with pytest.raises(AssertionError) as raised:
        assert_resumes(Forgetful)

    assert str(raised.value) == "the resumed run differs: plugin forgetful: count: 3 and 1"


def test_a_plugin_that_changes_the_training_and_forgets_is_told_by_the_weights() -> None:
    with pytest.raises(AssertionError, match=r"^the resumed run differs: model: tiny\.1\."):
        assert_resumes(Ramp)


def test_a_plugin_that_fails_does_not_resume() -> None:
    with pytest.raises(PluginFailedError, match="worn out"):
        assert_resumes(Fragile)


# assert_observes_only


@pytest.mark.parametrize("make_plugin", [Counter, Best])
def test_a_plugin_that_only_looks_passes(make_plugin: Callable[[], Plugin]) -> None:
    assert_observes_only(make_plugin)


@pytest.mark.parametrize("make_plugin", [Meddler, Gambler])
def test_a_plugin_that_changes_weights_is_found_out(make_plugin: Callable[[], Plugin]) -> None:
    with pytest.raises(AssertionError) as raised:
        assert_observes_only(make_plugin)

    assert str(raised.value).startswith("training ends with other weights: tiny.1.weight")


def test_what_becomes_of_the_model_after_the_training_does_not_count() -> None:
    class Restorer(Meddler):
        def attach(self, run: Run) -> None:
            self.count = 0
            run.trainer.add_event_handler(Events.COMPLETED, self.look, run)

    assert_observes_only(Restorer)


def test_a_plugin_that_fails_is_not_said_to_observe() -> None:
    with pytest.raises(PluginFailedError, match="worn out"):
        assert_observes_only(Fragile)


def test_a_plugin_that_interrupts_the_run_is_not_said_to_observe() -> None:
    class Impatient(Counter):
        def look(self, run: Run) -> None:
            run.interrupt()

    with pytest.raises(RunInterruptedError):
        assert_observes_only(Impatient)


# assert_contract


def test_a_plugin_that_keeps_its_promises_passes() -> None:
    assert_contract(Counter)


def test_a_plugin_is_made_with_the_options_given() -> None:
    class Picky(Counter):
        """Want the name of a fruit."""

        fruit: str = option("", help="its name")

        def __post_init__(self) -> None:
            if not self.fruit:
                raise ValueError("no fruit")

    assert_contract(Picky, fruit="plum")
    with pytest.raises(ValueError, match="no fruit"):
        assert_contract(Picky)


class Undocumented(Counter):
    pass


class Unexplained(Counter):
    """Have an option that nobody knows."""

    depth: int = option(1, help=" ")


class Lonely(Counter):
    """Require what is not there."""

    requires: ClassVar[tuple[str, ...]] = ("acme-absent",)


class Hoarder(Counter):
    """Remember a set."""

    def state_dict(self) -> Mapping[str, Any]:
        return {"seen": {1, 2}}


@pytest.mark.parametrize(
    ("cls", "problem"),
    [
        (
            Undocumented,
            "Undocumented has no docstring, so nobody learns from 'plugins list' what it does",
        ),
        (Unexplained, "the option 'depth' has no help"),
        (Hoarder, "state_dict(): seen: is a set; expected a plain value or a tensor"),
    ],
)
def test_a_broken_promise_is_named(cls: type[Plugin], problem: str) -> None:
    with pytest.raises(AssertionError) as raised:
        assert_contract(cls)

    assert str(raised.value) == problem


def test_a_requirement_that_is_not_installed_is_named() -> None:
    with pytest.raises(AssertionError) as raised:
        assert_contract(Lonely)

    assert str(raised.value) == "it requires 'acme-absent', which is not installed"


class EndsEarly(Plugin):
    """End the training, and let nobody hear of it."""

    def attach(self, run: Run) -> None:
        # Ignite passes the engine, which terminate() takes for skip_completed.
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=2), run.trainer.terminate)


def test_a_plugin_that_ends_the_training_without_its_last_event_is_no_observer() -> None:
    with pytest.raises(AssertionError, match=r"^training ends early, without the event COMPLETED$"):
        assert_observes_only(EndsEarly)
