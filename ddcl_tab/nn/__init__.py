"""Tensors only: tokenizer, encoder, quantisation, readouts and the network made of them."""
