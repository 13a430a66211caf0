"""Writers of volumes (MetaImage, NIfTI): stacks of frames and masks that form a studies folder."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections import Counter
from typing import Any, ClassVar

import numpy as np

from fetaliqa.export.export_case import ExportCase, FrameEntry
from fetaliqa.export.formats.format_writer import ExportContext, Writer
from fetaliqa.export.manifest import Place
from fetaliqa.export.volume_stacks import write_stack
from fetaliqa.labels import FrameLabel, FrameRecord
from fetaliqa.sweep import Ranges


class _VolumeWriter(Writer):
    """``images/CASE``, ``labels/CASE``, ``labels/CASE.frames.json`` (frame record), ``subjects.csv``."""

    suffix: ClassVar[str]

    def __init__(self, context: ExportContext) -> None:
        super().__init__(context)
        self._subjects: dict[str, str] = {}

    def write_case(self, case: ExportCase) -> dict[int, Place]:
        frames = list(case.entries)
        image, label = f"images/{case.stem}{self.suffix}", f"labels/{case.stem}{self.suffix}"
        self._subjects[case.stem] = case.subject_id
        root, ranges = self.context.root, kept_ranges(case.entries.values())
        write_stack(root / image, case.frames[frames], case.grid, ranges)
        write_stack(root / label, np.stack([self.context.mask(case, frame) for frame in frames]), case.grid)
        record = FrameRecord({place: frame_label(case.entries[frame]) for place, frame in enumerate(frames)})
        text = json.dumps(record.to_json(), indent=2, allow_nan=False) + "\n"
        (root / "labels" / f"{case.stem}.frames.json").write_text(text, encoding="utf-8")
        return {frame: Place(image, label, place) for place, frame in enumerate(frames)}

    def finish(self, about: dict[str, Any]) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["case_id", "subject_id"])
        writer.writerows(sorted(self._subjects.items()))
        (self.context.root / "subjects.csv").write_text(text.getvalue(), encoding="utf-8")
        self.context.notes.append(
            "stacks hold the selected frames only; the manifest's `frame` is the number in the source's stack, "
            "its `slice` the one in the file"
        )


class MhaWriter(_VolumeWriter):
    """MetaImage."""

    name = "mha"
    suffix = ".mha"


class NiftiWriter(_VolumeWriter):
    """NIfTI-1, gzipped."""

    name = "nifti"
    suffix = ".nii.gz"


def kept_ranges(entries: Any) -> Ranges:
    """Half-open ranges of the sweeps in a stack of these frames only; sweeps without a frame are gone."""
    counts = Counter(entry.sweep for entry in entries)
    borders = [0, *itertools.accumulate(counts[sweep] for sweep in sorted(counts))]
    return tuple(itertools.pairwise(borders))


def frame_label(entry: FrameEntry) -> FrameLabel:
    """What an entry says, as a frame record has it."""
    return FrameLabel(
        entry.state,
        entry.plane,
        entry.rater,
        entry.time,
        entry.model,
        entry.model_version,
        origin=entry.origin,
        clicks=entry.clicks,  # source_frame counts in the source's stack, this record in the file's
    )
