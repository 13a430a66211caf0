"""The measurement and growth of a case in words, for tables, contact sheets and reports.

Records of earlier versions lack ``measurement`` and ``growth``; there is nothing to say of them then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fetaliqa.measure.fetal_growth import GestationalAge, centile_words


def measurement_lines(record: Mapping[str, Any]) -> list[str]:
    """The circumference of a case with its interval, or why there is no interval; none without a measurement.

    Args:
        record: an assessment's record.
    """
    measurement = record.get("measurement")
    if not measurement:
        return []
    frames = ", ".join(map(str, measurement["frames"]))
    line = f"{interval_words(measurement)}, from frame{'s' if len(measurement['frames']) > 1 else ''} {frames}"
    lines = [line]
    if measurement["interval_absent"] is not None:
        lines.append(f"no interval: {measurement['interval_absent']}")
    elif measurement.get("calibrated_on"):
        lines.append(f"interval calibrated on {measurement['calibrated_on']}")
    if measurement.get("bpd_mm") is not None and measurement.get("ofd_mm") is not None:
        axes = f"BPD {measurement['bpd_mm']:.1f} mm, OFD {measurement['ofd_mm']:.1f} mm"
        lines.append(f"{axes} (axes of the ellipse, outer to outer)")
    return lines


def interval_words(measurement: Mapping[str, Any]) -> str:
    """A circumference, with its interval where there is one: ``AC 209.8 mm (90 % interval 203.1 to 216.5)``."""
    words = f"{measurement['name']} {measurement['mm']:.1f} mm"
    if measurement["interval_mm"] is None:
        return words
    low, high = measurement["interval_mm"]
    return f"{words} ({measurement['coverage']:.0%} interval {low:.1f} to {high:.1f})".replace("%", " %", 1)


def growth_lines(record: Mapping[str, Any]) -> list[str]:
    """Age, centile and weight of a case, each with its formula; none without any.

    Args:
        record: an assessment's record.
    """
    growth, measurement = record.get("growth"), record.get("measurement")
    if not growth:
        return []
    lines = []
    given, age, centile, weight = (growth[name] for name in ("given_age", "age", "centile", "weight"))
    if given is not None:
        lines.append(f"age given ({given['source']}): {GestationalAge(given['days'])}")
    if age is not None:
        lines.append(f"age by {age['formula']}: {GestationalAge(age['days'])}")
    if centile is not None and given is not None and measurement:
        lines.append(
            f"centile of {measurement['name']} {measurement['mm']:.1f} mm at {GestationalAge(given['days'])}: "
            f"{centile_words(centile['percent'])} (z {centile['z']:+.2f}), {centile['formula']}"
        )
    if weight is not None:
        lines.append(f"estimated weight by {weight['formula']}: {weight['grams']} g")
    return lines + [f"note: {note}" for note in growth["notes"]]
