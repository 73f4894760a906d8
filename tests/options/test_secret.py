"""Tests of options whose values are secrets."""

from pathlib import Path

import pytest

from ignite_threenet import OptionError, Plugin, option, text
from ignite_threenet.options.declaration import OptionSpec, make_spec, option_specs, plain_options
from ignite_threenet.options.secret import write_secret


@pytest.fixture(autouse=True)
def _own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_secrets", set())


class Notifier(Plugin):
    """Tells somebody."""

    token: str | None = option(None, help="token of the service", secret=True)
    url: str = option("", help="address of the service")


TOKEN = option_specs(Notifier)[0]


def test_it_is_text_to_its_plugin_and_shown_to_nobody() -> None:
    plugin = Notifier(token="hunter2", url="https://ann:pw@host")  # noqa: S106

    assert f"Bearer {plugin.token}" == "Bearer hunter2"
    assert "hunter2" not in repr(plugin)
    assert plain_options(plugin) == {"token": "***", "url": "https://ann:***@host"}
    assert plain_options(Notifier())["token"] is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("hunter2", "hunter2"),
        ("@token", "from a file"),
        ("@@token", "@token"),
        ("@lines", "one\ntwo"),
        ("", ""),
    ],
)
def test_a_file_may_hold_it(written: str, expected: str) -> None:
    Path("token").write_bytes(b"\xef\xbb\xbffrom a file\r\n")
    Path("lines").write_text("one\ntwo\n")
    spec = make_spec("token", str, "", is_secret=True)

    assert spec.read(written, "--token", text=True) == expected
    assert spec.read(write_secret(expected), "--token", text=True) == expected


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (
            "@nowhere",
            "--token: '@***' names a file that cannot be read (No such file or ",
        ),
        ("@.", "--token: '@.' names a file that cannot be read (Is a directory)"),
        ("@bytes", "--token: '@bytes' names a file that is no text in UTF-8"),
        ("@/dev/zero", "--token: '@/dev/zero' names a file too large to be a secret"),
        ("@a\0b", "--token: '@***' names a file that cannot be read (embedded null byte)"),
        (3, "--token: '***' is not text"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_line(written: object, problem: str) -> None:
    Path("bytes").write_bytes(b"\xff\xfe")

    with pytest.raises(OptionError) as raised:
        TOKEN.read(written, "--token", text=True)

    assert str(raised.value).startswith(problem)
    assert "; expected text" in str(raised.value)


def test_a_refused_one_is_not_shown() -> None:
    with pytest.raises(OptionError) as raised:
        Notifier(token=b"hunter2")  # type: ignore[arg-type]

    assert "hunter2" not in str(raised.value)
    assert raised.value.value == "***"


@pytest.mark.parametrize("annotation", [int, Path, tuple[str, ...], bool])
def test_only_text_is_a_secret(annotation: object) -> None:
    with pytest.raises(TypeError, match="token: a secret is text"):
        make_spec("token", annotation, None, is_secret=True)


@pytest.mark.parametrize(
    ("spec", "plain", "hides"),
    [
        (TOKEN, None, True),
        (TOKEN, "***", True),
        (option_specs(Notifier)[1], "https://host", False),
        (option_specs(Notifier)[1], "https://ann:***@host", True),
    ],
)
def test_what_was_not_kept_is_known(spec: OptionSpec, plain: object, hides: bool) -> None:
    assert spec.hides(plain) is hides
