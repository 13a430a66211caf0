"""ONNX files of FetalIQA: reading and checking them, adding weights and metadata, without the package ``onnx``.

An ONNX file is one protobuf message, ``ModelProto`` (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). The
protobuf encoding allows what is used here: messages of one type that are written one after the other are read as
one message, whose lists are joined (https://protobuf.dev/programming-guides/encoding/#last-one-wins). So weights
and metadata are added by appending, and a checksum can be the end of the file. The package ``onnx`` could do the
same, and brings 40 MB that scoring does not need.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa import __version__
from fetaliqa.errors import BundleError
from fetaliqa.measure.circumference_interval import Calibration
from fetaliqa.model.bundle_card import BundleCard, parse_card
from fetaliqa.model.interval_file import Intervals
from fetaliqa.model.json_records import from_json, to_json

CONTRACT = 1  # version of the graph's inputs, outputs and metadata: docs/onnx.md
OPSET = 18
INPUT = "frames"
SUFFIX = ".onnx"
# keys of the metadata
CONTRACT_KEY, VERSION_KEY, CARD_KEY, FINGERPRINT_KEY, INTERVAL_KEY, CHECKSUM_KEY = (
    f"fetaliqa.{name}" for name in ("contract", "version", "card", "fingerprint", "interval", "sha256")
)

# field numbers of onnx.proto
_IR_VERSION, _GRAPH, _METADATA = 1, 7, 14  # ModelProto
_INITIALIZER = 5  # GraphProto
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA = 1, 2, 8, 9  # TensorProto
_KEY, _VALUE = 1, 2  # StringStringEntryProto
_FLOAT = 1  # TensorProto.DataType
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_LONGEST_VARINT = 10  # bytes


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A model as an ONNX graph.

    Attributes:
        source: path of the file, or its content.
        card: of the bundle it was exported from.
        fingerprint: SHA-256 (hex) that identifies graph, weights and card.
        name: for messages.
        intervals: the bundle's calibration of its intervals, or why there is none.
    """

    source: Path | bytes
    card: BundleCard
    fingerprint: str
    name: str
    intervals: Intervals = field(default_factory=Intervals)


def is_onnx_path(path: Path) -> bool:
    """Whether a path names an ONNX file, which need not exist."""
    return path.suffix.lower() == SUFFIX


def read_onnx(path: Path) -> OnnxModel:
    """Check an ONNX file that ``fetaliqa models export`` wrote, and read its card.

    Raises:
        BundleError: when it is no such file, is incomplete or changed, or has another version.
    """
    try:
        with open(path, "rb") as file:
            if path.stat().st_size == 0:
                raise BundleError(f"{path}: an empty file; export the model again with `fetaliqa models export`")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                metadata = _metadata(content, path)
                _check_metadata(metadata, path)
                checksum = metadata.get(CHECKSUM_KEY, "")
                end = len(content) - len(_entry(CHECKSUM_KEY, checksum))
                with memoryview(content) as view, view[: max(end, 0)] as body:
                    actual = hashlib.sha256(body).hexdigest()
    except OSError as problem:
        raise BundleError(f"{path}: not readable ({problem.strerror or problem})") from None
    if actual != checksum:
        raise BundleError(
            f"{path}: damaged or changed after its export: its hash is {actual[:12]}, the file says "
            f"{checksum[:12] or 'none'}; export the model again with `fetaliqa models export`"
        )
    try:
        card = json.loads(metadata[CARD_KEY])
    except (KeyError, ValueError):
        raise BundleError(f"{path}: no readable model card in it; export the model again") from None
    intervals = _intervals(metadata.get(INTERVAL_KEY), path)
    return OnnxModel(path, parse_card(card, f"{path}: card"), checksum, str(path), intervals)


def _intervals(text: str | None, path: Path) -> Intervals:
    """The calibration in a file's metadata; its hash is part of the file's fingerprint."""
    if text is None:
        return Intervals()
    try:
        calibration = from_json(Calibration, json.loads(text), f"{path}: {INTERVAL_KEY}", BundleError)
    except ValueError:
        raise BundleError(f"{path}: no readable calibration in it; export the model again") from None
    return Intervals(calibration, None)


def with_metadata(graph: bytes, card: BundleCard, fingerprint: str, intervals: Intervals) -> bytes:
    """An ONNX file with the card and the calibration of intervals, and a checksum as its end.

    Args:
        graph: the file without them.
        card: of the bundle.
        fingerprint: of the bundle.
        intervals: of the bundle.
    """
    entries = {
        CONTRACT_KEY: str(CONTRACT),
        VERSION_KEY: __version__,
        CARD_KEY: json.dumps(card.to_json()),
        FINGERPRINT_KEY: fingerprint,
    }
    if intervals.calibration is not None:
        entries[INTERVAL_KEY] = json.dumps(to_json(intervals.calibration))
    body = b"".join([graph, *(_entry(key, value) for key, value in entries.items())])
    return body + _entry(CHECKSUM_KEY, hashlib.sha256(body).hexdigest())


def with_weights(graph: bytes, weights: Mapping[str, np.ndarray]) -> bytes:
    """An ONNX file with more initializers, stored as float32."""
    tensors = [_field(_INITIALIZER, *_tensor(name, values)) for name, values in weights.items()]
    return b"".join([graph, _field(_GRAPH, *tensors)])


def _tensor(name: str, values: np.ndarray) -> Iterator[bytes]:
    for size in values.shape:
        yield _number(_DIMS, size)
    yield _number(_DATA_TYPE, _FLOAT)
    yield _field(_NAME, name.encode())
    yield _field(_RAW_DATA, np.ascontiguousarray(values, "<f4").tobytes())


def _entry(key: str, value: str) -> bytes:
    return _field(_METADATA, _field(_KEY, key.encode()), _field(_VALUE, value.encode()))


def _field(number: int, *parts: bytes) -> bytes:
    """A field of bytes, or of a message that consists of ``parts``."""
    return b"".join([_varint(number << 3 | _BYTES), _varint(sum(map(len, parts))), *parts])


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value)


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


class _Cut(Exception):
    """A message ends within a field."""


class _Alien(Exception):
    """Bytes that are no fields."""


def _metadata(content: Any, path: Path) -> dict[str, str]:
    """The metadata of an ONNX file.

    Raises:
        BundleError: when it is not an ONNX file, or a part of one.
    """
    metadata: dict[str, str] = {}
    known = 0
    try:
        for number, start, end in _fields(content, 0, len(content)):
            known += number in (_IR_VERSION, _GRAPH)
            if number == _METADATA:
                entry = {
                    one: bytes(content[first:last]).decode() for one, first, last in _fields(content, start, end)
                }
                metadata[entry.get(_KEY, "")] = entry.get(_VALUE, "")
    except _Cut:
        if not known:
            raise _not_onnx(path) from None
        raise BundleError(
            f"{path}: the file is truncated; copy it again, or export the model with `fetaliqa models export`"
        ) from None
    except (_Alien, UnicodeDecodeError):
        raise _not_onnx(path) from None
    if not known:
        raise _not_onnx(path)
    return metadata


def _not_onnx(path: Path) -> BundleError:
    return BundleError(f"{path}: not an ONNX file; give one that `fetaliqa models export` wrote")


def _check_metadata(metadata: Iterable[str] | Mapping[str, str], path: Path) -> None:
    assert isinstance(metadata, Mapping)
    contract = metadata.get(CONTRACT_KEY)
    if contract is None:
        raise BundleError(
            f"{path}: an ONNX file without the metadata of FetalIQA, or a truncated one; "
            "export a model with `fetaliqa models export`"
        )
    if contract != str(CONTRACT):
        raise BundleError(
            f"{path}: version {contract[:20]} of the graph's inputs and outputs, written by FetalIQA "
            f"{metadata.get(VERSION_KEY, '?')[:20]}; this FetalIQA {__version__} reads version {CONTRACT}, "
            "so export the model again"
        )


def _fields(content: Any, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field of a message.

    Raises:
        _Cut: when the last one is incomplete.
        _Alien: when bytes are no field.
    """
    while position < end:
        tag, position = _read_varint(content, position, end)
        number, kind = tag >> 3, tag & 7
        if kind == _BYTES:
            size, position = _read_varint(content, position, end)
        elif kind == _VARINT:
            size = _read_varint(content, position, end)[1] - position
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise _Alien
        if not number:
            raise _Alien
        if position + size > end:
            raise _Cut
        yield number, position, position + size
        position += size


def _read_varint(content: Any, position: int, end: int) -> tuple[int, int]:
    value = 0
    for count in range(_LONGEST_VARINT):
        if position + count >= end:
            raise _Cut
        byte = content[position + count]
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, position + count + 1
    raise _Alien
