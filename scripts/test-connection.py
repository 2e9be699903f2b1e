#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["sqlalchemy[asyncio]>=2.0.36", "psycopg[binary]>=3.2"]
# ///
"""Say why PostgreSQL cannot be reached, or whether it is ready.  ``--help`` says how.

Run it with your project's own interpreter, since it tries your project's own driver.
"""

import sys
from pathlib import Path

# A bare copy: the package lies beside this file, and nothing is installed.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from test_connection.__main__ import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
