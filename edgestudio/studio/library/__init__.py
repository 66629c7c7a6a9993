"""The models of the studio: opened, followed, searched, described and edited, each change with its way back."""
