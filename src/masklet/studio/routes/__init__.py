"""The HTTP API: one module for each thing that a client does, thin over the rest of the studio."""
