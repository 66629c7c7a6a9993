"""What boards report: series, drift, alerts, history and export."""
