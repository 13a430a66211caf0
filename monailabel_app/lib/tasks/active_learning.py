"""Query strategies as MONAI Label strategies, and the scoring of cases for them as a scoring method."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy

from fetaliqa.active.annotation_queue import LabelQueue
from fetaliqa.active.frame_profiles import ProfileFolder, case_profile, source_of
from fetaliqa.active.selection_rules import QuerySettings
from fetaliqa.active.strategies import DEFAULT, STRATEGIES
from fetaliqa.errors import FetalIQAError
from fetaliqa.registry import AssessmentService
from monailabel_app.lib.http.ids import check_id
from monailabel_app.lib.http.refusal import Refused, as_refusal
from monailabel_app.lib.tasks.inference_task import SweepTask

logger = logging.getLogger(__name__)

SCORING = "frames"
ANONYMOUS = "unknown"
MAX_LEASE_MINUTES = 24 * 60.0
MAX_SKIPPED = 10_000


class FrameStrategy(Strategy):
    """One of the library's query strategies.

    Args:
        name: of the strategy.
        queue: of the studies folder.
        task: the segmentation model.
    """

    def __init__(self, name: str, queue: LabelQueue, task: SweepTask) -> None:
        super().__init__(STRATEGIES[name].description)
        self._name, self._queue, self._task = name, queue, task

    def __call__(self, request: Mapping[str, Any], datastore: Any) -> dict[str, Any]:
        """The next case for a rater (docs/server.md); empty when nothing is left.

        Raises:
            Refused: 400 for an option that cannot be used.
        """
        with as_refusal():
            offer = self._queue.offer(
                datastore.sources(),
                self._name,
                rater_of(request),
                self._task.serving.peek().fingerprint,
                _settings(request),
                skip=_skipped(request),
                minutes=_minutes(request),
            )
        return {} if offer is None else offer.to_json()


def make_strategies(queue: LabelQueue, task: SweepTask | None) -> dict[str, Strategy]:
    """All strategies, the default first; none without a segmentation model."""
    if task is None:
        return {}
    return {name: FrameStrategy(name, queue, task) for name in (DEFAULT, *STRATEGIES)}


def rater_of(request: Mapping[str, Any]) -> str:
    """The rater of a request: ``user``, else MONAI Label's ``client_id``.

    Raises:
        Refused: 400 for a name that is not a valid id.
    """
    name = request.get("user") or request.get("client_id")
    return ANONYMOUS if name in (None, "") else check_id("user", str(name))


def _settings(request: Mapping[str, Any]) -> QuerySettings:
    fields = QuerySettings.__dataclass_fields__
    return QuerySettings(**{name: request[name] for name in fields if request.get(name) is not None})


def _skipped(request: Mapping[str, Any]) -> list[str]:
    skip = request.get("skip") or []
    if not isinstance(skip, list) or len(skip) > MAX_SKIPPED:
        raise Refused(400, f"skip is {str(skip)[:80]!r}; a list of image ids is needed")
    return [check_id("image", one) for one in skip]


def _minutes(request: Mapping[str, Any]) -> float:
    value = request.get("lease_minutes", 30)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_LEASE_MINUTES:
        raise Refused(400, f"lease_minutes is {value!r}; above 0 and up to {MAX_LEASE_MINUTES:g} is accepted")
    return float(value)


class FrameScoring(ScoringMethod):
    """Assesses new and changed images, and stores the frame profiles that the strategies need.

    Runs in a worker process of MONAI Label and writes only profiles, never the index.

    Args:
        studies: the folder.
        task: the segmentation model.
    """

    def __init__(self, studies: Path, task: SweepTask) -> None:
        super().__init__("Assesses new images ahead, so that the next sample is found immediately")
        self._studies, self._task = studies, task

    def __call__(self, request: Mapping[str, Any], datastore: Any) -> dict[str, Any]:
        """Score images that are not scored yet.

        Returns:
            image ids: ``scored``, ``known`` (scored before), and ``failed`` with a sentence each.
        """
        service: AssessmentService = self._task.serving.current()
        folder = ProfileFolder(self._studies, service.fingerprint)
        outcome: dict[str, Any] = {"scored": [], "known": [], "failed": {}}
        images = sorted(datastore.list_images())
        for number, image in enumerate(images, 1):
            started = time.perf_counter()
            try:
                path = datastore.image_path(image)
                source = source_of(path)
                profile = folder.read(image)
                if profile is not None and profile.source == source:
                    outcome["known"].append(image)
                    continue
                result = service.assess(path, with_profile=True)
                if result.profile is not None:
                    folder.write(case_profile(image, result.assessment, result.profile, source))
                    outcome["scored"].append(image)
            except (FetalIQAError, OSError) as error:
                outcome["failed"][image] = str(error)
                logger.warning("%d of %d: %s failed: %s", number, len(images), image, error)
                continue
            seconds = time.perf_counter() - started
            logger.info("%d of %d: %s scored in %.1f s", number, len(images), image, seconds)
        counts = {name: len(value) for name, value in outcome.items()}
        logger.info("scored %(scored)d images, %(known)d scored before, %(failed)d failed", counts)
        return outcome
