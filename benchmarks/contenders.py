"""Who takes part in the measurement of an epoch, from the floor to how most scripts do it."""

import statistics
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import Any, ClassVar

import torch
from ignite.engine import Engine
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader, Dataset

from ignite_threenet import DEFAULT_PLUGINS, BatchLoader, Split, ThreeNet, create_trainer

from .products import backward_products, forward_products, multiply
from .setting import BATCH_SIZE, LEARNING_RATE, Setting


class Contender(ABC):
    """Trains the same network on the same samples in its own way: SGD, batches of 256, float32.

    Attributes:
        name: what the command line calls it.
        label: what the table calls it.
        packages: what it needs beyond the project's own dependencies.
        note: what a reader of its figures must know.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    note: str = ""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    @abstractmethod
    def seconds(self) -> float:
        """Train, and give the seconds that an epoch takes."""


class TimedContender(Contender):
    """One that can train a single epoch, which is timed from outside."""

    @abstractmethod
    def _train_epoch(self) -> None:
        """Train one epoch."""

    def seconds(self) -> float:
        """Train an epoch, and give the seconds that it takes."""
        return self._setting.timed(self._train_epoch)

    def _shuffled(self) -> Iterator[Tensor]:
        """Draw the order of an epoch; give the indices of its batches, on the device."""
        labels = self._setting.train.labels
        yield from torch.split(torch.randperm(len(labels), device=labels.device), BATCH_SIZE)


class Floor(TimedContender):
    """The 8 matrix products of a step, of the same shapes, back to back, and nothing else."""

    name = "floor"
    label = "floor: the 8 matrix products alone"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._steps, size_of_rest = divmod(len(self._setting.train), BATCH_SIZE)
        self._products = self._of_step(BATCH_SIZE)
        self._products_of_rest = self._of_step(size_of_rest) if size_of_rest else []

    def _train_epoch(self) -> None:
        for _ in range(self._steps):
            multiply(self._products)
        multiply(self._products_of_rest)

    def _of_step(self, size: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        device = self._setting.device
        return forward_products(size, device) + backward_products(size, device)


class HandDerived(TimedContender):
    """Gradients derived by hand, without autograd, and batches gathered into one buffer."""

    name = "by-hand"
    label = "gradients derived by hand, no autograd"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        parameters = [each.detach().to(self._setting.device) for each in ThreeNet().parameters()]
        self.layers = list(zip(parameters[::2], parameters[1::2], strict=True))
        self.loss_sum = torch.zeros((), device=self._setting.device)
        self._buffer = self._setting.images.new_empty(BATCH_SIZE, self._setting.images.shape[1])

    def _train_epoch(self) -> None:
        self.loss_sum.zero_()
        for indices in self._shuffled():
            inputs = self._buffer[: len(indices)]
            torch.index_select(self._setting.images, 0, indices, out=inputs)
            gradients = self.gradients(inputs, self._setting.train.labels[indices])
            for layer, of_layer in zip(self.layers, gradients, strict=True):
                for parameter, gradient in zip(layer, of_layer, strict=True):
                    parameter.add_(gradient, alpha=-LEARNING_RATE)

    def gradients(self, inputs: Tensor, targets: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Give the gradients of the mean negative log-likelihood, and add the loss up.

        Args:
            inputs: (N, 784) float32.
            targets: (N,) int64, classes 0 to 9.

        Returns:
            Those of each layer's weight and bias, in the order of the layers.

        Source:
            With p the softmax of the logits and y the one-hot targets, the loss has the gradient
            (p - y) / N by the logits; the rest is the chain rule, layer by layer.
        """
        activations, log_probabilities = self._forward(inputs)
        chosen = targets.unsqueeze(1)
        self.loss_sum -= log_probabilities.gather(1, chosen).sum()
        errors = log_probabilities.exp_()
        errors.scatter_add_(1, chosen, errors.new_full((1, 1), -1.0).expand_as(chosen))
        errors.div_(len(targets))

        gradients = [(errors.t() @ activations[-1], errors.sum(0))]
        for below, activation, (weight, _) in zip(
            activations[-2::-1], activations[:0:-1], self.layers[:0:-1], strict=True
        ):
            errors = (errors @ weight).mul_(activation > 0)
            gradients.append((errors.t() @ below, errors.sum(0)))
        return gradients[::-1]

    def _forward(self, inputs: Tensor) -> tuple[list[Tensor], Tensor]:
        """Give the input of each layer, and the log-probabilities."""
        activations = [inputs]
        for weight, bias in self.layers[:-1]:
            activations.append(torch.addmm(bias, activations[-1], weight.t()).relu_())
        weight, bias = self.layers[-1]
        return activations, torch.addmm(bias, activations[-1], weight.t()).log_softmax(1)


class PlainLoop(TimedContender):
    """The loop that a careful person writes in PyTorch: tensors in memory, fused SGD."""

    name = "plain-loop"
    label = "plain PyTorch loop, tensors in memory"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._model = ThreeNet().to(self._setting.device)
        self._optimizer = SGD(self._model.parameters(), lr=LEARNING_RATE, fused=True)
        self._loss_fn = nn.NLLLoss()

    def _train_epoch(self) -> None:
        images, labels = self._setting.images, self._setting.train.labels
        for indices in self._shuffled():
            self._optimizer.zero_grad()
            self._loss_fn(self._model(images[indices]), labels[indices]).backward()
            self._optimizer.step()


class Product(Contender):
    """A whole Run with its default plugins, as at a terminal: its median epoch."""

    name = "run"
    label = "ignite-threenet run, default plugins"

    def seconds(self) -> float:
        """Train a run, and give the seconds of its median epoch."""
        run, _ = self._setting.train_run(self._setting.epochs_per_run, DEFAULT_PLUGINS)
        return statistics.median(epoch.seconds for epoch in run.history.epochs)


class EngineAlone(TimedContender):
    """The trainer and the loader in a script, without a Run."""

    name = "engine"
    label = "create_trainer and BatchLoader alone"
    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        model = ThreeNet().to(self._setting.device)
        optimizer = SGD(model.parameters(), lr=LEARNING_RATE)
        self._loader = BatchLoader(self._setting.train, BATCH_SIZE, seed=0)
        self._trainer: Engine = create_trainer(
            model, optimizer, nn.NLLLoss(), self._setting.device, **self.options
        )

    def _train_epoch(self) -> None:
        self._trainer.run(self._loader, max_epochs=1)


class CompiledEngine(EngineAlone):
    """The same with a compiled step, which is compiled before the first turn."""

    name = "compiled"
    label = "create_trainer, compiled (--compile)"
    options: ClassVar[dict[str, Any]] = {"compiled": True}

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.note = f"after {setting.timed(self._train_epoch):.0f} s of compiling"


class Bf16Engine(EngineAlone):
    """The same with its matrix products in bfloat16."""

    name = "bf16"
    label = "create_trainer, bfloat16 (--precision bf16)"
    options: ClassVar[dict[str, Any]] = {"autocast": torch.bfloat16}


class PilLoop(TimedContender):
    """The loop of most scripts: a DataLoader that makes a tensor of a PIL image at a time."""

    name = "dataloader"
    label = "DataLoader loop, a PIL image at a time"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.note = f"{self._setting.pil_batches} batches, scaled up to an epoch"
        images = _PilImages(self._setting.dataset.splits["train"])
        self._loader = DataLoader(images, BATCH_SIZE, shuffle=True)
        self._model = ThreeNet().to(self._setting.device)
        self._optimizer = SGD(self._model.parameters(), lr=LEARNING_RATE)
        self._loss_fn = nn.NLLLoss()
        self._samples = 0

    def _train_epoch(self) -> None:
        device, self._samples = self._setting.device, 0
        for images, labels in islice(self._loader, self._setting.pil_batches):
            self._optimizer.zero_grad()
            loss = self._loss_fn(self._model(images.to(device)), labels.to(device))
            loss.backward()
            self._optimizer.step()
            self._samples += len(labels)

    def seconds(self) -> float:
        """Train a few batches, and give the seconds that an epoch of them would take."""
        seconds = super().seconds()
        return seconds * len(self._setting.train) / self._samples


class _PilImages(Dataset[tuple[Tensor, int]]):
    """Does with a sample what torchvision.datasets.MNIST does."""

    def __init__(self, split: Split) -> None:
        from torchvision import transforms

        self._images, self._labels = split.images.squeeze(1), split.labels
        self._transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
        )

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        image = Image.fromarray(self._images[index].numpy())
        return self._transform(image), int(self._labels[index])


OWN = (Floor, HandDerived, PlainLoop, Product, EngineAlone, CompiledEngine, Bf16Engine, PilLoop)
"""The contenders that need nothing beyond the project's own dependencies."""
