"""Tests of the plugin `confusion`."""

import logging
from typing import Any

import pytest
import torch
from helpers import Fails, collect_figures, make_run
from ignite_threenet_plugins.accuracy import Accuracy
from ignite_threenet_plugins.confusion import Confusion
from matplotlib.figure import Figure
from torch import Tensor, nn

from ignite_threenet import ConfigError, OptionError, Plugin, PluginFailedError, Run
from ignite_threenet.testing import tiny_loaders
from ignite_threenet.training.engines import Batch

# Of three classes: rows are true, columns predicted.
COUNTS = [[3, 1, 0], [0, 2, 4], [0, 0, 0]]


class Oracle(nn.Module):
    """Says what the first pixels of a sample are: its log-probabilities."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.classes = classes
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1)[:, : self.classes].log_softmax(1) + 0 * self.weight


def say(predicted: int, confidence: float, size: int = 16) -> Tensor:
    """Make a sample of which the oracle takes a class with a logit."""
    sample = torch.zeros(size)
    sample[predicted] = confidence
    return sample


def make_batches() -> list[Batch]:
    """Make one batch a pair of classes, whose last sample is taken most surely."""
    batches = []
    for true, row in enumerate(COUNTS):
        for predicted, count in enumerate(row):
            if count:
                samples = [say(predicted, 1.0 + index) for index in range(count)]
                batches.append((torch.stack(samples), torch.full((count,), true)))
    return batches


def make_oracle_run(*plugins: Plugin, batches: list[Batch] | None = None) -> Run:
    batches = make_batches() if batches is None else batches
    loaders = dict.fromkeys(("train", "valid", "test"), batches)
    return make_run(*plugins, model=Oracle(), loaders=loaders, epochs=1)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    return collect_figures(monkeypatch)


def captions(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes]


def test_writes_two_pictures_and_says_what_is_confused_most() -> None:
    run = make_oracle_run(Confusion())
    summary = run.train()

    assert summary["plugins"]["confusion"] == {
        "most_frequent": {"true": 1, "predicted": 2, "count": 4},
        "files": ["confusion.png", "worst.png"],
    }
    for name in ("confusion.png", "worst.png"):
        assert (run.directory.path / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        assert name in summary["files"]


def test_names_are_drawn_as_they_are_and_no_letter_that_the_font_lacks_is_told(
    figures: list[Figure],
) -> None:
    run = make_oracle_run(Confusion())
    run.class_names = ("$a$", "猫", "c\n\x1b[2J\udce9")
    summary = run.train()

    assert summary["detached"] == {}
    labels = [label.get_text() for label in figures[0].axes[0].get_yticklabels()]
    assert labels == [r"\$a\$", "猫", r"c\n\x1b[2J\udce9"]


def test_the_rows_are_true_and_the_columns_predicted(figures: list[Figure]) -> None:
    make_oracle_run(Confusion()).train()

    (axes,) = figures[0].axes
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "3", (1, 0): "1", (1, 1): "2", (2, 1): "4"}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["0", "1", "2"]
    # The first row is at the top.
    assert axes.yaxis_inverted()


def test_each_class_has_its_recall(figures: list[Figure]) -> None:
    make_oracle_run(Confusion()).train()

    (recalls,) = figures[0].axes[0].child_axes
    labels = [label.get_text() for label in recalls.get_yticklabels()]
    assert labels == ["75.0%", "33.3%", "no samples"]


def test_the_title_says_the_share_that_is_right(figures: list[Figure]) -> None:
    make_oracle_run(Confusion()).train()

    assert captions(figures[0]) == ["custom, split 'test': 50.00% of 10 are right"]


def test_the_worst_samples_are_shown_with_the_highest_loss_first(figures: list[Figure]) -> None:
    make_oracle_run(Confusion(worst=3)).train()

    confidence = [say(2, logit)[:3].softmax(0).max().item() for logit in (4.0, 3.0, 2.0)]
    assert captions(figures[1]) == [f"true 1\npredicted 2, {each:.1%}" for each in confidence]


def test_a_sample_is_shown_as_the_image_that_it_is(figures: list[Figure]) -> None:
    make_oracle_run(Confusion(worst=1)).train()

    (image,) = figures[1].axes[0].get_images()
    expected = say(2, 1.0).reshape(4, 4)
    assert torch.equal(torch.as_tensor(image.get_array()), expected)


@pytest.mark.parametrize(
    ("shape", "shown"), [((1, 4, 4), (4, 4)), ((1, 2, 8), (2, 8)), ((3, 4, 4), (4, 4, 3))]
)
def test_images_of_one_and_of_three_channels_are_shown(
    figures: list[Figure], shape: tuple[int, ...], shown: tuple[int, ...]
) -> None:
    sample = torch.arange(3 * 16.0)[: torch.tensor(shape).prod()].reshape(1, *shape)
    make_oracle_run(Confusion(), batches=[(sample, torch.tensor([0]))]).train()

    image = figures[1].axes[0].get_images()[0].get_array()
    assert image is not None
    assert image.shape == shown
    assert (image.min(), image.max()) == (0, 1)


@pytest.mark.parametrize("shape", [(15,), (2, 4, 4), (4, 4)])
def test_samples_that_are_no_images_are_left_out(
    caplog: pytest.LogCaptureFixture, shape: tuple[int, ...]
) -> None:
    caplog.set_level(logging.INFO, "ignite_threenet.confusion")
    batches = [(torch.rand(4, *shape), torch.tensor([0, 1, 2, 0]))]
    summary = make_oracle_run(Confusion(), batches=batches).train()

    assert summary["plugins"]["confusion"]["files"] == ["confusion.png"]
    assert f"confusion: samples of shape {shape} are no images to show" in caplog.messages


def test_no_sample_is_shown_where_none_is_asked_for() -> None:
    summary = make_oracle_run(Confusion(worst=0)).train()

    assert summary["plugins"]["confusion"]["files"] == ["confusion.png"]


def test_a_model_without_mistakes_confuses_nothing() -> None:
    batches = [(torch.stack([say(0, 1.0), say(1, 1.0)]), torch.tensor([0, 1]))]
    summary = make_oracle_run(Confusion(), batches=batches).train()

    assert summary["plugins"]["confusion"]["most_frequent"] is None


@pytest.mark.parametrize("split", ["test", "valid"])
def test_looks_at_the_final_model_alone(figures: list[Figure], split: Any) -> None:
    run = make_oracle_run(Accuracy(every=1, split=split), Confusion(split=split))
    run.train()

    finals = [each.split for each in run.history.measurements if each.final]
    assert finals == list(dict.fromkeys(["test", split]))
    assert len(figures) == 2
    assert captions(figures[0]) == [f"custom, split {split!r}: 50.00% of 10 are right"]


def test_draws_nothing_of_a_run_that_fails(figures: list[Figure]) -> None:
    with pytest.raises(PluginFailedError):
        make_oracle_run(Fails(), Confusion(split="valid")).train()

    assert figures == []


def test_two_of_them_write_to_files_of_their_own() -> None:
    second = Confusion(split="valid")
    second.__dict__["name"] = "second"
    summary = make_oracle_run(Confusion(), second).train()

    assert summary["plugins"]["second"]["files"] == ["second-confusion.png", "second-worst.png"]


def test_a_run_without_the_split_is_refused() -> None:
    loaders = {"train": tiny_loaders()["train"]}
    with pytest.raises(ConfigError, match=r"confusion\.split: this run has no split 'test'"):
        make_run(Confusion(), loaders=loaders)


@pytest.mark.parametrize("worst", [-1, 401])
def test_refuses_options_out_of_range(worst: int) -> None:
    with pytest.raises(OptionError, match="is out of range"):
        Confusion(worst=worst)
