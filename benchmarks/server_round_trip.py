"""How quick the server is beside the model: start, answers for a case that is known, what masks weigh, memory.

Starts ``python -m monailabel_app.serve`` with the demo model on a copy of ``sample-data/`` and asks over HTTP from
the same machine. Prints JSON: seconds to the first answered ``/info/``; milliseconds of the first answer for a
case and of answers once it is cached (record only, and with the mask stack), bytes of the mask stack as it travels
and as it is; and the server's resident memory before and after many requests.

    python benchmarks/server_round_trip.py [--requests 500]
"""

from __future__ import annotations

import argparse
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
from pathlib import Path
from typing import Any

import psutil
import requests
from case_speed import machine
from tqdm import tqdm

REPOSITORY = Path(__file__).resolve().parent.parent
REPEATS = 30


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def milliseconds(ask: Any, repeats: int) -> dict[str, float]:
    """Median and worst of some requests."""
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        ask()
        found.append(1000 * (time.perf_counter() - started))
    return {"median_ms": round(statistics.median(found), 1), "worst_ms": round(max(found), 1)}


def measure(address: str, server: psutil.Process, count: int) -> dict[str, Any]:
    """Everything but the start."""
    session = requests.Session()

    def ask(output: str) -> requests.Response:
        answer = session.post(
            f"{address}/infer/fetalclip_seg?image={case}&output={output}", data={"params": "{}"}, timeout=600
        )
        answer.raise_for_status()
        return answer

    case = sorted(session.get(f"{address}/datastore/?output=all", timeout=60).json()["objects"])[0]
    started = time.perf_counter()
    record = ask("json").json()["params"]["fetaliqa"]
    first = time.perf_counter() - started
    frames, rows, columns = record["shape"]
    started = time.perf_counter()
    travelled = len(ask("image").content)
    written = time.perf_counter() - started
    result = {
        "case": {"frames": frames, "rows": rows, "columns": columns},
        "first_answer_s": round(first, 2),
        "first_masks_s": round(written, 2),
        "cached_record": milliseconds(lambda: ask("json"), REPEATS),
        "cached_masks": milliseconds(lambda: ask("image"), REPEATS),
        "mask_bytes_sent": travelled,
        "mask_bytes_raw": frames * rows * columns,
    }
    for _ in range(50):  # what is loaded on first use is loaded by now
        ask("json")
    before = server.memory_info().rss
    for number in tqdm(range(count), desc="requests", disable=None):
        ask("json" if number % 5 else "image")
        session.get(f"{address}/info/", timeout=60).raise_for_status()
    result["memory"] = {
        "requests": 2 * count,
        "before_mib": round(before / 1024**2),
        "after_mib": round(server.memory_info().rss / 1024**2),
    }
    return result


def main() -> int:
    """Start, measure, stop, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=500)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        studies = Path(work) / "studies"
        shutil.copytree(REPOSITORY / "sample-data", studies, ignore=shutil.ignore_patterns("demo-model", "masks"))
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "monailabel_app.serve", "--studies", str(studies), "--port", str(port)]
        command += ["--conf", "cache_dir", f"{work}/cache", "--conf", "device", "cpu"]
        started = time.perf_counter()
        with open(Path(work) / "log", "w") as log:
            process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                stdout=log,
                stderr=log,
                env={**os.environ, "FETALIQA_HOME": f"{work}/home"},
            )
            try:
                while True:
                    try:
                        requests.get(f"{address}/info/", timeout=5).raise_for_status()
                        break
                    except requests.RequestException:
                        if process.poll() is not None or time.perf_counter() - started > 120:
                            print((Path(work) / "log").read_text(), file=sys.stderr)
                            return 1
                        time.sleep(0.02)
                start = time.perf_counter() - started
                result = measure(address, psutil.Process(process.pid), args.requests)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)
    print(json.dumps({"machine": machine(), "start_s": round(start, 2), **result}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
