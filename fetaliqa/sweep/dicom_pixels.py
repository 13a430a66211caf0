"""Frames of a DICOM file: their number and layout, and their grey values one frame at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset

from fetaliqa.errors import SweepError
from fetaliqa.sweep.dicom_decoding import decode
from fetaliqa.sweep.dicom_element import (
    DAMAGE_ERRORS,
    Header,
    PixelElement,
    header_count,
    no_pixels,
    read_header,
    reason_of,
)
from fetaliqa.sweep.dicom_fragments import find_frames, frame_reader, read_fragments
from fetaliqa.sweep.dicom_grey import GreyScale, read_grey_scale
from fetaliqa.sweep.dicom_layout import Layout, is_video, read_layout, syntax_name
from fetaliqa.sweep.dicom_native import native_count, native_frames, native_layout


@dataclass(frozen=True)
class DicomFrames:
    """The frames of one opened file.

    Attributes:
        path: the file.
        dataset: its header.
        shape: (T, H, W).
        grey: function that yields grey frames [H, W]; its argument is called with notes for the user.
        scale: conversion to grey values; None for a video.
        notes: notes for the user.
    """

    path: Path
    dataset: FileDataset
    shape: tuple[int, int, int]
    grey: Callable[[Callable[[str], None]], Iterator[np.ndarray]]
    scale: GreyScale | None
    notes: tuple[str, ...]


def open_frames(path: Path) -> DicomFrames:
    """Find the frames of a DICOM file, and check their number against its pixels.

    Raises:
        SweepError: when it is not DICOM, holds no image, or its header contradicts its pixels.
    """
    header = read_header(path)
    try:
        return _opened(path, header)
    except DAMAGE_ERRORS as error:  # pydicom parses values on access
        raise SweepError(
            f"{path.name}: its DICOM header is damaged ({reason_of(error)}); export it again"
        ) from None


def _opened(path: Path, header: Header) -> DicomFrames:
    dataset, element = header.dataset, header.element
    if element is None:
        read_layout(dataset, path.name)  # raises a specific error for a file without an image
        raise no_pixels(path.name)
    layout = read_layout(dataset, path.name, element.float_bits, element.words)
    written = header_count(dataset, path.name)
    if is_video(layout.syntax):
        return _video(path, header, layout, element, written)
    notes: tuple[str, ...]
    if layout.compressed:
        with open(path, "rb") as file:
            frames, notes = find_frames(file, dataset, layout, element, written, path.name)
        count, stored = len(frames), frame_reader(path, frames)
    else:
        layout = native_layout(layout, element, written)
        count, notes = native_count(layout, element, written, path.name)

        def stored() -> Iterator[bytes]:
            return native_frames(path, header, layout, count)

    scale = read_grey_scale(dataset, layout, path.name)

    def grey(note: Callable[[str], None]) -> Iterator[np.ndarray]:
        for data in stored():
            yield scale.grey(decode(data, layout, path.name, note), note)

    shape = (count, layout.rows, layout.columns)
    return DicomFrames(path, dataset, shape, _with_errors(grey, path, layout), scale, (*notes, *scale.notes))


def _with_errors(grey: Callable, path: Path, layout: Layout) -> Callable:
    """``grey`` with decoder errors converted to a SweepError."""

    def read(note: Callable[[str], None]) -> Iterator[np.ndarray]:
        try:
            yield from grey(note)
        except DAMAGE_ERRORS as error:
            raise SweepError(
                f"{path.name}: its pixels ({syntax_name(layout.syntax)}) cannot be decoded ({reason_of(error)}); "
                "export it uncompressed or copy it again"
            ) from None

    return read


def _video(path: Path, header: Header, layout: Layout, element: PixelElement, written: int | None) -> DicomFrames:
    """Frames of an MPEG-2, MPEG-4 or HEVC stream."""
    from fetaliqa.sweep.dicom_video import open_dicom_video  # PyAV is optional

    with open(path, "rb") as file:
        _, fragments = read_fragments(file, element, path.name)
    stream, notes = open_dicom_video(path, fragments, layout, written)
    return DicomFrames(
        path,
        header.dataset,
        (stream.count, *stream.size),
        lambda note: stream.frames(),
        None,
        (*notes, *stream.notes),
    )
