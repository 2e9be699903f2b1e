"""Rows for tests: unsaved objects with valid, unique values; a test names only what it is about.

Problem: a test that spells out every column hides its subject.  Pattern: plain functions with
keyword overrides.  Copy with ``models.py`` and adapt to your own.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from ..models import Attachment, Comment, Organization, Tag, Ticket, User

_numbers = count(1)


def make_organization(**overrides: Any) -> Organization:
    """An organization with a slug of its own."""
    number = next(_numbers)
    return Organization(**{"name": f"Customer {number}", "slug": f"customer-{number}"} | overrides)


def make_user(**overrides: Any) -> User:
    """A user with an address of its own, in no organization unless given."""
    number = next(_numbers)
    values = {
        "email": f"user{number}@example.org",
        "full_name": f"User {number}",
        "password_hash": "not a hash: nobody signs in with it",
    }
    return User(**values | overrides)


def make_ticket(**overrides: Any) -> Ticket:
    """A ticket with a creator and an organization, made as well unless given (object or id)."""
    number = next(_numbers)
    values: dict[str, Any] = {"title": f"Ticket {number}", "description": "It does not work."}
    if not overrides.keys() & {"organization", "organization_id"}:
        values["organization"] = make_organization()
    if not overrides.keys() & {"creator", "creator_id"}:
        values["creator"] = make_user()
    return Ticket(**values | overrides)


def make_comment(**overrides: Any) -> Comment:
    """A public comment; give its ticket.  Its author is made as well unless given."""
    values: dict[str, Any] = {"content": f"Comment {next(_numbers)}"}
    if not overrides.keys() & {"author", "author_id"}:
        values["author"] = make_user()
    return Comment(**values | overrides)


def make_attachment(**overrides: Any) -> Attachment:
    """A small text file; give its ticket."""
    number = next(_numbers)
    values = {
        "filename": f"log-{number}.txt",
        "content_type": "text/plain",
        "size_bytes": 1024,
        "sha256": f"{number:064x}",
        "storage_key": f"attachments/{number}",
    }
    return Attachment(**values | overrides)


def make_tag(**overrides: Any) -> Tag:
    """A tag with a name of its own."""
    return Tag(**{"name": f"tag-{next(_numbers)}"} | overrides)
