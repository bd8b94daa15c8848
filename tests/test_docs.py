"""What the README and docs/ show works: Python runs, commands parse, make targets and files exist."""

import re
import shlex
from pathlib import Path

import pytest

from wheretolook.cli.main import make_parser, read_recipe, spelled
from wheretolook.data import open_dataset

ROOT = Path(__file__).parents[1]
RECIPES = [*sorted((ROOT / "recipes").glob("*.yaml")), *sorted((ROOT / "src").rglob("recipes/*.yaml"))]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks of a page run in one go, as a reader would paste them."""
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(blocks(page, "python")), str(page), "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_parse(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["wheretolook"]:
                make_parser(words[1]).parse_args(spelled(words[1:]))
            elif words[:1] == ["make"]:
                assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text(), line


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes_are_understood_and_their_splits_are_there(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = read_recipe(recipe)
    for split in (found.data.split, found.data.val_split, found.test_split):
        assert "/" not in split or Path(split).is_file(), split
        if found.data.root is None or Path(found.data.root).is_dir():
            assert open_dataset(found.data, split).class_names


def test_a_split_set_aside_for_tuning_is_not_trained_on() -> None:
    fit, tune = (set((ROOT / f"recipes/photoscenes/{name}.txt").read_text().split()) for name in ("fit", "tune"))
    assert len(fit) == 500 and len(tune) == 100 and not fit & tune


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), flags=re.MULTILINE)
    plain = (re.sub(r"\]\([^)]*\)|[`*\[]", "", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        text = page.read_text()
        for target in [*re.findall(r"\]\(([^)]+)\)", text), *re.findall(r'(?:src|href)="([^"]+)"', text)]:
            file, _, anchor = target.partition("#")
            path = page.parent / file if file else page
            assert target.startswith("http") or path.exists(), f"{page.name}: {target}"
            assert not anchor or path.suffix != ".md" or anchor in anchors(path), f"{page.name}: {target}"


def test_the_first_page_can_be_read_without_moving_it_sideways() -> None:
    """GitHub gives a page about 92 letters of code, and drops what HTML it does not know."""
    text = (ROOT / "README.md").read_text()
    assert not [
        line
        for block in re.findall(r"```.*?```", text, flags=re.DOTALL)
        for line in block.split("\n")
        if len(line) > 92
    ]
    assert set(re.findall(r"<(\w+)", re.sub(r"`[^`]*`", "", text))) <= {
        "img",
        "picture",
        "source",
        "details",
        "summary",
    }
