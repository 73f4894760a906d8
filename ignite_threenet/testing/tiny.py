"""A network and a dataset that a command line can name, of the task in tiny_loaders()."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ignite_threenet import Model
from ignite_threenet.testing import TinyModel, tiny_loaders


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
    """Load the splits train and test; data_dir is of no use here."""
    loaders = tiny_loaders()
    return {
        split: (torch.cat([each[0] for each in batches]), torch.cat([each[1] for each in batches]))
        for split, batches in loaders.items()
        if split != "valid"
    }
