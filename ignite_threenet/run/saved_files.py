"""Whether the files that a saved run names may be run: looked at before any is imported."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, ThreeNetError
from ..extensions.component import find_component
from ..extensions.entries import Entry, FileEntry
from ..extensions.plugin import Plugin
from ..extensions.selection import find_plugin
from .compatibility import format_digests
from .saved_run import SavedRun

_Found = tuple[str, Entry | FileEntry, Mapping[str, Any]]


def check_files(saved: SavedRun, kinds: Iterable[str], plugins: Iterable[str | Plugin]) -> None:
    """Refuse files that are not those that the run was made with, before they are imported.

    To resume a run is to run the files of its network, its dataset and its plugins. Those in the
    run's own directory are never run: whoever made a directory must not choose what is run by
    going on from it.

    Args:
        saved: the run.
        kinds: the components that are taken from where the checkpoint says; a place that the user
            gives is the user's own word, and what is there is compared when it is imported.
        plugins: what names the plugins; those that the checkpoint names are looked at.

    Raises:
        CheckpointError: a file has changed, and that is not allowed; or it lies in the directory.
    """
    for where, found, source in _find(saved, kinds, plugins):
        if isinstance(found, FileEntry) and _is_inside(found.path, saved.directory.path):
            raise CheckpointError(
                saved.path, f"{where}: {found.path} lies in the run's own directory; not run"
            )
        before, now = source["file"], found.file_digest
        if before and before != now and not saved.allow_changes:
            changed = format_digests(where, before, now)
            raise CheckpointError(saved.path, f"{changed}; go on with it by --allow-changes")


def _find(
    saved: SavedRun, kinds: Iterable[str], plugins: Iterable[str | Plugin]
) -> Iterator[_Found]:
    """Find what is known of the run, and is still there; what is not is told later."""
    for kind in sorted(saved.components.keys() & {*kinds}):
        component = saved.components[kind]
        if not component["source"]["distribution"]:
            with suppress(ThreeNetError):
                found = find_component(kind, saved.config[kind])
                yield f"{kind} {component['name']!r}", found, component["source"]
    named = {f"{each['name']}={each['use']}": each for each in saved.plugins}
    for word in sorted(named.keys() & {item for item in plugins if isinstance(item, str)}):
        plugin = named[word]
        if not plugin["source"]["distribution"]:
            with suppress(ThreeNetError):
                yield f"plugin {plugin['name']!r}", find_plugin(plugin["use"]), plugin["source"]


def _is_inside(file: Path, directory: Path) -> bool:
    return file.resolve().is_relative_to(directory.resolve())
