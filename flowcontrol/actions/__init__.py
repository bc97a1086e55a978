"""The built-in actions; importing a module registers its types."""

from __future__ import annotations
