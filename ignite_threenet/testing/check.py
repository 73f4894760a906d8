"""What ``plugins check`` does: ``python -m ignite_threenet.testing.check NAME``.

It runs in a process of its own, and imports no plugin in it: that is done in fresh ones, which a
plugin may end, block or change as it likes. A plugin is imported, run and looked over; each check
gives a line, and what to do where it fails.
"""

import argparse
import logging
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ..cli.fresh_process import Ending, Surroundings, Work, call_afresh
from ..cli.verification import verify_command
from ..errors import ThreeNetError, UnknownNameError
from ..extensions.selection import find_plugin
from ..storage import checkpoint_file as checkpoint
from . import compare_weights, tiny
from .finding import Finding
from .look import DATA, check_contract, list_classes, look, note_weights
from .sandbox import Sandbox, make_scratch

__all__ = ["Finding", "check_plugin", "expand", "main"]
TIMEOUT_S = 60.0
"""Seconds that a plugin may take for its import, for attach, for a small run, and for close."""

# The phases in which look() may end, by the check that they belong to.
_CHECK_OF = {"start": "import", "attach": "run", "close": "run"}
_HINT = "; leave os._exit() alone, and catch what ends the process"


def expand(word: str, *, timeout_s: float = TIMEOUT_S, allows_network: bool = False) -> list[str]:
    """Give what is checked where a word is typed: each plugin of a file, or the word itself."""
    try:
        find_plugin(word)
    except ThreeNetError:
        return [word]
    with make_scratch() as scratch:
        sandbox = Sandbox(Path(scratch).resolve(), allows_network)
        surroundings = sandbox.surroundings()
        ending = call_afresh(list_classes, word, surroundings=surroundings, timeout_s=timeout_s)
    return [f"{word}:{name}" for name in ending.verdict or []] or [word]


def check_plugin(
    word: str, *, timeout_s: float = TIMEOUT_S, allows_network: bool = False
) -> Iterator[Finding]:
    """Look a plugin over; the checks that need what has failed are left out.

    Args:
        word: its name, or ``file.py``, or ``file.py:Name``.
        timeout_s: seconds that each phase may take: import, attach, run, close.
        allows_network: whether it may open network connections.
    """
    try:
        find_plugin(word)
    except ThreeNetError as error:
        yield Finding("name", [str(error)], is_unknown=isinstance(error, UnknownNameError))
        return
    yield Finding("name")
    with make_scratch() as scratch:
        sandbox = Sandbox(Path(scratch).resolve(), allows_network)
        yield from _Check(word, timeout_s, sandbox).findings()


class _Check:
    """The checks of one plugin.

    Args:
        word: what the user calls it.
        timeout_s: seconds that each phase may take.
        sandbox: where all of its processes work.
    """

    def __init__(self, word: str, timeout_s: float, sandbox: Sandbox) -> None:
        self._word, self._timeout_s, self._sandbox = word, timeout_s, sandbox

    def findings(self) -> Iterator[Finding]:
        """Check one thing after another."""
        data, found, changes_training = self._look()
        yield from found
        if any(each.ends or (each.check == "run" and each.problems) for each in found):
            return
        yield self._check_contract(data)
        yield self._check_state(data)
        yield self._check_weights(data, changes_training=changes_training)

    def _look(self) -> tuple[str, list[Finding], bool]:
        """Import and run it: on rows, and on images if it does not run on rows."""
        found, verdict = self._look_with("rows")
        if not verdict.get("raised"):
            return "rows", found, bool(verdict.get("changes_training"))
        of_images, second = self._look_with("images")
        if second.get("raised") == "":
            run = next(each for each in of_images if each.check == "run")
            run.note += f"; on {DATA['rows'][2]} it fails: {verdict['raised']}"
            return "images", of_images, bool(second["changes_training"])
        other = second.get("raised")
        if other and other != verdict["raised"]:
            run = next(each for each in found if each.check == "run")
            run.note = "; ".join([*filter(None, [run.note]), f"on {DATA['images'][2]}: {other}"])
        return "rows", found, False

    def _look_with(self, data: str) -> tuple[list[Finding], Mapping[str, Any]]:
        found: list[Finding] = []
        ending = self._call(look, self._word, data, self._sandbox, found=found)
        if ending.failure:
            check = _CHECK_OF.get(ending.phase, ending.phase)
            found[:] = [each for each in found if each.check != check]
            found.append(Finding(check, [_spell(ending)], ends=True))
        return found, ending.verdict or {}

    def _check_contract(self, data: str) -> Finding:
        ending = self._call(check_contract, self._word, data)
        return Finding("contract", [_spell(ending)] if ending.failure else ending.verdict)

    def _check_state(self, data: str) -> Finding:
        """Run, stop and resume the command line itself with the plugin, each time anew."""
        words = [
            "--model",
            f"{tiny.__file__}:Tiny",
            "--dataset",
            f"{tiny.__file__}:{DATA[data][1]}",
        ]
        words += ["--plugins", self._word, "--epochs", "3", "--batch-size", "16", "--lr", "0.1"]
        try:
            comparison = verify_command(
                [*words, "--device", "cpu", "--strict"],
                make_surroundings=self._surroundings,
                timeout_s=self._timeout_s,
            )
        except ThreeNetError as error:
            return Finding("state", [str(error)])
        problems = [
            f"the resumed run differs: {part}: {places[0]}; see Plugin.state_dict()"
            for part, places in comparison.differences.items()
            if places
        ]
        unchecked = [f"{part}: unchecked: {each}" for part, each in comparison.unchecked.items()]
        return Finding("state", problems, "stopped and resumed", unchecked)

    def _check_weights(self, data: str, *, changes_training: bool) -> Finding:
        if changes_training:
            return Finding("weights", note="it says that it changes the training")
        file = self._sandbox.scratch / "weights"
        ending = self._call(note_weights, self._word, data, file)
        if ending.failure or ending.verdict:
            return Finding("weights", [_spell(ending) if ending.failure else ending.verdict])
        problem = compare_weights(checkpoint.read(file), _weights_without(data))
        if problem:
            advice = "say changes_training = True, or do not touch what training uses"
            return Finding("weights", [f"{problem}; {advice}"])
        return Finding("weights", note="the same with it and without it")

    def _call(self, work: Work, *arguments: Any, found: list[Finding] | None = None) -> Ending:
        def hear(message: Mapping[str, Any]) -> None:
            if found is not None and "finding" in message:
                found.append(Finding(**message["finding"]))

        return call_afresh(
            work,
            *arguments,
            surroundings=self._surroundings(),
            timeout_s=self._timeout_s,
            hear=hear,
        )

    def _surroundings(self) -> Surroundings:
        return self._sandbox.surroundings()


def _spell(ending: Ending) -> str:
    return ending.failure + (_HINT if ending.failure.startswith("ends the process") else "")


@cache
def _weights_without(data: str) -> Mapping[str, Any]:
    """Train without a plugin, in a process that has never imported one, and give the weights."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "weights")
        ending = call_afresh(note_weights, None, data, file)
        if ending.failure or ending.verdict:
            raise ThreeNetError(
                f"the run without a plugin fails: {ending.failure or ending.verdict}"
            )
        return checkpoint.read(file)


def main() -> None:
    """Check the plugins that the command line names; exit with 1 where a check fails.

    With 2 where a file or a module does not have the name that was asked for.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S)
    parser.add_argument("--allow-network", action="store_true")
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    limits = {"timeout_s": options.timeout, "allows_network": options.allow_network}
    logging.getLogger("ignite_threenet").setLevel(logging.ERROR)
    code = 0
    for word in (each for typed in options.words for each in expand(typed, **limits)):
        print(f"{word}:", flush=True)
        for finding in check_plugin(word, **limits):
            code = max(code, 2 if finding.is_unknown else 1 if finding.problems else 0)
            print(f"  {finding.format()}", flush=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
