"""Calls to a DICOM archive by DICOMweb: which cines it has, one of them as a file, and a segmentation into it."""

from __future__ import annotations

import contextlib
import logging
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import requests
from dicomweb_client import DICOMwebClient
from monailabel.config import settings
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UltrasoundMultiFrameImageStorage

from fetaliqa.atomic import atomic_path
from fetaliqa.errors import FetalIQAError
from monailabel_app.lib.dicomweb.session import (
    CONNECT_SECONDS,
    GATHER_SECONDS,
    ArchiveSession,
    TooLarge,
    chunks,
)

logger = logging.getLogger(__name__)

UID_GRAMMAR = re.compile(r"[0-9]+(\.[0-9]+)+")
UID_LENGTH = 64  # characters, PS3.5 section 9
ULTRASOUND = "US"  # modality
PAGE = 200  # results asked for at once
WHOLE = {
    "Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*',  # as it is stored
    "Accept-Encoding": "identity",  # an archive that packs what is packed already is silent for minutes
}
PATIENT = (CONNECT_SECONDS, GATHER_SECONDS)
_HEAD_BYTES = 1 << 16  # more than the header of a message's part ever takes


class ArchiveError(FetalIQAError):
    """The archive does not do what it is asked for."""

    http_status = 502


class ArchiveSilent(ArchiveError):
    """The archive cannot be reached, or does not let us in: no other call would fare better."""


@dataclass(frozen=True)
class Cine:
    """An image of several frames in the archive, by its UIDs."""

    study: str
    series: str
    instance: str


class Archive:
    """A DICOM archive.

    Args:
        address: such as http://127.0.0.1:8042/dicom-web.
        max_bytes: largest file taken from it.
    """

    def __init__(self, address: str, max_bytes: int) -> None:
        self.address, self._max_bytes = address, max_bytes
        user, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
        self._session = ArchiveSession((user, password) if user else None)
        self._client = DICOMwebClient(
            address,
            session=self._session,
            qido_url_prefix=settings.MONAI_LABEL_QIDO_PREFIX or None,
            wado_url_prefix=settings.MONAI_LABEL_WADO_PREFIX or None,
            stow_url_prefix=settings.MONAI_LABEL_STOW_PREFIX or None,
            chunk_size=1 << 30,  # segmentations are sent in one piece: not every archive takes chunks
            permissive_uid=True,
        )
        self._client.set_http_retry_params(retry=False)
        self._filters = {**settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER, "Modality": ULTRASOUND}

    def check(self) -> None:
        """Ask for one series.

        Raises:
            ArchiveError: when the archive does not answer as one.
        """
        with self._told("does not answer as a DICOMweb archive"):
            self._client.search_for_series(search_filters=self._filters, limit=1)

    def series(self, modality: str = ULTRASOUND) -> Iterator[tuple[str, str, int | None]]:
        """Study, UID and number of instances (None where the archive does not say) of all series.

        Raises:
            ArchiveError: when the archive does not answer as one.
        """
        filters, fields = {**self._filters, "Modality": modality}, ["NumberOfSeriesRelatedInstances"]
        for found in self._paged(self._client.search_for_series, search_filters=filters, fields=fields):
            try:
                study, series = _uid(found, "StudyInstanceUID"), _uid(found, "SeriesInstanceUID")
                count = found.get("NumberOfSeriesRelatedInstances")
                yield study, series, int(count) if count else None
            except (ArchiveError, ValueError) as problem:  # of this series; the others can be used
                logger.error("a series is left out: %s", problem)

    def cines(self, study: str, series: str) -> list[Cine]:
        """The images of several frames in a series.

        Raises:
            ArchiveError: when the archive does not answer as one.
        """
        found = self._paged(
            self._client.search_for_instances,
            study_instance_uid=study,
            series_instance_uid=series,
            fields=["NumberOfFrames"],
        )
        with self._told(f"describes the images of series {series} badly"):
            return [Cine(study, series, _uid(one, "SOPInstanceUID")) for one in found if _several_frames(one)]

    def instances(self, study: str, series: str) -> list[str]:
        """UIDs of all images of a series.

        Raises:
            ArchiveError: when the archive does not answer as one.
        """
        search = self._client.search_for_instances
        found = self._paged(search, study_instance_uid=study, series_instance_uid=series)
        return [_uid(one, "SOPInstanceUID") for one in found]

    def fetch(self, cine: Cine, target: Path) -> None:
        """Write a cine to a file, byte by byte as the archive has it; the file appears complete or not at all.

        Raises:
            ArchiveError: when the archive sends something else, or too much.
            OSError: when the disk does not take it.
        """
        prefix = settings.MONAI_LABEL_WADO_PREFIX
        service = f"{self.address}/{prefix}" if prefix else self.address
        call = f"{service}/studies/{cine.study}/series/{cine.series}/instances/{cine.instance}"
        with tempfile.TemporaryFile(dir=target.parent) as received:
            with self._told(f"did not send {cine.instance}"):
                response = self._session.get(call, headers=WHOLE, stream=True, timeout=PATIENT)
                response.raise_for_status()
                for chunk in chunks(response, self._max_bytes):
                    received.write(chunk)
            start, stop = _part(received, response.headers.get("content-type", ""), self.address)
            with atomic_path(target) as temporary:
                received.seek(start)
                with open(temporary, "wb") as file:
                    _copy(received, file, stop - start)
                self._check_is(cine, temporary)

    def store(self, dataset: Dataset) -> None:
        """Put an instance into the archive; one that it has already stays as it is.

        Raises:
            ArchiveError: when the archive does not take it.
        """
        with self._told(f"did not take {dataset.SOPInstanceUID}"):
            told = self._client.store_instances([dataset], study_instance_uid=str(dataset.StudyInstanceUID))
        failed = told.get("FailedSOPSequence") or []
        if failed:
            reason = failed[0].get("FailureReason")
            raise ArchiveError(
                f"the archive {self.address} did not take {dataset.SOPInstanceUID} (failure reason {reason}); "
                "its own log says why"
            )

    # -- parts --------------------------------------------------------------------------------------

    def _paged(self, search: Callable[..., list[dict[str, Any]]], **asked: Any) -> Iterator[Dataset]:
        """All results of a search; ends when a page brings nothing new, as from an archive that knows no pages."""
        seen: set[str] = set()
        while True:
            with self._told("does not answer as a DICOMweb archive"):
                page = search(limit=PAGE, offset=len(seen), **asked)
                results = [Dataset.from_json(one) for one in page]
                keys = [str(one.get("SOPInstanceUID") or one.SeriesInstanceUID) for one in results]
            fresh = [one for one, key in zip(results, keys) if key not in seen]
            if not fresh:
                return
            seen.update(keys)
            yield from fresh

    def _check_is(self, cine: Cine, path: Path) -> None:
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID", "SeriesInstanceUID"])
            same = (header.get("SOPInstanceUID"), header.get("SeriesInstanceUID")) == (cine.instance, cine.series)
        except (InvalidDicomError, EOFError, ValueError, LookupError, AttributeError):
            same = False
        if not same:
            raise ArchiveError(
                f"the archive {self.address} sent something else than {cine.instance}; ask its keeper"
            )

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Let errors of a call leave the block as one sentence. Of what the archive says nothing is repeated."""
        try:
            yield
        except FetalIQAError:
            raise
        except requests.HTTPError as error:
            raise self._refused(0 if error.response is None else error.response.status_code, what) from None
        except requests.TooManyRedirects:
            raise ArchiveSilent(
                f"the archive {self.address} sends on to another address, which is not followed; give that one"
            ) from None
        except TooLarge as error:
            raise ArchiveError(
                f"the archive {self.address} {what}: the answer is {error}; see --conf max_upload_mb"
            ) from None
        except requests.ConnectTimeout:
            raise ArchiveSilent(
                f"the archive {self.address} does not answer in time; check that it runs"
            ) from None
        except requests.Timeout:  # of this call: another may be answered
            raise ArchiveError(
                f"the archive {self.address} {what}: it was silent for too long; is it busy?"
            ) from None
        except requests.exceptions.SSLError:
            raise ArchiveSilent(
                f"the archive {self.address}: its certificate is not trusted; name its authority in "
                "REQUESTS_CA_BUNDLE"
            ) from None
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            raise ArchiveSilent(
                f"the archive {self.address} does not answer; check that it runs and that the address is right"
            ) from None
        except (requests.RequestException, ValueError, LookupError, AttributeError, TypeError) as error:
            raise ArchiveError(
                f"the archive {self.address} {what} ({type(error).__name__}); check the address"
            ) from None

    def _refused(self, status: int, what: str) -> ArchiveError:
        if status in (401, 403):
            return ArchiveSilent(
                f"the archive {self.address} does not let us in (status {status}); set "
                "MONAI_LABEL_DICOMWEB_USERNAME and MONAI_LABEL_DICOMWEB_PASSWORD"
            )
        return ArchiveError(f"the archive {self.address} {what} (status {status}); check the address and its log")


def _several_frames(found: Dataset) -> bool:
    """Whether an image is a cine; an archive that does not count its frames says so by its class."""
    count = found.get("NumberOfFrames")
    return int(count) > 1 if count else found.get("SOPClassUID") == UltrasoundMultiFrameImageStorage


def _uid(found: Dataset, keyword: str) -> str:
    """A UID of an answer: it becomes part of addresses and file names.

    Raises:
        ArchiveError: when it is none.
    """
    value = str(found.get(keyword) or "")
    if len(value) > UID_LENGTH or UID_GRAMMAR.fullmatch(value) is None:
        raise ArchiveError(f"the archive names {value[:80]!r} as a {keyword}, which is no UID; ask its keeper")
    return value


def _part(file: BinaryIO, content_type: str, address: str) -> tuple[int, int]:
    """Where the one part of a received message lies: first byte and the one after the last."""
    size = file.seek(0, 2)
    if content_type.lower().startswith("application/dicom"):
        return 0, size
    boundary = re.search(r'boundary="?([^";]+)"?', content_type)
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    file.seek(max(0, size - _HEAD_BYTES))
    tail = file.read()
    start = head.find(b"\r\n\r\n")
    stop = tail.rfind(b"\r\n--" + boundary[1].encode()) if boundary else -1
    if start < 0 or stop < 0:
        raise ArchiveError(f"the archive {address} sent a message that is no complete instance; ask again later")
    return start + 4, size - len(tail) + stop


def _copy(source: BinaryIO, target: BinaryIO, length: int) -> None:
    while length > 0:
        piece = source.read(min(length, 1 << 20))
        if not piece:
            return
        target.write(piece)
        length -= len(piece)
