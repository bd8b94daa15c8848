"""Whole networks through the file: scores, masks and maps of onnxruntime are torch's, or nothing is written."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from wheretolook.attention.methods import attention_maps
from wheretolook.cells import stretched as torch_stretched
from wheretolook.data import open_dataset
from wheretolook.errors import ConfigError
from wheretolook.export import gradient
from wheretolook.export.network import Exported, export_network
from wheretolook.export.quantise import dataset_image
from wheretolook.networks.guide import guide
from wheretolook.options.data import DataOptions, ScenesOptions
from wheretolook.predict.description import KEY, Description, Place, stretched
from wheretolook.predict.network import ExportedNetwork
from wheretolook.records import CAFFE, Cells, GuidedNetwork

from ..networks import real, zoo
from ..networks.narrow import narrow
from .heads import headed


def given_and_expected(network: GuidedNetwork, path: Path, size: tuple[int, int], batch: int):
    """What the file gives, and what torch gives, of the same images."""
    images = torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(5))
    output = network(network.preprocessing(images))
    expected = {"class_scores": output.class_scores, "attention_maps": attention_maps(output)}
    if output.mask_scores is not None:
        expected["mask_scores"] = output.mask_scores
    return ExportedNetwork(path)(images.numpy()), {key: value.detach().numpy() for key, value in expected.items()}


def assert_same(network: GuidedNetwork, path: Path, size: tuple[int, int], batch: int, *, maps: bool = True) -> None:
    given, expected = given_and_expected(network, path, size, batch)
    assert set(given) == set(expected) - (set() if maps else {"attention_maps"})
    for name, values in given.items():
        largest = np.abs(expected[name]).max()
        assert largest > 0 and np.abs(values - expected[name]).max() < 1e-4 * largest, name


def test_an_fcn_of_any_batch_and_size(exported_fcn: Exported) -> None:
    network, exported = narrow(), exported_fcn
    assert network.preprocessing == CAFFE  # colours swapped, 0 to 255: all of it inside the graph
    assert exported.outputs == ("class_scores", "mask_scores", "attention_maps") and exported.fixed_size is None
    assert max(exported.differences.values()) < 1e-4 and exported.slower > 0
    for size, batch in (((50, 77), 1), ((64, 64), 4)):
        assert_same(network, exported.path, size, batch)
    axes = onnx.load(str(exported.path)).graph.input[0].type.tensor_type.shape.dim
    assert [axis.dim_param or axis.dim_value for axis in axes] == ["batch", 3, "height", "width"]


def test_a_network_is_left_as_it_is(tmp_path: Path) -> None:
    network = headed("relu")
    network.train()
    before, state = {key: value.clone() for key, value in network.state_dict().items()}, torch.get_rng_state()
    export_network(network, tmp_path / "net.pt2", format="torch")
    assert network.training and torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_program_of_torch_export_knows_what_it_is(tmp_path: Path) -> None:
    network = headed("gelu")
    export_network(network, tmp_path / "net.pt2", format="torch")
    extra = {KEY: ""}
    program = torch.export.load(tmp_path / "net.pt2", extra_files=extra).module()
    assert json.loads(extra[KEY])["class_names"] == ["class 0", "class 1", "class 2"]
    images = torch.rand(3, 3, 61, 83)
    output = network(network.preprocessing(images))
    scores, maps = program(images)
    torch.testing.assert_close(scores, output.class_scores.detach())
    torch.testing.assert_close(maps, attention_maps(output))


def test_an_added_classifier_on_a_residual_network(tmp_path: Path) -> None:
    network = guide(
        zoo.network("two_outputs"), scores="classifier", class_names=zoo.NAMES, classifier_widths=(9, 10), input_size=64
    ).eval()
    path = export_network(network, tmp_path / "net.onnx").path
    assert_same(network, path, (75, 101), 2)


def unet() -> GuidedNetwork:
    """That of the zoo, of three levels."""
    import segmentation_models_pytorch as smp

    module = smp.Unet("resnet18", encoder_depth=3, encoder_weights=None, decoder_channels=(16, 8, 8), classes=4)
    return guide(module.eval(), input_size=64)


@pytest.mark.parametrize("name", ["vit_small", "unet"])
def test_what_cannot_be_written_out_is_said_and_scores_are_exported_alone(name: str, tmp_path: Path) -> None:
    """The block behind a class token's patches, and a decoder behind pooled scores."""
    network, path = unet() if name == "unet" else zoo.guided(name), tmp_path / "net.onnx"
    with pytest.raises(ConfigError, match=r"gradient of .+, which lies behind layer '.*--without_attention"):
        export_network(network, path)
    assert not list(tmp_path.iterdir())
    exported = export_network(network, path, attention=False)
    assert exported.slower is None
    assert (exported.fixed_size == (64, 64)) == (name == "vit_small")
    assert_same(network, path, (64, 64), 3, maps=False)


def test_tokens_with_average_pooling_have_maps_at_their_one_size(tmp_path: Path) -> None:
    network = zoo.guided("vit_average")
    exported = export_network(network, tmp_path / "net.onnx")
    assert exported.fixed_size == (64, 64)
    assert_same(network, exported.path, (64, 64), 3)


def test_a_graph_that_is_wrong_is_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps with the wrong mask are refused by their values; and a file with a wrong weight is not left behind."""
    network = headed("relu")
    with monkeypatch.context() as wrong:
        wrong.setitem(gradient.RULES, "relu", gradient._activation(lambda x, y: y <= 0))
        with pytest.raises(ConfigError, match=r"differ by .* of the largest value"):
            export_network(network, tmp_path / "net.onnx")
    called = torch.onnx.export

    def off(*args: object, **options: object) -> object:
        made = called(*args, **options)
        for constant in made.model.graph.initializers.values():
            if tuple(constant.shape) == (3, 8):  # of the last layer
                constant.const_value = onnx_tensor(1.001 * constant.const_value.numpy())
        return made

    import onnx_ir

    onnx_tensor = onnx_ir.tensor
    monkeypatch.setattr(torch.onnx, "export", off)
    with pytest.raises(ConfigError, match=r"expected .* as torch gives them.*nothing was written"):
        export_network(network, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_maps_of_earlier_or_several_layers_are_said_not_to_be_exported(tmp_path: Path) -> None:
    network = narrow()
    for layers, said in ((("conv4_3",), "a convolution of more than one pixel, which lies behind layer 'conv4_3'"), (
        ("conv4_3", "conv5_3"), "several layers, conv4_3 and conv5_3"
    )):  # fmt: skip
        network.read_from(*layers)
        with pytest.raises(ConfigError, match=said):
            export_network(network, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_cam_is_grad_cam_times_the_number_of_positions(tmp_path: Path) -> None:
    network = headed("linear")
    network.attention = "cam"
    path = export_network(network, tmp_path / "net.onnx").path
    images = torch.rand(1, 3, 40, 48)
    expected = attention_maps(network(network.preprocessing(images)), method="cam")
    np.testing.assert_allclose(ExportedNetwork(path)(images.numpy())["attention_maps"], expected.numpy(), rtol=1e-4)


def test_cells_lie_where_torch_puts_them() -> None:
    maps = torch.rand(3, 4, 5)
    for stride, offset in (((16.0, 16.0), (7.5, 7.5)), ((32.0, 8.0), (0.0, 3.0))):
        expected = torch_stretched(maps, (61, 83), Cells(stride, offset))
        given = stretched(maps.numpy(), (61, 83), Place((61, 83), stride, offset))
        np.testing.assert_allclose(given, expected, atol=1e-6)


def test_the_real_network_names_the_cat(tmp_path: Path) -> None:
    """A thousand classes' maps in one graph, with the real weights; it pads as TensorFlow does, so for one size."""
    network = guide(real.network().module, class_names=real.NAMES, input_size=(192, 288))
    exported = export_network(network, tmp_path / "net.onnx")
    assert exported.fixed_size == (192, 288)
    picture = np.array(real.photograph("chelsea"))
    file = ExportedNetwork(exported.path)
    prediction = file.predict(picture)
    seen = file.seen_size(picture.shape[:2])
    assert int(prediction.class_scores.argmax()) == real.CLASSES["chelsea"]
    images = torch.nn.functional.interpolate(torch.from_numpy(picture).permute(2, 0, 1)[None] / 255, seen)
    output = network(network.preprocessing(images))
    expected = attention_maps(output, [real.CLASSES["chelsea"]], size=seen)[0, 0]
    given = prediction.attention[real.CLASSES["chelsea"]]
    assert np.corrcoef(given.ravel(), expected.numpy().ravel())[0, 1] > 0.98  # Pillow's resize and torch's differ


def test_images_to_calibrate_on_have_the_size_that_is_asked_for() -> None:
    file = object.__new__(ExportedNetwork)
    file.description = Description(("a",), ("class_scores",), None, (96, 96), (), "grad_cam", "layer")
    dataset = open_dataset(DataOptions(scenes=ScenesOptions(images=1, size=64)), "train")
    assert dataset_image(file, dataset, 0).shape == (1, 3, 96, 96)
    assert dataset_image(file, dataset, 0, 32).shape == (1, 3, 32, 32)
