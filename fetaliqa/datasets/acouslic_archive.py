"""Download of the public ACOUSLIC-AI archive: resumed, verified, and unpacked into a folder.

Version 1.1 is Zenodo record 12697994 (CC BY-NC-SA 4.0, reported as about 38 GB). The name and checksum of its file
were not available during development: ``DEFAULT_URL`` follows the folder's name in the challenge's code. The
    record
(``RECORD_URL``) is therefore queried first for its files and their MD5. Only if it does not respond is the default
address used, and then only the archive's CRC-32 of each file is checked, unless the user gives a hash.
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
    """A data set's archive cannot be downloaded or unpacked, or is not the expected one."""


@dataclass(frozen=True)
class Source:
    """Address and expected hash (hex; None if unknown) of an archive."""

    url: str
    sha256: str | None = None
    md5: str | None = None


@dataclass(frozen=True)
class Fetched:
    """Result of a download.

    Attributes:
        folder: root folder of the data set.
        url: address of the archive.
        sha256: hash of the archive, hex.
        checked: ``sha256`` or ``md5`` if that hash was compared with an expected one; ``crc32`` if only the
            checksums in the archive were verified.
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

    A given address (or ``$FETALIQA_ACOUSLIC_URL``) is used directly. Otherwise Zenodo's record is queried for its
    .zip and MD5; if it does not respond, ``note`` is called with a message and the default address is used.

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
        source = _from_record(_record(record_url))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as problem:
        if note:
            reason = getattr(problem, "reason", problem)
            note(f"{record_url} gave no valid response ({reason}); trying {DEFAULT_URL}")
        return Source(DEFAULT_URL, sha256, md5)
    return source if not (sha256 or md5) else Source(source.url, sha256, md5)


def fetch_archive(
    source: Source,
    folder: Path,
    *,
    keep: bool = False,
    progress: Progress | None = None,
    unpacked: Progress | None = None,
) -> Fetched:
    """Download an archive and unpack it to ``folder`` atomically.

    The archive is stored beside ``folder`` until it is unpacked, so the disk must hold both. An interrupted
    download is resumed by the next call. An existing archive is not downloaded again.

    Args:
        source: result of ``find_source``.
        folder: root folder to create; must not exist, or be empty.
        keep: keep the archive.
        progress: called with bytes downloaded and in total.
        unpacked: called with bytes unpacked and in total.

    Raises:
        OptionError: when ``folder`` is not empty.
        ArchiveError: when the download fails, the hash differs, or the archive is not in the ACOUSLIC-AI layout,
            unsafe, damaged, or too large for the disk.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(f"{folder} exists already; give a new folder, or omit --download to check it")
    archive = folder.parent / _file_name(source.url)
    advice = Advice(URL_VARIABLE, "unzip it yourself, then give its folder without --download", None)
    exists = archive.is_file()
    try:
        if exists:
            sha256 = _digests(archive, ("sha256",))["sha256"]
            if source.sha256 and sha256 != source.sha256.lower():
                raise WeightsError(f"{archive}: not the expected archive (its sha256 differs); move it away")
        else:
            sha256 = download(source.url, archive, sha256=source.sha256, progress=progress, advice=advice)
    except WeightsError as problem:
        raise ArchiveError(str(problem)) from None
    _check_md5(archive, source.md5, keep=exists)
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
    """Check the MD5 of an archive; ``keep``: do not delete it if it is wrong, because it existed before."""
    if expected is None:
        return
    md5 = _digests(archive, ("md5",))["md5"]
    if md5 != expected.lower():
        if keep:
            raise ArchiveError(
                f"{archive}: not the expected archive (its MD5 is {md5}, not {expected.lower()}); move it away"
            )
        archive.unlink()
        raise ArchiveError(
            f"{archive.name}: its MD5 is {md5}, but {expected.lower()} was expected; it was removed, "
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
    """File name of the archive, from the last part of the address that is a .zip name."""
    parts = [unquote(part) for part in urlsplit(url).path.split("/")]
    names = [part for part in parts if re.fullmatch(r"[A-Za-z0-9][\w.-]*\.zip", part)]
    return names[-1] if names else "acouslic-ai.zip"


def _record(url: str) -> Any:
    request = urllib.request.Request(url, headers={"User-Agent": "fetaliqa", "Accept": "application/json"})
    with urllib.request.urlopen(request, timeout=RECORD_TIMEOUT_SECONDS) as response:
        return json.loads(response.read(MAX_RECORD_BYTES))


def _from_record(record: Any) -> Source:
    """The archive among the files of a Zenodo record: the one with the default name, else the only .zip.

    Raises:
        ValueError, KeyError, TypeError: when there is none, or the record has another structure.
    """
    archives = {file["key"]: file for file in record["files"] if str(file["key"]).endswith(".zip")}
    default = PurePosixPath(urlsplit(DEFAULT_URL).path).name
    if default not in archives and len(archives) != 1:
        raise ValueError(f"{len(archives)} .zip files")
    file = archives.get(default) or next(iter(archives.values()))
    url, (kind, _, digest) = file["links"]["self"], file["checksum"].partition(":")
    if not url.startswith(("https://", "http://")) or kind != "md5" or not re.fullmatch(r"[0-9a-f]{32}", digest):
        raise ValueError("no address with an MD5")
    return Source(url, md5=digest)
