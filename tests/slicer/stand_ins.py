"""Stand-ins for the half of Slicer that slicer-core lacks: PythonQt's ``qt``, ctk, qMRML widgets, ``slicer.app``.

Real Qt (PySide6, offscreen) under our own few classes, real MRML under ``slicer``. What these pass says nothing
about PythonQt; it says that the window's wiring and keys do what they should.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

DIRECT = QtCore.Qt.FindChildOption.FindDirectChildrenOnly
HEADER_HEIGHT = 49  # of a real ctkCollapsibleButton
MODULE = Path(__file__).resolve().parents[2] / "slicer_module" / "FetalIQA"


class ctkCollapsibleButton(QtWidgets.QWidget):
    """A button across the width, as high as the real one, above its content; with ``text`` and ``collapsed``."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._collapsed = False
        self._text = ""
        self._hidden: list[QtWidgets.QWidget] = []
        self.setContentsMargins(0, HEADER_HEIGHT, 0, 0)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width(), HEADER_HEIGHT)
        option.text = f"{'▸' if self._collapsed else '▾'}  {self._text}"
        painter = QtWidgets.QStylePainter(self)
        painter.drawControl(QtWidgets.QStyle.ControlElement.CE_PushButton, option)

    def _hide(self) -> None:
        if self._collapsed:
            children = self.findChildren(QtWidgets.QWidget, options=DIRECT)
            self._hidden = [child for child in children if not child.isHidden()]
        for child in self._hidden:  # what somebody else hid stays hidden
            child.setVisible(not self._collapsed)
        self.setMinimumHeight(HEADER_HEIGHT)
        self.setMaximumHeight(HEADER_HEIGHT if self._collapsed else 16777215)

    def _get_collapsed(self) -> bool:
        return self._collapsed

    def _set_collapsed(self, collapsed: bool) -> None:
        if self._collapsed != bool(collapsed):
            self._collapsed = bool(collapsed)
            self._hide()

    def _get_text(self) -> str:
        return self._text

    def _set_text(self, text: str) -> None:
        self._text = text

    collapsed = QtCore.Property(bool, _get_collapsed, _set_collapsed)
    text = QtCore.Property(str, _get_text, _set_text)


class qMRMLWidget(QtWidgets.QWidget):
    """A widget with a scene."""

    def setMRMLScene(self, scene: Any) -> None:
        self.scene = scene


def segment_editor_shortcuts() -> list[QtGui.QKeySequence]:
    """Keys of qMRMLSegmentEditorWidget::installKeyboardShortcuts (Slicer 5.8 to 5.12); needs an application."""
    key, standard = QtCore.Qt.Key, QtGui.QKeySequence.StandardKey
    keys = (
        *(key.Key_Escape, key.Key_Space, key.Key_Z, standard.Undo, key.Key_Y, standard.Redo, key.Key_I),
        *(key.Key_Q, key.Key_W, key.Key_Slash, key.Key_Asterisk),
        *(key.Key_Comma, key.Key_Period, key.Key_Greater, key.Key_Less),
    )
    digits = [f"{shift}{digit}" for shift in ("", "Shift+") for digit in range(10)]
    return [QtGui.QKeySequence(one) for one in (*digits, *keys)]


class SegmentEditorWidget(QtWidgets.QWidget):
    """qMRMLSegmentEditorWidget: records the values that were set, and has the real one's shortcuts."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[str, Any] = {}
        self.shortcuts: list[QtGui.QShortcut] = []
        self.unorderedEffectsVisible = True
        self.effect: Any = None
        QtWidgets.QVBoxLayout(self).addWidget(QtWidgets.QLabel("(Slicer's Segment Editor)"))

    def installKeyboardShortcuts(self) -> None:
        import slicer

        window = slicer.util.mainWindow()
        self.shortcuts = [QtGui.QShortcut(key, window) for key in segment_editor_shortcuts()]

    def uninstallKeyboardShortcuts(self) -> None:
        self.told["uninstallKeyboardShortcuts"] = True
        for shortcut in self.shortcuts:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
        self.shortcuts = []

    def setActiveEffectByName(self, name: str) -> None:
        self.told["setActiveEffectByName"] = name
        self.effect = types.SimpleNamespace(name=name)

    def setActiveEffect(self, effect: Any) -> None:
        self.told["setActiveEffect"] = self.effect = effect

    def activeEffect(self) -> Any:
        return self.effect

    def __getattr__(self, name: str) -> Any:
        if not name.startswith(("set", "remove")):
            raise AttributeError(name)

        def remember(*values: Any) -> None:
            self.told[name] = values[0] if values else True

        return remember


class SliceWidget:
    """qMRMLSliceWidget: real interactor and real composite node, no widget."""

    def __init__(self, scene: Any, name: str) -> None:
        import slicer
        import vtk

        self._interactor = vtk.vtkRenderWindowInteractor()
        self._composite = slicer.vtkMRMLSliceCompositeNode()
        self._composite.SetLayoutName(name)
        scene.AddNode(self._composite)
        self._slice = slicer.vtkMRMLSliceNode()
        self._slice.SetLayoutName(name)
        scene.AddNode(self._slice)

    def sliceView(self) -> SliceWidget:
        return self

    def interactor(self) -> Any:
        return self._interactor

    def mrmlSliceCompositeNode(self) -> Any:
        return self._composite

    def mrmlSliceNode(self) -> Any:
        return self._slice


class PlotWidget:
    """qMRMLPlotWidget and its view, which outlive a reload of the module."""

    def __init__(self) -> None:
        import slicer

        self.slots: list[Any] = []
        self.node = slicer.vtkMRMLPlotViewNode()

    def plotView(self) -> PlotWidget:
        return self

    def mrmlPlotViewNode(self) -> Any:
        return self.node

    def connect(self, signal: str, slot: Any) -> None:
        self.slots.append(slot)

    def disconnect(self, signal: str, slot: Any) -> None:
        self.slots.remove(slot)

    def click(self, point: int) -> None:
        import vtk

        points, ids = vtk.vtkCollection(), vtk.vtkIdTypeArray()
        ids.InsertNextValue(point)
        points.AddItem(ids)
        for slot in list(self.slots):
            slot(None, points)


class LayoutManager:
    """slicer.app.layoutManager(): the real layout logic and node, two slice views, a plot."""

    def __init__(self, scene: Any) -> None:
        import slicer

        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLScene(scene)
        self.plot = PlotWidget()
        self.slices = {name: SliceWidget(scene, name) for name in ("Red", "Yellow")}

    @property
    def layout(self) -> int:
        return self._logic.GetLayoutNode().GetViewArrangement()

    def layoutLogic(self) -> Any:
        return self._logic

    def setLayout(self, layout: int) -> None:
        self._logic.GetLayoutNode().SetViewArrangement(layout)

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self.slices)

    def sliceWidget(self, name: str) -> SliceWidget:
        return self.slices[name]

    def plotWidget(self, number: int) -> PlotWidget:
        return self.plot


class Application:
    """slicer.app."""

    def __init__(self, folder: Path, scene: Any) -> None:
        self.slicerUserSettingsFilePath = str(folder / "Slicer.ini")
        self.manager = LayoutManager(scene)

    def layoutManager(self) -> LayoutManager:
        return self.manager

    def userSettings(self) -> QtCore.QSettings:
        return QtCore.QSettings(self.slicerUserSettingsFilePath, QtCore.QSettings.Format.IniFormat)

    def connect(self, signal: str, slot: Any) -> None:
        self.started = slot


class _Module:
    def __init__(self, parent: Any) -> None:
        self.parent = parent


class _Widget:
    moduleName = "FetalIQA"

    def __init__(self, parent: Any = None) -> None:
        self.parent = parent
        self.layout = parent.layout()

    def setup(self) -> None:
        pass

    def onReload(self) -> None:
        """slicer.util.reloadScriptedModule: the module's own file is executed again."""
        self.cleanup()
        sys.modules.pop("FetalIQA", None)
        importlib.import_module("FetalIQA")

    def resourcePath(self, name: str) -> str:
        return str(MODULE / "Resources" / name)


class _Logic:
    pass


class _Test:
    told = ""

    def delayDisplay(self, text: str) -> None:
        self.told = text


class _Observations:
    def __init__(self) -> None:
        self._observed: list[tuple[Any, int]] = []

    def addObserver(self, caller: Any, event: int, method: Any) -> None:
        self._observed.append((caller, caller.AddObserver(event, method)))

    def removeObservers(self) -> None:
        for caller, tag in self._observed:
            caller.RemoveObserver(tag)
        self._observed = []


def theme(name: str) -> QtGui.QPalette:
    """A palette like that of Slicer's light or dark style."""
    roles, light = QtGui.QPalette.ColorRole, name == "light"
    palette = QtGui.QPalette()
    for role, colours in {
        roles.Window: ("#efefef", "#323232"),
        roles.WindowText: ("#000000", "#ffffff"),
        roles.Base: ("#ffffff", "#3c3c3c"),
        roles.AlternateBase: ("#f7f7f7", "#464646"),
        roles.Text: ("#000000", "#ffffff"),
        roles.PlaceholderText: ("#6a6a6a", "#b4b4b4"),
        roles.Button: ("#efefef", "#454545"),
        roles.ButtonText: ("#000000", "#ffffff"),
        roles.Mid: ("#b8b8b8", "#6e6e6e"),
        roles.Highlight: ("#308cc6", "#2a82da"),
        roles.HighlightedText: ("#ffffff", "#ffffff"),
        roles.ToolTipBase: ("#ffffdc", "#323232"),
        roles.ToolTipText: ("#000000", "#ffffff"),
    }.items():
        palette.setColor(role, QtGui.QColor(colours[0 if light else 1]))
    return palette


def load_ui(path: str) -> Any:
    """slicer.util.loadUI."""
    loader = QtUiTools.QUiLoader()
    for widget in (ctkCollapsibleButton, qMRMLWidget):  # the loader goes by the names of the classes
        loader.registerCustomWidget(widget)
    return loader.load(path)


def child_variables(window: Any) -> Any:
    """slicer.util.childWidgetVariables."""
    named = {child.objectName(): child for child in window.findChildren(QtCore.QObject) if child.objectName()}
    return types.SimpleNamespace(**named)


def _qt(name: str) -> Any:
    """PythonQt has all of Qt in one module."""
    for module in (QtCore, QtGui, QtWidgets):
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(name)


class FakeSlicer:
    """The missing half, in place: ``slicer.app``, ``slicer.util.loadUI`` and so on.

    Args:
        mrml: scene and logics.
        folder: of settings and saved work.
    """

    def __init__(self, mrml: Any, folder: Path) -> None:
        import slicer

        self.application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"])
        self.window = QtWidgets.QMainWindow()
        self.holder = QtWidgets.QWidget()
        QtWidgets.QVBoxLayout(self.holder).setContentsMargins(0, 0, 0, 0)
        scroll = QtWidgets.QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setWidget(self.holder)
        self.scroll = scroll
        self.window.setCentralWidget(scroll)
        slicer.app = Application(folder, mrml.scene)
        slicer.mrmlScene = mrml.scene
        slicer.qMRMLSegmentEditorWidget = SegmentEditorWidget
        slicer.modules = types.SimpleNamespace(
            sequences=types.SimpleNamespace(logic=lambda: mrml.sequences),
        )
        self.layers: dict[str, Any] = {}
        slicer.util.loadUI = load_ui
        slicer.util.childWidgetVariables = child_variables
        slicer.util.mainWindow = lambda: self.window
        slicer.util.selectedModule = lambda: ""
        slicer.util.setSliceViewerLayers = self._set_layers
        slicer.util.VTKObservationMixin = _Observations
        for name, values in (
            ("qt", {"__getattr__": _qt}),
            (
                "slicer.ScriptedLoadableModule",
                {
                    "ScriptedLoadableModule": _Module,
                    "ScriptedLoadableModuleWidget": _Widget,
                    "ScriptedLoadableModuleLogic": _Logic,
                    "ScriptedLoadableModuleTest": _Test,
                },
            ),
            ("slicer.i18n", {"tr": str, "translate": lambda context, text: text}),
        ):
            module = types.ModuleType(name)
            module.__dict__.update(values)
            sys.modules[name] = module

    def _set_layers(self, **layers: Any) -> None:
        import slicer

        self.layers.update(layers)
        for widget in slicer.app.manager.slices.values():
            widget.mrmlSliceCompositeNode().SetBackgroundVolumeID(layers["background"].GetID())

    def process(self) -> None:
        """Let Qt deliver its events."""
        self.application.processEvents()
