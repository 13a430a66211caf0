"""How large a deflated DICOM file becomes: it has no header that says so before all of it is inflated."""

from __future__ import annotations

from pathlib import Path

from isal import isal_zlib

from fetaliqa.errors import SweepError
from fetaliqa.limits import check_unpacked_size, max_unpacked_bytes
from fetaliqa.sweep.raw import CHUNK_BYTES, DAMAGED, INFLATED_BYTES

DEFLATED = b"1.2.840.10008.1.2.1.99"  # transfer syntaxes of this beginning, PS3.5 section A.5
META_AT = 132  # bytes before the file meta information, PS3.10 section 7.1
_META_BYTES = 4096
_GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
_RAW_DEFLATE = -15  # zlib's wbits: no header, no checksum


def check_deflated(path: Path) -> None:
    """Refuse a deflated DICOM file that inflates to more than is allowed; no more than that is inflated.

    Raises:
        UnpackedTooLarge: when it does.
        SweepError: when it does not say where its data set begins.
    """
    with open(path, "rb") as file:
        head = file.read(META_AT + _META_BYTES)[META_AT:]
        if DEFLATED not in head:
            return
        if head[: len(_GROUP_LENGTH)] != _GROUP_LENGTH:
            raise SweepError(f"{path.name}: is deflated without saying where its data set begins; export it again")
        length = len(_GROUP_LENGTH) + 4
        file.seek(META_AT + length + int.from_bytes(head[length - 4 : length], "little"))
        stored = path.stat().st_size
        limit = max(max_unpacked_bytes(), stored)
        inflater, found = isal_zlib.decompressobj(_RAW_DEFLATE), 0
        try:
            while found <= limit and not inflater.eof:
                data = inflater.unconsumed_tail or file.read(CHUNK_BYTES)
                made = len(inflater.decompress(data, INFLATED_BYTES))
                found += made
                if not data and not made:
                    return
        except DAMAGED:
            return  # what reads it says so
    check_unpacked_size(path.name, found, stored)
