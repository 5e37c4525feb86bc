"""Encoders and decoders; the only importer of flax."""
