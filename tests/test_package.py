"""The front door: light to open, and everything promised is behind it."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

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
