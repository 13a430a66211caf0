from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk

from fetaliqa.errors import NotFoundError, OptionError, SweepError
from fetaliqa.sweep import read_masks, read_sweep, sweep_from_array, write_masks

SPACING = (0.28000000000000003, 0.31, 0.7)
ORIGIN = (-12.5, 1 / 3, 100.0)
ANGLE = 0.3
TURNED = (np.cos(ANGLE), -np.sin(ANGLE), 0.0, np.sin(ANGLE), np.cos(ANGLE), 0.0, 0.0, 0.0, 1.0)
FORMATS = [".mha", ".nii.gz", ".nrrd"]


@pytest.fixture
def masks(frames) -> np.ndarray:
    labels = np.zeros_like(frames)
    labels[3, 5:20, 8:30] = 1
    labels[4, 6:20, 8:31] = 2
    return labels


def a_sweep(path, pixels, spacing=SPACING, origin=ORIGIN, direction=TURNED):
    image = sitk.GetImageFromArray(pixels)
    if pixels.ndim == 2:
        direction = (direction[0], direction[1], direction[3], direction[4])
    image.SetSpacing(spacing[: pixels.ndim])
    image.SetOrigin(origin[: pixels.ndim])
    image.SetDirection(direction)
    sitk.WriteImage(image, str(path), True)
    return read_sweep(path)


def geometry(image):
    return image.GetSpacing(), image.GetOrigin(), image.GetDirection()


@pytest.mark.parametrize("suffix", FORMATS)
def test_masks_come_back_as_they_were_written_on_the_sweeps_own_grid(tmp_path, frames, masks, suffix):
    sweep = a_sweep(tmp_path / f"case{suffix}", frames)
    target = tmp_path / f"mask{suffix}"
    write_masks(target, masks, sweep)
    assert np.array_equal(read_masks(target, sweep), masks)
    source, written = sitk.ReadImage(str(tmp_path / f"case{suffix}")), sitk.ReadImage(str(target))
    assert written.GetPixelID() == sitk.sitkUInt8
    assert written.GetSize() == source.GetSize()
    if suffix == ".mha":
        assert geometry(written) == geometry(source)
    for ours, theirs in zip(geometry(written), geometry(source)):  # NRRD multiplies spacing and direction,
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-6)  # NIfTI keeps 32-bit floats


@pytest.mark.parametrize("suffix", FORMATS)
def test_upright_geometry_is_kept_to_the_last_bit(tmp_path, frames, masks, suffix):
    upright = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    sweep = a_sweep(tmp_path / f"case{suffix}", frames, direction=upright)
    write_masks(tmp_path / f"mask{suffix}", masks, sweep)
    written, source = (sitk.ReadImage(str(tmp_path / f"{name}{suffix}")) for name in ("mask", "case"))
    assert geometry(written) == geometry(source)


@pytest.mark.parametrize("mask_suffix", FORMATS)
@pytest.mark.parametrize("sweep_suffix", FORMATS)
def test_masks_in_one_format_fit_a_sweep_in_another(tmp_path, frames, masks, sweep_suffix, mask_suffix):
    sweep = a_sweep(tmp_path / f"case{sweep_suffix}", frames)
    write_masks(tmp_path / f"mask{mask_suffix}", masks, sweep)
    assert np.array_equal(read_masks(tmp_path / f"mask{mask_suffix}", sweep), masks)


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_mask_of_a_plane_image_is_a_plane_image(tmp_path, frames, masks, suffix):
    sweep = a_sweep(tmp_path / "plane.mha", frames[0])
    write_masks(tmp_path / f"mask{suffix}", masks[3:4], sweep)
    written = sitk.ReadImage(str(tmp_path / f"mask{suffix}"))
    assert written.GetDimension() == 2
    if suffix != ".nii.gz":
        assert written.GetSpacing() == pytest.approx(SPACING[:2], rel=1e-15)
        assert written.GetOrigin() == ORIGIN[:2]
    if suffix == ".nii.gz":  # NIfTI cannot turn a plane image: its origin and direction are lost
        sweep = a_sweep(tmp_path / "plane.nii.gz", frames[0], direction=(1, 0, 0, 0, 1, 0, 0, 0, 1))
        write_masks(tmp_path / "mask.nii.gz", masks[3:4], sweep)
    assert np.array_equal(read_masks(tmp_path / f"mask{suffix}", sweep), masks[3:4])


def test_masks_are_compressed(tmp_path, frames, masks):
    sweep = sweep_from_array(np.repeat(frames, 20, axis=0), (0.3, 0.3))
    write_masks(tmp_path / "mask.mha", np.repeat(masks, 20, axis=0), sweep)
    assert (tmp_path / "mask.mha").stat().st_size < sweep.frames.size / 20


def test_a_sweep_without_spacing_takes_masks_of_its_size_whatever_their_spacing(tmp_path, frames, masks):
    sweep = sweep_from_array(frames)
    write_masks(
        tmp_path / "mask.mha", masks, dataclasses.replace(sweep, grid=a_sweep(tmp_path / "c.mha", frames).grid)
    )
    assert np.array_equal(read_masks(tmp_path / "mask.mha", sweep), masks)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"spacing": (0.28, 0.32, 0.7)}, r"spacing .*0\.32.*sweep's is .*0\.31"),
        ({"spacing": (0.28, 0.31, 1.0)}, "spacing"),
        ({"origin": (-12.5, 1.0, 100.0)}, "origin"),
        ({"direction": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)}, "direction"),
    ],
)
def test_masks_on_another_grid_are_refused_with_the_difference(tmp_path, frames, masks, changed, message):
    sweep = a_sweep(tmp_path / "case.mha", frames)
    a_sweep(tmp_path / "mask.mha", masks | 8, **changed)
    with pytest.raises(SweepError, match=message):
        read_masks(tmp_path / "mask.mha", sweep)


def test_masks_of_another_size_are_refused_with_both_sizes(tmp_path, frames, masks):
    sweep = a_sweep(tmp_path / "case.mha", frames)
    write_masks(tmp_path / "mask.mha", masks[:11], dataclasses.replace(sweep, frames=frames[:11]))
    with pytest.raises(SweepError, match="11 frames of 30 x 40, but case has 12 frames of 30 x 40"):
        read_masks(tmp_path / "mask.mha", sweep)


def test_a_rounding_of_the_geometry_is_tolerated(tmp_path, frames, masks):
    sweep = a_sweep(tmp_path / "case.mha", frames)
    a_sweep(tmp_path / "mask.mha", masks | 8, spacing=(0.28, 0.31, 0.7), origin=(-12.5, 0.3333, 100.0))
    assert np.array_equal(read_masks(tmp_path / "mask.mha", sweep), masks | 8)


@pytest.mark.parametrize("value", [256, -1, 1.5, np.nan])
def test_values_that_are_no_labels_are_refused(tmp_path, frames, value):
    sweep = sweep_from_array(frames)
    labels = np.zeros(frames.shape, np.float32 if isinstance(value, float) else np.int16)
    labels[2, 2, 2] = value
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(tmp_path / "mask.mha"))
    with pytest.raises(SweepError, match=r"whole numbers from 0 to 255|not numbers"):
        read_masks(tmp_path / "mask.mha", sweep)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float32])
def test_labels_of_any_type_are_read_unchanged(tmp_path, frames, masks, dtype):
    sitk.WriteImage(sitk.GetImageFromArray(masks.astype(dtype)), str(tmp_path / "mask.nrrd"))
    assert np.array_equal(read_masks(tmp_path / "mask.nrrd", sweep_from_array(frames)), masks)


def test_an_empty_mask_stack_can_be_written_and_read(tmp_path, frames):
    sweep = sweep_from_array(frames, (0.3, 0.3))
    write_masks(tmp_path / "mask.nii.gz", np.zeros_like(frames), sweep)
    assert not read_masks(tmp_path / "mask.nii.gz", sweep).any()


def test_a_missing_mask_file_is_not_found(tmp_path, frames):
    with pytest.raises(NotFoundError):
        read_masks(tmp_path / "mask.mha", sweep_from_array(frames))


@pytest.mark.parametrize("name", ["mask.png", "mask", "mask.nii", "mask.mhd"])
def test_other_formats_are_not_written(tmp_path, frames, masks, name):
    with pytest.raises(OptionError, match=r"\.mha, \.nii\.gz, \.nrrd"):
        write_masks(tmp_path / name, masks, sweep_from_array(frames))
    assert list(tmp_path.iterdir()) == []


def test_masks_of_another_shape_or_type_are_a_mistake_of_the_caller(tmp_path, frames, masks):
    for wrong in (masks[:3], masks.astype(np.int16), masks.astype(bool)):
        with pytest.raises(ValueError, match="expected uint8"):
            write_masks(tmp_path / "mask.mha", wrong, sweep_from_array(frames))


def test_a_write_that_fails_leaves_the_old_file(tmp_path, frames, masks, monkeypatch):
    sweep = sweep_from_array(frames)
    write_masks(tmp_path / "mask.mha", masks, sweep)
    before = (tmp_path / "mask.mha").read_bytes()

    def full_disk(*_args, **_kwargs):
        raise RuntimeError("no space left")

    monkeypatch.setattr(sitk, "WriteImage", full_disk)
    with pytest.raises(RuntimeError, match="no space"):
        write_masks(tmp_path / "mask.mha", masks[::-1].copy(), sweep)
    assert (tmp_path / "mask.mha").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["mask.mha"]
