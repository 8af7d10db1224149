"""Every number of every network size, said once.

The released sizes follow the published SAM 2 / SAM 2.1 configurations (arXiv 2408.00714, section 4 and appendix C);
``nano`` is masklet's own small member of the family, and ``nano1`` and ``nano2`` are what it was before.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

from masklet.errors import InputError
from masklet.settings import RESOLUTION_MAX, RESOLUTION_MIN, RESOLUTION_STEP

#: Values of a mask, at stride 4, that lie in one cell of the image embedding.
CELLS = 16


class Pixels(NamedTuple):
    """How a trunk wants its input: red, green and blue in 0…1, less their ``mean``, divided by their ``deviation``."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


@dataclass(frozen=True)
class HieraSpec:
    """The image encoder's trunk (Hiera, arXiv 2306.00989, without its pre-training parts).

    ``window_sizes`` holds one side length a stage, in tokens; blocks in ``global_blocks`` see the whole picture.
    ``background_size`` is the side of the coarse position table that is stretched over the picture; a table of the
    first stage's window is tiled on top of it.
    """

    PIXELS: ClassVar[Pixels] = Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

    embed_dim: int
    heads: int
    stages: tuple[int, int, int, int]
    global_blocks: tuple[int, ...]
    window_sizes: tuple[int, int, int, int]
    background_size: int = 7

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the four stages, finest first."""
        return tuple(self.embed_dim * 2**i for i in range(len(self.stages)))

    @property
    def blocks(self) -> int:
        return sum(self.stages)


class ConvStage(NamedTuple):
    """Blocks of one width; the first of them has the stride."""

    kernel: int
    stride: int
    expansion: int
    width: int
    blocks: int


@dataclass(frozen=True)
class EfficientNetSpec:
    """A convolutional trunk: EfficientNet-Lite (arXiv 1905.11946; its Lite members have ReLU6 and nothing else).

    ``stem`` is the width of the first convolution.
    """

    PIXELS: ClassVar[Pixels] = Pixels((127 / 255,) * 3, (128 / 255,) * 3)
    #: The stages whose last block makes a level.
    LEVELS: ClassVar[tuple[int, ...]] = (1, 2, 4, 6)

    stages: tuple[ConvStage, ...]
    stem: int = 32

    @classmethod
    def lite(cls, widths: tuple[int, ...], blocks: tuple[int, ...]) -> EfficientNetSpec:
        """The member of the family with these widths and numbers of blocks in its seven stages."""
        kernels, strides = (3, 3, 5, 3, 5, 5, 3), (1, 2, 2, 2, 1, 2, 1)
        expansions = (1, *(6,) * 6)
        return cls(tuple(ConvStage(*s) for s in zip(kernels, strides, expansions, widths, blocks, strict=True)))

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the four levels, finest first."""
        return tuple(self.stages[i].width for i in self.LEVELS)

    @property
    def blocks(self) -> int:
        return sum(stage.blocks for stage in self.stages)


TrunkSpec = HieraSpec | EfficientNetSpec


class CloserLook(NamedTuple):
    """How a small network looks again at the part of a picture that a prompt is about.

    ``box_room`` and ``mask_room``: sides of that part in sides of a box that was drawn, or of the box of a mask that
    was found. ``smallest``: its least side, in sides of the network's input; pixels blown up further show no more.
    """

    box_room: float = 1.2
    mask_room: float = 1.6
    smallest: float = 0.25


@dataclass(frozen=True)
class ModelSpec:
    """One network: what its tensors look like and how it is meant to be run.

    Attributes:
        name: the name used everywhere (``sam2.1-tiny``).
        trunk: the image encoder's body.
        image_size: side of the square input that the weights were trained at, in pixels.
        width: channels of image features, prompts and decoder.
        memory_width: channels of a memory frame.
        num_memories: memory frames that one frame reads, the prompt frame included.
        max_pointers: object pointers that one frame reads.
        occlusion_memory: 2.1 only: a memory in which the object is absent carries an embedding that says so.
        pointer_time: 2.1 only: object pointers carry their signed distance in time.
        motion_weight: weight of the motion score in the choice of a candidate, where a policy asks for motion.
        frame_resize: how the training saw video frames shrunk to the square input (``bicubic`` or ``area``).
        high_res: channels of the features at strides 4 and 8.
        mixing: neck and decoder have convolutions in which neighbouring cells agree, and coarse levels tell fine ones
            what they see. A convolutional trunk needs them: its fine levels know colours and edges, but no objects.
        prompt_maps: clicks, boxes, earlier and copied masks are also drawn as maps (see ``PromptMaps``).
        copying: channels of the keys by which masks are copied (see :mod:`~masklet.models.copying`); 0 copies nothing.
        closer_look: how prompts are decided in a part of the picture around them; None if the whole picture will do.
    """

    name: str
    trunk: TrunkSpec
    image_size: int = 1024
    width: int = 256
    memory_width: int = 64
    memory_layers: int = 4
    memory_feed_forward: int = 2048
    num_memories: int = 7
    max_pointers: int = 16
    decoder_feed_forward: int = 2048
    occlusion_memory: bool = True
    pointer_time: bool = True
    motion_weight: float = 0.25
    frame_resize: str = "bicubic"
    high_res: tuple[int, int] = (32, 64)
    mixing: bool = False
    prompt_maps: bool = False
    copying: int = 0
    closer_look: CloserLook | None = None
    aliases: tuple[str, ...] = field(default=())

    @property
    def stride(self) -> int:
        """Input pixels to a side of one token of the image embedding."""
        return 16

    @property
    def memory_channels(self) -> int:
        """Channels of a memory frame as it is kept: what attention reads, and what masks are copied from."""
        return self.memory_width + (4 * self.copying + CELLS if self.copying else 0)

    @property
    def tokens_per_pointer(self) -> int:
        """An object pointer is cut into this many tokens of ``memory_width``."""
        return self.width // self.memory_width

    def check_resolution(self, size: int) -> int:
        """Return ``size`` if the network can run at a ``size`` x ``size`` input, else raise :class:`InputError`.

        The coarsest pyramid level has a stride of 32, so a side must be a multiple of 32.
        """
        fits = isinstance(size, int) and not isinstance(size, bool) and RESOLUTION_MIN <= size <= RESOLUTION_MAX
        if not fits or size % RESOLUTION_STEP:
            raise InputError(
                f"resolution {size!r} can't be used: give a multiple of {RESOLUTION_STEP} from {RESOLUTION_MIN} to "
                f"{RESOLUTION_MAX} ({self.name} was trained at {self.image_size})"
            )
        return size


_TINY = HieraSpec(96, 1, (1, 2, 7, 2), (5, 7, 9), (8, 4, 14, 7))
_SMALL = HieraSpec(96, 1, (1, 2, 11, 2), (7, 10, 13), (8, 4, 14, 7))
_BASE_PLUS = HieraSpec(112, 2, (2, 3, 16, 3), (12, 16, 20), (8, 4, 14, 7), background_size=14)
_LARGE = HieraSpec(144, 2, (2, 6, 36, 4), (23, 33, 43), (8, 4, 16, 8))

_RELEASED = (
    ModelSpec("sam2.1-tiny", _TINY, aliases=("tiny", "t")),
    ModelSpec("sam2.1-small", _SMALL, aliases=("small", "s")),
    ModelSpec("sam2.1-base-plus", _BASE_PLUS, aliases=("base-plus", "base", "b+")),
    ModelSpec("sam2.1-large", _LARGE, motion_weight=0.15, aliases=("large", "l")),
)

_NANO1 = ModelSpec(
    "nano1",
    HieraSpec(32, 1, (1, 2, 6, 1), (5, 8), (8, 4, 8, 4)),
    image_size=256,
    width=128,
    memory_width=32,
    memory_layers=2,
    memory_feed_forward=512,
    num_memories=4,
    max_pointers=8,
    frame_resize="area",
    high_res=(16, 32),
)

LITE0 = EfficientNetSpec.lite((16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1))
LITE1 = EfficientNetSpec.lite((16, 24, 40, 80, 112, 192, 320), (1, 3, 3, 4, 4, 5, 1))
LITE2 = EfficientNetSpec.lite((16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1))


_NANO2 = replace(_NANO1, name="nano2", trunk=LITE0)


def _version_2_0(spec: ModelSpec) -> ModelSpec:
    name = spec.name.replace("sam2.1", "sam2")
    return replace(spec, name=name, occlusion_memory=False, pointer_time=False, aliases=())


SPECS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        *_RELEASED,
        *(_version_2_0(spec) for spec in _RELEASED),
        replace(
            _NANO2,
            name="nano",
            image_size=320,
            high_res=(32, 64),
            mixing=True,
            prompt_maps=True,
            copying=64,
            closer_look=CloserLook(),
        ),
    )
}
#: Networks that masklet knows but has no weights of: they can be trained, and files of them are recognised.
WITHOUT_WEIGHTS: dict[str, ModelSpec] = {spec.name: spec for spec in (_NANO1, _NANO2)}


def get_spec(name: str) -> ModelSpec:
    """Look up a spec by its name or alias: ``tiny``, ``base_plus``, ``sam2.1-large``, ``sam2_hiera_small``, ``nano``.

    Case, ``_`` against ``-`` and the word ``hiera`` don't matter; a bare size means SAM 2.1.

    Raises:
        InputError: no such model; the message lists the names there are.
    """
    wanted = name.strip().lower().replace("_", "-").replace("hiera-", "").removesuffix(".pt")
    for spec in (*SPECS.values(), *WITHOUT_WEIGHTS.values()):
        if wanted == spec.name or wanted in spec.aliases:
            return spec
    short = [spec.aliases[0] if spec.aliases else spec.name for spec in SPECS.values()]
    raise InputError(f"there is no model called {name!r}; choose one of: {', '.join(short)}")
