"""Give a committing FastAPI dependency `scope="function"`

Since FastAPI 0.118 the code after `yield` runs when the response has been sent: if its COMMIT
fails, the client has a 200, and nothing is stored. `scope=` needs FastAPI 0.121. See
`references/fastapi.md`.
"""

import asyncio
from collections.abc import Iterator
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from ..models import Organization
from ._symptom import Returns

FAMILY = "sessions"
SYMPTOM = Returns(wrong=200, right=500, meaning="the HTTP status of a request whose commit fails")
SOURCE = (
    "Dependencies with yield",
    "https://fastapi.tiangolo.com/tutorial/dependencies/dependencies-with-yield/",
)


def broken(engine: Engine) -> object:
    def committed() -> Iterator[Session]:
        with Session(engine) as session:
            yield session
            session.commit()

    app = FastAPI()

    @app.post("/organizations")
    def register(session: Annotated[Session, Depends(committed)]) -> None:
        session.add(Organization(name="Acme", slug="Not a slug"))

    return status_of(app, "/organizations")


def fixed(engine: Engine) -> object:
    def committed() -> Iterator[Session]:
        with Session(engine) as session:
            yield session
            session.commit()

    app = FastAPI()

    @app.post("/organizations")
    def register(session: Annotated[Session, Depends(committed, scope="function")]) -> None:
        session.add(Organization(name="Acme", slug="Not a slug"))

    return status_of(app, "/organizations")


def status_of(app: FastAPI, path: str) -> int:
    """What a POST is answered."""

    async def post() -> int:
        way = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=way, base_url="http://desk") as client:
            return (await client.post(path)).status_code

    return asyncio.run(post())
