"""The lab's own logic: a comparison that can't fail would show nothing."""
