"""Tests of what a plugin is, and of the registry that finds, loads, checks and orders them."""

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from conftest import InstallDistribution, MakeBatches, MakeConfig, written_modules
from helpers import write_module

from ignite_threenet import (
    OptionError,
    Plugin,
    PluginChoiceError,
    PluginLoadError,
    Run,
    UnknownNameError,
    option,
)
from ignite_threenet.extensions.entries import Entry
from ignite_threenet.extensions.reference import Reference
from ignite_threenet.extensions.selection import (
    find_plugin,
    find_plugins,
    load_plugin,
    resolve_plugins,
    select_plugins,
)
from ignite_threenet.options.declaration import option_specs

Install = Callable[..., None]

pytestmark = pytest.mark.usefixtures("forget_written_modules")


@pytest.fixture
def install(install_distribution: InstallDistribution) -> Install:
    """Install one distribution with a plugin for each name, which requires others."""

    def make(**requirements: tuple[str, ...]) -> None:
        classes = "".join(
            f"class {name.capitalize()}(Plugin):\n    requires = {required!r}\n\n\n"
            for name, required in requirements.items()
        )
        install_distribution(
            "acme",
            {name: f"acme_plugins:{name.capitalize()}" for name in requirements},
            {"acme_plugins": f"from ignite_threenet import Plugin\n\n\n{classes}"},
            version="2.1",
        )

    return make


class Patience(Plugin):
    """Stop when the accuracy no longer improves."""

    split: Literal["train", "test"] = option("train", help="split whose accuracy is watched")
    patience: int = option(3, help="measurements to wait", min=1)


# Subclasses


def test_a_plugin_has_its_defaults() -> None:
    plugin = Patience()

    assert (plugin.split, plugin.patience) == ("train", 3)


def test_a_plugin_takes_its_options_by_name() -> None:
    plugin = Patience(split="test", patience=5)

    assert (plugin.split, plugin.patience) == ("test", 5)


def test_a_plugin_takes_nothing_by_position() -> None:
    positional: Any = Patience

    with pytest.raises(TypeError, match="positional argument"):
        positional("test")


def test_a_plugins_options_are_checked() -> None:
    with pytest.raises(OptionError) as raised:
        Patience(patience=0)

    assert str(raised.value) == (
        "Patience.patience: 0 is out of range; expected an integer at least 1"
    )


def test_an_option_that_a_plugin_does_not_have_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as raised:
        Patience(patient=5)  # type: ignore[call-arg]

    assert str(raised.value) == (
        "Patience: unknown option 'patient'; did you mean 'patience'? Known: patience, split"
    )


def test_two_plugins_of_equal_options_are_two() -> None:
    assert Patience() != Patience()
    assert len({Patience(), Patience()}) == 2


def test_a_plugin_shows_its_options() -> None:
    assert repr(Patience(patience=5)) == "Patience(split='train', patience=5)"


def test_a_plugin_need_not_have_options() -> None:
    class Bare(Plugin):
        pass

    assert option_specs(Bare) == ()
    assert Bare().requires == ()
    assert Bare().on_error == "stop"
    assert Bare().summary() == {}


def test_a_class_variable_is_no_option() -> None:
    class Counting(Plugin):
        count: ClassVar[int] = 0

    assert option_specs(Counting) == ()


@pytest.mark.parametrize(
    ("class_name", "name"),
    [
        ("Best", "best"),
        ("BestModel", "best-model"),
        ("LearningRateFinder", "learning-rate-finder"),
        ("Top5Accuracy", "top5-accuracy"),
        ("EMA", "ema"),
    ],
)
def test_a_plugin_is_named_after_its_class(class_name: str, name: str) -> None:
    cls: Any = type(class_name, (Plugin,), {})

    assert cls.name == name


def test_a_plugin_may_choose_its_name() -> None:
    class Chosen(Plugin):
        name = "my-name"

    class Derived(Chosen):
        pass

    assert Chosen().name == "my-name"
    assert Derived().name == "derived"


@pytest.mark.parametrize(
    "reserved", ["name", "requires", "on_error", "distribution", "attach", "close", "summary"]
)
def test_an_option_cannot_be_called_as_what_every_plugin_has(reserved: str) -> None:
    body = {"__annotations__": {reserved: str}, reserved: option("", help="a clash")}

    with pytest.raises(TypeError) as raised:
        type("Clashing", (Plugin,), body)

    assert str(raised.value) == f"Clashing.{reserved}: every plugin has that already"


def test_an_attribute_that_is_no_option_is_refused_at_the_class() -> None:
    with pytest.raises(TypeError, match=r"^Careless\.patience: declare it with option\(\)"):

        class Careless(Plugin):
            patience: int = 3


def test_requirements_that_are_one_text_are_refused_at_the_class() -> None:
    # Of ("accuracy"), with the comma forgotten, each letter would be a requirement.
    with pytest.raises(TypeError, match=r"^Careless\.requires"):

        class Careless(Plugin):
            requires = "accuracy"  # type: ignore[assignment]


def test_an_unknown_way_to_fail_is_refused_at_the_class() -> None:
    with pytest.raises(TypeError, match=r"^Careless\.on_error"):

        class Careless(Plugin):
            on_error = "detatch"  # type: ignore[assignment]


# Finding


def test_the_built_in_plugins_are_found_as_any_others() -> None:
    found = find_plugins()

    assert {"accuracy", "best", "plot", "progress", "timing"} <= set(found)
    assert [(entry.value, entry.distribution) for entry in found["best"]] == [
        ("ignite_threenet_plugins.best:Best", "ignite-threenet")
    ]


def test_finding_plugins_imports_none(install: Install) -> None:
    install(breadth=(), depth=())

    found = find_plugins()

    assert found["depth"] == [Entry("depth", "acme_plugins:Depth", "acme", "2.1")]
    assert written_modules() == []


def test_names_are_sorted(install: Install) -> None:
    install(zeta=(), abel=())

    names = list(find_plugins())

    assert names == sorted(names)
    assert {"abel", "zeta"} <= set(names)


def test_both_plugins_of_one_name_are_listed(install_distribution: InstallDistribution) -> None:
    install_distribution("acme-one", {"twin": "acme_one:Twin"}, {}, version="1.0")
    install_distribution("acme-two", {"twin": "acme_two:Twin"}, {}, version="2.0")

    assert [entry.origin for entry in find_plugins()["twin"]] == ["acme-one 1.0", "acme-two 2.0"]


def test_of_a_distribution_on_the_path_twice_the_first_counts(
    install_distribution: InstallDistribution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = install_distribution("acme", {"twin": "acme_twin:Twin"}, {}, version="1.0")
    older.rename(tmp_path / "older")
    install_distribution("acme", {"twin": "acme_twin:Twin"}, {}, version="2.0")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "older")])

    assert find_plugin("twin").origin == "acme 2.0"


def test_one_plugin_is_found_by_its_name(install: Install) -> None:
    install(depth=())

    assert find_plugin("depth").origin == "acme 2.1"


def test_an_unknown_name_is_told_with_the_nearest_and_what_is_installed() -> None:
    with pytest.raises(UnknownNameError) as raised:
        find_plugin("bset")

    assert str(raised.value).startswith("unknown plugin 'bset'; did you mean 'best'? Installed: ")
    assert raised.value.known == list(find_plugins())


def test_an_unknown_requirement_is_told_with_who_requires_it() -> None:
    with pytest.raises(UnknownNameError, match=r"^plugin 'best' requires another: unknown plugin"):
        find_plugin("acuracy", required_by="best")


def test_a_name_of_two_distributions_is_refused_and_names_both(
    install_distribution: InstallDistribution,
) -> None:
    install_distribution("acme-plot", {"plot": "acme_plot:Plot"}, {}, version="0.3")
    version = find_plugin("best").version

    with pytest.raises(PluginChoiceError) as raised:
        find_plugin("plot")

    assert str(raised.value) == (
        f"plugin 'plot' comes from several distributions: acme-plot 0.3 and "
        f"ignite-threenet {version}; uninstall all but one"
    )


# Describing

DESCRIBED = '''
    raise RuntimeError("imported")


    class Other:
        """Another class."""


    class Thing:
        """First line.

        More lines.
        """


    class Bare:
        pass


    class Empty:
        """ """
'''


def entry_of(value: str) -> Entry:
    return Entry("thing", value, "acme", "1.0")


@pytest.mark.parametrize(
    "module",
    ["acme_module", "acme_package.module", "acme_package.deep.module"],
)
@pytest.mark.parametrize("is_namespace", [False, True])
def test_a_description_is_the_docstrings_first_line_and_imports_nothing(
    install_distribution: InstallDistribution, module: str, is_namespace: bool
) -> None:
    parts = module.split(".")
    packages = [".".join([*parts[:depth], "__init__"]) for depth in range(1, len(parts))]
    written = {} if is_namespace else dict.fromkeys(packages, "raise RuntimeError('imported')")
    install_distribution("acme", {}, {module: DESCRIBED} | written)

    assert entry_of(f"{module}:Thing").describe() == "First line."
    assert written_modules() == []


def test_a_class_in_a_packages_own_file_is_described(
    install_distribution: InstallDistribution,
) -> None:
    install_distribution("acme", {}, {"acme_package.__init__": DESCRIBED})

    assert entry_of("acme_package:Thing").describe() == "First line."


@pytest.mark.parametrize(
    "value",
    [
        "acme_module:Bare",
        "acme_module:Empty",
        "acme_module:Missing",
        "acme_module",
        "acme_module.deeper:Thing",
        "acme_missing:Thing",
        "acme_missing.module:Thing",
        "acme_damaged:Thing",
        "acme_binary:Thing",
        "math:Thing",
    ],
)
def test_where_there_is_nothing_to_read_the_description_is_empty(
    install_distribution: InstallDistribution, value: str
) -> None:
    site = install_distribution(
        "acme", {}, {"acme_module": DESCRIBED, "acme_damaged": "class Thing(:"}
    )
    (site / "acme_binary.py").write_bytes(b"\x00\xff")

    assert entry_of(value).describe() == ""


def test_a_built_in_plugin_is_described() -> None:
    assert find_plugin("best").describe() == (
        "Keep the model at its highest accuracy, and end the run with it."
    )


# Loading


def test_a_loaded_plugin_is_the_class_that_its_entry_point_names(install: Install) -> None:
    install(depth=())

    loaded = load_plugin(find_plugin("depth"))

    assert issubclass(loaded, Plugin)
    assert loaded is sys.modules["acme_plugins"].Depth


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise OSError('no display')", "OSError: no display"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import acme_absent", "ModuleNotFoundError: No module named 'acme_absent'"),
        ("", "AttributeError: module 'acme_broken' has no attribute 'Broken'"),
    ],
)
def test_a_failed_import_names_the_distribution_and_the_reason(
    install_distribution: InstallDistribution, source: str, reason: str
) -> None:
    install_distribution("acme", {"broken": "acme_broken:Broken"}, {"acme_broken": source})

    with pytest.raises(PluginLoadError) as raised:
        load_plugin(find_plugin("broken"))

    assert str(raised.value) == (
        f"plugin 'broken' (acme 1.0) cannot be imported from acme_broken:Broken: {reason}"
    )
    assert raised.value.__cause__ is not None
    assert raised.value.distribution == "acme 1.0"


def test_an_interrupt_while_importing_is_not_taken_for_a_failed_import(
    install_distribution: InstallDistribution,
) -> None:
    install_distribution(
        "acme", {"slow": "acme_slow:Slow"}, {"acme_slow": "raise KeyboardInterrupt"}
    )

    with pytest.raises(KeyboardInterrupt):
        load_plugin(find_plugin("slow"))


@pytest.mark.parametrize(
    "value",
    [
        "acme_other",
        "acme_other:number",
        "acme_other:Unrelated",
        "acme_other:made",
        "acme_other:Plugin",
    ],
)
def test_an_entry_point_that_names_no_plugin_is_refused(
    install_distribution: InstallDistribution, value: str
) -> None:
    source = """
        from ignite_threenet import Plugin


        class Unrelated:
            pass


        class Made(Plugin):
            pass


        number, made = 3, Made()
    """
    install_distribution("acme", {"other": value}, {"acme_other": source})

    with pytest.raises(PluginLoadError) as raised:
        load_plugin(find_plugin("other"))

    assert str(raised.value) == (
        f"plugin 'other' (acme 1.0) is not a subclass of ignite_threenet.Plugin: {value}"
    )


# Selecting


@pytest.mark.parametrize(
    ("items", "chosen", "removed"),
    [
        ([], ["best", "plot"], set()),
        ([""], ["best", "plot"], set()),
        (["timing"], ["timing"], set()),
        (["timing,best"], ["timing", "best"], set()),
        (["timing", "best"], ["timing", "best"], set()),
        ([" timing , best ,"], ["timing", "best"], set()),
        (["best,best"], ["best"], set()),
        (["+timing"], ["best", "plot", "timing"], set()),
        (["+best"], ["best", "plot"], set()),
        (["timing,+best"], ["timing", "best"], set()),
        (["+best,timing"], ["timing", "best"], set()),
        (["no:plot"], ["best"], {"plot"}),
        (["no:timing"], ["best", "plot"], {"timing"}),
        (["+timing,no:plot"], ["best", "timing"], {"plot"}),
        (["timing,plot", "no:plot"], ["timing"], {"plot"}),
        (["no: plot,+ timing"], ["best", "timing"], {"plot"}),
        (["none"], [], set()),
        (["none,+timing"], ["timing"], set()),
        (["none", "no:best"], [], {"best"}),
    ],
)
def test_a_selection_is_read(items: list[str], chosen: list[str], removed: set[str]) -> None:
    assert select_plugins(items, default=["best", "plot"]) == (chosen, removed)


# Resolving


def order_of(*wanted: str | Plugin) -> list[str]:
    return [chosen.name for chosen in resolve_plugins(wanted)]


def test_nothing_wanted_is_nothing_chosen() -> None:
    assert resolve_plugins([]) == []


def test_plugins_keep_the_order_in_which_they_were_named(install: Install) -> None:
    install(first=(), second=(), third=())

    assert order_of("third", "first", "second") == ["third", "first", "second"]


def test_a_plugin_named_twice_takes_part_once(install: Install) -> None:
    install(first=())

    assert order_of("first", "first") == ["first"]


def test_only_chosen_plugins_are_imported(
    install: Install, install_distribution: InstallDistribution
) -> None:
    install(first=())
    install_distribution("acme-idle", {"idle": "acme_idle:Idle"}, {"acme_idle": "1 / 0"})

    resolve_plugins(["first"])

    assert written_modules() == ["acme_plugins"]


def test_requirements_come_first(install: Install) -> None:
    install(top=("left", "right"), left=("bottom",), right=("bottom",), bottom=())

    assert order_of("top") == ["bottom", "left", "right", "top"]


def test_a_requirement_named_later_still_comes_first(install: Install) -> None:
    install(top=("bottom",), other=(), bottom=())

    assert order_of("top", "other", "bottom") == ["bottom", "top", "other"]


def test_a_requirement_is_known_by_who_brought_it(install: Install) -> None:
    install(top=("middle",), middle=("bottom",), bottom=(), other=("bottom",))

    chosen = resolve_plugins(["top", "other"])

    assert {plugin.name: plugin.required_by for plugin in chosen} == {
        "bottom": "middle",
        "middle": "top",
        "top": None,
        "other": None,
    }


def test_a_requirement_that_was_named_too_was_brought_by_nobody(install: Install) -> None:
    install(top=("bottom",), bottom=())

    chosen = resolve_plugins(["top", "bottom"])

    assert [plugin.required_by for plugin in chosen] == [None, None]


def test_a_run_announces_what_it_adds(
    install: Install,
    make_config: MakeConfig,
    make_batches: MakeBatches,
    caplog: pytest.LogCaptureFixture,
) -> None:
    install(top=("bottom",), bottom=())

    with caplog.at_level(logging.INFO, "ignite_threenet"):
        Run(make_config(), ["top"], loaders={"train": make_batches()})

    assert caplog.messages == ["bottom: required by top"]


def test_a_chosen_plugin_knows_its_distribution(install: Install) -> None:
    install(first=())

    (chosen,) = resolve_plugins(["first"])

    assert chosen.distribution == "acme 2.1"
    assert chosen.create().distribution == "acme 2.1"


def test_a_plugin_has_the_name_of_its_entry_point_in_a_run(
    install_distribution: InstallDistribution,
) -> None:
    source = "from ignite_threenet import Plugin\nclass Twin(Plugin): ...\n"
    entries = {"one": "acme_twin:Twin", "two": "acme_twin:Twin"}
    install_distribution("acme", entries, {"acme_twin": source})

    made = [chosen.create() for chosen in resolve_plugins(["one", "two"])]

    assert [plugin.name for plugin in made] == ["one", "two"]


def test_a_chosen_plugin_is_created_with_its_options(
    install_distribution: InstallDistribution,
) -> None:
    source = """
        from ignite_threenet import Plugin, option


        class Sized(Plugin):
            size: int = option(3, help="its size", min=1)
    """
    install_distribution("acme", {"sized": "acme_sized:Sized"}, {"acme_sized": source})

    (chosen,) = resolve_plugins(["sized"])
    made: Any = chosen.create(size=5)

    assert [spec.name for spec in chosen.specs] == ["size"]
    assert made.size == 5


@pytest.mark.parametrize(
    ("requirements", "cycle"),
    [
        ({"a": ("a",)}, "a -> a"),
        ({"a": ("b",), "b": ("a",)}, "a -> b -> a"),
        ({"a": ("b",), "b": ("c",), "c": ("b",)}, "b -> c -> b"),
    ],
)
def test_a_cycle_is_refused_and_printed(
    install: Install, requirements: dict[str, tuple[str, ...]], cycle: str
) -> None:
    install(**requirements)

    with pytest.raises(PluginChoiceError) as raised:
        resolve_plugins(["a"])

    assert str(raised.value) == f"plugin '{cycle[0]}' requires itself: {cycle}"


def test_an_unknown_requirement_is_refused(install: Install) -> None:
    install(top=("acuracy",))

    with pytest.raises(UnknownNameError) as raised:
        resolve_plugins(["top"])

    assert str(raised.value).startswith(
        "plugin 'top' requires another: unknown plugin 'acuracy'; did you mean 'accuracy'?"
    )


def test_a_requirement_that_was_taken_away_is_refused() -> None:
    with pytest.raises(PluginChoiceError) as raised:
        resolve_plugins(["best"], removed={"accuracy"})

    assert str(raised.value) == ("plugin 'best' requires 'accuracy', which no:accuracy takes away")


def test_taking_away_what_nobody_requires_changes_nothing() -> None:
    chosen = resolve_plugins(["accuracy"], removed={"plot"})

    assert [plugin.name for plugin in chosen] == ["accuracy"]


def test_taking_away_an_unknown_name_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"'plto'; did you mean 'plot'\?"):
        resolve_plugins(["accuracy"], removed={"plto"})


def test_a_name_of_two_distributions_may_be_taken_away(
    install_distribution: InstallDistribution,
) -> None:
    install_distribution("acme-plot", {"plot": "acme_plot:Plot"}, {})

    chosen = resolve_plugins(["accuracy"], removed={"plot"})

    assert [plugin.name for plugin in chosen] == ["accuracy"]


# Resolving plugins that the user made


class Accuracy(Plugin):
    """Stand in for the installed one."""


class NeedsAccuracy(Plugin):
    requires = ("accuracy",)


def test_a_plugin_given_is_the_one_that_runs() -> None:
    plugin = Patience(patience=5)

    (chosen,) = resolve_plugins([plugin])

    assert chosen.name == "patience"
    assert chosen.create() is plugin


def test_a_plugin_given_brings_what_it_requires() -> None:
    chosen = resolve_plugins([NeedsAccuracy()])

    assert [(plugin.name, plugin.required_by) for plugin in chosen] == [
        ("accuracy", "needs-accuracy"),
        ("needs-accuracy", None),
    ]


@pytest.mark.parametrize("needing", [NeedsAccuracy(), "best"])
def test_a_plugin_given_satisfies_a_requirement(needing: Plugin | str) -> None:
    given = Accuracy()

    chosen = resolve_plugins([needing, given])

    assert chosen[0].instance is given
    assert chosen[0].required_by is None
    assert len(chosen) == 2


def test_a_plugin_given_goes_before_an_installed_one_of_its_name() -> None:
    given = Accuracy()

    (chosen,) = resolve_plugins(["accuracy", given])

    assert chosen.instance is given


def test_two_plugins_given_with_one_name_are_refused() -> None:
    with pytest.raises(PluginChoiceError) as raised:
        resolve_plugins([Patience(), Patience()])

    assert str(raised.value) == (
        "plugin 'patience' is given twice; a second one needs a name of its own: other=patience"
    )


def test_a_class_given_in_place_of_a_plugin_is_refused() -> None:
    # By its name alone the installed plugin would run, and not this class.
    with pytest.raises(TypeError, match="Accuracy"):
        resolve_plugins([Accuracy])  # type: ignore[list-item]


# Plugins from files

FILE = '''
from ignite_threenet import Plugin, option


class Depth(Plugin):
    """Look deep."""

    requires = ("accuracy",)
    levels: int = option(3, help="how deep", min=1)
'''


def write(path: str = "depth.py", source: str = FILE) -> str:
    return write_module(source, path).origin


@pytest.mark.parametrize(
    ("word", "name", "use"),
    [
        ("best", "best", "best"),
        ("second=best", "second", "best"),
        (" second = best ", "second", "best"),
        ("./my_depth.py", "my-depth", "./my_depth.py"),
        ("plugins/depth.py:Depth", "depth", "plugins/depth.py:Depth"),
        ("deep=./depth.py:Depth", "deep", "./depth.py:Depth"),
    ],
)
def test_a_word_is_a_name_in_the_run_and_what_it_stands_for(word: str, name: str, use: str) -> None:
    reference = Reference.parse(word)

    assert (reference.name, reference.value) == (name, use)


def test_a_plugin_in_a_file_takes_part_under_the_files_name() -> None:
    origin = write()

    accuracy, depth = resolve_plugins(["./depth.py"])

    assert (accuracy.name, accuracy.required_by) == ("accuracy", "depth")
    use = str(Path("depth.py").absolute())
    assert (depth.name, depth.distribution, depth.use) == ("depth", origin, use)
    made: Any = depth.create(levels=5)
    assert (made.name, made.distribution, made.use, made.levels) == ("depth", origin, use, 5)


def test_a_plugin_in_a_file_may_have_another_name() -> None:
    write()

    assert order_of("deep=./depth.py:Depth") == ["accuracy", "deep"]


def test_a_plugin_in_a_file_goes_before_an_installed_one_of_its_name() -> None:
    write("best.py", FILE)

    chosen = resolve_plugins(["./best.py"])[-1]

    assert (chosen.name, chosen.cls.__name__) == ("best", "Depth")


def test_a_file_that_does_not_exist_is_unknown() -> None:
    with pytest.raises(UnknownNameError) as raised:
        resolve_plugins(["./absent.py"])

    assert str(raised.value) == "unknown plugin file './absent.py'."


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("x = (\n", "cannot be imported from depth.py: SyntaxError: '(' was never closed"),
        ("import acme_absent\n", "cannot be imported from depth.py: ModuleNotFoundError: No mo"),
        ("", "holds no class that is a subclass of ignite_threenet.Plugin"),
        (
            "from ignite_threenet import Plugin\nclass A(Plugin): ...\nclass B(Plugin): ...\n",
            "holds several; choose depth.py:A or depth.py:B",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(source: str, problem: str) -> None:
    origin = write(source=source)

    with pytest.raises(PluginLoadError) as raised:
        resolve_plugins(["depth.py"])

    assert str(raised.value).startswith(f"plugin 'depth' ({origin}) {problem}")
    assert raised.value.distribution == origin


@pytest.mark.parametrize(
    "word", ["./my depth.py", "./-.py", "a b=best", "=best", "deep+=best", "a:b=best"]
)
def test_a_name_that_cannot_be_a_flag_is_refused(word: str) -> None:
    write("my depth.py")
    name = Reference.parse(word).name

    with pytest.raises(PluginChoiceError) as raised:
        resolve_plugins([word])

    assert str(raised.value) == (
        f"plugin {name!r} cannot be a name (letters, digits, -_.); use NAME=FILE"
    )


@pytest.mark.parametrize("name", ["model", "dataset"])
def test_a_plugin_is_not_called_as_a_part_of_the_run_that_has_options(name: str) -> None:
    write(f"{name}.py")

    with pytest.raises(PluginChoiceError) as raised:
        resolve_plugins([f"./{name}.py"])

    assert str(raised.value) == (
        f"plugin {name!r} has the name under which the run's {name} has its options; "
        f"use NAME=./{name}.py"
    )
    assert order_of(f"other=./{name}.py") == ["accuracy", "other"]


def test_a_required_plugin_is_not_called_as_a_part_of_the_run_that_has_options(
    install: Install,
) -> None:
    install(model=(), tuner=("model",))

    with pytest.raises(PluginChoiceError, match=r"^plugin 'model' has the name under which"):
        resolve_plugins(["tuner"])


def test_two_files_of_one_name_are_refused() -> None:
    write("one/depth.py")
    write("two/depth.py")

    with pytest.raises(PluginChoiceError, match=r"^plugin 'depth' is given twice"):
        resolve_plugins(["one/depth.py", "two/depth.py"])


def test_two_files_of_one_name_run_under_two_names() -> None:
    write("one/depth.py")
    write("two/depth.py")

    assert order_of("one/depth.py", "other=two/depth.py") == ["accuracy", "depth", "other"]


# Several of one plugin


def test_one_plugin_takes_part_under_several_names() -> None:
    accuracy, best, second = resolve_plugins(["best", "second=best"])

    assert [accuracy.name, best.name, second.name] == ["accuracy", "best", "second"]
    assert (best.use, second.use) == ("best", "best")
    assert best.cls is second.cls
    assert best.distribution == second.distribution


def test_each_of_several_has_options_and_a_name_of_its_own() -> None:
    _, best, second = resolve_plugins(["best", "second=best"])

    made: list[Any] = [best.create(split="train"), second.create(split="test")]

    assert [(each.name, each.split) for each in made] == [("best", "train"), ("second", "test")]


def test_one_of_several_may_be_taken_away() -> None:
    assert select_plugins(["best,second=best,no:second"], default=[]) == (["best"], set())


def test_what_stands_for_an_unknown_plugin_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown plugin 'bset'; did you mean 'best'\?"):
        resolve_plugins(["second=bset"])


def test_one_name_for_two_plugins_is_refused() -> None:
    with pytest.raises(PluginChoiceError) as raised:
        resolve_plugins(["best", "best=plot"])

    assert (
        str(raised.value)
        == "plugin 'best' is given twice; a second one needs a name of its own: other=plot"
    )


# The version of the interface


@pytest.mark.parametrize("api", [0, 2])
def test_a_plugin_of_another_interface_is_refused_with_both_versions(api: int) -> None:
    origin = write(
        source=f"from ignite_threenet import Plugin\nclass A(Plugin):\n    api = {api}\n"
    )
    version = find_plugin("best").version

    with pytest.raises(PluginLoadError) as raised:
        resolve_plugins(["depth.py"])

    assert str(raised.value).startswith(
        f"plugin 'depth' ({origin}) was written for version {api} of the plugins' interface, and "
        f"this ignite-threenet {version} has version 1"
    )


def test_a_plugin_that_says_nothing_is_of_this_interface_and_observes() -> None:
    assert (Patience.api, Patience.changes_training) == (1, False)


# A distribution of somebody else, built and installed by pip

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
"""

METADATA = """
[metadata]
name = acme-patience
version = 0.3

[options]
py_modules = acme_patience

[options.entry_points]
ignite_threenet.plugins =
    patience = acme_patience:Patience
"""

MODULE = '''
from ignite.engine import Events
from ignite_threenet import Plugin, Run, option


class Patience(Plugin):
    """Stop when the accuracy no longer improves."""

    requires = ("accuracy",)
    split: str = option("train", help="split whose accuracy is watched", choices=("train", "test"))
    patience: int = option(3, help="measurements without improvement before stopping", min=1)

    def attach(self, run: Run) -> None:
        self.best, self.bad = float("-inf"), 0
        run.evaluators[self.split].add_event_handler(Events.COMPLETED, self.look, run)

    def look(self, evaluator, run: Run) -> None:
        accuracy = evaluator.state.metrics["accuracy"]
        self.best, self.bad = (accuracy, 0) if accuracy > self.best else (self.best, self.bad + 1)
        if self.bad >= self.patience:
            run.trainer.terminate()
'''


@pytest.fixture(scope="module")
def third_party_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build and install a distribution as a stranger would, into a directory of its own."""
    project, site = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("site")
    for name, text in {
        "pyproject.toml": PROJECT,
        "setup.cfg": METADATA,
        "acme_patience.py": MODULE,
    }.items():
        (project / name).write_text(text)
    options = ["--no-build-isolation", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, str(project)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return site


@pytest.fixture
def third_party(third_party_site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(third_party_site))


@pytest.mark.usefixtures("third_party")
def test_an_installed_plugin_is_found_by_its_entry_point() -> None:
    entry = find_plugin("patience")

    assert entry == Entry("patience", "acme_patience:Patience", "acme-patience", "0.3")
    assert entry.describe() == "Stop when the accuracy no longer improves."
    assert written_modules() == []


@pytest.mark.usefixtures("third_party")
def test_an_installed_plugin_takes_part_in_a_run(
    make_config: MakeConfig, make_batches: MakeBatches
) -> None:
    (accuracy, patience) = resolve_plugins(["patience"])
    # With a step too small to change anything, the accuracy never improves.
    config = make_config(epochs=9, lr=1e-30)
    chosen = [accuracy.create(every=1), patience.create(patience=2)]

    summary = Run(config, chosen, loaders={"train": make_batches()}).train()

    assert summary["epochs"] == 3
    assert list(summary["plugins"]) == ["accuracy", "patience"]


@pytest.mark.usefixtures("third_party")
def test_an_installed_plugin_does_nothing_unless_it_is_named(
    make_config: MakeConfig, make_batches: MakeBatches
) -> None:
    Run(make_config(), ["accuracy"], loaders={"train": make_batches()}).train()

    assert written_modules() == []


def test_a_plugin_has_nothing_to_remember_unless_it_says_so() -> None:
    plugin = Patience()

    plugin.load_state_dict({})

    assert plugin.state_dict() == {}
