"""Results for experiment trackers, through their own libraries: MLflow and Weights & Biases.

Server, project and keys come from the environment variables that each library reads.
"""

from __future__ import annotations

import re
from os import environ
from typing import Any

from ftgate.errors import ConfigurationError
from ftgate.exports.results import Results, library

_ALLOWED = re.compile(r"[^\w\-./ ]")
EXPERIMENT = "ftgate"
"""Experiment (MLflow) and project (Weights & Biases), unless the library's environment variable names another."""


def log_to_mlflow(results: Results) -> str:
    """Log one run with all numbers, facts and files, to the server that MLFLOW_TRACKING_URI names.

    The experiment is that of MLFLOW_EXPERIMENT_NAME, else ``ftgate``. Returns where the run is. Raises
    ConfigurationError if MLflow is not installed or its server refuses.
    """
    mlflow: Any = library("mlflow", "mlflow")
    try:
        mlflow.set_experiment(environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT))
        with mlflow.start_run(run_name=results.report.name, tags={"ftgate.verdict": results.report.verdict}) as run:
            mlflow.log_params({key: value[:500] for key, value in results.facts.items()})
            mlflow.log_metrics({_ALLOWED.sub("-", key): value for key, value in results.numbers.items()})
            mlflow.set_tag("mlflow.note.content", "\n".join(f"- {reason}" for reason in results.report.reasons))
            for file in results.files:
                mlflow.log_artifact(str(file))
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise ConfigurationError(
            f"MLflow refused: {error}", hint="look at MLFLOW_TRACKING_URI and its server"
        ) from None
    return f"{mlflow.get_tracking_uri()}, run {run.info.run_id}"


def log_to_wandb(results: Results) -> str:
    """Log one run with all numbers, facts and files, to the project of WANDB_PROJECT, else ``ftgate``.

    With WANDB_MODE=offline it stays in the folder ``wandb``. Returns where the run is. Raises ConfigurationError if
    wandb is not installed or its server refuses.
    """
    wandb: Any = library("wandb", "wandb")
    try:
        run = wandb.init(
            project=environ.get("WANDB_PROJECT", EXPERIMENT),
            name=results.report.name,
            tags=[results.report.verdict],
            config=results.facts,
            job_type="merge gate",
        )
        run.summary.update(results.numbers | {"verdict": results.report.verdict})
        artifact = wandb.Artifact(f"ftgate-{run.id}", type="ftgate-report")
        for file in results.files:
            artifact.add_file(str(file))
        run.log_artifact(artifact)
        run.finish()
    except (wandb.errors.Error, OSError) as error:
        raise ConfigurationError(
            f"Weights & Biases refused: {error}", hint="set WANDB_API_KEY, or WANDB_MODE=offline"
        ) from None
    return run.url or str(run.dir)
