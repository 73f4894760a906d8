"""What ``python -m ignite_threenet`` runs."""

from .cli import main

main()
