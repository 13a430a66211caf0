"""The steps of the Dockerfile, carried out in a Debian file system (chroot): no container engine is needed.

What differs from the image: the base is Debian 12 with its Python 3.11.2 instead of python:3.11-slim, and packages
that need a later one are not pinned (soupsieve 4); packages come
from the indexes that pip is set up with here (where PyTorch's cannot be reached, torch is PyPI's, with CUDA);
pip's downloads are cached.
``FETALIQA_CHROOT`` names a folder with a finished base, from ``debootstrap``, to copy instead of a new one.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from dockerfile_steps import assignments, environment, exec_form, health_check, instructions, last
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
PYTHON = "3.11.2"  # of Debian 12
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
CASE = "Patient01171_Plane2_1_of_1"
CUDA_PARTS = ("nvidia", "triton", "cuda", "torch/lib/*cuda*", "torch/lib/*cudnn*", "torch/lib/*nccl*")
STATED = re.compile(r"measured: ([\d.]+) GB with CUDA, ([\d.]+) GB without")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        os.name != "posix" or os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "debootstrap"))),
        reason="a chroot needs root, unshare and debootstrap",
    ),
]

# a private view of the machine: loopback only, mounts that end with the process
INSIDE = """
set -e
root=$1; shift
mount --make-rprivate /
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev/shm"
{binds}
if [ -n "$LOOPBACK" ]; then "$LOOPBACK" -c "import fcntl, socket, struct; \\
    fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 0x41))"; fi
exec chroot "$@"
"""


class Root:
    """A file system in which commands are run as in a container.

    Args:
        folder: of the file system.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.binds: dict[str, str] = {}

    def run(
        self, command: list[str], user: str = "root", cwd: str = "/", *, network: bool = True, **variables: str
    ) -> str:
        """Run a command; returns its standard output.

        Raises:
            AssertionError: when it fails.
        """
        binds = "\n".join(
            f'mkdir -p "$root{target}"; mount --bind {shlex.quote(source)} "$root{target}"'
            for target, source in self.binds.items()
        )
        home = "/root" if user == "root" else f"/home/{user}"
        settings = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": home,
            **variables,
        }
        inner = f"cd {shlex.quote(cwd)} && exec {shlex.join(command)}"
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *([] if network else ["--net"])]
        loopback = "" if network else sys.executable
        chroot = [f"--userspec={user}:{user}", str(self.folder), "/bin/sh", "-c", inner]
        done = subprocess.run(
            [*unshare, "sh", "-c", INSIDE.format(binds=binds), "sh", str(self.folder), *chroot],
            env={**settings, "LOOPBACK": loopback},
            capture_output=True,
            text=True,
            timeout=3600,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def size(self, *patterns: str) -> int:
        """Bytes on disk of the file system, or of what matches below its Python packages."""
        folder = self.folder / "usr/local/lib/python3.11/dist-packages"
        paths = (
            [str(path) for pattern in patterns for path in folder.glob(pattern)]
            if patterns
            else [str(self.folder)]
        )
        if not paths:
            return 0
        out = subprocess.run(["du", "-sxcB1", *paths], capture_output=True, text=True, check=True).stdout
        return int(out.splitlines()[-1].split()[0])


def has_torch_index() -> bool:
    """Whether the address of PyTorch's index of CPU wheels is known here."""
    (url,) = [rest for name, rest in instructions(REPOSITORY / "Dockerfile") if rest.startswith("TORCH_INDEX=")]
    try:
        socket.getaddrinfo(urlsplit(url.partition("=")[2]).hostname, 443)
    except OSError:
        return False
    return True


def pip_settings(root: Root) -> dict[str, str]:
    """Environment for pip in the container, from the settings here; local indexes and certificates are mounted."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    settings: dict[str, str] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2].strip()
        settings[f"PIP_{key.upper().replace('-', '_')}"] = value.strip().strip("'")
    for value in settings.values():
        for part in value.split():
            path = Path(part.removeprefix("file://"))
            if path.is_absolute() and path.is_dir():
                folder = path.parent if path.name == "simple" else path  # links of an index lead beside it
                root.binds[str(folder)] = str(folder)
            elif path.is_absolute() and path.is_file():
                target = root.folder / path.relative_to("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
    cache = Path(os.environ.get("PIP_CACHE_DIR", Path.home() / ".cache" / "pip"))
    cache.mkdir(parents=True, exist_ok=True)
    root.binds["/tmp/pip-cache"] = str(cache)
    # the pip of a container's own Python installs for all; Debian's asks to be told so
    return {
        **settings,
        "PIP_CACHE_DIR": "/tmp/pip-cache",
        "PIP_BREAK_SYSTEM_PACKAGES": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian 12 with Python 3.11 called python, in place of the image python:3.11-slim."""
    prepared = os.environ.get("FETALIQA_CHROOT")
    folder = tmp_path_factory.mktemp("container") / "root"
    if prepared:
        subprocess.run(["cp", "-a", prepared, str(folder)], check=True, timeout=600)
    else:
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(folder)],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=1800,
        )
    (folder / "usr/local/bin/python").symlink_to("/usr/bin/python3.11")
    shutil.copy("/etc/resolv.conf", folder / "etc/resolv.conf")
    shutil.copy("/etc/hosts", folder / "etc/hosts")
    return folder


@pytest.fixture(scope="module")
def image(base: Path) -> Root:
    """The file system after the Dockerfile's steps."""
    root = Root(base)
    variables: dict[str, str] = {}
    settings = pip_settings(root)
    user, cwd = "root", "/"
    for name, rest in instructions(REPOSITORY / "Dockerfile"):
        if name in ("ARG", "ENV"):
            variables |= assignments(rest)
        elif name == "USER":
            user = rest
        elif name == "WORKDIR":
            cwd = rest
            (base / cwd.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif name == "COPY":
            copy(rest.split(), base / cwd.lstrip("/"))
        elif name == "RUN":
            script = rest.replace("--no-cache-dir", "")
            if not has_torch_index():
                script = script.replace('${TORCH_INDEX:+--index-url "$TORCH_INDEX"}', "")
            root.run(["/bin/sh", "-c", script], user, cwd, **variables, **settings)
    return root


def copy(arguments: list[str], folder: Path) -> None:
    """COPY, to a relative path."""
    *sources, target = arguments
    assert not Path(target).is_absolute()
    for source in sources:
        path = REPOSITORY / source
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, folder / target, dirs_exist_ok=True, ignore=ignored)
        else:
            shutil.copy(path, folder / target)
            if source == "constraints.txt":
                leave_out_newer(folder / target / source)


def leave_out_newer(constraints: Path) -> None:
    """Leave out the pins of packages that need a later Python 3.11 than Debian's."""
    needed = {canonicalize_name(one.name): one.metadata["Requires-Python"] or "" for one in distributions()}
    lines = constraints.read_text(encoding="utf-8").splitlines(keepends=True)
    names = [canonicalize_name(line.partition("==")[0].strip()) for line in lines]
    kept = [line for line, name in zip(lines, names) if SpecifierSet(needed.get(name, "")).contains(PYTHON)]
    constraints.write_text("".join(kept), encoding="utf-8")


@pytest.fixture(scope="module")
def session(image: Root, sample_data: Path) -> dict[str, Any]:
    """What the container's command does: see session_in_container.py."""
    steps = instructions(REPOSITORY / "Dockerfile")
    studies = image.folder / "studies"
    for case in (sample_data / "images" / "stacked_fetal_ultrasound").glob("*.png"):
        shutil.copy(case, studies)
    user = last(steps, "USER")
    image.run(["chown", "-R", f"{user}:{user}", "/studies"])
    shutil.copy(Path(__file__).with_name("session_in_container.py"), image.folder / "tmp")
    settings = {
        "command": exec_form(last(steps, "CMD")),
        "health": health_check(steps),
        "studies": "/studies",
        "case": CASE,
    }
    command = ["python", "/tmp/session_in_container.py", json.dumps(settings)]
    printed = image.run(command, user, last(steps, "WORKDIR"), network=False, **environment(steps))
    return json.loads(printed.splitlines()[-1])


def test_a_container_without_users_says_how_to_add_one(session: dict[str, Any]) -> None:
    code, message = session["without_users"]
    assert code == 2
    assert "fetaliqa users add" in message
    assert "Traceback" not in message


def test_the_server_becomes_healthy_and_scores_a_case_as_another_user_than_root(session: dict[str, Any]) -> None:
    assert session["uid"] == 1000
    assert session["info_without_login"] == 401
    assert "fetalclip_seg" in session["models"]
    frame = session["assessment"]["frames"][0]
    assert frame["positive"] is True
    assert frame["expected_dice"] > 0.9


def test_nothing_is_written_outside_of_the_volumes(session: dict[str, Any], image: Root) -> None:
    found = subprocess.run(
        ["find", str(image.folder), "-xdev", "-uid", "1000", "-type", "f", "-not", "-path", "*/__pycache__/*"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    below = {Path(file).relative_to(image.folder).parts[0] for file in found} - {"home", "tmp"}
    assert below == {"studies", "data"}
    skeleton = {".bashrc", ".profile", ".bash_logout"}
    assert [file for file in found if "/home/" in file and Path(file).name not in skeleton] == []


def test_the_documentation_states_the_size_of_the_image(image: Root) -> None:
    """Files on disk, in GB of 10^9 bytes, without the volumes; within a tenth."""
    volumes = sum(Root(image.folder / name).size() for name in ("studies", "data"))
    everything = image.size() - volumes
    cuda = image.size(*CUDA_PARTS)
    print(f"measured: {everything / 1e9:.1f} GB with CUDA, {(everything - cuda) / 1e9:.1f} GB without")
    stated = STATED.search((REPOSITORY / "docs" / "containers.md").read_text(encoding="utf-8"))
    assert stated is not None
    if not has_torch_index():
        assert everything / 1e9 == pytest.approx(float(stated[1]), rel=0.1)
    assert (everything - cuda) / 1e9 == pytest.approx(float(stated[2]), rel=0.1)
