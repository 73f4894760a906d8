"""Tests of what a saved run names: compared before it is imported, and never of its own folder."""

import shutil
from pathlib import Path

import pytest
from helpers import NET, POINTS
from ignite.engine import Events

from ignite_threenet import CheckpointError, Run, RunConfig
from ignite_threenet.testing.fixtures import RunCli

CANARY = "from pathlib import Path\nPath('was-run').touch()\n"
LOOKS = """
from ignite_threenet import Plugin

class Looks(Plugin):
    def attach(self, run):
        pass
"""
SOURCES = {"net.py": NET, "points.py": POINTS, "looks.py": LOOKS}

pytestmark = pytest.mark.usefixtures("in_haste", "forget_written_modules")


def leave_a_run(out: str, **moved: Path) -> None:
    """Leave a run that was stopped, made of three files, some of them elsewhere."""
    net, points, looks = (
        moved.get(each, Path(f"{each}.py")) for each in ("net", "points", "looks")
    )
    config = RunConfig(
        model=f"{net}:Net", dataset=f"{points}:Points", epochs=3, batch_size=16, out=Path(out)
    )
    run = Run(config, [str(looks), "checkpoint"])
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=4), lambda: run.interrupt())
    with pytest.raises(Exception, match="interrupted"):
        run.train()


@pytest.fixture(autouse=True)
def _files() -> None:
    for name, source in SOURCES.items():
        Path(name).write_text(source)
    leave_a_run("there")


@pytest.mark.parametrize("words", [[], ["--dry-run"], ["--help"]], ids=str)
@pytest.mark.parametrize("name", SOURCES)
def test_a_changed_file_is_refused_before_it_is_run(
    run_cli: RunCli, name: str, words: list[str]
) -> None:
    Path(name).write_text(CANARY + SOURCES[name])

    result = run_cli("run", "--resume", "there", "-q", *words)

    assert not Path("was-run").exists()
    if "--help" not in words:
        assert result.exit_code == 1
        assert "the SHA-256 digest of its source was " in result.stderr
        assert "; go on with it by --allow-changes" in result.stderr


@pytest.mark.parametrize("name", SOURCES)
def test_a_changed_file_is_run_where_that_is_allowed(run_cli: RunCli, name: str) -> None:
    Path(name).write_text(CANARY + SOURCES[name])

    result = run_cli("run", "--resume", "there", "-q", "--allow-changes")

    assert result.exit_code == 0, result.stderr
    assert Path("was-run").exists()


@pytest.mark.parametrize("name", SOURCES)
def test_a_file_in_the_runs_own_directory_is_not_run(name: str) -> None:
    inside = Path("other", name)
    inside.parent.mkdir()
    inside.write_text(SOURCES[name])
    leave_a_run("made", **{inside.stem: inside})
    for file in Path("made").iterdir():
        shutil.copy(file, "other")

    with pytest.raises(CheckpointError, match=r"lies in the run's own directory; not run$"):
        Run.resume("other")
