"""Tests that a plugin's password or token is kept out of what a run writes and says."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from ignite_threenet import ConfigError, Plugin, Run, RunConfig, option
from ignite_threenet.testing.fixtures import RunCli

SECRET = "hunter2-battery-staple"  # noqa: S105
VARIABLE = "IGNITE_THREENET_NOTIFIER_TOKEN"
NOTIFIER = """
from pathlib import Path
from ignite.engine import Events
from ignite_threenet import Plugin, option

class Notifier(Plugin):
    \"\"\"Tells somebody.\"\"\"
    on_error = "detach"
    token: str | None = option(None, help="token of the service", secret=True)
    url: str = option("https://host", help="address of the service")
    fail: bool = option(False, help="fail, and say too much")

    def attach(self, run):
        Path(f"heard-{len(list(Path().glob('heard-*')))}").write_text(str(self.token))
        run.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.tell)

    def tell(self):
        if self.fail:
            raise OSError(f"refused: {self.url}?token={self.token} {self.token!r} {self.token}")

    def summary(self):
        return {"sent": f"with {self.token}"}
"""
WORDS = ("run", "--dataset", "digits", "--epochs", "1", "--out", "run")
PLUGINS = ("--plugins", "none,checkpoint,+./notifier.py")


@pytest.fixture(autouse=True)
def _notifier(small_digits: None) -> None:
    Path("notifier.py").write_text(NOTIFIER)
    Path("secret.txt").write_text(f"{SECRET}\n")


def heard() -> list[str]:
    return [path.read_text() for path in sorted(Path().glob("heard-*"))]


def assert_kept_out(result: Result) -> None:
    assert result.exit_code == 0, result.output
    assert SECRET not in result.output
    for path in Path("run").rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path


def token_in_manifest() -> Any:
    manifest = json.loads(Path("run/manifest.json").read_text())
    return next(each for each in manifest["plugins"] if each["name"] == "notifier")["options"][
        "token"
    ]


@pytest.mark.parametrize(
    ("words", "variable", "source"),
    [
        (["--notifier.token", "@secret.txt"], None, "command line"),
        (["--notifier.token", SECRET], None, "command line"),
        ([], SECRET, f"environment {VARIABLE}"),
        ([], "@secret.txt", f"environment {VARIABLE}"),
        (["--config", "literal.toml"], None, "literal.toml"),
        (["--config", "file.toml"], None, "file.toml"),
    ],
)
def test_it_reaches_its_plugin_and_nothing_else(
    run_cli: RunCli, words: list[str], variable: str | None, source: str
) -> None:
    Path("literal.toml").write_text(f'[notifier]\ntoken = "{SECRET}"\n')
    Path("file.toml").write_text('[notifier]\ntoken = "@secret.txt"\n')

    result = run_cli(
        *(*WORDS, *PLUGINS, *words, "--verbose", "--notifier.fail"),
        env={VARIABLE: variable} if variable else {},
    )

    assert_kept_out(result)
    assert heard() == [SECRET]
    assert token_in_manifest() == {"value": "***", "source": source}
    assert "refused: https://host?token=***" in result.stderr
    typed = words[-1:] == [SECRET]
    assert result.stderr.count("a secret on the command line is seen by all") == typed


def test_one_that_is_not_set_is_null(run_cli: RunCli) -> None:
    result = run_cli(*WORDS, *PLUGINS)

    assert result.exit_code == 0, result.output
    assert token_in_manifest() == {"value": None, "source": "default"}


@pytest.mark.parametrize("words", [["--json"], []])
def test_a_plan_does_not_show_it(run_cli: RunCli, words: list[str]) -> None:
    result = run_cli(*WORDS, *PLUGINS, "--dry-run", "--notifier.token", "@secret.txt", *words)

    assert result.exit_code == 0, result.output
    assert SECRET not in result.output
    assert "***" in result.stdout


def test_it_is_said_to_be_a_secret(run_cli: RunCli) -> None:
    shown = run_cli("plugins", "show", "./notifier.py")
    facts = json.loads(run_cli("plugins", "show", "./notifier.py", "--json").stdout)["options"]
    helped = run_cli("run", *PLUGINS, "--help")

    assert "text, or none (secret; @FILE reads it from a file)" in shown.stdout
    assert [each.get("secret") for each in facts] == [True, None, None]
    assert "TEXT|@FILE" in helped.stdout


@pytest.mark.parametrize(
    ("words", "variable", "exit_code"),
    [
        ([], None, 2),
        (["--notifier.token", "@secret.txt"], None, 0),
        (["--notifier.token", "another-one"], None, 0),
        ([], SECRET, 0),
        (["--config", "file.toml"], None, 0),
        (["--plugins", "no:notifier"], None, 0),
    ],
)
def test_a_run_that_goes_on_must_be_given_it_again(
    run_cli: RunCli, words: list[str], variable: str | None, exit_code: int
) -> None:
    Path("file.toml").write_text('[notifier]\ntoken = "@secret.txt"\n')
    run_cli(*WORDS, *PLUGINS, "--notifier.token", "@secret.txt")

    result = run_cli(
        *("run", "--resume", "run", "--epochs", "2", *words),
        env={VARIABLE: variable} if variable else {},
    )

    assert result.exit_code == exit_code, result.output
    if exit_code == 2:
        assert result.stderr == (
            "error: --notifier.token: it was set when the run in run began, and no checkpoint "
            "keeps a secret; give it again, as --notifier.token @FILE, by "
            f"{VARIABLE}, in a --config, or in a script with the plugin itself\n"
        )
    elif words[:1] != ["--plugins"]:
        assert heard()[1:] == ["another-one" if "another-one" in words else SECRET]


def test_a_run_that_had_none_goes_on_without_or_with_one(run_cli: RunCli) -> None:
    run_cli(*WORDS, *PLUGINS)

    again = run_cli("run", "--resume", "run", "--epochs", "2")
    once_more = run_cli(
        "run", "--resume", "run", "--epochs", "3", "--notifier.token", "@secret.txt"
    )

    assert (again.exit_code, once_more.exit_code) == (0, 0), again.output + once_more.output
    assert heard() == ["None", "None", SECRET]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("https://ann:pw@host", ""),
        ("https://ann:other@host", ""),
        ("https://bob:pw@host", "differs from https://ann:***@host"),
        (None, "--notifier.url: it was https://ann:***@host when the run in run began"),
    ],
)
def test_an_address_is_compared_without_its_password(
    run_cli: RunCli, given: str | None, error: str
) -> None:
    first = run_cli(*WORDS, *PLUGINS, "--notifier.url", "https://ann:pw@host")
    words = ["--notifier.url", given] if given else []

    result = run_cli("run", "--resume", "run", "--epochs", "2", *words)

    assert first.exit_code == 0, first.output
    assert result.exit_code == (2 if error else 0), result.output
    assert error in result.stderr
    assert ":pw@" not in result.output
    for path in Path("run").iterdir():
        assert b":pw@" not in path.read_bytes(), path


class Notifier(Plugin):
    """Tells nobody."""

    token: str | None = option(None, help="token of the service", secret=True)


def test_a_script_gives_it_with_the_plugin() -> None:
    run = Run(
        RunConfig(dataset="digits", epochs=1, out=Path("run")),
        ["checkpoint", Notifier(token=SECRET)],
    )
    run.train()

    with pytest.raises(ConfigError, match=r"--notifier\.token: it was set"):
        Run.resume("run", epochs=2, plugins=["checkpoint", "notifier=./notifier.py"])
    resumed = Run.resume("run", epochs=2, plugins=["checkpoint", Notifier(token=SECRET)])
    resumed.close()

    assert run.options["notifier.token"] == resumed.options["notifier.token"] == "***"


def test_a_check_of_the_resume_passes_it_on(
    run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, str] = {}
    monkeypatch.setattr(
        "ignite_threenet.cli.run.verify_command", lambda words: given.update(os.environ) or 1 / 0
    )
    monkeypatch.setenv(VARIABLE, "before")
    run_cli("verify-resume", "--dataset", "digits", *PLUGINS, "--notifier.token", "@secret.txt")

    assert given[VARIABLE] == SECRET
