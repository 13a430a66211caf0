"""Real files: tracked ultrasound stacks, fetal planes, a phantom's frames. Skipped when they are not at hand."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest
import SimpleITK as sitk

from fetaliqa.sweep import is_sweep_path, read_masks, read_sweep, write_masks


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("SpinePhantomFreehand", (21, 616, 820)),
        ("BoneUltrasound_L14", (21, 616, 820)),
        ("UltrasonixCurvilinearScanConvertedData", (5, 616, 820)),
    ],
)
def test_tracked_stacks_are_read_as_simpleitk_reads_them(shared_data, tmp_path, name, shape):
    path = shared_data / "phantom_sweeps" / f"{name}.igs.mha"
    sweep = read_sweep(path)
    image = sitk.ReadImage(str(path))
    assert sweep.shape == shape
    assert np.array_equal(sweep.frames, sitk.GetArrayViewFromImage(image))
    assert sweep.grid.spacing == image.GetSpacing()
    assert sweep.case_id == f"{name}.igs"
    assert not sweep.padding.any()
    masks = (sweep.frames > 200).astype(np.uint8)
    write_masks(tmp_path / "mask.mha", masks, sweep)
    assert np.array_equal(read_masks(tmp_path / "mask.mha", sweep), masks)


def test_fetal_planes_in_grey_and_in_colour_are_one_frame_sweeps(shared_data):
    paths = sorted((shared_data / "african_abdomen").glob("*.png"))
    noted = 0
    for path in paths:
        sweep = read_sweep(path)
        expected = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert np.abs(sweep.frames[0].astype(int) - expected).max() <= 1
        noted += any("luma" in note for note in sweep.notes)
    assert 0 < noted < len(paths)


def test_a_folder_of_phantom_frames_is_a_sweep_in_the_order_of_the_cine_loop(shared_data):
    folder = shared_data / "natalia_phantom"
    assert is_sweep_path(folder)
    sweep = read_sweep(folder)
    assert sweep.shape[1:] == (224, 224)
    assert sweep.frame_count == len(list(folder.glob("*.png")))
    assert sweep.ranges == ((0, sweep.frame_count),)
    assert np.array_equal(
        sweep.frames[0], cv2.imread(str(next(iter(sorted(folder.glob("*cineframe_25_*"))))), cv2.IMREAD_GRAYSCALE)
    )


def test_folders_of_unrelated_planes_are_refused_as_sweeps(shared_data):
    from fetaliqa.errors import SweepError

    with pytest.raises(SweepError, match="different sizes"):
        read_sweep(shared_data / "african_abdomen")


def test_head_planes_are_read(shared_data):
    with open(shared_data / "hc18" / "pixel_size_and_HC.csv", newline="") as file:
        names = [row["filename"] for row in csv.DictReader(file)]
    present = [name for name in names if (shared_data / "hc18" / "images" / name).is_file()][:5]
    assert present
    for name in present:
        sweep = read_sweep(shared_data / "hc18" / "images" / name)
        assert sweep.frame_count == 1
        assert sweep.spacing is None


def test_the_field_of_view_mask_of_the_challenge_is_windowed_and_said_so(shared_data):
    sweep = read_sweep(shared_data / "acouslic" / "fov_mask.mha")
    assert sweep.spacing == pytest.approx((0.28, 0.28))
    assert set(np.unique(sweep.frames)) == {0, 255}
    assert sweep.notes
