"""All rows, with how often each is done."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .damage import damaged_mnist, mnist
from .errors import errors_of_the_disk
from .finished import finished_or_changed
from .forks import WHY_NOT
from .grid import stopped_in_every_make, stopped_with_every_optimizer
from .kills import killed_after_each_step, killed_at_any_moment
from .nans import not_a_number
from .plugins import failing_plugins
from .power import power_cuts, power_cuts_in_a_new_directory
from .processes import stopped_processes
from .signals import stopped_by_signals
from .tally import Tally
from .together import runs_on_one_folder

ALL = 100_000


class Row(NamedTuple):
    """A row of faults.

    Attributes:
        full: cases in full number; ALL for as many as there are.
        quick: cases in a quick test.
        inject: does them in an empty directory.
        skip: why it cannot be done here, or "".
    """

    full: int
    quick: int
    inject: Callable[[Path, int], Tally]
    skip: str = ""


ROWS = {
    "steps": Row(ALL, 8, killed_after_each_step, WHY_NOT),
    "kills": Row(200, 4, killed_at_any_moment, WHY_NOT),
    "power": Row(500, 40, power_cuts, WHY_NOT),
    "power-new": Row(500, 40, power_cuts_in_a_new_directory, WHY_NOT),
    "disk": Row(ALL, 16, errors_of_the_disk),
    "signals": Row(100, 3, stopped_by_signals, WHY_NOT),
    "plugins": Row(ALL, 6, failing_plugins, WHY_NOT),
    "nan": Row(ALL, 12, not_a_number),
    "together": Row(20, 2, runs_on_one_folder, WHY_NOT),
    "mnist": Row(200, 4, damaged_mnist, "" if mnist() else "the real MNIST is not on disk"),
    "finished": Row(ALL, ALL, finished_or_changed),
    "grid": Row(ALL, 2, stopped_in_every_make),
    "optimizers": Row(ALL, 4, stopped_with_every_optimizer),
    "processes": Row(3, 1, stopped_processes, WHY_NOT),
}
