"""Tickets over HTTP."""

from datetime import datetime

from fastapi import Depends, FastAPI, HTTPException
from models import Ticket
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import selectinload


class TicketIn(BaseModel):
    number: str
    title: str
    customer_id: int


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


def create_app(database_url: str) -> FastAPI:
    engine = create_async_engine(database_url)
    factory = async_sessionmaker(engine, expire_on_commit=False)
    app = FastAPI()

    async def get_session():
        async with factory() as session:
            try:
                yield session
                await session.commit()
            except Exception:
                await session.rollback()
                raise

    @app.post("/tickets", status_code=201, response_model=TicketOut)
    async def create(ticket: TicketIn, session=Depends(get_session)):
        new = Ticket(**ticket.model_dump())
        session.add(new)
        try:
            await session.flush()
        except IntegrityError:
            raise HTTPException(409, "number is taken")
        await session.refresh(new, ["customer", "created_at"])
        return new

    @app.get("/tickets/{ticket_id}", response_model=TicketOut)
    async def read(ticket_id: int, session=Depends(get_session)):
        found = await session.get(Ticket, ticket_id, options=[selectinload(Ticket.customer)])
        if found is None:
            raise HTTPException(404, "not found")
        return found

    @app.get("/tickets", response_model=list[TicketOut])
    async def find(q: str = "", limit: int = 50, offset: int = 0, session=Depends(get_session)):
        statement = (
            select(Ticket)
            .where(Ticket.title.ilike(f"%{q}%"))
            .options(selectinload(Ticket.customer))
            .order_by(Ticket.created_at.desc())
            .limit(limit)
            .offset(offset)
        )
        return (await session.scalars(statement)).all()

    return app
