"""Repairs what autogenerate gets wrong or misses, in the operations of a new revision.

It compares for itself, whatever ``env.py`` has switched off, and respects what ``env.py`` leaves
out: ``include_name``, ``include_object``, ``include_schemas``, ``render_item``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

from alembic.operations import ops
from alembic.operations.ops import MigrationScript
from alembic.runtime.migration import MigrationContext

from .changes import in_words
from .core import Finding
from .repairs import (
    checks,
    column_types,
    defaults,
    enums,
    index_definitions,
    names,
    renames,
    settings,
    tables,
)
from .repairs.arrange import Arrangement
from .repairs.models import Models
from .repairs.rendering import install

Flat = list[ops.MigrateOperation]


def repair(
    context: MigrationContext, revision: object, directives: Sequence[MigrationScript]
) -> list[Finding]:
    """Change the operations of the first of *directives* in place; what is left to say of them.

    For ``process_revision_directives``, which Alembic calls with the database at its head.  Tries
    changes on temporary tables in savepoints, so the database must be one of ours.
    """
    del revision
    script = directives[0]
    upgrade, downgrade = script.upgrade_ops_list[-1], script.downgrade_ops_list[-1]
    models = Models(context)
    flat, findings = compared(models, upgrade)
    back = reversed_(flat)
    findings += renames.findings(models, flat) + names.too_long(flat)
    given = settings.read(models.connection)
    there = Arrangement(models, flat, given, upgrade=True)
    upgrade.ops = there.ops()
    downgrade.ops = Arrangement(models, back, given, upgrade=False).ops()
    install(context)
    return findings + there.findings


def differences(context: MigrationContext, upgrade_ops: ops.UpgradeOps) -> list[str]:
    """What still differs between models and database, a line each; writes nothing.

    *upgrade_ops* are those that autogenerate made for *context*; what it believes to differ and
    does not is left out.
    """
    flat, _ = compared(Models(context), upgrade_ops)
    return [line for op in flat for line in described(op)]


def compared(models: Models, upgrade: ops.UpgradeOps) -> tuple[Flat, list[Finding]]:
    """All differences, Alembic's and our own, in an order in which each can be applied."""
    catalogue = models.catalogue
    flat, findings = tables.without_existing(catalogue, list(flattened(upgrade)))
    flat = [*map(checks.validation, flat), *column_types.compare(models, flat)]
    flat += index_definitions.compare(models, flat)
    own, more = defaults.compare(models, flat)
    flat, findings = flat + own, findings + more
    flat = [op for op in flat if not isinstance(op, ops.AlterColumnOp) or op.has_changes()]
    for compare in (checks.compare, enums.compare):
        own, more = compare(models, flat)
        # The types come first in the upgrade, and so last in the downgrade.
        flat = own + flat if compare is enums.compare else flat + own
        findings += more
    flat = [op for op in flat if not isinstance(op, ops.AlterColumnOp) or op.has_changes()]
    checks.restored(models, flat)
    missing = set(enums.wanted(models)) - set(catalogue.enums)
    flat = [
        *tables.schemas(catalogue, flat, missing),
        *tables.sequences(catalogue, models.metadata, flat),
        *tables.without_circles(catalogue, flat),
    ]
    for op in flat:
        names.named(op, catalogue)
    return flat, findings


def flattened(container: ops.OpContainer) -> Iterator[ops.MigrateOperation]:
    """The operations without the tables around them; those that may be changed are copies."""
    for op in container.ops:
        if isinstance(op, ops.OpContainer):
            yield from flattened(op)
        else:
            yield copy(op)


def reversed_(flat: Flat) -> Flat:
    """The way back."""
    return [op.reverse() for op in reversed(flat)]


def described(op: ops.MigrateOperation) -> list[str]:
    """Lines for a person."""
    shown: Any = op.to_diff_tuple()
    return [in_words(item) for item in (shown if isinstance(shown, list) else [shown])]
