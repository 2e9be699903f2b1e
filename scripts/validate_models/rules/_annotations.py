"""What ``Mapped[...]`` says of None, by resolving it, never by guessing from the text."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from dataclasses import dataclass
from typing import Any, ForwardRef, Union, get_args, get_origin

from sqlalchemy.orm import Mapped, Mapper


@dataclass(frozen=True)
class Annotation:
    """*optional*: whether None is allowed; None where that cannot be told.  *text*: as written."""

    optional: bool | None
    inner: Any


def raw_annotation(cls: type, key: str) -> tuple[Any, type] | None:
    """The annotation of *key* as it stands, and the class that has it."""
    for base in cls.__mro__:
        found = annotations_in(base).get(key)
        if found is not None:
            return found, base
    return None


@functools.cache
def annotations_in(cls: type) -> dict[str, Any]:
    """The annotations that *cls* itself has; none where they cannot be had."""
    try:
        if sys.version_info >= (3, 14):
            import annotationlib

            return dict(annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF))
        return inspect.get_annotations(cls)
    except Exception:  # the user's annotations may raise whatever they like
        return {}


def evaluate(text: str, cls: type) -> Any:
    """*text* in the names of its module; None where a name is missing."""
    module = sys.modules.get(cls.__module__)
    names = {**vars(typing), **(vars(module) if module else {})}
    try:
        return eval(text, names, dict(vars(cls)))  # noqa: S307 - the user's own annotation
    except Exception:
        return None


@functools.lru_cache(maxsize=65_536)  # several rules ask for each
def annotation_of(mapper: Mapper[Any], key: str) -> Annotation | None:
    """What the annotation of *key* says; None where there is none."""
    found = raw_annotation(mapper.class_, key)
    if found is None:
        return None
    annotation, cls = found
    if isinstance(annotation, str):
        annotation = evaluate(annotation, cls)
    if annotation is None:
        return Annotation(None, None)
    origin = get_origin(annotation)
    if not (isinstance(origin, type) and issubclass(origin, Mapped)):
        return Annotation(None, None)
    (inner,) = get_args(annotation)
    return Annotation(is_optional(inner, cls), inner)


def is_optional(kind: Any, cls: type) -> bool | None:  # noqa: PLR0911 - one a form
    """Whether *kind* allows None; None where that cannot be told."""
    if isinstance(kind, ForwardRef):
        kind = kind.__forward_arg__
    if isinstance(kind, str):
        kind = evaluate(kind, cls)
        if kind is None:
            return None
    if kind is type(None):
        return True
    if kind is Any or kind is object or isinstance(kind, typing.TypeVar):
        return None
    if hasattr(kind, "__value__"):  # type X = ...
        return is_optional(kind.__value__, cls)
    origin = get_origin(kind)
    if origin is typing.Annotated:
        return is_optional(get_args(kind)[0], cls)
    if origin is Union or isinstance(kind, types.UnionType):
        found = [is_optional(part, cls) for part in get_args(kind)]
        return True if True in found else None if None in found else False
    if origin is typing.Literal:
        return None in get_args(kind)
    if isinstance(kind, type) or isinstance(origin, type) or isinstance(kind, typing.NewType):
        return False
    return None
