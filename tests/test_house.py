"""Tests of the order in which the folders stand: each imports only what stands before it."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import ignite_threenet

ROOT = Path(ignite_threenet.__file__).parent
PROJECT = Path(__file__).parents[1]

# A room imports the rooms before it; those of one line stand side by side.
ORDER = (
    {"text"},
    {"errors"},
    {"options", "storage"},
    {"extensions"},
    {"config"},
    {"data"},
    {"training"},
    {"models"},
    {"settings"},
    {"run"},
    {"cli"},
    {"testing"},
)
PLACE = {room: place for place, rooms in enumerate(ORDER) for room in rooms}

MOST_LINES_OF_A_FILE = 350
MOST_LINES_OF_A_CLASS = 300


def modules() -> list[Path]:
    """List the modules of the package, without the face and what starts it."""
    faces = {ROOT / "__init__.py", ROOT / "__main__.py"}
    return sorted(path for path in ROOT.rglob("*.py") if path not in faces)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in modules()}


def imports_of(path: Path) -> Iterator[str]:
    """Name the modules that a module imports, also inside functions and for types alone."""
    package = path.relative_to(ROOT).parts[:-1] if path.is_relative_to(ROOT) else ()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        if isinstance(node, ast.ImportFrom):
            base = ["ignite_threenet", *package[: len(package) - node.level + 1]]
            module = ".".join([*(base if node.level else []), *filter(None, [node.module])])
            yield from (f"{module}.{each.name}" for each in node.names)


def own_imports_of(path: Path) -> set[str]:
    """Name the modules of the package that a module imports."""
    found = set()
    for name in imports_of(path):
        inner = name.removeprefix("ignite_threenet").lstrip(".")
        if not name.startswith("ignite_threenet") or name.startswith("ignite_threenet_"):
            continue
        candidates = [inner, inner.rpartition(".")[0]]
        found.add(next((each for each in candidates if each in NAMES), ""))
    return found


def room_of(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_module_imports_only_what_stands_before_it(path: Path) -> None:
    room = room_of(name_of(path))

    wrong = {
        each
        for each in own_imports_of(path)
        if each and room_of(each) != room and PLACE[room_of(each)] >= PLACE[room]
    }

    assert wrong == set()


def test_no_module_but_a_test_kits_imports_the_face() -> None:
    of_the_face = {name_of(path) for path in modules() if "" in own_imports_of(path)}

    assert of_the_face <= {"testing.tiny"}


def test_the_modules_form_no_circle() -> None:
    graph = {name_of(path): own_imports_of(path) - {""} for path in modules()}

    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("path", sorted((PROJECT / "plugins").glob("*.py")), ids=lambda p: p.stem)
def test_a_plugin_imports_the_face_alone(path: Path) -> None:
    own = {each for each in imports_of(path) if each.startswith("ignite_threenet.")}

    assert {each for each in own if each.count(".") > 1} == set()


def test_click_is_known_to_the_command_line_alone() -> None:
    of_click = {room_of(name_of(path)) for path in modules() if uses(path, "click")}

    # The test kit runs the command line.
    assert of_click <= {"cli", "testing"}


def uses(path: Path, package: str) -> bool:
    return any(each.partition(".")[0] == package for each in imports_of(path))


def test_ignites_private_attributes_are_touched_in_one_file() -> None:
    private = ("_dataloader_iter", "_init_iter", "_internal_run_generator", "_setup_dataloader")

    touching = {
        name_of(path) for path in modules() if any(each in path.read_text() for each in private)
    }

    assert touching == {"training.tracked_engine"}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_no_file_and_no_class_is_too_long(path: Path) -> None:
    text = path.read_text()

    assert len(text.splitlines()) <= MOST_LINES_OF_A_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            assert (node.end_lineno or 0) - node.lineno < MOST_LINES_OF_A_CLASS, node.name
