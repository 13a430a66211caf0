"""The gestational age of a case, and growth figures, over HTTP."""

from __future__ import annotations

import pytest
from app_harness import Server

from fetaliqa.labels.given_ages import GivenAges
from fetaliqa.measure.fetal_growth import GestationalAge, estimated_age, estimated_weight, growth_centile

V1 = "/fetaliqa/v1"
AGE = f"{V1}/case/age?image=case_b"


def test_an_age_is_given_read_and_removed(server: Server) -> None:
    assert server.raw("GET", AGE).json() == {"days": None, "user": None, "time": None}
    given = server.call("PUT", AGE, json={"days": 171, "rater": "Anna"})
    assert (given.status, given.json()["days"], given.json()["user"]) == (200, 171, "Anna")
    assert server.raw("GET", AGE).json() == given.json()
    stored = GivenAges(server.studies).get("case_b")
    assert stored is not None
    assert stored.days == 171
    assert server.call("PUT", AGE, json={"days": None}).json()["days"] is None
    assert server.raw("GET", AGE).json()["days"] is None


@pytest.mark.parametrize("body", [{}, {"days": "171"}, {"days": True}, {"days": 3}, {"days": 171, "rater": 5}])
def test_what_is_no_age_is_refused_with_one_sentence(server: Server, body: dict) -> None:
    refused = server.call("PUT", AGE, json=body)
    assert refused.status == 400
    assert len(refused.detail.splitlines()) == 1
    assert server.raw("GET", AGE).json()["days"] is None
    assert server.call("PUT", f"{V1}/case/age?image=nobody", json={"days": 171}).status == 404
    assert server.raw("GET", f"{V1}/case/age?image=nobody").status == 404


def test_figures_are_those_of_the_library_and_a_centile_needs_a_given_age(server: Server) -> None:
    without = server.raw("GET", f"{V1}/growth?measurement=AC&mm=209.8").json()
    assert without["centile"] is None
    assert without["age"]["days"] == estimated_age("AC", 209.8).days
    assert without["weight"] == {
        "grams": round(estimated_weight(209.8).grams),
        "formula": estimated_weight(209.8).formula,
    }
    at_age = server.raw("GET", f"{V1}/growth?measurement=AC&mm=209.8&days=171").json()
    place = growth_centile("AC", 209.8, GestationalAge(171))
    assert at_age["centile"]["percent"] == round(place.centile, 1)
    assert at_age["centile"]["formula"] == place.formula
    head = server.raw("GET", f"{V1}/growth?measurement=HC&mm=240&days=171").json()
    assert (head["weight"], head["centile"]["formula"]) == (None, "INTERGROWTH-21st 2014 (HC)")
    outside = server.raw("GET", f"{V1}/growth?measurement=AC&mm=209.8&days=290").json()
    assert outside["centile"] is None
    assert any("charts" in note for note in outside["notes"])


@pytest.mark.parametrize(
    "query", ["measurement=BPD&mm=50", "measurement=AC", "measurement=AC&mm=nan", "measurement=AC&mm=-1"]
)
def test_what_cannot_be_measured_is_refused(server: Server, query: str) -> None:
    assert server.raw("GET", f"{V1}/growth?{query}").status in (400, 422)


def test_the_age_goes_with_its_image(server: Server) -> None:
    file = server.images / "case_b.mha"
    put = "/datastore/image?image=aged"
    assert server.call("PUT", put, files={"file": ("aged.mha", file.read_bytes())}).status == 200
    server.call("PUT", f"{V1}/case/age?image=aged", json={"days": 171})
    assert server.call("DELETE", "/datastore/image?id=aged").status == 200
    assert GivenAges(server.studies).get("aged") is None
