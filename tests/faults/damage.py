"""Files of MNIST that are damaged: bits flipped, cut short, or longer."""

import random
import shutil
from pathlib import Path

from ignite_threenet import DataError, load_data
from ignite_threenet.data.idx import FILE_NAMES

from .tally import Tally

_ROOT = Path(__file__).parents[2]
_PLACES = (_ROOT / "data", _ROOT.parent / "shared" / "data")


def mnist() -> Path | None:
    """Find the four files of MNIST."""
    folders = (place / "MNIST" / "raw" for place in _PLACES)
    return next((each for each in folders if (each / FILE_NAMES[0]).is_file()), None)


def damaged_mnist(directory: Path, count: int, seed: int = 0) -> Tally:
    """Damage one of the four files, and load them."""
    source = mnist()
    if source is None:
        raise FileNotFoundError("MNIST is not on disk")
    raw = directory / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILE_NAMES:
        (raw / name).symlink_to(source / name)
    chance = random.Random(seed)
    tally = Tally("flipped, cut or grown files of MNIST", "refused, and the file named")
    if len(load_data("mnist", directory).splits["train"]) != 60_000:
        tally.add("undamaged", ["is not MNIST"])
    for number in range(count):
        name = chance.choice(FILE_NAMES)
        how = _damage(source / name, raw / name, chance)
        # auto must not take other digits instead, either.
        problems = _load(directory, ("mnist", "auto")[number % 2], raw / name)
        (raw / name).unlink()
        (raw / name).symlink_to(source / name)
        tally.add(f"{name} {how}", problems)
    return tally


def _damage(source: Path, target: Path, chance: random.Random) -> str:
    target.unlink()
    shutil.copyfile(source, target)
    size = source.stat().st_size
    place = chance.randrange(size)
    match chance.choice(("flipped", "flipped", "cut", "grown")):
        case "flipped":
            with target.open("r+b") as file:
                file.seek(place)
                byte = file.read(1)[0] ^ 1 << chance.randrange(8)
                file.seek(place)
                file.write(bytes([byte]))
            return f"flipped at byte {place}"
        case "cut":
            with target.open("r+b") as file:
                file.truncate(place)
            return f"cut at byte {place}"
        case _:
            with target.open("ab") as file:
                file.write(chance.randbytes(1 + place % 100))
            return "grown"


def _load(directory: Path, dataset: str, damaged: Path) -> list[str]:
    try:
        load_data(dataset, directory)
    except DataError as error:
        return [] if str(damaged) in str(error) else [f"the file is not named: {error}"]
    return ["was taken"]
