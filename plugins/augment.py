"""Distorts the images of the training, anew in each iteration."""

import logging
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from ignite.engine import Engine, Events
from torch import Tensor
from torch.nn.functional import grid_sample

from ignite_threenet import BatchLoader, ConfigError, Plugin, Run, option

logger = logging.getLogger("ignite_threenet.augment")

# Waves of the random field that are weaker than this share of the strongest one are left out.
_FAINT = 1e-2
# Of an image that comes as a row of its pixels: fewer numbers are rather those of a table.
_LEAST_SIDE = 16


class Augment(Plugin):
    """Distort each training image: affine and elastic, anew each time that it is seen."""

    changes_training = True
    rotation: float = option(8.0, help="largest angle in degrees, to both sides", min=0, max=180)
    scale: float = option(
        0.1, help="largest change of width and of height, each by a factor e^±scale", min=0, max=2
    )
    shear: float = option(0.1, help="largest slant, as a tangent, to both sides", min=0, max=2)
    shift: float = option(1.0, help="largest shift in pixels, in each direction", min=0)
    elastic: float = option(
        1.0, help="root mean square of the elastic displacement in pixels, in each direction", min=0
    )
    smoothness: float = option(
        5.0, help="deviation in pixels of the Gaussian that smooths the elastic field", min=1
    )
    begin: float = option(1.0, help="factor of all of these as training begins", min=0)
    end: float = option(
        1.0, help="factor of all of these as training ends; in between it moves in a line", min=0
    )

    def attach(self, run: Run) -> None:
        _check(run.loaders["train"])
        self._fields: dict[tuple[int, int, torch.device], Tensor] = {}
        run.trainer.add_event_handler(Events.ITERATION_STARTED, self.distort)

    def distort(self, trainer: Engine) -> None:
        """Replace the images of the batch, before the trainer takes its step with them."""
        state: Any = trainer.state
        images, labels = state.batch
        height, width = _size_of(images.shape)
        with torch.no_grad():
            strength = self.begin + (self.end - self.begin) * _progress(trainer)
            grid = self._draw_grid(len(images), height, width, images.device, strength)
            pictures = images.reshape(len(images), -1, height, width)
            distorted = grid_sample(
                pictures, grid.to(images.dtype), padding_mode="border", align_corners=False
            )
        state.batch = (distorted.reshape(images.shape), labels)

    def _draw_grid(
        self, count: int, height: int, width: int, device: torch.device, strength: float
    ) -> Tensor:
        """Draw where each pixel comes from: (count, height, width, 2), as grid_sample wants it.

        The place is linear in random numbers: a constant, the pixel's own x and y, and the waves
        of the elastic field, each times its coefficient. So one product of matrices gives all.
        """
        key = (height, width, device)
        if key not in self._fields:
            self._fields[key] = self._make_fields(height, width).to(device)
        fields = self._fields[key]
        affine = self._draw_affine(count, height, width, strength)
        waves = torch.randn(count, 2, len(fields) - 3) * strength
        coefficients = torch.cat([affine, waves], dim=2)
        places = coefficients.to(device).reshape(2 * count, -1) @ fields
        return places.reshape(count, 2, height, width).permute(0, 2, 3, 1)

    def _draw_affine(self, count: int, height: int, width: int, strength: float) -> Tensor:
        """Draw the coefficients of a constant, of x and of y: (count, 2, 3)."""

        def uniform(limit: float) -> Tensor:
            return (2 * torch.rand(count) - 1) * (limit * strength)

        angle = uniform(math.radians(self.rotation))
        cos, sin, slant = angle.cos(), angle.sin(), uniform(self.shear)
        across, along = uniform(self.scale).exp(), uniform(self.scale).exp()
        right, down = uniform(2 * self.shift / width), uniform(2 * self.shift / height)
        of_x = torch.stack([right, across * cos, across * (slant * cos - sin)], dim=1)
        of_y = torch.stack([down, along * sin, along * (slant * sin + cos)], dim=1)
        return torch.stack([of_x, of_y], dim=1)

    def _make_fields(self, height: int, width: int) -> Tensor:
        """Compute what the coefficients multiply: (3 + waves, height * width).

        Source:
            Simard, Steinkraus and Platt, "Best Practices for Convolutional Neural Networks Applied
            to Visual Document Analysis" (2003): white noise smoothed by a Gaussian. Smoothing is
            linear, so its singular vectors give the same field from far fewer random numbers.
        """
        y, x = torch.meshgrid(_centres(height), _centres(width), indexing="ij")
        affine = torch.stack([torch.ones_like(x), x, y]).flatten(start_dim=1)
        if self.elastic == 0:
            return affine
        rows, columns = self._waves(height), self._waves(width)
        waves = torch.einsum("yi,xj->ijyx", rows, columns).reshape(-1, height * width)
        mean_square = waves.square().sum(dim=0).mean()
        # grid_sample's unit is half of the image's width or height.
        unit = 2 / math.sqrt(height * width)
        return torch.cat([affine, waves * (self.elastic * unit / mean_square.sqrt())])

    def _waves(self, size: int) -> Tensor:
        """Give the waves, one a column, that smoothing leaves of noise: (size, waves)."""
        place = torch.arange(size, dtype=torch.float32)
        distance = place[:, None] - place
        smoothing = torch.exp(-distance.square() / (2 * self.smoothness**2))
        vectors, strengths, _ = torch.linalg.svd(smoothing)
        waves: Tensor = vectors * strengths
        return waves[:, strengths > _FAINT * strengths[0]]


def _progress(trainer: Engine) -> float:
    """Give the share of the training that is done."""
    length, epochs = trainer.state.epoch_length, trainer.state.max_epochs
    # The length of a loader that does not tell it is known once it has ended.
    return (trainer.state.iteration - 1) / (length * epochs) if length and epochs else 0.0


def _centres(size: int) -> Tensor:
    """Give the pixels' centres from -1 to 1, the borders of the image."""
    return (2 * torch.arange(size) + 1) / size - 1


class _Size(NamedTuple):
    height: int
    width: int


def _check(loader: object) -> None:
    """Refuse samples that are no images, as far as a loader tells before it is read."""
    if isinstance(loader, BatchLoader):
        size = _size_of((len(loader), *loader.sample_shape))
        if len(loader.sample_shape) == 1:
            rows = loader.sample_shape[0]
            logger.warning("augment: rows of %d numbers are taken for images of %dx%d", rows, *size)
    elif isinstance(loader, list | tuple) and loader:
        _size_of(loader[0][0].shape)


def _size_of(shape: Sequence[int]) -> _Size:
    size = _Size(0, 0)
    if len(shape) == 4:
        size = _Size(*shape[2:])
    elif len(shape) == 2 and math.isqrt(shape[1]) >= _LEAST_SIDE:
        side = math.isqrt(shape[1])
        size = _Size(side, side) if side**2 == shape[1] else size
    if min(size) < 2:
        raise ConfigError(
            f"augment: the samples are {tuple(shape[1:])}; expected images, (C, H, W), or "
            f"(pixels,) of a square one of {_LEAST_SIDE}x{_LEAST_SIDE} or more"
        )
    return size
