"""Tests of the networks: your own, how one is made for the data, and ThreeNet."""

import copy
import math
import random
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from helpers import assert_same_weights
from torch import Tensor, nn

from ignite_threenet import ComponentError, Model, OptionError, ThreeNet, UnknownNameError, option
from ignite_threenet.data.dataset import DataShape
from ignite_threenet.errors import DataError
from ignite_threenet.extensions.component import Component
from ignite_threenet.models.creation import component_of, create_model, is_model
from ignite_threenet.options.declaration import option_specs
from ignite_threenet.training.engines import evaluation_mode
from ignite_threenet.training.randomness import get_random_state

SHAPE = DataShape((5,), 3)


class Linear(Model):
    """One layer."""

    bias: bool = option(True, help="whether there is a bias")
    scale: float = option(1.0, help="what the outputs are multiplied by", above=0)

    def build(self) -> None:
        pixels = math.prod(self.input_shape)
        self.layer = nn.Linear(pixels, self.classes, bias=self.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(inputs.flatten(start_dim=1)) * self.scale
        return outputs


def layer_sizes(model: nn.Module) -> list[tuple[int, int]]:
    return [
        (layer.in_features, layer.out_features)
        for layer in model.modules()
        if isinstance(layer, nn.Linear)
    ]


# A network's options


def test_a_network_has_its_defaults() -> None:
    model = Linear()

    assert (model.input_shape, model.classes) == ((1, 28, 28), 10)
    assert (model.bias, model.scale) == (True, 1.0)


def test_a_network_takes_its_options_by_name() -> None:
    model = Linear(input_shape=(2, 3), classes=4, bias=False, scale=0.5)

    assert (model.input_shape, model.classes) == ((2, 3), 4)
    assert (model.bias, model.scale) == (False, 0.5)


def test_a_network_takes_nothing_by_position() -> None:
    positional: Any = Linear

    with pytest.raises(TypeError, match="positional argument"):
        positional((2, 3))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"input_shape": (2, 0)}, "is out of range"),
        ({"input_shape": 784}, "is not a list of values"),
        ({"classes": 0}, "is out of range"),
        ({"classes": 2.5}, "is not an integer"),
        ({"bias": 1}, "is not true or false"),
        ({"scale": 0}, "is out of range"),
    ],
)
def test_a_networks_options_are_checked(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(OptionError) as raised:
        Linear(**options)

    assert raised.value.where == f"Linear.{next(iter(options))}"
    assert raised.value.problem == problem


def test_an_option_that_a_network_does_not_have_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as raised:
        Linear(scales=2)  # type: ignore[call-arg]

    assert str(raised.value) == (
        "Linear: unknown option 'scales'; did you mean 'scale'? "
        "Known: bias, classes, input_shape, scale"
    )


def test_a_network_inherits_options_and_may_declare_them_anew() -> None:
    class Loud(Linear):
        scale: float = option(3.0, help="what the outputs are multiplied by", above=0)

    assert (Loud().scale, Loud().bias, Linear().scale) == (3.0, True, 1.0)


def test_a_network_need_not_have_options_of_its_own() -> None:
    class Bare(Model):
        pass

    assert [spec.name for spec in option_specs(Bare)] == ["input_shape", "classes"]
    assert list(Bare().parameters()) == []


@pytest.mark.parametrize("name", ["__init__", "__post_init__"])
def test_a_constructor_of_ones_own_is_refused_with_what_to_write_instead(name: str) -> None:
    with pytest.raises(TypeError) as raised:
        type("Own", (Model,), {name: lambda self: None})

    assert str(raised.value) == f"Own.{name}: made from the options; use build"


@pytest.mark.parametrize("name", ["training", "train", "float"])
def test_an_option_is_not_called_as_what_every_network_has(name: str) -> None:
    body = {"__annotations__": {name: bool}, "__module__": __name__, name: option(True, help="")}

    with pytest.raises(TypeError, match=rf"^Own\.{name}: "):
        type("Own", (Model,), body)


# A network's layers


def test_the_layers_are_made_once_of_the_options() -> None:
    built: list[tuple[int, ...]] = []

    class Recording(Model):
        width: int = option(7, help="neurons")

        def build(self) -> None:
            built.append((*self.input_shape, self.width, self.classes))

    Recording(input_shape=(2, 3), width=8)

    assert built == [(2, 3, 8, 10)]


def test_a_layer_that_an_option_of_its_name_would_hide_is_refused() -> None:
    class Headed(Model):
        head: int = option(4, help="neurons")

        def build(self) -> None:
            self.head = nn.Linear(5, self.head)  # type: ignore[assignment]

    with pytest.raises(TypeError, match=r"^Headed\.head: "):
        Headed()


def test_a_network_shows_its_layers_as_torch_does() -> None:
    assert repr(Linear(input_shape=(5,), classes=3)) == (
        "Linear(\n  (layer): Linear(in_features=5, out_features=3, bias=True)\n)"
    )


def test_two_networks_of_equal_options_are_two() -> None:
    assert Linear() != Linear()
    assert len({Linear(), Linear()}) == 2


def test_a_deep_copy_has_the_options_and_shares_no_weights() -> None:
    model, inputs = Linear(input_shape=(5,), classes=3, scale=2), torch.rand(4, 5)
    twin = copy.deepcopy(model)
    before = model(inputs)
    nn.init.zeros_(model.layer.weight)

    assert (twin.input_shape, twin.classes, twin.scale) == ((5,), 3, 2.0)
    assert torch.equal(twin(inputs), before)


def test_the_state_is_the_weights_alone_and_makes_another_network_the_same() -> None:
    model, other = Linear(), Linear()
    state = model.state_dict()

    other.load_state_dict(state)

    assert list(state) == ["layer.weight", "layer.bias"]
    assert torch.equal(other.layer.weight, model.layer.weight)


# What can make a network


@pytest.mark.parametrize("value", [Linear, nn.Linear, layer_sizes, partial(nn.Linear, 5, 3)])
def test_a_kind_of_module_or_a_function_can_make_a_network(value: object) -> None:
    assert is_model(value)


@pytest.mark.parametrize("value", [Model, Linear(), nn.Identity(), dict, "Linear", None])
def test_anything_else_cannot_make_a_network(value: object) -> None:
    assert not is_model(value)


# Making a network for the data


def make_for_data(make: Callable[..., Any]) -> nn.Module:
    return create_model(component_of(make), SHAPE)


def refusal(make: Callable[..., Any]) -> ComponentError:
    with pytest.raises(ComponentError) as raised:
        make_for_data(make)
    return raised.value


def test_a_function_is_told_what_the_data_is_like() -> None:
    def make(input_shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Linear(input_shape[0], classes)

    assert layer_sizes(make_for_data(make)) == [(5, 3)]


def test_a_function_is_told_no_more_than_it_takes() -> None:
    def make(classes: int, width: int = 7) -> nn.Module:
        return nn.Sequential(nn.Linear(5, width), nn.Linear(width, classes))

    assert layer_sizes(make_for_data(make)) == [(5, 7), (7, 3)]


def test_a_function_need_not_take_anything() -> None:
    assert layer_sizes(make_for_data(lambda: nn.Linear(5, 3))) == [(5, 3)]


def test_a_function_that_takes_whatever_there_is_gets_all() -> None:
    given: dict[str, Any] = {}

    def make(**options: Any) -> nn.Module:
        given.update(options)
        return nn.Linear(5, 3)

    make_for_data(make)

    assert given == {"input_shape": (5,), "classes": 3}


def test_a_class_that_says_nothing_of_what_it_takes_is_told_nothing() -> None:
    class Net(nn.Linear):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(5, 3, *args, **kwargs)

    assert layer_sizes(make_for_data(Net)) == [(5, 3)]


def test_what_a_function_was_given_before_stays() -> None:
    def make(width: int, classes: int) -> nn.Module:
        return nn.Sequential(nn.Linear(5, width), nn.Linear(width, classes))

    assert layer_sizes(make_for_data(partial(make, 7))) == [(5, 7), (7, 3)]


def test_a_class_of_torch_is_told_what_the_data_is_like() -> None:
    class Net(nn.Module):
        def __init__(self, classes: int) -> None:
            super().__init__()
            self.layer = nn.Linear(5, classes)

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.layer(inputs)
            return outputs

    assert layer_sizes(make_for_data(Net)) == [(5, 3)]


def test_a_network_with_options_is_told_them_and_what_the_data_is_like() -> None:
    part = component_of(Linear).with_options({"scale": 2})

    model = create_model(part, SHAPE)

    assert isinstance(model, Linear)
    assert (model.input_shape, model.classes, model.scale) == ((5,), 3, 2.0)


def test_a_class_or_a_function_is_called_by_its_name() -> None:
    assert component_of(Linear) == Component(
        "model", "Linear", "", Linear, options={"bias": True, "scale": 1.0}
    )
    assert component_of(make_for_data).name == "make_for_data"
    assert component_of(partial(nn.Linear, 5, 3)).name == "partial"


def test_where_the_data_is_not_known_a_network_has_its_defaults_and_is_not_tried_out() -> None:
    class Untried(Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            raise AssertionError

    assert layer_sizes(create_model(component_of(Untried), None)) == [(784, 10)]


# Networks that cannot be made


@pytest.mark.parametrize(("made", "kind"), [(None, "NoneType"), (nn.Linear, "type"), (5, "int")])
@pytest.mark.parametrize("shape", [SHAPE, None])
def test_what_is_no_network_is_refused(made: object, kind: str, shape: DataShape | None) -> None:
    def make() -> Any:
        return made

    with pytest.raises(ComponentError) as raised:
        create_model(component_of(make), shape)

    assert str(raised.value) == f"model 'make' gives {kind}; expected a torch.nn.Module"


def test_what_raises_is_told_with_the_reason() -> None:
    def make(classes: int) -> nn.Module:
        raise ValueError(f"{classes} classes are too few")

    error = refusal(make)

    assert str(error) == "model 'make' cannot be made: ValueError: 3 classes are too few"
    assert (error.kind, error.name, error.origin) == ("model", "make", "")
    assert isinstance(error.__cause__, ValueError)


@pytest.mark.parametrize("model", [nn.Linear(5, 3).requires_grad_(False), nn.Identity()])
@pytest.mark.parametrize("shape", [SHAPE, None])
def test_a_network_without_anything_to_train_is_refused(
    shape: DataShape | None, model: nn.Module
) -> None:
    def make() -> nn.Module:
        return model

    with pytest.raises(ComponentError) as raised:
        create_model(component_of(make), shape)

    assert str(raised.value) == "model 'make' has no parameter to train"


def test_a_function_that_needs_what_nobody_knows_is_refused() -> None:
    def make(width: int) -> nn.Module:
        return nn.Linear(5, width)

    assert str(refusal(make)) == (
        "model 'make' cannot be made: it takes width, and is given classes, input_shape, "
        "by these names"
    )


@pytest.mark.parametrize("make", [lambda: nn.Linear(6, 3), lambda: nn.Conv2d(1, 1, 1)])
def test_a_network_for_other_data_is_refused(make: Callable[[], nn.Module]) -> None:
    message = str(refusal(make))

    assert message.startswith(
        "model '<lambda>' cannot take a batch of shape (2, 5): RuntimeError: "
    )


@pytest.mark.parametrize(
    ("outputs", "found"),
    [
        (torch.zeros(2, 4), "(2, 4)"),
        (torch.zeros(2), "(2,)"),
        (torch.zeros(2, 3, 1), "(2, 3, 1)"),
        (torch.zeros(1, 3), "(1, 3)"),
        ((torch.zeros(2, 3),), "tuple"),
        (None, "NoneType"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_outputs_that_are_not_a_number_for_each_class_are_refused(
    outputs: object, found: str
) -> None:
    class Net(nn.Linear):
        def forward(self, inputs: Tensor) -> Any:
            return outputs

    assert str(refusal(lambda: Net(5, 3))) == (
        f"model '<lambda>' gives {found} for a batch of shape (2, 5); expected (2, 3), a number "
        "for each class"
    )


def test_a_mistake_that_is_told_already_is_told_as_it_is() -> None:
    def make() -> nn.Module:
        raise DataError("the weights are damaged")

    with pytest.raises(DataError, match=r"^the weights are damaged$"):
        make_for_data(make)


# Trying a network out


def test_a_lazy_layer_gets_its_shape() -> None:
    model = make_for_data(lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3)))

    assert layer_sizes(model) == [(5, 3)]


def test_a_network_that_is_elsewhere_is_tried_out_there() -> None:
    model = make_for_data(lambda: nn.Linear(5, 3, device="meta"))

    assert next(model.parameters()).is_meta


def test_trying_out_draws_nothing_from_the_random_generators() -> None:
    class Noisy(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            noise = random.random() + np.random.rand() + torch.rand(())
            return super().forward(inputs) + noise

    torch.manual_seed(3)
    nn.Linear(5, 3)
    expected = get_random_state()

    torch.manual_seed(3)
    make_for_data(lambda: Noisy(5, 3))

    state = get_random_state()
    assert torch.equal(state["torch"], expected["torch"])
    assert state["python"] == expected["python"]
    assert torch.equal(state["numpy"][1], expected["numpy"][1])
    assert state["numpy"][2:] == expected["numpy"][2:]


def test_trying_out_leaves_each_module_in_its_mode() -> None:
    frozen, trained = nn.Linear(5, 4), nn.Linear(4, 3)
    frozen.eval()

    model = make_for_data(lambda: nn.Sequential(frozen, trained))

    assert [module.training for module in model.modules()] == [True, False, True]


def test_trying_out_leaves_no_trace_in_the_network() -> None:
    model = make_for_data(lambda: nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)))

    norm = model.get_submodule("1")
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    assert norm.running_mean.tolist() == [0.0, 0.0, 0.0]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_network_is_tried_out_in_evaluation_mode_without_gradients() -> None:
    seen: list[tuple[bool, bool]] = []

    class Watching(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            seen.append((self.training, torch.is_grad_enabled()))
            return super().forward(inputs)

    make_for_data(lambda: Watching(5, 3))

    assert seen == [(False, False)]


# Evaluation mode


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


@pytest.mark.parametrize("training", [True, False])
def test_in_evaluation_mode_no_module_trains_and_then_each_is_as_before(training: bool) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train(training)
    model.get_submodule("1").eval()
    before = modes(model)

    with evaluation_mode(model):
        assert modes(model) == [False, False, False]

    assert modes(model) == before == [training, training, False]


def test_a_failure_in_evaluation_mode_leaves_each_module_as_before() -> None:
    model = nn.Sequential(nn.Dropout())

    with pytest.raises(ValueError, match="once"), evaluation_mode(model):
        raise ValueError("once")

    assert modes(model) == [True, True]


# ThreeNet


def test_has_the_three_layers_of_its_name() -> None:
    assert layer_sizes(ThreeNet()) == [(784, 200), (200, 60), (60, 10)]


def test_has_169670_parameters_and_trains_them_all() -> None:
    parameters = list(ThreeNet().parameters())

    assert sum(parameter.numel() for parameter in parameters) == 169_670
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in parameters)


@pytest.mark.parametrize("shape", [(5, 784), (5, 1, 28, 28), (1, 784)])
def test_gives_a_row_of_ten_for_each_sample(shape: tuple[int, ...]) -> None:
    assert ThreeNet()(torch.rand(shape)).shape == (shape[0], 10)


def test_an_image_and_its_pixels_in_a_row_are_the_same_sample() -> None:
    model, images = ThreeNet(), torch.rand(5, 1, 28, 28)

    assert torch.equal(model(images), model(images.reshape(5, 784)))


def test_rows_are_log_probabilities() -> None:
    rows = ThreeNet()(torch.randn(20, 784))

    assert (rows < 0).all()
    torch.testing.assert_close(rows.exp().sum(dim=1), torch.ones(20))


def test_applies_relu_between_the_layers_and_log_softmax_after_them() -> None:
    model, inputs = ThreeNet(), torch.randn(4, 784)
    first, second, third = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    expected = third(second(first(inputs).clamp(min=0)).clamp(min=0)).log_softmax(dim=1)

    torch.testing.assert_close(model(inputs), expected)


@pytest.mark.parametrize("hidden", [(), (7,), (9, 8, 7)])
def test_other_sizes_can_be_asked_for(hidden: tuple[int, ...]) -> None:
    model = ThreeNet(input_shape=(3, 4), hidden=hidden, classes=2)
    widths = [12, *hidden, 2]

    assert layer_sizes(model) == list(pairwise(widths))
    assert model(torch.rand(5, 3, 4)).shape == (5, 2)


@pytest.mark.parametrize("hidden", [(200, 0), (-1,), 200, (1.5,)])
def test_hidden_layers_without_a_width_are_refused(hidden: Any) -> None:
    with pytest.raises(OptionError, match=r"^ThreeNet\.hidden: "):
        ThreeNet(hidden=hidden)


def test_same_seed_makes_the_same_weights() -> None:
    torch.manual_seed(3)
    weights = ThreeNet().state_dict()
    torch.manual_seed(3)
    again = ThreeNet().state_dict()

    assert_same_weights(weights, again)


def test_the_weights_are_those_of_plain_layers_of_that_seed() -> None:
    torch.manual_seed(3)
    weights = list(ThreeNet().parameters())
    torch.manual_seed(3)
    plain = nn.Sequential(nn.Linear(784, 200), nn.Linear(200, 60), nn.Linear(60, 10))

    assert all(map(torch.equal, weights, plain.parameters()))


def test_the_first_layers_weight_is_stored_by_columns_and_the_others_by_rows() -> None:
    weights = [layer.weight for layer in ThreeNet().modules() if isinstance(layer, nn.Linear)]

    assert [weight.stride() for weight in weights] == [(1, 200), (200, 1), (60, 1)]


def test_a_deep_copy_and_one_that_takes_its_state_are_stored_alike() -> None:
    model, other = ThreeNet(), ThreeNet()
    other.load_state_dict(model.state_dict())

    for twin in (copy.deepcopy(model), other):
        first = next(twin.parameters())
        assert first.stride() == (1, 200)
        assert torch.equal(first, next(model.parameters()))


def test_a_deep_copy_shares_nothing() -> None:
    model, inputs = ThreeNet(), torch.rand(2, 784)
    twin = copy.deepcopy(model)
    before = twin(inputs)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()

    assert torch.equal(twin(inputs), before)
    assert not torch.equal(model(inputs), before)


def test_refuses_samples_of_another_size() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        ThreeNet()(torch.rand(5, 783))
