"""Grey values of DICOM pixels: bits, rescaling, windows, palettes and polarity, as the standard defines them."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from dicom_files import a_dataset, encapsulated, saved
from PIL import Image
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixel_data_handlers.util import apply_color_lut, apply_voi_lut
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG2MPML,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from fetaliqa.errors import SweepError
from fetaliqa.sweep import Sweep, read_sweep


def with_bits(dataset: FileDataset, stored: int, high: int | None = None) -> FileDataset:
    dataset.BitsStored = stored
    dataset.HighBit = stored - 1 if high is None else high
    return dataset


def the_sweep(dataset: FileDataset, tmp_path) -> Sweep:
    return read_sweep(saved(dataset, tmp_path / "case.dcm"))


def noted(sweep: Sweep, *words: str) -> bool:
    return any(all(word in note for word in words) for note in sweep.notes)


# -- bits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, "RLE"])
@pytest.mark.parametrize(("stored", "high"), [(8, 7), (8, 15), (12, 11), (12, 15), (10, 12)])
def test_only_the_stored_bits_count_wherever_they_are(tmp_path, frames, syntax, stored, high):
    shift = high + 1 - stored
    deep = frames.astype(np.uint16) << shift
    others = (1 << 16) - 1 - (((1 << stored) - 1) << shift)
    deep |= np.random.default_rng(3).integers(0, 1 << 16, frames.shape, np.uint16) & np.uint16(others)
    dataset = with_bits(
        a_dataset(deep, syntax=ExplicitVRLittleEndian if syntax == "RLE" else syntax), stored, high
    )
    if syntax == "RLE":
        dataset.compress(RLELossless)
    sweep = the_sweep(dataset, tmp_path)
    assert np.array_equal(sweep.frames, frames)
    assert noted(sweep, "bits beyond those stored")


def test_an_overlay_in_unused_bits_is_left_out_and_said_so(tmp_path, frames):
    deep = frames.astype(np.uint16) | (np.uint16(1) << 12)
    dataset = with_bits(a_dataset(deep), 12)
    dataset.add_new((0x6000, 0x0010), "US", 30)
    dataset.add_new((0x6000, 0x0100), "US", 16)
    dataset.add_new((0x6000, 0x0102), "US", 12)
    sweep = the_sweep(dataset, tmp_path)
    assert np.array_equal(sweep.frames, frames)
    assert noted(sweep, "overlays")


@pytest.mark.parametrize("filled", [False, True])
def test_signed_samples_of_fewer_bits_are_read_with_their_sign(tmp_path, frames, filled):
    # the sign is in all upper bits, or only in the highest that is stored
    values = frames.astype(np.int16) - 128
    stored = values if filled else values & np.int16(0xFFF)
    dataset = with_bits(a_dataset(stored.astype(np.int16)), 12)
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 128
    sweep = the_sweep(dataset, tmp_path)
    assert np.array_equal(sweep.frames, frames)
    assert not noted(sweep, "beyond")


def test_32_bit_and_floating_point_pixels_are_read(tmp_path, frames):
    assert np.array_equal(the_sweep(a_dataset(frames.astype(np.uint32)), tmp_path).frames, frames)
    for keyword, kind in (("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")):
        dataset = a_dataset(frames)
        del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
        dataset.BitsAllocated = int(kind[-1]) * 8
        setattr(dataset, keyword, frames.astype(kind).tobytes())
        assert np.array_equal(the_sweep(dataset, tmp_path).frames, frames)


def test_single_bits_are_black_and_white_even_where_frames_end_within_a_byte(tmp_path, frames):
    bits = (frames[:, :7, :11] > 128).astype(np.uint8)
    dataset = with_bits(a_dataset(bits), 1)
    dataset.BitsAllocated = 1
    dataset.PixelData = np.packbits(bits.ravel(), bitorder="little").tobytes() + b"\0"
    sweep = the_sweep(dataset, tmp_path)
    assert np.array_equal(sweep.frames, bits * 255)
    assert noted(sweep, "1-bit values")


@pytest.mark.parametrize("interpretation", ["MONOCHROME2", "MONOCHROME1"])
def test_fewer_than_8_bits_are_spread_over_the_greys(tmp_path, frames, interpretation):
    sweep = the_sweep(with_bits(a_dataset(frames >> 2, interpretation), 6), tmp_path)
    expected = np.rint((frames >> 2) * (255 / 63))
    assert np.array_equal(sweep.frames, expected if interpretation == "MONOCHROME2" else 255 - expected)
    assert noted(sweep, "6-bit values")


@pytest.mark.parametrize("odd", [False, True])
def test_bytes_in_big_endian_words_are_put_in_order(tmp_path, frames, odd):
    pixels = np.ascontiguousarray(frames[:, :29, :39]) if odd else frames
    dataset = a_dataset(pixels, syntax=ExplicitVRBigEndian)
    data = dataset.PixelData
    dataset.PixelData = np.frombuffer(data, "<u2").astype(">u2").tobytes()
    dataset["PixelData"].VR = "OW"
    assert np.array_equal(the_sweep(dataset, tmp_path).frames, pixels)


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("BitsStored", 20, "contradictory"),
        ("HighBit", 3, "contradictory"),
        ("BitsAllocated", 12, "12 bits allocated"),
        ("SamplesPerPixel", 3, "3 samples per pixel"),
        ("PixelRepresentation", 7, "pixel representation 7"),
    ],
)
def test_headers_that_contradict_themselves_are_refused(tmp_path, frames, keyword, value, words):
    dataset = a_dataset(frames)
    setattr(dataset, keyword, value)
    with pytest.raises(SweepError, match=words):
        the_sweep(dataset, tmp_path)


# -- rescaling, windows, polarity -------------------------------------------------------------------


def test_rescaled_values_are_shown_as_they_are_meant(tmp_path, frames):
    dataset = with_bits(a_dataset(frames.astype(np.uint16) + 1024), 12)
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    sweep = the_sweep(dataset, tmp_path)
    assert np.array_equal(sweep.frames, frames)
    assert noted(sweep, "slope 1", "intercept -1024")


def test_a_negative_slope_inverts(tmp_path, frames):
    dataset = a_dataset(255 - frames)
    dataset.RescaleSlope, dataset.RescaleIntercept = -1, 255
    assert np.array_equal(the_sweep(dataset, tmp_path).frames, frames)


def a_lut(first: int, values: np.ndarray, bits: int, by_bytes: bool = False) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(values) % 65536, first, bits]
    item.add_new("LUTData", "OW", values.astype("u1" if by_bytes else "<u2").tobytes())
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    return item


@pytest.mark.parametrize(("bits", "by_bytes"), [(8, True), (8, False), (10, False), (16, False)])
@pytest.mark.parametrize("kind", ["ModalityLUTSequence", "VOILUTSequence"])
def test_lookup_tables_of_all_widths_are_applied(tmp_path, frames, kind, bits, by_bytes):
    largest = (1 << bits) - 1
    table = np.rint((255 - np.arange(256)) / 255 * largest)
    dataset = a_dataset(frames)
    setattr(dataset, kind, Sequence([a_lut(0, table, bits, by_bytes)]))
    sweep = the_sweep(dataset, tmp_path)
    assert np.abs(sweep.frames.astype(int) - (255 - frames)).max() <= 1
    assert noted(sweep, "lookup table applied")


def test_a_lookup_table_may_begin_below_zero_and_clamps_what_is_outside(tmp_path, frames):
    values = frames.astype(np.int16) - 128
    dataset = a_dataset(values)
    dataset.VOILUTSequence = Sequence([a_lut(-100, np.arange(201) * 255 // 200, 8)])
    expected = np.clip(values.astype(int) + 100, 0, 200) * 255 // 200
    assert np.array_equal(the_sweep(dataset, tmp_path).frames, expected)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", None])
@pytest.mark.parametrize("interpretation", ["MONOCHROME2", "MONOCHROME1"])
def test_windows_are_applied_as_pydicom_applies_them(tmp_path, frames, function, interpretation):
    dataset = with_bits(a_dataset(frames.astype(np.uint16) * 16, interpretation), 12)
    dataset.WindowCenter, dataset.WindowWidth = [1500, 10], [2000, 20]
    if function:
        dataset.VOILUTFunction = function
    sweep = the_sweep(dataset, tmp_path)
    expected = apply_voi_lut(frames.astype(np.uint16) * 16, dataset) / 4095 * 255
    if interpretation == "MONOCHROME1":
        expected = 255 - expected
    assert np.abs(sweep.frames - expected).max() <= 0.51
    assert noted(sweep, "center 1500", "width 2000", function or "LINEAR", "first of 2")


@pytest.mark.parametrize("width", [0, -3, None])
def test_a_window_that_shows_nothing_is_not_used_and_said_so(tmp_path, frames, width):
    dataset = a_dataset(frames)
    dataset.WindowCenter = 128
    if width is not None:
        dataset.WindowWidth = width
    sweep = the_sweep(dataset, tmp_path)
    assert np.array_equal(sweep.frames, frames)
    assert noted(sweep, "window", "not used")


@pytest.mark.parametrize(
    ("interpretation", "shape", "inverted"),
    [
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
        ("MONOCHROME2", "IDENTITY", False),
    ],
)
def test_polarity_is_inverted_once(tmp_path, frames, interpretation, shape, inverted):
    dataset = a_dataset(frames, interpretation)
    dataset.PresentationLUTShape = shape
    sweep = the_sweep(dataset, tmp_path)
    assert np.array_equal(sweep.frames, 255 - frames if inverted else frames)
    assert noted(sweep, "inverted") == inverted


def test_an_enhanced_image_takes_its_window_from_the_shared_functional_groups(tmp_path, frames):
    window, shared = Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = 64, 128
    shared.FrameVOILUTSequence = Sequence([window])
    dataset = a_dataset(frames)
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    assert noted(the_sweep(dataset, tmp_path), "center 64")


# -- palettes ---------------------------------------------------------------------------------------


def with_palette(dataset: FileDataset, table: np.ndarray, bits: int, kind: str, first: int = 0) -> FileDataset:
    for colour in ("Red", "Green", "Blue"):
        dataset.add_new(
            f"{colour}PaletteColorLookupTableDescriptor", "US", [len(table) % 65536, first % 65536, bits]
        )
        dataset.add_new(f"{colour}PaletteColorLookupTableData", "OW", table.astype(kind).tobytes())
    return dataset


@pytest.mark.parametrize(
    ("bits", "kind", "largest"),
    [
        (16, "<u2", 65535),
        (16, "<u2", 0xFF00),
        (16, "<u2", 255),
        (8, "<u2", 255),
        (8, "u1", 255),
        (12, "<u2", 4095),
    ],
)
def test_palettes_of_all_widths_are_looked_up(tmp_path, frames, bits, kind, largest):
    table = np.rint(np.arange(256)[::-1] * (largest / 255))
    sweep = the_sweep(with_palette(a_dataset(frames, "PALETTE COLOR"), table, bits, kind), tmp_path)
    assert np.array_equal(sweep.frames, 255 - frames)


def test_a_palette_of_65536_entries_and_one_that_begins_later_are_looked_up(tmp_path, frames):
    deep = frames.astype(np.uint16) * 257
    whole = with_palette(a_dataset(deep, "PALETTE COLOR"), np.arange(65536), 16, "<u2")
    assert np.array_equal(the_sweep(whole, tmp_path).frames, frames)
    later = with_palette(a_dataset(frames, "PALETTE COLOR"), np.arange(50, 250), 8, "u1", first=50)
    assert np.array_equal(the_sweep(later, tmp_path).frames, np.clip(frames, 50, 249))
    signed = with_palette(
        a_dataset((frames.astype(np.int16) - 128), "PALETTE COLOR"), np.arange(256), 8, "u1", -128
    )
    assert np.array_equal(the_sweep(signed, tmp_path).frames, frames)


@pytest.mark.parametrize(("bits", "kind"), [(8, "B"), (16, "H"), (8, "H")])
def test_segmented_palettes_are_expanded(tmp_path, frames, bits, kind):
    largest = 255 if bits == 8 else 65535
    half = largest // 255 * 128
    numbers = [0, 2, 0, half // 128, 1, 127, half, 1, 127, largest]  # two entries, and two ramps
    dataset = a_dataset(frames, "PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        dataset.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [256, 0, bits])
        data = struct.pack(f"<{len(numbers)}{kind}", *numbers)
        dataset.add_new(f"Segmented{colour}PaletteColorLookupTableData", "OW", data)
    sweep = the_sweep(dataset, tmp_path)
    assert np.abs(sweep.frames.astype(int) - frames).max() <= 1
    if (bits, kind) != (8, "H"):
        colours = apply_color_lut(frames, dataset)[..., 0]
        assert np.abs(sweep.frames.astype(int) - colours / (largest / 255)).max() <= 1


def test_coloured_palettes_are_reduced_to_luma(tmp_path, frames):
    dataset = with_palette(a_dataset(frames, "PALETTE COLOR"), np.arange(256), 8, "u1")
    dataset.GreenPaletteColorLookupTableData = np.arange(256)[::-1].astype("u1").tobytes()
    expected = 0.413 * frames + 0.587 * (255.0 - frames)
    assert np.abs(the_sweep(dataset, tmp_path).frames - expected).max() <= 0.52


@pytest.mark.parametrize("change", ["missing", "short", "long"])
def test_palettes_that_do_not_fit_their_descriptor_are_refused(tmp_path, frames, change):
    dataset = with_palette(a_dataset(frames, "PALETTE COLOR"), np.arange(256), 16, "<u2")
    if change == "missing":
        del dataset.BluePaletteColorLookupTableData
    else:
        dataset.BluePaletteColorLookupTableData = bytes(200 if change == "short" else 2000)
    with pytest.raises(SweepError, match="BluePaletteColorLookupTable"):
        the_sweep(dataset, tmp_path)


# -- colour -----------------------------------------------------------------------------------------


def test_ybr_partial_is_spread_from_its_limited_range(tmp_path, frames):
    luma = 16 + frames.astype(float) * 219 / 255
    packed = np.concatenate([np.rint(luma).reshape(12, 30, 20, 2), np.full((12, 30, 20, 2), 128)], axis=-1)
    dataset = a_dataset(np.repeat(frames[..., None], 3, axis=-1), "YBR_PARTIAL_422")
    dataset.PixelData = packed.astype(np.uint8).tobytes()
    assert np.abs(the_sweep(dataset, tmp_path).frames.astype(int) - frames).max() <= 1


def test_ybr_full_422_that_is_not_subsampled_is_read_and_said_so(tmp_path, frames):
    ybr = np.stack([frames, 255 - frames, frames // 2], axis=-1)
    sweep = the_sweep(a_dataset(ybr, "YBR_FULL_422"), tmp_path)
    assert np.array_equal(sweep.frames, frames)
    assert noted(sweep, "not subsampled")


def jpeg(frame: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=98, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("really", ["RGB", "YBR"])
def test_compressed_colour_is_what_its_marks_say_not_what_the_header_says(tmp_path, really):
    y, x = np.mgrid[:32, :48]
    colour = np.stack([x * 5, y * 7, 255 - x * 5], axis=-1).astype(np.uint8)
    encoded = jpeg(colour, subsampling=0, keep_rgb=really == "RGB")
    wrong = "YBR_FULL" if really == "RGB" else "RGB"
    dataset = encapsulated(a_dataset(colour[None], wrong), [encoded], JPEGBaseline8Bit)
    sweep = the_sweep(dataset, tmp_path)
    assert np.abs(sweep.frames[0] - colour @ np.array([0.299, 0.587, 0.114])).mean() < 1.5
    assert noted(sweep, wrong, really)


def test_colour_without_planar_configuration_is_read_by_pixel_and_said_so(tmp_path, frames):
    dataset = a_dataset(np.repeat(frames[..., None], 3, axis=-1), "RGB")
    del dataset.PlanarConfiguration
    sweep = the_sweep(dataset, tmp_path)
    assert np.array_equal(sweep.frames, frames)
    assert noted(sweep, "planar configuration")


@pytest.mark.parametrize(("stored", "factor"), [(8, 1), (16, 1), (12, 16), (16, 256)])
def test_colour_of_16_bits_is_read_as_grey_of_16_bits_is(tmp_path, frames, stored, factor):
    colour = np.stack([frames, 255 - frames, frames // 2], axis=-1).astype(np.uint16) * factor
    sweep = the_sweep(with_bits(a_dataset(colour, "RGB"), stored), tmp_path)
    grey = colour @ np.array([0.299, 0.587, 0.114])
    expected = grey if factor == 1 else (grey - grey.min()) * (255 / np.ptp(grey))
    assert np.abs(sweep.frames - expected).max() <= 0.6


def test_jpeg_2000_colour_without_its_transform_is_taken_as_the_header_says(tmp_path, frames):
    ybr = np.stack([frames, 255 - frames, frames // 2], axis=-1)
    encoded = []
    for frame in ybr:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG2000", no_jp2=True, irreversible=False, mct=0)
        encoded.append(buffer.getvalue())
    sweep = the_sweep(encapsulated(a_dataset(ybr, "YBR_FULL"), encoded, JPEG2000Lossless), tmp_path)
    assert np.array_equal(sweep.frames, frames)


@pytest.mark.parametrize(
    ("syntax", "named"),
    [
        ("1.2.840.10008.1.2.4.112", "JPEG XL"),
        ("1.2.840.10008.1.2.4.202", "High-Throughput JPEG 2000 RPCL Lossless"),
        ("1.2.840.113619.5.2", "1.2.840.113619.5.2"),
    ],
)
def test_an_encoding_that_cannot_be_read_is_named(tmp_path, frames, syntax, named):
    dataset = encapsulated(a_dataset(frames), [b"\xff\x0a" + bytes(30)] * 12, MPEG2MPML)
    path = saved(dataset, tmp_path / "case.dcm")  # pydicom writes none that it does not know
    path.write_bytes(path.read_bytes().replace(MPEG2MPML.encode(), syntax.ljust(len(MPEG2MPML), "\0").encode()))
    with pytest.raises(SweepError, match=named):
        read_sweep(path)


def test_frames_that_are_another_format_than_the_header_says_are_refused(tmp_path, frames):
    dataset = encapsulated(a_dataset(frames), [b"\x89PNG" + bytes(60)] * 12, JPEGBaseline8Bit)
    with pytest.raises(SweepError, match="not JPEG Baseline"):
        the_sweep(dataset, tmp_path)


@pytest.mark.parametrize("change", ["size", "samples"])
def test_compressed_frames_of_another_size_than_the_header_says_are_refused(tmp_path, change):
    picture = np.zeros((30, 40, 3) if change == "samples" else (40, 30), np.uint8) + 90
    dataset = encapsulated(a_dataset(np.zeros((1, 30, 40), np.uint8)), [jpeg(picture)], JPEGBaseline8Bit)
    with pytest.raises(SweepError, match="contradictory"):
        the_sweep(dataset, tmp_path)


def test_a_segmentation_is_no_sweep(tmp_path, frames):
    dataset = a_dataset(frames)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    with pytest.raises(SweepError, match="segmentation"):
        the_sweep(dataset, tmp_path)
