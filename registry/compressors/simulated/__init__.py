"""Our own methods: weights stay dense tensors, every architecture and device, the same result for the same seed."""
