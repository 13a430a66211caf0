"""What is measured on a frame: each mask once, however often its frame is passed."""

from __future__ import annotations

from FetalIQALib.casework import CaseWork
from FetalIQALib.outline import Measurement, measure
from FetalIQALib.texts import _

MAX_MEASURED = 2000  # masks; each is kept by its case anyway


class Measurements:
    """The measurements made so far."""

    def __init__(self) -> None:
        self._known: dict[tuple, Measurement] = {}

    def of(self, work: CaseWork, frame: int) -> Measurement:
        """Ellipse and circumference of a person's mask of a frame; of the proposal while nothing is decided."""
        shown, proposal = work.frame(frame), work.proposal(frame)
        mask = shown.mask
        if mask is None and proposal is not None and not shown.decided:
            mask = proposal.mask
        if mask is None:
            return Measurement(None, None, _("no mask"))
        assessment = work.sweep.assessment
        if assessment is not None and frame in assessment.measured and mask == assessment.proposals[frame].mask:
            return assessment.measured[frame]  # the model's own mask, which the server measured
        key = (mask, work.sweep.spacing_mm, id(work.sweep.free))
        if key not in self._known:
            if len(self._known) >= MAX_MEASURED:
                self._known.clear()
            self._known[key] = measure(mask.full(), work.sweep.spacing_mm, work.sweep.free)
        return self._known[key]
