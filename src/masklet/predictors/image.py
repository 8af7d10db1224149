"""Set a picture once, prompt it as often as you like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from masklet.batching import in_batches
from masklet.errors import InputError, PromptError
from masklet.masks import rle
from masklet.masks.boxes import mask_to_box
from masklet.models.mask_decoder import Candidates
from masklet.models.pixels import image_to_input
from masklet.models.prompt_encoder import FEEDBACK_LIMIT, input_points
from masklet.models.sam2 import MASK_PROMPT_LOGIT, SAM2, ImageFeatures, resize, too_small
from masklet.models.shape import InputShape, input_shape, regridded
from masklet.models.specs import CloserLook
from masklet.predictors.pictures import as_rgb
from masklet.predictors.results import ImageMasks
from masklet.prompts import Prompt
from masklet.results import Window
from masklet.settings import Shape
from masklet.weights.loading import resolve_model

if TYPE_CHECKING:
    from typing_extensions import Self

#: Prompts that go through the decoder together, and pictures that go through the encoder together.
PROMPTS_AT_ONCE, IMAGES_AT_ONCE = 64, 4
_PROMPT_KEYS = ("points", "labels", "box", "mask", "image")


class ImagePredictor:
    """Masks of objects in single pictures, without memory.

    Args:
        model: a network, or the name of one (``nano`` by default).
        resolution: side of the network's input, the longer one (the model's own by default).
        shape: ``square``, into which pictures are stretched, or ``fit`` for their own proportions (docs/shapes.md).
        device, dtype, checkpoint: see :func:`masklet.load_model`.
        stability_fallback: a single mask whose outline is unsure gives way to the best of three.

    Example:
        >>> predictor = ImagePredictor("tiny")
        >>> predictor.set_image("photo.jpg")
        >>> answer = predictor.predict(points=[(320, 240)])
        >>> answer.mask                                    # bool, the size of the photo
        >>> answer = predictor.predict(points=[(320, 240), (90, 30)], labels=[1, 0], mask=answer)  # refine it

    Raises:
        InputError, CheckpointError, DeviceError: what was given can't be used.
    """

    def __init__(
        self,
        model: SAM2 | str | None = None,
        *,
        resolution: int | None = None,
        shape: Shape = "square",
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        checkpoint: str | Path | None = None,
        stability_fallback: bool = True,
    ) -> None:
        self.model = resolve_model(model, device, dtype, checkpoint)
        spec = self.model.spec
        self.image_size = spec.check_resolution(spec.image_size if resolution is None else resolution)
        self.shape: Shape = shape
        input_shape(shape, self.image_size, 1, 1)
        self.stability_fallback = stability_fallback
        self._too_small = partial(too_small, self.model, self.image_size)
        self._pictures: list[Any] = []
        self._sizes: list[tuple[int, int]] = []
        self._features: list[ImageFeatures] = []

    # --- pictures ----------------------------------------------------------------------------------------------

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Width and height in pixels of every picture that is set."""
        return list(self._sizes)

    def low_res_size(self, image: int = 0) -> tuple[int, int]:
        """Height and width of a picture's low-resolution logits: a quarter of those in the network's input."""
        return self.features(image).shape.low_res

    def set_image(self, image: Any) -> Self:
        """Encode a picture, in the place of what was set before.

        Args:
            image: a path, a Pillow image, or an array: uint8 RGB ``[h, w, 3]``; also grey, RGBA (put on black), uint16.

        Raises:
            InputError: not a picture; MediaError: the file can't be read; DeviceMemoryError: it doesn't fit.
        """
        return self.set_images([image])

    def set_images(self, images: Sequence[Any]) -> Self:
        """Encode several pictures of any sizes, in batches, in the place of what was set before.

        Pictures are read when their turn comes, so a long list of paths needs no more memory than their embeddings.
        Raises what :meth:`set_image` does, and then keeps what was set before.
        """
        if isinstance(images, (str, bytes, Path)) or not isinstance(images, Sequence):
            raise InputError(f"set_images takes a list of pictures, but got {type(images).__name__}")
        if not images:
            raise InputError("the list of pictures is empty")
        pictures = list(images)
        sizes: list[tuple[int, int]] = []
        features: list[ImageFeatures] = []

        def encode(part: slice) -> None:
            inputs: list[Tensor] = []
            shapes: list[InputShape] = []
            for image in images[part]:
                image_hwc = as_rgb(image)
                if len(images) == 1:  # of many, those that are looked at closely are read again
                    pictures[0] = image_hwc
                height, width = image_hwc.shape[:2]
                sizes.append((width, height))
                shapes.append(input_shape(self.shape, self.image_size, width, height))
                inputs.append(image_to_input(image_hwc, shapes[-1], self.model.spec))
            # Neighbours of one shape go through the network together.
            for shape, alike in groupby(range(len(inputs)), key=shapes.__getitem__):
                members = list(alike)
                batch = self._encode(torch.cat([inputs[i] for i in members]), shape)
                features.extend(batch[i] for i in range(len(members)))

        in_batches(encode, len(images), IMAGES_AT_ONCE, self.model.device, self._too_small)
        self._pictures, self._sizes, self._features = pictures, sizes, features
        return self

    def reset(self) -> None:
        """Forget the pictures."""
        self._pictures, self._sizes, self._features = [], [], []

    def features(self, image: int = 0) -> ImageFeatures:
        """What the image encoder said about a picture. Raises :class:`InputError` where none of that index is set."""
        if not self._features:
            raise InputError("there is no picture yet: call set_image first")
        if isinstance(image, bool) or not isinstance(image, (int, np.integer)) or not 0 <= image < len(self._features):
            raise InputError(f"there is no picture {image!r}; {len(self._features)} are set, counted from 0")
        return self._features[image]

    # --- prompts -----------------------------------------------------------------------------------------------

    def predict(
        self,
        points: Sequence[Sequence[float]] | np.ndarray | None = None,
        labels: Sequence[int] | np.ndarray | None = None,
        box: Sequence[float] | np.ndarray | None = None,
        mask: Any = None,
        multimask: bool | None = None,
        *,
        image: int = 0,
        closer: bool | None = None,
    ) -> ImageMasks:
        """Masks for one prompt.

        Args:
            points: x, y pairs in pixels of the picture; one may be given as ``(x, y)``.
            labels: 1 (this) or 0 (not this) for each point; all 1 by default.
            box: x1, y1, x2, y2.
            mask: the mask so far, to be refined: an earlier answer (its best candidate is taken), float logits of low
                resolution or of the picture's size, or a painted mask of the picture's size (bool, integers of which
                anything above 0 is object, or opacities from 0 to 1). It goes with points and a box, or alone; a
                painted mask that comes alone brings its box along, which tells the network more than the mask does.
            multimask: ask for three candidates or for one mask. By default three where a single click leaves open what
                is meant (a wheel, a car, the car and its driver), else one.
            image: which of several pictures, see :meth:`set_images`.
            closer: encode the part of the picture around the prompt as well, and decide there. By default as the
                network is meant: ``nano`` sees more that way, larger ones need it not. :meth:`predict_batch`, made for
                many prompts at once, never does.

        Raises:
            PromptError: the prompt can't be used (see :meth:`masklet.Prompt.make`).
            InputError: no picture is set.
        """
        prompt = {"points": points, "labels": labels, "box": box, "mask": mask, "image": image}
        answer = self.predict_batch([prompt], multimask)[0]
        rooms = self.model.spec.closer_look if closer is None else CloserLook() if closer else None
        if rooms is None or mask is not None:
            return answer
        said = Prompt.make(points, labels, box, width=answer.width, height=answer.height)
        return self._look_closer(answer, said, rooms, image)

    @torch.inference_mode()
    def _look_closer(self, answer: ImageMasks, said: Prompt, rooms: CloserLook, image: int) -> ImageMasks:
        """The answer to a prompt in the window around it, for a box; around the mask that clicks found, for clicks."""
        size = (answer.width, answer.height)
        around = answer.box_xyxy if said.box is None else np.array(said.box)
        if around is None:
            return answer
        corners_n2 = np.array([*around.reshape(2, 2), *said.points])
        (x1, y1), (x2, y2) = corners_n2.min(0).tolist(), corners_n2.max(0).tolist()
        room = rooms.mask_room if said.box is None else rooms.box_room
        window = Window.around((x1, y1, x2, y2), size, room, rooms.smallest * self.image_size)
        if window is None:
            return answer
        shape = input_shape(self.shape, self.image_size, window.width, window.height)
        part_hwc = np.ascontiguousarray(window.cut(as_rgb(self._pictures[image])))
        features = self._encode(image_to_input(part_hwc, shape, self.model.spec), shape)
        feedback = None
        if said.box is None:
            best = answer.low_res_logits_nhw[answer.best][None, None]
            feedback = regridded(best, (0, 0, *size), astuple(window), shape.low_res)
        points, labels = input_points(window.seen(said), window.width, window.height, shape)
        found = self.model.decode_masks(
            features,
            self.model.without_memory(features.embedding_bchw),
            points,
            labels,
            feedback,
            multimask=len(answer) > 1,
            stability_fallback=self.stability_fallback,
        )
        ious, score = found.iou_bn[0].cpu().numpy(), float(found.object_score_b1)
        return ImageMasks(found.logits_bnhw[0], ious, score, *size, window, self.low_res_size(image))

    def predict_boxes(
        self, boxes_n4: Sequence[Sequence[float]] | np.ndarray, multimask: bool | None = None, *, image: int = 0
    ) -> list[ImageMasks]:
        """One answer for each of n boxes on a picture, decoded together; an empty list for none.

        Raises:
            PromptError: a box can't be used; the message says which.
        """
        return self.predict_batch([{"box": box, "image": image} for box in boxes_n4], multimask)

    def predict_batch(self, prompts: Sequence[Mapping[str, Any]], multimask: bool | None = None) -> list[ImageMasks]:
        """One answer for each of several prompts, decoded together where they are alike.

        Args:
            prompts: each with some of ``points``, ``labels``, ``box`` and ``mask``, as for :meth:`predict`, and
                optionally ``image``, the index of its picture. Without it, all prompts are for the picture if one is
                set, and prompt i is for picture i if several are.
            multimask: as for :meth:`predict`, for all prompts.

        Raises:
            PromptError: a prompt can't be used; the message says which.
            InputError: no picture is set, or there is no picture of that index.
        """
        self.features(0)
        checked = []
        for i, prompt in enumerate(prompts):
            try:
                checked.append(self._check(prompt, i if len(self._sizes) > 1 else 0, multimask))
            except PromptError as error:
                if len(prompts) == 1:
                    raise
                raise PromptError(f"prompt {i} of {len(prompts)}: {error}") from error
        # Exactly as each of them alone: prompts of different lengths would need padding, which the decoder can see.
        groups: dict[tuple[int, int, bool, bool], list[int]] = defaultdict(list)
        for i, (picture, points, _, low_res, several) in enumerate(checked):
            groups[picture, points.shape[1], low_res is not None, several].append(i)
        answers: list[ImageMasks | None] = [None] * len(checked)
        for (picture, count, has_mask, several), members in groups.items():
            candidates = self.decode(
                torch.cat([checked[i][1] for i in members]) if count else None,
                torch.cat([checked[i][2] for i in members]) if count else None,
                torch.cat([low_res for i in members if (low_res := checked[i][3]) is not None]) if has_mask else None,
                multimask=several,
                image=picture,
            )
            width, height = self._sizes[picture]
            ious = candidates.iou_bn.cpu().numpy()
            scores = candidates.object_score_b1[:, 0].tolist()
            for row, i in enumerate(members):
                # A copy, so that one answer doesn't keep the logits of all of them.
                logits = candidates.logits_bnhw[row].clone()
                answers[i] = ImageMasks(logits, ious[row], scores[row], width, height)
        return [answer for answer in answers if answer is not None]

    @torch.inference_mode()
    def decode(
        self,
        points_bn2: Tensor | None,
        labels_bn: Tensor | None,
        mask_logits_b1hw: Tensor | None = None,
        *,
        multimask: bool,
        image: int = 0,
        at_once: int = PROMPTS_AT_ONCE,
    ) -> Candidates:
        """Decode a batch of b prompts on one picture, unchecked: the step under :meth:`predict`.

        Args:
            points_bn2: x, y in pixels of the network's input (see :mod:`masklet.models.shape`).
            labels_bn: see :mod:`masklet.models.prompt_encoder`.
            mask_logits_b1hw: masks so far.
            multimask: three candidates a prompt, or one.
            image: which of several pictures.
            at_once: prompts that go through the network together.
        """
        features = self.features(image)
        embedding = self.model.without_memory(features.embedding_bchw)
        given = points_bn2 if points_bn2 is not None else mask_logits_b1hw
        if given is None:
            raise PromptError("an empty prompt: give points, a box or a mask")

        def run(part: slice) -> Candidates:
            return self.model.decode_masks(
                features,
                embedding,
                None if points_bn2 is None else points_bn2[part],
                None if labels_bn is None else labels_bn[part],
                None if mask_logits_b1hw is None else mask_logits_b1hw[part],
                multimask=multimask,
                stability_fallback=self.stability_fallback,
            )

        found = in_batches(run, len(given), at_once, self.model.device, self._too_small)
        parts = zip(*(vars(decoded).values() for decoded in found), strict=True)
        return found[0] if len(found) == 1 else Candidates(*map(torch.cat, parts))

    # --- helpers -----------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def _encode(self, image_bchw: Tensor, shape: InputShape) -> ImageFeatures:
        return self.model.encode_image(image_bchw.to(self.model.device), shape)

    def _check(
        self, prompt: Mapping[str, Any], default_image: int, multimask: bool | None
    ) -> tuple[int, Tensor, Tensor, Tensor | None, bool]:
        """A prompt as picture, points ``[1, n, 2]``, labels ``[1, n]``, mask logits ``[1, 1, h, w]``, multimask."""
        unknown = [key for key in prompt if key not in _PROMPT_KEYS]
        if unknown:
            raise PromptError(f"a prompt has no {unknown[0]!r}; it has some of: {', '.join(_PROMPT_KEYS)}")
        picture = prompt.get("image")
        picture = default_image if picture is None else picture
        self.features(picture)
        width, height = self._sizes[picture]
        points, labels, box, mask = (prompt.get(key) for key in _PROMPT_KEYS[:4])
        low_res = None
        if mask is not None:
            low_res, painted_box = self._mask_logits(mask, width, height, self.low_res_size(picture))
            if points is None and labels is None and box is None:
                box = painted_box
        if low_res is not None and points is None and labels is None and box is None:
            points_1n2, labels_1n = torch.zeros(1, 0, 2), torch.zeros(1, 0, dtype=torch.int64)
        else:
            made = Prompt.make(points, labels, box, width=width, height=height)
            points_1n2, labels_1n = input_points(made, width, height, self.features(picture).shape)
        several = (low_res is None and points_1n2.shape[1] == 1) if multimask is None else bool(multimask)
        return int(picture), points_1n2, labels_1n, low_res, several

    def _mask_logits(
        self, mask: Any, width: int, height: int, low_res: tuple[int, int]
    ) -> tuple[Tensor, np.ndarray | None]:
        """The mask so far as float32 logits ``[1, 1, *low_res]``, and, of a painted one, its box."""
        if isinstance(mask, ImageMasks):
            mask = mask.low_res_logits_nhw[mask.best]
        mask_hw = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
        if mask_hw.ndim == 3 and mask_hw.shape[0] == 1:
            mask_hw = mask_hw[0]
        if mask_hw.ndim == 3 and mask_hw.shape[0] == 3:
            raise PromptError("the mask holds several candidates: choose one of them")
        if np.issubdtype(mask_hw.dtype, np.floating):
            if not np.isfinite(mask_hw).all():
                raise PromptError("the mask holds values that are not finite numbers")
            # Opacities from 0 to 1 are a painted mask too: logits that say "inside" everywhere would be none.
            if mask_hw.size and (mask_hw.min() < 0 or mask_hw.max() > 1):
                return _shrunk(mask_hw, (height, width), low_res), None
            mask_hw = mask_hw >= 0.5
        painted = Prompt.make(mask=mask_hw, width=width, height=height)
        assert painted.mask is not None
        inside_hw = rle.decode(painted.mask)
        box = mask_to_box(inside_hw)
        if box is None:
            raise PromptError("the mask is empty: nothing in it is above 0")
        return _shrunk(np.where(inside_hw, MASK_PROMPT_LOGIT, -MASK_PROMPT_LOGIT), (height, width), low_res), box


def _shrunk(logits_hw: np.ndarray, size: tuple[int, int], low_res: tuple[int, int]) -> Tensor:
    """Logits of the low resolution (as they are) or of the picture's size: ``[1, 1, *low_res]``."""
    logits = torch.from_numpy(np.array(logits_hw, np.float32))
    if tuple(logits.shape) not in (low_res, size):
        raise PromptError(
            f"mask logits have the shape {list(low_res)} (low resolution) or {list(size)} (the picture's), "
            f"but these have {list(logits.shape)}"
        )
    return resize(logits[None, None], low_res, antialias=True).clamp(-FEEDBACK_LIMIT, FEEDBACK_LIMIT)
