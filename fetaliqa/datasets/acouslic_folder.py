"""Folders in the ACOUSLIC-AI layout without pixels: table, manifest, paths, sweep ranges."""

from __future__ import annotations

import itertools
import json
import statistics
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fetaliqa.datasets.acouslic_layout import (
    CIRCUMFERENCES,
    IMAGES,
    MANIFEST,
    MASKS,
    Circumferences,
    read_circumferences,
)
from fetaliqa.errors import NotFoundError, OptionError, SweepError
from fetaliqa.measure.anatomy import ABDOMEN
from fetaliqa.sweep import Ranges, Sweep, read_sweep
from fetaliqa.sweep.sweep_reader import open_image

# The 553 values of version 1.1: mean 232.0, median 229.5, range 140.9-350.6 mm. Version 1.0 has exactly twice
# each: median 459.1, up to 701.1 mm.
IMPOSSIBLE_AC_MM = ABDOMEN.plausible_mm[1]  # 450; no fetus is larger
DOUBLED_MEDIAN_MM = 400.0  # between the two medians; no set of real fetuses has its median here
FIX = "use version 1.1 (Zenodo 10.5281/zenodo.12697994)"


def doubled(values: Iterable[float | None]) -> str | None:
    """Why the AC values of a table (mm) must be the doubled ones of version 1.0; None otherwise."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    highest, median = max(present), statistics.median(present)
    if highest > IMPOSSIBLE_AC_MM:
        return f"AC {highest:.0f} mm, and no fetus exceeds {IMPOSSIBLE_AC_MM:.0f} mm"
    if median > DOUBLED_MEDIAN_MM:
        return f"the median AC is {median:.0f} mm, and about 230 mm is expected"
    return None


def doubled_sentence(reason: str) -> str:
    """The message about a doubled table."""
    return f"{CIRCUMFERENCES.name}: {reason}; version 1.0 of this table is doubled, {FIX}"


def read_manifest(folder: Path) -> dict[str, Any]:
    """The content of ``manifest.json``; empty without one.

    Raises:
        SweepError: when it is not a JSON object.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except ValueError as problem:
        raise SweepError(f"{path.name}: not JSON ({problem}); restore it, or remove it for real data") from None
    if not isinstance(content, dict):
        raise SweepError(f"{path.name}: a JSON {type(content).__name__}; an object is expected")
    return content


def says_synthetic(manifest: dict[str, Any], case_ids: Iterable[str]) -> bool:
    """Whether a manifest marks all of these cases as phantoms; if it lists cases, only those are marked."""
    if manifest.get("synthetic") is not True:
        return False
    listed = manifest.get("cases")
    if not isinstance(listed, list):
        return True
    return {case.get("case_id") for case in listed if isinstance(case, dict)}.issuperset(case_ids)


class AcouslicFolder:
    """Table, manifest and paths of a folder in the ACOUSLIC-AI layout.

    Attributes:
        folder: its root folder.
        rows: the rows of the table, in order; ``nan`` counts as absent.
        manifest: content of ``manifest.json``; empty without one.
        synthetic: whether the manifest marks the data as synthetic.

    Raises:
        SweepError: when the table is missing, or table or manifest are invalid.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.rows = read_circumferences(self.folder)
        for row in self.rows:
            if Path(row.uuid).name != row.uuid or row.uuid in ("", ".", ".."):
                raise SweepError(f"{CIRCUMFERENCES.name}: {row.uuid!r} is not a case name; correct the table")
        self.manifest = read_manifest(self.folder)
        self.synthetic = self.manifest.get("synthetic") is True
        counts = Counter(row.uuid for row in self.rows)
        self.duplicates = sorted(uuid for uuid, count in counts.items() if count > 1)

    def image(self, case_id: str) -> Path:
        """Path of a case's frames."""
        return self.folder / IMAGES / f"{case_id}.mha"

    def mask(self, case_id: str) -> Path:
        """Path of a case's masks."""
        return self.folder / MASKS / f"{case_id}.mha"

    def row(self, case_id: str) -> Circumferences:
        """A case's row.

        Raises:
            NotFoundError: when the table has none.
            SweepError: when it has several.
        """
        rows = [row for row in self.rows if row.uuid == case_id]
        if not rows:
            raise NotFoundError(f"{case_id}: no such case in {CIRCUMFERENCES.name}")
        if len(rows) > 1:
            raise SweepError(f"{case_id}: {len(rows)} rows in {CIRCUMFERENCES.name}; keep one of them")
        return rows[0]

    def read_frames(self, case_id: str) -> Sweep:
        """A case's frames, with the sweep ranges of its file, else of the manifest, else equal ranges.

        Equal ranges: one for each AC column of the table (6), with frame count // 6 slots each as in the paper;
            the
        last has the remaining slots.

        Raises:
            NotFoundError: when the file is missing.
            SweepError: when it is invalid, or the manifest's ranges do not match it.
        """
        path = self.image(case_id)
        opened = open_image(path)
        if opened.ranges is not None:
            return read_sweep(path)
        stated = self.manifest.get("sweep_ranges")
        count = opened.pixels.shape[0]
        try:
            ranges = _equal_ranges(count, len(self.rows[0].ac_mm)) if stated is None else stated
            return read_sweep(path, sweeps=ranges)
        except (OptionError, TypeError) as problem:
            raise SweepError(f"{path.name}: the ranges in {MANIFEST} do not match it ({problem})") from None


def circumferences_of(row: Circumferences, ranges: Ranges) -> tuple[float | None, ...]:
    """AC (mm) of each sweep of a case.

    Raises:
        SweepError: when the row gives an AC for a sweep that the case does not have.
    """
    values = row.ac_mm[: len(ranges)] + (None,) * (len(ranges) - len(row.ac_mm))
    beyond = [number for number, value in enumerate(row.ac_mm, start=1) if value and number > len(ranges)]
    if beyond:
        raise SweepError(
            f"{row.uuid}: the table has an AC for sweep {beyond[0]}, but the case has {len(ranges)} sweeps"
        )
    return values


def _equal_ranges(count: int, sweeps: int) -> Ranges:
    if count < sweeps:
        raise OptionError(f"{count} frames are too few for {sweeps} sweeps")
    borders = [number * (count // sweeps) for number in range(sweeps)] + [count]
    return tuple(itertools.pairwise(borders))
