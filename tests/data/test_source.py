"""Tests of where datasets come from: the named ones, those of others, and what these must give."""

import hashlib
import logging
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import InstallDistribution
from helpers import run_code, write_module
from torch import Tensor, nn
from torchvision import datasets

from ignite_threenet import (
    ComponentError,
    DataError,
    DataSource,
    OptionError,
    UnknownNameError,
    UnreachableError,
    option,
)
from ignite_threenet.data.dataset import Dataset, Split
from ignite_threenet.data.download import SOURCES
from ignite_threenet.data.idx import FILE_NAMES, TRAIN_LABELS
from ignite_threenet.data.source import is_dataset, load_chosen, load_data
from ignite_threenet.extensions.component import Component

GROUP = "ignite_threenet.datasets"

EXPECTED = "expected a Dataset, or samples and labels by split: {'train': (samples, labels), ...}"

NOISE = """
    import torch
    from ignite_threenet import DataSource, option

    class Noise(DataSource):
        '''Chance.'''

        samples: int = option(6, help="samples", min=3)

        def load(self, data_dir):
            return {"train": (torch.rand(self.samples, 4), torch.arange(self.samples) % 3)}
"""


class Noise(DataSource):
    """Chance, of three classes."""

    samples: int = option(6, help="samples of the split", min=3)

    def load(self, data_dir: Path) -> dict[str, tuple[Tensor, Tensor]]:
        return {"train": (torch.rand(self.samples, 4), torch.arange(self.samples) % 3)}


pytestmark = pytest.mark.usefixtures("forget_written_modules")


def write(source: str, name: str = "own.py") -> str:
    """Write a file that needs no import; give how it is called in messages."""
    entry = write_module(f"import torch\n{source}\n", name)
    return f"dataset {entry.name!r} ({entry.origin})"


def load_made_by(make: Callable[..., object], name: str = "own") -> Dataset:
    return load_chosen(Component("dataset", name, "acme 1.0", make), Path("data"))


def load_given(given: object, name: str = "own") -> Dataset:
    return load_made_by(lambda: given, name)


def pair(count: int = 6, shape: tuple[int, ...] = (4,)) -> tuple[Tensor, Tensor]:
    return torch.rand(count, *shape), torch.arange(count) % 3


def refusal(given: object) -> str:
    """Tell for what something is refused, without the name that every message begins with."""
    with pytest.raises(DataError) as raised:
        load_given(given)
    start, _, problem = str(raised.value).partition("(acme 1.0) ")
    assert start == "dataset 'own' "
    return problem


# Sources


def test_a_source_is_made_of_its_options() -> None:
    assert Noise().samples == 6
    assert Noise(samples=9).samples == 9


def test_a_source_refuses_an_option_that_is_not_allowed() -> None:
    with pytest.raises(OptionError) as raised:
        Noise(samples=2)

    assert str(raised.value) == ("Noise.samples: 2 is out of range; expected an integer at least 3")


def test_a_source_refuses_an_option_that_it_has_not() -> None:
    with pytest.raises(UnknownNameError) as raised:
        Noise(sample=9)  # type: ignore[call-arg]

    assert str(raised.value) == (
        "Noise: unknown option 'sample'; did you mean 'samples'? Known: samples"
    )


def test_a_source_of_a_source_has_the_options_of_both() -> None:
    class Louder(Noise):
        loudness: float = option(2.0, help="factor", above=0)

    source = Louder(samples=4, loudness=3)

    assert (source.samples, source.loudness) == (4, 3.0)


def test_an_option_cannot_take_the_place_of_load() -> None:
    with pytest.raises(TypeError, match=r"Wrong\.load"):

        class Wrong(DataSource):
            load: str = option("all", help="what to load")  # type: ignore[assignment]


def test_the_number_of_classes_may_be_an_option() -> None:
    write(
        "from ignite_threenet import DataSource, option\n"
        "class Blobs(DataSource):\n"
        "    classes: int = option(3, help='number of blobs', min=2)\n"
        "    def load(self):\n"
        "        return {'train': (torch.rand(20, 4), torch.arange(20) % self.classes)}"
    )

    assert load_data("own.py", classes=5).classes == 5


@pytest.mark.parametrize("value", [Noise, load_data, lambda: {}])
def test_a_kind_of_source_or_a_function_can_be_a_dataset(value: object) -> None:
    assert is_dataset(value)


@pytest.mark.parametrize("value", [DataSource, Noise(), nn.Linear, dict, None, "noise", {}])
def test_nothing_else_can_be_a_dataset(value: object) -> None:
    assert not is_dataset(value)


# Loading what others bring


def test_a_dataset_of_an_installed_distribution_is_loaded_by_its_name(
    install_distribution: InstallDistribution,
) -> None:
    install_distribution(
        "acme-noise", {"noise": "acme_noise:Noise"}, {"acme_noise": NOISE}, group=GROUP
    )

    dataset = load_data("noise", samples=5)

    assert dataset.name == "noise"
    assert {name: split.labels.tolist() for name, split in dataset.splits.items()} == {
        "train": [0, 1, 2, 0, 1]
    }


def test_a_refusal_names_the_distribution_of_the_dataset(
    install_distribution: InstallDistribution,
) -> None:
    install_distribution(
        "acme", {"empty": "acme_empty:load"}, {"acme_empty": "def load(): ..."}, group=GROUP
    )

    with pytest.raises(DataError) as raised:
        load_data("empty")

    assert str(raised.value) == f"dataset 'empty' (acme 1.0) gives NoneType; {EXPECTED}"


def test_a_dataset_that_two_distributions_bring_is_refused(
    install_distribution: InstallDistribution,
) -> None:
    for name in ("acme", "bolt"):
        install_distribution(name, {"noise": f"{name}_noise:Noise"}, {}, group=GROUP)

    with pytest.raises(
        ComponentError, match=r"^dataset 'noise' comes from several .* acme 1\.0 and bo"
    ):
        load_data("noise")


def test_a_dataset_that_cannot_be_imported_is_refused_with_its_origin(
    install_distribution: InstallDistribution,
) -> None:
    install_distribution("acme", {"noise": "acme_missing:Noise"}, {}, group=GROUP)

    with pytest.raises(ComponentError) as raised:
        load_data("noise")

    error = raised.value
    assert (error.kind, error.name, error.origin) == ("dataset", "noise", "acme 1.0")
    assert str(error).startswith("dataset 'noise' (acme 1.0) cannot be imported from acme_missing:")


@pytest.mark.parametrize("parameters", ["", "data_dir", "*, data_dir", "**given", "size=6"])
def test_a_function_in_a_file_takes_the_data_directory_or_not(parameters: str) -> None:
    write(
        f"def load({parameters}):\n    return {{'train': (torch.rand(6, 4), torch.arange(6) % 3)}}"
    )

    dataset = load_data("own.py:load")

    assert (dataset.name, dataset.sample_shape, dataset.classes) == ("own", (4,), 3)


@pytest.mark.parametrize("parameters", ["data_dir", "**given"])
def test_a_function_is_given_the_data_directory_as_a_path(parameters: str) -> None:
    write(f"def load({parameters}):\n    raise ValueError(repr(locals()))")

    with pytest.raises(DataError) as raised:
        load_data("own.py:load", "elsewhere")

    assert repr(Path("elsewhere")) in str(raised.value)


@pytest.mark.parametrize("parameters", ["self", "self, data_dir"])
def test_a_source_may_load_without_the_data_directory(parameters: str) -> None:
    write(
        "from ignite_threenet import DataSource\n"
        "class Own(DataSource):\n"
        f"    def load({parameters}):\n"
        "        return {'train': (torch.rand(6, 4), torch.arange(6) % 3)}"
    )

    assert len(load_data("own.py").splits["train"]) == 6


def test_the_only_source_of_a_file_needs_no_name() -> None:
    Path("own.py").write_text(NOISE.replace("\n    ", "\n"))

    assert len(load_data("own.py", samples=9).splits["train"]) == 9


def test_a_name_that_the_file_has_not_is_refused_with_the_nearest() -> None:
    origin = write("def load(): ...")

    with pytest.raises(ComponentError) as raised:
        load_data("own.py:laod")

    assert str(raised.value) == f"{origin} has no 'laod' in own.py; did you mean 'load'?"


def test_a_name_of_something_else_in_the_file_is_refused() -> None:
    origin = write("samples = 3")

    with pytest.raises(ComponentError) as raised:
        load_data("own.py:samples")

    assert str(raised.value) == (
        f"{origin} is not an ignite_threenet.DataSource, or a function that loads one: "
        "own.py:samples"
    )


def test_an_option_that_the_dataset_has_not_is_refused() -> None:
    Path("own.py").write_text(NOISE.replace("\n    ", "\n"))

    with pytest.raises(UnknownNameError) as raised:
        load_data("own.py", sample=9)

    assert str(raised.value) == (
        "dataset own: unknown option 'sample'; did you mean 'samples'? Known: samples"
    )


def test_a_value_that_an_option_does_not_allow_is_refused() -> None:
    Path("own.py").write_text(NOISE.replace("\n    ", "\n"))

    with pytest.raises(OptionError) as raised:
        load_data("own.py", samples=2)

    assert (raised.value.where, raised.value.value) == ("dataset.samples", 2)


def test_a_built_in_dataset_has_no_options() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown option 'size'\.$"):
        load_data("digits", size=3)


def test_a_functions_options_are_those_of_its_signature() -> None:
    write("def load(size=3): return {'train': (torch.rand(size, 2), torch.arange(size) % 2)}")

    assert len(load_data("own.py:load").splits["train"]) == 3
    assert len(load_data("own.py:load", size=6).splits["train"]) == 6
    with pytest.raises(OptionError, match="size"):
        load_data("own.py:load", size="many")


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("raise KeyError('label')", "KeyError: 'label'"),
        ("raise ValueError", "ValueError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_what_a_dataset_raises_names_the_dataset(statement: str, reason: str) -> None:
    origin = write(f"def load(): {statement}")

    with pytest.raises(DataError) as raised:
        load_data("own.py:load")

    assert str(raised.value) == f"{origin} cannot be loaded: {reason}"
    assert type(raised.value.__cause__).__name__ == reason.partition(":")[0]


def test_a_function_that_wants_what_nobody_gives_is_told_so() -> None:
    write("def load(folder): ...")

    with pytest.raises(
        DataError, match=r"cannot be loaded: it takes folder, and is given data_dir, by these names"
    ):
        load_data("own.py:load")


def test_an_error_of_this_package_stays_what_it_is() -> None:
    problem = DataError("speech.bin: cut short")

    def load() -> None:
        raise problem

    with pytest.raises(DataError) as raised:
        load_made_by(load)

    assert raised.value is problem


def test_a_source_that_does_not_load_is_refused() -> None:
    class Lazy(DataSource): ...

    with pytest.raises(DataError) as raised:
        load_made_by(Lazy)

    assert str(raised.value) == "dataset 'own' (acme 1.0) cannot be loaded: NotImplementedError"


def test_a_source_that_refuses_its_options_cannot_be_made() -> None:
    class Picky(Noise):
        def __post_init__(self) -> None:
            raise ValueError("samples: an even number")

    with pytest.raises(ComponentError) as raised:
        load_chosen(Component("dataset", "own", "acme 1.0", Picky), Path())

    assert str(raised.value) == (
        "dataset 'own' (acme 1.0) cannot be made: ValueError: samples: an even number"
    )


# What others give


def test_samples_and_labels_by_split_become_a_dataset() -> None:
    train, test = pair(6), pair(3)

    dataset = load_given({"train": train, "test": test})

    assert (dataset.name, dataset.class_names) == ("own", ())
    for name, (samples, labels) in (("train", train), ("test", test)):
        assert torch.equal(dataset.splits[name].images, samples)
        assert torch.equal(dataset.splits[name].labels, labels)


def test_a_dataset_keeps_its_class_names_and_takes_the_name_that_it_was_chosen_by() -> None:
    given = Dataset("inner", {"train": Split(*pair())}, {}, ("ant", "bee", "cat", "dog"))

    dataset = load_given(given, name="animals")

    assert dataset.name == "animals"
    assert dataset.class_names == ("ant", "bee", "cat", "dog")
    assert dataset.classes == 4


def test_class_names_in_a_list_become_a_tuple() -> None:
    names: Any = ["ant", "bee", "cat"]

    dataset = load_given(Dataset("inner", {"train": Split(*pair())}, {}, names))

    assert dataset.class_names == ("ant", "bee", "cat")


def test_splits_come_in_the_order_of_train_valid_test() -> None:
    dataset = load_given({"test": pair(), "valid": pair(), "train": pair()})

    assert list(dataset.splits) == ["train", "valid", "test"]


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_samples_and_labels_may_be_lists_arrays_or_tensors(kind: Callable[..., Any]) -> None:
    given = [kind([[0.5, 1.0], [2.0, 4.0]]), kind([1, 0])]

    split = load_given({"train": given}).splits["train"]

    assert split.images.tolist() == [[0.5, 1.0], [2.0, 4.0]]
    assert split.labels.tolist() == [1, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floating_point_samples_become_float32(dtype: torch.dtype) -> None:
    samples = torch.tensor([[0.5], [2.0]], dtype=dtype)

    images = load_given({"train": (samples, [0, 1])}).splits["train"].images

    assert images.dtype == torch.float32
    assert images.tolist() == [[0.5], [2.0]]


def test_pixels_stay_uint8() -> None:
    pixels = torch.tensor([[0, 255], [7, 8]], dtype=torch.uint8)

    images = load_given({"train": (pixels, [0, 1])}).splits["train"].images

    assert images.dtype == torch.uint8
    assert torch.equal(images, pixels)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_integer_labels_become_int64(dtype: torch.dtype) -> None:
    labels = torch.tensor([0, 2, 1], dtype=dtype)

    loaded = load_given({"train": (torch.rand(3, 4), labels)}).splits["train"].labels

    assert loaded.dtype == torch.int64
    assert loaded.tolist() == [0, 2, 1]


def test_samples_come_off_the_graph_and_in_one_piece() -> None:
    samples = torch.rand(4, 3, requires_grad=True).T

    images = load_given({"train": (samples, [0, 1, 2])}).splits["train"].images

    assert torch.equal(images, samples)
    assert not images.requires_grad
    assert images.is_contiguous()


@pytest.fixture
def repeated_warnings() -> Iterator[None]:
    """Let torch give the warnings of which it gives one a process to each test."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


def test_a_read_only_array_is_taken_without_a_warning(repeated_warnings: None) -> None:
    samples = np.zeros((2, 3), dtype=np.float32)
    samples.flags.writeable = False

    assert len(load_given({"train": (samples, [0, 1])}).splits["train"]) == 2


def test_an_array_may_be_a_view_that_runs_backwards() -> None:
    samples = np.array([[1.0], [2.0]])[::-1]

    assert load_given({"train": (samples, [0, 1])}).splits["train"].images.tolist() == [
        [2.0],
        [1.0],
    ]


def test_samples_may_be_a_list_of_tensors() -> None:
    samples = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])]

    images = load_given({"train": (samples, [0, 1])}).splits["train"].images

    assert images.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_samples_have_digests_of_their_kind_their_shape_and_their_bytes() -> None:
    train, test = pair(6), pair(3)

    digests = load_given({"train": train, "test": test}).sha256

    assert digests == {
        f"{name}.{part}": hashlib.sha256(
            f"{tensor.dtype} {tuple(tensor.shape)} ".encode() + tensor.numpy().tobytes()
        ).hexdigest()
        for name, tensors in (("train", train), ("test", test))
        for part, tensor in zip(("images", "labels"), tensors, strict=True)
    }


def test_digests_are_those_of_the_samples_and_not_those_that_were_given() -> None:
    samples, labels = pair()

    digests = load_given(Dataset("inner", {"train": Split(samples, labels)}, {"file": "00"})).sha256

    assert digests == load_given({"train": (samples.double(), labels.int())}).sha256


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("own", "own"),
        ("my pets (2024)", "my-pets-2024"),
        ("a/b\\c:d", "a-b-c-d"),
        ("v1.5_b", "v1.5_b"),
        ("..hidden", "hidden"),
        ("кошки", "кошки"),
        ("", "dataset"),
        ("???", "dataset"),
    ],
)
def test_a_dataset_has_a_name_that_a_directory_can_have(name: str, expected: str) -> None:
    assert load_given({"train": pair()}, name=name).name == expected


# What is refused


@pytest.mark.parametrize(
    ("given", "kind"), [(None, "NoneType"), ([], "list"), (pair(), "tuple"), (iter(()), "tuple_it")]
)
def test_what_is_no_dataset_is_refused(given: object, kind: str) -> None:
    assert refusal(given).startswith(f"gives {kind}")
    assert refusal(given).endswith(f"; {EXPECTED}")


@pytest.mark.parametrize(
    "given",
    [
        Dataset("inner", {"train": pair()}, {}),  # type: ignore[dict-item]
        Dataset("inner", None, {}),  # type: ignore[arg-type]
        Dataset("inner", {"train": Split(*pair())}, {}, None),  # type: ignore[arg-type]
    ],
    ids=["a pair in place of a Split", "no splits", "no tuple of class names"],
)
def test_a_dataset_of_wrong_parts_is_refused(given: Dataset) -> None:
    with pytest.raises(DataError, match=r"^dataset 'own' \(acme 1\.0\) "):
        load_given(given)


@pytest.mark.parametrize(
    ("given", "only"),
    [({}, "none"), ({"test": pair()}, "test"), ({"Train": pair(), 7: pair()}, "Train, 7")],
)
def test_a_dataset_without_train_is_refused_and_told_what_it_has(given: object, only: str) -> None:
    assert refusal(given) == f"has no split 'train', only {only}"


@pytest.mark.parametrize("name", ["val", "Test", "", 7])
def test_a_split_of_another_name_is_refused(name: object) -> None:
    assert refusal({"train": pair(), name: pair()}) == (
        f"has the split {name!r}; expected train, valid, test"
    )


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (torch.zeros(2, 3), "Tensor"),
        (pair()[:1], "tuple"),
        ((*pair(), None), "tuple"),
        ({}, "dict"),
        (None, "NoneType"),
    ],
)
def test_a_split_that_is_no_pair_is_refused(given: object, kind: str) -> None:
    assert refusal({"train": given}) == f"gives {kind} for the split 'train'; {EXPECTED}"


@pytest.mark.parametrize(
    "samples",
    [
        None,
        "pixels",
        [[1.0, 2.0], [3.0]],
        np.array([["a"], ["b"]]),
        np.array([[None], [None]]),
        torch.zeros(2, 3, device="meta"),
        torch.zeros(2, 3).to_sparse(),
    ],
    ids=["None", "text", "ragged", "letters", "objects", "meta", "sparse"],
)
def test_samples_that_cannot_become_a_tensor_are_refused(samples: object) -> None:
    assert refusal({"train": (samples, [0, 1])}).startswith("train: ")


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.complex64])
def test_samples_of_another_dtype_are_refused(dtype: torch.dtype) -> None:
    assert refusal({"train": (torch.zeros(2, 3, dtype=dtype), [0, 1])}) == (
        f"train: the samples are {dtype} (2, 3); expected (N, ...) of torch.uint8 or "
        "floating-point numbers"
    )


@pytest.mark.parametrize("shape", [(), (2,)])
def test_samples_without_a_shape_are_refused(shape: tuple[int, ...]) -> None:
    assert refusal({"train": (torch.zeros(shape), [0, 1])}).startswith(
        f"train: the samples are torch.float32 {shape}; expected (N, ...) of "
    )


@pytest.mark.parametrize("shape", [(2, 0), (2, 1, 0, 28)])
def test_samples_of_nothing_are_refused(shape: tuple[int, ...]) -> None:
    assert str(shape) in refusal({"train": (torch.zeros(shape), [0, 1])})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_samples_that_are_not_finite_in_float32_are_refused(value: float) -> None:
    samples = torch.zeros(2, 3, dtype=torch.float64)
    samples[1, 2] = value

    assert refusal({"train": pair(), "test": (samples, [0, 1])}) == (
        "test: the samples hold NaN or infinity"
    )


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (torch.zeros(2), "torch.float32 (2,)"),
        (torch.zeros(2, dtype=torch.complex64), "torch.complex64 (2,)"),
        (torch.zeros(2, 1, dtype=torch.int64), "torch.int64 (2, 1)"),
        (torch.tensor(1), "torch.int64 ()"),
    ],
)
def test_labels_that_are_no_row_of_integers_are_refused(labels: Tensor, shown: str) -> None:
    assert refusal({"train": (torch.zeros(2, 3), labels)}).startswith(
        f"train: the labels are {shown}; expected (N,) integers"
    )


@pytest.mark.parametrize(("samples", "labels"), [(3, 2), (2, 3), (0, 0)])
def test_samples_need_as_many_labels_and_at_least_one(samples: int, labels: int) -> None:
    given = torch.zeros(samples, 4), torch.zeros(labels, dtype=torch.int64)

    assert refusal({"train": given}) == f"train: {samples} samples and {labels} labels"


def test_splits_with_samples_of_other_shapes_are_refused() -> None:
    assert refusal({"train": pair(shape=(4,)), "test": pair(shape=(2, 2))}) == (
        "test: the samples are torch.float32 (2, 2), those of train torch.float32 (4,)"
    )


def test_splits_with_samples_of_other_dtypes_are_refused() -> None:
    pixels = torch.zeros(3, 4, dtype=torch.uint8)

    assert refusal({"train": pair(), "valid": (pixels, [0, 1, 2])}) == (
        "valid: the samples are torch.uint8 (4,), those of train torch.float32 (4,)"
    )


def test_a_negative_label_is_refused() -> None:
    assert refusal({"train": pair(), "test": (torch.zeros(2, 4), [-1, 2])}) == (
        "test: has the label -1; expected 0 to 2"
    )


def test_labels_that_are_all_negative_are_refused_with_what_is_allowed() -> None:
    problem = refusal({"train": (torch.zeros(2, 4), [-1, -1])})

    assert problem.startswith("train: has the label -1; expected ")
    assert not problem.endswith(" 0 to -1")


def test_a_label_without_a_name_is_refused() -> None:
    given = Dataset("inner", {"train": Split(*pair())}, {}, ("ant", "bee"))

    assert refusal(given) == "train: has the label 2; expected 0 to 1"


@pytest.mark.parametrize("names", ["abc", (1, 2, 3), ("ant", "ant", "bee")])
def test_class_names_that_are_no_texts_or_not_distinct_are_refused(names: Any) -> None:
    assert "class" in refusal(Dataset("inner", {"train": Split(*pair())}, {}, names))


@pytest.mark.parametrize("names", [(), ("ant",)])
def test_a_single_class_is_refused(names: tuple[str, ...]) -> None:
    given = Dataset("inner", {"train": Split(torch.zeros(2, 4), torch.zeros(2).long())}, {}, names)

    assert refusal(given) == "has a single class; there is nothing to tell apart"


def test_a_class_that_only_the_test_has_counts() -> None:
    dataset = load_given({"train": pair(), "test": (torch.zeros(2, 4), [0, 5])})

    assert dataset.classes == 6


@pytest.mark.parametrize(
    ("labels", "missing"),
    [
        ([1, 2, 1, 2], "1 of the 3 classes: 0"),
        ([0, 3, 1, 3], "1 of the 4 classes: 2"),
        ([0, 3, 3, 0], "2 of the 4 classes: 1, 2"),
    ],
)
def test_classes_without_a_sample_to_train_on_are_warned_of(
    labels: list[int], missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = load_given({"train": (torch.rand(4, 3), labels)})

    assert dataset.classes == max(labels) + 1
    assert caplog.messages == [
        f"dataset 'own' (acme 1.0) train: has no sample of {missing}; labels count the classes "
        "from 0, without gaps, such as np.unique(labels, return_inverse=True)[1]"
    ]


def test_a_class_that_is_named_and_has_no_sample_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    load_given(Dataset("inner", {"train": Split(*pair())}, {}, ("ant", "bee", "cat", "dog")))

    assert caplog.messages == [
        "dataset 'own' (acme 1.0) train: has no sample of 1 of the 4 classes: dog"
    ]


def test_labels_without_a_gap_are_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    load_given({"train": pair(), "test": pair(2)})

    assert caplog.messages == []


def test_more_than_half_of_the_classes_without_a_sample_to_train_on_are_refused() -> None:
    problem = refusal({"train": (torch.rand(20, 3), [5, 9] * 10)})

    assert problem == (
        "train: has no sample of 8 of the 10 classes: 0, 1, 2, 3, 4, 6, 7, 8; labels count the "
        "classes from 0, without gaps, such as np.unique(labels, return_inverse=True)[1]"
    )


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (["cat", "dog"], "of NumPy's dtype <U3; expected numbers, classes from 0, such as "),
        (np.array([0, 1], dtype=object), "of NumPy's dtype object; expected numbers, classes "),
        (np.array([0, 1], dtype="M8[s]"), "of NumPy's dtype datetime64[s]; expected numbers, "),
        ([0.0, float("nan")], "torch.float64 (2,); expected (N,) integers"),
        ([[0], [1]], "torch.int64 (2, 1); expected (N,) integers, such as labels.flatten()"),
        ([[1, 0], [0, 1]], "torch.int64 (2, 2); expected (N,) integers, such as labels.argmax(1)"),
        (torch.eye(2).to_sparse(), "a sparse or nested tensor; expected a dense one"),
    ],
    ids=["texts", "objects", "dates", "NaN", "column", "one-hot", "sparse"],
)
def test_labels_that_are_no_classes_are_refused_with_what_is_expected(
    labels: object, problem: str
) -> None:
    assert refusal({"train": (torch.zeros(2, 3), labels)}).startswith(
        f"train: the labels are {problem}"
    )


MASKED = np.ma.masked_array([[1.0, 2.0], [3.0, 4.0]], mask=[[False, True], [False, False]])


@pytest.mark.parametrize(
    ("samples", "problem"),
    [
        (MASKED, "a masked array, of which some values are masked; expected one without a mask"),
        (list(MASKED), "a masked array, of which some values are masked; expected one without "),
        (np.zeros(2, dtype="f4,f4"), "of NumPy's dtype [('f0', '<f4'), ('f1', '<f4')]; expected "),
        (
            torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)], layout=torch.jagged),
            "a sparse or nested tensor; expected a dense one",
        ),
    ],
    ids=["masked", "masked rows", "records", "nested"],
)
def test_samples_of_which_something_would_be_lost_are_refused(
    samples: object, problem: str
) -> None:
    assert refusal({"train": (samples, [0, 1])}).startswith(f"train: the samples are {problem}")


def test_a_masked_array_without_a_masked_value_is_taken() -> None:
    samples = np.ma.masked_array([[1.0, 2.0], [3.0, 4.0]])

    assert load_given({"train": (samples, [0, 1])}).sample_shape == (2,)


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (8, 6, 4), (5, 6, 3)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_with_the_channels_last_are_refused_or_if_they_are_numbers_warned_of(
    shape: tuple[int, ...], dtype: torch.dtype, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"train": (torch.zeros(3, *shape, dtype=dtype), [0, 1, 2])}
    problem = (
        f"the samples are {dtype} {shape}, as images with the channels last; a convolution takes "
        "them first: samples.permute(0, 3, 1, 2), or in NumPy array.transpose(0, 3, 1, 2)"
    )

    if dtype == torch.uint8:
        assert refusal(given) == problem
    else:
        load_given(given)
        assert caplog.messages == [f"dataset 'own' (acme 1.0) {problem}"]


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (1, 8, 3), (64, 4, 4), (6, 9), (5,)])
def test_samples_with_the_channels_first_are_taken_without_a_word(
    shape: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    load_given({"train": (torch.zeros(3, *shape), [0, 1, 2])})

    assert caplog.messages == []


# Memory

MEASURE = """
    from pathlib import Path
    import numpy as np, torch
    from ignite_threenet.data.source import load_chosen
    from ignite_threenet.extensions.component import Component

    def peak():
        words = Path("/proc/self/status").read_text().split()
        return int(words[words.index("VmHWM:") + 1]) * 1024

    def load():
        numbers = np.ones((64, 1, 512, 512), dtype=np.float32)
        labels = np.arange(64) % 2
        return {"train": (KIND(numbers), labels)}

    def run():
        dataset = load_chosen(Component("dataset", "own", "", load), None)
        return dataset, dataset.scaling()

    small = torch.ones(2, 1, 2, 2)
    torch.var_mean(small.double()), small.aminmax()
    before = peak()
    dataset, scaling = run()
    print((peak() - before) / dataset.splits["train"].images.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak cannot be read here")
@pytest.mark.parametrize("kind", ["", "torch.from_numpy"])
def test_numbers_take_little_more_memory_than_they_are_large(kind: str) -> None:
    code = textwrap.dedent(MEASURE).replace("KIND", kind)

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert 0.9 < float(result.stdout or "nan") < 1.4, result


@pytest.mark.parametrize("part", [3, 7, 100, 10**6])
def test_the_scaling_of_numbers_is_that_of_all_at_once(
    part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = torch.randn(100, 5) * 3 + 40
    dataset = Dataset("own", {"train": Split(samples, torch.arange(100))}, {})
    std, mean = torch.std_mean(samples.double(), correction=0)
    monkeypatch.setattr("ignite_threenet.data.dataset._NUMBERS_AT_ONCE", part)

    scaling = dataset.scaling()

    # To the bit if they are few, as they all were once.
    accuracy = 0 if part > samples.numel() else 1e-14
    assert scaling == pytest.approx((mean.item(), std.item()), rel=accuracy, abs=0)


def test_an_array_on_disk_is_read_once() -> None:
    np.save("samples.npy", np.ones((2, 3), dtype=np.float32))
    samples = np.load("samples.npy", mmap_mode="r+")

    images = load_given({"train": (samples[:], [0, 1])}).splits["train"].images
    samples[:] = 7

    assert torch.equal(images, torch.ones(2, 3))


def test_a_refusal_of_what_no_distribution_brought_names_it_alone() -> None:
    part = Component("dataset", "pets", "", lambda: None)

    with pytest.raises(DataError, match=r"^dataset 'pets' gives NoneType; "):
        load_chosen(part, Path())


def test_a_dataset_keeps_its_notes_as_json_would() -> None:
    given = Dataset("inner", {"train": Split(*pair())}, {}, notes={"left out": (1, 2)})

    assert load_given(given).notes == {"left out": [1, 2]}


@pytest.mark.parametrize("notes", [{"a": object()}, {"a": float("nan")}, [1], None])
def test_notes_that_json_does_not_know_are_refused(notes: Any) -> None:
    given = Dataset("inner", {"train": Split(*pair())}, {}, notes=notes)

    assert refusal(given).startswith("has ")
    assert "notes" in refusal(given)


# The named datasets


@pytest.fixture
def small_mnist(monkeypatch: pytest.MonkeyPatch, small_digits: None) -> None:
    """Let drawn digits be what MNIST's source gives."""
    source = replace(SOURCES["digits"], name="mnist", folder="MNIST")
    monkeypatch.setitem(SOURCES, "mnist", source)


def test_a_dataset_has_images_and_labels_to_train_and_to_test(
    tmp_path: Path, small_digits: None
) -> None:
    dataset = load_data("digits", tmp_path)

    assert dataset.name == "digits"
    assert {
        name: (tuple(split.images.shape), split.images.dtype, split.labels.shape)
        for name, split in dataset.splits.items()
    } == {
        "train": ((512, 1, 28, 28), torch.uint8, (512,)),
        "test": ((128, 1, 28, 28), torch.uint8, (128,)),
    }
    assert all(split.labels.dtype == torch.int64 for split in dataset.splits.values())
    assert set(dataset.sha256) == set(FILE_NAMES)


def test_the_data_directory_is_data_and_the_dataset_auto_unless_they_are_named(
    small_mnist: None,
) -> None:
    dataset = load_data()

    assert dataset.name == "mnist"
    assert Path("data/MNIST/raw", TRAIN_LABELS).is_file()


def test_auto_takes_mnist_where_it_is_on_disk(
    tmp_path: Path, small_mnist: None, no_network: None, caplog: pytest.LogCaptureFixture
) -> None:
    on_disk = load_data("mnist", tmp_path)
    caplog.clear()

    dataset = load_data("auto", tmp_path)

    assert (dataset.name, dataset.sha256) == ("mnist", on_disk.sha256)
    assert caplog.records == []


def test_auto_falls_to_digits_where_no_server_is_reachable_and_says_so(
    tmp_path: Path, small_digits: None, no_network: None, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = load_data("auto", tmp_path)

    assert dataset.name == "digits"
    assert caplog.record_tuples == [
        (
            "ignite_threenet",
            logging.WARNING,
            "mnist is not on disk, and its servers cannot be reached",
        ),
        (
            "ignite_threenet",
            logging.WARNING,
            "TRAINING ON THE EMBEDDED DATASET 'digits' INSTEAD OF MNIST",
        ),
    ]


def test_auto_does_not_replace_a_damaged_mnist(
    tmp_path: Path, small_mnist: None, no_network: None
) -> None:
    load_data("mnist", tmp_path)
    damaged = tmp_path / "MNIST" / "raw" / TRAIN_LABELS
    damaged.write_bytes(b"")

    with pytest.raises(DataError) as raised:
        load_data("auto", tmp_path)

    assert str(raised.value).startswith(f"{damaged}: has the SHA-256 ")
    assert not (tmp_path / "digits").exists()


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist"])
def test_a_dataset_that_is_named_has_no_substitute(
    tmp_path: Path, no_network: None, name: str
) -> None:
    with pytest.raises(UnreachableError) as raised:
        load_data(name, tmp_path)

    assert raised.value.reason == f"{name} is not on disk, and its servers cannot be reached"
    assert not (tmp_path / "digits").exists()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("mnits", "mnist"), ("fashion_mnist", "fashion-mnist"), ("Digits", "digits"), ("", None)],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(name: str, nearest: str | None) -> None:
    with pytest.raises(UnknownNameError) as raised:
        load_data(name)

    guess = f"; did you mean {nearest!r}?" if nearest else "."
    assert raised.value.nearest == nearest
    assert str(raised.value) == (
        f"unknown dataset {name!r}{guess} Known: auto, digits, fashion-mnist, folder, kmnist, mnist"
    )


# The real MNIST


def test_mnist_has_its_60_000_and_10_000_samples(mnist_dir: Path) -> None:
    splits = load_data("mnist", mnist_dir).splits

    assert {name: len(split) for name, split in splits.items()} == {"train": 60_000, "test": 10_000}


def test_mnist_is_known_by_the_digests_of_its_four_files(mnist_dir: Path) -> None:
    raw = mnist_dir / "MNIST" / "raw"

    dataset = load_data("mnist", mnist_dir)

    assert dataset.sha256 == {
        name: hashlib.sha256((raw / name).read_bytes()).hexdigest() for name in FILE_NAMES
    }


@pytest.mark.parametrize("split", ["train", "test"])
def test_mnist_is_what_torchvision_reads(mnist_dir: Path, split: str) -> None:
    expected = datasets.MNIST(mnist_dir, train=split == "train")

    loaded = load_data("mnist", mnist_dir).splits[split]

    assert torch.equal(loaded.images[:, 0], expected.data)
    assert torch.equal(loaded.labels, expected.targets)


def test_reading_mnist_that_is_on_disk_does_not_import_torchvision(mnist_dir: Path) -> None:
    code = (
        "import sys; from ignite_threenet import load_data\n"
        f"load_data('mnist', {str(mnist_dir)!r})\n"
        "print('torchvision' in sys.modules)"
    )

    assert run_code(code) == "False\n"
