"""Labels that this server, on another machine, has put into the archive: taken back where there is none here."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from fetaliqa.errors import FetalIQAError
from fetaliqa.export.cine_segmentation import SERIES_NUMBER, read_cine_segmentation
from fetaliqa.labels import LabelStore
from fetaliqa.labels.label_version import pixels_sha256
from fetaliqa.sweep import read_sweep, write_masks
from monailabel_app.lib.dicomweb.archive import Archive, ArchiveSilent, Cine
from monailabel_app.lib.dicomweb.catalog import Catalog
from monailabel_app.lib.dicomweb.sending import FINAL
from monailabel_app.lib.label_info import check_record

logger = logging.getLogger(__name__)
HEADER = ["SeriesInstanceUID", "SeriesNumber", "Manufacturer", "ReferencedSeriesSequence"]


@dataclass(frozen=True)
class _Received:
    """A segmentation that was fetched.

    Attributes:
        path: of the file.
        series: its UID.
        number: of its series, which counts the versions of a label.
        cine: UID of the image that it is of; empty when it was not made here.
    """

    path: Path
    series: str
    number: int
    cine: str

    @classmethod
    def of(cls, path: Path) -> _Received:
        """Of a file, whose pixels are not read."""
        header = dcmread(path, stop_before_pixels=True, specific_tags=HEADER)
        cine = _instance_of(header)
        return cls(path, str(header.SeriesInstanceUID), int(header.SeriesNumber) if cine else 0, cine)


class Receiving:
    """Takes labels back. One that was saved here, or ended here, is never replaced.

    Args:
        archive: where they are.
        catalog: which image is which cine, and what was sent.
        labels: the labels here.
    """

    def __init__(self, archive: Archive, catalog: Catalog, labels: LabelStore) -> None:
        self._archive, self._catalog, self._labels = archive, catalog, labels

    def receive(self) -> list[str]:
        """Take back the last version of each image without a final label; returns what could not be used.

        Raises:
            ArchiveError: when the archive does not answer.
            OSError: when the disk does not take it.
        """
        known = self._catalog.read()
        bare = {cine.instance: name for name, cine in known.cines.items() if not self._labels.latest(name, FINAL)}
        if not bare:
            return []
        problems: list[str] = []
        best: dict[str, _Received] = {}
        done = {}  # series that need not be read again
        sent = {one["series"] for one in known.sent.values()}
        # on disk, and of each image the best one only: an archive may hold thousands
        with tempfile.TemporaryDirectory(prefix=".segmentation-", dir=self._catalog.folder) as folder:
            for study, series, count in self._archive.series("SEG"):
                if series in known.counts or series in sent:
                    continue
                failed = len(problems)
                for found in self._fetched(study, series, Path(folder), problems):
                    if found.cine in bare and (found.cine not in best or found.number > best[found.cine].number):
                        if found.cine in best:
                            best[found.cine].path.unlink()
                        best[found.cine] = found
                    else:
                        found.path.unlink()
                    if not found.cine or found.cine in known.copied() or found.cine in known.removed:
                        done[series] = count or 1
                if len(problems) > failed:
                    done.pop(series, None)  # what could not be read is asked for again
            for cine, found in best.items():
                try:
                    self._save(bare[cine], found)
                except FetalIQAError as problem:
                    problems.append(f"the archive's label of {bare[cine]} is not taken over: {problem}")
                    done.pop(found.series, None)
        if done:
            with self._catalog.changing() as known:
                known.counts.update(done)
        return problems

    def _fetched(self, study: str, series: str, folder: Path, problems: list[str]) -> Iterator[_Received]:
        """The segmentations of a series as files, one after the other."""
        try:
            for instance in self._archive.instances(study, series):
                path = folder / f"{instance}.dcm"
                self._archive.fetch(Cine(study, series, instance), path)
                yield _Received.of(path)
        except ArchiveSilent:
            raise
        except FetalIQAError as problem:
            problems.append(str(problem))

    def _save(self, image_id: str, received: _Received) -> None:
        dataset = dcmread(received.path)
        sweep = read_sweep(self._catalog.copy_of(image_id))
        masks, record = read_cine_segmentation(dataset, sweep.shape)
        check_record(image_id, record, masks)
        info = {"user": "archive", "from_archive": str(dataset.SOPInstanceUID)}
        with tempfile.TemporaryDirectory(prefix=".segmentation-", dir=self._catalog.folder) as folder:
            path = Path(folder) / "masks.nii.gz"
            write_masks(path, masks, sweep)
            pixels = pixels_sha256(sweep.frames)
            saved = self._labels.save(image_id, FINAL, path, record, info, image=pixels, based_on=0)
        logger.info("label %s of %s taken back from the archive", FINAL, image_id)
        with self._catalog.changing() as known:
            known.sent[image_id] = {
                "version": saved.version,
                "series": str(dataset.SeriesInstanceUID),
                "instance": str(dataset.SOPInstanceUID),
            }


def _instance_of(dataset: Dataset) -> str:
    """The cine of a segmentation that was made here; empty for others."""
    try:
        if int(dataset.SeriesNumber) <= SERIES_NUMBER or dataset.Manufacturer != "FetalIQA":
            return ""
        return str(dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID)
    except (AttributeError, LookupError, ValueError, TypeError):
        return ""
