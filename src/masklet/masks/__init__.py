"""Masks as people use them: run lengths, boxes, polygons, colours, pictures, and clean edges.

Everything here is plain numpy and OpenCV on arrays of shape (height, width). Nothing knows about networks,
videos or projects. Modules load on first use: `from masklet.masks import rle`.

| module | what it does |
| --- | --- |
| `rle` | COCO run lengths: encode, decode, area, box |
| `polygons` | masks to polygons with holes and a tolerance, and back |
| `between` | masks between two masks of an object |
| `boxes` | boxes of masks, and the part of a frame that they fill |
| `palette` | one colour for every object, everywhere |
| `render`, `labels` | overlays, cut-outs, mattes, backgrounds; names written on pictures |
| `settings` | `MaskSettings`: how one object's masks are finished |
| `finish` | from logits to a finished mask by those settings |
| `clean`, `edges`, `distance`, `temporal`, `overlap` | the steps of that, one idea each |
"""

from __future__ import annotations
