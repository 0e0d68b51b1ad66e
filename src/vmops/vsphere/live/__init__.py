"""What the server tells by itself: properties, tasks, the inventory."""
