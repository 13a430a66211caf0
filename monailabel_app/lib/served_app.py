"""Which app this process serves.

MONAI Label's plain server forgets its app at ``POST /reload`` and makes another at the next request. The threads
and models of the first one would stay, so the next one closes it. ``main.py`` is loaded anew for each, and so
cannot remember the first one itself.
"""

from __future__ import annotations

import threading
from typing import Protocol


class _Served(Protocol):
    def close(self) -> None: ...


_lock = threading.Lock()
_served: dict[str, _Served] = {}


def begin_served(studies: str, app: _Served) -> None:
    """Remember that an app serves these studies."""
    with _lock:
        _served[studies] = app


def end_served(studies: str) -> bool:
    """Close the app that serves these studies; True when there was one."""
    with _lock:
        app = _served.pop(studies, None)
    if app is not None:
        app.close()
    return app is not None
