#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["sqlalchemy[asyncio]>=2.0.36", "alembic>=1.18.5", "psycopg[binary]>=3.2"]
# ///
"""Write, repair, lint and prove a migration.  ``--help`` says how.

Run it with your project's own interpreter, since it runs your env.py; generate-migration.sh finds
that one.
"""

import sys
from pathlib import Path

# A bare copy: the package lies beside this file, and nothing is installed.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from generate_migration.__main__ import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
