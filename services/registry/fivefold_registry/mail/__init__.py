"""Mail: who hears of what, and how it is written and sent."""
