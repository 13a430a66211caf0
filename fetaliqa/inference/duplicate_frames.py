"""Detection of duplicate frames, as while the probe rests or the image is frozen: they are encoded once."""

from __future__ import annotations

import torch

TOLERANCE = 2  # grey levels (of 255) at every pixel of the model's grid: re-encoding noise, not movement


class DuplicateFrames:
    """Finds, in consecutive frames, those whose outputs can be taken from an earlier encoded frame.

    Each frame is compared with the last encoded frame, never with a duplicate, so that slow movement does not
    accumulate unnoticed.
    """

    def __init__(self) -> None:
        self._encoded: torch.Tensor | None = None

    def sources(self, squares: torch.Tensor) -> tuple[list[int], list[int]]:
        """Which of the next frames to encode, and the source of each frame's outputs.

        Args:
            squares: uint8 [N, S, S] on the model's grid.

        Returns:
            Positions to encode; and for each frame the one-based number of its source among these, where 0 is the
            last encoded frame of the previous call.
        """
        last = squares[:1] if self._encoded is None else self._encoded[None]
        like_previous = _alike(squares, torch.cat([last, squares[:-1]])).tolist()  # one synchronization, not N
        encoded: list[int] = []
        sources: list[int] = []
        like_encoded: list[bool] = []  # comparisons of the next frames, computed together
        for position, square in enumerate(squares):
            if self._encoded is None:
                duplicate = False
            elif position == 0 or (encoded and encoded[-1] == position - 1):
                duplicate = like_previous[position]  # the previous frame is the last encoded one
            elif not like_previous[position]:
                duplicate = False
            else:
                if not like_encoded:
                    run = squares[position : position + _run(like_previous, position)]
                    like_encoded = _alike(run, self._encoded[None]).tolist()
                duplicate = like_encoded.pop(0)
            if not duplicate:
                self._encoded = square
                encoded.append(position)
                like_encoded = []
            sources.append(len(encoded))
        return encoded, sources


def _run(like_previous: list[bool], start: int) -> int:
    """Length of the run of frames from ``start`` that each equal their predecessor."""
    return next((n for n, alike in enumerate(like_previous[start:]) if not alike), len(like_previous) - start)


def _alike(some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Whether images uint8 [N, S, S] equal ``others`` ([N, S, S] or [1, S, S]) within the tolerance: bool [N]."""
    # uint8 differences wrap around; maximum minus minimum does not
    difference = torch.maximum(some, others) - torch.minimum(some, others)
    return difference.flatten(1).amax(dim=1) <= TOLERANCE
