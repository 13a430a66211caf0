"""Writer of nnU-Net v2 raw data sets, 2D natural images (nnU-Net's documentation/dataset_format.md)."""

from __future__ import annotations

import json
import re
from typing import Any

from fetaliqa.export.export_case import ExportCase
from fetaliqa.export.formats.format_writer import ExportContext, Writer, stem_of, write_bytes
from fetaliqa.export.manifest import Place
from fetaliqa.export.still_files import png_bytes

DATASET_ID = 501  # nnU-Net asks for three digits; ids below 500 are often taken by public data sets
ENDING = ".png"


class NnUnetWriter(Writer):
    """``Dataset501_NAME`` with ``imagesTr``, ``labelsTr``, ``imagesTs``, ``labelsTs`` and ``splits_final.json``.

    The test part goes to ``Ts``. Train and validation are fold 0 of the splits, by case, never by frame.
    """

    name = "nnunet"
    holds_proposals = True
    ascii_names = True

    def __init__(self, context: ExportContext) -> None:
        super().__init__(context)
        self._training: dict[str, list[str]] = {"train": [], "validation": []}
        self._folder = f"Dataset{DATASET_ID}_FetalIQA"

    def write_case(self, case: ExportCase) -> dict[int, Place]:
        part = self.context.part_of[case.case_id]
        suffix = "Ts" if part == "test" else "Tr"

        def one(frame: int) -> Place:
            stem = stem_of(case, frame)
            image = f"{self._folder}/images{suffix}/{stem}_0000{ENDING}"
            label = f"{self._folder}/labels{suffix}/{stem}{ENDING}"
            write_bytes(self.context.root / image, png_bytes(case.frames[frame]))
            write_bytes(self.context.root / label, png_bytes(self.context.mask(case, frame)))
            return Place(image, label)

        if part != "test":
            self._training[part] += [stem_of(case, frame) for frame in case.entries]
        return dict(zip(case.entries, self.context.each(one, case.entries)))

    def finish(self, about: dict[str, Any]) -> None:
        folder = self.context.root / self._folder
        folder.mkdir(exist_ok=True)
        count = sum(map(len, self._training.values()))
        if not count:
            self.context.notes.append("no case is in the train or validation part: nothing to train on")
        described = {
            "channel_names": {"0": "ultrasound"},
            "labels": {"background": 0, **self.context.labels()},
            "numTraining": count,
            "file_ending": ENDING,
            "overwrite_image_reader_writer": "NaturalImage2DIO",
            "name": re.sub(r"\s+", " ", about["name"]),
            "licence": about["licence"],
        }
        splits = [{"train": self._training["train"], "val": self._training["validation"]}]
        for name, content in (("dataset.json", described), ("splits_final.json", splits)):
            text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            (folder / name).write_text(text, encoding="utf-8")
        self.context.notes.append(
            "copy splits_final.json (by case, fold 0 only) to nnU-Net's folder of preprocessed data before you "
            "train, or it splits by frame; PNG carries no spacing, it is in manifest.csv"
        )
