/** Calls to the Console, and the one shape in which it refuses. */

import type { ErrorBody } from "./types";

const BASE = "/api/v1";

/** What the Console answered instead of doing what was asked. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly where: string | null;

  constructor(status: number, code: string, message: string, where: string | null) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.where = where;
  }
}

async function refusal(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => ({}))) as Partial<ErrorBody>;
  return new ApiError(
    response.status,
    body.error?.code ?? "unknown",
    body.error?.message ?? `The Console answered ${response.status}.`,
    body.error?.where ?? null,
  );
}

/** Sends a request and gives the JSON answer, or undefined where there is none. */
export async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  let response: Response;
  try {
    response = await fetch(BASE + path, {
      method,
      credentials: "same-origin",
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, "unreachable", "The Console cannot be reached.", null);
  }
  if (!response.ok) throw await refusal(response);
  if (response.status === 204) return undefined as T;
  return (await response.json()) as T;
}

export const get = <T>(path: string) => request<T>("GET", path);

/** The address of a stream of changes: `/radar/stream`, `/events/stream`. */
export function streamUrl(path: string, query: Record<string, string>): string {
  return `${BASE}${path}?${new URLSearchParams(query)}`;
}
