"""Outlines between two outlined frames: those of the Slicer module, proposals until somebody accepts them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from app_harness import Server
from workplace import SWEEP, Workplace

from fetaliqa.measure import Ellipse, draw_ellipse
from monailabel_app.lib.browser.mask_runs import mask_of_runs, runs_of

SHAPE = (96, 128)
IN_THE_PAGE = """async ({ masks, padding, empty, quality, at }) => {
  const { Annotation, NO_LABEL } = await import('/web/app/annotation.js');
  const { interpolate } = await import('/web/app/interpolation.js');
  const annotation = new Annotation('Ina', () => null, (number) => padding.includes(number));
  for (const [key, mask] of Object.entries(masks)) annotation.correct(Number(key), mask);
  for (const number of empty) annotation.markEmpty(number);
  const assessment = { frames: {}, estimatedSet: new Set(), quality };
  const work = {
    sweeps: [[0, quality.length]], count: quality.length, assessment,
    sweepOf: () => 0, isPadding: (number) => padding.includes(number),
  };
  const message = interpolate(work, annotation, at);
  const pending = [...annotation.frames].filter(([, one]) => one.pending && one.state === 'untouched');
  return { message, pending: Object.fromEntries(pending.map(([number, one]) => [number, one.pending])) };
}"""


def drawn(ellipse: Ellipse, bite: int = 0) -> np.ndarray:
    """An ellipse, of which a corner is cut away."""
    mask = draw_ellipse(ellipse, SHAPE).astype(np.uint8)
    mask[: int(ellipse.center_y) - 8, : int(ellipse.center_x) - bite] = 0 if bite else 1
    return mask * draw_ellipse(ellipse, SHAPE).astype(np.uint8)


def test_the_masks_are_those_of_the_slicer_module(workplace: Workplace) -> None:
    from FetalIQALib import interpolation
    from FetalIQALib.frame_annotations import ANNOTATED, EMPTY, FrameAnnotation
    from FetalIQALib.frame_masks import Mask

    masks = {
        2: drawn(Ellipse(40.0, 50.0, 25.0, 18.0, 170.0)),
        12: drawn(Ellipse(80.5, 44.2, 30.0, 21.0, 12.0), bite=6),
    }
    quality = [0.9] * 16
    quality[7:9] = [0.02, 0.03]  # two frames in which the model finds nothing
    expected_frames = {number: FrameAnnotation(ANNOTATED, Mask.of(mask)) for number, mask in masks.items()}
    expected_frames[4] = FrameAnnotation(EMPTY)
    assessment = SimpleNamespace(assessed_quality=lambda number: quality[number])
    padding = np.arange(16) == 10
    sweep: Any = SimpleNamespace(
        padding=padding,
        assessment=assessment,
        count=16,
        proposal=lambda number: None,
        ranges=((0, 16),),
        anatomy="abdomen",
    )
    expected = interpolation.interpolate(sweep, expected_frames, 2, 12)
    assert sorted(expected.masks) == [3, 11]

    workplace.start()
    request = {
        "masks": {str(number): runs_of(mask) for number, mask in masks.items()},
        "padding": [10],
        "empty": [4],
        "quality": quality,
        "at": 6,
    }
    found = workplace.page.evaluate(IN_THE_PAGE, request)
    assert found["message"] == (
        "2 outlines proposed between frames 2 and 12; accept each with D. Frames 4 to 10 were skipped: no abdomen."
    )
    again = workplace.page.evaluate(IN_THE_PAGE, {**request, "empty": [], "padding": [], "quality": [0.9] * 16})
    sweep.padding, quality[7:9] = np.zeros(16, bool), [0.9, 0.9]
    del expected_frames[4]
    complete = interpolation.interpolate(sweep, expected_frames, 2, 12)
    assert sorted(map(int, again["pending"])) == sorted(complete.masks) == list(range(3, 12))
    for answer, result in ((found, expected), (again, complete)):
        for number, proposal in result.masks.items():
            entry = answer["pending"][str(number)]
            mask = mask_of_runs(entry["mask"], SHAPE, "it")
            assert np.count_nonzero(mask != proposal.mask.full()) <= 2, number  # rounding at the very edge
            assert (entry["model"], entry["version"]) == (proposal.model, proposal.version)


def test_a_gap_is_filled_with_proposals_that_are_accepted_one_by_one(workplace: Workplace, server: Server) -> None:
    workplace.start("Inge", "between")
    workplace.open(SWEEP)
    page = workplace.page
    workplace.go_to(5)
    workplace.press("m")
    workplace.said("Outline a frame before and a frame after this one")
    workplace.go_to(4)
    workplace.press("d")
    workplace.go_to(7)
    workplace.press("d", "PageUp")
    page.get_by_role("button", name="Interpolate 4–7").click()
    workplace.said("2 outlines proposed between frames 4 and 7; accept each with D.")
    page.get_by_text("Not labelled; interpolated outline").wait_for()
    workplace.counted("2 outlined")
    workplace.press("d")
    workplace.counted("3 outlined")
    workplace.submit(1)
    saved = server.raw("GET", f"/fetaliqa/v1/label?image={SWEEP}&tag=between").json()
    entries = saved["frame_record"]["frames"]
    assert sorted(entries) == sorted(saved["masks"]) == ["4", "6", "7"]  # 5 was proposed, and not accepted
    assert (entries["6"]["model"], entries["6"]["rater"]) == ("interpolation", "Inge")
    workplace.press("u", "u")
    workplace.counted("2 outlined")
    assert page.get_by_role("button", name="Interpolate 4–7").is_visible()
