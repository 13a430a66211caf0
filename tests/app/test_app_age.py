"""The gestational age of an inference request."""

from __future__ import annotations

from pathlib import Path

import pytest

from monailabel_app.lib.http.refusal import Refused
from monailabel_app.lib.tasks.inference_request import InferenceRequest


def test_a_request_may_give_the_age_and_its_options_stay_the_same() -> None:
    with_age = InferenceRequest.of({"gestational_age": "24w3d", "top_n": 3}, Path("case.mha"))
    without = InferenceRequest.of({"top_n": 3}, Path("case.mha"))
    assert with_age.age is not None
    assert (with_age.age.days, with_age.age.source) == (171, "request")
    assert without.age is None
    assert with_age.options == without.options  # so that the cached assessment serves both


@pytest.mark.parametrize("age", ["60w", "soon", 24, ["24w"]])
def test_an_age_that_is_not_understood_is_refused(age: object) -> None:
    with pytest.raises(Refused, match="gestational age"):
        InferenceRequest.of({"gestational_age": age}, Path("case.mha"))
