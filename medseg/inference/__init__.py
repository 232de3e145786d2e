"""Running a trained network: windows, batches of cases, prediction folders."""
