"""The one door to MLflow runs, and the ledger of finished stages."""
