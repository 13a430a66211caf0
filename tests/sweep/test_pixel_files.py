"""Headers and the files that they name: text encodings, several files, and pixels too few or too many."""

from __future__ import annotations

import gzip
import shutil
import zlib

import numpy as np
import pytest
import SimpleITK as sitk
from volume_files import changed_nifti, cine, metaimage, nifti, nrrd

from fetaliqa.errors import SweepError
from fetaliqa.sweep import is_sweep_path, read_sweep
from fetaliqa.sweep.sweep_reader import files_of

FRAMES = cine()
NAMES = ["größe", "孕妇", "two words", "50%", "a%20b", "100 % c", "a#b", "ключ", "x%sy"]


@pytest.mark.parametrize("name", ["größe", "孕妇", "two words", "a#b", "e\u0301te\u0301"])
@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_headers_that_simpleitk_wrote_under_any_name_are_read(tmp_path, name, compressed, suffix):
    image = sitk.GetImageFromArray(FRAMES)
    sitk.WriteImage(image, str(tmp_path / f"{name}{suffix}"), compressed)
    path = tmp_path / f"{name}{suffix}"
    assert np.array_equal(read_sweep(path).frames, FRAMES)
    assert is_sweep_path(path)
    assert {file.name for file in files_of(path)} == {file.name for file in tmp_path.iterdir()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_pixel_file_of_any_name_is_found(tmp_path, name, ending, mark):
    (tmp_path / f"{name}.raw").write_bytes(FRAMES.tobytes())
    header = metaimage(tmp_path / "a.mhd", b"", ElementDataFile=f"{name}.raw")
    header.write_bytes(mark + header.read_bytes().replace(b"\n", ending.encode()))
    assert np.array_equal(read_sweep(header).frames, FRAMES)
    header = nrrd(tmp_path / "a.nhdr", b"", "40 30 6", f"data file: {name}.raw", end=b"")
    header.write_bytes(mark + header.read_bytes().replace(b"\n", ending.encode()))
    assert np.array_equal(read_sweep(header).frames, FRAMES)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8"])
@pytest.mark.parametrize("on_disk", ["latin-1", "utf-8", "decomposed"])
def test_letters_of_older_encodings_are_understood(tmp_path, encoding, on_disk):
    stored = "gro\u0308ße.raw".encode() if on_disk == "decomposed" else "größe.raw".encode(on_disk)
    name = tmp_path / stored.decode("utf-8", "surrogateescape")
    try:
        name.write_bytes(FRAMES.tobytes())
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    header = metaimage(tmp_path / "a.mhd", b"", ElementDataFile="größe.raw")
    header.write_bytes(header.read_bytes().replace("größe".encode(), "größe".encode(encoding)))
    if on_disk == "latin-1" and encoding == "utf-8":
        with pytest.raises(SweepError, match="does not exist"):
            read_sweep(header)
    else:
        assert np.array_equal(read_sweep(header).frames, FRAMES)


def test_backslashes_of_windows_separate_folders(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.raw").write_bytes(FRAMES.tobytes())
    header = metaimage(tmp_path / "a.mhd", b"", ElementDataFile=r"raw\a.raw")
    assert np.array_equal(read_sweep(header).frames, FRAMES)
    with pytest.raises(SweepError, match="outside of its own folder"):
        read_sweep(metaimage(tmp_path / "raw" / "b.mhd", b"", ElementDataFile=r"..\raw\..\..\a.raw"))


def test_frames_that_simpleitk_wrote_over_each_other_are_refused_for_what_they_are(tmp_path):
    """SimpleITK takes % in the name for a number, and writes frame by frame; reading it back kills the process."""
    sitk.WriteImage(sitk.GetImageFromArray(FRAMES), str(tmp_path / "75 % gain.mhd"))
    with pytest.raises(SweepError, match=r"75 % gain\.raw.*without %"):
        read_sweep(tmp_path / "75 % gain.mhd")


@pytest.mark.parametrize("name", ["b%03d", "x%dy"])
def test_frames_that_simpleitk_wrote_to_a_file_each_are_read(tmp_path, name):
    sitk.WriteImage(sitk.GetImageFromArray(FRAMES), str(tmp_path / f"{name}.mhd"))
    assert len(list(tmp_path.iterdir())) == 7
    assert np.array_equal(read_sweep(tmp_path / f"{name}.mhd").frames, FRAMES)
    assert len(files_of(tmp_path / f"{name}.mhd")) == 7


@pytest.fixture
def single(tmp_path):
    """A file for each frame, f10.raw to f15.raw."""
    for number, frame in enumerate(FRAMES):
        (tmp_path / f"f{10 + number}.raw").write_bytes(frame.tobytes())
    return tmp_path


LISTED = "\n".join(f"f{number}.raw" for number in range(10, 16))


@pytest.mark.parametrize(
    "written", [f"LIST\n{LISTED}", f"LIST 2\n{LISTED}\n", "f%d.raw 10 15 1", "f%02d.raw 10 15 1"]
)
def test_pixels_in_a_file_for_each_frame_are_read(single, written):
    assert np.array_equal(read_sweep(metaimage(single / "a.mhd", b"", ElementDataFile=written)).frames, FRAMES)
    path = nrrd(single / "a.nhdr", b"", "40 30 6", f"data file: {written}", end=b"")
    path.write_bytes(
        path.read_bytes().replace(b"encoding: raw\n", b"").replace(b"data", b"encoding: raw\ndata", 1)
    )
    assert np.array_equal(read_sweep(path).frames, FRAMES)
    assert {file.name for file in files_of(path)} == {"a.nhdr", *LISTED.split("\n")}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("f%d.raw 10 14 1", "names 5 pixel files .*6 frames"),
        ("f%d.raw 10 15 0", "names 0 pixel files"),
        ("f%d.raw 11 16 1", r"f16\.raw' does not exist"),
        ("LIST\nf10.raw", "names 1 pixel files .*6 frames"),
        ("LIST\n" + LISTED.replace("f13", "../f13"), "outside of its own folder"),
        ("f%d%d.raw", "does not exist"),
        ("f%n.raw", "does not exist"),
    ],
)
def test_files_that_do_not_make_up_the_frames_are_refused(single, written, message):
    with pytest.raises(SweepError, match=message):
        read_sweep(metaimage(single / "a.mhd", b"", ElementDataFile=written))


def test_a_frame_file_of_another_size_is_named(single):
    shutil.copyfile(single / "f10.raw", single / "f12.raw")
    with open(single / "f12.raw", "ab") as file:
        file.write(b"x")
    with pytest.raises(SweepError, match=r"f12\.raw does not hold one frame of 30 x 40"):
        read_sweep(metaimage(single / "a.mhd", b"", ElementDataFile="f%d.raw 10 15 1"))


@pytest.mark.parametrize("size", [0, 10, -1])
def test_a_foreign_header_before_the_pixels_is_skipped(tmp_path, size):
    (tmp_path / "a.raw").write_bytes(b"x" * (10 if size else 0) + FRAMES.tobytes())
    path = metaimage(tmp_path / "a.mhd", b"", ElementDataFile="a.raw", HeaderSize=str(size))
    assert np.array_equal(read_sweep(path).frames, FRAMES)
    path = nrrd(tmp_path / "a.nhdr", b"", "40 30 6", f"byte skip: {size}", "data file: a.raw", end=b"")
    assert np.array_equal(read_sweep(path).frames, FRAMES)


def test_lines_are_skipped_in_the_file_and_bytes_in_what_it_inflates_to(tmp_path):
    text = b"first\nsecond\n"
    (tmp_path / "a.raw").write_bytes(text + b"12" + FRAMES.tobytes())
    lines = ("line skip: 2", "byte skip: 2", "data file: a.raw")
    assert np.array_equal(read_sweep(nrrd(tmp_path / "a.nhdr", b"", "40 30 6", *lines)).frames, FRAMES)
    (tmp_path / "a.raw").write_bytes(text + gzip.compress(b"12" + FRAMES.tobytes()))
    path = nrrd(tmp_path / "a.nhdr", b"", "40 30 6", *lines)
    path.write_bytes(path.read_bytes().replace(b"encoding: raw", b"encoding: gzip"))
    assert np.array_equal(read_sweep(path).frames, FRAMES)


@pytest.mark.parametrize("line", ["line skip: -1", "byte skip: -2", "byte skip: many", "line skip: 99999999"])
def test_a_skip_that_makes_no_sense_is_refused(tmp_path, line):
    with pytest.raises(SweepError, match="skip"):
        read_sweep(nrrd(tmp_path / "a.nrrd", FRAMES.tobytes(), "40 30 6", line))


def containers(folder, pixels, packed):
    """The same pixels in each format."""
    yield metaimage(folder / "a.mha", pixels, compressed=packed)
    yield nrrd(folder / "a.nrrd", pixels, "40 30 6", f"encoding: {'gzip' if packed else 'raw'}")
    path = nifti(folder / "a.nii", FRAMES.T)
    path.write_bytes(path.read_bytes()[:352] + pixels)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    yield path


@pytest.mark.parametrize("more", [1, 500, 1200, 5000])
@pytest.mark.parametrize("packed", [True, False])
def test_pixels_that_the_header_does_not_announce_are_refused_or_said(tmp_path, packed, more):
    for path in containers(tmp_path, FRAMES.tobytes() + b"x" * more, packed):
        if packed or more >= 1200:
            with pytest.raises(SweepError, match="more pixels than its header declares"):
                read_sweep(path)
        else:
            sweep = read_sweep(path)
            assert np.array_equal(sweep.frames, FRAMES)
            assert any(f"{more:,} bytes after the last frame" in note for note in sweep.notes)


@pytest.mark.parametrize("after", [b"", b"\0" * 700])
def test_several_members_and_padding_of_a_gzip_stream_are_read(tmp_path, after):
    content = nifti(tmp_path / "whole.nii", FRAMES.T).read_bytes()
    parts = [gzip.compress(content[start : start + 1000]) for start in range(0, len(content), 1000)]
    (tmp_path / "a.nii.gz").write_bytes(b"".join(parts) + after)
    assert np.array_equal(read_sweep(tmp_path / "a.nii.gz").frames, FRAMES)


def test_something_else_after_compressed_pixels_is_refused(tmp_path):
    for path in containers(tmp_path, FRAMES.tobytes(), packed=True):
        path.write_bytes(path.read_bytes() + b"something else")
        with pytest.raises(SweepError, match="other data follow"):
            read_sweep(path)


def test_the_suffix_does_not_decide_whether_a_nifti_file_is_compressed(tmp_path):
    plain = nifti(tmp_path / "whole.nii", FRAMES.T).read_bytes()
    (tmp_path / "a.nii").write_bytes(gzip.compress(plain))
    (tmp_path / "b.nii.gz").write_bytes(plain)
    for name in ("a.nii", "b.nii.gz"):
        sweep = read_sweep(tmp_path / name)
        assert np.array_equal(sweep.frames, FRAMES)
        assert sweep.spacing == pytest.approx((0.4, 0.3))


@pytest.mark.parametrize("name", ["a.nii", "a.hdr", "a.img"])
def test_pairs_of_header_and_image_are_refused_by_name(tmp_path, name):
    changed_nifti(nifti(tmp_path / "whole.nii", FRAMES.T), magic=b"ni1").rename(tmp_path / name)
    with pytest.raises(SweepError, match=r"\.img.*\.nii\.gz"):
        read_sweep(tmp_path / name)


def test_pixels_far_behind_a_nifti_header_are_refused(tmp_path):
    path = nifti(tmp_path / "a.nii", FRAMES.T)
    for place in (1e12, np.nan, 100.0):
        with pytest.raises(SweepError, match="pixel offset in its header"):
            read_sweep(changed_nifti(path, vox_offset=place))


def test_a_zlib_stream_of_a_detached_header_is_read(tmp_path):
    (tmp_path / "a.zraw").write_bytes(zlib.compress(FRAMES.tobytes()))
    path = metaimage(tmp_path / "a.mhd", b"", ElementDataFile="a.zraw", CompressedData="True")
    assert np.array_equal(read_sweep(path).frames, FRAMES)
