"""Images of files as one tensor."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, describe_error
from .image_files import show
from .progress import Progress

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")

_MODES = {"grey": "L", "rgb": "RGB"}
_MOST_THREADS = 16
# Files that a thread takes at once.
_CHUNK = 16
_MOST_NAMED = 5
_WHITE, _BLACK = 255, 0


class _Seen(NamedTuple):
    """What the header of an image says."""

    is_grey: bool
    frames: int


class _Pixels(NamedTuple):
    """What an image holds, (channels, height, width), and what it was laid on, if on anything."""

    values: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"
    ground: str


class _OtherSizeError(Exception):
    """An image has not the size of the others."""


@dataclass
class ImageReader:
    """Reads images as tensors of one size and kind.

    Args:
        name: what messages call the images together.
        formats: Pillow's names of the formats that are read; whatever a file is called, no other
            decoder sees it.
        size: the side in pixels that images are scaled to; None for that of the first one.
        colors: ``grey``, ``rgb``, or ``auto``, which is grey if all are.

    Attributes:
        mode: ``L`` or ``RGB``, once they have been read.
        further_frames: frames of animated images, or pages, that were not read.
        laid_on: how many images with transparency were laid on ``white`` and on ``black``.
    """

    name: str
    formats: tuple[str, ...]
    size: int | None = None
    colors: str = "auto"
    mode: str = field(default="", init=False)
    further_frames: int = field(default=0, init=False)
    laid_on: "Counter[str]" = field(default_factory=Counter, init=False)

    def read(self, paths: Sequence[Path], first: Path) -> Tensor:
        """Read images.

        Args:
            paths: the files.
            first: the one whose size all must have, if none was chosen.

        Returns:
            uint8, (N, channels, height, width).

        Raises:
            DataError: some cannot be read, or are of another size.
        """
        with _no_bombs():
            broken = self._look(paths)
            size = self._size(first, broken)
            whole = [path for path in paths if path not in broken]
            images = self._decode(whole, size, first, broken)
        if broken:
            raise _refuse_all(self.name, broken)
        return images

    def _look(self, paths: Sequence[Path]) -> dict[Path, str]:
        """Choose the mode by the headers; give what is wrong with the files of which some is."""
        broken = {}
        is_grey = True
        for path, seen in _each(self._seen, paths, f"{self.name}: looking at"):
            if isinstance(seen, Exception):
                broken[path] = _problem(seen)
            else:
                is_grey &= seen.is_grey
                self.further_frames += seen.frames - 1
        self.mode = _MODES.get(self.colors, "L" if is_grey else "RGB")
        return broken

    def _seen(self, path: Path) -> _Seen:
        with self._open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise DataError("has more than 8 bits a pixel; expected 8")
            if _has_deep_channels(image):
                raise DataError("has more than 8 bits a channel; expected 8")
            # Which is of no interest, where the choice is made.
            is_grey = self.colors != "auto" or _is_grey(image)
            return _Seen(is_grey, _count_frames(image))

    def _size(self, first: Path, broken: dict[Path, str]) -> tuple[int, int] | None:
        """Give the size of all images; None if that of the first one cannot be told."""
        if self.size is not None:
            return self.size, self.size
        if first in broken:
            return None
        try:
            with self._open(first) as image:
                image.load()
                return _upright(image).size
        except Exception as error:  # Pillow's many decoders raise whatever comes
            broken[first] = _problem(error)
            return None

    def _decode(
        self,
        paths: Sequence[Path],
        size: tuple[int, int] | None,
        first: Path,
        broken: dict[Path, str],
    ) -> Tensor:
        """Read the files into one tensor; note those that are broken."""
        width, height = size if size is not None else (0, 0)
        # If some are broken, the others are only tried out.
        count = 0 if broken or size is None else len(paths)
        images = torch.empty(count, len(self.mode), height, width, dtype=torch.uint8)
        rows = images.numpy()
        others: dict[Path, str] = {}
        results = _each(lambda path: self._pixels(path, size), paths, f"{self.name}: reading")
        for position, (path, pixels) in enumerate(results):
            if isinstance(pixels, _OtherSizeError):
                others[path] = str(pixels)
            elif isinstance(pixels, Exception):
                broken[path] = _problem(pixels)
            else:
                if pixels.ground:
                    self.laid_on[pixels.ground] += 1
                if count:
                    rows[position] = pixels.values
        if others and not broken and size is not None:
            raise _refuse_sizes(others, size)
        return images

    def _pixels(self, path: Path, size: tuple[int, int] | None) -> _Pixels:
        with self._open(path) as image:
            image.load()
            opaque, ground = _on_ground(_upright(image))
            converted = opaque if opaque.mode == self.mode else opaque.convert(self.mode)
        if self.size is not None:
            converted = converted.resize((self.size, self.size))
        if size is not None and converted.size != size:
            raise _OtherSizeError(_format(converted.size))
        values = np.asarray(converted)
        values = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
        return _Pixels(values, ground)

    def _open(self, path: Path) -> "Image":
        from PIL import Image

        return Image.open(path, formats=self.formats)


def _each(
    function: Callable[[Path], T], paths: Sequence[Path], what: str
) -> Iterator[tuple[Path, T | Exception]]:
    """Call a function with each path, in several threads; give what it gives, or raises, in order.

    Pillow's decoders let the other threads run.
    """

    def call(path: Path) -> T | Exception:
        try:
            return function(path)
        except Exception as error:
            return error

    def call_all(chunk: Sequence[Path]) -> list[T | Exception]:
        return [call(path) for path in chunk]

    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    pool = ThreadPoolExecutor(min(_MOST_THREADS, _count_cores()))
    try:
        with Progress(what, len(paths), "image") as progress:
            for chunk, results in zip(chunks, pool.map(call_all, chunks), strict=True):
                progress.advance(len(chunk))
                yield from zip(chunk, results, strict=True)
    finally:
        pool.shutdown(cancel_futures=True)


def _count_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _no_bombs() -> Iterator[None]:
    """Refuse images of more pixels than Pillow warns of, which are few bytes and fill memory."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _is_grey(image: "Image") -> bool:
    if image.mode not in ("P", "PA"):
        return image.mode in ("1", "L", "LA")
    image.load()
    palette = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _has_deep_channels(image: "Image") -> bool:
    """Tell whether the file has more bits a channel than Pillow would read."""
    for decoder, _, _, given in getattr(image, "tile", ()):
        arguments = given if isinstance(given, tuple) else (given,)
        if image.format == "PPM":
            # The second one is the value of white.
            return decoder.startswith("ppm") and any(
                isinstance(each, int) and each > 255 for each in arguments[1:2]
            )
        if image.format in ("PNG", "TIFF"):
            return any(isinstance(each, str) and ";16" in each for each in arguments)
    return False


def _count_frames(image: "Image") -> int:
    with suppress(Exception):  # the first one is read, if the others are damaged
        return int(getattr(image, "n_frames", 1))
    return 1


def _upright(image: "Image") -> "Image":
    """Turn an image as its camera was held, where a note that can be read says how."""
    from PIL import ImageOps

    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _on_ground(image: "Image") -> tuple["Image", str]:
    """Lay an image with transparency on white, or on black if its ink is nearer to white.

    The ink is the mean luminance of its pixels, each as much as it is opaque.

    Returns:
        The opaque image, and the name of the ground; "" if the image was opaque already.
    """
    from PIL import Image

    if not _has_transparency(image):
        return image, ""
    # A palette's transparency too.
    layer = image.convert("RGBA")
    alpha = layer.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return layer.convert("RGB"), ""
    opacity = np.asarray(alpha, dtype=np.float64)
    luminance = np.asarray(layer.convert("L"), dtype=np.float64)
    is_light = (luminance * opacity).sum() > 127.5 * opacity.sum()
    level = _BLACK if is_light else _WHITE
    ground = Image.new("RGBA", layer.size, (level, level, level, 255))
    return Image.alpha_composite(ground, layer).convert("RGB"), "black" if is_light else "white"


def _has_transparency(image: "Image") -> bool:
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return True
    return image.mode == "P" and image.palette is not None and image.palette.mode.endswith("A")


def _problem(error: Exception) -> str:
    if isinstance(error, DataError):
        return str(error)
    return f"cannot be read as an image: {show(describe_error(error))}"


def _refuse_all(name: str, broken: dict[Path, str]) -> DataError:
    told = [f"{show(path)}: {broken[path]}" for path in sorted(broken)[:_MOST_NAMED]]
    if len(broken) == 1:
        return DataError(told[0])
    rest = [f"and {len(broken) - len(told)} more"] if len(broken) > len(told) else []
    return DataError(f"{name}: {len(broken)} images cannot be used: {'; '.join([*told, *rest])}")


def _refuse_sizes(others: dict[Path, str], size: tuple[int, int]) -> DataError:
    path = min(others)
    more = f" ({len(others)} images are not of its size)" if len(others) > 1 else ""
    return DataError(
        f"{show(path)}: is {others[path]}, and the first image {_format(size)}{more}; "
        "choose a size for all by --dataset.size"
    )


def _format(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
