"""Tests of one declaration of an option, and of the values that it accepts."""

import dataclasses
import enum
import inspect
import math
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import pytest

from ignite_threenet.errors import OptionError, UnknownNameError
from ignite_threenet.options.declaration import OptionSpec, make_options_class, option, option_specs
from ignite_threenet.options.plain import to_plain


class Speed(enum.Enum):
    FAST = 1
    SLOW = 2


class Sample:
    """What a plugin's author would write."""

    steps: int = option(3, help="steps to take", min=1)
    rate: float = option(0.5, help="rate of change", above=0)
    verbose: bool = option(False, help="say more")
    shared: ClassVar[list[int]] = []


make_options_class(Sample)


def declare(annotation: object, default: Any, **limits: Any) -> OptionSpec:
    """Declare one option, called value, of a type that only the test knows."""
    body = {
        "__annotations__": {"value": annotation},
        "value": option(default, help="a value", **limits),
    }
    return option_specs(make_options_class(type("Declared", (), body)))[0]


# Values


@pytest.mark.parametrize(
    ("annotation", "default", "given", "expected"),
    [
        (bool, False, True, True),
        (int, 0, -7, -7),
        (float, 0.0, 2.5, 2.5),
        (float, 0.0, 2, 2.0),
        (str, "", " as it is ", " as it is "),
        (Path, Path(), Path("runs"), Path("runs")),
        (Path, Path(), "runs/first", Path("runs/first")),
        (Literal["train", "test"], "train", "test", "test"),
        (Literal[1, 2], 1, 2, 2),
        (Speed, Speed.FAST, Speed.SLOW, Speed.SLOW),
        (Speed, Speed.FAST, "slow", Speed.SLOW),
        (int | None, 1, None, None),
        (int | None, None, 1, 1),
        (tuple[int, ...], (), [1, 2], (1, 2)),
        (tuple[int, ...], (1,), (), ()),
        (tuple[float, str], (0.0, ""), [1, "a"], (1.0, "a")),
        (tuple[int, ...] | None, None, [1], (1,)),
        (tuple[int | None, ...], (), [1, None], (1, None)),
    ],
)
def test_a_value_becomes_the_options_type(
    annotation: object, default: object, given: object, expected: object
) -> None:
    converted = declare(annotation, default).convert(given, "here")

    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "default", "given", "expected"),
    [
        (int, 0, "12", 12),
        (int, 0, " -3 ", -3),
        (float, 0.0, "1e-3", 1e-3),
        (float, 0.0, "2", 2.0),
        (str, "", "12", "12"),
        (Path, Path(), "runs/first", Path("runs/first")),
        (Literal["train", "test"], "train", "TEST", "test"),
        (Literal[1, 2], 1, "2", 2),
        (Speed, Speed.FAST, "Slow", Speed.SLOW),
        (int | None, 1, "none", None),
        (int | None, 1, "None", None),
        (int | None, 1, "", None),
        (int | None, None, "5", 5),
        (tuple[int, ...], (), "1, 2,3", (1, 2, 3)),
        (tuple[int, ...], (1,), "", ()),
        (tuple[str, ...], (), "a, b", ("a", "b")),
        (tuple[int, str], (0, ""), "1,a", (1, "a")),
        (tuple[bool, ...], (), "yes,no", (True, False)),
        (tuple[int, ...] | None, (1,), "none", None),
    ],
)
def test_text_becomes_the_options_type(
    annotation: object, default: object, given: str, expected: object
) -> None:
    converted = declare(annotation, default).convert(given, "--value", text=True)

    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize("word", ["1", "true", "T", "yes", "Y", "on", " TRUE "])
def test_words_for_true_are_understood(word: str) -> None:
    assert declare(bool, False).convert(word, "--value", text=True) is True


@pytest.mark.parametrize("word", ["0", "false", "F", "no", "N", "off", " FALSE "])
def test_words_for_false_are_understood(word: str) -> None:
    assert declare(bool, True).convert(word, "--value", text=True) is False


@pytest.mark.parametrize("given", ["~/runs", Path("~/runs")])
def test_a_tilde_stands_for_the_home_directory(
    given: str | Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")

    assert declare(Path, Path()).convert(given, "here") == Path("/home/somebody/runs")


@pytest.mark.parametrize(
    ("annotation", "default", "given", "problem"),
    [
        (bool, False, 1, "is not true or false"),
        (bool, False, "yes", "is not true or false"),
        (bool, False, None, "is not true or false"),
        (int, 0, True, "is not an integer"),
        (int, 0, 1.0, "is not an integer"),
        (int, 0, "1", "is not an integer"),
        (int, 0, None, "is not an integer"),
        (float, 0.0, True, "is not a finite number"),
        (float, 0.0, "1.0", "is not a finite number"),
        (float, 0.0, math.nan, "is not a finite number"),
        (float, 0.0, math.inf, "is not a finite number"),
        (float, 0.0, -math.inf, "is not a finite number"),
        (str, "", 1, "is not text"),
        (str, "", Path("a"), "is not text"),
        (Path, Path(), 1, "is not a path"),
        (Literal["train", "test"], "train", "valid", "is not one of the choices"),
        (Literal[1, 2], 1, True, "is not one of the choices"),
        (Literal[1, 2], 1, 1.0, "is not one of the choices"),
        (Literal[1, 2], 1, [1], "is not one of the choices"),
        (Speed, Speed.FAST, 1, "is not one of the choices"),
        (int | None, None, True, "is not an integer"),
        (tuple[int, ...], (), 1, "is not a list of values"),
        (tuple[int, ...], (), "1,2", "is not a list of values"),
        (tuple[int, ...], (), [1, True], "is not an integer"),
        (tuple[int, int], (0, 0), [1], "has 1 values and not 2"),
        (tuple[int, int], (0, 0), [1, 2, 3], "has 3 values and not 2"),
        (tuple[int, str], (0, ""), ["a", 1], "is not an integer"),
    ],
)
def test_a_value_of_another_type_is_refused(
    annotation: object, default: object, given: object, problem: str
) -> None:
    with pytest.raises(OptionError) as raised:
        declare(annotation, default).convert(given, "here")

    assert raised.value.problem == problem


@pytest.mark.parametrize(
    ("annotation", "default", "given", "problem"),
    [
        (bool, False, "maybe", "is not true or false"),
        (bool, False, "", "is not true or false"),
        (int, 0, "1.0", "is not an integer"),
        (int, 0, "1e3", "is not an integer"),
        (int, 0, "", "is not an integer"),
        (float, 0.0, "fast", "is not a finite number"),
        (float, 0.0, "nan", "is not a finite number"),
        (float, 0.0, "-inf", "is not a finite number"),
        (float, 0.0, "1e999", "is not a finite number"),
        (tuple[int, ...], (), "1,,2", "is not an integer"),
        (tuple[int, int], (0, 0), "1", "has 1 values and not 2"),
    ],
)
def test_text_that_spells_no_such_value_is_refused(
    annotation: object, default: object, given: str, problem: str
) -> None:
    with pytest.raises(OptionError) as raised:
        declare(annotation, default).convert(given, "--value", text=True)

    assert raised.value.problem == problem


def test_an_integer_too_large_for_a_float_is_refused() -> None:
    with pytest.raises(OptionError) as raised:
        declare(float, 0.0).convert(10**400, "here")

    assert raised.value.problem == "is not a finite number"


def test_the_home_directory_of_nobody_is_refused() -> None:
    with pytest.raises(OptionError):
        declare(Path, Path()).convert("~no-such-user/runs", "here")


# Bounds and choices


@pytest.mark.parametrize(
    ("limits", "given"),
    [
        ({"min": 1}, 1),
        ({"max": 5}, 5),
        ({"min": 1, "max": 5}, 3),
        ({"above": 0}, 1),
    ],
)
def test_a_bound_itself_is_allowed_unless_it_must_be_exceeded(
    limits: dict[str, float], given: int
) -> None:
    assert declare(int, 2, **limits).convert(given, "here") == given


@pytest.mark.parametrize(
    ("limits", "given", "allowed"),
    [
        ({"min": 1}, 0, "an integer at least 1"),
        ({"max": 5}, 6, "an integer at most 5"),
        ({"above": 0}, 0, "an integer above 0"),
        ({"min": 1, "max": 5}, 6, "an integer at least 1 and at most 5"),
        ({"above": 0, "max": 5}, 6, "an integer above 0 and at most 5"),
    ],
)
def test_a_value_out_of_range_names_where_and_what_is_allowed(
    limits: dict[str, float], given: int, allowed: str
) -> None:
    with pytest.raises(OptionError) as raised:
        declare(int, 2, **limits).convert(given, "--steps")

    assert str(raised.value) == f"--steps: {given} is out of range; expected {allowed}"
    assert raised.value.where == "--steps"
    assert raised.value.value == given
    assert raised.value.allowed == allowed


@pytest.mark.parametrize("given", [(0, 1), (1, 0)])
def test_bounds_hold_for_each_value_of_a_tuple(given: tuple[int, int]) -> None:
    with pytest.raises(OptionError) as raised:
        declare(tuple[int, ...], (), min=1).convert(given, "--sizes")

    assert str(raised.value) == (
        f"--sizes: {given} is out of range; expected a list of values, each an integer at least 1"
    )


def test_bounds_hold_for_an_optional_value_that_is_given() -> None:
    spec = declare(float | None, None, above=0)

    assert spec.convert(None, "here") is None
    with pytest.raises(OptionError, match=r"expected a finite number above 0, or none$"):
        spec.convert(0, "here")


def test_a_choice_with_a_typing_error_names_the_nearest() -> None:
    spec = declare(Literal["train", "valid", "test"], "train")

    with pytest.raises(OptionError) as raised:
        spec.convert("trian", "--split", text=True)

    assert str(raised.value) == (
        "--split: 'trian' is not one of the choices; "
        "expected train, valid or test; did you mean 'train'?"
    )


def test_a_choice_like_none_of_them_gets_no_guess() -> None:
    with pytest.raises(OptionError) as raised:
        declare(Speed, Speed.FAST).convert("xyz", "--speed", text=True)

    assert raised.value.allowed == "fast or slow"


def test_choices_restrict_a_plain_type() -> None:
    spec = declare(int, 1, choices=(1, 2, 4))

    assert spec.convert("4", "--value", text=True) == 4
    with pytest.raises(OptionError, match=r"3 is not one of the choices; expected 1, 2 or 4$"):
        spec.convert(3, "--value")


# Declarations


def test_specs_are_in_the_order_of_declaration() -> None:
    assert [spec.name for spec in option_specs(Sample)] == ["steps", "rate", "verbose"]


@pytest.mark.parametrize(
    ("annotation", "default", "limits", "metavar", "allowed"),
    [
        (bool, False, {}, "BOOL", "true or false"),
        (int, 1, {"min": 1}, "INTEGER", "an integer at least 1"),
        (float, 0.0, {}, "NUMBER", "a finite number"),
        (str, "", {}, "TEXT", "text"),
        (str, "a", {"choices": ("a", "b")}, "a|b", "a or b"),
        (Path, Path(), {}, "PATH", "a path"),
        (Literal["only"], "only", {}, "only", "only"),
        (Speed, Speed.FAST, {}, "fast|slow", "fast or slow"),
        (int | None, None, {}, "INTEGER", "an integer, or none"),
        (tuple[int, ...], (), {}, "INTEGER,...", "a list of values, each an integer"),
        (tuple[int, str], (0, ""), {}, "INTEGER,TEXT", "2 values: an integer, text"),
    ],
)
def test_a_spec_says_in_words_what_is_accepted(
    annotation: object, default: object, limits: dict[str, Any], metavar: str, allowed: str
) -> None:
    spec = declare(annotation, default, **limits)

    assert spec.metavar == metavar
    assert spec.allowed == allowed


def test_a_spec_tells_what_was_declared() -> None:
    steps, _, verbose = option_specs(Sample)

    assert steps.default == 3
    assert steps.help == "steps to take"
    assert steps.limits == "at least 1"
    assert not steps.is_flag
    assert verbose.limits == ""
    assert verbose.is_flag


def test_only_a_plain_bool_is_a_flag() -> None:
    assert not declare(bool | None, None).is_flag


def test_the_command_line_spells_an_underscore_as_a_dash() -> None:
    class Named:
        batch_size: int = option(1, help="samples in a batch")

    (spec,) = option_specs(make_options_class(Named))

    assert spec.name == "batch_size"
    assert spec.flag_name == "batch-size"


@pytest.mark.parametrize(
    "annotation",
    [
        list[int],
        dict[str, int],
        tuple,
        tuple[()],
        tuple[list[int], ...],
        complex,
        object,
        int | str,
        int | str | None,
        None,
    ],
)
def test_another_type_is_refused_at_the_class_and_names_the_field(annotation: object) -> None:
    with pytest.raises(TypeError, match=r"^Declared\.value: .* cannot be an option; use bool, int"):
        declare(annotation, None)


@pytest.mark.parametrize(
    ("annotation", "default", "limits", "message"),
    [
        (int, 1.5, {}, "Declared.value: 1.5 is not an integer; expected an integer"),
        (int, True, {}, "Declared.value: True is not an integer; expected an integer"),
        (int, None, {}, "Declared.value: None is not an integer; expected an integer"),
        (
            int,
            0,
            {"min": 1},
            "Declared.value: 0 is out of range; expected an integer at least 1",
        ),
        (
            str,
            "c",
            {"choices": ("a", "b")},
            "Declared.value: 'c' is not one of the choices; expected a or b",
        ),
        (
            float,
            math.nan,
            {},
            "Declared.value: nan is not a finite number; expected a finite number",
        ),
    ],
)
def test_a_default_is_checked_at_the_class_and_names_the_field(
    annotation: object, default: object, limits: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError) as raised:
        declare(annotation, default, **limits)

    assert str(raised.value) == f"the default of {message}"


@pytest.mark.parametrize(
    ("annotation", "default", "expected"),
    [
        (float, 1, 1.0),
        (Path, "runs", Path("runs")),
        (Speed, "fast", Speed.FAST),
        (tuple[float, ...], (1, 2), (1.0, 2.0)),
    ],
)
def test_a_default_becomes_the_options_type(
    annotation: object, default: object, expected: object
) -> None:
    body = {"__annotations__": {"value": annotation}, "value": option(default, help="a value")}
    make: Any = make_options_class(type("Declared", (), body))

    made = make()

    assert repr(made.value) == repr(expected)
    assert repr(option_specs(make)[0].default) == repr(expected)


def test_a_default_that_could_be_changed_is_refused_at_the_class_and_names_the_field() -> None:
    with pytest.raises(TypeError, match=r"Declared\.value"):
        declare(tuple[int, ...], [1, 2])


@pytest.mark.parametrize(
    ("annotation", "default"),
    [(str, "a"), (Path, Path("a")), (bool, True), (Literal["a"], "a"), (Speed, Speed.FAST)],
)
def test_bounds_of_what_is_no_number_are_refused_at_the_class(
    annotation: object, default: object
) -> None:
    with pytest.raises(TypeError, match=r"^Declared\.value"):
        declare(annotation, default, min=1)


def test_choices_without_any_are_refused_at_the_class() -> None:
    with pytest.raises(TypeError, match="choices"):
        declare(str, "a", choices=())


def test_a_field_without_option_is_refused_at_the_class() -> None:
    class Careless:
        steps: int = 3

    with pytest.raises(TypeError) as raised:
        make_options_class(Careless)

    assert str(raised.value) == (
        "Careless.steps: declare it with option(), or annotate it as ClassVar"
    )


def test_an_option_without_annotation_is_refused_at_the_class() -> None:
    class Careless:
        steps = option(3, help="steps to take")

    with pytest.raises(TypeError, match="'steps' is a field but has no type annotation"):
        make_options_class(Careless)


def test_an_attribute_that_is_no_argument_is_no_option() -> None:
    class Stateful:
        steps: int = option(3, help="steps to take")
        done: int = dataclasses.field(init=False, default=0)

    assert [spec.name for spec in option_specs(make_options_class(Stateful))] == ["steps"]


# Constructors


def make_sample(**arguments: Any) -> Any:
    return Sample(**arguments)


def test_options_not_given_have_their_defaults() -> None:
    sample = make_sample()

    assert (sample.steps, sample.rate, sample.verbose) == (3, 0.5, False)


def test_an_argument_is_converted_like_any_value() -> None:
    sample = make_sample(rate=2)

    assert type(sample.rate) is float


def test_a_refused_argument_names_the_class_and_the_option() -> None:
    with pytest.raises(OptionError) as raised:
        make_sample(steps=0)

    assert str(raised.value) == ("Sample.steps: 0 is out of range; expected an integer at least 1")


def test_an_unknown_argument_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as raised:
        make_sample(step=1)

    assert str(raised.value) == (
        "Sample: unknown option 'step'; did you mean 'steps'? Known: rate, steps, verbose"
    )
    assert raised.value.nearest == "steps"


def test_arguments_are_given_by_name_only() -> None:
    positional: Any = Sample

    with pytest.raises(TypeError, match="positional argument"):
        positional(1)


def test_the_signature_shows_names_types_and_defaults() -> None:
    parameters = inspect.signature(Sample).parameters

    assert list(parameters) == ["steps", "rate", "verbose"]
    assert {each.kind for each in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert parameters["steps"].annotation is int
    assert parameters["steps"].default == 3


def test_values_are_checked_before_post_init_sees_them() -> None:
    class Eager:
        steps: int = option(3, help="steps to take", min=1)

        def __post_init__(self) -> None:
            self.share = 1 / self.steps

    make_options_class(Eager)
    make_eager: Any = Eager

    with pytest.raises(OptionError):
        make_eager(steps=0)


def test_a_subclass_has_the_options_of_its_base_first() -> None:
    class Extended(Sample):
        label: str = option("", help="what to call it")

    specs = option_specs(make_options_class(Extended))

    assert [spec.name for spec in specs] == ["steps", "rate", "verbose", "label"]
    assert [spec.name for spec in option_specs(Sample)] == ["steps", "rate", "verbose"]


def test_a_subclass_may_declare_an_option_anew() -> None:
    class Stricter(Sample):
        steps: int = option(20, help="steps to take", min=10)

    make_stricter: Any = make_options_class(Stricter)

    assert make_stricter().steps == 20
    with pytest.raises(OptionError, match=r"^Stricter\.steps: 3 is out of range"):
        make_stricter(steps=3)


# Plain values


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.5, 0.5),
        (math.nan, None),
        (-math.inf, None),
        ("text", "text"),
        (Path("a/b"), "a/b"),
        ((1, [2, math.nan]), [1, [2, None]]),
        (MappingProxyType({1: (Path("a"),)}), {"1": ["a"]}),
    ],
)
def test_a_plain_value_is_one_that_json_knows(value: object, expected: object) -> None:
    converted = to_plain(value)

    assert converted == expected
    assert type(converted) is type(expected)


def test_a_constructor_of_ones_own_is_refused_at_the_class() -> None:
    class Willful:
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match=r"^Willful\.__init__: made from the options"):
        make_options_class(Willful)


def test_an_inherited_option_is_not_overridden_by_a_plain_value() -> None:
    parent: Any = make_options_class(
        type("Parent", (), {"__annotations__": {"every": int}, "every": option(1, help="epochs")})
    )

    with pytest.raises(TypeError, match=r"^Child\.every: an option of a base class"):
        make_options_class(type("Child", (parent,), {"__annotations__": {}, "every": 5}))


def test_an_annotation_that_is_not_known_is_refused_at_the_class() -> None:
    body = {"__annotations__": {"engine": "Engine"}, "engine": option(1, help="unknown")}

    with pytest.raises(TypeError, match="the annotation 'Engine' is not known"):
        make_options_class(type("Forward", (), body))


def test_choices_beside_a_literal_are_refused_at_the_class() -> None:
    with pytest.raises(TypeError, match="choices are for plain types"):
        declare(Literal["a", "b"], "a", choices=("a",))
