"""Drawings of a document: SVG for people, Mermaid and DOT for other programs.

All three are functions of a document that :func:`flowcontrol.documents.read_document` has read, and
of what a run did in it (:class:`Path`). They say of a row what its sentence says, with secrets
masked, and nothing in a text can break out of the drawing.
"""

from __future__ import annotations

from flowcontrol.rendering.graphs import to_dot, to_mermaid
from flowcontrol.rendering.svg import to_svg
from flowcontrol.rendering.words import Path

__all__ = ["Path", "to_dot", "to_mermaid", "to_svg"]
