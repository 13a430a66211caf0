from __future__ import annotations

import asyncio
import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from monailabel_app.lib.files.upload_sessions import UploadSessions
from monailabel_app.lib.http import guard, refusal
from monailabel_app.lib.http import upload_limits as uploads
from monailabel_app.lib.http.refusal import Refused
from monailabel_app.lib.http.upload_limits import Folders, UploadLimits, upload_purpose

MIB = 1024**2


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    found = Folders(tmp_path / "images", tmp_path / "sessions", tmp_path / "temporary")
    for folder in (found.images, found.sessions, found.temporary):
        assert folder is not None
        folder.mkdir()
    return found


def limits(folders: Folders, *, most: int = 10 * MIB, free: int = 0, per_minute: int = 100) -> UploadLimits:
    return UploadLimits(lambda: folders, most, free, per_minute)


def test_images_sessions_and_temporary_files_count_and_labels_do_not(folders: Folders) -> None:
    assert folders.sessions is not None
    for path in (
        folders.images / "a.mha",
        folders.sessions / "one" / "b.mha",
        folders.temporary / "fetaliqa-x" / "c.mha",
        folders.images / "label-versions" / "a.nii.gz",
        folders.temporary / "of_another_program",
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(3 * MIB))
    checked = limits(folders)
    checked.admit("127.0.0.1", MIB)
    with pytest.raises(Refused, match="max_studies_gb") as refused:
        checked.admit("127.0.0.1", MIB + 1)
    assert refused.value.status_code == 507
    (folders.images / "a.mha").unlink()  # room is seen at once
    checked.admit("127.0.0.1", MIB + 1)


def test_uploads_that_come_at_the_same_time_count_together(folders: Folders) -> None:
    checked = limits(folders)
    checked.admit("127.0.0.1", 6 * MIB)
    checked.admit("127.0.0.1", 6 * MIB)  # each would fit alone
    checked.add(6 * MIB)
    checked.add(6 * MIB)
    with pytest.raises(Refused, match="max_studies_gb"):
        checked.check()
    checked.end(6 * MIB)
    checked.end(6 * MIB)  # both were refused for what they held, and left nothing
    checked.check()


def test_the_last_of_the_disk_is_kept(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=8 * MIB))
    checked = limits(folders, free=4 * MIB)
    checked.admit("127.0.0.1", MIB)  # kept twice while it is read, and once where it belongs
    with pytest.raises(Refused, match="min_free_gb") as refused:
        checked.admit("127.0.0.1", 2 * MIB)
    assert refused.value.status_code == 507


def test_a_full_home_refuses_sessions_and_no_images(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    free = {folders.images: 8 * MIB, folders.temporary: 8 * MIB, folders.sessions: 0}
    monkeypatch.setattr(uploads, "_existing", lambda folder: (folder, folder == folders.sessions))  # of two disks
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free[path]))
    checked = limits(folders, free=4 * MIB)
    checked.admit("127.0.0.1", 100, "image")
    checked.admit("127.0.0.1", 100, "answer")
    with pytest.raises(Refused, match="disk of the upload sessions") as refused:
        checked.admit("127.0.0.1", 100, "session")
    assert refused.value.status_code == 507


def test_a_home_of_another_user_is_no_reason_to_refuse_images(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = os.stat

    def closed(path: Path, **options: Any) -> os.stat_result:
        if path == folders.sessions:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", closed)
    for kept in ("image", "session"):  # whether sessions can be kept is found when one is
        limits(folders).admit("127.0.0.1", MIB, kept)
    assert folders.sessions is not None
    assert UploadSessions(str(folders.sessions)).remove_expired() == 0


@pytest.mark.parametrize("declared", [100, 10**15])
def test_a_request_that_stops_coming_is_answered(declared: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a machine that went away holds one of the few places of uploads for good."""
    monkeypatch.setattr(guard, "STALLED_SECONDS", 0.2)
    monkeypatch.setattr(refusal, "DRAINED_SECONDS", 0.2)
    sent: list[Any] = []

    async def endpoint(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass

    async def request() -> None:
        coming = [{"type": "http.request", "body": b"first", "more_body": True}]

        async def receive() -> Any:
            return coming.pop() if coming else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/train/x", "query_string": b""}
        scope["headers"] = [(b"content-length", str(declared).encode())]
        await asyncio.wait_for(guard.Guard(endpoint, 1000)(scope, receive, send), 10)

    asyncio.run(request())
    assert sent[0]["status"] == (408 if declared == 100 else 413)


def test_uploads_are_counted_by_client_and_minute(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(uploads, "time", SimpleNamespace(monotonic=lambda: now[0]))
    checked = limits(folders, per_minute=2)
    for _ in range(2):
        checked.admit("192.0.2.1", 1)
        now[0] += 10
    with pytest.raises(Refused, match="uploads in a minute") as refused:
        checked.admit("192.0.2.1", 1)
    assert (refused.value.status_code, refused.value.headers) == (429, {"Retry-After": "40"})
    checked.admit("192.0.2.2", 1)
    checked.admit("2001:db8::1", 1)
    checked.admit("2001:db8::ffff", 1)
    with pytest.raises(Refused):
        checked.admit("2001:db8::2", 1)  # the same network, within which a machine chooses its address
    now[0] += 40
    checked.admit("192.0.2.1", 1)


@pytest.mark.parametrize(
    ("method", "path", "size", "expected"),
    [
        ("PUT", "/datastore/image", 10, "image"),
        ("PUT", "/datastore/", 10, "image"),
        ("PUT", "/session/", None, "session"),
        ("POST", "/infer/fetalclip_seg", 2 * MIB, "answer"),
        ("POST", "/infer/fetalclip_seg", None, "answer"),
        ("POST", "/infer/fetalclip_seg", 500, None),
        ("PUT", "/datastore/label", 2 * MIB, None),
        ("PUT", "/datastore/image/info", 10, None),
        ("POST", "/export/", 10, None),
    ],
)
def test_which_requests_leave_an_image_on_the_disk(
    method: str, path: str, size: int | None, expected: str | None
) -> None:
    assert upload_purpose(method, path, size) == expected
