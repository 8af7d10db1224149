"""Work on whole videos, behind the command line and the studio.

| module | what it does |
| --- | --- |
| `prompt_text` | `bunny@120:640,300` and the like, as people type them |
| `objects` | from such texts to objects with checked prompts on frames |
| `plan` | which frames are tracked in which direction, and which of them are done already |
| `masklets_file` | `masklets.json`: every mask as run lengths with its scores |
| `track_files` | the files of a run, written by a thread beside the network |
| `earlier` | a run that was stopped, read back to be gone on with |
| `request` | what can be asked of a run, and what it reports |
| `track` | `track`: all of it together |
| `project_runs` | the same into a project, which can be corrected |
| `segment` | pictures |
"""
