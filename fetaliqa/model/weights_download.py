"""Resumable downloads of the published checkpoint and of data sets, verified by length and hash.

Bytes are written to ``NAME.part``; ``NAME.part.json`` stores the server's entity tag, so that a part is resumed
only while the server has the same file (``If-Range``). The part is renamed when its length and hash are right.
huggingface_hub is not used: it downloads from its own hub only, not from Zenodo or a mirror, and its ``http_get``
(2.4) resumes without ``If-Range`` and checks no hash.
"""

from __future__ import annotations

import errno
import http.client
import json
import logging
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NoReturn

from fetaliqa.atomic import why_not_written, write_json
from fetaliqa.errors import WeightsError
from fetaliqa.file_provenance import file_sha256
from fetaliqa.model.tensor_hashes import CHUNK_BYTES, SHA256_PATTERN, short

logger = logging.getLogger(__name__)

# numansaeed/fetalclip-model: where FetalCLIP's README points to since 2026-02-05
DEFAULT_URL = "https://huggingface.co/numansaeed/fetalclip-model/resolve/main/FetalCLIP_weights.pt"
URL_VARIABLE = "FETALIQA_WEIGHTS_URL"
TOKEN_VARIABLE = "HF_TOKEN"
TIMEOUT_SECONDS = 60.0  # without receiving data
ATTEMPTS = 5  # connections without progress before giving up
MOST_SECONDS = 120.0  # longest wait between attempts; if the server asks for more, the download ends
PASSING = (408, 429, 500, 502, 503, 504)  # temporary errors
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)
PART_SUFFIX = ".part"
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all (None when the server does not say)


@dataclass(frozen=True)
class Advice:
    """Advice in error messages when a server rejects a request; by default, about the weights.

    Attributes:
        url_variable: environment variable that changes the address.
        by_hand: how to continue with a file downloaded by hand.
        token_variable: environment variable of an access token; None to send no token.
    """

    url_variable: str = URL_VARIABLE
    by_hand: str = "import it with `fetaliqa weights import FILE`"
    token_variable: str | None = TOKEN_VARIABLE


WEIGHTS = Advice()


@dataclass(frozen=True)
class _Reply:
    """A server's response: offset of its bytes, total size, entity tag, and hash of the file."""

    start: int
    total: int | None
    tag: str | None
    sha256: str | None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, and stores the hash that a model hub sends with them."""

    linked_hash: str | None = None

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        stated = (headers.get("X-Linked-Etag") or "").strip('"')
        if SHA256_PATTERN.fullmatch(stated):
            self.linked_hash = stated
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def weights_url() -> str:
    """The address to download from: ``$FETALIQA_WEIGHTS_URL``, else the authors' public repository."""
    return os.environ.get(URL_VARIABLE) or DEFAULT_URL


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    progress: Progress | None = None,
    attempts: int = ATTEMPTS,
    advice: Advice = WEIGHTS,
    wait: Callable[[float], object] = time.sleep,
) -> str:
    """Download ``url`` to ``target``, resuming an earlier attempt.

    After a broken connection or a temporary error (HTTP 408, 429 and 5xx) it is tried again: at once if bytes
    arrived, else after 1, 2, 4 ... s, or as the server asks (``Retry-After``).

    Args:
        url: http(s) address.
        target: the file to write; replaced if it exists.
        sha256: expected hash; None to use the hash sent by the server, if any.
        progress: called with the bytes received and in total.
        attempts: connections without progress before giving up.
        advice: advice in error messages.
        wait: function that sleeps for some seconds.

    Returns:
        SHA-256 (hex) of the file.

    Raises:
        WeightsError: when the server rejects the request, keeps failing or asks to wait for more than two minutes,
            or the disk is full (the part is kept); or when the hash is wrong (the part is removed).
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + PART_SUFFIX)
    failures, reply, stated = 0, None, None
    most = _size(part)  # largest size so far: without an entity tag each connection starts again
    while reply is None or reply.total is None or _size(part) < reply.total:
        asked_seconds = None
        try:
            reply = _fetch(url, part, progress, advice.token_variable)
            stated = reply.sha256 or stated
            if reply.total is None:
                break  # without a length, the file ends with the connection
            if _size(part) >= reply.total:
                break
            failure = "the connection closed early"
        except urllib.error.HTTPError as problem:
            with problem:
                if problem.code not in PASSING:
                    _refused(url, problem.code, advice)
                failure = f"the server is temporarily unavailable, HTTP {problem.code}"
                asked_seconds = _retry_after(problem.headers.get("Retry-After"))
        except (urllib.error.URLError, http.client.HTTPException, OSError) as problem:
            if isinstance(problem, OSError) and problem.errno in DISK:
                raise WeightsError(f"{part} is not written: {why_not_written(problem, 'download')}") from None
            failure = f"{getattr(problem, 'reason', problem)}"
        failures = failures + 1 if _size(part) <= most else 0
        most = max(most, _size(part))
        seconds = backoff_seconds(failures) if asked_seconds is None else asked_seconds
        if failures >= attempts or seconds > MOST_SECONDS:
            later = f" in {seconds:.0f} s" if seconds > MOST_SECONDS else ""
            raise WeightsError(
                f"download of {url} stopped at {_size(part)} bytes ({failure}); run the command again{later} "
                "to continue"
            )
        logger.warning("download of %s: %s; continuing in %.0f s", url, failure, seconds)
        wait(seconds)
    return _finish(part, target, url, sha256 or stated)


def backoff_seconds(failures: int) -> float:
    """Seconds to wait after consecutive connections without progress: 1, 2, 4 ...; 0 after one with progress."""
    return min(2.0 ** (failures - 1), MOST_SECONDS) if failures else 0.0


def _retry_after(stated: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header (RFC 9110, section 10.2.3: a number or a date); None without one."""
    if not stated:
        return None
    try:
        return max(0.0, float(int(stated)))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(stated)
    except ValueError:
        return None
    return max(0.0, when.timestamp() - time.time())


def _finish(part: Path, target: Path, url: str, expected: str | None) -> str:
    sha256 = file_sha256(part)
    if expected is not None and sha256 != expected.lower():
        _discard(part)
        raise WeightsError(
            f"{url}: the file has hash {short(sha256)}, but {short(expected)} was expected; it was removed"
        )
    with open(part, "rb") as file:
        os.fsync(file.fileno())
    os.replace(part, target)
    _discard(part)
    return sha256


def _fetch(url: str, part: Path, progress: Progress | None, token_variable: str | None) -> _Reply:
    """Open one connection and append its bytes to the part."""
    redirects = _Redirects()
    opener = urllib.request.build_opener(redirects)
    have, tag = _resumable(part)
    request = urllib.request.Request(url, headers={"User-Agent": "fetaliqa"})
    if have and tag:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag)
    if token_variable and (token := os.environ.get(token_variable)):
        # not sent with redirects: the token is for the hub, not for its storage provider
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        response = opener.open(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as problem:
        if problem.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            if problem.headers.get("Content-Range") == f"bytes */{have}":
                return _Reply(have, have, tag, redirects.linked_hash)  # the part is complete
            _discard(part)  # the part is longer than the file: restart
            return _fetch(url, part, progress, token_variable)
        raise
    with response:
        reply = _understood(response, redirects.linked_hash)
        if reply.start not in (0, have):
            raise WeightsError(f"{url}: the server sent bytes from {reply.start} instead of {have}")
        write_json(_note(part), {"url": url, "tag": reply.tag})
        with open(part, "r+b" if reply.start else "wb") as file:
            file.seek(reply.start)
            file.truncate()
            done = reply.start
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                if progress:
                    progress(done, reply.total)
    return reply


def _understood(response: http.client.HTTPResponse, sha256: str | None) -> _Reply:
    tag = response.headers.get("ETag")
    if tag and tag.startswith("W/"):
        tag = None  # a weak tag does not guarantee equal bytes
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        match = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None:
            raise WeightsError(f"{response.url}: a partial response without a valid Content-Range")
        return _Reply(int(match[1]), int(match[2]), tag, sha256)
    length = response.headers.get("Content-Length")
    return _Reply(0, int(length) if length and length.isdigit() else None, tag, sha256)


def _resumable(part: Path) -> tuple[int, str | None]:
    try:
        note = json.loads(_note(part).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return 0, None
    tag = note.get("tag") if isinstance(note, dict) else None
    return (_size(part), tag) if isinstance(tag, str) else (0, None)


def _refused(url: str, code: int, advice: Advice) -> NoReturn:
    if code in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        token = f" and set {advice.token_variable} to your access token" if advice.token_variable else ""
        raise WeightsError(
            f"{url}: access denied (HTTP {code}); if the repository asks for consent, give it on its page{token}"
            f", or download the file by hand and {advice.by_hand}"
        ) from None
    if code == http.HTTPStatus.NOT_FOUND:
        raise WeightsError(
            f"{url}: no such file (HTTP 404); give its current address with --url or {advice.url_variable}"
        ) from None
    raise WeightsError(f"{url}: the server rejected the request (HTTP {code})") from None


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
