"""Every wrong input is one sentence that names the file, and leaves nothing else behind."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fetaliqa.errors import FetalIQAError, NotFoundError, SweepError
from fetaliqa.sweep import Sweep, is_sweep_path, read_sweep


def refused(path: Path, message: str) -> None:
    with pytest.raises(SweepError, match=message) as caught:
        read_sweep(path)
    text = str(caught.value)
    assert path.name in text
    assert str(path.parent) not in text  # a server shows this to its clients
    assert "\n" not in text
    assert caught.value.http_status == 400
    assert caught.value.exit_code == 2


def write(path: Path, pixels: np.ndarray, compressed: bool = False) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(pixels), str(path), compressed)
    return path


def with_header(path: Path, pixels: np.ndarray, **changed: str | None) -> Path:
    """An uncompressed .mha whose header fields are changed (None: left out)."""
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "ElementSpacing": "0.28 0.28 0.28",
        "DimSize": " ".join(str(length) for length in pixels.shape[::-1]),
        "ElementType": "MET_UCHAR",
        **changed,
        "ElementDataFile": changed.get("ElementDataFile", "LOCAL"),
    }
    header = "".join(f"{key} = {value}\n" for key, value in fields.items() if value is not None)
    path.write_bytes(header.encode() + pixels.tobytes())
    return path


@pytest.mark.parametrize("cut", [1, 8, 500])
@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("name", ["case.mha", "case.nii.gz", "case.nii", "case.nrrd"])
def test_a_truncated_file_is_refused_however_little_is_missing(tmp_path, frames, name, compressed, cut):
    path = write(tmp_path / name, frames, compressed)
    path.write_bytes(path.read_bytes()[:-cut])
    refused(path, "truncated")


@pytest.mark.parametrize("name", ["case.mha", "case.nii.gz", "case.nrrd"])
def test_compressed_pixels_with_a_flipped_bit_are_refused(tmp_path, frames, name):
    path = write(tmp_path / name, frames, compressed=True)
    data = bytearray(path.read_bytes())
    data[-2000] ^= 0x10
    path.write_bytes(data)
    refused(path, "damaged|header cannot be used")  # SimpleITK inflates more of a .nii.gz than its header


def test_a_header_cut_short_is_refused(tmp_path, frames):
    for name in ("case.mha", "case.nii.gz", "case.nii", "case.nrrd"):
        path = write(tmp_path / name, frames)
        path.write_bytes(path.read_bytes()[:60])
        refused(path, "is not a MetaImage|damaged|is not a NIfTI|end of its header")


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nii", ".nii.gz", ".nrrd", ".dcm", ".png", ".jpg"])
@pytest.mark.parametrize("content", [b"this is a text file\n" * 40, b"\x89\x00\xff" * 300, b"a = b\n" * 100])
def test_a_file_of_another_kind_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"case{suffix}"
    path.write_bytes(content)
    refused(path, "is not a")


@pytest.mark.parametrize("suffix", [".mha", ".nii.gz", ".nrrd", ".dcm", ".png"])
def test_an_empty_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"case{suffix}"
    path.touch()
    refused(path, "empty")


def test_an_unknown_suffix_is_refused(tmp_path):
    path = tmp_path / "case.docx"
    path.write_bytes(b"PK")
    refused(path, r"unsupported format.*\.mha")


def test_a_fourth_dimension_is_refused(tmp_path, frames):
    series = np.stack([frames, frames])
    for name in ("case.mha", "case.nii.gz", "case.nrrd"):
        path = tmp_path / name
        volumes = [sitk.GetImageFromArray(volume) for volume in series]
        sitk.WriteImage(sitk.JoinSeries(volumes), str(path))
        refused(path, "4 dimensions")


@pytest.mark.parametrize("size", ["40 30 0", "0 30 12", "40 -30 12"])
def test_a_size_of_zero_is_refused(tmp_path, frames, size):
    refused(with_header(tmp_path / "case.mha", frames, DimSize=size), "at least one pixel")


@pytest.mark.parametrize(
    "spacing", ["0 0.28 1", "0.28 0 1", "-0.28 0.28 1", "nan 0.28 1", "0.28 0.28 0", "inf 1 1"]
)
def test_spacing_that_is_not_positive_is_refused(tmp_path, frames, spacing):
    refused(with_header(tmp_path / "case.mha", frames, ElementSpacing=spacing), "spacing must be positive")


def test_zero_spacing_in_nifti_and_nrrd_files_is_refused(tmp_path, frames):
    nifti = write(tmp_path / "case.nii", frames)
    data = bytearray(nifti.read_bytes())
    data[80:84] = struct.pack("<f", 0.0)  # pixdim[1]
    nifti.write_bytes(data)
    refused(nifti, "spacing must be positive")
    nrrd = write(tmp_path / "case.nrrd", frames)
    nrrd.write_bytes(nrrd.read_bytes().replace(b"(1,0,0)", b"(0,0,0)", 1))
    refused(nrrd, "spacing must be positive")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"DimSize": "40 30"}, "contradict each other"),
        ({"DimSize": "40 30 many"}, "contradict each other"),
        ({"DimSize": None}, "contradict each other"),
        ({"NDims": "three"}, "1 numbers expected"),
        ({"ElementSpacing": "0.28 0.28"}, "3 numbers expected"),
        ({"ElementType": "MET_STRING"}, "MET_STRING"),
        ({"ElementType": None}, "element type"),
        ({"BinaryData": "False"}, "written as text"),
        ({"ElementNumberOfChannels": "2"}, "2 values per pixel"),
        ({"ElementNumberOfChannels": "0"}, "0 values per pixel"),
        ({"ElementNumberOfChannels": "nan"}, "a whole number is expected"),
        ({"ElementNumberOfChannels": "1e400"}, "a whole number is expected"),
        ({"HeaderSize": "inf"}, "a whole number is expected"),
        ({"ElementDataFile": "LIST"}, r"names \d+ pixel files for 12 frames"),
        ({"ElementDataFile": "frame%03d.raw"}, r"frame001\.raw' does not exist"),
        ({"ElementDataFile": "elsewhere.raw"}, "does not exist"),
        ({"ElementDataFile": "else\0where.raw"}, "correct the file's header"),
        ({"DimSize": "100000 100000 100000"}, "truncated"),
        ({"DimSize": "100000 100000 100000", "CompressedData": "True"}, "truncated"),
        ({"DimSize": "40 30 11"}, "more pixels"),
        ({"SweepRanges": "0:5,6:12"}, "SweepRanges.*6:12"),
        ({"SweepRanges": "all"}, "SweepRanges.*start:stop"),
        ({"CompressedData": "True"}, "damaged|truncated"),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "do not span space"),
    ],
)
def test_a_header_that_contradicts_itself_or_its_data_is_refused(tmp_path, frames, changed, message):
    refused(with_header(tmp_path / "case.mha", frames, **changed), message)


def test_the_header_used_in_these_tests_is_fine_when_unchanged(tmp_path, frames):
    assert np.array_equal(read_sweep(with_header(tmp_path / "case.mha", frames)).frames, frames)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["case.mha", "case.nii.gz", "case.nrrd"])
def test_values_that_are_not_numbers_are_refused_with_the_frame(tmp_path, frames, name, value):
    stack = frames.astype(np.float32)
    stack[7, 3, 3] = value
    refused(write(tmp_path / name, stack), "frame 7 holds values that are not numbers")


def test_a_mask_file_is_not_taken_for_a_sweep(tmp_path, frames):
    refused(write(tmp_path / "mask.mha", frames % 3), "no frame with an image")


@pytest.mark.parametrize(
    "target", ["../secret.raw", "{absolute}/secret.raw", "inner/../../secret.raw", "link.raw"]
)
def test_a_header_cannot_lead_to_files_outside_of_its_folder(tmp_path, frames, target):
    studies = tmp_path / "studies"
    (studies / "inner").mkdir(parents=True)
    (tmp_path / "secret.raw").write_bytes(frames.tobytes())
    (studies / "link.raw").symlink_to(tmp_path / "secret.raw")
    written = target.format(absolute=tmp_path)
    path = with_header(studies / "case.mhd", frames[:0], DimSize="40 30 12", ElementDataFile=written)
    with pytest.raises(SweepError, match="outside of its own folder"):
        read_sweep(path)


def test_a_header_may_name_a_file_in_a_folder_below(tmp_path, frames):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "pixels.raw").write_bytes(frames.tobytes())
    path = with_header(tmp_path / "case.mhd", frames[:0], DimSize="40 30 12", ElementDataFile="inner/pixels.raw")
    assert np.array_equal(read_sweep(path).frames, frames)


@pytest.fixture
def an_ordinary_user(tmp_path):
    """Give up the administrator's right to read every file, which test containers run with."""
    if os.geteuid() != 0:
        yield
        return
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def forbidden(tmp_path, frames) -> Path:
    path = write(tmp_path / "case.mha", frames)
    path.chmod(0)
    return path


def test_a_file_that_may_not_be_read_is_refused(forbidden, an_ordinary_user):
    refused(forbidden, "not readable")


def test_a_folder_that_may_not_be_read_is_refused(tmp_path, request):
    folder = tmp_path / "case"
    folder.mkdir(mode=0)
    request.getfixturevalue("an_ordinary_user")
    refused(folder, "not readable")
    assert not is_sweep_path(folder)


def test_a_path_that_cannot_exist_is_refused(tmp_path):
    with pytest.raises(SweepError, match="cannot be read"):
        read_sweep(tmp_path / ("a" * 300 + ".mha"))
    with pytest.raises(NotFoundError):
        read_sweep(tmp_path / "nul\0.mha")


def test_nothing_is_printed_about_damaged_files(tmp_path, frames, capfd):
    for name in ("case.mha", "case.nii.gz", "case.nrrd"):
        path = write(tmp_path / name, frames, compressed=True)
        path.write_bytes(path.read_bytes()[:-300])
        with pytest.raises(SweepError):
            read_sweep(path)
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def intact(tmp_path_factory) -> dict[str, bytes]:
    """Small files of all volume formats."""
    folder = tmp_path_factory.mktemp("intact")
    pixels = np.random.default_rng(5).integers(0, 256, (3, 5, 6), dtype=np.uint8)
    contents = {}
    for name in ("raw.mha", "deflated.mha", "raw.nii", "deflated.nii.gz", "raw.nrrd", "deflated.nrrd"):
        contents[name] = write(folder / name, pixels, compressed=name.startswith("deflated")).read_bytes()
    return contents


def read_or_reason(path: Path) -> Sweep | str:
    try:
        return read_sweep(path)
    except FetalIQAError as error:
        return str(error)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_gives_frames_or_one_sentence_but_never_a_crash(tmp_path, intact, data):
    name = data.draw(st.sampled_from(sorted(intact)))
    content = bytearray(intact[name])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / name
    path.write_bytes(content)
    outcome = read_or_reason(path)
    if isinstance(outcome, str):
        assert "\n" not in outcome
        assert len(outcome) < 500
    else:
        assert outcome.frames.ndim == 3
