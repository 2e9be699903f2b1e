"""Call the function that `env.py` defines

An `env.py` that only defines `run_migrations_online()` is no error: `alembic upgrade head` exits
with 0 and does nothing. No command of Alembic tells, since each goes through `env.py`: look for the
table `alembic_version`.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, inspect

from ._symptom import Returns

FAMILY = "migrations"
SYMPTOM = Returns(wrong=False, right=True, meaning="whether the table is there after `upgrade`")
SOURCE = (
    "Tutorial: Editing the env.py",
    "https://alembic.sqlalchemy.org/en/latest/tutorial.html",
)
REVISION = """
from alembic import op
revision, down_revision = "1", None

def upgrade():
    op.execute("CREATE TABLE plans (id int)")
"""


def broken(url: str) -> object:
    env = """
from alembic import context

def run_migrations_online():
    context.configure(context.config.attributes["connection"])
    with context.begin_transaction():
        context.run_migrations()
"""
    return upgrade_head(url, env)


def fixed(url: str) -> object:
    env = """
from alembic import context

def run_migrations_online():
    context.configure(context.config.attributes["connection"])
    with context.begin_transaction():
        context.run_migrations()

run_migrations_online()
"""
    return upgrade_head(url, env)


def upgrade_head(url: str, env: str) -> bool:
    """Whether ``alembic upgrade head`` makes the table, in a project of *env* and one revision."""
    engine = create_engine(url)
    with TemporaryDirectory() as folder, engine.connect() as connection:
        versions = Path(folder) / "versions"
        versions.mkdir()
        (Path(folder) / "env.py").write_text(env)
        (versions / "1_plans.py").write_text(REVISION)
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", folder.replace("%", "%%"))
        command.upgrade(config, "head")
        made = inspect(connection).has_table("plans")
    engine.dispose()
    return made
