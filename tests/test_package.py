"""The front door: light to open, and everything promised is behind it."""

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import wheretolook

ROOT = Path(__file__).parents[1]


def test_importing_loads_no_torch_until_a_name_is_used():
    script = (
        "import sys, wheretolook; heavy = {'torch', 'numpy', 'lightning'}; assert not heavy & set(sys.modules);"
        "wheretolook.WhereToLookError; assert not heavy & set(sys.modules);"
        "assert set(wheretolook.__all__) <= set(dir(wheretolook)); wheretolook.soft_mask; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


@pytest.mark.parametrize("name", wheretolook.__all__)
def test_every_public_name_is_there_and_documented(name):
    value = getattr(wheretolook, name)
    assert value.__name__ == name and value.__doc__
    assert value is getattr(wheretolook, name)


def parts(kind: object) -> Iterator[object]:
    """A type and whatever it is made of."""
    yield kind
    for inner in get_args(kind):
        yield from parts(inner)


@pytest.mark.parametrize("name", sorted(set(wheretolook.__all__) - {"GuidedModule"}))  # which `guide` makes
def test_whatever_a_public_name_takes_or_gives_is_public(name):
    value = getattr(wheretolook, name)
    makes = inspect.isclass(value) and not (dataclasses.is_dataclass(value) or hasattr(value, "_fields"))
    hints = get_type_hints(value.__init__ if makes else value)
    kinds = {part for kind in hints.values() for part in parts(kind) if inspect.isclass(part)}
    ours = {kind.__name__ for kind in kinds if kind.__module__.startswith("wheretolook.")}
    assert ours <= set(wheretolook.__all__)


def test_type_checkers_see_the_same_names():
    """The imports under TYPE_CHECKING, read from the source, are `__all__` and come from where we take them."""
    tree = ast.parse(Path(wheretolook.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {alias.name: node.module for node in block.body for alias in node.names}
    assert sorted(imported) == sorted(wheretolook.__all__)
    assert imported == {name: getattr(wheretolook, name).__module__ for name in wheretolook.__all__}


def test_the_version_is_the_projects():
    assert wheretolook.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_an_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError, match=r"module 'wheretolook' has no attribute 'atention_maps'"):
        wheretolook.atention_maps  # noqa: B018


MODULES = {"pillow": "PIL", "pyyaml": "yaml", "segmentation-models-pytorch": "segmentation_models_pytorch"}
UNSEEN = {"tensorboard"}  # Lightning's logger imports it for us


def declared(requirements: list[str]) -> set[str]:
    """The modules that requirements bring, by the names under which they are imported."""
    names = (re.match(r"[\w-]+", requirement).group() for requirement in requirements)
    return {MODULES.get(name, name) for name in names}


def test_what_is_declared_is_imported_and_what_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = declared(project["dependencies"])
    extra = set().union(*(declared(extras) for extras in project["optional-dependencies"].values()))
    nodes = [node for path in ROOT.glob("src/**/*.py") for node in ast.walk(ast.parse(path.read_text()))]
    imported = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module.split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    imported -= {"wheretolook", *sys.stdlib_module_names}
    assert needed - imported == UNSEEN
    assert imported <= needed | extra


def test_what_is_declared_is_locked():
    """The environment that `make` builds has all that tests and the product need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = {name: extras for name, extras in project["optional-dependencies"].items() if name != "bench"}
    wanted = [*project["dependencies"], *(requirement for extras in optional.values() for requirement in extras)]
    names = {re.match(r"[\w-]+", requirement).group().lower().replace("_", "-") for requirement in wanted}
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    locked = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    assert names - locked == {"wheretolook"}
    assert not [name for name in locked if name.startswith("nvidia")]
