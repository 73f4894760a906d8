"""What a plugin is."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, dataclass_transform

from ..options.declaration import make_options_class, option_specs

ENTRY_POINT_GROUP = "ignite_threenet.plugins"
API = 1
"""The version of the plugins' interface; it grows when a plugin must change to go on working."""


@dataclass_transform(kw_only_default=True, eq_default=False)
class Plugin:
    """Something that attaches handlers to a run's engines.

    A subclass declares its options with option(), and becomes a keyword-only dataclass of them.

    Attributes:
        requires: names of the plugins that must run too, and whose handlers run first.
        on_error: what a failure does: ``stop`` the run, or ``detach`` the plugin, for one that
            only shows something.
        name: the plugin's name in its run.
        distribution: the distribution that it was installed from, with its version, or "".
        required_by: the plugin that brought it into the run, or None if the user named it.
        use: the name under which it is installed, or its file, or "".
        source_digest: the SHA-256 digest of the file that it was imported from, or "".
        api: the version of this interface that it was written for.
        quiet: whether ``--quiet`` leaves it out: one that only shows how far the run is.
        changes_training: whether the weights may be others than without it. One that only
            observes leaves this False, and is held to it by ``plugins check``.

    Example:
        >>> from ignite_threenet import option
        >>> class Patience(Plugin):
        ...     patience: int = option(3, help="measurements to wait", min=1)
        >>> Patience(patience=5).patience
        5
    """

    requires: ClassVar[tuple[str, ...]] = ()
    on_error: ClassVar[Literal["stop", "detach"]] = "stop"
    name: ClassVar[str] = ""
    distribution: ClassVar[str] = ""
    required_by: ClassVar[str | None] = None
    use: ClassVar[str] = ""
    source_digest: ClassVar[str] = ""
    file_digest: ClassVar[str] = ""
    api: ClassVar[int] = API
    changes_training: ClassVar[bool] = False
    quiet: ClassVar[bool] = False

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        make_options_class(cls, eq=False)
        for spec in option_specs(cls):
            if hasattr(Plugin, spec.name):
                raise TypeError(f"{cls.__name__}.{spec.name}: every plugin has that already")
        if not isinstance(cls.requires, tuple):
            raise TypeError(f"{cls.__name__}.requires: {cls.requires!r} is not a tuple of names")
        if cls.on_error not in ("stop", "detach"):
            raise TypeError(f"{cls.__name__}.on_error: {cls.on_error!r} is not 'stop' or 'detach'")
        if "name" not in cls.__dict__:
            cls.name = _kebab_case(cls.__name__)

    def attach(self, run: Any) -> None:
        """Register the plugin's handlers.

        Args:
            run: the Run; an override says ``run: Run``.

        Everything is there: engines, model, loaders, and the directory, which is made when
        something is first written.
        """

    def state_dict(self) -> Mapping[str, Any]:
        """Give what a resumed run must remember, as plain values and tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what state_dict() gave, after this run's Events.STARTED.

        Model, optimizer, history and ``run.trainer.state`` are back already.
        """

    def close(self, error: BaseException | None) -> None:
        """Release what the plugin holds; called at the end, however the run ended.

        Args:
            error: what ended the run, or None where it went well.
        """

    def summary(self) -> Mapping[str, Any]:
        """Give what the plugin adds to summary.json, as plain values."""
        return {}


def _kebab_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()
