import { describe, expect, it } from "vitest";
import type { Defender, JoinToken } from "../../api/types";
import { certificateOf, joinCommand, keptOf, modeOf, reachable, stateOf } from "./describe";

const NOW = Date.parse("2026-06-01T12:00:00.000Z");

const defender = (part: Partial<Defender> = {}): Defender => ({
  id: "d1",
  name: "web-1",
  live: true,
  version: "0.1.0",
  kernel: "6.18",
  system: "Debian",
  addresses: [],
  fingerprint: "00",
  expires_at: "2027-06-01T12:00:00.000Z",
  enrolled_at: "2026-06-01T12:00:00.000Z",
  seen_at: "2026-06-01T11:59:00.000Z",
  applied: null,
  conditions: [],
  spool: null,
  policy: null,
  ...part,
});

const applied = (containers: boolean, hosts: boolean): Defender["applied"] => ({
  generation: 3,
  containers,
  hosts,
  udp: false,
  refuse_with: "reset",
  cut: true,
});

describe("what is said of a Defender", () => {
  it("tells whether it is there", () => {
    expect(stateOf(defender(), NOW)).toEqual({ word: "live", live: true });
    expect(stateOf(defender({ live: false, seen_at: null }), NOW).word).toBe("never heard of");
    expect(stateOf(defender({ live: false }), NOW).word).toMatch(/^away, last heard /);
  });

  it("names the mode that is in force", () => {
    expect(modeOf(defender())).toBe("not told yet");
    expect(modeOf(defender({ applied: applied(false, false) }))).toBe("limited view");
    expect(modeOf(defender({ applied: applied(true, false) }))).toBe("enabled for containers");
    expect(modeOf(defender({ applied: applied(true, true) }))).toBe(
      "enabled for containers and hosts",
    );
  });

  it("tells a certificate that somebody has to look after", () => {
    const ends = (expires_at: string | null) => certificateOf(defender({ expires_at }), NOW);
    expect(ends("2027-06-01T12:00:00.000Z")).toEqual({ day: "2027-06-01", state: "good" });
    expect(ends("2026-07-07T11:59:00.000Z")).toEqual({ day: "2026-07-07", state: "soon" });
    expect(ends("2026-06-01T12:00:00.000Z")).toEqual({ day: "2026-06-01", state: "expired" });
    expect(ends(null)).toEqual({ day: "not known", state: "good" });
  });

  it("tells what waits on disk, when something does", () => {
    expect(keptOf(defender())).toBe("");
    const spool = { bytes: 0, bytes_max: 10, oldest_at: null };
    expect(keptOf(defender({ spool }))).toBe("");
    expect(keptOf(defender({ spool: { ...spool, bytes: 3 * 2 ** 20 } }))).toBe(
      "3.0 MiB kept on disk for the Console",
    );
  });
});

describe("a join token", () => {
  const token = (console: string): JoinToken => ({
    token: "cnnf-join.secret.print",
    expires_at: "2026-06-01T13:00:00.000Z",
    authority: "",
    fingerprint: "print",
    console,
    url: "",
  });

  it("is not in the command line, which others can read", () => {
    const command = joinCommand(token("https://console:8083"));
    expect(command).toContain("https://console:8083");
    expect(command).not.toContain("secret");
  });

  it("is of use elsewhere only when the Console can be reached", () => {
    expect(reachable(token("https://console:8083"))).toBe(true);
    expect(reachable(token("http://127.0.0.1:8083"))).toBe(false);
  });
});
