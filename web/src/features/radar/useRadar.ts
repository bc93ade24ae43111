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

const key = (view: View, window: string, object: string) =>
  ["radar", view, window, object] as const;

const asked = (view: View, window: string, object: string): Record<string, string> => ({
  view,
  window,
  ...(object === "" ? {} : { object }),
});

/** The graph, of all or of the connections of one network object. */
export function useRadar(view: View, window: string, object = ""): RadarState {
  const queries = useQueryClient();
  const checkSession = useSessionCheck();
  const [live, setLive] = useState<LiveState>("connecting");
  const { data, error } = useQuery({
    queryKey: key(view, window, object),
    queryFn: async () => {
      const graph = await get<Graph>(`/radar?${new URLSearchParams(asked(view, window, object))}`);
      // The stream may have been faster; what it brought is newer.
      const held = queries.getQueryData<Graph>(key(view, window, object));
      return held !== undefined && held.as_of > graph.as_of ? held : graph;
    },
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 60_000,
  });

  useEffect(() => {
    return follow<Graph, Change>(streamUrl("/radar/stream", asked(view, window, object)), "graph", {
      onWhole: (graph) => queries.setQueryData(key(view, window, object), graph),
      onChange: (change) =>
        queries.setQueryData<Graph>(key(view, window, object), (graph) =>
          graph === undefined ? undefined : applyChange(graph, change),
        ),
      onState: setLive,
      onBroken: checkSession,
    });
  }, [view, window, object, queries, checkSession]);

  return { graph: data, error, live };
}
