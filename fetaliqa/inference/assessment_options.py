"""Options of an assessment: the part of a case to assess, and how. Validated once, part of the cache key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fetaliqa.errors import OptionError

PRECISIONS = ("auto", "fp32", "bf16")  # of the encoder, see precision.py
MAX_TOP_N = 100
MAX_SWEEPS = 1000


def _whole(name: str, value: Any, low: int, high: int) -> int:
    # bool is an int in Python; `"top_n": true` must not count as 1
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise OptionError(f"{name} is {value!r}; it must be a whole number from {low} to {high}")
    try:
        number = int(str(value).strip()) if isinstance(value, str) else int(value)
        exact = float(value) == number
    except (ValueError, OverflowError):
        exact = False
        number = 0
    if not exact or not low <= number <= high:
        raise OptionError(f"{name} is {value!r}; it must be a whole number from {low} to {high}")
    return number


@dataclass(frozen=True)
class AssessOptions:
    """Options of one assessment.

    Attributes:
        sweeps: 0-based sweep numbers to assess, or None for all.
        frames: half-open frame range ``(start, stop)`` to assess, or None for all.
        top_n: number of distinct frames to rank per case (1-100).
        threshold: pixel probability above which a pixel is foreground (between 0 and 1, exclusive), or
            None for the bundle's own.
        search: evaluate only frames that may be the best of a sweep; quality of the others is interpolated.
        screen: evaluate only frames selected by the screening model; the others have a predicted quality, no mask.
        sweep_count: number of equal sweeps in the stack, or None to infer the borders from the data.
    """

    sweeps: tuple[int, ...] | None = None
    frames: tuple[int, int] | None = None
    top_n: int = 5
    threshold: float | None = None
    sweep_count: int | None = None
    search: bool = False
    screen: bool = False

    def __post_init__(self) -> None:
        if self.search and self.screen:
            raise OptionError(
                "search and screen exclude each other: search finds the best frame, screen every frame that shows "
                "the anatomy; choose one"
            )

    @property
    def screened(self) -> bool:
        """Whether a screening model may limit the frames to assess."""
        return self.search or self.screen

    @classmethod
    def from_request(cls, request: Mapping[str, Any]) -> AssessOptions:
        """Read options from a JSON object sent by a client; keys that are not options are ignored.

        Raises:
            OptionError: when a value is not of the option's form.
        """
        values = {key: request[key] for key in cls.__dataclass_fields__ if request.get(key) is not None}
        options: dict[str, Any] = {}
        if "sweeps" in values:
            sweeps = values["sweeps"]
            sweeps = sweeps if isinstance(sweeps, list | tuple) else [sweeps]
            if not sweeps:
                raise OptionError("sweeps is an empty list; leave it out to assess all sweeps")
            options["sweeps"] = tuple(sorted({_whole("sweeps", value, 0, MAX_SWEEPS - 1) for value in sweeps}))
        if "frames" in values:
            frames = values["frames"]
            if not isinstance(frames, list | tuple) or len(frames) != 2:
                raise OptionError(f"frames is {frames!r}; it must be [first, last + 1], for example [0, 140]")
            start, stop = (_whole("frames", value, 0, 2**31 - 1) for value in frames)
            if start >= stop:
                raise OptionError(f"frames is [{start}, {stop}]; the first must be smaller than the second")
            options["frames"] = (start, stop)
        if "top_n" in values:
            options["top_n"] = _whole("top_n", values["top_n"], 1, MAX_TOP_N)
        if "sweep_count" in values:
            options["sweep_count"] = _whole("sweep_count", values["sweep_count"], 1, MAX_SWEEPS)
        for name in ("search", "screen"):
            if name in values:
                if not isinstance(values[name], bool):
                    raise OptionError(f"{name} is {values[name]!r}; it must be true or false")
                options[name] = values[name]
        if "threshold" in values:
            try:
                threshold = float(values["threshold"])
            except (TypeError, ValueError, OverflowError):
                threshold = -1.0
            if isinstance(values["threshold"], bool) or not 0.0 < threshold < 1.0:
                raise OptionError(
                    f"threshold is {values['threshold']!r}; a probability between 0 and 1 is needed (0.5 is usual)"
                )
            options["threshold"] = threshold
        return cls(**options)

    def as_dict(self) -> dict[str, Any]:
        """The options as JSON values, in a fixed order; ``screen`` only if set.

        They are part of cache keys: without ``screen`` the keys of earlier versions stay valid.
        """
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        if not self.screen:
            del values["screen"]
        return values
