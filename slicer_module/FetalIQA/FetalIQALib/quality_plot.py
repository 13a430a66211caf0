"""Plot of quality and size by frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from vtk.util import numpy_support

from FetalIQALib import display_colours
from FetalIQALib.image_sequence import mark_owned
from FetalIQALib.sweep_data import Assessment
from FetalIQALib.translation import _

FRAME, QUALITY, CURRENT = "frame", "quality", "current"
# Plotted as 1, so that both curves share an axis from 0 to 1: at term an AC is about 350 mm, a femur 75 mm.
CIRCUMFERENCE_SCALE_MM, LENGTH_SCALE_MM = 400.0, 100.0


class QualityPlot:
    """A chart with two curves and a marker at the current frame.

    Args:
        scene: MRML scene.
    """

    def __init__(self, scene: Any) -> None:
        self.scene = scene
        self.table: Any = None
        self.chart: Any = None
        self._series: list[Any] = []
        self._position: Any = None

    def load(self, assessment: Assessment) -> None:
        """Plot quality and size of all frames; nan is not drawn."""
        self.remove()
        count, name = len(assessment.quality), assessment.measurement
        scale = LENGTH_SCALE_MM if assessment.is_line else CIRCUMFERENCE_SCALE_MM
        self.table = mark_owned(self.scene.AddNewNodeByClass("vtkMRMLTableNode", _("FetalIQA frames")))
        self._column(self.table, FRAME, np.arange(count, dtype=float))
        self._column(self.table, QUALITY, assessment.quality)
        self._column(self.table, name, assessment.circumference_mm / scale)
        self._position = mark_owned(self.scene.AddNewNodeByClass("vtkMRMLTableNode", _("FetalIQA current frame")))
        self._column(self._position, FRAME, np.array([0.0, 0.0]))
        self._column(self._position, CURRENT, np.array([0.0, 1.0]))
        self.chart = mark_owned(self.scene.AddNewNodeByClass("vtkMRMLPlotChartNode", _("FetalIQA")))
        self.chart.SetXAxisTitle(_("frame"))
        self.chart.SetYAxisTitle(_("quality; {name} / {scale} mm").format(name=name, scale=int(scale)))
        self.chart.SetTitleVisibility(False)
        self._curve(self.table, QUALITY, _("quality"), display_colours.PROPOSAL)
        self._curve(self.table, name, name, display_colours.HUMAN)
        self._curve(self._position, CURRENT, _("current frame"), display_colours.OTHER)

    @property
    def complete(self) -> bool:
        """Whether the chart and its tables are still in the scene."""
        nodes = (self.table, self.chart, self._position)
        return all(node is not None and node.GetScene() is self.scene for node in nodes)

    def show(self, frame: int) -> None:
        """Move the marker to a frame."""
        if self.complete:
            column = self._position.GetTable().GetColumn(0)
            for row in range(2):
                column.SetValue(row, float(frame))
            column.Modified()
            self._position.GetTable().Modified()
            self._position.Modified()

    def frame_of(self, point: int) -> int | None:
        """The frame of a clicked point; None if it is not a frame."""
        return point if self.complete and 0 <= point < self.table.GetNumberOfRows() else None

    def remove(self) -> None:
        """Remove the nodes from the scene."""
        for node in (self.chart, *self._series, self.table, self._position):
            if node is not None and node.GetScene() is self.scene:
                self.scene.RemoveNode(node)
        self.table = self.chart = self._position = None
        self._series = []

    def _curve(self, table: Any, column: str, name: str, colour: tuple[int, int, int]) -> None:
        series = mark_owned(self.scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name))
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetPlotType(series.PlotTypeScatter)
        series.SetXColumnName(FRAME)
        series.SetYColumnName(column)
        series.SetMarkerStyle(series.MarkerStyleNone)
        series.SetColor(*display_colours.unit_rgb(colour))
        self._series.append(series)
        self.chart.AddAndObservePlotSeriesNodeID(series.GetID())

    @staticmethod
    def _column(table: Any, name: str, values: np.ndarray) -> None:
        array = numpy_support.numpy_to_vtk(
            np.ascontiguousarray(values, float), deep=True, array_type=vtk.VTK_DOUBLE
        )
        array.SetName(name)
        table.AddColumn(array)
