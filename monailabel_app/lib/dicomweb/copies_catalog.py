"""The catalog of copied cines: which image is which cine, which were removed here, and which labels were sent.

It is the folder's ``archive.json``; it can be rebuilt from the copies, and labels can be sent again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydicom import dcmread

from fetaliqa.atomic import write_json
from monailabel_app.lib.dicomweb.archive_client import Cine

logger = logging.getLogger(__name__)

NAME = "archive.json"
SUFFIX = ".dcm"
SCHEMA = 1


@dataclass
class CatalogContent:
    """The content of a catalog.

    Attributes:
        cines: by image id.
        counts: number of instances in a series when all of its cines had been copied, or its segmentations read.
        removed: instances that were removed here and are not to be copied again.
        sent: by image id, ``version`` of the final label that the archive has, with the UIDs of its ``series`` and
            ``instance`` there (null where that version held nothing to send), and of its ``report`` (null where
            no frame has an outline; entries of earlier versions lack it).
    """

    cines: dict[str, Cine] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)

    def copied(self) -> set[str]:
        """Instances that are here."""
        return {cine.instance for cine in self.cines.values()}


class Catalog:
    """The catalog of a folder of copies.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._file = folder, folder / NAME
        self._lock = threading.RLock()

    def read(self) -> CatalogContent:
        """The content as it is on the disk."""
        with self._lock:
            try:
                return _parsed(json.loads(self._file.read_text(encoding="utf-8")))
            except FileNotFoundError:
                return self._from_copies()
            except (ValueError, TypeError, LookupError, AttributeError) as error:
                backup = self._file.with_name(f"{NAME}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
                self._file.replace(backup)
                logger.error("%s cannot be read (%s); renamed to %s and rebuilt", self._file, error, backup.name)
                return self._from_copies()

    @contextlib.contextmanager
    def changing(self) -> Iterator[CatalogContent]:
        """The content; written when the block ends without an error."""
        with self._lock:
            content = self.read()
            yield content
            write_json(self._file, {"schema": SCHEMA, **asdict(content)})

    def copy_of(self, image_id: str) -> Path:
        """The file of an image."""
        return self.folder / f"{image_id}{SUFFIX}"

    def _from_copies(self) -> CatalogContent:
        content = CatalogContent()
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            cine = cine_in(path)
            if cine is not None and path.name[: -len(SUFFIX)] in (cine.series, cine.instance):
                content.cines[path.name[: -len(SUFFIX)]] = cine
        return content


def cine_in(path: Path) -> Cine | None:
    """Which cine a file is, by its header; None when it does not say."""
    tags = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=tags)
        return Cine(*(str(header[tag].value) for tag in tags))
    except Exception:  # noqa: BLE001 - whatever pydicom meets in a damaged file
        return None


def _parsed(data: Any) -> CatalogContent:
    if data["schema"] != SCHEMA:
        raise ValueError(f"schema {data['schema']}")
    return CatalogContent(
        cines={str(name): Cine(**cine) for name, cine in data["cines"].items()},
        counts={str(name): int(count) for name, count in data["counts"].items()},
        removed=[str(one) for one in data["removed"]],
        sent={str(name): {"version": int(one["version"]), **one} for name, one in data["sent"].items()},
    )
