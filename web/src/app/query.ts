import { QueryClient } from "@tanstack/react-query";
import { ApiError } from "../api/client";

/** Asks again only where that can help: what the Console refused, it refuses again. */
const RETRIES_MAX = 2;

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      refetchOnWindowFocus: false,
      retry: (count, error) =>
        count < RETRIES_MAX &&
        (!(error instanceof ApiError) || error.status === 0 || error.status >= 500),
    },
  },
});
