import type { LiveState } from "../api/stream";
import classes from "./LiveBadge.module.css";

const WORDS: Record<LiveState, string> = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
};

/** Says whether what is shown is brought up to date as it happens. */
export function LiveBadge({ live }: { live: LiveState }) {
  return (
    <span className={classes.live} data-state={live} role="status" data-testid="live">
      <span className={classes.dot} aria-hidden />
      {WORDS[live]}
    </span>
  );
}
