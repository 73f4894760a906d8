"""What a run is asked to do, and who said so."""
