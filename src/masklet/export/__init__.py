"""Files for the next tool, out of a project: videos with alpha, sequences, data sets, stills.

    from masklet.export import write

    write("clip.masklet", "prores4444", "bunny.mov")

| module | what it does |
| --- | --- |
| `registry` | which formats there are; `write` |
| `base` | what a format is: options, and one way of writing |
| `job` | what a format writes from: frames with finished masks, names, progress, cancel |
| `output` | files that appear complete or not at all |
| `classes` | classes and attributes of objects, for data sets that have them |
| `labels`, `imaging`, `xml` | label pictures, picture files, XML |
| `writers/` | one module per idea |
"""

from masklet.export.base import Exporter
from masklet.export.registry import formats, get, write

__all__ = ["Exporter", "formats", "get", "write"]
