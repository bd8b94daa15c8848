"""The command `predict`: no torch is imported."""

from pathlib import Path

from wheretolook.cli.terminal import console, tracked
from wheretolook.errors import ConfigError
from wheretolook.files import user_path, writing_folder
from wheretolook.options.export import Predict
from wheretolook.predict.images import LIST, SCORES, image_files, predict_images
from wheretolook.predict.network import ExportedNetwork

AT_ONCE = 20  # images whose classes are printed


def predict(options: Predict) -> Path:
    """Write scores, masks and overlays of images into a new folder, whose path is returned."""
    for name, value in (("top", options.top), ("resize", options.resize)):
        if value is not None and value < 1:
            raise ConfigError(f"expected {name} of at least 1, got {value}")
    network = ExportedNetwork(user_path(options.weights))
    files = image_files([user_path(image) for image in options.images])
    images = tracked(files.items(), "images", len(files))
    out = user_path(options.out)
    with writing_folder(out) as folder:
        rows = predict_images(network, images, folder, resize=options.resize, top=options.top)
    for row in rows[:AT_ONCE]:
        classes = ", ".join(f"{found['class']} (score {found['score']:.2f})" for found in row["classes"])
        console.print(f"{row['image']}: {classes}", highlight=False)
    more = f" ({len(rows) - AT_ONCE} more)" if len(rows) > AT_ONCE else ""
    console.print(f"{len(rows)} images{more}: {out / SCORES}, {out / LIST}, and pictures in {out}")
    return out
