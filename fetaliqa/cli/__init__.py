"""The console command ``fetaliqa``: one module per subcommand."""
