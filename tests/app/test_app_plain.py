"""MONAI Label's own server on our app folder, as people start it who do not know our front."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from app_harness import REPOSITORY, Server, fill_studies, free_port, start, stop, write_case, write_mask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("plain")
    fill_studies(root)
    port = free_port()
    command = ["-m", "monailabel.main", "start_server", "--app", str(REPOSITORY / "monailabel_app")]
    command += ["--studies", str(root / "studies"), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--conf", "bundle", str(bundle), "--conf", "cache_dir", str(root / "cache")]
    command += ["--conf", "models", "fetalclip_seg"]
    running = start(root, command, port)
    yield running
    stop(running)


def test_it_serves_the_same_masks_and_assessment(plain: Server) -> None:
    assert set(plain.raw("GET", "/info/").json()["models"]) == {"fetalclip_seg", "interactive"}
    params, content, name = plain.infer("image=case_a&output=all").parts()
    assert params["fetaliqa"]["case_id"] == "case_a"
    assert name.endswith(".nii.gz")
    assert content[:2] == b"\x1f\x8b"
    assert plain.infer("image=case_a&output=json").json()["cached"] is True
    assert plain.leftovers() == []


def test_uploads_and_sessions_are_assessed(plain: Server, tmp_path: Path) -> None:
    write_case(tmp_path / "visitor.mha", 5, seed=9)
    content = (tmp_path / "visitor.mha").read_bytes()
    answer = plain.infer("output=json", files={"file": ("visitor.mha", content)})
    assert answer.json()["fetaliqa"]["shape"] == [5, 48, 64]
    session = plain.call("PUT", "/session/", files={"files": ("visitor.mha", content)}).json()["session_id"]
    assert plain.infer(f"session_id={session}&output=json").json()["fetaliqa"]["shape"] == [5, 48, 64]


def test_ids_that_lead_out_are_refused_with_a_sentence(plain: Server, tmp_path: Path) -> None:
    before = plain.outside()
    mask = write_mask(tmp_path / "mask.nii.gz", plain.images / "case_a.mha").read_bytes()
    secret = plain.root / "secret.mha"
    for value in ("../secret", "../../evil", str(secret), "/etc/passwd"):
        given = quote(value, safe="")
        for method, target, parts in (
            ("POST", f"/infer/fetalclip_seg?image={given}", {}),
            ("POST", "/infer/fetalclip_seg?image=case_a", {"data": {"params": f'{{"image": "{value}"}}'}}),
            ("PUT", f"/datastore/?image={given}", {"files": {"file": ("x.mha", secret.read_bytes())}}),
            ("PUT", f"/datastore/label?image={given}&tag=final", {"files": {"label": ("m.nii.gz", mask)}}),
            ("PUT", f"/datastore/label?image=case_a&tag={given}", {"files": {"label": ("m.nii.gz", mask)}}),
            ("GET", f"/datastore/label?label=case_a&tag={given}", {}),
            ("DELETE", f"/datastore/image?id={given}", {}),
        ):
            answer = plain.call(method, target, **parts)  # type: ignore[arg-type]
            assert answer.status == 400, (method, target, answer.status)
            assert answer.detail
    left = {name for name in plain.outside() if not name.startswith("temporary")}
    assert left == {name for name in before if not name.startswith("temporary")}


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("POST", "/infer/nope?image=case_a", 404),
        ("POST", "/infer/fetalclip_seg?image=nope", 404),
        ("POST", "/infer/fetalclip_seg?image=broken", 400),
        ("POST", "/activelearning/nope", 404),
        ("POST", "/batch/infer/nope", 404),
        ("POST", "/train/nope", 404),
        ("GET", "/datastore/image?image=nope", 404),
        ("POST", "/infer/fetalclip_seg?session_id=..%2f..%2fstudies", 400),
        ("GET", "/session/nope", 404),
    ],
)
def test_what_is_not_there_is_a_sentence_not_500(plain: Server, method: str, target: str, status: int) -> None:
    answer = plain.raw(method, target)
    assert answer.status == status
    assert answer.detail


def test_reload_leaves_nothing_of_what_it_replaces(plain: Server) -> None:
    threads = []
    for _ in range(10):
        assert plain.raw("POST", "/reload").status == 200
        assert plain.raw("GET", "/info/").status == 200
        threads.append(len(list(Path(f"/proc/{plain.process.pid}/task").iterdir())))
    assert max(threads) <= threads[0] + 1  # the one that looks once at what can be labelled may not be done yet


def test_labels_that_are_no_mask_are_refused(plain: Server) -> None:
    answer = plain.call(
        "PUT", "/datastore/label?image=case_a&tag=final", files={"label": ("x.nii.gz", b"#!/bin/sh\n")}
    )
    assert answer.status == 400
    assert not list((plain.studies / "labels" / "final").iterdir())
