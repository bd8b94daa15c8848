"""What the handbook takes from beside docs/: results and changes as pages of its own, and links to files as code."""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
BESIDE = {"results.md": "benchmarks/RESULTS.md", "changelog.md": "CHANGELOG.md"}
CODE = re.compile(r"<code>([^<\n]{1,32})</code>")
SPREAD = re.compile(r"(?<=\d) ± (?=\d)")
LINK = re.compile(r"\[([^\]]+)\]\((?:\.\./|(?=docs/))([^)#]+)(#[^)]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Leave out of the menu what is not there."""
    config.nav = [entry for entry in map(_there, config.nav) if entry is not None]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie beside docs/."""
    for page, source in BESIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links out of docs/ lead to the page that it is here, or are the file's name where there is none."""
    pages = {source: page for page, source in BESIDE.items()}

    def link(found: re.Match[str]) -> str:
        text, source, part = found.groups()
        if source.startswith("docs/"):
            return f"[{text}]({source.removeprefix('docs/')}{part or ''})"
        return f"[{text}]({pages[source]}{part or ''})" if source in pages else f"{text} (`{source}`)"

    return "\n".join(_whole(line) for line in LINK.sub(link, markdown).split("\n"))


def on_page_content(html: str, **_: Any) -> str:
    """A short name or option in the text is not torn apart at the end of a line."""
    return CODE.sub(r'<code class="whole">\1</code>', html)


def _whole(line: str) -> str:
    """A figure in a table stays in one line with its spread and its unit."""
    if not line.startswith("|"):
        return line
    space = "\N{NO-BREAK SPACE}"
    return SPREAD.sub(f"{space}±{space}", line).replace(" %", f"{space}%")


def _there(entry: Any) -> Any:
    """An entry of the menu without pages that do not exist; None where nothing is left."""
    if isinstance(entry, str):
        return entry if entry in BESIDE or (ROOT / "docs" / entry).is_file() else None
    if isinstance(entry, list):
        return [kept for kept in map(_there, entry) if kept is not None] or None
    ((name, inner),) = entry.items()
    kept = _there(inner)
    return None if kept is None else {name: kept}
