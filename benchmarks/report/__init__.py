"""A results folder as one page of HTML."""
