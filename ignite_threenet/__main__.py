"""What ``python -m ignite_threenet`` runs."""

from .cli.main import main

main()
