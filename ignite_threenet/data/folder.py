"""A folder of images as a dataset: one sub-folder a class."""

import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from ..errors import DataError, describe_error
from ..options.declaration import option
from .dataset import SPLITS, Dataset, Split, permutation
from .source import DataSource

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger("ignite_threenet")

# By which the test split is drawn, whatever the run's own seed: results stay comparable.
_TEST_SEED = 0
_MODES = {"grey": "L", "rgb": "RGB"}


class ImageFolderSource(DataSource):
    """A folder of images, one sub-folder a class.

    Or these in train/, and perhaps in valid/ and test/. torchvision's ImageFolder finds the images;
    the classes are the names of the sub-folders, sorted.
    """

    path: Path | None = option(None, help="the folder")
    size: int | None = option(
        None,
        help="side in pixels that images are scaled to; without it all must have one size",
        min=1,
    )
    colors: Literal["auto", "grey", "rgb"] = option(
        "auto", help="what images are turned into; auto is grey where they all are"
    )
    test_share: float = option(
        0.2,
        help="share of the images held out as the split 'test', if there is no folder test/",
        min=0,
        below=1,
    )

    def load(self, data_dir: Path) -> Dataset:
        """Read the images; data_dir is of no use here."""
        if self.path is None:
            raise DataError("dataset folder: which one, --dataset.path says")
        found = _find_splits(self.path)
        reader = _Reader(self.size, self.colors)
        class_names = _visible_folders(found["train"])
        splits = {name: reader.read(path, class_names) for name, path in found.items()}
        if "test" not in splits and self.test_share > 0:
            splits |= self._hold_out(splits["train"])
        return Dataset(self.path.resolve().name, splits, {}, class_names)

    def _hold_out(self, train: Split) -> dict[str, Split]:
        size = round(len(train) * self.test_share)
        if not 0 < size < len(train):
            raise DataError(
                f"{self.path}: {self.test_share} of {len(train)} images cannot be held out as the "
                "split 'test'; choose another --dataset.test-share"
            )
        order = permutation(len(train), _TEST_SEED, 0)
        logger.info("%s: %d of %d images are held out for the test", self.path, size, len(train))
        return {"train": train.take(order[size:]), "test": train.take(order[:size])}


def _find_splits(folder: Path) -> dict[str, Path]:
    names = _visible_folders(folder)
    if "train" not in names:
        return {"train": folder}
    others = [name for name in names if name not in SPLITS]
    if others:
        raise DataError(
            f"{folder}: has train/ and {', '.join(others)}; expected classes alone, or "
            "train/ with valid/ and test/ alone"
        )
    return {name: folder / name for name in SPLITS if name in names}


def _visible_folders(folder: Path) -> tuple[str, ...]:
    try:
        names = sorted(each.name for each in folder.iterdir() if each.is_dir())
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}") from error
    visible = tuple(name for name in names if not name.startswith("."))
    if not visible:
        raise DataError(
            f"{folder}: has no sub-folder; expected one for each class, with its images"
        )
    return visible


class _Reader:
    """Reads images of one size and kind; the first one says which, where nobody else does."""

    def __init__(self, size: int | None, colors: str) -> None:
        self._size = (size, size) if size is not None else None
        self._scales = size is not None
        self._mode = _MODES.get(colors)
        self._is_auto = colors == "auto"

    def read(self, folder: Path, class_names: tuple[str, ...]) -> Split:
        """Read the images of a folder.

        Args:
            folder: it has a sub-folder for each class.
            class_names: the classes that it must have.
        """
        names = _visible_folders(folder)
        if names != class_names:
            raise DataError(
                f"{folder}: has the classes {', '.join(names)}, and train {', '.join(class_names)}"
            )
        samples = _find_images(folder, names)
        first = self._read_image(Path(samples[0][0]))
        images = torch.empty(len(samples), *first.shape, dtype=torch.uint8)
        for row, (path, _) in zip(images, samples, strict=True):
            row.copy_(self._read_image(Path(path)))
        return Split(images, torch.tensor([label for _, label in samples]))

    def _read_image(self, path: Path) -> Tensor:
        from PIL import Image
        from torchvision.transforms.functional import pil_to_tensor

        try:
            with Image.open(path) as image:
                image.load()
                pixels: Tensor = pil_to_tensor(self._convert(_upright(image), path))
                return pixels
        except DataError:
            raise
        except Exception as error:  # Pillow's many decoders raise whatever comes
            raise DataError(
                f"{path}: cannot be read as an image: {describe_error(error)}"
            ) from error

    def _convert(self, image: "Image", path: Path) -> "Image":
        if image.mode.startswith(("I", "F")):
            raise DataError(f"{path}: has more than 8 bits a pixel; expected 8")
        is_grey = image.mode in ("1", "L", "LA")
        if self._mode is None:
            self._mode = "L" if is_grey else "RGB"
        if self._is_auto and self._mode == "L" and not is_grey:
            raise DataError(
                f"{path}: has colors, and the first image is grey; choose by --dataset.colors"
            )
        if self._size is None:
            self._size = image.size
        if "transparency" in image.info:
            # Else Pillow warns of a palette's.
            image = image.convert("RGBA")
        converted = image.convert(self._mode)
        if self._scales:
            return converted.resize(self._size)
        if image.size != self._size:
            raise DataError(
                f"{path}: is {_format(image.size)}, and the first image {_format(self._size)}; "
                "choose a size for all by --dataset.size"
            )
        return converted


def _find_images(folder: Path, class_names: tuple[str, ...]) -> list[tuple[str, int]]:
    """List the images with their labels."""
    # Here, because it takes a second to import.
    from torchvision.datasets.folder import IMG_EXTENSIONS, ImageFolder

    def is_image(path: str) -> bool:
        place = Path(path).relative_to(folder)
        is_hidden = any(part.startswith(".") for part in place.parts)
        return place.suffix.lower() in IMG_EXTENSIONS and not is_hidden

    class VisibleFolder(ImageFolder):  # type: ignore[misc]
        def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
            return list(class_names), {name: label for label, name in enumerate(class_names)}

    samples: list[tuple[str, int]] = VisibleFolder(
        folder, is_valid_file=is_image, allow_empty=True
    ).samples
    labels = {label for _, label in samples}
    empty = [name for label, name in enumerate(class_names) if label not in labels]
    if empty:
        raise DataError(
            f"{folder}: no images of the classes {', '.join(empty)}; expected files that end in "
            f"{', '.join(IMG_EXTENSIONS)}"
        )
    return samples


def _upright(image: "Image") -> "Image":
    """Turn an image as its camera was held, where a note that can be read says how."""
    from PIL import ImageOps

    with suppress(Exception):
        return ImageOps.exif_transpose(image)
    return image


def _format(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
