"""The action's entrypoint: a job's inputs and environment become calls of the command line, nothing else."""
