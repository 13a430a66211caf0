"""The address that the server listens on: taken, or refused in a sentence, before anything is loaded."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from app_harness import REPOSITORY, environment

from fetaliqa.errors import OptionError
from monailabel_app.lib.http.hosts import allowed_hosts, check_open, checked_hosts, host_and_port, is_loopback
from monailabel_app.lib.startup.listening import addresses_of, host_of_command, listen

COMMAND = """
import json, sys
from monailabel_app.serve import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted({"torch", "numpy", "uvicorn", "SimpleITK"}.intersection(sys.modules))]))
"""


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "BUSY"], "another program"),
        (["--port", "http"], "--port http"),
        (["--port", "70000"], "--port 70000"),
        (["--port=-1"], "--port -1"),
        (["--port", "8000.5"], "--port 8000.5"),
        (["--port", ""], "--port"),
        (["--host", "no-such-host.invalid"], "no-such-host.invalid"),
        (["--host", "http://127.0.0.1"], "http://127.0.0.1"),
        (["--host", ""], "--host is empty"),
        (["--host", "192.0.2.1", "--conf", "open", "true"], "no such address"),
        (["--host", "0.0.0.0"], "--conf open true"),
        (["--host", "::"], "--conf open true"),
        (["--host", "192.0.2.1", "--conf", "open", "false"], "--conf open true"),
        (["--host", "0.0.0.0", "--conf", "open", "perhaps"], "true or false"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_sentence_before_anything_is_loaded(
    arguments: list[str], said: str, busy_port: int, tmp_path: Path
) -> None:
    given = [str(busy_port) if value == "BUSY" else value for value in arguments]
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND, "--studies", str(tmp_path), *given],
        cwd=REPOSITORY,
        env=environment(tmp_path) | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(ended.stdout) == [2, []]
    assert ended.stderr.startswith("error: ")
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_port_is_taken_once_it_listens_and_zero_takes_a_free_one() -> None:
    with contextlib.ExitStack() as opened:
        first = [opened.enter_context(sock) for sock in listen("localhost", 0, addresses_of("localhost", 0))]
        ports = {sock.getsockname()[1] for sock in first}
        assert len(ports) == 1  # one port for all addresses of the name
        port = ports.pop()
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
        with pytest.raises(OptionError, match=f"--port {port}: another program"):
            listen("127.0.0.1", port, addresses_of("127.0.0.1", port))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "localhost", "::1", "[::1]"])
def test_this_machine_only(host: str) -> None:
    assert is_loopback(host)
    check_open(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "2001:db8::1", "no-such-host.invalid"])
def test_others_need_a_word_or_a_login(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from monailabel import config

    assert not is_loopback(host)
    with pytest.raises(OptionError, match="no login"):
        check_open(host, None)
    check_open(host, "TRUE")
    monkeypatch.setattr(config, "settings", SimpleNamespace(MONAI_LABEL_AUTH_ENABLE=True))
    check_open(host, "false")


def test_monai_labels_own_command_listens_on_every_address_unless_told() -> None:
    command = ["/bin/monailabel", "start_server", "--app", "a", "--studies", "b"]
    assert host_of_command(command) == "0.0.0.0"
    assert host_of_command([*command, "--host", "127.0.0.1"]) == "127.0.0.1"
    assert host_of_command(["-m", "train"]) is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("LocalHost:8000", ("localhost", 8000)),
        ("localhost.", ("localhost", None)),
        ("[0:0:0:0:0:0:0:1]:80", ("[::1]", 80)),
        ("a_b-c.example:", ("a_b-c.example", None)),
        ("::1", None),
        ("[::1", None),
        ("[1.2.3.4]", None),
        ("", None),
        ("a b", None),
        ("user@localhost", None),
        ("localhost:port", None),
        ("localhost/", None),
        ("..", None),
        ("bücher.example", None),
    ],
)
def test_hosts_are_compared_in_one_spelling(header: str, expected: tuple[str, int | None] | None) -> None:
    assert host_and_port(header) == expected


def test_names_of_this_server() -> None:
    assert checked_hosts("Labels.Example.org, ::1,192.0.2.7 ") == ("labels.example.org", "[::1]", "192.0.2.7")
    for value in ("http://labels.example.org", "a:8000", "*", "a b"):
        with pytest.raises(OptionError, match="hosts"):
            checked_hosts(value)
    local = {"localhost", "127.0.0.1", "[::1]"}
    assert allowed_hosts("127.0.0.1", ()) == local
    assert allowed_hosts("192.0.2.7", ["proxy"]) >= {*local, "192.0.2.7", "proxy", socket.gethostname().lower()}
