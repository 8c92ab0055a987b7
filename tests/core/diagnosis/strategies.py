"""Any evidence whatever: values of our structs with any field missing, built from their own annotations."""

from __future__ import annotations

import enum
import types
import typing

import msgspec
from hypothesis import strategies as st

from proxy.core.token import FAR_FUTURE, FAR_PAST
from tests.core.diagnosis.world import AT, FP, ISSUED, OKTA

WORDS = (
    "", "bearer", "missing", "several", "malformed:quoted", "malformed:empty", "malformed:scheme_other", "unknown", "revoked",
    "expired", "insufficient_scope", "owner_inactive", "source_unavailable", "acme", "globex", "primary", "replica",
    "introspection", "newer", "older", "successor", "same_instant", "none", "truncated", "token", "refresh_token", "revoke",
    "previous_refresh_token_nullable", "stored_as_sha256", "deleted", FP, OKTA, "3", "11", "{client}", "\x1b[31m",
)  # fmt: skip
TIMES = (AT, AT - 0.05, AT + 1.0, AT + 10.0, AT - 60.0, AT - 3600.0, ISSUED, FAR_FUTURE, FAR_PAST, 0.0)
ODD = (float("nan"), float("inf"), float("-inf"), 1e308)


def any_of(annotation: object, odd: bool) -> st.SearchStrategy[typing.Any]:
    """Values of an annotation; floats include NaN and infinities when `odd`."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        return st.one_of([any_of(argument, odd) for argument in arguments])
    if origin is tuple and arguments[-1] is not ...:
        return st.tuples(*[any_of(argument, odd) for argument in arguments])
    if origin is tuple:
        return st.lists(any_of(arguments[0], odd), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(any_of(arguments[0], odd), any_of(arguments[1], odd), max_size=2)
    if annotation is float:
        return st.sampled_from((*TIMES, *ODD) if odd else TIMES)
    if annotation is int:
        return st.sampled_from((0, 1, 3, 401, 403, 200, 3600, -5, 2**63 - 1))
    if annotation is str:
        return st.sampled_from(WORDS)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return st.sampled_from(list(annotation))
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return struct(annotation, odd)
    return st.from_type(annotation)  # type: ignore[arg-type]


def struct(kind: type[msgspec.Struct], odd: bool) -> st.SearchStrategy[typing.Any]:
    """Instances of a struct; each field with a default may be left out."""
    hints = typing.get_type_hints(kind)
    fields = {f.name: any_of(hints[f.name], odd) for f in msgspec.structs.fields(kind)}
    needed = {f.name for f in msgspec.structs.fields(kind) if f.required}
    optional = {name: values for name, values in fields.items() if name not in needed}
    return st.fixed_dictionaries({name: fields[name] for name in needed}, optional=optional).map(lambda v: kind(**v))
