import { Center, Loader } from "@mantine/core";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { lazy, Suspense, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { plural } from "../../radar/format";
import { connectedOnly, edgeKey, findNodes } from "../../radar/graph";
import type { Selection } from "../../radar/renderer";
import { EdgePanel } from "./EdgePanel";
import { EmptyState, NothingConnected, NothingOfObject, Unreachable } from "./EmptyState";
import type { MapHandle } from "./MapView";
import { ModeBanner } from "./ModeBanner";
import { NodePanel } from "./NodePanel";
import classes from "./RadarPage.module.css";
import type { RadarSearch } from "./search";
import { Toolbar } from "./Toolbar";
import { useRadar } from "./useRadar";

const MapView = lazy(() => import("./MapView").then((module) => ({ default: module.MapView })));
const TreeGrid = lazy(() => import("./TreeGrid").then((module) => ({ default: module.TreeGrid })));

/** Radar: what talks to what, as a map or as a table, live. */
export function RadarPage() {
  const search = useSearch({ from: "/inside/radar" });
  const navigate = useNavigate({ from: "/radar" });
  const { graph, error, live } = useRadar(search.view, search.window, search.object);
  const [selection, setSelection] = useState<Selection | null>(null);
  const map = useRef<MapHandle>(null);
  const opener = useRef<HTMLElement | null>(null);

  const change = useCallback(
    (part: Partial<RadarSearch>) =>
      void navigate({ search: (before) => ({ ...before, ...part }), replace: true }),
    [navigate],
  );

  useEffect(() => {
    document.title = `Radar: ${search.view} · cnnf`;
    setSelection(null);
  }, [search.view]);

  const shown = useMemo(() => {
    if (graph === undefined) return undefined;
    return search.show === "connected" ? connectedOnly(graph) : graph;
  }, [graph, search.show]);

  const found = useMemo(
    () => (shown === undefined || !search.q ? null : findNodes(shown, search.q)),
    [shown, search.q],
  );
  const matches = useMemo(() => (found === null ? null : new Set(found)), [found]);

  // Enter goes to the next hit, and starts again after the last.
  const hit = useRef({ q: "", at: -1 });
  const goToHit = () => {
    if (found === null || found.length === 0) return;
    const at = hit.current.q === search.q ? (hit.current.at + 1) % found.length : 0;
    hit.current = { q: search.q ?? "", at };
    const id = found[at];
    if (id === undefined) return;
    setSelection({ kind: "node", id });
    map.current?.focus(id);
  };

  const select = useCallback((next: Selection | null) => {
    opener.current = document.activeElement instanceof HTMLElement ? document.activeElement : null;
    setSelection(next);
  }, []);
  const close = () => {
    setSelection(null);
    opener.current?.focus();
  };

  const node =
    selection?.kind === "node" ? shown?.nodes.find((one) => one.id === selection.id) : undefined;
  const edge =
    selection?.kind === "edge"
      ? shown?.edges.find((one) => edgeKey(one) === selection.id)
      : undefined;

  return (
    <div className={classes.page}>
      <Toolbar
        search={search}
        change={change}
        live={live}
        graph={graph}
        hits={found?.length ?? null}
        onEnter={goToHit}
      />
      {graph?.mode.limited === true && <ModeBanner mode={graph.mode} view={search.view} />}
      <div className={classes.body}>
        <section className={classes.stage} aria-label="Connections">
          {shown === undefined ? (
            error === null ? (
              <Center h="100%">
                <Loader aria-label="Loading" />
              </Center>
            ) : (
              <Unreachable message={error.message} />
            )
          ) : graph !== undefined && graph.nodes.length === 0 && search.object !== undefined ? (
            <NothingOfObject
              name={search.object}
              view={search.view}
              onShowAll={() => change({ object: undefined })}
            />
          ) : graph !== undefined && graph.nodes.length === 0 ? (
            <EmptyState view={search.view} defenders={graph.defenders.total} />
          ) : shown.nodes.length === 0 ? (
            <NothingConnected
              count={graph?.nodes.length ?? 0}
              onShowAll={() => change({ show: "all" })}
            />
          ) : (
            <Suspense
              fallback={
                <Center h="100%">
                  <Loader aria-label="Loading" />
                </Center>
              }
            >
              {search.as === "table" ? (
                <TreeGrid graph={shown} matches={matches} onSelect={select} />
              ) : (
                <MapView
                  // A view's map is drawn afresh; within a view it is kept.
                  key={`${search.view} ${search.show} ${search.object ?? ""}`}
                  ref={map}
                  graph={shown}
                  selection={selection}
                  matches={matches}
                  onSelect={select}
                  onTable={() => change({ as: "table" })}
                />
              )}
            </Suspense>
          )}
          {graph?.truncated === true && (
            <p className={classes.hidden} role="status">
              {plural(graph.hidden.nodes, "node")} and {plural(graph.hidden.edges, "edge")} with the
              fewest connections are not shown.
            </p>
          )}
        </section>
        {node !== undefined && (
          <NodePanel
            node={node}
            view={search.view}
            window={search.window}
            asOf={graph?.as_of ?? ""}
            limited={graph?.mode.limited ?? true}
            onSelect={(id) => {
              setSelection({ kind: "node", id });
              map.current?.focus(id);
            }}
            onClose={close}
          />
        )}
        {edge !== undefined && shown !== undefined && (
          <EdgePanel
            edge={edge}
            graph={shown}
            onSelect={(id) => setSelection({ kind: "node", id })}
            onClose={close}
          />
        )}
      </div>
    </div>
  );
}
