"""Runs of every make that are stopped and go on: optimizers, networks, precisions, plugins."""

from pathlib import Path

import torch
from grid import (
    AT_AN_EPOCHS_END,
    IN_MID_EPOCH,
    NETWORKS,
    UNCOMPILED,
    Trial,
    all_combinations,
    check,
    differences,
    make_optimizers,
    pairwise,
)

from .tally import Tally


def stopped_in_every_make(directory: Path, count: int) -> Tally:
    """Try the grid: all of it without compiling, and pairwise with it."""
    tally = Tally("stopped and resumed: optimizer x network x precision x plugin", "bit-identical")
    compiled = [point for point in pairwise() if point.precision == "compile"]
    points = [*compiled, *all_combinations(UNCOMPILED)][:count]
    for point in points:
        tally.add(" ".join(point), check(point))
    tally.notes.append(f"{sum(point in compiled for point in points)} of them with --compile")
    return tally


def stopped_with_every_optimizer(directory: Path, count: int) -> Tally:
    """Try each optimizer of torch, in its variants, on each network."""
    tally = Tally("stopped and resumed: each optimizer of torch.optim x network", "bit-identical")
    makers = make_optimizers()
    points = [(name, network) for name in makers for network in NETWORKS][:count]
    for name, network in points:
        place = directory / f"{len(list(directory.iterdir()))}"
        torch.manual_seed(0)
        trial = Trial(make_model=NETWORKS[network], make_optimizer=makers[name])
        whole = trial.train_through(place / "whole")
        parts = trial.train_in_parts(AT_AN_EPOCHS_END, IN_MID_EPOCH, out=place / "parts")
        tally.add(f"{name} on {network}", differences(parts, whole))
    tally.notes.append(f"{len(makers)} optimizers and variants")
    return tally
