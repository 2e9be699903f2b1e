"""What the source of a revision says, read without running it.

Where statements were observed they decide: a naming convention may have named a constraint that the
source leaves nameless.
"""

from __future__ import annotations

import ast
import builtins
import enum
import re
import sys
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import MetaData, Table

from .core import ALEMBIC, Finding, Statement
from .rules import AUTOCOMMIT, Rule
from .sql import actions, is_one_of, made, pieces, targets

RULES: Mapping[str, Rule] = {
    "nameless-constraint": Rule(
        "warning",
        "PostgreSQL makes up a name, and the downgrade, or the next revision, does not know it.",
        f"{ALEMBIC}/naming.html",
    ),
    "no-downgrade": Rule(
        "warning",
        "On the night when it is needed, alembic downgrade does nothing and says that all is well.",
        f"{ALEMBIC}/tutorial.html#downgrading",
    ),
    "imports-models": Rule(
        "warning",
        "The models go on changing: in a year this revision runs with columns that its database "
        "does not have yet.",
        f"{ALEMBIC}/ops.html#alembic.operations.Operations.execute",
    ),
    "concurrently-in-transaction": Rule(
        "error",
        "PostgreSQL refuses CONCURRENTLY within a transaction (25001).",
        AUTOCOMMIT,
    ),
    "autogenerate-leftover": Rule(
        "error",
        "Autogenerate wrote down what it could not know; the revision fails where it stands.",
        f"{ALEMBIC}/autogenerate.html#affecting-the-rendering-of-types-themselves",
    ),
}

CREATES = {
    "create_unique_constraint", "create_foreign_key", "create_check_constraint",
    "create_primary_key", "create_exclude_constraint", "create_index",
}  # fmt: skip
DROPS = {"drop_constraint", "drop_index"}
OWN = '"the name that it has"'
NAMES = {
    "create_unique_constraint": '"uq_tickets_slug"',
    "create_foreign_key": '"fk_tickets_team_id_teams"',
    "create_check_constraint": '"ck_tickets_status"',
    "create_primary_key": '"pk_tickets"',
    "create_exclude_constraint": '"ex_tickets_during"',
    "create_index": '"ix_tickets_slug"',
}
# What the templates of Alembic write, and what says as little.
TEMPLATE = re.compile(r"(revert|undo|downgrade)( \w+){0,3}\.?", re.IGNORECASE)
CONCURRENT = re.compile(
    r"\b(CREATE\s+(UNIQUE\s+)?INDEX|DROP\s+INDEX|REINDEX\b.*?|DETACH\s+PARTITION\b.*?)"
    r"\s+CONCURRENTLY\b",
    re.IGNORECASE | re.DOTALL,
)
NAMED_SQL = re.compile(
    r"ADD\s+(UNIQUE|PRIMARY\s+KEY|FOREIGN\s+KEY|CHECK|EXCLUDE)\b|ADD\b.*\b(REFERENCES|CHECK|UNIQUE)\b",
    re.IGNORECASE,
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def findings(path: Path, statements: Sequence[Statement]) -> list[Finding]:
    """What is wrong with the revision at *path*; *statements* are those that it ran."""
    text = text_of(path)
    tree = ast.parse(text, str(path))
    found = [
        *nameless(tree, statements),
        *no_downgrade(tree, text),
        *imported_models(tree),
        *concurrently(tree, statements),
        *leftovers(tree),
    ]
    revision = statements[0].revision if statements else assigned(tree, "revision")
    return [replace(each, path=path, revision=revision) for each in found]


def text_of(path: Path) -> str:
    """The source at *path*, in the encoding that it declares."""
    with tokenize.open(path) as file:
        return file.read()


def assigned(tree: ast.Module, name: str) -> str:
    """The text that the module gives to *name*."""
    for node in tree.body:
        named = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if any(isinstance(each, ast.Name) and each.id == name for each in named):
            return str(value.value) if isinstance(value, ast.Constant) else ""
    return ""


def finding(rule: str, node: ast.AST, message: str, fix: str, severity: str = "") -> Finding:
    """A finding of *rule* at *node*."""
    known = RULES[rule]
    return Finding(
        rule=rule,
        severity=severity or known.severity,
        message=message,
        why=known.why,
        fix=fix,
        line=getattr(node, "lineno", None),
        statement=ast.unparse(node)[:300] if isinstance(node, ast.Call) else "",
        url=known.url,
    )


# --- nameless-constraint --------------------------------------------------------------------------


def nameless(tree: ast.Module, statements: Sequence[Statement]) -> Iterator[Finding]:
    """``nameless-constraint``: ``None`` for a name, and SQL that adds without one."""
    told: set[int] = set()
    for call in calls(tree):
        name = called(call)
        if name not in CREATES | DROPS or not first_is_none(call):
            continue
        ran = within(call, statements)
        if name in CREATES and ran and not any(map(adds_nameless, ran)):
            continue  # the naming convention of the models named it
        told.update(range(call.lineno, (call.end_lineno or call.lineno) + 1))
        kind = name.partition("_")[2].replace("_", " ")
        yield finding(
            "nameless-constraint",
            call,
            f"{name}(None, …): the {'constraint' if kind == 'constraint' else kind} has no name",
            f"op.{name}({NAMES.get(name, OWN)}, …)  # the same name in both directions\n"
            "For good: MetaData(naming_convention={…}) in the models",
            "error" if name in DROPS else "",
        )
    new = made(statements)
    for statement in statements:
        named = targets(statement.sql)
        if not adds_nameless(statement) or statement.line in told:
            continue
        if named and not is_one_of(named[0], new) and statement.line is not None:
            told.add(statement.line)
            yield replace(
                finding(
                    "nameless-constraint",
                    ast.Pass(),
                    f"a constraint is added to {'.'.join(named[0])} without a name",
                    'op.create_foreign_key("fk_tickets_team_id_teams", …), '
                    "or name it in the column\nFor good: MetaData(naming_convention={…})",
                ),
                line=statement.line,
                statement=statement.sql[:300],
            )


def adds_nameless(statement: Statement) -> bool:
    """Whether *statement* adds a constraint to a table and leaves its name to PostgreSQL."""
    return any(
        NAMED_SQL.match(action) and not re.search(r"\bCONSTRAINT\b", action, re.IGNORECASE)
        for piece in pieces(statement.sql)
        for action in actions(piece)
    )


def first_is_none(call: ast.Call) -> bool:
    """Whether the name that *call* is given is ``None``."""
    keywords = ("constraint_name", "index_name")
    given = call.args[:1] or [word.value for word in call.keywords if word.arg in keywords]
    return bool(given) and isinstance(given[0], ast.Constant) and given[0].value is None


def within(node: ast.expr, statements: Sequence[Statement]) -> list[Statement]:
    """The statements that the lines of *node* ran."""
    end = node.end_lineno or node.lineno
    return [each for each in statements if each.line and node.lineno <= each.line <= end]


# --- no-downgrade ---------------------------------------------------------------------------------


def no_downgrade(tree: ast.Module, text: str) -> Iterator[Finding]:
    """``no-downgrade``: missing, empty without a word why, or declared impossible."""
    functions = {node.name: node for node in tree.body if isinstance(node, Function)}
    upgrade, downgrade = functions.get("upgrade"), functions.get("downgrade")
    if upgrade is None or is_empty(upgrade):
        return
    write = 'def downgrade() -> None:\n    op.drop_column("…", "…")  # what upgrade() added'
    if downgrade is None:
        # It may come by another way: assigned, imported, made.
        if "downgrade" not in {name for node in tree.body for name in bound(node)}:
            yield finding("no-downgrade", upgrade, "there is no downgrade()", write)
        return
    raised = downgrade.body[-1]
    if isinstance(raised, ast.Raise):
        reason = raised.exc.args if isinstance(raised.exc, ast.Call) else []
        told = f": {ast.unparse(reason[0])}" if reason else ""
        yield finding(
            "no-downgrade",
            downgrade,
            f"declared irreversible{told}" if reason else "downgrade() raises, and says no reason",
            "" if reason else 'raise NotImplementedError("the old values are not kept")',
            "info" if reason else "",
        )
    elif is_empty(downgrade) and not explained(downgrade, text):
        yield finding(
            "no-downgrade",
            downgrade,
            "downgrade() does nothing, and upgrade() does something",
            f'{write}\nNothing to undo? Say why:\n    """Nothing: the column goes with its '
            'revision."""\nNo way back?\n    raise NotImplementedError("the old values are gone")',
        )


def is_empty(function: Function) -> bool:
    """Whether *function* does nothing."""
    return all(
        isinstance(node, ast.Pass)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in function.body
    )


def explained(function: Function, text: str) -> bool:
    """Whether a docstring or a comment says why *function* is empty."""
    words = " ".join((ast.get_docstring(function) or "").split())
    if words and not TEMPLATE.fullmatch(words):
        return True
    lines = text.splitlines()[function.lineno : function.end_lineno]
    comments = [line.partition("#")[2].strip(" #") for line in lines if "#" in line]
    return any(len(one.split()) > 2 and "lembic" not in one for one in comments)


# --- imports-models -------------------------------------------------------------------------------


def imported_models(tree: ast.Module) -> Iterator[Finding]:
    """``imports-models``: a mapped class, a table or the metadata comes from the project."""
    for node in ast.walk(tree):
        for module, name, known_as in imports(node):
            found = resolved(module, name, known_as, tree)
            if found:
                yield finding(
                    "imports-models",
                    node,
                    f"{found} comes from {module}",
                    "Say in the revision what it needs, as it is today:\n"
                    'tickets = sa.table("tickets", sa.column("id"), sa.column("status"))\n'
                    "op.execute(tickets.update().where(…).values(…))",
                )
                break


def imports(node: ast.AST) -> Iterator[tuple[str, str, str]]:
    """Module, name (or ""), and what it is called here."""
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        for each in node.names:
            yield node.module, each.name, each.asname or each.name
    elif isinstance(node, ast.Import):
        for each in node.names:
            yield each.name, "", each.asname or each.name


def resolved(module: str, name: str, known_as: str, tree: ast.Module) -> str:
    """The first model, table or metadata that is used through this import, or ""."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in {"alembic", "sqlalchemy"}:
        return ""
    loaded = sys.modules.get(module)
    if loaded is None:  # nothing was run: by its name
        last = (module if name == "" else f"{module}.{name}").rpartition(".")[2]
        is_models = {"models", "model", "entities", "orm"} & {module.rpartition(".")[2], last}
        return name or module if is_models else ""
    if name and hasattr(loaded, name):
        if is_model(getattr(loaded, name)):
            return name
        loaded = getattr(loaded, name)
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == known_as
    }
    return next((each for each in sorted(used) if is_model(getattr(loaded, each, None))), "")


def is_model(thing: object) -> bool:
    """Whether *thing* goes on changing with the models: a type of a column does not."""
    if isinstance(thing, type):
        mapped = hasattr(thing, "__mapper__") or hasattr(thing, "__table__")
        based = isinstance(getattr(thing, "metadata", None), MetaData)
        values = issubclass(thing, enum.Enum) and not in_packages(thing)
        return mapped or based or values
    return isinstance(thing, MetaData | Table)


def in_packages(thing: type) -> bool:
    """Whether *thing* was installed, and is none of the project's own."""
    file = getattr(sys.modules.get(thing.__module__), "__file__", None) or ""
    return not file or bool({"site-packages", "dist-packages"} & set(Path(file).parts))


# --- concurrently-in-transaction ------------------------------------------------------------------


def concurrently(tree: ast.Module, statements: Sequence[Statement]) -> Iterator[Finding]:
    """``concurrently-in-transaction``: CONCURRENTLY outside of every autocommit block."""
    safe = called_in_blocks(tree)
    for function in (node for node in tree.body if isinstance(node, Function)):
        if function.name in safe:
            continue
        for call in outside_blocks(function):
            if not is_concurrent(call):
                continue
            if any(each.transaction is None for each in within(call, statements)):
                continue  # env.py runs everything so
            yield finding(
                "concurrently-in-transaction",
                call,
                f"{called(call)}(…) says CONCURRENTLY, and no autocommit block is around it",
                f"with op.get_context().autocommit_block():\n    {ast.unparse(call)[:200]}",
            )


def outside_blocks(node: ast.AST) -> Iterator[ast.Call]:
    """The calls in *node* that no autocommit block is around."""
    if isinstance(node, ast.With | ast.AsyncWith) and is_block(node):
        return
    if isinstance(node, ast.Call):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from outside_blocks(child)


def called_in_blocks(tree: ast.Module) -> set[str]:
    """The functions of the module that run within an autocommit block, through others too."""
    functions = {node.name: node for node in tree.body if isinstance(node, Function)}
    open_: list[ast.AST] = [
        node for node in ast.walk(tree) if isinstance(node, ast.With) and is_block(node)
    ]
    found: set[str] = set()
    while open_:
        for call in calls(open_.pop()):
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            if name in functions and name not in found:
                found.add(name)
                open_.append(functions[name])
    return found


def is_block(node: ast.With | ast.AsyncWith) -> bool:
    """``with op.get_context().autocommit_block():``."""
    return any("autocommit" in ast.unparse(item.context_expr).lower() for item in node.items)


def is_concurrent(call: ast.Call) -> bool:
    """Whether *call* asks for CONCURRENTLY itself, not through a call within it."""
    for word in call.keywords:
        if word.arg == "postgresql_concurrently":
            return isinstance(word.value, ast.Constant) and word.value.value is True
    if called(call) not in {"execute", "exec_driver_sql", "scalar", "scalars"}:
        return False
    return bool(CONCURRENT.search(" ".join(strings(call))))


def strings(node: ast.AST) -> Iterator[str]:
    """The text in *node*; what an f-string fills in is a name."""
    for child in ast.walk(node):
        if isinstance(child, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "x" for part in child.values
            )
        elif isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value


# --- autogenerate-leftover ------------------------------------------------------------------------


def leftovers(tree: ast.Module) -> Iterator[Finding]:
    """``autogenerate-leftover``: names that nobody imported, types that nobody knew."""
    known = {"__file__", "__name__", "__doc__", *dir(builtins)}
    known |= {name for node in ast.walk(tree) for name in bound(node)}
    told: set[str] = set()
    starred = any(
        isinstance(node, ast.ImportFrom) and any(each.name == "*" for each in node.names)
        for node in ast.walk(tree)
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in known | told and not starred:
            told.add(node.id)
            yield finding(
                "autogenerate-leftover",
                node,
                f"{node.id} is not imported: NameError when the revision runs",
                f"import {node.id}\nFor good: in script.py.mako, or context.configure("
                "user_module_prefix=…, render_item=…)",
            )
    for call in calls(tree):
        if called(call) == "Column" and any(called(each) == "NullType" for each in arguments(call)):
            yield finding(
                "autogenerate-leftover",
                call,
                "a column of NullType: autogenerate did not know the type of the database's column",
                "Name the type, and import it: from geoalchemy2 import Geometry",
            )


def arguments(call: ast.Call) -> Iterator[ast.Call]:
    """The calls among the arguments of *call*."""
    given = [*call.args, *(word.value for word in call.keywords)]
    yield from (each for each in given if isinstance(each, ast.Call))


# --- Reading --------------------------------------------------------------------------------------


def calls(node: ast.AST) -> Iterator[ast.Call]:
    """Every call in *node*, as it stands in the file."""
    found = [child for child in ast.walk(node) if isinstance(child, ast.Call)]
    return iter(sorted(found, key=lambda call: (call.lineno, call.col_offset)))


def called(call: ast.Call) -> str:
    """The last name of what is called: ``create_index`` of ``op.create_index(…)``."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def bound(node: ast.AST) -> Iterator[str]:
    """The names that *node* itself gives a meaning."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from ((each.asname or each.name).partition(".")[0] for each in node.names)
    elif isinstance(node, Function | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.If | ast.Try):
        for child in ast.iter_child_nodes(node):
            yield from bound(child)
