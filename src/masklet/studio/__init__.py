"""The studio: a local server and a page in the browser to click, track, fix and export.

| module | what it does |
| --- | --- |
| `app` | puts the server together; `server` runs it |
| `schemas` | what goes in and out, as pydantic models |
| `problems` | errors as HTTP answers with a sentence |
| `login` | the token and the port, which outlive the server |
| `security` | token, cookie, Host, Origin, headers, limits |
| `files` | paths below the root, uploads |
| `recent` | projects that were opened lately |
| `workspace` | the projects that are open |
| `batches` | the batches that are looked at |
| `frames` | pictures for the page, decoded on demand |
| `overlays` | masks for the page, finished by their settings |
| `packed` | masks of many frames as bytes |
| `changes` | what news say of a change |
| `worker` | the one thread that runs the network, most urgent first |
| `tasks` | jobs: tracking, exports, downloads |
| `sockets` | news for every open page |
| `routes/` | the HTTP API, thin over the rest |
| `page/` | what the browser loads |
"""
