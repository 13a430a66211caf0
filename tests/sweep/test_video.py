"""Video files, and DICOM files that hold a video stream."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from dicom_files import a_dataset, a_region, saved
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from video_files import a_loop, a_video, video_bytes

from fetaliqa.errors import SweepError
from fetaliqa.sweep import SWEEP_SUFFIXES, Sweep, is_sweep_path, read_sweep
from fetaliqa.sweep.case_paths import expand_cases


def noted(sweep: Sweep, *words: str) -> bool:
    return any(all(word in note for word in words) for note in sweep.notes)


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "difference"),
    [
        ("h264.mp4", "libx264", "yuv420p", 1),
        ("hevc.MOV", "libx265", "yuv420p", 1),
        ("mpeg4.mov", "mpeg4", "yuv420p", 25),
        ("mjpeg.avi", "mjpeg", "yuvj420p", 25),
        ("packed.avi", "rawvideo", "yuyv422", 1),
        ("grey.mkv", "ffv1", "gray", 0),
        ("grey16.mkv", "ffv1", "gray16le", 0),
        ("deep.mkv", "ffv1", "yuv420p10le", 1),
        ("rgb.mkv", "ffv1", "bgr0", 0),
    ],
)
def test_the_frames_of_videos_are_read_in_full_range(tmp_path, name, codec, pixels, difference):
    loop = a_loop()
    a_video(str(tmp_path / name), loop, codec, pixels=pixels)
    sweep = read_sweep(tmp_path / name)
    assert sweep.shape == loop.shape
    assert np.abs(sweep.frames.astype(int) - loop).max() <= difference
    assert sweep.case_id == name.split(".")[0]
    assert sweep.spacing is None
    assert noted(sweep, "no measurement in mm")
    assert noted(sweep, "luma") == (not pixels.startswith("gray"))


def test_colour_video_is_reduced_to_luma(tmp_path):
    loop = a_loop()
    colour = np.stack([loop, 255 - loop, loop // 2], axis=-1)
    a_video(str(tmp_path / "case.mkv"), colour, "ffv1", pixels="bgr0")
    expected = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(read_sweep(tmp_path / "case.mkv").frames - expected).max() <= 0.51


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_videos_are_turned_as_they_say_and_noted(tmp_path, rotation):
    loop = a_loop()
    a_video(str(tmp_path / "case.mp4"), loop, "libx264", rotation=rotation)
    sweep = read_sweep(tmp_path / "case.mp4")
    expected = np.rot90(loop, rotation // 90, axes=(1, 2))
    assert np.abs(sweep.frames.astype(int) - expected).max() <= 1
    assert noted(sweep, f"turned by {rotation % 360} degrees counterclockwise")


def test_a_variable_frame_rate_and_pixels_that_are_not_square_are_said_and_sound_is_ignored(tmp_path):
    loop = a_loop()
    a_video(str(tmp_path / "steady.mp4"), loop, "libx264", sound=True)
    steady = read_sweep(tmp_path / "steady.mp4")
    assert steady.shape == loop.shape
    assert not noted(steady, "frame rate")
    times = [0, 1, 2, 9, 10, 11, 12, 30]
    a_video(str(tmp_path / "case.mkv"), loop, "libx264", times=times, aspect=Fraction(4, 3))
    sweep = read_sweep(tmp_path / "case.mkv")
    assert sweep.shape == loop.shape
    assert noted(sweep, "variable frame rate")
    assert noted(sweep, "not square", "3:4")


@pytest.mark.parametrize("name", ["case.mp4", "case.avi", "case.mkv", "case.mov"])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.97])
def test_truncated_videos_are_refused(tmp_path, name, kept):
    codec, pixels = ("mjpeg", "yuvj420p") if name.endswith("avi") else ("libx264", "yuv420p")
    a_video(str(tmp_path / name), a_loop(), codec, pixels=pixels)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(SweepError, match=rf"{name}: .*(truncated|damaged|no video|no frames)") as caught:
        read_sweep(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_video_with_damaged_frames_is_refused(tmp_path):
    a_video(str(tmp_path / "case.mp4"), a_loop(), "libx264")
    data = bytearray((tmp_path / "case.mp4").read_bytes())
    middle = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 3
    data[middle : middle + 400] = bytes(400)
    (tmp_path / "case.mp4").write_bytes(data)
    with pytest.raises(SweepError, match="damaged"):
        read_sweep(tmp_path / "case.mp4")


def test_a_codec_that_cannot_be_decoded_is_named(tmp_path):
    a_video(str(tmp_path / "case.avi"), a_loop(), "mjpeg", pixels="yuvj420p")
    path = tmp_path / "case.avi"
    path.write_bytes(path.read_bytes().replace(b"MJPG", b"ZZ9X"))
    with pytest.raises(SweepError, match="ZZ9X"):
        read_sweep(path)


def test_a_file_that_only_has_the_name_of_a_video_is_not_given_to_the_decoder(tmp_path):
    (tmp_path / "case.mp4").write_text("#EXTM3U\n#EXTINF:1,\nother.ts\n")
    with pytest.raises(SweepError, match="not an MP4, MOV, AVI or MKV"):
        read_sweep(tmp_path / "case.mp4")


def test_without_pyav_one_sentence_says_how_to_install_it(tmp_path):
    a_video(str(tmp_path / "case.mp4"), a_loop(), "libx264")
    program = (
        "import sys; sys.modules['av'] = None\n"
        "from fetaliqa.errors import SweepError\nfrom fetaliqa.sweep import read_sweep\n"
        "try: read_sweep(sys.argv[1])\nexcept SweepError as error: print(error)"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / "case.mp4")]
    stdout = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    assert "pip install fetaliqa[video]" in stdout


def test_videos_of_a_folder_are_one_case_each(tmp_path):
    assert {".mp4", ".avi", ".mov", ".mkv"} <= set(SWEEP_SUFFIXES)
    for name in ("a.mp4", "b.mp4"):
        a_video(str(tmp_path / name), a_loop(), "libx264")
        assert is_sweep_path(tmp_path / name)
    assert [path.name for path in expand_cases(tmp_path)] == ["a.mp4", "b.mp4"]


# -- DICOM --------------------------------------------------------------------------------------------


def a_dicom_video(path: Path, stream: bytes, syntax: str, count: int | None, pieces: int = 1) -> Path:
    loop = a_loop()
    dataset = a_dataset(np.repeat(loop[..., None], 3, axis=-1), "YBR_PARTIAL_420")
    dataset.file_meta.TransferSyntaxUID = syntax
    length = len(stream) // pieces // 2 * 2
    parts = [stream[start : start + length] for start in range(0, length * (pieces - 1), length)]
    dataset.PixelData = encapsulate([*parts, stream[length * (pieces - 1) :]], has_bot=False)
    dataset["PixelData"].is_undefined_length = True
    dataset.SequenceOfUltrasoundRegions = Sequence([a_region(0.02, 0.02)])
    if count is None:
        del dataset.NumberOfFrames
    else:
        dataset.NumberOfFrames = count
    return saved(dataset, path)


@pytest.mark.parametrize(
    ("number", "codec", "form", "pieces"),
    [
        ("100", "mpeg2video", "mpeg2video", 1),
        ("100.1", "mpeg2video", "mpegts", 3),
        ("101", "mpeg2video", "vob", 1),
        ("102", "libx264", "mp4", 1),
        ("103", "libx264", "mpegts", 1),
        ("104.1", "libx264", "h264", 2),
        ("107", "libx265", "hevc", 1),
        ("108", "libx265", "mpegts", 3),
    ],
)
def test_dicom_video_is_read_with_its_calibration(tmp_path, number, codec, form, pieces):
    stream = video_bytes(a_loop(), codec, form)
    path = a_dicom_video(tmp_path / "case.dcm", stream, f"1.2.840.10008.1.2.4.{number}", 8, pieces)
    sweep = read_sweep(path)
    assert sweep.spacing == pytest.approx((0.2, 0.2))
    assert sweep.shape == (8, 64, 96)
    assert np.abs(sweep.frames.astype(int) - a_loop()).mean() <= (1 if codec != "mpeg2video" else 2)


@pytest.mark.parametrize(("count", "words"), [(None, "8 counted"), (6, "declares 6 frames, the video holds 8")])
def test_frames_of_dicom_video_are_counted(tmp_path, count, words):
    stream = video_bytes(a_loop(), "libx264", "mp4")
    sweep = read_sweep(a_dicom_video(tmp_path / "case.dcm", stream, "1.2.840.10008.1.2.4.102", count))
    assert sweep.frame_count == 8
    assert noted(sweep, words)


def test_dicom_video_that_is_shorter_than_announced_or_of_another_size_is_refused(tmp_path):
    syntax = "1.2.840.10008.1.2.4.102"
    stream = video_bytes(a_loop(), "libx264", "mp4")
    with pytest.raises(SweepError, match="holds 8 frames where its header declares 9"):
        read_sweep(a_dicom_video(tmp_path / "case.dcm", stream, syntax, 9))
    smaller = video_bytes(a_loop()[:, :32], "libx264", "mp4")
    with pytest.raises(SweepError, match="contradictory"):
        read_sweep(a_dicom_video(tmp_path / "case.dcm", smaller, syntax, 8))
