"""What takes several steps: evaluating a prediction folder, the demonstration."""
