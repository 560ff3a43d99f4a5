"""The servers of an installation: MLflow, Prefect and a worker, started, looked at and stopped as one."""
