"""Pixels of ultrasound DICOM files in the encodings scanners use."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from dicom_files import a_dataset, encapsulated, lossless_jpeg, saved, smooth
from PIL import Image
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from fetaliqa.sweep import read_sweep

JPEG_LOSSLESS = UID("1.2.840.10008.1.2.4.57")  # process 14; its name differs between pydicom 2 and 3


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_uncompressed_frames_are_read(tmp_path, frames, syntax):
    deep = syntax == ExplicitVRBigEndian
    pixels = frames.astype(np.uint16) if deep else frames
    sweep = read_sweep(saved(a_dataset(pixels, syntax=syntax), tmp_path / "case.dcm"))
    assert np.array_equal(sweep.frames, frames)
    assert sweep.spacing is None
    assert sweep.shape == frames.shape


def test_frames_of_an_odd_number_of_bytes_are_read(tmp_path, frames):
    odd = np.ascontiguousarray(frames[:3, :29, :39])
    assert np.array_equal(read_sweep(saved(a_dataset(odd), tmp_path / "case.dcm")).frames, odd)


def test_rle_frames_are_read(tmp_path, frames):
    dataset = a_dataset(frames)
    dataset.compress(RLELossless)
    assert np.array_equal(read_sweep(saved(dataset, tmp_path / "case.dcm")).frames, frames)


def test_colour_rle_frames_are_reduced_to_luma(tmp_path, frames):
    colour = np.stack([frames[:4], frames[4:8], frames[8:]], axis=-1)
    dataset = a_dataset(colour, "RGB")
    dataset.compress(RLELossless)
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    assert np.abs(sweep.frames - colour @ np.array([0.299, 0.587, 0.114])).max() <= 0.51
    assert any("luma" in note for note in sweep.notes)


@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_frames_are_reduced_to_luma(tmp_path, frames, planar):
    colour = np.stack([frames[:4], frames[4:8], frames[8:]], axis=-1)
    dataset = a_dataset(colour, "RGB")
    dataset.PlanarConfiguration = planar
    if planar:
        dataset.PixelData = np.ascontiguousarray(colour.transpose(0, 3, 1, 2)).tobytes()
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    assert np.abs(sweep.frames - colour @ np.array([0.299, 0.587, 0.114])).max() <= 0.51


def test_the_luma_of_ybr_full_frames_is_taken_as_it_is(tmp_path, frames):
    ybr = np.stack([frames[:4], frames[4:8], frames[8:]], axis=-1)
    assert np.array_equal(read_sweep(saved(a_dataset(ybr, "YBR_FULL"), tmp_path / "case.dcm")).frames, frames[:4])


def test_ybr_full_422_frames_are_read(tmp_path, frames):
    luma, chroma = frames[:4], np.full((4, 30, 20, 2), 128, np.uint8)
    packed = np.concatenate([luma.reshape(4, 30, 20, 2), chroma], axis=-1)  # Y1 Y2 Cb Cr
    dataset = a_dataset(np.repeat(luma[..., None], 3, axis=-1), "YBR_FULL_422")
    dataset.PixelData = packed.tobytes()
    assert np.array_equal(read_sweep(saved(dataset, tmp_path / "case.dcm")).frames, luma)


@pytest.mark.parametrize("interpretation", ["YBR_FULL_422", "YBR_FULL"])
def test_colour_jpeg_baseline_frames_are_read_as_luma(tmp_path, frames, interpretation):
    grey = smooth(frames)
    colour = np.stack([grey, grey // 2, 255 - grey], axis=-1)
    encoded = []
    for frame in colour:
        buffer = io.BytesIO()
        subsampling = "4:2:2" if interpretation == "YBR_FULL_422" else "4:4:4"
        Image.fromarray(frame).save(buffer, "JPEG", quality=98, subsampling=subsampling)
        encoded.append(buffer.getvalue())
    dataset = encapsulated(a_dataset(colour, interpretation), encoded, JPEGBaseline8Bit)
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    assert np.abs(sweep.frames - colour @ np.array([0.299, 0.587, 0.114])).mean() < 1.5


def test_grey_jpeg_baseline_frames_are_read(tmp_path, frames):
    grey = smooth(frames)
    encoded = [cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes() for frame in grey]
    dataset = encapsulated(a_dataset(grey), encoded, JPEGBaseline8Bit)
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    assert np.abs(sweep.frames.astype(int) - grey).mean() < 1.5


def test_jpeg_baseline_frames_stored_as_rgb_are_not_transformed(tmp_path, frames):
    grey = smooth(frames)
    colour = np.stack([grey, grey // 2, 255 - grey], axis=-1)
    encoded = []
    for frame in colour:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=98, keep_rgb=True)
        encoded.append(buffer.getvalue())
    dataset = encapsulated(a_dataset(colour, "RGB"), encoded, JPEGBaseline8Bit)
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    assert np.abs(sweep.frames - colour @ np.array([0.299, 0.587, 0.114])).mean() < 1.5


@pytest.mark.parametrize("colour", [False, True])
def test_jpeg_2000_frames_are_read_without_loss(tmp_path, frames, colour):
    pixels = np.stack([frames[:4], frames[4:8], frames[8:]], axis=-1) if colour else frames
    encoded = []
    for frame in pixels:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG2000", no_jp2=True, irreversible=False, mct=int(colour))
        encoded.append(buffer.getvalue())
    dataset = encapsulated(a_dataset(pixels, "YBR_RCT" if colour else "MONOCHROME2"), encoded, JPEG2000Lossless)
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    expected = pixels @ np.array([0.299, 0.587, 0.114]) if colour else pixels
    assert np.abs(sweep.frames - expected).max() <= 0.51


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEG_LOSSLESS])
def test_lossless_jpeg_frames_are_read_without_loss(tmp_path, frames, syntax):
    dataset = encapsulated(a_dataset(frames), [lossless_jpeg(frame) for frame in frames], syntax)
    assert np.array_equal(read_sweep(saved(dataset, tmp_path / "case.dcm")).frames, frames)


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_colours_are_looked_up(tmp_path, frames, bits):
    dataset = a_dataset(frames, "PALETTE COLOR")
    table = np.arange(256)[::-1] * (257 if bits == 16 else 1)
    for colour in ("Red", "Green", "Blue"):
        dataset.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [256, 0, bits])
        dataset.add_new(f"{colour}PaletteColorLookupTableData", "OW", table.astype(f"<u{bits // 8}").tobytes())
    sweep = read_sweep(saved(dataset, tmp_path / "case.dcm"))
    assert np.array_equal(sweep.frames, 255 - frames)


def test_monochrome1_is_inverted_and_said_so(tmp_path, frames):
    sweep = read_sweep(saved(a_dataset(frames, "MONOCHROME1"), tmp_path / "case.dcm"))
    assert np.array_equal(sweep.frames, 255 - frames)
    assert any("MONOCHROME1" in note for note in sweep.notes)


def test_16_bit_frames_are_windowed(tmp_path, frames):
    deep = frames.astype(np.uint16) * 16
    sweep = read_sweep(saved(a_dataset(deep), tmp_path / "case.dcm"))
    assert np.abs(sweep.frames.astype(int) - frames).max() <= 1
    assert any("windowed" in note for note in sweep.notes)
