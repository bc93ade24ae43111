import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useCallback } from "react";
import { ApiError } from "../../api/client";
import { sessionQuery } from "./session";

/** Asks whether the session still is, and goes to the login where it has ended. */
export function useSessionCheck(): () => void {
  const queries = useQueryClient();
  const navigate = useNavigate();
  return useCallback(() => {
    queries.fetchQuery({ ...sessionQuery, staleTime: 0 }).catch((failure: unknown) => {
      if (failure instanceof ApiError && failure.status === 401) {
        void navigate({ to: "/login", search: { to: location.pathname + location.search } });
      }
    });
  }, [queries, navigate]);
}
