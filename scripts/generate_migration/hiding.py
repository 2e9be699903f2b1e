"""Passwords in a text that is shown: whatever the text is, three stars stand in their place.

It hides too much rather than too little.  The texts are other people's: what a driver, a settings
file or the user's own code says.
"""

from __future__ import annotations

import re

STARS = "***"
EXAMPLE = "user:password"  # of our own refusals
# Up to the last @ of the word, since a password may hold an @ that nobody encoded; of a URL in
# quotes up to the last one there, spaces included.
QUOTED = re.compile(r"""(?P<quote>['"])(?P<scheme>[\w+.-]*:/+)(?P<inner>[^'"\n]*)@""")
URL = re.compile(r"(?P<scheme>:/+)(?P<inner>\S*)@")
# No scheme, or half of one: me:secret@host.
BARE = re.compile(r"(?P<scheme>)(?P<inner>[^\s:/@'\"()\[\]{}=]+:[^\s/*]\S*)@")
# A URL that was cut off before its @: behind the colon stands no port.
CUT = re.compile(
    r"(?P<head>:/+[^\s:/@\[\]]*:)(?!\*\*\*|\d{1,5}(?:[/?'\",;.)\]}\s]|$)|password@host)\S+"
)
NAMED = re.compile(
    r"""(?P<name>[\w-]*(?:password|passwd|passphrase|pwd|secret)[\w-]*\\*['"]?\s*(?:=>?|:)\s*)"""
    r"""(?!(?:VALUE|x|…)(?:[\s,;]|$))"""  # of our own advice
    r"""(?:(?P<quote>\\*['"])(?:\\+[^\\]|[^\\])*?(?P=quote)\S*|\S+)""",
    re.IGNORECASE | re.DOTALL,
)
# Of an option that there is not: the rest of the line, blanks included.
OPTION = re.compile(
    r"(?P<name>(?<!\w)--?[\w-]*(?:password|passwd|passphrase|pwd|secret)[\w-]*(?:[^\S\n]+|=))"
    r"[^\n]+",
    re.IGNORECASE,
)
# What pydantic quotes of a setting.
INPUT = re.compile(r"(input_value=).*?(, input_type=)", re.DOTALL)


def hidden(text: str) -> str:
    """*text* without the passwords of URLs and of settings that are named so."""
    text = INPUT.sub(rf"\1{STARS}\2", text)
    text = OPTION.sub(rf"\g<name>{STARS}", text)
    for pattern in (QUOTED, URL, BARE):
        text = pattern.sub(credentials, text)
    text = CUT.sub(rf"\g<head>{STARS}", text)
    return NAMED.sub(rf"\g<name>{STARS}", text)


def credentials(found: re.Match[str]) -> str:
    """Role and stars of what stands before an @; a role alone is shown."""
    whole, inner = found[0], found["inner"]
    if inner == EXAMPLE or not re.search(r"[:/?#\s@]", inner):
        return whole
    role, colon, _ = inner.partition(":")
    role = role if colon and not re.search(r"[/?#\s@]", role) else ""
    return f"{whole[: found.start('inner') - found.start()]}{role}:{STARS}@"
