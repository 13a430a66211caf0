"""Frames that look as the one before them do, while the probe rests or the scanner is frozen, are encoded once."""

from __future__ import annotations

import torch

TOLERANCE = 2  # grey levels of 255, at every pixel of the model's grid: a picture coded anew, not a movement


class AlikeFrames:
    """Finds, in frames that come in their order, those that an encoded one answers for.

    Each frame is compared with the one that was encoded, never with a neighbour that was itself only compared: a
    slow movement does not add up unseen.
    """

    def __init__(self) -> None:
        self._encoded: torch.Tensor | None = None

    def sources(self, squares: torch.Tensor) -> tuple[list[int], list[int]]:
        """Which of the next frames to encode, and whose answer each frame has.

        Args:
            squares: uint8 [N, S, S] on the model's grid.

        Returns:
            Positions to encode; and for each frame how many of these there are up to the one that answers for it,
            which is 0 for the last one of the call before.
        """
        last = squares[:1] if self._encoded is None else self._encoded[None]
        like_previous = _alike(squares, torch.cat([last, squares[:-1]])).tolist()  # one wait for the device, not N
        encoded: list[int] = []
        sources: list[int] = []
        like_encoded: list[bool] = []  # of the next frames, told at once
        for position, square in enumerate(squares):
            if self._encoded is None:
                known = False
            elif position == 0 or (encoded and encoded[-1] == position - 1):
                known = like_previous[position]  # what came before is what was encoded last
            elif not like_previous[position]:
                known = False
            else:
                if not like_encoded:
                    run = squares[position : position + _run(like_previous, position)]
                    like_encoded = _alike(run, self._encoded[None]).tolist()
                known = like_encoded.pop(0)
            if not known:
                self._encoded = square
                encoded.append(position)
                like_encoded = []
            sources.append(len(encoded))
        return encoded, sources


def _run(like_previous: list[bool], start: int) -> int:
    """How many frames from ``start`` on look as the one before each does."""
    return next((n for n, alike in enumerate(like_previous[start:]) if not alike), len(like_previous) - start)


def _alike(some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Whether pictures [N, S, S] of uint8 are those of ``others`` [N, S, S] or the one of [1, S, S]: bool [N]."""
    # a difference of uint8 wraps around; larger minus smaller does not
    difference = torch.maximum(some, others) - torch.minimum(some, others)
    return difference.flatten(1).amax(dim=1) <= TOLERANCE
