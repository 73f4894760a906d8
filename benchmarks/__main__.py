"""The command line of the benchmarks."""

import json
import tempfile
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import click

from ignite_threenet import select_device

from .measurements import CONTENDERS, measure_accuracy_pass, measure_epoch, measure_plugins
from .processes import measure_memory, measure_recipe, measure_start
from .report import as_dict, describe_machine, draw_table, format_machine, format_table
from .setting import Setting, load_dataset
from .tables import Table

_MEASUREMENTS: dict[str, Callable[[Setting], Table]] = {
    # First: what a plugin imports is part of what it costs, so it must not be imported yet.
    "plugins": measure_plugins,
    "epoch": measure_epoch,
    "accuracy": measure_accuracy_pass,
    "start": measure_start,
    "memory": measure_memory,
    "recipe": measure_recipe,
}


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--data-dir",
    type=Path,
    default="data",
    show_default=True,
    help="directory of the datasets: mnist if it is there, else the digits drawn here",
)
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    type=click.Choice([*_MEASUREMENTS, *CONTENDERS]),
    help=f"measure this alone: {', '.join(_MEASUREMENTS)}; or one contender of epoch, "
    f"beside the floor: {', '.join(CONTENDERS)}; may be given several times",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=7,
    show_default=True,
    help="turns of each contender",
)
@click.option(
    "--quick",
    is_flag=True,
    help="one round, few epochs, one seed: to see that it works, not for figures",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, or another")
@click.option("--recipe", default="quick", show_default=True, help="recipe that is measured")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="seeds that the recipe is tried with",
)
@click.option("--json", "json_path", type=Path, metavar="FILE", help="write all values there")
@click.option("--picture", "picture_path", type=Path, metavar="FILE", help="draw the epoch there")
def main(
    data_dir: Path,
    only: tuple[str, ...],
    rounds: int,
    quick: bool,
    device: str,
    recipe: str,
    seeds: int,
    json_path: Path | None,
    picture_path: Path | None,
) -> None:
    """Measure what ignite-threenet costs, side by side with the least that it could cost."""
    if picture_path is not None and only and not {*only} & {"epoch", *CONTENDERS}:
        raise click.UsageError("--picture shows the epoch, which --only leaves out")
    with tempfile.TemporaryDirectory() as work_dir:
        setting = Setting(
            dataset=load_dataset(data_dir.resolve()),
            data_dir=data_dir.resolve(),
            work_dir=Path(work_dir),
            device=select_device(device),
            rounds=rounds,
            recipe=recipe,
            seeds=seeds,
        )
        setting = _hurried(setting) if quick else setting
        tables = _measure(setting, only)
    machine = describe_machine(setting)
    if json_path is not None:
        json_path.write_text(json.dumps(as_dict(tables, setting), indent=2) + "\n")
    for table in tables:
        if picture_path is not None and table.name == "epoch":
            draw_table(table, setting.dataset.name, machine, picture_path)
    click.echo(format_machine(machine))


def _hurried(setting: Setting) -> Setting:
    return replace(
        setting,
        rounds=1,
        epochs_per_run=1,
        pil_batches=2,
        plugin_epochs=2,
        memory_epochs=(1, 2),
        seeds=1,
    )


def _measure(setting: Setting, only: Collection[str]) -> list[Table]:
    """Measure what is asked for, and print each table as soon as it is there."""
    contenders = [name for name in only if name in CONTENDERS]
    tables = []
    for name, measure in _MEASUREMENTS.items():
        if only and name not in only and not (name == "epoch" and contenders):
            continue
        click.echo(f"measuring: {name}", err=True)
        is_narrowed = name == "epoch" and "epoch" not in only
        table = measure_epoch(setting, contenders) if is_narrowed else measure(setting)
        click.echo(f"{format_table(table, setting.dataset.name)}\n")
        tables.append(table)
    return tables


if __name__ == "__main__":
    main()
