"""Gestational age, centile, weight and intervals on the page and on its report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app_harness import Server
from workplace import SWEEP, Workplace

from fetaliqa.labels.given_ages import GivenAges
from fetaliqa.measure.fetal_growth import GestationalAge, estimated_weight, growth_centile

AGE = GestationalAge(171)  # 24 w 3 d


def changed_assessment(page: Any, change: Callable[[dict[str, Any]], object]) -> None:
    """The server's assessments, changed on their way."""

    def on_assessment(route: Any) -> None:
        response = route.fetch()
        assessment = response.json()
        change(assessment)
        route.fulfill(response=response, json=assessment)

    page.route("**/case/assessment?*", on_assessment)


def test_an_age_is_given_once_and_places_the_circumference(workplace: Workplace, server: Server) -> None:
    page = workplace.page
    workplace.start("Gerda", "growth")
    workplace.open(SWEEP)
    workplace.go_to(5)
    growth = page.locator(".growth")
    growth.get_by_text("Hadlock 1984 (AC)").wait_for()
    assert growth.get_by_text("centile at").count() == 0  # of no given age
    weeks, days = page.get_by_label("Gestational age: weeks"), page.get_by_label("Gestational age: days")
    weeks.fill("46")
    weeks.press("Enter")
    growth.get_by_role("alert").get_by_text("Weeks are a whole number from 1 to 45.").wait_for()
    assert GivenAges(server.studies).get(SWEEP) is None
    weeks.fill("24")
    days.fill("3")
    days.press("Enter")
    workplace.said("Gestational age 24 w 3 d, kept with the case.")
    mm = float(page.locator(".ac b").inner_text())
    centile = round(growth_centile("AC", mm, AGE).centile)
    row = growth.locator("dl div", has_text="AC centile at 24 w 3 d")
    row.get_by_text("INTERGROWTH-21st 2014 (AC)").wait_for()
    assert row.locator("dd").inner_text().startswith(f"{centile} (z ")
    assert f"{estimated_weight(mm).grams:.0f} g" in growth.inner_text()

    workplace.start("Otto", "growth")  # somebody else, on another day
    workplace.open(SWEEP)
    page.get_by_text("given by Gerda; kept with the case").wait_for()
    assert (weeks.input_value(), days.input_value()) == ("24", "3")
    page.goto(f"{workplace.url}/#/report/{SWEEP}")
    report = page.locator(".report")
    report.get_by_text("INTERGROWTH-21st 2014 (AC)").wait_for()
    for text in ("24 w 3 d", "Hadlock 1984 (AC)", "Campbell 1975 (AC)", "Not for clinical use"):
        assert text in report.inner_text()
    workplace.open(SWEEP)
    weeks.fill("")
    days.fill("")
    growth.get_by_role("button", name="Save").click()
    workplace.said("The gestational age was removed.")
    growth.locator("dl div", has_text="AC centile").wait_for(state="detached")
    assert GivenAges(server.studies).get(SWEEP) is None


def test_an_interval_is_shown_where_the_record_has_one(workplace: Workplace) -> None:
    page = workplace.page
    measurement = {"name": "AC", "mm": 279.2, "interval_mm": [268.1, 290.4], "coverage": 0.9, "frames": [5, 6]}

    def with_interval(assessment: dict[str, Any]) -> None:
        assessment["measurement"] = {**measurement, "interval_absent": None}
        assessment["growth"] = {"given_age": {"days": 200, "source": "DICOM"}, "notes": []}
        assessment["frames"]["5"]["circumference_interval_mm"] = [205.2, 214.8]

    changed_assessment(page, with_interval)
    workplace.start("Ivo", "interval")
    workplace.open(SWEEP)
    workplace.go_to(5)
    page.locator(".measured").get_by_text("90 % interval 205 to 215 mm").wait_for()
    page.locator(".growth").get_by_text("AC 279 mm (90 % interval 268 to 290)").wait_for()
    page.locator(".growth").get_by_text("AC centile at 28 w 4 d").wait_for()  # the age is the file's
    page.goto(f"{workplace.url}/#/report/{SWEEP}")
    page.locator(".report").get_by_text("AC 279 mm (90 % interval 268 to 290)").wait_for()
    assert "from frames 5, 6" in page.locator(".report").inner_text()


def test_a_record_of_an_earlier_version_has_neither(workplace: Workplace) -> None:
    page = workplace.page

    def of_an_earlier_version(assessment: dict[str, Any]) -> None:
        del assessment["measurement"], assessment["growth"]
        for frame in assessment["frames"].values():
            frame.pop("circumference_interval_mm", None)

    changed_assessment(page, of_an_earlier_version)
    workplace.start("Eva", "earlier")
    workplace.open(SWEEP)
    workplace.go_to(5)
    page.locator(".growth").get_by_text("Hadlock 1984 (AC)").wait_for()
    assert "interval" not in page.locator(".case-panel").inner_text()
    page.goto(f"{workplace.url}/#/report/{SWEEP}")
    page.locator(".report").get_by_text("By the best frame's AC").wait_for()
