"""What is asked of a person and answered, and the files in which tools of annotation hold it."""

from alpl.exchange.answers import Answer, check_replies, read_answers, write_answers
from alpl.exchange.formats import FORMATS, export, read_replies
from alpl.exchange.tasks import Item, Reply, Task, Tasks

__all__ = [
    "FORMATS",
    "Answer",
    "Item",
    "Reply",
    "Task",
    "Tasks",
    "check_replies",
    "export",
    "read_answers",
    "read_replies",
    "write_answers",
]
