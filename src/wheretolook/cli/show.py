"""The command `show`."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count
from pathlib import Path

from PIL import Image

from wheretolook.cli.console import console, device_of, tracked
from wheretolook.data.images import image_tensor
from wheretolook.errors import ConfigError, DataError, naming, nearest, reason
from wheretolook.evaluation.look import ClassLook, look
from wheretolook.files import require_writable, take_name, user_path, write_json
from wheretolook.images import IMAGE_SUFFIXES, first_taken, read_photograph, sizes_to_try
from wheretolook.networks.build import classifying
from wheretolook.networks.files import read_weights
from wheretolook.networks.own_classes import own_network
from wheretolook.options.looking import Show
from wheretolook.records import GuidedNetwork
from wheretolook.report.looks import Tile, caption, looks_sheet

LISTED = "show.json"
A_FEW = 5  # images, of which no bar is drawn


def show(options: Show) -> list[dict[str, object]]:
    """Draw each image and say a line about it; returns what show.json lists.

    Raises:
        DataError: an image is broken, once all others are done; or the folder cannot be written.
        ConfigError: an option makes no sense, or there is no such class.
    """
    _require_sense(options)
    paths = list(_images(options.images))
    network = _network(options)
    classes = None if options.classes is None else _indices(options.classes, network.class_names)
    out = user_path(options.out)
    require_writable(out)
    rows, broken = [], 0
    named = _named(paths)
    for path, name in named if len(named) < A_FEW else tracked(named, "images"):
        try:
            rows.append(_shown(network, path, out / name, classes, options))
        except DataError as error:
            if len(paths) == 1:
                raise
            broken += 1
            print(f"wheretolook: {error}", file=sys.stderr)
    if rows:
        write_json(out / LISTED, rows)
    if broken:
        where = f"; the others are in {out}" if rows else ""
        raise DataError(f"{broken} of {len(paths)} images could not be shown, as said above{where}")
    return rows


def _require_sense(options: Show) -> None:
    if min(options.top, 1 if options.resize is None else options.resize) < 1 or not 0 <= options.opacity <= 1:
        raise ConfigError(
            f"expected top and resize of at least 1 and opacity from 0 to 1, got {options.top}, {options.resize} and "
            f"{options.opacity}"
        )


def _images(given: Iterable[str]) -> Iterator[Path]:
    """The images that are named, and those in folders that are."""
    for text in given:
        path = user_path(text)
        if not path.is_dir():
            yield path
            continue
        inside = sorted(
            file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.name[0] != "."
        )
        if not inside:
            raise DataError(f"expected images in the folder {path}, found none; name them, or another folder")
        yield from inside


def _network(options: Show) -> GuidedNetwork:
    weights = None if options.weights is None else read_weights(user_path(options.weights))
    network = own_network(options.network, weights, _given_names(options.class_names))
    network = network if weights is None else classifying(network, weights)
    return network.to(device_of(options.accelerator))


def _given_names(given: Sequence[str] | None) -> tuple[str, ...] | None:
    """Names of classes, or the lines of the one file that is named."""
    if given is None or len(given) != 1 or not user_path(given[0]).is_file():
        return None if given is None else tuple(given)
    try:
        lines = user_path(given[0]).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = reason(error) if isinstance(error, OSError) else "it is no UTF-8 text"
        raise DataError(f"cannot read {given[0]}: {why}; expected a class a line") from error
    return tuple(line.strip() for line in lines if line.strip())


def _indices(wanted: Sequence[str], names: Sequence[str]) -> list[int]:
    """The classes of these names or numbers; two classes may have one name."""
    found: list[int] = []
    for word in wanted:
        same = [index for index, name in enumerate(names) if name.lower() == word.lower()]
        if not same and word.isdigit() and int(word) < len(names):
            same = [int(word)]
        if not same:
            some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise ConfigError(f"expected classes of the network ({some}), got {word}{nearest(word, names)}")
        found += same
    return list(dict.fromkeys(found))


def _named(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """Each image with the name of its picture; no two are the same, not even where small letters are as good."""
    taken: set[str] = set()
    result = []
    for path in paths:
        names = (f"{path.stem}{end}.png" for end in chain([""], (f"-{number}" for number in count(2))))
        result.append((path, take_name(names, taken)))
    return result


def _shown(
    network: GuidedNetwork, path: Path, picture: Path, classes: Sequence[int] | None, options: Show
) -> dict[str, object]:
    """Draw one image, print its line, and give what is listed of it."""
    photograph = read_photograph(path)
    with naming([str(path)]):
        looks = _looks(network, photograph, classes, options)
    tiles = [Tile(network.class_names[index], chance, attention.numpy()) for index, chance, attention in looks]
    looks_sheet(photograph, tiles, picture, title=path.name, about=_about(network, options), opacity=options.opacity)
    said = ", ".join(f"{tile.name} {caption(tile)}" for tile in tiles)
    console.print(f"{path}: {said} -> {picture}", highlight=False, soft_wrap=True)
    listed = [
        {"class": tile.name, "index": index, "probability": tile.probability, "empty": not tile.attention.any()}
        for tile, (index, _, _) in zip(tiles, looks, strict=True)
    ]
    return {"image": str(path), "picture": picture.name, "classes": listed}


def _looks(
    network: GuidedNetwork, photograph: Image.Image, classes: Sequence[int] | None, options: Show
) -> list[ClassLook]:
    """What the network says of the image, in the first size that it takes."""
    exclusive = looks_exclusive(network) if options.exclusive is None else options.exclusive

    def see(size: tuple[int, int]) -> list[ClassLook]:
        image = image_tensor(photograph.resize(size[::-1], Image.Resampling.BILINEAR))
        return look(network, image, classes, top=options.top, exclusive=exclusive, flip=options.flip)

    return first_taken(sizes_to_try(photograph.size[::-1], getattr(network, "input_size", None), options.resize), see)


def looks_exclusive(network: GuidedNetwork) -> bool:
    """Whether a network's scores are taken for those of one class an image, where nothing else says so."""
    return not network.segments and getattr(network, "scores", None) == "logits" and len(network.class_names) > 1


def _about(network: GuidedNetwork, options: Show) -> str:
    layer = getattr(network, "layer", None)
    words = [f"{network.attention} at {layer}" if layer else network.attention]
    words += ["averaged with the mirrored image's"] if options.flip else []
    return ", ".join([*words, "each map on its own scale; lines at 20 % and 50 % of its maximum"])
