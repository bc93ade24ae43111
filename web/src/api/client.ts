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

async function send(
  method: string,
  path: string,
  headers: Record<string, string>,
  body?: string,
): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(BASE + path, { method, credentials: "same-origin", headers, body });
  } catch {
    throw new ApiError(0, "unreachable", "The Console cannot be reached.", null);
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

/** Sends a request and gives the JSON answer, or undefined where there is none. */
export async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  const response =
    body === undefined
      ? await send(method, path, {})
      : await send(method, path, { "Content-Type": "application/json" }, JSON.stringify(body));
  if (response.status === 204) return undefined as T;
  return (await response.json()) as T;
}

/** The same with a body of YAML, as a person wrote it. */
export async function requestYaml<T>(method: string, path: string, yaml: string): Promise<T> {
  const response = await send(method, path, { "Content-Type": "application/yaml" }, yaml);
  return (await response.json()) as T;
}

export const get = <T>(path: string) => request<T>("GET", path);

/** The YAML form of what is there. */
export async function getYaml(path: string): Promise<string> {
  return (await send("GET", path, { Accept: "application/yaml" })).text();
}

/** The address of a stream of changes: `/radar/stream`, `/events/stream`. */
export function streamUrl(path: string, query: Record<string, string>): string {
  return `${BASE}${path}?${new URLSearchParams(query)}`;
}
