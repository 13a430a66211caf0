"""Section of the panel that sends local files, DICOM series and sequences to the server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt

from FetalIQALib.client_errors import FetalIQAError
from FetalIQALib.dicom_cines import Series, ultrasound_series
from FetalIQALib.image_sequence import OWNER
from FetalIQALib.image_upload import SUFFIXES, case_name
from FetalIQALib.qt_helpers import fill_combo, get_property, line_text
from FetalIQALib.sequence_files import export_sequence
from FetalIQALib.sequence_nodes import frames_of
from FetalIQALib.server_session import BUSY
from FetalIQALib.translation import _
from FetalIQALib.workspace import Workspace

FILE, DICOM, SEQUENCE = range(3)  # indices of the sources


class SendPanel:
    """Connects the widgets of ``SendFile.ui``.

    Args:
        ui: the widgets by name.
        workspace: the workspace.
        scene: MRML scene, for its sequences.
        database: returns Slicer's DICOM database; None without one.
        folder: returns the folder for exports; None, with a message, if none is entered.
    """

    def __init__(
        self,
        ui: Any,
        workspace: Workspace,
        scene: Any,
        database: Callable[[], Any],
        folder: Callable[[], Path | None],
    ) -> None:
        self.ui = ui
        self.workspace = workspace
        self._scene = scene
        self._database = database
        self._folder = folder
        self._series: list[Series] = []
        self._sequences: list[Any] = []
        fill_combo(ui.sourceCombo, [_("File"), _("DICOM database"), _("Sequence of the scene")])
        ui.sourceCombo.currentIndexChanged.connect(lambda *_index: self.refresh())
        ui.itemCombo.currentIndexChanged.connect(lambda *_index: self._suggest_name())
        ui.fileEdit.textChanged.connect(lambda *_text: self._suggest_name())
        ui.browseButton.clicked.connect(lambda *_checked: self._browse())
        ui.sendButton.clicked.connect(lambda *_checked: self.send())
        ui.saveSequenceButton.clicked.connect(lambda *_checked: self.save_sequence())
        workspace.session.add_listener(self._on_change)
        self.refresh()
        self._on_change("connection")

    def refresh(self) -> None:
        """Read the list of DICOM series or sequences again."""
        ui, source = self.ui, self._source()
        ui.fileEdit.setVisible(source == FILE)
        ui.itemCombo.setVisible(source != FILE)
        ui.browseButton.setText(_("Browse …") if source == FILE else _("Refresh"))
        texts: Sequence[str] = ()
        if source == DICOM:
            self._series = ultrasound_series(self._database())
            texts = [series.text for series in self._series]
        elif source == SEQUENCE:
            self._sequences = self._foreign_sequences()
            texts = [f"{node.GetName()} ({node.GetNumberOfDataNodes()})" for node in self._sequences]
        fill_combo(ui.itemCombo, texts)
        self._suggest_name()

    def send(self) -> bool:
        """Send what is chosen."""
        sending, name, source = self.workspace.sending, line_text(self.ui.caseEdit), self._source()
        item = int(get_property(self.ui.itemCombo, "currentIndex"))
        try:
            if source == FILE:
                path = line_text(self.ui.fileEdit).strip()
                if not path:
                    raise FetalIQAError(_("Choose a file first."))
                return sending.send_file(Path(path).expanduser(), name)
            if source == DICOM:
                if not 0 <= item < len(self._series):
                    raise FetalIQAError(_("Slicer's DICOM database has no ultrasound series; import one first."))
                return sending.send_dicom([Path(file) for file in self._series[item].files], name)
            if not 0 <= item < len(self._sequences):
                raise FetalIQAError(_("The scene has no sequence; load one first."))
            return sending.send_frames(*frames_of(self._sequences[item]), name)
        except FetalIQAError as error:
            self.workspace.session.show_error(error)
            return False

    def save_sequence(self) -> bool:
        """Save frames and masks of the current case as sequences of 3D Slicer, in the folder for exports."""
        session, annotation = self.workspace.session, self.workspace.controller.annotation
        if annotation is None:
            session.show_error(FetalIQAError(_("Open a case first.")))
            return False
        folder = self._folder()
        if folder is None:
            return False
        self.workspace.controller.before_action()
        sweep, masks = annotation.sweep, annotation.masks()

        def done(target: Path) -> None:
            session.show_status(_("Saved in {folder}.").format(folder=target))

        started = self.workspace.runner.start(
            "sequence", lambda cancel: export_sequence(sweep, masks, folder, cancel), done, session.show_error
        )
        if started:
            session.show_status(_("Saving the sequence …"), BUSY)
        return started

    # -- helpers ------------------------------------------------------------------------------------

    def _source(self) -> int:
        return int(get_property(self.ui.sourceCombo, "currentIndex"))

    def _foreign_sequences(self) -> list[Any]:
        """The scene's sequences of images that are not this module's."""
        nodes = [
            self._scene.GetNthNodeByClass(number, "vtkMRMLSequenceNode")
            for number in range(self._scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode"))
        ]
        return [
            node
            for node in nodes
            if not node.GetAttribute(OWNER)
            and node.GetNumberOfDataNodes()
            and node.GetNthDataNode(0).IsA("vtkMRMLVolumeNode")
        ]

    def _browse(self) -> None:
        if self._source() != FILE:
            self.refresh()
            return
        kinds = " ".join(f"*{suffix}" for suffix in SUFFIXES)
        filters = _("Images ({kinds});;All files (*)").format(kinds=kinds)
        chosen = qt.QFileDialog.getOpenFileName(None, _("Send a file to the server"), "", filters)
        path = chosen if isinstance(chosen, str) else chosen[0]  # PythonQt, PySide
        if path:
            self.ui.fileEdit.setText(path)

    def _suggest_name(self) -> None:
        """Suggest a name that does not identify the patient: of the file, or the series' UID."""
        source, item = self._source(), int(get_property(self.ui.itemCombo, "currentIndex"))
        name = ""
        if source == FILE:
            name = case_name(Path(line_text(self.ui.fileEdit).strip()))
        elif source == DICOM and 0 <= item < len(self._series):
            name = self._series[item].uid
        elif source == SEQUENCE and 0 <= item < len(self._sequences):
            name = str(self._sequences[item].GetName())
        self.ui.caseEdit.setText(name)

    def _on_change(self, topic: str) -> None:
        if topic in ("connection", "status"):
            progress = self.workspace.sending.progress
            self.ui.sendProgress.setVisible(progress is not None)
            self.ui.sendProgress.setValue(round(100 * (progress or 0.0)))
            self.ui.sendButton.setEnabled(self.workspace.session.client is not None and progress is None)
        if topic in ("connection", "case"):
            self.ui.saveSequenceButton.setEnabled(self.workspace.controller.annotation is not None)
