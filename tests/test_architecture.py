"""The rule of imports of docs/architecture.md, held by reading the code: arrows go one way."""

import ast
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

import echobank

ROOT = Path(echobank.__file__).parent
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))

# Lowest first; a room may import itself and rooms of lower rank, and those of one rank leave each other alone.
RANKS = (
    ("",),  # the modules beside the rooms: errors, settings, storage, ...
    ("data",),
    ("models",),
    ("detection",),
    ("training", "evaluation"),
    ("report",),
    ("pipeline", "machines"),
    ("watch", "edge", "fleet"),
    ("serve",),
    ("cli",),
)
RANK = {room: rank for rank, rooms in enumerate(RANKS) for room in rooms}
TOP = {"__init__.py": "cli", "__main__.py": "cli"}  # what hands the package out may import all of it

TORCH = ("models/beats", "models/device.py", "training")  # where torch may be imported at the top of a module
HEAVY = ("scipy.stats", "scipy.signal", "sklearn", "matplotlib", "pandas", "pyarrow", "paho", "ray", "fastapi")
HEAVY += ("onnxruntime", "onnx", "requests", "sqlalchemy", "uvicorn", "jinja2", "sounddevice", "psycopg", "alembic")
# Modules that are nothing without a library, and that are imported only where it is wanted.
ALLOWED = {
    "sklearn": {"machines/sklearn_adapter.py", "detection/backends/gmm.py", "detection/backends/kmeans.py"},
    "scipy.signal": {"data/synthesis/acoustics.py", "data/synthesis/signals.py", "machines/regions.py"},
    "scipy.stats": {
        *("detection/calibration.py", "detection/decision.py"),
        *("evaluation/intervals.py", "models/beats/onnx_export.py"),
    },
    "sqlalchemy": {
        *(
            f"serve/{name}.py"
            for name in ("access", "broadcast", "database", "fleet_feed", "intake", "reception", "schema", "service")
        ),
        *(f"serve/{name}.py" for name in ("event_routes", "exposition", "guarded", "machine_routes", "service_routes")),
        *(
            "serve/courier.py",
            "serve/latest.py",
            "serve/thinning.py",
            "serve/writer.py",
            "serve/migrations/versions/r0001_first.py",
        ),
        *("serve/trend_source.py", "serve/clip_store.py", "serve/database_copy.py", "serve/listening.py"),
        *(f"serve/{name}.py" for name in ("course", "evidence_routes", "overview")),
    },
    "fastapi": {
        *("serve/app.py", "serve/guarded.py", "serve/short_way.py", "serve/event_routes.py"),
        *("serve/machine_routes.py", "serve/service_routes.py", "serve/upload_routes.py"),
        *(
            f"serve/{name}_routes.py"
            for name in ("checkup", "evidence", "nursery", "overview", "package", "page", "source")
        ),
    },
    "uvicorn": {"serve/app.py"},
    "alembic": {
        *("serve/database.py", "serve/migrations/env.py"),
        *("serve/migrations/versions/r0001_first.py", "serve/migrations/versions/r0002_by_time.py"),
        "serve/trend_source.py",
    },
    "requests": {"data/download.py", "models/weights/fetch.py", "models/weights/package_index.py"},
}

HEADER = "detection/header.py"
HEADER_WORDS = {"made_by", "self_scores", "false_alarm_rate", "max_rows", "state_scores", "dropped"}


@cache  # each worker reads what its tests ask for, and nothing while tests are collected
def tree_of(file):
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


def room_of(file):
    """Return the room of a file, relative to the package."""
    return TOP.get(file.as_posix(), file.parts[0] if len(file.parts) > 1 else "")


def imported(file, *, top_only=False):
    """Yield (line, dotted name) of everything that a module imports; names of the package begin with `echobank`."""
    nodes = _at_the_top(tree_of(file).body) if top_only else ast.walk(tree_of(file))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{file}:{node.lineno}: a relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _at_the_top(body):
    """Yield what runs when a module is imported, but for what only a type checker reads."""
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            parts = [node.body, getattr(node, "orelse", []), getattr(node, "finalbody", [])]
            for part in [*parts, *(handler.body for handler in getattr(node, "handlers", []))]:
                yield from _at_the_top(part)
        else:
            yield node


def test_every_room_has_a_rank():
    assert {room_of(file) for file in FILES} <= set(RANK)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_arrows_go_one_way(file):
    ours = room_of(file)
    for line, name in imported(file):
        parts = name.split(".")
        if parts[0] != "echobank":
            continue
        theirs = parts[1] if (ROOT / parts[1]).is_dir() else ""
        lower = RANK[theirs] < RANK[ours] or theirs == ours
        assert lower, f"{file}:{line} imports {name}: {ours or 'the base'} may not know {theirs}"


def test_pipeline_and_machines_do_not_import_each_other():
    assert RANK["pipeline"] == RANK["machines"]  # and so `test_arrows_go_one_way` refuses it


def test_no_two_modules_have_one_name():
    names = Counter(file.stem for file in FILES if file.stem not in ("__init__", "__main__") and room_of(file) != "cli")
    assert [name for name, count in names.items() if count > 1] == []


def test_no_two_classes_have_one_name():
    classes = Counter(
        node.name
        for tree in map(tree_of, FILES)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in classes.items() if count > 1] == []


@pytest.mark.parametrize("file", FILES, ids=str)
def test_heavy_libraries_are_imported_where_they_are_used(file):
    name, found = file.as_posix(), list(imported(file, top_only=True))
    for line, module in found:
        for heavy in HEAVY:
            hit = module == heavy or module.startswith(f"{heavy}.")
            assert not hit or name in ALLOWED.get(heavy, ()), f"{file}:{line} imports {module} at the top"
        if module.split(".")[0] == "torch":
            assert name.startswith(TORCH), f"{file}:{line} imports torch at the top"


@pytest.mark.parametrize("file", [file for file in FILES if file.as_posix() != HEADER], ids=str)
def test_only_the_header_reads_headers_by_string_keys(file):
    """Neither `x["made_by"]` nor `x.get("made_by")`, nor a subscript of what is called a header of a bank."""
    for node in ast.walk(tree_of(file)):
        key = None
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            key = node.slice.value
            owner = ast.unparse(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            key = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            owner = ast.unparse(node.func.value)
        if isinstance(key, str):
            bank = owner.endswith(("bank.header", "made_by", "bank.settings"))
            assert key not in HEADER_WORDS and not bank, f"{file}:{node.lineno} reads {owner} by the key {key!r}"


@pytest.mark.parametrize("file", [file for file in FILES if room_of(file) != "cli"], ids=str)
def test_nothing_below_the_command_line_prints(file):
    for node in ast.walk(tree_of(file)):
        printed = isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.stdout.write")
        assert not printed, f"{file}:{node.lineno} prints"


def test_the_page_of_the_architecture_names_every_room():
    page = (ROOT.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {room_of(file) for file in FILES} - {""}
    assert [room for room in sorted(rooms) if f"`{room}/`" not in page] == []
