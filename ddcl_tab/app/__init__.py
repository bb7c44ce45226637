"""The application: what the commands do, step by step: split, train, score beside peers, classify, report, tune."""
