"""Tickets over HTTP; what is answered with 2xx is committed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request
from models import Ticket
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import Select, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import joinedload

INT4, INT8 = 2**31 - 1, 2**63 - 1


def storable(value: str) -> str:
    """PostgreSQL stores any text but a NUL, or half of a surrogate pair."""
    if "\0" in value:
        raise ValueError("must not hold a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("is no valid Unicode") from None
    return value


class TicketIn(BaseModel):
    number: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=20),
        AfterValidator(storable),
    ]
    title: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
        AfterValidator(storable),
    ]
    customer_id: Annotated[int, Field(ge=1, le=INT4)]


class CustomerOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int
    name: str


class TicketOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int
    number: str
    title: str
    created_at: datetime
    customer: CustomerOut


async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    """A session that is closed, and never committed, afterwards."""
    async with request.app.state.factory() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]


def tickets() -> Select[Any]:
    """Tickets with all that is shown."""
    return select(Ticket).options(joinedload(Ticket.customer, innerjoin=True))


def refusal(error: DBAPIError) -> HTTPException | None:
    """What to answer instead of a 500."""
    state = getattr(error.orig, "sqlstate", None) or ""
    if state == "23505":
        return HTTPException(409, "this number is taken")
    if state[:2] in {"22", "23"}:
        return HTTPException(422, "this ticket cannot be stored")
    return None


def create_app(database_url: str) -> FastAPI:
    """The application; its engine lives as long as it does."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = create_async_engine(database_url)
        app.state.factory = async_sessionmaker(engine, expire_on_commit=False)
        try:
            yield
        finally:
            await engine.dispose()

    app = FastAPI(lifespan=lifespan)

    @app.post("/tickets", status_code=201)
    async def create(ticket: TicketIn, session: SessionDep) -> TicketOut:
        try:
            new = Ticket(**ticket.model_dump())
            session.add(new)
            await session.flush()
            found = (await session.scalars(tickets().where(Ticket.id == new.id))).one()
            answer = TicketOut.model_validate(found)
            await session.commit()
        except DBAPIError as error:
            refused = refusal(error)
            if refused is None:
                raise
            raise refused from error
        return answer

    @app.get("/tickets/{ticket_id}")
    async def read(ticket_id: Annotated[int, Path()], session: SessionDep) -> TicketOut:
        found = None
        if 0 < ticket_id <= INT4:
            found = (await session.scalars(tickets().where(Ticket.id == ticket_id))).one_or_none()
        if found is None:
            raise HTTPException(404, "there is no such ticket")
        return TicketOut.model_validate(found)

    @app.get("/tickets")
    async def find(
        session: SessionDep,
        q: Annotated[str, Query(max_length=200)] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        offset: Annotated[int, Query(ge=0, le=INT8)] = 0,
    ) -> list[TicketOut]:
        statement = tickets().order_by(Ticket.created_at.desc(), Ticket.id.desc())
        if "\0" in q:
            return []
        if q:
            statement = statement.where(Ticket.title.icontains(q, autoescape=True))
        rows = await session.scalars(statement.limit(limit).offset(offset))
        return [TicketOut.model_validate(row) for row in rows]

    return app
