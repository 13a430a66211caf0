"""The line of a femur in Slicer: measured as by the library, placed and dragged in the real scene."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.frame_masks import Mask
from FetalIQALib.journal import Journals
from FetalIQALib.line_measurement import Line, measure_line
from FetalIQALib.panel_text import label_line, measurement_line
from FetalIQALib.sweep_data import parse_assessment
from FetalIQALib.workspace import Workspace
from workspaces import SHAPE, a_sweep

from fetaliqa.measure import Line as LibraryLine
from fetaliqa.measure import draw_line, fit_line

SPACING = (0.31, 0.28)


def test_lines_are_drawn_and_measured_as_by_the_library() -> None:
    random = np.random.default_rng(3)
    for _ in range(40):
        line = Line.between(*map(tuple, random.uniform((30, 30), (370, 270), (2, 2))))
        mask = line.draw((300, 400))
        theirs = LibraryLine(line.x1, line.y1, line.x2, line.y2)
        assert np.array_equal(mask, draw_line(theirs, (300, 400)))
        ours, expected = measure_line(mask, SPACING), fit_line(mask, SPACING)
        if line.length < 40:
            assert (ours.line is None) == (expected.line is None)
        else:
            assert ours.circumference_mm == pytest.approx(expected.length_mm, abs=1e-6)
            assert vars(ours.line) == pytest.approx(vars(expected.line), abs=1e-6)
    assert measure_line(np.zeros((9, 9)), None).line is None


def femur(sweep):
    return replace(sweep, assessment=replace(sweep.assessment, measurement="FL", anatomy="femur", measured={}))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """An open case of a femur model, and its scene on real MRML, no server."""
    reason = "slicer-core cannot be imported: pip install -e '.[dev]'"
    pytest.importorskip("slicer", reason=reason, exc_type=ImportError)
    # not at the top: they import vtk
    from FetalIQALib.sweep_scene import SweepScene
    from slice_view import Mrml

    mrml, workspace = Mrml(), Workspace(tmp_path)
    workspace.journals = Journals(tmp_path, "http://none")
    scene = SweepScene(mrml.scene, mrml.sequences, workspace.controller)
    workspace.controller.annotation = CaseAnnotation(femur(a_sweep()), "anna")
    workspace.controller.position = 0
    workspace.session.notify("case")
    yield SimpleNamespace(
        scene=scene, controller=workspace.controller, annotation=workspace.controller.annotation, mrml=mrml
    )
    scene.clear()


def test_two_clicks_make_a_line_and_a_drag_moves_it(bench: SimpleNamespace) -> None:
    bench.controller.go_to(4)
    assert bench.scene.start_ellipse()
    tool = bench.scene.line_tool
    assert tool.node.IsA("vtkMRMLMarkupsLineNode")
    for x, y in ((20, 30), (60, 34)):
        tool.node.AddControlPointWorld(tool._to_world.MultiplyPoint((x, y, 0, 1))[:3])
    bench.scene.sync_from_scene()
    assert np.array_equal(bench.annotation.masks()[4].full(), Line(20, 30, 60, 34).draw(SHAPE))
    assert tool.active  # to be dragged
    tool.node.SetNthControlPointPositionWorld(1, tool._to_world.MultiplyPoint((66, 30, 0, 1))[:3])
    bench.scene.sync_from_scene()  # perhaps still moving
    assert np.array_equal(bench.annotation.masks()[4].full(), Line(20, 30, 60, 34).draw(SHAPE))
    bench.scene.sync_from_scene()
    assert np.array_equal(bench.annotation.masks()[4].full(), Line(20, 30, 66, 30).draw(SHAPE))
    bench.controller.go_to(5)
    assert not tool.active
    bench.controller.go_to(4)
    assert bench.scene.start_ellipse()  # with the line of the mask
    assert tool.node.GetNumberOfDefinedControlPoints() == 2
    assert tool._kept.x2 == pytest.approx(66, abs=0.7)


def test_texts_and_plot_name_the_femur_and_its_length(bench: SimpleNamespace) -> None:
    bench.annotation.mark_empty(0)
    assert label_line(bench.controller).startswith("Confirmed: no femur")
    assert measurement_line(bench.controller).startswith("FL – ")
    assert bench.scene.plots.chart.GetYAxisTitle() == "quality; FL / 100 mm"


def test_a_record_with_lengths_is_read() -> None:
    line = {"x1": 1.0, "y1": 2.0, "x2": 30.0, "y2": 4.0}
    frame = {"index": 0, "quality": 0.9, "line": line, "length_mm": 41.5, "circumference_mm": None}
    record = {"frames": [frame], "model": {"measurement": "FL", "anatomy": "femur"}, "sweeps": []}
    found = parse_assessment(record, {0: Mask.of(np.ones((3, 3), np.uint8))}, 1)
    assert found.is_line
    assert found.circumference_mm.tolist() == [41.5]
    assert found.measured[0].line == Line(1.0, 2.0, 30.0, 4.0)
    assert found.measured[0].circumference_mm == 41.5
