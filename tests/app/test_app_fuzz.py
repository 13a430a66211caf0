"""Requests generated from the server's own API document: none of them may break anything.

In the suite the requests are the same each time. By hand, for longer, and others each time:
``FETALIQA_FUZZ_SECONDS=600 pytest tests/app/test_app_fuzz.py -s``.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import schemathesis
from app_harness import Server, fill_studies, free_port, start, stop, write_case, write_mask
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from fetaliqa.labels import LabelStore

pytestmark = pytest.mark.slow

ROUNDS = 4  # through all calls
EXAMPLES = 4  # of each call in a round, as described and again as not described
SECONDS = float(os.environ.get("FETALIQA_FUZZ_SECONDS", "0"))  # 0: the suite's own
MOST_SECONDS = 20.0  # of the suite's own; longer only on a machine too busy for the least number of requests
LEAST_REQUESTS = 200
PROCESS_STARTING = {"/train/{model}", "/scoring/{method}", "/batch/infer/{model}", "/export/"}
FEW = 1  # example in a round of a call that starts a process
STOPS = ("/train/", "/scoring/", "/batch/infer")
KEPT = "case_b"  # its label was saved before, and no request is told to remove it
UNAVAILABLE = {503, 507}  # of a server; allowed where the document says so
OPTIONS = ("sweeps", "frames", "top_n", "threshold", "sweep_count", "search", "result_extension")
FIELD_KEYS = (*OPTIONS, "save_label", "label_tag", "frame_record", "based_on", "user", "model", "image", "note")
KEYS = (
    *OPTIONS,
    "user",
    "skip",
    "seed",
    "lease_minutes",
    "gpus",
    "method",
    "mode",
    "selection",
    "name",
    "version",
)
NUMBERS = ["9" * 30, "-1", "0", "1e999", "NaN", "٣", "9" * 5000, str(2**63)]
JSON_TYPE = "application/json"
OUTSIDE = {"studies", "temporary", "sessions", "home", "cache", "server.log"}


def plain_json() -> st.SearchStrategy[Any]:
    """JSON values, and some that only look like it."""
    number = st.integers() | st.floats() | st.sampled_from([10**30, -1, 0, 1e300])
    text = st.text(max_size=20) | st.sampled_from(["case_a", "\ud800", "é", "٣", "NaN", "../x"])
    return st.recursive(
        st.none() | st.booleans() | number | text,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
        max_leaves=8,
    )


@st.composite
def json_text(draw: st.DrawFn, keys: tuple[str, ...]) -> str:
    """A JSON object, mostly, with some of these keys."""
    return json.dumps(draw(st.dictionaries(st.sampled_from(keys), plain_json(), max_size=3) | plain_json()))


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory, bundle: Path, cls_bundle: Path) -> Iterator[Server]:
    """A server of its own: what the requests save and remove is nobody else's."""
    root = tmp_path_factory.mktemp("fuzzed")
    fill_studies(root)
    (root / "studies" / "images" / "stacked_fetal_ultrasound" / "long.mha").unlink()  # many frames
    port = free_port()
    command = ["-m", "monailabel_app.serve", "--studies", str(root / "studies"), "--port", str(port)]
    for key, value in (
        ("bundle", bundle),
        ("cls_bundle", cls_bundle),
        ("cache_dir", root / "cache"),
        ("max_upload_mb", 8),
        ("max_export_mb", 1),
    ):
        command += ["--conf", key, str(value)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FETALIQA_HOME", str(root / "home" / "fetaliqa"))
        running = start(root, command, port)
    yield running
    stop(running)


class Fuzzing:
    """Sends requests and looks at each answer.

    Attributes:
        sent: number of requests.
        statuses: how often each status was answered.
        problems: of answers that should not be, one for each call and kind.
    """

    def __init__(self, server: Server, work: Path) -> None:
        self.server, self.sent = server, 0
        self.statuses: collections.Counter[int] = collections.Counter()
        self.problems: dict[tuple[str, str], str] = {}
        self.exports: set[str] = set()
        document = server.raw("GET", "/openapi.json").json()
        self.schema = schemathesis.openapi.from_dict(document)
        self.session = requests.Session()
        write_case(work / "new.mha", 5, seed=7)
        mask = write_mask(work / "mask.nii.gz", server.images / "case_a.mha")
        image, label = (work / "new.mha").read_bytes(), mask.read_bytes()
        self.files = [image, label, image[: len(image) // 2], b"", b"\0" * 300, image[:200] + b"\xff" * 400]
        self.names = ["x.mha", "mask.nii.gz", "x.nrrd", "x.dcm", "x.png", "é.mha", "../x.mha", "x", "a/b.mha"]
        self.known = {
            "model": ["fetalclip_seg", "fetalclip_cls"],
            "strategy": ["fetaliqa", "random"],
            "method": ["frames"],
            "image": ["case_a", "fresh", "broken"],
            "label": ["case_a", KEPT],
            "id": ["case_a", "fresh"],
            "tag": ["final", "anna", "original"],
            "final": ["final"],
            "version": [1, 2],
            "session_id": self._session(image),
            "output": ["json", "all", "image"],
            "measurement": ["AC", "HC"],
            "mm": [209.8],
        }

    def _session(self, image: bytes) -> list[str]:
        answer = self.server.call("PUT", "/session/", files={"files": ("x.mha", image)})
        return [answer.json()["session_id"]]

    def requests_of(self, operation: Any, mode: GenerationMode) -> st.SearchStrategy[dict[str, Any]]:
        """Requests to one call: as the document describes it or not, some with names of things that are there."""

        @st.composite
        def made(draw: st.DrawFn) -> dict[str, Any]:
            case = draw(operation.as_strategy(generation_mode=mode))
            for values in (case.path_parameters, case.query):
                for name in set(values or {}) & set(self.known):
                    if draw(st.integers(0, 3)):
                        values[name] = draw(st.sampled_from(self.known[name]))
            for parameter in operation.definition.raw.get("parameters", []):
                if "integer" in str(parameter["schema"]) and not draw(st.integers(0, 3)):
                    case.query[parameter["name"]] = draw(st.sampled_from(NUMBERS))
            sent = case.as_transport_kwargs(base_url=self.server.url)
            content = (operation.definition.raw.get("requestBody") or {}).get("content", {})
            if JSON_TYPE in content and not draw(st.integers(0, 2)):
                sent.pop("json", None)
                sent["data"] = draw(json_text(KEYS)).encode()
                sent["headers"] = {**sent["headers"], "Content-Type": JSON_TYPE}
            form = next((content[kind] for kind in content if "form" in kind), None)
            if form is not None and draw(st.integers(0, 3)):
                self._fill_form(draw, sent, set(self._fields(form["schema"])))
            return sent

        return made()

    def _fields(self, schema: dict[str, Any]) -> dict[str, Any]:
        name = schema.get("$ref", "").rpartition("/")[2]
        return (self.schema.raw_schema["components"]["schemas"][name] if name else schema).get("properties", {})

    def _fill_form(self, draw: st.DrawFn, sent: dict[str, Any], fields: set[str]) -> None:
        """Send a form with files and JSON in its fields, instead of what was generated."""
        for key in ("json", "data", "files"):
            sent.pop(key, None)
        sent["headers"] = {
            key: value for key, value in dict(sent["headers"]).items() if key.lower() != "content-type"
        }
        for name in sorted(fields & {"file", "label", "files"}):
            if name == "label" and "file" in fields and draw(st.integers(0, 3)):
                continue  # of an inference, which takes none
            upload = (draw(st.sampled_from(self.names)), draw(st.sampled_from(self.files)))
            sent.setdefault("files", []).append((name, upload))
        sent["data"] = {name: draw(json_text(FIELD_KEYS)) for name in sorted(fields & {"params", "info"})}
        for name in sorted(fields & {"state", "comment"}):
            sent["data"][name] = draw(st.sampled_from(["accepted", "returned", "", "x"]) | st.text(max_size=5))
        if "files" in sent:
            sent["data"] = {key: text.encode("utf-8") for key, text in sent["data"].items()}

    def send(self, operation: Any, sent: dict[str, Any]) -> None:
        """Send one, and look at the answer."""
        with contextlib.suppress(requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader, UnicodeError):
            answer = self.session.request(**sent, timeout=60)
            self.sent += 1
            self.statuses[answer.status_code] += 1
            if operation.label == "POST /export/" and answer.status_code == 200:
                self.exports.add(answer.json()["id"])
            problem = wrong(answer, set(operation.definition.raw["responses"]))
            if problem:
                told = f"{answer.request.method} {answer.request.url} {str(answer.request.body)[:500]}"
                self.problems.setdefault(
                    (operation.label, problem), f"{problem}: {told} -> {answer.status_code} {answer.text[:500]}"
                )


def holds_constant(content: bytes) -> bool:
    """Whether JSON holds NaN or an infinite number, which Python's parser takes."""
    found: list[str] = []
    json.loads(content, parse_constant=found.append)
    return bool(found)


def wrong(answer: requests.Response, documented: set[str]) -> str | None:
    """What is wrong with an answer; None when nothing is."""
    if answer.status_code < 400:
        json_sent = answer.headers.get("content-type") == "application/json" and answer.request.method != "HEAD"
        return "NaN, which is not JSON" if json_sent and holds_constant(answer.content) else None
    if answer.status_code >= 500 and not (
        answer.status_code in UNAVAILABLE and str(answer.status_code) in documented
    ):
        return f"status {answer.status_code}"
    if answer.request.method == "HEAD":
        return None
    try:
        reply = answer.json()
    except ValueError:
        return "an error that is not JSON"
    if set(reply) != {"detail"} or not isinstance(reply["detail"], str) or not reply["detail"]:
        return "an error without a sentence"
    return "a traceback" if "Traceback" in reply["detail"] else None


def save_label(server: Server, work: Path) -> None:
    mask = write_mask(work / "kept.nii.gz", server.images / f"{KEPT}.mha")
    record = {"schema": 1, "frames": {"0": {"state": "annotated", "rater": "anna"}}}
    answer = server.call(
        "PUT",
        f"/datastore/label?image={KEPT}&tag=final",
        files={"label": (mask.name, mask.read_bytes())},
        data={"params": json.dumps({"frame_record": record})},
    )
    assert answer.status == 200, answer.body


def saved(server: Server) -> tuple[str, Any]:
    """The label that was saved before: hash of its mask, and its frame record."""
    version = LabelStore(server.studies / "label-versions").version(KEPT, "final", 1)
    assert version.mask is not None
    assert version.record is not None
    return hashlib.sha256(version.mask.read_bytes()).hexdigest(), version.record


def workers(server: Server) -> list[psutil.Process]:
    found = psutil.Process(server.process.pid).children(recursive=True)
    return [child for child in found if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def outside(server: Server) -> dict[str, str]:
    """Hash of each file beside the folders that the server may write."""
    return {name: digest for name, digest in server.outside().items() if Path(name).parts[0] not in OUTSIDE}


def test_no_generated_request_breaks_the_server_or_a_label(fuzzed: Server, tmp_path: Path) -> None:
    save_label(fuzzed, tmp_path)
    label, beside = saved(fuzzed), outside(fuzzed)
    fuzzing = Fuzzing(fuzzed, tmp_path)
    operations = [found.ok() for found in fuzzing.schema.get_all_operations()]
    assert len(operations) >= 45
    began, rounds = time.monotonic(), 0

    def in_time() -> bool:
        seconds = SECONDS or (MOST_SECONDS if fuzzing.sent > LEAST_REQUESTS else 4 * MOST_SECONDS)
        return time.monotonic() < began + seconds

    while in_time() and (SECONDS or rounds < ROUNDS):
        number = random.randrange(2**32) if SECONDS else rounds
        for operation in operations:
            few = operation.path in PROCESS_STARTING and operation.method.upper() == "POST"
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                if in_time():
                    send_many(fuzzing, operation, mode, FEW if few else EXAMPLES, number)
        rounds += 1
    for target in STOPS:
        assert fuzzed.raw("DELETE", target).status == 200
    for job in fuzzing.exports:
        fuzzed.raw("DELETE", f"/export/{job}")
    deadline = time.monotonic() + 20
    while workers(fuzzed) and time.monotonic() < deadline:
        time.sleep(0.1)
    print(
        f"{fuzzing.sent} requests, {rounds} rounds, in {time.monotonic() - began:.0f} s: {dict(fuzzing.statuses)}"
    )
    assert list(fuzzing.problems.values()) == []
    assert workers(fuzzed) == []
    assert fuzzing.sent > LEAST_REQUESTS
    assert fuzzing.statuses[200] > 30  # the requests reach what they are for
    assert fuzzed.raw("GET", "/info/").status == 200
    assert saved(fuzzed) == label
    assert LabelStore(fuzzed.studies / "label-versions").check() == []
    assert outside(fuzzed) == beside
    assert {path.name for path in fuzzed.root.iterdir()} <= {*OUTSIDE, "secret.mha"}
    assert fuzzed.leftovers() == []
    log = (fuzzed.root / "server.log").read_text(errors="replace")
    assert "Traceback" not in log, log[max(0, log.index("Traceback") - 1000) :][:4000]


def send_many(fuzzing: Fuzzing, operation: Any, mode: GenerationMode, count: int, number: int) -> None:
    """Send ``count`` requests to one call, the same for the same number."""

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(sent=fuzzing.requests_of(operation, mode))
    def run(sent: dict[str, Any]) -> None:
        fuzzing.send(operation, sent)

    try:
        run()
    except schemathesis.errors.LoaderError:
        raise
    except Exception as problem:
        if (
            type(problem).__name__ == "Unsatisfiable"
        ):  # nothing that this call describes could be left out or wrong
            return
        raise
