"""The ACOUSLIC-AI data set: blind sweeps of the fetal abdomen with expert masks, and phantoms in the same layout.

Sappia et al., Zenodo 10.5281/zenodo.12697994 (version 1.1), CC BY-NC-SA 4.0: 300 cases of 281 subjects, 840 frame
slots of 562 x 744 pixels of 0.28 mm each. For the layout see ``fetaliqa.datasets.acouslic_layout``. Version 1.0 of
the table, in which every AC is doubled, is rejected.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from fetaliqa.datasets.acouslic_folder import AcouslicFolder, circumferences_of, doubled, doubled_sentence
from fetaliqa.datasets.acouslic_layout import CIRCUMFERENCES, MANIFEST
from fetaliqa.datasets.acouslic_verify import Problem, Report, doubled_by_masks, verify
from fetaliqa.datasets.data_fingerprint import files_signature
from fetaliqa.datasets.labelled_data import CaseEntry, LabelledCase, fill_outlines
from fetaliqa.errors import SweepError
from fetaliqa.measure.anatomy import ABDOMEN
from fetaliqa.sweep import read_masks

__all__ = ["Acouslic", "Problem", "Report", "verify"]

HIGHEST_LABEL = 2  # 1 optimal plane, 2 suboptimal


class Acouslic:
    """A folder in the ACOUSLIC-AI layout.

    Args:
        folder: its root folder.

    Raises:
        SweepError: when the table is missing or cannot be read, or when its AC values are doubled
            (one above 450 mm, or a median above 400 mm; the real ones are 140.9 to 350.6 mm, mean 232.0, n = 553;
            or all from 280 mm on and about twice those of the first cases' masks).
    """

    anatomy = ABDOMEN

    def __init__(self, folder: Path) -> None:
        self._files = AcouslicFolder(folder)
        self.folder = self._files.folder
        self.synthetic = self._files.synthetic
        self.name = "phantom" if self.synthetic else "acouslic"
        reason = doubled(value for row in self._files.rows for value in row.ac_mm) or doubled_by_masks(self._files)
        if reason:
            raise SweepError(doubled_sentence(reason))

    def table_entries(self) -> list[CaseEntry]:
        """All rows of the table, including those without files; the paper's split is drawn from them."""
        return [CaseEntry(row.uuid, row.subject_id or row.uuid) for row in self._files.rows]

    def entries(self) -> list[CaseEntry]:
        """Cases with both stacks and a single row, in the order of the table."""
        return [
            entry
            for entry in self.table_entries()
            if entry.case_id not in self._files.duplicates
            and self._files.image(entry.case_id).is_file()
            and self._files.mask(entry.case_id).is_file()
        ]

    def read(self, case_id: str) -> LabelledCase:
        """A case; all frames except black padding are labelled.

        Raises:
            NotFoundError: when the table has no such case or a file is missing.
            SweepError: when a file is invalid, the stacks differ in size or geometry, a mask has other
                values than 0, 1 and 2, or the table gives an AC for a sweep that the case does not have.
        """
        row = self._files.row(case_id)
        sweep = self._files.read_frames(case_id)
        masks = read_masks(self._files.mask(case_id), sweep)
        if masks.max() > HIGHEST_LABEL:
            raise SweepError(
                f"{case_id}: its masks hold the value {masks.max()}; expected 0, 1 (optimal), 2 (suboptimal)"
            )
        return LabelledCase(
            case_id=case_id,
            subject_id=row.subject_id or row.uuid,
            frames=sweep.frames,
            masks=fill_outlines(masks),
            known=np.logical_not(sweep.padding),
            spacing=sweep.spacing,
            ranges=sweep.ranges,
            circumferences_mm=circumferences_of(row, sweep.ranges),
        )

    def fingerprint(self) -> str:
        """SHA-256 (hex) over the table, the manifest and the files of the cases in ``entries``.

        Every byte of them counts. A large file is read again only where it may have changed since (see
        ``fetaliqa.file_provenance``). Files of no case and times of files do not count.
        """
        digest = hashlib.sha256((self.folder / CIRCUMFERENCES).read_bytes())
        if (self.folder / MANIFEST).is_file():
            digest.update((self.folder / MANIFEST).read_bytes())
        paths = [path(entry.case_id) for entry in self.entries() for path in (self._files.image, self._files.mask)]
        digest.update(files_signature(self.folder, paths).encode())
        return digest.hexdigest()
