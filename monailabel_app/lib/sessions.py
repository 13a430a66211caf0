"""Upload sessions with ids that stay inside the session folder.

MONAI Label joins a client's session id to a path, reads what is there, and removes the folder when the image
it names is gone.
"""

from __future__ import annotations

from typing import Any

from monailabel.utils.sessions import Sessions

from monailabel_app.lib.ids import check_id
from monailabel_app.lib.refusal import Refused


class GuardedSessions(Sessions):
    """Sessions that refuse other ids and archives with 400."""

    def get_session(self, session_id: str, update_ts: bool = True, fetch_cache: bool = True) -> Any:
        return super().get_session(check_id("session", session_id), update_ts, fetch_cache)

    def remove_session(self, session_id: str) -> None:
        super().remove_session(check_id("session", session_id))

    def add_session(
        self, data_file: str, expiry: int = 0, uncompress: bool = False, session_id: str | None = None
    ) -> Any:
        if uncompress:
            raise Refused(
                400, "uncompress: archives are not unpacked here, since members can lead anywhere; send files"
            )
        return super().add_session(data_file, expiry, False, session_id)
