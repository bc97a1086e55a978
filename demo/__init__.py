"""An airline's operations desk, automated with flowcontrol: ``python -m demo``."""
