"""Plot of quality and circumference by frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from vtk.util import numpy_support

from FetalIQALib import display_colours
from FetalIQALib.image_sequence import mark_owned
from FetalIQALib.translation import _

FRAME, QUALITY, AC, CURRENT = "frame", "quality", "AC", "current"
AC_SCALE_MM = 400.0  # plotted as 1, so that both curves share an axis from 0 to 1; an AC at term is about 350 mm


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

    def load(self, quality: np.ndarray, circumference_mm: np.ndarray) -> None:
        """Plot the curves, float [T] each; nan is not drawn."""
        self.remove()
        count = len(quality)
        self.table = mark_owned(self.scene.AddNewNodeByClass("vtkMRMLTableNode", _("FetalIQA frames")))
        self._column(self.table, FRAME, np.arange(count, dtype=float))
        self._column(self.table, QUALITY, quality)
        self._column(self.table, AC, circumference_mm / AC_SCALE_MM)
        self._position = mark_owned(self.scene.AddNewNodeByClass("vtkMRMLTableNode", _("FetalIQA current frame")))
        self._column(self._position, FRAME, np.array([0.0, 0.0]))
        self._column(self._position, CURRENT, np.array([0.0, 1.0]))
        self.chart = mark_owned(self.scene.AddNewNodeByClass("vtkMRMLPlotChartNode", _("FetalIQA")))
        self.chart.SetXAxisTitle(_("frame"))
        self.chart.SetYAxisTitle(_("quality; AC / {scale} mm").format(scale=int(AC_SCALE_MM)))
        self.chart.SetTitleVisibility(False)
        self._curve(self.table, QUALITY, _("quality"), display_colours.PROPOSAL)
        self._curve(self.table, AC, _("AC"), display_colours.HUMAN)
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
