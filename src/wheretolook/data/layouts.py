"""The layouts by name: a new one is its file and a line here."""

from wheretolook.data.class_folders import CLASS_FOLDERS
from wheretolook.data.folder import PLAIN_FOLDER
from wheretolook.data.layout import Layout
from wheretolook.data.scenes import MADE_SCENES
from wheretolook.data.voc import VOC

LAYOUTS: dict[str, Layout] = {
    "voc": VOC,
    "folder": PLAIN_FOLDER,
    "class_folders": CLASS_FOLDERS,
    "scenes": MADE_SCENES,
}
