"""The house rules that can be read off the sources: who imports whom, what is documented and typed, how long it is."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"

# lowest first; modules of one layer, unless they share a package, do not import each other
LAYERS = [
    {"options", "records", "errors", "files", "images", "public", "cells", "torchvision_import"},
    {"networks", "attention", "data", "metrics"},
    {"losses", "evaluation"},
    {"training"},
    {"runs"},
    {"report"},
    {"predict"},
    {"app", "export"},
    {"cli"},
    {"__main__"},
]
FREE = LAYERS[0]  # the foundation's modules may lean on each other
FILES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((SOURCE / "wheretolook").rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}


def part(module: str) -> str:
    """`data` of `wheretolook.data.voc`; empty for the package itself."""
    return [*module.split("."), ""][1]


def imports(name: str, *, at_once: bool = False) -> Iterator[str]:
    """The modules, ours and others', that a module imports: anywhere, or only when it is itself imported."""
    for node in executed(TREES[name]) if at_once else ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name if FILES[name].name == "__init__.py" else name.rpartition(".")[0]
                base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], *base.split(".")])
                base = base.rstrip(".")
            for alias in node.names:
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in FILES else base


def executed(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes outside of functions and of `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from executed(node)


GRAPH = {name: {target for target in imports(name) if target in FILES} - {name} for name in FILES}


def test_every_module_has_its_place():
    known = set().union(*LAYERS)
    assert {part(name) for name in FILES} - {""} <= known
    assert {"options", "data", "networks", "attention", "losses", "metrics", "training", "report", "cli"} <= {
        part(name) for name in FILES
    }


def test_imports_point_one_way():
    floor = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    wrong = []
    for name, targets in GRAPH.items():
        for target in targets:
            one, other = part(name), part(target)
            if one == other or not one:
                continue
            if not other or floor[other] > floor[one] or (floor[other] == floor[one] and one not in FREE):
                wrong.append(f"{name} -> {target}")
    assert not wrong


def test_there_is_no_cycle():
    left = {name: set(targets) for name, targets in GRAPH.items() if name != "wheretolook"}
    while ready := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in ready:
            del left[name]
    assert not left


def test_the_reader_of_imports_sees_them():
    """A test that sees nothing would always pass."""
    assert "wheretolook.training.stage" in GRAPH["wheretolook.runs.trainer"]
    assert "wheretolook.data" in GRAPH["wheretolook.cli.evaluate"]
    assert "torch" in set(imports("wheretolook.cli.console", at_once=True))
    inside = FILES["wheretolook"]  # of a function, or of `if TYPE_CHECKING`, by `from wheretolook import`
    assert "wheretolook.losses.energy" in GRAPH["wheretolook"], inside
    assert "wheretolook.losses.energy" not in set(imports("wheretolook", at_once=True))


@pytest.mark.parametrize(
    "module", ["wheretolook", "wheretolook.cli.main", "wheretolook.options.commands", "wheretolook.errors"]
)
def test_what_answers_at_once_imports_nothing_heavy(module: str):
    seen, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in FILES:
            waiting += [*imports(name, at_once=True), *(name.rsplit(".", n)[0] for n in range(1, name.count(".") + 1))]
    assert "wheretolook" in seen
    assert not {name.split(".")[0] for name in seen} & {"torch", "numpy", "lightning", "matplotlib", "torchmetrics"}


def test_and_python_agrees():
    script = (
        "import sys, wheretolook.cli.main, wheretolook.options.commands;"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


def public(tree: ast.Module) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """Public functions and classes of a module."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Public functions, and the methods of public classes."""
    for node in public(tree):
        if isinstance(node, ast.FunctionDef):
            yield node
        else:
            yield from (item for item in node.body if isinstance(item, ast.FunctionDef))


@pytest.mark.parametrize("name", FILES)
def test_what_is_public_is_documented_and_typed(name: str):
    tree = TREES[name]
    lacking = [] if ast.get_docstring(tree) else [name]
    lacking += [node.name for node in public(tree) if not ast.get_docstring(node)]
    for function in functions(tree):
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        arguments += [extra for extra in (function.args.vararg, function.args.kwarg) if extra is not None]
        named = [argument for argument in arguments if argument.arg not in ("self", "cls")]
        lacking += [f"{function.name}({argument.arg})" for argument in named if argument.annotation is None]
        lacking += [f"{function.name} ->"] if function.returns is None else []
    assert not lacking


def test_no_file_is_longer_than_a_reader_likes():
    lengths = {
        path: len(path.read_text().splitlines()) for path in [*SOURCE.rglob("*.py"), *ROOT.glob("tests/**/*.py")]
    }
    assert not {str(path): length for path, length in lengths.items() if length > 400}


def test_the_map_of_the_house_is_drawn_from_these_sources():
    """Where this fails, `python docs/architecture.py` draws it anew."""
    specification = importlib.util.spec_from_file_location("architecture", ROOT / "docs" / "architecture.py")
    architecture = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(architecture)
    drawn = architecture.picture()
    assert drawn == architecture.PICTURE.read_text()
    graph = architecture.rooms()
    assert graph.keys() == {part(name) for name in FILES if name.count(".") > 1} - {"options"}
    for room, targets in graph.items():
        assert f">{room}</text>" in drawn
        seen = {part(target) for name in FILES if part(name) == room for target in GRAPH[name]}
        assert targets == seen & graph.keys() - {room}
