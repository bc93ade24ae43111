/** Changes of the policy: each names the version it is made of, and may be only a preview. */
import { type UseMutationResult, useMutation, useQueryClient } from "@tanstack/react-query";
import { ApiError, get, request, requestYaml } from "../../api/client";
import type { Policy, PolicyChanged, PolicyVersion } from "../../api/types";
import { policyQuery } from "./query";

/** What is wanted of which route; `yaml` is a body as a person wrote it. */
export interface Wanted {
  method: "POST" | "PUT" | "DELETE";
  path: string;
  body?: unknown;
  yaml?: string;
  /** The version that the change is made of. */
  version: number;
  query?: Record<string, string>;
  reason?: string;
  preview?: boolean;
}

export function changePath({ path, version, query, reason, preview }: Wanted): string {
  return `${path}?${new URLSearchParams({
    ...query,
    version: String(version),
    ...(reason?.trim() ? { reason: reason.trim() } : {}),
    ...(preview ? { preview: "true" } : {}),
  })}`;
}

export const sendChange = (wanted: Wanted): Promise<PolicyChanged> =>
  wanted.yaml === undefined
    ? request<PolicyChanged>(wanted.method, changePath(wanted), wanted.body)
    : requestYaml<PolicyChanged>(wanted.method, changePath(wanted), wanted.yaml);

/** Makes changes. Whatever is shown of the policy is asked for again after each. */
export function useChange(
  onDone?: (outcome: PolicyChanged) => void,
): UseMutationResult<PolicyChanged, Error, Wanted> {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: sendChange,
    onSuccess: async (outcome, wanted) => {
      if (!wanted.preview) {
        await queries.invalidateQueries({ queryKey: ["policy"] });
        void queries.invalidateQueries({ queryKey: ["radar"] });
      }
      onDone?.(outcome);
    },
    onError: (error) => {
      if (isConflict(error)) void queries.invalidateQueries({ queryKey: ["policy"] });
    },
  });
}

/** Asks for the policy that is in force by now. */
export function useNewest(): () => Promise<Policy> {
  const queries = useQueryClient();
  return () => queries.fetchQuery({ ...policyQuery, staleTime: 0 });
}

/** Did somebody else change the policy meanwhile? */
export const isConflict = (error: unknown): boolean =>
  error instanceof ApiError && error.status === 409 && error.code === "version-conflict";

/** More than these are only counted; whoever was away so long looks into the history. */
const NEWER_MAX = 20;

/** What was changed since a version, the newest first. */
export async function readNewer(version: number): Promise<PolicyVersion[]> {
  const found = await get<PolicyVersion[]>(`/policy/versions?count=${NEWER_MAX}`);
  return found.filter((one) => one.version > version);
}
