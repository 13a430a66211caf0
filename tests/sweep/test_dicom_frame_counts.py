"""The number of frames that a DICOM file declares, against the pixels that are there."""

from __future__ import annotations

import io

import numpy as np
import pytest
from dicom_files import a_dataset, encapsulated, saved
from PIL import Image
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_pixel_data_frame
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from fetaliqa.errors import SweepError
from fetaliqa.sweep import is_single_frame_dicom, read_sweep
from fetaliqa.sweep.case_paths import expand_cases

NATIVE = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
]


def announcing(dataset: FileDataset, count: int | str | None) -> FileDataset:
    if count is None:
        del dataset.NumberOfFrames
    else:
        dataset.NumberOfFrames = count
    return dataset


def jpeg_2000(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG2000", no_jp2=True, irreversible=False)
    return buffer.getvalue() + b"\0" * (buffer.tell() % 2)


def in_fragments(frames: np.ndarray, pieces: int = 1, table: bool = True) -> FileDataset:
    dataset = encapsulated(a_dataset(frames), [b"\0\0"], JPEG2000Lossless)
    dataset.PixelData = encapsulate([jpeg_2000(frame) for frame in frames], pieces, table)
    return dataset


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("count", [None, ""])
def test_frames_are_counted_where_the_header_does_not_say(tmp_path, frames, syntax, count):
    sweep = read_sweep(saved(announcing(a_dataset(frames, syntax=syntax), count), tmp_path / "case.dcm"))
    assert np.array_equal(sweep.frames, frames)
    assert any("12 counted" in note for note in sweep.notes)


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize(
    ("count", "words"), [(5, "holds 12 frames .* declares 5"), (13, "truncated"), (1, "12 fr")]
)
def test_more_or_fewer_native_frames_than_announced_are_refused(tmp_path, frames, syntax, count, words):
    path = saved(announcing(a_dataset(frames, syntax=syntax), count), tmp_path / "case.dcm")
    with pytest.raises(SweepError, match=words):
        read_sweep(path)


def test_bytes_after_the_last_frame_are_said_and_half_a_frame_in_an_uncounted_file_is_refused(tmp_path, frames):
    dataset = a_dataset(frames)
    dataset.PixelData += bytes(600)
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    assert np.array_equal(sweep.frames, frames)
    assert any("600 bytes after the last frame" in note for note in sweep.notes)
    with pytest.raises(SweepError, match="number of frames is missing"):
        read_sweep(saved(announcing(dataset, None), tmp_path / "case.dcm"))


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("table", ["basic", "none", "extended", "wrong"])
@pytest.mark.parametrize("count", [12, None, 5, 13, 1])
def test_encapsulated_frames_are_told_apart_by_tables_or_by_where_images_begin(
    tmp_path, frames, pieces, table, count
):
    dataset = announcing(in_fragments(frames, pieces, table == "basic"), count)
    if table == "extended" and pieces == 1:
        (
            dataset.PixelData,
            dataset.ExtendedOffsetTable,
            dataset.ExtendedOffsetTableLengths,
        ) = encapsulate_extended([jpeg_2000(frame) for frame in frames])
    if table == "wrong":
        dataset.PixelData = b"\xfe\xff\x00\xe0\x08\0\0\0" + bytes(4) + b"\x09\0\0\0" + dataset.PixelData[8:]
    path = saved(dataset, tmp_path / "case.dcm")
    if count in (12, None):
        sweep = read_sweep(path)
        assert np.array_equal(sweep.frames, frames)
        assert any("12 counted" in note for note in sweep.notes) == (count is None)
        assert any("offset table" in note for note in sweep.notes) == (table == "wrong")
    else:
        with pytest.raises(SweepError, match=f"holds 12 frames where its header declares {count}"):
            read_sweep(path)


@pytest.mark.parametrize("count", [4, 12, None])
def test_an_offset_table_that_hides_frames_is_seen_through(tmp_path, frames, count):
    dataset = announcing(in_fragments(frames), count)
    offsets = np.frombuffer(dataset.PixelData[8 : 8 + 48], "<u4")[::3]  # each of four frames would be three images
    dataset.PixelData = b"\xfe\xff\x00\xe0\x10\0\0\0" + offsets.tobytes() + dataset.PixelData[8 + 48 :]
    path = saved(dataset, tmp_path / "case.dcm")
    if count == 4:
        with pytest.raises(SweepError, match="several images"):
            read_sweep(path)
    else:
        assert np.array_equal(read_sweep(path).frames, frames)


def test_several_images_in_one_fragment_are_refused(tmp_path, frames):
    dataset = encapsulated(a_dataset(frames), [b"".join(map(jpeg_2000, frames))], JPEG2000Lossless)
    with pytest.raises(SweepError, match="several images"):
        read_sweep(saved(announcing(dataset, None), tmp_path / "case.dcm"))


@pytest.mark.parametrize("count", [12, None, 11])
def test_run_length_frames_are_one_fragment_each(tmp_path, frames, count):
    dataset = a_dataset(frames)
    dataset.compress(RLELossless)
    path = saved(announcing(dataset, count), tmp_path / "case.dcm")
    if count == 11:
        with pytest.raises(SweepError, match="holds 12 frames"):
            read_sweep(path)
    else:
        assert np.array_equal(read_sweep(path).frames, frames)


def test_a_run_length_frame_in_several_fragments_is_put_together(tmp_path, frames):
    dataset = a_dataset(frames)
    dataset.compress(RLELossless)
    encoded = list(generate_pixel_data_frame(dataset.PixelData, 12))
    dataset.PixelData = encapsulate(encoded, 2, has_bot=False)
    assert np.array_equal(read_sweep(saved(dataset, tmp_path / "case.dcm")).frames, frames)


def test_fragments_without_content_are_no_frames(tmp_path, frames):
    dataset = announcing(encapsulated(a_dataset(frames), [b"\0\0"], JPEG2000Lossless), None)
    empty = b"\xfe\xff\x00\xe0" + bytes(4)
    dataset.PixelData = empty * 3
    with pytest.raises(SweepError, match="no complete pixel data"):
        read_sweep(saved(dataset, tmp_path / "case.dcm"))


def test_pixels_that_are_in_fragments_or_not_as_the_transfer_syntax_forbids_are_refused(tmp_path, frames):
    path = saved(in_fragments(frames), tmp_path / "case.dcm")
    syntaxes = JPEG2000Lossless.encode(), ExplicitVRLittleEndian.ljust(len(JPEG2000Lossless), "\0").encode()
    path.write_bytes(path.read_bytes().replace(*syntaxes))
    with pytest.raises(SweepError, match=r"contradictory .*in fragments, though"):
        read_sweep(path)
    path = saved(a_dataset(frames, syntax=ExplicitVRLittleEndian), tmp_path / "case.dcm")
    meta = b"UI\x14\0" + ExplicitVRLittleEndian.ljust(20, "\0").encode()
    path.write_bytes(path.read_bytes().replace(meta, b"UI\x14\0" + RLELossless.ljust(20, "\0").encode()))
    with pytest.raises(SweepError, match=r"contradictory .*not in fragments"):
        read_sweep(path)


def test_a_file_of_several_frames_that_does_not_say_so_is_no_single_frame(tmp_path, frames):
    for name in ("a", "b"):
        saved(announcing(a_dataset(frames), None), tmp_path / f"{name}.dcm")
    assert not is_single_frame_dicom(tmp_path / "a.dcm")
    assert [path.name for path in expand_cases(tmp_path)] == ["a.dcm", "b.dcm"]
