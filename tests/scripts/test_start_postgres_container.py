"""The provider container on a real engine: it serves, it is told apart, and nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import psycopg
import pytest
from docker.errors import NotFound

from tests.scripts.test_start_postgres import answers, command, eventually, room, states

__all__ = ["room"]
pytestmark = pytest.mark.container


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    """The container engine."""
    client = docker.from_env()
    yield client
    client.close()


def environment(room: Path) -> dict[str, str]:
    """Ours: the image and how the engine is reached are the run's own."""
    return {key: value for key, value in os.environ.items() if key != "DATABASE_URL"} | {
        "TMPDIR": str(room)
    }


def start(room: Path, *arguments: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """The script, serving out of a container, and the facts that it printed."""
    process = subprocess.Popen(
        command("--provider", "container", "--output-format", "json", *arguments),
        env=environment(room),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, json.loads(process.stdout.readline())


def exists(engine: docker.DockerClient, state: Path) -> bool:
    """Whether the container of *state* is there, running or not."""
    try:
        engine.containers.get(f"soe-{state.name}")
    except NotFound:
        return False
    return True


def test_it_serves_on_the_loopback_and_goes(room: Path, engine: docker.DockerClient) -> None:
    process, facts = start(room, "--database", "desk", "--extension", "pg_trgm")
    (state,) = states(room)
    with process:
        assert process.stdin
        assert facts["provider"] == "container"
        assert facts["image"] == os.environ.get("POSTGRES_IMAGE", "postgres:18")
        with psycopg.connect(facts["url"]) as connection:
            row = connection.execute(
                "SELECT current_database(), current_setting('fsync'), extname "
                "FROM pg_extension WHERE extname = 'pg_trgm'"
            ).fetchone()
        assert row == ("desk", "off", "pg_trgm")
        ports = engine.containers.get(f"soe-{state.name}").ports["5432/tcp"] or []
        assert {port["HostIp"] for port in ports} == {"127.0.0.1"}, "published to the world"
        process.stdin.close()
        assert process.wait(30) == 0
    assert not exists(engine, state)
    assert not answers(facts["url"])
    assert states(room) == []


def test_sigkill_leaves_no_container(room: Path, engine: docker.DockerClient) -> None:
    process, _ = start(room)
    (state,) = states(room)
    with process:
        process.kill()
    assert eventually(lambda: not exists(engine, state))
    assert eventually(lambda: states(room) == [])


def test_the_next_start_clears_what_a_power_cut_left(
    room: Path, engine: docker.DockerClient
) -> None:
    process, _ = start(room)
    (state,) = states(room)
    guards = subprocess.check_output(["pgrep", "-f", f"guard {state}"], text=True).split()
    with process:
        for pid in guards:  # the guard first: nobody is left to clean up
            os.kill(int(pid), signal.SIGKILL)
        process.kill()
    assert exists(engine, state)
    following, _ = start(room)
    with following:
        assert not exists(engine, state)
        assert following.stdin
        following.stdin.close()


@pytest.mark.parametrize(
    ("entrypoint", "said"),
    [
        (["false"], "no server came up"),
        (["psql", "--nonsense"], "unrecognized option"),
        (["no-such-program"], "no-such-program"),
    ],
)
def test_an_image_that_does_not_serve_is_told(
    room: Path, engine: docker.DockerClient, entrypoint: list[str], said: str
) -> None:
    tag = f"soe-broken:{room.name.lower()}"
    image = os.environ.get("POSTGRES_IMAGE", "postgres:18")
    source = engine.containers.create(image)
    source.commit(*tag.split(":"), changes=f"ENTRYPOINT {json.dumps(entrypoint)}")
    source.remove(v=True)
    try:
        result = subprocess.run(
            command("--provider", "container", "--exec", "true"),
            env=environment(room) | {"POSTGRES_IMAGE": tag},
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        engine.images.remove(tag)
    assert result.returncode == 2
    assert said in result.stderr
    assert "PASSWORD" not in result.stderr
    assert "Traceback" not in result.stderr
    assert states(room) == []


def test_a_missing_image_is_not_pulled(room: Path) -> None:
    result = subprocess.run(
        command("--provider", "container", "--exec", "true"),
        env=environment(room) | {"POSTGRES_IMAGE": "soe-no-such-image:1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 2
    assert "nothing is pulled (docker pull soe-no-such-image:1)" in result.stderr
