"""Grey values of DICOM frames: the display pipeline from stored samples (PS3.3 section C.11).

Modality LUT or rescale, then VOI LUT or window, then polarity; palettes and colour become luma.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataset import Dataset

from fetaliqa.errors import SweepError
from fetaliqa.sweep.dicom_layout import GREY, PALETTE, PARTIAL_LUMA, Layout
from fetaliqa.sweep.lookup_tables import Table, read_table, with_fitting_depth
from fetaliqa.sweep.pixel_conversion import LUMA_NOTE, luma

PADDING_NOTE = "pixels of the Pixel Padding Value shown black, and excluded from the range of grey values"
INVERTED_NOTE = "MONOCHROME1 inverted: 0 is black"
TABLE_BITS = 16  # samples of up to this many bits are mapped by a table
WINDOW_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


@dataclass(frozen=True)
class Window:
    """A VOI window (PS3.3 section C.11.2.1.2)."""

    center: float
    width: float
    function: str

    def apply(self, values: np.ndarray) -> np.ndarray:
        """``values`` as 0 (black) to 1 (white)."""
        if self.function == "SIGMOID":
            return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - self.center) / self.width, -700, 700)))
        if self.function == "LINEAR_EXACT":
            return np.clip((values - self.center) / self.width + 0.5, 0, 1)
        if self.width == 1:
            return (values > self.center - 0.5).astype(np.float64)
        return np.clip((values - (self.center - 0.5)) / (self.width - 1) + 0.5, 0, 1)


@dataclass(frozen=True, eq=False)
class GreyScale:
    """Conversion of samples to grey values.

    Attributes:
        layout: layout of the pixels.
        modality: a table, or (slope, intercept); None for values as stored.
        voi: a table or window; None to show the whole range.
        inverted: whether the smallest value is white.
        palette: grey value (0 to 255) by palette entry.
        lookup: grey values of all possible samples, if these are few.
        padding: smallest and largest sample of padding outside of the image.
        notes: notes for the user.
    """

    layout: Layout
    modality: Table | tuple[float, float] | None = None
    voi: Table | Window | None = None
    inverted: bool = False
    palette: Table | None = None
    lookup: np.ndarray | None = None
    padding: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()

    @property
    def settings(self) -> tuple:
        """Settings that must be equal for frames of different files to have comparable brightness."""
        parts = (self.modality, self.voi)
        return tuple(repr(part.entries.tolist()) if isinstance(part, Table) else part for part in parts)

    def grey(self, samples: np.ndarray, note: Callable[[str], None] = lambda _: None) -> np.ndarray:
        """Return grey values [H, W] of the samples of a frame, [H, W] or [H, W, 3].

        uint8 when the file defines black and white, else any type, to be windowed.

        Args:
            samples: samples of the frame.
            note: called with notes that depend on the samples.
        """
        grey = self._shown(samples)
        if self.padding is None:
            return grey
        padded = (samples >= self.padding[0]) & (samples <= self.padding[1])
        black = 0
        if grey.dtype != np.uint8 and not padded.all():  # padding must not widen the range for windowing
            darkest = grey[~padded].min()
            black = darkest if self.inverted else min(0, darkest)
        if (grey[padded] == black).all():
            return grey
        note(PADDING_NOTE)
        return np.where(padded, grey.dtype.type(black), grey)

    def _shown(self, samples: np.ndarray) -> np.ndarray:
        if samples.ndim == 3:
            grey = luma(self._spread(samples))
            return grey if grey.dtype == np.uint8 or self.layout.floating else np.rint(grey).astype(samples.dtype)
        if self.layout.interpretation in PARTIAL_LUMA:
            step = float(1 << max(0, self.layout.stored - 8))
            return _bytes((samples / step - 16.0) / 219.0)
        if self.lookup is not None:
            low = self.layout.extremes[0]
            return self.lookup.take(samples.astype(np.int64) - low if low else samples)
        return self.of(samples)

    def of(self, samples: np.ndarray) -> np.ndarray:
        """Grey values of samples with one value per pixel."""
        if self.palette is not None:
            return self.palette.look_up(samples).astype(np.uint8)
        if self.modality is None and self.voi is None and not self.inverted:
            return self._spread(samples)
        values = _rescaled(samples, self.modality)
        low, high = self.extremes
        if self.voi is not None:
            table = isinstance(self.voi, Table)
            display = self.voi.look_up(values) / self.voi.largest if table else self.voi.apply(values)  # type: ignore[union-attr]
            return _bytes(1.0 - display if self.inverted else display)
        if self.inverted:
            values = (high + low) - values
        if self.modality is None and self.layout.stored < 8:
            return _bytes((values - low) / (high - low))
        return self._narrow(values, samples.dtype)

    @property
    def extremes(self) -> tuple[float, float]:
        """Smallest and largest possible value after the modality transformation."""
        if isinstance(self.modality, Table):
            return 0.0, float(self.modality.largest)
        if self.layout.floating:
            return 0.0, 0.0
        ends = _rescaled(np.asarray(self.layout.extremes), self.modality)
        return float(ends.min()), float(ends.max())

    def _spread(self, samples: np.ndarray) -> np.ndarray:
        """Scale samples of fewer than 8 bits to 0 to 255; others are unchanged."""
        if self.layout.stored >= 8 or self.layout.floating:
            return samples
        low, high = self.layout.extremes
        return _bytes((samples.astype(np.float64) - low) / (high - low))

    def _narrow(self, values: np.ndarray, stored: np.dtype) -> np.ndarray:
        """Convert values to one type for all frames: integers if all possible values are whole numbers."""
        if self.modality is None:
            return values.astype(stored)
        whole = isinstance(self.modality, Table) or all(float(part).is_integer() for part in self.modality)
        return values.astype(np.int32) if whole and max(map(abs, self.extremes)) < 1 << 31 else values


def _bytes(display: np.ndarray) -> np.ndarray:
    """0 (black) to 1 (white) as uint8."""
    return np.rint(np.clip(display, 0, 1) * 255).astype(np.uint8)


def _rescaled(samples: np.ndarray, modality: Table | tuple[float, float] | None) -> np.ndarray:
    if modality is None:
        return samples.astype(np.float64)
    if isinstance(modality, Table):
        return modality.look_up(samples).astype(np.float64)
    slope, intercept = modality
    return samples.astype(np.float64) * slope + intercept


def read_grey_scale(dataset: Dataset, layout: Layout, name: str) -> GreyScale:
    """Return the conversion of a file's samples to grey values.

    Raises:
        SweepError: when a required table is missing or damaged, or frames differ in their rescaling.
    """
    notes = list(layout.notes)
    if layout.interpretation == PALETTE:
        palette, changed = _palette(dataset, layout, name)
        return _with_lookup(GreyScale(layout, palette=palette, notes=(*notes, LUMA_NOTE, *changed)))
    if layout.interpretation not in GREY:
        return GreyScale(layout, notes=(*notes, LUMA_NOTE))
    if "RedPaletteColorLookupTableDescriptor" in dataset:
        notes.append(f"palette not used: the pixels are {layout.interpretation}")
    source = _with_functional_groups(dataset, name, notes)
    modality = _modality(source, layout, name, notes)
    voi = _voi(source, modality, layout, name, notes)
    inverted = _polarity(dataset, layout, notes)
    if dataset.get("PresentationLUTSequence"):
        notes.append("presentation lookup table not used")
    if layout.stored < 8:
        notes.append(f"{layout.stored}-bit values spread over 0 to 255")
    padding = _padding(dataset, layout)
    return _with_lookup(GreyScale(layout, modality, voi, inverted, padding=padding, notes=tuple(notes)))


def _padding(dataset: Dataset, layout: Layout) -> tuple[int, int] | None:
    """Smallest and largest sample of padding outside of the image (PS3.3 section C.7.5.1.1.2)."""
    value, limit = (dataset.get(keyword) for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if layout.floating or value in (None, ""):
        return None
    ends = [_as_sample(int(end), layout) for end in (value, value if limit in (None, "") else limit)]
    return min(ends), max(ends)


def _as_sample(value: int, layout: Layout) -> int:
    """Convert a header value that was read with the wrong signedness."""
    low, high = layout.extremes
    return value if low <= value <= high else (value - low) % (1 << layout.stored) + low


def _with_lookup(scale: GreyScale) -> GreyScale:
    """Add the grey values of all possible samples, if these are few."""
    layout = scale.layout
    plain = not (scale.palette or scale.modality or scale.voi or scale.inverted)
    if layout.floating or layout.stored > TABLE_BITS or (plain and layout.stored >= 8):
        return scale
    low, high = layout.extremes
    kind = f"{'i' if layout.signed else 'u'}{max(8, layout.allocated) // 8}"
    lookup = scale.of(np.arange(low, high + 1).astype(kind))
    return replace(scale, lookup=lookup)


def _palette(dataset: Dataset, layout: Layout, name: str) -> tuple[Table, Sequence[str]]:
    """Grey value by entry of the palette."""
    tables = [
        read_table(dataset, f"{colour}PaletteColorLookupTable", layout.signed, layout.little_endian, name)
        for colour in ("Red", "Green", "Blue")
    ]
    tables, note = with_fitting_depth(tables)
    first, last = min(table.first for table in tables), max(table.first + len(table.entries) for table in tables)
    inputs = np.arange(first, last)
    colours = np.stack([table.look_up(inputs) / table.largest for table in tables], axis=-1)
    return Table(first, luma(_bytes(colours)), 255), [note] if note else []


def _modality(source: Dataset, layout: Layout, name: str, notes: list[str]) -> Table | tuple[float, float] | None:
    if source.get("ModalityLUTSequence"):
        table = read_table(source.ModalityLUTSequence[0], "LUT", layout.signed, layout.little_endian, name)
        (table,), changed = with_fitting_depth([table])
        notes += ["modality lookup table applied", *([changed] if changed else [])]
        return table
    slope, intercept = (source.get(keyword) for keyword in ("RescaleSlope", "RescaleIntercept"))
    if slope in (None, "") and intercept in (None, ""):
        return None
    slope, intercept = float(1 if slope in (None, "") else slope), float(intercept or 0)
    if not (np.isfinite([slope, intercept]).all() and slope):
        raise SweepError(f"{name}: rescale slope {slope:g}, intercept {intercept:g} are invalid; export it again")
    if (slope, intercept) == (1.0, 0.0):
        return None
    notes.append(f"rescaled: slope {slope:g}, intercept {intercept:g}")
    return slope, intercept


def _first(value: object) -> float:
    return float(value if isinstance(value, (int, float, str)) else value[0])  # type: ignore[index]


def _voi(
    source: Dataset,
    modality: Table | tuple[float, float] | None,
    layout: Layout,
    name: str,
    notes: list[str],
) -> Table | Window | None:
    tables = source.get("VOILUTSequence")
    center, width = source.get("WindowCenter"), source.get("WindowWidth")
    if tables:
        negative = GreyScale(layout, modality).extremes[0] < 0
        table = read_table(tables[0], "LUT", negative, layout.little_endian, name)
        (table,), changed = with_fitting_depth([table])
        many = "" if len(tables) == 1 else f", the first of {len(tables)}"
        notes += [f"VOI lookup table applied{many}", *([changed] if changed else [])]
        return table
    if center in (None, "") and width in (None, ""):
        return None
    function = str(source.get("VOILUTFunction") or "LINEAR")
    if function not in WINDOW_FUNCTIONS:
        notes.append(f"VOI LUT function {function!r} is unknown: LINEAR is used")
        function = "LINEAR"
    if center in (None, "") or width in (None, ""):
        notes.append("window without center or width not used")
        return None
    window = Window(_first(center), _first(width), function)
    if not np.isfinite([window.center, window.width]).all() or window.width < (
        1 if function == "LINEAR" else 1e-9
    ):
        notes.append(f"window of center {window.center:g} and width {window.width:g} shows nothing: not used")
        return None
    many = "" if isinstance(width, (int, float, str)) or len(width) == 1 else f", the first of {len(width)}"
    notes.append(f"window applied: center {window.center:g}, width {window.width:g}, {function}{many}")
    return window


def _polarity(dataset: Dataset, layout: Layout, notes: list[str]) -> bool:
    """Whether the smallest value is white, by photometric interpretation and presentation LUT shape."""
    shape = str(dataset.get("PresentationLUTShape") or "")
    if layout.interpretation == "MONOCHROME1":
        if shape == "IDENTITY":
            notes.append("presentation LUT shape IDENTITY contradicts MONOCHROME1, which counts")
        notes.append(INVERTED_NOTE)
        return True
    if shape == "INVERSE":
        notes.append("inverted: presentation LUT shape INVERSE, though the pixels are MONOCHROME2")
        return True
    return False


GROUPS = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction"),
}


def group_items(dataset: Dataset, sequence: str) -> list[Dataset]:
    """Items of a functional group of an enhanced multi-frame image, shared or per frame."""
    holders = [
        *(dataset.get("SharedFunctionalGroupsSequence") or []),
        *(dataset.get("PerFrameFunctionalGroupsSequence") or []),
    ]
    return [holder.get(sequence)[0] for holder in holders if holder.get(sequence)]


def _with_functional_groups(dataset: Dataset, name: str, notes: list[str]) -> Dataset:
    """Rescaling and window of a data set, from the functional groups if it is an enhanced image."""
    settings = Dataset()
    for sequence, keywords in GROUPS.items():
        items = group_items(dataset, sequence)
        distinct = {tuple(str(item.get(keyword)) for keyword in keywords) for item in items}
        if len(distinct) > 1 and sequence == "PixelValueTransformationSequence":
            raise SweepError(f"{name}: its frames are rescaled differently; split it into files of one kind")
        if len(distinct) > 1:
            notes.append(
                "frames have windows of their own: none applied, so that their brightness can be compared"
            )
            continue
        for keyword in keywords if items else ():
            if keyword in items[0]:
                setattr(settings, keyword, items[0][keyword].value)
    for keyword in (
        "ModalityLUTSequence",
        "VOILUTSequence",
        *GROUPS["PixelValueTransformationSequence"],
        *GROUPS["FrameVOILUTSequence"],
    ):
        if keyword in dataset and keyword not in settings:
            setattr(settings, keyword, dataset[keyword].value)
    return settings
