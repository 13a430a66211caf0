"""Random training samples from still images in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

from fetaliqa.errors import OptionError
from fetaliqa.lab.stills.burned_in_marks import without_marks
from fetaliqa.lab.stills.still_augmentation import Settings, augmented
from fetaliqa.lab.stills.still_image import Still, read_grey
from fetaliqa.measure import draw_ellipse, draw_line
from fetaliqa.measure.field_of_view import field_of_view
from fetaliqa.measure.square_grid import SquareGrid

LONGEST_SIDE = 512  # pixels kept in memory: more than twice the grid, so that zooming in finds detail

Anatomy = Literal["abdomen", "head", "femur"]
# Planes that show the anatomy: an image of them without an outline is not a negative.
SHOWING: dict[Anatomy, tuple[str, ...]] = {
    "abdomen": ("abdomen", "phantom"),
    "head": ("head", "brain", "phantom"),
    "femur": ("femur", "phantom"),
}


def usable(stills: Sequence[Still], anatomy: Anatomy) -> list[Still]:
    """The images usable for an anatomy: outlined, or of another plane.

    An abdomen without an outline is neither positive nor negative, and is excluded; so are phantom frames, whose
    content is not recorded.
    """
    return [one for one in stills if outlined(one, anatomy) or one.plane not in SHOWING[anatomy]]


def outlined(still: Still, anatomy: Anatomy) -> bool:
    """Whether an image carries an outline of the anatomy."""
    if anatomy == "femur":
        return still.line is not None
    return still.plane == anatomy and (still.ellipse is not None or still.mask_file is not None)


def native_mask(still: Still, anatomy: Anatomy) -> np.ndarray:
    """The filled outline or the line's band, uint8 [H, W] of 0 and 1; all 0 for an image of another plane."""
    if not outlined(still, anatomy):
        return np.zeros(still.shape, np.uint8)
    if anatomy == "femur" and still.line is not None:
        return draw_line(still.line, still.shape)
    if still.ellipse is not None:
        return draw_ellipse(still.ellipse, still.shape)
    assert still.mask_file is not None
    return (read_grey(still.mask_file) > 0).astype(np.uint8)


class StillSet:
    """Still images and their masks in memory.

    Args:
        stills: each outlined, or without the anatomy (see ``usable``).
        anatomy: whose outlines are the masks.
        settings: of the augmentation; None: the defaults.
        clean: whether burned-in marks are removed.

    Attributes:
        stills: as given.
        planes: str [N].
        patients: str [N].
        positive: bool [N], whether an image has an outline.

    Raises:
        OptionError: for an image that is neither outlined nor a negative.
        NotFoundError: when a file is gone.
        SweepError: when a file is not a readable picture.
    """

    def __init__(
        self,
        stills: Sequence[Still],
        anatomy: Anatomy = "abdomen",
        settings: Settings | None = None,
        *,
        clean: bool = True,
    ) -> None:
        unclear = len(stills) - len(usable(stills, anatomy))
        if unclear:
            raise OptionError(f"{unclear} images may show the {anatomy}, but have no outline; leave them out")
        self.stills = list(stills)
        self.settings = settings or Settings()
        self.planes = np.array([still.plane for still in stills], str)
        self.patients = np.array([still.patient for still in stills], str)
        self.positive = np.array([outlined(still, anatomy) for still in stills], bool)
        self._negatives = np.flatnonzero(~self.positive)
        self._held = [_Held(still, anatomy, clean) for still in stills]

    def __len__(self) -> int:
        return len(self.stills)

    def sample(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random sample of an image: uint8 [224, 224] and its mask of 0 and 1."""
        held = self._held[index]
        backdrop = self._held[rng.choice(self._negatives)].image if len(self._negatives) else None
        return augmented(held.image, held.mask, rng, self.settings, held.lit, backdrop)

    def plain(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The image as ``SquareGrid.to_square`` has it, uint8 [224, 224], and its mask of 0 and 1."""
        held = self._held[index]
        return held.square.copy(), held.square_mask.copy()


class _Held:
    """One image and its mask in memory."""

    def __init__(self, still: Still, anatomy: Anatomy, clean: bool) -> None:
        native = read_grey(still.file)
        if clean and still.burned_in:
            native = without_marks(native)
        filled = native_mask(still, anatomy)
        grid = SquareGrid(*native.shape)
        self.square = grid.to_square(native[None])[0].numpy()
        self.square_mask = grid.mask_to_square(filled[None])[0]
        self.image = _shrunk(native)
        self.lit = _shrunk(field_of_view(native[None]) * 255) > 127
        self.lit = self.lit.astype(np.uint8)
        self.mask = (_shrunk(filled * 255) > 127).astype(np.uint8) if filled.any() else None


def _shrunk(image: np.ndarray) -> np.ndarray:
    """The image with a longer side of at most ``LONGEST_SIDE`` pixels."""
    factor = LONGEST_SIDE / max(image.shape)
    if factor >= 1:
        return image
    size = [max(1, round(length * factor)) for length in (image.shape[1], image.shape[0])]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
