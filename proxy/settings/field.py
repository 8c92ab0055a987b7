"""What the annotations of a section say of its keys."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from msgspec import NODEFAULT, structs

from proxy.settings.section import Bounds, Check, Read, Secret, Section


class Field(NamedTuple):
    """One key: the attribute that holds it, the bare type of its values, whether it may be None, and its default, which is
    NODEFAULT when the key is required. `reads`, then the type, then `checks` and `bounds` make a value of what was written."""

    attribute: str
    kind: Any
    optional: bool
    default: Any
    description: str
    bounds: Bounds
    reads: tuple[Callable[[object], object], ...]
    checks: tuple[Callable[[Any], Any], ...]


@functools.cache
def fields(model: type[Section]) -> Mapping[str, Field]:
    """Return the keys of a section as they are written in the file, in the order in which they are declared."""
    return types.MappingProxyType({info.encode_name: _field(info) for info in structs.fields(model)})


def _field(info: structs.FieldInfo) -> Field:
    default = info.default_factory() if info.default_factory is not NODEFAULT else info.default
    said: list[Any] = []
    kind, optional = _bare(info.type, said), False
    if get_origin(kind) in (Union, types.UnionType) and type(None) in get_args(kind):
        (inner,) = (part for part in get_args(kind) if part is not type(None))
        around, said = said, []
        kind, optional = _bare(inner, said), True
        said += around
    bounds = Bounds()
    for part in said:
        if isinstance(part, Bounds):
            bounds = bounds._replace(**{name: value for name, value in part._asdict().items() if value is not None})
    return Field(
        attribute=info.name,
        kind=kind,
        optional=optional,
        default=default,
        description=next((part for part in reversed(said) if isinstance(part, str)), ""),
        bounds=bounds,
        reads=tuple(part.by for part in said if isinstance(part, Read)),
        checks=tuple(part.by for part in said if isinstance(part, Check)),
    )


def _bare(annotation: Any, said: list[Any]) -> Any:
    """Return a type without what `Annotated` says of it, which is added to `said`."""
    if get_origin(annotation) is not Annotated:
        return annotation
    said += annotation.__metadata__
    return annotation.__origin__


def section_of(field: Field) -> type[Section] | None:
    """Return the section that a field is, None when it is a value."""
    return field.kind if isinstance(field.kind, type) and issubclass(field.kind, Section) else None


def is_secret(model: type[Section], key: str) -> bool:
    """Tell whether a key of a section holds a secret."""
    field = fields(model).get(key)
    return field is not None and field.kind is Secret
