import { queryOptions } from "@tanstack/react-query";
import { get, request } from "../../api/client";
import type { Session } from "../../api/types";

export const sessionQuery = queryOptions({
  queryKey: ["session"],
  queryFn: () => get<Session>("/session"),
  staleTime: 60_000,
});

export const startSession = (login: { username: string; password: string }) =>
  request<Session | undefined>("POST", "/session", login);

export const endSession = () => request<void>("DELETE", "/session");
