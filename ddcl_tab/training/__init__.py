"""Training: rows and batches, schedules, the objective, the skorch net and what is measured at every epoch."""
