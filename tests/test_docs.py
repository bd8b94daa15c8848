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


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"
