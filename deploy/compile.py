"""Compile the modules on the way of a request with Cython, from the sources as they are: about a third less processor time.

    python deploy/compile.py        in a checkout (`make compile`), into proxy/compiled/; only what has changed
    the hook of a wheel's build     in a folder of its own; the wheel then holds proxy/compiled/*.so beside all the sources

A `.pxd` file beside a source makes its busy classes extension types; tests/compiled holds the two together.
How they are found, and why they are never stale: proxy/compiled/__init__.py. Without a C compiler, without Cython, or when
compiling fails, one line says so and everything runs from its source. SCIM_WITNESS_PURE=1 compiles nothing.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.util import find_spec
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT: Final = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # a build hook is run from a place without the sources

from proxy import compiled  # noqa: E402 - see above

ROAD: Final = (
    # bytes to a request, and a request to bytes
    "proxy/core/grammar.py",
    "proxy/core/familiar.py",
    "proxy/core/inbound.py",
    "proxy/core/heads.py",
    "proxy/core/outbound.py",
    "proxy/core/framing.py",
    "proxy/core/headers.py",
    "proxy/core/scim.py",
    # what is presented, what is known of it, and the verdict
    "proxy/core/credential.py",
    "proxy/core/verdict.py",
    "proxy/sources/held.py",
    "proxy/sources/fresh.py",
    "proxy/edge/judge.py",
    # the road and its two connections
    "proxy/edge/express.py",
    "proxy/edge/handler.py",
    "proxy/edge/forward.py",
    "proxy/edge/passage.py",
    "proxy/edge/client_connection.py",
    "proxy/edge/backend_connection.py",
    "proxy/edge/upstream.py",
    "proxy/edge/body_flow.py",
    "proxy/edge/outlet.py",
    "proxy/edge/deadlines.py",
    # what every exchange leaves: a line, numbers, history, activity
    "proxy/observe/log.py",
    "proxy/observe/sink.py",
    "proxy/observe/tally.py",
    "proxy/observe/cells.py",
    "proxy/observe/tenant_names.py",
    "proxy/evidence/clerk.py",
    "proxy/evidence/beside.py",
    "proxy/evidence/backends.py",
    "proxy/evidence/accounts.py",
    "proxy/evidence/clients.py",
    "proxy/evidence/client.py",
    "proxy/evidence/token_memory.py",
    "proxy/evidence/history.py",
    "proxy/evidence/activity.py",
)
"""What gets compiled. A module belongs here when every forwarded request passes through it; another gains nothing by it."""

DIRECTIVES: Final = {
    "language_level": 3,
    "annotation_typing": False,  # annotations mean what they mean to Python: nothing is checked or converted by them
    "nonecheck": True,  # an attribute of None is an AttributeError there too, and no crash
    "binding": True,  # functions bind and have signatures, as ever
}
FLAGS: Final = ("-O1", "-g0", "-fno-plt", "-fno-asynchronous-unwind-tables", "-DCYTHON_CLINE_IN_TRACEBACK=0")
"""-O2 takes three times as long and gains nothing that can be measured. Without the linkage table each of a thousand calls into
Python's library is a jump shorter. What is left out is for debuggers of C: 0.3 MiB."""
OUTPUT_LINES: Final = 30
"""Of what the compiler said when it failed: enough for the first errors of one module."""


class NotCompiledError(Exception):
    """Why there is nothing compiled: one line."""

    def __str__(self) -> str:
        return f"NOT COMPILED, so scim-witness runs plain and needs about a third more processor time: {self.args[0]}"


def compile_into(into: pathlib.Path, room: pathlib.Path) -> int:
    """Compile what is not there yet, remove what is stale, and return how many modules were compiled. Raises NotCompiledError.

    `room` is for what is made on the way, on the same file system as `into`: a module appears there whole or not at all.
    """
    wanted = {into / compiled.name_of(ROOT / "proxy", module_of(source)): source for source in ROAD}
    recipe = _recipe_time()
    for path in into.glob(f"*{compiled.SUFFIX}"):
        if path not in wanted or path.stat().st_mtime < recipe:
            path.unlink(missing_ok=True)  # another `make` at the same time may have done it
    missing = {path: source for path, source in wanted.items() if not path.exists()}
    if missing:
        _check_that_it_can()
        room.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=room, prefix="compile-") as work:
            _call(work, list(missing.values()))
            for path, source in missing.items():
                pathlib.Path(work, "lib", source).with_suffix(compiled.SUFFIX).replace(path)
    return len(missing)


def module_of(source: str) -> str:
    """Return the name of a source's module."""
    return source.removesuffix(".py").replace("/", ".")


def _recipe_time() -> float:
    """When this file or Cython was changed last: what is older was made in another way."""
    cython = find_spec("Cython")
    files = [__file__, *([cython.origin] if cython is not None and cython.origin else [])]
    return max(pathlib.Path(file).stat().st_mtime for file in files)


def _check_that_it_can() -> None:
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        raise NotCompiledError(f"there is no C compiler ({compiler}); Debian's is in gcc and libc6-dev")
    for name in ("Cython", "setuptools"):
        if find_spec(name) is None:
            raise NotCompiledError(f"{name} is not installed")


def _call(work: str, sources: list[str]) -> None:
    """Compile in a process of its own: whatever Cython, setuptools or the compiler do there, this one goes on."""
    command = [sys.executable, __file__, work, *sources]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        print(*done.stdout.splitlines()[-OUTPUT_LINES:], sep="\n", file=sys.stderr)
        raise NotCompiledError(f"compiling failed with status {done.returncode}; what was said stands above")


def _build(work: str, sources: list[str]) -> None:
    """The process of its own: sources, relative to the working directory, to WORK/lib."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    jobs = os.cpu_count() or 1
    extensions = [Extension(module_of(source), [source], extra_compile_args=[*FLAGS]) for source in sources]
    in_c = cythonize(extensions, build_dir=work, nthreads=jobs, compiler_directives=DIRECTIVES, quiet=True)  # type: ignore[no-untyped-call]
    command = build_ext(Distribution({"ext_modules": in_c}))
    command.build_lib, command.build_temp, command.parallel = f"{work}/lib", f"{work}/temp", jobs
    command.ensure_finalized()
    command.run()


class Hook(BuildHookInterface[Any]):
    """What hatchling calls for a wheel. An editable install gets nothing: a checkout compiles by `make compile`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the compiled modules, and the tag of the interpreter and machine that they are for."""
        self._room = tempfile.TemporaryDirectory(prefix="scim-witness-")
        if version == "editable" or compiled.is_off():
            return
        room = pathlib.Path(self._room.name)
        into = room / "compiled"
        into.mkdir()
        try:
            compile_into(into, room)
        except NotCompiledError as why:
            self.app.display_warning(f"*** {why} ***")
            return
        build_data["pure_python"], build_data["infer_tag"] = False, True
        build_data["force_include"].update({str(path): f"proxy/compiled/{path.name}" for path in into.iterdir()})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatchling's
        """Remove what was made on the way."""
        self._room.cleanup()


def main() -> None:
    """Compile what has changed in this checkout. It runs either way, so the exit status is 0 either way."""
    if compiled.is_off():
        return
    try:
        made = compile_into(compiled.HERE, ROOT / "build")
    except NotCompiledError as why:
        print(f"*** {why} ***", file=sys.stderr)
    else:
        if made:
            print(f"Compiled {made} of the {len(ROAD)} modules on the way of a request", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _build(sys.argv[1], sys.argv[2:])
    else:
        main()
