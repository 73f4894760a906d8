"""The built-in datasets."""

import logging
from pathlib import Path
from typing import ClassVar

from ..errors import UnreachableError
from .dataset import Dataset, Split
from .download import SOURCES
from .source import DataSource

logger = logging.getLogger("ignite_threenet")


class IdxSource(DataSource):
    """A dataset of four files in MNIST's format."""

    _is_trusted = True
    name: ClassVar[str]
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def load(self, data_dir: Path) -> Dataset:
        """Read the files; fetch or draw them first if they are not on disk."""
        files = SOURCES[self.name].read(data_dir)
        splits = {"train": Split(*files.train), "test": Split(*files.test)}
        return Dataset(self.name, splits, files.sha256, self.class_names)


class Mnist(IdxSource):
    """Handwritten digits: 70,000 images of 28x28, checked against pinned digests."""

    name = "mnist"


class FashionMnist(IdxSource):
    """Articles of clothing: 70,000 images of 28x28."""

    name = "fashion-mnist"
    # As https://github.com/zalandoresearch/fashion-mnist names them.
    class_names = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )


class Kmnist(IdxSource):
    """Cursive Japanese characters: 70,000 images of 28x28."""

    name = "kmnist"
    # The syllables, as http://codh.rois.ac.jp/kmnist/ orders them.
    class_names = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


class Digits(IdxSource):
    """Printed digits, drawn by this project from fonts, without a network."""

    name = "digits"


class Auto(IdxSource):
    """MNIST if it is on disk or can be downloaded, else digits, with a warning."""

    name = "mnist"

    def load(self, data_dir: Path) -> Dataset:
        """Load the one or the other."""
        try:
            return super().load(data_dir)
        except UnreachableError as error:
            logger.warning("%s", error.reason)
            logger.warning("TRAINING ON THE EMBEDDED DATASET 'digits' INSTEAD OF MNIST")
            return Digits().load(data_dir)
