"""Projects of somebody else's: another layout, other ways to make a connection."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parent.parent.parent.parent
SCRIPTS = ROOT / "scripts"
sys.path.insert(0, str(SCRIPTS))

FIRST, SECOND = "aaaa00000001", "bbbb00000002"

# The template that `alembic init` copies, and the lines of each driver's way.
ENV = """
{imports}
from logging.config import fileConfig

from alembic import context

from shop.models import Base

config = context.config
if config.config_file_name is not None:
    fileConfig(config.config_file_name)
print("said by env.py")


def run(connection):
    context.configure(connection=connection, target_metadata=Base.metadata{options})
    with context.begin_transaction():
        context.run_migrations()


{body}
"""
SYNC = """
connectable = {engine}
with connectable.connect() as connection:
    run(connection)
connectable.dispose()
"""
ASYNC = """
async def run_async():
    connectable = {engine}
    async with connectable.connect() as connection:
        await connection.run_sync(run)
    await connectable.dispose()


asyncio.run(run_async())
"""
FROM_CONFIG = 'engine_from_config(config.get_section(config.config_ini_section), "sqlalchemy.")'
SYNC_IMPORTS = """
import os
from sqlalchemy import create_engine, engine_from_config, pool
"""
ASYNC_IMPORTS = """
import asyncio
import os
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import async_engine_from_config, create_async_engine
"""
MODELS = """
from sqlalchemy import BigInteger, Identity, MetaData, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    customer: Mapped[str] = mapped_column(Text)
"""
MORE = "    note: Mapped[str | None] = mapped_column(Text)\n"
REVISION = '''
"""{message}"""

import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {down!r}
branch_labels = None
depends_on = None


def upgrade():
{upgrade}


def downgrade():
{downgrade}
'''
ORDERS = """
op.create_table(
    "orders",
    sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
    sa.Column("customer", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
)
"""
TEMPLATE = '''
"""${message}"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade():
    ${upgrades if upgrades else "pass"}


def downgrade():
    ${downgrades if downgrades else "pass"}
'''
# Every project needs lock_timeout: without it each statement is found.
PATIENT = 'connect_args={"options": "-c lock_timeout=900ms"}'
POISON = "postgresql+psycopg2://nobody:wrong@127.0.0.1:1/never"
ENGINE = f'create_engine("{POISON}", poolclass=pool.NullPool, {PATIENT})'


def write(path: Path, text: str) -> Path:
    """The file with that text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text).lstrip(), encoding="utf-8")
    return path


def env(engine: str = FROM_CONFIG, *, options: str = "") -> str:
    """An ``env.py`` whose engine is the expression *engine*."""
    is_async = "async" in engine.partition("(")[0]
    body = (ASYNC if is_async else SYNC).format(engine=engine)
    imports = ASYNC_IMPORTS if is_async else SYNC_IMPORTS
    return ENV.format(imports=imports, body=body, options=options)


def shop(
    folder: Path,
    *,
    url: str = "postgresql+psycopg://nobody:wrong@127.0.0.1:1/never",
    env_py: str = "",
    models: str = MODELS,
    first: bool = True,
) -> Path:
    """A project with one revision: the path of its ``alembic.ini``."""
    ini = f"""
        [alembic]
        script_location = %(here)s/migrations
        prepend_sys_path = %(here)s/../src
        path_separator = os
        sqlalchemy.url = {url.replace("%", "%%")}

        [loggers]
        keys = root
        [handlers]
        keys = console
        [formatters]
        keys = plain
        [logger_root]
        level = INFO
        handlers = console
        [handler_console]
        class = StreamHandler
        args = (sys.stderr,)
        formatter = plain
        [formatter_plain]
        format = %(levelname)s [%(name)s] %(message)s
    """
    write(folder / "src" / "shop" / "__init__.py", "")
    write(folder / "src" / "shop" / "models.py", models)
    write(folder / "db" / "migrations" / "env.py", env_py or env())
    write(folder / "db" / "migrations" / "script.py.mako", TEMPLATE)
    (folder / "db" / "migrations" / "versions").mkdir(exist_ok=True)
    if first:
        revision(folder, FIRST, None, ORDERS, 'op.drop_table("orders")')
    return write(folder / "db" / "alembic.ini", ini)


def revision(
    folder: Path,
    name: str,
    down: str | tuple[str, ...] | None,
    upgrade: str = "pass",
    downgrade: str = "pass",
    *,
    message: str = "",
) -> Path:
    """A revision of the project in *folder*."""

    def body(code: str) -> str:
        return "\n".join(f"    {line}" for line in dedent(code).strip().splitlines())

    text = REVISION.format(
        message=message or f"Revision {name}.",
        revision=name,
        down=down,
        upgrade=body(upgrade),
        downgrade=body(downgrade),
    )
    return write(folder / "db" / "migrations" / "versions" / f"{name}.py", text)


def committed(folder: Path) -> None:
    """Put *folder* under git, with all that is in it."""
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "all"]):
        git(folder, *words)


def git(folder: Path, *words: str) -> None:
    """Run git there, with nobody's settings."""
    roles = ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL")
    nobody = {f"GIT_{role}": "a@b.c" for role in roles}
    nobody |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-C", str(folder), *words]
    subprocess.run(command, check=True, env={**os.environ, **nobody})


def versions(folder: Path) -> set[str]:
    """The files of the project's revisions."""
    return {path.name for path in (folder / "db" / "migrations" / "versions").iterdir()}


@contextmanager
def never_asked() -> Iterator[int]:
    """A port; who connects to it within fails the test."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        door.setblocking(False)
        yield door.getsockname()[1]
        try:
            door.accept()[0].close()
        except BlockingIOError:
            return
        raise AssertionError("somebody asked the server that must never be asked")
