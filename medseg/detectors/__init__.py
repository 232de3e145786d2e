"""What a task is: its target, its loss and the decoding of network outputs to findings."""
