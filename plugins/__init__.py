"""The plugins that come with ignite-threenet; each is found by its entry point."""
