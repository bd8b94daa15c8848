"""The handbook: it builds strictly and asks for nothing from outside; its networks are guided; its notebook runs."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from PIL import Image

import wheretolook
from wheretolook.cli.main import main
from wheretolook.networks import grid

ROOT = Path(__file__).parents[1]
TINY_SEGFORMER = {
    "model_type": "segformer",
    "architectures": ["SegformerForSemanticSegmentation"],
    **{"hidden_sizes": [8, 16, 16, 16], "decoder_hidden_size": 16, "num_attention_heads": [1, 1, 1, 1]},
    **{"depths": [1, 1, 1, 1], "id2label": {"0": "background", "1": "cat", "2": "dog"}},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The handbook, built strictly."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_in_the_handbook_and_in_its_menu(site: Path) -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} | {"results", "changelog"}
    assert pages <= {path.stem for path in site.glob("*.html")}
    menu = (ROOT / "mkdocs.yml").read_text()
    assert not [page for page in pages if f"{page}.md" not in menu]


def test_it_asks_for_nothing_from_outside(site: Path) -> None:
    loaded = re.compile(r"<(?:script|img|iframe|link[^>]*stylesheet)[^>]*(?:src|href)=\"?((?:https?:)?//[^\" >]+)")
    for page in site.glob("*.html"):
        assert not loaded.findall(page.read_text()), page.name
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"url\([\"']?(?:https?:)?//", sheet.read_text()), sheet.name


def test_examples_of_the_api_are_code_and_no_quotations(site: Path) -> None:
    page = (site / "api.html").read_text()
    assert "<blockquote>" not in page and page.count("&gt;&gt;&gt;") > 20


def test_numbers_and_short_names_stay_in_one_line(site: Path) -> None:
    cells = " ".join(re.findall(r"<td[^>]*>(.*?)</td>", (site / "results.html").read_text()))
    assert "\N{NO-BREAK SPACE}±" in cells and not re.search(r"\d ± \d", cells)
    assert '<code class="whole">--training.clip 5</code>' in (site / "which-loss.html").read_text()


def test_the_api_has_every_function_with_its_arguments(site: Path) -> None:
    page = (site / "api.html").read_text()
    named = re.findall(r"^::: wheretolook\.(\w+)$", (ROOT / "docs/api.md").read_text(), flags=re.MULTILINE)
    assert set(named) <= set(wheretolook.__all__)
    assert not [name for name in named if f'id="wheretolook.{name}"' not in page and f'.{name}"' not in page]


def test_the_file_for_language_models_names_pages_that_are_there() -> None:
    text = (ROOT / "docs/llms.txt").read_text()
    assert text.startswith("# wheretolook\n\n> ")
    assert not [page for page in re.findall(r"\]\(([^)]+)\)", text) if not (ROOT / "docs" / page).is_file()]


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the page, small, and a weights file for each of its networks."""
    monkeypatch.chdir(tmp_path)
    # half of the time: where training has moved the cells to is looked for in tests/networks
    monkeypatch.setattr(grid, "energy_centre", lambda *_: None)
    random = np.random.default_rng(0)
    for folder in ("images", "masks", "splits"):
        (Path("pets") / folder).mkdir(parents=True)
    rows = ["image,classes"]
    for number, name in enumerate("abcd"):
        Image.fromarray(random.integers(0, 255, (96, 128, 3), np.uint8)).save(f"pets/images/{name}.png")
        mask = np.zeros((96, 128), np.uint8)
        mask[20:80, 30:100] = 1 + number % 2
        Image.fromarray(mask).save(f"pets/masks/{name}.png")
        rows.append(f"{name},{('cat', 'dog')[number % 2]}")
    for file, lines in (("labels.csv", rows), ("classes.txt", ["cat", "dog"])):
        (Path("pets") / file).write_text("\n".join(lines) + "\n")
    for split, names in (("train", "ab"), ("val", "cd")):
        (Path("pets/splits") / f"{split}.txt").write_text("\n".join(names) + "\n")
    _write_weights()


def _write_weights() -> None:
    import segmentation_models_pytorch as smp
    import timm
    from torchvision.models import resnet18
    from transformers import AutoConfig, AutoModelForSemanticSegmentation

    torch.manual_seed(0)
    torch.save(resnet18(num_classes=2).state_dict(), "resnet18.pth")
    torch.save(timm.create_model("vit_tiny_patch16_224", num_classes=2).state_dict(), "vit.pth")
    unet = smp.create_model("unet", encoder_name="resnet18", encoder_weights=None, classes=3)
    torch.save(unet.state_dict(), "unet.pth")
    Path("segformer").mkdir()
    values = {name: value for name, value in TINY_SEGFORMER.items() if name != "model_type"}
    model = AutoModelForSemanticSegmentation.from_config(AutoConfig.for_model("segformer", **values))
    model.save_pretrained("segformer")


def test_the_four_networks_are_guided_as_the_page_says(pets: None) -> None:
    """Every command of the page, with one step of training and the sizes of images halved."""
    page = (ROOT / "docs/own.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    ran = []
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        if words[0].startswith("train"):
            words += ["--training.steps=1", "--data.batch_size=2"]
        if words[0] != "check":
            words += [f"--{'hardware.' * words[0].startswith('train')}accelerator=cpu"]
        words = ["128" if word == "256" else "96" if word == "224" else word for word in words]
        assert main(words) == 0, line
        ran.append(words[0])
    assert ran.count("train-gain") == 4 and ran.count("evaluate") == 4
    for run in ("resnet", "vit", "unet", "segformer"):
        (row,) = json.loads(Path(f"runs/{run}/table/metrics.json").read_text())
        assert row["images"] == 2 and 0 <= row["energy_pointing"] <= 1
        assert ("mean_iu" in row and row["mean_iu"] is not None) == (run in ("unet", "segformer"))


def test_the_notebook_runs_and_its_outputs_are_small(tmp_path: Path) -> None:
    path = ROOT / "docs/tour.ipynb"
    notebook = nbformat.read(path, as_version=4)
    assert path.stat().st_size < 150_000
    kept = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/jpeg" in output.get("data", {}) for output in kept) == 2
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "Egyptian cat" in said
    first, *_, last = (int(share) for share in re.findall(r"(\d+)% of attention inside", said))
    assert last > first + 10
