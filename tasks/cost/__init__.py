"""What a state and an SAE cost: time, memory, bytes, energy."""
