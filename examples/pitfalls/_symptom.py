"""What a pitfall must show, so that a test can hold the kit to it."""

from __future__ import annotations

from dataclasses import dataclass

ALL = ("2.0", "2.1")


@dataclass(frozen=True)
class Raises:
    """``broken()`` raises *exception* with *fragment* in its message."""

    exception: type[Exception]
    fragment: str
    lines: tuple[str, ...] = ALL

    def told(self) -> str:
        """The symptom, for a page."""
        shown = f"`{self.exception.__name__}` with `{self.fragment}`"
        return shown if self.lines == ALL else f"{shown} on SQLAlchemy {', '.join(self.lines)}"


@dataclass(frozen=True)
class Returns:
    """``broken()`` returns *wrong* without a word, where ``fixed()`` returns *right*."""

    wrong: object
    right: object
    meaning: str
    lines: tuple[str, ...] = ALL

    def told(self) -> str:
        """The symptom, for a page."""
        return f"no error; {self.meaning} is `{self.wrong!r}` instead of `{self.right!r}`"


Symptom = Raises | Returns
