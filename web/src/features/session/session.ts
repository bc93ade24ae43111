import { queryOptions } from "@tanstack/react-query";
import { ApiError, get, request } from "../../api/client";
import type { Session } from "../../api/types";

/**
 * Remembers that somebody logged in here, so that a first visit need not ask the Console (and be
 * refused, which browsers log as an error). It is no credential: that is the cookie.
 */
const HINT = "cnnf-session";

const hinted = () => {
  try {
    return localStorage.getItem(HINT) !== null;
  } catch {
    return true;
  }
};

const remember = (known: boolean) => {
  try {
    if (known) localStorage.setItem(HINT, "1");
    else localStorage.removeItem(HINT);
  } catch {
    // Without storage the Console is asked each time.
  }
};

async function readSession(): Promise<Session> {
  if (!hinted()) throw new ApiError(401, "unauthenticated", "Nobody is logged in.", null);
  try {
    return await get<Session>("/session");
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) remember(false);
    throw error;
  }
}

export const sessionQuery = queryOptions({
  queryKey: ["session"],
  queryFn: readSession,
  staleTime: 60_000,
});

export async function startSession(login: { username: string; password: string }): Promise<void> {
  await request<unknown>("POST", "/session", login);
  remember(true);
}

export async function endSession(): Promise<void> {
  remember(false);
  await request<unknown>("DELETE", "/session");
}
