"""Retraining as a MONAI Label training task, an adapter of ``fetaliqa.retraining``.

The task runs in MONAI Label's training process, where the datastore is read-only: it reads the versions of labels,
and writes to ``retraining/`` in the studies folder and to the model store only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.train import TrainTask

from fetaliqa.errors import FetalIQAError
from fetaliqa.retraining.new_labels import newly_confirmed
from fetaliqa.retraining.progress_file import read_progress
from fetaliqa.retraining.retraining_paths import unfinished_run
from monailabel_app.lib.http.refusal import Refused
from monailabel_app.lib.startup.conf import SEG_MODEL, ServerConf

logger = logging.getLogger(__name__)

MODES = ("quick", "full")
COUNT_SECONDS = 10.0  # for which a count of confirmed frames is reused
SHOWN = ("run", "state", "stage", "done", "of", "epoch", "epochs", "step", "steps", "losses", "validation")


@dataclass(frozen=True)
class TrainOptions:
    """Options of a client.

    Attributes:
        mode: ``quick`` or ``full``.
        resume: continue the last training, which was interrupted.
        publish: publish the candidate if it passes the gate.
    """

    mode: str = "quick"
    resume: bool = False
    publish: bool = True


def train_options(request: Mapping[str, Any]) -> TrainOptions:
    """The options of a training request; others are ignored, so that general clients can send theirs.

    Raises:
        Refused: 400 for a value that is not accepted.
    """
    mode = request.get("mode", "quick")
    if mode not in MODES:
        raise Refused(400, f"mode is {str(mode)[:80]!r}; it must be one of {', '.join(MODES)}")
    flags = {}
    for name, usual in (("resume", False), ("publish", True)):
        flags[name] = request.get(name, usual)
        if not isinstance(flags[name], bool):
            raise Refused(400, f"{name} is {str(flags[name])[:80]!r}; it must be true or false")
    return TrainOptions(mode, **flags)


class RetrainTask(TrainTask):
    """Retrains the segmentation model on the confirmed labels of the studies folder.

    Args:
        studies: folder of studies.
        conf: the server's settings.
        in_server: whether this process is the server, which does not train itself.
    """

    def __init__(self, studies: Path, conf: ServerConf, in_server: Callable[[], bool]) -> None:
        super().__init__("Retrains on confirmed frames; publishes the result if it passes the gate")
        self.studies, self._conf, self._in_server = studies, conf, in_server
        self._since: tuple[float, int | None] | None = None

    def config(self) -> dict[str, Any]:
        return {"mode": list(MODES), "resume": False, "publish": True}

    def stats(self) -> dict[str, Any]:
        """Progress of the last training, and the decision of its gate."""
        progress = read_progress(self.studies)
        return {
            **{name: progress[name] for name in SHOWN if name in progress},
            "eta_seconds": progress.get("eta_seconds") if progress["state"] == "running" else None,
            "error": progress.get("error"),
            "gate": progress.get("gate"),
            "frames_since": self._frames_since(),
        }

    def _frames_since(self) -> int | None:
        """Frames confirmed since the last training; None where they cannot be counted."""
        now = time.monotonic()
        # clients poll /info/ every few seconds while a training runs, and counting reads every record
        if self._since is None or now - self._since[0] > COUNT_SECONDS:
            try:
                count: int | None = newly_confirmed(self.studies)
            except FetalIQAError:  # no label yet: MONAI Label's index is not written
                count = None
            self._since = (now, count)
        return self._since[1]

    def check(self, options: TrainOptions) -> None:
        """Check a request before its process is started.

        Raises:
            Refused: 409 when another training runs, or there is none to resume.
            TooFewLabels: saying what is missing.
        """
        from fetaliqa.retraining.pipeline import check_labels

        progress = read_progress(self.studies)
        if progress["state"] == "running":
            raise Refused(409, f"training {progress['run']} of this folder is running; wait for it, or stop it")
        if options.resume:
            if unfinished_run(self.studies) is None:
                raise Refused(409, "there is no interrupted training to resume; start a new one without resume")
            return
        check_labels(self.studies)

    def __call__(self, request: Mapping[str, Any], datastore: Any) -> dict[str, Any]:
        """Train; the lines logged are what ``GET /train/`` shows.

        Raises:
            Refused: in the server's own process.
            SystemExit: with a code that is not 0, in the training process, when it cannot go on.
        """
        options = train_options(request)
        if self._in_server():
            raise Refused(400, "training always runs in a worker process; leave run_sync out")
        from fetaliqa.retraining.pipeline import RetrainRequest, retrain
        from fetaliqa.training.trainer import Machine

        conf = self._conf
        accelerator, _, index = conf.device.partition(":")
        retrain_request = RetrainRequest(
            mode=options.mode,
            bundle=conf.bundle,
            replay=conf.replay,
            name=SEG_MODEL,
            publish=options.publish,
            settings={"epochs": conf.train_epochs} if conf.train_epochs else {},
        )
        try:
            result = retrain(
                self.studies,
                retrain_request,
                resume=options.resume,
                machine=Machine(
                    accelerator=accelerator,
                    index=int(index or 0),
                    devices=conf.train_devices,
                    deterministic=conf.deterministic,
                    micro_batch=conf.train_batch or None,
                    progress=False,
                ),
                say=logger.info,
            )
        except FetalIQAError as problem:  # clients see the last lines of the log: the sentence, not a traceback
            logger.error("%s", problem)
            raise SystemExit(1) from None
        # of several processes that train together only the first has a result
        return {name: result.get(name) for name in ("run", "version", "published", "sentence")}


def make_trainers(app: Any) -> dict[str, RetrainTask]:
    """The training tasks of an app."""
    studies = Path(app.studies).resolve()
    return {SEG_MODEL: RetrainTask(studies, app.server_conf, lambda: bool(app._server_mode))}
