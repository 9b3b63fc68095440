"""Find the block coder of a compressed file, or the one for new files.

Called by the command line and the Python interface; the only place that knows the coders.
"""

from wavenet.compression.blocks import BlockCoder
from wavenet.errors import CompressedFileError


def load_block_coder(sha256: str | None = None) -> BlockCoder | None:
    """Return a coder.

    Args:
        sha256: of its weights; None: the default for new files.
    Returns:
        The coder; None if no default is installed, so that blocks are stored raw.
    Raises:
        CompressedFileError: no coder with these weights is installed.
    """
    if sha256 is None:
        return None
    raise CompressedFileError(
        f"the compressor with the SHA-256 {sha256[:12]}.. is not installed; use the program that "
        "wrote the file"
    )
