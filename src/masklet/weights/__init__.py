"""Weights: which there are, where they come from, and how a file of them becomes a network.

| module | what it does |
| --- | --- |
| `loading` | `load_model`: a network with its weights, loaded once and shared |
| `registry` | Meta's released checkpoints and the packaged `nano` |
| `download`, `download_bar` | fetching a released file, with resume, checksum and a progress bar |
| `cache` | where fetched files lie on this machine |
| `recognise` | which network a file's tensors belong to |
| `checkpoints` | reading a file strictly and building its network; writing weights |
| `identity` | telling whether two networks have the same weights |
| `inventory` | what `masklet models` lists |
"""
