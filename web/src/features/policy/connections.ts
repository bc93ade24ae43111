/** The connections of a network object, page by page, those seen latest first. */
import { infiniteQueryOptions } from "@tanstack/react-query";
import { get } from "../../api/client";
import type { ObjectConnections } from "../../api/types";

const PAGE = 100;

export const connectionsQuery = (object: string, window: string) =>
  infiniteQueryOptions({
    queryKey: ["policy", "connections", object, window],
    queryFn: ({ pageParam }) =>
      get<ObjectConnections>(
        `/policy/objects/${encodeURIComponent(object)}/connections?${new URLSearchParams({
          window,
          count: String(PAGE),
          skip: String(pageParam),
        })}`,
      ),
    initialPageParam: 0,
    getNextPageParam: nextSkip,
    staleTime: 10_000,
    retry: false,
  });

/** Where the next page begins; undefined after the last. */
export function nextSkip({
  skipped,
  listed,
  flows,
}: Pick<ObjectConnections, "skipped" | "listed" | "flows">): number | undefined {
  const next = skipped + listed.length;
  return listed.length === 0 || next >= flows ? undefined : next;
}
