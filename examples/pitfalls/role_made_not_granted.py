"""Grant a role to the login that made it and acts as it

A login with CREATEROLE administers what it makes, and may not SET ROLE to it. A migration that does
works for a superuser, on every machine but in production.
"""

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from ._symptom import Raises

FAMILY = "connecting"
SYMPTOM = Raises(ProgrammingError, 'permission denied to set role "desk_reader"')
SOURCE = (
    "Role Attributes: role creation",
    "https://www.postgresql.org/docs/18/role-attributes.html",
)


def broken(session: Session) -> object:
    log_in_as_deployer(session)
    session.execute(text("CREATE ROLE desk_reader"))
    session.execute(text("SET LOCAL ROLE desk_reader"))
    return None


def fixed(session: Session) -> object:
    log_in_as_deployer(session)
    session.execute(text("CREATE ROLE desk_reader"))
    session.execute(text("GRANT desk_reader TO CURRENT_USER"))
    session.execute(text("SET LOCAL ROLE desk_reader"))
    return None


def log_in_as_deployer(session: Session) -> None:
    """Go on as a login that may make roles, and is no superuser."""
    session.execute(text("CREATE ROLE desk_deployer LOGIN CREATEROLE"))
    session.execute(text("SET LOCAL SESSION AUTHORIZATION desk_deployer"))
