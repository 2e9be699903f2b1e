"""One spelling for expressions and types: the one that PostgreSQL's own parser gives them.

``EXPLAIN`` prints what it has parsed.  Run on both sides, it makes ``status IN ('a', 'b')`` and
what the catalogue holds of it the same text; it reads no table and calls no function.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from .probe import undone

# Names of one moment: that of the transaction's start.
NOW = re.compile(r"\bCURRENT_TIMESTAMP\b(?!\()|\btransaction_timestamp\(\)")


def quoted(name: str) -> str:
    """*name* as an identifier, always in quotes."""
    return '"' + name.replace('"', '""') + '"'


class Spelling:
    """Asks PostgreSQL for the one spelling."""

    def __init__(self, connection: Connection) -> None:
        """What fails on *connection* is undone up to a savepoint."""
        self._connection = connection
        self._types: dict[str, str | None] = {}

    def types(self, given: Iterable[str]) -> dict[str, str | None]:
        """Each type, spelt once for all; None for one that this database does not know."""
        wanted = list(dict.fromkeys(given))
        missing = [kind for kind in wanted if kind not in self._types]
        printed = self._each([f"CAST(NULL AS {kind})" for kind in missing], "")
        self._types |= dict(zip(missing, printed, strict=True))
        return {kind: self._types[kind] for kind in wanted}

    def expressions(
        self, given: Sequence[str], columns: Mapping[str, str], table: str
    ) -> list[str | None]:
        """Each expression over *columns* (names with types) of *table*; None where it fails."""
        # OFFSET keeps the planner from putting the NULLs into the expressions.
        fields = ", ".join(
            f"CAST(NULL AS {kind}) AS {quoted(name)}" for name, kind in columns.items()
        )
        return self._each([f"({item}\n)" for item in given], f"(SELECT {fields} OFFSET 0)", table)

    def _each(self, given: Sequence[str], source: str, table: str = "") -> list[str | None]:
        """All at once; where that fails, one by one."""
        if not given:
            return []
        clause = f" FROM {source} AS {quoted(table)}" if source else ""
        whole = self._explained(given, clause)
        if whole is not None:
            return list(whole)
        if len(given) == 1:
            return [None]
        return [self._each([item], source, table)[0] for item in given]

    def _explained(self, given: Sequence[str], clause: str) -> list[str] | None:
        fields = ", ".join(f"{item} AS c{number}" for number, item in enumerate(given))
        query = f"EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) SELECT {fields}{clause}"
        try:
            with undone(self._connection):
                # Without parameters, a % in an expression is a % to every driver.
                found: Any = self._connection.exec_driver_sql(
                    query, execution_options={"no_parameters": True}
                ).scalar_one()
        except SQLAlchemyError:
            return None
        plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
        printed = [NOW.sub("now()", str(item)) for item in plan.get("Output", ())]
        return printed if len(printed) == len(given) else None
