"""The command `repair`: it stops for annotation, goes on from there, skips what is done, and says what came of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wheretolook.cli.main import main
from wheretolook.evaluation.pairs import PairFigures
from wheretolook.report.repair import Audited, cost, repair_answer, repair_tone

from ..command_line import complaint
from ..evaluation.faint_squares import Squares
from ..training.made import NAMES

OWN = """
from torch import nn

def tiny(num_classes=3):
    body = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))
"""
REPAIR = [
    *("repair", "--network=own_tiny:tiny", "--network.input_size", "32", "32", "--data.root=data", "--out=repaired"),
    *("--count=6", "--training.steps=3", "--hardware.accelerator=cpu", "--data.batch_size=6"),
]


def write(root: Path, masks: tuple[str, ...] = ("val",)) -> dict[str, Image.Image]:
    """Framed squares as a plain folder; the masks of the training images, which nobody has drawn yet."""
    drawn = {}
    for folder in ("images", "masks", "splits"):
        (root / folder).mkdir(parents=True)
    labels = ["image,classes\n"]
    for seed, split in enumerate(("train", "val")):
        squares = Squares(24, framed=True, seed=seed)
        (root / "splits" / f"{split}.txt").write_text("".join(f"{name}\n" for name in squares.names))
        for sample in squares.samples:
            pixels = (255 * sample.image.permute(1, 2, 0).numpy()).round().astype(np.uint8)
            Image.fromarray(pixels).save(root / "images" / f"{sample.name}.png")
            mask = Image.fromarray(sample.mask.numpy().astype(np.uint8))
            if split in masks:
                mask.save(root / "masks" / f"{sample.name}.png")
            else:
                drawn[sample.name] = mask
            labels.append(f"{sample.name},{NAMES[int(sample.labels.int().argmax())]}\n")
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    (root / "labels.csv").write_text("".join(labels))
    return drawn


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("own_tiny.py").write_text(OWN)


def test_it_stops_for_annotation_and_goes_on_from_there(capsys: pytest.CaptureFixture[str]):
    drawn = write(Path("data"))
    assert main(REPAIR) == 0
    said = capsys.readouterr().out
    names = Path("repaired/suggested/suggested.txt").read_text().split()
    assert len(names) == 6 and set(names) <= set(drawn)
    assert "6 of 6 images are to be annotated" in said and "masks/NAME.png" in said
    assert Path("repaired/before/audit.json").exists() and not Path("repaired/guided").exists()

    for name in names[:4]:
        drawn[name].save(f"data/masks/{name}.png")
    assert main(REPAIR) == 0
    assert f"2 of 6 images are to be annotated, first '{names[4]}'" in capsys.readouterr().out
    Path("repaired/suggested/suggested.txt").write_text("".join(f"{name}\n" for name in names[:4]))

    assert main(REPAIR) == 0
    said = capsys.readouterr().out
    assert Path("repaired/annotated.txt").read_text().split() == sorted(names[:4])
    assert "learned from 4 images" in said and "95 % interval" in said and "repair.html" in said
    record = json.loads(Path("repaired/repair.json").read_text())
    audits = [json.loads(Path(f"repaired/{when}/audit.json").read_text()) for when in ("before", "after")]
    words = [{one["name"]: one["word"] for one in audit["classes"]} for audit in audits]
    assert record["verdicts"] == {name: {"before": words[0][name], "after": words[1][name]} for name in NAMES}
    energies = [audit["figures"]["energy_pointing"] for audit in audits]
    assert record["figures"]["energy_pointing"] == {"before": energies[0], "after": energies[1]}
    assert record["annotated_images"] == 4 and record["answer"] in said.replace("\n", " ")

    page = Path("repaired/repair.html").read_text()
    assert "4 of 24 images" in page and "3 steps" in page
    assert ("What it went by" in page) == any(
        one["word"] in ("shortcut", "suspicious") and one["contexts"] for one in audits[0]["classes"]
    )

    weights = Path("repaired/guided/network.safetensors")
    trained, page = weights.stat().st_mtime_ns, Path("repaired/repair.html").read_text()
    assert main(REPAIR) == 0
    assert weights.stat().st_mtime_ns == trained and Path("repaired/repair.html").read_text() == page
    assert "expected the options of the audit that is there" in complaint(capsys, *REPAIR, "--limit=3")
    drawn[names[4]].save(f"data/masks/{names[4]}.png")
    assert "expected the 4 annotated images that guided the network there, got 5" in complaint(capsys, *REPAIR)
    assert Path("repaired/annotated.txt").read_text().split() == sorted(names[:4])


def test_where_everything_is_annotated_nothing_is_asked_for(capsys: pytest.CaptureFixture[str]):
    write(Path("data"), masks=("train", "val"))
    assert main(REPAIR) == 0
    said = capsys.readouterr().out
    assert "all 24 training images are annotated" in said and not Path("repaired/suggested").exists()
    assert not Path("repaired/propagated").exists() and Path("repaired/repair.html").exists()


@pytest.mark.parametrize(
    ("step", "mark"), [("audit.write_pairs", "before/audit.json"), ("suggest.picture_sheet", "suggested/suggested.txt")]
)
def test_what_is_cut_off_is_done_again(step: str, mark: str, monkeypatch: pytest.MonkeyPatch):
    """A step counts as done by a file that is written after all others of it."""

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    write(Path("data"))
    with monkeypatch.context() as patched:
        patched.setattr(f"wheretolook.cli.{step}", stopped)
        assert main(REPAIR) == 130
    assert Path("repaired/before").exists() and not Path(f"repaired/{mark}").exists()
    assert main(REPAIR) == 0 and Path(f"repaired/{mark}").exists()


def test_what_cannot_work_is_said_before_the_work(capsys: pytest.CaptureFixture[str]):
    write(Path("data"))
    assert "at least 1 image to annotate" in complaint(capsys, *REPAIR, "--count=0")
    assert "expected one device" in complaint(capsys, *REPAIR, "--hardware.devices=2")
    assert "there is no split 'tset'" in complaint(capsys, *REPAIR, "--data.val_split=tset")
    assert not Path("repaired").exists()


def audited(words: str, rights: str) -> Audited:
    """Verdicts by their first letters, and right answers as ones."""
    known = {"f": "fine", "s": "shortcut", "?": "too few to say"}
    classes = [{"name": f"class {number}", "word": known[word]} for number, word in enumerate(words)]
    nothing = dict.fromkeys(PairFigures._fields, 0)
    pairs = [
        PairFigures(**{**nothing, "name": str(number), "right": right == "1"}) for number, right in enumerate(rights)
    ]
    trials = [{"right": {"other_background": right == "1"}, "lent": [1]} for right in rights] + [{"lent": []}]
    return Audited({"classes": classes, "figures": {}, "trials": trials}, pairs)


@pytest.mark.parametrize(
    ("before", "after", "said", "tone"),
    [
        ("ssf", "fff", "Repaired: 2 of 2 shortcuts are fine.", "good"),
        (
            "ssf",
            "?ff",
            "Partly repaired: none of 2 shortcuts left; these classes are now too few to say (1) or fine (1).",
            "unclear",
        ),
        ("ssf", "sf?", "Partly repaired: 1 of 2 shortcuts left; the other classes are now fine (1).", "unclear"),
        ("sf", "sf", "Not repaired: shortcuts in 1 of 2 classes before, in 1 now.", "bad"),
        ("ff", "fs", "No class was recognised by a shortcut before, 1 are now.", "bad"),
        ("ff", "ff", "No class was recognised by a shortcut before.", "unclear"),
    ],
)
def test_the_answer(before: str, after: str, said: str, tone: str):
    found = audited(before, "11110000"), audited(after, "11000001")
    answer = repair_answer(*found)
    assert repair_tone(*found) == tone
    assert answer.startswith(said) and "-12.5 points of accuracy" in answer
    assert "In front of another class's background 38 % are right, 50 % were." in answer
    assert cost(*found).value == pytest.approx(1 / 8) and cost(*found).low < 0 < cost(*found).high
