"""The synthetic sample cases: a few small phantom cases in the ACOUSLIC-AI layout."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from fetaliqa.datasets.acouslic_layout import CIRCUMFERENCES, IMAGES, MANIFEST, MASKS
from fetaliqa.errors import OptionError
from fetaliqa.lab.phantom import PhantomSettings, write_dataset
from fetaliqa.lab.phantom.phantom_seeds import SAMPLE

CASES = 3
SETTINGS = PhantomSettings(scale="half", sweeps=2, slots=48)  # about 4 MB a case
PLACES = (f"{IMAGES}/*.mha", f"{MASKS}/*.mha", str(CIRCUMFERENCES), str(MANIFEST))


def make_sample_data(directory: Path) -> list[Path]:
    """Write the phantom cases into ``directory``, which must not hold any yet; other files there stay.

    Returns:
        What was written.

    Raises:
        OptionError: when the folder holds phantom cases, their table or their manifest.
    """
    directory = Path(directory)
    present = sorted(path for place in PLACES for path in directory.glob(place))
    if present:
        raise OptionError(f"{present[0]} exists already; move the phantom cases away, or choose another folder")
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as temporary:
        made = Path(temporary) / "data"
        write_dataset(made, CASES, SAMPLE, SETTINGS)
        return [_moved(file, directory / file.relative_to(made)) for file in _files(made)]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _moved(file: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(file, target))
