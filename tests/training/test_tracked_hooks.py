"""Tests of hooks that plugins register on what a run trains: who is to blame for them."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Clock
from helpers import make_run
from ignite.engine import Engine, Events
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import prune as untyped_prune
from torch.optim.optimizer import register_optimizer_step_post_hook

from ignite_threenet import Plugin, PluginFailedError, Run

Hook = Callable[..., Any]
prune: Any = untyped_prune


def layer(run: Run, number: int) -> Any:
    return list(run.model.children())[number]


def first_weight(run: Run) -> Any:
    return next(run.model.parameters())


# How each kind of hook is registered, and what errors call it.
KINDS: dict[str, Callable[[Run, Hook], Any]] = {
    "forward pre-hook {} of 0": lambda run, hook: layer(run, 0).register_forward_pre_hook(hook),
    "forward hook {} of the model": lambda run, hook: run.model.register_forward_hook(hook),
    "forward hook {} of 1": lambda run, hook: layer(run, 1).register_forward_hook(
        hook, with_kwargs=True
    ),
    "backward pre-hook {} of 1": lambda run, hook: layer(run, 1).register_full_backward_pre_hook(
        hook
    ),
    "backward hook {} of 2": lambda run, hook: layer(run, 2).register_full_backward_hook(hook),
    "state-dict pre-hook {} of 1": lambda run, hook: layer(run, 1).register_state_dict_pre_hook(
        hook
    ),
    "gradient hook {} of 1.weight": lambda run, hook: first_weight(run).register_hook(hook),
    "accumulated-gradient hook {} of 1.weight": lambda run, hook: first_weight(
        run
    ).register_post_accumulate_grad_hook(hook),
    "step pre-hook {} of the optimizer": lambda run, hook: run.optimizer.register_step_pre_hook(
        hook
    ),
    "step post-hook {} of the optimizer": lambda run, hook: run.optimizer.register_step_post_hook(
        hook
    ),
    "forward hook {} of all modules": lambda run, hook: register_module_forward_hook(hook),
    "step post-hook {} of all optimizers": (
        lambda run, hook: register_optimizer_step_post_hook(hook)
    ),
}


def fail(*args: Any) -> None:
    raise ValueError("no good")


def do_nothing(*args: Any) -> None:
    pass


class Hooked(Plugin):
    """Registers a hook, at once or when training starts."""

    distribution = "acme 1.0"

    def __post_init__(self) -> None:
        self.calls: list[int] = []
        self.in_handler = False
        self.register: Callable[[Run, Hook], Any] = lambda run, hook: None
        self.act: Hook = do_nothing

    @classmethod
    def of(cls, register: Callable[[Run, Hook], Any], act: Hook, **options: Any) -> "Hooked":
        plugin = cls()
        plugin.register, plugin.act = register, act
        plugin.__dict__.update(options)
        return plugin

    def attach(self, run: Run) -> None:
        if self.in_handler:
            run.trainer.add_event_handler(Events.EPOCH_STARTED(once=2), self.start, run)
        else:
            self.start(run)

    def start(self, run: Run) -> None:
        self.run = run
        self.handle = self.register(run, self.hook)

    def hook(self, *args: Any) -> Any:
        self.calls.append(self.run.trainer.state.epoch)
        return self.act(*args)

    def close(self, error: BaseException | None) -> None:
        if hasattr(self, "handle"):
            self.handle.remove()


class Showing(Hooked):
    """The same, of a plugin that only shows something."""

    on_error = "detach"


def weights_after(*plugins: Plugin, out: str) -> list[torch.Tensor]:
    torch.manual_seed(0)
    run = make_run(*plugins, model=make_model(), out=Path(out))
    run.train()
    return [each.detach().clone() for each in run.model.parameters()]


def make_model() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.LogSoftmax(dim=1))


@pytest.mark.parametrize("in_handler", [False, True], ids=["in attach", "in a handler"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_that_fails_is_blamed_on_its_plugin(kind: str, in_handler: bool) -> None:
    plugin = Hooked.of(KINDS[kind], fail, in_handler=in_handler)

    with pytest.raises(PluginFailedError) as caught:
        make_run(plugin, "checkpoint", model=make_model()).train()

    where = kind.format("Hooked.hook")
    epoch = caught.value.epoch
    assert caught.value.where == where
    assert str(caught.value) == (
        f"plugin 'hooked' (acme 1.0) failed at {where}, epoch {epoch}: ValueError: no good"
    )


@pytest.mark.parametrize("kind", [each for each in KINDS if "state-dict" not in each])
def test_a_hook_of_a_plugin_that_only_shows_something_is_detached(kind: str) -> None:
    plugin = Showing.of(KINDS[kind], fail, in_handler=True)

    summary = make_run(plugin, model=make_model()).train()

    assert plugin.calls == [2]
    assert summary["status"] == "completed"
    where = kind.format("Showing.hook")
    assert summary["detached"]["showing"] == (
        f"plugin 'showing' (acme 1.0) failed at {where}, epoch 2: ValueError: no good"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_that_only_looks_on_changes_no_weight(kind: str) -> None:
    without = weights_after(out="without")

    with_it = weights_after(Hooked.of(KINDS[kind], do_nothing), out="with")

    assert all(map(torch.equal, with_it, without))


def test_what_a_hook_returns_counts() -> None:
    plugin = Hooked.of(KINDS["gradient hook {} of 1.weight"], torch.zeros_like)
    run = make_run(plugin, model=make_model())
    before = first_weight(run).detach().clone()

    run.train()

    assert torch.equal(first_weight(run), before)


def test_a_hook_takes_its_plugins_time(clock: Clock) -> None:
    plugin = Hooked.of(KINDS["step pre-hook {} of the optimizer"], lambda *args: clock.take(0.5))
    run = make_run(plugin, model=make_model())

    run.train()

    assert run.attachments.plugin_seconds == {"hooked": 0.5 * len(plugin.calls)}
    assert len(plugin.calls) == 12


def test_a_hook_is_removed_by_its_handle() -> None:
    plugin = Hooked.of(KINDS["forward hook {} of 1"], do_nothing)
    run = make_run(plugin, model=make_model())

    run.train()

    assert not layer(run, 1)._forward_hooks


def test_the_hooks_of_a_script_are_its_own() -> None:
    model = make_model()
    model.register_forward_hook(lambda module, *args: fail() if module.training else None)

    with pytest.raises(ValueError, match="no good"):
        make_run(Hooked.of(KINDS["forward hook {} of 1"], do_nothing), model=model).train()


def test_torch_finds_the_hooks_that_are_its_own() -> None:
    class Pruning(Plugin):
        changes_training = True

        def attach(self, run: Run) -> None:
            self.layer = layer(run, 1)
            prune.l1_unstructured(self.layer, "weight", amount=0.5)
            prune.l1_unstructured(self.layer, "weight", amount=0.5)

        def close(self, error: BaseException | None) -> None:
            prune.remove(self.layer, "weight")

    run = make_run(Pruning(), model=make_model())

    run.train()

    weight = first_weight(run) if first_weight(run).dim() == 2 else list(run.model.parameters())[1]
    assert (weight == 0).float().mean().item() == pytest.approx(0.75, abs=0.01)


def test_a_copy_of_the_model_has_the_same_hooks_and_a_pickle_the_plugins_own() -> None:
    plugin = Hooked.of(lambda run, hook: run.model.register_forward_hook(do_nothing), do_nothing)
    model = make_run(plugin, model=make_model()).model

    copied, restored = copy.deepcopy(model), pickle.loads(pickle.dumps(model))

    assert [*copied._forward_hooks.values()] == [*model._forward_hooks.values()]
    assert [*restored._forward_hooks.values()] == [do_nothing]


@pytest.mark.parametrize("plugin", [Hooked, Showing])
def test_a_filter_of_an_event_that_fails_is_blamed_too(plugin: type[Hooked]) -> None:
    def choose(engine: Engine, count: int) -> bool:
        raise ValueError("no choice")

    def register(run: Run, hook: Hook) -> Any:
        return run.trainer.add_event_handler(Events.EPOCH_COMPLETED(event_filter=choose), hook)

    run = make_run(plugin.of(register, do_nothing))

    where = "failed at EPOCH_COMPLETED(test_a_filter_of_an_event_that_fails_is_blamed_too"
    if plugin is Showing:
        assert where in run.train()["detached"]["showing"]
    else:
        with pytest.raises(PluginFailedError, match=r"epoch 1: ValueError: no choice"):
            run.train()
