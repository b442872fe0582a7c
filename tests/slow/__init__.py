"""Tests that train or load a real model, or that wait."""
