"""Thin factories over MONAI."""
