"""Still pictures as they are met: turned by EXIF, animated, of 16 bits in colour, with a suffix that lies."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from fetaliqa.errors import SweepError
from fetaliqa.sweep import read_masks, read_sweep, write_masks

GREY = np.random.default_rng(5).integers(1, 256, (30, 40), dtype=np.uint8)
SMOOTH = np.kron(GREY[:6, :8], np.ones((16, 16), np.uint8))


def turned(path, pixels, exif, **options):
    tags = Image.Exif()
    tags[0x0112] = exif
    Image.fromarray(pixels).save(path, exif=tags, **options)
    return path


@pytest.mark.parametrize("exif", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_is_turned_upright_and_its_masks_lie_on_the_pixels_as_stored(tmp_path, exif, suffix):
    path = turned(tmp_path / f"a{suffix}", SMOOTH, exif)
    sweep = read_sweep(path)
    with Image.open(path) as image:
        stored, seen = np.asarray(image), np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(sweep.frames[0], seen)
    assert any("EXIF orientation" in note for note in sweep.notes) == (exif != 1)
    masks = (sweep.frames > 128).astype(np.uint8)
    write_masks(tmp_path / "mask.nrrd", masks, sweep)
    assert np.array_equal(read_masks(tmp_path / "mask.nrrd", sweep), masks)
    drawn = (stored > 128).astype(np.uint8)
    Image.fromarray(drawn).save(tmp_path / "stored.png")
    assert np.array_equal(read_masks(tmp_path / "stored.png", sweep), masks)  # drawn where ITK shows the picture
    assert np.array_equal(
        read_masks(turned(tmp_path / "t.png", (stored > 128).astype(np.uint8), exif), sweep), masks
    )
    if exif > 4:  # other sizes tell that a mask was drawn on the picture as it is seen
        Image.fromarray(masks[0]).save(tmp_path / "seen.png")
        assert np.array_equal(read_masks(tmp_path / "seen.png", sweep), masks)


def test_a_folder_of_turned_pictures_is_upright_and_its_masks_as_stored(tmp_path):
    folder = tmp_path / "case"
    folder.mkdir()
    for number in range(3):
        turned(folder / f"{number}.png", np.roll(GREY, number), 6)
    sweep = read_sweep(folder)
    assert sweep.shape == (3, 40, 30)
    assert np.array_equal(sweep.frames[1], np.rot90(np.roll(GREY, 1), -1))
    masks = (sweep.frames > 128).astype(np.uint8)
    for suffix in (".mha", ".nii.gz"):
        write_masks(tmp_path / f"mask{suffix}", masks, sweep)
        assert np.array_equal(read_masks(tmp_path / f"mask{suffix}", sweep), masks)
    turned(folder / "3.png", GREY, 8)
    with pytest.raises(SweepError, match=r"turned differently.*0\.png has orientation 6 and 3\.png 8"):
        read_sweep(folder)


@pytest.mark.parametrize("exif", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path, exif):
    assert np.array_equal(read_sweep(turned(tmp_path / "a.png", GREY, exif)).frames[0], GREY)


def test_an_animation_is_refused_by_name(tmp_path):
    first, *others = (Image.fromarray(np.roll(GREY, number)) for number in range(3))
    first.save(tmp_path / "a.png", save_all=True, append_images=others)
    with pytest.raises(SweepError, match=r"a\.png: is an animation of 3 frames"):
        read_sweep(tmp_path / "a.png")


def test_of_several_pictures_in_a_jpeg_the_first_is_read_and_that_is_said(tmp_path):
    Image.fromarray(SMOOTH).save(
        tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[Image.fromarray(255 - SMOOTH)]
    )
    sweep = read_sweep(tmp_path / "a.jpg")
    assert np.abs(sweep.frames[0].astype(int) - SMOOTH).mean() < 4
    assert any("2 pictures" in note for note in sweep.notes)


@pytest.mark.parametrize("kind", ["gif", "webp", "tiff", "bmp"])
def test_other_kinds_of_pictures_are_refused_by_name_whatever_their_suffix(tmp_path, kind):
    Image.fromarray(GREY).save(tmp_path / f"a.{kind}")
    with pytest.raises(SweepError, match=rf"a\.{kind}.*\.png"):
        read_sweep(tmp_path / f"a.{kind}")
    (tmp_path / f"a.{kind}").rename(tmp_path / "a.png")
    with pytest.raises(SweepError, match="is not a PNG or JPEG image"):
        read_sweep(tmp_path / "a.png")


def test_a_jpeg_called_png_is_read(tmp_path):
    Image.fromarray(SMOOTH).save(tmp_path / "a.png", format="JPEG")
    assert np.abs(read_sweep(tmp_path / "a.png").frames[0].astype(int) - SMOOTH).mean() < 4


@pytest.mark.parametrize("channels", [3, 4])
def test_colour_of_16_bits_keeps_its_depth(tmp_path, channels):
    """12 bits in 16, as cameras write: of 8 bits only the upper four would be left, a black picture."""
    deep = np.repeat((GREY.astype(np.uint16) * 16)[..., None], channels, axis=2)
    assert cv2.imwrite(str(tmp_path / "a.png"), deep)
    sweep = read_sweep(tmp_path / "a.png")
    low, high = GREY.min(), GREY.max()
    assert np.abs(sweep.frames[0] - (GREY.astype(float) - low) * 255 / (high - low)).max() <= 0.5 + 1e-9
    assert any("16-bit values" in note for note in sweep.notes)


def test_an_interlaced_picture_of_one_bit_is_read(tmp_path):
    content = (GREY > 128).astype(np.uint8) * 255
    Image.fromarray(content).convert("1").save(tmp_path / "a.png")
    assert np.array_equal(read_sweep(tmp_path / "a.png").frames[0], content)
