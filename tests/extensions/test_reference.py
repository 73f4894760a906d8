"""Tests of what a user types to name something, and of what a module brings."""

from pathlib import Path
from typing import Any

import pytest
import torchvision.models
from torch import nn

from ignite_threenet import UnknownNameError
from ignite_threenet.extensions.component import find_component
from ignite_threenet.extensions.reference import Reference
from ignite_threenet.models.creation import choose_model
from ignite_threenet.options.signature import read_signature


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("best", ("best", "best", "")),
        ("second=best", ("second", "best", "")),
        ("net.py", ("net", "net.py", "")),
        ("~/nets/my_net.py:Net", ("my-net", str(Path.home() / "nets/my_net.py"), "Net")),
        ("torch.optim:RAdam", ("RAdam", "torch.optim", "RAdam")),
        ("top=acme.metrics:TopK", ("top", "acme.metrics", "TopK")),
        ("C:/pets", ("C:/pets", "C:/pets", "")),
        ("./pets/", ("./pets/", "./pets/", "")),
        (Path("nets") / "net.py", ("net", "nets/net.py", "")),
    ],
)
def test_a_word_is_read(word: Any, expected: tuple[str, str, str]) -> None:
    reference = Reference.parse(word)

    assert (reference.name, reference.target, reference.attribute) == expected


def test_a_file_is_spelled_as_seen_from_anywhere_and_a_name_is_left_alone() -> None:
    assert Reference.parse("net.py:Net").located(Path("/nets")).value == "/nets/net.py:Net"
    assert Reference.parse("~/net.py").located().value == str(Path("~/net.py").expanduser())
    assert Reference.parse("torch.optim:RAdam").located(Path("/nets")).value == "torch.optim:RAdam"
    assert Reference.parse("best").located(Path("/nets")).value == "best"


def test_a_network_is_found_in_a_module_with_its_distribution() -> None:
    found = find_component("model", "torchvision.models:resnet18")

    assert found.name == "resnet18"
    assert found.origin.startswith("torchvision ")
    assert choose_model("torchvision.models:resnet18").description.startswith("ResNet-18")


def test_a_module_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown model module 'acme\.nets'"):
        find_component("model", "acme.nets:Net")


def test_a_functions_options_are_those_of_its_signature() -> None:
    chosen = choose_model("torchvision.models:resnet18")

    assert chosen.make is torchvision.models.resnet18
    options = {spec.name: spec for spec in chosen.specs}
    assert set(options) == {"weights", "progress"}
    assert options["progress"].is_flag
    assert options["weights"].convert("default", "--model.weights", text=True) is not None


def test_a_class_that_declares_no_options_offers_its_constructors() -> None:
    class Net(nn.Linear):
        def __init__(self, input_shape: tuple[int, ...], classes: int, width: int = 5) -> None:
            super().__init__(input_shape[0], classes)

    found = read_signature(Net, skip=("input_shape", "classes"))

    assert [(spec.name, spec.default) for spec in found.specs] == [("width", 5)]
    assert found.left_out == {}


def test_what_cannot_be_an_option_is_left_out_with_the_reason() -> None:
    def make(a, b=None, c=print, *, d: "Gone" = 3, e: float = 1.5, f: bool = True): ...  # type: ignore  # noqa: F821

    found = read_signature(make)

    assert [spec.name for spec in found.specs] == ["d", "e", "f"]
    assert found.left_out == {
        "a": "it has no default",
        "b": "its type cannot be an option",
        "c": "its type cannot be an option",
    }


def test_only_what_was_set_is_handed_to_a_function() -> None:
    given: dict[str, Any] = {}

    def make(width: float = 3, **others: Any) -> nn.Module:
        given.update(others, width=width)
        return nn.Linear(2, 2)

    from ignite_threenet.extensions.component import Component

    part = Component("model", "own", "", make)
    part.with_options({}).create()
    assert given == {"width": 3}
    part.with_options({"width": 4}).create()
    assert given == {"width": 4.0}
