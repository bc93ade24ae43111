/** The graph of one view and window, kept up to date by the Console's stream. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { get, streamUrl } from "../../api/client";
import { follow, type LiveState } from "../../api/stream";
import type { Change, Graph, View } from "../../api/types";
import { applyChange } from "../../radar/graph";
import { useSessionCheck } from "../session/useSessionCheck";

export interface RadarState {
  graph: Graph | undefined;
  error: Error | null;
  live: LiveState;
}

const key = (view: View, window: string) => ["radar", view, window] as const;

export function useRadar(view: View, window: string): RadarState {
  const queries = useQueryClient();
  const checkSession = useSessionCheck();
  const [live, setLive] = useState<LiveState>("connecting");
  const { data, error } = useQuery({
    queryKey: key(view, window),
    queryFn: async () => {
      const graph = await get<Graph>(`/radar?${new URLSearchParams({ view, window })}`);
      // The stream may have been faster; what it brought is newer.
      const held = queries.getQueryData<Graph>(key(view, window));
      return held !== undefined && held.as_of > graph.as_of ? held : graph;
    },
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 60_000,
  });

  useEffect(() => {
    return follow<Graph, Change>(streamUrl("/radar/stream", { view, window }), "graph", {
      onWhole: (graph) => queries.setQueryData(key(view, window), graph),
      onChange: (change) =>
        queries.setQueryData<Graph>(key(view, window), (graph) =>
          graph === undefined ? undefined : applyChange(graph, change),
        ),
      onState: setLive,
      onBroken: checkSession,
    });
  }, [view, window, queries, checkSession]);

  return { graph: data, error, live };
}
