"""Tests of the named datasets as tensors, and of their batches."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision import datasets
from torchvision.transforms import Compose, Normalize, ToTensor

from ignite_threenet.data.dataset import (
    IDENTITY,
    PIXELS_TO_UNIT,
    Dataset,
    Scaling,
    Split,
    normalize,
    permutation,
)
from ignite_threenet.data.loader import BatchLoader
from ignite_threenet.data.source import load_data
from ignite_threenet.errors import ConfigError, DataError

TORCHVISION = Compose([ToTensor(), Normalize((0.5,), (0.5,))])


def numbered(count: int) -> Split:
    """Make a split whose samples are known by their labels, and have images of their own."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 1, 28, 28), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(count))


def draw_order(loader: BatchLoader) -> list[int]:
    return [label for _, labels in loader for label in labels.tolist()]


def bits(values: Tensor) -> Tensor:
    return values.view(torch.int32)


# Pixels


def test_every_intensity_is_normalized_as_by_torchvision_to_the_last_bit() -> None:
    intensities = torch.arange(256, dtype=torch.uint8).view(16, 16)

    expected = TORCHVISION(intensities.numpy())[0]

    assert torch.equal(bits(normalize(intensities)), bits(expected))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_every_intensity_is_normalized_on_cuda_as_on_the_cpu() -> None:
    intensities = torch.arange(256, dtype=torch.uint8)

    on_cuda = normalize(intensities.to("cuda"))

    assert torch.equal(bits(on_cuda.cpu()), bits(normalize(intensities)))


def test_normalized_pixels_are_float32_of_the_same_shape() -> None:
    pixels = normalize(torch.zeros(2, 1, 3, 4, dtype=torch.uint8))

    assert pixels.dtype == torch.float32
    assert pixels.shape == (2, 1, 3, 4)


def test_the_stored_pixels_stay_as_they_are() -> None:
    stored = torch.tensor([0, 7, 255], dtype=torch.uint8)

    normalize(stored)

    assert stored.tolist() == [0, 7, 255]


def test_numbers_that_are_no_pixels_are_scaled_as_they_are() -> None:
    numbers = torch.tensor([-1.0, 0.0, 300.0])

    assert normalize(numbers, Scaling(100.0, 4.0)).tolist() == [-25.25, -25.0, 50.0]
    assert torch.equal(normalize(numbers, IDENTITY), numbers)


def test_the_stored_numbers_stay_as_they_are() -> None:
    stored = torch.tensor([1.0, 2.0])

    normalize(stored, IDENTITY).zero_()

    assert stored.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64, torch.bool])
def test_samples_of_another_dtype_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(DataError) as raised:
        normalize(torch.zeros(4, dtype=dtype))

    assert str(raised.value) == (f"samples are {dtype}; expected torch.uint8 or torch.float32")


# Splits


def test_taken_samples_come_in_the_order_of_the_indices() -> None:
    split = numbered(5)

    taken = split.take(torch.tensor([4, 0, 3]))

    assert len(taken) == 3
    assert taken.labels.tolist() == [4, 0, 3]
    assert torch.equal(taken.images, torch.stack([split.images[index] for index in (4, 0, 3)]))


def test_a_split_moves_to_a_device_with_images_and_labels() -> None:
    moved = numbered(5).to("meta")

    assert (moved.images.device.type, moved.labels.device.type) == ("meta", "meta")


# Batches


def test_a_batch_is_images_of_the_stored_shape_and_their_labels() -> None:
    split = numbered(8)

    images, labels = next(iter(BatchLoader(split, batch_size=4, seed=0)))

    assert labels.dtype == torch.int64
    assert torch.equal(images, normalize(split.images[labels]))
    assert images.shape == (4, 1, 28, 28)


@pytest.mark.parametrize(
    ("count", "batch_size", "trained", "measured"),
    [
        (5, 4, [5], [4, 1]),
        (9, 4, [4, 5], [4, 4, 1]),
        (257, 256, [257], [256, 1]),
        (3, 1, [1, 1, 1], [1, 1, 1]),
        (1, 4, [1], [1]),
    ],
)
def test_a_single_sample_that_is_left_over_is_not_trained_on_by_itself(
    count: int, batch_size: int, trained: list[int], measured: list[int]
) -> None:
    for seed, sizes in ((0, trained), (None, measured)):
        loader = BatchLoader(numbered(count), batch_size, seed)
        batches = [labels for _, labels in loader]

        assert [len(labels) for labels in batches] == sizes
        assert len(loader) == len(sizes)
        assert sorted(torch.cat(batches).tolist()) == list(range(count))


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"),
    [(12, 4, [4, 4, 4]), (10, 4, [4, 4, 2]), (6, 4, [4, 2]), (3, 4, [3]), (4, 4, [4])],
)
def test_the_last_batch_is_smaller_where_the_samples_do_not_fill_it(
    count: int, batch_size: int, sizes: list[int], seed: int | None
) -> None:
    loader = BatchLoader(numbered(count), batch_size, seed)

    assert [len(labels) for _, labels in loader] == sizes
    assert len(loader) == len(sizes)


def test_without_a_seed_the_order_is_the_stored_one_in_every_epoch() -> None:
    split = numbered(10)
    loader = BatchLoader(split, batch_size=4)

    for _ in range(2):
        batches = list(loader)

        assert torch.equal(torch.cat([labels for _, labels in batches]), split.labels)
        assert torch.equal(torch.cat([images for images, _ in batches]), normalize(split.images))


def test_with_a_seed_an_epoch_has_every_sample_once() -> None:
    order = draw_order(BatchLoader(numbered(1_000), batch_size=64, seed=0))

    assert order != list(range(1_000))
    assert sorted(order) == list(range(1_000))


def test_the_order_is_that_of_the_seed_and_the_epoch() -> None:
    loader = BatchLoader(numbered(100), batch_size=16, seed=5)

    orders = [draw_order(loader) for _ in range(3)]

    assert orders == [permutation(100, seed=5, epoch=epoch).tolist() for epoch in (1, 2, 3)]


@pytest.mark.parametrize(("seed", "epoch"), [(5, 4), (6, 3), (3, 5), (0, 0)])
def test_another_seed_or_epoch_gives_another_order(seed: int, epoch: int) -> None:
    order = permutation(100, seed=5, epoch=3)

    assert torch.equal(order, permutation(100, seed=5, epoch=3))
    assert not torch.equal(order, permutation(100, seed=seed, epoch=epoch))


def test_the_order_does_not_depend_on_the_batch_size() -> None:
    orders = [draw_order(BatchLoader(numbered(100), size, seed=0)) for size in (7, 100)]

    assert orders[0] == orders[1]


def test_the_order_does_not_touch_the_global_random_state() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = draw_order(BatchLoader(numbered(100), batch_size=16, seed=0))
    assert torch.equal(torch.get_rng_state(), before)

    torch.manual_seed(2)
    assert draw_order(BatchLoader(numbered(100), batch_size=16, seed=0)) == first


def test_a_chosen_epoch_has_its_own_order_whatever_came_before() -> None:
    loader = BatchLoader(numbered(100), batch_size=16, seed=0)
    orders = {epoch: draw_order(loader) for epoch in (1, 2, 3)}

    loader.set_epoch(2)

    assert draw_order(loader) == orders[2]
    assert draw_order(loader) == orders[3]


@pytest.mark.parametrize("seed", [None, 0])
def test_the_epoch_counts_up_with_each_iteration(seed: int | None) -> None:
    loader = BatchLoader(numbered(10), batch_size=4, seed=seed)
    epochs = [loader.epoch]

    for _ in range(2):
        draw_order(loader)
        epochs.append(loader.epoch)

    assert epochs == [1, 2, 3]


class _OperationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def test_a_batch_is_gathered_once_from_the_images_and_once_from_the_labels() -> None:
    loader = BatchLoader(numbered(12), batch_size=4, seed=0)

    with _OperationCounter() as operations:
        list(loader)

    gathers = {name: operations.counts[name] for name in ("index_select", "index", "gather")}
    assert gathers == {"index_select": 2 * len(loader), "index": 0, "gather": 0}


def test_a_split_is_stored_once_for_all_its_loaders() -> None:
    split = numbered(8)
    before = split.images.clone()

    for seed in (None, 0):
        draw_order(BatchLoader(split, batch_size=4, seed=seed))

    assert torch.equal(split.images, before)


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize("shape", [(5,), (3, 2, 2), (2, 1, 4, 4)])
def test_samples_of_any_shape_make_batches_of_it(shape: tuple[int, ...], seed: int | None) -> None:
    split = Split(torch.rand(6, *shape), torch.arange(6))

    for samples, labels in BatchLoader(split, 4, seed, IDENTITY):
        assert torch.equal(samples, split.images[labels])


# Datasets


def made_of(*images: Tensor, labels: int = 3, class_names: tuple[str, ...] = ()) -> Dataset:
    """Make a dataset of images for each split, whose labels go up from 0 to one below labels."""
    splits = {
        name: Split(each, torch.arange(len(each)) % labels)
        for name, each in zip(("train", "valid", "test"), images, strict=False)
    }
    return Dataset("own", splits, {}, class_names)


@pytest.mark.parametrize("shape", [(5,), (1, 28, 28), (3, 8, 6)])
def test_the_shape_of_a_sample_has_no_batch_in_it(shape: tuple[int, ...]) -> None:
    assert made_of(torch.rand(6, *shape)).sample_shape == shape


def test_the_labels_of_all_splits_say_how_many_classes_there_are() -> None:
    splits = {
        "train": Split(torch.rand(2, 5), torch.tensor([0, 2])),
        "test": Split(torch.rand(2, 5), torch.tensor([6, 1])),
    }

    assert Dataset("own", splits, {}).classes == 7


def test_the_names_of_classes_go_before_their_labels() -> None:
    dataset = made_of(torch.rand(6, 5), labels=2, class_names=("ant", "bee", "cat"))

    assert dataset.classes == 3


def test_classes_have_no_names_unless_they_are_given() -> None:
    assert dataset_of(3).class_names == ()


def test_pixels_are_scaled_to_minus_1_and_1_by_default_and_other_numbers_not() -> None:
    assert dataset_of(3).default_scaling() == PIXELS_TO_UNIT == (0.5, 0.5)
    assert made_of(torch.rand(6, 5)).default_scaling() == IDENTITY == (0.0, 1.0)


def test_the_scaling_of_numbers_is_their_mean_and_deviation_in_the_training_set() -> None:
    numbers = torch.tensor([[1.0, 3.0], [5.0, 7.0]])

    scaling = made_of(numbers, torch.full((2, 2), 900.0)).scaling()

    assert scaling == pytest.approx((4.0, 5**0.5))


def test_numbers_that_are_all_alike_are_divided_by_1() -> None:
    assert made_of(torch.full((4, 5), 7.0)).scaling() == (7.0, 1.0)


# Holding out


def dataset_of(count: int) -> Dataset:
    return Dataset("numbers", {"train": numbered(count), "test": numbered(3)}, {"file": "digest"})


def test_the_last_samples_of_a_seeded_permutation_are_held_out() -> None:
    order = permutation(100, seed=7, epoch=0).tolist()

    held_out = dataset_of(100).hold_out(30, seed=7)

    assert held_out.splits["train"].labels.tolist() == order[:70]
    assert held_out.splits["valid"].labels.tolist() == order[70:]


def test_train_and_valid_share_no_sample_and_lose_none() -> None:
    splits = dataset_of(100).hold_out(30, seed=0).splits

    labels = splits["train"].labels.tolist() + splits["valid"].labels.tolist()

    assert sorted(labels) == list(range(100))


def test_held_out_images_keep_their_labels() -> None:
    dataset = dataset_of(100)

    valid = dataset.hold_out(30, seed=0).splits["valid"]

    assert torch.equal(valid.images, dataset.splits["train"].images[valid.labels])


def test_the_same_seed_holds_out_the_same_samples_and_another_seed_others() -> None:
    held_out = [dataset_of(100).hold_out(30, seed).splits["valid"].labels for seed in (0, 0, 1)]

    assert torch.equal(held_out[0], held_out[1])
    assert not torch.equal(held_out[0], held_out[2])


def test_holding_out_changes_neither_the_dataset_nor_its_other_parts() -> None:
    dataset = dataset_of(10)

    held_out = dataset.hold_out(4, seed=0)

    assert list(dataset.splits) == ["train", "test"]
    assert len(dataset.splits["train"]) == 10
    assert held_out.splits["test"] is dataset.splits["test"]
    assert (held_out.name, held_out.sha256) == ("numbers", {"file": "digest"})


def test_all_samples_but_one_can_be_held_out() -> None:
    splits = dataset_of(10).hold_out(9, seed=0).splits

    assert (len(splits["train"]), len(splits["valid"])) == (1, 9)


def test_holding_out_keeps_the_names_of_the_classes() -> None:
    names = ("ant", "bee", "cat")

    assert made_of(torch.rand(6, 5), class_names=names).hold_out(2, seed=0).class_names == names


def test_nothing_is_held_out_where_the_dataset_has_a_split_for_it() -> None:
    dataset = made_of(torch.rand(6, 5), torch.rand(3, 5))

    with pytest.raises(ConfigError) as raised:
        dataset.hold_out(2, seed=0)

    assert str(raised.value) == "valid_size: the dataset own has its own split 'valid'"


@pytest.mark.parametrize("size", [-1, 0, 10, 11])
def test_holding_out_none_or_all_samples_is_refused(size: int) -> None:
    with pytest.raises(ConfigError) as raised:
        dataset_of(10).hold_out(size, seed=0)

    assert str(raised.value) == f"valid_size: {size} of 10 samples; expected 1 to one less"


@pytest.mark.parametrize(("count", "batch_size"), [(0, 4), (4, 0), (4, -1)])
def test_batches_of_nothing_are_refused(count: int, batch_size: int) -> None:
    with pytest.raises(ConfigError, match=f"batches of {batch_size} out of {count} samples"):
        BatchLoader(dataset_of(10).splits["train"].take(torch.arange(count)), batch_size)


# The real MNIST


def test_batches_of_mnist_are_torchvisions_images_to_the_last_bit(mnist_dir: Path) -> None:
    expected = datasets.MNIST(mnist_dir, train=False, transform=TORCHVISION)

    loader = BatchLoader(load_data("mnist", mnist_dir).splits["test"], batch_size=256)
    images, labels = next(iter(loader))

    samples = [expected[index] for index in range(256)]
    assert torch.equal(bits(images), bits(torch.stack([image for image, _ in samples])))
    assert labels.tolist() == [label for _, label in samples]
