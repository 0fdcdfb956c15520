"""What a report says of them: intervals, comparisons, verdicts, costs."""
