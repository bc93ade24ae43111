import { IconArrowDown, IconArrowUp, IconChevronRight } from "@tabler/icons-react";
import {
  createColumnHelper,
  createExpandedRowModel,
  createSortedRowModel,
  rowExpandingFeature,
  rowSortingFeature,
  sortFns,
  tableFeatures,
  useTable,
} from "@tanstack/react-table";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, useEffect, useMemo, useRef, useState } from "react";
import type { Graph, GraphPort } from "../../api/types";
import { KindIcon } from "../../components/KindIcon";
import { useNow } from "../../components/useNow";
import {
  formatAgo,
  formatDecision,
  formatNumber,
  formatState,
  worstPort,
} from "../../radar/format";
import { edgeKey } from "../../radar/graph";
import type { Selection } from "../../radar/renderer";
import panel from "./Panel.module.css";
import classes from "./TreeGrid.module.css";
import { COLUMNS, type Focus, type GridRow, gridRows, press, type Step } from "./treegrid-model";

const ROW_HEIGHT = 40;

const features = tableFeatures({
  rowSortingFeature,
  rowExpandingFeature,
  sortedRowModel: createSortedRowModel(),
  expandedRowModel: createExpandedRowModel(),
  sortFns,
});
const helper = createColumnHelper<typeof features, GridRow>();
const columns = helper.columns([
  helper.accessor("name", { header: "Name", sortFn: "text" }),
  helper.accessor("detail", { header: "Tag, host or direction", sortFn: "text" }),
  helper.accessor("ports", { header: "Ports", sortFn: "alphanumeric" }),
  helper.accessor((row) => row.instances ?? -1, {
    id: "instances",
    header: "Instances",
    sortFn: "basic",
  }),
  helper.accessor("connections", { header: "Connections", sortFn: "basic" }),
  helper.accessor("outcome", { header: "Outcome", sortFn: "text" }),
  helper.accessor("lastSeen", { header: "Last seen", sortFn: "basic" }),
]);

interface Props {
  graph: Graph;
  matches: ReadonlySet<string> | null;
  onSelect: (selection: Selection) => void;
}

/** The map's twin for the keyboard and for screen readers: the same nodes, edges and ports. */
export function TreeGrid({ graph, matches, onSelect }: Props) {
  const now = useNow(5_000);
  const scroller = useRef<HTMLDivElement>(null);
  const data = useMemo(() => {
    const all = gridRows(graph);
    return matches === null ? all : all.filter((row) => matches.has(row.id));
  }, [graph, matches]);
  const table = useTable({
    features,
    columns,
    data,
    getRowId: (row) => row.id,
    getSubRows: (row) => row.children,
    autoResetExpanded: false,
    initialState: { sorting: [{ id: "name", desc: false }] },
  });
  const rows = table.getRowModel().rows;
  const [focus, setFocus] = useState<Focus>({ row: "", cell: null });
  const current = rows.some((row) => row.id === focus.row)
    ? focus
    : { row: rows[0]?.id ?? "", cell: null };
  const taken = useRef(false);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_HEIGHT,
    overscan: 12,
    getItemKey: (index) => rows[index]?.id ?? index,
  });

  // The browser's focus follows once the row is there; far rows are drawn only after scrolling.
  useEffect(() => {
    if (!taken.current) return;
    const selector =
      current.cell === null
        ? `[data-row="${CSS.escape(current.row)}"]`
        : `[data-row="${CSS.escape(current.row)}"] [data-cell="${current.cell}"]`;
    scroller.current?.querySelector<HTMLElement>(selector)?.focus({ preventScroll: true });
  });

  const activate = (row: GridRow) =>
    onSelect(
      row.edge === null
        ? { kind: "node", id: row.node.id }
        : { kind: "edge", id: edgeKey(row.edge) },
    );

  const onKeyDown = (event: KeyboardEvent) => {
    const steps: Step[] = rows.map((row) => ({
      id: row.id,
      parent: row.getParentRow()?.id ?? null,
      expandable: row.getCanExpand(),
      expanded: row.getIsExpanded(),
    }));
    const outcome = press(event.key, event.ctrlKey, current, steps, COLUMNS.length);
    if (outcome === null) return;
    event.preventDefault();
    taken.current = true;
    setFocus(outcome.focus);
    const index = rows.findIndex((row) => row.id === outcome.focus.row);
    if (index >= 0) virtual.scrollToIndex(index);
    if (outcome.toggle !== undefined) {
      rows.find((row) => row.id === outcome.toggle)?.toggleExpanded();
    }
    const active = rows.find((row) => row.id === outcome.activate);
    if (active !== undefined) activate(active.original);
  };

  return (
    <div className={classes.wrap} ref={scroller}>
      <div
        role="treegrid"
        aria-label="Nodes, their edges and ports"
        aria-rowcount={rows.length + 1}
        aria-colcount={COLUMNS.length}
        className={classes.grid}
        data-testid="treegrid"
        onKeyDown={onKeyDown}
      >
        <div role="rowgroup" className={classes.head}>
          {table.getHeaderGroups().map((group) => (
            <div role="row" aria-rowindex={1} className={classes.row} key={group.id}>
              {group.headers.map((header) => {
                const sorted = header.column.getIsSorted();
                return (
                  <div
                    role="columnheader"
                    key={header.id}
                    aria-sort={
                      sorted === "asc" ? "ascending" : sorted === "desc" ? "descending" : "none"
                    }
                    className={classes.cell}
                    data-column={header.column.id}
                  >
                    <button
                      type="button"
                      className={classes.sort}
                      onKeyDown={(event) => event.stopPropagation()}
                      onClick={header.column.getToggleSortingHandler()}
                    >
                      <table.FlexRender header={header} />
                      {sorted === "asc" && <IconArrowUp size={13} aria-hidden />}
                      {sorted === "desc" && <IconArrowDown size={13} aria-hidden />}
                    </button>
                  </div>
                );
              })}
            </div>
          ))}
        </div>
        <div role="rowgroup" className={classes.body} style={{ height: virtual.getTotalSize() }}>
          {virtual.getVirtualItems().map((item) => {
            const row = rows[item.index];
            if (row === undefined) return null;
            const expandable = row.getCanExpand();
            const tab = current.row === row.id;
            return (
              <div
                key={row.id}
                role="row"
                data-row={row.id}
                data-level={row.original.level}
                aria-level={row.original.level}
                aria-rowindex={item.index + 2}
                aria-expanded={expandable ? row.getIsExpanded() : undefined}
                tabIndex={tab && current.cell === null ? 0 : -1}
                className={classes.row}
                style={{ transform: `translateY(${item.start}px)` }}
                onFocus={(event) => {
                  if (event.target !== event.currentTarget) return;
                  taken.current = true;
                  if (focus.row !== row.id || focus.cell !== null) {
                    setFocus({ row: row.id, cell: null });
                  }
                }}
                onClick={() => {
                  taken.current = true;
                  setFocus({ row: row.id, cell: null });
                  activate(row.original);
                }}
              >
                {COLUMNS.map((column, index) => (
                  <div
                    role="gridcell"
                    key={column}
                    data-cell={index}
                    data-column={column}
                    tabIndex={tab && current.cell === index ? 0 : -1}
                    className={classes.cell}
                  >
                    {index === 0 ? (
                      <NameCell
                        row={row.original}
                        expandable={expandable}
                        expanded={row.getIsExpanded()}
                        toggle={() => row.toggleExpanded()}
                      />
                    ) : (
                      <CellText row={row.original} column={column} now={now} />
                    )}
                  </div>
                ))}
              </div>
            );
          })}
        </div>
      </div>
      {rows.length === 0 && <p className={classes.none}>No node matches the search.</p>}
    </div>
  );
}

interface NameCellProps {
  row: GridRow;
  expandable: boolean;
  expanded: boolean;
  toggle: () => void;
}

function NameCell({ row, expandable, expanded, toggle }: NameCellProps) {
  return (
    <span className={classes.name} style={{ paddingLeft: (row.level - 1) * 24 }}>
      {expandable ? (
        // For the pointer only: the row itself has the arrow keys.
        <button
          type="button"
          tabIndex={-1}
          aria-hidden="true"
          className={classes.toggle}
          data-expanded={expanded}
          onClick={(event) => {
            event.stopPropagation();
            toggle();
          }}
        >
          <IconChevronRight size={15} />
        </button>
      ) : (
        <span className={classes.toggle} />
      )}
      {row.level === 1 && <KindIcon kind={row.node.kind} size={17} />}
      {row.level === 2 && (
        <span className={classes.arrow} aria-hidden="true">
          {row.outbound ? "→" : "←"}
        </span>
      )}
      <span className={classes.text}>{row.name}</span>
      {row.level === 1 && row.node.model.state !== null && (
        <span className={classes.state} data-state={row.node.model.state}>
          {formatState(row.node.model.state)}
        </span>
      )}
      {row.level === 1 && row.node.internet && row.node.kind !== "internet" && (
        <span className={classes.state}>internet</span>
      )}
      {row.level === 1 && row.node.incident && (
        <span className={classes.state} data-state="incident">
          incident
        </span>
      )}
    </span>
  );
}

function CellText({ row, column, now }: { row: GridRow; column: string; now: number }) {
  switch (column) {
    case "detail":
      return <span className={classes.text}>{row.detail}</span>;
    case "ports":
      if (row.edge === null) return <span className={classes.text}>{row.ports}</span>;
      return <Decision text={row.ports} port={row.port ?? worstPort(row.edge.ports)} />;
    case "instances":
      return row.instances === null ? null : formatNumber(row.instances);
    case "connections":
      return formatNumber(row.connections);
    case "outcome":
      return (
        <span className={classes.text} title={row.outcome}>
          {row.outcome}
        </span>
      );
    default:
      return row.lastSeen === "" ? null : (
        <span title={row.lastSeen}>{formatAgo(row.lastSeen, now)}</span>
      );
  }
}

function Decision({ text, port }: { text: string; port: GraphPort | undefined }) {
  if (port === undefined) return null;
  const decision = formatDecision(port);
  return (
    <span className={panel.verdict} data-verdict={port.verdict} title={decision}>
      {text}
      <span className={classes.dim}>{decision}</span>
    </span>
  );
}
