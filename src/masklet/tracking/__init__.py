"""What happens between frames: prompts, memories, motion, policies.

| module | what it does |
| --- | --- |
| `session` | `Session`: a video with prompts on any frame, tracked in both directions |
| `tracker` | `VideoTracker`: a stream, frame by frame |
| `engine` | what the two share: one frame through the network |
| `track`, `memory` | what is known about one object in one video: prompts, and the memories of its frames |
| `policies/` | which candidate is the object, and which memories a frame reads |
| `motion` | where the object will be next |
| `windows` | where in a frame a mask lies, and prompts as they are seen through a window |
| `zoom` | small objects, looked at through a window that follows them |
| `closer` | prompts, decided in a window around what they are about |
| `state` | what is needed to go on later |
| `spool` | records of tracked frames on disk |
"""
