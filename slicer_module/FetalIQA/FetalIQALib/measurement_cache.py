"""Cache of measurements: each mask is measured once."""

from __future__ import annotations

import numpy as np

from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.ellipse_measurement import Measurement, measure
from FetalIQALib.line_measurement import measure_line
from FetalIQALib.sweep_data import Sweep
from FetalIQALib.translation import _

MAX_MEASURED = 2000  # masks in the cache


def measured(mask: np.ndarray, sweep: Sweep) -> Measurement:
    """The ellipse of a mask, or its line where the anatomy is one."""
    if sweep.is_line:
        return measure_line(mask, sweep.spacing_mm)
    return measure(mask, sweep.spacing_mm, sweep.measurable)


class MeasurementCache:
    """Measurements by mask."""

    def __init__(self) -> None:
        self._measurements: dict[tuple, Measurement] = {}

    def of(self, annotation: CaseAnnotation, frame: int) -> Measurement:
        """Ellipse and circumference of a frame's mask, or of its proposal while it is not labelled."""
        label, proposal = annotation.frame(frame), annotation.proposal(frame)
        mask = label.mask
        if mask is None and proposal is not None and not label.labelled:
            mask = proposal.mask
        if mask is None:
            return Measurement(None, None, _("no mask"))
        assessment = annotation.sweep.assessment
        if assessment is not None and frame in assessment.measured and mask == assessment.proposals[frame].mask:
            return assessment.measured[frame]  # the model's mask, measured by the server
        sweep = annotation.sweep
        key = (mask, sweep.spacing_mm, id(sweep.measurable), sweep.is_line)
        if key not in self._measurements:
            if len(self._measurements) >= MAX_MEASURED:
                self._measurements.clear()
            self._measurements[key] = measured(mask.full(), annotation.sweep)
        return self._measurements[key]
