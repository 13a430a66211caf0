from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from fetaliqa.errors import NotFoundError
from fetaliqa.sweep import SWEEP_SUFFIXES, is_sweep_path, read_sweep

SPACING = (0.28, 0.31, 2.0)
ORIGIN = (-12.5, 7.25, 100.0)
TURNED = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def an_image(pixels: np.ndarray, vector: bool = False) -> sitk.Image:
    image = sitk.GetImageFromArray(pixels, isVector=vector)
    image.SetSpacing(SPACING[: image.GetDimension()])
    return image


def write(path: Path, pixels: np.ndarray, *, vector: bool = False, compressed: bool = True) -> Path:
    lower = path.with_name(path.name.lower())  # SimpleITK writes .MHA as a header without pixels
    sitk.WriteImage(an_image(pixels, vector), str(lower), compressed)
    return lower.rename(path)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize(
    "name", ["case.mha", "case.mhd", "case.nii.gz", "case.nii", "case.nrrd", "CASE.MHA", "a.b.mha"]
)
def test_a_stack_is_read_with_its_pixels_and_spacing(tmp_path, frames, name, compressed):
    sweep = read_sweep(write(tmp_path / name, frames, compressed=compressed))
    assert sweep.frames.dtype == np.uint8
    assert np.array_equal(sweep.frames, frames)
    assert sweep.spacing == pytest.approx((0.31, 0.28), rel=1e-7)
    assert sweep.grid.spacing == pytest.approx(SPACING, rel=1e-7)
    assert sweep.grid.dimensions == 3
    assert sweep.notes == ()
    assert sweep.source == tmp_path / name
    assert (
        sweep.case_id
        == name[: -len(next(s for s in (".nii.gz", Path(name).suffix) if name.lower().endswith(s.lower())))]
    )


@pytest.mark.parametrize("name", ["case.mha", "case.nii.gz", "case.nrrd"])
def test_the_geometry_is_the_one_simpleitk_reads(tmp_path, frames, name):
    image = an_image(frames)
    image.SetOrigin(ORIGIN)
    image.SetDirection(TURNED)
    sitk.WriteImage(image, str(tmp_path / name), True)
    grid, expected = read_sweep(tmp_path / name).grid, sitk.ReadImage(str(tmp_path / name))
    assert grid.spacing == expected.GetSpacing()
    assert grid.origin == expected.GetOrigin()
    assert grid.direction == expected.GetDirection()


@pytest.mark.parametrize("name", ["plane.mha", "plane.nii.gz", "plane.nrrd"])
def test_a_plane_image_is_a_sweep_of_one_frame(tmp_path, frames, name):
    sweep = read_sweep(write(tmp_path / name, frames[0]))
    assert sweep.shape == (1, 30, 40)
    assert np.array_equal(sweep.frames[0], frames[0])
    assert sweep.grid.dimensions == 2
    assert sweep.ranges == ((0, 1),)


def test_name_format_and_compression_do_not_change_the_content_hash(tmp_path, frames):
    first = read_sweep(write(tmp_path / "a.mha", frames))
    assert read_sweep(write(tmp_path / "b.mha", frames, compressed=False)).content_hash == first.content_hash
    assert read_sweep(write(tmp_path / "c.nrrd", frames)).content_hash == first.content_hash


def test_a_file_without_spacing_has_none(tmp_path, frames):
    path = write(tmp_path / "case.mha", frames, compressed=False)
    lines = path.read_bytes().split(b"\n", 12)
    path.write_bytes(b"\n".join(line for line in lines if not line.startswith(b"ElementSpacing")))
    sweep = read_sweep(path)
    assert sweep.spacing is None
    assert np.array_equal(sweep.frames, frames)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("name", ["case.mha", "case.nrrd"])
def test_colour_is_reduced_to_luma_and_said_so(tmp_path, name, channels):
    colour = np.random.default_rng(3).integers(0, 256, (4, 9, 11, channels), dtype=np.uint8)
    sweep = read_sweep(write(tmp_path / name, colour, vector=True))
    luma = colour[..., :3] @ np.array([0.299, 0.587, 0.114])
    assert np.abs(sweep.frames - luma).max() <= 0.51
    assert any("luma" in note for note in sweep.notes)
    assert any("transparency" in note for note in sweep.notes) == (channels == 4)


@pytest.mark.parametrize("channels", ["RGB", "RGBA"])
def test_colour_in_nifti_files_is_reduced_to_luma(tmp_path, channels):
    colour = np.random.default_rng(3).integers(0, 256, (11, 9, 4, len(channels)), dtype=np.uint8)
    packed = colour.view([(channel, "u1") for channel in channels])[..., 0]
    nibabel.save(nibabel.Nifti1Image(packed, np.diag([0.3, 0.3, 1, 1])), tmp_path / "case.nii.gz")
    sweep = read_sweep(tmp_path / "case.nii.gz")
    luma = colour[..., :3] @ np.array([0.299, 0.587, 0.114])
    assert np.abs(sweep.frames - luma.T).max() <= 0.51
    assert any("luma" in note for note in sweep.notes)


def test_grey_stored_as_colour_comes_back_unchanged(tmp_path, frames):
    sweep = read_sweep(write(tmp_path / "case.mha", np.stack([frames] * 3, axis=-1), vector=True))
    assert np.array_equal(sweep.frames, frames)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("name", ["case.mha", "case.nii.gz", "case.nrrd"])
def test_deeper_values_are_windowed_over_their_range_and_said_so(tmp_path, name, dtype):
    low, high = (0, 4000) if dtype == np.uint16 else (-1000, 3000)
    deep = np.linspace(low, high, 5 * 20 * 20).reshape(5, 20, 20).astype(dtype)
    sweep = read_sweep(write(tmp_path / name, deep))
    assert np.abs(sweep.frames - (deep.astype(float) - low) * 255 / 4000).max() <= 0.5 + 1e-3
    assert any("windowed" in note and f"{low}" in note and f"{high}" in note for note in sweep.notes)


def test_the_window_is_one_for_all_slabs_of_a_stack(tmp_path, monkeypatch):
    monkeypatch.setattr("fetaliqa.sweep.raw_pixels.SLAB_BYTES", 3 * 2 * 400)  # three frames at a time
    deep = np.random.default_rng(1).integers(0, 1000, (10, 20, 20), dtype=np.uint16)
    deep[9, 0, 0] = 5000
    sweep = read_sweep(write(tmp_path / "case.mha", deep))
    assert np.abs(sweep.frames - deep * (255 / 5000)).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_files_that_hold_8_bit_values_keep_them(tmp_path, frames, dtype):
    sweep = read_sweep(write(tmp_path / "case.mha", frames.astype(dtype)))
    assert np.array_equal(sweep.frames, frames)
    assert any("kept" in note for note in sweep.notes)


def test_black_slots_of_deep_stacks_stay_black(tmp_path, two_sweeps):
    sweep = read_sweep(write(tmp_path / "case.mha", two_sweeps.astype(np.uint16) * 16))
    assert sweep.ranges == ((0, 20), (20, 40))
    assert sweep.padding.sum() == 11


def test_big_endian_values_are_understood(tmp_path):
    deep = np.arange(600, dtype=np.uint16).reshape(2, 15, 20) * 100
    path = write(tmp_path / "case.mha", deep, compressed=False)
    header, _, pixels = path.read_bytes().partition(b"ElementDataFile = LOCAL\n")
    header = header.replace(b"ByteOrderMSB = False", b"ByteOrderMSB = True")
    path.write_bytes(header + b"ElementDataFile = LOCAL\n" + deep.byteswap().tobytes())
    assert len(pixels) == deep.nbytes
    assert np.abs(read_sweep(path).frames - deep * (255 / deep.max())).max() <= 0.5 + 1e-9


def test_the_slope_of_a_nifti_file_is_applied(tmp_path):
    values = np.arange(2 * 15 * 20, dtype=np.int16).reshape(20, 15, 2)
    image = nibabel.Nifti1Image(values, np.diag([0.3, 0.3, 1, 1]))
    image.header.set_slope_inter(-2.0, 10.0)
    nibabel.save(image, tmp_path / "case.nii.gz")
    sweep = read_sweep(tmp_path / "case.nii.gz")
    expected = 255 - values.T * (255 / values.max())
    assert np.abs(sweep.frames - expected).max() <= 0.5 + 1e-6


def test_a_fourth_dimension_of_one_is_no_hindrance(tmp_path, frames):
    image = nibabel.Nifti1Image(np.ascontiguousarray(frames.T)[..., None], np.diag([0.3, 0.3, 1, 1]))
    nibabel.save(image, tmp_path / "case.nii")
    assert np.array_equal(read_sweep(tmp_path / "case.nii").frames, frames)


@pytest.mark.parametrize("name", ["case.mha", "case.nrrd"])
def test_sweep_ranges_in_the_header_are_honoured_unless_an_option_says_otherwise(tmp_path, frames, name):
    image = an_image(frames)
    image.SetMetaData("SweepRanges", "0:5,5:12")
    sitk.WriteImage(image, str(tmp_path / name), True)
    assert read_sweep(tmp_path / name).ranges == ((0, 5), (5, 12))
    assert read_sweep(tmp_path / name, sweeps=2).ranges == ((0, 6), (6, 12))


def test_black_tails_separate_the_sweeps_of_a_file(tmp_path, two_sweeps):
    sweep = read_sweep(write(tmp_path / "case.mha", two_sweeps))
    assert sweep.ranges == ((0, 20), (20, 40))
    assert np.flatnonzero(sweep.padding).tolist() == [*range(14, 20), *range(35, 40)]


def test_a_missing_path_is_not_found(tmp_path):
    with pytest.raises(NotFoundError, match=r"nothing\.mha"):
        read_sweep(tmp_path / "nothing.mha")


def test_sweep_paths_are_told_by_name(tmp_path, frames):
    assert {".mha", ".nii.gz", ".dcm", ".png"} <= set(SWEEP_SUFFIXES)
    assert is_sweep_path(write(tmp_path / "case.MHA", frames))
    (tmp_path / "notes.txt").write_text("hello")
    assert not is_sweep_path(tmp_path / "notes.txt")
    assert not is_sweep_path(tmp_path / "missing.mha")
    assert not is_sweep_path(tmp_path)  # holds whole sweeps
    (tmp_path / "empty").mkdir()
    assert not is_sweep_path(tmp_path / "empty")
