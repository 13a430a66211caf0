"""Training on submitted labels, result of the publication gate, rollback; tolerates servers without training."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from FetalIQALib.client_errors import FetalIQAError, NotFound, RequestRefused
from FetalIQALib.http_client import Cancel
from FetalIQALib.server_client import SEGMENTATION, ServerClient
from FetalIQALib.server_session import ServerChange, ServerSession
from FetalIQALib.translation import _

QUICK, FULL = "quick", "full"
POLL_SECONDS = 2.0  # while a training runs
RUNNING_STATES = ("running", "submitted", "pending")


@dataclass(frozen=True)
class TrainingStatus:
    """Status of a training; missing values are unknown.

    Attributes:
        available: whether this server supports training.
        state: running, done, failed, stopped, interrupted, or none.
        stage: current stage.
        epoch, epochs: counted from 1.
        eta_seconds: estimated remaining time.
        loss: last value.
        verdict: result of the gate for the last candidate.
        error: why the last training failed.
        labels_since: frames or labels submitted since the last training, if the server counts them.
        log: last lines of the log.
    """

    available: bool = True
    state: str = "none"
    stage: str = ""
    epoch: int | None = None
    epochs: int | None = None
    eta_seconds: float | None = None
    loss: float | None = None
    verdict: str = ""
    error: str = ""
    labels_since: int | None = None
    log: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        """Whether a training is running."""
        return self.state in RUNNING_STATES

    def message(self) -> str:
        """Summary for the panel."""
        if not self.available:
            return _("This server does not support training.")
        if self.running:
            parts = [_("Training")]
            if self.stage:
                parts.append(self.stage)
            if self.epoch is not None and self.epochs:
                parts.append(_("epoch {epoch} of {epochs}").format(epoch=self.epoch, epochs=self.epochs))
            if self.loss is not None:
                parts.append(_("loss {loss:.3f}").format(loss=self.loss))
            if self.eta_seconds is not None:
                parts.append(_("about {left} left").format(left=duration(self.eta_seconds)))
            return ", ".join(parts) + "."
        failed = _("The last training failed; see its log.")
        if self.error:
            failed = _("The last training failed: {reason}").format(reason=self.error)
        if self.error and self.state in ("failed", "error"):
            return failed  # takes precedence over an older verdict
        messages = {
            "done": _("The last training is done."),
            "failed": failed,
            "error": failed,
            "stopped": _("The last training was stopped."),
            "interrupted": _("The last training was interrupted; the current model is unchanged."),
        }
        return self.verdict or messages.get(self.state, _("No training yet."))

    def progress(self) -> float | None:
        """Progress from 0 to 1; None if unknown."""
        if not self.running or self.epoch is None or not self.epochs:
            return None
        return min(max(self.epoch / self.epochs, 0.0), 1.0)


@dataclass(frozen=True)
class ModelHistoryEntry:
    """An entry of a model's history."""

    when: str
    action: str
    version: str
    reason: str = ""


@dataclass(frozen=True)
class _TrainingReport:
    status: TrainingStatus
    history: tuple[ModelHistoryEntry, ...] = field(default=())


class ModelTraining:
    """Training on the server.

    Args:
        session: the server session.
        clock: monotonic time in seconds.

    Attributes:
        status: as last read.
        history: of the model, newest first; empty if the server has none.
    """

    def __init__(self, session: ServerSession, clock: Callable[[], float] = time.monotonic) -> None:
        self.session = session
        self.status = TrainingStatus(available=False)
        self.history: tuple[ModelHistoryEntry, ...] = ()
        self._clock = clock
        self._last_refresh = float("-inf")
        session.changes["train"] = ServerChange(_("the change of training or model"), self.refresh, "training")

    def refresh(self, quiet: bool = True) -> bool:
        """Read the training status."""
        self._last_refresh = self._clock()

        def done(report: _TrainingReport) -> None:
            finished = self.status.running and not report.status.running
            self.status, self.history = report.status, report.history
            if finished or not quiet:
                self.session.show_status(self.status.message())
            self.session.notify("training")

        return self.session.request(
            "training",
            _fetch_status,
            done,
            "" if quiet else _("Reading the training status …"),
            self._refresh_failed,
        )

    def _refresh_failed(self, failure: FetalIQAError) -> None:
        self._last_refresh = self._clock() + 4 * POLL_SECONDS  # poll an unreachable server less often
        self.session.show_error(failure)

    def poll(self) -> None:
        """Read the status again while a training runs; called by the timer."""
        due = self._clock() >= self._last_refresh + POLL_SECONDS
        if (
            due
            and self.status.running
            and self.session.client is not None
            and not self.session.runner.busy("training")
        ):
            self.refresh()

    def start(self, mode: str) -> bool:
        """Start a training, ``quick`` (decoder) or ``full``."""

        def function(client: ServerClient, cancel: Cancel) -> Any:
            return client.train(mode, cancel)

        return self._request_and_refresh("train", function, _("Training started."), _("Starting the training …"))

    def stop(self) -> bool:
        """Stop the training; the current model is unchanged."""
        return self._request_and_refresh(
            "train",
            lambda client, cancel: client.stop_training(cancel),
            _("Training stopped; the current model is unchanged."),
            _("Stopping the training …"),
        )

    def roll_back(self) -> bool:
        """Roll back to the previous model."""
        return self._request_and_refresh(
            "train",
            lambda client, cancel: client.roll_back(cancel),
            _("The previous model is in use again."),
            _("Rolling back …"),
        )

    def _request_and_refresh(
        self, kind: str, function: Callable[[ServerClient, Cancel], Any], message: str, busy: str
    ) -> bool:
        def done(_answer: Any) -> None:
            self.session.show_status(message)
            self.refresh()

        def failed(error: FetalIQAError) -> None:
            if isinstance(error, NotFound):
                error = FetalIQAError(_("Not supported by this server: {detail}").format(detail=error))
            elif isinstance(error, RequestRefused) and error.status == 429:
                error = FetalIQAError(_("A training is already running; wait for it, or stop it."))
            self.session.show_error(error)

        return self.session.request(kind, function, done, busy, failed)


def _fetch_status(client: ServerClient, cancel: Cancel) -> _TrainingReport:
    """Read the training status from the server's endpoints."""
    info = client.info(cancel)
    trainer = info.trainers.get(SEGMENTATION)
    if not isinstance(trainer, dict):
        return _TrainingReport(TrainingStatus(available=False))
    stats = trainer.get("stats") or info.train_stats.get(SEGMENTATION)
    try:
        task: Mapping[str, Any] = client.train_status(cancel)
    except NotFound:
        task = {}
    try:
        history = client.model_history(cancel)
    except RequestRefused:
        history = []
    return _TrainingReport(
        parse_training(stats if isinstance(stats, dict) else {}, task),
        tuple(map(_history_entry, reversed(history))),
    )


def parse_training(stats: Mapping[str, Any], task: Mapping[str, Any]) -> TrainingStatus:
    """Parse the status of a training.

    Args:
        stats: of the trainer (``state``, ``epoch``, ``gate`` …); may be empty.
        task: of MONAI Label's task (``status``, ``details``); may be empty.
    """
    state = str(stats.get("state") or "none").lower()
    status = str(task.get("status") or "").lower()
    if status in RUNNING_STATES:  # the task runs before the trainer's first report
        state = "running"
    elif state == "none" and status:
        state = status
    gate = stats.get("gate")
    losses = stats.get("losses")
    details = task.get("details")
    counts = [stats.get(key) for key in ("frames_since", "labels_since", "new_labels")]
    return TrainingStatus(
        state=state,
        stage=str(stats.get("stage") or "") if stats.get("stage") != state else "",
        epoch=_integer(stats.get("epoch")),
        epochs=_integer(stats.get("epochs")),
        eta_seconds=_number(stats.get("eta_seconds")),
        loss=_number(losses[-1]) if isinstance(losses, list) and losses else None,
        verdict=str(gate.get("sentence") or "") if isinstance(gate, dict) else "",
        error=str(stats.get("error") or "")[:300],
        labels_since=next((value for value in map(_integer, counts) if value is not None), None),
        log=tuple(str(line) for line in details[-20:]) if isinstance(details, list) else (),
    )


def _history_entry(line: Mapping[str, Any]) -> ModelHistoryEntry:
    version, action = line.get("version"), str(line.get("action") or "")
    if line.get("forced") is True:
        action = _("{action}, gate overridden").format(action=action)
    return ModelHistoryEntry(
        str(line.get("time") or ""),
        action,
        _("default") if version is None else str(version),
        str(line.get("reason") or ""),
    )


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def duration(seconds: float) -> str:
    """A duration in readable units."""
    if seconds < 90:
        return _("{seconds} s").format(seconds=round(seconds))
    minutes = round(seconds / 60)
    if minutes < 90:
        return _("{minutes} min").format(minutes=minutes)
    return _("{hours} h {minutes} min").format(hours=minutes // 60, minutes=minutes % 60)
