"""Shows what was measured: as text, as JSON, and as a picture."""

import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from ignite_threenet.training.device import describe_device

from .setting import Setting
from .tables import Row, Table

_SIZE_INCHES = (9.0, 4.8)
_DPI = 120


def describe_machine(setting: Setting) -> dict[str, Any]:
    """Name what the figures depend on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device": describe_device(setting.device),
    }


def format_machine(machine: dict[str, Any]) -> str:
    """Spell the machine in a line."""
    return (
        f"machine: {machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, "
        f"torch {machine['torch']}, {machine['device']}"
    )


def format_table(table: Table, dataset_name: str) -> str:
    """Spell a table for a terminal: medians, the range of the rounds, and ratios.

    Args:
        table: what was measured.
        dataset_name: what it was measured on.
    """
    took_turns = any(len(row.values) > 1 for row in table.rows)
    columns = ("median", "lowest", "highest") if took_turns else ("value",)
    cells = [("", *columns, _format_over(table), "")]
    cells += [_format_row(table, row, len(columns)) for row in table.rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(_lines(table, dataset_name, cells, widths))


def as_dict(tables: Sequence[Table], setting: Setting) -> dict[str, Any]:
    """Give all that was measured as plain values."""
    return {
        "dataset": setting.dataset.name,
        "rounds": setting.rounds,
        "machine": describe_machine(setting),
        "tables": [table.as_dict() for table in tables],
    }


def draw_table(table: Table, dataset_name: str, machine: dict[str, Any], path: Path) -> None:
    """Draw the medians as bars on a logarithmic axis, the lowest first, each with its ratio.

    Args:
        table: what was measured; all of its rows have one unit.
        dataset_name: what it was measured on.
        machine: what describe_machine gave.
        path: where the picture goes; its suffix says of what kind it is.
    """
    # Figure alone, without pyplot: it needs no display, and leaves no global state behind.
    from matplotlib.figure import Figure

    rows = sorted(table.rows, key=lambda row: row.median, reverse=True)
    own = [row.label.startswith("ignite-threenet") for row in rows]
    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh(
        [row.label for row in rows],
        [row.median for row in rows],
        color=["C1" if is_own else "C0" for is_own in own],
    )
    axes.bar_label(bars, [_format_bar(table, row) for row in rows], padding=4)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlim(rows[-1].median / 2, rows[0].median * 3)  # the text beside a bar takes its room
    axes.set_xlabel("median in seconds, and times the floor")
    figure.suptitle(f"{dataset_name}: {table.title}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(format_machine(machine), fontsize="x-small", color="0.4")
    figure.savefig(path)


def _lines(
    table: Table, dataset_name: str, cells: Sequence[Sequence[str]], widths: Sequence[int]
) -> Iterator[str]:
    yield f"{table.name} ({dataset_name}): {table.title}"
    for label, *numbers, note in cells:
        aligned = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=False)]
        yield "  ".join(["", label.ljust(widths[0]), *aligned, note]).rstrip()
    for label, reason in table.left_out.items():
        yield f"  left out: {label} ({reason})"


def _format_row(table: Table, row: Row, columns: int) -> tuple[str, ...]:
    values = (row.median, min(row.values), max(row.values))[:columns]
    ratio = table.ratio(row)
    spelled = [f"{_format(value)} {row.unit}" for value in values]
    return row.label, *spelled, _format(ratio) if ratio is not None else "", row.note


def _format_bar(table: Table, row: Row) -> str:
    ratio = table.ratio(row)
    times = f"  ({ratio:.3g}x)" if ratio is not None else ""
    return f"{_format(row.median)} {row.unit}{times}"


def _format_over(table: Table) -> str:
    """Name the baseline by what stands before the colon in its label."""
    return f"/ {table.baseline.partition(':')[0]}" if table.baseline else ""


def _format(value: float) -> str:
    """Spell a number with about three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value >= 10 else f"{value:.3f}"


def _processor() -> str:
    """Name the processor as its maker does, where Linux tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
