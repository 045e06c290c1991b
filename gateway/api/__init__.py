"""The HTTP API: what the gateway shows to the outside, one process of its own."""
