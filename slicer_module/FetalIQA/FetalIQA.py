"""FetalIQA: an annotator's workplace for blind-sweep fetal ultrasound, as a module of 3D Slicer.

This file only connects the widgets with the workplace, that with the scene, and the scene with Slicer's views.
What each of them does is in ``FetalIQALib`` (docs/slicer.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from FetalIQALib import slicer_app, texts
from FetalIQALib.panel import Panel
from FetalIQALib.scene import SweepScene
from FetalIQALib.sections import Sections
from FetalIQALib.workplace import Workplace
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

SAMPLE = "5cb3b4e9-bd03-43ef-851b-aa207eec56ca"
SAMPLE_SHA256 = "8453824ad4ce7361e66c1cf2f2c950831b3e61718fdaa10056de73867a933361"
# field of the window by name of the setting; the token is never stored
SETTINGS = {"address": "addressEdit", "rater": "raterEdit", "tag": "tagEdit", "folder": "folderEdit"}


class FetalIQA(ScriptedLoadableModule):
    """What Slicer shows of the module in its menus."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("FetalIQA")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Ultrasound")]
        parent.dependencies = ["Segmentations", "Sequences", "Plots"]
        parent.contributors = ["The FetalIQA authors"]
        parent.helpText = _(
            "Find, outline and measure the fetal abdomen in blind ultrasound sweeps, with a FetalIQA server. "
            "Not for clinical use."
        )
        parent.acknowledgementText = _("Builds on MONAI Label and the ACOUSLIC-AI challenge's file layout.")
        slicer.app.connect("startupCompleted()", register_sample_data)


def register_sample_data() -> None:
    """Offer a synthetic case (no patient) in Slicer's Sample Data module, when the project's folder is at hand."""
    folder = Path(__file__).resolve().parent
    sample = folder.parents[1] / "sample-data" / "images" / "stacked_fetal_ultrasound" / f"{SAMPLE}.mha"
    if not sample.is_file():
        return
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="FetalIQA",
        sampleName="FetalIQAPhantom",
        thumbnailFileName=str(folder / "Resources" / "Icons" / "FetalIQA.png"),
        uris=sample.as_uri(),
        fileNames=f"{SAMPLE}.mha",
        checksums=f"SHA256:{SAMPLE_SHA256}",
        nodeNames="FetalIQAPhantom",
    )


class FetalIQAWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's window."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: FetalIQALogic | None = None
        self.panel: Panel | None = None

    def setup(self) -> None:
        """Slicer calls this once, when the module is opened for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        texts.set_translator(lambda text: translate("FetalIQA", text))
        window = slicer.util.loadUI(self.resourcePath("UI/FetalIQA.ui"))
        self.layout.addWidget(window)
        window.setMRMLScene(slicer.mrmlScene)
        self.ui = slicer.util.childWidgetVariables(window)
        self.logic = FetalIQALogic()
        self.editor = slicer_app.Editor(self.ui.editorHolder, slicer.mrmlScene)
        self.panel = Panel(self.ui, self.logic.place, self.logic.scene, slicer.util.mainWindow())
        self.sections = Sections(self.panel)
        self.plot = slicer_app.PlotView(self._plot_clicked)
        self.logic.scene.loaded = self._case_loaded
        self.ui.plotButton.clicked.connect(lambda *_checked: self._show_plot())
        self._read_settings()
        self.logic.place.hub.listen(self._heard)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self._scene_closes)
        if slicer.util.selectedModule() == self.moduleName:
            self.enter()

    def enter(self) -> None:
        """The user comes to the module."""
        if self.panel is not None and not self.panel.keys.installed:
            self.editor.enter()
            self.panel.start()

    def exit(self) -> None:
        """The user goes to another module: no key and no effect of ours stays active."""
        if self.panel is not None:
            self.panel.stop()
            self.editor.leave()

    def cleanup(self) -> None:
        """The module goes for good: the work is kept, requests are given up."""
        self.removeObservers()
        if self.panel is not None:
            self.panel.end()
            self.plot.end()
            self.editor.end()
            self.logic.scene.clear()

    # -- what only the whole window can do ----------------------------------------------------------

    def _case_loaded(self) -> None:
        slicer_app.show_frames(self.logic.scene)
        self.editor.edit(self.logic.scene)

    def _show_plot(self) -> None:
        if not self.plot.show(self.logic.scene):
            self.logic.place.hub.say(_("There is nothing to plot before the model has looked at the case."))

    def _plot_clicked(self, point: int) -> None:
        frame = self.logic.scene.plots.frame_of(point)
        if frame is not None:
            self.logic.place.desk.go_to(frame)

    def _scene_closes(self, caller: Any, event: Any) -> None:
        self.logic.scene.closing()

    def _heard(self, topic: str) -> None:
        if topic == "connection" and self.logic.place.hub.online:
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
    """The workplace with its scene; scripts use ``logic.place.connect(...)``, ``logic.place.desk.open(...)``."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.place = Workplace(slicer_app.state_folder())
        self.scene = SweepScene(slicer.mrmlScene, slicer.modules.sequences.logic(), self.place.desk)
        self.scene.other = self.place.reviewing.mask


class FetalIQATest(ScriptedLoadableModuleTest):
    """*Reload and Test*: a made case is opened, decided on, scrolled through and kept; no server is needed."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Slicer calls this."""
        self.setUp()
        self.test_scrolling_decides_nothing_and_undo_takes_one_action_back()

    def test_scrolling_decides_nothing_and_undo_takes_one_action_back(self) -> None:
        """The module's promise, on this Slicer's own nodes."""
        import tempfile

        from FetalIQALib import selftest

        with tempfile.TemporaryDirectory() as folder:
            told = selftest.run(slicer.mrmlScene, slicer.modules.sequences.logic(), Path(folder))
        slicer.mrmlScene.Clear()
        self.delayDisplay(told)
