"""COCO JSON of videos.

Two kinds are about: YouTube-VIS and its relatives ("videos" with "file_names", and in each annotation a list of
"segmentations", one per frame or null), and COCO's own instance format with tracks ("images", and in each annotation
a "track_id" or "instance_id"), which is what `masklet export coco` writes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from masklet.errors import InputError
from masklet.training.footage.jsons import expecting, packed, read_document, to_masks
from masklet.training.footage.videos import PictureFootage

TRACK_KEYS = ("track_id", "instance_id")
_ORDER_KEYS = ("frame_index", "frame_id")
_PICTURE_FOLDERS = ("JPEGImages", "images", "frames")


class CocoVideo(PictureFootage):
    """A video of a COCO JSON file. Every frame is annotated, and instances may overlap."""

    exclusive = False

    def __init__(
        self,
        name: str,
        path: Path,
        pictures: Sequence[Path],
        size_hw: tuple[int, int],
        segmentations: Iterable[tuple[int, int, Any]],
        names: dict[int, str],
    ) -> None:
        """`segmentations` gives frame, object, and run lengths or polygons; `names` the objects' categories."""
        super().__init__(name, path, pictures)
        self._size_hw, self._names = size_hw, names
        self._segmentations: dict[int, dict[int, Any]] = {}
        for index, number, segmentation in segmentations:
            self._segmentations.setdefault(index, {})[number] = packed(segmentation)

    @property
    def annotated(self) -> Sequence[int]:
        return range(len(self))

    def known_masks(self, index: int) -> dict[int, np.ndarray]:
        where = f"{self.path}: object {{}} on frame {index} of {self.name}"
        return to_masks(self._segmentations.get(index, {}), self._size_hw, where)

    def object_name(self, object_id: int) -> str:
        return self._names.get(object_id, super().object_name(object_id))


def load_videos(path: Path) -> list[CocoVideo]:
    """The annotated videos of a YouTube-VIS file. Raises InputError for another file, or where pictures are missing."""
    document = read_document(path)
    with expecting(path, "COCO video JSON (as of YouTube-VIS)"):
        categories = _categories(document)
        annotations: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for annotation in document.get("annotations") or ():
            if not annotation.get("iscrowd"):
                annotations[annotation["video_id"]].append(annotation)
        videos = [video for video in document["videos"] if annotations[video["id"]]]
        if not videos:
            return []
        folder = _folder_of(path, [str(video["file_names"][0]) for video in videos])
        return [_video_of(path, folder, video, annotations[video["id"]], categories) for video in videos]


def _video_of(
    path: Path, folder: Path, video: dict[str, Any], annotations: list[dict[str, Any]], categories: dict[Any, str]
) -> CocoVideo:
    pictures = [folder / str(name) for name in video["file_names"]]
    for annotation in annotations:
        if len(annotation["segmentations"]) != len(pictures):
            raise InputError(
                f"{path}: annotation {annotation.get('id')} has {len(annotation['segmentations'])} segmentations, but "
                f"its video {video['id']} has {len(pictures)} frames"
            )
    numbered = dict(enumerate(annotations, start=1))
    names = {number: _category(annotation, number, categories) for number, annotation in numbered.items()}
    segmentations = (
        (index, number, segmentation)
        for number, annotation in numbered.items()
        for index, segmentation in enumerate(annotation["segmentations"])
        if segmentation
    )
    name = str(video.get("name") or Path(str(video["file_names"][0])).parent.as_posix())
    size_hw = int(video["height"]), int(video["width"])
    return CocoVideo(name if name != "." else str(video["id"]), path, pictures, size_hw, segmentations, names)


def _category(annotation: dict[str, Any], number: int, categories: dict[Any, str]) -> str:
    return categories.get(annotation.get("category_id"), f"object {number}")


def load_tracks(path: Path) -> list[CocoVideo]:
    """The videos of an instance file with tracks; images without a "video_id" are all of one video.

    Raises InputError for a file that isn't one, or whose pictures are not found.
    """
    document = read_document(path)
    with expecting(path, "COCO instance JSON with tracks"):
        categories = _categories(document)
        key = next(
            (key for key in TRACK_KEYS if any(key in annotation for annotation in document["annotations"])), None
        )
        if key is None:
            raise InputError(
                f"{path} has no tracks: none of its annotations says with track_id which object of the video it is"
            )
        groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for image in document["images"]:
            groups[image.get("video_id")].append(image)
        if not groups:
            return []
        called = {video["id"]: str(video["name"]) for video in document.get("videos") or () if "name" in video}
        folder = _folder_of(path, [str(images[0]["file_name"]) for images in groups.values()])
        by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for annotation in document["annotations"]:
            if annotation.get("segmentation") and not annotation.get("iscrowd"):
                by_image[annotation["image_id"]].append(annotation)
        videos = []
        for number, images in groups.items():
            name = path.parent.name if number is None else called.get(number, str(number))
            images.sort(key=_order)
            pictures = [folder / str(image["file_name"]) for image in images]
            found = [
                (index, int(annotation[key]), annotation)
                for index, image in enumerate(images)
                for annotation in by_image[image["id"]]
            ]
            if found:
                names = {track: _category(annotation, track, categories) for _, track, annotation in found}
                size_hw = int(images[0]["height"]), int(images[0]["width"])
                segmentations = ((index, track, annotation["segmentation"]) for index, track, annotation in found)
                videos.append(CocoVideo(name, path, pictures, size_hw, segmentations, names))
        return videos


def _order(image: dict[str, Any]) -> tuple[int, str]:
    position = next((int(image[key]) for key in _ORDER_KEYS if key in image), 0)
    return position, str(image["file_name"])


def _categories(document: dict[str, Any]) -> dict[Any, str]:
    return {category["id"]: str(category["name"]) for category in document.get("categories") or ()}


def _folder_of(path: Path, names: list[str]) -> Path:
    """The folder that file names of a JSON file are relative to: beside the file or in its split's folder."""
    bases = [path.parent, path.parent / path.stem, path.parent.parent / path.stem, path.parent.parent]
    candidates = [folder for base in bases for folder in (base, *(base / name for name in _PICTURE_FOLDERS))]
    for folder in candidates:
        if any((folder / name).is_file() for name in names[:3]):
            return folder
    raise InputError(
        f"The pictures of {path} were not found: there is no {names[0]} in {path.parent} or in its folders "
        f"{', '.join(_PICTURE_FOLDERS)}. Put the JSON file beside the folder of pictures, or export with pictures."
    )
