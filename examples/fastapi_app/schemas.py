"""What goes in and out: closed models, bounded text, and no attribute that would load.

A field that is not named here cannot be set, whatever the client sends, and cannot leak.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from ..models import TicketPriority, TicketStatus
from ..search import TEXT_LIMIT, Nobody, TicketSearch

IMPORT_LIMIT = 1_000
"""Tickets in one import."""

Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
"""A bigint: a larger number is refused here, and not by the driver."""

# PostgreSQL stores no NUL, and the CHECKs want more than blanks.
NO_NUL = r"^[^\x00]*$"
NOT_BLANK = r"^[^\x00]*[^\s\x00][^\x00]*$"
Title = Annotated[str, StringConstraints(max_length=500, pattern=NOT_BLANK)]
Description = Annotated[str, StringConstraints(max_length=20_000, pattern=NO_NUL)]
CommentText = Annotated[str, StringConstraints(max_length=10_000, pattern=NOT_BLANK)]
TagName = Annotated[str, StringConstraints(max_length=50, pattern=NOT_BLANK)]
SearchText = Annotated[str, StringConstraints(max_length=TEXT_LIMIT, pattern=NO_NUL)]


class Received(BaseModel):
    """A field that we do not know is an error: a typo is told, and ``version`` cannot be set."""

    model_config = ConfigDict(extra="forbid")


class NewTicket(Received):
    """Its creator is who acts; its number, status and version are the database's."""

    title: Title
    description: Description
    organization_id: Id
    priority: TicketPriority = TicketPriority.MEDIUM


class TicketChanges(Received):
    """Only what was sent is changed.  The defaults are never read: without them null would pass."""

    title: Title = Field(default_factory=str)
    description: Description = Field(default_factory=str)
    priority: TicketPriority = Field(default_factory=lambda: TicketPriority.MEDIUM)


class NewComment(Received):
    """A note; internal ones are for the desk alone."""

    content: CommentText
    is_internal: bool = False


class NewTags(Received):
    """Tags to add; those that are new to the desk are made."""

    names: list[TagName] = Field(min_length=1, max_length=20)


class Assignment(Received):
    """Who works on it; null: nobody."""

    assignee_id: Id | None


class TicketQuery(Received):
    """What is looked for, newest first; ``next`` and ``previous`` of a page go into ``cursor``."""

    q: SearchText = ""
    match: Literal["words", "substring"] = "words"
    status: list[TicketStatus] = Field(default=[], max_length=len(TicketStatus))
    priority: list[TicketPriority] = Field(default=[], max_length=len(TicketPriority))
    assignee: Id | Nobody | None = None
    organization_id: Id | None = None
    created_from: AwareDatetime | None = None
    created_before: AwareDatetime | None = None
    any_tag: list[TagName] = Field(default=[], max_length=20)
    all_tags: list[TagName] = Field(default=[], max_length=20)
    cursor: Annotated[str, StringConstraints(max_length=400)] | None = None
    limit: int = Field(default=50, ge=1, le=100)

    def search(self) -> TicketSearch:
        """The same without the page.  Raises ``SearchError``."""
        return TicketSearch(
            text=self.q,
            match=self.match,
            statuses=tuple(self.status),
            priorities=tuple(self.priority),
            assignee=self.assignee,
            organization_id=self.organization_id,
            created_from=self.created_from,
            created_before=self.created_before,
            any_tags=tuple(self.any_tag),
            all_tags=tuple(self.all_tags),
        )


class Sent(BaseModel):
    """Read off mapped objects.  What is not loaded raises (``lazy="raise"``) before the commit."""

    model_config = ConfigDict(from_attributes=True)


class TagOut(Sent):
    """A label."""

    id: int
    name: str
    color: str


class TicketOut(Sent):
    """A ticket.  ``version`` is its ETag."""

    id: int
    ticket_number: str
    title: str
    description: str
    status: TicketStatus
    priority: TicketPriority
    organization_id: int
    creator_id: int
    assignee_id: int | None
    duplicate_of_id: int | None
    created_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    version: int
    tags: list[TagOut]


class TicketPage(BaseModel):
    """Newest first; a cursor is null where there is no such page."""

    tickets: list[TicketOut]
    next: str | None
    previous: str | None


class CommentOut(Sent):
    """A note on a ticket."""

    id: int
    ticket_id: int
    author_id: int
    content: str
    is_internal: bool
    created_at: datetime


class Imported(BaseModel):
    """The ids, in the order of the rows that were sent."""

    ids: list[int]


class AssigneeStatistics(BaseModel):
    """One member of staff; null for the tickets that nobody has."""

    assignee_id: int | None
    assignee: str | None
    ticket_count: int
    open_count: int
    avg_resolution_hours: float | None


class Statistics(BaseModel):
    """The desk at one moment."""

    total: int
    status_counts: dict[TicketStatus, int]
    priority_counts: dict[TicketPriority, int]
    avg_resolution_hours: float | None
    median_resolution_hours: float | None
    p90_resolution_hours: float | None
    p99_resolution_hours: float | None
    assignee_stats: list[AssigneeStatistics]


class Problem(BaseModel):
    """Every answer that is no success: words of ours, fields, and what leads to the log."""

    message: str
    fields: list[str] = []
    request_id: str
    incident: str | None = None
