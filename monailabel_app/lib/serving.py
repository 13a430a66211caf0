"""Which bundle answers: one that was chosen, or whatever is published at the moment."""

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


class Serving:
    """An assessment service that follows the published version, without a restart.

    A request keeps the service it began with. The next one after a publication loads the new version first and
    swaps then, while others are still answered by the old one. What cannot be loaded is logged, and the old one
    stays.

    Args:
        make: a service of the bundle that a spec names.
        spec: which bundle is to be served now; it never changes where it was chosen.
        instead: bundles to begin with where that one cannot be used, the best first.

    Raises:
        FetalIQAError: when none of them can be used.
    """

    def __init__(
        self,
        make: Callable[[str], AssessmentService],
        spec: Callable[[], str],
        instead: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._make, self._spec = make, spec
        self._lock = threading.Lock()
        self._failed: tuple[str, float] | None = None
        self._ahead = False  # whether a thread loads what is published before anybody asks for it
        self.spec = wanted = spec()
        try:
            self._service = self._checked(wanted)
        except FetalIQAError as problem:
            self._failed = wanted, time.monotonic()
            for other in instead():
                with contextlib.suppress(FetalIQAError):
                    self._service, self.spec = self._checked(other), other
                    logger.error("%s is published, but cannot be served; %s is: %s", wanted, other, problem)
                    return
            raise

    def _checked(self, spec: str) -> AssessmentService:
        service = self._make(spec)
        service.check()
        return service

    def peek(self) -> AssessmentService:
        """The service at hand, at once; where another version is published it is loaded meanwhile, in a thread."""
        try:
            wanted = self._spec()
        except OSError:
            return self._service
        if wanted != self.spec and not self._just_failed(wanted) and not self._ahead and not self._lock.locked():
            self._ahead = True
            threading.Thread(target=self._load_ahead, name="follow-published", daemon=True).start()
        return self._service

    def _load_ahead(self) -> None:
        try:
            self.current()
        finally:
            self._ahead = False

    def current(self) -> AssessmentService:
        """The service to answer a request with."""
        try:
            wanted = self._spec()
        except OSError:  # the store is not readable for a moment
            return self._service
        if wanted == self.spec or self._just_failed(wanted):
            return self._service
        # another request is loading it, and this one is answered meanwhile; what is loaded ahead has no request of
        # its own, and the first one after a publication is to be answered by the new version
        if not self._lock.acquire(blocking=self._ahead):
            return self._service
        try:
            if wanted != self.spec:
                self._follow(wanted)
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
