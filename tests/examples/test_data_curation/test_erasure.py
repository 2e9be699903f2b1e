"""Once a person is anonymised, nothing in the database says the name or the address."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, Text, cast, func, inspect, literal, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from examples.audit_trails.tables import audited
from examples.audit_trails.triggers import install_ddl
from examples.data_curation.erasure import (
    StillFound,
    anonymise_user,
    async_anonymise_user,
    rewritten,
    terms_of,
)
from examples.data_curation.scanning import Place, async_scan, pattern, scan, text_places
from examples.models import AuditLog, Base, Comment, OutboxMessage, Ticket, User
from examples.testing_patterns.factories import (
    make_attachment,
    make_comment,
    make_ticket,
    make_user,
)
from examples.testing_patterns.statements import assert_statements
from tests.saved import saved

NAME, EMAIL = "Jürgen Groß", "Juergen.Gross+desk@acme.example"
NEEDLES = ("jürgen", "juergen", "gross", "groß", "GROSS")

ELSEWHERE = (
    # What an application has that no model of ours knows.
    "CREATE EXTENSION IF NOT EXISTS citext",
    "CREATE DOMAIN nickname AS text",
    """CREATE TABLE elsewhere (id bigint, wide varchar(80), "Order" citext, nick nickname,
       names text[], plain json, doc jsonb, words tsvector,
       fixed char(60), made tsvector GENERATED ALWAYS AS (to_tsvector('english', wide)) STORED)""",
    "CREATE MATERIALIZED VIEW people AS SELECT full_name || ' <' || email || '>' AS who FROM users",
    "CREATE MATERIALIZED VIEW people_again AS SELECT upper(who) AS who FROM people",
    "CREATE VIEW greetings AS SELECT 'Dear ' || full_name AS greeting FROM users",
    "CREATE TABLE parted (region text, note text) PARTITION BY LIST (region)",
    "CREATE TABLE parted_eu PARTITION OF parted FOR VALUES IN ('eu')",
)


def spread(session: Session) -> User:
    """A person who is everywhere."""
    for statement in ELSEWHERE:
        session.execute(text(statement))
    for name in ("users", "tickets", "comments"):
        for line in install_ddl(audited(Base.metadata.tables[name])):
            session.execute(text(line))
    person = make_user(full_name=NAME, email=EMAIL)
    ticket = make_ticket(creator=person, title=f"From {NAME}", description="JÜRGEN  GROSS\nwaits")
    ticket.comments = [
        make_comment(content="ask juergen.gross, or <JUERGEN.GROSS@ACME.EXAMPLE>."),
        make_comment(content="groß, jürgen; https://x.org/?to=juergen.gross%2Bdesk%40acme.example"),
        make_comment(content="Hi\nJürgen-Groß"),
        make_comment(content="https://x.org/?q=J%C3%BCrgen%20Gro%C3%9F&p=GRO%c3%9f,Ju%CC%88rgen"),
    ]
    ticket.attachments = [make_attachment(filename="Jürgen_Groß.pdf", storage_key=f"a/{EMAIL}")]
    payload = {EMAIL: {"to": [{"name": f"line\n{NAME}"}]}, "n": 1, "quoted": f'"{NAME}"'}
    saved(session, person, ticket, OutboxMessage(topic="mail", payload=payload))
    person.full_name = "Jurgen Gross"  # the trail has both
    session.flush()
    person.full_name = NAME
    session.flush()
    row = {
        "text": f"for {NAME}",
        # As it stands in JSON of ASCII alone: \\u00a0, \\u2013.
        "doc": json.dumps({"deep": [f"\t{NAME}"], "apart": "Jürgen\u00a0Groß, Groß \u2013 Jürgen"}),
        "names": ["nobody", NAME, EMAIL],
    }
    session.execute(
        text(
            "INSERT INTO elsewhere SELECT 1, t, t, t, CAST(:names AS text[]), CAST(d AS json), "
            "CAST(d AS jsonb), to_tsvector('simple', t), t "
            "FROM (SELECT CAST(:text AS text) AS t, CAST(:doc AS text) AS d) AS made"
        ),
        row,
    )
    session.execute(text("INSERT INTO parted VALUES ('eu', :text)"), row)
    session.execute(text("REFRESH MATERIALIZED VIEW people"))
    session.execute(text("REFRESH MATERIALIZED VIEW people_again"))
    return person


def everything(session: Session) -> str:
    """All that the database holds, as text; JSON and URLs read: no escape hides a sign."""
    inspector = inspect(session.connection())
    names = inspector.get_table_names() + inspector.get_view_names()
    names += inspector.get_materialized_view_names()
    lines = []
    for name in names:
        rows = session.execute(text(f'SELECT to_jsonb(t) FROM "{name}" AS t')).scalars()
        lines += [json.dumps(row, ensure_ascii=False) for row in rows]
    said = "\n".join(lines)
    return f"{said}\n{unquote(said)}".lower()


ALSO = ("Jurgen Gross", "Juergen Gross")


def test_nothing_says_it_afterwards(session: Session) -> None:
    person = spread(session)
    terms = terms_of(NAME, EMAIL, ALSO)
    before = {str(found.place).removeprefix("public.") for found in scan(session, terms)}
    assert before == {
        "users.email", "users.full_name", "tickets.title", "tickets.description",
        "tickets.search_vector", "comments.content", "attachments.filename",
        "attachments.storage_key", "audit_log_default.changes", "outbox_messages.payload",
        "elsewhere.wide", "elsewhere.Order", "elsewhere.nick", "elsewhere.names",
        "elsewhere.plain", "elsewhere.doc", "elsewhere.words", "elsewhere.made", "elsewhere.fixed",
        "people.who", "people_again.who", "greetings.greeting", "parted_eu.note",
    }  # fmt: skip
    told = everything(session)
    assert all(needle.lower() in told for needle in NEEDLES)
    erasure = anonymise_user(session, person.id, also=ALSO, erased_by_id=7)
    assert erasure.tolerated == []
    assert scan(session, terms) == []
    told = everything(session)
    assert [needle for needle in NEEDLES if needle.lower() in told] == []
    assert "acme.example" not in told
    # The rest is there.
    comments = session.scalars(select(Comment.content).order_by(Comment.id)).all()
    new = f"erased-{person.id}"
    assert comments[0] == f"ask {new}, or <{new}@erased.invalid>."
    assert comments[2] == f"Hi\n{new}"
    assert comments[3] == f"https://x.org/?q={new}&p={new}"
    payload = session.scalars(select(OutboxMessage.payload)).one()
    assert payload == {
        f"{new}@erased.invalid": {"to": [{"name": f"line\n{new}"}]},
        "n": 1,
        "quoted": f'"{new}"',
    }
    row = session.execute(text("SELECT names, plain, words::text FROM elsewhere")).one()
    assert row[0] == ["nobody", new, f"{new}@erased.invalid"]
    assert row[1] == {"deep": [f"\t{new}"], "apart": f"{new}, {new}"}
    assert row[2] == "'for':1"
    found = (
        select(func.count())
        .select_from(Ticket)
        .where(Ticket.search_vector.bool_op("@@")(func.websearch_to_tsquery("english", "waits")))
    )
    assert session.scalar(found) == 1


def test_the_row_stays_and_is_nobody(session: Session) -> None:
    person = saved(session, make_user(full_name=NAME, email=EMAIL))
    ticket = saved(session, make_ticket(creator=person, title=f"From {NAME}"))
    version, key = ticket.version, person.id
    anonymise_user(session, key, erased_by_id=7)
    assert (person.email, person.full_name) == (f"erased-{key}@erased.invalid", f"erased-{key}")
    assert (person.is_active, ticket.creator_id) == (False, key)
    # What the session holds was read again; who holds the old text elsewhere is refused.
    assert (ticket.title, ticket.version) == (f"From erased-{key}", version + 1)
    (entry,) = session.scalars(select(AuditLog))
    assert (entry.record_id, entry.user_id) == (key, 7)
    assert entry.changes["erased"] == {"public.tickets.title": 1}
    # Again, and with a name remembered late.
    ticket.title = "Old Jim asks"
    anonymise_user(session, key, also=["Old Jim"])
    assert ticket.title == f"erased-{key} asks"


def test_a_trail_of_triggers_records_what_is_erased(session: Session) -> None:
    person = make_user(full_name=NAME)
    ticket = make_ticket(creator=person, comments=[make_comment(content=f"{NAME} called")])
    saved(session, person, ticket)
    for line in install_ddl(audited(Base.metadata.tables["comments"])):
        session.execute(text(line))
    # The trail does not say it yet: the rewrite of the comment lets it.
    assert {found.place.relation for found in scan(session, [NAME])} == {"users", "comments"}
    erasure = anonymise_user(session, person.id)
    assert erasure.rewritten["public.audit_log_default.changes"] == 1
    assert scan(session, [NAME]) == []


def test_a_trail_that_is_written_at_the_commit(session: Session) -> None:
    for line in (
        "CREATE TABLE late_trail (old text)",
        "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO late_trail VALUES (OLD.content); RETURN NULL; END $$",
        "CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON comments "
        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()",
    ):
        session.execute(text(line))
    person = make_user(full_name=NAME)
    saved(session, person, make_ticket(comments=[make_comment(content=f"{NAME} called")]))
    anonymise_user(session, person.id)
    session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    assert session.scalar(text("SELECT old FROM late_trail")) == f"erased-{person.id} called"


# --- Not too much ---------------------------------------------------------------------------------


def test_longer_words_and_others_stay(session: Session) -> None:
    person = make_user(full_name="Ann Lee", email="ann.lee@acme.example")
    other = make_user(full_name="Joann Leeds", email="joann.lee@acme.example")
    text_ = "Annual Leeway, joann.lee@acme.example, Ann and Lee or ann.lee@acme.examples"
    comment = make_comment(content=text_)
    saved(session, person, other, make_ticket(comments=[comment]))
    anonymise_user(session, person.id)
    # The local part of an address that only looks alike is a term of its own.
    new = text_.replace(" ann.lee@", f" erased-{person.id}@")
    assert comment.content == new
    assert (other.full_name, other.email) == ("Joann Leeds", "joann.lee@acme.example")


def test_words_of_everybody_stay(session: Session) -> None:
    person = make_user(full_name="Will Price", email="will@acme.example")
    others = [
        make_user(full_name="Mark", email="a.price@acme.example"),
        make_user(full_name="Li Ke", email="a.m@acme.example"),
        make_user(full_name="O'Neill", email="2026@acme.example"),
    ]
    said = (
        "It will be done for a price, 10 a.m., 2026-01-01. I like to mark: ask will@other.org, "
        "jo.will@acme.example, or x-2026@acme.example"
    )
    comment = make_comment(content=f"{said}; not will@acme.example, a.price or ONEILL")
    waiting = OutboxMessage(
        topic="mail", payload={"to": "will@other.org", "note": said, "at": 2026}
    )
    saved(session, person, *others, make_ticket(comments=[comment]), waiting)
    for each in (person, *others):
        anonymise_user(session, each.id)
    first, second, *_ = (f"erased-{each.id}" for each in (person, *others))
    assert comment.content == f"{said}; not {first}@erased.invalid, {second} or ONEILL"
    assert waiting.payload == {"to": "will@other.org", "note": said, "at": 2026}


def test_a_namesake_stays_who_she_is_and_is_told(session: Session) -> None:
    person, namesake = make_user(full_name="Ann Lee"), make_user(full_name="Ann Lee")
    saved(session, person, namesake)
    with pytest.raises(StillFound, match=r"public\.users\.full_name \(1\)") as caught:
        anonymise_user(session, person.id)
    assert [found.rows for found in caught.value.findings] == [1]
    erasure = anonymise_user(session, person.id, also=["Ann Lee"], tolerate={"users"})
    assert [str(found.place) for found in erasure.tolerated] == ["public.users.full_name"]
    assert namesake.full_name == "Ann Lee"


def test_what_cannot_be_rewritten_is_an_error(session: Session) -> None:
    person = saved(session, make_user(full_name=NAME))
    session.execute(text(f"CREATE VIEW honours AS SELECT '{NAME}' AS laureate"))
    with pytest.raises(StillFound, match=r"honours\.laureate"):
        anonymise_user(session, person.id)
    with pytest.raises(ValueError, match="user -1, who is not there"):
        anonymise_user(session, -1)


@pytest.mark.parametrize("local", ["info", "will", "Help-Desk", "sales2", "a.m", "12.34", "b2"])
def test_a_word_or_a_role_is_nobodys_name(local: str) -> None:
    assert terms_of("Ann Lee", f"{local}@x.org") == sorted(["Ann Lee", "Lee Ann", f"{local}@x.org"])


def test_what_is_looked_for() -> None:
    assert terms_of("Al", "a+b@x.org", ["Ally"]) == ["Ally", "a+b@x.org", "a@x.org"]
    assert terms_of("Mark", "al.lee+b@x.org", ["Mark"]) == [
        *("Mark", "al.lee", "al.lee+b", "al.lee+b@x.org", "al.lee@x.org"),
    ]
    assert terms_of("Jean-Luc", "lee7@x.org") == ["Jean-Luc", "lee7", "lee7@x.org"]
    assert terms_of("erased-7", "erased-7@erased.invalid", ["Jim"]) == ["Jim"]


# --- The scan -------------------------------------------------------------------------------------


def test_a_scan_takes_a_statement_a_relation(session: Session) -> None:
    relations = len({place.oid for place in text_places(session)})
    with assert_statements(session, exactly=relations + 4):
        assert scan(session, ["nobody knows this one"]) == []
    for nothing in ([], ["…"], [""]):
        with pytest.raises(ValueError, match="expected words"):
            scan(session, nothing)


def test_every_text_of_the_models_is_looked_at(session: Session) -> None:
    looked_at = {(place.relation, place.name) for place in text_places(session)}
    for table in Base.metadata.tables.values():
        relation = "audit_log_default" if table.name == "audit_log" else table.name
        for column in table.columns:
            kind = column.type.compile(dialect=session.get_bind().dialect)
            if kind in {"TEXT", "VARCHAR", "JSONB", "TSVECTOR"} or kind.startswith("VARCHAR"):
                assert (relation, column.name) in looked_at


def test_rows_that_a_policy_hides_are_an_error(session: Session) -> None:
    saved(session, make_user(full_name=NAME))
    role = f"soe_{session.scalar(select(func.md5(func.current_database())))}"
    for line in (
        f"CREATE ROLE {role}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY nobody ON users USING (false)",
        f"SET LOCAL ROLE {role}",
    ):
        session.execute(text(line))
    assert session.scalar(select(func.count()).select_from(User)) == 0
    with pytest.raises(ProgrammingError, match="row-level security"):
        scan(session, [NAME])


# --- Any name, in any JSON ------------------------------------------------------------------------

NAMES = st.text(st.sampled_from("abzÄßüéñ'-.\"\\ "), min_size=2, max_size=12).filter(
    lambda name: len([each for each in name if each.isalpha()]) > 1
)
AROUND = st.text(st.sampled_from(' \n\t",\\/<>.;:[]{}\u0001'), max_size=3)


@settings(max_examples=40, deadline=None)
@given(name=NAMES, before=AROUND, after=AROUND, ascii_only=st.booleans(), key=st.booleans())
def test_any_name_goes_and_json_stays_json(
    engines: dict[str, Engine], *, name: str, before: str, after: str, ascii_only: bool, key: bool
) -> None:
    said = f"{before}{name}{after}"
    value = {"rest": [1, None], **({said: 1} if key else {"who": [said]})}
    place = Place(
        0,
        "",
        "t",
        "r",
        "value",
        "json" if ascii_only else "jsonb",
        "json" if ascii_only else "jsonb",
        generated=False,
    )
    with engines["psycopg"].connect() as connection:
        document = literal(json.dumps(value, ensure_ascii=ascii_only), Text)
        typed = document.op("::")(text(place.kind))
        row = select(typed.label("value")).subquery("t")
        new = rewritten(place, [name], 7)
        found = cast(place.column, Text).regexp_match(pattern([name], escaped=True), flags="i")
        row_of: Any = connection.execute(
            select(
                cast(new, JSONB),
                found,
                cast(new, Text).regexp_match(pattern([name], escaped=True), flags="i"),
            ).select_from(row)
        ).one()
    shown, *found_in = row_of
    assert found_in == [True, False]
    assert shown["rest"] == [1, None]
    assert "erased-7" in json.dumps(shown)


# --- Under asyncio --------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_under_asyncio(async_session: AsyncSession) -> None:
    person = await async_session.run_sync(spread)
    terms = terms_of(NAME, EMAIL, ALSO)
    assert await async_scan(async_session, terms)
    await async_anonymise_user(async_session, person.id, also=ALSO)
    assert await async_scan(async_session, terms) == []
    assert not person.is_active


def test_unique_columns_stay_unique(session: Session) -> None:
    # Unique columns stay unique: each person has a token of his own.
    people = [make_user(full_name=f"Ann {word}") for word in ("Lee", "Loo")]
    files = [make_attachment(storage_key=each.full_name) for each in people]
    saved(session, *people, make_ticket(attachments=files))
    for person in people:
        anonymise_user(session, person.id)
    assert [each.storage_key for each in files] == [f"erased-{each.id}" for each in people]
