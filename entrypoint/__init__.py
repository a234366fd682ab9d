"""The action's entrypoint: turns a job's inputs and environment into calls of the command line, nothing else."""
