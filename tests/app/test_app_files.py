"""Files sent to a real server: small ones that unpack to gigabytes, and time series of four axes."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import nibabel
import numpy as np
import psutil
import pytest
import SimpleITK as sitk
from app_harness import UNPACKED_LIMIT_MB, Server, case_pixels

MIB = 1024**2


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """A .nii.gz of 256 MiB of zeros in 256 KiB."""
    header = nibabel.Nifti1Header()
    header.set_data_shape((1024, 1024, 256))
    header.set_data_dtype(np.uint8)
    header["magic"], header["vox_offset"], header["xyzt_units"] = b"n+1", 352, 2
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as file:
        file.write(header.binaryblock + b"\0" * 4)
        for _ in range(256):
            file.write(bytes(MIB))
    return packed.getvalue()


@pytest.mark.usefixtures("untouched")
def test_a_small_file_that_unpacks_to_gigabytes_is_413_wherever_it_is_sent(server: Server, bomb: bytes) -> None:
    assert len(bomb) < 2 * MIB
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    answers = [
        server.infer("output=json", files={"file": ("bomb.nii.gz", bomb)}),
        server.call("PUT", "/datastore/image?image=bomb", files={"file": ("bomb.nii.gz", bomb)}),
        server.call("PUT", "/datastore/label?image=case_a&tag=final", files={"label": ("bomb.nii.gz", bomb)}),
    ]
    session = server.call("PUT", "/session/", files={"files": ("bomb.nii.gz", bomb)}).json()["session_id"]
    answers.append(server.infer(f"session_id={session}&output=json"))
    assert server.raw("DELETE", f"/session/{session}").status == 200
    for answer in answers:
        assert answer.status == 413
        assert "bomb.nii.gz" in answer.detail
        assert "256 MiB" in answer.detail
        assert f"{UNPACKED_LIMIT_MB} MiB" in answer.detail
        assert "--conf max_unpacked_mb" in answer.detail
    assert process.memory_info().rss - before < 128 * MIB  # three requests, each of which would have taken 256
    assert server.leftovers() == []


@pytest.mark.parametrize("extension", [".nii.gz", ".mha", ".nrrd"])
def test_masks_of_a_time_series_of_four_axes_have_its_axes(server: Server, tmp_path: Path, extension: str) -> None:
    image = nibabel.Nifti1Image(case_pixels(5, 3).T[:, :, None], np.diag([0.3, 0.31, 1.5, 1]))
    image.header["xyzt_units"] = 2
    nibabel.save(image, tmp_path / "four.nii.gz")
    content = (tmp_path / "four.nii.gz").read_bytes()
    options = {"result_extension": extension}
    answer = server.infer("output=all", options, files={"file": ("four.nii.gz", content)})
    assert answer.status == 200, answer.body[:500]
    params, masks, _name = answer.parts()
    assert params["fetaliqa"]["shape"] == [5, 48, 64]
    assert params["fetaliqa"]["spacing_mm"] == pytest.approx([0.31, 0.3])
    (tmp_path / f"mask{extension}").write_bytes(masks)
    source, mask = (sitk.ReadImage(str(tmp_path / name)) for name in ("four.nii.gz", f"mask{extension}"))
    assert mask.GetSize() == source.GetSize() == (64, 48, 1, 5)
    assert mask.GetOrigin() == pytest.approx(source.GetOrigin())
    assert mask.GetDirection() == pytest.approx(source.GetDirection())
