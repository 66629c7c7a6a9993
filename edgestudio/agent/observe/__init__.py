"""What the board notices and keeps: sensors, telemetry windows, the durable spool."""
