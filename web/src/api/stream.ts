/**
 * A stream of changes (of Radar, of events): opens it, opens it again when it breaks, and says how
 * it stands.
 *
 * The browser reconnects by itself after a short break, and then the Console replays what was
 * missed. Where it gives up (the Console answered with an error), this waits and asks afresh.
 */
export type LiveState = "connecting" | "live" | "reconnecting";

export interface StreamHandlers<Whole, Change> {
  /** What the stream begins with, and sends again where changes were lost. */
  onWhole(whole: Whole): void;
  onChange(change: Change): void;
  onState(state: LiveState): void;
  /** The stream was refused or cut: the place to find out whether the session has ended. */
  onBroken(): void;
}

export const RETRY_MS_MIN = 1_000;
export const RETRY_MS_MAX = 30_000;

/** Milliseconds to wait before attempt `attempt` (from 0): doubled each time, spread by a fifth. */
export function retryDelay(attempt: number, random: number): number {
  const whole = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(attempt, 10));
  return Math.round(whole * (0.8 + 0.4 * random));
}

/** Follows the stream, whose first event is named `whole`, until the returned function is called. */
export function follow<Whole, Change>(
  url: string,
  whole: "graph" | "events",
  handlers: StreamHandlers<Whole, Change>,
): () => void {
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let attempt = 0;
  let stopped = false;

  const open = () => {
    if (stopped) return;
    source = new EventSource(url);
    source.addEventListener(whole, (event) => {
      attempt = 0;
      handlers.onState("live");
      handlers.onWhole(JSON.parse(event.data) as Whole);
    });
    source.addEventListener("change", (event) => {
      handlers.onState("live");
      handlers.onChange(JSON.parse(event.data) as Change);
    });
    source.addEventListener("resync", reopen);
    source.onopen = () => {
      attempt = 0;
      handlers.onState("live");
    };
    source.onerror = () => {
      if (stopped) return;
      handlers.onState("reconnecting");
      handlers.onBroken();
      if (source?.readyState === EventSource.CLOSED) {
        source.close();
        timer = setTimeout(open, retryDelay(attempt++, Math.random()));
      }
    };
  };

  const reopen = () => {
    source?.close();
    clearTimeout(timer);
    open();
  };

  handlers.onState("connecting");
  open();
  return () => {
    stopped = true;
    clearTimeout(timer);
    source?.close();
  };
}
