"""Distorts the images of the training, anew in each iteration."""

import math
from typing import Any, NamedTuple

import torch
from ignite.engine import Engine, Events
from torch import Tensor
from torch.nn.functional import grid_sample

from ignite_threenet import ConfigError, Plugin, Run, option

# Waves of the random field that are weaker than this share of the strongest one are left out.
_FAINT = 1e-2


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
        self._fields: dict[tuple[int, int, torch.device], Tensor] = {}
        run.trainer.add_event_handler(Events.ITERATION_STARTED, self.distort)

    def distort(self, trainer: Engine) -> None:
        """Replace the images of the batch, before the trainer takes its step with them."""
        state: Any = trainer.state
        images, labels = state.batch
        height, width = _size_of(images)
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


def _size_of(images: Tensor) -> _Size:
    if images.ndim == 4:
        return _Size(*images.shape[2:])
    side = math.isqrt(images.shape[-1]) if images.ndim == 2 else 0
    if side == 0 or side**2 != images.shape[1]:
        raise ConfigError(
            f"augment: the batch is {tuple(images.shape)}; expected (N, C, H, W), or (N, pixels) "
            "of a square image"
        )
    return _Size(side, side)
