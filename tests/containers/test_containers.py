"""Dockerfile and compose files: what can be checked without a container engine."""

from __future__ import annotations

import fnmatch
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_steps import environment, exec_form, health_check, instructions, last

REPOSITORY = Path(__file__).parents[2]
STEPS = instructions(REPOSITORY / "Dockerfile")
COMPOSE = ("compose.yaml", "compose.orthanc.yaml")


def compose(name: str) -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / name).read_text(encoding="utf-8"))


def in_build_context(name: str) -> bool:
    """Whether .dockerignore leaves a top-level file or folder in: the last rule that matches decides."""
    kept = True
    for rule in (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").split("\n"):
        pattern = rule.strip().removeprefix("!")
        if pattern and not pattern.startswith("#") and fnmatch.fnmatch(name, pattern):
            kept = rule.startswith("!")
    return kept


def test_the_container_does_not_run_as_root() -> None:
    names = [name for name, _ in STEPS]
    user = last(STEPS, "USER")
    assert user not in ("root", "0")
    assert any(name == "RUN" and re.search(rf"useradd .*{user}\b", rest) for name, rest in STEPS)
    assert "RUN" not in names[names.index("USER") :]


def test_everything_that_is_copied_exists_and_is_sent_to_the_build() -> None:
    sources = [part for name, rest in STEPS if name == "COPY" for part in rest.split()[:-1]]
    assert {"fetaliqa", "monailabel_app", "constraints.txt", "pyproject.toml"} <= set(sources)
    for source in sources:
        assert (REPOSITORY / source).exists()
        assert in_build_context(source)
    for private in (".git", "sample-data", ".venv", "tests"):
        assert not in_build_context(private)


def test_versions_are_those_that_the_tests_run_with() -> None:
    installs = [
        part for name, rest in STEPS if name == "RUN" for part in rest.split("&&") if "pip install" in part
    ]
    assert len(installs) >= 2
    assert all("--constraint constraints.txt" in part for part in installs)


def test_the_command_is_one_that_the_command_line_accepts() -> None:
    from fetaliqa.cli.main import build_parser

    for command in (
        exec_form(last(STEPS, "CMD")),
        *(compose(name)["services"]["server"]["command"] for name in COMPOSE),
    ):
        assert command[0] == "fetaliqa"
        args = build_parser().parse_args(command[1:])
        assert args.host == "0.0.0.0"  # inside of the container; the ports of compose are of this machine only


def test_the_health_check_asks_for_something_that_needs_no_login() -> None:
    (url,) = re.findall(r"http://127\.0\.0\.1:8000(/\S*?)'", " ".join(health_check(STEPS)))
    table = (REPOSITORY / "docs" / "access.md").read_text(encoding="utf-8")
    anyone = [line for line in table.splitlines() if line.startswith("| anyone")]
    assert any(f"`GET {url}`" in line for line in anyone)


def test_what_has_to_outlive_a_container_is_a_volume() -> None:
    volumes = json.loads(last(STEPS, "VOLUME"))
    assert volumes == ["/studies", "/data"]
    variables = environment(STEPS)
    assert {variables["FETALIQA_HOME"], variables["XDG_CACHE_HOME"]} == {"/data", "/data/cache"}
    for name in COMPOSE:
        described = compose(name)
        for service in described["services"].values():
            for volume in service["volumes"]:
                source = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", volume).partition(":")[0]
                assert source in described["volumes"]


@pytest.mark.parametrize("name", COMPOSE)
def test_ports_are_open_to_this_machine_only_unless_asked(name: str) -> None:
    for service in compose(name)["services"].values():
        assert all(port.startswith("${ADDRESS:-127.0.0.1}:") for port in service["ports"])


def test_the_archive_has_a_pinned_version_and_no_password_of_its_own() -> None:
    services = compose("compose.orthanc.yaml")["services"]
    assert re.fullmatch(r"orthancteam/orthanc:\d+\.\d+\.\d+", services["orthanc"]["image"])
    users = services["orthanc"]["environment"]["ORTHANC__REGISTERED_USERS"]
    assert json.loads(re.sub(r"\$\{ORTHANC_PASSWORD:\?[^}]*\}", "given", users)) == {"fetaliqa": "given"}
    server = services["server"]["environment"]
    assert server["MONAI_LABEL_DICOMWEB_USERNAME"] == "fetaliqa"
    assert server["MONAI_LABEL_DICOMWEB_PASSWORD"].startswith("${ORTHANC_PASSWORD:?")
