"""What a plugin's author needs to test it: real engines, scripted measurements, no data.

The fixtures of ``ignite_threenet.testing.fixtures`` are loaded by a test suite that wants them::

    pytest_plugins = ["ignite_threenet.testing.fixtures"]
"""

import atexit
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from ignite.metrics import Metric
from torch import Tensor, nn

from ..config import RunConfig
from ..data.dataset import SPLITS
from ..data.digits import draw_digits
from ..errors import CheckpointError, PluginFailedError
from ..extensions.plugin import Plugin
from ..extensions.selection import find_plugins, resolve_plugins
from ..options.declaration import option_specs
from ..run.run import Run
from ..run.verify import verify_resume
from ..storage import checkpoint_file as checkpoint
from ..training.engines import Batch

__all__ = [
    "TinyModel",
    "assert_contract",
    "assert_observes_only",
    "assert_resumes",
    "image_loaders",
    "run_plugin",
    "tiny_loaders",
]
MakeLoaders = Callable[..., Mapping[str, Sequence[Batch]]]
"""Makes batches of each split."""

_PIXELS = 784
_CLASSES = 10


class TinyModel(nn.Sequential):
    """One layer from 784 pixels to the log-probabilities of 10 classes."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(_PIXELS, _CLASSES), nn.LogSoftmax(dim=1))


def tiny_loaders(batches: int = 4, batch_size: int = 16, seed: int = 0) -> dict[str, list[Batch]]:
    """Make an easy task: one of ten pixels is bright, and says the class.

    Args:
        batches: batches of each split.
        batch_size: samples in a batch.
        seed: what they are drawn by.

    Returns:
        Batches of (N, 784) float32 and (N,) int64, for ``train``, ``valid`` and ``test``.

    Example:
        >>> images, labels = tiny_loaders()["train"][0]
        >>> bool((images[:, :10].argmax(dim=1) == labels).all())
        True
    """
    generator = torch.Generator().manual_seed(seed)

    def make_batch() -> Batch:
        labels = torch.randint(_CLASSES, (batch_size,), generator=generator)
        images = torch.rand(batch_size, _PIXELS, generator=generator)
        images[torch.arange(batch_size), labels] = 10.0
        return images, labels

    return {split: [make_batch() for _ in range(batches)] for split in SPLITS}


def image_loaders(batches: int = 4, batch_size: int = 16, seed: int = 0) -> dict[str, list[Batch]]:
    """Draw digits, for a plugin that is made for images; see tiny_loaders().

    Returns:
        Batches of (N, 1, 28, 28) float32 from 0 to 1 and (N,) int64, for ``train``, ``valid`` and
        ``test``.
    """
    images, labels = draw_digits(len(SPLITS) * batches * batch_size, seed)
    each = (len(SPLITS), batches, batch_size)
    drawn = (images.float() / 255).reshape(*each, *images.shape[1:])
    answers = labels.reshape(each)
    return {
        split: list(zip(drawn[number], answers[number], strict=True))
        for number, split in enumerate(SPLITS)
    }


def run_plugin(
    plugin: Plugin,
    accuracies: Sequence[float] = (0.1, 0.5, 0.3),
    *,
    out: Path | None = None,
    make_loaders: MakeLoaders = tiny_loaders,
) -> Run:
    """Let a plugin take part in a run whose measurements are given, one after each epoch.

    The engines are the real ones, so events fire as they always do; only what the evaluators
    measure comes from the script. What the plugin requires takes part too, and the plugin
    ``accuracy`` measures each epoch.

    Args:
        plugin: the plugin.
        accuracies: what is measured, epoch by epoch, on whichever split is asked for; the last
            one again if more is measured. The loss is 1 less the accuracy.
        out: the run's directory; by default one that is removed when Python exits.
        make_loaders: makes the batches; tiny_loaders or image_loaders.

    Returns:
        The run, which has ended: see its ``history``, ``trainer.state``, ``directory``.

    Raises:
        PluginFailedError: the plugin raised.

    Example:
        >>> from ignite_threenet import Plugin
        >>> class Stop(Plugin):
        ...     def attach(self, run):
        ...         run.evaluators["train"].add_event_handler(Events.COMPLETED, self.look, run)
        ...
        ...     def look(self, evaluator, run):
        ...         if evaluator.state.metrics["accuracy"] < 0.4:
        ...             run.trainer.terminate()
        >>> run = run_plugin(Stop(), accuracies=[0.5, 0.3, 0.9])
        >>> run.trainer.state.epoch
        2
    """
    config = RunConfig(
        epochs=len(accuracies),
        out=out if out is not None else _temporary(),
        device="cpu",
        strict=True,
    )
    (accuracy,) = resolve_plugins(["accuracy"])
    plugins = [accuracy.create(every=1), plugin] if plugin.name != "accuracy" else [plugin]
    run: Run | None = None

    def accuracy_now() -> float:
        epoch = max(run.trainer.state.epoch, 1) if run is not None else 1
        return accuracies[min(epoch, len(accuracies)) - 1]

    run = Run(
        config,
        plugins,
        model=TinyModel(),
        loaders=make_loaders(batches=1, batch_size=2),
        metrics=lambda: {
            "accuracy": _Scripted(accuracy_now),
            "loss": _Scripted(lambda: 1 - accuracy_now()),
        },
    )
    run.train()
    return run


def _temporary() -> Path:
    scratch = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    return Path(scratch, "run")


class _Scripted(Metric):
    """A metric whose value is given."""

    def __init__(self, value: Callable[[], float]) -> None:
        self._value = value
        super().__init__()

    def reset(self) -> None:
        """Forget nothing."""

    def update(self, output: Any) -> None:
        """Learn nothing."""

    def compute(self) -> float:
        """Give the value."""
        return self._value()


def assert_resumes(make_plugin: Callable[[], Plugin], epochs: int = 3) -> None:
    """Assert that a run with the plugin, stopped and resumed, ends as one never stopped.

    It is interrupted in mid-epoch and at an epoch's end, and ended by a handler. What is compared
    are the weights, the recorded numbers, the random generators, the files and the states. All
    this is done in one process; ``plugins check`` does it in fresh ones.

    Args:
        make_plugin: makes the plugin, anew for each run.
        epochs: epochs of the runs.

    Raises:
        AssertionError: something differs; the message says what.
        PluginFailedError: the plugin raised.
    """
    comparison = verify_resume(
        RunConfig(epochs=epochs, lr=0.1, device="cpu", strict=True),
        lambda: [make_plugin()],
        make_model=_make_model,
        make_loaders=tiny_loaders,
    )
    differences = comparison.differences.items()
    found = [f"{part}: {places[0]}" for part, places in differences if places]
    if found:
        raise AssertionError(f"the resumed run differs: {'; '.join(found)}")


def assert_observes_only(make_plugin: Callable[[], Plugin], epochs: int = 3) -> None:
    """Assert that the weights are the same to the last bit with the plugin and without it.

    They are compared when training ends, before anybody hears of Events.COMPLETED. The network
    has dropout, so a plugin that draws from torch's random generator changes them too.

    Raises:
        AssertionError: they differ; the message says which.
        PluginFailedError: the plugin raised.
    """
    # First without: what the plugin does to torch must not be in both.
    without_it = weights_after([], epochs)
    with_it = weights_after([make_plugin()], epochs)
    if problem := compare_weights(with_it, without_it):
        raise AssertionError(problem)


def compare_weights(with_it: Mapping[str, Tensor], without_it: Mapping[str, Tensor]) -> str:
    """Say how weights differ, which weights_after() gave with a plugin and without; or ""."""
    if not with_it:
        return "training ends early, without the event COMPLETED"
    differing = [name for name in with_it if not torch.equal(with_it[name], without_it[name])]
    return f"training ends with other weights: {', '.join(differing)}" if differing else ""


def _make_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(dropout=nn.Dropout(0.1), tiny=TinyModel()))


def weights_after(
    plugins: Sequence[Plugin], epochs: int = 3, make_loaders: MakeLoaders = tiny_loaders
) -> Mapping[str, Tensor]:
    """Train with plugins, and give the weights as training ends; none if it does not complete."""
    note = NoteWeights()
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "run")
        config = RunConfig(epochs=epochs, lr=0.1, out=out, device="cpu", strict=True)
        Run(config, [note, *plugins], model=_make_model(), loaders=make_loaders()).train()
    return note.weights


class NoteWeights(Plugin):
    """Note the weights at Events.COMPLETED, as the first to hear of it."""

    def attach(self, run: Run) -> None:
        """Register the handler."""
        self.weights: Mapping[str, Tensor] = {}
        run.trainer.add_event_handler(Events.COMPLETED, self.note, run)

    def note(self, run: Run) -> None:
        """Copy the weights."""
        self.weights = checkpoint.copy_weights(run.model)


def assert_contract(cls: type[Plugin], **options: Any) -> None:
    """Assert what every plugin promises by being one.

    It has a docstring and help for each option; what it requires is installed; it can be made
    anew for each run, and one that was closed at once holds nothing; its state is plain values
    and tensors, and comes back from a checkpoint as it went.

    Args:
        cls: the plugin's class.
        **options: what it is made with.

    Raises:
        AssertionError: it breaks a promise; the message says which.
        PluginFailedError: it raised.
    """
    problems = [*find_contract_problems(cls, **options)]
    if problems:
        raise AssertionError("; ".join(problems))


def find_contract_problems(
    cls: type[Plugin], make_loaders: MakeLoaders = tiny_loaders, /, **options: Any
) -> Iterator[str]:
    """Say which promises a plugin breaks; see assert_contract()."""
    if not (cls.__dict__.get("__doc__") or "").strip() or (cls.__doc__ or "").startswith(
        f"{cls.__name__}("
    ):
        yield f"{cls.__name__} has no docstring, so nobody learns from 'plugins list' what it does"
    for spec in option_specs(cls):
        if not spec.help.strip():
            yield f"the option {spec.name!r} has no help"
    installed = find_plugins()
    missing = [name for name in cls.requires if name not in installed]
    for name in missing:
        yield f"it requires {name!r}, which is not installed"
    if not missing:
        yield from _find_state_problems(cls, make_loaders, options)


def _find_state_problems(
    cls: type[Plugin], make_loaders: MakeLoaders, options: Mapping[str, Any]
) -> Iterator[str]:
    try:
        run = run_plugin(cls(**options), make_loaders=make_loaders)
        plugin = next(each for each in run.plugins.values() if type(each) is cls)
        state = dict(plugin.state_dict())
        copy = checkpoint.decode(checkpoint.encode(state, where="state_dict()"))
    except CheckpointError as error:
        yield str(error)
        return
    except PluginFailedError as error:
        if not isinstance(error.__cause__, CheckpointError):
            raise
        yield str(error.__cause__)
        return
    if set(copy) != set(state):
        yield "its state_dict() does not come back from a checkpoint as it went"
