"""The environment variables that say options."""

ENVIRONMENT_PREFIX = "IGNITE_THREENET"
"""What the names of the variables begin with."""


def parameter_name(option: str, owner: str = "") -> str:
    """Name an option in a word of letters, digits and ``_``, as the command line does."""
    words = f"{owner}_{option}" if owner else option
    return "".join(letter if letter.isalnum() else "_" for letter in words.lower())


def environment_name(parameter: str) -> str:
    """Name the environment variable of a parameter.

    Example:
        >>> environment_name(parameter_name("flush-s", "tensorboard"))
        'IGNITE_THREENET_TENSORBOARD_FLUSH_S'
    """
    return f"{ENVIRONMENT_PREFIX}_{parameter.upper()}"
