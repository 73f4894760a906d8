"""Summaries and plans, as lines and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..text import one_line


def format_summary(summary: Mapping[str, Any]) -> str:
    """Put a summary into the lines that end a run."""
    seconds = summary["seconds"]
    took = f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    epochs = "1 epoch" if summary["epochs"] == 1 else f"{summary['epochs']} epochs"
    lines = [f"{summary['dataset']}: {epochs} on {summary['device']} in {took}"]
    for split, best in summary["best_accuracy"].items():
        lines.append(f"  best {split} accuracy  {best['accuracy']:.3%} at epoch {best['epoch']}")
    if summary["test"] is not None:
        lines.append(f"  test accuracy        {summary['test']['accuracy']:.3%}")
    for name, reason in summary["detached"].items():
        lines.append(f"  without {name}: {reason}")
    lines.append(f"  files                {summary['directory']}: {', '.join(summary['files'])}")
    return "\n".join(map(one_line, lines))


def format_plan(plan: Mapping[str, Any]) -> str:
    """Put a plan into tables."""
    options = [("option", "value", "source"), *_option_rows(plan["config"])]
    for kind, part in plan["parts"].items():
        options += _option_rows(part["options"], f"{kind}.")
    plugins = [("plugin", "from", "because")]
    for plugin in plan["plugins"]:
        required_by = plugin["required_by"]
        because = f"required by {required_by}" if required_by else "named"
        plugins.append((plugin["name"], plugin["distribution"], because))
        options += _option_rows(plugin["options"], f"{plugin['name']}.")
    handlers = [("engine", "event", "of", "handler")]
    handlers += [
        (each["engine"], each["event"], each["plugin"] or "the run", each["handler"])
        for each in plan["handlers"]
    ]
    heading = f"{plan['model']} on {plan['dataset']}, on {plan['device']}; nothing was run"
    return (
        f"{one_line(heading)}\n\n"
        f"{format_table(options)}\n\n{format_table(plugins)}\n\n{format_table(handlers)}"
    )


def _option_rows(options: Mapping[str, Any], prefix: str = "") -> list[tuple[str, ...]]:
    return [
        (f"{prefix}{name.replace('_', '-')}", str(option["value"]), option["source"])
        for name, option in options.items()
    ]


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Line up the columns of rows, the first of which is the heading; a cell is a line."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
