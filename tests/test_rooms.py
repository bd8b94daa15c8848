"""A contributor's afternoon: on a copy of the sources, what docs/architecture.md says to touch is touched, and works.

A toy loss, attention method, layout, figure and command are added, each in the files that the table names and in no
other; then the copy trains, measures and prints with them.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wheretolook.networks.fcn.network import FCN8s
from wheretolook.networks.files import save_network

from .command_line import CLASSES, NARROW

ROOT = Path(__file__).parents[1]
NEW = "NEW"  # stands for the new file in the table of the docs

LOSS = '''
"""Toy: scores far from zero."""

from wheretolook.losses.step import Step
from wheretolook.options.objective import ToyOptions


def toy(step: Step, options: ToyOptions):
    """Mean square of the class scores, to some power."""
    return step.output.class_scores.square().mean() ** options.power
'''
GROUP = '''@dataclass(frozen=True)
class ToyOptions:
    """Toy.

    Args:
        weight: of this loss in the total.
        power: of the mean.
    """

    weight: float = 0.0
    power: float = 1.0


'''
METHOD = '''
"""Toy: brightness of the features, whatever the class."""


def toy(output, classes, *, differentiable, channel_weights):
    """The mean over channels, for every class the same."""
    features = output.features if differentiable else output.features.detach()
    return features.mean(dim=1, keepdim=True).expand(-1, classes.shape[1], -1, -1)
'''
LAYOUT = '''
"""Toy: tiles named CLASS-NUMBER.png, whose left half is the object."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from wheretolook.data.dataset import ImageDataset
from wheretolook.data.layout import Layout
from wheretolook.data.targets import mask_planes
from wheretolook.records import Sample


class Tiles(ImageDataset):
    """All tiles of a folder."""

    def __init__(self, root):
        self.paths = sorted((root / "tiles").glob("*.png"))
        self.names = tuple(path.stem for path in self.paths)
        self.class_names = ("striped_disc", "dotted_square", "checked_triangle")

    def size(self, index):
        with Image.open(self.paths[index]) as image:
            return image.height, image.width

    def __getitem__(self, index):
        image = torch.from_numpy(np.array(Image.open(self.paths[index]))).permute(2, 0, 1) / 255
        labels = torch.tensor([self.names[index].startswith(name) for name in self.class_names])
        mask = torch.zeros(image.shape[1:], dtype=torch.long)
        mask[:, : image.shape[2] // 2] = 1 + labels.int().argmax()
        return Sample(image, mask, labels, mask_planes(mask, labels), True, self.names[index])


TILES = Layout("tiles", lambda config, split, training: Tiles(Path(config.root)))
'''
FIGURE = """    Figure(
        "toy",
        "Brightest spot",
        "attention",
        "Everything but one pixel.",
        of_pairs=lambda maps, target, valid: maps.flatten(1).amax(dim=1),
        unit="ratio",
        decimals=3,
    ),
"""
COMMAND = '''
"""Toy: the command `greet`."""

from wheretolook.options.commands import Greet


def greet(options: Greet):
    """Say a word so many times."""
    print(" ".join([options.word] * options.times))
'''
GREET = '''

@dataclass(frozen=True)
class Greet:
    """Greet whoever is there.

    Args:
        word: what to say.
        times: how often.
    """

    word: str = "hello"
    times: int = 1
'''
# what is new, and in each file that is touched: after which line what is inserted
TOUCHED: dict[str, dict[str, list[tuple[str, str]] | str]] = {
    "loss": {
        NEW: LOSS,
        "losses/objective.py": [
            (r"from wheretolook\.losses\.step import .*\n", "from wheretolook.losses.toy import toy\n"),
            (r"LOSSES: .* = \{\n", '    "toy": Loss(toy, frozenset(), lambda options: {"trunk"}),\n'),
        ],
        "options/objective.py": [
            (
                r"(?=@dataclass\(frozen=True\)\nclass ObjectiveOptions)",
                GROUP,
            ),
            (r"(?=    segmentation: SegmentationOptions)", "    toy: ToyOptions = field(default_factory=ToyOptions)\n"),
            (r"(?=        segmentation: the class of each pixel)", "        toy: scores far from zero.\n"),
        ],
    },
    "attention method": {
        NEW: METHOD,
        "attention/methods.py": [
            (r"from wheretolook\.attention\.maps import .*\n", "from wheretolook.attention.toy import toy\n"),
            (r"METHODS: .* = \{\n", '    "toy": toy,\n'),
        ],
        "options/objective.py": [(r"Method = Literal\[", '"toy", ')],
    },
    "layout of data": {
        NEW: LAYOUT,
        "data/layouts.py": [
            (r"from wheretolook\.data\.scenes import .*\n", "from wheretolook.data.toy import TILES\n"),
            (r"LAYOUTS: .* = \{", '"tiles": TILES, '),
        ],
    },
    "figure": {"metrics/figures.py": [(r"_FIGURES = \(\n", FIGURE)]},
    "command": {
        NEW: COMMAND,
        "cli/main.py": [
            (r"from wheretolook\.options\.commands import \(\n", "    Greet,\n"),
            (r"COMMANDS = \{\n", '    "greet": Command(Greet, "toy.greet", "greet whoever is there"),\n'),
        ],
        "options/commands.py": [(r"\Z", GREET)],
    },
}
ROOMS = {
    "loss": "losses",
    "attention method": "attention",
    "layout of data": "data",
    "figure": "metrics",
    "command": "cli",
}

USE = """
import json, sys
import torch
from wheretolook.attention.methods import attention_maps
from wheretolook.cli.main import main
from wheretolook.networks.files import load_network
data = ["--data.root=pictures", "--data.batch_size=2"]
stage = ["--hardware.accelerator=cpu", "--training.steps=2", "--objective.toy.weight=3", "--objective.toy.power=2"]
assert main(["greet", "--word=good morning", "--times=2"]) == 0
assert main(["train-gain", "--weights=start.safetensors", "--out=trained", *stage, *data]) == 0
assert main(["evaluate", "--weights=trained", "--out=measured", *data]) == 0
output = load_network("trained")(torch.rand(1, 3, 48, 48))
torch.testing.assert_close(attention_maps(output, [2], method="toy")[:, 0], output.features.mean(dim=1))
"""


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which the enlarged copy has trained and measured, and what it printed."""
    folder = tmp_path_factory.mktemp("rooms")
    package = folder / "src/wheretolook"
    shutil.copytree(ROOT / "src/wheretolook", package, ignore=shutil.ignore_patterns("__pycache__"))
    for what, files in TOUCHED.items():
        for file, edits in files.items():
            if isinstance(edits, str):
                (package / ROOMS[what] / "toy.py").write_text(edits)
                continue
            text = (package / file).read_text()
            for after, line in edits:
                text, count = re.subn(after, lambda found, line=line: found.group() + line, text, count=1)
                assert count == 1, f"{file} has no place for {line}"
            (package / file).write_text(text)
    (folder / "pictures/tiles").mkdir(parents=True)
    for number, name in enumerate(CLASSES):
        pixels = np.random.default_rng(number).integers(0, 255, (48, 48, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"pictures/tiles/{name}-{number}.png")
    network = FCN8s(CLASSES, **NARROW)
    network.classifier.score_cl.bias.data += 0.1  # or it would count as untrained
    save_network(network, folder / "start.safetensors")
    command = [sys.executable, "-W", "ignore", "-c", USE]
    finished = subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(folder / "src")}, capture_output=True, text=True, timeout=600
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return folder, finished.stdout


def test_the_copy_trains_with_the_loss(used: tuple[Path, str]) -> None:
    heading, first, *_ = (used[0] / "trained/history.csv").read_text().splitlines()
    row = dict(zip(heading.split(","), first.split(","), strict=True))
    assert float(row["train/toy"]) > 0
    total = sum(
        weight * float(row[f"train/{name}"])
        for name, weight in {"toy": 3.0, "classification": 1.0, "segmentation": 1.5}.items()
    )
    assert float(row["train/total"]) == pytest.approx(total, rel=1e-5)


def test_the_copy_measures_and_prints_the_figure_of_the_layouts_images(used: tuple[Path, str]) -> None:
    folder, printed = used
    (row,) = json.loads((folder / "measured/metrics.json").read_text())
    assert row["images"] == row["pairs"] == 3 and row["toy"] > 0
    heading, _, line = (folder / "measured/metrics.md").read_text().split("\n\n")[0].splitlines()[:3]
    cells = dict(zip(heading.split(" | "), line.split(" | "), strict=True))
    assert cells.get("Brightest spot", cells.get("| Brightest spot")) == f"{row['toy']:.3f}x"
    assert "Brightest spot" in printed


def test_the_copy_greets(used: tuple[Path, str]) -> None:
    assert used[1].splitlines()[0] == "good morning good morning"


@pytest.mark.parametrize("what", TOUCHED)
def test_the_docs_name_the_files_that_were_touched(what: str) -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith(f"| {what} |"))
    named = set(re.findall(r"`([\w/]+\.py)`", row.split(" | ")[1]))
    assert named == {f"{ROOMS[what]}/NAME.py" if file == NEW else file for file in TOUCHED[what]}


def test_every_file_that_the_docs_name_is_there() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    named = set(re.findall(r"`([\w/]+\.py)`", page))
    assert named and not [
        name
        for name in named
        if "NAME" not in name and not (ROOT / "src/wheretolook" / name).exists() and not (ROOT / name).exists()
    ]
