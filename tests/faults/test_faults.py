"""Few of each fault; ``scripts/faults`` injects them in full number."""

from pathlib import Path

import pytest

from .rows import ROWS
from .runs import warm_up


def check(name: str, directory: Path) -> None:
    row = ROWS[name]
    if row.skip:
        pytest.skip(row.skip)
    warm_up(directory / "warm")

    tally = row.inject(directory, row.quick)

    assert tally.failures == []
    assert tally.count > 0


def test_a_run_killed_after_a_step_of_its_writing_goes_on_to_the_last_bit(tmp_path: Path) -> None:
    check("steps", tmp_path)


def test_a_run_killed_at_any_moment_goes_on_to_the_last_bit(tmp_path: Path) -> None:
    check("kills", tmp_path)


def test_a_power_cut_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    check("power", tmp_path)


def test_a_power_cut_leaves_the_directory_that_a_run_has_made(tmp_path: Path) -> None:
    check("power-new", tmp_path)


def test_an_error_of_the_disk_keeps_the_last_checkpoint_and_is_told(tmp_path: Path) -> None:
    check("disk", tmp_path)


def test_a_signal_saves_what_was_trained(tmp_path: Path) -> None:
    check("signals", tmp_path)


def test_a_failing_plugin_is_named_and_harms_nothing_else(tmp_path: Path) -> None:
    check("plugins", tmp_path)


def test_no_order_of_the_plugins_lets_a_weight_on_the_disk_that_is_not_finite(
    tmp_path: Path,
) -> None:
    check("nan", tmp_path)


def test_of_two_runs_on_one_folder_one_wins(tmp_path: Path) -> None:
    check("together", tmp_path)


def test_a_damaged_file_of_mnist_is_refused(tmp_path: Path) -> None:
    check("mnist", tmp_path)


def test_nothing_is_trained_again_in_silence(tmp_path: Path) -> None:
    check("finished", tmp_path)


def test_a_run_of_any_make_goes_on_to_the_last_bit(tmp_path: Path) -> None:
    check("grid", tmp_path)


def test_a_run_with_any_optimizer_goes_on_to_the_last_bit(tmp_path: Path) -> None:
    check("optimizers", tmp_path)


def test_the_program_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    check("processes", tmp_path)
