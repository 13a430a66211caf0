from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from monailabel_app.lib import uploads
from monailabel_app.lib.refusal import Refused
from monailabel_app.lib.uploads import Folders, UploadLimits, is_upload

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
        ("PUT", "/datastore/image", 10, True),
        ("PUT", "/datastore/", 10, True),
        ("PUT", "/session/", None, True),
        ("POST", "/infer/fetalclip_seg", 2 * MIB, True),
        ("POST", "/infer/fetalclip_seg", None, True),
        ("POST", "/infer/fetalclip_seg", 500, False),
        ("PUT", "/datastore/label", 2 * MIB, False),
        ("PUT", "/datastore/image/info", 10, False),
        ("POST", "/export/", 10, False),
    ],
)
def test_which_requests_leave_an_image_on_the_disk(
    method: str, path: str, size: int | None, expected: bool
) -> None:
    assert is_upload(method, path, size) is expected
