"""Schemas of all sorts, as people have them; every table can be filled."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import URL, make_url

from examples.postgres import temporary_database

# The package lies in the scripts' folder, which is on nobody's path.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))

TYPES = """
CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION ltree; CREATE EXTENSION cube;
CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"', 'happy');
CREATE TYPE place AS (street text, number integer, tags text[]);
CREATE TYPE textrange AS RANGE (subtype = text);
CREATE TABLE numbers (
    a smallint, b integer, c bigint, d numeric, e numeric(4, 2), f numeric(3, 3), g numeric(2, 5),
    h numeric(3, -2), i real, j double precision, k money, l oid, m numeric(1), n xid8
);
CREATE TABLE texts (
    a text NOT NULL UNIQUE, b varchar(1) NOT NULL UNIQUE, c varchar(3) NOT NULL UNIQUE, d char(1),
    e char(5), f varchar, g varchar(4000) NOT NULL UNIQUE, h "char", i name, j citext UNIQUE,
    k bpchar, l varchar(10) NOT NULL UNIQUE
);
CREATE TABLE times (
    a date, b time, c time(0) with time zone, d timestamp(3), e timestamptz, f interval,
    g interval day to second
);
CREATE TABLE others (
    a boolean NOT NULL, b uuid PRIMARY KEY, c json, d jsonb, e bytea, f inet, g cidr, h macaddr,
    i macaddr8, j bit, k bit(5), l bit varying, m bit varying(3), n tsvector, o tsquery, p xml,
    q pg_lsn, r hstore, s ltree, t cube, u jsonpath
);
CREATE TABLE figures (a point, b line, c lseg, d box, e path, f polygon, g circle, h box[]);
CREATE TABLE made_of_others (
    a text[], b integer[][], c mood, d mood[], e place, f place[], g int4range, h tstzrange[],
    i nummultirange, j daterange NOT NULL, k textrange, l varchar(2)[], m int8multirange
);
"""

DOMAINS = """
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN percent AS numeric(5, 2) NOT NULL CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN email AS text CHECK (VALUE ~ '^[^@\\s]+@[^@\\s]+\\.[a-z]{2,}$');
CREATE DOMAIN work_email AS email CHECK (VALUE LIKE '%@example.com');
CREATE DOMAIN slug AS text CHECK (VALUE ~ '^[a-z0-9]+(?:-[a-z0-9]+)*$') CHECK (length(VALUE) < 20);
CREATE DOMAIN size AS text CHECK (VALUE IN ('S', 'M', 'L'));
CREATE TYPE pair AS (size size, amount positive);
CREATE TABLE staff (
    address work_email PRIMARY KEY, slug slug NOT NULL UNIQUE, share percent, sizes size[],
    pair pair, amount positive NOT NULL CHECK (amount % 7 = 0)
);
"""

CHECKS = """
CREATE TABLE bookings (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    starts_at timestamptz NOT NULL, ends_at timestamptz NOT NULL,
    status text NOT NULL, cancelled_at timestamptz, reason text,
    price numeric(10, 2) NOT NULL, discount numeric(10, 2) NOT NULL,
    CHECK (ends_at > starts_at), CHECK (ends_at - starts_at <= interval '14 days'),
    CHECK (status = ANY ('{open,paid,cancelled}'::text[])),
    CHECK ((status = 'cancelled') = (cancelled_at IS NOT NULL)),
    CHECK (status <> 'cancelled' OR length(reason) > 3),
    CHECK (discount <= price AND price >= 0 AND discount >= 0)
);
CREATE TABLE codes (
    country char(2) NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
    currency varchar(3) NOT NULL CHECK (currency = upper(currency) AND length(currency) = 3),
    phone text NOT NULL CHECK (phone ~ '^\\+[1-9]\\d{6,14}$'),
    postcode text NOT NULL CHECK (postcode SIMILAR TO '[0-9]{5}'),
    iban text NOT NULL CHECK (iban ~ '^DE[[:digit:]]{20}$') UNIQUE,
    plate text NOT NULL CHECK (plate ~ '^[A-Z]{1,3}-[A-Z]{1,2} [1-9][0-9]{0,3}$') UNIQUE,
    colour text NOT NULL CHECK (colour ~* '^#[0-9A-F]{6}$'),
    version text NOT NULL CHECK (version ~ '^v?(0|[1-9]\\d*)\\.(0|[1-9]\\d*)\\.(0|[1-9]\\d*)$'),
    path text NOT NULL CHECK (path LIKE '/%' AND path NOT LIKE '%/'),
    lat double precision NOT NULL CHECK (lat BETWEEN -90 AND 90),
    year smallint NOT NULL CHECK (year >= 1900 AND year <= 2100),
    born date NOT NULL CHECK (born < '2000-01-01'),
    weekday date NOT NULL CHECK (extract(isodow FROM weekday) = 1),
    month date NOT NULL CHECK (month = date_trunc('month', month)),
    rating numeric NOT NULL CHECK (rating >= 0 AND rating <= 1),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    settings jsonb NOT NULL CHECK (jsonb_typeof(settings) = 'object' AND settings ? 'theme'),
    labels text[] NOT NULL CHECK (cardinality(labels) BETWEEN 1 AND 5),
    kinds text[] NOT NULL CHECK (kinds <@ ARRAY['a', 'b'] AND cardinality(kinds) > 0)
);
CREATE TABLE exactly_one (
    a integer, b text, c date, d uuid, e boolean, CHECK (num_nonnulls(a, b, c, d, e) = 1)
);
CREATE TABLE states (
    kind text NOT NULL CHECK (kind IN ('a', 'b', 'c')), x integer, y integer, z integer,
    CHECK (CASE kind
        WHEN 'a' THEN x IS NULL AND y IS NULL AND z > 7
        WHEN 'b' THEN x = 7 AND y IS NULL AND z IS NULL
        ELSE x IS NOT NULL AND y < x AND z = 0 END)
);
CREATE TABLE totals (
    net integer NOT NULL, tax integer NOT NULL, gross integer NOT NULL, CHECK (net + tax = gross)
);
CREATE TABLE sides (
    a integer NOT NULL, b integer NOT NULL, c integer, CHECK (a = b), CHECK (c > a)
);
"""

REFERENCES = """
CREATE TABLE people (
    id serial PRIMARY KEY, manager_id integer REFERENCES people, best_friend_id integer UNIQUE
        REFERENCES people CHECK (best_friend_id <> id), CHECK (manager_id <> id)
);
CREATE TABLE nodes (id integer PRIMARY KEY, root_id integer NOT NULL REFERENCES nodes);
CREATE TABLE always (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, root_id bigint NOT NULL REFERENCES always
);
CREATE TABLE profiles (person_id integer PRIMARY KEY REFERENCES people, bio text);
CREATE TABLE friendships (
    a integer REFERENCES people, b integer REFERENCES people, PRIMARY KEY (a, b), CHECK (a < b)
);
CREATE TABLE tenants (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text NOT NULL UNIQUE);
CREATE TABLE members (
    tenant_id uuid REFERENCES tenants, id integer, boss integer, PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, boss) REFERENCES members
);
CREATE TABLE projects (
    tenant_id uuid REFERENCES tenants, id integer, PRIMARY KEY (tenant_id, id)
);
CREATE TABLE tasks (
    tenant_id uuid NOT NULL REFERENCES tenants, project_id integer NOT NULL, member_id integer,
    FOREIGN KEY (tenant_id, project_id) REFERENCES projects,
    FOREIGN KEY (tenant_id, member_id) REFERENCES members
);
CREATE TABLE of_all (
    tenant_id uuid, member_id integer,
    FOREIGN KEY (tenant_id, member_id) REFERENCES members MATCH FULL
);
CREATE TABLE either (
    person_id integer REFERENCES people, tenant_id uuid REFERENCES tenants,
    CHECK ((person_id IS NULL) <> (tenant_id IS NULL))
);
"""

CIRCLES = """
CREATE TABLE teams (id integer PRIMARY KEY, lead_id integer NOT NULL);
CREATE TABLE players (id serial PRIMARY KEY, team_id integer NOT NULL REFERENCES teams);
ALTER TABLE teams ADD FOREIGN KEY (lead_id) REFERENCES players DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE orders (id integer PRIMARY KEY, first_line integer);
CREATE TABLE lines (id integer PRIMARY KEY, order_id integer NOT NULL REFERENCES orders);
ALTER TABLE orders ADD FOREIGN KEY (first_line) REFERENCES lines;
CREATE TABLE a (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, b integer NOT NULL);
CREATE TABLE b (id integer PRIMARY KEY, c integer NOT NULL);
CREATE TABLE c (id integer PRIMARY KEY, a integer NOT NULL REFERENCES a DEFERRABLE);
ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b DEFERRABLE;
ALTER TABLE b ADD FOREIGN KEY (c) REFERENCES c DEFERRABLE;
"""

UNIQUE = """
CREATE EXTENSION btree_gist;
CREATE TABLE settings (is_the_only_one boolean PRIMARY KEY CHECK (is_the_only_one), name text);
CREATE TABLE flags (id serial PRIMARY KEY, name text NOT NULL, is_default boolean NOT NULL);
CREATE UNIQUE INDEX ON flags ((true)) WHERE is_default;
CREATE UNIQUE INDEX ON flags (lower(name));
CREATE TABLE slots (kind boolean NOT NULL, level smallint NOT NULL, UNIQUE (kind, level));
CREATE TABLE nothing_twice (a integer UNIQUE NULLS NOT DISTINCT);
CREATE TABLE deferred (a boolean UNIQUE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE rooms (
    room integer NOT NULL, during tstzrange NOT NULL,
    EXCLUDE USING gist (room WITH =, during WITH &&)
);
CREATE TABLE shifts (
    person integer NOT NULL, starts date NOT NULL, ends date NOT NULL, CHECK (ends > starts),
    EXCLUDE USING gist (person WITH =, daterange(starts, ends) WITH &&)
);
"""

PARTITIONS = """
CREATE TABLE by_month (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, note text)
    PARTITION BY RANGE (at);
CREATE TABLE by_month_1 PARTITION OF by_month FOR VALUES FROM ('2031-01-01') TO ('2031-02-01');
CREATE TABLE by_month_2 PARTITION OF by_month FOR VALUES FROM ('2031-02-01') TO ('2031-03-01');
CREATE TABLE by_region (region text NOT NULL, n integer) PARTITION BY LIST (region);
CREATE TABLE by_region_north PARTITION OF by_region FOR VALUES IN ('no', 'se');
CREATE TABLE by_region_south PARTITION OF by_region FOR VALUES IN ('it') PARTITION BY RANGE (n);
CREATE TABLE by_region_south_1 PARTITION OF by_region_south FOR VALUES FROM (500) TO (700);
CREATE TABLE by_hash (id uuid PRIMARY KEY) PARTITION BY HASH (id);
CREATE TABLE by_hash_0 PARTITION OF by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE by_hash_1 PARTITION OF by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE with_rest (n integer NOT NULL) PARTITION BY RANGE (n);
CREATE TABLE with_rest_1 PARTITION OF with_rest FOR VALUES FROM (5000) TO (6000);
CREATE TABLE with_rest_2 PARTITION OF with_rest DEFAULT;
CREATE TABLE refers (id uuid NOT NULL REFERENCES by_hash);
"""

NAMES = """
CREATE SCHEMA "Odd Schema: 100%";
CREATE TABLE "Odd Schema: 100%"."Table ""x"":y" (
    "Id: %s" serial PRIMARY KEY, "select" text NOT NULL CHECK ("select" LIKE 'a:b%'),
    "number of the row" integer NOT NULL, "value" integer NOT NULL, n integer CHECK (n > value)
);
CREATE TABLE "Odd Schema: 100%".child (
    "Ref" integer NOT NULL REFERENCES "Odd Schema: 100%"."Table ""x"":y"
);
CREATE SCHEMA other;
CREATE TABLE other.child (a integer NOT NULL);
CREATE TABLE public.child (b text NOT NULL);
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
"""

MACHINERY = """
CREATE TABLE filled_by_trigger (id serial PRIMARY KEY, slug text NOT NULL UNIQUE, seen integer);
CREATE FUNCTION fill_slug() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.slug := 'slug-' || NEW.id; RETURN NEW; END $$;
CREATE TRIGGER fill_slug BEFORE INSERT ON filled_by_trigger
    FOR EACH ROW EXECUTE FUNCTION fill_slug();
CREATE TABLE particular (id serial PRIMARY KEY, amount integer NOT NULL);
CREATE FUNCTION only_seven() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF NEW.amount <> 7 THEN RAISE 'amount must be 7'; END IF; RETURN NEW; END $$;
CREATE TRIGGER only_seven BEFORE INSERT ON particular FOR EACH ROW EXECUTE FUNCTION only_seven();
CREATE TABLE apart (a integer NOT NULL, b integer NOT NULL);
CREATE FUNCTION apart() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF NEW.a = NEW.b THEN RAISE 'not the same'; END IF; RETURN NEW; END $$;
CREATE TRIGGER apart BEFORE INSERT ON apart FOR EACH ROW EXECUTE FUNCTION apart();
CREATE TABLE made (
    a integer NOT NULL, b integer GENERATED ALWAYS AS (a * 2) STORED, c text NOT NULL DEFAULT 'x',
    CHECK (b < 100)
);
CREATE TABLE only_identity (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
CREATE TABLE no_column ();
CREATE TABLE parent (a integer NOT NULL);
CREATE TABLE heir (b integer NOT NULL CHECK (b < a)) INHERITS (parent);
CREATE UNLOGGED TABLE unlogged (a integer);
CREATE TABLE ruled (a integer); CREATE TABLE seen (a integer);
CREATE RULE also AS ON INSERT TO ruled DO ALSO INSERT INTO seen VALUES (1);
CREATE TABLE strict (a integer NOT NULL);
ALTER TABLE strict ENABLE ROW LEVEL SECURITY; ALTER TABLE strict FORCE ROW LEVEL SECURITY;
CREATE POLICY all_ ON strict USING (true);
CREATE VIEW v AS SELECT * FROM made;
CREATE MATERIALIZED VIEW m AS SELECT * FROM made;
"""

ALL = {
    "types": TYPES,
    "domains": DOMAINS,
    "checks": CHECKS,
    "references": REFERENCES,
    "circles": CIRCLES,
    "unique": UNIQUE,
    "partitions": PARTITIONS,
    "names": NAMES,
    "machinery": MACHINERY,
}


@contextmanager
def database(server: str, script: str = "", *, driver: str = "psycopg") -> Iterator[URL]:
    """Within: a database of its own, in which *script* has run."""
    with temporary_database(server) as url:
        run(url, script)
        yield make_url(url).set(drivername=f"postgresql+{driver}")


def run(url: str | URL, script: str) -> None:
    """Run the statements of *script* in one go."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(script.encode())
