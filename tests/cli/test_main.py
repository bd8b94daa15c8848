"""The command line: what it understands, its one line on what is wrong, and the whole mission from a recipe."""

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from wheretolook.cli import main as cli
from wheretolook.cli.main import main, read_recipe, spelled
from wheretolook.cli.spelling import option_kinds
from wheretolook.errors import ConfigError
from wheretolook.networks.fcn.network import FCN8s
from wheretolook.networks.files import save_network
from wheretolook.options.commands import Evaluate, TrainGain
from wheretolook.options.data import DataOptions, ScenesOptions
from wheretolook.options.objective import MiningOptions, ObjectiveOptions
from wheretolook.options.training import TrainingOptions

from ..command_line import CLASSES, NARROW, QUICK, SERVED, complaint
from ..data.folders_on_disk import write_lines, write_voc


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is written by its default name lands here."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def network() -> str:
    save_network(FCN8s(CLASSES, **NARROW), "net.safetensors")
    return "net.safetensors"


# options, and what is said of them before "; see wheretolook COMMAND --help"
TYPED_WRONG = [
    ("evaluate --weigths a", "unknown option --weigths; did you mean '--weights'?"),
    ("evaluate --weights a --data.spilt x", "unknown option --data.spilt; did you mean '--data.split'?"),
    ("evaluate --weights a --data.split=x --nonsense=3", "unknown option --nonsense"),
    ("train-gain --weights a --training.step 3", "unknown option --training.step; did you mean '--training.steps'?"),
    ("train-gain --weights a stray", "unexpected stray"),
    ("convert --class_name x a b", "unknown option --class_name; did you mean '--class_names'?"),
    ("convert a b --padding sane", "--network.padding: expected same, caffe or none, got sane; did you mean 'same'?"),
    ("fetch x --foldr y", "unknown option --foldr; did you mean '--folder'?"),
    ("evaluate", "expected --weights, got none"),
    ("evaluate --weights", "--weights: expected a value, got none"),
    ("convert", "expected source and target, got none"),
    ("evaluate --weights a --data.resize x", "--data.resize: expected int or none, got x"),
    ("evaluate --weights a --data.crop 48", "--data.crop: expected 2 values (int) or none, got 48"),
    ("run --network.widths 1 2 3", "--network.widths: expected 5 values (int), got 1, 2, 3"),
    ("train-gain --weights a --resume maybe", "--resume: expected true or false, got maybe"),
    ("train-gain --weights a --training.steps 1.5", "--training.steps: expected int, got 1.5"),
    ("run --segmenter.steps x", "--segmenter.steps: expected int, got x"),
    ("run --segmenter.stepz 4", "unknown option --segmenter.stepz; did you mean '--segmenter.steps'?"),
    ("run --controls.clip x", "unknown option --controls.clip; did you mean '--controls'?"),
    ("demo --outt x", "unknown option --outt; did you mean '--out'?"),
]


@pytest.mark.parametrize(("line", "said"), TYPED_WRONG, ids=[line for line, _ in TYPED_WRONG])
def test_what_is_typed_wrong_is_said_in_one_line(line: str, said: str, capsys: pytest.CaptureFixture[str]):
    found = complaint(capsys, *line.split())
    assert found == f"{said}; see wheretolook {line.split()[0]} --help"


@pytest.mark.parametrize("option", ["--without-attention", "--data.batch-size 4", "--without-attention=false"])
def test_options_may_be_written_with_dashes(option: str, capsys: pytest.CaptureFixture[str]):
    """As most programs have theirs; what is said is what is wrong with the command, and not that there is no option."""
    said = complaint(capsys, "export", "--weights", "nix.npz", *option.split())
    assert said == "expected a weights file at nix.npz, found none; check the path"
    assert complaint(capsys, "export", "--weights=a", "--with-attention").startswith(
        "unknown option --with-attention; "
    )


@pytest.mark.parametrize(("word", "hint"), [("trian-gain", "; did you mean 'train-gain'?"), ("xyz", "")])
def test_an_unknown_command_is_said_with_the_nearest(word: str, hint: str, capsys: pytest.CaptureFixture[str]):
    assert complaint(capsys, word, "--weights", "a") == f"expected a command, got '{word}'{hint}"


IN_A_FILE = [
    ("dota: 3", "unknown option in the config: dota; did you mean 'data'?"),
    ("data: {spilt: x}", "unknown option in the config: data.spilt; did you mean 'data.split'?"),
    ("guidance: {setps: 2}", "unknown option in the config: guidance.setps; did you mean 'guidance.steps'?"),
    ("segmenter: {stepz: 2}", "unknown option --segmenter.stepz; did you mean '--segmenter.steps'?"),
    ("guided: {mining: {weight: x}}", "--guided.mining.weight: expected float or none, got x"),
    ("data: {resize: x}", "--data.resize: expected int or none, got x"),
    (
        "guidance: {clip: none}",
        "--guidance.clip: expected float or none, got the word none; a YAML file spells it null;",
    ),
    ("data: /path/to/voc", "--data: expected a YAML file of options, got '/path/to/voc'"),
    ("data: 5", "--data: expected options, got 5"),
    ("data: {scenes: 3}", "--data.scenes: expected options, got 3"),
    ("- 1", "--config recipe.yaml: expected a YAML file of options, got - 1"),
    ("a: [b", "--config recipe.yaml: expected a YAML file of options, got while parsing"),
    ("", "--config recipe.yaml: expected a YAML file of options, got nothing"),
]


@pytest.mark.parametrize(("text", "said"), IN_A_FILE, ids=[text for text, _ in IN_A_FILE])
def test_what_is_wrong_in_a_recipe_is_said_in_one_line(text: str, said: str, capsys: pytest.CaptureFixture[str]):
    Path("recipe.yaml").write_text(text)
    assert complaint(capsys, "run", "--config", "recipe.yaml").startswith(said)
    with pytest.raises(ConfigError, match=re.escape(said)):
        read_recipe("recipe.yaml")
    Path("good.yaml").write_text("guidance: {steps: 3}")
    Path("recipe.yaml").rename("my recipe.yaml")
    said = said.replace("recipe.yaml", "my recipe.yaml")
    assert complaint(capsys, "run", "--config=my recipe.yaml").startswith(said)
    said = said.replace("--config my recipe.yaml", "--config")  # one of two, and which is not told
    assert complaint(capsys, "run", "--config", "my recipe.yaml", "--config", "good.yaml").startswith(said)


def test_a_recipe_that_is_not_there(capsys: pytest.CaptureFixture[str]):
    assert re.match(r"--config: File does not exist: '.*nix.yaml'", complaint(capsys, "run", "--config", "nix.yaml"))


def wrong_world(network: str) -> list[tuple[list[str], str]]:
    """What is wrong outside the command line, and what is said of it."""
    save_network(FCN8s(("cat", "dog", "cow"), **NARROW), "pets.safetensors")
    save_network(FCN8s(CLASSES, **NARROW), "net.npz")
    Path("broken.safetensors").write_bytes(Path(network).read_bytes()[:999])
    Path("pickled.pth").write_text("nothing of the kind")
    Path("empty").mkdir()
    voc = write_voc(Path("voc"), height=40, width=36)
    write_lines(voc / "ImageSets/Segmentation/odd.txt", "a", "ghost")
    write_voc(Path("thumbs"))
    image = np.array(Image.open(voc / "SegmentationClass" / "a.png"))
    Image.fromarray(np.where(image == 1, 77, image).astype(np.uint8)).save(voc / "SegmentationClass" / "c.png")
    at, gain = ["evaluate", "--weights"], ["train-gain", *SERVED, *QUICK, "--weights", network]
    small = ["train-segmenter", "--data.batch_size=1", *QUICK, "--network.widths", *"44444"]
    small += ["--network.segmenter_width=8"]
    swapped = ["--data.root=voc", "--data.split=val", "--data.val_split=train"]
    draw = ["visualize", "--before", network, "--after", network]
    no_run = "expected a network.safetensors in the run folder empty, found none; is the run finished?"
    ghost = "split 'odd' names 2 images, but 1 of them are not in voc/JPEGImages, first 'ghost'"
    pets = f"pets.safetensors: expected the data's classes {', '.join(CLASSES)}, got cat, dog, cow"
    return [
        ([*at, "nix.npz", *SERVED], "expected a weights file at nix.npz, found none; check the path"),
        ([*at, "empty", *SERVED], no_run),
        ([*at, "broken.safetensors", *SERVED], "broken.safetensors: expected a safetensors file, got a broken"),
        ([*at, "pickled.pth", *SERVED], "pickled.pth: expected a PyTorch state dict"),
        ([*at, "pets.safetensors", *SERVED], pets),
        ([*at, network, *SERVED, "--data.scenes.classes=4"], f"{network}: expected the data's classes"),
        ([*at, "net.npz", *SERVED, "--data.scenes.classes=4"], "net.npz: expected the data's classes"),
        ([*at, network, network, "--names=one", *SERVED], "expected 2 names, one for each --weights, got 1"),
        ([*at, network, "--data.root=nowhere"], "there is no folder nowhere"),
        (
            [*at, network, "--data.root=voc", "--data.layout=vok"],
            "there is no layout 'vok'; did you mean 'voc'?",
        ),
        ([*at, network, "--data.root=empty"], "expected a folder with JPEGImages (layout voc) or"),
        ([*at, network, "--data.root=voc", "--data.split=vaal"], "there is no split 'vaal'; did you mean 'val'?"),
        ([*at, network, "--data.root=voc", "--data.split=odd"], ghost),
        (
            [*small, *swapped],
            "mask voc/SegmentationClass/c.png has the value 77",
        ),
        ([*small, "--data.root=thumbs", "--out=thumbs_run"], "a: expected images of at least 32x32, got 16x12; "),
        (
            [*at, network, *SERVED, f"--out={network}"],
            f"cannot write {network}: file exists; choose another folder",
        ),
        ([*gain, f"--out={network}/run"], f"cannot write {network}/run"),
        ([*at, network, *SERVED, "--accelerator=warp"], "accelerator warp is not there"),
        ([*gain, "--hardware.accelerator=gpus"], "hardware options that do not work here: "),
        ([*gain, "--hardware.precision=16-mixed"], "precision 16-mixed does not work here; give bf16-mixed"),
        ([*gain, "--training.steps=0"], "expected steps of at least 1, got 0"),
        ([*gain, "--training.seed=-1"], f"expected seed of 0 to {2**63 - 1}, got -1"),
        ([*small, f"--training.seed={2**80}"], f"expected seed of 0 to {2**63 - 1}, got {2**80}"),
        ([*small, "--network.dropout=2"], "expected dropout of 0 to 1, got 2.0"),
        ([*small, "--network.classifier_widths", "8", "0"], "expected classifier_widths of at least 1, got 8 0"),
        ([*gain, "--data.scale", "1", "2"], "scale 1.0 2.0 resizes before a crop, and there is none; give crop"),
        ([*at, network, *SERVED, "--data.batch_size=0"], "expected batch_size >= 1 and workers >= 0, not 0 and 0"),
        ([*draw, *SERVED, "--data.workers=-1"], "expected batch_size >= 1 and workers >= 0, not 3 and -1"),
        ([*draw, *SERVED, "--count=0"], "expected at least 1 picture, got 0"),
        (["run", *SERVED, f"--weights={network}", "--pictures=0"], "expected at least 1 picture, got 0"),
        ([*gain, "--objective.mining.weight=-1"], "expected mining.weight of at least 0, got -1"),
        (["train-segmenter", "--data.scenes.classes=9"], "made scenes have 2 to 8 classes, not 9"),
        (["run", *SERVED], "expected weights, a segmenter stage or network.name, got none"),
        (["run", "--data.root=voc", "--segmenter.steps=9", "--test_split=vla"], "there is no split 'vla'; did you"),
        (["convert", network, "net.bin"], "expected a name ending in .safetensors, .pth or .npz, got net.bin"),
        (["fetch", "fcn8s_from_cafe.npz"], "expected one of fcn8s_from_caffe.npz, "),
    ]


def test_what_is_wrong_in_the_world_is_said_in_one_line(network: str, capsys: pytest.CaptureFixture[str]):
    for argv, said in wrong_world(network):
        found = complaint(capsys, *argv)
        assert found.startswith(said), f"{argv}: {found}"


def test_what_is_wrong_with_the_options_leaves_no_folder(network: str, capsys: pytest.CaptureFixture[str]):
    for wrong in ("--training.seed=-1", "--data.batch_size=0", "--training.clip=-1"):
        complaint(capsys, "train-gain", "--weights", network, *SERVED, *QUICK, wrong, "--out=run")
    assert [path.name for path in Path().iterdir()] == [network]


def test_a_full_disk_is_said_and_leaves_what_was_there(
    network: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    before = Path(network).read_bytes()
    save_network(FCN8s(CLASSES, **NARROW, seed=1), "other.safetensors")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    said = complaint(capsys, "convert", "other.safetensors", network)
    assert said == f"cannot write {network}: no space left on device; free some space or choose another folder"
    assert Path(network).read_bytes() == before
    said = complaint(capsys, "evaluate", "--weights", network, *SERVED, "--out=figures")
    assert said.startswith("cannot write figures/metrics.json: no space left on device")
    assert sorted(path.name for path in Path().iterdir()) == ["figures", network, "other.safetensors"]
    assert list(Path("figures").iterdir()) == []


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("data: {resize: 64}", "made scenes are not resized; give scenes.size in place of resize"),
        ("weights: none", "--weights: expected str or none, got the word none; a YAML file spells it null"),
        ("data: {root: none}", "--data.root: expected str or none, got the word none; a YAML file spells it null"),
    ],
)
def test_options_that_would_do_nothing_are_refused(option: str, says: str, capsys: pytest.CaptureFixture[str]):
    Path("options.yaml").write_text(option)
    assert complaint(capsys, "train-segmenter", "--config=options.yaml").startswith(says)


def test_numbers_in_lists_may_be_spelled_as_people_do():
    assert spelled(["convert", "--padding", "none", "a", "b"]) == ["convert", "--network.padding=null", "a", "b"]
    assert spelled(["run", "--data.scale", "1.", ".5"]) == ["run", "--data.scale=[1.0, 0.5]"]
    assert spelled(["run", "--data.crop", "096", "128"]) == ["run", "--data.crop=[96, 128]"]


def test_a_learning_rate_that_explodes_stops_the_run_and_says_where(network: str, capsys: pytest.CaptureFixture[str]):
    said = complaint(
        capsys,
        *("train-gain", "--weights", network, *SERVED, *QUICK),
        "--training.trunk_learning_rate=1e30",
        "--out=run",
    )
    assert re.match(
        r"expected (a finite loss|finite gradients), got .*at step 1, images train_0.*lower learning rate", said
    )
    assert not list(Path("run").glob("*.safetensors")) and not Path("run/run.json").exists()


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["evaluate", "--weigths", "a"], 2, "unknown option --weigths; did you mean '--weights'?"),
        (["train-gain", "--weights", "nix.npz"], 2, "expected a weights file at nix.npz, found none; check the path"),
    ],
    ids=["unknown option", "no weights"],
)
def test_in_a_shell(argv: list[str], code: int, said: str):
    command = [sys.executable, "-m", "wheretolook", *argv]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (found.returncode, found.stdout) == (code, "")
    assert found.stderr.startswith(f"wheretolook: {said}") and found.stderr.count("\n") == 1


def test_help_and_typing_errors_load_no_torch():
    script = (
        "import sys; from wheretolook.cli.main import main; import contextlib, io; out = io.StringIO()\n"
        "with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit): main(['run', '--help'])\n"
        "assert 'guided.mining.weight' in out.getvalue(); main([]); main(['train-gain', '--weights', 'a', '--nix'])\n"
        "main(['train-gain', '--training.steps', 'x']); assert not {'torch', 'lightning', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300, capture_output=True)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_names_every_option_with_its_meaning(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    options = text.partition("options:")[2]
    kinds = dict(option_kinds(cli.COMMANDS[command].options))
    optional = [name for name, kind in kinds.items() if any(map(is_dataclass, get_args(kind)))]  # told as one group
    for name, kind in kinds.items():
        if not is_dataclass(kind) and not name.startswith(tuple(f"{group}." for group in optional)):
            entry = re.search(rf" --{re.escape(name)} (?:\S* --\S*\+ )?(.*?)(?= --[a-z]|$)", options)
            assert entry, name
            meaning = re.sub(r"\((?:required, )?type: .*|^\S+|{.*?}", "", entry[1])
            assert len(meaning.split()) > 1, f"{name}: {entry[1]}"


def understood(monkeypatch: pytest.MonkeyPatch, *argv: str) -> object:
    """The options that a command is called with."""
    seen: list[object] = []
    monkeypatch.setattr(f"wheretolook.cli.{cli.COMMANDS[argv[0]].function}", seen.append)
    assert main(argv) == 0
    (options,) = seen
    return options


def test_lists_flags_groups_and_files_of_options_are_understood(monkeypatch: pytest.MonkeyPatch):
    found = understood(
        monkeypatch,
        *("evaluate", "--weights", "A", "B.npz", "--names", "one", "two", "--data.crop", "48", "64"),
        *("--data.scale=0.5", "2", "--data.resize", "null", "--data.root", "a b", "--data.scenes.bias", "0.5"),
    )
    data = DataOptions(root="a b", split="val", crop=(48, 64), scale=(0.5, 2.0), scenes=ScenesOptions(bias=0.5))
    assert found == Evaluate(["A", "B.npz"], ["one", "two"], data=data)
    Path("options.yaml").write_text("weights: A\ntraining: {steps: 7, learning_rate: 0.5}\nresume: true")
    found = understood(monkeypatch, "train-gain", "--config", "options.yaml", "--training.steps=9")
    training = replace(TrainGain("A").training, steps=9, learning_rate=0.5)  # the other rates are the stage's own
    assert found == TrainGain("A", resume=True, training=training)
    for words in (["--resume"], ["--resume", "true"], ["--resume=true"], ["--resume", "--out=x"]):
        assert understood(monkeypatch, "train-gain", "--weights=A", *words).resume is True
    for words in ([], ["--resume", "False"], ["--resume=false"]):
        assert understood(monkeypatch, "train-gain", *words, "--weights", "A").resume is False


@pytest.mark.parametrize("join", [lambda name: [name, "none"], lambda name: [f"{name}=none"]])
def test_none_is_what_messages_call_it(join: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch):
    """For numbers, texts, lists and groups that may be none; elsewhere it is a word like any other."""
    Path("options.yaml").write_text("weights: A\nsegmenter: {steps: 2}\nguidance: {clip: 2.0}\ndata: {crop: [4, 4]}\n")
    names = (
        "--weights",
        "--segmenter",
        "--guidance.clip",
        "--data.crop",
        "--guided.mining.normalising",
        "--test_split",
    )
    argv = [word for name in names for word in join(name)]
    found = understood(monkeypatch, "run", "--config", "options.yaml", *argv)
    assert (found.weights, found.segmenter, found.guidance.clip, found.data.crop) == (None, None, None, None)
    assert (found.guided.mining.normalising, found.test_split) == ("none", "none")
    found = understood(monkeypatch, "evaluate", *join("--weights"), *join("--names"))
    assert (found.weights, found.names) == (["none"], None)


def test_one_weights_file_is_a_list_of_one():
    for words in (["--weights", "A"], ["--weights=A"], ["--weights", '["A"]']):
        parser = cli.make_parser("evaluate")
        assert parser.parse_args(spelled(["evaluate", *words])).evaluate.weights == ["A"]


def test_a_recipe_can_be_read_and_overridden():
    Path("recipe.yaml").write_text("segmenter: {steps: 3}\nguided: {mining: {weight: 0}}\nweights: A")
    recipe = read_recipe("recipe.yaml", "--guidance.steps=5", "--guided.mining.weight", "0.5")
    assert (recipe.weights, recipe.guidance.steps) == ("A", 5)
    assert recipe.segmenter == TrainingOptions(steps=3)
    assert recipe.guided == ObjectiveOptions(mining=MiningOptions(weight=0.5))


def test_the_packaged_recipe_is_a_recipe(monkeypatch: pytest.MonkeyPatch):
    found = understood(monkeypatch, "demo", "--out=here")
    assert found.out == "here" and found.segmenter is not None and found.seeds == 3


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_help_begins_with_what_a_command_does_and_not_with_a_hundred_options(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    usage, empty, first, *_ = capsys.readouterr().out.splitlines()
    assert usage.startswith(f"usage: wheretolook {command} ") and usage.endswith("[OPTIONS]") and not empty
    assert (cli.COMMANDS[command].options.__doc__ or "").startswith(first.split(" Values of a list")[0])
