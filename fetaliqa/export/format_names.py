"""Names of the formats, without anything that takes time to import."""

from __future__ import annotations

FORMATS = {
    "png": ("pictures:PngWriter", "frames and masks as PNG pictures"),
    "tiff": ("pictures:TiffWriter", "frames and masks as TIFF pictures that know the size of a pixel"),
}
"""Writer in ``fetaliqa.export.formats`` and what it writes, by name."""
