"""What others bring: found by name or by file, imported only when used."""
