"""A network and a dataset that a command line can name, of the task in tiny_loaders()."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ignite_threenet import Model
from ignite_threenet.testing import TinyModel, image_loaders, tiny_loaders


class Tiny(Model):
    """TinyModel behind a layer of dropout, which draws from torch's random generator."""

    def build(self) -> None:
        """Make the layers."""
        self.dropout = nn.Dropout(0.1)
        self.tiny = TinyModel()

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the log-probabilities: (N, 784) to (N, 10)."""
        outputs: Tensor = self.tiny(self.dropout(inputs))
        return outputs


def load(data_dir: Path) -> Mapping[str, tuple[Tensor, Tensor]]:
    """Load the splits train and test, as rows; data_dir is of no use here."""
    return _join(tiny_loaders())


def load_images(data_dir: Path) -> Mapping[str, tuple[Tensor, Tensor]]:
    """Load the splits train and test, as images of one channel."""
    return _join(image_loaders())


def _join(
    loaders: Mapping[str, Sequence[tuple[Tensor, Tensor]]],
) -> Mapping[str, tuple[Tensor, Tensor]]:
    return {
        split: (torch.cat([each[0] for each in batches]), torch.cat([each[1] for each in batches]))
        for split, batches in loaders.items()
        if split != "valid"
    }
