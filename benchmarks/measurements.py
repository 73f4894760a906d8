"""What is measured in this process: an epoch, the plugins' share, the accuracy pass."""

from collections.abc import Collection, Iterator
from importlib.util import find_spec

from torch import Tensor

from ignite_threenet import DEFAULT_PLUGINS

from .contenders import OWN, Contender, Floor
from .peers import PEERS
from .products import forward_products, multiply
from .setting import BATCH_SIZE, Setting
from .tables import Row, Table, take_turns

CONTENDERS: dict[str, type[Contender]] = {each.name: each for each in (*OWN, *PEERS)}
"""Whoever can take part in the measurement of an epoch, by name."""

# Large, as an evaluator's batches are; for the products alone too, since they gain by it.
_EVALUATION_BATCH_SIZE = 2048


def measure_epoch(setting: Setting, names: Collection[str] = ()) -> Table:
    """Measure the seconds that an epoch takes.

    Args:
        setting: what to measure on.
        names: the contenders, beside the floor; all if there are none.
    """
    chosen = [each for each in CONTENDERS.values() if not names or each.name in {*names, "floor"}]
    contenders: list[Contender] = []
    left_out: dict[str, str] = {}
    for cls in chosen:
        try:
            contenders.append(_enter(cls, setting))
        except _LeftOutError as reason:
            left_out[cls.label] = str(reason)
    seconds = take_turns({each.label: each.seconds for each in contenders}, setting.rounds)
    return Table(
        name="epoch",
        title=f"seconds an epoch, {len(setting.train):,} samples, batch {BATCH_SIZE}, float32",
        rows=[Row(each.label, seconds[each.label], note=each.note) for each in contenders],
        baseline=Floor.label,
        left_out=left_out,
    )


class _LeftOutError(Exception):
    """A contender cannot take part; the message says why."""


def _enter(cls: type[Contender], setting: Setting) -> Contender:
    """Make a contender, and see that it works: a peer's failure must not spoil the rest."""
    missing = [package for package in cls.packages if find_spec(package) is None]
    if missing:
        raise _LeftOutError(f"not installed: {', '.join(missing)}")
    if cls in OWN:
        return cls(setting)
    try:
        contender = cls(setting)
        contender.seconds()
    except Exception as error:
        raise _LeftOutError(f"failed: {type(error).__name__}: {error}") from error
    return contender


def measure_plugins(setting: Setting) -> Table:
    """Measure what the default plugins cost themselves, without the measuring they order."""
    run, summary = setting.train_run(setting.plugin_epochs, DEFAULT_PLUGINS)
    timing = summary["plugins"]["timing"]
    parts: dict[str, float] = timing["seconds_by_part"]
    rows = [
        Row("the run", [timing["seconds"]]),
        Row("measuring", [parts["measuring"]], note="ordered by the plugins, and the final test"),
        Row("all plugins", [sum(parts[name] for name in run.plugins)]),
        *(Row(f"plugin {name}", [parts[name]]) for name in run.plugins),
    ]
    return Table(
        name="plugins",
        title=f"seconds of a run of {setting.plugin_epochs} epochs with the default plugins",
        rows=rows,
        baseline="the run",
    )


def measure_accuracy_pass(setting: Setting) -> Table:
    """Measure a pass over the training images against its matrix products alone."""
    run, _ = setting.train_run(epochs=1)
    steps = list(_forward_steps(setting))

    def multiply_all() -> None:
        for products in steps:
            multiply(products)

    floor = "floor: the 3 matrix products alone"
    seconds = take_turns(
        {
            floor: lambda: setting.timed(multiply_all),
            "accuracy and loss": lambda: setting.timed(lambda: run.evaluate("train")),
        },
        setting.rounds,
    )
    return Table(
        name="accuracy",
        title=f"seconds to measure {len(setting.train):,} images",
        rows=[Row(label, values) for label, values in seconds.items()],
        baseline=floor,
    )


def _forward_steps(setting: Setting) -> Iterator[list[tuple[Tensor, Tensor, Tensor]]]:
    full, size_of_rest = divmod(len(setting.train), _EVALUATION_BATCH_SIZE)
    products = forward_products(_EVALUATION_BATCH_SIZE, setting.device)
    yield from [products] * full
    if size_of_rest:
        yield forward_products(size_of_rest, setting.device)
