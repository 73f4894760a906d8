"""Text that others chose, made fit to be shown: nothing in it is hidden, and no secret is.

Names of files, classes, plugins and distributions come from strangers, and so do their messages.
"""

import re
from typing import Any
from urllib.parse import quote

MASK = "***"
"""What is shown in place of a secret."""

# Shorter ones stand in too many words to be looked for in what others say.
_SHORTEST_SECRET = 4

# What moves the cursor, turns the direction of writing, or is not seen at all: C0 and C1, marks
# and overrides of the direction, separators, tags; and halves of a character, which a file's name
# has for bytes that are no UTF-8.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_USER_INFO = re.compile(r"(?i)(?<![a-z0-9])([a-z][a-z0-9+.-]{0,30}://[^\s/?#:@]*:)([^\s/?#]+)(?=@)")
_PARAMETER = re.compile(
    r"(?i)([?&#;](?:[\w.-]{0,40}[_.-])?(?:token|api-?key|key|password|passwd|pwd|secret|signature|sig)=)"
    r"([^\s&#;'\"]+)"
)
_secrets: set[str] = set()


def visible(text: str) -> str:
    r"""Show what would be hidden by its escape: control characters, line ends, overrides.

    Example:
        >>> print(visible("good\x1b[2Jname\nerror: forged"))
        good\x1b[2Jname\nerror: forged
    """
    return _HIDDEN.sub(_escape, text)


def printable(text: str) -> str:
    """Show lines: as visible(), but for line ends; secrets are masked."""
    return "\n".join(map(visible, redact(text).split("\n")))


def one_line(text: str) -> str:
    """Show a message in a line; secrets are masked."""
    return visible(redact(text))


def picture_text(text: str) -> str:
    r"""Spell text for matplotlib, to which ``$`` would begin mathematics.

    Example:
        >>> print(picture_text("$5 or $10"))
        \$5 or \$10
    """
    return visible(text).replace("$", r"\$")


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


class Secret(str):
    """Text that is not shown by repr(): a password or a token.

    Example:
        >>> Secret("hunter2"), f"Bearer {Secret('hunter2')}"
        ('***', 'Bearer hunter2')
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(MASK)


def remember_secret(value: str) -> Secret:
    """Take text for a secret, which redact() masks from now on."""
    if len(value.strip()) >= _SHORTEST_SECRET:
        # As others may spell it: in a line, in quotes, in an address.
        spellings = {value, value.strip(), " ".join(value.split()), repr(value)[1:-1]}
        _secrets.update(spellings, map(_quote, spellings))
    return Secret(value)


def _quote(text: str) -> str:
    return quote(text.encode(errors="surrogateescape"), safe="")


def redact(text: str) -> str:
    """Mask the secrets that are known, and those in addresses.

    Example:
        >>> redact("https://ann:hunter2@host/?api_key=123&page=1")
        'https://ann:***@host/?api_key=***&page=1'
    """
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return mask_addresses(text)


def mask_addresses(text: str) -> str:
    """Mask passwords and tokens in addresses."""
    text = _USER_INFO.sub(rf"\g<1>{MASK}", text)
    return _PARAMETER.sub(rf"\g<1>{MASK}", text)


def is_masked(value: Any) -> bool:
    """Tell whether a plain value has lost a secret, or something in it has."""
    if isinstance(value, list | tuple):
        return any(map(is_masked, value))
    if not isinstance(value, str) or MASK not in value:
        return False
    found = [*_USER_INFO.findall(value), *_PARAMETER.findall(value)]
    return value == MASK or any(each[1] == MASK for each in found)


def each_text(value: Any, change: Any) -> Any:
    """Change all texts in a plain value by a function; keys stay."""
    if isinstance(value, dict):
        return {key: each_text(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [each_text(item, change) for item in value]
    return change(value) if isinstance(value, str) else value
