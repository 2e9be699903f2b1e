"""The queries of ``schema.py``: each gives lines, ``object`` or ``object: what of it``.

``format('%I.%I')`` qualifies and quotes; so do the ``pg_get_…def`` functions, but for names that
the search path finds: it is the same for both sides of a comparison.
"""

from __future__ import annotations

USER = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
# FirstNormalObjectId of PostgreSQL's access/transam.h: from there on nothing is the system's.
FIRST = 16384


def free(catalog: str, oid: str) -> str:
    """The condition that an object belongs to no extension."""
    return (
        f"NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = '{catalog}'::regclass "
        f"AND e.objid = {oid} AND e.deptype = 'e')"
    )


def collation(oid: str, catalog_type: str) -> str:
    """``COLLATE …`` where it is not the type's own."""
    return f"""CASE WHEN {oid} <> {catalog_type}
        THEN (SELECT format('COLLATE %I.%I', on_.nspname, o.collname) FROM pg_collation AS o
            JOIN pg_namespace AS on_ ON on_.oid = o.collnamespace WHERE o.oid = {oid}) END"""


# All relations but indexes and the row types of tables.
MINE = f"""
WITH mine AS MATERIALIZED (
    SELECT c.*, c.oid AS id, CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
        WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'type'
        ELSE 'table' END || format(' %I.%I', n.nspname, c.relname) AS object
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND {USER}
        AND c.relname <> CAST(:version_table AS text) AND {free("pg_class", "c.oid")}
        -- Of an identity or a serial of that table.
        AND NOT EXISTS (SELECT FROM pg_depend AS d JOIN pg_class AS o ON o.oid = d.refobjid
            WHERE c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid
                AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
                AND o.relname = CAST(:version_table AS text))
)"""
OPTIONS = "(SELECT string_agg(o, ', ' ORDER BY o) FROM unnest({}) AS o)"
TABLESPACE = """(SELECT 'tablespace ' || quote_ident(s.spcname) FROM pg_tablespace AS s
        WHERE s.oid = c.reltablespace)"""

RELATIONS = f"""{MINE}
SELECT object FROM mine
UNION ALL
SELECT object || ': owner ' || quote_ident(pg_get_userbyid(relowner)) FROM mine
UNION ALL
SELECT object || ': ' || line FROM mine AS c, LATERAL (VALUES
    (CASE WHEN c.relpersistence <> 'p' THEN 'persistence ' || c.relpersistence::text END),
    ('partition by ' || pg_get_partkeydef(c.id)),
    ('with ' || {OPTIONS.format("c.reloptions")}),
    ('toast with ' || (SELECT {OPTIONS.format("t.reloptions")} FROM pg_class AS t
        WHERE t.oid = c.reltoastrelid)),
    (CASE WHEN c.relrowsecurity THEN 'row security' END),
    (CASE WHEN c.relforcerowsecurity THEN 'row security forced' END),
    (CASE WHEN c.relkind IN ('r', 'p', 'm') AND c.relreplident <> 'd'
        THEN 'replica identity ' || c.relreplident::text END),
    ((SELECT 'access method ' || m.amname FROM pg_am AS m
        WHERE m.oid = c.relam AND m.amname <> 'heap')),
    ({TABLESPACE}),
    (CASE WHEN c.reloftype <> 0 THEN 'of ' || format_type(c.reloftype, NULL) END),
    (CASE WHEN c.relkind IN ('v', 'm') THEN 'as ' || pg_get_viewdef(c.id) END),
    ((SELECT format('server %I ', s.srvname) || coalesce(array_to_string(f.ftoptions, ', '), '')
        FROM pg_foreign_table AS f JOIN pg_foreign_server AS s ON s.oid = f.ftserver
        WHERE f.ftrelid = c.id))
) AS facts (line) WHERE line IS NOT NULL AND c.relkind <> 'c'
UNION ALL
SELECT m.object || CASE WHEN m.relispartition THEN ': partition of ' ELSE ': inherits ' END
    || format('%I.%I %s', n.nspname, c.relname, pg_get_expr(m.relpartbound, m.id))
FROM mine AS m JOIN pg_inherits AS i ON i.inhrelid = m.id
JOIN pg_class AS c ON c.oid = i.inhparent JOIN pg_namespace AS n ON n.oid = c.relnamespace
UNION ALL
SELECT m.object || ': ' || pg_get_ruledef(r.oid)
    || CASE r.ev_enabled WHEN 'O' THEN '' ELSE ' enabled ' || r.ev_enabled::text END
FROM mine AS m JOIN pg_rewrite AS r ON r.ev_class = m.id WHERE r.rulename <> '_RETURN'
"""

COLUMNS = f"""{MINE}
SELECT concat_ws(' ', m.object || ': column', quote_ident(a.attname),
    format_type(a.atttypid, a.atttypmod), {collation("a.attcollation", "t.typcollation")},
    CASE WHEN a.attnotnull THEN 'NOT NULL' END,
    CASE a.attgenerated WHEN '' THEN 'DEFAULT ' WHEN 's' THEN 'STORED ' ELSE 'VIRTUAL ' END
        || pg_get_expr(d.adbin, d.adrelid),
    CASE a.attidentity WHEN 'a' THEN 'IDENTITY ALWAYS' WHEN 'd' THEN 'IDENTITY BY DEFAULT' END,
    CASE WHEN a.attstorage <> t.typstorage THEN 'STORAGE ' || a.attstorage::text END,
    CASE WHEN a.attcompression <> '' THEN 'COMPRESSION ' || a.attcompression::text END,
    CASE WHEN a.attstattarget >= 0 THEN 'STATISTICS ' || a.attstattarget::text END,
    'WITH ' || array_to_string(a.attoptions, ', '),
    'OPTIONS ' || array_to_string(a.attfdwoptions, ', '),
    CASE WHEN NOT a.attislocal AND NOT m.relispartition THEN 'INHERITED' END)
FROM mine AS m JOIN pg_attribute AS a ON a.attrelid = m.id
JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND m.relkind <> 'S'
"""

# A constraint trigger is a trigger; the foreign key of a partition is its parent's.
CONSTRAINTS = f"""{MINE}
SELECT m.object || format(': constraint %I ', k.conname) || pg_get_constraintdef(k.oid)
    || CASE WHEN k.conislocal OR m.relispartition THEN '' ELSE ' INHERITED' END
FROM mine AS m JOIN pg_constraint AS k ON k.conrelid = m.id
WHERE k.contype <> 't' AND NOT (k.contype = 'f' AND k.conparentid <> 0)
"""

INDEXES = f"""{MINE}
SELECT m.object || format(': index %I ', c.relname) || line
FROM mine AS m JOIN pg_index AS i ON i.indrelid = m.id JOIN pg_class AS c ON c.oid = i.indexrelid,
LATERAL (VALUES
    (CASE WHEN NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = c.oid
        AND k.contype IN ('p', 'u', 'x')) THEN pg_get_indexdef(c.oid) END),
    ('with ' || {OPTIONS.format("c.reloptions")}),
    (CASE WHEN NOT i.indisvalid THEN 'INVALID' END),
    (CASE WHEN i.indisclustered THEN 'CLUSTER' END),
    (CASE WHEN i.indisreplident THEN 'REPLICA IDENTITY' END),
    ({TABLESPACE}),
    ((SELECT 'statistics ' || string_agg(format('%s %s', a.attnum, a.attstattarget), ', '
        ORDER BY a.attnum) FROM pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attstattarget >= 0)),
    ((SELECT format('attached to %I.%I', pn.nspname, p.relname) FROM pg_inherits AS h
        JOIN pg_class AS p ON p.oid = h.inhparent
        JOIN pg_namespace AS pn ON pn.oid = p.relnamespace WHERE h.inhrelid = c.oid))
) AS facts (line) WHERE line IS NOT NULL
UNION ALL
SELECT format('statistics %I.%I: ', n.nspname, s.stxname) || pg_get_statisticsobjdef(s.oid)
    || CASE WHEN s.stxstattarget >= 0 THEN ' STATISTICS ' || s.stxstattarget::text ELSE '' END
FROM mine AS m JOIN pg_statistic_ext AS s ON s.stxrelid = m.id
JOIN pg_namespace AS n ON n.oid = s.stxnamespace
"""

SEQUENCES = f"""{MINE}
SELECT m.object || format(': %s start %s increment %s from %s to %s cache %s%s',
    format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache,
    CASE WHEN s.seqcycle THEN ' cycle' ELSE '' END)
FROM mine AS m JOIN pg_sequence AS s ON s.seqrelid = m.id
UNION ALL
SELECT m.object || format(': owned by %I.%I.%I', n.nspname, c.relname, a.attname)
FROM mine AS m JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = m.id
    AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
JOIN pg_class AS c ON c.oid = d.refobjid JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE m.relkind = 'S'
"""

# Those of a partition come from its parent, unless somebody switched one off.
TRIGGERS = f"""{MINE}
SELECT m.object || ': ' || pg_get_triggerdef(t.oid)
    || CASE t.tgenabled WHEN 'O' THEN '' ELSE ' enabled ' || t.tgenabled::text END
FROM mine AS m JOIN pg_trigger AS t ON t.tgrelid = m.id
WHERE NOT t.tgisinternal AND (t.tgparentid = 0
    OR t.tgenabled <> (SELECT p.tgenabled FROM pg_trigger AS p WHERE p.oid = t.tgparentid))
UNION ALL
SELECT m.object || format(': policy %I %s for %s to ', p.polname,
        CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END, p.polcmd)
    || (SELECT string_agg(CASE r WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(r)) END,
        ', ' ORDER BY pg_get_userbyid(r)) FROM unnest(p.polroles) AS r)
    || coalesce(' using ' || pg_get_expr(p.polqual, p.polrelid), '')
    || coalesce(' with check ' || pg_get_expr(p.polwithcheck, p.polrelid), '')
FROM mine AS m JOIN pg_policy AS p ON p.polrelid = m.id
"""

TYPES = f"""
WITH mine AS MATERIALIZED (
    SELECT t.*, t.oid AS id, format('type %I.%I', n.nspname, t.typname) AS object
    FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
    WHERE {USER} AND {free("pg_type", "t.oid")} AND (t.typtype IN ('e', 'd', 'r')
        OR (t.typtype = 'b' AND NOT EXISTS (SELECT FROM pg_type AS e WHERE e.typarray = t.oid)))
)
SELECT object FROM mine
UNION ALL
SELECT object || ': owner ' || quote_ident(pg_get_userbyid(typowner)) FROM mine
UNION ALL
SELECT object || ': enum ' || coalesce((SELECT string_agg(quote_literal(e.enumlabel), ', '
    ORDER BY e.enumsortorder) FROM pg_enum AS e WHERE e.enumtypid = m.id), '')
FROM mine AS m WHERE m.typtype = 'e'
UNION ALL
SELECT concat_ws(' ', object || ': domain', format_type(m.typbasetype, m.typtypmod),
    {collation("m.typcollation", "b.typcollation")},
    CASE WHEN m.typnotnull THEN 'NOT NULL' END, 'DEFAULT ' || m.typdefault)
FROM mine AS m JOIN pg_type AS b ON b.oid = m.typbasetype WHERE m.typtype = 'd'
UNION ALL
SELECT object || format(': constraint %I ', k.conname) || pg_get_constraintdef(k.oid)
FROM mine AS m JOIN pg_constraint AS k ON k.contypid = m.id
UNION ALL
SELECT concat_ws(' ', object || ': range', format_type(r.rngsubtype, NULL),
    'multirange ' || format_type(r.rngmultitypid, NULL),
    (SELECT format('COLLATE %I', o.collname) FROM pg_collation AS o WHERE o.oid = r.rngcollation),
    (SELECT format('class %I', o.opcname) FROM pg_opclass AS o WHERE o.oid = r.rngsubopc),
    NULLIF(r.rngcanonical::text, '-'), NULLIF(r.rngsubdiff::text, '-'))
FROM mine AS m JOIN pg_range AS r ON r.rngtypid = m.id
UNION ALL
SELECT format('type %I.%I: composite', n.nspname, c.relname)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'c' AND {USER} AND {free("pg_class", "c.oid")}
"""

FUNCTION = """CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END
    || format(' %I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))"""
# The constructors of a range type belong to the type.
CODE = f"""
WITH mine AS MATERIALIZED (
    SELECT p.*, p.oid AS id, {FUNCTION} AS object
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE {USER} AND {free("pg_proc", "p.oid")}
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass
            AND d.objid = p.oid AND d.deptype = 'i')
)
SELECT object FROM mine
UNION ALL
SELECT object || ': owner ' || quote_ident(pg_get_userbyid(proowner)) FROM mine
UNION ALL
SELECT object || ': ' || pg_get_functiondef(id) FROM mine WHERE prokind <> 'a'
UNION ALL
SELECT object || format(': from %s of %s to %s by %s, start %s, sort %s, %s, %s', a.aggtransfn,
    format_type(a.aggtranstype, NULL), a.aggfinalfn, a.aggcombinefn,
    coalesce(quote_literal(a.agginitval), 'NULL'), a.aggsortop::regoperator, a.aggkind,
    m.proparallel)
FROM mine AS m JOIN pg_aggregate AS a ON a.aggfnoid = m.id
"""

# Rare things: that they are there, by what identifies them.
RARE = (
    *("pg_cast", "pg_collation", "pg_conversion", "pg_event_trigger", "pg_foreign_data_wrapper"),
    *("pg_foreign_server", "pg_language", "pg_opclass", "pg_operator", "pg_opfamily"),
    *("pg_publication", "pg_publication_namespace", "pg_publication_rel", "pg_transform"),
    *("pg_ts_config", "pg_ts_dict", "pg_ts_parser", "pg_ts_template"),
)
EACH_RARE = " UNION ALL ".join(
    f"SELECT '{name}'::regclass AS catalog, oid FROM {name}" for name in RARE
)
# The table itself is the superuser's.
EACH_RARE += " UNION ALL SELECT 'pg_user_mapping'::regclass, umid FROM pg_user_mappings"
OTHERS = f"""
SELECT 'schema ' || quote_ident(n.nspname) || line
FROM pg_namespace AS n, LATERAL (VALUES (''),
    (': owner ' || quote_ident(pg_get_userbyid(n.nspowner)))) AS facts (line)
WHERE {USER} AND {free("pg_namespace", "n.oid")}
UNION ALL
SELECT 'extension ' || quote_ident(e.extname) || line
FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace,
    LATERAL (VALUES (''), (format(': in %I', n.nspname)), (': version ' || e.extversion))
    AS facts (line)
WHERE e.oid >= {FIRST}
UNION ALL
SELECT i.type || ' ' || i.identity
FROM ({EACH_RARE}) AS o, LATERAL pg_identify_object(o.catalog, o.oid, 0) AS i
WHERE o.oid >= {FIRST} AND NOT EXISTS (SELECT FROM pg_depend AS e
    WHERE e.classid = o.catalog AND e.objid = o.oid AND e.deptype IN ('e', 'i'))
"""

DESCRIBED = f"""
SELECT 'comment on ' || i.type || ' ' || i.identity || ': ' || d.description
FROM pg_description AS d, LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) AS i
WHERE d.objoid >= {FIRST} AND i.identity IS NOT NULL AND NOT EXISTS (SELECT FROM pg_depend AS e
    WHERE e.classid = d.classoid AND e.objid = d.objoid AND e.deptype = 'e')
    AND NOT EXISTS (SELECT FROM pg_class AS c
        WHERE c.oid = d.objoid AND c.relname = CAST(:version_table AS text))
    AND NOT (d.classoid = 'pg_extension'::regclass)
UNION ALL
SELECT 'comment on schema ' || quote_ident(n.nspname) || ': ' || d.description
FROM pg_description AS d JOIN pg_namespace AS n ON n.oid = d.objoid
WHERE d.classoid = 'pg_namespace'::regclass AND d.objoid < {FIRST} AND {USER}
"""


def grants(letter: str, acl: str, owner: str) -> str:
    """The privileges that differ from an object's first ones: given, and taken away."""
    default = f"acldefault('{letter}', {owner})"
    now = f"coalesce({acl}, {default})"
    return f"""LATERAL (
        (SELECT 'grant ', * FROM aclexplode({now})
            EXCEPT SELECT 'grant ', * FROM aclexplode({default}))
        UNION ALL
        (SELECT 'revoke ', * FROM aclexplode({default})
            EXCEPT SELECT 'revoke ', * FROM aclexplode({now}))
    ) AS g (word, grantor, grantee, privilege, grantable)"""


SAID = """g.word || g.privilege || CASE g.word WHEN 'grant ' THEN ' to ' ELSE ' from ' END
    || CASE g.grantee WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(g.grantee)) END
    || CASE WHEN g.grantable AND g.word = 'grant ' THEN ' with grant option' ELSE '' END"""
GRANTED = f"""{MINE}
SELECT m.object || ': ' || {SAID}
FROM mine AS m, {grants("r", "m.relacl", "m.relowner")} WHERE m.relkind NOT IN ('S', 'c')
UNION ALL
SELECT m.object || ': ' || {SAID}
FROM mine AS m, {grants("s", "m.relacl", "m.relowner")} WHERE m.relkind = 'S'
UNION ALL
SELECT m.object || format(': on column %I ', a.attname) || {SAID}
FROM mine AS m JOIN pg_attribute AS a ON a.attrelid = m.id AND a.attacl IS NOT NULL
    AND NOT a.attisdropped, {grants("c", "a.attacl", "m.relowner")}
UNION ALL
SELECT format('schema %I: ', n.nspname) || {SAID}
FROM pg_namespace AS n, {grants("n", "n.nspacl", "n.nspowner")} WHERE {USER}
UNION ALL
SELECT {FUNCTION} || ': ' || {SAID}
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace,
    {grants("f", "p.proacl", "p.proowner")}
WHERE {USER} AND p.proacl IS NOT NULL AND {free("pg_proc", "p.oid")}
UNION ALL
SELECT format('type %I.%I: ', n.nspname, t.typname) || {SAID}
FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace,
    {grants("T", "t.typacl", "t.typowner")}
WHERE {USER} AND t.typacl IS NOT NULL AND {free("pg_type", "t.oid")}
UNION ALL
SELECT format('default privileges of %I%s on %s: ', pg_get_userbyid(d.defaclrole),
    ' in ' || quote_ident(n.nspname), d.defaclobjtype)
    || (SELECT string_agg(a::text, ', ' ORDER BY a::text) FROM unnest(d.defaclacl) AS a)
FROM pg_default_acl AS d LEFT JOIN pg_namespace AS n ON n.oid = d.defaclnamespace
"""
QUERIES = (
    *(RELATIONS, COLUMNS, CONSTRAINTS, INDEXES, SEQUENCES, TRIGGERS, TYPES, CODE),
    *(OTHERS, DESCRIBED, GRANTED),
)
