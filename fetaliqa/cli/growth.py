"""``fetaliqa growth``: gestational age, growth centile and estimated weight of given measurements."""

from __future__ import annotations

import argparse
import json
from typing import Any

from fetaliqa.measure.fetal_growth import (
    GestationalAge,
    centile_words,
    estimated_age,
    estimated_weight,
    growth_centile,
)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ac", type=float, metavar="MM", help="abdominal circumference in mm")
    parser.add_argument("--hc", type=float, metavar="MM", help="head circumference in mm")
    parser.add_argument("--fl", type=float, metavar="MM", help="femur length in mm, for the weight")
    parser.add_argument(
        "--ga", metavar="AGE", help="gestational age by dates or an earlier scan, such as 24w3d or 24+3"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    report = growth_report(args.ac, args.hc, args.fl, args.ga)
    if args.json:
        print(json.dumps(report))
        return 0
    print("not for clinical use")
    for line in _lines(report):
        print(line)
    return 0


def growth_report(
    ac_mm: float | None, hc_mm: float | None, fl_mm: float | None, age_text: str | None
) -> dict[str, Any]:
    """Ages, centiles and weight of the given measurements, each with its formula.

    Args:
        ac_mm, hc_mm, fl_mm: measurements in mm.
        age_text: a given age, such as ``24w3d``.

    Raises:
        GrowthError: for a value outside of a formula's range, or no circumference.
    """
    from fetaliqa.errors import GrowthError

    circumferences = {name: value for name, value in (("AC", ac_mm), ("HC", hc_mm)) if value is not None}
    if not circumferences:
        raise GrowthError("no circumference is given; give --ac, --hc, or both, in mm")
    given = None if age_text is None else GestationalAge.parse(age_text)
    report: dict[str, Any] = {"ages": [], "centiles": [], "weight": None}
    for name, value in circumferences.items():
        if given is not None:
            place = growth_centile(name, value, given)  # type: ignore[arg-type]
            report["centiles"].append(
                {
                    "measurement": name,
                    "mm": value,
                    "age": str(given),
                    "centile": round(place.centile, 1),
                    "z_score": round(place.z_score, 2),
                    "formula": place.formula,
                }
            )
        age = estimated_age(name, value)  # type: ignore[arg-type]
        report["ages"].append(
            {"measurement": name, "mm": value, "age": str(age), "days": age.days, "formula": age.source}
        )
    if ac_mm is not None:
        weight = estimated_weight(ac_mm, hc_mm, fl_mm)
        report["weight"] = {"grams": round(weight.grams), "formula": weight.formula, "note": weight.note}
    return report


def _lines(report: dict[str, Any]) -> list[str]:
    lines = [f"age by {row['formula']}: {row['age']}" for row in report["ages"]]
    lines += [
        f"centile of {row['measurement']} {row['mm']:g} mm at {row['age']}: {centile_words(row['centile'])} "
        f"(z {row['z_score']:+.2f}), {row['formula']}"
        for row in report["centiles"]
    ]
    if report["weight"]:
        weight = report["weight"]
        lines.append(f"estimated weight by {weight['formula']}: {weight['grams']} g")
        if weight["note"]:
            lines.append(f"  note: {weight['note']}")
    return lines
