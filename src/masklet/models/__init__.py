"""The network as pure modules: no state of a video, no file of a user.

| module | what it does |
| --- | --- |
| `specs` | every number of every size; the only module here that needs no PyTorch |
| `sam2` | `SAM2`: the network as a whole |
| `pixels`, `shape` | from a frame to the network's input, and back |
| `trunks/`, `fpn` | the image encoder: trunk and neck |
| `prompt_encoder`, `mask_decoder`, `two_way_transformer` | from prompts and features to masks |
| `memory_encoder`, `memory_attention`, `copying` | what later frames remember of a frame, and how they read it |
| `attention`, `layers`, `positions`, `products` | what these are made of |
"""
