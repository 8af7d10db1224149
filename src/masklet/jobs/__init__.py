"""Many videos: a queue of projects, on one machine or on many.

| module | what it does |
| --- | --- |
| `job` | what is asked of one video, and what became of it |
| `queue` | which jobs there are and how far they are, in one SQLite file |
| `work` | one video from beginning to end: its project, then its exports |
| `local` | worker processes on this machine |
"""
