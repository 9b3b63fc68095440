"""Damaged and hostile input for every reader: `readers` lists them, `mutations` damages files."""
