"""FetalIQA: annotation of blind-sweep fetal ultrasound, a scripted module of 3D Slicer.

This file connects the widgets, the workspace, the MRML scene and Slicer's views; ``FetalIQALib`` implements them
(docs/slicer.md).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import qt
import slicer
import vtk
from FetalIQALib import frame_navigation, slicer_app, translation
from FetalIQALib.click_tool import ClickTool, slice_views
from FetalIQALib.interactive_panel import InteractivePanel, add_buttons
from FetalIQALib.main_panel import MainPanel
from FetalIQALib.panel_sections import PanelSections
from FetalIQALib.send_panel import SendPanel
from FetalIQALib.sweep_scene import SweepScene
from FetalIQALib.workspace import Workspace
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

SAMPLE = "FetalIQAPhantom"  # frames 52 to 75 of a case of the repository's sample-data
SAMPLE_SHA256 = "34b38803c4c5d353d43e6a122f4dc4de97ad40e87d0db55817d44b300ab288fd"
# widget by name of the setting; the token is never stored
SETTINGS = {"address": "addressEdit", "rater": "raterEdit", "tag": "tagEdit", "folder": "folderEdit"}


class FetalIQA(ScriptedLoadableModule):
    """The module's description in Slicer's menus."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("FetalIQA")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Ultrasound")]
        parent.dependencies = ["Segmentations", "Sequences", "Plots"]
        parent.contributors = ["FetalIQA contributors"]
        parent.helpText = _(
            "Find, outline and measure the fetal abdomen in blind ultrasound sweeps, with a FetalIQA server. "
            "Not for clinical use."
        )
        parent.acknowledgementText = _("Built on MONAI Label; reads the file layout of the ACOUSLIC-AI challenge.")
        slicer.app.connect("startupCompleted()", register_sample_data)


def register_sample_data() -> None:
    """Register a synthetic sweep in the Sample Data module: a sequence, which this module can send."""
    folder = Path(__file__).resolve().parent
    sample = folder / "Resources" / "SampleData" / f"{SAMPLE}.seq.nrrd"
    if not sample.is_file():
        return
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="FetalIQA",
        sampleName=SAMPLE,
        thumbnailFileName=str(folder / "Resources" / "Icons" / "FetalIQA.png"),
        uris=sample.as_uri(),
        fileNames=sample.name,
        checksums=f"SHA256:{SAMPLE_SHA256}",
        nodeNames=SAMPLE,
        loadFileType="SequenceFile",
    )


class FetalIQAWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's widget."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: FetalIQALogic | None = None
        self.panel: MainPanel | None = None

    def setup(self) -> None:
        """Build the panel. Slicer calls this when the module is opened for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        translation.set_translator(lambda text: translate("FetalIQA", text))
        window = slicer.util.loadUI(self.resourcePath("UI/FetalIQA.ui"))
        self.layout.addWidget(window)
        window.setMRMLScene(slicer.mrmlScene)
        self.ui = slicer.util.childWidgetVariables(window)
        self.logic = FetalIQALogic()
        self.editor = slicer_app.SegmentEditor(self.ui.editorHolder, slicer.mrmlScene)
        add_buttons(self.ui)
        self.panel = MainPanel(
            self.ui, self.logic.workspace, self.logic.scene, slicer.util.mainWindow(), self.editor
        )
        self.sections = PanelSections(self.panel)
        self.plot = slicer_app.PlotView(self._on_plot_clicked)
        self.views = slicer_app.FrameViews(self._on_wheel)
        self.clicks = ClickTool(
            slicer.mrmlScene,
            self.logic.workspace.clicks,
            lambda: self.logic.scene.frames.volume,
            lambda: slice_views(lambda: self.logic.scene.frames.volume),
        )
        self.interactive = InteractivePanel(self.panel, self.clicks, self.editor)
        self._add_sending()
        self.logic.scene.loaded = self._case_loaded
        self.logic.scene.merged = lambda: self.editor.edit(self.logic.scene)
        self.ui.plotButton.clicked.connect(lambda *_checked: self._toggle_plot())
        self._read_settings()
        self.logic.workspace.session.add_listener(self._on_change)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self._on_scene_close)
        if (manager := slicer.app.layoutManager()) is not None:
            self.addObserver(slicer_app.layout_node(manager), vtk.vtkCommand.ModifiedEvent, self._on_layout)
        if slicer.util.selectedModule() == self.moduleName:
            self.enter()

    def enter(self) -> None:
        """Activate keys and editor. Slicer calls this when the user switches to the module."""
        if self.panel is not None and not self.panel.keys.installed:
            self.editor.enter()
            self.views.observe_wheel()
            self.panel.start()

    def exit(self) -> None:
        """Deactivate keys, wheel, timer and effects. Slicer calls this when the user leaves the module."""
        if self.panel is not None:
            self.panel.stop()
            self.interactive.stop()
            self.views.leave_wheel()
            self.editor.leave()

    def onReload(self) -> None:
        """*Reload*: also load ``FetalIQALib`` again. Slicer itself executes only this file again."""
        for name in [name for name in sys.modules if name.split(".")[0] == "FetalIQALib"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def cleanup(self) -> None:
        """Save the work, cancel requests and remove the nodes. Slicer calls this when the module is destroyed."""
        self.removeObservers()
        if self.panel is not None:
            self.panel.end()
            self.views.leave_wheel()
            self.plot.end()
            self.editor.end()
            self.logic.scene.clear()

    def _add_sending(self) -> None:
        window = slicer.util.loadUI(self.resourcePath("UI/SendFile.ui"))
        self.layout.addWidget(window)
        self.layout.addStretch(1)
        window.setMRMLScene(slicer.mrmlScene)
        self.sending = SendPanel(
            slicer.util.childWidgetVariables(window),
            self.logic.workspace,
            slicer.mrmlScene,
            lambda: getattr(slicer, "dicomDatabase", None),
            self.sections.folder,
        )

    # -- events of the scene and the views ----------------------------------------------------------

    def _case_loaded(self, new_case: bool) -> None:
        self.views.show(self.logic.scene, fit=new_case)
        self.editor.edit(self.logic.scene)

    def _on_layout(self, caller: Any, event: Any) -> None:
        qt.QTimer.singleShot(0, self._observe_wheel)  # when the views of the layout exist

    def _observe_wheel(self) -> None:
        if self.panel is not None and self.panel.keys.installed:
            self.views.observe_wheel()

    def _on_wheel(self, by: int) -> None:
        frame = frame_navigation.step_frame(self.logic.workspace.controller, by)
        if frame is not None:
            self.logic.workspace.controller.go_to(frame)

    def _toggle_plot(self) -> None:
        shown = self.plot.shown
        self.ui.plotButton.setChecked(not shown and self.logic.scene.plots.complete)
        if shown:
            self.plot.hide()
        elif not self.plot.show(self.logic.scene):
            self.logic.workspace.session.show_status(_("Nothing to plot: the case has not been assessed yet."))

    def _on_plot_clicked(self, point: int) -> None:
        frame = self.logic.scene.plots.frame_of(point)
        if frame is not None:
            self.logic.workspace.controller.go_to(frame)

    def _on_scene_close(self, caller: Any, event: Any) -> None:
        self.logic.scene.scene_closing()

    def _on_change(self, topic: str) -> None:
        if topic == "connection" and self.logic.workspace.session.online:
            settings = slicer.app.userSettings()
            for name, widget in SETTINGS.items():
                settings.setValue(f"FetalIQA/{name}", str(getattr(self.ui, widget).property("text") or ""))

    def _read_settings(self) -> None:
        settings = slicer.app.userSettings()
        for name, widget in SETTINGS.items():
            value = settings.value(f"FetalIQA/{name}")
            if value:
                getattr(self.ui, widget).setText(str(value))


class FetalIQALogic(ScriptedLoadableModuleLogic):
    """The workspace and its scene, also for scripts: ``logic.workspace.connect(...)`` and so on."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.workspace = Workspace(slicer_app.state_folder())
        self.scene = SweepScene(slicer.mrmlScene, slicer.modules.sequences.logic(), self.workspace.controller)
        self.scene.other_rater_mask = self.workspace.review.mask


class FetalIQATest(ScriptedLoadableModuleTest):
    """*Reload and Test*: a synthetic case is opened, labelled, scrolled through and saved; no server is needed."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Run all tests; called by Slicer."""
        self.setUp()
        self.test_scrolling_labels_nothing_and_undo_reverts_one_action()

    def test_scrolling_labels_nothing_and_undo_reverts_one_action(self) -> None:
        """Run the self-test on this Slicer's own nodes."""
        import tempfile

        from FetalIQALib import self_test

        with tempfile.TemporaryDirectory() as folder:
            report = self_test.run(slicer.mrmlScene, slicer.modules.sequences.logic(), Path(folder))
        slicer.mrmlScene.Clear()
        self.delayDisplay(report)
