"""The layouts by name: a new one is its file and a line here."""

from wheretolook.data.class_folders import CLASS_FOLDERS
from wheretolook.data.coco import COCO
from wheretolook.data.folder import PLAIN_FOLDER
from wheretolook.data.label_studio import LABEL_STUDIO
from wheretolook.data.labelme import LABELME
from wheretolook.data.layout import Layout
from wheretolook.data.scenes import MADE_SCENES
from wheretolook.data.voc import VOC
from wheretolook.data.waterbirds import WATERBIRDS
from wheretolook.data.yolo import YOLO

LAYOUTS: dict[str, Layout] = {
    "voc": VOC,
    "waterbirds": WATERBIRDS,
    "label_studio": LABEL_STUDIO,
    "folder": PLAIN_FOLDER,
    "coco": COCO,
    "yolo": YOLO,
    "class_folders": CLASS_FOLDERS,
    "labelme": LABELME,
    "scenes": MADE_SCENES,
}
