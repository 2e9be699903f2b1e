"""``server_default="now()"``: a text that looks like SQL."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlalchemy import DefaultClause

from ..core import DOCS, Hit, Project, Rule, sql_type

CALL = re.compile(r"^\s*[a-z_][\w.]*\s*\(.*\)\s*$", re.I | re.S)
KNOWN_CALL = re.compile(
    r"^\s*(now|gen_random_uuid|uuidv4|uuidv7|uuid_generate_v\d\w*|clock_timestamp|nextval|random"
    r"|statement_timestamp|transaction_timestamp|timezone)\s*\(.*\)\s*$",
    re.I,
)
WORD = re.compile(r"^(current_(timestamp|date|time|user)|localtime(stamp)?|session_user)$", re.I)
MOMENT = re.compile(r"^(now|today|tomorrow|yesterday)$", re.I)
QUOTED = re.compile(r"^\s*'.*'\s*(::\s*[\w\s]+(\[\])?)?\s*$", re.S)


def fault_of(value: str, kind: str) -> str | None:
    """What becomes of the default *value* in a column of type *kind*; None where it is right."""
    is_text = kind.startswith(("TEXT", "VARCHAR", "CHAR", "CITEXT")) and not kind.endswith("]")
    if is_text:
        return "stores these letters" if KNOWN_CALL.match(value) else None
    if not kind:
        return None
    if kind.startswith(("TIMESTAMP", "DATE", "TIME")) and (
        MOMENT.match(value) or KNOWN_CALL.match(value) or WORD.match(value)
    ):
        return "is frozen at the moment of CREATE TABLE, or refused"
    if CALL.match(value) or WORD.match(value) or QUOTED.match(value):
        return "is refused by CREATE TABLE"
    if kind.endswith("]") and value.lstrip().startswith("["):
        return "is refused by CREATE TABLE: PostgreSQL writes an array '{}'"
    return None


def check(project: Project) -> Iterator[Hit]:
    """Texts as defaults that only make sense as SQL."""
    for _, column in project.columns():
        default = column.server_default
        if isinstance(default, DefaultClause) and isinstance(default.arg, str):
            fault = fault_of(default.arg, sql_type(column))
            if fault:
                yield project.at(column, f"the default is the text {default.arg!r}: it {fault}")


RULE = Rule(
    name="quoted-sql-default",
    severity="error",
    family="defaults",
    title="A server default that is SQL stands in quotes",
    why="A plain string is rendered as a literal: 'now()' is a text that PostgreSQL reads once, "
    "so every row gets the moment of CREATE TABLE; for a uuid or a json CREATE TABLE fails.",
    fix="Write server_default=func.now(), or text(...) for any other SQL:\n"
    "    server_default=text(\"'{}'::jsonb\")",
    url=f"{DOCS}/core/defaults.html#server-invoked-ddl-explicit-default-expressions",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default="now()")  # found
    token: Mapped[uuid.UUID] = mapped_column(server_default="gen_random_uuid()")  # found
    seen_at: Mapped[datetime] = mapped_column(server_default="now")  # found
    labels: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="[]")  # found
    extra: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="'{}'::jsonb")  # found
    number: Mapped[str] = mapped_column(server_default="gen_random_uuid()")  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    token: Mapped[uuid.UUID] = mapped_column(server_default=text("gen_random_uuid()"))
    labels: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    extra: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(server_default="open")
    shape: Mapped[str] = mapped_column(server_default="circle(3)")
    is_open: Mapped[bool] = mapped_column(server_default="true")
    extra: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    until: Mapped[datetime] = mapped_column(server_default="infinity")
    since: Mapped[datetime] = mapped_column(server_default="1970-01-01 00:00:00+00")
    attempts: Mapped[int] = mapped_column(server_default="0")
""",
)
