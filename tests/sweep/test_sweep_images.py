from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from fetaliqa.errors import SweepError
from fetaliqa.sweep import is_sweep_path, read_masks, read_sweep, write_masks


def a_folder(folder, frames, name="frame_{}.png"):
    folder.mkdir()
    for index, frame in enumerate(frames):
        assert cv2.imwrite(str(folder / name.format(index)), frame)
    return folder


def test_a_folder_of_frames_is_a_sweep_in_natural_order(tmp_path, frames):
    sweep = read_sweep(a_folder(tmp_path / "case7", frames))
    assert np.array_equal(sweep.frames, frames)  # frame_10 comes after frame_9
    assert sweep.spacing is None
    assert sweep.case_id == "case7"
    assert sweep.grid.dimensions == 3


def test_files_that_are_no_frames_are_left_out(tmp_path, frames):
    folder = a_folder(tmp_path / "case", frames)
    (folder / "notes.csv").write_text("a,b\n")
    (folder / ".hidden.png").write_bytes(b"no image")
    (folder / "sub.png").mkdir()
    assert read_sweep(folder).shape == frames.shape
    assert is_sweep_path(folder)


def test_jpeg_frames_are_read(tmp_path, frames):
    smooth = np.repeat(np.repeat(frames[:, ::10, ::10], 16, axis=1), 16, axis=2)
    sweep = read_sweep(a_folder(tmp_path / "case", smooth, "f{}.JPG"))
    assert np.abs(sweep.frames.astype(int) - smooth).mean() < 4


def test_black_jpeg_slots_are_padding(tmp_path, two_sweeps):
    sweep = read_sweep(a_folder(tmp_path / "case", two_sweeps, "f{}.jpg"))
    assert sweep.ranges == ((0, 20), (20, 40))
    assert sweep.padding.sum() == 11


def test_a_single_image_is_a_sweep_of_one_frame(tmp_path, frames):
    cv2.imwrite(str(tmp_path / "plane.png"), frames[0])
    sweep = read_sweep(tmp_path / "plane.png")
    assert sweep.shape == (1, 30, 40)
    assert sweep.spacing is None
    masks = (sweep.frames > 128).astype(np.uint8)
    write_masks(tmp_path / "mask.nrrd", masks, sweep)
    assert np.array_equal(read_masks(tmp_path / "mask.nrrd", sweep), masks)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "1", "CMYK"])
def test_images_of_every_mode_come_out_grey(tmp_path, frames, mode):
    suffix = "jpg" if mode == "CMYK" else "png"
    coloured = np.stack([frames[0], frames[1], frames[2]], axis=-1)
    source = (
        Image.fromarray(coloured)
        .resize((160, 120), Image.Resampling.BICUBIC)
        .convert("P" if mode == "P" else "RGB")
    )
    source.convert(mode).save(tmp_path / f"plane.{suffix}")
    sweep = read_sweep(tmp_path / f"plane.{suffix}")
    with Image.open(tmp_path / f"plane.{suffix}") as image:
        expected = np.asarray(image.convert("RGB").convert("L"), dtype=int)
    assert np.abs(sweep.frames[0] - expected).max() <= 1
    assert any("luma" in note for note in sweep.notes) == (mode not in ("LA", "1"))


def test_16_bit_frames_share_one_window(tmp_path, frames):
    deep = frames.astype(np.uint16) * 10
    sweep = read_sweep(a_folder(tmp_path / "case", deep))
    assert np.abs(sweep.frames - (deep - deep.min()) * (255 / (deep.max() - deep.min()))).max() <= 0.5 + 1e-9
    assert any("windowed" in note for note in sweep.notes)


def test_mixed_sizes_are_refused_with_both_files(tmp_path, frames):
    folder = a_folder(tmp_path / "case", [*frames[:3], frames[3, :20]])
    with pytest.raises(SweepError, match=r"frame_0\.png is 40 x 30 and frame_3\.png 40 x 20"):
        read_sweep(folder)


def test_mixed_depths_are_refused(tmp_path, frames):
    folder = a_folder(tmp_path / "case", [frames[0], frames[1].astype(np.uint16) * 100])
    with pytest.raises(SweepError, match="different depth"):
        read_sweep(folder)


def test_a_folder_without_frames_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SweepError, match="empty: the folder holds no PNG, JPEG or DICOM frames"):
        read_sweep(tmp_path / "empty")


def test_a_folder_of_whole_sweeps_is_refused_and_names_one(tmp_path, frames):
    folder = a_folder(tmp_path / "studies", frames)
    (folder / "a.mha").write_bytes(b"x")
    with pytest.raises(SweepError, match=r"a\.mha.*give one"):
        read_sweep(folder)
    assert not is_sweep_path(folder)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("kept", [0.5, 0.9, 0.99])
def test_a_truncated_image_is_refused_by_name(tmp_path, frames, suffix, kept):
    folder = a_folder(tmp_path / "case", np.repeat(frames, 4, axis=1), f"frame_{{}}.{suffix}")
    damaged = folder / f"frame_5.{suffix}"
    data = damaged.read_bytes()
    damaged.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(SweepError, match=rf"frame_5\.{suffix}: the image is damaged"):
        read_sweep(folder)


def test_an_image_of_absurd_size_is_refused_before_it_is_decoded(tmp_path):
    Image.new("1", (9000, 9000)).save(tmp_path / "huge.png")
    with pytest.raises(SweepError, match="more than"):
        read_sweep(tmp_path / "huge.png")
