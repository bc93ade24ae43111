import {
  type CollisionDetection,
  closestCenter,
  DndContext,
  type DragEndEvent,
  type DragOverEvent,
  DragOverlay,
  getClientRect,
  MeasuringStrategy,
  PointerSensor,
  pointerWithin,
  useSensor,
  useSensors,
} from "@dnd-kit/core";
import { defaultRangeExtractor, useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, useEffect, useMemo, useRef, useState } from "react";
import type { Finding, Hits, Rule } from "../../api/types";
import { useNow } from "../../components/useNow";
import classes from "./RuleGrid.module.css";
import { type RowActions, RuleRow } from "./RuleRow";
import { announcement, type Lifted, moved, press } from "./reorder";

/** The row under the pointer, else the nearest. */
const under: CollisionDetection = (args) => {
  const found = pointerWithin(args);
  return found.length > 0 ? found : closestCenter(args);
};
/** Rows come and go while the list scrolls, and are where their own transform puts them. */
const MEASURING = {
  droppable: { strategy: MeasuringStrategy.Always, measure: getClientRect },
};

const ROW_HEIGHT = 45;
/** A press that moves less is a click. */
const DRAG_FROM_PX = 4;
const HEADINGS = ["Rule", "Source", "Destination", "Ports", "Effect"];
const NO_FINDINGS: readonly Finding[] = [];

interface Props {
  label: string;
  /** All of the list, in order. */
  rules: readonly Rule[];
  /** Those that are shown, by name; null shows all, and only then the order can be changed. */
  matches: ReadonlySet<string> | null;
  hits: ReadonlyMap<string, Hits>;
  findings: ReadonlyMap<string, Finding[]>;
  /** The rule to bring into sight. */
  marked: string | undefined;
  mayChange: boolean;
  actions: RowActions;
  onMove: (from: number, to: number) => void;
}

/** The ordered rules of a list, of which only those in sight are drawn. */
export function RuleGrid(props: Props) {
  const { rules, matches, hits, findings, marked, mayChange, actions, onMove } = props;
  const now = useNow(5_000);
  const scroller = useRef<HTMLDivElement>(null);
  const [lifted, setLifted] = useState<Lifted | null>(null);
  const [drag, setDrag] = useState<{ name: string; over: string | null } | null>(null);
  const [current, setCurrent] = useState({ rule: "", control: "name" });
  const [spoken, setSpoken] = useState("");
  /** The focus is ours to move; not before somebody has been here. */
  const taken = useRef(false);
  const reorderable = mayChange && matches === null;

  const rows = useMemo(() => {
    const all = rules.map((rule, position) => ({ rule, position }));
    if (lifted !== null && all[lifted.from]?.rule.name === lifted.name) {
      return moved(all, lifted.from, lifted.to).map(({ rule }, position) => ({ rule, position }));
    }
    return matches === null ? all : all.filter(({ rule }) => matches.has(rule.name));
  }, [rules, matches, lifted]);
  const indexOf = useMemo(() => new Map(rows.map(({ rule }, index) => [rule.name, index])), [rows]);
  const at = indexOf.get(current.rule) ?? 0;
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_HEIGHT,
    overscan: 10,
    getItemKey: (index) => rows[index]?.rule.name ?? index,
    // The row with the focus is drawn also where it is not in sight yet, or no more: else a key that
    // is pressed before the list has scrolled would be nobody's.
    rangeExtractor: (range) => {
      const drawn = defaultRangeExtractor(range);
      return at >= range.count || drawn.includes(at) ? drawn : [...drawn, at].sort((a, b) => a - b);
    },
  });
  const tabbed = indexOf.has(current.rule) ? current.rule : rows[0]?.rule.name;

  const shown = useRef<string | undefined>(undefined);
  useEffect(() => {
    if (marked === undefined || marked === shown.current) return;
    const index = indexOf.get(marked);
    if (index === undefined) return;
    shown.current = marked;
    taken.current = true;
    setCurrent({ rule: marked, control: "name" });
    virtual.scrollToIndex(index, { align: "center" });
  }, [marked, indexOf, virtual]);

  // The browser's focus follows once the row is there; far rows are drawn only after scrolling.
  useEffect(() => {
    if (!taken.current) return;
    const row = scroller.current?.querySelector(`[data-rule="${CSS.escape(current.rule)}"]`);
    const wanted = row?.querySelector<HTMLElement>(`[data-control="${current.control}"]`);
    const target = wanted ?? row?.querySelector<HTMLElement>("[data-control]");
    if (target == null || target === document.activeElement) return;
    // Not away from a dialog or field that was opened meanwhile.
    if (
      document.activeElement === document.body ||
      scroller.current?.contains(document.activeElement)
    ) {
      target.focus({ preventScroll: true });
    }
  });

  const go = (index: number, control: string) => {
    const row = rows[index];
    if (row === undefined) return;
    taken.current = true;
    setCurrent({ rule: row.rule.name, control });
    virtual.scrollToIndex(index);
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const target = (event.target as HTMLElement).closest<HTMLElement>("[data-control]");
    const name = target?.closest<HTMLElement>("[data-rule]")?.dataset.rule;
    const control = target?.dataset.control;
    if (name === undefined || control === undefined) return;
    const index = indexOf.get(name) ?? 0;
    if (control === "handle" && reorderable) {
      const outcome = press(event.key, lifted, { name, position: index, count: rows.length });
      if (outcome !== null) {
        event.preventDefault();
        setSpoken(announcement(outcome, rows.length));
        taken.current = true;
        setCurrent({ rule: name, control });
        const going = outcome.kind === "lift" || outcome.kind === "carry";
        setLifted(going ? outcome.lifted : null);
        if (going) virtual.scrollToIndex(outcome.lifted.to);
        else if (outcome.kind === "drop") onMove(outcome.lifted.from, outcome.lifted.to);
        return;
      }
    }
    const to = {
      ArrowUp: index - 1,
      ArrowDown: index + 1,
      Home: 0,
      End: rows.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(Math.min(rows.length - 1, Math.max(0, to)), control);
  };

  const sensors = useSensors(
    useSensor(PointerSensor, { activationConstraint: { distance: DRAG_FROM_PX } }),
  );
  const dragFrom = drag === null ? -1 : (indexOf.get(drag.name) ?? -1);
  const onDragEnd = ({ active, over }: DragEndEvent) => {
    setDrag(null);
    const from = indexOf.get(String(active.id));
    const to = over === null ? undefined : indexOf.get(String(over.id));
    if (from !== undefined && to !== undefined) onMove(from, to);
  };

  return (
    <DndContext
      sensors={sensors}
      collisionDetection={under}
      measuring={MEASURING}
      accessibility={{
        announcements: {
          onDragStart: ({ active }) => `Rule ${active.id} lifted.`,
          onDragOver: () => undefined,
          onDragEnd: ({ active }) => `Rule ${active.id} put down.`,
          onDragCancel: ({ active }) => `Rule ${active.id} is back where it was.`,
        },
      }}
      onDragStart={({ active }) => setDrag({ name: String(active.id), over: null })}
      onDragOver={({ active, over }: DragOverEvent) =>
        setDrag({ name: String(active.id), over: over === null ? null : String(over.id) })
      }
      onDragEnd={onDragEnd}
      onDragCancel={() => setDrag(null)}
    >
      <div className={classes.wrap} ref={scroller}>
        <div
          role="grid"
          aria-label={props.label}
          aria-rowcount={rules.length + 1}
          className={classes.grid}
          data-testid="rules"
          onKeyDown={onKeyDown}
          onBlur={(event) => {
            // Whoever goes elsewhere puts nothing down.
            if (lifted !== null && event.relatedTarget !== null) setLifted(null);
          }}
          onFocus={(event) => {
            const found = event.target.closest<HTMLElement>("[data-control]");
            const rule = found?.closest<HTMLElement>("[data-rule]")?.dataset.rule;
            const control = found?.dataset.control;
            if (rule === undefined || control === undefined) return;
            taken.current = true;
            if (rule !== current.rule || control !== current.control) setCurrent({ rule, control });
          }}
        >
          <div role="rowgroup" className={classes.head}>
            <div role="row" aria-rowindex={1} className={`${classes.row} ${classes.headRow}`}>
              <div role="columnheader" className={classes.tight}>
                <span className="visually-hidden">Move</span>
              </div>
              <div
                role="columnheader"
                className={`${classes.cell} ${classes.heading} ${classes.number}`}
              >
                #
              </div>
              <div role="columnheader" className={`${classes.cell} ${classes.heading}`}>
                On
              </div>
              {HEADINGS.map((heading) => (
                <div
                  role="columnheader"
                  className={`${classes.cell} ${classes.heading}`}
                  key={heading}
                >
                  {heading}
                </div>
              ))}
              <div
                role="columnheader"
                className={`${classes.cell} ${classes.heading} ${classes.number}`}
              >
                Hits
              </div>
              <div
                role="columnheader"
                className={`${classes.cell} ${classes.heading} ${classes.number}`}
              >
                Last hit
              </div>
              <div role="columnheader">
                <span className="visually-hidden">Actions</span>
              </div>
            </div>
          </div>
          <div role="rowgroup" className={classes.body} style={{ height: virtual.getTotalSize() }}>
            {virtual.getVirtualItems().map((item) => {
              const row = rows[item.index];
              if (row === undefined) return null;
              const { rule, position } = row;
              const over = drag !== null && drag.over === rule.name && drag.name !== rule.name;
              return (
                <RuleRow
                  key={rule.name}
                  rule={rule}
                  position={position}
                  count={rules.length}
                  index={item.index}
                  start={item.start}
                  now={now}
                  hits={hits.get(rule.name)}
                  findings={findings.get(rule.name) ?? NO_FINDINGS}
                  mayChange={mayChange}
                  reorderable={reorderable}
                  tabbed={tabbed === rule.name}
                  marked={marked === rule.name}
                  lifted={lifted?.name === rule.name}
                  drop={!over ? null : item.index > dragFrom ? "after" : "before"}
                  actions={actions}
                  measure={virtual.measureElement}
                />
              );
            })}
          </div>
        </div>
      </div>
      <div className="visually-hidden" id="reorder-help">
        Space lifts the rule, the arrow keys move it, Space puts it down, Escape takes it back.
      </div>
      <div className="visually-hidden" role="status" data-testid="spoken">
        {spoken}
      </div>
      <DragOverlay dropAnimation={null}>
        {drag !== null && <span className={classes.held}>{drag.name}</span>}
      </DragOverlay>
    </DndContext>
  );
}
