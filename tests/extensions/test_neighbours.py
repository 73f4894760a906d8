"""Tests of what lies beside a file that is named: it is that file's own to import."""

import sys
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ignite_threenet.extensions.importing import LoadFailedError, import_file

# What stands in a plugin's file, by how it imports; look() gives the folder that it found.
IMPORTS = {
    "a module": "import helper\ndef look(): return helper.FOLDER",
    "a module as": "import helper as h\ndef look(): return h.FOLDER",
    "a name": "from helper import FOLDER\ndef look(): return FOLDER",
    "all names": "from helper import *\ndef look(): return FOLDER",
    "later": "def look():\n    import helper\n    return helper.FOLDER",
    "a name later": "def look():\n    from helper import FOLDER\n    return FOLDER",
    "a package": "import pack\ndef look(): return pack.FOLDER",
    "a module of a package": "import pack.inner\ndef look(): return pack.inner.FOLDER",
    "a module of a package as": "import pack.inner as i\ndef look(): return i.FOLDER",
    "from a package": "from pack import inner\ndef look(): return inner.FOLDER",
    "a name of a module of a package": "from pack.inner import FOLDER\ndef look(): return FOLDER",
    "a package's own neighbour": "from pack.outer import FOLDER\ndef look(): return FOLDER",
    "a folder": "from plain.inner import FOLDER\ndef look(): return FOLDER",
    "a neighbour's neighbour": "from second import look",
    "a relative module": "from . import helper\ndef look(): return helper.FOLDER",
    "a relative name": "from .helper import FOLDER\ndef look(): return FOLDER",
    "a relative name later": "def look():\n    from .pack.inner import FOLDER\n    return FOLDER",
    "by importlib": "import importlib\n"
    "def look(): return importlib.import_module('pack.inner').FOLDER",
    "by import_module": "from importlib import import_module\n"
    "def look(): return import_module('helper').FOLDER",
    "by __import__": "def look(): return __import__('helper').FOLDER",
}


@pytest.fixture(autouse=True)
def _forget_imported_modules() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def lay_out(folder: str, source: str, name: str = "plug.py") -> types.ModuleType:
    """Write a file with neighbours that know their folder, and import it."""
    says = f"FOLDER = {folder!r}\n"
    files = {
        "helper.py": says,
        "second.py": "def look():\n    import helper\n    return helper.FOLDER\n",
        "pack/__init__.py": says,
        "pack/inner.py": "from . import FOLDER\n",
        "pack/outer.py": "from helper import FOLDER\n",
        "plain/inner.py": says,
        name: source,
    }
    for each, content in files.items():
        path = Path(folder, each)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(content))
    return import_file(Path(folder, name))


@pytest.mark.parametrize("how", IMPORTS)
def test_each_file_has_its_own_neighbours(how: str) -> None:
    one, two = (lay_out(folder, IMPORTS[how]) for folder in ("one", "two"))

    assert [one.look(), two.look(), one.look()] == ["one", "two", "one"]


@pytest.mark.parametrize("how", IMPORTS)
def test_neighbours_leave_the_rest_of_the_process_alone(how: str) -> None:
    path = list(sys.path)

    lay_out("one", IMPORTS[how]).look()

    assert sys.path == path
    assert not {"helper", "second", "pack", "plain"} & sys.modules.keys()
    assert not list(Path().rglob("__pycache__"))


@pytest.mark.parametrize("how", ["a module", "later", "by importlib"])
def test_a_neighbour_goes_before_what_is_installed(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("site").mkdir()
    Path("site", "helper.py").write_text("FOLDER = 'site'\n")
    Path("site", "pack.py").write_text("")
    monkeypatch.syspath_prepend("site")
    __import__("helper")
    __import__("pack")

    assert lay_out("one", IMPORTS[how]).look() == "one"


def test_files_of_one_folder_share_their_neighbours() -> None:
    one, two = (lay_out("one", "import helper", name) for name in ("plug.py", "other.py"))

    assert one.helper is two.helper


@pytest.mark.parametrize("name", ["wave.py", "json.py", "torch.py", "ignite_threenet.py"])
def test_a_file_does_not_import_itself(name: str) -> None:
    module = name.removesuffix(".py")

    found = lay_out("one", f"import {module} as found", name).found

    assert found is sys.modules[module]


@pytest.mark.parametrize("name", ["ignite_threenet", "torch", "json"])
def test_what_there_is_once_in_a_process_is_no_neighbour(name: str) -> None:
    Path("one", name).mkdir(parents=True)
    Path("one", name, "__init__.py").write_text("")

    assert lay_out("one", f"import {name} as found").found is sys.modules[name]


def test_what_a_script_imports_from_there_is_the_same_module(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lay_out("one", "")
    monkeypatch.syspath_prepend(str(Path("one").absolute()))
    helper = __import__("helper")

    assert lay_out("one", "import helper", "other.py").helper is helper


def test_a_dataclass_and_a_type_hint_of_a_neighbour_are_understood() -> None:
    Path("one").mkdir()
    Path("one", "shapes.py").write_text(
        "from __future__ import annotations\n"
        "import dataclasses, typing\n"
        "@dataclasses.dataclass\n"
        "class Shape:\n"
        "    other: Shape | None = None\n"
        "HINTS = typing.get_type_hints(Shape)\n"
    )

    plug: Any = lay_out("one", "from shapes import HINTS, Shape")

    assert plug.HINTS["other"] == plug.Shape | None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import absent", "ModuleNotFoundError: No module named 'absent'"),
        ("import pack.absent", "ModuleNotFoundError: No module named 'pack.absent'"),
        ("from helper import absent", "ImportError: cannot import name 'absent' from "),
        ("import broken", "ValueError: no good"),
    ],
)
def test_what_cannot_be_imported_is_told_by_its_authors_names(source: str, message: str) -> None:
    Path("one").mkdir()
    Path("one", "broken.py").write_text("raise ValueError('no good')\n")

    with pytest.raises(LoadFailedError) as caught:
        lay_out("one", source)

    assert str(caught.value).startswith(f"cannot be imported from one/plug.py: {message}")
