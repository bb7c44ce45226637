"""Tasks and quantisers of codebook_study.py."""
