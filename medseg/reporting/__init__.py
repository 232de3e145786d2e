"""Reports for people."""

from medseg.reporting.report import write_report

__all__ = ["write_report"]
