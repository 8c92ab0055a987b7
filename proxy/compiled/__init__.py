"""What runs compiled, and why it is never stale.

`deploy/compile.py` compiles the modules on the way of a request with Cython, from the very same sources, and puts them into
this folder, in a checkout as in a wheel, each named after its module and the SHA-256 of the source that it was made from:
`proxy.edge.handler-<sha256>.cpython-311-x86_64-linux-gnu.so`. When a module is imported, its source is hashed: a file here
with that very hash is taken in its place, and otherwise the source itself. So an edited source counts at once, nothing that is
missing here is missed, and SCIM_WITNESS_PURE=1 runs everything from its source.

Beside some sources lies a `.pxd` file. It tells Cython which attributes the objects of a class have, so that compiled code
finds them by their place and not by their name; to Python it says nothing. It counts as a part of its source. Where it names
a class of another module (`cimport`), that one's source and declarations count as a part too, and what is compiled runs only
beside the other's compiled form: it would look for attributes in places that a plain object does not have.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

HERE: Final = Path(__file__).parent
SUFFIX: Final = EXTENSION_SUFFIXES[0]
"""How the name of a compiled module ends for this interpreter and machine; another's are not looked at."""
SWITCH: Final = "SCIM_WITNESS_PURE"
_CIMPORT: Final = re.compile(rb"^from (proxy[\w.]*) cimport ", re.MULTILINE)
NO: Final = frozenset({"", "0", "false", "no", "off"})


class Compiled:
    """Finds the compiled modules of a package in a folder, each as long as its source is the one that was compiled."""

    def __init__(self, folder: Path, package: Path) -> None:
        self._folder = folder
        self._package = package
        self._modules = frozenset(path.name.partition("-")[0] for path in folder.glob(f"*{SUFFIX}"))

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - importlib's interface
        target: ModuleType | None = None,  # noqa: ARG002 - the same
    ) -> ModuleSpec | None:
        """Return where to load a module from; None leaves it to its source."""
        if fullname not in self._modules:
            return None
        file = self._folder / name_of(self._package, fullname)
        if not file.exists() or not all(self._is_taken(part) for part in _parts(self._package, fullname)[1:]):
            return None
        return spec_from_file_location(fullname, file)

    def _is_taken(self, module: str) -> bool:
        """Whether a module is taken from here, or will be."""
        file = self._folder / name_of(self._package, module)
        loaded = sys.modules.get(module)
        return file.exists() and (loaded is None or loaded.__file__ == str(file))

    def said(self) -> str:
        """Return `compiled`, `plain`, or `compiled, but for` the modules whose sources have changed."""
        stale = sorted(module for module in self._modules if self.find_spec(module) is None)
        if len(stale) == len(self._modules):
            return "plain"
        return f"compiled, but for {', '.join(stale)}" if stale else "compiled"


def name_of(package: Path, module: str) -> str:
    """Return the name of a compiled module, which holds the hash of its source. `package` is the folder of `proxy`."""
    digest = hashlib.sha256()
    for part in _parts(package, module):
        source = _source(package, part)
        if not source.exists():
            return f"{module}-{SUFFIX}"
        digest.update(source.read_bytes())
        digest.update(_declarations(source))
    return f"{module}-{digest.hexdigest()}{SUFFIX}"


def _parts(package: Path, module: str) -> list[str]:
    """Return a module, and all those whose classes its declarations name, theirs included."""
    found = [module]
    for part in found:  # it grows meanwhile
        named = (name.decode() for name in _CIMPORT.findall(_declarations(_source(package, part))))
        found += [name for name in dict.fromkeys(named) if name not in found]
    return found


def _source(package: Path, module: str) -> Path:
    return package.joinpath(*module.split(".")[1:]).with_suffix(".py")


def _declarations(source: Path) -> bytes:
    declarations = source.with_suffix(".pxd")
    return declarations.read_bytes() if declarations.exists() else b""


def is_off() -> bool:
    """Tell whether SCIM_WITNESS_PURE asks for the sources."""
    return os.environ.get(SWITCH, "").lower() not in NO  # noqa: TID251 - proxy.settings is made of modules, and comes later


_finder: Final = Compiled(HERE, HERE.parent)


def begin() -> None:
    """Take what is compiled from here on; `import proxy` calls it."""
    if not is_off() and _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def said() -> str:
    """Return how the program runs: `compiled`, `plain`, or `compiled, but for` the modules whose sources have changed."""
    return _finder.said() if _finder in sys.meta_path else "plain"
