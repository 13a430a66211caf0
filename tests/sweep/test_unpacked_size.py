"""A small file that stands for gigabytes is refused by its header: nothing is unpacked, nothing allocated."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zlib

import numpy as np
import pytest
from dicom_files import a_dataset, saved
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless
from video_files import a_video
from volume_files import cine, metaimage, nifti, nrrd

from fetaliqa import size_limits
from fetaliqa.errors import OptionError, SweepError
from fetaliqa.sweep import read_masks, read_sweep, sweep_from_array

MIB = 1024**2
FRAMES = cine()


@pytest.fixture
def eight_mebibytes(monkeypatch):
    monkeypatch.setenv(size_limits.MAX_UNPACKED_VARIABLE, "8")


def zeros(size: int) -> bytes:
    """A gzip stream of zeros."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as file:
        for _ in range(size // MIB):
            file.write(bytes(MIB))
    return packed.getvalue()


def bombs(folder):
    """64 MiB in some 64 KiB, in each format."""
    yield metaimage(
        folder / "a.mha", zlib.compress(bytes(64 * MIB), 1), CompressedData="True", DimSize="1024 1024 64"
    )
    path = nrrd(folder / "a.nrrd", b"", "1024 1024 64", "encoding: gzip")
    path.write_bytes(path.read_bytes().split(b"\n\n")[0] + b"\n\n" + zeros(64 * MIB))
    yield path
    path = nrrd(folder / "b.seq.nrrd", b"", "64 1024 1024 1", "kinds: list domain domain domain", "encoding: gzip")
    path.write_bytes(path.read_bytes().split(b"\n\n")[0] + b"\n\n" + zeros(64 * MIB))
    yield path
    header = nifti(folder / "h.nii", np.zeros((1024, 1024, 64), np.uint8)).read_bytes()[:352]
    path = folder / "a.nii.gz"
    path.write_bytes(gzip.compress(header) + zeros(64 * MIB))
    yield path
    Image.new("L", (4096, 4096)).save(folder / "a.png")
    yield folder / "a.png"
    Image.new("L", (4096, 4096)).save(folder / "a.jpg")
    yield folder / "a.jpg"
    stills = folder / "stills"
    stills.mkdir()
    for number in range(9):
        Image.new("L", (1024, 1024)).save(stills / f"{number}.png")
    yield stills
    a_video(folder / "a.mp4", np.zeros((9, 1024, 1024), np.uint8), "mpeg4")
    yield folder / "a.mp4"


def test_a_file_that_unpacks_to_more_than_is_allowed_is_refused_with_both_sizes(tmp_path, eight_mebibytes):
    for path in bombs(tmp_path):
        tracemalloc.start()
        try:
            with pytest.raises(size_limits.UnpackedTooLarge) as caught:
                read_sweep(path)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        text = str(caught.value)
        assert path.name in text
        assert "MiB" in text
        assert size_limits.MAX_UNPACKED_VARIABLE in text
        assert "max_unpacked_mb" in text
        assert caught.value.http_status == 413
        assert peak < 4 * MIB, path.name


def test_masks_are_bounded_too(tmp_path, eight_mebibytes):
    path = next(bombs(tmp_path))
    with pytest.raises(size_limits.UnpackedTooLarge):
        read_masks(path, sweep_from_array(FRAMES))


def test_unpacking_stops_at_what_the_header_announces(tmp_path):
    """64 MiB behind a header of 6 small frames: refused after the first byte too many."""
    announced = {"a.nii.gz": gzip.compress(nifti(tmp_path / "h.nii", FRAMES.T).read_bytes()[:352])}
    announced["a.nrrd"] = (
        nrrd(tmp_path / "h.nrrd", b"", "40 30 6", "encoding: gzip").read_bytes().split(b"\n\n")[0]
    )
    for name, header in announced.items():
        path = tmp_path / name
        path.write_bytes(header + (b"\n\n" if name == "a.nrrd" else b"") + zeros(64 * MIB))
        tracemalloc.start()
        try:
            with pytest.raises(SweepError, match="more pixels than its header declares"):
                read_sweep(path)
            assert tracemalloc.get_traced_memory()[1] < 4 * MIB
        finally:
            tracemalloc.stop()


def test_a_deflated_dicom_file_is_inflated_no_further_than_is_allowed(tmp_path, eight_mebibytes):
    path = tmp_path / "a.dcm"
    dataset = a_dataset(FRAMES, syntax=DeflatedExplicitVRLittleEndian)
    saved(dataset, path)
    assert read_sweep(path).shape == FRAMES.shape
    dataset.add_new(0x00091001, "OB", bytes(64 * MIB))  # a private element: no pixel is announced for it
    saved(dataset, path)
    assert path.stat().st_size < MIB
    tracemalloc.start()
    try:
        with pytest.raises(size_limits.UnpackedTooLarge, match=r"a\.dcm"):
            read_sweep(path)
        assert tracemalloc.get_traced_memory()[1] < 12 * MIB
    finally:
        tracemalloc.stop()


def test_frames_that_a_dicom_file_announces_are_bounded(tmp_path, eight_mebibytes):
    frames = np.zeros((9, 1024, 1024), np.uint8)
    dataset = a_dataset(frames)
    dataset.compress(RLELossless)
    saved(dataset, tmp_path / "a.dcm")
    with pytest.raises(size_limits.UnpackedTooLarge, match=r"a\.dcm"):
        read_sweep(tmp_path / "a.dcm")


def test_what_is_stored_uncompressed_passes_however_large(tmp_path, monkeypatch):
    monkeypatch.setenv(size_limits.MAX_UNPACKED_VARIABLE, "0.001")
    path = metaimage(tmp_path / "a.mha", FRAMES.tobytes())
    assert np.array_equal(read_sweep(path).frames, FRAMES)
    (tmp_path / "b.raw").write_bytes(FRAMES.tobytes())
    detached = metaimage(tmp_path / "b.mhd", b"", ElementDataFile="b.raw")
    assert np.array_equal(read_sweep(detached).frames, FRAMES)
    with pytest.raises(size_limits.UnpackedTooLarge):
        read_sweep(metaimage(path, bytes(7200), compressed=True))


@pytest.mark.parametrize("value", ["none", "-1", "0", "inf", "nan"])
def test_a_limit_that_is_no_size_is_named(tmp_path, monkeypatch, value):
    monkeypatch.setenv(size_limits.MAX_UNPACKED_VARIABLE, value)
    with pytest.raises(OptionError, match=f"{size_limits.MAX_UNPACKED_VARIABLE}={value}"):
        read_sweep(metaimage(tmp_path / "a.mha", FRAMES.tobytes(), compressed=True))


def test_without_a_setting_half_of_the_memory_is_allowed(monkeypatch):
    monkeypatch.delenv(size_limits.MAX_UNPACKED_VARIABLE, raising=False)
    monkeypatch.setattr(size_limits, "memory_bytes", lambda: 64 << 30)
    assert size_limits.max_unpacked_bytes() == 32 << 30
    monkeypatch.setattr(size_limits, "memory_bytes", lambda: 1 << 20)
    assert size_limits.max_unpacked_bytes() == size_limits.LEAST_BYTES
