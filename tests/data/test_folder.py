"""Tests of folders of images as datasets."""

import io
import json
import logging
import os
import socket
import struct
import sys
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeConfig
from PIL import Image, features
from PIL.Image import Exif
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from ignite_threenet import DataError, Dataset, OptionError, Run, Split, UnknownNameError, load_data
from ignite_threenet.data.dataset import permutation
from ignite_threenet.data.folder import ImageFolderSource, draw_held_out
from ignite_threenet.data.source import choose_dataset

PETS = Path("pets")

ORIENTATION = 0x0112


def picture(mode: str = "RGB", size: tuple[int, int] = (6, 4), seed: int = 0) -> Image.Image:
    """Make an image of random pixels, with as many channels as the mode has."""
    pixels = np.random.default_rng(seed).integers(256, size=(size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def save(path: str | Path, image: Image.Image | None = None) -> Path:
    """Save an image below pets/, as a new one where none is given."""
    target = PETS / path
    target.parent.mkdir(parents=True, exist_ok=True)
    (picture("L") if image is None else image).save(target)
    return target


def fill(*classes: str, count: int = 2, mode: str = "L") -> None:
    """Save images, no two alike, of each class."""
    for position, name in enumerate(classes):
        for number in range(count):
            save(f"{name}/{number}.png", picture(mode, seed=position * count + number))


def load(**options: Any) -> Dataset:
    """Load what was saved; without a test, where nobody asks for one."""
    return load_data("pets", **({"test_share": 0} | options))


def load_train(**options: object) -> Split:
    return load(**options).splits["train"]


def only_image(image: Image.Image, name: str = "1.png", **options: object) -> Tensor:
    """Give what an image becomes."""
    save(Path("cat", name), image)
    save(Path("dog", name), image)
    return load_train(**options).images[0]


def write(path: str | Path, content: bytes) -> Path:
    target = PETS / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target


def refusal(**options: object) -> str:
    with pytest.raises(DataError) as raised:
        load(**options)
    return str(raised.value)


def png_of_16_bits(color_type: int, channels: int) -> bytes:
    """Make a PNG of 2x1 pixels that Pillow itself writes none of."""

    def chunk(name: bytes, content: bytes) -> bytes:
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 2, 1, 16, color_type, 0, 0, 0)
    pixels = zlib.compress(bytes(1 + 2 * 2 * channels))
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def read_by_pil(name: str, mode: str = "RGB") -> Tensor:
    """Read an image of a cat."""
    with Image.open(PETS / "cat" / name) as image:
        return torch.stack([pil_to_tensor(image.convert(mode))])[0]


def pixels_of(images: Sequence[Image.Image]) -> Tensor:
    return torch.stack([pil_to_tensor(image) for image in images])


# Classes


def test_each_sub_folder_is_a_class_in_the_order_of_their_names() -> None:
    fill("dog", "Cat", "10", "9", count=1)

    dataset = load()

    assert dataset.class_names == ("10", "9", "Cat", "dog")
    assert dataset.splits["train"].labels.tolist() == [0, 1, 2, 3]


def test_the_images_of_a_class_have_its_label_and_come_by_their_names() -> None:
    fill("cat", "dog", count=3)

    split = load_train()

    paths = [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(3)]
    assert split.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(split.images, pixels_of([Image.open(PETS / path) for path in paths]))


@pytest.mark.parametrize("word", ["pets", "./pets", "pets/", "{absolute}", "other/../pets"])
def test_the_dataset_has_the_name_of_the_folder(word: str) -> None:
    fill("cat", "dog")
    Path("other").mkdir()

    assert load_data(word.format(absolute=PETS.absolute())).name == "pets"


def test_the_folder_that_one_stands_in_has_its_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    fill("cat", "dog")
    monkeypatch.chdir(PETS)

    assert load_data(".").name == "pets"


def test_the_digests_are_those_of_the_images() -> None:
    fill("cat", "dog", count=1)
    before = load().sha256
    save("dog/0.png", picture("L", seed=99))

    after = load().sha256

    assert list(before) == list(after) == ["train.images", "train.labels"]
    assert before["train.images"] != after["train.images"]
    assert before["train.labels"] == after["train.labels"]


def test_images_in_folders_within_a_class_belong_to_it() -> None:
    fill("cat/tabby", "cat/black", "dog")

    assert load().class_names == ("cat", "dog")
    assert load_train().labels.tolist() == [0, 0, 0, 0, 1, 1]


def test_a_class_may_be_a_link_to_a_folder() -> None:
    fill("cat", "dog")
    (PETS / "cat").rename("elsewhere")
    (PETS / "cat").symlink_to(Path("elsewhere").absolute())

    assert load_train().labels.tolist() == [0, 0, 1, 1]


def test_files_beside_the_classes_and_files_that_are_no_images_are_passed_over() -> None:
    fill("cat", "dog")
    for name in ("README.md", "cover.png", "cat/notes.txt", "dog/labels.csv", "dog/Thumbs.db"):
        write(name, b"no image")

    assert load_train().labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("hidden", [".git", ".ipynb_checkpoints", ".thumbnails"])
def test_a_hidden_folder_is_no_class(hidden: str) -> None:
    fill("cat", "dog", hidden)

    assert load().class_names == ("cat", "dog")


def test_an_empty_hidden_folder_is_passed_over() -> None:
    fill("cat", "dog")
    (PETS / ".ipynb_checkpoints").mkdir()

    assert load().class_names == ("cat", "dog")


def test_hidden_folders_within_a_class_are_passed_over() -> None:
    fill("cat", "dog")
    save("cat/.ipynb_checkpoints/0-checkpoint.png")

    assert load_train().labels.tolist() == [0, 0, 1, 1]


def test_hidden_files_are_passed_over() -> None:
    fill("cat", "dog")
    write("cat/._0.png", b"what macOS leaves beside a file")

    assert load_train().labels.tolist() == [0, 0, 1, 1]


def test_a_folder_within_a_hidden_one_is_read_all_the_same() -> None:
    fill("cat", "dog")
    Path(".cache").mkdir()
    PETS.rename(".cache/pets")

    assert load_data(".cache/pets", test_share=0).class_names == ("cat", "dog")


def test_a_folder_without_sub_folders_is_refused() -> None:
    save("1.png")

    assert refusal() == "pets: has no sub-folder; expected one for each class, with its images"


@pytest.mark.parametrize("empty", ["bird", "v1.5"])
def test_a_class_without_images_is_refused_by_its_whole_name(empty: str) -> None:
    fill("cat", "dog")
    (PETS / empty).mkdir()

    assert refusal().startswith(f"pets: no images of the classes {empty}; expected files that end ")


def test_images_of_a_kind_that_is_not_read_are_refused_with_those_that_are() -> None:
    save("cat/1.tga")
    save("dog/1.tga")

    problem = refusal()

    assert problem.startswith(
        "pets: no images of the classes cat, dog; expected files that end in "
    )
    assert ".png" in problem
    assert problem.endswith("; left out: 2 of a format that is not read (.tga)")


def test_a_single_class_is_refused() -> None:
    fill("cat")

    assert refusal() == "dataset 'pets' has a single class; there is nothing to tell apart"


# What is left out


def notes_and_lines(
    caplog: pytest.LogCaptureFixture, **options: Any
) -> tuple[dict[str, Any], list[str]]:
    """Load what was saved; give what is noted of it, and the lines of the log."""
    with caplog.at_level(logging.INFO, "ignite_threenet"):
        dataset = load(**options)
    return dict(dataset.notes), caplog.messages


def leave_a_pipe(path: Path) -> None:
    os.mkfifo(path)


def leave_a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def leave_a_folder(path: Path) -> None:
    path.mkdir()


def leave_a_circle(path: Path) -> None:
    path.symlink_to(path.parent.absolute())


LEFT_OUT: dict[str, tuple[str, Callable[[Path], object]]] = {
    ".hidden.png": ("hidden", Path.touch),
    "._1.png": ("hidden", Path.touch),
    ".DS_Store": ("hidden", Path.touch),
    "Thumbs.db": ("of the operating system", Path.touch),
    "__MACOSX": ("of the operating system", leave_a_folder),
    "notes.txt": ("no image (.txt)", Path.touch),
    "LICENSE": ("no image (without a suffix)", Path.touch),
    "drawing.svg": ("of a format that is not read (.svg)", Path.touch),
    "phone.HEIC": ("of a format that is not read (.heic)", Path.touch),
    "pipe.png": ("no regular file", leave_a_pipe),
    "socket.png": ("no regular file", leave_a_socket),
    "folder.png": ("folder named like an image", leave_a_folder),
    "circle": ("link to a folder around it", leave_a_circle),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_is_counted_and_said_with_the_reason(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    fill("cat", "dog")
    reason, leave = LEFT_OUT[name]
    leave(PETS / "dog" / name)

    notes, lines = notes_and_lines(caplog)

    assert notes["left_out"] == {reason: 1}
    assert notes["images"] == {"train": {"cat": 2, "dog": 2}}
    assert lines[-1] == f"pets: left out: 1 {reason}"


def test_what_is_left_out_beside_the_classes_is_counted_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fill("train/cat", "train/dog", "test/cat", "test/dog", "__MACOSX/cat")
    for name in ("README.md", "train/cover.png", ".DS_Store"):
        write(name, b"")

    notes, lines = notes_and_lines(caplog)

    assert notes["left_out"] == {
        "beside the folders of classes": 2,
        "hidden": 1,
        "of the operating system": 2,
    }
    assert lines == [
        "pets: 8 images, grey, 6x4, of 2 classes: cat, dog",
        "pets: train: 4 images: cat 2, dog 2",
        "pets: test: 4 images: cat 2, dog 2",
        "pets: left out: 2 beside the folders of classes, 1 hidden, 2 of the operating system",
    ]


def test_the_manifest_of_a_run_has_what_was_used_and_left_out(make_config: MakeConfig) -> None:
    fill("cat", "dog", count=5)
    write("cat/notes.txt", b"")
    run = Run(make_config(dataset="./pets", epochs=1))

    run.train()

    manifest = json.loads((run.directory / "manifest.json").read_text())
    assert manifest["dataset"]["notes"] == {
        "images": {"train": {"cat": 4, "dog": 4}, "test": {"cat": 1, "dog": 1}},
        "colors": "grey",
        "left_out": {"no image (.txt)": 1},
        "further_frames": 0,
        "transparent": {},
    }


def test_of_many_classes_the_log_tells_the_range(caplog: pytest.LogCaptureFixture) -> None:
    fill(*(f"c{number:02}" for number in range(14)), count=1)
    save("c00/more.png")

    notes, lines = notes_and_lines(caplog)

    assert lines == [
        "pets: 15 images, grey, 6x4, of 14 classes: c00, c01, c02, c03, c04, c05, c06, c07, c08, "
        "c09, c10, c11 and 2 more",
        "pets: train: 15 images: 1 to 2 a class",
    ]
    assert notes["images"]["train"]["c13"] == 1


def test_names_are_shown_without_control_characters(caplog: pytest.LogCaptureFixture) -> None:
    fill("a\nb", "dog", count=1)

    _, lines = notes_and_lines(caplog)

    assert lines[-1] == "pets: train: 2 images: a\\nb 1, dog 1"


def test_a_folder_that_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fill("cat", "dog", "dog/more")
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "more":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)

    assert refusal() == "pets/dog/more: Permission denied"


# Pixels


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("RGB", 3), ("RGBA", 3), ("P", 3)]
)
def test_images_of_one_mode_are_grey_or_colored_as_they_all_are(mode: str, channels: int) -> None:
    image = picture(mode)

    pixels = only_image(image)

    assert pixels.dtype == torch.uint8
    assert torch.equal(pixels, pil_to_tensor(image.convert("L" if channels == 1 else "RGB")))


@pytest.mark.parametrize(("colors", "mode"), [("grey", "L"), ("rgb", "RGB")])
@pytest.mark.parametrize("first", ["L", "RGB"])
def test_images_are_grey_or_colored_as_one_asks(colors: str, mode: str, first: str) -> None:
    image = picture(first)

    assert torch.equal(only_image(image, colors=colors), pil_to_tensor(image.convert(mode)))


@pytest.mark.parametrize("modes", [("RGB", "L"), ("L", "RGB"), ("1", "P"), ("LA", "CMYK")])
def test_all_images_have_three_channels_if_one_has_colors(modes: tuple[str, str]) -> None:
    images = [picture(mode, seed=seed) for seed, mode in enumerate(modes)]
    for name, image in zip(("cat", "dog"), images, strict=True):
        save(f"{name}/1.{'jpg' if image.mode == 'CMYK' else 'png'}", image)

    train = load_train().images

    read = [Image.open(path).convert("RGB") for path in sorted(PETS.rglob("1.*"))]
    assert torch.equal(train, pixels_of(read))


def test_colors_in_the_test_alone_make_all_images_colored() -> None:
    fill("train/cat", "train/dog", mode="L")
    fill("test/cat", "test/dog", mode="RGB")

    assert {split.images.shape[1] for split in load().splits.values()} == {3}


@pytest.mark.parametrize(
    ("palette", "channels"), [([0, 0, 0, 90, 90, 90], 1), ([0, 0, 0, 90, 90, 91], 3)]
)
@pytest.mark.parametrize("name", ["1.png", "1.gif", "1.bmp", "1.tif"])
def test_a_palette_of_greys_is_grey(palette: list[int], channels: int, name: str) -> None:
    image = Image.new("P", (6, 4), 1)
    image.putpalette(palette)

    assert only_image(image, name)[:, 0, 0].tolist() == palette[3:][:channels]


@pytest.mark.parametrize(("colors", "mode"), [("grey", "L"), ("rgb", "RGB")])
def test_grey_and_colored_images_become_what_one_chose(colors: str, mode: str) -> None:
    images = [picture("L"), picture("RGB", seed=1)]
    for name, image in zip(("cat", "dog"), images, strict=True):
        save(f"{name}/1.png", image)

    assert torch.equal(
        load_train(colors=colors).images, pixels_of([image.convert(mode) for image in images])
    )


@pytest.mark.parametrize(
    "name",
    [
        *("1.png", "1.PNG", "1.apng", "1.jpg", "1.JPEG", "1.Jpg", "1.jpe", "1.jfif", "1.bmp"),
        *("1.ppm", "1.pgm", "1.pbm", "1.pnm", "1.tif", "1.tiff", "1.gif"),
    ],
)
def test_images_have_the_pixels_that_pil_reads(name: str) -> None:
    mode = {"1.pgm": "L", "1.pbm": "1"}.get(name, "RGB")
    read = only_image(picture(mode), name)

    assert torch.equal(read, read_by_pil(name, "RGB" if mode == "RGB" else "L"))


@pytest.mark.parametrize("kind", ["webp", "avif"])
def test_formats_that_pil_may_be_without_are_read_if_it_has_them(kind: str) -> None:
    if kind not in features.get_supported_modules():
        pytest.skip(f"this PIL was built without {kind}")
    read = only_image(picture(), f"1.{kind}")

    assert torch.equal(read, pil_to_tensor(Image.open(PETS / "cat" / f"1.{kind}")))


@pytest.mark.parametrize("kind", ["webp", "avif"])
def test_a_format_that_pil_is_without_is_left_out(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(features, "get_supported_modules", lambda: ["pil"])
    fill("cat", "dog")
    write(f"dog/1.{kind}", b"")

    notes, _ = notes_and_lines(caplog)

    assert notes["left_out"] == {f"of a format that is not read (.{kind})": 1}


def test_what_is_called_an_image_reaches_no_other_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    fill("cat", "dog")
    path = write(
        "dog/9.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\n%%EndComments\nshowpage\n"
    )
    with Image.open(path) as image:
        assert image.format == "EPS"
    monkeypatch.setattr(
        "PIL.EpsImagePlugin.Ghostscript", lambda *given: pytest.fail("it was drawn")
    )

    assert refusal().startswith(f"{path}: cannot be read as an image: UnidentifiedImageError: ")


def test_an_image_may_have_the_suffix_of_another_format() -> None:
    fill("cat", "dog", count=1)
    image = picture("L", seed=3)
    image.save(PETS / "cat" / "0.png", format="BMP")

    assert torch.equal(load_train().images[0], pil_to_tensor(image))


def test_images_for_print_become_red_green_and_blue() -> None:
    read = only_image(picture("CMYK"), "1.jpg")

    assert torch.equal(read, pil_to_tensor(Image.open(PETS / "cat" / "1.jpg").convert("RGB")))


# Transparency


def ink(color: tuple[int, ...], opacity: int = 255) -> Image.Image:
    """Draw a spot on transparent ground, which is black below."""
    image = Image.new("RGBA", (6, 4), (0, 0, 0, 0))
    image.paste((*color, opacity), (2, 1, 4, 3))
    return image


def as_palette(image: Image.Image) -> Image.Image:
    """Give the same with a palette of which one entry is transparent."""
    flat = Image.new("P", image.size, 0)
    flat.paste(1, (2, 1, 4, 3))
    flat.putpalette([0, 0, 0, *image.getpixel((2, 1))[:3]])  # type: ignore[index]
    flat.info["transparency"] = 0
    return flat


MAKERS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "RGBA": lambda image: image,
    "LA": lambda image: image.convert("LA"),
    "P": as_palette,
    "P of many opacities": lambda image: image.quantize(8),
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(
    ("level", "ground"), [(0, 255), (90, 255), (127, 255), (128, 0), (200, 0), (255, 0)]
)
def test_ink_on_transparent_ground_lies_on_white_or_if_it_is_light_on_black(
    kind: str, level: int, ground: int
) -> None:
    read = only_image(MAKERS[kind](ink((level, level, level))), colors="grey")[0]

    assert read[0, 0].item() == ground
    assert read[1, 2].item() == level


@pytest.mark.parametrize("name", ["1.png", "1.webp", "1.tif", "1.gif"])
def test_the_ground_is_the_same_in_all_formats(name: str) -> None:
    if not features.check("webp"):
        pytest.skip("this PIL was built without WebP")
    image = ink((200, 0, 0))
    read = only_image(as_palette(image) if name.endswith("gif") else image, name)

    assert read[:, 0, 0].tolist() == [255, 255, 255]


def test_ink_counts_as_much_as_it_is_opaque() -> None:
    image = ink((10, 10, 10), opacity=255)
    image.paste((255, 255, 255, 9), (0, 0, 6, 1))

    assert only_image(image, colors="grey")[0, 3, 0].item() == 255


def test_half_transparent_ink_is_mixed_with_the_ground() -> None:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, 200, 10, 30])
    image.info["transparency"] = b"\x80\x40"

    read = only_image(image)[:, 0, 0].tolist()

    share = 0x40 / 255
    expected = [share * level + (1 - share) * 255 for level in (200, 10, 30)]
    assert read == pytest.approx(expected, abs=1)


def test_an_image_of_nothing_is_white() -> None:
    assert only_image(Image.new("RGBA", (6, 4), (0, 0, 0, 0))).amin().item() == 255


def test_how_many_images_were_laid_on_a_ground_is_said(caplog: pytest.LogCaptureFixture) -> None:
    for name, level in (("cat", 0), ("dog", 255)):
        save(f"{name}/1.png", ink((level, level, level)))
        save(f"{name}/2.png", picture("RGBA"))

    notes, lines = notes_and_lines(caplog)

    assert notes["transparent"] == {"black": 1, "white": 1}
    assert "pets: transparent images laid on a ground: 1 black, 1 white" in lines


# Animations


@pytest.mark.parametrize("name", ["0.png", "0.gif", "0.tif", "0.webp"])
def test_the_first_frame_stands_for_an_animation_and_the_others_are_counted(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    if not features.check("webp"):
        pytest.skip("this PIL was built without WebP")
    frames = [picture(seed=seed) for seed in range(3)]
    for each in ("cat", "dog"):
        target = PETS / each / name
        target.parent.mkdir(parents=True)
        frames[0].save(target, save_all=True, append_images=frames[1:], lossless=True)

    notes, lines = notes_and_lines(caplog)

    assert torch.equal(load_train().images[0], read_by_pil(name))
    assert notes["further_frames"] == 4
    assert "pets: left out: 4 further frames of animated images" in lines


# Cameras


def read_with_notes(notes: Exif | bytes) -> Tensor:
    """Give what an image becomes that has notes of its camera."""
    fill("cat", "dog", count=1)
    for name in ("cat", "dog"):
        picture().save(PETS / name / "0.png", exif=notes)
    return load_train().images[0]


@pytest.mark.parametrize(
    ("orientation", "transposition"),
    [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_270)],
)
def test_an_image_lies_as_its_camera_was_held(
    orientation: int, transposition: Image.Transpose
) -> None:
    notes = Exif()
    notes[ORIENTATION] = orientation

    upright = picture().transpose(transposition)

    assert torch.equal(read_with_notes(notes), pil_to_tensor(upright))


def test_an_image_is_read_although_the_notes_of_its_camera_are_damaged() -> None:
    assert torch.equal(read_with_notes(b"Exif\0\0damaged"), pil_to_tensor(picture()))


# Sizes


@pytest.mark.parametrize("size", [(6, 4), (4, 6)])
def test_samples_have_channels_height_and_width(size: tuple[int, int]) -> None:
    width, height = size

    assert only_image(picture(size=size)).shape == (3, height, width)


@pytest.mark.parametrize("size", [1, 5, 8])
@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P"])
def test_images_are_scaled_to_a_square_of_the_size_as_by_pil(size: int, mode: str) -> None:
    image = picture(mode)
    converted = image.convert("L" if mode in ("L", "1") else "RGB")

    assert torch.equal(only_image(image, size=size), pil_to_tensor(converted.resize((size, size))))


def test_images_of_different_sizes_are_scaled_to_one() -> None:
    save("cat/1.png", picture(size=(6, 4)))
    save("dog/1.png", picture(size=(9, 30)))

    assert load_train(size=5).images.shape == (2, 3, 5, 5)


def test_images_of_different_sizes_are_refused_without_a_size_for_all() -> None:
    save("cat/1.png", picture(size=(6, 4)))
    save("dog/1.png", picture(size=(6, 5)))

    assert refusal() == (
        f"{PETS / 'dog' / '1.png'}: is 6x5, and the first image 6x4; "
        "choose a size for all by --dataset.size"
    )


def test_images_of_the_test_have_the_size_of_those_of_train() -> None:
    fill("train/cat", "train/dog", "test/cat")
    save("test/dog/1.png", picture("L", size=(5, 4)))

    assert refusal().startswith(f"{PETS / 'test' / 'dog' / '1.png'}: is 5x4, and the first image ")


def test_images_of_the_test_are_colored_where_those_of_train_are() -> None:
    fill("train/cat", "train/dog", mode="RGB")
    fill("test/cat", "test/dog", mode="L")

    assert load().splits["test"].images.shape[1] == 3


# Images that cannot be read


@pytest.mark.parametrize(
    "content",
    [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"\x00\x05\x16\x07"],
    ids=["empty", "text", "only the signature", "AppleDouble"],
)
def test_what_is_no_image_is_refused_by_its_name(content: bytes) -> None:
    fill("cat", "dog")
    path = write("dog/9.png", content)

    assert refusal().startswith(f"{path}: cannot be read as an image: ")


@pytest.mark.parametrize("name", ["9.png", "9.jpg", "9.bmp"])
def test_an_image_that_is_cut_short_is_refused_by_its_name(name: str) -> None:
    fill("cat", "dog")
    path = save(Path("dog", name), picture("L", size=(64, 64)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    assert refusal(size=4).startswith(f"{path}: cannot be read as an image: ")


def test_an_image_with_a_broken_part_is_refused_by_its_name() -> None:
    fill("cat", "dog")
    path = save("dog/9.png", picture("L", size=(400, 400)))
    start, _, last_part = path.read_bytes().rpartition(b"IDAT")
    path.write_bytes(start + b"\0DAT" + last_part)

    assert refusal(size=4).startswith(f"{path}: cannot be read as an image: ")


def test_an_image_with_damaged_pixels_is_refused_by_its_name() -> None:
    fill("cat", "dog")
    path = save("dog/9.png", picture("L", size=(64, 64)))
    content = bytearray(path.read_bytes())
    content[60:200] = bytes(140)
    path.write_bytes(content)

    assert refusal(size=4).startswith(f"{path}: cannot be read as an image: ")


def test_a_link_to_nothing_is_refused_by_its_name() -> None:
    fill("cat", "dog")
    path = PETS / "dog" / "9.png"
    path.symlink_to("nothing.png")

    assert refusal().startswith(f"{path}: cannot be read as an image: ")


@pytest.mark.parametrize(("mode", "name"), [("I;16", "9.png"), ("I", "9.tif"), ("F", "9.tif")])
@pytest.mark.parametrize("colors", ["auto", "grey", "rgb"])
def test_images_of_more_than_8_bits_are_refused(mode: str, name: str, colors: str) -> None:
    fill("cat", "dog")
    path = save(Path("cat", name), Image.new(mode, (6, 4)))

    assert refusal(colors=colors) == f"{path}: has more than 8 bits a pixel; expected 8"


@pytest.mark.parametrize(
    ("mode", "content"),
    [
        ("RGB", b"P6 2 1 65535\n" + bytes(12)),
        ("RGB", b"P3 2 1 65535\n1 2 3 4 5 6\n"),
        ("RGB", png_of_16_bits(color_type=2, channels=3)),
        ("RGBA", png_of_16_bits(color_type=6, channels=4)),
        ("RGBA", png_of_16_bits(color_type=4, channels=2)),
    ],
    ids=["PPM", "plain PPM", "PNG", "PNG with opacity", "grey PNG with opacity"],
)
def test_channels_of_more_than_8_bits_are_refused(mode: str, content: bytes) -> None:
    fill("cat", "dog")
    path = write(f"cat/9.{'png' if b'PNG' in content else 'ppm'}", content)
    with Image.open(path) as image:
        assert image.mode == mode

    assert refusal() == f"{path}: has more than 8 bits a channel; expected 8"


@pytest.mark.parametrize("content", [b"P6 2 1 255\n123456", b"P3 2 1 255\n1 2 3 4 5 6\n"])
def test_channels_of_8_bits_are_read(content: bytes) -> None:
    for name in ("cat", "dog"):
        write(f"{name}/1.ppm", content)

    assert load_train().images.shape == (2, 3, 1, 2)


@pytest.mark.parametrize(
    ("size", "kind"), [(20, "DecompressionBombError"), (12, "DecompressionBombWarning")]
)
def test_an_image_too_large_to_be_true_is_refused(
    size: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill("cat", "dog")
    path = save("dog/9.png", picture("L", size=(size, size)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        problem = refusal(size=4)

    assert problem.startswith(
        f"{path}: cannot be read as an image: {kind}: Image size ({size**2} pixels)"
    )


@pytest.mark.parametrize(("broken", "more"), [(2, ""), (5, ""), (9, "; and 4 more")])
def test_of_several_broken_images_the_first_are_named_and_the_others_counted(
    broken: int, more: str
) -> None:
    fill("cat", "dog", count=9)
    image = picture("L", size=(64, 64))
    paths = []
    for number in range(broken):
        path = save(f"{'cat' if number % 2 else 'dog'}/{number}.png", image)
        # Damaged in its header, or after it.
        path.write_bytes(path.read_bytes()[: 4 if number % 3 else 200])
        paths.append(path)

    problem = refusal(size=4)

    named = sorted(paths)[:5]
    assert problem.startswith(f"pets: {broken} images cannot be used: {named[0]}: cannot be ")
    assert problem.endswith(more)
    assert all(f"{path}: cannot be read as an image: " in problem for path in named)
    assert "\n" not in problem


def test_of_several_images_of_other_sizes_the_first_is_named_and_they_are_counted() -> None:
    fill("cat", "dog", count=1)
    for number in range(3):
        save(f"dog/big{number}.png", picture("L", size=(9, 9)))

    assert refusal().startswith(
        "pets/dog/big0.png: is 9x9, and the first image 6x4 (3 images are not of its size); "
    )


# Splits


def test_train_valid_and_test_may_have_folders_of_their_own() -> None:
    for split, count in (("train", 3), ("valid", 2), ("test", 1)):
        fill(f"{split}/cat", f"{split}/dog", count=count)

    dataset = load(test_share=0.5)

    assert dataset.name == "pets"
    assert dataset.class_names == ("cat", "dog")
    assert {name: split.labels.tolist() for name, split in dataset.splits.items()} == {
        "train": [0, 0, 0, 1, 1, 1],
        "valid": [0, 0, 1, 1],
        "test": [0, 1],
    }


def test_a_folder_of_the_test_has_the_images_of_the_test() -> None:
    fill("train/cat", "train/dog")
    images = [picture("L", seed=seed) for seed in (7, 8)]
    for name, image in zip(("cat", "dog"), images, strict=True):
        save(f"test/{name}/1.png", image)

    assert torch.equal(load().splits["test"].images, pixels_of(images))


def test_without_a_folder_of_the_test_it_is_held_out_of_train_alone() -> None:
    fill("train/cat", "train/dog", count=5)
    fill("valid/cat", "valid/dog", count=2)

    splits = load(test_share=0.3).splits

    assert {name: len(split) for name, split in splits.items()} == {
        "train": 7,
        "valid": 4,
        "test": 3,
    }


SPELLINGS = {
    "train": "train Train TRAIN training Training trainset training_set train-images Train-Data",
    "valid": "valid Valid VAL val validation Validation dev Dev val_set validation-data",
    "test": "test Test TEST testing Testing tests testset Test_Images",
}


@pytest.mark.parametrize(
    ("split", "name"),
    [(split, name) for split, names in SPELLINGS.items() for name in names.split()],
)
def test_a_split_is_known_by_any_usual_spelling(split: str, name: str) -> None:
    folders = {"train": "train", "test": "test"} | {split: name}
    for number, folder in enumerate(folders.values()):
        fill(f"{folder}/cat", f"{folder}/dog", count=number + 1)

    dataset = load()

    assert dataset.class_names == ("cat", "dog")
    assert {each: len(dataset.splits[each]) for each in folders} == {
        each: 2 * number + 2 for number, each in enumerate(folders)
    }


def test_splits_may_share_a_word_of_their_own() -> None:
    fill("seg_train/cat", "seg_train/dog", "seg_test/cat", "seg_test/dog")

    assert list(load().splits) == ["train", "test"]


@pytest.mark.parametrize(
    "names", [("train station", "bus station"), ("testify", "trains of thought")]
)
def test_a_class_whose_name_has_more_to_it_is_no_split(names: tuple[str, str]) -> None:
    fill(*names)

    assert load().class_names == tuple(sorted(names))


@pytest.mark.parametrize(
    ("folders", "problem"),
    [
        (["train", "Train"], "pets: has two folders of the split train, Train and train; "),
        (["train", "val", "dev"], "pets: has two folders of the split valid, dev and val; "),
        (["Train", "testing", "tests"], "pets: has two folders of the split test, testing and "),
        (["train", "test", "bird"], "pets: has test/, train/, which are splits, and bird/; "),
        (["Testing", "bird", "cow"], "pets: has Testing/, which are splits, and bird/, cow/; "),
        (["valid", "invalid"], "pets: has valid/, which are splits, and invalid/; "),
        (["test", "val"], "pets: has test/, val/, and no folder train/"),
        (["TEST"], "pets: has TEST/, and no folder train/"),
    ],
)
def test_splits_that_can_be_meant_in_two_ways_are_refused(folders: list[str], problem: str) -> None:
    for folder in folders:
        fill(f"{folder}/cat", f"{folder}/dog")

    told = refusal()

    assert told.startswith(problem)
    assert "\n" not in told


def test_splits_within_the_classes_are_refused() -> None:
    fill("cat/train", "cat/test", "dog/train", "dog/test")

    assert refusal() == (
        "pets/cat: has the splits test, train in a class; expected the classes in the splits"
    )


def test_images_of_a_split_that_are_of_no_class_are_refused() -> None:
    fill("train", "test")

    assert refusal() == "pets/test: has no sub-folder; expected one for each class, with its images"


def test_a_class_called_train_beside_others_is_not_taken_for_a_split() -> None:
    fill("bus", "car", "train/steam", "train/diesel")

    with pytest.raises(DataError, match="bus"):
        load()


def test_classes_that_only_the_test_has_are_refused() -> None:
    fill("train/cat", "train/dog", "test/cat", "test/dog", "test/bird")

    assert refusal() == f"{PETS / 'test'}: has the classes bird, cat, dog, and train cat, dog"


def test_classes_that_only_train_has_are_refused() -> None:
    fill("train/cat", "train/dog", "test/dog")

    assert refusal() == f"{PETS / 'test'}: has the classes dog, and train cat, dog"


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_folder_of_a_split_without_classes_is_refused(split: str) -> None:
    for name in {"train", "valid", "test"} - {split}:
        fill(f"{name}/cat", f"{name}/dog")
    (PETS / split).mkdir()

    assert refusal().startswith(f"{PETS / split}: ")


# Holding out


def test_a_share_of_the_images_is_held_out_for_the_test(caplog: pytest.LogCaptureFixture) -> None:
    fill("cat", "dog", count=5)

    with caplog.at_level(logging.INFO, "ignite_threenet"):
        splits = load_data("pets").splits

    assert {name: len(split) for name, split in splits.items()} == {"train": 8, "test": 2}
    assert caplog.messages == [
        "pets: 2 of 10 images are held out for the test",
        "pets: 10 images, grey, 6x4, of 2 classes: cat, dog",
        "pets: train: 8 images: cat 4, dog 4",
        "pets: test (held out of train): 2 images: cat 1, dog 1",
    ]


@pytest.mark.parametrize(
    ("counts", "share", "held_out"),
    [
        ((5, 5), 0.2, (1, 1)),
        ((90, 10), 0.2, (18, 2)),
        ((100, 2, 2), 0.1, (10, 1, 1)),
        ((2, 2), 0.01, (1, 1)),
        ((2, 3), 0.99, (1, 2)),
        ((1, 8), 0.5, (0, 4)),
        ((3, 3, 4), 0.5, (2, 1, 2)),
    ],
)
def test_each_class_has_its_share_in_the_test_and_keeps_some_images(
    counts: tuple[int, ...], share: float, held_out: tuple[int, ...]
) -> None:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))

    is_held_out = draw_held_out(labels, share)

    assert labels[is_held_out].bincount(minlength=len(counts)).tolist() == list(held_out)


def test_a_class_of_a_single_image_is_for_the_training_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fill("cat", count=4)
    fill("dog", count=1)

    with caplog.at_level(logging.INFO, "ignite_threenet"):
        splits = load(test_share=0.5).splits

    assert [splits[name].labels.bincount().tolist() for name in ("train", "test")] == [[2, 1], [2]]
    assert (
        "pets: there is a single image of each of the classes dog, which the test is without"
    ) in caplog.messages


@pytest.mark.parametrize(("share", "held_out"), [(0.1, 2), (0.26, 3), (0.5, 5), (0.9, 8)])
def test_the_share_is_rounded_to_images(share: float, held_out: int) -> None:
    fill("cat", "dog", count=5)

    splits = load(test_share=share).splits

    assert (len(splits["train"]), len(splits["test"])) == (10 - held_out, held_out)


def test_train_and_test_share_no_image_and_lose_none() -> None:
    fill("cat", "dog", count=5)
    everything = load_train()

    splits = load(test_share=0.4).splits

    parts = torch.cat([splits["train"].images, splits["test"].images]).flatten(1)
    assert sorted(parts.tolist()) == sorted(everything.images.flatten(1).tolist())


def test_held_out_images_keep_their_labels() -> None:
    fill("cat", "dog", count=5)
    everything = load_train()
    label_of = {
        image.numpy().tobytes(): label
        for image, label in zip(everything.images, everything.labels.tolist(), strict=True)
    }

    for split in load(test_share=0.4).splits.values():
        assert [
            label_of[image.numpy().tobytes()] for image in split.images
        ] == split.labels.tolist()


def test_the_held_out_images_are_the_first_of_their_class_in_a_fixed_permutation() -> None:
    fill("cat", "dog", count=5)
    everything = load_train()

    torch.manual_seed(12345)
    splits = load(test_share=0.4).splits

    order = permutation(10, seed=0, epoch=0).tolist()
    first = [[each for each in order if each // 5 == label][:2] for label in (0, 1)]
    held_out = [each for each in order if any(each in chosen for chosen in first)]
    kept = [each for each in order if each not in held_out]
    assert torch.equal(splits["test"].images, everything.images[held_out])
    assert torch.equal(splits["train"].images, everything.images[kept])


def test_holding_out_does_not_touch_the_global_random_state() -> None:
    fill("cat", "dog", count=5)
    before = torch.get_rng_state()

    load(test_share=0.3)

    assert torch.equal(torch.get_rng_state(), before)


def test_a_share_of_nothing_leaves_no_test() -> None:
    fill("cat", "dog", count=5)

    splits = load(test_share=0).splits

    assert {name: len(split) for name, split in splits.items()} == {"train": 10}


def test_images_that_are_all_alone_in_their_classes_cannot_be_held_out() -> None:
    fill("cat", "dog", count=1)

    assert refusal(test_share=0.5) == (
        "pets: 0.5 of 2 images cannot be held out as the split 'test', each being the only one of "
        "its class; choose --dataset.test-share 0"
    )


# Options


@pytest.mark.parametrize(
    ("name", "value"),
    [("size", 0), ("size", 2.5), ("colors", "blue"), ("test_share", 1), ("test_share", -0.1)],
)
def test_a_value_that_is_not_allowed_is_refused(name: str, value: object) -> None:
    fill("cat", "dog")

    with pytest.raises(OptionError) as raised:
        load(**{name: value})

    assert (raised.value.where, raised.value.value) == (f"dataset.{name}", value)


def test_the_installed_reader_of_folders_is_told_which() -> None:
    fill("cat", "dog")

    by_option = load_data("folder", path="pets", test_share=0)

    assert by_option.name == "folder"
    assert by_option.sha256 == load().sha256
    with pytest.raises(DataError, match=r"^dataset folder: which one, --dataset.path says$"):
        load_data("folder")


def test_a_folder_in_the_users_home_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    fill("cat", "dog")
    monkeypatch.setenv("HOME", str(Path.cwd()))

    assert load_data("~/pets", test_share=0).sha256 == load().sha256


def test_the_path_is_settled_by_the_folder_that_was_chosen() -> None:
    fill("cat", "dog")

    with pytest.raises(UnknownNameError) as raised:
        load(path="elsewhere")

    assert str(raised.value) == (
        "dataset pets: unknown option 'path'. Known: colors, size, test_share"
    )


def test_the_options_are_known_before_anything_is_read() -> None:
    (PETS / "empty").mkdir(parents=True)

    specs = {spec.name: spec.default for spec in choose_dataset("pets").specs}

    assert specs == {"size": None, "colors": "auto", "test_share": 0.2}


def test_a_folder_is_a_source_in_a_script_too() -> None:
    fill("cat", "dog", count=5)

    dataset = ImageFolderSource(path=PETS, size=3, test_share=0.5).load(Path("data"))

    assert (dataset.name, dataset.class_names) == ("pets", ("cat", "dog"))
    assert dataset.splits["test"].images.shape == (5, 1, 3, 3)


def test_a_source_of_a_folder_that_does_not_exist_says_so() -> None:
    with pytest.raises(DataError, match=r"^pets: "):
        ImageFolderSource(path=PETS).load(Path("data"))


def test_a_folder_that_does_not_exist_is_refused_as_such() -> None:
    with pytest.raises(UnknownNameError, match="folder"):
        load_data("./pets")


def test_a_folder_called_like_a_dataset_is_chosen_by_its_path(small_digits: None) -> None:
    fill("cat", "dog")
    PETS.rename("digits")

    assert load_data("digits").class_names == tuple("0123456789")
    assert load_data("./digits", test_share=0).class_names == ("cat", "dog")


# Progress


class Terminal(io.StringIO):
    """What a program writes to a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_bar_shows_on_a_terminal_how_far_the_reading_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill("cat", "dog", count=9)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    notes_and_lines(caplog)

    assert "pets: reading: " in terminal.getvalue()
    assert "0/18" in terminal.getvalue()


def test_there_is_no_bar_where_nobody_wants_messages(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill("cat", "dog")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    with caplog.at_level(logging.WARNING, "ignite_threenet"):
        load()

    assert terminal.getvalue() == ""


def test_a_line_now_and_then_tells_elsewhere_how_far_the_reading_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill("cat", "dog", count=20)
    monkeypatch.setattr("ignite_threenet.data.progress._SECONDS_BETWEEN_LINES", 0.0)

    _, lines = notes_and_lines(caplog)

    assert [line for line in lines if " of 40 " in line] == [
        f"pets: {what}: {done} of 40 images"
        for what in ("looking at", "reading")
        for done in (16, 32, 40)
    ]


def test_the_order_is_the_same_whatever_the_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill("cat", "dog", count=40)
    digests = []
    for count in (1, 2, 8):
        monkeypatch.setattr(
            "ignite_threenet.data.image_reader._count_cores", lambda count=count: count
        )
        digests.append(load().sha256)

    assert digests[0] == digests[1] == digests[2]
