"""What was found in one frame, as a typed view of an entry of an assessment's record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fetaliqa.measure.ellipse import Ellipse
from fetaliqa.measure.line import Line


@dataclass(frozen=True)
class FrameAssessment:
    """What was found in one frame. docs/assessment.md describes all fields of the record.

    Attributes
    ----------
    index
        Number of the frame in the case, from 0.
    sweep
        Number of its sweep, from 0.
    padding
        Whether it is a black slot at the end of a sweep, which is never assessed.
    quality
        0 to 1; None when it was not assessed.
    positive
        Whether it shows the anatomy; None when nobody looked.
    interpolated
        Whether a search or screening skipped it: its quality is a guess, and it has no mask.
    expected_dice
        Dice, 0 to 1, that the model expects its outline to have; None of models that give none.
    distance
        From the training data, in units of the limit above which a frame is unlike them; None of models that
        give none.
    area_mm2
        Area of the mask in mm2; None without a mask or a pixel spacing.
    ellipse
        Fitted to the outline, in pixels of the frame; None where none fits.
    circumference_mm
        Of the ellipse, by Ramanujan's first approximation, in mm; None without an ellipse or a pixel spacing.
    circumference_absent
        Why there is no circumference, in words; None when there is one.
    circumference_interval_mm
        Lower and upper end of the interval around it, in mm; None where it cannot be stated.
    line
        Of the femur, between the ends of its shaft, in pixels of the frame; None of other anatomies.
    length_mm
        Of the line in mm; None without a line or a pixel spacing.
    length_absent
        Why there is no length, in words; None when there is one.
    warning
        What speaks against outline or circumference, in words; None when nothing does.
    """

    index: int
    sweep: int
    padding: bool = False
    quality: float | None = None
    positive: bool | None = None
    interpolated: bool = False
    expected_dice: float | None = None
    distance: float | None = None
    area_mm2: float | None = None
    ellipse: Ellipse | None = None
    circumference_mm: float | None = None
    circumference_absent: str | None = None
    circumference_interval_mm: tuple[float, float] | None = None
    line: Line | None = None
    length_mm: float | None = None
    length_absent: str | None = None
    warning: str | None = None

    @property
    def size_mm(self) -> float | None:
        """Circumference or length in mm, whichever the anatomy has; None without one."""
        return self.circumference_mm if self.length_mm is None else self.length_mm

    @classmethod
    def from_record(cls, values: Mapping[str, Any]) -> FrameAssessment:
        """Of an entry of ``frames`` in an assessment's record."""
        attributes = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        if attributes.get("ellipse") is not None:
            attributes["ellipse"] = Ellipse(**attributes["ellipse"])
        if attributes.get("circumference_interval_mm") is not None:
            low, high = attributes["circumference_interval_mm"]
            attributes["circumference_interval_mm"] = (float(low), float(high))
        if attributes.get("line") is not None:
            attributes["line"] = Line(**attributes["line"])
        return cls(**attributes)
