"""What a run is made of that is chosen by name or by file: its model, and its dataset.

They are found as plugins are, and declare their options in the same way. torch is imported only
where one of them is loaded.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import ComponentError, ThreeNetError, UnknownNameError, describe_error
from ..options.declaration import OptionSpec, option_specs
from ..options.signature import SignatureOptions, read_signature
from .entries import Entry, FileEntry, find_entries, find_entry, find_installed
from .importing import LoadFailedError, source_digest
from .reference import Reference

GROUPS = {
    "model": "ignite_threenet.models",
    "dataset": "ignite_threenet.datasets",
}
"""The entry-point groups, by the kind of component."""

# What the run says and not the user.
_FILLED_IN = {"model": ("input_shape", "classes"), "dataset": ("data_dir",)}

# The installed dataset that a folder is read by; its option ``path`` is the folder.
_FOLDER_READER = "folder"


@dataclass(frozen=True)
class Component:
    """A model or a dataset that takes part in a run.

    Attributes:
        kind: ``model`` or ``dataset``; also the prefix of its options.
        name: its name, or that of its file or folder.
        origin: the distribution with its version, or the file with its digest.
        make: what makes it.
        fixed: arguments that the word that chose it has settled.
        options: its options by name.
        source_digest: the SHA-256 digest of the file that it was imported from, or "".
        file_digest: that of the file that it was found in, which may import it from another.
    """

    kind: str
    name: str
    origin: str
    make: Callable[..., Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    source_digest: str = ""
    file_digest: str = ""

    @property
    def specs(self) -> tuple[OptionSpec, ...]:
        """Its options: those that it declares, else those that its signature offers."""
        if isinstance(self.make, type) and self._declares_options:
            return tuple(each for each in option_specs(self.make) if each.name not in self._settled)
        return self._signature.specs

    @property
    def left_out(self) -> Mapping[str, str]:
        """Why a parameter of its signature is no option, by name."""
        return {} if self._declares_options else self._signature.left_out

    @property
    def _declares_options(self) -> bool:
        return isinstance(self.make, type) and "__option_specs__" in vars(self.make)

    @property
    def _signature(self) -> SignatureOptions:
        return read_signature(self.make, self._settled)

    @property
    def _settled(self) -> set[str]:
        """What the word that chose it, or the run, fills in."""
        return {*self.fixed, *_FILLED_IN[self.kind]}

    @property
    def description(self) -> str:
        """The first line of its docstring."""
        lines = (self.make.__doc__ or "").strip().splitlines()
        return lines[0] if lines else ""

    def with_options(self, given: Mapping[str, Any]) -> "Component":
        """Check options by name, and set them; the others have their defaults.

        Raises:
            UnknownNameError: it has no such option.
            OptionError: a value is not allowed.
        """
        by_name = {spec.name: spec for spec in self.specs}
        for name in given:
            if name not in by_name:
                raise UnknownNameError("option", name, by_name, f"{self.kind} {self.name}")
        options = {name: spec.default for name, spec in by_name.items()} | {
            name: by_name[name].convert(value, f"{self.kind}.{name}")
            for name, value in given.items()
        }
        return replace(self, options=options)

    def create(self, **arguments: Any) -> Any:
        """Call what makes it with its options, and with those of the arguments that it takes.

        Raises:
            ComponentError: it raised.
        """
        given = {**arguments, **self.fixed, **self.set_options}
        return self.call(self.make, given, "cannot be made")

    @property
    def plain_options(self) -> dict[str, Any]:
        """Its options as files and messages show them."""
        return {spec.name: spec.plain(self.options[spec.name]) for spec in self.specs}

    @property
    def set_options(self) -> Mapping[str, Any]:
        """Its options as they are handed over; of a signature only those that were set."""
        if self._declares_options:
            return self.options
        defaults = {spec.name: spec.default for spec in self.specs}
        return {name: each for name, each in self.options.items() if each != defaults[name]}

    def call(self, function: Callable[..., Any], given: Mapping[str, Any], problem: str) -> Any:
        """Call a function of the component's author with those given arguments that it takes.

        Raises:
            ComponentError: it raised; the message begins with what the problem is.
        """
        try:
            missing = _required(function) - given.keys()
            if missing:
                raise self.error(
                    f"{problem}: it takes {', '.join(sorted(missing))}, and is given "
                    f"{', '.join(sorted(given)) or 'nothing'}, by these names"
                )
            return function(**_accepted(function, given))
        except ThreeNetError:
            raise
        except (Exception, SystemExit) as error:
            raise self.error(f"{problem}: {describe_error(error)}") from error

    def error(self, problem: str) -> ComponentError:
        """Make the error that says what is wrong with it."""
        return ComponentError(self.kind, self.name, self.origin, problem)


def _required(function: Callable[..., Any]) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        each.name for each in parameters if each.default is each.empty and each.kind not in variable
    }


def _accepted(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    kinds = {each.kind for each in parameters}
    # Of (*args, **kwargs), as torch.nn.Module has, nobody knows what it takes.
    if inspect.Parameter.VAR_KEYWORD in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        return dict(given)
    names = {each.name for each in parameters if each.kind is not each.POSITIONAL_ONLY}
    return {name: value for name, value in given.items() if name in names}


def find_components(kind: str) -> dict[str, list[Entry]]:
    """List the installed models or datasets by name, without importing any of them."""
    return find_entries(GROUPS[kind])


def find_component(kind: str, word: str) -> Entry | FileEntry:
    """Find a model or a dataset.

    Args:
        kind: ``model`` or ``dataset``.
        word: the name of an installed one, or ``file.py``, or ``file.py:Name``; as a dataset also
            a folder.

    Raises:
        UnknownNameError: there is none of that name, or no such file.
        ComponentError: several distributions bring one of that name.
    """
    installed = find_components(kind)
    reference = Reference.parse(word)
    if kind == "dataset" and not reference.is_there() and not reference.is_file:
        raise UnknownNameError("dataset folder", word, ())
    try:
        if _names_folder(kind, word):
            reader = find_installed(kind, _FOLDER_READER, installed)
            # The folder is the user's, whoever brings its reader.
            name = Path(reference.target).resolve().name
            return replace(reader, name=name, distribution="", version="")
        return find_entry(kind, word, installed)
    except UnknownNameError as error:
        guess = _find_in_torchvision(word) if kind == "model" and not error.nearest else None
        raise (UnknownNameError(kind, word, installed, guess=guess) if guess else error) from None
    except LoadFailedError as error:
        raise ComponentError(kind, word, "", str(error)) from None


def _find_in_torchvision(word: str) -> str | None:
    """Name a network of torchvision by its module; None if it has none of that name."""
    try:
        from torchvision import models
    except (ImportError, RuntimeError):  # of another make than torch
        return None
    name = word.lower()
    is_one = name in models.list_models() and hasattr(models, name)
    return f"torchvision.models:{name}" if is_one else None


def choose_component(
    kind: str, word: str, is_wanted: Callable[[object], bool], what: str
) -> Component:
    """Find a model or a dataset, and import it.

    Args:
        kind: ``model`` or ``dataset``.
        word: what names it.
        is_wanted: whether an object is one of that kind.
        what: what messages call that kind.

    Raises:
        UnknownNameError: there is none of that name, or no such file.
        ComponentError: it cannot be imported, or is none.
    """
    found = find_component(kind, word)
    try:
        make = found.load(is_wanted, what)
    except LoadFailedError as error:
        raise ComponentError(kind, found.name, found.origin, str(error)) from error.__cause__
    fixed = {"path": Path(Reference.parse(word).target)} if _names_folder(kind, word) else {}
    return Component(
        kind,
        found.name,
        found.origin,
        make,
        fixed,
        source_digest=source_digest(make),
        file_digest=found.file_digest,
    )


def locate(kind: str, word: str, directory: Path = Path()) -> str:
    """Spell a file or a folder as seen from anywhere, and leave a name as it is.

    Args:
        kind: ``model`` or ``dataset``.
        word: what names it.
        directory: where a relative file or folder is looked for.

    Example:
        >>> locate("model", "/nets/net.py:Net"), locate("dataset", "mnist")
        ('/nets/net.py:Net', 'mnist')
    """
    if not word:
        return word
    is_folder = _names_folder(kind, word, directory)
    return Reference.parse(word).located(directory, is_folder=is_folder).value


def _names_folder(kind: str, word: str, directory: Path = Path()) -> bool:
    """Tell whether a word means a folder of data; an installed name goes before it."""
    place = Reference.parse(word).located(directory, is_folder=True).target
    is_folder = kind == "dataset" and bool(word) and Path(place).is_dir()
    return is_folder and word not in find_components(kind)
