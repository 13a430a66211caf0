"""Training on what was submitted, the gate's verdict, going back; tolerant to servers that cannot."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from FetalIQALib.client import SEGMENTATION, Client
from FetalIQALib.failures import Failure, NotThere, Refused
from FetalIQALib.http import Cancel
from FetalIQALib.hub import Change, Hub
from FetalIQALib.texts import _

QUICK, FULL = "quick", "full"
POLL_SECONDS = 2.0  # while a training runs
RUNNING_STATES = ("running", "submitted", "pending")


@dataclass(frozen=True)
class Training:
    """How far a training is; what a server does not say is left out.

    Attributes:
        possible: whether this server trains at all.
        state: running, done, failed, stopped, interrupted, or none.
        stage: what is being done.
        epoch, epochs: counted from 1.
        eta_seconds: left, as the server estimates.
        loss: the last.
        verdict: the gate's sentence on the last candidate.
        error: why the last training ended, when it failed.
        labels_since: frames or labels submitted since the last training, when the server counts them.
        log: its last lines.
    """

    possible: bool = True
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
        """Whether a training is under way."""
        return self.state in RUNNING_STATES

    def sentence(self) -> str:
        """The state in words."""
        if not self.possible:
            return _("This server cannot train.")
        if self.running:
            told = [_("Training")]
            if self.stage:
                told.append(self.stage)
            if self.epoch is not None and self.epochs:
                told.append(_("epoch {epoch} of {epochs}").format(epoch=self.epoch, epochs=self.epochs))
            if self.loss is not None:
                told.append(_("loss {loss:.3f}").format(loss=self.loss))
            if self.eta_seconds is not None:
                told.append(_("about {left} left").format(left=duration(self.eta_seconds)))
            return ", ".join(told) + "."
        failed = _("The last training failed; its log says why.")
        if self.error:
            failed = _("The last training failed: {reason}").format(reason=self.error)
        if self.error and self.state in ("failed", "error"):
            return failed  # an older verdict would hide it
        words = {
            "done": _("The last training is done."),
            "failed": failed,
            "error": failed,
            "stopped": _("The last training was stopped."),
            "interrupted": _("The last training was cut short; the model in use is as before."),
        }
        return self.verdict or words.get(self.state, _("No training yet."))

    def share(self) -> float | None:
        """How much is done, 0 to 1; None when that is not known."""
        if not self.running or self.epoch is None or not self.epochs:
            return None
        return min(max(self.epoch / self.epochs, 0.0), 1.0)


@dataclass(frozen=True)
class Publication:
    """One line of a model's history."""

    when: str
    action: str
    version: str
    reason: str = ""


@dataclass(frozen=True)
class _Asked:
    training: Training
    history: tuple[Publication, ...] = field(default=())


class Learning:
    """Training on this server.

    Args:
        hub: the connection.
        clock: seconds, monotonic.

    Attributes:
        training: as last asked.
        history: of the model, the newest first; empty where the server has none.
    """

    def __init__(self, hub: Hub, clock: Callable[[], float] = time.monotonic) -> None:
        self.hub = hub
        self.training = Training(possible=False)
        self.history: tuple[Publication, ...] = ()
        self._clock = clock
        self._asked_at = float("-inf")
        hub.changes["train"] = Change(_("the change of training or model"), self.refresh, "learn")

    def refresh(self, quiet: bool = True) -> bool:
        """Ask how far training is."""
        self._asked_at = self._clock()

        def done(asked: _Asked) -> None:
            ended = self.training.running and not asked.training.running
            self.training, self.history = asked.training, asked.history
            if ended or not quiet:
                self.hub.say(self.training.sentence())
            self.hub.tell("learn")

        return self.hub.ask("learn", _ask, done, "" if quiet else _("Asking about training …"), self._ask_failed)

    def _ask_failed(self, failure: Failure) -> None:
        self._asked_at = self._clock() + 4 * POLL_SECONDS  # a server that is away is not asked every moment
        self.hub.fail(failure)

    def poll(self) -> None:
        """Ask again now and then while a training runs; called by the timer."""
        due = self._clock() >= self._asked_at + POLL_SECONDS
        if due and self.training.running and self.hub.client is not None and not self.hub.runner.busy("learn"):
            self.refresh()

    def start(self, mode: str) -> bool:
        """Train, ``quick`` (the decoder) or ``full``."""

        def work(client: Client, cancel: Cancel) -> Any:
            return client.train(mode, cancel)

        return self._then_refresh("train", work, _("Training was started."), _("Starting the training …"))

    def stop(self) -> bool:
        """Stop the training; the model in use stays."""
        return self._then_refresh(
            "train",
            lambda client, cancel: client.stop_training(cancel),
            _("The training was stopped; the model in use is as before."),
            _("Stopping the training …"),
        )

    def roll_back(self) -> bool:
        """Go back to the model that was in use before."""
        return self._then_refresh(
            "train",
            lambda client, cancel: client.roll_back(cancel),
            _("The model before is in use again."),
            _("Going back …"),
        )

    def _then_refresh(self, kind: str, work: Callable[[Client, Cancel], Any], told: str, busy: str) -> bool:
        def done(_answer: Any) -> None:
            self.hub.say(told)
            self.refresh()

        def failed(failure: Failure) -> None:
            if isinstance(failure, NotThere):
                failure = Failure(_("This server cannot do that: {detail}").format(detail=failure))
            elif isinstance(failure, Refused) and failure.status == 429:
                failure = Failure(_("A training runs already; wait for it, or stop it."))
            self.hub.fail(failure)

        return self.hub.ask(kind, work, done, busy, failed)


def _ask(client: Client, cancel: Cancel) -> _Asked:
    """The server's word on training, from all places where it may be."""
    info = client.info(cancel)
    told = info.trainers.get(SEGMENTATION)
    if not isinstance(told, dict):
        return _Asked(Training(possible=False))
    stats = told.get("stats") or info.train_stats.get(SEGMENTATION)
    try:
        task: Mapping[str, Any] = client.train_status(cancel)
    except NotThere:
        task = {}
    try:
        history = client.model_history(cancel)
    except Refused:
        history = []
    return _Asked(
        training_of(stats if isinstance(stats, dict) else {}, task), tuple(map(_publication, reversed(history)))
    )


def training_of(stats: Mapping[str, Any], task: Mapping[str, Any]) -> Training:
    """How far a training is.

    Args:
        stats: the trainer's own word (``state``, ``epoch``, ``gate`` …); empty where there is none.
        task: MONAI Label's word on its task (``status``, ``details``); empty where there is none.
    """
    state = str(stats.get("state") or "none").lower()
    status = str(task.get("status") or "").lower()
    if status in RUNNING_STATES:  # the task runs before the trainer's first word
        state = "running"
    elif state == "none" and status:
        state = status
    gate = stats.get("gate")
    losses = stats.get("losses")
    details = task.get("details")
    since = [stats.get(key) for key in ("frames_since", "labels_since", "new_labels")]
    return Training(
        state=state,
        stage=str(stats.get("stage") or "") if stats.get("stage") != state else "",
        epoch=_whole(stats.get("epoch")),
        epochs=_whole(stats.get("epochs")),
        eta_seconds=_number(stats.get("eta_seconds")),
        loss=_number(losses[-1]) if isinstance(losses, list) and losses else None,
        verdict=str(gate.get("sentence") or "") if isinstance(gate, dict) else "",
        error=str(stats.get("error") or "")[:300],
        labels_since=next((value for value in map(_whole, since) if value is not None), None),
        log=tuple(str(line) for line in details[-20:]) if isinstance(details, list) else (),
    )


def _publication(line: Mapping[str, Any]) -> Publication:
    version, action = line.get("version"), str(line.get("action") or "")
    if line.get("forced") is True:
        action = _("{action}, against the gate").format(action=action)
    return Publication(
        str(line.get("time") or ""),
        action,
        _("default") if version is None else str(version),
        str(line.get("reason") or ""),
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return _("{seconds} s").format(seconds=round(seconds))
    minutes = round(seconds / 60)
    if minutes < 90:
        return _("{minutes} min").format(minutes=minutes)
    return _("{hours} h {minutes} min").format(hours=minutes // 60, minutes=minutes % 60)
