"""SAM 2 put together: pure functions of tensors. What happens between frames lives in :mod:`masklet.tracking`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masklet.errors import DeviceMemoryError
from masklet.models import copying
from masklet.models.fpn import ImageEncoder
from masklet.models.layers import MLP
from masklet.models.mask_decoder import Candidates, MaskDecoder
from masklet.models.memory_attention import MemoryAttention
from masklet.models.memory_encoder import MemoryEncoder
from masklet.models.positions import sine_of_distance, sine_table
from masklet.models.products import Linear
from masklet.models.prompt_encoder import PADDING, PromptEncoder, PromptMaps
from masklet.models.shape import InputShape
from masklet.models.specs import CELLS, ModelSpec
from masklet.settings import ABSENT, RESOLUTION_MIN, RESOLUTION_STEP

#: A mask prompt becomes logits of plus and minus this.
MASK_PROMPT_LOGIT = 10.0
#: Masks enter the memory encoder as ``sigmoid(logits) * MEMORY_SCALE + MEMORY_BIAS``.
MEMORY_SCALE, MEMORY_BIAS = 20.0, -10.0
#: These parts compute in float32 whatever the format of the rest: they are a hundredth of the work, and rounding in
#: their scores lets a tracker choose another mask now and then.
FLOAT32_PARTS = ("sam_prompt_encoder.", "prompt_maps.", "sam_mask_decoder.")


@dataclass(frozen=True)
class ImageFeatures:
    """What the image encoder says about a batch of pictures.

    Attributes:
        embedding_bchw: stride 16, ``spec.width`` channels.
        high_res_bchw: strides 4 and 8, an eighth and a quarter of the channels, ready for the mask decoder.
        shape: of the input, and where the picture lies in it.
        keys_bchw: stride 8, what masks are copied by, if the network copies.
    """

    embedding_bchw: Tensor
    high_res_bchw: tuple[Tensor, Tensor]
    shape: InputShape
    keys_bchw: Tensor | None = None

    def __getitem__(self, index: int) -> ImageFeatures:
        """The features of one picture of the batch, as a batch of one."""
        return self.rows(slice(index, index + 1))

    @classmethod
    def of(cls, parts: Sequence[ImageFeatures]) -> ImageFeatures:
        """The features of several batches as one batch."""
        fine, middle = (torch.cat(levels) for levels in zip(*(part.high_res_bchw for part in parts), strict=True))
        keys = [part.keys_bchw for part in parts if part.keys_bchw is not None]
        embedding = torch.cat([part.embedding_bchw for part in parts])
        return cls(embedding, (fine, middle), parts[0].shape, torch.cat(keys) if keys else None)

    def rows(self, rows: slice | Tensor) -> ImageFeatures:
        """The features of some pictures of the batch."""
        fine, middle = self.high_res_bchw
        keys = None if self.keys_bchw is None else self.keys_bchw[rows]
        return ImageFeatures(self.embedding_bchw[rows], (fine[rows], middle[rows]), self.shape, keys)


@dataclass(frozen=True)
class Memories:
    """What a batch of b objects remembers, as memory attention reads it.

    Attributes:
        frames: ``m`` memory frames, each ``[b, memory_width, h, w]``, in the order they are read.
        slots_bm: temporal slot of each: 0 for the latest frame, 1 for the one before, …; the last is for prompts.
        pointers_bpc: object pointers.
        distances_bp: their distance in time from this frame, divided by the longest distance there can be.
        weights_bn: what the keys of every memory frame, then of every pointer, are multiplied by; None for nothing.
        copied: memory frames from which masks are copied, if the network does that; without any, those that are read.
    """

    frames: Sequence[Tensor]
    slots_bm: Tensor
    pointers_bpc: Tensor
    distances_bp: Tensor
    weights_bn: Tensor | None = None
    copied: Sequence[Tensor] = ()


class SAM2(nn.Module):
    """The network of one :class:`~masklet.models.specs.ModelSpec`, with the official checkpoints' key names.

    All methods are pure: nothing of a picture or video stays on the module.
    """

    no_obj_embed_spatial: Tensor | None

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        width, memory_width = spec.width, spec.memory_width
        self.image_encoder = ImageEncoder(spec)
        self.memory_attention = MemoryAttention(spec)
        self.memory_encoder = MemoryEncoder(width, memory_width)
        self.sam_prompt_encoder = PromptEncoder(width)
        self.prompt_maps = PromptMaps((width, *reversed(spec.high_res))) if spec.prompt_maps else None
        self.sam_mask_decoder = MaskDecoder(spec)
        self.mask_downsample = nn.Conv2d(1, 1, kernel_size=4, stride=4)
        self.maskmem_tpos_enc = nn.Parameter(torch.zeros(spec.num_memories, 1, 1, memory_width))
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, width))
        # Never read (the embedding above is added directly); released checkpoints carry it.
        self.no_mem_pos_enc = nn.Parameter(torch.zeros(1, 1, width))
        self.no_obj_ptr = nn.Parameter(torch.zeros(1, width))
        self.obj_ptr_proj = MLP(width, width, width, 3)
        if spec.occlusion_memory:
            self.no_obj_embed_spatial = nn.Parameter(torch.zeros(1, memory_width))
        else:
            self.no_obj_embed_spatial = None
        if spec.pointer_time:
            self.obj_ptr_tpos_proj = Linear(width, memory_width)

    @property
    def device(self) -> torch.device:
        return self.no_mem_embed.device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the features, and of the weights but those of `FLOAT32_PARTS`."""
        return self.no_mem_embed.dtype

    def encode_image(self, image_bchw: Tensor, shape: InputShape | None = None) -> ImageFeatures:
        """Encode normalised pictures ``[b, 3, h, w]`` (SAM 2 section 4, image encoder), which may be padded."""
        decoder = self.sam_mask_decoder
        levels = self.image_encoder(image_bchw.to(self.dtype), decoder.conv_s0, decoder.conv_s1)
        fine, middle, embedding, keys = levels
        return ImageFeatures(embedding, (fine, middle), shape or InputShape.of(*image_bchw.shape[-2:]), keys)

    def without_memory(self, embedding_bchw: Tensor) -> Tensor:
        """The image embedding as a frame sees it that reads no memory: an image, or a first prompt frame."""
        return embedding_bchw + self.no_mem_embed.reshape(1, -1, 1, 1)

    def attend_to_memory(self, features: ImageFeatures, memories: Memories) -> Tensor:
        """Let a picture (one, or one an object) read the memories of b objects.

        Returns:
            Embedding ``[b, c, h, w]``; if the network copies, with the copied mask in ``CELLS`` channels more.
        """
        spec, embedding_bchw = self.spec, features.embedding_bchw
        b, count = memories.slots_bm.shape
        h, w = embedding_bchw.shape[-2:]
        device, dtype = embedding_bchw.device, embedding_bchw.dtype
        times = self.maskmem_tpos_enc[memories.slots_bm.to(device)].reshape(b, count, 1, -1)
        place = sine_table(spec.memory_width, h, w, device, dtype).flatten(2).transpose(1, 2)
        frames = [frame.to(device, dtype) for frame in memories.frames]
        tokens = [frame[:, : spec.memory_width].flatten(2).transpose(1, 2) for frame in frames]
        positions = (place[:, None] + times).flatten(1, 2)

        pointers = memories.pointers_bpc
        split = spec.tokens_per_pointer
        pointer_tokens = pointers.to(device, dtype).reshape(b, pointers.shape[1] * split, spec.memory_width)
        pointer_positions = self._pointer_positions(memories.distances_bp).to(dtype).repeat_interleave(split, 1)
        memory = torch.cat((*tokens, pointer_tokens), dim=1)
        keys = memory + torch.cat((positions, pointer_positions), dim=1)
        if memories.weights_bn is not None:
            weights = memories.weights_bn.to(device, dtype)[..., None]
            placed = weights[:, :count].repeat_interleave(h * w, 1)
            keys = keys * torch.cat((placed, weights[:, count:].repeat_interleave(split, 1)), dim=1)
        attended = self.memory_attention(
            embedding_bchw.expand(b, -1, -1, -1),
            sine_table(spec.width, h, w, device, dtype),
            memory,
            keys,
            unplaced=pointer_tokens.shape[1],
        )
        if features.keys_bchw is None:
            return attended
        kept = [frame[:, spec.memory_width :].to(device, dtype) for frame in memories.copied or frames]
        copied = copying.copied(features.keys_bchw, kept)
        return torch.cat((attended, copied.to(attended.dtype)), 1)

    def _pointer_positions(self, distances_bp: Tensor) -> Tensor:
        if not self.spec.pointer_time:
            return self.no_mem_embed.new_zeros(*distances_bp.shape, self.spec.memory_width)
        waves = sine_of_distance(distances_bp.to(self.device), self.spec.width)
        return self.obj_ptr_tpos_proj(waves.to(self.dtype))

    def decode_masks(
        self,
        features: ImageFeatures,
        embedding_bchw: Tensor,
        points_bn2: Tensor | None = None,
        labels_bn: Tensor | None = None,
        mask_logits_b1hw: Tensor | None = None,
        *,
        batch: int = 1,
        multimask: bool,
        stability_fallback: bool = True,
    ) -> Candidates:
        """Propose masks for a batch of prompts on one picture (or one picture a prompt).

        Args:
            features: the picture's features; their high-resolution part is used.
            embedding_bchw: the embedding to decode, from :meth:`without_memory` or :meth:`attend_to_memory`.
            points_bn2: clicks (and boxes as two corner points) in pixels of the network's input.
            labels_bn: what the points say, see :mod:`masklet.models.prompt_encoder`.
            mask_logits_b1hw: an earlier mask of the picture as logits of any size; resized to that of the masks.
            batch: number of objects where neither points nor mask tell it.
            multimask: ask for three candidates instead of one mask.
            stability_fallback: see :class:`~masklet.models.mask_decoder.MaskDecoder`.
        """
        encoder, shape = self.sam_prompt_encoder, features.shape
        device, dtype = embedding_bchw.device, encoder.no_mask_embed.weight.dtype
        prompted = points_bn2 is not None or mask_logits_b1hw is not None
        if points_bn2 is None or labels_bn is None:
            batch = batch if mask_logits_b1hw is None else mask_logits_b1hw.shape[0]
            batch = max(batch, embedding_bchw.shape[0])
            points_bn2 = torch.zeros(batch, 1, 2, device=device)
            labels_bn = torch.full((batch, 1), PADDING, device=device)
        sparse = encoder.points(points_bn2.to(device), labels_bn.to(device), shape)
        h, w = embedding_bchw.shape[-2:]
        if mask_logits_b1hw is None:
            dense = encoder.no_mask(1, h, w)
        else:
            logits = resize(mask_logits_b1hw.to(device).float(), shape.low_res, antialias=True)
            mask_logits_b1hw = shape.padded(logits, -MASK_PROMPT_LOGIT)
            dense = encoder.mask(mask_logits_b1hw)
        fine, middle = (level.to(dtype) for level in features.high_res_bchw)
        copied = None
        if embedding_bchw.shape[1] > self.spec.width:
            embedding_bchw, cells = embedding_bchw.split((self.spec.width, CELLS), 1)
            copied = F.pixel_shuffle(cells, 4).float()
        if self.prompt_maps is not None and (prompted or copied is not None):
            points = (points_bn2.to(device), labels_bn.to(device)) if prompted else (None, None)
            drawn = self.prompt_maps(*points, mask_logits_b1hw, copied, shape)
            dense, middle, fine = dense + drawn[0], middle + drawn[1], fine + drawn[2]
        found = self.sam_mask_decoder(
            embedding_bchw.to(dtype),
            (fine, middle),
            sparse,
            dense,
            encoder.pe_layer.grid(h, w).to(dtype),
            multimask,
            stability_fallback,
        )
        logits_bnhw = found.logits_bnhw
        if copied is not None and not prompted:
            logits_bnhw = copying.blended(logits_bnhw, copied)
        return replace(found, logits_bnhw=shape.without_padding(logits_bnhw))

    def object_pointer(self, token_bc: Tensor, present_b1: Tensor) -> Tensor:
        """Make object pointers from output tokens; where the object is absent, the learned no-object pointer."""
        token_bc = token_bc.to(self.dtype)
        present = present_b1.to(self.dtype)
        return present * self.obj_ptr_proj(token_bc) + (1 - present) * self.no_obj_ptr

    def encode_memory(
        self,
        features: ImageFeatures,
        logits_b1hw: Tensor,
        visible_b1: Tensor,
        *,
        binarize: bool,
    ) -> Tensor:
        """Encode the masks of a frame as memory frames ``[b, memory_channels, h, w]``.

        Args:
            features: the frame's features (no memory in them), one for all objects or one each.
            logits_b1hw: mask logits of the picture; resized to its size in the network's input.
            visible_b1: whether the object is in the frame.
            binarize: take the mask as drawn (prompt frames) instead of its probabilities.
        """
        shape = features.shape
        logits = shape.padded(resize(logits_b1hw.float(), shape.inner), ABSENT)
        mask = (logits > 0).float() if binarize else logits.sigmoid()
        memory = self.memory_encoder(features.embedding_bchw, (mask * MEMORY_SCALE + MEMORY_BIAS).to(self.dtype))
        if self.no_obj_embed_spatial is not None:
            absent = 1 - visible_b1.to(memory.dtype)
            memory = memory + absent[..., None, None] * self.no_obj_embed_spatial[..., None, None]
        if features.keys_bchw is None:
            return memory
        low_res = shape.padded(resize(logits_b1hw.float(), shape.low_res, antialias=True), ABSENT)
        kept = copying.remembered(features.keys_bchw, low_res)
        return torch.cat((memory, kept.to(memory.dtype)), 1)


def too_small(model: SAM2, image_size: int) -> DeviceMemoryError:
    """What to tell where a device has no room for a network at this resolution."""
    smaller = max(RESOLUTION_MIN, image_size // 2 // RESOLUTION_STEP * RESOLUTION_STEP)
    return DeviceMemoryError(
        f"{model.device} has too little memory for {model.spec.name} at {image_size}x{image_size}: "
        f"try a lower resolution (--resolution {smaller}), a smaller model (--model tiny or nano), "
        "or the CPU (--device cpu)"
    )


def upsample(logits_bnhw: Tensor, height: int, width: int) -> Tensor:
    """Bilinear resize of mask logits to ``height`` x ``width`` pixels, in float32."""
    return resize(logits_bnhw.float(), (height, width))


def resize(x_bnhw: Tensor, size: tuple[int, int], antialias: bool = False) -> Tensor:
    """Bilinear resize to ``(height, width)`` pixels; what has this size stays as it is."""
    if tuple(x_bnhw.shape[-2:]) == size:
        return x_bnhw
    return F.interpolate(x_bnhw, size=size, mode="bilinear", align_corners=False, antialias=antialias)
