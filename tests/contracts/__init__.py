"""Contracts: what holds for everything in the tree, also for what is added tomorrow."""
