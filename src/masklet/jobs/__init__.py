"""Many videos: a queue of projects, on one machine or on many.

| module | what it does |
| --- | --- |
| `job` | what is asked of one video, and what became of it |
"""
