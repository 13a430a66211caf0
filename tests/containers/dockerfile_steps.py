"""The instructions of a Dockerfile as a list, for checks and for carrying them out without a container engine."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

KNOWN = (
    "FROM", "ARG", "RUN", "COPY", "ENV", "USER", "WORKDIR", "VOLUME", "EXPOSE", "HEALTHCHECK", "CMD",
)  # fmt: skip


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) in order; an instruction that nothing here understands is an error."""
    text = re.sub(r"(?m)^\s*#.*\n", "", dockerfile.read_text(encoding="utf-8")).replace("\\\n", " ")
    steps = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        if name not in KNOWN:
            raise ValueError(f"{dockerfile}: the instruction {name} is not understood")
        steps.append((name, " ".join(rest.split()) if name != "RUN" else rest.strip()))
    return steps


def assignments(arguments: str) -> dict[str, str]:
    """The variables of an ENV or ARG instruction."""
    return {name: value.strip('"') for name, _, value in (part.partition("=") for part in arguments.split())}


def exec_form(arguments: str) -> list[str]:
    """The command of a CMD in JSON form."""
    return [str(part) for part in json.loads(arguments[arguments.index("[") :])]


def health_check(steps: list[tuple[str, str]]) -> list[str]:
    """The command of the health check."""
    (arguments,) = [rest for name, rest in steps if name == "HEALTHCHECK"]
    return exec_form(arguments.partition(" CMD ")[2])


def last(steps: list[tuple[str, str]], name: str) -> str:
    """Arguments of the last instruction of a kind."""
    return [rest for step, rest in steps if step == name][-1]


def environment(steps: list[tuple[str, str]]) -> Mapping[str, str]:
    """Variables that a container has."""
    return {key: value for name, rest in steps if name == "ENV" for key, value in assignments(rest).items()}
