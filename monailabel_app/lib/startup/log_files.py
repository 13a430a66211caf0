"""The server's log file, in the studies folder that it serves, so that no log names another folder's studies."""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

from fetaliqa.errors import OptionError

LOG_FILE_VARIABLE = "FETALIQA_LOG_FILE"
LOG_FOLDER = "server-logs"  # in the studies folder
LOG_NAME = "app.log"


def log_configuration(studies: Path, level: str) -> dict[str, Any]:
    """MONAI Label's logging configuration, with its file in a studies folder; makes that folder.

    Args:
        studies: folder that is served.
        level: of the root logger, such as ``INFO``.

    Returns:
        A dictionary for ``logging.config.dictConfig``.

    Raises:
        OptionError: when the folder cannot be made.
    """
    folder = studies / LOG_FOLDER
    try:
        folder.mkdir(exist_ok=True)
    except OSError as problem:
        raise OptionError(
            f"{folder}: the log cannot be written there ({problem.strerror}); move or remove it"
        ) from None
    file = folder / LOG_NAME
    os.environ[LOG_FILE_VARIABLE] = str(file)
    text = resources.files("monailabel").joinpath("logging.json").read_text(encoding="utf-8")
    configuration: dict[str, Any] = json.loads(text)
    for handler in configuration["handlers"].values():
        if "filename" in handler:
            handler["filename"] = str(file)
    configuration["root"]["level"] = level
    return configuration


def log_file(app_folder: str) -> Path:
    """The log of this server; that of MONAI Label's own command lies in the app's folder.

    Args:
        app_folder: folder of the app, ``settings.MONAI_LABEL_APP_DIR``.
    """
    chosen = os.environ.get(LOG_FILE_VARIABLE)
    return Path(chosen) if chosen else Path(app_folder) / "logs" / LOG_NAME
