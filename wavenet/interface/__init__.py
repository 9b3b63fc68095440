"""The public Python interface, which `import wavenet` offers lazily; see `wavenet/__init__.py`."""
