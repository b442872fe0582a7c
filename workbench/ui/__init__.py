"""The page: ways to write a spec and to read events in a browser."""
