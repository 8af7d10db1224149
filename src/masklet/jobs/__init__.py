"""Many videos: a queue of projects, on one machine or on many.

| module | what it does |
| --- | --- |
| `job` | what is asked of one video, and what became of it |
| `queue` | which jobs there are and how far they are, in one SQLite file |
| `work` | one video from beginning to end: its project, then its exports |
| `local` | worker processes on this machine |
| `boxes` | boxes of other tools as prompts |
| `overlaps` | which boxes show the same object |
| `detectors` | objects that a detector finds while tracking goes on |
| `text_detector` | objects by words |
| `shots` | where a video is cut, and a job for every shot |
"""
