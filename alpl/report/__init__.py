"""Results as tables, figures and one page. No torch: the reading command starts at once."""

from alpl.report.page.write import summary, write_report

__all__ = ["summary", "write_report"]
