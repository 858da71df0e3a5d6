"""What is done with the pipeline's results: looking, verifying, comparing, publishing."""
