"""Writer of Hugging Face ``imagefolder`` with metadata (huggingface.co/docs/datasets/image_dataset)."""

from __future__ import annotations

import json
from typing import Any

from fetaliqa.export.data_card import README, readme_text
from fetaliqa.export.export_case import ExportCase
from fetaliqa.export.formats.format_writer import ExportContext, Writer, stem_of, write_bytes
from fetaliqa.export.manifest import Place
from fetaliqa.export.still_files import png_bytes


class ImageFolderWriter(Writer):
    """``data/PART/metadata.jsonl`` beside ``images`` and ``masks``; README.md opens with the card's YAML."""

    name = "imagefolder"

    def __init__(self, context: ExportContext) -> None:
        super().__init__(context)
        self._lines: dict[str, list[str]] = {}

    def write_case(self, case: ExportCase) -> dict[int, Place]:
        part = self.context.part_of[case.case_id]
        below = f"data/{part}"

        def one(frame: int) -> Place:
            name = f"{stem_of(case, frame)}.png"
            image, mask = f"{below}/images/{name}", f"{below}/masks/{name}"
            write_bytes(self.context.root / image, png_bytes(case.frames[frame]))
            write_bytes(self.context.root / mask, png_bytes(self.context.mask(case, frame)))
            return Place(image, mask)

        places = dict(zip(case.entries, self.context.each(one, case.entries)))
        self._lines.setdefault(part, []).extend(_line(case, frame) for frame in places)
        return places

    def finish(self, about: dict[str, Any]) -> None:
        for part, lines in self._lines.items():
            path = self.context.root / "data" / part / "metadata.jsonl"
            path.write_text("".join(lines), encoding="utf-8")
        front = ["---", "license: other", f"license_name: {json.dumps(about['licence'])}"]
        front += ["task_categories:", "- image-segmentation", "tags:", "- ultrasound", "- medical"]
        front += [*(["- synthetic"] if self.context.synthetic else []), "configs:", "- config_name: default"]
        front += ["  data_files:"]
        for part in sorted(self._lines):
            front += [f"  - split: {part}", f"    path: data/{part}/**"]
        text = "\n".join([*front, "---", "", readme_text(about)])
        (self.context.root / README).write_text(text, encoding="utf-8")


def _line(case: ExportCase, frame: int) -> str:
    entry, name = case.entries[frame], f"{stem_of(case, frame)}.png"
    row, column = case.spacing or (None, None)
    fields = {
        "file_name": f"images/{name}",
        "mask_file_name": f"masks/{name}",
        "case_id": case.case_id,
        "subject_id": case.subject_id,
        "sweep": entry.sweep,
        "frame": frame,
        "state": entry.state,
        "plane": entry.plane,
        "rater": entry.rater,
        "quality": entry.quality,
        "row_spacing_mm": row,
        "column_spacing_mm": column,
    }
    return json.dumps(fields, ensure_ascii=False) + "\n"
