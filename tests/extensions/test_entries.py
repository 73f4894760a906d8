"""Tests of finding what others bring: by the name of an entry point, or in a file."""

import hashlib
import sys
from pathlib import Path

import pytest
from conftest import InstallDistribution, written_modules
from helpers import write_module

from ignite_threenet import UnknownNameError
from ignite_threenet.extensions.entries import Entry, FileEntry, find_entries, find_entry
from ignite_threenet.extensions.importing import LoadFailedError
from ignite_threenet.extensions.reference import Reference

GROUP = "acme.tools"

pytestmark = pytest.mark.usefixtures("forget_written_modules")


def is_tool(value: object) -> bool:
    return isinstance(value, type) and value.__name__.endswith("Tool")


def failure(entry: Entry | FileEntry) -> str:
    with pytest.raises(LoadFailedError) as raised:
        entry.load(is_tool, "a tool")
    return str(raised.value)


# Words


@pytest.mark.parametrize(
    "word",
    ["own.py", "./own.py", "/tools/own.py", "own.py:Tool", "./my tools/own.py:Tool", "name=own.py"],
)
def test_a_word_that_ends_in_py_is_a_file(word: str) -> None:
    assert Reference.parse(word).is_file


@pytest.mark.parametrize("word", ["saw", "saw.pyc", "saw:Tool", "py", "", "acme.saw"])
def test_any_other_word_is_a_name(word: str) -> None:
    assert not Reference.parse(word).is_file


# Files, not imported


def test_a_file_is_known_by_its_name_and_the_beginning_of_its_digest() -> None:
    entry = write_module("class Tool: ...\n", "two_saws.py")

    assert entry.name == "two-saws"
    assert entry.distribution == "two_saws.py"
    assert entry.version == hashlib.sha256(b"class Tool: ...\n").hexdigest()[:8]
    assert entry.origin == f"two_saws.py {entry.version}"
    assert entry.value == "two_saws.py"


def test_one_of_several_in_a_file_is_known_by_both_names() -> None:
    assert FileEntry(Path("tools/own.py"), "SmallTool").value == "tools/own.py:SmallTool"


def test_a_file_that_is_gone_has_no_digest_and_no_description() -> None:
    entry = FileEntry(Path("own.py"))

    assert (entry.origin, entry.describe()) == ("own.py", "")


@pytest.mark.parametrize(
    ("attribute", "description"),
    [("", "Cut wood."), ("SmallTool", "Cut twigs."), ("make", "Make a tool."), ("Absent", "")],
)
def test_a_file_is_described_without_being_imported(attribute: str, description: str) -> None:
    write_module(
        "def make():\n    '''Make a tool.'''\n"
        "class Tool:\n    '''Cut wood.\n\n    More.\n    '''\n"
        "class SmallTool:\n    '''Cut twigs.'''\n"
        "raise RuntimeError('imported')\n"
    )

    assert FileEntry(Path("own.py"), attribute).describe() == description


@pytest.mark.parametrize("content", [b"class Tool(:", b"\x00\xff"])
def test_a_damaged_file_has_no_description(content: bytes) -> None:
    Path("own.py").write_bytes(content)

    assert FileEntry(Path("own.py")).describe() == ""


# Files, imported


def test_the_only_one_of_its_kind_in_a_file_is_loaded() -> None:
    entry = write_module("from pathlib import Path\nclass Handle: ...\nclass Tool: ...\n")

    assert entry.load(is_tool, "a tool").__name__ == "Tool"


def test_what_a_file_only_imports_is_not_its_own() -> None:
    write_module("class Tool: ...\n", "acme_base_of_saw.py")
    sys.path.insert(0, str(Path.cwd()))
    try:
        entry = write_module("from acme_base_of_saw import Tool\nclass SmallTool(Tool): ...\n")
        loaded = entry.load(is_tool, "a tool")
    finally:
        sys.path.remove(str(Path.cwd()))

    assert loaded.__name__ == "SmallTool"


def test_one_of_several_in_a_file_is_loaded_by_its_name() -> None:
    write_module("class BigTool: ...\nclass SmallTool: ...\n")

    loaded = FileEntry(Path("own.py"), "SmallTool").load(is_tool, "a tool")

    assert loaded.__name__ == "SmallTool"


def test_several_in_a_file_are_refused_with_what_to_write_instead() -> None:
    entry = write_module("class BigTool: ...\nclass SmallTool: ...\n", "tools/own.py")

    assert failure(entry) == "holds several; choose tools/own.py:BigTool or tools/own.py:SmallTool"


def test_a_file_without_any_is_refused() -> None:
    assert failure(write_module("class Handle: ...\n")) == "holds no class that is a tool"


def test_a_function_in_a_file_is_loaded_by_its_name_alone() -> None:
    entry = write_module("def make(): ...\n")

    with pytest.raises(LoadFailedError, match=r"^holds no class that is a maker$"):
        entry.load(callable, "a maker")

    loaded = FileEntry(entry.path, "make").load(callable, "a maker")
    assert loaded.__name__ == "make"


def test_a_name_in_a_file_that_is_none_is_refused() -> None:
    write_module("class Handle: ...\n")

    assert failure(FileEntry(Path("own.py"), "Handle")) == "is not a tool: own.py:Handle"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Absent", "has no 'Absent' in own.py"),
        ("Sawtool", "has no 'Sawtool' in own.py; did you mean 'SawTool'?"),
    ],
)
def test_a_name_that_is_not_in_a_file_is_told_with_the_nearest(name: str, message: str) -> None:
    write_module("class SawTool: ...\n")

    assert failure(FileEntry(Path("own.py"), name)) == message


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = (\n", "SyntaxError: '(' was never closed (own.py, line 1)"),
        ("import acme_absent\n", "ModuleNotFoundError: No module named 'acme_absent'"),
        ("raise OSError('no display')\n", "OSError: no display"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
    ],
)
def test_a_file_that_cannot_be_imported_is_told_with_the_reason(source: str, reason: str) -> None:
    before = written_modules()

    assert failure(write_module(source)) == f"cannot be imported from own.py: {reason}"
    assert written_modules() == before


def test_a_file_that_is_gone_cannot_be_written_modules() -> None:
    message = failure(FileEntry(Path("own.py")))

    assert message.startswith("cannot be imported from own.py: FileNotFoundError: ")


def test_an_interrupt_while_importing_a_file_goes_on() -> None:
    entry = write_module("raise KeyboardInterrupt\n")
    before = written_modules()

    with pytest.raises(KeyboardInterrupt):
        entry.load(is_tool, "a tool")

    assert written_modules() == before


def test_a_file_is_imported_once() -> None:
    entry = write_module("class Tool: ...\nhere = 'once'\n")

    assert entry.load(is_tool, "a tool") is entry.load(is_tool, "a tool")


def test_a_file_that_has_changed_is_imported_anew() -> None:
    first = write_module("class Tool:\n    teeth = 1\n").load(is_tool, "a tool")

    second = write_module("class Tool:\n    teeth = 2\n").load(is_tool, "a tool")

    assert (first.teeth, second.teeth) == (1, 2)


def test_a_file_may_be_called_like_a_module() -> None:
    entry = write_module("class Tool: ...\n", "logging.py")

    assert entry.load(is_tool, "a tool").__module__ != "logging"
    assert "Tool" not in vars(sys.modules["logging"])


# Finding


def test_what_is_found_belongs_to_the_group_alone(
    install_distribution: InstallDistribution,
) -> None:
    install_distribution("acme", {"saw": "acme_saw:Tool"}, {}, group=GROUP)

    assert find_entries(GROUP) == {"saw": [Entry("saw", "acme_saw:Tool", "acme", "1.0")]}


def test_a_word_with_a_name_in_a_file_finds_both() -> None:
    write_module("")

    assert find_entry("tool", "./own.py:SmallTool", {}) == FileEntry(Path("own.py"), "SmallTool")


def test_a_file_goes_before_what_is_installed() -> None:
    write_module("")
    installed = {"own.py": [Entry("own.py", "acme_saw:Tool", "acme", "1.0")]}

    assert find_entry("tool", "own.py", installed) == FileEntry(Path("own.py"))


@pytest.mark.parametrize("word", ["./tools/own.py", "./tools/own.py:Tool"])
def test_a_file_that_does_not_exist_is_unknown(word: str) -> None:
    with pytest.raises(UnknownNameError) as raised:
        find_entry("tool", word, {}, where="bench")

    assert str(raised.value) == "bench: unknown tool file './tools/own.py'."
    assert raised.value.name == "./tools/own.py"


def test_a_directory_is_no_file() -> None:
    Path("own.py").mkdir()

    with pytest.raises(UnknownNameError, match=r"^unknown tool file 'own\.py'"):
        find_entry("tool", "own.py", {})


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    installed = {"saw": [Entry("saw", "acme_saw:Tool", "acme", "1.0")]}

    with pytest.raises(UnknownNameError) as raised:
        find_entry("tool", "sawn", installed, where="bench")

    assert str(raised.value) == "bench: unknown tool 'sawn'; did you mean 'saw'? Known: saw"


def test_a_name_of_several_distributions_is_refused_and_names_them() -> None:
    entries = [Entry("saw", "x:Tool", name, "1.0") for name in ("acme", "bolt")]

    with pytest.raises(LoadFailedError) as raised:
        find_entry("tool", "saw", {"saw": entries})

    assert str(raised.value) == (
        "comes from several distributions: acme 1.0 and bolt 1.0; uninstall all but one"
    )


# Distributions that cannot be read


def damage(site: Path, kind: str) -> None:
    """Spoil the metadata of what was laid out there."""
    (info,) = site.glob("*.dist-info")
    match kind:
        case "no METADATA":
            (info / "METADATA").unlink()
        case "METADATA without a name":
            (info / "METADATA").write_text("Metadata-Version: 2.1\nVersion: 1.0\n")
        case "METADATA without a version":
            (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\n")
        case "METADATA that is not UTF-8":
            (info / "METADATA").write_bytes(b"Name: br\xffken\nVersion: 1.0\n")
        case "entry points that are not UTF-8":
            (info / "entry_points.txt").write_bytes(
                f"[{GROUP}]\nsaw = s\xe4w:Tool\n".encode("latin1")
            )
        case "a line that is no entry point":
            (info / "entry_points.txt").write_text(f"[{GROUP}]\nsaw\n")


@pytest.mark.parametrize(
    "kind",
    [
        "no METADATA",
        "METADATA without a name",
        "METADATA without a version",
        "METADATA that is not UTF-8",
        "entry points that are not UTF-8",
        "a line that is no entry point",
    ],
)
def test_a_distribution_that_cannot_be_read_is_named_once_and_passed_over(
    install_distribution: InstallDistribution, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    install_distribution("acme", {"saw": "acme_saw:Tool"}, {}, group=GROUP)
    damage(install_distribution("broken", {"drill": "drill:Tool"}, {}, group=GROUP), kind)

    found = [find_entries(GROUP) for _ in range(2)]

    assert found == [{"saw": [Entry("saw", "acme_saw:Tool", "acme", "1.0")]}] * 2
    (message,) = [record.getMessage() for record in caplog.records]
    assert "broken-1.0.dist-info: cannot be read, and is left out: " in message
    assert message.endswith("; install it anew")


@pytest.mark.parametrize("value", ["", ":", " :Tool", "a..b:Tool", "a\x00b:Tool", "no module:T"])
def test_an_entry_point_that_points_nowhere_has_no_description(value: str) -> None:
    entry = Entry("saw", value, "acme", "1.0")

    assert entry.describe() == ""
    assert failure(entry).startswith(f"cannot be imported from {value}: ")
