"""The parts of the Export tab: where the model goes, how that is asked for, what came of it."""
