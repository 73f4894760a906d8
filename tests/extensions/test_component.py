"""Tests of choosing a model or a dataset: by name, by file, by folder."""

import dataclasses
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import InstallDistribution
from helpers import run_code, write_module
from torch import Tensor, nn

from ignite_threenet import (
    ComponentError,
    DataError,
    DataSource,
    OptionError,
    ThreeNet,
    UnknownNameError,
    option,
)
from ignite_threenet.data.builtin import Digits
from ignite_threenet.data.folder import ImageFolderSource
from ignite_threenet.data.source import choose_dataset
from ignite_threenet.extensions.component import (
    GROUPS,
    Component,
    find_component,
    find_components,
    locate,
)
from ignite_threenet.extensions.entries import Entry, FileEntry
from ignite_threenet.extensions.importing import source_digest
from ignite_threenet.models.creation import choose_model

NET = "from torch import nn\n\nclass Net(nn.Linear):\n    '''One layer.'''\n"
DATA = "from ignite_threenet import DataSource\n\nclass Noise(DataSource):\n    '''Chance.'''\n"
SOURCES = {"model": NET, "dataset": DATA}
NOUNS = {
    "model": "a kind of torch.nn.Module, or a function that makes one",
    "dataset": "an ignite_threenet.DataSource, or a function that loads one",
}

KINDS = pytest.mark.parametrize("kind", ["model", "dataset"])


pytestmark = pytest.mark.usefixtures("forget_written_modules")

CHOOSE = {"model": choose_model, "dataset": choose_dataset}


def refusal(kind: str, word: str) -> ComponentError:
    with pytest.raises(ComponentError) as raised:
        CHOOSE[kind](word)
    return raised.value


# Finding


def test_the_built_in_models_and_datasets_are_installed() -> None:
    assert list(find_components("model")) == ["threenet"]
    assert list(find_components("dataset")) == [
        "auto",
        "digits",
        "fashion-mnist",
        "folder",
        "kmnist",
        "mnist",
    ]


@KINDS
def test_what_others_install_is_found_and_not_imported(
    kind: str, install_distribution: InstallDistribution
) -> None:
    modules = {"acme_own": "raise RuntimeError('imported')"}
    install_distribution("acme", {"own": "acme_own:Own"}, modules, group=GROUPS[kind])
    entry = Entry("own", "acme_own:Own", "acme", "1.0")

    assert find_components(kind)["own"] == [entry]
    assert find_component(kind, "own") == entry


@KINDS
def test_what_is_installed_as_another_kind_is_not_found(
    kind: str, install_distribution: InstallDistribution
) -> None:
    (other,) = {*GROUPS} - {kind}
    install_distribution("acme", {"own": "acme_own:Own"}, {}, group=GROUPS[other])

    with pytest.raises(UnknownNameError, match=f"^unknown {kind} 'own'"):
        find_component(kind, "own")


@KINDS
@pytest.mark.parametrize("name", ["", "Own"])
def test_a_file_is_found_and_not_imported(kind: str, name: str) -> None:
    write_module("raise RuntimeError('imported')")

    assert find_component(kind, f"own.py:{name}" if name else "own.py") == FileEntry(
        Path("own.py"), name
    )


@KINDS
def test_a_file_that_does_not_exist_is_unknown(kind: str) -> None:
    with pytest.raises(UnknownNameError) as raised:
        find_component(kind, "./absent.py:Own")

    assert str(raised.value) == f"unknown {kind} file './absent.py'."


@pytest.mark.parametrize(
    ("kind", "word", "message"),
    [
        ("model", "threnet", "did you mean 'threenet'? Installed: threenet"),
        (
            "dataset",
            "mnits",
            "did you mean 'mnist'? Known: auto, digits, fashion-mnist, folder, kmnist, mnist",
        ),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(kind: str, word: str, message: str) -> None:
    with pytest.raises(UnknownNameError) as raised:
        find_component(kind, word)

    assert str(raised.value) == f"unknown {kind} {word!r}; {message}"


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        ("model", "Installed: threenet"),
        ("dataset", "Known: auto, digits, fashion-mnist, folder, kmnist, mnist"),
    ],
)
def test_an_empty_name_is_unknown(kind: str, known: str) -> None:
    with pytest.raises(UnknownNameError) as raised:
        find_component(kind, "")

    assert str(raised.value) == f"unknown {kind} ''. {known}"


@KINDS
def test_a_name_of_two_distributions_is_refused_and_names_both(
    kind: str, install_distribution: InstallDistribution
) -> None:
    for distribution in ("bolt", "acme"):
        install_distribution(distribution, {"own": "acme_own:Own"}, {}, group=GROUPS[kind])

    with pytest.raises(ComponentError) as raised:
        find_component(kind, "own")

    assert str(raised.value) == (
        f"{kind} 'own' comes from several distributions: acme 1.0 and bolt 1.0; "
        "uninstall all but one"
    )
    assert (raised.value.kind, raised.value.name, raised.value.origin) == (kind, "own", "")


# Folders


@pytest.mark.parametrize("word", ["./photos", "photos/", "/photos/of-nobody"])
def test_a_folder_that_does_not_exist_is_unknown(word: str) -> None:
    with pytest.raises(UnknownNameError) as raised:
        find_component("dataset", word)

    assert str(raised.value) == f"unknown dataset folder {word!r}."


def test_a_folder_is_a_dataset_that_nobody_brings() -> None:
    Path("photos").mkdir()

    found = find_component("dataset", "photos")

    assert (found.name, found.origin) == ("photos", "")
    assert found.describe().startswith("A folder of images")


def test_a_folder_is_no_model() -> None:
    Path("photos").mkdir()

    with pytest.raises(UnknownNameError, match=r"^unknown model 'photos'"):
        find_component("model", "photos")


def test_an_installed_dataset_goes_before_a_folder_of_its_name() -> None:
    Path("digits").mkdir()

    assert choose_dataset("digits").make is Digits
    assert choose_dataset("./digits").make is ImageFolderSource


@pytest.mark.parametrize("path", ["photos", "photos/", "./photos", "photos/../photos", "."])
def test_a_folder_is_called_by_its_own_name(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("photos").mkdir()
    if path == ".":
        monkeypatch.chdir("photos")

    assert find_component("dataset", path).name == "photos"


# Choosing


def test_an_installed_one_is_chosen_with_its_distribution() -> None:
    origin = f"ignite-threenet {version('ignite-threenet')}"

    for choose, kind, name, cls in (
        (choose_model, "model", "threenet", ThreeNet),
        (choose_dataset, "dataset", "digits", Digits),
    ):
        digest = source_digest(cls)
        expected = Component(kind, name, origin, cls, source_digest=digest, file_digest=digest)
        assert choose(name) == expected


@KINDS
def test_one_in_a_file_is_chosen_with_the_files_digest(kind: str) -> None:
    file = write_module(SOURCES[kind], "nets/my_own.py")

    part = CHOOSE[kind]("nets/my_own.py")

    assert (part.kind, part.name, part.origin) == (kind, "my-own", file.origin)
    assert part.make.__module__ in sys.modules
    assert (dict(part.fixed), dict(part.options)) == ({}, {})


@KINDS
def test_a_function_in_a_file_is_chosen_by_its_name(kind: str) -> None:
    write_module(f"{SOURCES[kind]}\n\ndef make():\n    return 5\n")

    part = CHOOSE[kind]("own.py:make")

    assert (part.name, part.make(), part.specs) == ("own", 5, ())


def test_a_folder_is_chosen_and_its_path_is_settled() -> None:
    Path("photos").mkdir()

    part = choose_dataset("./photos")

    assert (part.kind, part.name, part.origin) == ("dataset", "photos", "")
    assert part.make is ImageFolderSource
    assert part.fixed == {"path": Path("photos")}
    assert [spec.name for spec in part.specs] == ["size", "colors", "test_share"]


@KINDS
def test_what_is_chosen_is_described_by_the_first_line_of_its_docstring(kind: str) -> None:
    write_module(SOURCES[kind] + "\n\ndef make(): ...\n")

    expected = {"model": "One layer.", "dataset": "Chance."}[kind]
    assert CHOOSE[kind]("own.py").description == expected
    assert CHOOSE[kind]("own.py:make").description == ""


# What cannot be chosen


@KINDS
def test_what_cannot_be_imported_is_told_with_the_reason(kind: str) -> None:
    origin = write_module("import acme_absent\n").origin

    error = refusal(kind, "own.py")

    assert str(error) == (
        f"{kind} 'own' ({origin}) cannot be imported from own.py: "
        "ModuleNotFoundError: No module named 'acme_absent'"
    )
    assert (error.kind, error.name, error.origin) == (kind, "own", origin)
    assert isinstance(error.__cause__, ModuleNotFoundError)


@KINDS
def test_what_is_installed_and_cannot_be_imported_is_told_with_its_distribution(
    kind: str, install_distribution: InstallDistribution
) -> None:
    modules = {"acme_own": "raise OSError('no licence')"}
    install_distribution("acme", {"own": "acme_own:Own"}, modules, group=GROUPS[kind])

    assert str(refusal(kind, "own")) == (
        f"{kind} 'own' (acme 1.0) cannot be imported from acme_own:Own: OSError: no licence"
    )


@KINDS
def test_a_file_without_any_is_refused(kind: str) -> None:
    (other,) = {*SOURCES} - {kind}
    origin = write_module(SOURCES[other]).origin

    assert str(refusal(kind, "own.py")) == (
        f"{kind} 'own' ({origin}) holds no class that is {NOUNS[kind]}"
    )


@KINDS
def test_a_file_of_several_is_refused_with_what_to_write_instead(kind: str) -> None:
    name = {"model": "Net", "dataset": "Noise"}[kind]
    origin = write_module(f"{SOURCES[kind]}\n\nclass Other({name}): ...\n").origin

    assert str(refusal(kind, "own.py")) == (
        f"{kind} 'own' ({origin}) holds several; choose own.py:{name} or own.py:Other"
    )


@KINDS
def test_a_name_that_is_not_in_a_file_is_refused(kind: str) -> None:
    origin = write_module(SOURCES[kind]).origin

    assert str(refusal(kind, "own.py:Absent")) == (
        f"{kind} 'own' ({origin}) has no 'Absent' in own.py"
    )


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("model", "Noise"),
        ("model", "Model"),
        ("model", "five"),
        ("dataset", "Net"),
        ("dataset", "DataSource"),
        ("dataset", "five"),
    ],
)
def test_a_name_in_a_file_that_is_none_is_refused(kind: str, name: str) -> None:
    origin = write_module(f"{NET}{DATA}from ignite_threenet import Model\nfive = 5\n").origin

    assert str(refusal(kind, f"own.py:{name}")) == (
        f"{kind} 'own' ({origin}) is not {NOUNS[kind]}: own.py:{name}"
    )


def test_a_network_that_is_made_already_is_refused_in_words_that_are_true() -> None:
    write_module(f"{NET}\n\nnet = Net(5, 3)\n")

    # It is a torch.nn.Module.
    assert "is not a torch.nn.Module" not in str(refusal("model", "own.py:net"))


def test_torch_is_imported_only_with_what_is_chosen() -> None:
    code = (
        "import sys\n"
        "from ignite_threenet.extensions.component import find_component, find_components, locate\n"
        "for kind, name in (('model', 'threenet'), ('dataset', 'digits')):\n"
        "    find_components(kind), find_component(kind, name).describe(), locate(kind, name)\n"
        "print('torch' in sys.modules)\n"
        "from ignite_threenet.models.creation import choose_model; choose_model('threenet')\n"
        "print('torch' in sys.modules)\n"
    )

    assert run_code(code) == "False\nTrue\n"


# Options


class Noise(DataSource):
    """Samples that mean nothing."""

    samples: int = option(100, help="samples of each split", min=1)
    classes: int = option(3, help="classes", min=2)

    def load(self, data_dir: Path) -> dict[str, tuple[Tensor, Tensor]]:
        return {"train": (torch.rand(self.samples, 5), torch.arange(self.samples) % self.classes)}


def part(make: Callable[..., Any] = ThreeNet, kind: str = "model", **fixed: Any) -> Component:
    return Component(kind, "own", "acme 1.0", make, fixed)


def test_a_user_sets_all_options_of_a_network_but_those_that_the_data_says() -> None:
    assert [spec.name for spec in part().specs] == ["hidden"]


def test_what_is_settled_is_no_option_any_more() -> None:
    assert [spec.name for spec in part(ImageFolderSource, "dataset", path=Path()).specs] == [
        "size",
        "colors",
        "test_share",
    ]


def test_a_dataset_may_have_an_option_for_what_the_data_says_of_itself() -> None:
    assert [spec.name for spec in part(Noise, "dataset").specs] == ["samples", "classes"]


def test_what_declares_no_options_and_takes_nothing_has_none() -> None:
    assert part(lambda: nn.Linear(5, 3)).specs == ()
    assert part(lambda: nn.Linear(5, 3)).with_options({}).options == {}


def test_what_declares_no_options_has_those_of_its_signature() -> None:
    assert part(nn.Linear).with_options({}).options == {"bias": True}
    assert part(nn.Linear).left_out["in_features"] == "it has no default"


def test_options_that_nobody_sets_have_their_defaults() -> None:
    assert part(ImageFolderSource, "dataset", path=Path()).with_options({"size": 32}).options == {
        "size": 32,
        "colors": "auto",
        "test_share": 0.2,
    }


def test_setting_options_leaves_the_part_as_it_was() -> None:
    before = part()

    after = before.with_options({"hidden": [9, 8]})

    assert after == dataclasses.replace(before, options={"hidden": (9, 8)})
    assert before.options == {}


def test_a_value_that_is_not_allowed_is_told_with_the_option() -> None:
    with pytest.raises(OptionError) as raised:
        part().with_options({"hidden": (0,)})

    assert raised.value.where == "model.hidden"
    assert raised.value.problem == "is out of range"


@pytest.mark.parametrize("name", ["hiden", "classes", "input_shape"])
def test_an_option_that_it_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(UnknownNameError) as raised:
        part().with_options({name: 3})

    assert str(raised.value).startswith(f"model own: unknown option {name!r}")
    assert raised.value.known == ["hidden"]


# Making


def test_it_is_made_with_its_options_and_what_is_settled() -> None:
    chosen = part(ImageFolderSource, "dataset", path=Path("photos")).with_options({"size": 32})

    source = chosen.create()

    assert isinstance(source, ImageFolderSource)
    assert (source.path, source.size) == (Path("photos"), 32)


def test_what_is_settled_goes_before_what_is_given() -> None:
    assert part(lambda **given: given, size=1).create(size=2, shape=3) == {"size": 1, "shape": 3}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda: "nothing", "nothing"),
        (lambda size: size, 2),
        (lambda size, other=5: (size, other), (2, 5)),
        (lambda *, shape: shape, 3),
        (lambda *sizes: sizes, ()),
        (lambda shape, **given: (shape, given), (3, {"size": 2})),
        (lambda *sizes, **given: (sizes, given), ((), {})),
    ],
)
def test_a_function_is_called_with_what_it_takes(
    function: Callable[..., Any], expected: object
) -> None:
    assert part().call(function, {"size": 2, "shape": 3}, "fails") == expected


def test_what_a_function_takes_by_position_alone_is_its_own_affair() -> None:
    def take(size: int = 7, /) -> int:
        return size

    assert part().call(take, {"size": 2}, "fails") == 7


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("too small"), "ValueError: too small"),
        (ValueError("too small\nfor that"), "ValueError: too small for that"),
        (KeyError("width"), "KeyError: 'width'"),
        (NotImplementedError(), "NotImplementedError"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_what_an_authors_code_raises_is_told_with_its_origin(
    error: BaseException, reason: str
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(ComponentError) as raised:
        part(fail).create()

    assert str(raised.value) == f"model 'own' (acme 1.0) cannot be made: {reason}"
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    ("given", "names"), [({}, "nothing"), ({"shape": 5, "classes": 3}, "classes, shape")]
)
def test_arguments_that_nobody_gives_are_told(given: dict[str, int], names: str) -> None:
    def make(width: int, *sizes: int, depth: int, bias: bool = True, **others: int) -> None: ...

    with pytest.raises(ComponentError) as raised:
        part(make).create(**given)

    assert str(raised.value) == (
        "model 'own' (acme 1.0) cannot be made: it takes depth, width, and is given "
        f"{names}, by these names"
    )


@pytest.mark.parametrize("make", [torch.zeros, "threenet"])
def test_what_cannot_be_called_so_that_anybody_knows_is_refused(make: Any) -> None:
    with pytest.raises(ComponentError, match=r"^model 'own' \(acme 1\.0\) cannot be made: "):
        part(make).create(classes=3)


@pytest.mark.parametrize("error", [DataError("no image"), KeyboardInterrupt()])
def test_what_needs_no_explanation_passes(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        part(fail).create()

    assert raised.value is error


def test_an_error_names_the_part_and_where_it_comes_from() -> None:
    error = part(kind="dataset").error("is too small")

    assert str(error) == "dataset 'own' (acme 1.0) is too small"
    assert (error.kind, error.name, error.origin) == ("dataset", "own", "acme 1.0")
    assert error.exit_code == 2


# Spelling where it is


@KINDS
@pytest.mark.parametrize("word", ["mnist", "absent", "", "acme.data"])
def test_a_name_is_spelled_as_it_is(kind: str, word: str) -> None:
    assert locate(kind, word) == word


@KINDS
@pytest.mark.parametrize("word", ["own.py", "nets/own.py", "own.py:Own"])
def test_a_file_is_spelled_as_seen_from_anywhere(kind: str, word: str) -> None:
    assert locate(kind, word) == str(Path.cwd() / word)
    assert locate(kind, word, Path("there")) == str(Path.cwd() / "there" / word)


@KINDS
def test_a_file_in_the_home_directory_is_spelled_in_full(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    assert locate(kind, "~/own.py", Path("there")) == str(tmp_path / "home" / "own.py")


@KINDS
def test_a_file_that_is_seen_from_anywhere_stays_so(kind: str, tmp_path: Path) -> None:
    word = str(tmp_path / "own.py:Own")

    assert locate(kind, word, Path("there")) == word


def test_a_folder_is_spelled_as_seen_from_anywhere() -> None:
    Path("there/photos").mkdir(parents=True)

    assert locate("dataset", "there/photos") == str(Path.cwd() / "there" / "photos")
    assert locate("dataset", "photos", Path("there")) == str(Path.cwd() / "there" / "photos")
    assert locate("dataset", "photos") == "photos"


@pytest.mark.parametrize(("kind", "name"), [("model", "photos"), ("dataset", "digits")])
def test_a_folder_that_is_not_meant_changes_no_name(kind: str, name: str) -> None:
    Path(name).mkdir()

    assert locate(kind, name) == name
