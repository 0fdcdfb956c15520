"""XML of others: read without what it may make a parser do."""

from __future__ import annotations

import stat
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from alpl.errors import DataError


def check_regular(path: str | Path) -> None:
    """Make sure that a file can be read to its end: a pipe would be waited for, and a device may have none.

    Raises:
        OSError: it is no regular file, or not there.
        ValueError: no file can have such a name.
    """
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise OSError("is no regular file")


class _NoDoctype(TreeBuilder):
    """Refuses documents that define entities: a few nested ones fill any memory."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise DataError("declares a document type, which is refused")


def parse_xml(file: Path) -> Element:
    """Parse an annotation.

    Raises:
        DataError: it is missing, broken, or declares a document type; the message does not name the file.
    """
    try:
        check_regular(file)
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise DataError("there is no such annotation") from error
    except (OSError, ValueError) as error:  # the latter: no file can have such a name
        raise DataError(f"cannot be read: {error}") from error
    # before the parser sees it, too: it would go on expanding entities to the end of its buffer
    if b"<!DOCTYPE" in content.replace(b"\0", b""):
        raise DataError("declares a document type, which is refused")
    parser = XMLParser(target=_NoDoctype())
    try:
        parser.feed(content)
        root: Element = parser.close()
    except (ParseError, ValueError, LookupError) as error:  # the last two: wrong or unknown encodings
        raise DataError(f"is not valid XML: {error}") from error
    return root
