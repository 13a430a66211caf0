"""Copies of an archive's cines in a folder, one file each, under stable ids."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from monailabel_app.lib.dicomweb.archive_client import Archive, ArchiveError, ArchiveUnavailable, Cine
from monailabel_app.lib.dicomweb.copies_catalog import SUFFIX, Catalog, CatalogContent, cine_in

logger = logging.getLogger(__name__)

PARTIAL_SECONDS = 86400.0  # an upload of a client looks the same, and is done by then


class CineMirror:
    """Copies new cines from the archive.

    A cine's image id is the UID of its series, as in MONAI Label's DICOMweb datastore, when it was the only cine
    in it, and its own UID otherwise. A cine that is deleted from the archive is kept here: it may be labelled.

    Args:
        archive: the source of the cines.
        catalog: of the folder of copies.
    """

    def __init__(self, archive: Archive, catalog: Catalog) -> None:
        self._archive, self._catalog = archive, catalog

    def copy_new(self, between: Callable[[], None] = lambda: None) -> tuple[int, list[str]]:
        """Copy what is new.

        Args:
            between: called after each copy, which may take minutes.

        Returns:
            Number of copies made, and one sentence for each cine that could not be copied.

        Raises:
            ArchiveError: when the archive does not answer.
            OSError: when the file cannot be written.
        """
        self._remove_partial_copies()
        self._forget_missing()
        copied, problems = 0, []
        for study, series, count in self._archive.series():
            content = self._catalog.read()
            if count is not None and content.counts.get(series) == count:
                continue
            try:
                cines = self._archive.cines(study, series)
            except ArchiveUnavailable:
                raise
            except ArchiveError as problem:
                problems.append(str(problem))
                continue
            new = [cine for cine in cines if cine.instance not in content.copied() | set(content.removed)]
            failed = []
            for cine in new:
                sole = len(cines) == 1
                failed += self._copy(cine, sole, content)
                between()
            copied += len(new) - len(failed)
            problems += failed
            if count is not None and not failed:
                with self._catalog.changing() as content:
                    content.counts[series] = count
        return copied, problems

    def _copy(self, cine: Cine, sole: bool, content: CatalogContent) -> list[str]:
        image_id = cine.series if sole and cine.series not in content.cines else cine.instance
        path = self._catalog.copy_of(image_id)
        if path.exists() and cine_in(path) != cine:
            return [f"{path.name} exists and is not of the archive's series {cine.series}; rename it"]
        try:
            if not path.exists():  # else copied by a server that was killed before it noted so
                self._archive.fetch(cine, path)
        except ArchiveUnavailable:
            raise
        except ArchiveError as problem:
            return [str(problem)]
        with self._catalog.changing() as content:
            content.cines[image_id] = cine
        logger.info("image %s copied from the archive", image_id)
        return []

    def _remove_partial_copies(self) -> None:
        """Remove incomplete copies that killed servers left."""
        for leftover in self._catalog.folder.glob(f".*{SUFFIX}"):
            with contextlib.suppress(OSError):
                if time.time() - leftover.stat().st_mtime > PARTIAL_SECONDS:
                    leftover.unlink()

    def _forget_missing(self) -> None:
        """Have copies that were deleted from the folder by hand made again."""
        missing = {name: cine for name, cine in self._catalog.read().cines.items() if not self._has(name)}
        if missing:
            with self._catalog.changing() as content:
                for name, cine in missing.items():
                    del content.cines[name]
                    content.counts.pop(cine.series, None)

    def _has(self, name: str) -> bool:
        return self._catalog.copy_of(name).exists()
