"""Segmentations of cines, read back by highdicom and pydicom."""

import io
from datetime import UTC, datetime

import numpy as np
import pydicom
import pytest
from dicom_files import a_dataset, a_region, saved
from highdicom.seg import Segmentation

from fetaliqa.errors import OptionError
from fetaliqa.export.cine_segmentation import Authorship, cine_segmentation
from fetaliqa.measure.anatomy import ABDOMEN

SHAPE = (12, 41, 53)  # no multiple of 8: bits of one frame share bytes with the next
SAVED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture
def cine(tmp_path):
    dataset = a_dataset(np.random.default_rng(0).integers(0, 255, SHAPE, dtype=np.uint8))
    dataset.StudyInstanceUID, dataset.SpecificCharacterSet = "1.2.3", "ISO_IR 100"
    dataset.PatientName = "Müller^Jane"
    dataset.SequenceOfUltrasoundRegions = [a_region(0.028, 0.031)]
    return pydicom.dcmread(saved(dataset, tmp_path / "cine.dcm"), stop_before_pixels=True)


def masks_of():
    masks = np.zeros(SHAPE, np.uint8)
    masks[3, 5:20, 7:30], masks[8, 10:20, 7:31], masks[9, 1:4, 2:4] = 1, 2, 1
    return masks


def read_back(dataset):
    content = io.BytesIO()
    pydicom.dcmwrite(content, dataset, write_like_original=False)
    return pydicom.dcmread(io.BytesIO(content.getvalue()))


def test_highdicom_finds_each_mask_on_its_frame_of_the_cine(cine):
    frames = [3, 5, 8, 9]
    dataset = read_back(cine_segmentation(cine, masks_of(), frames, ABDOMEN, Authorship("final", 1, SAVED)))
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert [float(value) for value in measures.PixelSpacing] == pytest.approx([0.31, 0.28])
    del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence  # highdicom wants a slice thickness in it
    dataset = Segmentation.from_dataset(dataset)
    numbers = [frame + 1 for frame in frames]
    masks = dataset.get_pixels_by_source_frame(cine.SOPInstanceUID, numbers, combine_segments=True)
    assert np.array_equal(masks, masks_of()[frames])
    assert [one.segment_label for one in dataset.SegmentSequence] == ["abdomen", "abdomen_suboptimal"]
    assert str(dataset.PatientName) == "Müller^Jane"


def test_only_frames_that_somebody_looked_at_are_in_it(cine):
    dataset = read_back(cine_segmentation(cine, masks_of(), [9, 5], ABDOMEN, Authorship("final", 1, SAVED)))
    sources = [
        int(groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber)
        for groups in dataset.PerFrameFunctionalGroupsSequence
    ]
    assert sorted(sources) == [6, 10]
    assert dataset.pixel_array.sum() == masks_of()[9].sum()


def test_frames_without_an_outline_are_in_it_as_empty_ones(cine):
    nothing = np.zeros(SHAPE, np.uint8)
    dataset = read_back(cine_segmentation(cine, nothing, [0, 4], ABDOMEN, Authorship("final", 1, SAVED)))
    assert (dataset.NumberOfFrames, dataset.pixel_array.any()) == (2, False)


def test_the_same_version_is_the_same_file_and_another_has_other_uids(cine):
    def made(**more):
        return cine_segmentation(cine, masks_of(), [3], ABDOMEN, Authorship("final", saved=SAVED, **more))

    assert made(version=1) == made(version=1)
    other = made(version=2)
    assert other.SOPInstanceUID != made(version=1).SOPInstanceUID
    assert other.SeriesInstanceUID != made(version=1).SeriesInstanceUID


def test_a_proposal_that_was_shown_is_named(cine):
    by = Authorship("final", 1, SAVED, creator="Änne^\\x", model="demo 3")
    dataset = read_back(cine_segmentation(cine, masks_of(), [3], ABDOMEN, by))
    (segment,) = dataset.SegmentSequence
    assert (segment.SegmentAlgorithmType, segment.SegmentAlgorithmName) == ("SEMIAUTOMATIC", "demo 3")
    assert str(dataset.ContentCreatorName) == "Änne  x^"


@pytest.mark.parametrize(("masks", "frames"), [(masks_of()[:5], [1]), (masks_of(), [])])
def test_masks_of_another_size_or_of_no_frame_are_refused(cine, masks, frames):
    with pytest.raises(OptionError):
        cine_segmentation(cine, masks, frames, ABDOMEN, Authorship("final", 1, SAVED))
