"""Options whose values are passwords or tokens."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..text import MASK, Secret, remember_secret
from .types import ValueType

_MARK = "@"
# No password or token is as long.
_MOST_BYTES = 65_536


def make_secret(annotation: Any, inner: ValueType, where: str) -> ValueType:
    """Let values of text be secrets.

    Raises:
        TypeError: the option is not text.
    """
    if annotation not in (str, str | None):
        raise TypeError(f"{where}: a secret is text, annotated as str or str | None")

    def convert(value: Any, text: bool) -> Any:
        # A plain copy: another option's type must not know of secrets.
        plain = str(value) if isinstance(value, Secret) else value
        converted = inner.convert(plain, text)
        return converted if converted is None else remember_secret(converted)

    return replace(inner, convert=convert, metavar=f"{inner.metavar}|{_MARK}FILE")


def read_secret(word: str, where: str) -> str:
    """Read what a user wrote for a secret: ``@FILE`` is what the file holds, ``@@x`` is ``@x``.

    Args:
        word: what was written.
        where: the option as its user wrote it, for the message.

    Raises:
        OptionError: the file cannot be read.
    """
    if not names_file(word):
        return word[1:] if word.startswith(_MARK) else word
    path = Path(word.removeprefix(_MARK))
    allowed = f"text, or {_MARK}FILE for what a file holds"
    try:
        with path.expanduser().open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise OptionError(where, word, "names a file too large to be a secret", allowed)
        # Editors end a file with a line's end.
        return content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise OptionError(where, word, "names a file that is no text in UTF-8", allowed) from None
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        # A token may begin with the mark, too: it is not shown.
        shown = word if path.exists() else f"{_MARK}{MASK}"
        raise OptionError(
            where, shown, f"names a file that cannot be read ({reason})", allowed
        ) from None


def names_file(word: str) -> bool:
    """Tell whether a word stands for what a file holds."""
    return word.startswith(_MARK) and not word.startswith(2 * _MARK)


def write_secret(value: str) -> str:
    """Spell a secret so that read_secret() gives it back."""
    return f"{_MARK}{value}" if value.startswith(_MARK) else str(value)
