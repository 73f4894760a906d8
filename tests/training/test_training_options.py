"""Tests of what changes the training: smoothed labels, scaled pixels, options that must agree."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from conftest import MakeBatches, MakeConfig
from ignite.engine import Events
from torch import Tensor, nn

from ignite_threenet import (
    ConfigError,
    Dataset,
    OptionError,
    Run,
    RunConfig,
    Split,
    ThreeNet,
    load_data,
)
from ignite_threenet.data.dataset import Scaling, normalize
from ignite_threenet.data.loader import BatchLoader


def smoothed(log_probabilities: Tensor, labels: Tensor, share: float) -> Tensor:
    """Spread a share of each label over all classes, by the formula."""
    of_labels = -log_probabilities.gather(1, labels[:, None]).mean()
    of_all = -log_probabilities.mean()
    return (1 - share) * of_labels + share * of_all


# Smoothed labels


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_the_loss_on_log_probabilities_is_that_of_the_formula(
    make_config: MakeConfig, make_batches: MakeBatches, share: float
) -> None:
    ((images, labels),) = batches = make_batches(count=1)
    run = Run(make_config(label_smoothing=share), loaders={"train": batches})

    outputs = run.model(images)

    assert isinstance(run.loss_fn, nn.CrossEntropyLoss)
    torch.testing.assert_close(run.loss_fn(outputs, labels), smoothed(outputs, labels, share))


def test_labels_are_not_smoothed_by_default(
    make_config: MakeConfig, make_batches: MakeBatches
) -> None:
    run = Run(make_config(), loaders={"train": make_batches()})

    assert isinstance(run.loss_fn, nn.NLLLoss)


def test_a_network_derived_from_the_default_one_may_give_logits(
    make_config: MakeConfig, make_batches: MakeBatches
) -> None:
    class Logits(ThreeNet):
        pass

    run = Run(make_config(), model=Logits, loaders={"train": make_batches()})

    assert isinstance(run.loss_fn, nn.CrossEntropyLoss)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_network_of_ones_own_may_give_logits(
    make_config: MakeConfig, make_batches: MakeBatches, share: float
) -> None:
    ((images, labels),) = batches = make_batches(count=1)
    config = make_config(label_smoothing=share)
    run = Run(config, model=nn.Linear(784, 10), loaders={"train": batches})

    logits = run.model(images)

    expected = smoothed(logits.log_softmax(dim=1), labels, share)
    torch.testing.assert_close(run.loss_fn(logits, labels), expected)


def test_training_takes_the_smoothed_loss(
    make_config: MakeConfig, make_batches: MakeBatches
) -> None:
    ((images, labels),) = batches = make_batches(count=1)
    run = Run(make_config(epochs=1, label_smoothing=0.2), loaders={"train": batches})
    expected = smoothed(run.model(images), labels, 0.2).item()

    run.train()

    assert run.history.epochs[0].loss == pytest.approx(expected)


def test_what_is_measured_is_not_smoothed(
    make_config: MakeConfig, make_batches: MakeBatches
) -> None:
    ((images, labels),) = batches = make_batches(count=1)
    run = Run(make_config(label_smoothing=0.5), loaders={"train": batches, "test": batches})

    summary = run.train()

    with torch.no_grad():
        expected = nn.NLLLoss()(run.model(images), labels).item()
    assert summary["test"]["loss"] == pytest.approx(expected)


# Scaled pixels


@pytest.fixture
def dataset() -> Dataset:
    """Make a dataset whose samples differ much in brightness."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"train": 40, "test": 10}
    splits = {
        name: Split(
            (torch.rand(count, 1, 28, 28, generator=generator) * 256)
            .mul(torch.rand(count, 1, 1, 1, generator=generator))
            .to(torch.uint8),
            torch.arange(count) % 10,
        )
        for name, count in shapes.items()
    }
    return Dataset("own", splits, {})


def pixels_of(loader: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    return torch.cat([images for images, _ in loader]).double()


def test_the_scaling_is_mean_and_deviation_of_the_training_pixels(dataset: Dataset) -> None:
    pixels = dataset.splits["train"].images.double() / 255

    assert dataset.scaling() == pytest.approx(
        (pixels.mean().item(), pixels.std(correction=0).item()), rel=1e-9
    )


def test_what_is_held_out_has_no_part_in_the_scaling(dataset: Dataset) -> None:
    rest = dataset.hold_out(30, seed=0)
    pixels = rest.splits["train"].images.double() / 255

    assert rest.scaling().mean == pytest.approx(pixels.mean().item(), rel=1e-9)
    assert rest.scaling().mean != pytest.approx(dataset.scaling().mean, rel=1e-3)


def test_the_scaling_of_mnist_is_the_one_that_everybody_uses(mnist_dir: Path) -> None:
    mean, deviation = load_data("mnist", mnist_dir).scaling()

    assert (round(mean, 4), round(deviation, 4)) == (0.1307, 0.3081)


def test_batches_have_mean_0_and_deviation_1(dataset: Dataset) -> None:
    pixels = pixels_of(BatchLoader(dataset.splits["train"], 16, 0, dataset.scaling()))

    assert pixels.mean().item() == pytest.approx(0, abs=1e-5)
    assert pixels.std(correction=0).item() == pytest.approx(1, abs=1e-5)


def test_images_of_one_intensity_stay_finite() -> None:
    images = torch.full((4, 1, 28, 28), 7, dtype=torch.uint8)
    scaling = Dataset("flat", {"train": Split(images, torch.arange(4))}, {}).scaling()

    torch.testing.assert_close(normalize(images, scaling), torch.zeros(4, 1, 28, 28))


def test_a_scaling_takes_the_mean_away_and_divides_by_the_deviation() -> None:
    pixels = normalize(torch.tensor([0, 51, 255], dtype=torch.uint8), Scaling(0.2, 0.4))

    torch.testing.assert_close(pixels, torch.tensor([-0.5, 0.0, 2.0]))


@pytest.fixture
def make_dataset_run(
    dataset: Dataset, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> Any:
    def make(**options: Any) -> Run:
        monkeypatch.setattr(
            "ignite_threenet.data.data_module.load_chosen", lambda *arguments: dataset
        )
        return Run(make_config(epochs=1, valid_size=10, **options))

    return make


def test_a_run_scales_every_split_by_what_is_left_to_train_on(
    make_dataset_run: Any, dataset: Dataset
) -> None:
    run = make_dataset_run(normalize="dataset", seed=3)
    splits = dataset.hold_out(10, seed=3).splits
    scaling = dataset.hold_out(10, seed=3).scaling()

    run.train()

    assert pixels_of(run.loaders["train"]).mean().item() == pytest.approx(0, abs=1e-5)
    for name in ("valid", "test"):
        expected = normalize(splits[name].images, scaling).double()
        assert torch.equal(pixels_of(run.loaders[name]), expected)


def test_what_is_measured_is_scaled_alike(make_dataset_run: Any) -> None:
    run = make_dataset_run(normalize="dataset")
    seen: list[Tensor] = []
    run.evaluators["test"].add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.batch[0])
    )

    run.train()

    assert torch.equal(torch.cat(seen).double(), pixels_of(run.loaders["test"]))


def test_pixels_go_from_minus_1_to_1_by_default(make_dataset_run: Any, dataset: Dataset) -> None:
    run = make_dataset_run()

    run.train()

    expected = normalize(dataset.splits["test"].images).double()
    assert torch.equal(pixels_of(run.loaders["test"]), expected)


# Options that must agree


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
def test_momentum_is_sgds_alone(optimizer: Any) -> None:
    with pytest.raises(ConfigError) as raised:
        RunConfig(optimizer=optimizer, momentum=0.9)

    assert str(raised.value) == (f"momentum: an option of sgd, and the optimizer is {optimizer}")


def test_betas_are_not_for_sgd() -> None:
    with pytest.raises(ConfigError) as raised:
        RunConfig(betas=(0.9, 0.99))

    assert str(raised.value) == (
        "betas: an option of adam, adamw and muon, and the optimizer is sgd"
    )


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
def test_betas_are_for_all_others(optimizer: Any) -> None:
    assert RunConfig(optimizer=optimizer, betas=(0.0, 0.99)).betas == (0.0, 0.99)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"optimizer": "adagrad"}, "is not one of the choices"),
        ({"betas": (0.9,)}, "has 1 values and not 2"),
        ({"betas": (0.9, 1.5)}, "is out of range"),
        ({"betas": (-0.1, 0.9)}, "is out of range"),
        ({"label_smoothing": -0.1}, "is out of range"),
        ({"label_smoothing": 1.1}, "is out of range"),
        ({"normalize": "imagenet"}, "is not one of the choices"),
    ],
)
def test_a_value_that_no_training_can_have_is_refused(
    options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(OptionError) as raised:
        RunConfig(**{"optimizer": "adam"} | options)

    assert raised.value.where == f"RunConfig.{next(iter(options))}"
    assert raised.value.problem == problem


@pytest.mark.parametrize("betas", [(1.0, 0.9), (0.9, 1.0)])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
def test_betas_of_1_which_torch_does_not_take_are_refused(
    optimizer: Any, betas: tuple[float, float]
) -> None:
    with pytest.raises(ConfigError, match="betas"):
        RunConfig(optimizer=optimizer, betas=betas)


def test_bf16_computes_the_products_in_bfloat16_and_keeps_the_rest_in_float32(
    make_batches: MakeBatches, make_config: MakeConfig
) -> None:
    class Watched(nn.Linear):
        dtypes: ClassVar[dict[bool, torch.dtype]] = {}

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            outputs = super().forward(inputs)
            self.dtypes[self.training] = outputs.dtype
            return outputs

    model = nn.Sequential(Watched(784, 10), nn.LogSoftmax(dim=1))
    loaders = {"train": make_batches(), "test": make_batches(seed=1)}
    run = Run(make_config(precision="bf16", epochs=30), model=model, loaders=loaders)
    summary = run.train()

    assert Watched.dtypes == {True: torch.bfloat16, False: torch.float32}
    assert {each.dtype for each in model.parameters()} == {torch.float32}
    assert summary["test"]["accuracy"] > 0.9


def test_float32_is_the_same_with_and_without_the_name(
    make_batches: MakeBatches, make_config: MakeConfig
) -> None:
    def weights(**options: Any) -> list[torch.Tensor]:
        run = Run(make_config(force=True, **options), loaders={"train": make_batches()})
        run.train()
        return list(run.model.parameters())

    pairs = zip(weights(), weights(precision="float32"), strict=True)

    assert all(torch.equal(one, other) for one, other in pairs)
