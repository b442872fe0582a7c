"""The parts of the Evaluate tab: what is asked for, how it goes on, what came of it. Knows evaluations, no job."""
