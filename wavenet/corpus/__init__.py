"""Recordings brought into one form that training reads without holding them."""
