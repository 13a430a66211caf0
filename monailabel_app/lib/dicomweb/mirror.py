"""Copies of an archive's cines in a folder, one file each, under ids that stay."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from monailabel_app.lib.dicomweb.archive import Archive, ArchiveError, ArchiveSilent, Cine
from monailabel_app.lib.dicomweb.catalog import SUFFIX, Catalog, Known, cine_in

logger = logging.getLogger(__name__)

HALF_COPY_SECONDS = 86400.0  # an upload of a client looks the same, and is done by then


class Mirror:
    """Brings what is new in the archive.

    A cine is called by the UID of its series, as MONAI Label calls images of an archive, when it was the only
    cine in there, and by its own UID otherwise. What goes from the archive stays here: it may be labelled.

    Args:
        archive: where the cines are.
        catalog: of the folder of copies.
    """

    def __init__(self, archive: Archive, catalog: Catalog) -> None:
        self._archive, self._catalog = archive, catalog

    def look(self, between: Callable[[], None] = lambda: None) -> tuple[int, list[str]]:
        """Copy what is new.

        Args:
            between: called after each copy, which may take minutes: others should not wait for all of them.

        Returns:
            Number of copies made, and what could not be copied, one sentence each.

        Raises:
            ArchiveError: when the archive does not answer.
            OSError: when the disk does not take it.
        """
        self._remove_halves()
        self._forget_lost()
        copied, problems = 0, []
        for study, series, count in self._archive.series():
            known = self._catalog.read()
            if count is not None and known.counts.get(series) == count:
                continue
            try:
                cines = self._archive.cines(study, series)
            except ArchiveSilent:
                raise
            except ArchiveError as problem:
                problems.append(str(problem))
                continue
            new = [cine for cine in cines if cine.instance not in known.copied() | set(known.removed)]
            failed = []
            for cine in new:
                sole = len(cines) == 1
                failed += self._copy(cine, sole, known)
                between()
            copied += len(new) - len(failed)
            problems += failed
            if count is not None and not failed:
                with self._catalog.changing() as found:
                    found.counts[series] = count
        return copied, problems

    def _copy(self, cine: Cine, sole: bool, known: Known) -> list[str]:
        image_id = cine.series if sole and cine.series not in known.cines else cine.instance
        path = self._catalog.copy_of(image_id)
        if path.exists() and cine_in(path) != cine:
            return [f"{path.name} is here and not of the archive's series {cine.series}; rename it"]
        try:
            if not path.exists():  # else copied by a server that was killed before it said so
                self._archive.fetch(cine, path)
        except ArchiveSilent:
            raise
        except ArchiveError as problem:
            return [str(problem)]
        with self._catalog.changing() as found:
            found.cines[image_id] = cine
        logger.info("image %s copied from the archive", image_id)
        return []

    def _remove_halves(self) -> None:
        """Remove what killed servers left half-copied."""
        for left in self._catalog.folder.glob(f".*{SUFFIX}"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > HALF_COPY_SECONDS:
                    left.unlink()

    def _forget_lost(self) -> None:
        """Copies that somebody took out of the folder are made again."""
        lost = {name: cine for name, cine in self._catalog.read().cines.items() if not self._has(name)}
        if lost:
            with self._catalog.changing() as known:
                for name, cine in lost.items():
                    del known.cines[name]
                    known.counts.pop(cine.series, None)

    def _has(self, name: str) -> bool:
        return self._catalog.copy_of(name).exists()
