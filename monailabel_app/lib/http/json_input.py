"""Strict parsing of JSON from clients.

Python's parser, and pydantic's, also accept NaN, infinite numbers or duplicate keys, and text that is not Unicode.
Such values pass most checks, are stored in a task or a record, and make every later response that contains them
fail.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

import anyio
from fastapi import Depends, Request
from starlette.requests import ClientDisconnect

from monailabel_app.lib.http.refusal import Refused

MAX_JSON_BYTES = 4 * 1024**2  # of a body; 10,000 image ids of full length are 2 MB
MAX_MASKS_BYTES = 32 * 1024**2  # 840 outlines of 1,000 rows as run lengths are 8 MB
QUICK_BYTES = 128 * 1024  # parsed in a millisecond
MAX_DEPTH = 50  # objects within objects; the datastore's index is read by a parser that gives up at about 200
MAX_WHOLE = 2**63  # the range of clients in other languages, and of the index
MAX_DIGITS = 20  # of such a number with its sign; longer text is not converted
JSON_TYPE = "application/json"


class _NotAccepted(ValueError):
    """A value that Python's parser accepts, and that is refused here."""


def _constant(name: str) -> Any:
    raise _NotAccepted(f"{name} is not a JSON number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _NotAccepted(f"the number {text[:20]} is too large")
    return value


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS or abs(int(text)) >= MAX_WHOLE:
        raise _NotAccepted(f"the number {text[:20]}{'…' if len(text) > 20 else ''} is too large")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        ((duplicate, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise _NotAccepted(f"the key {ascii(duplicate)[:80]} is duplicated")
    return value


def too_deep(value: Any) -> bool:
    """Whether objects and lists are nested deeper than ``MAX_DEPTH``."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        parents = [one for one in level if isinstance(one, dict | list)]
        level = [child for one in parents for child in (one.values() if isinstance(one, dict) else one)]
        if not parents:
            return False
    return True


def parsed(what: str, text: str | bytes) -> Any:
    """The value of a JSON text.

    Args:
        what: name of the text in messages.
        text: the JSON text; bytes are UTF-8.

    Raises:
        Refused: 400 when it is not JSON, or contains NaN or an infinite number, an integer of more than 63 bits,
            a duplicate key, text that is not Unicode, or objects nested too deep.
    """
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(
            decoded,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_whole,
            object_pairs_hook=_object,
        )
        deep = too_deep(value)
        if "\\u" in decoded:  # half of a surrogate pair can be escaped, but not sent in a response
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        deep = True
    except UnicodeDecodeError:
        raise Refused(400, f"{what} is not JSON: it is not UTF-8") from None
    except UnicodeEncodeError:
        raise Refused(400, f"{what} is not accepted: it is not Unicode (half of a surrogate pair)") from None
    except _NotAccepted as problem:
        raise Refused(400, f"{what} is not accepted: {problem}") from None
    except ValueError as problem:
        raise Refused(400, f"{what} is not JSON: {problem}") from None
    if deep:
        raise Refused(400, f"{what} is nested deeper than {MAX_DEPTH} levels; send it flat")
    return value


def json_object(field: str, text: str | None) -> dict[str, Any]:
    """Parse a form field that holds a JSON object.

    Raises:
        Refused: 400 when it does not, see :func:`parsed`.
    """
    return _as_object(f"form field {field}", parsed(f"form field {field}", text or "{}"))


def _as_object(what: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(400, f"{what} must be a JSON object like {{}}, not {type(value).__name__}")
    return value


def _body_up_to(max_bytes: int) -> Callable[[Request], Awaitable[dict[str, Any]]]:
    """A dependency that reads a body that is a JSON object."""

    async def body(request: Request) -> dict[str, Any]:
        content = bytearray()
        try:
            async for chunk in request.stream():
                content += chunk
                if len(content) > max_bytes:
                    raise Refused(413, f"the body is larger than {max_bytes // 1024**2} MiB, the limit for JSON")
        except ClientDisconnect:
            raise Refused(400, "the request ended before its body was complete") from None
        if not content.strip():
            return {}
        sent_as = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if sent_as != JSON_TYPE:
            raise Refused(
                415, f"the content type of the body is {ascii(sent_as)[:80]}; send Content-Type: {JSON_TYPE}"
            )
        if len(content) <= QUICK_BYTES:
            value = parsed("the body", bytes(content))
        else:  # other requests do not wait for it
            value = await anyio.to_thread.run_sync(parsed, "the body", bytes(content))
        return {} if value is None else _as_object("the body", value)

    return body


JsonObject = Annotated[dict[str, Any], Depends(_body_up_to(MAX_JSON_BYTES))]
"""A request body that is a JSON object, empty where there is none. Refused: 400, and 415 for another type."""

MasksObject = Annotated[dict[str, Any], Depends(_body_up_to(MAX_MASKS_BYTES))]
"""As ``JsonObject``, of masks as run lengths."""


def takes_json(
    properties: Mapping[str, Mapping[str, Any]], *, required: tuple[str, ...] = (), others: bool = True
) -> dict[str, Any]:
    """OpenAPI description of such a body.

    Args:
        properties: JSON schema of each key.
        required: required keys.
        others: whether other keys are ignored, so that general clients can send theirs.
    """
    schema: dict[str, Any] = {"type": "object", "properties": dict(properties), "additionalProperties": others}
    if required:
        schema["required"] = list(required)
    return {"requestBody": {"required": bool(required), "content": {JSON_TYPE: {"schema": schema}}}}
