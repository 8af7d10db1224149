"""See DESIGN: filled by its module."""
