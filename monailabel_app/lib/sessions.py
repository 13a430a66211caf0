"""Upload sessions with ids that stay inside the session folder.

MONAI Label joins a client's session id to a path, reads what is there, and removes the folder when the image
it names is gone.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4

from monailabel.utils.sessions import SessionInfo, Sessions

from fetaliqa.atomic import why_not_written, write_text
from monailabel_app.lib.ids import check_id, is_id
from monailabel_app.lib.refusal import Refused

logger = logging.getLogger(__name__)

RECORD = "meta.info"
HALF_SECONDS = 3600.0  # a session without a record may be on its way; later it was left by a killed server


class GuardedSessions(Sessions):
    """Sessions that refuse other ids and archives with 400, and a disk that does not take a file with 507."""

    def get_session(self, session_id: str, update_ts: bool = True, fetch_cache: bool = True) -> Any:
        try:
            return super().get_session(check_id("session", session_id), update_ts, fetch_cache)
        except (ValueError, TypeError, AttributeError) as problem:  # a record cut off by a kill or a full disk
            logger.warning("session %s cannot be read: %s", session_id, problem)
            return None

    def remove_session(self, session_id: str) -> None:
        super().remove_session(check_id("session", session_id))

    def add_session(
        self, data_file: str, expiry: int = 0, uncompress: bool = False, session_id: str | None = None
    ) -> Any:
        if uncompress:
            raise Refused(
                400, "uncompress: archives are not unpacked here, since members can lead anywhere; send files"
            )
        chosen = check_id("session", session_id or str(uuid4()))
        try:
            return super().add_session(data_file, expiry, False, chosen)
        except (OSError, shutil.Error) as problem:
            reason = why_not_written(problem, "send it") if isinstance(problem, OSError) else str(problem)
            self.remove_session(chosen)
            raise Refused(
                HTTPStatus.INSUFFICIENT_STORAGE.value,
                f"the session's files cannot be kept: {reason} (MONAI_LABEL_SESSION_PATH names another folder)",
            ) from problem

    def remove_expired(self) -> int:
        """Remove sessions whose time is over, and what killed servers left half-made; returns how many."""
        folder, now, removed = Path(self.store_path), time.time(), 0
        for found in folder.iterdir() if os.path.isdir(folder) else ():
            if not found.is_dir() or not is_id(found.name):
                continue
            session = self.get_session(found.name, update_ts=False, fetch_cache=False)
            if session is None:
                over = found.exists() and now - found.stat().st_mtime > HALF_SECONDS
            else:
                over = session.expiry > 0 and session.last_access_ts + session.expiry < now
            if over:
                self.remove_session(found.name)
                removed += 1
        return removed

    def _write_meta_info(self, session_id: str, session_info: SessionInfo) -> None:
        known = os.path.exists(os.path.join(self.store_path, session_id, RECORD))
        try:
            write_text(Path(self.store_path) / session_id / RECORD, session_info.to_str())
        except OSError as problem:
            if not known:
                raise
            logger.warning("session %s: its last use is not noted: %s", session_id, problem)
