"""DICOMweb requests to an archive: list its cines, fetch one as a file, store a segmentation."""

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
from monailabel_app.lib.dicomweb.archive_session import (
    CONNECT_SECONDS,
    FETCH_SECONDS,
    ArchiveSession,
    TooLarge,
    chunks,
)

logger = logging.getLogger(__name__)

UID_GRAMMAR = re.compile(r"[0-9]+(\.[0-9]+)+")
UID_LENGTH = 64  # characters, PS3.5 section 9
ULTRASOUND = "US"  # modality
PAGE = 200  # results asked for at once
STORED_FORM = {
    "Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*',  # as it is stored
    "Accept-Encoding": "identity",  # an archive that packs what is packed already sends nothing for minutes
}
FETCH_TIMEOUT = (CONNECT_SECONDS, FETCH_SECONDS)
_HEAD_BYTES = 1 << 16  # more than the header of a message's part ever takes


class ArchiveError(FetalIQAError):
    """A request to the archive failed."""

    http_status = 502


class ArchiveUnavailable(ArchiveError):
    """The archive cannot be reached, or authentication failed: other requests would fail too."""


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
        with self._reported("does not answer as a DICOMweb archive"):
            self._client.search_for_series(search_filters=self._filters, limit=1)

    def series(self, modality: str = ULTRASOUND) -> Iterator[tuple[str, str, int | None]]:
        """Study, UID and number of instances (None where the archive gives none) of all series.

        Raises:
            ArchiveError: when the archive does not answer as one.
        """
        filters, fields = {**self._filters, "Modality": modality}, ["NumberOfSeriesRelatedInstances"]
        for result in self._paged(self._client.search_for_series, search_filters=filters, fields=fields):
            try:
                study, series = _uid(result, "StudyInstanceUID"), _uid(result, "SeriesInstanceUID")
                count = result.get("NumberOfSeriesRelatedInstances")
                yield study, series, int(count) if count else None
            except (ArchiveError, ValueError) as problem:  # of this series; the others can be used
                logger.error("a series is left out: %s", problem)

    def cines(self, study: str, series: str) -> list[Cine]:
        """The images of several frames in a series.

        Raises:
            ArchiveError: when the archive does not answer as one.
        """
        results = self._paged(
            self._client.search_for_instances,
            study_instance_uid=study,
            series_instance_uid=series,
            fields=["NumberOfFrames"],
        )
        with self._reported(f"describes the images of series {series} badly"):
            return [Cine(study, series, _uid(one, "SOPInstanceUID")) for one in results if _several_frames(one)]

    def instances(self, study: str, series: str) -> list[str]:
        """UIDs of all images of a series.

        Raises:
            ArchiveError: when the archive does not answer as one.
        """
        search = self._client.search_for_instances
        results = self._paged(search, study_instance_uid=study, series_instance_uid=series)
        return [_uid(one, "SOPInstanceUID") for one in results]

    def fetch(self, cine: Cine, target: Path) -> None:
        """Write a cine to a file, exactly as the archive stores it; the file appears complete or not at all.

        Raises:
            ArchiveError: when the archive sends something else, or too much.
            OSError: when the file cannot be written.
        """
        prefix = settings.MONAI_LABEL_WADO_PREFIX
        service = f"{self.address}/{prefix}" if prefix else self.address
        call = f"{service}/studies/{cine.study}/series/{cine.series}/instances/{cine.instance}"
        with tempfile.TemporaryFile(dir=target.parent) as received:
            with self._reported(f"did not send {cine.instance}"):
                response = self._session.get(call, headers=STORED_FORM, stream=True, timeout=FETCH_TIMEOUT)
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
        """Put an instance into the archive; one that it already has stays unchanged.

        Raises:
            ArchiveError: when the archive does not take it.
        """
        with self._reported(f"did not take {dataset.SOPInstanceUID}"):
            response = self._client.store_instances([dataset], study_instance_uid=str(dataset.StudyInstanceUID))
        failed = response.get("FailedSOPSequence") or []
        if failed:
            reason = failed[0].get("FailureReason")
            raise ArchiveError(
                f"the archive {self.address} did not take {dataset.SOPInstanceUID} (failure reason {reason}); "
                "see its own log"
            )

    # -- internals --------------------------------------------------------------------------------------

    def _paged(self, search: Callable[..., list[dict[str, Any]]], **asked: Any) -> Iterator[Dataset]:
        """All results of a search; ends when a page brings nothing new, as from an archive that knows no pages."""
        seen: set[str] = set()
        while True:
            with self._reported("does not answer as a DICOMweb archive"):
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
                f"the archive {self.address} sent another instance than {cine.instance}; contact its administrator"
            )

    @contextlib.contextmanager
    def _reported(self, what: str) -> Iterator[None]:
        """Turn errors of a request into one sentence, which repeats nothing of the archive's response."""
        try:
            yield
        except FetalIQAError:
            raise
        except requests.HTTPError as error:
            raise self._refused(0 if error.response is None else error.response.status_code, what) from None
        except requests.TooManyRedirects:
            raise ArchiveUnavailable(
                f"the archive {self.address} redirects to another address, which is not followed; use that one"
            ) from None
        except TooLarge as error:
            raise ArchiveError(
                f"the archive {self.address} {what}: the answer is {error}; see --conf max_upload_mb"
            ) from None
        except requests.ConnectTimeout:
            raise ArchiveUnavailable(
                f"the archive {self.address} does not respond in time; check that it runs"
            ) from None
        except requests.Timeout:  # of this call: another may be answered
            raise ArchiveError(
                f"the archive {self.address} {what}: no data for too long; it may be overloaded"
            ) from None
        except requests.exceptions.SSLError:
            raise ArchiveUnavailable(
                f"the archive {self.address}: its certificate is not trusted; name its authority in "
                "REQUESTS_CA_BUNDLE"
            ) from None
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            raise ArchiveUnavailable(
                f"the archive {self.address} does not respond; check that it runs and that the address is right"
            ) from None
        except (requests.RequestException, ValueError, LookupError, AttributeError, TypeError) as error:
            raise ArchiveError(
                f"the archive {self.address} {what} ({type(error).__name__}); check the address"
            ) from None

    def _refused(self, status: int, what: str) -> ArchiveError:
        if status in (401, 403):
            return ArchiveUnavailable(
                f"the archive {self.address}: authentication failed (status {status}); set "
                "MONAI_LABEL_DICOMWEB_USERNAME and MONAI_LABEL_DICOMWEB_PASSWORD"
            )
        return ArchiveError(f"the archive {self.address} {what} (status {status}); check the address and its log")


def _several_frames(result: Dataset) -> bool:
    """Whether an image is a cine; where the archive gives no number of frames, its SOP class decides."""
    count = result.get("NumberOfFrames")
    return int(count) > 1 if count else result.get("SOPClassUID") == UltrasoundMultiFrameImageStorage


def _uid(result: Dataset, keyword: str) -> str:
    """A UID of a response, checked because it becomes part of addresses and file names.

    Raises:
        ArchiveError: when it is not a valid UID.
    """
    value = str(result.get(keyword) or "")
    if len(value) > UID_LENGTH or UID_GRAMMAR.fullmatch(value) is None:
        raise ArchiveError(
            f"the archive names {value[:80]!r} as a {keyword}, which is not a UID; contact its administrator"
        )
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
        raise ArchiveError(f"the archive {address} sent an incomplete instance; try again later")
    return start + 4, size - len(tail) + stop


def _copy(source: BinaryIO, target: BinaryIO, length: int) -> None:
    while length > 0:
        piece = source.read(min(length, 1 << 20))
        if not piece:
            return
        target.write(piece)
        length -= len(piece)
