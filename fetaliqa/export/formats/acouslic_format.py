"""Writers of the ACOUSLIC-AI layout, and of predictions for the ACOUSLIC-AI challenge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from fetaliqa.datasets.acouslic_layout import IMAGES, MANIFEST, MASKS, Circumferences, write_circumferences
from fetaliqa.errors import OptionError
from fetaliqa.export.export_case import ExportCase
from fetaliqa.export.formats.format_writer import ExportContext, Writer
from fetaliqa.export.manifest import Place
from fetaliqa.export.volume_stacks import write_stack
from fetaliqa.measure import fit_outline
from fetaliqa.measure.field_of_view import field_of_view

TABLE_NOTE = (
    "the circumferences are not an expert's: each value is the median of the ellipses fitted to the exported "
    "masks of a sweep, of its optimal (and ungraded) planes, or of its suboptimal ones where there are no others"
)
UNKNOWN_NOTE = "frames that were not selected are black, so that they count as padding and never as empty frames"
NO_FRAME = -1
MASK_PATH, NUMBER_PATH = "images/fetal-abdomen-segmentation", "fetal-abdomen-frame-number.json"


class AcouslicWriter(Writer):
    """Images and masks in full length, and the table of circumferences. Frame numbers are the source's."""

    name = "acouslic"
    holds_proposals = False  # the layout cannot mark unconfirmed masks

    def __init__(self, context: ExportContext) -> None:
        super().__init__(context)
        _check_anatomy(self.name, context)
        self._rows: list[Circumferences] = []

    def write_case(self, case: ExportCase) -> dict[int, Place]:
        frames = list(case.entries)
        pictures, masks = np.zeros_like(case.frames), np.zeros_like(case.masks)
        pictures[frames] = case.frames[frames]
        for frame in frames:
            masks[frame] = self.context.mask(case, frame)
        image, mask = (folder / f"{case.stem}.mha" for folder in (IMAGES, MASKS))
        write_stack(self.context.root / image, pictures, case.grid, case.ranges)
        write_stack(self.context.root / mask, masks, case.grid)
        self._rows.append(Circumferences(case.stem, case.subject_id, self._circumferences(case)))
        return {frame: Place(image.as_posix(), mask.as_posix(), frame) for frame in frames}

    def finish(self, about: dict[str, Any]) -> None:
        # all rows need the same columns
        sweeps = max((len(row.ac_mm) for row in self._rows), default=0)
        rows = [
            Circumferences(row.uuid, row.subject_id, row.ac_mm + (None,) * (sweeps - len(row.ac_mm)))
            for row in self._rows
        ]
        write_circumferences(self.context.root, rows)
        manifest = {"synthetic": self.context.synthetic, "circumferences": TABLE_NOTE}
        (self.context.root / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        self.context.notes.extend([TABLE_NOTE, UNKNOWN_NOTE])

    def _circumferences(self, case: ExportCase) -> tuple[float | None, ...]:
        sector = field_of_view(case.frames)
        outlined = [frame for frame, entry in case.entries.items() if entry.outlined]
        fits = self.context.each(
            lambda frame: fit_outline(case.masks[frame], case.spacing, sector).circumference_mm, outlined
        )
        fitted = {frame: value for frame, value in zip(outlined, fits) if value is not None}
        return tuple(_of_sweep(case, fitted, number) for number in range(len(case.ranges)))


def _check_anatomy(name: str, context: ExportContext) -> None:
    if context.anatomy.is_line:
        raise OptionError(
            f"format {name}: it is made for circumferences, and the {context.anatomy.name} is a line; choose "
            "another format, such as coco or nnunet"
        )


def _of_sweep(case: ExportCase, fitted: Mapping[int, float], number: int) -> float | None:
    here = {frame: value for frame, value in fitted.items() if case.entries[frame].sweep == number}
    better = [value for frame, value in here.items() if case.entries[frame].plane != "suboptimal"]
    values = better or list(here.values())
    return float(np.median(values)) if values else None


class ChallengeWriter(Writer):
    """For each case its mask stack and frame number, -1 for none, and ``predictions.json`` with their paths.

    An answer is one frame of a case, with a mask of 0 and 1; cases without a selected outline answer -1. The
    folder is what the challenge's public evaluation takes as its input.
    """

    name = "challenge"
    takes_empty_cases = True

    def __init__(self, context: ExportContext) -> None:
        super().__init__(context)
        _check_anatomy(self.name, context)
        self._cases: list[str] = []

    def write_case(self, case: ExportCase) -> dict[int, Place]:
        outlined = [frame for frame, entry in case.entries.items() if entry.outlined]
        if len(outlined) > 1:
            raise OptionError(
                f"{case.case_id}: {len(outlined)} frames with an outline are selected, and the challenge takes "
                "one; add --best and --model"
            )
        masks = np.zeros(case.frames.shape, np.uint8)
        for frame in outlined:
            masks[frame] = case.masks[frame] > 0
        self._cases.append(case.stem)
        mask = f"{case.stem}/output/{MASK_PATH}/output.mha"
        write_stack(self.context.root / mask, masks, case.grid)
        number = outlined[0] if outlined else NO_FRAME
        path = self.context.root / case.stem / "output" / NUMBER_PATH
        path.write_text(f"{number}\n", encoding="ascii")
        return {frame: Place(None, mask, frame) for frame in outlined}

    def finish(self, about: dict[str, Any]) -> None:
        outputs = [_interface("fetal-abdomen-segmentation", MASK_PATH)]
        outputs += [_interface("fetal-abdomen-frame-number", NUMBER_PATH)]
        jobs = [
            {
                "pk": case_id,
                "inputs": [
                    {"interface": {"slug": "stacked-fetal-ultrasound"}, "image": {"name": f"{case_id}.mha"}}
                ],
                "outputs": outputs,
            }
            for case_id in self._cases
        ]
        path = self.context.root / "predictions.json"
        path.write_text(json.dumps(jobs, indent=2) + "\n", encoding="utf-8")


def _interface(slug: str, path: str) -> dict[str, Any]:
    return {"interface": {"slug": slug, "relative_path": path}}
