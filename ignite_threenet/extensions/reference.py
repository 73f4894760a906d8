"""What a user types to name something that others bring."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

# What an option's flag and an environment variable can be made of.
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True)
class Reference:
    """A name of something installed, a file, a module, or a folder; perhaps with something in it.

    Attributes:
        name: what it is called in a run.
        target: the installed name, the path of a file or a folder, or the module's dotted name.
        attribute: the name in the file or the module, or "".

    Example:
        >>> Reference.parse("second=best")
        Reference(name='second', target='best', attribute='')
        >>> Reference.parse("./my_patience.py:Patience")
        Reference(name='my-patience', target='./my_patience.py', attribute='Patience')
        >>> Reference.parse("torchvision.models:resnet18")
        Reference(name='resnet18', target='torchvision.models', attribute='resnet18')
    """

    name: str
    target: str
    attribute: str = ""

    @classmethod
    def parse(cls, word: str | os.PathLike[str]) -> "Reference":
        """Read what a user typed: ``[name=]target[:attribute]``."""
        text = os.fspath(word).strip()
        name, equals, rest = text.partition("=")
        has_name = bool(equals) and _NAME.fullmatch(name.strip()) is not None
        target, attribute = _split(rest.strip() if has_name else text)
        target = os.path.expanduser(target)  # noqa: PTH111
        return cls(
            name.strip() if has_name else _default_name(target, attribute), target, attribute
        )

    @property
    def is_file(self) -> bool:
        """Whether it names a Python file."""
        return self.target.endswith(".py")

    @property
    def is_module(self) -> bool:
        """Whether it names something in a module."""
        return bool(self.attribute) and not self.is_file

    @property
    def value(self) -> str:
        """The target with its attribute, without the name in a run."""
        return f"{self.target}:{self.attribute}" if self.attribute else self.target

    @property
    def can_be_name(self) -> bool:
        """Whether its name can be that of a plugin."""
        return _NAME.fullmatch(self.name) is not None

    def is_there(self) -> bool:
        """Tell whether the file or the folder exists; of an installed name or a module, always.

        Example:
            >>> Reference.parse("mnist").is_there(), Reference.parse("/nowhere/n.py").is_there()
            (True, False)
        """
        if self.is_file:
            return Path(self.target).is_file()
        return self.is_module or os.sep not in self.target or Path(self.target).is_dir()

    def located(self, directory: Path = Path(), *, is_folder: bool = False) -> "Reference":
        """Spell a file or a folder as seen from anywhere, and leave a name as it is.

        Args:
            directory: where a relative file or folder is looked for.
            is_folder: whether it names a folder.

        Example:
            >>> Reference.parse("/nets/net.py:Net").located(Path("/other")).value
            '/nets/net.py:Net'
        """
        if not (self.is_file or is_folder):
            return self
        place = os.path.abspath(directory / self.target)  # noqa: PTH100
        return Reference(self.name, place, self.attribute)

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


def _split(text: str) -> tuple[str, str]:
    """Split what stands behind the name into the target and the name in it."""
    target, colon, attribute = text.rpartition(":")
    is_module = _MODULE.fullmatch(target) and attribute.isidentifier()
    is_split = colon and (target.endswith(".py") or is_module)
    return (target, attribute) if is_split else (text, "")


def _default_name(target: str, attribute: str) -> str:
    if target.endswith(".py"):
        return Path(target).stem.replace("_", "-")
    return attribute.replace("_", "-") if attribute else target
