"""What a pitfall must show, so that a test can hold the kit to it.

A module's ``SYMPTOM`` is one of these, or a tuple where the drivers say it in different words.
``ALSO`` is what a third function, ``also``, shows: a second wrong way with the same remedy.
``SAYS`` are words of other errors of that cause: what ``said``, a function of a URL, returns has
each of them.  The sides take one parameter, whose annotation says what they are given: ``Session``
(all is undone), ``Engine`` (a database of its own), in an ``async def`` ``AsyncSession`` or
``AsyncEngine``, or ``str``, the URL of a database of its own.  That URL names the driver of the
run: an asynchronous one where the side is an ``async def``, or where the symptom names one.  A
``Session`` or an ``Engine`` is given on asyncpg too, within ``run_sync()``.
"""

from __future__ import annotations

from dataclasses import dataclass

ALL = ("2.0", "2.1")
SYNC = ("psycopg", "psycopg2")
ASYNC = ("asyncpg", "psycopg_async")


def where(lines: tuple[str, ...], drivers: tuple[str, ...]) -> str:
    """On which versions and drivers, where it is not on all."""
    named = (driver.replace("psycopg_async", "psycopg (asyncio)") for driver in drivers)
    return (f" on SQLAlchemy {', '.join(lines)}" if lines != ALL else "") + (
        f" on {', '.join(named)}" if drivers else ""
    )


@dataclass(frozen=True)
class Raises:
    """``broken()`` raises *exception* with *fragment* in its message.

    On another line, or another of the drivers that fit, it does not raise.  *on_asyncpg* is the
    class there, where it is another: SQLAlchemy has one of its own for few of asyncpg's.
    """

    exception: type[Exception]
    fragment: str
    lines: tuple[str, ...] = ALL
    drivers: tuple[str, ...] = ()
    on_asyncpg: type[Exception] | None = None

    def raised_on(self, driver: str) -> type[Exception]:
        """The class of the error on *driver*."""
        return (self.on_asyncpg if driver == "asyncpg" else None) or self.exception

    def shown(self) -> str:
        """The symptom, for a page."""
        other = f", on asyncpg `{self.on_asyncpg.__name__}`," if self.on_asyncpg else ""
        return f"`{self.exception.__name__}`{other} with `{self.fragment}`"

    def told(self) -> str:
        """The symptom, with the versions and drivers that show it."""
        return self.shown() + where(self.lines, self.drivers)


@dataclass(frozen=True)
class Warns:
    """``broken()`` warns of *category* with *fragment* in the message; else as ``Raises``."""

    category: type[Warning]
    fragment: str
    lines: tuple[str, ...] = ALL
    drivers: tuple[str, ...] = ()

    def shown(self) -> str:
        """The symptom, for a page."""
        return f"only a warning, `{self.category.__name__}` with `{self.fragment}`"

    def told(self) -> str:
        """The symptom, with the versions and drivers that show it."""
        return self.shown() + where(self.lines, self.drivers)


@dataclass(frozen=True)
class Returns:
    """``broken()`` returns *wrong* without a word, where ``fixed()`` returns *right*.

    On another line, or another of the drivers that fit, it returns *right*, too.
    """

    wrong: object
    right: object
    meaning: str
    lines: tuple[str, ...] = ALL
    drivers: tuple[str, ...] = ()

    def shown(self) -> str:
        """The symptom, for a page."""
        return f"no error; {self.meaning}: `{self.wrong!r}` instead of `{self.right!r}`"

    def told(self) -> str:
        """The symptom, with the versions and drivers that show it."""
        return self.shown() + where(self.lines, self.drivers)


Symptom = Raises | Warns | Returns
