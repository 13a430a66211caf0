from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from app_harness import UPLOAD_LIMIT_MB, VIEWER, Server, write_mask

OUTSIDE = [
    "../secret",
    "..",
    "../../secret",
    "a/../../secret",
    "a/b",
    "a\\b",
    ".hidden",
    "a..b",
    "x\0y",
    "",
    "a" * 300,
]


def bad_ids(server: Server) -> list[str]:
    return [*OUTSIDE, str(server.root / "secret.mha"), "/etc/passwd", "file:///etc/passwd"]


@pytest.fixture
def mask(server: Server, tmp_path: Path) -> bytes:
    return write_mask(tmp_path / "mask.nii.gz", server.images / "case_a.mha").read_bytes()


@pytest.mark.usefixtures("untouched")
def test_an_image_id_outside_the_studies_is_refused_everywhere(server: Server, mask: bytes) -> None:
    upload = {"file": ("x.mha", (server.root / "secret.mha").read_bytes())}
    for value in bad_ids(server):
        given = quote(value, safe="")
        calls: list[tuple[str, str, dict]] = [
            ("POST", f"/infer/fetalclip_seg?image={given}", {}),
            ("POST", f"/infer/fetalclip_cls?image={given}&output=json", {}),
            ("POST", "/batch/infer/fetalclip_seg", {"json": {"images": [value]}}),
            ("GET", f"/datastore/image?image={given}", {}),
            ("GET", f"/datastore/image/info?image={given}", {}),
            ("PUT", f"/datastore/image/info?image={given}", {"data": {"info": "{}"}}),
            ("PUT", f"/datastore/label?image={given}&tag=final", {"files": {"label": ("m.nii.gz", mask)}}),
            ("GET", f"/datastore/label?label={given}&tag=final", {}),
            ("GET", f"/datastore/label/info?label={given}&tag=final", {}),
            ("PUT", f"/datastore/label/info?label={given}&tag=final", {"data": {"info": "{}"}}),
            ("PUT", f"/datastore/updatelabelinfo?label={given}&tag=final", {"data": {"params": "{}"}}),
            ("DELETE", f"/datastore/image?id={given}", {}),
            ("DELETE", f"/datastore/?id={given}", {}),
            ("DELETE", f"/datastore/label?id={given}&tag=final", {}),
        ]
        if value:  # without an id, the id is the file's name
            calls.append(("PUT", f"/datastore/image?image={given}", {"files": upload}))
            calls.append(("PUT", f"/datastore/?image={given}", {"files": upload}))
        for method, target, parts in calls:
            answer = server.call(method, target, **parts)
            assert answer.status == 400, (method, target, answer.status, answer.body[:200])
            assert answer.detail
        assert server.raw("HEAD", f"/datastore/image?image={given}").status == 400, value
        assert server.raw("HEAD", f"/datastore/label?image={given}&tag=final").status == 400, value


@pytest.mark.usefixtures("untouched")
def test_a_tag_outside_the_labels_is_refused_everywhere(server: Server, mask: bytes) -> None:
    for value in bad_ids(server):
        given = quote(value, safe="")
        for method, target, parts in (
            ("PUT", f"/datastore/label?image=case_a&tag={given}", {"files": {"label": ("m.nii.gz", mask)}}),
            ("GET", f"/datastore/label?label=case_a&tag={given}", {}),
            ("GET", f"/datastore/label/info?label=case_a&tag={given}", {}),
            ("PUT", f"/datastore/label/info?label=case_a&tag={given}", {"data": {"info": "{}"}}),
            ("DELETE", f"/datastore/label?id=case_a&tag={given}", {}),
        ):
            answer = server.call(method, target, **parts)
            assert answer.status == 400, (method, target, answer.status, answer.body[:200])
        assert server.raw("HEAD", f"/datastore/label?image=case_a&tag={given}").status == 400


@pytest.mark.usefixtures("untouched")
def test_file_names_of_uploads_cannot_lead_out_or_bring_other_kinds(server: Server, mask: bytes) -> None:
    content = (server.root / "secret.mha").read_bytes()
    for name in ("..", "x.sh", "x.mhd", "x.nhdr", "x.mha/../y.py", "x.mha/"):
        for target, field, method in (
            ("/datastore/image?image=fresh", "file", "PUT"),
            ("/datastore/label?image=case_a&tag=final", "label", "PUT"),
            ("/session/", "files", "PUT"),
            ("/infer/fetalclip_seg?output=json", "file", "POST"),
        ):
            answer = server.call(method, target, files={field: (name, content)})
            assert answer.status == 400, (name, target, answer.status, answer.body[:200])


@pytest.mark.usefixtures("untouched")
def test_of_a_file_name_with_a_path_only_the_suffix_matters(server: Server) -> None:
    content = (server.root / "secret.mha").read_bytes()
    for name in ("../../x.mha", "/nowhere/x.mha", ".mha", "C:\\work\\x.mha", "x\\..\\..\\y.mha", "/a b/Ü (1).mha"):
        upload = {"file": (name, content)}
        assert server.call("POST", "/infer/fetalclip_seg?output=json", files=upload).status == 200, name
        answer = server.call("PUT", "/datastore/image?image=fresh", files=upload)
        assert answer.json() == {"image": "fresh"}, name
        assert server.raw("DELETE", "/datastore/image?id=fresh").status == 200


@pytest.mark.usefixtures("untouched")
def test_session_ids_cannot_lead_out_of_the_session_folder(server: Server) -> None:
    for value in bad_ids(server):
        if value:
            assert server.infer(f"session_id={quote(value, safe='')}").status == 400, value
    for target in ("/session/..", "/session/%2e%2e", "/session/..%2f..%2fstudies", "/session/.", "/session/%2e"):
        for method in ("GET", "DELETE"):
            assert server.raw(method, target).status in (400, 404), target


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "target", ["/infer/..%2f..%2fx", "/../secret.mha", "/static/../../secret.mha", "/ohif/..", "/logs/..%5c..%5cx"]
)
def test_addresses_that_climb_find_nothing(server: Server, target: str) -> None:
    for method in ("GET", "POST"):
        assert server.raw(method, target).status in (400, 404, 405)


@pytest.mark.usefixtures("untouched")
def test_headers_that_point_to_other_files_are_refused(server: Server) -> None:
    secret = str(server.root / "secret.mha")
    metaimage = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nCompressedData = False\n"
        f"DimSize = 8 8 4\nElementSpacing = 1 1 1\nElementType = MET_UCHAR\nElementDataFile = {secret}\n"
    ).encode()
    nrrd = (
        "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 8 8 4\nencoding: raw\nspace: left-posterior-superior\n"
        f"space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\ndata file: {secret}\n\n"
    ).encode()
    for name, content in (("x.mha", metaimage), ("x.nrrd", nrrd)):
        for answer in (
            server.infer("output=json", files={"file": (name, content)}),
            server.call("PUT", "/datastore/image?image=pointer", files={"file": (name, content)}),
            server.call("PUT", "/datastore/label?image=case_a&tag=final", files={"label": (name, content)}),
            server.call("PUT", "/session/", files={"files": (name, content)}),
        ):
            assert answer.status == 400
            assert "pixels" in answer.detail


@pytest.mark.usefixtures("untouched")
def test_archives_are_not_unpacked(server: Server) -> None:
    answer = server.call("PUT", "/session/?uncompress=true", files={"files": ("x.mha", b"PK")})
    assert answer.status == 400
    assert "uncompress" in answer.detail


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("chunked", [False, True])
def test_uploads_over_the_limit_are_413(server: Server, chunked: bool) -> None:
    body = b"\0" * (UPLOAD_LIMIT_MB * 1024**2 + 1)
    headers = {"Content-Type": "multipart/form-data; boundary=frame"}
    start = b'--frame\r\nContent-Disposition: form-data; name="file"; filename="x.mha"\r\n\r\n'
    content = start + body + b"\r\n--frame--\r\n"
    pieces = (content[i : i + 65536] for i in range(0, len(content), 65536)) if chunked else content
    answer = server.raw("PUT", "/datastore/image?image=large", pieces, headers)  # type: ignore[arg-type]
    assert answer.status == 413
    assert f"{UPLOAD_LIMIT_MB} MiB" in answer.detail
    assert server.raw("GET", "/info/").status == 200


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/activelearning/nope"),
        ("POST", "/train/nope"),
        ("POST", "/scoring/nope"),
        ("POST", "/batch/infer/nope"),
        ("GET", "/model/nope"),
        ("GET", "/model/info/nope"),
        ("GET", "/datastore/image?image=nope"),
        ("GET", "/datastore/image/info?image=nope"),
        ("GET", "/datastore/label?label=case_a&tag=nope"),
        ("GET", "/datastore/label/info?label=case_a&tag=nope"),
        ("GET", "/datastore/dataset"),
        ("DELETE", "/datastore/image?id=nope"),
        ("DELETE", "/datastore/label?id=case_a&tag=nope"),
        ("GET", "/proxy/dicom/x"),
        ("POST", "/infer/wsi_v2/fetalclip_seg"),
    ],
)
def test_what_is_not_here_is_404_with_a_sentence(server: Server, method: str, target: str) -> None:
    answer = server.raw(method, target)
    assert answer.status == 404
    assert answer.detail


def test_a_strategy_named_in_the_body_is_checked_too(server: Server) -> None:
    answer = server.call("POST", "/activelearning/random", json={"strategy": "nope"})
    assert answer.status == 404
    assert "random" in answer.detail
    assert server.call("POST", "/activelearning/random", json={}).json()["id"]


def test_gpu_log_is_text_or_a_sentence(server: Server) -> None:
    answer = server.raw("GET", "/logs/gpu")
    assert answer.status in (200, 404)
    if answer.status == 404:
        assert "nvidia-smi" in answer.detail


def test_model_files_cannot_be_replaced_over_http(server: Server) -> None:
    answer = server.call("PUT", "/model/fetalclip_seg", files={"file": ("x.pt", b"x")})
    assert answer.status == 405


def test_pages_of_other_sites_may_not_call(server: Server) -> None:
    target = "/infer/fetalclip_seg?image=case_a&output=json"
    answer = server.raw("POST", target, b"", {"Origin": "https://evil.example"})
    assert "evil.example" in answer.detail
    assert answer.status == 403
    own = server.raw("POST", target, b"", {"Origin": server.url})
    assert own.status == 200
    assert "access-control-allow-origin" not in {**answer.headers, **own.headers}


def test_pages_of_a_named_origin_may_call(server: Server) -> None:
    asked = {"Origin": VIEWER, "Access-Control-Request-Method": "PUT"}
    assert server.raw("OPTIONS", "/datastore/label", None, asked).status == 200
    answer = server.raw("GET", "/info/", None, {"Origin": VIEWER})
    assert answer.headers["access-control-allow-origin"] == VIEWER


def test_the_server_listens_on_this_machine_only(server: Server) -> None:
    log = (server.root / "server.log").read_text()
    assert re.search(r"Uvicorn running on http://127\.0\.0\.1:", log)
    assert f"curl -X POST '{server.url}/infer/" in log
