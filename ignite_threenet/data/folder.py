"""A folder of images as a dataset: one sub-folder a class."""

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ..errors import DataError
from ..options.declaration import option
from .dataset import SPLITS, Dataset, Split, permutation
from .image_files import ImageFiles, show
from .image_reader import ImageReader
from .source import DataSource
from .split_names import choose_splits, spelled_splits

logger = logging.getLogger("ignite_threenet")

# By which the test split is drawn, whatever the run's own seed: results stay comparable.
_TEST_SEED = 0
# Of more classes, the log tells the range of their images.
_MOST_TOLD = 12


class _Sample(NamedTuple):
    """An image and its class."""

    path: Path
    label: int


_Samples = dict[str, list[_Sample]]


class ImageFolderSource(DataSource):
    """A folder of images, one sub-folder a class.

    Or these in train/, and perhaps in valid/ and test/, in any usual spelling. The classes are the
    names of the sub-folders, sorted.
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
        help="share of each class's images held out as the split 'test', if there is no folder "
        "test/",
        min=0,
        below=1,
    )

    def load(self, data_dir: Path) -> Dataset:
        """Read the images; data_dir is of no use here."""
        if self.path is None:
            raise DataError("dataset folder: which one, --dataset.path says")
        files = ImageFiles()
        class_names, samples = _list_samples(self.path, files)
        train = samples["train"]
        holds_out = "test" not in samples and self.test_share > 0
        if holds_out:
            samples |= self._hold_out(self.path, train)
        reader = ImageReader(show(self.path), files.formats, self.size, self.colors)
        paths = [sample.path for split in samples.values() for sample in split]
        images = reader.read(paths, train[0].path)
        notes = _notes(class_names, samples, files, reader)
        lines = _tell_held_out(notes) if holds_out else []
        for line in [*lines, *_summary(notes, images, "test" if holds_out else "")]:
            logger.info("%s: %s", show(self.path), line)
        splits = _splits(images, samples)
        return Dataset(self.path.resolve().name, splits, {}, class_names, notes)

    def _hold_out(self, path: Path, train: list[_Sample]) -> _Samples:
        is_held_out = draw_held_out(torch.tensor([label for _, label in train]), self.test_share)
        if not is_held_out.any():
            raise DataError(
                f"{show(path)}: {self.test_share} of {len(train)} images cannot be held out as the "
                "split 'test', each being the only one of its class; choose --dataset.test-share 0"
            )
        order = permutation(len(train), _TEST_SEED, 0)
        kept, held_out = order[~is_held_out[order]], order[is_held_out[order]]
        return {
            "train": [train[position] for position in kept.tolist()],
            "test": [train[position] for position in held_out.tolist()],
        }


def draw_held_out(labels: Tensor, share: float) -> Tensor:
    """Choose a share of the samples of each class, at random, but always the same.

    Of a class of several samples, at least one is chosen and one is left; of a single one, none.
    Together they are the share of all samples, rounded, if that leaves enough and takes enough.

    Args:
        labels: (N,) int64, classes from 0.
        share: the share, above 0 and below 1.

    Returns:
        (N,) bool.

    Example:
        >>> draw_held_out(torch.tensor([0, 0, 0, 1, 1, 2]), 0.3).sum()
        tensor(2)
    """
    counts = labels.bincount()
    wanted = counts * share
    most = (counts - 1).clamp(min=0)
    sizes = torch.minimum(wanted.floor().long().clamp(min=1), most)
    # The largest remainders are rounded up, until the whole is the share.
    for label in (wanted - sizes).argsort(descending=True, stable=True).tolist():
        if int(sizes.sum()) >= round(len(labels) * share):
            break
        sizes[label] += int(sizes[label] < most[label])
    order = permutation(len(labels), _TEST_SEED, 0)
    by_class = order[labels[order].argsort(stable=True)]
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for places, size in zip(torch.split(by_class, counts.tolist()), sizes.tolist(), strict=True):
        chosen[places[:size]] = True
    return chosen


def _list_samples(folder: Path, files: ImageFiles) -> tuple[tuple[str, ...], _Samples]:
    """List the images of each split, with their classes."""
    names = files.sub_folders(folder)
    found = choose_splits(folder, names)
    if not found:
        return names, {"train": _list_split(folder, names, files)}
    classes = {split: files.sub_folders(folder / found[split]) for split in found}
    for split, name in found.items():
        if classes[split] != classes["train"]:
            raise DataError(
                f"{show(folder / name)}: has the classes {show(', '.join(classes[split]))}, and "
                f"{show(found['train'])} {show(', '.join(classes['train']))}"
            )
    return classes["train"], {
        split: _list_split(folder / found[split], classes["train"], files)
        for split in SPLITS
        if split in found
    }


def _list_split(folder: Path, class_names: tuple[str, ...], files: ImageFiles) -> list[_Sample]:
    samples: list[_Sample] = []
    empty = []
    for label, name in enumerate(class_names):
        within = spelled_splits(each.name for each in (folder / name).iterdir() if each.is_dir())
        if len(set(within.values())) > 1:
            raise DataError(
                f"{show(folder / name)}: has the splits {show(', '.join(within))} in a class; "
                "expected the classes in the splits"
            )
        paths = files.images(folder / name)
        samples += [_Sample(path, label) for path in paths]
        empty += [] if paths else [name]
    if empty:
        left_out = _told(files.left_out)
        raise DataError(
            f"{show(folder)}: no images of the classes {show(', '.join(empty))}; expected files "
            f"that end in {files.suffixes}{f'; left out: {left_out}' if left_out else ''}"
        )
    return samples


def _splits(images: Tensor, samples: _Samples) -> dict[str, Split]:
    parts = torch.split(images, [len(split) for split in samples.values()])
    return {
        name: Split(part, torch.tensor([label for _, label in split]))
        for part, (name, split) in zip(parts, samples.items(), strict=True)
    }


def _notes(
    class_names: tuple[str, ...], samples: _Samples, files: ImageFiles, reader: ImageReader
) -> dict[str, Any]:
    """Describe what was read and what was not, for the manifest."""
    counts = {split: Counter(label for _, label in each) for split, each in samples.items()}
    return {
        "images": {
            split: {name: each[label] for label, name in enumerate(class_names)}
            for split, each in counts.items()
        },
        "colors": "grey" if reader.mode == "L" else "rgb",
        "left_out": dict(sorted(files.left_out.items())),
        "further_frames": reader.further_frames,
        "transparent": dict(sorted(reader.laid_on.items())),
    }


def _summary(notes: Mapping[str, Any], images: Tensor, held_out: str) -> list[str]:
    """Tell in a few lines what was read and what was not."""
    names = list(notes["images"]["train"])
    height, width = images.shape[2:]
    lines = [
        f"{len(images)} images, {notes['colors']}, {width}x{height}, of {len(names)} "
        f"classes: {_listed(names)}"
    ]
    for split, counts in notes["images"].items():
        origin = " (held out of train)" if split == held_out else ""
        lines.append(f"{split}{origin}: {sum(counts.values())} images: {_told_classes(counts)}")
    if notes["transparent"]:
        lines.append(f"transparent images laid on a ground: {_told(notes['transparent'])}")
    left_out = Counter(notes["left_out"])
    if notes["further_frames"]:
        left_out["further frames of animated images"] = notes["further_frames"]
    if left_out:
        lines.append(f"left out: {_told(left_out)}")
    return lines


def _tell_held_out(notes: Mapping[str, Any]) -> list[str]:
    """Tell what was held out for the test, and of which classes that could not be."""
    train, test = (notes["images"][split] for split in ("train", "test"))
    size = sum(test.values())
    lines = [f"{size} of {size + sum(train.values())} images are held out for the test"]
    single = [name for name, count in test.items() if count == 0]
    if single:
        lines.append(
            f"there is a single image of each of the classes {_listed(single)}, which the test is "
            "without"
        )
    return lines


def _told_classes(counts: Mapping[str, int]) -> str:
    if len(counts) > _MOST_TOLD:
        return f"{min(counts.values())} to {max(counts.values())} a class"
    return ", ".join(f"{show(name)} {count}" for name, count in counts.items())


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
    return ", ".join(show(name) for name in names[:_MOST_TOLD]) + more
