"""The quarterly review as people and machines read it: a site, a workbook, Markdown, JSON."""

from upliftlab.report.quarter.site import write_review

__all__ = ["write_review"]
