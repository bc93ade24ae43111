import { describe, expect, it } from "vitest";
import { RETRY_MS_MAX, RETRY_MS_MIN, retryDelay } from "./stream";

describe("retryDelay", () => {
  it("doubles, up to its bound, and spreads", () => {
    expect(retryDelay(0, 0.5)).toBe(RETRY_MS_MIN);
    expect(retryDelay(1, 0.5)).toBe(2 * RETRY_MS_MIN);
    expect(retryDelay(50, 0.5)).toBe(RETRY_MS_MAX);
    expect(retryDelay(0, 0)).toBeLessThan(retryDelay(0, 1));
  });
});
