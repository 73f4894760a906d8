"""One declaration of an option, for every way of setting it."""
