"""On a full disk, or with a home that cannot be written, nothing is half-written, and what needs no disk works."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_harness import Server, write_case, write_mask
from starlette.requests import Request

from fetaliqa.registry import AssessmentService
from monailabel_app.lib.files.upload_sessions import UploadSessions
from monailabel_app.lib.http.error_replies import _http
from monailabel_app.lib.http.refusal import Refused

BYTES = 450  # largest file that the server may write meanwhile; the header of an image is less


@contextlib.contextmanager
def full_disk(server: Server) -> Iterator[None]:
    """The server can write files of a few bytes only, as on a disk that has no more room."""
    process, kind = server.process.pid, resource.RLIMIT_FSIZE
    soft, hard = resource.prlimit(process, kind)
    resource.prlimit(process, kind, (BYTES, hard))
    try:
        yield
    finally:
        resource.prlimit(process, kind, (soft, hard))


def kept(server: Server) -> dict[str, str]:
    """Files of the server but for empty locks."""
    return {name: digest for name, digest in server.outside().items() if not name.endswith(".lock")}


def test_a_full_disk_is_507_at_every_upload_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    write_case(tmp_path / "small.mha", 20, seed=11)
    write_case(tmp_path / "large.mha", 600, seed=12)  # more than stays in memory while it is received
    mask = write_mask(tmp_path / "mask.mha", server.images / "case_a.mha").read_bytes()
    before = kept(server)
    with full_disk(server):
        for name in ("small.mha", "large.mha"):
            content = (tmp_path / name).read_bytes()
            for method, target, field in (
                ("PUT", "/datastore/image?image=full", "file"),
                ("PUT", "/session/", "files"),
                ("POST", "/infer/fetalclip_seg?output=json", "file"),
            ):
                answer = server.call(method, target, files={field: (name, content)})
                assert answer.status == 507, (target, name, answer.status, answer.body)
                assert "the disk is full; make room" in answer.detail
        answer = server.call("PUT", "/datastore/label?image=case_a&tag=full", files={"label": ("m.mha", mask)})
        assert (answer.status, "the disk is full" in answer.detail) == (507, True)
        answer = server.infer("image=case_b&output=image", {"threshold": 0.321})
        assert (answer.status, "the disk is full" in answer.detail) == (507, True)
        # what is asked for as JSON needs no disk: it is only not kept
        answer = server.infer("image=case_b&output=json", {"threshold": 0.322})
        assert (answer.status, answer.json()["cached"]) == (200, False)
        assert server.call("PUT", "/datastore/image/info?image=case_a", data={"info": '{"a": 1}'}).status == 507
    assert kept(server) == before
    assert server.leftovers() == []
    assert list((server.root / "sessions").glob("*/frames*")) == []
    again = server.call(
        "PUT", "/datastore/image?image=full", files={"file": ("x.mha", (tmp_path / "small.mha").read_bytes())}
    )
    assert again.status == 200
    assert server.raw("DELETE", "/datastore/image?id=full").status == 200


def test_a_home_that_cannot_be_written_costs_the_cache_and_no_answer(
    server: Server, bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "home").write_text("a file where a folder should be")
    service = AssessmentService(bundle, device="cpu", cache_dir=tmp_path / "home" / "cache")
    with caplog.at_level(logging.WARNING, "fetaliqa.inference.assessment_cache"):
        results = [service.assess(server.images / "case_a.mha") for _ in range(2)]
        for result in results:
            assert not result.cached
            assert result.assessment["best"] == results[0].assessment["best"]
            result.write_masks(tmp_path / "masks.nii.gz")
    assert (tmp_path / "masks.nii.gz").stat().st_size > 0
    warnings = [record.message for record in caplog.records if "not cached" in record.message]
    assert len(warnings) == 1  # once, not at every request
    assert service.cached(server.images / "case_a.mha") is None


def test_sessions_that_cannot_be_kept_or_were_cut_off_are_refused_or_removed(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where a folder should be")
    write_case(tmp_path / "x.mha", 3)
    with pytest.raises(Refused, match="MONAI_LABEL_SESSION_PATH") as refused:
        UploadSessions(str(tmp_path / "home" / "sessions")).add_session(str(tmp_path / "x.mha"))
    assert refused.value.http_status == 507
    store = tmp_path / "sessions"
    sessions = UploadSessions(str(store))
    kept, _ = sessions.add_session(str(tmp_path / "x.mha"))
    for name, record in (("half", None), ("cut", ""), ("new", None)):
        (store / name).mkdir(parents=True)
        if record is not None:
            (store / name / "meta.info").write_text(record)
    long_ago = time.time() - 7200
    for name in ("half", "cut"):
        os.utime(store / name, (long_ago, long_ago))
    assert sessions.get_session("cut") is None
    assert UploadSessions(str(store)).remove_expired() == 2
    assert {path.name for path in store.iterdir()} == {kept, "new"}
    assert sessions.get_session(kept).image.endswith("x.mha")


def test_a_refusal_that_comes_from_the_disk_keeps_its_own_sentence() -> None:
    refused = Refused(507, "the session's files cannot be kept")
    refused.__cause__ = PermissionError(errno.EACCES, "Permission denied")
    answer = asyncio.run(_http(Request({"type": "http"}), refused))
    assert json.loads(bytes(answer.body)) == {"detail": "the session's files cannot be kept"}
