"""What Alembic runs.  To take it: copy this folder, and name your package in the two imports."""

from logging.config import fileConfig

from alembic import context

from examples.migration_guide.environment import run_migrations
from examples.models import Base

# Only for the command line: a program that calls Alembic has its own logging.
if context.config.config_file_name and context.config.cmd_opts:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

run_migrations(Base.metadata)
