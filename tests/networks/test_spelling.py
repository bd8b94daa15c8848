"""How a network is named in recipes and on the command line."""

import pytest

from wheretolook.cli.main import main, make_parser, read_recipe, spelled
from wheretolook.options.network import NetworkOptions

SPELLED = NetworkOptions(
    name="timm:convnext_atto",
    arguments={"depths": [1, 1, 1, 1], "drop_rate": 0.5},
    layer="stages",
    scores="classifier",
    segments=True,
    input_size=(64, 96),
)


def test_a_network_is_spelled_in_a_recipe(tmp_path):
    arguments = "arguments: {depths: [1, 1, 1, 1], drop_rate: 0.5}"
    layer = "layer: stages, scores: classifier, segments: true, input_size: [64, 96]"
    (tmp_path / "recipe.yaml").write_text(f"network: {{name: 'timm:convnext_atto', {arguments}, {layer}}}\n")
    assert read_recipe(tmp_path / "recipe.yaml").network == SPELLED


@pytest.mark.parametrize(
    "arguments",
    [
        ["--network.arguments", "{depths: [1, 1, 1, 1], drop_rate: 0.5}"],
        ["--network.arguments={depths: [1, 1, 1, 1], drop_rate: 0.5}"],
        ["--network.arguments.depths=[1,1,1,1]", "--network.arguments.drop_rate", "0.5"],
    ],
)
@pytest.mark.parametrize("prefix", ["--network.", "--"])
def test_a_network_is_spelled_on_the_command_line(arguments, prefix):
    """In full, or with `--network`, `--layer` and `--scores` alone."""
    name = "--network" if prefix == "--" else "--network.name"
    words = [name, "timm:convnext_atto", *arguments, f"{prefix}layer=stages"]
    words += [f"{prefix}scores", "classifier", "--network.segments", "true", "--network.input_size", "64", "96"]
    chosen = make_parser().parse_args(spelled(["train-segmenter", *words]))
    assert make_parser().instantiate(chosen)["train-segmenter"]["network"] == SPELLED


def test_arguments_that_are_no_names_with_values(capsys):
    assert main(["train-segmenter", "--network.arguments", "depth"]) == 2
    assert "--network.arguments: expected names with values such as {depth: 4}, got depth" in capsys.readouterr().err
