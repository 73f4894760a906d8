"""Tests of the augment plugin."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import make_run
from ignite.engine import Events
from ignite_threenet_plugins.augment import Augment
from torch import Tensor, nn

from ignite_threenet import ConfigError, Plugin, PluginFailedError, Run, RunConfig
from ignite_threenet.testing import tiny_loaders

STILL = {"rotation": 0.0, "scale": 0.0, "shear": 0.0, "shift": 0.0, "elastic": 0.0}


def distorted(images: Tensor, **options: float) -> Tensor:
    """Give the images as the training sees them when augment does nothing but the options."""
    seen: list[Tensor] = []

    class Look(Plugin):
        name = "look"

        def attach(self, run: Run) -> None:
            run.trainer.add_event_handler(Events.ITERATION_STARTED, self.look)

        def look(self, trainer: Any) -> None:
            seen.append(trainer.state.batch[0])
            trainer.terminate()

    batches = [(images, torch.zeros(len(images), dtype=torch.int64))]
    plugins = [Augment(**(STILL | options)), Look()]
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(10), torch.nn.LogSoftmax(1))
    model(images)
    make_run(*plugins, model=model, loaders={"train": batches}, force=True).train()
    return seen[0]


def blob(row: float, column: float, size: int = 28, count: int = 200) -> Tensor:
    """Draw a small bright spot on a dark ground, as flat images: (count, size * size)."""
    place = torch.arange(size).float()
    distance = (place[:, None] - row).square() + (place - column).square()
    return torch.exp(-distance / 4).flatten().repeat(count, 1)


def centres(images: Tensor, size: int = 28) -> Tensor:
    """Measure where the light is: (N, 2), row and column in pixels."""
    pictures = images.reshape(-1, size, size)
    place = torch.arange(size).float()
    light = pictures.sum(dim=(1, 2))
    rows = (pictures.sum(dim=2) * place).sum(dim=1) / light
    columns = (pictures.sum(dim=1) * place).sum(dim=1) / light
    return torch.stack([rows, columns], dim=1)


def test_nothing_asked_for_changes_nothing() -> None:
    images = torch.rand(4, 784)

    torch.testing.assert_close(distorted(images), images, atol=1e-4, rtol=0)


def test_a_shift_moves_by_at_most_that_many_pixels_in_each_direction() -> None:
    moved = centres(distorted(blob(14, 12), shift=3.0)) - torch.tensor([14.0, 12.0])

    assert moved.abs().max() <= 3.05
    assert (moved.amin(dim=0) < -2.5).all()
    assert (moved.amax(dim=0) > 2.5).all()


def test_a_rotation_turns_about_the_middle_by_at_most_that_angle() -> None:
    middle = 13.5
    moved = centres(distorted(blob(middle, middle + 8), rotation=30.0)) - middle

    angles = torch.atan2(moved[:, 0], moved[:, 1])
    assert moved.norm(dim=1) == pytest.approx(torch.full((200,), 8.0), abs=0.1)
    assert 0.9 * math.radians(30) < angles.abs().max() <= math.radians(30.5)
    assert angles.min() < 0 < angles.max()


def test_a_scale_changes_width_and_height_each_by_at_most_its_factor() -> None:
    middle = 13.5
    moved = centres(distorted(blob(middle + 6, middle + 6), scale=0.2)) - middle

    factors = moved / 6
    assert factors.min() >= math.exp(-0.2) - 0.02
    assert factors.max() <= math.exp(0.2) + 0.02
    assert factors.std(dim=0).min() > 0.05
    assert (factors[:, 0] - factors[:, 1]).abs().max() > 0.1


def test_a_shear_slants_the_columns() -> None:
    middle = 13.5
    moved = centres(distorted(blob(middle + 6, middle), shear=0.5)) - middle

    assert moved[:, 0] == pytest.approx(torch.full((200,), 6.0), abs=0.1)
    assert 2.5 < moved[:, 1].abs().max() <= 3.05


@pytest.mark.parametrize("elastic", [0.5, 1.5])
def test_the_elastic_displacement_has_the_size_that_was_asked_for(elastic: float) -> None:
    places = [(row, column) for row in (6, 14, 22) for column in (6, 14, 22)]
    moved = torch.cat(
        [
            centres(distorted(blob(row, column), elastic=elastic, smoothness=6.0))
            - torch.tensor([float(row), float(column)])
            for row, column in places
        ]
    )

    assert moved.square().mean().sqrt().item() == pytest.approx(elastic, rel=0.25)
    assert moved.mean(dim=0).abs().max() < 0.25 * elastic


def test_neighbours_move_together_and_distant_pixels_do_not() -> None:
    torch.manual_seed(0)
    here = centres(distorted(blob(8, 8), elastic=1.0))
    torch.manual_seed(0)
    near = centres(distorted(blob(8, 10), elastic=1.0))
    torch.manual_seed(0)
    far = centres(distorted(blob(22, 22), elastic=1.0))

    def correlation(one: Tensor, other: Tensor) -> float:
        return torch.corrcoef(torch.stack([one[:, 0], other[:, 0]]))[0, 1].item()

    assert correlation(here, near) > 0.8
    assert abs(correlation(here, far)) < 0.5


def test_images_with_channels_are_distorted_alike() -> None:
    flat = blob(14, 10, count=3).reshape(3, 1, 28, 28)

    seen = distorted(flat.repeat(1, 3, 1, 1), shift=2.0)

    assert seen.shape == (3, 3, 28, 28)
    assert torch.equal(seen[:, 0], seen[:, 2])
    assert not torch.equal(seen[0], seen[1])


def test_what_comes_from_outside_is_like_the_border() -> None:
    images = torch.full((5, 784), -0.42)

    torch.testing.assert_close(distorted(images, shift=9.0, rotation=45.0), images)


def test_a_seed_gives_the_same_training() -> None:
    def weights(seed: int) -> list[Tensor]:
        run = make_run(Augment(), force=True, seed=seed)
        run.train()
        return [parameter.detach() for parameter in run.model.parameters()]

    first, second, other = weights(0), weights(0), weights(1)

    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])


def test_measurements_see_the_images_as_they_are() -> None:
    loaders = tiny_loaders()
    seen: list[Tensor] = []

    class Watched(torch.nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            if not self.training:
                seen.append(inputs)
            return super().forward(inputs)

    model = torch.nn.Sequential(Watched(784, 10), torch.nn.LogSoftmax(dim=1))
    make_run(Augment(), epochs=1, model=model, loaders=loaders).train()

    # Before them the run has tried out a batch of each split.
    pairs = zip(seen[-len(loaders["test"]) :], loaders["test"], strict=True)
    assert all(torch.equal(one, images) for one, (images, _) in pairs)


NO_IMAGES = [(783,), (3, 784), (), (16,), (225,), (1, 1, 30), (1, 30, 1), (9, 9), (2, 3, 9, 9)]


def refusal(shape: tuple[int, ...]) -> str:
    return (
        f"augment: the samples are {shape}; expected images, (C, H, W), or (pixels,) of a square "
        "one of 16x16 or more"
    )


@pytest.mark.parametrize("shape", NO_IMAGES)
def test_what_is_no_image_is_refused_by_its_shape_before_anything_is_trained(
    shape: tuple[int, ...],
) -> None:
    batches = [(torch.zeros(4, *shape), torch.zeros(4, dtype=torch.int64))]

    with pytest.raises(ConfigError) as caught:
        make_run(Augment(), loaders={"train": batches})

    assert str(caught.value) == refusal(shape)


class TakesAll(nn.Module):
    """Tells two classes apart, whatever the samples."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.weight.expand(len(inputs), 2)


@pytest.mark.parametrize("shape", NO_IMAGES)
def test_what_is_no_image_is_refused_as_it_comes_from_a_loader_that_cannot_be_asked(
    shape: tuple[int, ...],
) -> None:
    class Batches:
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            yield torch.zeros(4, *shape), torch.zeros(4, dtype=torch.int64)

    with pytest.raises(PluginFailedError) as caught:
        # Whatever its shape, the network takes it.
        make_run(Augment(), model=TakesAll(), loaders={"train": Batches()}).train()

    assert str(caught.value).endswith(refusal(shape))


def run_on_dataset(shape: tuple[int, ...]) -> Run:
    """Put a run together on a dataset of such samples."""
    Path("own.py").write_text(
        "import torch\n"
        f"def load(): return {{'train': (torch.rand(20, *{shape}), torch.arange(20) % 2)}}\n"
    )
    return Run(RunConfig(dataset="own.py:load", epochs=1, out=Path("out")), [Augment()])


@pytest.mark.parametrize("shape", [shape for shape in NO_IMAGES if shape])
def test_a_dataset_of_no_images_is_refused_by_its_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        run_on_dataset(shape)

    assert str(caught.value) == refusal(shape)


def test_rows_that_may_be_images_are_taken_for_them_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    run_on_dataset((784,))

    assert "augment: rows of 784 numbers are taken for images of 28x28" in caplog.messages


def test_a_dataset_of_images_is_distorted() -> None:
    assert run_on_dataset((3, 9, 7)).train()["status"] == "completed"


def test_the_strength_moves_in_a_line_from_the_beginning_to_the_end() -> None:
    batch = (blob(14, 14), torch.zeros(200, dtype=torch.int64))
    spreads: list[float] = []

    class Look(Plugin):
        def attach(self, run: Run) -> None:
            run.trainer.add_event_handler(Events.ITERATION_STARTED, self.look)

        def look(self, trainer: Any) -> None:
            spreads.append((centres(trainer.state.batch[0]) - 14).abs().max().item())

    plugins = [Augment(**(STILL | {"shift": 4.0}), begin=1.0, end=0.0), Look()]
    make_run(*plugins, epochs=2, loaders={"train": [batch] * 4}).train()

    expected = [4 * (1 - iteration / 8) for iteration in range(8)]
    assert spreads == pytest.approx(expected, rel=0.1)
