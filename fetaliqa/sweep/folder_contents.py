"""What lies in folders beside sweeps: what other programs leave there, and DICOM objects that hold no image.

File names say little about DICOM: files of scanners, archives and CDs have no suffix, or a UID for a name. So a
file's first bytes tell what it is; nothing else of it is read.
"""

from __future__ import annotations

import re
from pathlib import Path

MARK_AT, MARK = 128, b"DICM"  # PS3.10 section 7.1
_HEAD_BYTES = 1024  # hold the mark and the first elements of the file's meta information
_CLASS_ELEMENT = b"\x02\x00\x02\x00UI"  # (0002,0002) Media Storage SOP Class UID, always explicit little endian
DICOMDIR_CLASS = "1.2.840.10008.1.3.10"  # Media Storage Directory (PS3.4 annex I), as are all classes here
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
"""Suffixes of files that nobody takes for images."""


def sop_class(path: Path) -> str | None:
    """SOP class UID of a DICOM file, by its meta information; None where there is none.

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
    """What a DICOM file is that holds no image of a scanner, in words; None for an image, or what is no DICOM."""
    if _DICOMDIR_NAME.fullmatch(path.name):
        return _NO_IMAGES[DICOMDIR_CLASS]
    try:
        found = sop_class(path)
    except OSError:
        return None  # reading it will say why
    if found is None:
        return None
    return next((words for prefix, words in _NO_IMAGES.items() if found.startswith(prefix)), None)


def is_dicomdir(path: Path) -> bool:
    """Whether a file is the index of a DICOM medium, whatever it is called."""
    return imageless_dicom(path) == _NO_IMAGES[DICOMDIR_CLASS]


def is_system_file(name: str) -> bool:
    """Whether other programs leave files or folders of this name: previews, indexes, a Mac's second halves."""
    return name.startswith("._") or name.lower() in _SYSTEM_FILES or _DICOMDIR_NAME.fullmatch(name) is not None


def is_temporary(name: str) -> bool:
    """Whether a file is one that ``atomic_path`` is writing, or that a process that died was writing."""
    return _TEMPORARY.fullmatch(name) is not None


def is_document(path: Path) -> bool:
    """Whether a file's suffix is one of documents, tables and the like."""
    return path.suffix.lower() in DOCUMENTS
