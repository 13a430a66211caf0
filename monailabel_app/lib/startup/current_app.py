"""The app that this process serves.

MONAI Label's plain server forgets its app at ``POST /reload`` and makes another at the next request, which
has to close the first one: its threads and models would stay. ``main.py`` is loaded anew for each app, and so
    cannot
hold the reference.
"""

from __future__ import annotations

import threading
from typing import Protocol


class _Closable(Protocol):
    def close(self) -> None: ...


_lock = threading.Lock()
_current: dict[str, _Closable] = {}


def set_current(studies: str, app: _Closable) -> None:
    """Register the app that serves these studies."""
    with _lock:
        _current[studies] = app


def close_current(studies: str) -> bool:
    """Close the app that serves these studies; True when there was one."""
    with _lock:
        app = _current.pop(studies, None)
    if app is not None:
        app.close()
    return app is not None
