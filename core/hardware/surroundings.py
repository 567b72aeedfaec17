"""What Snug runs in: system, release, and whether a container or WSL stands between it and the machine."""

from __future__ import annotations

import platform
import re

from core.hardware.machine import Surroundings
from core.hardware.system import System

_CONTAINER_FILES = (("/.dockerenv", "Docker"), ("/run/.containerenv", "Podman"))
_CONTAINER_WORDS = (("kubepods", "Kubernetes"), ("docker", "Docker"), ("libpod", "Podman"), ("lxc", "LXC"))


def read_surroundings(system: System) -> Surroundings:
    """Names only; fields stay empty where nothing is said."""
    release = system.text("proc/version") if system.kind.startswith("linux") else ""
    return Surroundings(
        system=_system(system),
        machine=platform.machine() if system.live else "",
        container=_container(system) if release else "",
        wsl=wsl_version(release),
    )


def wsl_version(kernel: str) -> str:
    """`WSL 2` or `WSL 1` by the kernel's own line in /proc/version; empty on any other Linux."""
    if re.search(r"microsoft-standard|WSL2", kernel):
        return "WSL 2"
    return "WSL 1" if "microsoft" in kernel.lower() else ""


def _system(system: System) -> str:
    if system.kind.startswith("linux"):
        return _linux_name(system.text("etc/os-release"))
    if system.kind == "darwin":
        return f"macOS {system.sysctl('kern.osproductversion')}".strip()
    return f"{platform.system()} {platform.version()}" if system.live else "Windows"


def _linux_name(os_release: str) -> str:
    match = re.search(r'^PRETTY_NAME="?([^"\n]+)', os_release, re.MULTILINE)
    return match.group(1) if match else "Linux"


def _container(system: System) -> str:
    for path, name in _CONTAINER_FILES:
        if (system.root / path.lstrip("/")).exists():
            return name
    if system.environ.get("container"):
        return system.environ["container"]
    groups = system.text("proc/1/cgroup") + system.text("proc/self/cgroup")
    return next((name for word, name in _CONTAINER_WORDS if word in groups), "")
