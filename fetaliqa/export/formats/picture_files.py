"""Writers of single pictures (PNG, TIFF) of frames and masks."""

from __future__ import annotations

from fetaliqa.export.export_case import ExportCase
from fetaliqa.export.formats.format_writer import Writer, stem_of, write_bytes
from fetaliqa.export.manifest import Place
from fetaliqa.export.still_files import png_bytes, write_tiff


class PngWriter(Writer):
    """``images/CASE_FRAME.png`` and ``masks/CASE_FRAME.png``; the size of a pixel is in the manifest."""

    name = "png"

    def write_case(self, case: ExportCase) -> dict[int, Place]:
        def one(frame: int) -> Place:
            name = f"{stem_of(case, frame)}.png"
            for folder, pixels in (("images", case.frames[frame]), ("masks", self.context.mask(case, frame))):
                write_bytes(self.context.root / folder / name, png_bytes(pixels))
            return Place(f"images/{name}", f"masks/{name}")

        return dict(zip(case.entries, self.context.each(one, case.entries)))


class TiffWriter(Writer):
    """As PNG, with the size of a pixel in the file's resolution tags."""

    name = "tiff"

    def write_case(self, case: ExportCase) -> dict[int, Place]:
        for folder in ("images", "masks"):
            (self.context.root / folder).mkdir(exist_ok=True)

        def one(frame: int) -> Place:
            name = f"{stem_of(case, frame)}.tif"
            write_tiff(self.context.root / "images" / name, case.frames[frame], case.spacing)
            write_tiff(self.context.root / "masks" / name, self.context.mask(case, frame), case.spacing)
            return Place(f"images/{name}", f"masks/{name}")

        return dict(zip(case.entries, self.context.each(one, case.entries)))
