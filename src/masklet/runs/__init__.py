"""Runs: what one command sets going on a video or on pictures, from what was typed to what was written.

| module | what it does |
| --- | --- |
| `prompt_text` | `bunny@120:640,300` and the like, as people type them |
| `objects` | from such texts to objects with checked prompts on frames |
| `request` | what can be asked of a run, and what it reports |
| `plan` | which frames are tracked in which direction, and which of them are done already |
| `sessions` | a session as a project wants it, brought to where a run stands |
| `engine` | the one engine: goes through the frames, keeps masks and the tracker's state, and hands the frames on |
| `actions` | what starts it: begin, track, resume, track again |
| `corrections` | one frame put right, and the object tracked again from there; `agreement` says where that ends |
| `folder` | `masklet track -o out/`: a run with its project hidden in the folder, and files |
| `live` | those files, written by a thread beside the network |
| `prompting` | prompts of a project answered at once |
| `explain` | why a frame looks as it does |
| `segment` | pictures |
"""
