"""The trail without triggers: what one session flushes, and its bulk UPDATE and DELETE.

Problem: there are places where no trigger may be installed.  Pattern: read the rows before the
flush and after, and write the differences by one executemany.  The history of attributes would be
cheaper, and wrong: after a commit, an attribute that is set has no old value; one that is loaded
may be stale; a default of the server and an SQL expression have no value.
Not seen, ever: Core, raw SQL, COPY, bulk INSERT and bulk_update_mappings(), the database's own
cascades, other services.
Intervals and ranges are recorded as the session's DateStyle and IntervalStyle write them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Insert,
    Result,
    Select,
    Table,
    Text,
    bindparam,
    event,
    func,
    insert,
    inspect,
    literal,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapper,
    ORMExecuteState,
    Session,
    object_session,
    sessionmaker,
)

from ..models import AuditLog, Base
from .actor import actor_columns
from .tables import DIALECT, AuditedTable, audited, json_sql, long_sql, quoted

PENDING = "audit_pending"
Key = tuple[Any, ...]
Row = tuple[dict[str, str | None], dict[str, str]]
"""The recorded values as PostgreSQL writes them, and a digest of each that is secret or cut."""
Rows = dict[Key, Row]


class SessionAudit:
    """Records what sessions do to *classes*; ``listen`` to the factory of those sessions."""

    def __init__(self, *classes: type[DeclarativeBase]) -> None:
        self.tables: dict[Mapper[Any], AuditedTable] = {}
        for cls in classes:
            mapper: Mapper[Any] = inspect(cls)
            self.tables[mapper] = audited(table_of(mapper))

    def listen(self, target: sessionmaker[Session] | type[Session] | Session) -> None:
        """Begin.  Not together with triggers on the same tables: each change would come twice."""
        event.listen(target, "before_flush", self.before_flush)
        event.listen(target, "after_flush", self.after_flush)
        event.listen(target, "do_orm_execute", self.bulk)
        for mapper in self.tables:
            event.listen(mapper, "before_insert", before_save, propagate=True)
            event.listen(mapper, "before_update", before_save, propagate=True)
            event.listen(mapper, "before_delete", before_delete, propagate=True)

    def recorded(self, mapper: Mapper[Any]) -> Mapper[Any] | None:
        """The audited mapper whose table has the rows of *mapper*: its own, or that of its base."""
        base = mapper.base_mapper
        return base if base in self.tables and base.local_table in mapper.tables else None

    def before_flush(self, session: Session, *_: object) -> None:
        """Read, and lock, the rows that the flush is known to change."""
        gone, keys = session.deleted, dict[Mapper[Any], set[Key]]()
        for item in (*gone, *session.dirty):
            state = inspect(item)
            mapper = self.recorded(state.mapper)
            if mapper is not None and (item in gone or session.is_modified(item)):
                keys.setdefault(mapper, set()).add(tuple(state.identity))
        rows = {mapper: self.read(session, mapper, of, lock=True) for mapper, of in keys.items()}
        # Of this flush alone: one that failed leaves nothing behind.
        session.info[PENDING] = Flush(self, rows)

    def after_flush(self, session: Session, *_: object) -> None:
        """Read them again, and write what differs."""
        flush: Flush = session.info.pop(PENDING)
        keys = {mapper: set(rows) for mapper, rows in flush.before.items()}
        for mapper, item in flush.items:
            keys.setdefault(mapper, set()).add(tuple(mapper.primary_key_from_instance(item)))
        for mapper, wanted in keys.items():
            rows = flush.before.get(mapper, {})
            self.write(session, mapper, rows, self.read(session, mapper, wanted))

    def bulk(self, state: ORMExecuteState) -> Result[Any] | None:
        """Run an ORM-enabled UPDATE or DELETE between two looks at the rows that it changes."""
        subject = state.bind_mapper
        if subject is None or not (state.is_update or state.is_delete):
            return None
        mapper = self.recorded(subject)
        if mapper is None or mapper.local_table is not subject.local_table:
            return None
        session, statement = state.session, state.statement
        if session.autoflush:
            session.flush()
        if isinstance(state.parameters, list | tuple):  # UPDATE by primary key: a row a dict
            names = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
            keys = {tuple(row[name] for name in names) for row in state.parameters}
            before = self.read(session, mapper, keys, lock=True)
            result: Result[Any] = state.invoke_statement()
        else:
            where = statement.whereclause  # type: ignore[attr-defined]
            # What other listeners go by, such as "the bin included"; not SQLAlchemy's own notes.
            given = state.execution_options.items()
            found = session.execute(
                matching_keys(subject, where),
                state.parameters,
                execution_options={name: v for name, v in given if not name.startswith("_sa_")},
                bind_arguments=state.bind_arguments,
            )
            keys = {tuple(row) for row in found}
            before = self.read(session, mapper, keys, lock=True)
            # These rows and no others: one that comes to match meanwhile would go unrecorded.
            only = is_one_of(mapper, keys)
            result = state.invoke_statement(statement.where(only))  # type: ignore[attr-defined]
        self.write(session, mapper, before, self.read(session, mapper, keys))
        return result

    def read(
        self, session: Session, mapper: Mapper[Any], keys: Collection[Key], *, lock: bool = False
    ) -> Rows:
        """The rows of *keys* as the database has them: one statement, however many."""
        if not keys:
            return {}
        table, width = self.tables[mapper], len(mapper.primary_key)
        connection = session.connection(bind_arguments={"mapper": mapper})
        found: Rows = {}
        for row in connection.execute(rows_as_json(table, mapper, keys, lock=lock)):
            texts = row[width:]
            values = dict(zip(table.columns, texts, strict=False))
            digests = zip(digested(table), texts[len(values) :], strict=True)
            found[tuple(row[:width])] = values, {n: d for n, d in digests if d is not None}
        return found

    def write(self, session: Session, mapper: Mapper[Any], before: Rows, after: Rows) -> None:
        """One executemany, or nothing."""
        table, who = self.tables[mapper], actor_columns(session)
        request = who.pop("request_id")
        entries = []
        for key in sorted(before.keys() | after.keys()):
            old, new = before.get(key), after.get(key)
            row = new or old
            changes = difference(old, new)
            if changes is None or row is None:
                continue
            if rest := table.key[1:]:
                changes["key"] = object_of({name: row[0][name] for name in rest})
            if request is not None:
                changes["request_id"] = json.dumps(request)
            action = "UPDATE" if old and new else "DELETE" if old else "INSERT"
            entry = {"record_id": key[0], "action": action, "entry": object_of(changes)}
            entries.append(entry | who)
        if entries:
            connection: Connection = session.connection(bind_arguments={"mapper": AuditLog})
            connection.execute(new_entries(table.name), entries)


@dataclass
class Flush:
    """One flush: the rows before it, and the objects that it writes."""

    audit: SessionAudit
    before: dict[Mapper[Any], Rows]
    items: list[tuple[Mapper[Any], object]] = field(default_factory=list)

    def note(self, session: Session, item: object, *, changed: bool) -> None:
        """*item* is about to be written; where nobody knew before the flush, read its row now.

        So it is with a child whose foreign key the flush sets to NULL, and with an orphan.
        """
        state: Any = inspect(item)
        mapper, key = self.audit.recorded(state.mapper), state.identity
        if mapper is None or (key is not None and not changed):
            return
        self.items.append((mapper, item))
        rows = self.before.setdefault(mapper, {})
        if key is not None and tuple(key) not in rows:
            rows |= self.audit.read(session, mapper, [tuple(key)], lock=True)


def before_save(_mapper: Mapper[Any], _connection: Connection, item: object) -> None:
    """A mapper event; of each session of the process, therefore the look for our own note."""
    session = object_session(item)
    if session is not None and PENDING in session.info:
        session.info[PENDING].note(session, item, changed=session.is_modified(item))


def before_delete(_mapper: Mapper[Any], _connection: Connection, item: object) -> None:
    """The same for a DELETE."""
    session = object_session(item)
    if session is not None and PENDING in session.info:
        session.info[PENDING].note(session, item, changed=True)


def table_of(mapper: Mapper[Any]) -> Table:
    """The mapper's one table.  Raises ``ValueError`` for a join or a view."""
    if not isinstance(mapper.local_table, Table) or mapper.inherits is not None:
        raise ValueError(f"received {mapper}; expected a class that is mapped to a table alone")
    return mapper.local_table


def is_one_of(mapper: Mapper[Any], keys: Collection[Key]) -> ColumnElement[bool]:
    """Whether a row's key is one of *keys*: an array a column, so that there may be 100,000."""
    columns = mapper.primary_key
    arrays = [
        literal([key[position] for key in keys], ARRAY(column.type))
        for position, column in enumerate(columns)
    ]
    wanted = func.unnest(*arrays).table_valued(*(column.name for column in columns))
    rows = select(wanted.render_derived(name="wanted"))
    return columns[0].in_(rows) if len(columns) == 1 else tuple_(*columns).in_(rows)


def matching_keys(mapper: Mapper[Any], where: ColumnElement[bool] | None) -> Select[Any]:
    """The keys of the rows that *where* finds."""
    columns = [mapper.get_property_by_column(each).class_attribute for each in mapper.primary_key]
    query = cast("Select[Any]", select(*columns))
    return query if where is None else query.where(where)


def rows_as_json(
    table: AuditedTable, mapper: Mapper[Any], keys: Collection[Key], *, lock: bool = False
) -> Select[Any]:
    """``(key …, values …, digests …)`` of *keys*, in the order of the key: no deadlocks.

    PostgreSQL writes the JSON, as for the triggers.  It stays a text: to Python ``1`` is ``true``,
    and a number a float.  A secret never leaves the server.
    """
    columns = mapper.primary_key
    name = DIALECT.identifier_preparer.format_table(table_of(mapper))
    texts = [json_sql(name, *item) for item in table.columns.items()]
    for column in digested(table):
        digest = f"md5({name}.{quoted(column)}::text)"
        cut = f"CASE WHEN {long_sql(name, column)} THEN {digest} END"
        texts.append(digest if column in table.secrets else cut)
    query = (
        select(*columns, *(literal_column(sql, Text) for sql in texts))
        .where(is_one_of(mapper, keys))
        .order_by(*columns)
    )
    return query.with_for_update(key_share=True) if lock else query


def digested(table: AuditedTable) -> list[str]:
    """The columns whose values may be cut, and the secret ones."""
    return [*(name for name, kind in table.columns.items() if kind != "exact"), *table.secrets]


def difference(old: Row | None, new: Row | None) -> dict[str, str] | None:
    """What the trail says of one row, each member as JSON; None where there is nothing to say."""
    if old is None or new is None:
        if (only := old or new) is None:
            return None
        values, digests = only
        side = {"new" if old is None else "old": object_of(values)}
        return side | listed("cut", digests.keys() & values.keys())
    known = old[1].keys() | new[1].keys()
    differ = {name for name in known if old[1].get(name) != new[1].get(name)}
    names = [name for name in new[0] if old[0][name] != new[0][name] or name in differ]
    redacted = differ - new[0].keys()
    if not names and not redacted:
        return None
    both = {"old": old, "new": new}.items()
    found = {side: object_of({name: row[0][name] for name in names}) for side, row in both}
    return found | listed("cut", known & set(names)) | listed("redacted", redacted)


def object_of(members: Mapping[str, str | None]) -> str:
    """The JSON text of an object; its names need no escaping."""
    return "{" + ",".join(f'"{name}":{value or "null"}' for name, value in members.items()) + "}"


def listed(member: str, names: Collection[str]) -> dict[str, str]:
    """A member that is a list; none where it would be empty."""
    return {member: json.dumps(sorted(names))} if names else {}


def new_entries(table_name: str) -> Insert:
    """The INSERT of entries, at the time that it runs, not that its transaction began."""
    return insert(Base.metadata.tables["audit_log"]).values(
        table_name=table_name,
        created_at=func.clock_timestamp(),
        changes=sql_cast(bindparam("entry", type_=Text), JSONB),
    )
