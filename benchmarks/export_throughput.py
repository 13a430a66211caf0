"""Speed and memory of ``fetaliqa export`` on phantoms of ACOUSLIC-AI's size (562 x 744, 840 slots).

    python benchmarks/export_throughput.py --frames 10000

One phantom case is made and exported under many names, since only its size matters here. Memory is the peak of the
exporting process after each case: it must not grow with their number.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import tempfile
import time
from pathlib import Path

from fetaliqa.datasets.acouslic_layout import (
    IMAGES,
    MASKS,
    Circumferences,
    read_circumferences,
    write_circumferences,
)
from fetaliqa.export.export_options import ExportOptions
from fetaliqa.export.export_run import run_export
from fetaliqa.export.export_source import ExportSource
from fetaliqa.export.frame_selection import Selection
from fetaliqa.lab.phantom.phantom_dataset import write_dataset
from fetaliqa.lab.phantom.phantom_settings import PhantomSettings

LIT_PER_CASE = 600  # at least; the rest of 840 slots is black padding


def many_cases(folder: Path, count: int) -> Path:
    """A data set of ``count`` copies of one case."""
    settings = PhantomSettings(scale="full", sweeps=6, slots=140)
    root = write_dataset(folder / "data", 1, 0, settings, None, workers=os.cpu_count())
    (row,) = read_circumferences(root)
    rows = [row]
    for number in range(1, count):
        for below in (IMAGES, MASKS):
            os.link(root / below / f"{row.uuid}.mha", root / below / f"{row.uuid}-{number}.mha")
        rows.append(Circumferences(f"{row.uuid}-{number}", f"{number:03d}", row.ac_mm))
    write_circumferences(root, rows)
    return root


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--format", default="png")
    parser.add_argument("--blank", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        root = many_cases(folder, -(-args.frames // LIT_PER_CASE))
        source = ExportSource(root)
        peaks: list[float] = []

        def progress(done: int, total: int, frames: int) -> None:
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

        started, processor = time.perf_counter(), time.process_time()
        options = ExportOptions(format=args.format, blank=args.blank)
        about = run_export(source, folder / "out", Selection(), options, progress)
        seconds, processor = time.perf_counter() - started, time.process_time() - processor
        size = sum(path.stat().st_size for path in (folder / "out").rglob("*") if path.is_file())
        shutil.rmtree(folder / "out")
    frames = about["counts"]["frames"]
    print(
        json.dumps(
            {
                "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
                "format": args.format,
                "frames": frames,
                "seconds": round(seconds, 1),
                "frames_per_second": round(frames / seconds, 1),
                "processor_seconds": round(processor, 1),
                "written_mib": round(size / 2**20),
                "peak_mib_after_case": {n: round(peaks[n - 1]) for n in (1, 2, 3, len(peaks) // 2, len(peaks))},
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
