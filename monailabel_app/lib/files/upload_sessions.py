"""Upload sessions whose ids cannot lead out of the session folder.

MONAI Label joins a client's session id to a path, reads the record there, and removes the folder when the image
that it names does not exist.
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
from monailabel_app.lib.http.ids import check_id, is_id
from monailabel_app.lib.http.refusal import Refused

logger = logging.getLogger(__name__)

RECORD = "meta.info"
PARTIAL_SECONDS = 3600.0  # after which a session without a record was left by a killed server


class UploadSessions(Sessions):
    """Sessions that refuse bad ids and archives (400), and report a full disk (507)."""

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
            raise Refused(400, "uncompress is not supported: paths in an archive could lead anywhere; send files")
        chosen = check_id("session", session_id or str(uuid4()))
        try:
            return super().add_session(data_file, expiry, False, chosen)
        except (OSError, shutil.Error) as problem:
            reason = why_not_written(problem, "send it") if isinstance(problem, OSError) else str(problem)
            self.remove_session(chosen)
            raise Refused(
                HTTPStatus.INSUFFICIENT_STORAGE.value,
                f"the session's files cannot be stored: {reason} (MONAI_LABEL_SESSION_PATH names another folder)",
            ) from problem

    def remove_expired(self) -> int:
        """Remove expired sessions, and incomplete ones of killed servers; returns their number."""
        folder, now, removed = Path(self.store_path), time.time(), 0
        for entry in folder.iterdir() if os.path.isdir(folder) else ():
            if not entry.is_dir() or not is_id(entry.name):
                continue
            session = self.get_session(entry.name, update_ts=False, fetch_cache=False)
            if session is None:
                expired = entry.exists() and now - entry.stat().st_mtime > PARTIAL_SECONDS
            else:
                expired = session.expiry > 0 and session.last_access_ts + session.expiry < now
            if expired:
                self.remove_session(entry.name)
                removed += 1
        return removed

    def _write_meta_info(self, session_id: str, session_info: SessionInfo) -> None:
        exists = os.path.exists(os.path.join(self.store_path, session_id, RECORD))
        try:
            write_text(Path(self.store_path) / session_id / RECORD, session_info.to_str())
        except OSError as problem:
            if not exists:
                raise
            logger.warning("session %s: its last use cannot be recorded: %s", session_id, problem)
