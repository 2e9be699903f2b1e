"""Build a URL with `URL.create`, not with an f-string

A generated password holds `@`, `/` or `%` sooner or later. In an f-string the rest of it becomes
the host, and stands in the error message and the log.
"""

from sqlalchemy import URL, make_url

from ._symptom import Returns

FAMILY = "connecting"
SYMPTOM = Returns(
    wrong="ssw0rd", right="127.0.0.1", meaning="the host that the engine tries to reach"
)
SOURCE = (
    "Creating URLs Programmatically",
    "https://docs.sqlalchemy.org/en/21/core/engines.html#creating-urls-programmatically",
)


def broken(url: str) -> object:
    generated = "p@ssw0rd/1"
    made = make_url(f"postgresql+psycopg://desk:{generated}@127.0.0.1/desk")
    return made.host


def fixed(url: str) -> object:
    generated = "p@ssw0rd/1"
    made = URL.create("postgresql+psycopg", "desk", generated, host="127.0.0.1", database="desk")
    return made.host
