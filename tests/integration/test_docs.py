"""Every command in the docs, typed in a fresh checkout: each works, and prints what the docs say."""

from __future__ import annotations

import re

import pytest
from docs_rig import ROOT, commands, fits, reading

#: Docs that are typed from their first block to the last.
TYPED = ["README.md", *(f"docs/{name}.md" for name in ("getting-started", "update-guide", "operating", "sandbox", "security", "api"))]


@pytest.mark.parametrize("name", TYPED)
def test_the_commands_of(name: str) -> None:
    with reading() as reader:
        assert reader.follow((ROOT / name).read_text()) >= 3


def test_no_block_escapes() -> None:
    """A doc with a block of commands is typed, or says why not."""
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        if str(path.relative_to(ROOT)) not in TYPED:
            assert not list(commands(path.read_text())), f"{path.name} has commands that no test types"


def test_what_the_docs_promise_is_compared() -> None:
    assert fits('{"session_health":true,…}\n', '{"session_health":true,"more":1}')
    assert fits("a\n…\nd\n", "a\nb\nc\nd\n")
    assert not fits("session default: ready\n", "session default: starting\n")
    first, second = commands("```console\n$ echo a \\\n     b\na b\n$ true\n```\n<!-- not typed: why -->\n```console\n$ false\n```\n")
    assert (first.prints, second.prints) == ("a b\n", None)


def test_what_the_docs_point_to_is_there() -> None:
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = path.read_text()
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
        for named in re.findall(r"`((?:tests|deploy|gateway)/[\w./-]+\.\w+)`", text):
            assert (ROOT / named).exists(), f"{path.name} names {named}"
