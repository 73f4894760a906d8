"""Tests of text that others chose, as it is shown."""

import pickle

import pytest

from ignite_threenet import text
from ignite_threenet.text import (
    MASK,
    Secret,
    is_masked,
    mask_addresses,
    one_line,
    picture_text,
    printable,
    redact,
    remember_secret,
    visible,
)


@pytest.fixture(autouse=True)
def _own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_secrets", set())


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain", "plain"),
        ("größe 猫 😀", "größe 猫 😀"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b2J", r"\x9b2J"),
        ("a\nerror: b\r\tc", r"a\nerror: b\r\tc"),
        ("\x7f\x00", r"\x7f\x00"),
        ("cat\u202egnp.exe", r"cat\u202egnp.exe"),
        ("\u2066a\u2069\u200e", r"\u2066a\u2069\u200e"),
        ("a\u2028b\ufeff", r"a\u2028b\ufeff"),
        ("caf\udce9", r"caf\udce9"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_is_hidden_is_shown_by_its_escape(given: str, shown: str) -> None:
    assert visible(given) == shown


def test_lines_stay_lines_where_there_are_several() -> None:
    assert printable("one\n\x1b[2Jtwo\n") == "one\n\\x1b[2Jtwo\n"
    assert one_line("one\ntwo") == r"one\ntwo"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("https://ann:hunter2@host/x", "https://ann:***@host/x"),
        ("https://ann:p@ss:w@host", "https://ann:***@host"),
        ("postgresql+psycopg://:pw@host:5432/db", "postgresql+psycopg://:***@host:5432/db"),
        ("see https://a:b@c and http://d:e@f", "see https://a:***@c and http://d:***@f"),
        ("http://host?token=abc&page=1", "http://host?token=***&page=1"),
        ("http://host?page=1&API_KEY=abc", "http://host?page=1&API_KEY=***"),
        ("http://host?key=a#access_token=b", "http://host?key=***#access_token=***"),
        ("?password=a;b", "?password=***;b"),
        ("http://host:80/a@b", "http://host:80/a@b"),
        ("http://host?monkey=1&tokens=2", "http://host?monkey=1&tokens=2"),
        ("ann@host", "ann@host"),
    ],
)
def test_passwords_and_tokens_in_addresses_are_masked(given: str, shown: str) -> None:
    assert mask_addresses(given) == shown
    assert mask_addresses(shown) == shown
    assert is_masked(shown) == (given != shown)


def test_a_secret_that_is_known_is_masked_wherever_it_stands_and_however_it_is_spelled() -> None:
    remember_secret("a b/'\n=")
    spellings = ["a b/'\n=", "a b/' =", repr("a b/'\n="), "a%20b%2F%27%0A%3D"]

    assert [redact(f"<{each}>") for each in spellings] == ["<***>", "<***>", '<"***">', "<***>"]


def test_a_short_secret_is_not_looked_for_in_what_others_say() -> None:
    remember_secret("a")

    assert redact("a cat") == "a cat"


def test_a_secret_is_text_that_does_not_show_itself() -> None:
    secret = remember_secret("hunter2")

    assert (secret, f"{secret}", repr(secret), repr([secret])) == (
        *("hunter2", "hunter2", repr(MASK)),
        f"[{MASK!r}]",
    )
    assert pickle.loads(pickle.dumps(secret)) == "hunter2"
    assert type(str(Secret("a"))) is str


def test_no_name_is_mathematics_in_a_picture() -> None:
    assert picture_text("$a$ \n") == r"\$a\$ \n"
