"""Measurements that anybody can repeat: ``python -m bench PART``. Each part prints a table and keeps it as JSON."""
