"""Sections of the panel: cases, review, training, export, keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from FetalIQALib import worklist
from FetalIQALib.client_errors import InvalidAction
from FetalIQALib.main_panel import MainPanel
from FetalIQALib.model_training import FULL, QUICK
from FetalIQALib.panel_text import short_name
from FetalIQALib.qt_helpers import fill_combo, fill_table, get_property, line_text, stretch_column, wrap_rows
from FetalIQALib.server_export import FORMATS
from FetalIQALib.translation import _
from FetalIQALib.user_actions import all_actions


class PanelSections:
    """Connects the sections of ``FetalIQA.ui``.

    Args:
        panel: the main part of the panel.
    """

    def __init__(self, panel: MainPanel) -> None:
        self.ui: Any = panel.ui
        self.panel = panel
        self.workspace = panel.workspace
        self._rows: list[worklist.WorklistRow] = []
        self._states = ("", *worklist.STATES)
        add = panel.actions.add
        add("requestChanges", lambda: self.workspace.review.request_changes(line_text(self.ui.commentEdit)))
        add("export", self._export)
        self._connect()
        self._fill_keys()
        self.workspace.session.add_listener(self._on_change)
        for topic in ("connection", "worklist", "training", "review"):
            self._on_change(topic)

    def _connect(self) -> None:
        ui, workspace = self.ui, self.workspace
        for table, columns, wide in ((ui.caseTable, 3, 0), (ui.historyTable, 3, 1), (ui.keyTable, 2, 1)):
            stretch_column(table, columns, wide)
        wrap_rows(ui.keyTable)
        fill_combo(ui.stateCombo, [_("all"), *(_(state) for state in worklist.STATES)])
        ui.stateCombo.currentIndexChanged.connect(lambda *_index: self._show_cases())
        ui.filterEdit.textChanged.connect(lambda *_text: self._show_cases())
        ui.caseTable.cellDoubleClicked.connect(lambda row, _column: self._open(row))
        ui.openButton.clicked.connect(lambda *_checked: self._open(ui.caseTable.currentRow()))
        ui.compareButton.clicked.connect(
            lambda *_checked: workspace.review.compare(str(get_property(ui.compareCombo, "currentText") or ""))
        )
        ui.hideReviewButton.clicked.connect(lambda *_checked: workspace.review.hide())
        ui.makeFinalButton.clicked.connect(lambda *_checked: workspace.review.make_final())
        ui.quickButton.clicked.connect(lambda *_checked: workspace.training.start(QUICK))
        ui.fullButton.clicked.connect(lambda *_checked: workspace.training.start(FULL))
        ui.stopButton.clicked.connect(lambda *_checked: workspace.training.stop())
        fill_combo(ui.exportFormatCombo, list(FORMATS))
        ui.exportListButton.clicked.connect(lambda *_checked: self._export_list())
        ui.keyEdit.returnPressed.connect(self._set_key)
        ui.setKeyButton.clicked.connect(lambda *_checked: self._set_key())
        ui.resetKeysButton.clicked.connect(lambda *_checked: self._reset_keys())
        ui.rollBackButton.clicked.connect(lambda *_checked: workspace.training.roll_back())

    def _on_change(self, topic: str) -> None:
        if topic in ("worklist", "case"):
            self._show_cases()
            self.ui.countsLabel.setText(self.workspace.counts.line(self.workspace.session.rater))
        if topic in ("worklist", "case", "review"):
            self._show_review()
        if topic == "connection":
            info = self.workspace.session.info
            strategies = list(info.strategies) if info is not None else []
            before = str(get_property(self.ui.strategyCombo, "currentText") or "")
            strategy = before if before in strategies else _preferred(strategies)
            fill_combo(self.ui.strategyCombo, strategies, strategy)
        if topic in ("training", "connection", "worklist"):
            self._show_training()

    # -- cases --------------------------------------------------------------------------------------

    def _show_cases(self) -> None:
        state = self._states[max(int(get_property(self.ui.stateCombo, "currentIndex")), 0)]
        self._rows = self.workspace.worklist.shown(state, line_text(self.ui.filterEdit))
        annotation = self.workspace.controller.annotation
        current = [
            number for number, row in enumerate(self._rows) if annotation and row.case == annotation.sweep.case
        ]
        texts = [(row.case, _(row.state), _frames(row)) for row in self._rows]
        tips = ["\n".join(text for text in (row.case, row.note, row.comment) if text) for row in self._rows]
        flow = self.workspace.flow
        position = [short_name(flow.case), flow.position_line([row.case for row in self._rows])]
        self.ui.positionLabel.setText(" · ".join(text for text in position if text))
        self.ui.positionLabel.setToolTip(flow.case)
        fill_table(self.ui.caseTable, texts, tips, current[0] if current else -1)

    def _open(self, row: int) -> None:
        if 0 <= row < len(self._rows):
            self.workspace.controller.open(self._rows[row].case)
        else:
            self.workspace.session.show_status(_("Select a case first."))

    # -- review -------------------------------------------------------------------------------------

    def _show_review(self) -> None:
        review, annotation = self.workspace.review, self.workspace.controller.annotation
        fill_combo(self.ui.compareCombo, review.tags())
        row = None if annotation is None else self.workspace.worklist.row(annotation.sweep.case)
        text = ""
        if review.agreement is not None and review.frames:
            text = f"{review.tag}: {review.agreement.message(review.tag)}"
        elif row is not None and row.comment:
            text = _("Reviewer: {comment}").format(comment=row.comment)
        self.ui.agreementLabel.setText(text)

    # -- training -----------------------------------------------------------------------------------

    def _show_training(self) -> None:
        ui, training = self.ui, self.workspace.training
        status = training.status
        sentences = [status.message()]
        submitted = [row for row in self.workspace.worklist.rows if row.version]
        frames = sum(row.annotated + row.empty for row in submitted)
        sentences.append(
            _("{frames} frames of {cases} cases submitted.").format(frames=frames, cases=len(submitted))
        )
        if status.labels_since is not None:
            sentences.append(_("{count} since the last training.").format(count=status.labels_since))
        ui.trainingLabel.setText(" ".join(sentences))
        ui.trainingLabel.setToolTip("\n".join(status.log))
        progress = status.progress()
        ui.trainingProgress.setVisible(status.running)
        ui.trainingProgress.setMaximum(0 if progress is None else 100)  # 0: busy indicator, progress unknown
        ui.trainingProgress.setValue(0 if progress is None else round(100 * progress))
        for button, usable in (
            (ui.quickButton, status.available and not status.running),
            (ui.fullButton, status.available and not status.running),
            (ui.stopButton, status.running),
            (ui.rollBackButton, status.available and not status.running),
        ):
            button.setEnabled(usable)
        rows = [(entry.when[:16].replace("T", " "), entry.action, entry.version) for entry in training.history]
        fill_table(ui.historyTable, rows, [entry.reason for entry in training.history])

    # -- export, keys -------------------------------------------------------------------------------

    def _export(self) -> None:
        folder = self.folder()
        if folder is not None:
            self.workspace.export(folder)

    def _export_list(self) -> None:
        folder = self.folder()
        if folder is not None:
            export_format = str(get_property(self.ui.exportFormatCombo, "currentText"))
            self.workspace.server_export.start(self._rows, folder, export_format)

    def folder(self) -> Path | None:
        """Folder for exports; None, with a status message, if none is entered."""
        folder = line_text(self.ui.folderEdit).strip()
        if folder:
            return Path(folder).expanduser()
        self.workspace.session.show_status(_("Enter a folder for the export."))
        self.ui.exportSection.setProperty("collapsed", False)
        return None

    def _fill_keys(self) -> None:
        keys = self.panel.key_table.keys()
        fill_table(self.ui.keyTable, [(keys[action.name], action.text) for action in all_actions()])

    def _set_key(self) -> None:
        """Assign the entered key to the selected action."""
        row, session = int(self.ui.keyTable.currentRow()), self.workspace.session
        actions = all_actions()
        if not 0 <= row < len(actions):
            session.show_status(_("Select an action in the table first."))
            return
        try:
            key = self.panel.key_table.set(actions[row].name, line_text(self.ui.keyEdit))
        except InvalidAction as error:
            session.show_error(error)
            return
        self.ui.keyEdit.clear()
        self.panel.show_keys()
        self._fill_keys()
        session.show_status(_("{key}: {action}.").format(key=key, action=actions[row].text))

    def _reset_keys(self) -> None:
        try:
            self.panel.key_table.reset()
        except InvalidAction as error:
            self.workspace.session.show_error(error)
            return
        self.panel.show_keys()
        self._fill_keys()
        self.workspace.session.show_status(_("The default keys are active."))


def _frames(row: worklist.WorklistRow) -> str:
    return f"{row.annotated} + {row.empty}" if row.version else ""


def _preferred(strategies: list[str]) -> str:
    """Default strategy: FetalIQA's own if the server offers it."""
    return next((name for name in ("fetaliqa", "random") if name in strategies), "")
