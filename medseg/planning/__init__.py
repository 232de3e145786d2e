"""From the data and the pipeline to a plan: what is trained and how, each choice with its reason."""
