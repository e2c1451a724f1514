"""This project inside other toolkits; each plugin needs its toolkit, importing this package does not."""
