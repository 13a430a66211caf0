"""Reading streams: the peak memory of a process that reads a compressed case, above what its imports take."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

SHAPE = (140, 562, 744)  # 59 MB: one of the six sweeps of an ACOUSLIC-AI case

# VmHWM rather than getrusage: the latter starts from the peak of the process that started this one
READ = """
import sys
from fetaliqa.sweep import read_sweep

def kilobytes(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(key))

before = kilobytes("VmRSS")
sweep = read_sweep(sys.argv[1])
print(before, kilobytes("VmHWM"), sweep.frames.nbytes // 1024)
"""


@pytest.fixture(scope="module")
def stripes() -> np.ndarray:
    """Frames that compress fast: each row of a frame is the same."""
    rows = np.random.default_rng(0).integers(1, 256, (SHAPE[0], 1, SHAPE[2]), dtype=np.uint8)
    return np.repeat(rows, SHAPE[1], axis=1)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("case.mha", np.uint8), ("case.mha", np.uint16), ("case.nii.gz", np.uint8), ("case.nrrd", np.float32)],
)
def test_reading_takes_hardly_more_memory_than_the_stack(tmp_path, stripes, name, dtype):
    stack = stripes if dtype == np.uint8 else stripes.astype(dtype) * 7
    sitk.WriteImage(sitk.GetImageFromArray(stack), str(tmp_path / name), True, compressionLevel=1)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / name)], capture_output=True, text=True, check=True, timeout=60
    )
    before, peak, stack_kb = (int(word) for word in done.stdout.split())
    assert stack_kb == stack.size // 1024
    assert (peak - before) / stack_kb < 2.0, f"{(peak - before) / stack_kb:.2f} times the stack"
