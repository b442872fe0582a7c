"""What the trainers of several stages share: packing, log-probabilities, losses, rewards. Knows tensors, no stage by name."""
