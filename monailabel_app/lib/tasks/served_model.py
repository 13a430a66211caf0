"""The model in use: a configured bundle, or the published version."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence

from fetaliqa.errors import BundleError, FetalIQAError
from fetaliqa.registry import AssessmentService

logger = logging.getLogger(__name__)

RETRY_SECONDS = 60.0  # after a version that could not be loaded


class ServedModel:
    """An assessment service that follows the published version, without a restart.

    A request keeps the service it began with. The first request after a publication loads the new version, and
    then replaces the old one, which answers other requests meanwhile. A version that cannot be loaded is logged,
    and the old one stays in use.

    Args:
        make: creates the service of a bundle.
        spec: returns the bundle to serve; constant for a configured bundle.
        alternatives: bundles to start with when that one cannot be used, the best first.

    Raises:
        FetalIQAError: when none of them can be used.
    """

    def __init__(
        self,
        make: Callable[[str], AssessmentService],
        spec: Callable[[], str],
        alternatives: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._make, self._spec = make, spec
        self._lock = threading.Lock()
        self._failed: tuple[str, float] | None = None
        self._ahead = False  # whether a thread is loading the published version
        self.spec = published = spec()
        try:
            self._service = self._checked(published)
        except FetalIQAError as problem:
            self._failed = published, time.monotonic()
            for other in alternatives():
                with contextlib.suppress(FetalIQAError):
                    self._service, self.spec = self._checked(other), other
                    logger.error("%s is published, but cannot be served; %s is: %s", published, other, problem)
                    return
            raise

    def _checked(self, spec: str) -> AssessmentService:
        service = self._make(spec)
        service.check()
        return service

    def peek(self) -> AssessmentService:
        """The current service, immediately; a newly published version is loaded in a thread meanwhile."""
        try:
            published = self._spec()
        except OSError:
            return self._service
        if (
            published != self.spec
            and not self._just_failed(published)
            and not self._ahead
            and not self._lock.locked()
        ):
            self._ahead = True
            threading.Thread(target=self._load_ahead, name="follow-published", daemon=True).start()
        return self._service

    def _load_ahead(self) -> None:
        try:
            self.current()
        finally:
            self._ahead = False

    def current(self) -> AssessmentService:
        """The service for a request; loads a newly published version first."""
        try:
            published = self._spec()
        except OSError:  # the store is temporarily unreadable
            return self._service
        if published == self.spec or self._just_failed(published):
            return self._service
        # while another request loads it, this one uses the current service; a thread that loads ahead serves no
        # request, so that the first request after a publication waits for it
        if not self._lock.acquire(blocking=self._ahead):
            return self._service
        try:
            if published != self.spec:
                self._follow(published)
        finally:
            self._lock.release()
        return self._service

    def _just_failed(self, spec: str) -> bool:
        failed = self._failed
        return failed is not None and failed[0] == spec and time.monotonic() - failed[1] < RETRY_SECONDS

    def _follow(self, spec: str) -> None:
        try:
            service = self._make(spec)
            old, new = self._service.model_info(), service.model_info()
            for what in ("task", "anatomy"):
                if old[what] != new[what]:
                    raise BundleError(f"{spec} is for {what} {new[what]!r}, not {old[what]!r}")
            service.load()
        except (FetalIQAError, OSError, RuntimeError, MemoryError) as problem:
            self._failed = spec, time.monotonic()
            logger.error("%s is published, but cannot be served; %s stays: %s", spec, self.spec, problem)
            return
        except Exception:
            self._failed = spec, time.monotonic()
            logger.exception("%s is published, but cannot be served; %s stays", spec, self.spec)
            return
        self._service, self.spec, self._failed = service, spec, None
        logger.info("now serving %s, version %s", spec, service.model_info()["version"])
