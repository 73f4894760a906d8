"""Tests of folders of images as datasets."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, features
from PIL.Image import Exif
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from ignite_threenet import DataError, Dataset, OptionError, Split, UnknownNameError, load_data
from ignite_threenet.data.dataset import permutation
from ignite_threenet.data.folder import ImageFolderSource
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
    save("cat/1.gif")
    save("dog/1.gif")

    problem = refusal()

    assert "cat, dog" in problem
    assert ".png" in problem


def test_a_single_class_is_refused() -> None:
    fill("cat")

    assert refusal() == "dataset 'pets' has a single class; there is nothing to tell apart"


# Pixels


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("RGB", 3), ("RGBA", 3), ("P", 3)]
)
def test_images_are_grey_or_colored_as_the_first_one(mode: str, channels: int) -> None:
    image = picture(mode)

    pixels = only_image(image)

    assert pixels.dtype == torch.uint8
    assert torch.equal(pixels, pil_to_tensor(image.convert("L" if channels == 1 else "RGB")))


@pytest.mark.parametrize(("colors", "mode"), [("grey", "L"), ("rgb", "RGB")])
@pytest.mark.parametrize("first", ["L", "RGB"])
def test_images_are_grey_or_colored_as_one_asks(colors: str, mode: str, first: str) -> None:
    image = picture(first)

    assert torch.equal(only_image(image, colors=colors), pil_to_tensor(image.convert(mode)))


def test_a_grey_image_among_colored_ones_has_three_channels() -> None:
    color, grey = picture(), picture("L", seed=1)
    save("cat/1.png", color)
    save("dog/1.png", grey)

    assert torch.equal(load_train().images, pixels_of([color, grey.convert("RGB")]))


def test_a_colored_image_among_grey_ones_is_refused_where_nobody_chose() -> None:
    save("cat/1.png", picture("L"))
    path = save("dog/1.png", picture("RGB"))

    assert refusal() == (
        f"{path}: has colors, and the first image is grey; choose by --dataset.colors"
    )


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
    ["1.png", "1.PNG", "1.jpg", "1.JPEG", "1.Jpg", "1.bmp", "1.ppm", "1.pgm", "1.tif", "1.tiff"],
)
def test_images_have_the_pixels_that_pil_reads(name: str) -> None:
    read = only_image(picture("L" if name.endswith("pgm") else "RGB"), name)

    assert torch.equal(read, pil_to_tensor(Image.open(PETS / "cat" / name)))


@pytest.mark.skipif(not features.check("webp"), reason="this PIL was built without WebP")
def test_webp_images_are_read() -> None:
    read = only_image(picture(), "1.webp")

    assert torch.equal(read, pil_to_tensor(Image.open(PETS / "cat" / "1.webp")))


def test_images_for_print_become_red_green_and_blue() -> None:
    read = only_image(picture("CMYK"), "1.jpg")

    assert torch.equal(read, pil_to_tensor(Image.open(PETS / "cat" / "1.jpg").convert("RGB")))


def test_a_palette_with_transparent_colors_is_read_without_a_warning() -> None:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, 200, 10, 30])
    image.info["transparency"] = b"\x80\x40"

    assert only_image(image)[:, 0, 0].tolist() == [200, 10, 30]


def test_the_first_frame_stands_for_an_animation() -> None:
    frames = [picture(seed=seed) for seed in range(2)]
    fill("cat", "dog", count=1)
    for name in ("cat", "dog"):
        frames[0].save(PETS / name / "0.png", save_all=True, append_images=frames[1:])

    assert torch.equal(load_train().images[0], pil_to_tensor(frames[0]))


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


def test_an_image_too_large_to_be_true_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fill("cat", "dog")
    path = save("dog/9.png", picture("L", size=(20, 20)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    assert refusal(size=4).startswith(
        f"{path}: cannot be read as an image: DecompressionBombError: Image size (400 pixels)"
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


@pytest.mark.parametrize("other", ["val", "validation", "dev", "Test"])
def test_a_folder_beside_train_that_is_no_split_is_refused(other: str) -> None:
    fill("train/cat", "train/dog", f"{other}/cat", f"{other}/dog")

    assert other in refusal()


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
    assert caplog.messages == ["pets: 2 of 10 images are held out for the test"]


@pytest.mark.parametrize(("share", "held_out"), [(0.1, 1), (0.26, 3), (0.5, 5), (0.9, 9)])
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


def test_the_held_out_images_are_the_first_of_a_fixed_permutation() -> None:
    fill("cat", "dog", count=5)
    everything = load_train()

    torch.manual_seed(12345)
    splits = load(test_share=0.3).splits

    order = permutation(10, seed=0, epoch=0)
    assert torch.equal(splits["test"].images, everything.images[order[:3]])
    assert torch.equal(splits["train"].images, everything.images[order[3:]])


def test_holding_out_does_not_touch_the_global_random_state() -> None:
    fill("cat", "dog", count=5)
    before = torch.get_rng_state()

    load(test_share=0.3)

    assert torch.equal(torch.get_rng_state(), before)


def test_a_share_of_nothing_leaves_no_test() -> None:
    fill("cat", "dog", count=5)

    splits = load(test_share=0).splits

    assert {name: len(split) for name, split in splits.items()} == {"train": 10}


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_a_share_of_no_image_or_all_is_refused(share: float) -> None:
    fill("cat", "dog")

    assert refusal(test_share=share) == (
        f"pets: {share} of 4 images cannot be held out as the split 'test'; "
        "choose another --dataset.test-share"
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
