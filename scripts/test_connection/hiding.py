"""Passwords in a message that repeats what was typed: three stars stand in their place.

It hides too much rather than too little: nobody checked a URL that stands in a wrong place.
"""

from __future__ import annotations

import re

STARS = "***"
EXAMPLE = "user:password"  # of our own advice
# Up to the last @ of the word, since a password may hold an @ that nobody encoded.  One slash is
# what a path leaves of two; me:secret@host has no scheme.
URL = re.compile(r"(?:://?|(?<![^\s'\"(=])(?=[^\s:/@'\"(=]+:[^\s/]))(?P<inner>\S*)@")
# In quotes up to the last one there, blanks included.
QUOTED = re.compile(r"'[\w+.-]*://?(?P<inner>[^'\n]*)@")
# Its @ is forgotten, and behind the colon stands no port.
NO_HOST = re.compile(
    r"(?P<head>://?[^\s:/@\[\]]*:)(?!\*\*\*|password@|\d{1,5}(?:[/?'\",;.)\]}\s]|$))\S+"
)
# Of a query, of libpq's name=value, of the environment; VALUE is our own advice.
NAMED = re.compile(r"(?P<head>(?:password|passwd|secret)[\w-]*=)(?!VALUE(?!\w))\S+", re.I)
# Of an option that there is not: the rest of the line, blanks included.
OPTION = re.compile(
    r"(?P<head>(?<!\w)--?[\w-]*(?:password|passwd|passphrase|pwd|secret)[\w-]*(?:[^\S\n]+|=))"
    r"[^\n]+",
    re.IGNORECASE,
)


def hidden(text: str) -> str:
    """*text* without the passwords of URLs and of settings that are named so."""
    text = OPTION.sub(rf"\g<head>{STARS}", text)
    text = NAMED.sub(rf"\g<head>{STARS}", text)  # first: an @ of its value ends no role
    text = URL.sub(credentials, QUOTED.sub(credentials, text))
    return NO_HOST.sub(rf"\g<head>{STARS}", text)


def credentials(found: re.Match[str]) -> str:
    """Role and stars of what stands before an @; a role alone is shown."""
    whole, inner = found[0], found["inner"]
    if inner == EXAMPLE or not re.search(r"[:/?#@\s]", inner):
        return whole
    role, colon, _ = inner.partition(":")
    role = role if colon and not re.search(r"[/?#@\s]", role) else ""
    return f"{whole[: found.start('inner') - found.start()]}{role}:{STARS}@"
