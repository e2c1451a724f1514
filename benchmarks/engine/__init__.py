"""What the commands share: runs planned, measured by workers, stored, resumed, and summarised."""
