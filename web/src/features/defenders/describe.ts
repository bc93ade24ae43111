/** What the Defenders' page says, as words of the API's values. */

import type { Defender, JoinToken } from "../../api/types";
import { formatAgo } from "../../radar/format";

/** From when the end of a certificate is worth a colour: it should have been renewed long before. */
export const SOON_DAYS = 36;
const DAY_MS = 86_400_000;

export function stateOf(defender: Defender, now: number): { word: string; live: boolean } {
  if (defender.live) return { word: "live", live: true };
  if (defender.seen_at === null) return { word: "never heard of", live: false };
  return { word: `away, last heard ${formatAgo(defender.seen_at, now)}`, live: false };
}

/** What it says is in force on its host. */
export function modeOf(defender: Defender): string {
  const { applied } = defender;
  if (applied === null) return "not told yet";
  const scopes = [applied.containers && "containers", applied.hosts && "hosts"].filter(Boolean);
  return scopes.length === 0 ? "limited view" : `enabled for ${scopes.join(" and ")}`;
}

/** The day its certificate ends, and whether that needs somebody. */
export function certificateOf(
  defender: Defender,
  now: number,
): { day: string; state: "good" | "soon" | "expired" } {
  if (defender.expires_at === null) return { day: "not known", state: "good" };
  const left = Date.parse(defender.expires_at) - now;
  const day = defender.expires_at.slice(0, 10);
  if (left <= 0) return { day, state: "expired" };
  return { day, state: left < SOON_DAYS * DAY_MS ? "soon" : "good" };
}

/** What it keeps on disk; "" when that is nothing. */
export function keptOf(defender: Defender): string {
  if (!defender.spool || defender.spool.bytes === 0) return "";
  return `${(defender.spool.bytes / 2 ** 20).toFixed(1)} MiB kept on disk for the Console`;
}

/** What to run on the host that is to join; the token is in none of it. */
export const joinCommand = (token: JoinToken): string =>
  `sudo cnnf defender join ${token.console} --token-file token`;

/** Can other hosts reach the Console? It speaks plain HTTP on loopback only. */
export const reachable = (token: JoinToken): boolean => token.console.startsWith("https:");
