"""What is installed from a wheel has everything that it needs at run time, and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_has_the_demo_recipe_the_types_and_the_licence(tmp_path: Path) -> None:
    """Built from a copy: what an earlier build left beside the sources would get in, and nothing is left there."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    copy = shutil.copytree(ROOT / "src/wheretolook", tmp_path / "src/wheretolook")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"wheretolook/recipes/demo.yaml", "wheretolook/py.typed"} <= set(names)
    assert any(name.endswith("LICENSE") for name in names)
    assert {f"wheretolook/report/templates/page.{kind}" for kind in ("html", "css", "js")} <= set(names)
    modules = {f"wheretolook/{path.relative_to(copy).as_posix()}" for path in copy.rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
