"""Runs: what one command sets going on a video or on pictures, from what was typed to what was written.

| module | what it does |
| --- | --- |
| `prompt_text` | `bunny@120:640,300` and the like, as people type them |
| `objects` | from such texts to objects with checked prompts on frames |
| `plan` | which frames are tracked in which direction, and which of them are done already |
| `request` | what can be asked of a run, and what it reports |
| `masklets_file` | `masklets.json`: every mask as run lengths with its scores |
| `track_files` | the files of a run, written by a thread beside the network |
| `earlier` | a run that was stopped, read back to be gone on with |
| `track` | tracking into a folder of files |
| `project_runs`, `run_sessions`, `run_steps` | tracking into a project, which can be corrected |
| `prompting` | prompts of a project answered at once |
| `explain` | why a frame looks as it does |
| `segment` | pictures |
"""
