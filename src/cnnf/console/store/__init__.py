"""Where the Console keeps things: control data and flow history."""
