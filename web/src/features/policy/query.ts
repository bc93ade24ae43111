/** What the pages ask of the policy, and how they keep it up to date. */
import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { get } from "../../api/client";
import type {
  Finding,
  Hits,
  ListedObject,
  Policy,
  PolicyVersion,
  Quarantine,
} from "../../api/types";

const REFRESH_MS = 5_000;
const HITS_REFRESH_MS = 15_000;
export const VERSIONS_PAGE = 50;

/** The newest version without its contents: small, and asked for again and again. */
export const headQuery = queryOptions({
  queryKey: ["policy", "head"],
  queryFn: async () => (await get<PolicyVersion[]>("/policy/versions?count=1"))[0] ?? null,
  refetchInterval: REFRESH_MS,
});

/** The policy in force. It is large, so it is asked for again only when there is a newer version. */
export const policyQuery = queryOptions({
  queryKey: ["policy", "whole"],
  queryFn: () => get<Policy>("/policy"),
  staleTime: Number.POSITIVE_INFINITY,
  // Comparing two times 10,000 rules takes longer than drawing those that are seen.
  structuralSharing: false,
});

export const objectsQuery = queryOptions({
  queryKey: ["policy", "objects"],
  queryFn: () => get<ListedObject[]>("/policy/objects"),
  staleTime: Number.POSITIVE_INFINITY,
});

export const findingsQuery = queryOptions({
  queryKey: ["policy", "findings"],
  queryFn: () => get<Finding[]>("/policy/findings"),
  staleTime: 60_000,
});

export const hitsQuery = queryOptions({
  queryKey: ["policy", "hits"],
  queryFn: () => get<Hits[]>("/policy/hits"),
  refetchInterval: HITS_REFRESH_MS,
});

export const versionsQuery = infiniteQueryOptions({
  queryKey: ["policy", "versions"],
  queryFn: ({ pageParam }) =>
    get<PolicyVersion[]>(
      `/policy/versions?${new URLSearchParams({
        count: String(VERSIONS_PAGE),
        ...(pageParam === 0 ? {} : { before: String(pageParam) }),
      })}`,
    ),
  initialPageParam: 0,
  getNextPageParam: (page: PolicyVersion[]) => {
    const last = page.at(-1)?.version ?? 1;
    return page.length < VERSIONS_PAGE || last <= 1 ? undefined : last;
  },
  staleTime: Number.POSITIVE_INFINITY,
});

export const quarantinesQuery = queryOptions({
  queryKey: ["policy", "quarantines"],
  queryFn: () => get<Quarantine[]>("/policy/quarantine"),
  refetchInterval: HITS_REFRESH_MS,
});
