"""Find the field by the constraint's name, not in the message

SQLAlchemy 2.1 leaves the DETAIL out of asyncpg's messages: a pattern such as `Key (slug)` finds
nothing there. `facts_of` is in `error_handling.py`. See `references/error-handling.md`.
"""

import re

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from ..error_handling import facts_of
from ..testing_patterns.factories import make_organization
from ._symptom import Returns

FAMILY = "models"
SYMPTOM = Returns(
    wrong=None,
    right="slug",
    meaning="the field found in the message of a unique violation",
    lines=("2.1",),
    drivers=("asyncpg",),
)
SOURCE = (
    "What's New in SQLAlchemy 2.1",
    "https://docs.sqlalchemy.org/en/21/changelog/migration_21.html",
)


async def broken(session: AsyncSession) -> object:
    session.add_all([make_organization(slug="acme"), make_organization(slug="acme")])
    try:
        await session.flush()
    except IntegrityError as error:
        found = re.search(r"Key \((\w+)\)", str(error.orig))
        return found and found[1]
    return None


async def fixed(session: AsyncSession) -> object:
    session.add_all([make_organization(slug="acme"), make_organization(slug="acme")])
    fields = {"uq_organizations_slug": "slug"}
    try:
        await session.flush()
    except IntegrityError as error:
        return fields.get(facts_of(error).constraint or "")
    return None
