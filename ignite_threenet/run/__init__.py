"""A run: put together, trained, tested, summed up."""
