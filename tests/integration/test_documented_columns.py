"""Every column of every public view is in the documentation, under its view."""

import re
from collections.abc import Callable
from pathlib import Path

import psycopg

from dosestream.db.migrate import migrate

DOCS = Path(__file__).parents[2] / "docs"
COLUMNS = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'dose'"


def views() -> dict[str, str]:
    """View to what docs/database.md says of it: its row, or a section of its own."""
    text = (DOCS / "database.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| dose\.(\w+) \|(.*)$", text, re.MULTILINE))
    return rows | dict(re.findall(r"^## dose\.(\w+)(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL))


def named(said: str) -> set[str]:
    """The names it holds, whole; and those that stand as code in the pages that it links."""
    pages = {DOCS / page for page in re.findall(r"\]\((\w+\.md)", said)}
    code = [name for page in pages for name in re.findall(r"`[^`\n]+`", page.read_text(encoding="utf-8"))]
    return set(re.findall(r"\w+", " ".join([said, *code])))


def test_every_column_of_every_view_is_documented(fresh_database: Callable[[], str]) -> None:
    url = fresh_database()
    migrate(url)
    with psycopg.connect(url) as connection:
        columns = connection.execute(COLUMNS).fetchall()
    documented = {view: named(said) for view, said in views().items()}
    assert len(columns) > 300
    missing = sorted(
        f"{view}.{column}" for view, column in columns if column not in documented.get(view, set())
    )
    assert not missing, f"neither in docs/database.md nor in a page it links: {', '.join(missing)}"
