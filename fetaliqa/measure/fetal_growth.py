"""Gestational age, growth centiles and estimated weight from fetal measurements. Not for clinical use.

Pure functions of published formulae. Each result names its formula; a value outside of the range that a formula is
given for is refused. Measurements are in mm, ages in days or exact weeks, weights in grams.

Sources:
    Hadlock 1984: Hadlock FP et al., Radiology 1984;152:497-501 (age from one measurement).
    INTERGROWTH-21st 2014: Papageorghiou AT et al., Lancet 2014;384:869-79 (centiles, 14 to 40 weeks).
    Hadlock 1985: Hadlock FP et al., Am J Obstet Gynecol 1985;151:333-7 (weight from AC, HC and FL).
    INTERGROWTH-21st 2017: Stirnemann J et al., Ultrasound Obstet Gynecol 2017;49:478-86 (weight from AC and HC).
    Campbell 1975: Campbell S, Wilkin D, Br J Obstet Gynaecol 1975;82:689-97 (weight from AC alone).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from fetaliqa.errors import GrowthError

Measurement = Literal["AC", "HC"]

DAYS_PER_WEEK = 7
MAX_GIVEN_WEEKS = 45  # an age beyond is a typing error
ESTIMATED_WEEKS = (14, 42)  # ages that Hadlock 1984 was fitted to, and used for here
CENTILE_WEEKS = (14, 40)  # of INTERGROWTH-21st's charts
PLAUSIBLE_MM = {
    "AC": (40.0, 450.0),
    "HC": (50.0, 420.0),
    "FL": (5.0, 95.0),
}  # else a wrong unit or outline
MAX_Z = 6.0  # a measurement this far from the mean has another unit or age, or a wrong outline
FROM_22_WEEKS = "the formula was fitted to fetuses of 22 weeks and more"
_AGE_TEXT = re.compile(
    r"\s*(\d{1,2})\s*(?:w|weeks?)\s*(?:\+?\s*(\d)\s*(?:d|days?)?)?\s*|\s*(\d{1,2})\s*\+\s*(\d)\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class GestationalAge:
    """An age, and where it comes from.

    Attributes:
        days: since the first day of the last menstrual period.
        source: ``given``, ``DICOM header``, or the formula it was estimated by.
        estimated_from: the measurement it was estimated from, None for a given age.
    """

    days: int
    source: str = "given"
    estimated_from: Measurement | None = None

    @property
    def weeks(self) -> float:
        """Exact weeks."""
        return self.days / DAYS_PER_WEEK

    @classmethod
    def parse(cls, text: str, source: str = "given") -> GestationalAge:
        """Age from ``24w3d``, ``24 w 3 d``, ``24w`` or ``24+3``.

        Raises:
            GrowthError: for another form, more than 6 days, or an age over 45 weeks.

        Examples:
            >>> GestationalAge.parse("24w3d").days
            171
            >>> str(GestationalAge.parse("19+0"))
            '19 w 0 d'
        """
        match = _AGE_TEXT.fullmatch(text)
        if match is None:
            raise GrowthError(f"gestational age {text!r} is not understood; write it as 24w3d or 24+3")
        weeks, days = int(match[1] or match[3]), int(match[2] or match[4] or 0)
        if days >= DAYS_PER_WEEK:
            raise GrowthError(f"gestational age {text!r} has {days} days; days are 0 to 6")
        if not 0 < weeks <= MAX_GIVEN_WEEKS:
            raise GrowthError(f"gestational age {text!r} is not between 1 and {MAX_GIVEN_WEEKS} weeks")
        return cls(weeks * DAYS_PER_WEEK + days, source)

    def __str__(self) -> str:
        return f"{self.days // DAYS_PER_WEEK} w {self.days % DAYS_PER_WEEK} d"


@dataclass(frozen=True)
class GrowthCentile:
    """Place of a measurement among fetuses of the same age.

    Attributes:
        centile: percent, 0 to 100.
        z_score: standard deviations from the mean.
        mean_mm, sd_mm: of the standard at this age.
        formula: the standard.
    """

    centile: float
    z_score: float
    mean_mm: float
    sd_mm: float
    formula: str


@dataclass(frozen=True)
class FetalWeight:
    """An estimated weight.

    Attributes:
        grams: estimated weight.
        formula: the formula, with its inputs.
        note: what limits it, else None.
    """

    grams: float
    formula: str
    note: str | None = None


def estimated_age(measurement: Measurement, value_mm: float) -> GestationalAge:
    """Gestational age from AC or HC, by Hadlock 1984, rounded to the day.

    Args:
        measurement: ``AC`` or ``HC``.
        value_mm: circumference in mm.

    Raises:
        GrowthError: for a value that gives an age outside of 14 to 42 weeks.

    Examples:
        >>> str(estimated_age("AC", 139.7))
        '19 w 3 d'
    """
    cm = _checked(measurement, value_mm) / 10
    weeks = 8.14 + 0.753 * cm + 0.0036 * cm**2 if measurement == "AC" else 8.96 + 0.540 * cm + 0.0003 * cm**3
    low, high = ESTIMATED_WEEKS
    if not low <= weeks <= high:
        raise GrowthError(
            f"{measurement} {value_mm:g} mm gives {weeks:.1f} weeks by Hadlock 1984; "
            f"the formula is used from {low} to {high} weeks"
        )
    return GestationalAge(round(weeks * DAYS_PER_WEEK), f"Hadlock 1984 ({measurement})", measurement)


def growth_centile(measurement: Measurement, value_mm: float, age: GestationalAge) -> GrowthCentile:
    """Centile of AC or HC for a given age, by INTERGROWTH-21st 2014.

    Args:
        measurement: ``AC`` or ``HC``.
        value_mm: circumference in mm.
        age: 14 to 40 weeks, known from elsewhere.

    Raises:
        GrowthError: for an age outside of the charts, an age that was estimated from the same measurement, or a
            value more than 6 standard deviations from the mean.

    Examples:
        >>> round(growth_centile("AC", 139.7, GestationalAge.parse("19w0d")).centile, 1)
        66.4
    """
    _checked(measurement, value_mm)
    if age.estimated_from == measurement:
        raise GrowthError(
            f"the age {age} was estimated from the same {measurement}, so its centile would say nothing; "
            "give the age by dates or by an earlier scan"
        )
    low, high = CENTILE_WEEKS
    if not low <= age.weeks <= high:
        raise GrowthError(f"gestational age {age} is outside of INTERGROWTH-21st's charts, {low} to {high} weeks")
    mean, sd = _STANDARDS[measurement](age.weeks)
    z = (value_mm - mean) / sd
    if abs(z) > MAX_Z:
        raise GrowthError(
            f"{measurement} {value_mm:g} mm is {abs(z):.0f} standard deviations from the mean at {age}, "
            f"{mean:.0f} mm; check the age, the unit and the outline"
        )
    return GrowthCentile(100 * NormalDist().cdf(z), z, mean, sd, f"INTERGROWTH-21st 2014 ({measurement})")


def centile_words(percent: float) -> str:
    """A centile as text, never 0 or 100.

    Examples:
        >>> centile_words(66.4), centile_words(99.97)
        ('66.4', 'above 99.9')
    """
    if percent < 0.1:
        return "below 0.1"
    return "above 99.9" if percent > 99.9 else f"{percent:.3g}"


def estimated_weight(ac_mm: float, hc_mm: float | None = None, fl_mm: float | None = None) -> FetalWeight:
    """Weight by the best formula whose inputs are at hand: AC, HC and FL; AC and HC; AC alone (rougher).

    Args:
        ac_mm: abdominal circumference in mm.
        hc_mm: head circumference in mm.
        fl_mm: femur length in mm.

    Raises:
        GrowthError: for an implausible value.

    Examples:
        The worked example of INTERGROWTH-21st 2017, AC 26 cm and HC 29 cm:

        >>> round(math.log(estimated_weight(260, 290).grams), 4)
        7.3123
    """
    ac = _checked("AC", ac_mm) / 10
    hc = None if hc_mm is None else _checked("HC", hc_mm) / 10
    fl = None if fl_mm is None else _checked("FL", fl_mm) / 10
    if hc is not None and fl is not None:
        exponent = 1.326 - 0.00326 * ac * fl + 0.0107 * hc + 0.0438 * ac + 0.158 * fl
        return FetalWeight(10**exponent, "Hadlock 1985 (AC, HC, FL)")
    if hc is not None:
        metres = ac / 100
        log = 5.084820 - 54.06633 * metres**3 - 95.80076 * metres**3 * math.log(metres) + 3.136370 * hc / 100
        return FetalWeight(math.exp(log), "INTERGROWTH-21st 2017 (AC, HC)", FROM_22_WEEKS)
    note = "from AC alone, rougher than with HC and FL"
    if fl is not None:
        note += "; FL counts only together with HC"
    return FetalWeight(1000 * math.exp(-4.564 + 0.282 * ac - 0.00331 * ac**2), "Campbell 1975 (AC)", note)


def _checked(measurement: str, value_mm: float) -> float:
    low, high = PLAUSIBLE_MM[measurement]
    if not math.isfinite(value_mm) or not low <= value_mm <= high:
        raise GrowthError(f"{measurement} {value_mm:g} mm is not between {low:g} and {high:g} mm; check the unit")
    return value_mm


def _ac_standard(weeks: float) -> tuple[float, float]:
    cube = weeks**3
    mean = -81.3243 + 11.6772 * weeks - 0.000561865 * cube
    sd = -4.36302 + 0.121445 * weeks**2 - 0.0130256 * cube + 0.00282143 * cube * math.log(weeks)
    return mean, sd


def _hc_standard(weeks: float) -> tuple[float, float]:
    log, cube = math.log(weeks), weeks**3
    mean = -28.2849 + 1.69267 * weeks**2 - 0.397485 * weeks**2 * log
    sd = 1.98735 + 0.0136772 * cube - 0.00726264 * cube * log + 0.000976253 * cube * log**2
    return mean, sd


# mean and standard deviation in mm at exact weeks
_STANDARDS: dict[str, Callable[[float], tuple[float, float]]] = {"AC": _ac_standard, "HC": _hc_standard}
