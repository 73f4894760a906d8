"""The embedded dataset `digits`: MNIST-like images drawn from the fonts matplotlib ships.

Each image is one printed digit seen through a random affine map and a smooth random distortion,
with a random stroke width, sharpness and brightness, and with noise on top. Nothing is
downloaded or read apart from the fonts, so the dataset serves where MNIST cannot be had.
"""

import math
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, interpolate

IMAGE_SIZE = 28  # pixels; MNIST's
TEMPLATE_SIZE = 64  # pixels; over twice the image's, so that enlarged strokes keep smooth edges
FONT_SIZE = 60  # pixels per em; makes digits 17 to 21 pixels tall in the image, MNIST's 20
CHUNK = 2_000  # images drawn at once; keeps the working memory near 100 MB

# Families, weights and slants that differ in shape; every file has all ten digits.
FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "cmb10",
    "cmr10",
    "cmss10",
    "cmti10",
    "cmtt10",
)

# Standard deviations of the distortions, tuned together so that a 784-200-60-10 network learns
# these digits about as fast and as well as MNIST. Lengths are in half images: 1.0 is 14 pixels.
ROTATION = 0.14  # radians, 8 degrees
SHEAR = 0.15  # slant of the upright strokes, as handwriting leans
LOG_SCALE = 0.08  # per axis, so that digits are also stretched
SHIFT = 0.035  # per axis, half a pixel: MNIST's digits are centred too
ELASTIC = 0.065  # displacement of a node, nearly a pixel; strokes wobble but stay readable
ELASTIC_NODES = 5  # per axis; fewer only bend whole digits, more make strokes ragged

# Ranges of the uniform draws that make the ink of an image.
TEMPLATE_BLUR = 2.0  # template pixels; gives strokes the slopes at which they are cut to width
CUT_LEVEL = (0.25, 0.5)  # of the template's 0..1; lower is wider, higher would break thin strokes
EDGE_WIDTH = (0.4, 1.4)  # from black to full ink, in cut levels; from 2 the background turns grey
BRIGHTNESS = (0.8, 1.0)  # with the widths above, makes the mean pixel 34; MNIST's is 33
NOISE = (0.0, 0.04)  # standard deviation, of full brightness; at most about 10 grey levels


def draw_digits(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw random digits with their labels.

    The same `count` and `seed` give the same digits as long as torch and matplotlib stay the
    same; another count draws other images. The global random state is neither read nor changed.

    Args:
        count: How many images to draw, at least 1.
        seed: Any integer that `torch.Generator.manual_seed` accepts.

    Returns:
        The images, (count, 1, 28, 28) uint8, bright on black in 0..255; and their labels,
        (count,) int64 in 0..9, drawn uniformly.

    Raises:
        ValueError: `count` is below 1.

    Example:
        >>> from ignite_threenet.data.digits import draw_digits
        >>> images, labels = draw_digits(count=8, seed=0)
        >>> images.shape, images.dtype
        (torch.Size([8, 1, 28, 28]), torch.uint8)
        >>> labels.shape, labels.dtype
        (torch.Size([8]), torch.int64)
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    generator = Generator().manual_seed(seed)
    templates = _templates()
    labels = torch.randint(10, (count,), generator=generator)
    images = [_draw_chunk(templates, chunk, generator) for chunk in torch.split(labels, CHUNK)]
    return torch.cat(images), labels


def _draw_chunk(templates: Tensor, labels: Tensor, generator: Generator) -> Tensor:
    """Draw one image for each label: (n, 1, 28, 28) uint8."""
    count = len(labels)
    fonts = torch.randint(len(templates), (count,), generator=generator)
    grid = _affine_lookup(count, generator) + _elastic_offsets(count, generator)
    glyphs = grid_sample(templates[fonts, labels], grid, align_corners=False)
    cut = _uniform(CUT_LEVEL, count, generator)
    edge = _uniform(EDGE_WIDTH, count, generator)
    ink = ((glyphs / cut - 1) / edge + 0.5).clamp(0, 1)
    noise = torch.randn(ink.shape, generator=generator) * _uniform(NOISE, count, generator)
    pixels = ink * _uniform(BRIGHTNESS, count, generator) + noise
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8)


def _affine_lookup(count: int, generator: Generator) -> Tensor:
    """Where in the template each pixel looks, randomly mapped: (count, 28, 28, 2)."""
    angle, shear, width, height, shift_x, shift_y = torch.randn(6, count, generator=generator)
    cos, sin = torch.cos(ROTATION * angle), torch.sin(ROTATION * angle)
    slant = SHEAR * shear
    scale_x, scale_y = torch.exp(LOG_SCALE * width), torch.exp(LOG_SCALE * height)
    row_x = torch.stack((scale_x * cos, scale_x * (slant * cos - sin), SHIFT * shift_x), dim=1)
    row_y = torch.stack((scale_y * sin, scale_y * (slant * sin + cos), SHIFT * shift_y), dim=1)
    maps = torch.stack((row_x, row_y), dim=1)
    return affine_grid(maps, [count, 1, IMAGE_SIZE, IMAGE_SIZE], align_corners=False)


def _elastic_offsets(count: int, generator: Generator) -> Tensor:
    """Smooth random offsets to the pixels' lookups: (count, 28, 28, 2)."""
    nodes = ELASTIC * torch.randn(count, 2, ELASTIC_NODES, ELASTIC_NODES, generator=generator)
    field = interpolate(nodes, (IMAGE_SIZE, IMAGE_SIZE), mode="bicubic", align_corners=True)
    return field.permute(0, 2, 3, 1)


def _uniform(bounds: tuple[float, float], count: int, generator: Generator) -> Tensor:
    """One draw per image, (count, 1, 1, 1) to broadcast over its pixels."""
    low, high = bounds
    return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)


def _templates() -> Tensor:
    """The blurred digits of every font: (fonts, 10, 1, 64, 64) float32 in 0..1."""
    # Imported here so that only those who draw digits pay for loading matplotlib.
    import matplotlib
    from matplotlib.ft2font import FT2Font

    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    glyphs = []
    for name in FONTS:
        font = FT2Font(str(folder / f"{name}.ttf"))
        font.set_size(FONT_SIZE, 72)  # at 72 dots per inch a point is a pixel
        for digit in "0123456789":
            font.set_text(digit)
            font.draw_glyphs_to_bitmap(antialiased=True)
            glyphs.append(_centred(torch.tensor(font.get_image()) / 255))
    return _blurred(torch.stack(glyphs)).view(len(FONTS), 10, 1, TEMPLATE_SIZE, TEMPLATE_SIZE)


def _centred(glyph: Tensor) -> Tensor:
    """Put a glyph's centre of mass at the centre of a template, as MNIST does."""
    height, width = glyph.shape
    top = round(TEMPLATE_SIZE / 2 - _centre_of_mass(glyph.sum(dim=1)))
    left = round(TEMPLATE_SIZE / 2 - _centre_of_mass(glyph.sum(dim=0)))
    template = torch.zeros(1, TEMPLATE_SIZE, TEMPLATE_SIZE)
    template[0, top : top + height, left : left + width] = glyph
    return template


def _centre_of_mass(profile: Tensor) -> float:
    """Where along a (n,) profile its mass balances, in pixels from its start."""
    middles = torch.arange(len(profile)) + 0.5
    return float(profile @ middles / profile.sum())


def _blurred(templates: Tensor) -> Tensor:
    """Blur (n, 1, 64, 64) templates with a Gaussian, one axis after the other."""
    radius = math.ceil(3 * TEMPLATE_BLUR)
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.softmax(-(offsets**2) / (2 * TEMPLATE_BLUR**2), dim=0)
    across = conv2d(templates, kernel.view(1, 1, 1, -1), padding=(0, radius))
    return conv2d(across, kernel.view(1, 1, -1, 1), padding=(radius, 0))
