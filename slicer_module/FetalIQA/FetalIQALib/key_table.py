"""The user's keys: a JSON file next to Slicer's settings with those that differ from the default ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Callable

from FetalIQALib.client_errors import InvalidAction
from FetalIQALib.journal import write_atomically
from FetalIQALib.translation import _
from FetalIQALib.user_actions import EDITOR_KEYS, MAIN_WINDOW_KEYS, Action

MAX_BYTES = 1 << 16


class KeyTable:
    """Keys by action.

    Args:
        actions: with their default keys.
        file: of the user's keys; None: nothing is read or saved.
        normal: a key in its normal spelling, empty for text that is no key.

    Attributes:
        problem: sentence on a file that cannot be used; empty otherwise. The default keys are used then.
    """

    def __init__(self, actions: Sequence[Action], file: Path | None, normal: Callable[[str], str]) -> None:
        self._actions = {action.name: action for action in actions}
        self._file = file
        self._normal = normal
        self._own: dict[str, str] = {}
        self.problem = ""
        self._read()

    def keys(self) -> dict[str, str]:
        """Key of each action."""
        return {name: self._own.get(name, action.key) for name, action in self._actions.items()}

    def set(self, name: str, key: str) -> str:
        """Assign a key to an action and save the table; returns the key in its normal spelling.

        Raises:
            InvalidAction: if the text is no key, or the key is in use; nothing changes then.
            InvalidAction: also if the table cannot be saved.
        """
        normal = self._checked(name, key, self.keys())
        own = {**self._own, name: normal}
        if normal == self._normal(self._actions[name].key):
            del own[name]
        self._save(own)
        return normal

    def reset(self) -> None:
        """Return to the default keys.

        Raises:
            InvalidAction: if the table cannot be saved.
        """
        self._save({})

    def _checked(self, name: str, key: str, keys: Mapping[str, str]) -> str:
        normal = self._normal(key.strip())
        if not normal:
            raise InvalidAction(
                _("{key!r} is not a key; enter one like D, Shift+D or Ctrl+Return.").format(key=key)
            )
        for other, taken in keys.items():
            if other != name and self._normal(taken) == normal:
                raise InvalidAction(
                    _("{key} is the key of {action!r}; choose another one, or change that one first.").format(
                        key=normal, action=self._actions[other].text
                    )
                )
        if normal in {self._normal(taken) for taken in (*EDITOR_KEYS, *MAIN_WINDOW_KEYS)}:
            message = _("{key} is a key of Slicer or its Segment Editor; choose another one.")
            raise InvalidAction(message.format(key=normal))
        return normal

    def _read(self) -> None:
        if self._file is None or not self._file.is_file():
            return
        try:
            if self._file.stat().st_size > MAX_BYTES:
                raise ValueError("too large")
            content = json.loads(self._file.read_text(encoding="utf-8"))
            keys = self.keys()
            for name, key in content.items():
                if name in keys:  # actions of other versions of the module are ignored
                    keys[name] = str(key)
            own = {name: keys[name] for name in content if name in keys}
            for name, key in own.items():
                own[name] = self._checked(name, key, keys)
            self._own = own
        except (OSError, ValueError, AttributeError, RecursionError, InvalidAction) as problem:
            self.problem = _("The keys in {file} cannot be used ({problem}); the default keys are active.").format(
                file=self._file, problem=problem
            )

    def _save(self, own: dict[str, str]) -> None:
        if self._file is not None:
            try:
                write_atomically(self._file, json.dumps(own, indent=1).encode("utf-8"))
            except OSError as problem:
                raise InvalidAction(
                    _("The keys cannot be saved in {file} ({reason}); check the disk.").format(
                        file=self._file, reason=problem.strerror
                    )
                ) from problem
        self._own = own
