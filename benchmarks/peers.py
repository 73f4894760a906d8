"""Other people's means to train the same network; each is imported only to be measured."""

import logging
import os
import time
import warnings
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from ignite_threenet import ThreeNet

from .contenders import TimedContender
from .products import WIDTHS
from .setting import BATCH_SIZE, LEARNING_RATE, Setting


class JaxScan(TimedContender):
    """JAX: one compiled scan over the batches of an epoch, gathered inside."""

    name = "jax"
    label = "JAX, one jitted scan an epoch"
    packages = ("jax",)

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        jax = self._jax = import_module("jax")
        parameters = [jax.numpy.asarray(each.detach().numpy()) for each in ThreeNet().parameters()]
        self._parameters: Any = list(zip(parameters[::2], parameters[1::2], strict=True))
        self._images, self._labels = map(jax.numpy.asarray, _arrays(self._setting))
        self._train = jax.jit(_jax_epoch)

    def _train_epoch(self) -> None:
        order = torch.randperm(len(self._labels)).numpy()
        trained = self._train(self._parameters, self._images, self._labels, order)
        self._parameters, self.losses = self._jax.block_until_ready(trained)


def _jax_epoch(parameters: Any, images: Any, labels: Any, order: Any) -> Any:
    """Train on the batches in their order; the last one is smaller, so it is a step of its own."""
    jax = import_module("jax")

    def step(parameters: Any, indices: Any) -> Any:
        value_and_gradients = jax.value_and_grad(_jax_loss)
        loss, gradients = value_and_gradients(parameters, images[indices], labels[indices])
        update = jax.tree.map(lambda old, slope: old - LEARNING_RATE * slope, parameters, gradients)
        return update, loss

    in_full_batches = len(order) - len(order) % BATCH_SIZE
    batches = order[:in_full_batches].reshape(-1, BATCH_SIZE)
    parameters, losses = jax.lax.scan(step, parameters, batches)
    if in_full_batches < len(order):
        parameters, _ = step(parameters, order[in_full_batches:])
    return parameters, losses


def _jax_loss(parameters: Any, inputs: Any, targets: Any) -> Any:
    jax = import_module("jax")
    *hidden, (last_weight, last_bias) = parameters
    for weight, bias in hidden:
        inputs = jax.nn.relu(inputs @ weight.T + bias)
    log_probabilities = jax.nn.log_softmax(inputs @ last_weight.T + last_bias)
    return -jax.numpy.take_along_axis(log_probabilities, targets[:, None], axis=1).mean()


class KerasOnJax(TimedContender):
    """Keras 3: fit() with the backend JAX."""

    name = "keras"
    label = "Keras on JAX, fit()"
    packages = ("keras", "jax")

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        os.environ["KERAS_BACKEND"] = "jax"  # read once, when Keras is imported
        keras = import_module("keras")
        hidden = [keras.layers.Dense(width, activation="relu") for width in WIDTHS[1:-1]]
        self._model = keras.Sequential(
            [keras.Input((WIDTHS[0],)), *hidden, keras.layers.Dense(WIDTHS[-1])]
        )
        self._model.compile(
            optimizer=keras.optimizers.SGD(LEARNING_RATE),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )

    def _train_epoch(self) -> None:
        self._model.fit(*_arrays(self._setting), batch_size=BATCH_SIZE, verbose=0)


class ScikitLearn(TimedContender):
    """scikit-learn: partial_fit(), which trains one epoch, of its MLPClassifier."""

    name = "sklearn"
    label = "scikit-learn MLPClassifier"
    note = "on the CPU"
    packages = ("sklearn",)

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        neural_network = import_module("sklearn.neural_network")
        self._classifier = neural_network.MLPClassifier(
            hidden_layer_sizes=WIDTHS[1:-1],
            solver="sgd",
            alpha=0.0,
            batch_size=BATCH_SIZE,
            learning_rate_init=LEARNING_RATE,
            momentum=0.0,
            nesterovs_momentum=False,
        )

    def _train_epoch(self) -> None:
        self._classifier.partial_fit(*_arrays(self._setting), classes=range(WIDTHS[-1]))


class LightningTrainer(TimedContender):
    """Lightning: a TensorDataset in a DataLoader, and neither logger nor checkpoints."""

    name = "lightning"
    label = "Lightning, TensorDataset"
    note = "from the first batch to the end of the epoch"
    packages = ("lightning",)

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._lightning = import_module("lightning")
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        dataset = TensorDataset(self._setting.images.cpu(), self._setting.train.labels.cpu())
        self._loader = DataLoader(dataset, BATCH_SIZE, shuffle=True)
        self._module = _lightning_module(self._lightning)

    def _train_epoch(self) -> None:
        trainer = self._lightning.Trainer(
            accelerator=self._setting.device.type,
            devices=1,
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        with warnings.catch_warnings():
            # That a loader without workers is slow: here it is the fastest.
            warnings.simplefilter("ignore")
            trainer.fit(self._module, self._loader)

    def seconds(self) -> float:
        """Train an epoch, and give its seconds, without those of making the trainer ready."""
        super().seconds()
        return float(self._module.epoch_seconds)


def _lightning_module(lightning: Any) -> Any:
    """Make the network as Lightning wants it; its class needs Lightning to exist."""

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = ThreeNet()
            self.epoch_seconds = 0.0

        def configure_optimizers(self) -> SGD:
            return SGD(self.parameters(), lr=LEARNING_RATE)

        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            images, labels = batch
            return nn.functional.nll_loss(self.model(images), labels)

        def on_train_epoch_start(self) -> None:
            self._start = time.perf_counter()

        def on_train_epoch_end(self) -> None:
            if self.device.type != "cpu":
                torch.accelerator.synchronize()
            self.epoch_seconds = time.perf_counter() - self._start

    return Module()


class Skorch(TimedContender):
    """skorch: partial_fit() of one epoch, without a validation set."""

    name = "skorch"
    label = "skorch"
    packages = ("skorch",)

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        skorch = import_module("skorch")
        self._net = skorch.NeuralNet(
            ThreeNet,
            criterion=nn.NLLLoss,
            optimizer=SGD,
            lr=LEARNING_RATE,
            batch_size=BATCH_SIZE,
            max_epochs=1,
            train_split=None,
            iterator_train__shuffle=True,
            verbose=0,
            device=str(self._setting.device),
        )
        self._net.initialize()

    def _train_epoch(self) -> None:
        self._net.partial_fit(*_arrays(self._setting))


def _arrays(setting: Setting) -> tuple[Any, Any]:
    """Give the training images and labels as NumPy arrays: the same memory, on the CPU."""
    return setting.images.cpu().numpy(), setting.train.labels.cpu().numpy()


PEERS = (JaxScan, KerasOnJax, ScikitLearn, LightningTrainer, Skorch)
"""The contenders that need a package which the project does not."""
