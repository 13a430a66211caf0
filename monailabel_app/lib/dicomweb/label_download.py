"""Takes over final labels that FetalIQA, on another machine, has put into the archive."""

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
from monailabel_app.lib.datastore.label_info import check_record
from monailabel_app.lib.dicomweb.archive_client import Archive, ArchiveUnavailable, Cine
from monailabel_app.lib.dicomweb.copies_catalog import Catalog
from monailabel_app.lib.dicomweb.label_upload import FINAL

logger = logging.getLogger(__name__)
HEADER = ["SeriesInstanceUID", "SeriesNumber", "Manufacturer", "ReferencedSeriesSequence"]


@dataclass(frozen=True)
class _Segmentation:
    """A segmentation that was fetched.

    Attributes:
        path: of the file.
        series: its UID.
        number: of its series, which counts the versions of a label.
        cine: UID of the image that it belongs to; empty when FetalIQA did not make it.
    """

    path: Path
    series: str
    number: int
    cine: str

    @classmethod
    def of(cls, path: Path) -> _Segmentation:
        """Of a file, whose pixels are not read."""
        header = dcmread(path, stop_before_pixels=True, specific_tags=HEADER)
        cine = _instance_of(header)
        return cls(path, str(header.SeriesInstanceUID), int(header.SeriesNumber) if cine else 0, cine)


class LabelDownload:
    """Takes labels over for images without a final label. One that was saved or removed here is never replaced.

    Args:
        archive: the source.
        catalog: of copied cines and sent labels.
        labels: of this folder.
    """

    def __init__(self, archive: Archive, catalog: Catalog, labels: LabelStore) -> None:
        self._archive, self._catalog, self._labels = archive, catalog, labels

    def run(self) -> list[str]:
        """Take over the last version for each image without a final label; returns a sentence for each problem.

        Raises:
            ArchiveError: when the archive does not answer.
            OSError: when the file cannot be written.
        """
        content = self._catalog.read()
        unlabelled = {
            cine.instance: name for name, cine in content.cines.items() if not self._labels.latest(name, FINAL)
        }
        if not unlabelled:
            return []
        problems: list[str] = []
        best: dict[str, _Segmentation] = {}
        done = {}  # number of instances by series that need not be read again
        sent = {one["series"] for one in content.sent.values()}
        handled = {*content.copied(), *content.removed}
        # on the disk, and only the best one of each image: an archive may hold thousands
        with tempfile.TemporaryDirectory(prefix=".segmentation-", dir=self._catalog.folder) as folder:
            for study, series, count in self._archive.series("SEG"):
                if series in content.counts or series in sent:
                    continue
                failed = len(problems)
                for segmentation in self._fetched(study, series, Path(folder), problems):
                    previous = best.get(segmentation.cine)
                    if segmentation.cine in unlabelled and (
                        previous is None or segmentation.number > previous.number
                    ):
                        if previous is not None:
                            previous.path.unlink()
                        best[segmentation.cine] = segmentation
                    else:
                        segmentation.path.unlink()
                    if not segmentation.cine or segmentation.cine in handled:
                        done[series] = count or 1
                if len(problems) > failed:
                    done.pop(series, None)  # it is read again the next time
            for cine, segmentation in best.items():
                try:
                    self._save(unlabelled[cine], segmentation)
                except FetalIQAError as problem:
                    problems.append(f"the archive's label of {unlabelled[cine]} cannot be taken over: {problem}")
                    done.pop(segmentation.series, None)
        if done:
            with self._catalog.changing() as content:
                content.counts.update(done)
        return problems

    def _fetched(self, study: str, series: str, folder: Path, problems: list[str]) -> Iterator[_Segmentation]:
        """The segmentations of a series as files, one after the other."""
        try:
            for instance in self._archive.instances(study, series):
                path = folder / f"{instance}.dcm"
                self._archive.fetch(Cine(study, series, instance), path)
                yield _Segmentation.of(path)
        except ArchiveUnavailable:
            raise
        except FetalIQAError as problem:
            problems.append(str(problem))

    def _save(self, image_id: str, segmentation: _Segmentation) -> None:
        dataset = dcmread(segmentation.path)
        sweep = read_sweep(self._catalog.copy_of(image_id))
        masks, record = read_cine_segmentation(dataset, sweep.shape)
        check_record(image_id, record, masks)
        info = {"user": "archive", "from_archive": str(dataset.SOPInstanceUID)}
        with tempfile.TemporaryDirectory(prefix=".segmentation-", dir=self._catalog.folder) as folder:
            path = Path(folder) / "masks.nii.gz"
            write_masks(path, masks, sweep)
            pixels = pixels_sha256(sweep.frames)
            saved = self._labels.save(image_id, FINAL, path, record, info, image=pixels, based_on=0)
        logger.info("label %s of %s taken over from the archive", FINAL, image_id)
        with self._catalog.changing() as content:
            content.sent[image_id] = {
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
