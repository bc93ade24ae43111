/** What Radar's address says. Anything that is not understood falls back to the default. */
import type { View } from "../../api/types";

export const WINDOWS = [
  { value: "15m", label: "Last 15 minutes" },
  { value: "1h", label: "Last hour" },
  { value: "6h", label: "Last 6 hours" },
  { value: "24h", label: "Last 24 hours" },
  { value: "7d", label: "Last 7 days" },
] as const;

export type WindowLength = (typeof WINDOWS)[number]["value"];

export interface RadarSearch {
  view: View;
  window: WindowLength;
  show: "all" | "connected";
  as: "map" | "table";
  q?: string;
  /** Only the connections of the network object of this name. */
  object?: string;
}

export function parseRadarSearch(search: Record<string, unknown>): RadarSearch {
  const window = WINDOWS.find((one) => one.value === search.window)?.value ?? "1h";
  const q = typeof search.q === "string" || typeof search.q === "number" ? String(search.q) : "";
  const object =
    typeof search.object === "string" || typeof search.object === "number"
      ? String(search.object)
      : "";
  return {
    view: search.view === "hosts" ? "hosts" : "containers",
    window,
    show: search.show === "connected" ? "connected" : "all",
    as: search.as === "table" ? "table" : "map",
    ...(q === "" ? {} : { q: q.slice(0, 100) }),
    ...(object === "" ? {} : { object: object.slice(0, 200) }),
  };
}
