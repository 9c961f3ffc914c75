"""Events: the messages of a watch, plain values that a sink sends without knowing how they were made."""

from typing import Any

Message = dict[str, Any]
