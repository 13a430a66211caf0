"""Sets MONAI Label's settings as its ``start_server`` command does, but makes no folders in the app."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path


def apply_settings(app: Path, studies: str, port: int, conf: Mapping[str, str]) -> None:
    """Set MONAI Label's settings for this process and for the worker processes that it starts.

    Args:
        app: folder of the app; nothing is written into it.
        studies: folder of studies, or the address of an archive.
        port: that the server listens on.
        conf: pairs of ``--conf``.
    """
    from monailabel.config import settings

    settings.MONAI_LABEL_SERVER_PORT = port
    settings.MONAI_LABEL_APP_DIR = str(app)
    settings.MONAI_LABEL_STUDIES = studies
    settings.MONAI_LABEL_APP_CONF = dict(conf)
    for name, value in settings.model_dump().items():
        if value is not None:
            os.environ[name] = json.dumps(value) if isinstance(value, list | dict) else str(value)
    # MONAI Label's workers import the app by its path, and expect the variable to be there
    paths = [path for path in (os.environ.get("PYTHONPATH"), str(app)) if path]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
