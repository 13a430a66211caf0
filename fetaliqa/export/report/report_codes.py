"""Codes of the measurement report, from DICOM PS3.16; a test compares them with pydicom's dictionary of it.

Measurements are those of the OB-GYN ultrasound report (TID 5000): context groups 12005, 12017 and 12019. Equations
are those of context groups 12013 (age) and 12014 (weight); INTERGROWTH-21st has none there, and is cited in words.
"""

from __future__ import annotations

from typing import NamedTuple


class Concept(NamedTuple):
    """A coded concept: code value, coding scheme and meaning."""

    value: str
    scheme: str
    meaning: str


PROCEDURE = Concept("268445003", "SCT", "Obstetric US scan")  # CID 12024
FETUS = Concept("121026", "DCM", "Fetus")  # CID 271

MEASUREMENTS = {
    "AC": Concept("11979-2", "LN", "Abdominal Circumference"),
    "HC": Concept("11984-2", "LN", "Head Circumference"),
    "FL": Concept("11963-6", "LN", "Femur Length"),
    "BPD": Concept("11820-8", "LN", "Biparietal Diameter"),
    "OFD": Concept("11851-3", "LN", "Occipital-Frontal Diameter"),
}
"""CID 12005, by the name in an assessment's record."""

AREA = Concept("42798000", "SCT", "Area")  # CID 7469
AGE = Concept("18185-9", "LN", "Gestational Age")  # CID 12019
AGE_BY_LAST_PERIOD = Concept("11885-1", "LN", "Gestational Age by LMP")  # CID 12019
WEIGHT = Concept("11727-5", "LN", "Estimated Weight")  # CID 12019
CENTILE = Concept("125012", "DCM", "Growth Percentile Rank")  # CID 12017
Z_SCORE = Concept("125013", "DCM", "Growth Z-score")  # CID 12017

EQUATION = Concept("121420", "DCM", "Equation")  # TID 315
CITATION = Concept("121421", "DCM", "Equation Citation")  # TID 315
UPPER_RANGE = Concept("371886008", "SCT", "+, range of upper measurement uncertainty")  # CID 225
LOWER_RANGE = Concept("371885007", "SCT", "-, range of lower measurement uncertainty")  # CID 225
COMMENT = Concept("121106", "DCM", "Comment")

EQUATIONS = {
    "Hadlock 1984 (AC)": Concept("11892-7", "LN", "AC, Hadlock 1984"),
    "Hadlock 1984 (HC)": Concept("11932-1", "LN", "HC, Hadlock 1984"),
    "Hadlock 1984 (FL)": Concept("11920-6", "LN", "FL, Hadlock 1984"),
    "Campbell 1975 (AC)": Concept("11756-4", "LN", "EFW by AC, Campbell 1975"),
    "Hadlock 1985 (AC, HC, FL)": Concept("11746-5", "LN", "EFW by AC, FL, HC, Hadlock 1985"),
}
"""By the name of a formula in ``fetaliqa.measure.fetal_growth``; the others are cited by that name."""

MILLIMETRE = Concept("mm", "UCUM", "millimeter")
SQUARE_MILLIMETRE = Concept("mm2", "UCUM", "square millimeter")
DAY = Concept("d", "UCUM", "day")
GRAM = Concept("g", "UCUM", "gram")
PERCENT = Concept("%", "UCUM", "Percent")
NO_UNITS = Concept("1", "UCUM", "no units")
