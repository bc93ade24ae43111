/** The policy in force, kept up to date, and whether whoever looks may change it. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import type { Policy } from "../../api/types";
import { sessionQuery } from "../session/session";
import { headQuery, policyQuery } from "./query";

export interface PolicyState {
  /** Undefined until the first answer. */
  policy: Policy | undefined;
  error: Error | null;
  mayChange: boolean;
}

export function usePolicy(): PolicyState {
  const queries = useQueryClient();
  const { data: session } = useQuery(sessionQuery);
  const { data: head } = useQuery(headQuery);
  const { data: policy, error } = useQuery(policyQuery);
  const behind = head != null && policy !== undefined && head.version > policy.version;
  useEffect(() => {
    if (!behind) return;
    for (const key of ["whole", "objects", "findings", "versions", "hits"]) {
      void queries.invalidateQueries({ queryKey: ["policy", key] });
    }
  }, [behind, queries]);
  const mayChange = session !== undefined && session.role !== "viewer";
  return { policy, error, mayChange };
}
