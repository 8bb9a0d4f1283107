"""What the camera sees: people who move, things that come and go, writing; scenes as shapes, frame by frame."""
