#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["sqlalchemy[asyncio]>=2.0.36"]
# ///
"""Ask the configured mappers of your models what will hurt on PostgreSQL.  ``--help`` says how.

Run it with your project's own interpreter, since it imports your models.
"""

import sys
from pathlib import Path

# A bare copy: the package lies beside this file, and nothing is installed.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from validate_models.__main__ import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
