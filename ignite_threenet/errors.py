"""The errors of ignite-threenet, in one tree.

ThreeNetError
├── ConfigError           what was asked for cannot be done
│   ├── OptionError       an option has a value that is not allowed
│   ├── UnknownNameError  a name that does not exist: a dataset, a plugin, an option, a key
│   ├── ComponentError    a model or a dataset that was named cannot be used
│   └── DirectoryError    a run's directory holds something that must not be overwritten
├── DataError             a dataset is missing or damaged
│   └── UnreachableError  it is not on disk, and its servers cannot be reached
├── CheckpointError       a checkpoint, or saved weights, cannot be read, written, or gone on from
├── RunInterruptedError   a run was asked to end early
├── PluginError           a plugin cannot be used
│   ├── PluginLoadError   it cannot be imported, or is not a plugin
│   ├── PluginChoiceError plugins that cannot run together: two of one name, a cycle, a missing one
│   └── PluginFailedError it raised while the run went on
└── DivergedError         the loss is no longer finite

A message says where, what value, what is allowed, and the nearest match; the same facts are
attributes of the error. ``exit_code`` is what the command line exits with: 2 for what the user
asked for, 1 for what went wrong.
"""

from collections.abc import Iterable
from typing import Any

from .text import mask_addresses, redact

# Characters of a value that a message shows.
_LONGEST_SHOWN = 200

# In fewer letters than these no slip is recognized, and of as many one may be wrong.
_FEWEST_LETTERS = 3


class ThreeNetError(Exception):
    """The root of the tree."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        # The arguments of a constructor are gone by now: only message and attributes travel.
        return _rebuild, (type(self), str(self), self.__dict__)


def _rebuild(cls: type[ThreeNetError], message: str, attributes: dict[str, Any]) -> ThreeNetError:
    error = cls.__new__(cls, message)
    error.__dict__.update(attributes)
    return error


class ConfigError(ThreeNetError):
    """What was asked for cannot be done."""

    exit_code = 2


class OptionError(ConfigError):
    """An option has a value that is not allowed.

    Attributes:
        where: the option as its user wrote it (``--lr``, ``run.toml: lr``, ``RunConfig.lr``).
        value: the refused value.
        problem: what is wrong with it (``is not an integer``).
        allowed: what would be accepted.
    """

    def __init__(self, where: str, value: object, problem: str, allowed: str) -> None:
        super().__init__(f"{where}: {_shown(value)} {problem}; expected {allowed}")
        self.where = where
        self.value = value
        self.problem = problem
        self.allowed = allowed


class UnknownNameError(ConfigError):
    """A name that does not exist.

    Attributes:
        name: the unknown name.
        nearest: the existing name most like it, or None.
        known: the names that exist, sorted.
    """

    def __init__(
        self, kind: str, name: str, known: Iterable[str], where: str = "", guess: str | None = None
    ) -> None:
        self.name = name
        self.known = sorted(known)
        self.nearest = guess or nearest(name, self.known)
        prefix = f"{where}: " if where else ""
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else "."
        label = "Installed" if kind in ("plugin", "model") else "Known"
        choices = f" {label}: {', '.join(self.known)}" if self.known else ""
        super().__init__(f"{prefix}unknown {kind} {_shown(name)}{hint}{choices}")


class ComponentError(ConfigError):
    """A model or a dataset that was named cannot be used.

    Attributes:
        kind: ``model`` or ``dataset``.
        name: its name, or that of its file.
        origin: the distribution with its version, or the file with its digest.
    """

    def __init__(self, kind: str, name: str, origin: str, problem: str) -> None:
        known_from = f" ({origin})" if origin else ""
        super().__init__(f"{kind} {name!r}{known_from} {problem}")
        self.kind = kind
        self.name = name
        self.origin = origin


class DirectoryError(ConfigError):
    """A run's directory holds something that must not be overwritten, or cannot be written.

    Attributes:
        path: the directory.
    """

    def __init__(self, path: object, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


class DataError(ThreeNetError):
    """A dataset is missing or damaged."""


class UnreachableError(DataError):
    """A dataset is not on disk, and its servers cannot be reached.

    Attributes:
        reason: the message without its advice.
    """

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"{reason}; {advice}")
        self.reason = reason


class CheckpointError(ThreeNetError):
    """A checkpoint, or saved weights, cannot be read, written, or gone on from.

    Attributes:
        path: the file, the directory, or what was to be written.
    """

    def __init__(self, path: object, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


class RunInterruptedError(ThreeNetError):
    """A run was asked to end early, and did so after an iteration.

    Attributes:
        epoch: the epoch that it was in, from 1.
        iteration: the iterations done, over the whole run.
        resumable: the run's directory where it holds a checkpoint of this moment, else None.
    """

    def __init__(self, epoch: int, iteration: int, resumable: object | None) -> None:
        advice = f"; go on by: ignite-threenet run --resume {resumable}" if resumable else ""
        super().__init__(f"interrupted at epoch {epoch}, iteration {iteration}{advice}")
        self.epoch = epoch
        self.iteration = iteration
        self.resumable = resumable


class PluginError(ThreeNetError):
    """A plugin cannot be used.

    Attributes:
        plugin: the plugin's name.
        distribution: the distribution that it comes from, with its version, or "".
    """

    def __init__(self, plugin: str, distribution: str, problem: str) -> None:
        origin = f" ({distribution})" if distribution else ""
        super().__init__(f"plugin {plugin!r}{origin} {problem}")
        self.plugin = plugin
        self.distribution = distribution


class PluginLoadError(PluginError):
    """A plugin cannot be imported, or what its entry point names is not a plugin."""

    exit_code = 2


class PluginChoiceError(PluginError):
    """The plugins asked for cannot run together."""

    exit_code = 2


class PluginFailedError(PluginError):
    """A plugin raised while the run went on; the cause is chained.

    Attributes:
        where: the event or the method that was running.
        epoch: the trainer's epoch at that time.
    """

    def __init__(
        self, plugin: str, distribution: str, where: str, epoch: int, cause: BaseException
    ) -> None:
        problem = f"failed at {where}, epoch {epoch}: {describe_error(cause)}"
        super().__init__(plugin, distribution, problem)
        self.where = where
        self.epoch = epoch


class DivergedError(ThreeNetError):
    """The loss, or a weight, is no longer finite.

    Attributes:
        epoch: the epoch in which that was seen, from 1.
        iteration: the first iteration with such a loss, counted over the whole run, from 1.
        loss: that loss; NaN if it is a weight that is not finite.
    """

    def __init__(self, epoch: int, iteration: int, loss: float, what: str = "the loss") -> None:
        super().__init__(
            f"{what} became {loss} at epoch {epoch}, iteration {iteration}; "
            "a smaller learning rate (--lr) usually helps"
        )
        self.epoch = epoch
        self.iteration = iteration
        self.loss = loss


def _shown(value: object) -> str:
    """Show a value, cut where nobody would read on."""
    shown = mask_addresses(repr(value))
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."


def describe_error(error: BaseException) -> str:
    r"""Put an error of somebody else's code into a line: its kind, what it says, and its notes.

    Example:
        >>> describe_error(ValueError("no\nluck")), describe_error(KeyError())
        ('ValueError: no luck', 'KeyError')
    """
    words = redact(" ".join(_words_of(error).split()))
    notes = "".join(f", {note}" for note in getattr(error, "__notes__", ()))
    return f"{type(error).__name__}: {words}{notes}" if words else f"{type(error).__name__}{notes}"


def message_of(error: BaseException) -> str:
    """Give what an error says; its kind, if that is nothing.

    Example:
        >>> message_of(ValueError("no luck")), message_of(KeyboardInterrupt())
        ('no luck', 'KeyboardInterrupt')
    """
    return _words_of(error) or type(error).__name__


def _words_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # of a class of somebody else's
        return "(its message cannot be shown)"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Find the name that a typing error most likely meant, or that begins with what was typed.

    Example:
        >>> nearest("bset", ["accuracy", "best", "plot"]), nearest("resnet18", ["threenet"])
        ('best', None)
    """
    typed = name.lower()
    if not _FEWEST_LETTERS <= len(typed) <= _LONGEST_SHOWN:
        return None
    most = max(1, len(typed) // _FEWEST_LETTERS)
    candidates = {each: each.lower() for each in known}
    near = [each for each, word in candidates.items() if abs(len(word) - len(typed)) <= most]
    distances = {each: _count_slips(typed, candidates[each]) for each in near}
    found = min(distances, key=lambda each: distances[each], default=None)
    if found is not None and distances[found] <= most:
        return found
    return next((each for each, word in candidates.items() if word.startswith(typed)), None)


def _count_slips(typed: str, meant: str) -> int:
    """Count the letters that are missing, too many, wrong, or swapped with their neighbour."""
    before: list[int] = []
    row = list(range(len(meant) + 1))
    for i, letter in enumerate(typed):
        last, before, row = before, row, [i + 1]
        for j, other in enumerate(meant):
            slips = min(before[j + 1] + 1, row[j] + 1, before[j] + (letter != other))
            if i and j and letter == meant[j - 1] and typed[i - 1] == other:
                slips = min(slips, last[j - 1] + 1)
            row.append(slips)
    return row[-1]
