"""The pages of the project, and the commands in them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and whether a comment above says that it needs something."""

    page: Path
    line: int
    language: str
    text: str
    needs: str = ""

    @property
    def commands(self) -> list[str]:
        """Lines that call echobank, with continued lines joined and comments left on."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        return [line.strip() for line in joined.splitlines() if re.match(r"\s*(\$ )?echobank ", line)]


def pages() -> list[Path]:
    """Return every Markdown page that a reader sees."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")]
    return [*top, *sorted(DOCS.rglob("*.md")), *sorted((ROOT / "examples").glob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    text = page.read_text("utf-8")
    found = []
    for match in re.finditer(
        r"(?:<!-- (needs [^>]*) -->\n)?^```(\w*)[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE
    ):
        line = text[: match.start(2)].count("\n") + 1
        found.append(Block(page, line, match[2], match[3], match[1] or ""))
    return found


def words_of(command: str) -> list[str]:
    """Return the words behind `echobank`, up to a pipe, a redirection, a comment or another command."""
    words = shlex.split(command.removeprefix("$ "), comments=True)
    ends = [i for i, word in enumerate(words) if word in ("|", ">", ">>", "&&", "||", ";", "&", "2>") or word == "..."]
    return words[1 : min(ends, default=len(words))]
