"""The sample cases: a few small phantom cases in the ACOUSLIC-AI layout."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from fetaliqa.datasets.phantom import PhantomSettings, write_dataset
from fetaliqa.errors import OptionError
from fetaliqa.training.demo import SAMPLE_SEED

CASES = 3
SETTINGS = PhantomSettings(scale="half", sweeps=2, slots=48)  # about 4 MB a case
PARTS = ("images", "masks", "circumferences", "manifest.json")


def make_sample_data(directory: Path) -> list[Path]:
    """Write the sample cases into ``directory``, which must not hold any yet; other files there stay.

    Returns:
        What was written.
    """
    directory = Path(directory)
    present = [part for part in PARTS if (directory / part).exists()]
    if present:
        raise OptionError(f"{directory / present[0]} exists already; move it away, or choose another folder")
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as temporary:
        made = Path(temporary) / "data"
        write_dataset(made, CASES, SAMPLE_SEED, SETTINGS)
        return [Path(shutil.move(made / part, directory / part)) for part in PARTS]
