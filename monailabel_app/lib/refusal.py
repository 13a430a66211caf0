"""Refusals that any server can show: a FetalIQA error that is also an HTTP answer.

FastAPI turns an ``HTTPException`` into its status and ``{"detail": sentence}``. Raising it from the app and
the datastore gives clients of MONAI Label's plain server (``start_server`` without our front) the sentence
too, where an ordinary exception would be "500 Internal Server Error".
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from fastapi import HTTPException

from fetaliqa.errors import FetalIQAError


class Refused(HTTPException, FetalIQAError):
    """A request that is not carried out.

    Args:
        status: HTTP status.
        sentence: what, which value, what to do.
    """

    def __init__(self, status: int, sentence: str) -> None:
        HTTPException.__init__(self, status_code=status, detail=sentence)
        self.http_status = status

    def __str__(self) -> str:
        return str(self.detail)


@contextlib.contextmanager
def as_refusal() -> Iterator[None]:
    """Let the library's errors leave the block as refusals with their own HTTP status."""
    try:
        yield
    except Refused:
        raise
    except FetalIQAError as error:
        raise Refused(error.http_status, str(error)) from error
