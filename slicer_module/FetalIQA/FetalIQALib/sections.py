"""The window's lists: cases, other raters, training, keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from FetalIQALib import worklist
from FetalIQALib.actions import all_actions
from FetalIQALib.learning import FULL, QUICK
from FetalIQALib.list_export import FORMATS
from FetalIQALib.panel import Panel
from FetalIQALib.qtparts import fill_combo, fill_table, read, stretch, text_of
from FetalIQALib.texts import _


class Sections:
    """Fills the lists of ``FetalIQA.ui`` and connects them.

    Args:
        panel: the rest of the window.
    """

    def __init__(self, panel: Panel) -> None:
        self.ui: Any = panel.ui
        self.place = panel.place
        self._rows: list[worklist.Row] = []
        self._states = ("", *worklist.STATES)
        add = panel.actions.add
        add("nextCase", lambda: self.place.open_next(str(read(self.ui.strategyCombo, "currentText")) or "random"))
        add("reviewReturn", lambda: self.place.reviewing.send_back(text_of(self.ui.commentEdit)))
        add("export", self._export)
        self._connect()
        self._fill_keys()
        self.place.hub.listen(self._heard)
        for topic in ("connection", "worklist", "learn", "review"):
            self._heard(topic)

    def _connect(self) -> None:
        ui, place = self.ui, self.place
        for table, columns, wide in ((ui.caseTable, 3, 0), (ui.historyTable, 3, 1), (ui.keyTable, 2, 1)):
            stretch(table, columns, wide)
        fill_combo(ui.stateCombo, [_("all"), *(_(state) for state in worklist.STATES)])
        ui.stateCombo.currentIndexChanged.connect(lambda *_index: self._show_cases())
        ui.filterEdit.textChanged.connect(lambda *_text: self._show_cases())
        ui.caseTable.cellDoubleClicked.connect(lambda row, _column: self._open(row))
        ui.openButton.clicked.connect(lambda *_checked: self._open(ui.caseTable.currentRow()))
        ui.compareButton.clicked.connect(
            lambda *_checked: place.reviewing.compare(str(read(ui.compareCombo, "currentText") or ""))
        )
        ui.leaveReviewButton.clicked.connect(lambda *_checked: place.reviewing.leave())
        ui.pickButton.clicked.connect(lambda *_checked: place.reviewing.pick())
        ui.quickButton.clicked.connect(lambda *_checked: place.learning.start(QUICK))
        ui.fullButton.clicked.connect(lambda *_checked: place.learning.start(FULL))
        ui.stopButton.clicked.connect(lambda *_checked: place.learning.stop())
        fill_combo(ui.exportFormatCombo, list(FORMATS))
        ui.exportListButton.clicked.connect(lambda *_checked: self._export_list())
        ui.rollBackButton.clicked.connect(lambda *_checked: place.learning.roll_back())

    def _heard(self, topic: str) -> None:
        if topic in ("worklist", "case"):
            self._show_cases()
        if topic in ("worklist", "case", "review"):
            self._show_review()
        if topic == "connection":
            info = self.place.hub.info
            strategies = list(info.strategies) if info is not None else []
            before = str(read(self.ui.strategyCombo, "currentText") or "")
            chosen = before if before in strategies else _preferred(strategies)
            fill_combo(self.ui.strategyCombo, strategies, chosen)
        if topic in ("learn", "connection", "worklist"):
            self._show_learning()

    # -- cases --------------------------------------------------------------------------------------

    def _show_cases(self) -> None:
        state = self._states[max(int(read(self.ui.stateCombo, "currentIndex")), 0)]
        self._rows = self.place.worklist.shown(state, text_of(self.ui.filterEdit))
        work = self.place.desk.work
        current = [number for number, row in enumerate(self._rows) if work and row.case == work.sweep.case]
        texts = [(row.case, _(row.state), _frames(row)) for row in self._rows]
        tips = [f"{row.case}\n{row.comment}".strip() for row in self._rows]
        fill_table(self.ui.caseTable, texts, tips, current[0] if current else -1)

    def _open(self, row: int) -> None:
        if 0 <= row < len(self._rows):
            self.place.desk.open(self._rows[row].case)
        else:
            self.place.hub.say(_("Select a case first."))

    # -- review -------------------------------------------------------------------------------------

    def _show_review(self) -> None:
        reviewing, work = self.place.reviewing, self.place.desk.work
        fill_combo(self.ui.compareCombo, reviewing.tags())
        row = None if work is None else self.place.worklist.row(work.sweep.case)
        told = ""
        if reviewing.agreement is not None and reviewing.frames:
            told = f"{reviewing.tag}: {reviewing.agreement.sentence(reviewing.tag)}"
        elif row is not None and row.comment:
            told = _("The reviewer says: {comment}").format(comment=row.comment)
        self.ui.agreementLabel.setText(told)

    # -- training -----------------------------------------------------------------------------------

    def _show_learning(self) -> None:
        ui, learning = self.ui, self.place.learning
        training = learning.training
        told = [training.sentence()]
        submitted = [row for row in self.place.worklist.rows if row.version]
        frames = sum(row.annotated + row.empty for row in submitted)
        told.append(_("{frames} frames of {cases} cases submitted.").format(frames=frames, cases=len(submitted)))
        if training.labels_since is not None:
            told.append(_("{count} since the last training.").format(count=training.labels_since))
        ui.learnLabel.setText(" ".join(told))
        ui.learnLabel.setToolTip("\n".join(training.log))
        share = training.share()
        ui.learnProgress.setVisible(training.running)
        ui.learnProgress.setMaximum(0 if share is None else 100)  # 0: something moves, but nobody knows how far
        ui.learnProgress.setValue(0 if share is None else round(100 * share))
        for button, usable in (
            (ui.quickButton, training.possible and not training.running),
            (ui.fullButton, training.possible and not training.running),
            (ui.stopButton, training.running),
            (ui.rollBackButton, training.possible and not training.running),
        ):
            button.setEnabled(usable)
        rows = [(one.when[:16].replace("T", " "), one.action, one.version) for one in learning.history]
        fill_table(ui.historyTable, rows, [one.reason for one in learning.history])

    # -- the rest -----------------------------------------------------------------------------------

    def _export(self) -> None:
        folder = self._folder()
        if folder is not None:
            self.place.export(folder)

    def _export_list(self) -> None:
        folder = self._folder()
        if folder is not None:
            chosen = str(read(self.ui.exportFormatCombo, "currentText"))
            self.place.list_export.start(self._rows, folder, chosen)

    def _folder(self) -> Path | None:
        """The folder for exports; None, with a sentence, when none is named."""
        folder = text_of(self.ui.folderEdit).strip()
        if folder:
            return Path(folder).expanduser()
        self.place.hub.say(_("Name a folder for the export."))
        self.ui.exportSection.setProperty("collapsed", False)
        return None

    def _fill_keys(self) -> None:
        fill_table(self.ui.keyTable, [(action.key, action.text) for action in all_actions()])


def _frames(row: worklist.Row) -> str:
    return f"{row.annotated} + {row.empty}" if row.version else ""


def _preferred(strategies: list[str]) -> str:
    """The strategy to begin with: the project's own where the server has it."""
    return next((name for name in ("fetaliqa", "random") if name in strategies), "")
