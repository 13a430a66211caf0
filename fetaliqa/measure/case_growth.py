"""Age, growth centile and weight of an assessed case, for its record. Not for clinical use.

An age from elsewhere is needed for a centile: an age that was estimated from the same circumference would make it
circular. Nothing here changes the assessment, so it is computed again whenever another age is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fetaliqa.errors import GrowthError
from fetaliqa.measure.fetal_growth import GestationalAge, estimated_age, estimated_weight, growth_centile

NOTICE = "not for clinical use"
CIRCUMFERENCES = ("AC", "HC")  # the measurements that the formulae here are for


def case_growth(measurement: Mapping[str, Any] | None, given: GestationalAge | None) -> dict[str, Any] | None:
    """``growth`` of an assessment's record (docs/assessment.md): values, each with its formula.

    Args:
        measurement: the record's ``measurement``, in mm; None without one.
        given: an age known from elsewhere, with its source; None for none.

    Returns:
        None without a measurement and without an age. A value outside of a formula's range is None, and a
        sentence in ``notes`` says why.

    Examples:
        >>> growth = case_growth({"name": "AC", "mm": 139.7}, GestationalAge.parse("19w0d", "--ga"))
        >>> growth["centile"]["percent"], growth["centile"]["formula"]
        (66.4, 'INTERGROWTH-21st 2014 (AC)')
    """
    if measurement is None and given is None:
        return None
    growth: dict[str, Any] = {
        "given_age": None if given is None else {"days": given.days, "source": given.source},
        "age": None,
        "centile": None,
        "weight": None,
        "notes": [],
        "notice": NOTICE,
    }
    if measurement is None:
        growth["notes"].append("no centile: the case has no measurement in mm")
    elif measurement["name"] in CIRCUMFERENCES:
        for add in (_add_age, _add_centile, _add_weight):
            try:
                add(growth, measurement["name"], float(measurement["mm"]), given)
            except GrowthError as problem:
                if (note := str(problem)) not in growth["notes"]:
                    growth["notes"].append(note)
    elif given is not None:
        growth["notes"].append(f"no age, centile or weight: no formula here is for {measurement['name']} alone")
    return growth


def _add_age(growth: dict[str, Any], name: Any, value_mm: float, given: GestationalAge | None) -> None:
    age = estimated_age(name, value_mm)
    growth["age"] = {"days": age.days, "formula": age.source}


def _add_centile(growth: dict[str, Any], name: Any, value_mm: float, given: GestationalAge | None) -> None:
    if given is not None:
        place = growth_centile(name, value_mm, given)
        growth["centile"] = {
            "percent": round(place.centile, 1),
            "z": round(place.z_score, 2),
            "formula": place.formula,
        }


def _add_weight(growth: dict[str, Any], name: Any, value_mm: float, given: GestationalAge | None) -> None:
    if name == "AC":
        weight = estimated_weight(value_mm)
        growth["weight"] = {"grams": round(weight.grams), "formula": weight.formula}
        if weight.note is not None:
            growth["notes"].append(f"weight {weight.note}")
