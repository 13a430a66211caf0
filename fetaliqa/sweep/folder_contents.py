"""Files beside sweeps in folders: system files, documents, and DICOM objects without an image.

DICOM files of scanners, archives and CDs often have no suffix, or a UID as their name. They are recognised by
their first bytes; nothing else is read.
"""

from __future__ import annotations

import re
from pathlib import Path

MARK_AT, MARK = 128, b"DICM"  # PS3.10 section 7.1
_HEAD_BYTES = 1024  # include the prefix and the first elements of the file meta information
_CLASS_ELEMENT = b"\x02\x00\x02\x00UI"  # (0002,0002) Media Storage SOP Class UID, always explicit little endian
DICOMDIR_CLASS = "1.2.840.10008.1.3.10"  # Media Storage Directory (SOP classes: PS3.4)
_DICOMDIR_NAME = re.compile(r"(?i)dicomdir(\.dcm|\.dicom)?\.?(;\d+)?")  # ISO 9660 adds a version: DICOMDIR;1
_NO_IMAGES = {
    DICOMDIR_CLASS: "the index of a DICOM medium",
    "1.2.840.10008.5.1.4.1.1.88.59": "a DICOM list of chosen images",
    "1.2.840.10008.5.1.4.1.1.88.": "a DICOM report",
    "1.2.840.10008.5.1.4.1.1.11.": "a DICOM presentation state",
    "1.2.840.10008.5.1.4.1.1.9.": "a DICOM waveform",
    "1.2.840.10008.5.1.4.1.1.66": "DICOM raw data, a registration or a segmentation",
    "1.2.840.10008.5.1.4.1.1.104.": "a document in DICOM",
    "1.2.840.10008.5.1.4.1.1.481.": "a DICOM radiotherapy object",
}
_TEMPORARY = re.compile(r"\..*\.[a-z0-9_]{8}(\.\w+)*")
_SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "autorun.inf")
DOCUMENTS = frozenset(
    f".{kind}"
    for kind in (
        *("cfg", "csv", "doc", "docx", "htm", "html", "ini", "json", "jsonl", "lock", "log", "md", "ods", "odt"),
        *("parquet", "pdf", "py", "rst", "rtf", "sha256", "tsv", "txt", "xls", "xlsx", "xml", "yaml", "yml"),
    )
)
"""Suffixes of files that are not images."""


def sop_class(path: Path) -> str | None:
    """SOP class UID of a DICOM file, from its meta information; None without one.

    Raises:
        OSError: when the file cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[MARK_AT : MARK_AT + len(MARK)] != MARK:
        return None
    at = head.find(_CLASS_ELEMENT, MARK_AT + len(MARK))
    if at < 0:
        return None
    start = at + len(_CLASS_ELEMENT) + 2
    length = int.from_bytes(head[start - 2 : start], "little")
    return head[start : start + length].decode("latin-1").rstrip("\0 ")


def imageless_dicom(path: Path) -> str | None:
    """Description of a DICOM object without an image; None for an image, or a file that is not DICOM."""
    if _DICOMDIR_NAME.fullmatch(path.name):
        return _NO_IMAGES[DICOMDIR_CLASS]
    try:
        uid = sop_class(path)
    except OSError:
        return None  # reading the file raises the error
    if uid is None:
        return None
    return next((words for prefix, words in _NO_IMAGES.items() if uid.startswith(prefix)), None)


def is_dicomdir(path: Path) -> bool:
    """Whether a file is the index of a DICOM medium (DICOMDIR), whatever its name."""
    return imageless_dicom(path) == _NO_IMAGES[DICOMDIR_CLASS]


def is_system_file(name: str) -> bool:
    """Whether a name is that of a system file or folder: previews, indexes, AppleDouble files."""
    return name.startswith("._") or name.lower() in _SYSTEM_FILES or _DICOMDIR_NAME.fullmatch(name) is not None


def is_temporary(name: str) -> bool:
    """Whether a name is that of a temporary file of ``atomic_path``."""
    return _TEMPORARY.fullmatch(name) is not None


def is_document(path: Path) -> bool:
    """Whether a file has the suffix of a document, table or similar file."""
    return path.suffix.lower() in DOCUMENTS
