"""The trail without triggers: what one session flushes, and its bulk UPDATE and DELETE.

Problem: there are places where no trigger may be installed.  Pattern: read the rows before the
flush and after, and write the differences by one executemany.  The history of attributes would be
cheaper, and wrong: after a commit, an attribute that is set has no old value; one that is loaded
may be stale; a default of the server and an SQL expression have no value.
Not seen, ever: Core, raw SQL, COPY, bulk INSERT, the database's own cascades, other services.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Insert,
    Result,
    Select,
    Table,
    event,
    func,
    insert,
    inspect,
    literal,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapper, ORMExecuteState, Session, sessionmaker

from ..models import AuditLog, Base
from .actor import actor_columns
from .tables import DIALECT, AuditedTable, audited, joined, long_sql, object_sql, quoted

PENDING = "audit_pending"
Key = tuple[Any, ...]
Row = tuple[dict[str, Any], dict[str, str]]
"""The recorded values, and a digest of each value that is secret or cut."""
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

    def before_flush(self, session: Session, *_: object) -> None:
        """Read, and lock, the rows that the flush may change."""
        old: dict[Mapper[Any], set[Key]] = {}
        items = [item for item in session.new if inspect(item).mapper in self.tables]
        for item in {*session.dirty, *session.deleted}:
            state = inspect(item)
            if state.mapper not in self.tables:
                continue
            if item in session.deleted or session.is_modified(item):
                old.setdefault(state.mapper, set()).add(tuple(state.identity))
                items.append(item)
        rows = {mapper: self.read(session, mapper, keys, lock=True) for mapper, keys in old.items()}
        # Of this flush alone: one that failed leaves nothing behind.
        session.info[PENDING] = rows, items

    def after_flush(self, session: Session, *_: object) -> None:
        """Read them again, and write what differs."""
        before, items = session.info.pop(PENDING)
        keys = {mapper: set(rows) for mapper, rows in before.items()}
        for item in items:
            mapper = inspect(item).mapper
            keys.setdefault(mapper, set()).add(tuple(mapper.primary_key_from_instance(item)))
        for mapper, wanted in keys.items():
            rows = before.get(mapper, {})
            self.write(session, mapper, rows, self.read(session, mapper, wanted))

    def bulk(self, state: ORMExecuteState) -> Result[Any] | None:
        """Run an ORM-enabled UPDATE or DELETE between two looks at the rows that it changes."""
        mapper = state.bind_mapper
        if not (state.is_update or state.is_delete) or mapper not in self.tables:
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
            found = session.execute(
                matching_keys(mapper, where), state.parameters, bind_arguments=state.bind_arguments
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
        connection = session.connection(bind_arguments={"mapper": mapper})
        query = rows_as_json(self.tables[mapper], mapper, keys, lock=lock)
        found: Rows = {}
        for row in connection.execute(query):
            *key, values, digests = tuple(row)
            found[tuple(key)] = (values, digests)
        return found

    def write(self, session: Session, mapper: Mapper[Any], before: Rows, after: Rows) -> None:
        """One executemany, or nothing."""
        table, who = self.tables[mapper], actor_columns(session)
        request = who.pop("request_id")
        entries = []
        for key in sorted(before.keys() | after.keys()):
            changes = difference(before.get(key), after.get(key))
            if changes is None:
                continue
            record_id, *rest = key
            if rest:
                changes["key"] = dict(zip(table.key[1:], rest, strict=True))
            if request is not None:
                changes["request_id"] = request
            action = "UPDATE"
            if not (key in before and key in after):
                action = "DELETE" if key in before else "INSERT"
            entries.append({"record_id": record_id, "action": action, "changes": changes} | who)
        if entries:
            connection: Connection = session.connection(bind_arguments={"mapper": AuditLog})
            connection.execute(new_entries(table.name), entries)


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
    """``(key …, values, digests)`` of *keys*, in the order of the key, which prevents deadlocks.

    PostgreSQL makes the JSON, as it does for the triggers; a secret never leaves it.
    """
    columns = mapper.primary_key
    name = DIALECT.identifier_preparer.format_table(table_of(mapper))
    cut = [
        f'CASE WHEN {long_sql(name, column)} THEN \'"{column}":"\''
        f" || md5({name}.{quoted(column)}::text) || '\"' END"
        for column, kind in table.columns.items()
        if kind != "exact"
    ]
    secret = [
        f"'\"{column}\":\"' || coalesce(md5({name}.{quoted(column)}::text), '') || '\"'"
        for column in table.secrets
    ]
    digests = f"'{{' || {joined([*cut, *secret])} || '}}'" if cut or secret else "'{}'"
    query = (
        select(
            *columns,
            literal_column(f"({object_sql(name, table.columns)})::jsonb", JSONB),
            literal_column(f"({digests})::jsonb", JSONB),
        )
        .where(is_one_of(mapper, keys))
        .order_by(*columns)
    )
    return query.with_for_update(key_share=True) if lock else query


def difference(old: Row | None, new: Row | None) -> dict[str, Any] | None:
    """What the trail says of one row, before and after; None where there is nothing to say."""
    if old is None or new is None:
        if (only := old or new) is None:
            return None
        values, digests = only
        cut = sorted(digests.keys() & values.keys())
        return {"new" if old is None else "old": values} | ({"cut": cut} if cut else {})
    differ = {
        name for name in old[1].keys() | new[1].keys() if old[1].get(name) != new[1].get(name)
    }
    names = {name for name in new[0] if old[0][name] != new[0][name] or name in differ}
    cut = sorted(names & (old[1].keys() | new[1].keys()))
    redacted = sorted(differ - new[0].keys())
    if not names and not redacted:
        return None
    found: dict[str, Any] = {
        "old": {name: old[0][name] for name in names},
        "new": {name: new[0][name] for name in names},
    }
    return found | ({"cut": cut} if cut else {}) | ({"redacted": redacted} if redacted else {})


def new_entries(table_name: str) -> Insert:
    """The INSERT of entries, at the time that it runs, not that its transaction began."""
    return insert(Base.metadata.tables["audit_log"]).values(
        table_name=table_name, created_at=func.clock_timestamp()
    )
