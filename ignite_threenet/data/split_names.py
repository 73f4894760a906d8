"""The splits of a folder, by the names of its sub-folders."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from ..errors import DataError
from .image_files import show

_SPELLINGS = {
    "train": "train|training|trn",
    "valid": "valid|val|vali|validation|validate|validating|dev|devel|development",
    "test": "test|testing|tests|tst",
}
# What may stand beside, or be glued to, the name of a split, and says nothing.
_FILLERS = (
    "set|sets|data|dataset|images|image|imgs|img|pictures|photos|samples|examples|split|folder|dir"
)


def spelled_splits(names: Iterable[str]) -> dict[str, str]:
    """Tell which names spell a split, by name.

    What is around the word may be the same in several: ``pets-train`` and ``pets-test``.

    Example:
        >>> spelled_splits(["Training", "test_set", "cat"])
        {'Training': 'train', 'test_set': 'test'}
        >>> spelled_splits(["seg_train", "seg_test"]), spelled_splits(["train station", "bus"])
        ({'seg_train': 'train', 'seg_test': 'test'}, {})
    """
    parsed = {name: found for name in names if (found := _parse(name)) is not None}
    splits_beside = defaultdict(set)
    for split, rest in parsed.values():
        splits_beside[rest].add(split)
    return {
        name: split
        for name, (split, rest) in parsed.items()
        if not rest or len(splits_beside[rest]) > 1
    }


def choose_splits(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Give the sub-folder of each split; none if the sub-folders are classes.

    Args:
        folder: the folder.
        names: its sub-folders.

    Raises:
        DataError: a split has two, or none is for the training, or there are others beside them.
    """
    names = list(names)
    spelled = spelled_splits(names)
    others = [name for name in names if name not in spelled]
    if spelled and others:
        raise DataError(
            f"{show(folder)}: has {_listed(spelled)}, which are splits, and {_listed(others)}; "
            "expected classes alone, or train/ with valid/ and test/ alone (a class that is called "
            "like a split needs another name)"
        )
    found: dict[str, str] = {}
    for name, split in spelled.items():
        if split in found:
            raise DataError(
                f"{show(folder)}: has two folders of the split {split}, {show(found[split])} and "
                f"{show(name)}; expected one"
            )
        found[split] = name
    if found and "train" not in found:
        raise DataError(f"{show(folder)}: has {_listed(spelled)}, and no folder train/")
    return found


def _parse(name: str) -> tuple[str, tuple[str, ...]] | None:
    """Give the split that a name spells, and the words around it; None if it spells none."""
    splits, rest = [], []
    # A folder may be written as one word: TrainSet, valImages.
    for word in re.findall(r"[^\W\d_]+|\d+", name.casefold()):
        split = next((each for each in _SPELLINGS if _spells(each, word)), None)
        if split is not None:
            splits.append(split)
        elif not re.fullmatch(_FILLERS, word):
            rest.append(word)
    return (splits[0], tuple(rest)) if len(splits) == 1 else None


def _spells(split: str, word: str) -> bool:
    return bool(re.fullmatch(f"(?:{_SPELLINGS[split]})(?:{_FILLERS})?", word))


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return show(", ".join(f"{name}/" for name in names[:10])) + more
