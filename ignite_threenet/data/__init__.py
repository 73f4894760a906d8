"""Datasets, and batches of them on the device."""
