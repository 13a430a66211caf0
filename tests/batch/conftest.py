"""Small cases, and what a run leaves in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import SimpleITK
import SimpleITK as sitk

from fetaliqa.cli.main import main

CASES = 4
FRAMES = slice(59, 64)  # of a sample case; some of them show its abdomen


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def small_cases(sample_data, tmp_path_factory) -> Path:
    """A folder of four sweeps of five frames, each of other pixels. Not to be changed."""
    folder = tmp_path_factory.mktemp("sweeps")
    image = SimpleITK.ReadImage(
        str(sorted((sample_data / "images" / "stacked_fetal_ultrasound").glob("*.mha"))[0])
    )
    frames = SimpleITK.GetArrayFromImage(image)
    for number in range(CASES):
        changed = frames[FRAMES].copy()
        changed[:, ::4, ::4] //= number + 1
        case = SimpleITK.GetImageFromArray(changed)
        case.SetSpacing(image.GetSpacing())
        SimpleITK.WriteImage(case, str(folder / f"case{number}.mha"), useCompression=True)
    return folder


@pytest.fixture
def my_cases(small_cases, tmp_path) -> Path:
    """A copy of them."""
    folder = tmp_path / "sweeps"
    folder.mkdir()
    for path in small_cases.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="session")
def score() -> Callable[..., int]:
    """``fetaliqa score``, with nothing taken from a cache; gives the exit code."""
    return lambda *arguments: main(["score", *map(str, arguments), "--quiet", "--no-cache"])


@pytest.fixture(scope="session")
def whole_run(small_cases, tmp_path_factory, score) -> Path:
    """Results of all cases, by one process without interruption."""
    out = tmp_path_factory.mktemp("whole")
    assert score(small_cases, "--out", out) == 0
    return out


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    return results_in


def results_in(out: Path) -> dict[str, bytes]:
    """Bytes by name of all results; the marks, which say when and by which run, are there too, without content."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and path.name != ".fetaliqa-results"]
    return {str(path.relative_to(out)): _content(path) for path in files}


def _content(path: Path) -> bytes:
    """Of masks the grid and the pixels: igzip may compress the same pixels to other bytes."""
    if path.name == "done.json":
        return b""
    if path.name.startswith("masks."):
        masks = sitk.ReadImage(path)
        grid = (masks.GetSize(), masks.GetSpacing(), masks.GetOrigin(), masks.GetDirection())
        return repr(grid).encode() + sitk.GetArrayViewFromImage(masks).tobytes()
    return path.read_bytes()
