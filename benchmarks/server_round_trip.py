"""Overhead of the server: start-up time, response times for cached cases, size of masks, memory.

Starts ``python -m monailabel_app.serve`` with the demo model and asks over HTTP from the same machine. The cases
are one of ``sample-data/`` and a phantom of a whole one's size (six sweeps of 140 slots, black where a sweep is
shorter, 562 x 744). Both are assessed first, in each checkout, which takes minutes and is not measured; ``--work``
keeps that for the next time. Then, for each checkout:

- seconds from the command to the first answered ``/info/``;
- milliseconds of a new server's first answer for a known case, of mask files not requested before, and of
  the same answers again;
- bytes of the mask stack as it travels and as it is;
- resident memory, open files, threads and temporary files before and after requests of all kinds, refused ones
  among them.

    python benchmarks/server_round_trip.py [--work DIR] [--prepare] [--against CHECKOUT] [--requests 500]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import requests
import SimpleITK as sitk
from timing import machine
from tqdm import tqdm

REPOSITORY = Path(__file__).resolve().parent.parent
REPEATS = 30
STARTS = 3
SLOTS, SWEEPS = 140, 6
PHANTOM = "phantom"
LABELLED = {"params": json.dumps({"note": "benchmark"})}
PATIENCE = 600  # s


@dataclass
class Running:
    """A server that answers.

    Attributes:
        url: its address.
        process: of the server.
        start_s: seconds from the command to the first answered ``/info/``.
    """

    url: str
    process: psutil.Process
    start_s: float

    def __post_init__(self) -> None:
        self._session = requests.Session()

    def ask(self, method: str, target: str, status: int = 200, **sent: Any) -> requests.Response:
        """A request whose answer has the status expected."""
        answer = self._session.request(method, self.url + target, timeout=PATIENCE, **sent)
        if answer.status_code != status:
            raise RuntimeError(f"{method} {target}: {answer.status_code} {answer.text[:300]}")
        return answer

    def infer(self, case: str, output: str, suffix: str = ".mha", status: int = 200) -> requests.Response:
        """An assessment, or its masks, as a client asks for them."""
        params = json.dumps({"result_extension": suffix})
        return self.ask(
            "POST", f"/infer/fetalclip_seg?image={case}&output={output}", status, data={"params": params}
        )


@dataclass
class Place:
    """A checkout and where its servers keep things."""

    checkout: Path
    root: Path
    studies: Path

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def temporary(self) -> Path:
        return self.root / "temporary"

    def command(self, port: int, stock: bool) -> list[str]:
        conf = ["--conf", "cache_dir", str(self.cache), "--conf", "device", "cpu"]
        common = ["--studies", str(self.studies), "--port", str(port), *conf]
        if not stock:
            return [sys.executable, "-m", "monailabel_app.serve", *common]
        front = ["--host", "127.0.0.1", "--uvicorn_app", "monailabel_app.front:app"]
        app = ["start_server", "--app", str(self.checkout / "monailabel_app")]
        return [sys.executable, "-m", "monailabel.main", *app, *common, *front]

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(self.checkout),
            "TMPDIR": str(self.temporary),
            "FETALIQA_HOME": str(self.root / "home"),
            "MONAI_LABEL_SESSION_PATH": str(self.root / "sessions"),
            "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
            "MONAI_LABEL_TRACKING_ENABLED": "false",
        }

    @contextlib.contextmanager
    def server(self, stock: bool = False) -> Iterator[Running]:
        """A server, from its first answer to the end of the block."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        self.temporary.mkdir(parents=True, exist_ok=True)
        with open(self.root / "log", "w") as log:
            started = time.perf_counter()
            process = subprocess.Popen(
                self.command(port, stock), cwd=self.checkout, stdout=log, stderr=log, env=self.environment()
            )
            try:
                seconds = self._first_answer(f"http://127.0.0.1:{port}/info/", process, started)
                yield Running(f"http://127.0.0.1:{port}", psutil.Process(process.pid), seconds)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)

    def _first_answer(self, address: str, process: subprocess.Popen, started: float) -> float:
        while process.poll() is None and time.perf_counter() - started < PATIENCE:
            with contextlib.suppress(requests.ConnectionError):
                requests.get(address, timeout=PATIENCE).raise_for_status()
                return time.perf_counter() - started
            time.sleep(0.01)
        raise RuntimeError("the server did not start:\n" + (self.root / "log").read_text()[-4000:])


def write_cases(studies: Path) -> list[str]:
    """The cases, unless they are there already; their ids, the phantom last."""
    samples = sorted((REPOSITORY / "sample-data" / "images").rglob("*.mha"))[:1]
    if not (studies / f"{PHANTOM}.mha").is_file():
        from fetaliqa.lab.phantom.phantom_excerpt import subsampled_phantom

        studies.mkdir(parents=True, exist_ok=True)
        for sample in samples:
            shutil.copy2(sample, studies)
        thin = subsampled_phantom(71_000, 1)
        frames = np.zeros((SWEEPS * SLOTS, *thin.case.frames.shape[1:]), np.uint8)
        frames[thin.numbers] = thin.case.frames
        image = sitk.GetImageFromArray(frames.repeat(2, axis=1).repeat(2, axis=2))
        image.SetSpacing((0.28, 0.28, 1.0))
        sitk.WriteImage(image, str(studies / f"{PHANTOM}.mha"), useCompression=True)
    return [*(sample.stem for sample in samples), PHANTOM]


def prepare(place: Place, cases: list[str]) -> None:
    """Have every case assessed, and the first one labelled."""
    with place.server() as server:
        for case in tqdm(cases, desc=f"assessing in {place.checkout.name}", disable=None):
            server.infer(case, "json")
        masks = server.infer(cases[0], "image")
        files = {"label": (f"{cases[0]}.mha", masks.content)}
        server.ask("PUT", f"/datastore/label?image={cases[0]}&tag=final", files=files, data=LABELLED)


def milliseconds(ask: Callable[[], Any]) -> float:
    """Duration of a request."""
    started = time.perf_counter()
    ask()
    return round(1000 * (time.perf_counter() - started), 1)


def again(ask: Callable[[], Any]) -> dict[str, float]:
    """Median and worst of a request that is repeated."""
    times = [milliseconds(ask) for _ in range(REPEATS)]
    return {"median_ms": round(statistics.median(times), 1), "worst_ms": max(times)}


def answers(server: Running, place: Place, case: str) -> dict[str, Any]:
    """Of a server that has answered nothing but ``/info/``, for a case that is known."""
    for cached in place.cache.glob("*.masks.*"):
        cached.unlink()  # as when only the record was asked for so far
    figures: dict[str, Any] = {"first_record_ms": milliseconds(lambda: server.infer(case, "json"))}
    for suffix in (".mha", ".nii.gz"):
        figures[f"first_masks_ms{suffix}"] = milliseconds(
            lambda suffix=suffix: server.infer(case, "image", suffix)
        )
    record = server.infer(case, "json")
    masks = server.infer(case, "image")
    params = record.json()
    if not (params.get("params", params))["cached"]:
        raise RuntimeError(f"{case} is not known; run with --prepare")
    frames, rows, columns = params.get("params", params)["fetaliqa"]["shape"]
    return {
        **figures,
        "record": again(lambda: server.infer(case, "json")),
        "masks": again(lambda: server.infer(case, "image")),
        "both": again(lambda: server.infer(case, "all")),
        "bytes": {"record": len(record.content), "masks": len(masks.content), "raw": frames * rows * columns},
        "frames_with_mask": sum(bool(frame["positive"]) for frame in params["fetaliqa"]["frames"]),
    }


def kinds(server: Running, cases: list[str]) -> list[Callable[[], Any]]:
    """Requests of all kinds, refused ones among them."""
    known, large = cases[0], cases[-1]
    label = f"label={known}&tag=final"
    bad = {"file": ("case.mha", b"this is no image")}
    no_mask = {"label": ("case.mha", b"this is no mask")}
    return [
        lambda: server.infer(known, "json"),
        lambda: server.infer(large, "json"),
        lambda: server.infer(known, "image"),
        lambda: server.infer(large, "all", ".nii.gz"),
        lambda: server.ask("POST", "/activelearning/fetaliqa", json={"user": "anna"}),
        lambda: server.ask("POST", "/activelearning/random", json={"user": "ben", "skip": [known]}),
        lambda: server.ask("GET", "/activelearning/"),
        lambda: server.ask("GET", "/scoring/", 404),  # nothing was scored since the start
        lambda: server.ask("GET", "/datastore/?output=all"),
        lambda: server.ask("GET", f"/datastore/label/info?{label}"),
        lambda: server.ask("GET", f"/datastore/label?{label}"),
        lambda: server.ask("PUT", f"/datastore/label/info?{label}", data={"info": '{"seen": true}'}),
        lambda: server.ask("GET", "/info/"),
        lambda: server.infer("nobody", "json", status=404),
        lambda: server.infer(known, "json", ".exe", status=400),
        lambda: server.ask("POST", "/infer/fetalclip_seg?output=json", 400, files=bad),
        lambda: server.ask("PUT", f"/datastore/label?image={known}&tag=final", 400, files=no_mask),
        lambda: server.ask("GET", "/datastore/image?image=..%2Fsecret", 400),
    ]


def held(server: Running, place: Place) -> dict[str, int]:
    """Resources held by the server."""
    time.sleep(0.5)  # what a request leaves to be removed is removed
    return {
        "resident_mib": round(server.process.memory_info().rss / 1024**2),
        "open_files": server.process.num_fds(),
        "threads": server.process.num_threads(),
        "temporary_files": sum(path.is_file() for path in place.temporary.rglob("*")),
    }


def memory(server: Running, place: Place, cases: list[str], count: int) -> dict[str, Any]:
    """Resources held by the server before and after each quarter of many requests."""
    asked = kinds(server, cases)
    for ask in asked * 3:  # what is loaded on first use is loaded by now
        ask()
    quarters = [held(server, place)]
    for part in range(4):
        for number in tqdm(range(count // 4), desc=f"requests, part {part + 1} of 4", disable=None):
            asked[number % len(asked)]()
        quarters.append(held(server, place))
    return {"requests": count // 4 * 4, "kinds": len(asked), "quarters": quarters}


def measure(place: Place, cases: list[str], count: int) -> dict[str, Any]:
    """Everything, in one checkout."""
    starts, cached = [], {}
    for case in cases:
        with place.server() as server:
            starts.append(server.start_s)
            cached[case if case == PHANTOM else "sample"] = answers(server, place, case)
    for _ in range(len(starts), STARTS):
        with place.server() as server:
            starts.append(server.start_s)
            several = memory(server, place, cases, count)
    with place.server(stock=True) as server:
        stock = server.start_s
    return {
        "start_s": [round(seconds, 2) for seconds in starts],
        "stock_start_s": round(stock, 2),
        "known": cached,
        "memory": several,
    }


def main() -> int:
    """Prepare, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder that keeps the cases and their assessments")
    parser.add_argument("--prepare", action="store_true", help="only assess, for a later run with the same --work")
    parser.add_argument("--against", type=Path, help="another checkout of this project, measured in the same run")
    parser.add_argument("--requests", type=int, default=500)
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        work = (args.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))).resolve()
        checkouts = {"this": REPOSITORY, **({"against": args.against.resolve()} if args.against else {})}
        results = {}
        for name, checkout in checkouts.items():
            studies = work / name / "studies"
            cases = write_cases(studies)
            place = Place(checkout, work / name, studies)
            if args.prepare or not place.cache.is_dir():
                prepare(place, cases)
            if not args.prepare:
                results[name] = measure(place, cases, args.requests)
    if results:
        print(json.dumps({"machine": machine(), **results}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
