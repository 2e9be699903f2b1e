"""Put the skill into the wheel: made as ``make skill`` makes it, whoever builds the wheel."""

from __future__ import annotations

import runpy
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACE = "sqlalchemy_orm_expert/.agents/skills/sqlalchemy-orm-expert"


class SkillHook(BuildHookInterface[Any]):
    """Hatchling's hook; the folder is gone when the wheel is there."""

    folder: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the folder, and have it included."""
        del version
        self.folder = Path(tempfile.mkdtemp(prefix="soe-wheel-"))
        build = runpy.run_path(str(Path(self.root) / "tools" / "build_skill.py"))["build"]
        build_data["force_include"][str(build(self.folder / "skill"))] = PLACE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove it."""
        del version, build_data, artifact_path
        if self.folder is not None:
            shutil.rmtree(self.folder)
