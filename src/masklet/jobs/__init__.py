"""Many videos: a queue of projects.

| module | what it does |
| --- | --- |
| `job` | what is asked of one video, and what became of it |
| `table`, `blank` | tables and folders of videos that say it, and one to fill in |
| `queue` | which jobs there are and how far they are, in one SQLite file |
| `work` | one video from beginning to end: its project, then its exports |
| `local` | worker processes on this machine |
| `batch` | what is made of all of them in the end |
| `merge`, `report` | one data set of all videos; a page that shows which deserve a look |
| `overview` | what became of the objects of a video |
| `boxes` | boxes of other tools as prompts |
| `overlaps` | which boxes show the same object |
| `detectors` | objects that a detector finds while tracking goes on |
| `text_detector` | objects by words |
| `shots` | where a video is cut, and a job for every shot |
"""
