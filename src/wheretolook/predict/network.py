"""An exported network as a function of images."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from wheretolook.errors import ConfigError, ImageSizeError, WeightsError
from wheretolook.images import first_taken, sizes_to_try
from wheretolook.predict.description import INPUT, KEY, Description, read_description, stretched

EXTRA = "expected {} installed, found none; pip install 'wheretolook[onnx]'"


class Prediction(NamedTuple):
    """What an exported network says of one image.

    Attributes:
        class_scores: logits of the foreground classes.
        mask: 0 background, 1 + class index, at the size of the image; None where the network does not segment.
        attention: maps of all classes, at least 0, at the size that the network saw the image in; None where the graph
            has none.
    """

    class_scores: Float[np.ndarray, " classes"]
    mask: Int[np.ndarray, "height width"] | None
    attention: Float[np.ndarray, "classes h w"] | None


class ExportedNetwork:
    """A file of `wheretolook export`, run by onnxruntime.

    Args:
        path: the .onnx file.
        threads: how many threads a forward takes; 0 for as many as there are cores.

    Attributes:
        description: what the file says of the network.

    Raises:
        ConfigError: onnxruntime is not installed.
        WeightsError: the file is missing, broken or not one of ours.
    """

    def __init__(self, path: str | Path, *, threads: int = 0) -> None:
        self.path = Path(path).expanduser()
        self._session = _session(self.path, threads)
        text = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        if text is None:
            raise WeightsError(
                f"{self.path}: expected a network that wheretolook has exported, got another .onnx without its "
                "description; write it with wheretolook export"
            )
        try:
            self.description: Description = read_description(text)
        except ValueError as error:
            raise WeightsError(f"{self.path}: {error}; write it again with wheretolook export") from error

    @property
    def class_names(self) -> tuple[str, ...]:
        """The foreground classes."""
        return self.description.class_names

    def __call__(self, images: Float[np.ndarray, "batch 3 height width"]) -> dict[str, np.ndarray]:
        """What the graph gives of RGB images in [0, 1], by name.

        Raises:
            ImageSizeError: the network does not take images of that size.
        """
        try:
            given = self._session.run(None, {INPUT: np.ascontiguousarray(images, dtype=np.float32)})
        except Exception as error:  # of onnxruntime, which has a kind for every reason
            height, width = images.shape[2:]
            why = " ".join(str(error).split())[:200]
            raise ImageSizeError(
                f"{self.path}: the network cannot run on images of {width}x{height} ({why}); give another resize"
            ) from error
        return dict(zip((output.name for output in self._session.get_outputs()), given, strict=True))

    def seen_size(self, size: tuple[int, int], resize: int | None = None) -> tuple[int, int]:
        """Height and width in which, first of all, the network sees an image of that height and width.

        Args:
            size: of the image.
            resize: length of the longer side; None for a shorter side as long as that of the images that the network
                was made for, as the command show has it, and the image's own where it was made for none. A network of
                one fixed size sees images squeezed to it.
        """
        return self._sizes(size, resize)[0]

    def _sizes(self, size: tuple[int, int], resize: int | None) -> list[tuple[int, int]]:
        """Sizes in which an image may be shown to the network, the best first."""
        about = self.description
        return [about.fixed_size] if about.fixed_size else list(sizes_to_try(size, about.usual_size, resize))

    def predict(self, pixels: UInt8[np.ndarray, "height width 3"], resize: int | None = None) -> Prediction:
        """Scores, mask and maps of one image; `resize` is that of `seen_size`.

        A network that does not take the image in its own proportions sees it squeezed to the size that it was made for.

        Args:
            pixels: RGB.
            resize: length of the longer side.

        Raises:
            ImageSizeError: it takes neither.
        """
        size = pixels.shape[0], pixels.shape[1]

        def see(seen: tuple[int, int]) -> tuple[tuple[int, int], dict[str, np.ndarray]]:
            return seen, self(_squeezed(pixels, seen).transpose(2, 0, 1)[None].astype(np.float32) / 255)

        seen, given = first_taken(self._sizes(size, resize), see)
        masks, maps = given.get("mask_scores"), given.get("attention_maps")
        mask = None if masks is None else _at_size(masks[0].argmax(axis=0), size)
        if maps is not None:
            place = self.description.place(seen, (maps.shape[2], maps.shape[3]))
            maps = stretched(maps[0], seen, place)
        return Prediction(given["class_scores"][0], mask, maps)


def _squeezed(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _at_size(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at another size: each pixel has the class of the nearest."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64) for old, new in zip(mask.shape, size, strict=True)
    )
    resized_mask: np.ndarray = mask[rows[:, None], columns]
    return resized_mask


def _session(path: Path, threads: int) -> Any:
    if not path.is_file():
        raise WeightsError(f"expected an exported network at {path}, found none; check the path")
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ConfigError(EXTRA.format("onnxruntime")) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what goes wrong comes as an exception too
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of onnxruntime, which has a kind for every reason
        raise WeightsError(f"{path}: expected a network in ONNX, got something else or a broken file") from error
