"""What is done with the pipeline's results: looking, verifying, comparing, publishing."""

import stages  # noqa: F401 - which sees to it that the project's own Python runs
