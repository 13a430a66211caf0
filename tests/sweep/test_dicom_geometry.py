"""Millimetres of DICOM files: which calibration counts, and where there is none rather than a guess."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_files import a_dataset, a_region, saved
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from fetaliqa.errors import SweepError
from fetaliqa.sweep import read_sweep


def a_part(delta: float, left: int, right: int, **changes) -> Dataset:
    region = a_region(delta, delta)
    region.RegionLocationMinX0, region.RegionLocationMaxX1 = left, right
    region.RegionLocationMinY0, region.RegionLocationMaxY1 = 0, 29
    for keyword, value in changes.items():
        if value is None:
            del region[keyword]
        else:
            setattr(region, keyword, value)
    return region


def spacing_and_notes(tmp_path, frames, regions, **attributes):
    dataset = a_dataset(frames)
    if regions:
        dataset.SequenceOfUltrasoundRegions = Sequence(regions)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    return sweep.spacing, " | ".join(sweep.notes)


def test_equal_regions_of_a_split_screen_share_their_spacing(tmp_path, frames):
    spacing, notes = spacing_and_notes(tmp_path, frames, [a_part(0.02, 0, 19), a_part(0.02, 20, 39)])
    assert spacing == pytest.approx((0.2, 0.2))
    assert notes == ""


@pytest.mark.parametrize("places", [(0, 19, 20, 39), (0, 39, 0, 39)])
def test_regions_of_different_spacing_give_no_millimetres(tmp_path, frames, places):
    left, middle, begin, right = places
    spacing, notes = spacing_and_notes(tmp_path, frames, [a_part(0.02, left, middle), a_part(0.05, begin, right)])
    assert spacing is None
    assert "0.2 x 0.2" in notes
    assert "0.5 x 0.5" in notes


def test_a_split_screen_of_which_one_half_is_uncalibrated_gives_no_millimetres(tmp_path, frames):
    halves = [a_part(0.02, 0, 19), a_part(0.02, 20, 39, PhysicalUnitsXDirection=0)]
    spacing, notes = spacing_and_notes(tmp_path, frames, halves)
    assert spacing is None
    assert "another is not" in notes


@pytest.mark.parametrize("kind", [2, 3, 4, 5])
def test_motion_spectral_and_other_regions_do_not_count(tmp_path, frames, kind):
    regions = [a_part(0.9, 0, 39, RegionSpatialFormat=kind), a_part(-0.02, 0, 19, PhysicalDeltaY=0.03)]
    assert spacing_and_notes(tmp_path, frames, regions)[0] == pytest.approx((0.3, 0.2))
    bar = a_part(0.9, 0, 39, RegionDataType=0xE)
    assert spacing_and_notes(tmp_path, frames, [bar, *regions[1:]])[0] == pytest.approx((0.3, 0.2))
    alone, notes = spacing_and_notes(tmp_path, frames, regions[:1])
    assert alone is None
    assert "no ultrasound region is calibrated in cm" in notes


@pytest.mark.parametrize("units", [0, 1, 4, 7, 12, None])
def test_units_other_than_centimetres_are_no_lengths(tmp_path, frames, units):
    regions = [a_part(0.02, 0, 39, PhysicalUnitsXDirection=units)]
    spacing, notes = spacing_and_notes(tmp_path, frames, regions)
    assert spacing is None
    assert "no measurement in mm" in notes


def test_pixel_spacing_that_disagrees_with_the_region_is_said(tmp_path, frames):
    regions = [a_part(0.02, 0, 39)]
    spacing, notes = spacing_and_notes(tmp_path, frames, regions, PixelSpacing=[0.4, 0.4])
    assert spacing == pytest.approx((0.2, 0.2))
    assert "Pixel Spacing 0.4 x 0.4 mm differs" in notes
    assert spacing_and_notes(tmp_path, frames, regions, PixelSpacing=[0.2, 0.2])[1] == ""


@pytest.mark.parametrize("keyword", ["ImagerPixelSpacing", "NominalScannedPixelSpacing"])
def test_spacings_that_are_not_of_the_body_are_not_used(tmp_path, frames, keyword):
    spacing, notes = spacing_and_notes(tmp_path, frames, [], **{keyword: [0.3, 0.3]})
    assert spacing is None
    assert "not used: no measurement in mm" in notes


@pytest.mark.parametrize("delta", [1e-9, 30.0])
def test_a_calibration_that_no_ultrasound_image_has_is_refused(tmp_path, frames, delta):
    dataset = a_dataset(frames)
    dataset.SequenceOfUltrasoundRegions = Sequence([a_region(delta, delta)])
    with pytest.raises(SweepError, match="no ultrasound image has that"):
        read_sweep(saved(dataset, tmp_path / "case.dcm"))


def test_a_file_without_any_spacing_says_so(tmp_path, frames):
    assert spacing_and_notes(tmp_path, frames, []) == (None, "no pixel spacing in the file: no measurement in mm")


def test_the_pixel_aspect_ratio_is_held_against_the_spacing(tmp_path, frames):
    region = [a_part(0.02, 0, 39, PhysicalDeltaY=0.04)]
    assert spacing_and_notes(tmp_path, frames, region, PixelAspectRatio=[2, 1])[0] == pytest.approx((0.4, 0.2))
    spacing, notes = spacing_and_notes(tmp_path, frames, region, PixelAspectRatio=[1, 1])
    assert spacing is None
    assert "aspect ratio 1:1 contradicts" in notes
    assert "not square (aspect ratio 4:3)" in spacing_and_notes(tmp_path, frames, [], PixelAspectRatio=[4, 3])[1]


def test_enhanced_images_take_their_spacing_from_the_functional_groups(tmp_path, frames):
    def groups(*spacings: float) -> Sequence:
        items = []
        for value in spacings:
            measures, item = Dataset(), Dataset()
            measures.PixelSpacing = [value, value]
            item.PixelMeasuresSequence = Sequence([measures])
            items.append(item)
        return Sequence(items)

    spacing, _ = spacing_and_notes(tmp_path, frames, [], SharedFunctionalGroupsSequence=groups(0.3))
    assert spacing == pytest.approx((0.3, 0.3))
    spacing, notes = spacing_and_notes(
        tmp_path, frames, [], PerFrameFunctionalGroupsSequence=groups(*[0.3] * 6, *[0.4] * 6)
    )
    assert spacing is None
    assert "differs between frames" in notes


def test_an_orientation_beside_the_pixels_is_said_not_to_be_used(tmp_path, frames):
    flipped = spacing_and_notes(tmp_path, frames, [], ImageOrientationPatient=[-1, 0, 0, 0, 1, 0])[1]
    assert "orientation" in flipped
    assert (
        "orientation" not in spacing_and_notes(tmp_path, frames, [], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])[1]
    )


def test_a_volume_and_the_icon_in_a_header_are_told_from_a_loop(tmp_path, frames):
    icon = a_dataset(frames[:1, :8, :8])
    item = Dataset()
    for element in icon.group_dataset(0x0028):
        item.add(element)
    item.PixelData = icon.PixelData
    item["PixelData"].VR = "OB"
    notes = spacing_and_notes(
        tmp_path, frames, [], IconImageSequence=Sequence([item]), SOPClassUID="1.2.840.10008.5.1.4.1.1.6.2"
    )[1]
    assert "an ultrasound volume" in notes
    assert np.array_equal(read_sweep(tmp_path / "case.dcm").frames, frames)


# -- folders ------------------------------------------------------------------------------------------


def a_folder(tmp_path, frames: np.ndarray, change=lambda dataset, number: None):
    for number, frame in enumerate(frames):
        dataset = a_dataset(frame[None])
        dataset.InstanceNumber = number + 1
        change(dataset, number)
        saved(dataset, tmp_path / f"IM{number:02}.dcm")
    return tmp_path


def test_files_of_different_calibration_are_refused_by_name(tmp_path, frames):
    def calibrated(dataset, number):
        dataset.SequenceOfUltrasoundRegions = Sequence([a_region(0.02 if number < 7 else 0.03, 0.02)])

    with pytest.raises(SweepError, match=r"IM00\.dcm: 0\.2 x 0\.2 mm; IM07\.dcm: 0\.2 x 0\.3 mm"):
        read_sweep(a_folder(tmp_path, frames, calibrated))


def test_a_file_without_calibration_among_calibrated_ones_is_refused(tmp_path, frames):
    def calibrated(dataset, number):
        if number:
            dataset.SequenceOfUltrasoundRegions = Sequence([a_region(0.02, 0.02)])

    with pytest.raises(SweepError, match=r"IM00\.dcm: none; IM01\.dcm: 0\.2"):
        read_sweep(a_folder(tmp_path, frames, calibrated))


def test_missing_instances_are_said(tmp_path, frames):
    folder = a_folder(tmp_path, frames)
    (folder / "IM04.dcm").unlink()
    sweep = read_sweep(folder)
    assert np.array_equal(sweep.frames, np.delete(frames, 4, axis=0))
    assert any("gaps (5 missing)" in note for note in sweep.notes)


def test_instance_numbers_that_occur_twice_are_said_and_names_give_the_order(tmp_path, frames):
    def numbered(dataset, number):
        dataset.InstanceNumber = 1 + number // 2

    sweep = read_sweep(a_folder(tmp_path, frames, numbered))
    assert np.array_equal(sweep.frames, frames)
    assert any("occur twice (1, 2, 3, 4, 5, ...)" in note for note in sweep.notes)


def test_the_same_instance_in_two_files_is_refused(tmp_path, frames):
    folder = a_folder(tmp_path, frames)
    (folder / "copy.dcm").write_bytes((folder / "IM03.dcm").read_bytes())
    with pytest.raises(SweepError, match="the same frame"):
        read_sweep(folder)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_frames_of_different_photometric_interpretation_are_each_read_by_their_own(tmp_path, frames, kind):
    deep, largest = frames.astype(kind), np.iinfo(kind).max

    def changed(dataset, number):
        if number == 2:
            dataset.PhotometricInterpretation = "MONOCHROME1"
            dataset.PixelData = (largest - deep[2]).astype(kind).tobytes()

    sweep = read_sweep(a_folder(tmp_path, deep, changed))
    assert np.array_equal(sweep.frames, frames)
    assert any("MONOCHROME1, MONOCHROME2" in note for note in sweep.notes)


def test_frames_of_different_sizes_or_depths_are_refused(tmp_path, frames):
    def deeper(dataset, number):
        if number == 2:
            dataset.BitsStored, dataset.HighBit = 7, 6

    with pytest.raises(SweepError, match=r"different depth \(7, 8 bits\)"):
        read_sweep(a_folder(tmp_path, frames, deeper))
    saved(a_dataset(frames[:1, :20]), tmp_path / "IM02.dcm")
    with pytest.raises(SweepError, match="different sizes"):
        read_sweep(tmp_path)


def test_a_report_beside_the_frames_is_left_out_and_said(tmp_path, frames):
    folder = a_folder(tmp_path, frames)
    report = a_dataset(frames[:1])
    for keyword in ("Rows", "Columns", "PixelData", "PhotometricInterpretation"):
        delattr(report, keyword)
    report.Modality, report.SeriesInstanceUID = "SR", "1.2.3.5"
    saved(report, folder / "report.dcm")
    sweep = read_sweep(folder)
    assert sweep.frame_count == 12
    assert any("skipped, no images: report.dcm" in note for note in sweep.notes)
