"""The public archive of ACOUSLIC-AI: downloaded with resume, checked, and unpacked into a folder.

Version 1.1 is Zenodo record 12697994 (CC BY-NC-SA 4.0, said to be about 38 GB). Neither the name of its file nor
its checksum could be looked up when this was written: ``DEFAULT_URL`` is made up after the folder's name in the
challenge's own code. So the record itself is asked first (``RECORD_URL``), which names its files with their MD5;
only when it does not answer is the default address tried, and then nothing but the archive's own CRC-32 of each
file is checked, unless the user gives a hash.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from fetaliqa.datasets.safe_unzip import unpack
from fetaliqa.errors import FetalIQAError, OptionError, WeightsError
from fetaliqa.model.weights_download import Advice, Progress, download

RECORD_URL = "https://zenodo.org/api/records/12697994"
DEFAULT_URL = "https://zenodo.org/records/12697994/files/acouslic-ai-train-set.zip"
URL_VARIABLE = "FETALIQA_ACOUSLIC_URL"
RECORD_TIMEOUT_SECONDS = 30.0
MAX_RECORD_BYTES = 4 << 20  # a record is a few KB of JSON
READ_BYTES = 4 << 20

Note = Callable[[str], None]


class ArchiveError(FetalIQAError):
    """A data set's archive cannot be downloaded, is not the one expected, or cannot be unpacked."""


@dataclass(frozen=True)
class Source:
    """Where an archive lies, and the hash it must have (hex; None when nobody says)."""

    url: str
    sha256: str | None = None
    md5: str | None = None


@dataclass(frozen=True)
class Fetched:
    """What was unpacked.

    Attributes:
        folder: root of the data set.
        url: where it came from.
        sha256: of the archive, hex.
        checked: ``sha256`` or ``md5``: the hash that was compared with an expected one; ``crc32``: only the
            archive's own sums of its files.
    """

    folder: Path
    url: str
    sha256: str
    checked: str


def find_source(
    url: str | None = None,
    sha256: str | None = None,
    md5: str | None = None,
    *,
    record_url: str = RECORD_URL,
    note: Note | None = None,
) -> Source:
    """The address and expected hash of the archive.

    A given address (or ``$FETALIQA_ACOUSLIC_URL``) is taken as it is. Otherwise Zenodo's record is asked for its
    .zip and the MD5 of it; when it does not answer, ``note`` gets a sentence and the default address is used.

    Raises:
        OptionError: when the address or a hash is malformed.
    """
    _check_hash("sha256", sha256, 64)
    _check_hash("md5", md5, 32)
    url = url or os.environ.get(URL_VARIABLE)
    if url:
        if not url.startswith(("https://", "http://")):
            raise OptionError(f"{url!r} is not an address; it must begin with https:// or http://")
        return Source(url, sha256, md5)
    try:
        found = _from_record(_record(record_url))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as problem:
        if note:
            reason = getattr(problem, "reason", problem)
            note(f"{record_url} gave no usable answer ({reason}); trying {DEFAULT_URL}")
        return Source(DEFAULT_URL, sha256, md5)
    return found if not (sha256 or md5) else Source(found.url, sha256, md5)


def fetch_archive(
    source: Source,
    folder: Path,
    *,
    keep: bool = False,
    progress: Progress | None = None,
    unpacked: Progress | None = None,
) -> Fetched:
    """Download an archive and unpack it into ``folder``, which appears complete or not at all.

    The archive is kept beside ``folder`` until it is unpacked; an interrupted download is continued by the next
    call. At the end both lie on the disk at once. An archive that is there already is not downloaded again.

    Args:
        source: from ``find_source``.
        folder: root to make; must not exist, or be empty.
        keep: keep the archive.
        progress: called with bytes downloaded and in all.
        unpacked: called with bytes unpacked and in all.

    Raises:
        OptionError: when ``folder`` is not empty.
        ArchiveError: when the download fails, the hash is another one, or the archive is not in the
            ACOUSLIC-AI layout, unsafe, damaged, or too large for the disk.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(f"{folder} exists already; name a new folder, or leave out the download to check it")
    archive = folder.parent / _file_name(source.url)
    advice = Advice(URL_VARIABLE, "unzip it yourself, then name its folder without --download", None)
    found = archive.is_file()
    try:
        if found:
            sha256 = _digests(archive, ("sha256",))["sha256"]
            if source.sha256 and sha256 != source.sha256.lower():
                raise WeightsError(f"{archive}: not the archive expected (its sha256 is another); move it away")
        else:
            sha256 = download(source.url, archive, sha256=source.sha256, progress=progress, advice=advice)
    except WeightsError as problem:
        raise ArchiveError(str(problem)) from None
    _check_md5(archive, source.md5, keep=found)
    try:
        unpack(archive, folder, unpacked)
    except ValueError as problem:
        raise ArchiveError(f"{archive.name}: {problem}") from None
    if not keep:
        archive.unlink()
    checked = "sha256" if source.sha256 else "md5" if source.md5 else "crc32"
    return Fetched(folder, source.url, sha256, checked)


def _check_hash(kind: str, value: str | None, digits: int) -> None:
    if value and not re.fullmatch(rf"[0-9a-f]{{{digits}}}", value.lower()):
        raise OptionError(f"--{kind} {value!r} is not a hash; {digits} hex digits are needed")


def _check_md5(archive: Path, expected: str | None, *, keep: bool) -> None:
    """Refuse an archive of another hash; ``keep``: it was here before, so it is not ours to delete."""
    if expected is None:
        return
    found = _digests(archive, ("md5",))["md5"]
    if found != expected.lower():
        if keep:
            raise ArchiveError(
                f"{archive}: not the archive expected (its MD5 is {found}, not {expected.lower()}); move it away"
            )
        archive.unlink()
        raise ArchiveError(
            f"{archive.name}: its MD5 is {found}, but {expected.lower()} was expected; it was removed, "
            "run the command again"
        )


def _digests(path: Path, kinds: tuple[str, ...]) -> dict[str, str]:
    digests = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    with open(path, "rb") as file:
        while block := file.read(READ_BYTES):
            for digest in digests.values():
                digest.update(block)
    return {kind: digest.hexdigest() for kind, digest in digests.items()}


def _file_name(url: str) -> str:
    """Name for the archive on disk, from the last part of an address that looks like one."""
    parts = [unquote(part) for part in urlsplit(url).path.split("/")]
    named = [part for part in parts if re.fullmatch(r"[A-Za-z0-9][\w.-]*\.zip", part)]
    return named[-1] if named else "acouslic-ai.zip"


def _record(url: str) -> Any:
    request = urllib.request.Request(url, headers={"User-Agent": "fetaliqa", "Accept": "application/json"})
    with urllib.request.urlopen(request, timeout=RECORD_TIMEOUT_SECONDS) as response:
        return json.loads(response.read(MAX_RECORD_BYTES))


def _from_record(record: Any) -> Source:
    """The archive among the files of a Zenodo record: the one of the default name, else its only .zip.

    Raises:
        ValueError, KeyError, TypeError: when there is none, or the record has another form.
    """
    archives = {file["key"]: file for file in record["files"] if str(file["key"]).endswith(".zip")}
    wanted = PurePosixPath(urlsplit(DEFAULT_URL).path).name
    if wanted not in archives and len(archives) != 1:
        raise ValueError(f"{len(archives)} .zip files")
    file = archives.get(wanted) or next(iter(archives.values()))
    url, (kind, _, digest) = file["links"]["self"], file["checksum"].partition(":")
    if not url.startswith(("https://", "http://")) or kind != "md5" or not re.fullmatch(r"[0-9a-f]{32}", digest):
        raise ValueError("no address with an MD5")
    return Source(url, md5=digest)
