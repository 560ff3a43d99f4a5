"""Watch the source, decide when to retrain and say why, compare with what the champion was trained on."""
